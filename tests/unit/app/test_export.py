"""An exported policy: read by plain transformers as by us, whole or not there, honest in its card."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from huggingface_hub.errors import HTTPError, OfflineModeIsEnabled
from transformers import AutoModelForCausalLM, AutoTokenizer

from empathy_lib.app import cli, export, passing_on
from empathy_lib.app.model_card import EXAMPLE
from empathy_lib.core.config import GenerationConfig, LoraSettings
from empathy_lib.core.errors import UserError
from empathy_lib.core.files import read_json, write_json
from empathy_lib.core.helplines import CRISIS_LINE, HELPLINES
from empathy_lib.core.run import Run
from empathy_lib.core.schema import write_jsonl
from empathy_lib.models.base import base_request, generate, load_policy
from empathy_lib.models.prompts import COE_PROMPT, PLAIN_PROMPT, coe_prompt, plain_prompt
from empathy_lib.models.training import finish_policy, with_lora

TEMPLATE = "{{ bos_token }}{% for m in messages %}<u>{{ m['content'] }}</u>{% endfor %}<a>"
SETTINGS = GenerationConfig(max_new_tokens=8, batch_size=2)
SHARE = {"value": 0.75, "interval": [0.5, 0.9], "n": 12, "unit": "share"}


def shaken(base):
    """The base with weights so far apart that no two tokens are nearly equally likely."""
    model, tokenizer = load_policy(base, dtype="float32")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    return model, tokenizer


def logits_of(model, tokenizer):
    with torch.no_grad():
        return model(**tokenizer(EXAMPLE, return_tensors="pt", return_token_type_ids=False)).logits


def build_grpo(run, base, note):
    with run.build("04_grpo", {"grpo": {"tuning": "full", "note": note}}, ["02_sft"]) as stage:
        finish_policy(*shaken(base), base, stage.path)
        config = stage.path / "policy" / "config.json"
        write_json(config, read_json(config) | {"_name_or_path": str(base)})  # as some versions leave it
        (stage.path / "note.txt").write_text(note)


def make_run(base, hub_folder, items, folder):
    """A run with stages as the notebooks leave them; its no-CoE policy has LoRA adapters and a template.

    Returns:
        The run, and that policy's logits before its adapters were merged, and without them.
    """
    run = Run.open("smoke", str(folder), {"base_model.source": str(hub_folder)})
    with run.build("01_dataset", {"data": "synthetic"}) as stage:
        for name in ("train", "validation", "test"):
            write_jsonl(items, stage.path / f"{name}.jsonl")
        told = {"source": "synthetic", "synthetic": True, "annotator": "gold", "questions": 6, "answers": 12}
        write_json(stage.path / "statistics.json", told)
    request = {"base_model": base_request(run.profile.base_model), "sft": run.profile.sft.model_dump()}
    with run.build("02_sft", request, ["01_dataset"]) as stage:
        finish_policy(*shaken(base), base, stage.path / "coe")
        model, tokenizer = shaken(base)
        tokenizer.chat_template = TEMPLATE
        without = logits_of(model, tokenizer)
        adapted = with_lora(model, LoraSettings(r=4, alpha=8, dropout=0))
        with torch.no_grad():
            for name, parameter in adapted.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.3)
        unmerged = logits_of(adapted.eval(), tokenizer)
        finish_policy(adapted, tokenizer, base, stage.path / "no_coe")
    build_grpo(run, base, "first")
    drawn = {"generation": SETTINGS.model_dump(exclude={"max_new_tokens_cap"})}
    for name, config, inputs in (
        ("completions/grpo", drawn, ["04_grpo"]),
        ("05_metrics", {"metrics": 1}, ["01_dataset"]),
    ):
        with run.build(name, config, inputs):
            pass
    figures = {"metrics.grpo.well_formed": SHARE, "copy_rate.grpo": {"value": None}}
    run.headline("05_automatic_metrics", figures | {"harm.grpo.false_promise": SHARE})
    return run, unmerged, without


@pytest.fixture(scope="module")
def made(base, hub_folder, items, tmp_path_factory):
    return make_run(base, hub_folder, items, tmp_path_factory.mktemp("runs") / "运行 run")


@pytest.fixture(scope="module")
def run(made):
    return made[0]


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    return export.export(str(run.path), str(tmp_path_factory.mktemp("out") / "出口 of grpo"))


@pytest.fixture(scope="module")
def adapted(run, tmp_path_factory):
    return export.export(str(run.path), str(tmp_path_factory.mktemp("out") / "no coe"), "sft_no_coe")


def snippet(folder):
    """The card's own Python, drawing greedily."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.S)[1]
    assert "generate(**inputs, " in code and "empathy_lib" not in code
    return re.sub(r"max_new_tokens=\d+", "do_sample=False, max_new_tokens=8", code)


def test_plain_transformers_gives_the_same_completions_by_the_cards_own_snippet(run, folder, adapted):
    """In a process that cannot import this library, in the folder itself."""
    code = "import os, sys\nsys.modules['empathy_lib'] = None\n"
    for each in (folder, adapted):
        code += f"os.chdir({str(each)!r})\n{snippet(each)}print('<end>')\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    expected = []
    for policy, ask in (("04_grpo/policy", coe_prompt), ("02_sft/no_coe/policy", plain_prompt)):
        model, tokenizer = load_policy(run.path / policy)
        expected += generate(model, tokenizer, [ask(tokenizer, EXAMPLE)], SETTINGS, seed=0, greedy=True)
    assert done.stdout == "".join(f"{text}\n<end>\n" for text in expected)
    assert expected[0] != expected[1] and all(expected)


def test_merged_adapters_equal_unmerged_ones(made, adapted):
    _, unmerged, without = made
    model = AutoModelForCausalLM.from_pretrained(adapted, dtype=torch.float32)
    logits = logits_of(model, AutoTokenizer.from_pretrained(adapted))
    rounding = 0.03 * unmerged.std()  # of the weights, to bfloat16
    assert (logits - unmerged).abs().mean() < rounding < (without - unmerged).abs().mean() / 10


def test_the_card_says_where_it_comes_from_and_what_was_measured(folder, run):
    card, text = ModelCard.load(folder / "README.md"), (folder / "README.md").read_text(encoding="utf-8")
    told = card.data.to_dict()
    assert told["language"] == ["zh"] and told["pipeline_tag"] == "text-generation"
    assert told["library_name"] == "transformers" and {"ai-generated-text", "synthetic"} <= set(told["tags"])
    assert told["license"] == "unknown" and "base_model" not in told  # a local folder without a card
    assert "75.0 %<br><sub>50.0 % to 90.0 %</sub> | 12 |" in text and "| false promise | 75.0 %" in text
    assert re.search(r"\| Copy rate \| not available \|", text) and "**synthetic**" in text
    assert COE_PROMPT in text.replace("```text\n", "") and "a small model" in text
    for needed in (
        CRISIS_LINE,
        HELPLINES,
        "no therapist",
        "2025-09-01",
        "article 50",
        "vllm serve",
        "Ollama",
    ):
        assert needed in text
    assert read_json(folder / "generation_config.json")["max_new_tokens"] == 8


def test_a_template_is_told_and_missing_figures_are_said_to_be_missing(adapted):
    text = (adapted / "README.md").read_text(encoding="utf-8")
    assert "apply_chat_template" in text and PLAIN_PROMPT in text and "empathy_think" not in text
    assert "%</sub>" not in text and "Harm: not available" in text
    assert AutoTokenizer.from_pretrained(adapted).chat_template == TEMPLATE


def test_provenance_is_for_machines_and_complete(folder, run):
    told = read_json(folder / export.PROVENANCE)
    assert told["ai_generated"] is True and list(told["stages"]) == ["01_dataset", "02_sft", "04_grpo"]
    assert told["stages"]["04_grpo"]["identity"] == run.manifest("04_grpo")["identity"]
    there = {path.name for path in folder.iterdir()}
    assert there == {*told["files"], export.PROVENANCE} and "done" not in there
    assert all(export.sha256(folder / name) == value for name, value in told["files"].items())
    assert told["parameters"] == AutoModelForCausalLM.from_pretrained(folder).num_parameters()


def test_no_path_of_this_machine_and_no_post_leaves_it(folder, adapted, items, run, hub_folder):
    private = [
        str(run.path),
        str(hub_folder),
        str(hub_folder.parent.parent),
        str(Path.home()),
        str(Path.cwd()),
    ]
    private = [path for path in private if path != os.sep]
    private += ["_name_or_path", "is_local", "TokenizersBackend"]
    private += [text for item in items for text in (item.question, *(a.text for a in item.answers))]
    texts = [path for each in (folder, adapted) for path in each.iterdir() if path.suffix != ".safetensors"]
    assert len(texts) >= 10
    for path in texts:
        found = [each for each in private if each in path.read_text(encoding="utf-8")]
        assert (path.name, found) == (path.name, [])


def test_figures_on_an_earlier_policy_are_not_shown(base, hub_folder, items, tmp_path):
    run = make_run(base, hub_folder, items, tmp_path / "run")[0]
    build_grpo(run, base, "second")
    text = (export.export(str(run.path), str(tmp_path / "out")) / "README.md").read_text(encoding="utf-8")
    assert "75.0 %" not in text and "Harm: not available" in text


def test_a_killed_export_leaves_nothing_that_looks_whole(run, tmp_path, monkeypatch):
    out = tmp_path / "出 口"
    child = os.fork()
    if not child:
        export.model_card = lambda facts: os._exit(9)
        try:
            export.export(str(run.path), str(out))
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    (half,) = tmp_path.iterdir()
    assert half.name.startswith("出 口.building-") and (half / "model.safetensors").is_file()
    assert not (half / export.PROVENANCE).exists() and not (half / "README.md").exists()
    with monkeypatch.context() as patch:
        patch.setattr(export, "model_card", lambda facts: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            export.export(str(run.path), str(out))
    assert not out.exists()
    out.mkdir()  # an empty folder is no loss
    assert (export.export(str(run.path), str(out)) / export.PROVENANCE).is_file()


def test_only_a_former_export_is_replaced_and_only_when_asked(run, tmp_path):
    out = tmp_path / "out"
    export.export(str(run.path), str(out), "sft")
    with pytest.raises(UserError, match="holds a former export; --force replaces it"):
        export.export(str(run.path), str(out))
    export.export(str(run.path), str(out), force=True)
    assert read_json(out / export.PROVENANCE)["system"] == "grpo" and len(list(tmp_path.iterdir())) == 1
    (out / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match=r"would delete notes.txt, which no export wrote"):
        export.export(str(run.path), str(out), force=True)
    (out / export.PROVENANCE).unlink()
    with pytest.raises(UserError, match="is there and no former export"):
        export.export(str(run.path), str(out), force=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_an_unfinished_stage_is_named_with_the_command_that_finishes_it(run, tmp_path):
    begun = tmp_path / "begun 的"
    (begun / "notebooks").mkdir(parents=True)
    with pytest.raises(UserError, match=r"04_grpo: stage 04 is not finished; .*--profile PROFILE.*--from 04"):
        export.export(str(begun), str(tmp_path / "out"))
    asked = {"papermill": {"parameters": {"profile": "smoke", "overrides": {"seed": 7}}}}
    write_json(begun / "notebooks" / "01_dataset_construction.ipynb", {"metadata": asked})
    with pytest.raises(
        UserError, match=r"stage 02 is not finished; .*--profile smoke .*--set seed=7 --from 02"
    ):
        export.export(str(begun), str(tmp_path / "out"), "sft")
    with pytest.raises(UserError, match="no such run folder"):
        export.export(str(tmp_path / "none"), str(tmp_path / "out"))
    with pytest.raises(UserError, match=r"--system base: use one of sft_no_coe, sft, grpo"):
        export.export(str(run.path), str(tmp_path / "out"), "base")
    assert not (tmp_path / "out").exists()


class Hub:
    """Stands for ``HfApi``: notes what is asked of it, and fails as ``fault`` says."""

    def __init__(self, private=True, fault=None):
        self.private, self.fault, self.calls = private, fault, []

    def __call__(self):
        return self

    def create_repo(self, repo_id, *, private, exist_ok):
        if self.fault:
            raise self.fault
        self.calls.append(("create", repo_id, private))
        return f"https://hub/{repo_id}"

    def repo_info(self, repo_id):
        return self

    def upload_folder(self, *, repo_id, folder_path, commit_message):
        self.calls.append(("upload", repo_id, sorted(os.listdir(folder_path))))


def test_a_push_is_private_and_needs_to_be_asked_for(folder, monkeypatch):
    hub = Hub()
    monkeypatch.setattr(passing_on, "HfApi", hub)
    assert passing_on.push(folder, "me/model") == "https://hub/me/model"
    assert hub.calls == [("create", "me/model", True), ("upload", "me/model", sorted(os.listdir(folder)))]
    hub = Hub(private=False)
    monkeypatch.setattr(passing_on, "HfApi", hub)
    with pytest.raises(UserError, match="is there and public; add --public"):
        passing_on.push(folder, "me/model")
    assert [call[0] for call in hub.calls] == ["create"]
    passing_on.push(folder, "me/model", public=True)
    assert hub.calls[-2][2] is False and hub.calls[-1][0] == "upload"


@pytest.mark.parametrize("fault", [OfflineModeIsEnabled("offline mode"), HTTPError("no route to host")])
def test_a_failed_upload_says_what_to_do(folder, monkeypatch, fault):
    monkeypatch.setattr(passing_on, "HfApi", Hub(fault=fault))
    with pytest.raises(
        UserError, match=rf"failed \({fault}\); .*hf auth login.*hf upload me/model .*--private"
    ):
        passing_on.push(folder, "me/model")


def test_weights_of_real_posts_without_a_licence_are_not_made_public(tmp_path, monkeypatch):
    monkeypatch.setattr(passing_on, "HfApi", hub := Hub())
    write_json(tmp_path / export.PROVENANCE, {"data": {"synthetic": False, "licence": "unknown"}})
    with pytest.raises(UserError, match="whose licence the run does not name"):
        passing_on.push(tmp_path, "me/model", public=True)
    assert hub.calls == []


CONVERTS = "import sys\nopen(sys.argv[sys.argv.index('--outfile') + 1], 'w').write(sys.argv[-1])\n"


def test_llama_cpps_converter_is_called_where_it_is(run, tmp_path):
    out = export.export(str(run.path), str(tmp_path / "出口"))
    (tmp_path / "llama 的").mkdir()
    script = tmp_path / "llama 的" / passing_on.CONVERTER
    with pytest.raises(UserError, match="no such file; get it: git clone"):
        passing_on.converter(str(script.parent))
    script.write_text("import sys\nsys.exit('BPE pre-tokenizer was not recognized')\n")
    with pytest.raises(UserError, match=r"is written, but .* failed: BPE pre-tokenizer was not recognized; "):
        passing_on.write_gguf(out, passing_on.converter(str(script.parent)))
    assert not list(out.glob("*.gguf")) and not list(out.glob(".*"))
    script.write_text(CONVERTS)
    assert passing_on.write_gguf(out, passing_on.converter(str(script))).read_text() == "bf16"
    export.export(str(run.path), str(out), force=True)  # the GGUF file is the export's own
    assert not list(out.glob("*.gguf"))


def test_the_command_line(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(passing_on, "HfApi", hub := Hub())
    for arguments, message in (
        (["--push", "a/b/c"], "--push a/b/c: no hub id"),
        (["--public"], "--public says how to --push"),
        (["--gguf", str(tmp_path / "none")], "git clone"),
        (["--push", "me/model"], ""),
    ):
        command = ["empathy_lib", "export", str(run.path), "--system", "sft", "--out", str(tmp_path / "out")]
        monkeypatch.setattr(sys, "argv", [*command, *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        assert (caught.value.code or 0, message in err) == (2 if message else 0, True)
        assert bool(hub.calls) == (not message) == (tmp_path / "out").exists()
    assert "wrote" in out and "uploaded to https://hub/me/model" in out
    assert json.loads((tmp_path / "out" / export.PROVENANCE).read_text(encoding="utf-8"))["system"] == "sft"
