import pytest
from hypothesis import given
from hypothesis import strategies as st

from handrail.serving.models.server_sent_events import EventDecoder, EventTooLarge


def decode(*chunks: bytes) -> list[bytes]:
    decoder = EventDecoder(1_000)
    found = [data for chunk in chunks for data in decoder.feed(chunk)]
    return found + decoder.close()


line_ends = st.sampled_from([b"\n", b"\r\n", b"\r"])
words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=12).map(lambda text: text.encode())
lines = st.one_of(
    words.map(lambda word: b"data: " + word),
    words.map(lambda word: b"data:" + word),
    words.map(lambda word: b":" + word),
    words.map(lambda word: b"event: " + word),
    st.just(b""),
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    end = draw(line_ends)
    return b"".join(line + end for line in draw(st.lists(lines, max_size=12)))


class TestFeed:
    @pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
    def test_takes_every_line_end_of_the_standard(self, end: bytes) -> None:
        assert decode(b"data: a" + end + end + b"data: b" + end + end) == [b"a", b"b"]

    def test_the_space_after_the_colon_may_be_missing(self) -> None:
        assert decode(b"data:a\n\ndata:  b\n\n") == [b"a", b" b"]

    def test_comments_and_other_fields_are_passed_over(self) -> None:
        assert decode(b": keep-alive\n\nevent: x\nid: 7\ndata: a\nretry: 5\n\n") == [b"a"]

    def test_several_data_lines_are_one_event(self) -> None:
        assert decode(b"data: {\ndata: }\n\n") == [b"{\n}"]

    def test_an_event_without_data_is_no_event(self) -> None:
        assert decode(b"data: \n\nevent: ping\n\n\n\n\n") == []

    def test_a_last_event_needs_no_blank_line(self) -> None:
        assert decode(b"data: a\n\ndata: [DONE]") == [b"a", b"[DONE]"]

    @pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"])
    def test_an_event_is_given_as_soon_as_its_blank_line_is_there(self, end: bytes) -> None:
        decoder = EventDecoder(1_000)
        found = [decoder.feed(bytes([byte])) for byte in b"data: a" + end.removesuffix(b"\n")]
        assert (found.count([]) + found.count([b"a"])) == len(found)
        assert [*found, decoder.feed(b"\n")].count([b"a"]) == 1

    def test_an_event_that_never_ends_is_given_up(self) -> None:
        with pytest.raises(EventTooLarge, match="1000"):
            decode(*[b"data: aaaa"] * 200)

    @given(streams(), st.data())
    def test_it_does_not_matter_where_the_reads_are_cut(self, stream: bytes, data: st.DataObject) -> None:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
        chunks = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        assert decode(*chunks) == decode(stream) == decode(*(bytes([byte]) for byte in stream))

    @given(st.lists(words.filter(bool), max_size=6), line_ends)
    def test_gives_back_what_was_sent(self, sent: list[bytes], end: bytes) -> None:
        assert decode(b"".join(b"data: " + word + end + end for word in sent)) == sent
