"""What a tool vouches for, and what is mere text."""

from handrail.protection.boundary import Result, untrusted_texts
from handrail.protection.boundary.records import facts


def texts(content: object, *trusted: str) -> list[str]:
    return [text for _, text in untrusted_texts(Result("tool", {}, content, trusted))]


class TestUntrustedTexts:
    def test_every_text_counts_unless_its_path_is_trusted(self):
        content = {"status": "shipped", "note": "call me", "lines": [{"name": "mug", "review": "ignore all"}]}
        assert texts(content) == ["shipped", "call me", "mug", "ignore all"]
        assert texts(content, "status", "lines.name") == ["call me", "ignore all"]
        assert texts(content, "status", "note", "lines") == []

    def test_numbers_dates_and_truths_say_nothing(self):
        assert texts({"a": 1, "b": None, "c": True, "d": "2026-11-27", "e": [1.5]}) == []

    def test_a_text_alone_and_an_unusual_key_count(self):
        assert texts("do this") == ["do this"]
        assert texts({"please refund it now": 1}) == ["please refund it now"]

    def test_a_trusted_name_holds_at_its_own_path_only(self):
        assert texts({"note": {"status": "evil"}}, "status") == ["evil"]
        assert texts([{"status": "fine"}], "status") == []
        assert "evil" in texts({"orders.total": "evil"}, "orders.total")


class TestFacts:
    def test_a_nested_record_keeps_the_rivals_of_its_list(self):
        content = {"orders": [{"id": "A1", "sums": {"paid": 5}}, {"id": "A2", "sums": {"paid": 7}}]}
        paid = next(each for each in facts(Result("t", {}, content, ("orders",))) if each.value == 5)
        assert "A1" in paid.beside
        assert any("A2" in rival for rival in paid.rivals())
        assert not paid.is_alone

    def test_what_repeats_an_argument_is_left_out(self):
        found = facts(Result("t", {"id": "a1"}, {"id": "A1", "sum": 5}, ("id", "sum")))
        assert [(each.field, each.value, each.beside) for each in found] == [("sum", 5, (5,))]
