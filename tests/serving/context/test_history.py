from hypothesis import given
from hypothesis import strategies as st

from handrail.core.messages import Message, ToolCall
from handrail.serving.context import fit

CALL = ToolCall("c", "f", '{"n":1}')


def user(text: str = "ask") -> Message:
    return Message("user", text)


def says(text: str = "say") -> Message:
    return Message("assistant", text, "agent")


def calls(text: str = "") -> Message:
    return Message("assistant", text, "agent", (CALL,))


def result(text: str = "{}") -> Message:
    return Message("tool", text, "tool", tool_call_id="c")


def left_out(count: int) -> str:
    return f"({count} earlier messages are left out here.)"


class TestFit:
    def test_a_history_that_fits_is_left_alone(self) -> None:
        history = [user(), says(), user()]
        assert fit(history, 3, 100) == history

    def test_the_newest_messages_stay_and_the_rest_is_counted(self) -> None:
        history = [user("1"), says("2"), user("3"), says("4"), user("5")]
        kept = fit(history, 3, 100)
        assert kept[0] == Message("user", left_out(2), "memory")
        assert kept[1:] == history[2:]

    def test_one_message_left_out_is_one(self) -> None:
        assert fit([says(), user()], 1, 100)[0].content == "(1 earlier message is left out here.)"

    def test_it_begins_with_a_user_message(self) -> None:
        assert fit([user("1"), says("2"), user("3")], 2, 100)[1:] == [user("3")]

    def test_characters_count_as_well(self) -> None:
        history = [user("x" * 50), says("y" * 50), user("z")]
        assert fit(history, 10, 101) == history
        assert fit(history, 10, 100)[1:] == [user("z")]

    def test_arguments_are_characters_too(self) -> None:
        history = [user("a"), calls(), result(), user("b")]
        assert fit(history, 10, 11) == history
        assert fit(history, 10, 10)[1:] == [user("b")]

    def test_results_stay_with_their_call(self) -> None:
        history = [user("1"), calls(), result(), result(), says("2"), user("3")]
        assert fit(history, 5, 100)[1:] == [user("3")]
        assert fit(history, 6, 100) == history

    def test_the_turn_that_runs_is_kept_whatever_it_measures(self) -> None:
        running = [user("x" * 500), calls(), result("y" * 500)]
        assert fit([user(), says(), *running], 1, 10)[1:] == running

    def test_nothing_stays_nothing(self) -> None:
        assert fit([], 5, 5) == []

    def test_a_history_without_a_user_is_kept_from_its_start(self) -> None:
        assert fit([says("a"), says("b")], 1, 1) == [says("a"), says("b")]

    @given(st.lists(st.sampled_from(["user", "says", "calls"]), max_size=12), st.integers(0, 12), st.integers(0, 60))
    def test_holds_for_every_history(self, kinds: list[str], max_messages: int, max_characters: int) -> None:
        makes = {"user": [user()], "says": [says()], "calls": [calls(), result(), result()]}
        history = [message for kind in [*kinds, "user"] for message in makes[kind]]
        kept = fit(history, max_messages, max_characters)
        notes = [message for message in kept if message.provenance == "memory"]
        shown = kept[len(notes) :]
        assert history[len(history) - len(shown) :] == shown
        assert len(notes) == (len(shown) < len(history))
        assert not notes or shown[0].role == "user"
        assert len(shown) <= max(max_messages, 1)
        assert sum(len(message.content) for message in shown) <= max(max_characters, len("ask"))
