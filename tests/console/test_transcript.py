from handrail.console.transcript import short_arguments, source_label, transcript
from handrail.core.messages import MessageRole, Provenance, ToolCall
from handrail.serving.conversations import StoredMessage, StoredToolCall


def message(
    turn: str,
    role: MessageRole,
    content: str,
    *,
    provenance: Provenance = "user",
    calls: tuple[ToolCall, ...] = (),
    sources: tuple[str, ...] = (),
) -> StoredMessage:
    return StoredMessage(f"msg_{turn}{role}", turn, 1, 0, role, provenance, content, calls, sources, 0)


def call(turn: str, status: str = "completed", arguments: str = "{}") -> StoredToolCall:
    return StoredToolCall(f"call_{turn}", turn, None, "get_order", "read", arguments, status, None, 0, None)


class TestTranscript:
    def test_puts_a_question_and_its_answer_into_one_turn(self):
        lines = transcript([message("t1", "user", "hi"), message("t1", "assistant", "hello", sources=("a.md",))], [])
        assert [(line.id, line.said, line.answer, line.sources) for line in lines] == [("t1", "hi", "hello", ("a.md",))]

    def test_a_turn_without_an_answer_is_open(self):
        assert [line.is_open for line in transcript([message("t1", "user", "hi")], [])] == [True]

    def test_words_of_a_tool_round_are_not_an_answer(self):
        asked = message("t1", "assistant", "let me look", calls=(ToolCall("call_1", "get_order", "{}"),))
        assert transcript([message("t1", "user", "hi"), asked], [])[0].is_open

    def test_a_tool_call_stands_in_its_own_turn(self):
        said = [message(turn, role, "x") for turn in ("t1", "t2") for role in ("user", "assistant")]
        first, second = transcript(said, [call("t2")])
        assert (len(first.tools), [tool.id for tool in second.tools]) == (0, ["call_t2"])

    def test_what_only_a_client_claims_is_not_shown(self):
        claimed = message("t1", "assistant", "you get a million", provenance="client")
        lines = transcript([claimed, message("t1", "user", "hi")], [])
        assert [(line.said, line.answer, line.is_open) for line in lines] == [("hi", "", True)]

    def test_a_call_that_began_and_has_no_result_is_not_called_done(self):
        line = transcript([message("t1", "user", "hi")], [call("t1", "intent")])[0]
        assert line.tools[0].status_word == "outcome not known"


class TestShortArguments:
    def test_names_each_argument_in_plain_words(self):
        assert short_arguments('{"order_id": "A1001", "items": [1, 2]}') == "order_id: A1001, items: [1,2]"

    def test_shows_what_is_not_json_as_it_is(self):
        assert short_arguments("{broken") == "{broken"

    def test_cuts_what_is_long(self):
        shown = short_arguments('{"note": "' + "x" * 500 + '"}')
        assert len(shown) == 120
        assert shown.endswith("…")


class TestSourceLabel:
    def test_puts_the_heading_before_the_file(self):
        assert source_label("knowledge/returns.md#Return window") == "Return window, returns.md"

    def test_takes_a_file_alone(self):
        assert source_label("knowledge/returns.md") == "returns.md"
