"""The trained intent head: plain arrays that read one text in a fraction of a millisecond, and their bytes."""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from handrail.core.errors import UsageError
from handrail.serving.routing.embedding import NAME, Embedding, shared_embedding
from handrail.serving.routing.ngrams import Vocabulary, clean
from handrail.serving.routing.parts import Parts, require_shapes
from handrail.serving.routing.reader import Reader

FORMAT = "handrail-intent-head"
VERSION = 2
_RANKED = 3
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
    """Reads texts. Safe to share between threads; holds about 6 bytes x n-grams x intents."""

    def __init__(self, labels: Sequence[str], vocabulary: Vocabulary, parts: Parts, facts: Mapping[str, Any]) -> None:
        self.labels = tuple(labels)
        self.facts = dict(facts)
        self._vocabulary = vocabulary
        # Rounded once here, so that a head just trained answers exactly as it will after a round trip.
        self._parts = parts.rounded()
        self._reader = Reader(self._parts)
        self._embedding: Embedding | None = None

    def predict(self, text: str) -> Prediction:
        """The likeliest intents of one text. Text without a word is out of scope with certainty."""
        cleaned = clean(text)
        if not any(map(str.isalnum, cleaned)):
            return Prediction(self.labels[0], 0.0, tuple((label, 0.0) for label in self.labels[:_RANKED]), 1.0)
        if self._embedding is None:
            self._embedding = shared_embedding()
        found = self._reader.read(self._vocabulary.terms(cleaned), self._embedding.vector(cleaned))
        # The runners-up keep their distance to the first: shares of one confidence, not three verdicts.
        ranked = [
            (self.labels[place], found.confidence * share)
            for place, share in zip(found.ranked, found.shares, strict=True)
        ]
        return Prediction(ranked[0][0], found.confidence, tuple(ranked), found.out_of_scope)

    def dump(self) -> bytes:
        """The head as an npz archive without pickles; equal heads give equal bytes."""
        meta = {
            "format": FORMAT,
            "version": VERSION,
            "embedding": NAME,
            "labels": self.labels,
            "facts": self.facts,
            **self._parts.numbers(),
        }
        arrays = {
            "meta": _packed(json.dumps(meta, sort_keys=True, ensure_ascii=True)),
            "words": self._vocabulary.words,
            "characters": self._vocabulary.characters,
            "idf": self._vocabulary.idf,
            **self._parts.arrays(),
        }
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
        require_shapes(arrays, len(vocabulary), len(meta["labels"]))
        return cls(meta["labels"], vocabulary, Parts.read(arrays, meta), meta["facts"])


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
