"""The model card of an exported policy: what it is, what it is not, where it comes from, how it is used.

Knows: the card's words, the hub's front matter, how each reader is told the prompt. Does not know: files
(``export``), or how a figure came about; one that the run has not is shown as "not available".
"""

from __future__ import annotations

import json
from typing import get_args

import yaml
from huggingface_hub import ModelCard, ModelCardData

from empathy_lib.app.policy_facts import Facts
from empathy_lib.app.results import (
    CHAINS,
    NOT_AVAILABLE,
    gain_table,
    harm_table,
    system_table,
)
from empathy_lib.core.helplines import Region, fixed_text, resources
from empathy_lib.core.style import SYSTEM_LABELS
from empathy_lib.dataset.card import CHAIN_LIMITS, DATA_LIMITS, LANGUAGE, ORIGIN, code, tags
from empathy_lib.metrics.tables import markdown

AI_TAG = "ai-generated-text"
PAPER = "arXiv 2509.14851"
SMALL = 1_000_000_000  # parameters below which the card calls a model small
EXAMPLE = "最近总是睡不好，工作也提不起劲，不知道该怎么办。"  # ours, of no corpus
_LABEL = "本内容由人工智能生成，不能代替心理咨询或医疗建议。"


def model_card(facts: Facts) -> ModelCard:
    """The whole card: front matter and body."""
    parts = (_what, _help, _origin, _training, _figures, _limits, _prompting, _loading, _label)
    body = "\n\n".join([f"# {_title(facts)}", *(part(facts) for part in parts)])
    return ModelCard(f"---\n{front_matter(facts).to_yaml()}\n---\n\n{body}\n")


def front_matter(facts: Facts) -> ModelCardData:
    """The YAML by which the hub knows the model."""
    kind = tags({"synthetic": facts.data["synthetic"]})
    return ModelCardData(
        language=[LANGUAGE],
        **facts.licence,
        library_name="transformers",
        pipeline_tag="text-generation",
        base_model=facts.base["hub"],
        datasets=[facts.data["hub"]] if facts.data["hub"] else None,
        tags=[AI_TAG, *kind, "grpo" if facts.system == "grpo" else "sft"],
    )


def _title(facts: Facts) -> str:
    return (
        f"Empathy-R1 reproduction: {SYSTEM_LABELS[facts.system]}, {facts.parameters / 1e6:,.0f} M parameters"
    )


def _what(facts: Facts) -> str:
    writes = "a Chain of Empathy in four layers, then a reply" if facts.chain else "a reply"
    return f"""\
> **AI-generated text.** Whatever this model writes is made by a machine and must be labelled so. \
{_LABEL}

## What it is, and what it is not

A language model that reads a Chinese help-seeking post and writes {writes}. It comes from an open \
reproduction of Empathy-R1 ({PAPER}) and is **not** the paper's model: base, data and settings are others.

**It is no therapist and no counsellor**, gives no advice to rely on, makes no diagnosis, and must not \
answer anybody in distress without a person who reads every reply first. It is for teaching and research: \
comparing methods of training, looking at what they get wrong."""


def _help(facts: Facts) -> str:
    rows = []
    for region in get_args(Region):
        here = resources(region)
        lines = ", ".join(line.said("en") for line in here.lines)
        rows.append([f"{here.name['en']} {here.name['zh']}", lines, ", ".join(here.emergency) or "–"])
    return f"""\
## Help by people

{markdown(["Where", "Somebody to talk to", "Emergency"], rows)}

{fixed_text("cn", "zh")}

Nothing in these weights keeps the model from answering a post that speaks of danger to life. Put a gate \
before it, such as `empathy_lib.core.crisis.answer`, which shows people's numbers in place of a reply; it \
finds only a part of such posts."""


def _origin(facts: Facts) -> str:
    base, data = facts.base, facts.data
    name = f"[{base['hub']}](https://huggingface.co/{base['hub']})" if base["hub"] else f"`{base['name']}`"
    trimmed = (
        " Its vocabulary was trimmed to what the training texts need, losslessly: other characters are "
        "written as bytes."
        if base["trimmed"]
        else ""
    )
    licence = facts.licence.get("license_link") or facts.licence["license"]
    return f"""\
## Base, and its licence

Derived from {name}, revision or SHA-256 `{base["digest"]}`.{trimmed} Licence of the base, which binds this \
model too: {licence}. Files with terms or a notice in this folder must travel with every copy.

## Data

{ORIGIN[data["synthetic"]]} Source {code(data["source"])}, licence {data["licence"]}; {data["questions"]:,} \
posts, {data["answers"]:,} answers; chains: {CHAINS[data["annotator"]]}. No post and no answer is in this \
folder, but a language model may repeat what it was trained on: do not publish weights that were trained \
on posts which may not be published."""


def _training(facts: Facts) -> str:
    last = list(facts.stages.values())[-1]
    minutes = sum(stage["wall_minutes"] for name, stage in facts.stages.items() if name[:2] in ("02", "04"))
    versions = ", ".join(f"{name} {version}" for name, version in last["versions"].items())
    settings = yaml.safe_dump(facts.training, allow_unicode=True, sort_keys=False)
    return f"""\
## Training

{minutes:.0f} minutes in all, seed {last["seed"]}, one training run; code at commit \
`{last["git_commit"][:12]}`; {versions}. Adapters, where `tuning` is not `full`, are \
merged into these weights.

```yaml
{settings}```"""


def _figures(facts: Facts) -> str:
    data = facts.data
    whose = (
        "**synthetic** posts written by this project"
        if data["synthetic"]
        else f"held-out posts of `{data['source']}`"
    )
    size = "a small model" if facts.parameters < SMALL else "a model"
    found = f"""\
## Figures

On {whose}, of {size} ({facts.parameters / 1e6:,.0f} million parameters), from the run's own evaluation; \
no clinical result. Small print: 95 % interval; n: posts. A figure that the run has not is \
"{NOT_AVAILABLE}". Distinct-2, copy rate and r_answer are best near the references' own values, not \
highest; r_answer is what GRPO was paid for, and no judgement. Where a figure is a mean of several \
trainings, these weights are the first of them.

{system_table(facts.headline, facts.system)}"""
    if facts.system == "grpo":
        found += f"\n\n{gain_table(facts.headline)}"
    harm = harm_table(facts.headline, facts.system)
    return f"{found}\n\n{harm or f'Harm: {NOT_AVAILABLE}, this run did not measure it.'}"


def _limits(facts: Facts) -> str:
    data = facts.data
    told = CHAIN_LIMITS[data["annotator"]].partition(" `report.json`")[0]  # a file of the dataset's folder
    chain = f" {told} A chain may be well-formed and false." if facts.chain else ""
    paid = " GRPO was paid by an encoder, not by people." if facts.system == "grpo" else ""
    return f"""\
## Limits

{DATA_LIMITS[data["synthetic"]]}{chain} It was trained on one language and \
one kind of post, answers once, and may loop, copy the post, or say what hurts.{paid}"""


def _prompting(facts: Facts) -> str:
    form = "\n```text\n<empathy_think>\n<L1>…</L1>\n<L2>…</L2>\n<L3>…</L3>\n<L4>…</L4>\n</empathy_think>\n"
    form += "<answer>the reply</answer>\n```"
    template = (
        "It is the user's only turn: wrap it in the tokenizer's chat template."
        if facts.chat_template
        else "It stands as it is, without a chat template; the tokenizer puts its own first token before it."
    )
    drawn = ", ".join(f"{key} {value}" for key, value in facts.generation.items())
    decoding = f"{drawn}; so says `generation_config.json`, too" if drawn else NOT_AVAILABLE
    return f"""\
## How to prompt it

The post goes in the place of `{{question}}`; the prompt ends with a line break. {template}

```text
{facts.prompt}```

It answers with {f"this, on one line or several:{chr(10)}{form}" if facts.chain else "the reply alone."}

Decoding in the figures above: {decoding}."""


def _loading(facts: Facts) -> str:
    wrapped = """prompt = tokenizer.apply_chat_template(
    [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True, enable_thinking=False
).removeprefix(tokenizer.bos_token or "")  # the tokenizer adds it again
"""
    path, field = (
        ("chat/completions", f'"messages": [{{"role": "user", "content": {_json(facts)}}}]')
        if facts.chat_template
        else ("completions", f'"prompt": {_json(facts)}')
    )
    fingerprint = (
        "That converter knows tokenizers by a fingerprint; a trimmed vocabulary as this one's is not among "
        'them, so expect "BPE pre-tokenizer was not recognized". For GGUF, train with '
        "`--set base_model.trim_vocabulary=false` on a base that llama.cpp knows."
        if facts.base["trimmed"]
        else "That converter knows tokenizers by a fingerprint, and refuses one that it does not."
    )
    told = {key: facts.generation[key] for key in ("temperature", "top_p") if key in facts.generation}
    drawn = "".join(f"PARAMETER {key} {value}\n" for key, value in told.items())
    return f"""\
## How to load it

Plain transformers, nothing else. This snippet is run by a test of the project.

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

folder = "."  # this folder, or its id on the hub
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModelForCausalLM.from_pretrained(folder)
prompt = {facts.prompt!r}.format(question={EXAMPLE!r})
{wrapped if facts.chat_template else ""}inputs = tokenizer(prompt, return_tensors="pt")
inputs.pop("token_type_ids", None)
output = model.generate(**inputs, max_new_tokens={facts.new_tokens})
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
```

What follows was **not run here**. vLLM:

```bash
vllm serve . --served-model-name empathy
curl http://localhost:8000/v1/{path} -H 'Content-Type: application/json' -d '{{"model": "empathy", \
{field}, "max_tokens": {facts.new_tokens}}}'
```

llama.cpp. {fingerprint}

```bash
git clone --depth 1 https://github.com/ggml-org/llama.cpp
python llama.cpp/convert_hf_to_gguf.py . --outfile model-bf16.gguf --outtype bf16
```

Ollama, from that file: put this into `Modelfile`, then `ollama create empathy -f Modelfile` and \
`ollama run empathy`.

```text
FROM ./model-bf16.gguf
{"" if facts.chat_template else "TEMPLATE " + _quoted("{{ .Prompt }}", facts)}\
{drawn}\
```"""


def _json(facts: Facts) -> str:
    """The example's prompt as a JSON string."""
    return json.dumps(facts.prompt.format(question=EXAMPLE), ensure_ascii=False)


def _quoted(place: str, facts: Facts) -> str:
    return f'"""{facts.prompt.replace("{question}", place)}"""\n'


def _label(facts: Facts) -> str:
    return f"""\
## Label its texts

Whoever shows, copies or passes on what this model writes says that a machine wrote it: in words that a \
reader sees, such as 「{_LABEL}」, and in the metadata of a file. In mainland China \
《人工智能生成合成内容标识办法》 (measures for labelling AI-generated content), in force since 2025-09-01, \
asks for both; in the European Union see article 50 of the AI Act (Regulation (EU) 2024/1689). Which rules \
bind you is for you to find out.

## Provenance

`provenance.json` holds, for machines: run `{facts.run_id}`, the digests of its stages, commit, versions, \
the SHA-256 of every file, `"ai_generated": true`."""
