"""Memory of a process that trains several models one after another.

Knows: glibc's allocator, Python's collector, oneDNN's cache. Does not know: any model or trainer.

Tensors of like sizes come and go in every step, so freed memory is kept while a model trains. Between two
trainings, and between the rollouts and the passes of a GRPO step, it is given back: otherwise a process would
hold the sum of what each needed, not the largest.
"""

from __future__ import annotations

import ctypes
import functools
import gc
import os
import platform
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

Parameters, Result = ParamSpec("Parameters"), TypeVar("Result")
_MANY = 32  # texts of one call: what more leave behind is worth the moment to give it back
_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8  # constants of malloc.h


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """The C library where it is glibc, else None."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return None
    return ctypes.CDLL("libc.so.6")


def keep_freed_memory() -> bool:
    """Let glibc keep what tensors free instead of giving it back to the kernel; True where that could be set.

    By default each large tensor is mapped afresh and faulted in page by page: about an eighth of a training
    step on 2 cores. All threads share one arena: backward passes run in a thread of their own, which could
    not use what the forward pass has freed in another.
    """
    if (libc := _glibc()) is None:
        return False
    settings = ((_MMAP_MAX, 0), (_TRIM_THRESHOLD, 2**31 - 1), (_ARENA_MAX, 1))
    return all([libc.mallopt(name, value) for name, value in settings])


def bound_kernels() -> None:
    """Let oneDNN keep the kernels of 64 products instead of 1,024: each shape, and texts have many, leaves
    some megabytes behind. Obeyed where it is set before the first product; what the user has set stays."""
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")


def release_memory() -> None:
    """Collect what only cycles hold (trainers and models do) and give the freed pages back to the system."""
    gc.collect()
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def release_after(texts: int) -> None:
    """:func:`release_memory` after a call that read or wrote so many texts, where they were many."""
    if texts > _MANY:
        release_memory()


def releases_memory(work: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """For a function that trains or samples: whatever it held and does not return is freed when it is done,
    and what came before it is freed when it begins."""

    @functools.wraps(work)
    def alone(*args: Parameters.args, **how: Parameters.kwargs) -> Result:
        release_memory()
        try:
            return work(*args, **how)
        finally:
            release_memory()

    return alone
