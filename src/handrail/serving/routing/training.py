"""Trains an intent head: margins and a small network, calibration on held-out folds, the out-of-scope gate."""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from handrail.core.errors import UsageError
from handrail.serving.routing.bayes import fit_likelihoods, likelihoods
from handrail.serving.routing.calibration import Blend, Curve, Scores, Trust, fit_blend, fit_curve
from handrail.serving.routing.embedding import Embedding, shared_embedding
from handrail.serving.routing.evaluation import Figures, figures
from handrail.serving.routing.gate import PRIOR_GENERIC, PRIOR_GIVEN, Gate
from handrail.serving.routing.head import IntentHead
from handrail.serving.routing.linear import Linear, fit_margins, fit_stranger, margins
from handrail.serving.routing.network import Floats, Ints, Network, fit_network
from handrail.serving.routing.ngrams import Vocabulary, clean
from handrail.serving.routing.parts import Parts
from handrail.serving.routing.rows import Rows, seen_from, stacked
from handrail.serving.routing.signals import COUNT, Neighbours, read_scores, sample_of

# Many, so that heads that miss a fold stand for the head on everything.
FOLDS = 10
# So many held-out rows fix two temperatures and a gate; more folds would only cost time, as do many intents.
ENOUGH_HELD_OUT = 2400
_MOST_BOUNDARIES = 600
# With fewer out-of-scope examples of the project's own, the generic ones are added.
ENOUGH_OUT_OF_SCOPE = 100
# A gate fitted on a handful of rows would refuse at random.
FEWEST_FOR_A_GATE = 20
_SPARSE_INTENT = 10
_GATE_FOLDS = 5
_OTHERS = 3000
# Two texts nearer than this share most of their words or their topic.
_NEAR = 0.5

Source = Literal["given", "given and generic", "generic", "none"]


@dataclass(frozen=True, slots=True)
class Example:
    """One thing a user may say, and what they mean by it."""

    text: str
    intent: str


class TooFewExamples(UsageError):
    """There is nothing to learn from these examples."""

    code = "too_few_examples"


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How good the head is on rows it had not seen, and what to know before trusting it.

    `held_out` is measured out of fold, on heads trained on nine tenths of the examples.
    """

    examples: int
    intents: int
    out_of_scope_examples: int
    out_of_scope_source: Source
    generic_dropped: int
    held_out: Figures | None
    warnings: tuple[str, ...]

    def sentence(self) -> str:
        if self.held_out is None:
            return f"trained on {self.examples} examples of {self.intents} intents; too few to measure anything"
        told = self.held_out
        scope = {
            "none": "nothing is known about text out of scope",
            "generic": "generic text out of scope",
            "given": "text out of scope",
            "given and generic": "text out of scope (given and generic)",
        }[self.out_of_scope_source]
        outside = scope if told.oos_autonomous is None else f"{told.oos_autonomous:.1%} of {scope} would run unasked"
        return (
            f"trained on {self.examples} examples of {self.intents} intents; on held-out examples {told.accuracy:.1%} "
            f"right, {told.coverage_above_0_9:.1%} above 0.9, ECE {told.ece:.3f}; {outside}"
        )


def train(
    examples: Sequence[Example],
    out_of_scope: Sequence[str] = (),
    *,
    seed: int = 0,
    embedding: Embedding | None = None,
) -> tuple[IntentHead, TrainingReport]:
    """The head and what is known about it; equal rows and seed give equal bytes.

    Raises:
        TooFewExamples: no examples, a single intent, or an example without a word.
    """
    from threadpoolctl import threadpool_limits

    labels = _require_intents(examples)
    # One BLAS thread: the same sums in the same order on every machine, and the other cores stay free for turns.
    with threadpool_limits(1):
        return _Trainer(examples, labels, out_of_scope, seed, embedding or shared_embedding()).run()


@lru_cache(maxsize=1)
def generic_out_of_scope() -> tuple[str, ...]:
    """Everyday questions and small talk of our own writing, for projects that give no out-of-scope examples."""
    text = resources.files(__package__ or "").joinpath("data", "out_of_scope.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if line)


def folds_of(intents: Ints, count: int) -> Ints:
    """Which fold holds each row out: neighbouring rows of an intent go together.

    Examples that stand side by side were often written by one person in one go. Split at random, the near copies in
    training make the held-out half look easier than live traffic is.
    """
    folds = np.zeros(len(intents), dtype=np.intp)
    for intent in range(int(intents.max()) + 1):
        own = np.flatnonzero(intents == intent)
        folds[own] = (np.arange(len(own)) * count // len(own) + intent) % count
    return folds


@dataclass(frozen=True, slots=True)
class _Learned:
    """The three classifiers: boundaries, network, and the words' log likelihoods."""

    boundaries: Linear
    network: Network
    words: Floats

    def scores(self, rows: Rows) -> Scores:
        return Scores(
            margins(self.boundaries, rows), self.network.scores(rows.embedding), likelihoods(self.words, rows)
        )


@dataclass(frozen=True, slots=True)
class _HeldOut:
    """What heads trained without these rows said about them."""

    scores: Scores
    known_words: NDArray[np.float64]
    vectors: Floats
    along: Floats
    neighbours: tuple[Neighbours, ...]

    def __len__(self) -> int:
        return len(self.vectors)

    def judged(self, blend: Blend) -> tuple[NDArray[np.float64], Ints]:
        """The signals of every row and the intent it would be given."""
        logits = blend.logits(self.scores)
        rows = zip(logits, self.known_words.tolist(), self.along, self.neighbours, strict=True)
        found = [read_scores(*row) for row in rows]
        return np.array([one.signals for one in found]).reshape(-1, COUNT), logits.argmax(axis=1)

    def only(self, index: Ints | NDArray[np.bool_]) -> "_HeldOut":
        places = np.arange(len(self))[index].tolist()
        return _HeldOut(
            self.scores.only(index),
            self.known_words[index],
            self.vectors[index],
            self.along[index],
            tuple(self.neighbours[place] for place in places),
        )


def _joined(parts: Sequence[_HeldOut]) -> _HeldOut:
    return _HeldOut(
        Scores.joined([part.scores for part in parts]),
        np.concatenate([part.known_words for part in parts]),
        np.vstack([part.vectors for part in parts]),
        np.vstack([part.along for part in parts]),
        tuple(one for part in parts for one in part.neighbours),
    )


class _Trainer:
    def __init__(
        self,
        examples: Sequence[Example],
        labels: Sequence[str],
        out_of_scope: Sequence[str],
        seed: int,
        embedding: Embedding,
    ) -> None:
        number = {label: index for index, label in enumerate(labels)}
        texts = [example.text for example in examples]
        self.labels = labels
        self.seed = seed
        self.given = [text for text in out_of_scope if clean(text).strip()]
        generic = generic_out_of_scope() if len(self.given) < ENOUGH_OUT_OF_SCOPE else ()
        self.intents = np.array([number[example.intent] for example in examples], dtype=np.intp)
        self.vocabulary = Vocabulary.of([clean(text) for text in texts])
        self.rows = Rows.read(texts, self.vocabulary, embedding)
        self.outside = Rows.read([*self.given, *generic], self.vocabulary, embedding)

    def run(self) -> tuple[IntentHead, TrainingReport]:
        held_rows, inside, outside = self._hold_out()
        kept = self._without_claimed(outside)
        outside_kept = None if outside is None else outside.only(kept)
        blend, calibrated, measured = Blend(), _Calibrated(Trust.plain(COUNT), None, Curve()), None
        if inside is not None:
            intents = self.intents[held_rows]
            blend = fit_blend(inside.scores, intents)
            strangers = self._strangers(held_rows, kept)
            calibrated, measured = _calibrate(inside, outside_kept, intents, blend, strangers)
        report = self._report(kept, calibrated.gate is not None, measured)
        return self._head(blend, calibrated, report), report

    def _hold_out(self) -> tuple[Ints, _HeldOut | None, _HeldOut | None]:
        folds = folds_of(self.intents, FOLDS)
        plans = _enough_folds(folds, self.intents)
        if not plans:
            return np.empty(0, dtype=np.intp), None, None
        inside: list[_HeldOut] = []
        outside: list[_HeldOut] = []
        for place, (learn, test) in enumerate(plans):
            learned = self._fit(learn)
            inside.append(self._said(learned, learn, self.rows.take(test)))
            strangers = np.arange(place, len(self.outside), len(plans))
            outside.append(self._said(learned, learn, self.outside.take(strangers)))
        order = np.concatenate([np.arange(place, len(self.outside), len(plans)) for place in range(len(plans))])
        back = np.argsort(order, kind="stable")
        return np.concatenate([test for _, test in plans]), _joined(inside), _joined(outside).only(back)

    def _fit(self, learn: Ints) -> _Learned:
        rows, intents, count = self.rows.take(learn), self.intents[learn], len(self.labels)
        # Side by side: both leave Python for most of their time, and neither sees the other's random numbers.
        with ThreadPoolExecutor(1) as aside:
            network = aside.submit(fit_network, rows.embedding, intents, count, self.seed)
            boundaries = fit_margins(rows, intents, count, self.seed)
            found = fit_likelihoods(rows, intents, count, len(self.vocabulary.words))
            return _Learned(boundaries, network.result(), found)

    def _said(self, learned: _Learned, learn: Ints, rows: Rows) -> _HeldOut:
        training = self.rows.take(learn)
        seen = seen_from(training, rows, self.vocabulary)
        neighbours = Neighbours.of(training.embedding, self.intents[learn], len(self.labels))
        return _HeldOut(
            learned.scores(seen),
            seen.known_words,
            seen.embedding,
            seen.embedding @ neighbours.directions,
            (neighbours,) * len(rows),
        )

    def _without_claimed(self, outside: _HeldOut | None) -> NDArray[np.bool_]:
        """Leaves out generic texts that lie inside one of the project's own intents: here they are in scope."""
        kept = np.ones(len(self.outside), dtype=np.bool_)
        if outside is not None:
            sample = self.rows.embedding[sample_of(self.intents, len(self.labels))[0]]
            nearest = (self.outside.embedding @ sample.T).max(axis=1)
            claimed = (outside.scores.margins.max(axis=1) > 0) & (nearest > _NEAR)
            kept[len(self.given) :] = ~claimed[len(self.given) :]
        return kept

    def _strangers(self, held_rows: Ints, kept: NDArray[np.bool_]) -> "_Strangers":
        """Held-out rows, then what is out of scope, then others in scope for the final boundary."""
        others = np.setdiff1d(np.arange(len(self.rows)), held_rows)
        others = others[np.linspace(0, len(others) - 1, min(len(others), _OTHERS)).astype(np.intp)]
        judged = stacked(self.rows.take(held_rows), self.outside.take(np.flatnonzero(kept)))
        prior = PRIOR_GIVEN if len(self.given) >= ENOUGH_OUT_OF_SCOPE else PRIOR_GENERIC
        return _Strangers(judged, self.rows.take(others), int(kept.sum()), prior, self.seed)

    def _report(self, kept: NDArray[np.bool_], gated: bool, measured: Figures | None) -> TrainingReport:
        source: Source = "none"
        if gated:
            generic_kept = bool(kept[len(self.given) :].any())
            source = ("given and generic" if generic_kept else "given") if self.given else "generic"
        counts = Counter(self.intents.tolist())
        sparse = [label for index, label in enumerate(self.labels) if counts[index] < _SPARSE_INTENT]
        return TrainingReport(
            examples=len(self.intents),
            intents=len(self.labels),
            out_of_scope_examples=int(kept.sum()) if gated else 0,
            out_of_scope_source=source,
            generic_dropped=int((~kept).sum()),
            held_out=measured,
            warnings=tuple(_warnings(sparse, source, measured)),
        )

    def _head(self, blend: Blend, calibrated: "_Calibrated", report: TrainingReport) -> IntentHead:
        learned = self._fit(np.arange(len(self.intents)))
        boundaries = learned.boundaries
        coefficients = boundaries.terms * np.float32(blend.margin_scale)
        coefficients[: len(learned.words)] += learned.words * np.float32(blend.likelihood_scale)
        parts = Parts(
            coefficients=coefficients,
            vector_coefficients=boundaries.embedding * np.float32(blend.margin_scale),
            bias=boundaries.bias * np.float32(blend.margin_scale),
            network=learned.network.scaled(blend.opinion_scale),
            neighbours=Neighbours.of(self.rows.embedding, self.intents, len(self.labels)),
            trust=calibrated.trust,
            gate=calibrated.gate,
            curve=calibrated.curve,
        )
        return IntentHead(self.labels, self.vocabulary, parts, {"seed": self.seed, "training": asdict(report)})


@dataclass(frozen=True, slots=True)
class _Calibrated:
    trust: Trust
    gate: Gate | None
    curve: Curve


@dataclass(frozen=True, slots=True)
class _Strangers:
    """What the stranger boundary learns from; the last `count` of the judged rows are out of scope."""

    judged: Rows
    others: Rows
    count: int
    prior: float
    seed: int

    def fit(self, index: Ints) -> Linear:
        rows = stacked(self.judged.take(index), self.others)
        is_outside = np.zeros(len(rows), dtype=np.bool_)
        is_outside[: len(index)] = index >= len(self.judged) - self.count
        return fit_stranger(rows, is_outside, self.seed)

    def margins(self) -> NDArray[np.float64]:
        """Of every judged row, by a boundary that had not seen it."""
        found = np.zeros(len(self.judged))
        for learn, test in _gate_folds(len(found)):
            found[test] = margins(self.fit(learn), self.judged.take(test))[:, 0]
        return found


def _calibrate(
    inside: _HeldOut, outside: _HeldOut | None, intents: Ints, blend: Blend, strangers: _Strangers
) -> tuple[_Calibrated, Figures]:
    """Trust, gate and curve on everything held out, and figures whose gate had not seen the row it judges."""
    signals, named = inside.judged(blend)
    right = named == intents
    trust = Trust.fit(signals, right)
    confidence = trust.chance(signals)
    if outside is None or len(outside) < FEWEST_FOR_A_GATE:
        curve = fit_curve(confidence, right)
        return _Calibrated(trust, None, curve), figures(curve(confidence), right, None)
    strange, _ = outside.judged(blend)
    everything = np.column_stack([np.vstack([signals, strange]), strangers.margins()])
    vectors = np.vstack([inside.vectors, outside.vectors])
    is_outside = np.arange(len(everything)) >= len(right)
    boundary = strangers.fit(np.arange(len(everything)))
    confidence = np.concatenate([confidence, trust.chance(strange)])
    doubt = np.zeros(len(everything))
    for learn, test in _gate_folds(len(everything)):
        gate = Gate.fit(everything[learn], vectors[learn], is_outside[learn], boundary, strangers.prior)
        doubt[test] = gate.doubt(everything[test], vectors[test])
    confidence *= 1 - doubt
    curve = fit_curve(confidence[~is_outside], right)
    measured = figures(curve(confidence[~is_outside]), right, curve(confidence[is_outside]))
    return _Calibrated(trust, Gate.fit(everything, vectors, is_outside, boundary, strangers.prior), curve), measured


def _gate_folds(rows: int) -> Iterator[tuple[Ints, Ints]]:
    places = np.arange(rows)
    for fold in range(_GATE_FOLDS):
        test = places % _GATE_FOLDS == fold
        yield np.flatnonzero(~test), np.flatnonzero(test)


def _enough_folds(folds: Ints, intents: Ints) -> list[tuple[Ints, Ints]]:
    """Training and held-out rows of each fold used; rows whose intent the fold never saw can't be judged."""
    plans: list[tuple[Ints, Ints]] = []
    held_out = 0
    most = max(2, _MOST_BOUNDARIES // (int(intents.max()) + 1))
    for fold in range(FOLDS):
        learn = np.flatnonzero(folds != fold)
        known = np.unique(intents[learn])
        test = np.flatnonzero((folds == fold) & np.isin(intents, known))
        if len(known) < 2 or not len(test):
            continue
        plans.append((learn, test))
        held_out += len(test)
        if held_out >= ENOUGH_HELD_OUT or len(plans) >= most:
            break
    return plans


def _require_intents(examples: Sequence[Example]) -> list[str]:
    if not examples:
        raise TooFewExamples("there are no examples to train on; give at least two intents with ten examples each")
    for example in examples:
        if not any(map(str.isalnum, clean(example.text))):
            raise TooFewExamples(f"the example {example.text!r} of intent {example.intent!r} has no word; write it out")
    labels = sorted({example.intent for example in examples})
    if len(labels) == 1:
        raise TooFewExamples(
            f"all {len(examples)} examples belong to {labels[0]!r}, so there is nothing to tell "
            "apart; add a second intent"
        )
    return labels


def _warnings(sparse: Sequence[str], source: Source, measured: Figures | None) -> list[str]:
    found: list[str] = []
    if sparse:
        named = ", ".join(repr(label) for label in sparse[:5]) + (" and others" if len(sparse) > 5 else "")
        found.append(f"{len(sparse)} intents have fewer than {_SPARSE_INTENT} examples ({named}); add some")
    if measured is None:
        found.append("too few examples to hold any out: confidences are not calibrated; give each intent ten")
    if source == "none":
        found.append("no out-of-scope examples: nothing stops a confident answer to an unrelated question; add some")
    elif source == "generic":
        found.append(
            "out-of-scope examples are generic: questions near your own topics are refused less often than said"
        )
    return found
