"""Apple's device knows no float64. Tensors without data play it, and every operation on them is looked at."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from empathy_lib.models import decoding


class NoDoubles(TorchDispatchMode):
    """Fails where an operation makes float64 anywhere but on the CPU, as Metal does."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor) and each.dtype == torch.float64 and each.device.type != "cpu":
                raise TypeError(f"{func}: MPS does not support float64")
        return made


def test_tokens_are_drawn_without_float64(monkeypatch):
    told = decoding.widest(torch.device("mps"))
    monkeypatch.setattr(decoding, "widest", lambda device: told)
    with NoDoubles():
        drawn = decoding.Draw(0.7)(None, torch.empty(3, 50, device="meta"))
    assert drawn.device.type == "meta" and drawn.shape == (3, 50)


def test_elsewhere_tokens_are_drawn_in_float64():
    """A vocabulary's tail is finer than float32 can add up."""
    seen = []

    class Seeing(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            made = func(*args, **(kwargs or {}))
            seen.extend(each.dtype for each in tree_leaves(made) if isinstance(each, torch.Tensor))
            return made

    with Seeing():
        decoding.Draw(1.0)(None, torch.zeros(2, 9))
    assert torch.float64 in seen


def test_the_stub_would_see_a_float64():
    with NoDoubles(), pytest.raises(TypeError, match="float64"):
        torch.empty(3, device="meta").double()
