"""Files that a page gives out are harmless where they are opened."""

import pytest

from handrail.console.files import harmless


@pytest.mark.parametrize("begins", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula(begins: str) -> None:
    assert harmless(f"{begins}cmd") == f"'{begins}cmd"
    assert harmless(-4) == -4
