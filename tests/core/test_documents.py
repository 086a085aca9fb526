"""A project's files are whatever somebody wrote: they are read, or the problem is told with its file."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.core.documents import MOST_VALUES, ProjectError, parse_yaml

TAGS = [
    "int",
    "float",
    "bool",
    "null",
    "timestamp",
    "binary",
    "set",
    "omap",
    "pairs",
    "map",
    "seq",
    "merge",
    "python/name:x",
]


def told(text: str) -> str | None:
    """What is wrong with the text, or nothing when it was read."""
    try:
        parse_yaml("agent.yaml", text)
    except ProjectError as error:
        return error.message
    return None


class TestParseYaml:
    @given(
        st.text(max_size=80)
        | st.text(alphabet="!&*<>:-[]{}\"'#|?%@,~ \n\tab01", max_size=80)
        | st.builds(
            "!!{} {}".format, st.sampled_from(TAGS), st.text(alphabet="0123456789:-.+TZ ae_'[]{},", max_size=20)
        )
    )
    def test_any_text_is_read_or_said_to_be_wrong(self, text: str) -> None:
        assert (told(text) or "agent.yaml").startswith("agent.yaml")

    @pytest.mark.parametrize("text", ["!!timestamp x", "!!bool x", "!!int ''", "!!float x", "!!int 0x", "!!binary é"])
    def test_a_value_that_its_tag_does_not_fit_is_a_problem_of_the_file(self, text: str) -> None:
        assert told(text) is not None

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a:\n- b: 1\n- from: 2026-02-30\n", "agent.yaml:3: '2026-02-30' can't be read as timestamp; quote it"),
            ("a: 1\n!!bool x: 2\n", "agent.yaml:2: 'x' can't be read as bool; quote it"),
            ("a: 1\nb: \0\n", "agent.yaml:2: this is not valid YAML"),
        ],
    )
    def test_a_value_that_can_t_be_read_is_named_with_its_line(self, text: str, said: str) -> None:
        assert (told(text) or "").startswith(said)

    @pytest.mark.parametrize(
        "text", ["!!python/name:os.system", "!!python/object/apply:os.system [true]", "!unknown x"]
    )
    def test_no_tag_reaches_code(self, text: str) -> None:
        assert "valid YAML" in (told(text) or "")

    @pytest.mark.parametrize("line", ["[{0},{0},{0},{0},{0},{0},{0},{0},{0}]", "{{<<: [{0}, {0}, {0}, {0}]}}"])
    def test_references_that_spell_out_millions_of_values_are_refused(self, line: str) -> None:
        text = "a0: &a0 {x: 1}\n" + "".join(
            f"a{level}: &a{level} {line.format(f'*a{level - 1} ')}\n" for level in range(1, 14)
        )
        assert f"more than {MOST_VALUES} values" in (told(text) or "")

    @pytest.mark.parametrize("text", ["a: &a [*a]", "[" * 5_000, "{a: " * 5_000])
    def test_what_contains_itself_or_is_bottomless_is_refused(self, text: str) -> None:
        assert told(text) is not None
