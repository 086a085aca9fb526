"""Routing: which intent a message has, how sure that is, and whether to act, ask or give up.

Promise: a confidence of 0.9 is right about nine times in ten on messages like the examples, text about something else
is doubted, and every decision says why. Acts once a turn, after the input guardrails and before any model or tool.
Closed when it cannot read the head: loading fails with `HeadUnreadable`, and nothing is executed on a guess.
"""

from typing import TYPE_CHECKING, Any

from handrail.serving.routing.answers import parse_choice, parse_yes_no
from handrail.serving.routing.apart import TrainingStopped, train_apart, train_here
from handrail.serving.routing.policy import Action, Decision, Thresholds, decide
from handrail.serving.routing.schema import Intent, Intents

if TYPE_CHECKING:
    from handrail.serving.routing.evaluation import Evaluation, Figures, evaluate
    from handrail.serving.routing.head import HeadUnreadable, IntentHead, Prediction
    from handrail.serving.routing.training import Example, TooFewExamples, TrainingReport, train

__all__ = [
    "Action",
    "Decision",
    "Evaluation",
    "Example",
    "Figures",
    "HeadUnreadable",
    "Intent",
    "IntentHead",
    "Intents",
    "Prediction",
    "Thresholds",
    "TooFewExamples",
    "TrainingReport",
    "TrainingStopped",
    "decide",
    "evaluate",
    "parse_choice",
    "parse_yes_no",
    "train",
    "train_apart",
    "train_here",
]

# These need numpy, a tenth of a second to import: `handrail --help` and the schemas do without.
_LATER = {
    "Evaluation": "evaluation",
    "Figures": "evaluation",
    "evaluate": "evaluation",
    "HeadUnreadable": "head",
    "IntentHead": "head",
    "Prediction": "head",
    "Example": "training",
    "TooFewExamples": "training",
    "TrainingReport": "training",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
