"""Fit the heads of the injection classifier and write them: python -m scripts.injection.fit DATA_FOLDER

DATA_FOLDER holds `train.jsonl` and `dev.jsonl` of {"text", "label", "channel", "source"}. The same data and seed give
the same numbers. `--hold-out PREFIX` fits without the sources that begin so and prints what is found of them instead.
"""

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.linear_model import LogisticRegression

from handrail.protection.guardrails.calibration import threshold_of
from handrail.protection.guardrails.detector import Detector
from handrail.protection.guardrails.features import (
    CHARACTER_BUCKETS,
    WORD_BUCKETS,
    Ids,
    character_ids,
    tokens,
    weighted,
    word_ids,
)
from handrail.protection.guardrails.head import CHANNELS, Channel, InjectionHead, Linear
from handrail.protection.guardrails.normalise import fold
from scripts.injection.rows import Example, Row, examples, held_lookalikes, read_rows

SEED = 0
STRENGTH = 10.0
LOOKALIKES = 400
# They ask for harm but instruct no model: neither an attack nor harmless.
LEFT_OUT = "xstest_contrast"


def fit(rows: Sequence[Row], seed: int = SEED) -> InjectionHead:
    parts: dict[Channel, tuple[Linear, Linear]] = {}
    for channel in CHANNELS:
        made = examples(channel, rows, seed)
        folded = [fold(each.text) for each in made]
        words = _fit([word_ids(tokens(each)) for each in folded], made, WORD_BUCKETS)
        parts[channel] = words, _fit([character_ids(each) for each in folded], made, CHARACTER_BUCKETS)
    return InjectionHead(parts, dict.fromkeys(CHANNELS, 1.0))


def with_thresholds(head: InjectionHead, dev: Sequence[Row], lookalikes: Sequence[str]) -> InjectionHead:
    """The 99th percentile of what is harmless in the dev split, look-alikes included."""
    detector, found = Detector(head), dict[Channel, float]()
    for channel in CHANNELS:
        harmless = [each.text for each in dev if each.channel == channel and not each.label and each.source != LEFT_OUT]
        harmless += lookalikes if channel == "user" else []
        found[channel] = threshold_of(detector, harmless, channel)
    return InjectionHead(head.parts, found)


def _fit(ids: Sequence[Ids], made: Sequence[Example], buckets: int) -> Linear:
    texts = np.zeros(buckets)
    for each in ids:
        texts[np.unique(each)] += 1
    idf = (np.log((1 + len(ids)) / (1 + texts)) + 1).astype(np.float16)
    weight = np.array([each.weight for each in made])
    model: Any = LogisticRegression(C=STRENGTH, solver="liblinear", random_state=SEED)
    model.fit(_matrix(ids, idf), np.array([each.label for each in made]), sample_weight=weight)
    return Linear(idf, model.coef_[0].astype(np.float16), float(model.intercept_[0]))


def _matrix(ids: Sequence[Ids], idf: NDArray[np.float16]) -> Any:
    rows = [weighted(each, idf) for each in ids]
    ends = np.cumsum([0, *(len(once) for once, _ in rows)])
    data = np.concatenate([weights for _, weights in rows])
    return sparse.csr_matrix((data, np.concatenate([once for once, _ in rows]), ends), shape=(len(rows), len(idf)))


def _hold_out(folder: Path, prefix: str) -> None:
    """How well attacks of sources that were not fitted on are found, and their harmless rows let through."""
    train, dev = read_rows(folder / "train.jsonl"), read_rows(folder / "dev.jsonl")
    kept, kept_dev = ([each for each in rows if not each.source.startswith(prefix)] for rows in (train, dev))
    detector = Detector(with_thresholds(fit(kept), kept_dev, held_lookalikes(LOOKALIKES, seed=9)))
    for label, name in ((1, "found"), (0, "false alarms")):
        rows = [each for each in [*train, *dev] if each.source.startswith(prefix) and each.label == label]
        hits = sum(detector.scan(each.text, cast(Channel, each.channel)).flagged for each in rows)
        print(f"held out {prefix!r}: {name} {hits} of {len(rows)}")


def main() -> None:
    folder = Path(sys.argv[1])
    if "--hold-out" in sys.argv:
        _hold_out(folder, sys.argv[sys.argv.index("--hold-out") + 1])
        return
    lookalikes = held_lookalikes(LOOKALIKES, seed=9)
    head = with_thresholds(fit(read_rows(folder / "train.jsonl")), read_rows(folder / "dev.jsonl"), lookalikes)
    room = Path(str(files("handrail.protection.guardrails"))) / "data"
    (room / "injection.npz").write_bytes(head.dump())
    (room / "lookalikes.txt").write_text("\n".join(lookalikes) + "\n", encoding="utf-8")
    print(f"{room / 'injection.npz'}: {(room / 'injection.npz').stat().st_size:,} bytes, {dict(head.thresholds)}")


if __name__ == "__main__":
    main()
