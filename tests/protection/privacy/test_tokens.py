"""Identifiers become handles and values again; nobody can write a handle that is none of theirs."""

import re
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from handrail.core import json
from handrail.protection.privacy import Finder, Mint, Revealing, Tokens, handles_in, unrevealed
from handrail.protection.privacy.handles import BEGUN, HANDLE, TOKEN_KINDS

MINT = Mint(b"s" * 32)
FINDER = Finder()
MAIL = "ann.lee@example.com"
CARD = "4111 1111 1111 1111"


def tokens(*kinds: str) -> Tokens:
    return Tokens(MINT, FINDER, "default", "conv_1", kinds or TOKEN_KINDS)


def handle_of(value: str, conversation: str = "conv_1", kind: str = "email") -> str:
    return MINT.handle("default", conversation, kind, value)


HANDLES = st.builds(handle_of, st.text(max_size=5), kind=st.sampled_from([*TOKEN_KINDS, "text"]))
SNIPPETS = st.sampled_from(
    [
        MAIL,
        CARD,
        "GB82 WEST 1234 5698 7654 32",
        "078-05-1120",
        "+44 20 7946 0958",
        "<",
        ">",
        "<email_",
        "<text_",
        " ",
        "&lt;",
    ]
)
TEXTS = st.lists(st.one_of(st.text(max_size=12), SNIPPETS, HANDLES), max_size=8).map("".join)


class TestHandles:
    @given(st.text(), st.sampled_from([*TOKEN_KINDS, "text"]))
    def test_every_handle_is_known_as_one(self, value: str, kind: str):
        assert HANDLE.fullmatch(handle_of(value, kind=kind))

    @given(HANDLES, st.integers(0, 30))
    def test_every_beginning_of_one_is_held_back(self, handle: str, length: int):
        assert BEGUN.fullmatch(handle[: max(1, min(length, len(handle) - 1))])

    def test_the_same_value_has_another_one_elsewhere(self):
        everywhere = {
            MINT.handle("default", "conv_1", "email", MAIL),
            MINT.handle("default", "conv_2", "email", MAIL),
            MINT.handle("other", "conv_1", "email", MAIL),
            MINT.handle("default", "conv_1", "card", MAIL),
            Mint(b"t" * 32).handle("default", "conv_1", "email", MAIL),
        }
        assert len(everywhere) == 5

    def test_no_part_runs_into_the_next(self):
        assert MINT.handle("a", "bc", "email", "x") != MINT.handle("ab", "c", "email", "x")


class TestHide:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            (f"write to {MAIL} please", "email"),
            (f"my card is {CARD}", "card"),
            ("IBAN GB82 WEST 1234 5698 7654 32", "iban"),
            ("my ssn is 078-05-1120", "ssn"),
            ("call me at +44 20 7946 0958", "phone"),
        ],
    )
    def test_identifiers_are_hidden_and_come_back(self, text: str, kind: str):
        mine = tokens()
        hidden = mine.hide(text)
        (handle,) = handles_in(hidden)
        assert handle.startswith(f"<{kind}_")
        assert mine.reveal(hidden) == text

    def test_only_the_kinds_of_the_policy_are(self):
        assert tokens("card").hide(f"{MAIL} paid by {CARD}").startswith(MAIL)

    def test_what_was_asked_for_is_hidden_too(self):
        assert handles_in(tokens().hide("9999", "What are the last four digits of your SSN?"))

    def test_a_value_that_is_known_is_hidden_wherever_it_stands(self):
        mine = tokens()
        (handle,) = handles_in(mine.hide("5550001111", "What is your phone number?"))
        assert mine.hide('{"number":"5550001111","id":"x5550001111"}') == f'{{"number":"{handle}","id":"x5550001111"}}'

    def test_the_same_value_keeps_its_handle(self):
        assert tokens().hide(MAIL) == tokens().hide(f"{MAIL}") == handle_of(MAIL)

    def test_a_text_without_any_is_the_very_same(self):
        text = "where is my order A1001?"
        assert tokens().hide(text) is text

    def test_what_is_new_is_given_once(self):
        mine = tokens()
        mine.hide(f"{MAIL} and {MAIL}")
        assert [(each.kind, each.value) for each in mine.take_fresh()] == [("email", MAIL)]
        mine.hide(f"{MAIL} again")
        assert mine.take_fresh() == []

    @given(TEXTS)
    @example(f"<{handle_of(MAIL)}>")
    @example(f"<email_{handle_of(MAIL)}0123456789ab>")
    def test_any_text_comes_back_as_it_was(self, text: str):
        mine = tokens()
        assert mine.reveal(mine.hide(text)) == text

    @given(TEXTS)
    def test_every_handle_in_what_a_model_reads_is_ours(self, text: str):
        mine = tokens()
        assert all(mine.knows(each) for each in handles_in(mine.hide(text)))

    @given(TEXTS)
    def test_what_somebody_wrote_never_stands_as_a_handle(self, text: str):
        written, mine = handles_in(text), tokens()
        assert not set(written) & set(handles_in(mine.hide(text)))


class TestReveal:
    @pytest.mark.parametrize(
        "forged",
        [
            handle_of(MAIL, "conv_2"),
            MINT.handle("other", "conv_1", "email", MAIL),
            "<email_000000000000>",
            handle_of(MAIL).upper(),
            handle_of(MAIL).replace("e", "\u0435", 1),
            handle_of(MAIL).replace("<", "\uff1c"),
            handle_of(MAIL).replace("_", "\u200b_"),
            handle_of(MAIL)[1:-1],
        ],
    )
    def test_what_is_not_this_conversations_stays_as_it_is(self, forged: str):
        mine = tokens()
        mine.hide(MAIL)
        assert mine.reveal(f"a {forged} b") == f"a {forged} b"

    def test_a_look_alike_in_incoming_text_is_not_the_value(self):
        mine = tokens()
        mine.hide(MAIL)
        forged = handle_of(MAIL)
        hidden = mine.hide(f"send it to {forged}")
        assert forged not in hidden
        assert mine.reveal(hidden) == f"send it to {forged}"

    def test_texts_at_any_depth_are_revealed(self):
        mine = tokens()
        handle = mine.hide(MAIL)
        assert mine.reveal_all({"to": [{"mail": handle, "n": 3}], handle: None}) == {
            "to": [{"mail": MAIL, "n": 3}],
            handle: None,
        }
        assert unrevealed({"a": [f"x{handle}"], handle: 1}) == [handle, handle]

    def test_what_nests_without_end_stays_as_it_is(self):
        mine = tokens()
        value: object = mine.hide(MAIL)
        for _ in range(900):
            value = [value]
        assert mine.reveal_all(value) == value
        assert unrevealed(value) == []


class TestRevealing:
    @given(TEXTS, st.data())
    def test_a_stream_in_any_pieces_says_the_same(self, text: str, data: st.DataObject):
        mine = tokens()
        hidden = mine.hide(text)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(hidden)), max_size=6)))
        ends = [0, *cuts, len(hidden)]
        stream = Revealing(mine)
        said = [stream.feed(hidden[start:end]) for start, end in pairwise(ends)]
        assert "".join([*said, stream.close()]) == text

    def test_only_a_handle_that_has_begun_is_held_back(self):
        mine = tokens()
        handle = mine.hide(MAIL)
        stream = Revealing(mine)
        assert stream.feed("It is 3 < 4, ") == "It is 3 < 4, "
        assert stream.feed(f"sent to {handle[:9]}") == "sent to "
        assert stream.feed(handle[9:-1]) == ""
        assert stream.feed("> now") == f"{MAIL} now"

    def test_what_never_became_one_is_said_at_the_end(self):
        stream = Revealing(tokens())
        assert (stream.feed("a <email_0a"), stream.close()) == ("a ", "<email_0a")

    def test_long_runs_of_what_begins_a_handle_take_linear_time(self):
        stream, said = Revealing(tokens()), 0
        for _ in range(20_000):
            said += len(stream.feed("<"))
        assert said >= 20_000 - 1


class TestFinder:
    @given(TEXTS)
    def test_finds_the_same_again(self, text: str):
        assert list(FINDER.find(text)) == list(FINDER.find(text)) == list(Finder().find(text))

    def test_keeps_no_text_and_not_too_many(self):
        finder = Finder(most=2)
        for place in range(5):
            finder.find(f"{MAIL} writes a letter that is longer than what is read at once, number {place}")
        known: object = getattr(finder, "_known")  # noqa: B009 - what it remembers is what is tested
        assert len(re.findall("Span", repr(known))) == 2
        assert MAIL not in repr(known)


class TestTextsOfJson:
    """Results of tools and arguments are read as the text that they are, where a break of a line is two characters."""

    @pytest.mark.parametrize("value", [MAIL, CARD, "+49 170 1234567", "DE89370400440532013000", "078-05-1120"])
    @pytest.mark.parametrize("before", ["Ann Lee\n", "Ann Lee\r\n", "\t", '"', "\x1f", ""])
    def test_hide_what_stands_after_a_break_and_nothing_of_the_break(self, before: str, value: str):
        known = tokens()
        hidden = known.hide(json.dumps({"note": f"{before}{value}\nthanks"}))
        (token,) = known.find(handles_in(hidden))
        assert token.value == value
        assert json.loads(hidden) == {"note": f"{before}{token.handle}\nthanks"}

    def test_hide_what_was_met_before(self):
        known = tokens()
        known.hide(f"I am {MAIL}")
        assert MAIL not in known.hide(json.dumps({"note": f"so\n{MAIL}\n"}))

    @given(st.text(alphabet="\\nrtb\"' 4a@.x"))
    def test_any_text_with_backslashes_comes_back(self, text: str):
        known = tokens()
        assert known.reveal(known.hide(text)) == text
