"""One training in several processes: who is first, who waits, how a global batch is dealt, how they start.

Knows: torchrun and what it tells each process. Does not know: what is trained.

A notebook asks for a training by :func:`launch`. With one process it is a plain call. With more, torchrun
starts them, each reads the same call from a file, and gradients are averaged (DistributedDataParallel). A
global batch stays what the profile says: it is dealt out, never multiplied. On several nodes
``EMPATHY_LAUNCHER`` holds the words that start them (``srun torchrun --nnodes 2 …``); run folder and
temporary folder must be on disks that all of them see.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import cloudpickle
import torch
from accelerate import PartialState
from torch import distributed

from empathy_lib.core.config import check_spread
from empathy_lib.core.errors import UserError

Result = TypeVar("Result")
LAUNCHER = "EMPATHY_LAUNCHER"
# what `accelerate launch --use_fsdp` would say; it is then obeyed wherever accelerate wraps a model
FSDP2 = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT",
}
_TOLD = 30  # last lines of a training that died, for the error
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG of linux/prctl.h
_C = ctypes.CDLL(None) if sys.platform == "linux" else None


def count() -> int:
    """How many processes train together; 1 outside of :func:`launch`."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def is_sharded() -> bool:
    """Whether weights and optimizer are dealt out to the processes (``sharding``), not copied to each."""
    return os.environ.get("ACCELERATE_USE_FSDP") == "true"


def is_first() -> bool:
    """Whether this process writes logs and artefacts; the only one does."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def wait() -> None:
    """Until all processes are here."""
    if distributed.is_initialized():
        distributed.barrier()


def of_first(value: Any) -> Any:
    """The first process' value, in all of them."""
    if not distributed.is_initialized():
        return value
    told = [value]
    distributed.broadcast_object_list(told)
    return told[0]


def share(batch: int, name: str) -> int:
    """One process' part of a global batch of ``batch``.

    Raises:
        UserError: it does not divide; ``name`` is the field that says how large it is.
    """
    if batch % count():
        raise UserError(
            f"{name}: {batch} cannot be dealt evenly to {count()} processes; make it a multiple of "
            f"{count()}, or set processes to a divisor of {batch}"
        )
    return batch // count()


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Over the processes, for a backward pass that DistributedDataParallel has not seen."""
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= count()


def launch(
    train: Callable[..., Result], *given: Any, processes: int = 1, sharding: str = "none", **named: Any
) -> Result:
    """``train(*given, **named)``, here or in ``processes`` of them, whose lines appear as they come.

    What is given may be anything: a function of a notebook's cell, a reward model. It travels in a file that
    only this user can read, and that goes with the training.

    Args:
        sharding: ``none``, or ``fsdp2`` to deal out weights and optimizer too.

    Raises:
        UserError: one process is to shard; a process met one, or died; then its last lines are told. The
            processes end with this one, so a kernel that is stopped leaves none behind; a further call goes
            on from the last checkpoint.
    """
    check_spread(processes, sharding)
    if processes == 1:
        return train(*given, **named)
    with tempfile.TemporaryDirectory(prefix="empathy-") as folder:  # of mode 0700
        call, answer = Path(folder) / "call", Path(folder) / "answer"
        call.write_bytes(cloudpickle.dumps((train, given, named)))
        words = [*_launcher(processes), "-m", "empathy_lib.models.processes"]
        words += [str(call), str(processes), sharding]
        environment = {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // processes)), **os.environ}
        started = subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            start_new_session=True,
            preexec_fn=_end_with_parent,
        )
        last: deque[str] = deque(maxlen=_TOLD)
        try:
            for line in started.stdout:
                print(line, end="", flush=True)
                last.append(line)
            code = started.wait()
        finally:
            if started.poll() is None:
                os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        if reasons := sorted(Path(folder).glob("reason*"), key=lambda path: path.stat().st_mtime_ns):
            raise UserError(reasons[0].read_text(encoding="utf-8"))
        if code:
            raise UserError(
                f"{train.__name__} in {processes} processes ended with code {code}; the same cell goes on "
                f"from the last checkpoint. Its last lines:\n{''.join(last)}"
            )
        return cloudpickle.loads(answer.read_bytes())


def _launcher(processes: int) -> list[str]:
    if words := os.environ.get(LAUNCHER):
        return shlex.split(words)
    torchrun = [sys.executable, "-m", "torch.distributed.run"]
    return [*torchrun, "--standalone", "--nproc_per_node", str(processes)]


def _end_with_parent() -> None:
    """Die with what started this process: a killed kernel, or a killed torchrun, leaves no training behind.
    Linux alone can be asked for that."""
    if _C is not None:
        _C.prctl(_DEATH_SIGNAL, signal.SIGKILL)


def main(call: Path, processes: int, sharding: str) -> None:
    """What each process does: join the others, train, and let the first write what training returns.

    A :class:`UserError` is left in a file beside ``call``, since torchrun tells its parent a number only.
    """
    _end_with_parent()
    os.environ |= FSDP2 if sharding == "fsdp2" else {}
    try:
        _train(call, processes)
    except UserError as error:
        call.with_name(f"reason{os.environ['RANK']}").write_text(str(error), encoding="utf-8")
        raise


def _train(call: Path, processes: int) -> None:
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # before anything is loaded
    state = PartialState(cpu=not torch.cuda.is_available())
    if count() != processes:
        raise UserError(
            f"processes={processes} was asked for, but {count()} joined ({state.distributed_type}); start "
            f"them with torchrun, or mend {LAUNCHER}"
        )
    train, given, named = cloudpickle.loads(call.read_bytes())
    result = train(*given, **named)
    if is_first():
        call.with_name("answer").write_bytes(cloudpickle.dumps(result))
    wait()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
