"""What a training held is gone when it ends, also what only cycles hold, and its result is kept."""

import gc
import os
import subprocess
import sys
import weakref

import pytest

from empathy_lib.models.memory import keep_freed_memory, release_memory, releases_memory


class Trainer:
    """Holds itself, as trainers do through their callbacks."""

    def __init__(self):
        self.callbacks = [self]


@pytest.fixture
def no_collector():
    gc.disable()
    yield
    gc.enable()


def test_cycles_of_a_training_are_freed_with_it(no_collector):
    held = []

    @releases_memory
    def train(steps):
        """Trains."""
        trainer = Trainer()
        held.append(weakref.ref(trainer))
        return steps + 1

    assert train(steps=1) == 2 and train.__doc__ == "Trains."
    assert [reference() for reference in held] == [None]


def test_an_error_comes_through(no_collector):
    @releases_memory
    def train():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train()


def test_memory_can_be_kept_and_released_wherever_this_runs():
    assert keep_freed_memory() in (True, False)
    assert release_memory() is None


@pytest.mark.parametrize(("before", "after"), [(None, "64"), ("7", "7")])
def test_kernels_are_bounded_before_the_first_product_and_as_the_user_says(before, after):
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    environment = {key: value for key, value in os.environ.items() if key != name}
    environment |= {} if before is None else {name: before}
    code = f"import os, empathy_lib.models.base; print(os.environ['{name}'])"
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert told.stdout.strip() == after, told.stderr
