"""Heads as bytes: arrays and a header, and nothing that runs."""

import io

import numpy as np
import pytest

from handrail.core.heads import pack, unpack


def test_a_head_comes_back_as_it_was():
    header, arrays = unpack(2, pack(2, {"bias": 0.5}, {"weights": np.arange(3, dtype=np.float16)}))
    assert (header["bias"], list(arrays)) == (0.5, ["weights"])
    assert arrays["weights"].tolist() == [0, 1, 2]


def test_a_head_of_another_format_is_refused():
    with pytest.raises(ValueError, match="format 1 and 2 is read; train it again"):
        unpack(2, pack(1, {}, {}))


def test_an_array_of_objects_is_not_read():
    out = io.BytesIO()
    np.savez(out, header=np.frombuffer(b'{"format": 1}', dtype=np.uint8), weights=np.array([object()]))
    with pytest.raises(ValueError, match="allow_pickle"):
        unpack(1, out.getvalue())
