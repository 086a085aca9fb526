import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handrail.protection.privacy import Vocabulary, without_people, without_rare_words, words_of


def vocabulary(*texts: str, users: int = 5) -> Vocabulary:
    found = Vocabulary(cells=1 << 14)
    for _ in range(users):
        found.add({word for text in texts for word in words_of(text)})
    return found


class TestWithoutPeople:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("write to ann@example.org please", "write to [EMAIL] please"),
            ("order A1001 of 12 March", "order [CODE] of 12 March"),
            ("ticket 48213 for 3 items", "ticket [NUMBER] for 3 items"),
            ("born 12/03/84", "born [NUMBER]"),
            ("see https://x.example/u/ann?id=7 or www.y.example", "see [URL] or [URL]"),
            (
                "I am not going to ask the people of @annlee about it",
                "I am not going to ask the people of [HANDLE] about it",
            ),
            ("my mail is <email_0123456789ab>", "my mail is [EMAIL]"),
            (
                "so that it says <text_0123456789ab> on the lid of the box",
                "so that it says [CODE] on the lid of the box",
            ),
            ("it is 4 7 7 1", "it is [NUMBER]"),
        ],
    )
    def test_what_leads_to_somebody_is_named_by_its_kind(self, text: str, expected: str) -> None:
        assert without_people(text) == expected

    def test_an_answer_is_read_with_its_question(self) -> None:
        assert "4589" not in without_people("4589", "What are the last four digits of your SSN?")

    @given(st.text(max_size=40))
    @settings(max_examples=60)
    def test_no_run_of_four_digits_is_left_of_any_text(self, text: str) -> None:
        run = 0
        for each in without_people(text):
            run = run + 1 if each.isdecimal() else 0
            assert run < 4


class TestWithoutRareWords:
    def test_words_that_fewer_users_used_are_masked(self) -> None:
        common = vocabulary("where is my order", users=5)
        common.add(words_of("my zebra Zoltan"))
        assert without_rare_words("Where is my zebra, Zoltan?", common, 5) == "Where is my [RARE]?"

    def test_numbers_and_marks_stay(self) -> None:
        common = vocabulary("order")
        assert without_rare_words("order [CODE] 2 [RARE] [PERSON]", common, 5) == "order [CODE] 2 [RARE] [PERSON]"

    def test_who_writes_a_mark_themselves_gains_nothing_by_it(self) -> None:
        common = vocabulary("order")
        said = without_rare_words("[Zoltan] [ZOLTAN Z] [ZOLTAN] [ZOLTAN_Z] [IBAN_ZOLTAN]", common, 5)
        assert "zoltan" not in said.casefold()

    def test_a_user_counts_once_however_often_they_say_it(self) -> None:
        common = Vocabulary(cells=1 << 14)
        common.add(words_of("Zoltan Zoltan ZOLTAN zoltan zoltan"))
        assert common.count("zoltan") == 1

    @given(st.lists(st.sets(st.text("abc", min_size=1, max_size=3), max_size=6), max_size=12))
    @settings(max_examples=40)
    def test_no_word_is_counted_too_low(self, users: list[set[str]]) -> None:
        common = Vocabulary(cells=1 << 10)
        for each in users:
            common.add(each)
        for word in set[str]().union(*users):
            assert common.count(word) >= sum(word in each for each in users)
