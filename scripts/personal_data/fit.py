"""Fit the tagger of personal data and write its head: python -m scripts.personal_data.fit DATA_FOLDER

DATA_FOLDER holds `dialogues/multidogo/*.jsonl` and `intents/banking77/train.jsonl`. The same data and seed give the
same numbers. Thresholds, one a kind, come from messages that a fit did not see (five folds of conversations); the
figures are of others still.
"""

import random
import sys
import zlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from handrail.protection.privacy import features
from handrail.protection.privacy.cues import cue_of_question
from handrail.protection.privacy.detector import find_by_tagger
from handrail.protection.privacy.folding import fold
from handrail.protection.privacy.spans import Kind
from handrail.protection.privacy.tagger import Tagger
from scripts.personal_data.generate import Message, messages
from scripts.personal_data.rows import chats, queries

SEED = 0
LABELS = (Kind.PERSON, Kind.ADDRESS, Kind.SSN, Kind.CARD, Kind.PHONE, Kind.EMAIL, Kind.ACCOUNT, Kind.PASSWORD)
MADE, HARD, PLAIN = 9000, 6000, 5000
# How much a message counts: of people's chats, the same with capitals, and made ones.
CHAT, CAPITALS, MADE_UP = 0.7, 0.2, 0.25
EPOCHS, BATCH, RATE, DECAY = 12, 64, 0.12, 3e-4
FOLDS = 5
LEAST_PRECISION = 0.905

Array = NDArray[np.float32]


class Example:
    """The features and labels of one message; `weight` is how much it counts."""

    def __init__(self, message: Message, weight: float = 1.0) -> None:
        text, places = fold(message.text)
        assert places is None or len(places) == len(message.text) or not message.spans
        spans = features.tokens(text)
        self.ids = features.ids(text, spans, cue_of_question(message.asked))
        self.gold = np.array([_label(message, start, end) for start, end in spans], dtype=np.int64)
        self.weight = weight


def _label(message: Message, start: int, end: int) -> int:
    return next((1 + LABELS.index(kind) for a, b, kind in message.spans if a < end and start < b), 0)


def fit(examples: Sequence[Example], seed: int = SEED) -> tuple[Array, Array, Array]:
    """Weights, moves and starts of a conditional random field, by AdaGrad over batches; the last epochs averaged."""
    examples = [each for each in examples if len(each.gold)]
    count, rng = len(LABELS) + 1, np.random.default_rng(seed)
    parts = [np.zeros((features.BUCKETS, count)), np.zeros((count, count)), np.zeros(count)]
    squares = [np.full_like(part, 1e-2) for part in parts]
    mean, seen = [np.zeros_like(part) for part in parts], 0
    by_length = sorted(range(len(examples)), key=lambda at: (len(examples[at].gold), zlib.crc32(str(at).encode())))
    batches = [by_length[at : at + BATCH] for at in range(0, len(by_length), BATCH)]
    for epoch in range(EPOCHS):
        loss = 0.0
        for batch in rng.permutation(len(batches)):
            loss += _step(parts, squares, [examples[at] for at in batches[batch]])
        print(f"epoch {epoch + 1}: {loss / len(examples):.4f} nats a message")
        if epoch >= EPOCHS - 4:
            mean, seen = [total + part for total, part in zip(mean, parts, strict=True)], seen + 1
    weights, moves, starts = (total / seen for total in mean)
    weights[0] = 0
    return weights.astype(np.float32), moves.astype(np.float32), starts.astype(np.float32)


def _step(parts: list[NDArray[Any]], squares: list[NDArray[Any]], batch: Sequence[Example]) -> float:
    """One batch: forward and backward over messages side by side, then one step against the gradient."""
    weights, moves, starts = parts
    longest, count = max(len(each.gold) for each in batch), weights.shape[1]
    flat = np.concatenate([each.ids for each in batch])
    ends = np.cumsum([0, *(len(each.gold) for each in batch)])
    matrix: Any = sparse.csr_matrix(
        (np.ones(flat.size), flat.ravel(), np.arange(0, flat.size + 1, flat.shape[1])),
        shape=(len(flat), features.BUCKETS),
    )
    scores = matrix @ weights
    padded = np.full((longest, len(batch), count), 0.0)
    inside = np.zeros((longest, len(batch)), dtype=bool)
    for at, each in enumerate(batch):
        padded[: len(each.gold), at] = scores[ends[at] : ends[at + 1]]
        inside[: len(each.gold), at] = True
    forward = np.empty_like(padded)
    forward[0] = padded[0] + starts
    for place in range(1, longest):
        step = _sum(forward[place - 1][:, :, None] + moves[None], 1) + padded[place]
        forward[place] = np.where(inside[place][:, None], step, forward[place - 1])
    total = _sum(forward[-1], 1)
    backward = np.zeros_like(padded)
    for place in range(longest - 2, -1, -1):
        step = _sum(moves[None] + (padded[place + 1] + backward[place + 1])[:, None, :], 2)
        backward[place] = np.where(inside[place + 1][:, None], step, 0.0)
    marginals = np.exp(forward + backward - total[None, :, None]) * inside[:, :, None]
    move_gradient, start_gradient, loss = np.zeros_like(moves), np.zeros_like(starts), 0.0
    share = np.array([each.weight for each in batch])
    for place in range(1, longest):
        pair = forward[place - 1][:, :, None] + moves[None] + (padded[place] + backward[place])[:, None, :]
        pair = np.exp(pair - total[:, None, None]) * (inside[place] * share)[:, None, None]
        move_gradient += pair.sum(axis=0)
    gradient = np.empty_like(scores)
    for at, each in enumerate(batch):
        own, gold = slice(ends[at], ends[at + 1]), each.gold
        gradient[own] = marginals[: len(gold), at]
        gradient[own][np.arange(len(gold)), gold] -= 1
        gradient[own] *= each.weight
        start_gradient += each.weight * (marginals[0, at] - np.eye(count)[gold[0]])
        np.subtract.at(move_gradient, (gold[:-1], gold[1:]), each.weight)
        path = padded[np.arange(len(gold)), at, gold].sum() + starts[gold[0]] + moves[gold[:-1], gold[1:]].sum()
        loss += float(each.weight * (total[at] - path))
    used = np.unique(flat)
    gradients = [np.asarray(matrix[:, used].T @ gradient), move_gradient, start_gradient]
    for part, square, change, rows in zip(parts, squares, gradients, (used, slice(None), slice(None)), strict=True):
        change = change / len(batch) + DECAY * part[rows]
        square[rows] += change**2
        part[rows] -= RATE * change / np.sqrt(square[rows])
    return loss


def _sum(values: NDArray[Any], axis: int) -> NDArray[Any]:
    top = values.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - top).sum(axis=axis)) + top.squeeze(axis)


def examples_of(labelled: Sequence[Message], plain: Sequence[Message]) -> list[Example]:
    """People's chats twice, with and without what came before; made ones; queries that hold nothing."""
    rng = random.Random(SEED)
    found = [Example(each, CHAT) for each in labelled]
    found += [Example(Message(each.text, None, each.spans), CHAT) for each in labelled]
    found += [Example(_capitals(each), CAPITALS) for each in labelled]
    found += [Example(each, MADE_UP) for each in messages("personal", MADE, rng)]
    found += [Example(each, 2 * MADE_UP) for each in messages("hard", HARD, rng)]
    return found + [Example(each, 2 * MADE_UP) for each in rng.sample(list(plain), min(PLAIN, len(plain)))]


def _capitals(message: Message) -> Message:
    """The chats are all in small letters; others write names and beginnings large."""
    characters = list(message.text)
    for start, end, kind in message.spans:
        if kind in (Kind.PERSON, Kind.ADDRESS):
            characters[start:end] = message.text[start:end].title()
    text = "".join(characters)
    return Message(text[:1].upper() + text[1:], None, message.spans) if len(text) == len(message.text) else message


def thresholds_of(labelled: Sequence[tuple[str, Message]], plain: Sequence[Message]) -> dict[Kind, float]:
    """One a kind, so that spans found in unseen conversations are right with `LEAST_PRECISION`, and most are found.

    Each kind takes the threshold with the most right spans less `price` times the wrong ones; the price rises until
    the precision is there.
    """
    found: dict[Kind, list[tuple[float, bool]]] = {kind: [] for kind in LABELS}
    for fold_number in range(FOLDS):
        held = [zlib.crc32(conversation.encode()) // 3 % FOLDS == fold_number for conversation, _ in labelled]
        seen = [each for (_, each), out in zip(labelled, held, strict=True) if not out]
        tagger = Tagger(LABELS, *fit(examples_of(seen, plain)), dict.fromkeys(LABELS, 0.5))
        for each in (each for (_, each), out in zip(labelled, held, strict=True) if out):
            for span in find_by_tagger(tagger, fold(each.text)[0], None, None):
                right = any(span.start < end and start < span.end for start, end, _ in each.spans)
                found[span.kind].append((span.score, right))
    chosen: dict[Kind, float] = dict.fromkeys(LABELS, 0.99)
    for price in np.arange(0.5, 12, 0.1):
        chosen = {kind: _best(marks, float(price)) for kind, marks in found.items()}
        kept = [right for kind, marks in found.items() for score, right in marks if score >= chosen[kind]]
        if np.mean(kept) >= LEAST_PRECISION:
            print(f"price {price}: {len(kept)} spans kept, {np.mean(kept):.3f} of them right")
            break
    return chosen


def _best(marks: Sequence[tuple[float, bool]], price: float) -> float:
    """The threshold from .5 to .99 with the most right spans less `price` times the wrong ones."""
    grid = [round(float(each), 2) for each in np.arange(0.5, 0.995, 0.01)]
    return max(grid, key=lambda least: sum(1 if right else -price for score, right in marks if score >= least))


def main() -> None:
    folder = Path(sys.argv[1])
    labelled = chats(folder / "dialogues/multidogo", test=False)
    plain = list(queries(folder / "intents/banking77/train.jsonl"))
    thresholds = thresholds_of(labelled, plain)
    every = fit(examples_of([each for _, each in labelled], plain))
    head = Tagger(LABELS, *every, thresholds).dump()
    target = Path(str(files("handrail.protection.privacy"))) / "data/personal_data.npz"
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(head)
    print(f"{target}: {len(head):,} bytes, thresholds {thresholds}")


if __name__ == "__main__":
    main()
