import pytest
from hypothesis import given, strategies as st

from connector.asterisk.ami_model import AmiBadValue, AmiCounter, AmiLimits
from connector.asterisk.ami_wire import MAX_HEADERS, Framer, NotAmi, Value, check_action

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def framer(max_message_bytes: int = 200, max_lines: int = 10) -> tuple[Framer, dict[AmiCounter, int]]:
    counters = dict.fromkeys(AmiCounter, 0)
    return Framer(counters, AmiLimits(max_message_bytes=max_message_bytes, max_lines=max_lines)), counters


def counted(counters: dict[AmiCounter, int]) -> dict[str, int]:
    return {cause.value: n for cause, n in counters.items() if n}


STREAM = BANNER + "Event: A\r\nName: Jürgen 李\r\n\r\nEvent: B\r\nEmpty: \r\n\r\n".encode()
MESSAGES = [["Event: A", "Name: Jürgen 李"], ["Event: B", "Empty: "]]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_segments_of_any_size_give_the_same_messages(size: int) -> None:
    cut, counters = framer()
    messages = []
    for i in range(0, len(STREAM), size):
        messages += cut.feed(STREAM[i : i + size])
    assert messages == MESSAGES
    assert cut.banner == "Asterisk Call Manager/11.0.0"
    assert counted(counters) == {}


def test_bytes_that_are_not_utf8_are_replaced_and_counted() -> None:
    cut, counters = framer()
    assert cut.feed(BANNER + b"Event: A\r\nName: J\xfcrgen\r\n\r\n") == [
        ["Event: A", "Name: J\N{REPLACEMENT CHARACTER}rgen"]
    ]
    assert counted(counters) == {"bad_utf8": 1}


@pytest.mark.parametrize("size", [1, 5, 10_000])
def test_an_overlong_message_is_skipped_whole_and_the_next_one_read(size: int) -> None:
    cut, counters = framer()
    stream = BANNER + b"Event: A\r\nX: " + b"x" * 5000 + b"\r\nY: y\r\n\r\nEvent: B\r\n\r\n"
    messages = []
    for i in range(0, len(stream), size):
        messages += cut.feed(stream[i : i + size])
        assert len(cut._buffer) <= 200 + size + 4
    assert messages == [["Event: B"]]
    assert counted(counters) == {"message_too_long": 1}


def test_too_many_lines_and_lines_without_colon_are_counted() -> None:
    cut, counters = framer()
    assert cut.feed(BANNER + b"Event: A\r\n" + b"a: b\r\n" * 10 + b"\r\n") == []
    assert cut.feed(b"Event: B\r\nno colon here\r\nC: d\r\n\r\n") == [["Event: B", "C: d"]]
    assert counted(counters) == {"too_many_lines": 1, "line_without_colon": 1}


@pytest.mark.parametrize("first", [b"SSH-2.0-OpenSSH_9.2\r\n", b"x" * 300, b"\r\n"])
def test_a_peer_that_is_no_ami_is_recognised(first: bytes) -> None:
    with pytest.raises(NotAmi, match="expected"):
        framer()[0].feed(first)


@given(st.lists(st.binary(max_size=60)))
def test_no_bytes_raise(segments: list[bytes]) -> None:
    cut, _ = framer(max_message_bytes=50)
    cut.feed(BANNER)
    for segment in segments:
        cut.feed(segment)
        assert len(cut._buffer) <= 50 + 4


def test_an_action_keeps_its_headers() -> None:
    assert check_action("Setvar", {"Variable": ["a=1", "b=ü"], "Timeout": 3}) == {
        "Action": "Setvar",
        "Variable": ["a=1", "b=ü"],
        "Timeout": 3,
    }


@pytest.mark.parametrize("text", ["a\r\nAction: Originate", "a\nb", "a\rb", "a\0b", "\ud800"])
def test_values_that_would_add_lines_are_refused_and_named_but_not_shown(text: str) -> None:
    with pytest.raises(AmiBadValue, match="Secret") as caught:
        check_action("Login", {"Username": "u", "Secret": text})
    assert caught.value.field == "Secret"
    assert text not in str(caught.value)
    with pytest.raises(AmiBadValue):
        check_action("Login", {"Variable": ["fine", text]})
    with pytest.raises(AmiBadValue):
        check_action("Login", {text: "x"})
    with pytest.raises(AmiBadValue):
        check_action(text, {})


@pytest.mark.parametrize("fields", [{"A:b": "x"}, {"": "x"}, {" A": "x"}, {"ActionID": "1"}, {"actionid": "1"}])
def test_names_of_headers_are_checked(fields: dict[str, Value]) -> None:
    with pytest.raises(AmiBadValue):
        check_action("Ping", fields)


def test_lines_longer_than_asterisk_reads_are_refused() -> None:
    longest = "x" * (1024 - len("Value: \r\n"))
    check_action("Setvar", {"Value": longest})
    with pytest.raises(AmiBadValue, match="Value is too long"):
        check_action("Setvar", {"Value": longest + "x"})
    with pytest.raises(AmiBadValue, match="number of headers"):
        check_action("Setvar", {"Variable": ["x"] * MAX_HEADERS})
