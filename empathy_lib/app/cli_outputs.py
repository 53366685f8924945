"""The commands for what systems make: ``score`` and ``judge`` completions of any, ``export`` a run's policy,
``chat`` with it.

Knows: their options and the lines on screen. Does not know: how a completion is scored or judged, what an
exported folder holds.
"""

from __future__ import annotations

import contextlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from empathy_lib.core.config import load_profile, parse_assignments
from empathy_lib.core.errors import UserError, extra


def writable(path: str, option: str = "--out") -> Path:
    """The path of a file that can be written.

    Raises:
        UserError: it is a folder, or lies in none.
    """
    target = Path(path).expanduser()
    if target.is_dir() or not target.parent.is_dir():
        raise UserError(
            f"{option} {path}: {'is a folder' if target.is_dir() else 'its folder does not exist'}; give the "
            f"path of a file"
        )
    return target


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
            metavar="use|e5|DIR|ID",
            help="use: cosines by a judge of another kind than any decoder or e5 (USE, a pinned wheel). e5 "
            "(multilingual-e5-small, a pinned wheel), a folder or a hub id: BERTScore and embedding cosine. "
            "Off by default.",
        ),
    ] = None,
) -> None:
    """Score any system's completions with the metrics of notebook 05."""
    from empathy_lib.app.score import read_lines, score_lines
    from empathy_lib.core.files import write_json
    from empathy_lib.metrics.scoring import Settings

    if segment not in ("word", "char"):
        raise UserError(f"--segment {segment}: use word or char")
    lines, target = read_lines(Path(completions).expanduser()), writable(out)
    settings, known = Settings(segment=segment, bootstrap=bootstrap), {}
    if encoder == "use":
        from empathy_lib.models import use
        from empathy_lib.reward.kind import use_judge

        kind = use_judge()
        settings = replace(settings, kind=kind.score, kind_embed=kind.embed)
        known = {**kind.note(), "library": use.PACKAGE, "version": use.VERSION}
    elif encoder is not None:
        from empathy_lib.models.encoder import load_encoder

        model = load_encoder(encoder)
        settings = replace(settings, embed=model.embed, tokens=model.tokens)
    scores, note = score_lines(lines, settings)
    for name in ("kind_judge", "kind_embedding", "kind_embedding_mean"):
        scores[name] |= known
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
    from empathy_lib.core.files import cache_dir, write_json
    from empathy_lib.core.identity import file_digest
    from empathy_lib.human_eval.agreement import judge_agreement
    from empathy_lib.human_eval.ratings import read_ratings
    from empathy_lib.metrics import judge as judging

    fields = parse_assignments(assignments or [])
    fields = {
        f"dataset.teacher.{key}": value for key, value in {"temperature": 0, **fields, "model": model}.items()
    }
    endpoint, target, cache = (
        load_profile("smoke", fields).dataset.teacher,
        writable(out),
        cache_dir() / "judge",
    )
    people = read_ratings(Path(ratings).expanduser()) if ratings else None
    read = judging.read_replies(Path(completions).expanduser(), Path(posts).expanduser() if posts else None)
    duels = judging.duels(*read, most=questions, seed=seed)
    if dry_run:
        print_estimate(judging.estimate(duels, endpoint, cache))
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


def export(
    run_dir: Annotated[str, typer.Argument(metavar="RUN_DIR", help="Folder of a run, e.g. runs/laptop.")],
    out: Annotated[str, typer.Option(metavar="FOLDER", help="Folder to write, new or empty.")],
    system: Annotated[
        str, typer.Option(metavar="NAME", help="Whose policy: grpo, sft or sft_no_coe.")
    ] = "grpo",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a former export; anything else is never replaced.")
    ] = False,
    gguf: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="llama.cpp's convert_hf_to_gguf.py: write a GGUF file into the folder too."
        ),
    ] = None,
    push: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Upload to the hub too; without it nothing is sent."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="With --push: a public repository; by default it is private.")
    ] = False,
) -> None:
    """Write a run's trained policy as a folder that transformers, vLLM and the hub read, with its model
    card."""
    from empathy_lib.app import passing_on
    from empathy_lib.app.export import export as write

    if public and not push:
        raise UserError("--public says how to --push; give --push OWNER/NAME, or leave it out")
    if push:
        passing_on.check_repo_id(push)
    script = passing_on.converter(gguf) if gguf else None
    folder = write(run_dir, out, system, force=force)
    print(f"wrote {folder}: read README.md before you pass it on")
    if script:
        print(f"wrote {passing_on.write_gguf(folder, script)}")
    if push:
        print(f"uploaded to {passing_on.push(folder, push, public=public)}")


def chat(
    folder: Annotated[
        str, typer.Argument(metavar="RUN_DIR|FOLDER", help="A run, e.g. runs/laptop, or an exported policy.")
    ],
    system: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose policy of a run: grpo (default), sft or sft_no_coe."),
    ] = None,
    region: Annotated[
        str, typer.Option(help="Whose help lines are named: cn, hk, tw, sg or elsewhere.")
    ] = "cn",
    post: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="Answer this post alone; it stays in the shell's history. Else stdin is read.",
        ),
    ] = None,
    page: Annotated[
        bool, typer.Option("--page", help="Serve a page on this machine instead of the terminal.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port of the page; 0 is any free one.")] = 8643,
) -> None:
    """Answer posts by a trained policy, the crisis gate first; each post stands alone, nothing is stored."""
    if post is not None and (page or not post.strip()):
        raise UserError("--post: give a text, without --page; or leave it out")
    from empathy_lib.core.helplines import resources

    resources(region)  # refuses one that it does not know, before anything is loaded
    with contextlib.ExitStack() as opened:
        if page:
            with extra("chat"):
                from empathy_lib.app.chat import page as pages
            taken = opened.enter_context(pages.take(port))
        from rich.console import Console

        from empathy_lib.app.chat import answering, policy, terminal
        from empathy_lib.models.crisis import gate

        console, notices = Console(highlight=False), Console(stderr=True, highlight=False)
        whole = None if page or post or sys.stdin.isatty() else terminal.read_post(sys.stdin)
        chosen = policy.open_policy(folder, system)
        with contextlib.redirect_stdout(sys.stderr):  # it may say that the rules are alone
            look = gate()
        served = answering.Chat(chosen.speak, look, region, chosen.chain)
        label = f"{chosen.system}, {chosen.name}"
        if page:
            pages.serve(served, label, taken)
            return
        posts = [post or whole] if post or whole else terminal.typed_posts(sys.stdin, notices)
        try:
            terminal.talk(served, posts, label, console)
        except KeyboardInterrupt as error:
            raise typer.Exit(130) from error


def print_estimate(estimate: dict[str, float | None]) -> None:
    """The calls, tokens and cost that a dry run foresees, one a line."""
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
