"""The command line, ``python -m empathy_lib`` and a command of ``--help``; thin over the modules.

Knows: options, exit statuses (0 done, 1 a cell or check failed, 2 the user can fix it, 130 Ctrl-C), one line
for a UserError. Does not know: how anything is done. Each command imports what it needs, so that ``--help``
is quick.
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml
from pydantic import BaseModel

from empathy_lib.core.config import LAYOUT_NAMES, PROFILES, WHEEL, load_profile, parse_assignments
from empathy_lib.core.errors import UserError, extra

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
    profile: Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(PROFILES)}.")] = "laptop",
    first: Annotated[
        str, typer.Option("--from", metavar="NN", help="First notebook to run, e.g. 03.")
    ] = "01",
    last: Annotated[str, typer.Option("--to", metavar="NN", help="Last notebook to run.")] = "06",
    assignments: _Set = None,
    base_model: Annotated[str | None, typer.Option(help=f"A local folder, a hub id, or '{WHEEL}'.")] = None,
    data: _Data = None,
    run_dir: Annotated[str | None, typer.Option(help="Run folder; by default runs/<profile>/.")] = None,
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
    publish: Annotated[
        bool,
        typer.Option(
            "--publish", help="Afterwards put notebooks, figures and README table into the repository."
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
        tuple(assignments or ()),
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
    profile: Annotated[str, typer.Option(metavar="NAME", help=f"One of {', '.join(PROFILES)}.")] = "laptop",
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Only estimate what the teacher would be asked, and at what cost."),
    ] = False,
    assignments: _Set = None,
) -> None:
    """Turn a counselling corpus into a CoE-annotated, leak-free dataset: splits, card, rejected.jsonl and
    report.json."""
    from empathy_lib.core.run import read_json
    from empathy_lib.dataset import build, losses

    overrides = parse_assignments(assignments or [])
    overrides |= {key: value for key, value in (("dataset.data", data), ("dataset.format", layout)) if value}
    loaded = load_profile(profile, overrides)
    if dry_run:
        _print_estimate(
            build.teacher_estimate(build.to_annotate(loaded.dataset, loaded.seed), loaded.dataset)
        )
        return
    folder, reused = build.build_folder(loaded, out)
    report = read_json(folder / "report.json")
    print(f"{'reused' if reused else 'wrote'} {folder}")
    for key in ("read", "kept", "rejected", "removed", "questions", "answers", "leakage_pairs"):
        print(f"{key:14}{report[key]:>9,}")
    for line in filter(None, [losses.advice(report.get("removed_most")), *report.get("remarks", [])]):
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


@app.command()
def score(
    completions: Annotated[
        str,
        typer.Argument(metavar="COMPLETIONS", help="JSONL of {id, completion, references, question?, coe?}."),
    ],
    out: Annotated[
        str, typer.Option(metavar="FILE", help="JSON to write: {metric: {value, interval, n, …}}.")
    ],
    segment: Annotated[str, typer.Option(help="What n-grams are made of: word (jieba) or char.")] = "word",
    bootstrap: Annotated[int, typer.Option(min=10, help="Resamples for the 95 % intervals.")] = 1000,
    encoder: Annotated[
        str | None,
        typer.Option(
            metavar="e5|DIR|ID",
            help="Model for BERTScore and embedding cosine: e5 (multilingual-e5-small of the pinned wheel), "
            "a folder or a hub id; off by default.",
        ),
    ] = None,
) -> None:
    """Score any system's completions with the metrics of notebook 05."""
    from empathy_lib.app.score import read_lines, score_lines
    from empathy_lib.core.run import write_json
    from empathy_lib.metrics.registry import Settings

    if segment not in ("word", "char"):
        raise UserError(f"--segment {segment}: use word or char")
    lines, target = read_lines(Path(completions).expanduser()), _writable(out)
    settings = Settings(segment=segment, bootstrap=bootstrap)
    if encoder is not None:
        from empathy_lib.models.encoder import load_encoder

        model = load_encoder(encoder)
        settings = Settings(segment=segment, bootstrap=bootstrap, embed=model.embed, tokens=model.tokens)
    scores, note = score_lines(lines, settings)
    write_json(target, scores)
    cut, reasons = (scores["well_formed"][name] for name in ("reasoning_cut", "reasons"))
    print(f"{len(lines)} completions, {note}; n-grams of {'words' if segment == 'word' else 'characters'}")
    for name, entry in scores.items():
        if entry["value"] is not None:
            low, high = entry["interval"] or (None, None)
            print(
                f"{name:18}{entry['value']:9.3f}"
                + ("" if low is None else f"  [{low:.3f}, {high:.3f}]")
                + f"  n={entry['n']}"
            )
    print(
        f"not available: "
        f"{', '.join(name for name, entry in scores.items() if entry['value'] is None) or 'none'}"
    )
    if cut:
        print(f"reasoning blocks (<think> and its kind) were cut before scoring in {cut} completions")
    if reasons:
        print(f"not well-formed: {sum(reasons.values())} completions, each counted once, by its main fault")
        for reason, count in reasons.items():
            print(f"  {count:6}  {reason}")


@app.command()
def study(
    completions: Annotated[
        str, typer.Argument(metavar="COMPLETIONS", help="JSONL of {id, system, completion}.")
    ],
    posts: Annotated[
        str, typer.Option(metavar="FILE", help="JSONL of {id, question}: the posts that were answered.")
    ],
    out: Annotated[
        str,
        typer.Option(metavar="DIR", help="New folder: sheets, key, instructions, Label Studio project, CSV."),
    ],
    raters: Annotated[int, typer.Option(min=1)] = 20,
    items: Annotated[int, typer.Option(min=1, help="Posts, at most.")] = 100,
    items_per_rater: Annotated[int, typer.Option(min=0, help="Posts that each rater judges; 0 for all.")] = 0,
    systems_per_item: Annotated[int, typer.Option(min=0, help="Systems on a sheet; 0 for all.")] = 0,
    checks: Annotated[int, typer.Option(min=0, help="Attention checks for each rater.")] = 2,
    show_chain: Annotated[
        bool,
        typer.Option("--show-chain", help="Show the chain of empathy; it tells which systems write one."),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw.")] = 20250918,
) -> None:
    """Make a blinded ranking study of several systems' completions, to be run with people."""
    from empathy_lib.core.completions import read_completions, read_posts
    from empathy_lib.core.run import generator
    from empathy_lib.human_eval.design import build_study
    from empathy_lib.human_eval.run.interchange import write_package

    drawn = build_study(
        read_completions(Path(completions).expanduser()),
        read_posts(Path(posts).expanduser()),
        raters=raters,
        items=items,
        rng=generator(seed, "study"),
        items_per_rater=items_per_rater,
        systems_per_item=systems_per_item,
        attention_checks=checks,
        show_chain=show_chain,
    )
    folder = write_package(drawn, out)
    print(
        f"{raters} raters, {len(drawn.items)} posts, {len(drawn.systems)} systems: {len(drawn.sheets)} "
        f"sheets in {folder}"
    )
    if drawn.checks:
        print(
            f"posts held back for attention checks, which every rater gets: {len(drawn.checks)}; --checks 0 "
            f"rates them as well"
        )
    print(f"{folder / 'key.json'} says who is who: keep it from the raters")


@app.command()
def unblind(
    answers: Annotated[
        str,
        typer.Argument(
            metavar="ANSWERS", help="Label Studio's JSON export, or the study's sheets.csv filled in."
        ),
    ],
    key: Annotated[str, typer.Option(metavar="FILE", help="key.json of the same study.")],
    out: Annotated[
        str, typer.Option(metavar="FILE", help="CSV to write: rater,item,dimension,system,rank, for `rank`.")
    ],
) -> None:
    """Turn ranks of letters into ratings of systems."""
    from empathy_lib.human_eval.design import belong_together
    from empathy_lib.human_eval.design import unblind as name_systems
    from empathy_lib.human_eval.ratings import write_ratings
    from empathy_lib.human_eval.run.interchange import read_answers

    target, key_path = _writable(out), Path(key).expanduser()
    letters, skipped = read_answers(Path(answers).expanduser())
    write_ratings(name_systems(letters, key_path), target)
    print(f"{len(letters)} ranks of {letters['rater'].nunique()} raters in {target}")
    if skipped:
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(skipped.items()))
        print(f"skipped {skipped.total()} results that are no ranking: {kinds}")
    if not belong_together(letters, key_path):
        print(
            "not checked that answers and key are of one study: one of them carries no mark of its study; "
            "make sure yourself"
        )


@app.command()
def judge(
    completions: Annotated[
        str, typer.Argument(metavar="COMPLETIONS", help="JSONL of {id, system, completion, question?}.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Name the endpoint (OPENAI_BASE_URL, OPENAI_API_KEY) knows the judge by."
        ),
    ],
    out: Annotated[
        str, typer.Option(metavar="FILE", help="JSON to write: {win_rate, pairs, swap, agreement, …}.")
    ],
    posts: Annotated[
        str | None, typer.Option(metavar="FILE", help="JSONL of {id, question} for lines without a question.")
    ] = None,
    ratings: Annotated[
        str | None, typer.Option(metavar="CSV", help="Human ratings to say how far the judge agrees with.")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="Most posts to judge, drawn with the seed.")] = 30,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only estimate the calls, tokens and cost; nothing is sent.")
    ] = False,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="FIELD=VALUE",
            help="As of dataset.teacher, e.g. concurrency=8, input_price=2; repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the draw of posts and of the intervals.")] = 20250918,
) -> None:
    """Compare systems in pairs by a language model, each pair in both orders; posts and replies are
    de-identified and sent to it."""
    from empathy_lib.core.identity import file_digest
    from empathy_lib.core.run import cache_dir, write_json
    from empathy_lib.human_eval.agreement import judge_agreement
    from empathy_lib.human_eval.ratings import read_ratings
    from empathy_lib.metrics import judge as judging

    fields = parse_assignments(assignments or [])
    fields = {
        f"dataset.teacher.{key}": value for key, value in {"temperature": 0, **fields, "model": model}.items()
    }
    endpoint, target, cache = (
        load_profile("smoke", fields).dataset.teacher,
        _writable(out),
        cache_dir() / "judge",
    )
    people = read_ratings(Path(ratings).expanduser()) if ratings else None
    read = judging.read_replies(Path(completions).expanduser(), Path(posts).expanduser() if posts else None)
    duels = judging.duels(*read, most=questions, seed=seed)
    if dry_run:
        _print_estimate(judging.estimate(duels, endpoint, cache))
        return
    found = judging.judge(duels, endpoint, cache, seed=seed)
    found["agreement"] = None if people is None else judge_agreement(found["win_rate"], people)
    # tells verdicts on other completions apart
    found["judge"]["completions"] = file_digest(Path(completions).expanduser())
    write_json(target, found)
    print(", ".join(f"{key} {value}" for key, value in found["judge"].items() if key != "completions"))
    for system, rate in sorted(
        found["win_rate"][judging.OVERALL].items(), key=lambda entry: -entry[1]["value"]
    ):
        print(f"{system:16}wins {rate['value']:6.1%} of {rate['n']} comparisons overall, ties as a half")
    if people is not None:
        print(
            f"the order of systems against that of raters ({found['agreement']['raters']}): "
            f"{found['agreement'][judging.OVERALL]}"
        )


def _print_estimate(estimate: dict[str, float | None]) -> None:
    for key, value in estimate.items():
        print(
            f"{key:14}"
            + (
                "not known, no price is set"
                if value is None
                else f"{value:>14,.2f}"
                if key == "cost"
                else f"{value:>11,}"
            )
        )


@app.command()
def rate(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY", help="Folder with study.jsonl and key.json; ratings.sqlite is kept there."
        ),
    ],
    export: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the CSV that `rank` reads, and serve nothing.")
    ] = None,
    links: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the raters' links as a CSV too.")
    ] = None,
    forget: Annotated[
        str | None, typer.Option(metavar="RATER", help="Delete all that this rater gave, and serve nothing.")
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 is any free one.")] = 8642,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any other than this opens the page to the network.")
    ] = "127.0.0.1",
    url: Annotated[
        str | None, typer.Option(help="Address that raters use, if not http://HOST:PORT (behind a proxy).")
    ] = None,
) -> None:
    """Serve a study to its raters as a local web page, one secret link each; Ctrl-C ends it, the same command
    goes on."""
    from empathy_lib.human_eval.run import collect

    collection = collect.open_collection(study)
    if forget is not None:
        print(f"deleted {collection.store.forget(forget)} ranks of {forget}; the link begins anew")
        return
    if export is not None:
        counts = collect.export_ratings(collection, _writable(export, "--export"))
        print(
            f"wrote {export}: {counts['complete']} sheets; left out: {counts['begun']} incomplete, "
            f"{counts['untouched']} not begun"
        )
        return
    with extra("rate"):
        from empathy_lib.human_eval.run import page

    table = _writable(links, "--links") if links is not None else None
    taken = page.listen(host, port)
    address = page.address(taken, url or "")
    found = page.links(collection, address)
    if table:
        collect.write_links(found, table)
    for rater, link in found.items():
        print(f"{rater}  {link}")
    if page.is_open_to_others(taken):
        print(
            f"warning: listening at {host}: others in the network can reach this page, and without https in "
            f"front read what is sent"
        )
    print(
        f"ratings are kept in {collection.store.path}; Ctrl-C ends the page, the same command goes on with "
        f"the same links",
        flush=True,
    )
    page.serve(collection, taken, address)
    print(
        "{complete} sheets complete, {begun} begun, {untouched} not begun".format(**collection.store.counts())
    )


@app.command()
def rank(
    ratings: Annotated[
        str, typer.Argument(metavar="RATINGS", help="CSV of rater,item,dimension,system,rank.")
    ],
    out: Annotated[
        str,
        typer.Option(
            metavar="FILE",
            help="JSON to write: {dimension: {system: {win_at_1, …, strength}, pairwise, groups}}.",
        ),
    ],
    without: Annotated[
        list[str] | None, typer.Option(metavar="RATER", help="Leave this rater out; repeatable.")
    ] = None,
    interval: Annotated[
        str,
        typer.Option(
            help="How the 95 % intervals are made: two-way or bootstrap, both over raters and items."
        ),
    ] = "two-way",
    bootstrap: Annotated[int, typer.Option(min=10, help="Resamples, with --interval bootstrap.")] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 20250918,
) -> None:
    """Rank systems from a study's ratings: Win@K, mean rank, strengths and differences, with intervals and
    p-values over raters and items."""
    from empathy_lib.core.run import generator, write_json
    from empathy_lib.human_eval.checks import count_passed, without_checks
    from empathy_lib.human_eval.intervals import Bootstrap
    from empathy_lib.human_eval.ratings import is_simulated, read_ratings, without_raters
    from empathy_lib.human_eval.summary import describe, summarise

    if interval not in ("two-way", "bootstrap"):
        raise UserError(f"--interval {interval}: use two-way or bootstrap")
    table, target = read_ratings(Path(ratings).expanduser()), _writable(out)
    table = without_raters(table, without or [])
    found = summarise(
        table, bootstrap=Bootstrap(bootstrap, generator(seed, "rank")) if interval == "bootstrap" else None
    )
    write_json(target, found)
    people, checked = "SIMULATED raters" if is_simulated(table) else "raters", count_passed(table)
    print(
        f"{table['rater'].nunique()} {people}, {without_checks(table)['item'].nunique()} items; mean of the "
        f"dimensions, best first"
    )
    if without:
        print(f"left out: {', '.join(dict.fromkeys(without))}")
    print("\n".join(describe(found["all"])))
    if len(checked):
        print(
            f"attention checks passed: {checked['passed'].sum()} of {checked['checks'].sum()}; they are in "
            f"none of the figures"
        )
        failed = checked[checked["passed"] < checked["checks"]]
        for rater, row in failed.iterrows():
            print(
                f"  {rater} failed {row['checks'] - row['passed']} of {row['checks']}; to leave them out: "
                f"--without {rater}"
            )


def _writable(path: str, option: str = "--out") -> Path:
    target = Path(path).expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(
            f"{option} {path}: {'is a folder' if target.is_dir() else 'its folder does not exist'}; give the "
            f"path of a file"
        )
    return target


@app.command()
def doctor() -> None:
    """Check this machine and environment; each failed line says the remedy."""
    from empathy_lib.app import doctor as checks

    raise typer.Exit(checks.report(checks.run_checks()))


def main() -> None:
    """Entry point: a :class:`UserError` is one line on stderr and status 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a file's name need not be text
    try:
        app()
    except UserError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)
        sys.exit(2)
