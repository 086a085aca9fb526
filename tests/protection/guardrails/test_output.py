"""What goes out: nothing that must not, however the model cuts its text into pieces, and nothing held back for long."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.protection.guardrails import (
    AnswerRefused,
    Instructions,
    KnownStrings,
    OutputFilter,
    OutputGuardrail,
    OutputScanner,
)
from handrail.protection.guardrails.schema import OutputPolicy

SECRET, CANARY = "pw-of-the-database-77x", "canary 5f2e 99aa"
HOSTS = frozenset({"shop.example"})
TOLD = "You are the shop's assistant and you never ever tell anybody about the discount for friends of the owner."
SCANNER = OutputScanner(
    KnownStrings.of([SECRET]), lambda text: [word.strip(".,") for word in text.split() if "@" in word]
)

HARMFUL = [
    "your key is sk-abcDEF0123456789abcdefXYZ, keep it",
    f"connect with {SECRET} now",
    f"it says {CANARY} there",
    "-----BEGIN RSA PRIVATE KEY-----\nMIIB0123\n-----END RSA PRIVATE KEY----- is it",
    "token eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxIn0.c2ln here",
    "see https://evil.example/?d=4111111111111111 for more",
    "see HTTP:\\\\evil.example\\4111 or https://shop.example@evil.example/4111",
    "www.evil.example/4111 and http://shop.example.evil.example/4111",
    "![a](https://evil.example/4111.png) and ![b](//evil.example/4111)",
    "<img src='https://evil.example/4111'> <IFRAME src=x4111></iframe>",
    "javascript:alert(4111) data:text/html;base64,4111",
]
HARMLESS = [
    "Order A1004 was sent on 2 December; is there more?! See https://shop.example/track?id=1&u=2.",
    "sk-learn and http are words; data: none, a<b and b>a, ![not an image], s h t t p.",
    "![cat](https://cdn.shop.example/cat.png) **bold** <b>bold</b> <br>",
    "hhhttps, sssk- AKIA short, eyJ, -----BEGIN, gh, w, ww, www",
]


def guardrail(told: str = "", **policy: Any) -> OutputGuardrail:
    return OutputGuardrail(OutputPolicy.model_validate(policy), HOSTS, Instructions.of(told))


def filtered(
    pieces: Sequence[str], *guardrails: OutputGuardrail, given: Sequence[str] = (), **more: Any
) -> tuple[str, OutputFilter]:
    output = OutputFilter(SCANNER, guardrails or [guardrail()], canaries=[CANARY], given=given, **more)
    return "".join(map(output.feed, pieces)) + output.close(), output


@st.composite
def cut_up(draw: st.DrawFn, texts: Sequence[str]) -> tuple[str, list[str]]:
    text = " ".join(draw(st.lists(st.sampled_from(texts), min_size=1, max_size=3)))
    cuts = sorted(draw(st.sets(st.integers(1, len(text) - 1), max_size=30)))
    return text, [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


class TestStream:
    @given(cut_up([*HARMFUL, *HARMLESS]))
    @settings(max_examples=150, deadline=None)
    def test_says_the_same_however_the_text_is_cut(self, cut: tuple[str, list[str]]) -> None:
        text, pieces = cut

        assert filtered(pieces)[0] == filtered([text])[0] == filtered(list(text))[0]

    @pytest.mark.parametrize("text", HARMFUL)
    def test_lets_nothing_harmful_out(self, text: str) -> None:
        said, output = filtered(list(text))

        for part in ("0123456789", SECRET[-8:], "99aa", "MIIB", "eyJzdWI", "4111"):
            assert part not in said
        assert output.tripped
        assert "withheld]" in said

    @pytest.mark.parametrize("text", HARMLESS)
    def test_changes_nothing_harmless(self, text: str) -> None:
        assert filtered(list(text))[0] == text

    @given(cut_up(HARMLESS))
    @settings(max_examples=60, deadline=None)
    def test_holds_little_back_and_only_while_something_has_begun(self, cut: tuple[str, list[str]]) -> None:
        output, fed, said = OutputFilter(SCANNER, [guardrail()]), 0, 0
        for piece in cut[1]:
            fed, said = fed + len(piece), said + len(output.feed(piece))
            assert fed - said <= 64

    def test_holds_nothing_back_of_plain_words(self) -> None:
        output = OutputFilter(SCANNER, [guardrail()])

        assert [output.feed(word) for word in ("Your ", "order ", "is on its ", "way")] == [
            "Your ",
            "order ",
            "is on its ",
            "way",
        ]

    @given(st.text(alphabet="skhtp:/w.![]()<>-=_ aA1", max_size=60), st.integers(0, 60))
    @settings(max_examples=200, deadline=None)
    def test_loses_nothing_of_what_it_does_not_trip_over(self, text: str, cut: int) -> None:
        said, output = filtered([text[:cut], text[cut:]])

        assert said == text or output.tripped

    def test_a_policy_may_flag_alone(self) -> None:
        said, output = filtered([HARMFUL[0]], guardrail(secrets="flag"))

        assert said == HARMFUL[0]
        assert "secrets" in output.tripped

    def test_a_policy_may_refuse_the_whole_answer(self) -> None:
        with pytest.raises(AnswerRefused):
            filtered(list(HARMFUL[0]), guardrail(secrets="refuse"))

    def test_the_stricter_of_two_policies_wins_in_any_order(self) -> None:
        both = [guardrail(secrets="allow"), guardrail()]

        assert filtered([HARMFUL[0]], *both)[0] == filtered([HARMFUL[0]], *both[::-1])[0] != HARMFUL[0]

    def test_a_domain_must_be_listed_by_both_policies(self) -> None:
        other = OutputGuardrail(OutputPolicy(), frozenset({"other.example"}))

        assert "withheld" in filtered(["https://shop.example/a "], guardrail(), other)[0]

    def test_watches_for_canaries_that_are_told_to_the_model_later(self) -> None:
        output = OutputFilter(SCANNER, [guardrail()])
        said = output.feed("It says kiwi 11, ")
        output.watch(["kiwi 47 lemon"])

        assert said + "".join(map(output.feed, "and kiwi 47 lemon too")) + output.close() == (
            "It says kiwi 11, and [withheld] too"
        )

    def test_what_is_taken_back_is_said_anew(self) -> None:
        output = OutputFilter(SCANNER, [guardrail()])
        output.feed("First. ")
        output.feed("Broken sk-abcDEF01234567")

        assert output.take_back(len("Broken sk-abcDEF01234567")) == "First. "
        assert output.feed("Whole.") + output.close() == "Whole."


class TestGivenLinks:
    LINK = "https://dhl.example/t?id=JD01"

    def test_a_link_of_a_tools_result_goes_out_as_it_stands_there(self) -> None:
        text = f"Track it: {self.LINK}."
        said, output = filtered(list(text), given=[f'{{"url":"{self.LINK}"}}'])

        assert said == text
        assert list(output.tripped) == ["given_links"]

    def test_not_with_anything_added(self) -> None:
        said, _ = filtered([f"Track it: {self.LINK}&card=4111"], given=[f'{{"url":"{self.LINK}"}}'])

        assert "4111" not in said

    def test_a_given_picture_is_still_withheld(self) -> None:
        assert "dhl" not in filtered([f"![x]({self.LINK})"], given=[self.LINK])[0]


class TestBySentence:
    def test_personal_data_that_nobody_gave_is_withheld_with_its_sentence(self) -> None:
        text = "Hello. Write to bob@mail.example please. Bye."
        said, output = filtered(list(text), guardrail(personal_data="withhold"), given=["ana@mail.example"])

        assert said == "Hello. [withheld] Bye."
        assert "personal_data" in output.tripped

    def test_the_users_own_goes_out(self) -> None:
        text = "Is ana@mail.example right?"

        assert filtered(list(text), guardrail(personal_data="withhold"), given=["I am ana@mail.example"])[0] == text

    def test_the_instructions_are_withheld(self) -> None:
        said, _ = filtered(list(f"Sure. {TOLD} That is all."), guardrail(TOLD, instructions="withhold"))

        assert said == "Sure. [withheld] That is all."

    def test_a_claim_that_was_not_given_is_withheld(self) -> None:
        said, output = filtered(
            list("It costs 49.99 euros. It weighs 812 grams."), guardrail(grounding="withhold"), given=["49.99"]
        )

        assert said == "It costs 49.99 euros. [withheld]"
        assert (output.grounding.claims, output.grounding.unsupported) == (2, ("number",))

    def test_a_flow_makes_no_claims(self) -> None:
        output = OutputFilter(SCANNER, [guardrail(grounding="withhold")], is_generated=False)

        assert output.feed("It costs 49.99 euros.") + output.close() == "It costs 49.99 euros."

    def test_is_flagged_at_the_end_when_nothing_is_withheld(self) -> None:
        said, output = filtered(list(f"{TOLD} It costs 49.99."), guardrail(TOLD))

        assert said == f"{TOLD} It costs 49.99."
        assert output.tripped == {"instructions": ("overlap",), "grounding": ("number_not_given",)}

    @given(cut_up(["One. ", "Two 812! ", "Three?\n", "four ", "v1.2 "]))
    @settings(max_examples=60, deadline=None)
    def test_says_the_same_however_the_text_is_cut(self, cut: tuple[str, list[str]]) -> None:
        strict = guardrail(grounding="withhold")

        assert filtered(cut[1], strict)[0] == filtered([cut[0]], strict)[0]


class TestKnownStrings:
    def test_are_taken_from_variables_whose_names_say_so(self) -> None:
        variables = {"MODEL_API_KEY": "abcdefghijklmnop", "NAME": "someone who lives here", "DB_PASSWORD": "short"}

        assert KnownStrings.of_environment(variables).strings == ("abcdefghijklmnop",)

    def test_are_never_printed(self) -> None:
        assert SECRET not in repr(KnownStrings.of([SECRET]))


class TestMasked:
    """A whole text that is shown beside an answer."""

    SCANNER = OutputScanner(KnownStrings.of(["correct-horse-battery"]))

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("nothing, https://x.example/a?b=c ![a](b)", "nothing, https://x.example/a?b=c ![a](b)"),
            ("sk-live-51H8xKq2vTz9Lm3 and more", "[withheld] and more"),
            ("correct-horse-batterycorrect-horse-battery.", "[withheld]"),
            ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY----- after", "[withheld] after"),
            ("the mark is hrcn_7k2q9x4mwz3b7k2q9x4m", "the mark is [withheld]"),
            ("ends in s", "ends in s"),
        ],
    )
    def test_secrets_and_marks_are_masked_and_nothing_else(self, text: str, shown: str) -> None:
        assert self.SCANNER.masked(text) == shown

    def test_it_repeats_no_instructions_that_a_policy_withholds(self) -> None:
        told = "never tell anybody that the warehouse in the north of Oslo has no lock at all"
        assert self.SCANNER.masked(told, [guardrail(told, instructions="withhold")]) == "[withheld]"
        assert self.SCANNER.masked(told, [guardrail(told, instructions="flag")]) == told

    @given(st.text(max_size=60))
    def test_any_text_is_masked_and_masking_twice_changes_nothing(self, text: str) -> None:
        once = self.SCANNER.masked(text)
        assert self.SCANNER.masked(once) == once
