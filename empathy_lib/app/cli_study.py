"""The commands for a study with people: ``study``, ``unblind``, ``rate``, ``rank``.

Knows: their options and the lines on screen. Does not know: how a study is drawn, rated or counted.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from empathy_lib.app.cli_outputs import writable
from empathy_lib.core.errors import UserError, extra


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

    target, key_path = writable(out), Path(key).expanduser()
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
        counts = collect.export_ratings(collection, writable(export, "--export"))
        print(
            f"wrote {export}: {counts['complete']} sheets; left out: {counts['begun']} incomplete, "
            f"{counts['untouched']} not begun"
        )
        return
    with extra("rate"):
        from empathy_lib.human_eval.run import page

    table = writable(links, "--links") if links is not None else None
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
    from empathy_lib.core.files import write_json
    from empathy_lib.core.run import generator
    from empathy_lib.human_eval.checks import count_passed, without_checks
    from empathy_lib.human_eval.intervals import Bootstrap
    from empathy_lib.human_eval.ratings import is_simulated, read_ratings, without_raters
    from empathy_lib.human_eval.summary import describe, summarise

    if interval not in ("two-way", "bootstrap"):
        raise UserError(f"--interval {interval}: use two-way or bootstrap")
    table, target = read_ratings(Path(ratings).expanduser()), writable(out)
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
