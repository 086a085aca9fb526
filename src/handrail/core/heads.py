"""Trained classifiers that ship as arrays and a JSON header: reading one can give wrong answers, never run code."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from handrail.core import json


def pack(format: int, header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An npz archive without pickles."""
    told = np.frombuffer(json.dumps({"format": format, **header}).encode(), dtype=np.uint8)
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays, header=told)
    return out.getvalue()


def unpack(format: int, data: bytes) -> tuple[Any, dict[str, NDArray[Any]]]:
    """The header and the arrays.

    Raises:
        ValueError: it is no head of this format.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as stored:
        arrays: dict[str, NDArray[Any]] = dict(stored)
    header: Any = json.loads(arrays.pop("header").tobytes())
    if header.get("format") != format:
        raise ValueError(f"the head has format {header.get('format')!r} and {format} is read; train it again")
    return header, arrays
