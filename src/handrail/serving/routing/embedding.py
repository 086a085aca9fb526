"""Static word embeddings that ship in a wheel: a text's vector is the mean of its token vectors."""

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from handrail.core import json

if TYPE_CHECKING:
    from tokenizers import Tokenizer

DIMENSIONS = 256
NAME = "wordllama-l2-supercat-256"


class Embedding(Protocol):
    """Text to a vector of length one, or of zeros when no token is known."""

    def vector(self, text: str) -> NDArray[np.float32]: ...


class StaticEmbedding:
    """Reads the token table directly: a tenth of the cost of the library's own call for one short text."""

    def __init__(self, tokenizer: "Tokenizer", table: NDArray[np.float16]) -> None:
        self._tokenizer = tokenizer
        self._table = table

    def vector(self, text: str) -> NDArray[np.float32]:
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        total: NDArray[np.float32] = np.add.reduce(self._table.take(ids, axis=0, mode="clip"), axis=0, dtype=np.float32)
        length = float(np.sqrt(total.dot(total)))
        return total / np.float32(length) if length > 0 else total


@lru_cache(maxsize=1)
def shared_embedding() -> StaticEmbedding:
    """The one copy in this process (about 40 MB); the first call loads it in about half a second."""
    from tokenizers import Tokenizer

    package = find_spec("wordllama")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "the package 'wordllama', whose word vectors routing needs, is missing; run: make setup"
        )
    # Its files are read as data: importing it would load a web client and set up logging for the whole process.
    root = Path(package.origin).parent
    tokenizer = Tokenizer.from_file(str(root / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    tokenizer.no_padding()
    # It does not part texts into words, so its cache would keep ten thousand whole messages: 25 MB, and never erased.
    tokenizer.model._resize_cache(0)
    return StaticEmbedding(tokenizer, _table(root / "weights" / "l2_supercat_256.safetensors"))


def _table(path: Path) -> NDArray[np.float16]:
    """The token vectors, mapped and not read: only pages of words that occur take memory, shared by all processes.

    The file's format: the header's length in eight bytes, a JSON header, the numbers.
    """
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        entry = json.loads(file.read(header_bytes))["embedding.weight"]
    if entry["dtype"] != "F16":
        raise ValueError(f"{str(path)!r} holds {entry['dtype']} and not F16: another version of it; run: make setup")
    offset = 8 + header_bytes + entry["data_offsets"][0]
    table = np.memmap(path, dtype=np.float16, mode="r", offset=offset, shape=tuple(entry["shape"]))
    # As a plain array: every operation on a memory map goes through Python once more.
    return table.view(np.ndarray)
