"""The command line, ``python -m empathy_lib --help``; thin over the modules.

Knows: options, exit statuses (0 done, 1 a cell or check failed, 2 the user can fix it, 130 Ctrl-C), one line
for a UserError. Does not know: how anything is done. Each command imports what it needs, so that ``--help``
is quick.
"""

from __future__ import annotations

import io
import re
import sys
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel

from empathy_lib.app import cli_outputs, cli_study
from empathy_lib.core.config import LAYOUT_NAMES, PROFILES, WHEEL, load_profile, parse_assignments
from empathy_lib.core.errors import UserError

app = typer.Typer(
    name="python -m empathy_lib",
    help="An open reproduction of Empathy-R1 in six notebooks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
_Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", help="Change one field, e.g. grpo.max_steps=20; repeatable."
    ),
]
_Profile = Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(PROFILES)}.")]
_BaseModel = Annotated[str | None, typer.Option(help=f"A local folder, a hub id, or '{WHEEL}'.")]
_RunDir = Annotated[str | None, typer.Option(help="Run folder; by default runs/<profile>/.")]
_Processes = Annotated[
    int | None,
    typer.Option(min=1, help="Processes that train together, one a GPU; the same as --set processes=N."),
]
_Data = Annotated[
    str | None,
    typer.Option(
        metavar="PATH|hf:ID",
        help="A file (.json, .jsonl, .csv, .tsv, .parquet, .txt; .gz and .zip too), a folder of them, "
        "'hf:owner/name', 'hf:owner/name:config', or "
        f"'synthetic'. Layouts, told from the content: {', '.join(LAYOUT_NAMES[1:])}.",
    ),
]


@app.command()
def reproduce(
    profile: _Profile = "laptop",
    first: Annotated[
        str, typer.Option("--from", metavar="NN", help="First notebook to run, e.g. 03.")
    ] = "01",
    last: Annotated[str, typer.Option("--to", metavar="NN", help="Last notebook to run.")] = "06",
    assignments: _Set = None,
    base_model: _BaseModel = None,
    data: _Data = None,
    run_dir: _RunDir = None,
    from_run: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", help="Begin with a copy of this run's finished stages (hard links), in --run-dir."
        ),
    ] = None,
    rebuild: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NN", help="Build a notebook's stages, or one by name, anew: 02, 03_judge; repeatable."
        ),
    ] = None,
    processes: _Processes = None,
    publish: Annotated[
        bool,
        typer.Option(
            "--publish",
            help="Afterwards put notebooks, figures and tables into the repository; no text of a corpus.",
        ),
    ] = False,
) -> None:
    """Run the six notebooks in order through papermill. The same command again resumes: finished stages are
    reused."""
    texts = {"--base-model": base_model, "--data": data, "--run-dir": run_dir, "--from-run": from_run}
    for option, value in texts.items():
        if value is not None and not value.strip():
            raise UserError(f"{option} is empty; give a value or leave it out")
    from rich.console import Console

    from empathy_lib.app import reproduce as driver

    request = driver.Request(
        profile,
        _number(first),
        _number(last),
        (*(assignments or ()), *([f"processes={processes}"] if processes else ())),
        base_model or "",
        data or "",
        run_dir or "",
        publish,
        tuple(name.zfill(2) if name.isdigit() else name for name in rebuild or ()),
        from_run or "",
    )
    try:
        plan = driver.check(request)
        driver.reproduce(plan, Console())
    except driver.NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as error:
        raise typer.Exit(130) from error
    if publish:
        from empathy_lib.app import report

        for path in report.publish(plan.run_dir, plan.parameters):
            print(f"published {path}")


TRAININGS = {"sft": "02", "reward": "03", "grpo": "04"}


@app.command()
def train(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help=f"One of {', '.join(TRAININGS)}.")],
    profile: _Profile = "laptop",
    run_dir: _RunDir = None,
    assignments: _Set = None,
    base_model: _BaseModel = None,
    data: _Data = None,
    processes: _Processes = None,
) -> None:
    """Train one stage of a run whose earlier stages are there: its notebook, from the last checkpoint on."""
    if stage not in TRAININGS:
        raise UserError(f"train '{stage}': no such stage; use one of {', '.join(TRAININGS)}")
    number = TRAININGS[stage]
    reproduce(
        profile, number, number, assignments, base_model, data, run_dir, processes=processes, publish=False
    )


def _number(text: str) -> str:
    """``3``, ``03`` and ``03_reward_model`` are all notebook ``03``; anything else is left for the check to
    refuse."""
    found = re.fullmatch(r"0?([1-9])(_\w*)?", text)
    return f"0{found[1]}" if found else text


@app.command()
def dataset(
    out: Annotated[
        str,
        typer.Option(
            metavar="DIR", help="Folder to write; made anew, or reused if it holds the same dataset."
        ),
    ],
    data: _Data = None,
    layout: Annotated[
        str | None, typer.Option("--format", metavar="F", help="Layout; by default told from the content.")
    ] = None,
    profile: _Profile = "laptop",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only estimate what the teacher would be asked, and at what cost."),
    ] = False,
    executor: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Build shard by shard: local, slurm or ray (extra [datatrove])."),
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="Shards; the same comes out of any number.")] = 8,
    workers: Annotated[
        int, typer.Option(min=0, help="Tasks at a time; 0: one a core, or without limit on a cluster.")
    ] = 0,
    executor_options: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="YAML with fields of datatrove's executor: time, partition, …"),
    ] = None,
    assignments: _Set = None,
) -> None:
    """Turn a counselling corpus into a CoE-annotated, leak-free dataset: splits, card, rejected.jsonl and
    report.json."""
    from empathy_lib.core.files import read_json
    from empathy_lib.dataset import annotate, build, losses
    from empathy_lib.dataset.shards.plan import Plan, read_options

    overrides = parse_assignments(assignments or [])
    overrides |= {key: value for key, value in (("dataset.data", data), ("dataset.format", layout)) if value}
    loaded = load_profile(profile, overrides)
    if dry_run:
        cli_outputs.print_estimate(
            build.teacher_estimate(build.to_annotate(loaded.dataset, loaded.seed), loaded.dataset)
        )
        return
    plan = Plan(executor, tasks, workers, read_options(executor_options)) if executor else None
    folder, reused = build.build_folder(loaded, out, plan)
    report = read_json(folder / "report.json")
    print(f"{'reused' if reused else 'wrote'} {folder}")
    for key in ("read", "kept", "rejected", "removed", "questions", "answers", "leakage_pairs"):
        print(f"{key:14}{report[key]:>9,}")
    named = annotate.named_nothing_line(report.get("rules_named_nothing"))
    for line in filter(None, [named, losses.advice(report.get("removed_most")), *report.get("remarks", [])]):
        print(line)
    if report["rejected"]:
        print(f"what was rejected, and why: {folder / 'rejected.jsonl'}")


@app.command()
def profile(
    name: Annotated[str, typer.Argument(metavar="NAME", help=f"One of {', '.join(PROFILES)}.")],
    assignments: _Set = None,
) -> None:
    """Print a profile as YAML, every field with its meaning: these are the fields that --set takes."""
    print("\n".join(describe_profile(load_profile(name, parse_assignments(assignments or [])))))


def describe_profile(model: BaseModel, indent: str = "") -> list[str]:
    """Lines of YAML that give the model back, each described field with its description above."""
    lines = []
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        if field.description:
            lines.append(f"{indent}# {field.description}")
        if isinstance(value, BaseModel):
            lines += [f"{indent}{name}:", *describe_profile(value, indent + "  ")]
        else:
            plain = list(value) if isinstance(value, tuple) else value
            text = yaml.safe_dump(
                plain, default_flow_style=True, allow_unicode=True, width=10_000
            ).removesuffix("...\n")
            lines.append(f"{indent}{name}: {text.strip()}")
    return lines


for _command in (
    cli_outputs.score,
    cli_study.study,
    cli_study.unblind,
    cli_outputs.judge,
    cli_outputs.export,
    cli_outputs.chat,
    cli_study.rate,
    cli_study.rank,
):
    app.command()(_command)


@app.command()
def doctor(
    profile: Annotated[
        str, typer.Option(help="also say what this profile needs of a card: GiB and hours, estimated")
    ] = "",
    card: Annotated[
        str, typer.Option(help="which card; by default the one the profile was written for")
    ] = "",
    assignments: _Set = None,
) -> None:
    """Check this machine and environment; each failed line says the remedy."""
    from empathy_lib.app import doctor as checks

    if profile:
        raise typer.Exit(checks.report_plan(profile, card, parse_assignments(assignments or [])))
    raise typer.Exit(checks.report(checks.run_checks()))


def main() -> None:
    """Entry point: a :class:`UserError` is one line on stderr and status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        app()
    except UserError as error:
        # what a file calls its fields and members must not speak to the terminal
        line = re.sub(r"[\x00-\x1f\x7f-\x9f]", "\ufffd", " ".join(str(error).splitlines()))
        print(f"error: {line}", file=sys.stderr)
        sys.exit(2)
