"""What holds for each dialect, whichever it is."""

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings, strategies as st

from connector.dialects import registry
from connector.dialects.base import (
    BotAudio,
    BotClear,
    BotMark,
    BotMessage,
    BotReply,
    RejectCause,
    Rejected,
    StopReason,
    Track,
)
from connector.dialects.commands import Ended, Failed, Hold
from connector.dialects.ringcx_events import stream_event
from connector.media.control import BotCommand, decode_from_worker, encode
from tests.unit.dialects.conversation import FIXTURES, OPTIONS, conversation, frame, new, ready

NAMES = sorted(registry.DIALECTS)
every = pytest.mark.parametrize("name", NAMES)


@every
def test_what_it_sends_is_as_kept(name: str) -> None:
    """`python -m tests.unit.dialects.conversation` writes the files anew."""
    assert conversation(name) == json.loads((FIXTURES / f"{name}.json").read_text())


def from_pipecat(name: str) -> list[BotMessage]:
    dialect = ready(name, {})
    said: list[BotMessage] = []
    for message in json.loads((FIXTURES / f"{name}_from_pipecat.json").read_text())["messages"]:
        if name == "audiohook" and '"opened"' in message.get("text", ""):
            continue  # `ready` had it already
        ours = json.dumps(conversation(name))
        ids = {
            "twilio": "streamSid",
            "exotel": "stream_sid",
            "plivo": "streamId",
        }
        sid = ours.split(f'"{ids[name]}": "')[1].split('"')[0] if name in ids else "OUR_ID"
        said += dialect.decode(
            base64.b64decode(message["binary"]) if "binary" in message else message["text"].replace("OUR_ID", sid)
        )
    return said


@pytest.mark.parametrize("name", ["twilio", "telnyx", "plivo", "exotel", "vonage"])
def test_what_pipecat_sends_is_understood(name: str) -> None:
    said = from_pipecat(name)
    assert not [each for each in said if isinstance(each, Rejected)]
    assert sum(len(each.payload) for each in said if isinstance(each, BotAudio)) > 0
    assert [type(each) for each in said if not isinstance(each, BotAudio)] == [BotMark, BotClear]


def test_what_pipecats_audiohook_sends_is_understood() -> None:
    said = from_pipecat("audiohook")
    assert not [each for each in said if isinstance(each, Rejected)]
    kinds = {type(each) for each in said}
    assert kinds == {BotReply, BotAudio, BotMark, BotClear, Ended}


KEYS = st.sampled_from(
    re.findall(
        r"\S+",
        """event type action media mark dtmf payload name streamSid stream_sid streamId stream_id parameters entities
        seq delta item_id call_id arguments code message reason outputVariables transfer_to target data digits muted
        paused fatal contentType sampleRate response error status session headers transcript""",
    )
)
WORDS = st.sampled_from(
    re.findall(
        r"\S+",
        """media mark clear playAudio checkpoint clearAudio sendDTMF notify opened closed pong pause resume event end
        mute disconnect reconnect updated error barge_in session.updated session.created response.done hang_up transfer
        dtmf input_audio_buffer.speech_started response.output_audio.delta response.function_call_arguments.done
        failed transfer_call audio/x-l16 audio/x-mulaw AAAA //8= 8000 5 completed""",
    )
)
VALUES = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)
MESSAGES = st.dictionaries(KEYS, VALUES, max_size=6).map(json.dumps)


def check(name: str, messages: list[Any]) -> None:
    """A dialect takes anything, at any time, and what it sends upon it can be sent."""
    for dialect in (new(name), ready(name), new(name, two_way=False)):
        for message in messages:
            said = list(dialect.decode(message))
            for each in said:
                if isinstance(each, Rejected):
                    assert len(each.detail) <= 200
                elif isinstance(each, BotReply):
                    for reply in each.messages:
                        assert isinstance(reply, bytes) or json.loads(reply)
                elif isinstance(each, BotMark):
                    assert dialect.mark_played(each.name) is None or each.name is not None
                elif not isinstance(each, BotAudio | BotClear):
                    command = BotCommand("s", each)
                    assert decode_from_worker(encode(command)) == command
            for sent in [*dialect.cleared(20), *dialect.notify(Hold(held=True)), dialect.dtmf("1")]:
                assert sent is None or isinstance(sent, bytes) or json.loads(sent)
        dialect.closing(StopReason.ERROR)


@every
@settings(max_examples=60, deadline=None)
@given(st.lists(st.text() | st.binary() | MESSAGES, max_size=5))
@example(["[" * 100_000])
@example(['{"event":"media","x":' + "[" * 100_000])
@example(
    ["\ud800", '{"event":"mark","mark":{"name":"\\ud800"},"name":"\\ud800","action":"notify","payload":"\\ud800"}']
)
@example(['{"event":"media","media":{"payload":"ü==="}}'])
@example(['{"type":"' + "x" * 5_000 + '"}'])
@example([b"\x00", b"\x01", b"\x02\x03\x04"])
@example(['{"type":"event","parameters":{"entities":[{"type":"barge_in"},1,{"type":"x","data":{"a":1}}]}}'])
def test_nothing_that_a_peer_sends_raises(name: str, messages: list[Any]) -> None:
    check(name, messages)


@every
@settings(max_examples=30, deadline=None)
@given(st.lists(st.binary(max_size=700), max_size=12))
def test_audio_of_a_bot_arrives_whole_however_it_is_cut(name: str, pieces: list[bytes]) -> None:
    if registry.DIALECTS[name].mode == "listen":
        return
    dialect = ready(name, {})
    said: list[BotMessage] = []
    for piece in pieces:
        encoded = base64.b64encode(piece).decode()
        binary = name in ("raw", "vonage", "rustpbx", "audiohook")
        shapes: dict[str, Any] = {
            "plivo": {"event": "playAudio", "media": {"payload": encoded}},
            "openai-realtime": {"type": "response.output_audio.delta", "item_id": "i", "delta": encoded},
        }
        said += dialect.decode(
            piece if binary else json.dumps(shapes.get(name, {"event": "media", "media": {"payload": encoded}}))
        )
    heard = b"".join(each.payload for each in said if isinstance(each, BotAudio))
    whole = b"".join(pieces)
    assert heard == whole[: len(heard)]
    assert len(whole) - len(heard) < 2


@every
def test_no_audio_of_the_caller_is_lost(name: str) -> None:
    options = OPTIONS.get(name, {})
    dialect = ready(name)
    frames = [frame(dialect, options, n) for n in range(13)]
    sent = [dialect.audio(each, 20 * n) for n, each in enumerate(frames)]
    sent += dialect.closing(StopReason.CALLER_HUNG_UP)
    heard = b""
    for message in sent:
        if isinstance(message, bytes) and name == "ringcx-grpc":
            heard += stream_event().FromString(message).segment_media.audio_content.payload
        elif isinstance(message, bytes):
            heard += message
        elif message is not None:
            value = json.loads(message)
            media = value.get("media")
            encoded = value.get("audio") or (media.get("payload") if isinstance(media, dict) else media)
            heard += base64.b64decode(encoded) if isinstance(encoded, str) else b""
    assert heard == b"".join(frames)


@every
def test_a_stream_that_listens_takes_no_audio(name: str) -> None:
    if registry.DIALECTS[name].mode != "either":
        return
    dialect = new(name, {}, two_way=False)
    said = [
        *dialect.decode(bytes(320)),
        *dialect.decode(json.dumps({"event": "media", "media": {"payload": "AAAA"}})),
        *dialect.decode(json.dumps({"event": "playAudio", "media": {"payload": "AAAA"}})),
    ]
    assert all(isinstance(each, Rejected) for each in said)
    assert RejectCause.OUT_OF_TURN in {each.cause for each in said if isinstance(each, Rejected)}


@every
def test_both_sides_of_a_call_can_be_listened_to_or_the_first_is(name: str) -> None:
    if registry.DIALECTS[name].mode == "two_way":
        return
    dialect = new(name, {}, tracks=(Track.CALLER, Track.AGENT), two_way=False)
    dialect.connected()
    opened = {"media": [{"type": "audio", "format": "PCMU", "channels": ["external", "internal"], "rate": 8000}]}
    if name == "audiohook":
        assert not dialect.decode(json.dumps({"type": "opened", "parameters": opened}))
    dialect.opened()
    caller, agent = (frame(dialect, {}, seed) for seed in (1, 100))
    sent = []
    for n in range(8):
        sent += [dialect.audio(caller, 20 * n), dialect.audio(agent, 20 * n, Track.AGENT)]
    sent += dialect.closing(StopReason.CALLER_HUNG_UP)
    assert [each for each in sent if each is not None]


@every
def test_options_survive_the_way_to_the_worker(name: str) -> None:
    kind = registry.DIALECTS[name].options_type
    options = kind.model_validate(OPTIONS.get(name, {}))
    assert kind.model_validate(json.loads(json.dumps(options.plain()))) == options


def test_an_unknown_dialect_and_wrong_options_are_told_without_the_values() -> None:
    with pytest.raises(ValueError, match=r"unknown dialect 'morse'; there is: audiohook, "):
        new("morse")
    with pytest.raises(ValueError, match="options of dialect audiohook: client_secret") as caught:
        new("audiohook", {"client_secret": "not base64!"})
    assert "not base64!" not in str(caught.value)


@every
def test_a_failure_that_a_dialect_reports_has_words(name: str) -> None:
    dialect = new(name)
    for message in (
        {"type": "error", "message": "m", "error": {"message": "m"}, "parameters": {"code": 415, "message": "m"}},
        {"event": "error", "payload": {"code": 1, "title": "m"}},
    ):
        for each in dialect.decode(json.dumps(message)):
            assert not isinstance(each, Failed) or each.message == "m"


@every
def test_it_has_a_page(name: str) -> None:
    docs = FIXTURES.parents[2] / "docs" / "dialects"
    assert (docs / f"{name}.md").read_text().startswith(f"# {name}: ")
    assert f"[{name}]({name}.md)" in (docs / "README.md").read_text()


@every
def test_its_options_can_be_given_as_text(name: str) -> None:
    """As environment variables do."""
    kind = registry.DIALECTS[name].options_type
    plain = {key: value for key, value in kind.model_validate({}).plain().items() if not isinstance(value, tuple)}
    assert kind.model_validate({key: str(value) for key, value in plain.items()}) == kind.model_validate({})
