"""For tests alone: accelerate takes its FSDP path on CPUs too, where it leaves FSDP out in silence."""

import contextlib
from unittest import mock

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType

from empathy_lib.models import training

_init, _sharded = AcceleratorState.__init__, training.sharded


def _with_fsdp(self, *given, fsdp_plugin=None, **named):
    _init(self, *given, fsdp_plugin=fsdp_plugin, **named)
    if fsdp_plugin is not None and self.distributed_type == DistributedType.MULTI_CPU:
        self.distributed_type, self.fsdp_plugin = DistributedType.FSDP, fsdp_plugin
        PartialState._shared_state["distributed_type"] = DistributedType.FSDP


def _recomputing(told, betas, checkpointing):
    return _sharded(told | {checkpointing: True}, betas, checkpointing)


@contextlib.contextmanager
def fsdp_on_cpus():
    """Sharding by gloo, and activations checkpointed as on a GPU."""
    with (
        mock.patch.object(AcceleratorState, "__init__", _with_fsdp),
        mock.patch.object(training, "sharded", _recomputing),
    ):
        yield
