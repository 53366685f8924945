"""What a training held is gone when it ends, also what only cycles hold, and its result is kept."""

import gc
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
