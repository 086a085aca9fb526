"""The word vectors read a text and keep nothing of it."""

from pathlib import Path

import pytest

from handrail.serving.routing.embedding import shared_embedding

STATM = Path("/proc/self/statm")
PAGE_BYTES = 4096
TEXTS = 6000
# With the tokenizer's own cache these texts take 14 MB, without it 1.
MOST_GROWN = 6_000_000


def resident_bytes() -> int:
    return int(STATM.read_text().split()[1]) * PAGE_BYTES


@pytest.mark.skipif(not STATM.exists(), reason="memory is read from /proc")
def test_messages_do_not_stay_in_memory_after_they_were_read():
    embedding = shared_embedding()
    before = resident_bytes()
    for number in range(TEXTS):
        embedding.vector(f"where is my order a{100_000 + number}, and when will it come to my home?")
    assert resident_bytes() - before < MOST_GROWN
