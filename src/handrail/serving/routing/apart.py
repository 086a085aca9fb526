"""Training in a process of its own: what it needs (scikit-learn, scipy) is gone from memory when it is done.

A server that trained its head itself holds 150 MB more for the rest of its life, and answers nobody meanwhile.
"""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, resource_tracker
from typing import TYPE_CHECKING

from handrail.core.errors import HandrailError

if TYPE_CHECKING:
    from handrail.serving.routing.training import Example, TrainingReport


class TrainingStopped(HandrailError):
    """The training process ended without a result: killed, or out of memory."""

    code = "training_stopped"
    retryable = True


def train_here(examples: "Sequence[Example]", out_of_scope: Sequence[str], seed: int) -> "tuple[bytes, TrainingReport]":
    """The head's bytes and what training found."""
    from handrail.serving.routing.training import train

    head, report = train(examples, out_of_scope, seed=seed)
    return head.dump(), report


def train_apart(
    examples: "Sequence[Example]", out_of_scope: Sequence[str], seed: int
) -> "tuple[bytes, TrainingReport]":
    """The same, in a child process; blocks until it is done.

    Raises:
        TrainingStopped: the child died.
    """
    # Spawned, not forked: this process has threads.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(train_here, examples, out_of_scope, seed).result()
        except BrokenProcessPool as error:
            raise TrainingStopped("the process that trains the intents ended early; see that memory is free") from error
        finally:
            pool.shutdown()
            _stop_tracker()


def _stop_tracker() -> None:
    """End the helper process that the pool leaves behind: 12 MB for the rest of the server's life, for nothing."""
    tracker = getattr(resource_tracker, "_resource_tracker", None)
    stop = getattr(tracker, "_stop", None)
    if stop is not None:
        stop()
