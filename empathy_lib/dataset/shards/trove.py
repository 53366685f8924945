"""The steps on datatrove's executors: on this machine, by Slurm or by Ray; what is done is not done again.

Knows: the order of the steps, where the work folder lies, which tasks are complete. Does not know: what a
task does (``steps``). Of datatrove only executors and the pipeline step are used: its MinHash pipeline never
asks for the exact Jaccard index.

The work folder holds the source's texts as they are, so only its owner can read it, and it is removed when
the dataset folder is whole.
"""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from joblib import Parallel, cpu_count, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from empathy_lib.core.config import DatasetConfig
from empathy_lib.core.errors import UserError, extra
from empathy_lib.core.identity import code_digest, digest
from empathy_lib.dataset.build import dataset_request
from empathy_lib.dataset.shards import source, steps
from empathy_lib.dataset.shards.files import Job
from empathy_lib.dataset.shards.plan import Plan

with extra("datatrove"):
    from datatrove.executor.local import LocalPipelineExecutor
    from datatrove.executor.ray import RayPipelineExecutor
    from datatrove.executor.slurm import SlurmPipelineExecutor
    from datatrove.pipeline.base import PipelineStep
    from datatrove.utils.logging import logger

# each step's work, and whether it is one task for all shards
STEPS: dict[str, tuple[Callable[[Job, int], None], bool]] = {
    "read": (source.read, False),
    "settle": (source.settle, True),
    "clean": (steps.clean, False),
    "like_questions": (steps.like_questions, False),
    "merge": (steps.merge, True),
    "gather": (steps.gather, False),
    "related": (steps.related, False),
    "deal": (steps.deal, True),
    "write": (steps.write, False),
}

ONE_TASK = "one_task"  # options of these steps alone, which need more memory


class Step(PipelineStep):
    """One step of the construction as datatrove wants it; its documents are files of ours."""

    type = "empathy"

    def __init__(self, name: str, job: Job) -> None:
        self.name, self.job = name, job
        super().__init__()

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> None:
        """Do the work of one task."""
        with self.track_time(unit="task"):
            STEPS[self.name][0](self.job, rank)


class _Local(LocalPipelineExecutor):
    """Datatrove's local executor on joblib's processes: a killed one ends the run, where a pool would wait
    for it for ever, and they serve all steps. Logs go to files alone."""

    def run(self) -> None:
        ranks = self.get_incomplete_ranks()
        Parallel(n_jobs=self.workers)(delayed(self.run_quietly)(rank) for rank in ranks)

    def run_quietly(self, rank: int) -> None:
        """One task, without a line on stderr."""
        with contextlib.redirect_stderr(io.StringIO()):
            self._run_for_rank(rank)


def executors(
    job: Job, plan: Plan
) -> dict[str, LocalPipelineExecutor | SlurmPipelineExecutor | RayPipelineExecutor]:
    """An executor for each step, in order; on Slurm and Ray each waits for the one before.

    Raises:
        UserError: no such executor, or options that it does not take or cannot do without.
    """
    kinds = {"local": _Local, "slurm": SlurmPipelineExecutor, "ray": RayPipelineExecutor}
    if plan.executor not in kinds:
        raise UserError(f"--executor {plan.executor}: no such executor; use {', '.join(kinds)}")
    made: dict[str, Any] = {}
    before = None
    for name, (_, single) in STEPS.items():
        if name == "settle" and not job.by_file:
            continue
        single = single or (name == "read" and not job.by_file)
        options = {key: value for key, value in plan.options.items() if key != ONE_TASK}
        if single:
            options |= plan.options.get(ONE_TASK) or {}
        if plan.executor == "local":
            options |= {"workers": plan.workers or cpu_count()}
        else:
            options |= {"workers": plan.workers or -1, "depends": before}
        if plan.executor == "slurm":
            options |= {"job_name": f"empathy-{name}"}
        try:
            before = made[name] = kinds[plan.executor](
                pipeline=[Step(name, job)],
                tasks=1 if single else job.tasks,
                logging_dir=str(job.folder / "logs" / name),
                **options,
            )
        except TypeError as error:
            raise UserError(f"--executor-options for {plan.executor}: {error}") from error
    return made


def build_dataset(config: DatasetConfig, seed: int, folder: Path, work: Path, plan: Plan) -> dict[str, Any]:
    """What :func:`empathy_lib.dataset.build.build_dataset` does, shard by shard.

    Args:
        work: folder of the shards, on a disk that all machines see. Those of another request are removed.

    Raises:
        UserError: as there; the teacher is asked for; a task was killed or jobs were submitted (the same
            command goes on).
    """
    if config.annotator == "teacher":
        raise UserError("dataset.annotator=teacher asks one endpoint, not shards; leave --executor out")
    started = time.monotonic()
    by_file = source.reads_by_file(config, plan.tasks)
    job = Job(fresh(work, config, seed, plan.tasks), config, seed, plan.tasks, by_file)
    logger.remove()  # datatrove's lines of this process; tasks have files of their own
    made = executors(job, plan)
    if plan.executor == "slurm":
        _submit(made)
    for name, executor in made.items():
        _run(name, executor)
    figures = steps.finish(job, folder, started)
    shutil.rmtree(job.folder)
    with contextlib.suppress(OSError):  # holds something else
        work.rmdir()
    return figures


def fresh(work: Path, config: DatasetConfig, seed: int, tasks: int) -> Path:
    """The folder of this request within the work folder; one that another request left there is removed."""
    own = work / digest([dataset_request(config), seed, tasks, code_digest("dataset")])
    work.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in work.iterdir():
        if other != own and re.fullmatch("[0-9a-f]{16}", other.name):
            shutil.rmtree(other)
    own.mkdir(mode=0o700, exist_ok=True)
    return own


def _submit(made: Mapping[str, SlurmPipelineExecutor]) -> None:
    """Submit the jobs of all steps that are not complete, each after the one before."""
    if any(executor.get_incomplete_ranks() for executor in made.values()):
        list(made.values())[-1].run()
        raise UserError(
            "jobs were submitted to Slurm; when squeue shows none of them, give the same command again "
            "(before that, it would submit them twice)"
        )


def _run(name: str, executor: LocalPipelineExecutor | RayPipelineExecutor) -> None:
    """Run the tasks of a step that are not complete."""
    try:
        if executor.get_incomplete_ranks():
            executor.run()
    except TerminatedWorkerError as error:
        raise UserError(
            f"step {name}: a process was killed, perhaps for want of memory; the same command goes on; fewer "
            "--workers need less memory"
        ) from error
    if left := executor.get_incomplete_ranks():
        logs = executor.logging_dir.resolve_paths("logs")
        raise UserError(
            f"step {name}: task(s) {left[:5]} did not finish, see {logs}; the same command goes on"
        )
