"""The trained intent head: plain arrays that read one text in a fraction of a millisecond, and their bytes."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from handrail.core.errors import UsageError
from handrail.serving.routing.calibration import Curve, Trust
from handrail.serving.routing.embedding import DIMENSIONS, NAME, Embedding, shared_embedding
from handrail.serving.routing.gate import Gate
from handrail.serving.routing.network import HIDDEN, Floats, Network
from handrail.serving.routing.ngrams import Vocabulary, clean
from handrail.serving.routing.signals import COUNT, Neighbours, signals_of

FORMAT = "handrail-intent-head"
VERSION = 1
_RANKED = 3
_TABLES = (
    "coefficients", "vector_coefficients", "bias", "hidden", "hidden_bias", "output", "output_bias", "neighbours",
)  # fmt: skip
# Zip entries carry a date; one fixed date keeps equal heads equal byte for byte.
_DATE = (1980, 1, 1, 0, 0, 0)
_UNREADABLE = (
    zipfile.BadZipFile, zlib.error, KeyError, ValueError, TypeError, EOFError, OSError, NotImplementedError,
    RuntimeError, MemoryError, IndexError, OverflowError, SyntaxError, AttributeError,
)  # fmt: skip


class HeadUnreadable(UsageError):
    """These bytes are no intent head this version can use."""

    code = "intent_head_unreadable"


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the user probably wants. `confidence` has the doubt about the scope in it; `ranked` is the top three."""

    intent: str
    confidence: float
    ranked: tuple[tuple[str, float], ...]
    out_of_scope: float


class IntentHead:
    """Reads texts. Safe to share between threads; holds about 4 bytes x n-grams x intents."""

    def __init__(self, labels: Sequence[str], vocabulary: Vocabulary, parts: "Parts", facts: Mapping[str, Any]) -> None:
        self.labels = tuple(labels)
        self.facts = dict(facts)
        self._vocabulary = vocabulary
        # Rounded once here, so that a head just trained answers exactly as it will after a round trip.
        self._parts = parts.rounded()
        self._embedding: Embedding | None = None

    def predict(self, text: str) -> Prediction:
        """The likeliest intents of one text. Text without a word is out of scope with certainty."""
        cleaned = clean(text)
        if not any(map(str.isalnum, cleaned)):
            return Prediction(self.labels[0], 0.0, tuple((label, 0.0) for label in self.labels[:_RANKED]), 1.0)
        if self._embedding is None:
            self._embedding = shared_embedding()
        vector = self._embedding.vector(cleaned)
        terms = self._vocabulary.terms(cleaned)
        parts = self._parts
        rows = parts.coefficients.take(terms.ids, axis=0)
        margins = terms.weights @ rows + vector @ parts.vector_coefficients + parts.bias
        logits = cast(Floats, margins + parts.network.scores(vector))
        chances = np.exp(logits - logits.max())
        chances /= chances.sum()
        signals = signals_of(logits, chances, terms.known_words, vector, parts.neighbours)
        out_of_scope = 0.0
        if parts.gate is not None:
            evidence = np.empty(COUNT + 1)
            evidence[:COUNT] = signals
            evidence[COUNT] = parts.gate.margin(terms.ids, terms.weights, vector)
            out_of_scope = float(parts.gate.doubt(evidence, vector))
        confidence = parts.curve.at(float(parts.trust.chance(signals)) * (1 - out_of_scope))
        return self._prediction(chances, confidence, out_of_scope)

    def _prediction(self, chances: Floats, confidence: float, out_of_scope: float) -> Prediction:
        order = np.argsort(-chances, kind="stable")[:_RANKED].tolist()
        # The runners-up keep their distance to the first: shares of one confidence, not three verdicts.
        shares = (chances[order] / chances[order[0]]).tolist()
        ranked = tuple((self.labels[place], confidence * share) for place, share in zip(order, shares, strict=True))
        return Prediction(self.labels[order[0]], confidence, ranked, out_of_scope)

    def dump(self) -> bytes:
        """The head as an npz archive without pickles; equal heads give equal bytes."""
        parts = self._parts
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "embedding": NAME,
            "labels": self.labels,
            "curve": [parts.curve.rise, parts.curve.fall, parts.curve.shift],
            "trust_bias": parts.trust.bias,
            "gate_bias": None if parts.gate is None else [parts.gate.bias, parts.gate.stranger_bias],
            "facts": self.facts,
        }
        half = {name: value.astype(np.float16) for name, value in parts.tables().items()}
        arrays: dict[str, NDArray[Any]] = {
            "meta": _packed(json.dumps(meta, sort_keys=True, ensure_ascii=True)),
            "words": self._vocabulary.words,
            "characters": self._vocabulary.characters,
            "idf": self._vocabulary.idf,
            "starts": parts.neighbours.starts.astype(np.int64),
            "trust": np.stack([parts.trust.center, parts.trust.spread, parts.trust.weights]),
            **half,
        }
        if parts.gate is not None:
            arrays["gate"] = np.stack([parts.gate.center, parts.gate.spread, parts.gate.weights])
            arrays["gate_vector"] = parts.gate.vector_weights
            arrays["stranger_terms"], arrays["stranger_vector"] = parts.gate.stranger_terms, parts.gate.stranger_vector
        return _archive(arrays)

    @classmethod
    def load(cls, data: bytes) -> Self:
        """Raises `HeadUnreadable` for bytes that are not a head, are damaged, or are of another format version."""
        try:
            return cls._from(_arrays(data))
        except HeadUnreadable:
            raise
        except _UNREADABLE as error:
            raise HeadUnreadable(
                f"these {len(data)} bytes are not an intent head, or are damaged ({type(error).__name__}: {error}); "
                "train it again with `handrail intents train`"
            ) from error

    @classmethod
    def _from(cls, arrays: Mapping[str, NDArray[Any]]) -> Self:
        meta = json.loads(_text(arrays["meta"]))
        if (meta["format"], meta["version"], meta["embedding"]) != (FORMAT, VERSION, NAME):
            raise HeadUnreadable(
                f"this head is {meta['format']!r} version {meta['version']!r} over {meta['embedding']!r}, and "
                f"this Handrail reads {FORMAT!r} version {VERSION} over {NAME!r}; "
                "train it again with `handrail intents train`"
            )
        vocabulary = Vocabulary(arrays["words"], arrays["characters"], arrays["idf"])
        _require_shapes(arrays, len(vocabulary), len(meta["labels"]))
        return cls(meta["labels"], vocabulary, Parts.read(arrays, meta), meta["facts"])


@dataclass(frozen=True, slots=True)
class Parts:
    """What training finds, ready to be multiplied: a row an n-gram, a column an intent."""

    coefficients: Floats
    vector_coefficients: Floats
    bias: Floats
    network: Network
    neighbours: Neighbours
    trust: Trust
    gate: Gate | None
    curve: Curve

    def tables(self) -> dict[str, Floats]:
        """The large ones, kept in half precision."""
        return {
            "coefficients": self.coefficients,
            "vector_coefficients": self.vector_coefficients,
            "bias": self.bias,
            "hidden": self.network.hidden,
            "hidden_bias": self.network.hidden_bias,
            "output": self.network.output,
            "output_bias": self.network.output_bias,
            "neighbours": self.neighbours.vectors,
        }

    def rounded(self) -> Self:
        half = {name: table.astype(np.float16) for name, table in self.tables().items()}
        return self._widened(half, self.neighbours.starts, self.trust, self.gate, self.curve)

    @classmethod
    def read(cls, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> Self:
        gate = None
        if meta["gate_bias"] is not None:
            center, spread, weights = arrays["gate"]
            bias, stranger_bias = map(float, meta["gate_bias"])
            stranger = (arrays["stranger_terms"], arrays["stranger_vector"], stranger_bias)
            gate = Gate(center, spread, weights, arrays["gate_vector"], bias, *stranger)
        center, spread, weights = arrays["trust"]
        trust = Trust(center, spread, weights, float(meta["trust_bias"]))
        return cls._widened(arrays, arrays["starts"].astype(np.intp), trust, gate, Curve(*map(float, meta["curve"])))

    @classmethod
    def _widened(
        cls, half: Mapping[str, NDArray[Any]], starts: NDArray[np.intp], trust: Trust, gate: Gate | None, curve: Curve
    ) -> Self:
        """Single precision again: it multiplies twenty times as fast as half does."""
        wide = {name: half[name].astype(np.float32) for name in _TABLES}
        network = Network(wide["hidden"], wide["hidden_bias"], wide["output"], wide["output_bias"])
        return cls(
            coefficients=wide["coefficients"],
            vector_coefficients=wide["vector_coefficients"],
            bias=wide["bias"],
            network=network,
            neighbours=Neighbours(wide["neighbours"], starts),
            trust=trust,
            gate=gate,
            curve=curve,
        )


def _require_shapes(arrays: Mapping[str, NDArray[Any]], terms: int, labels: int) -> None:
    expected = {
        "idf": (terms,),
        "coefficients": (terms, labels),
        "vector_coefficients": (DIMENSIONS, labels),
        "bias": (labels,),
        "hidden": (DIMENSIONS, HIDDEN),
        "hidden_bias": (HIDDEN,),
        "output": (HIDDEN, labels),
        "output_bias": (labels,),
        "starts": (labels + 1,),
        "neighbours": (int(arrays["starts"][-1]), DIMENSIONS),
        "trust": (3, COUNT),
    }
    if "gate" in arrays:
        expected |= {"gate": (3, COUNT + 1), "gate_vector": (DIMENSIONS,)}
        expected |= {"stranger_terms": (terms,), "stranger_vector": (DIMENSIONS,)}
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(f"{name!r} has shape {arrays[name].shape!r} instead of {shape!r}")


def _packed(text: str) -> NDArray[np.uint8]:
    return np.frombuffer(text.encode(), dtype=np.uint8)


def _text(array: NDArray[Any]) -> str:
    return array.tobytes().decode()


def _archive(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            part = io.BytesIO()
            np.lib.format.write_array(part, np.ascontiguousarray(arrays[name]), version=(1, 0), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _DATE), part.getvalue())
    return buffer.getvalue()


def _arrays(data: bytes) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {
            name.removesuffix(".npy"): np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
            for name in archive.namelist()
        }
