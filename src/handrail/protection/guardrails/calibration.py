"""A deployment's own threshold: the score that 99 of 100 of its harmless texts stay below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from handrail.core import json
from handrail.core.errors import UsageError
from handrail.protection.guardrails.detector import Detector
from handrail.protection.guardrails.head import CHANNELS, Channel

FILE = "guardrails.json"
QUANTILE = 0.99
# Fewer harmless texts say nothing of their last hundredth.
FEWEST = 100


class TooFewTexts(UsageError):
    """A threshold can't be set on so little."""

    code = "too_few_texts"


class ThresholdsUnreadable(UsageError):
    """The file of thresholds is not what `handrail guard calibrate` writes."""

    code = "thresholds_unreadable"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was set, and on how many texts."""

    channel: Channel
    threshold: float
    texts: int
    lookalikes: int
    before: float


def threshold_of(detector: Detector, harmless: Sequence[str], channel: Channel) -> float:
    """Just above the 99th percentile of their scores; what a signature flags is above every threshold."""
    scores = np.array([detector.scan(text, channel).score for text in harmless])
    return min(float(np.quantile(scores, QUANTILE, method="higher")) + 1e-6, 0.99)


def calibrate(detector: Detector, harmless: Sequence[str], channel: Channel) -> Calibration:
    """Set on the deployment's texts together with the look-alikes that ship, for users' messages.

    Raises:
        TooFewTexts: fewer than 100 texts.
    """
    if len(harmless) < FEWEST:
        raise TooFewTexts(f"{len(harmless)} texts are too few to set a threshold on; give at least {FEWEST}")
    lookalikes = shipped_lookalikes() if channel == "user" else []
    threshold = threshold_of(detector, [*harmless, *lookalikes], channel)
    return Calibration(channel, threshold, len(harmless), len(lookalikes), detector.thresholds[channel])


def shipped_lookalikes() -> list[str]:
    """Harmless sentences full of an attack's words, made by us; nothing was fitted on their templates."""
    text = files("handrail.protection.guardrails").joinpath("data/lookalikes.txt").read_text(encoding="utf-8")
    return text.splitlines()


def read_thresholds(folder: Path) -> Mapping[Channel, float]:
    """The deployment's own, by channel; empty when it has set none.

    Raises:
        ThresholdsUnreadable: the file is there and is something else.
    """
    path = folder / FILE
    try:
        stored: Any = json.loads(path.read_bytes())["thresholds"]
        return {each: _between(stored[each]) for each in CHANNELS if each in stored}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise ThresholdsUnreadable(
            f"{path} holds no thresholds ({error}); run `handrail guard calibrate` again or remove it"
        ) from error


def write_threshold(folder: Path, channel: Channel, threshold: float) -> Path:
    """Add a channel's threshold to the deployment's file."""
    thresholds = {**read_thresholds(folder), channel: threshold}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    path.write_text(json.dumps({"thresholds": thresholds}) + "\n", encoding="utf-8")
    return path


def _between(value: Any) -> float:
    if not isinstance(value, float | int) or not 0 < value <= 1:
        raise ValueError(f"{value!r} is not a number above 0 and at most 1")
    return float(value)
