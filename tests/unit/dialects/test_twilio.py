import base64
import json
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, strategies as st

from connector.dialects import registry
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    RejectCause,
    Rejected,
    StopReason,
    StreamStart,
)
from connector.dialects.twilio import Twilio, TwilioOptions

FIXTURES = Path(__file__).parents[2] / "fixtures" / "twilio"


def new() -> Twilio:
    return Twilio(StreamStart("stream-1", "1700000000.42", {"language": "de", 'quote"': "ü"}), TwilioOptions())


def one(messages: Sequence[BotMessage]) -> BotMessage:
    (message,) = messages
    return message


def test_a_conversation_is_as_recorded() -> None:
    twilio = new()
    sent = [
        *twilio.opened(),
        twilio.audio(b"\xff" * 160, 0),
        twilio.audio(bytes(range(160)), 20),
        twilio.dtmf("#"),
        twilio.mark_played('say "hi"'),
        *twilio.closing(StopReason.CALLER_HUNG_UP),
    ]
    assert [json.loads(message or "") for message in sent] == json.loads((FIXTURES / "conversation.json").read_text())


@pytest.mark.parametrize("case", json.loads((FIXTURES / "from_bot.json").read_text()), ids=lambda case: case["about"])
def test_messages_of_bots(case: dict[str, str]) -> None:
    text = case["text"].replace("OUR_SID", json.loads(str(new().opened()[1]))["streamSid"])
    got = one(new().decode(text))
    kind = f"rejected {got.cause.value}" if isinstance(got, Rejected) else type(got).__name__
    assert kind == case["is"]


def test_what_a_bot_sends_arrives() -> None:
    audio = bytes(range(256)) * 5
    payload = base64.b64encode(audio).decode()
    assert new().decode(json.dumps({"event": "media", "media": {"payload": payload}})) == (BotAudio(audio),)
    assert new().decode('{"event":"mark","mark":{"name":"x"}}') == (BotMark("x"),)
    assert new().decode('{"event":"clear"}') == (BotClear(),)


def test_sids_are_twilios_shape_and_agree_over_a_call() -> None:
    starts = [
        json.loads(str(Twilio(StreamStart(stream, "call"), TwilioOptions()).opened()[1]))["start"]
        for stream in ("a", "b")
    ]
    for start in starts:
        assert re.fullmatch(r"MZ[0-9a-f]{32}", start["streamSid"])
        assert re.fullmatch(r"CA[0-9a-f]{32}", start["callSid"])
        assert re.fullmatch(r"AC[0-9a-f]{32}", start["accountSid"])
    assert starts[0]["callSid"] == starts[1]["callSid"]
    assert starts[0]["streamSid"] != starts[1]["streamSid"]


@given(st.lists(st.sampled_from(["audio", "dtmf", "mark", "closing"]), max_size=30))
def test_sequence_numbers_rise_by_one_and_chunks_by_their_own(todo: list[str]) -> None:
    twilio = new()
    sent = twilio.opened()[1:]
    for what in todo:
        match what:
            case "audio":
                sent.append(twilio.audio(b"x", 0) or "")
            case "dtmf":
                sent.append(twilio.dtmf("1") or "")
            case "mark":
                sent.append(twilio.mark_played("m") or "")
            case "closing":
                sent += twilio.closing(StopReason.CALLER_HUNG_UP)
    messages = [json.loads(message) for message in sent]
    assert [message["sequenceNumber"] for message in messages] == [str(n + 1) for n in range(len(sent))]
    chunks = [message["media"]["chunk"] for message in messages if message["event"] == "media"]
    assert chunks == [str(n + 1) for n in range(len(chunks))]


@given(st.text() | st.binary())
@example("[" * 100_000)
@example('{"event":"no-such","x":' + "[" * 100_000)
@example('{"event":1,"x":' + "[" * 100_000)
@example("\ud800")
@example('{"event":"media","media":{"payload":"ü==="}}')
@example('{"event":"media","media":{"payload":"\\ud800"}}')
@example('{"event":"' + "x" * 5_000 + '"}')
def test_decode_never_raises_and_details_are_short(message: str | bytes) -> None:
    got = one(new().decode(message))
    assert not isinstance(got, Rejected) or len(got.detail) <= 200


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.fixed_dictionaries(
        {"event": st.sampled_from(["media", "mark", "clear", "stop"]) | json_values},
        optional={"streamSid": json_values, "media": json_values, "mark": json_values},
    )
)
def test_decode_never_raises_on_json(message: dict[str, object]) -> None:
    new().decode(json.dumps(message))


def test_binary_is_refused() -> None:
    got = one(new().decode(b'{"event":"clear"}'))
    assert isinstance(got, Rejected)
    assert got.cause is RejectCause.NOT_TEXT


def test_the_media_message_is_the_json_it_claims_to_be() -> None:
    message = msgspec.json.decode(str(new().audio(bytes(160), 1_234_560)))
    assert message["media"]["timestamp"] == "1234560"
    assert base64.b64decode(message["media"]["payload"]) == bytes(160)


def test_the_registry_knows_it_and_lists_what_there_is() -> None:
    assert isinstance(registry.create("twilio", StreamStart("s", "c")), Twilio)
    with pytest.raises(ValueError, match="twilio"):
        registry.create("no-such", StreamStart("s", "c"))


payloads = st.binary(min_size=0, max_size=400)
shapes = st.sampled_from(
    [
        '{"event":"media","media":{"payload":"%s"}}',
        '{"event": "media", "streamSid": "SID", "media": {"payload": "%s"}}',
        '{"media":{"payload":"%s","x":"%s"},"event":"media"}',
        '{"event":"media","media":{"payload":"%s"},"n":NUMBER}',
    ]
)


@given(st.lists(st.tuples(shapes, payloads, st.text(max_size=3), st.booleans()), max_size=8))
def test_a_decoder_that_has_learned_reads_as_a_new_one(messages: list[tuple[str, bytes, str, bool]]) -> None:
    learned = new()
    sid_of = json.loads(str(learned.audio(bytes(160), 0)))["streamSid"]
    for number, (shape, audio, noise, spoil) in enumerate(messages):
        text = base64.b64encode(audio).decode()
        if spoil:
            text = text[: len(text) // 2] + noise + text[len(text) // 2 :]
        message = shape.replace("%s", text).replace("SID", sid_of).replace("NUMBER", str(number))
        assert learned.decode(message) == new().decode(message)


def test_a_payload_that_stands_elsewhere_too_is_not_learned() -> None:
    dialect = new()
    first, second = (base64.b64encode(bytes([n]) * 160).decode() for n in (1, 2))
    dialect.decode(f'{{"x":"{first}","event":"media","media":{{"payload":"{first}"}}}}')
    assert dialect.decode(f'{{"x":"{second}","event":"media","media":{{"payload":"{first}"}}}}') == (
        BotAudio(b"\1" * 160),
    )
