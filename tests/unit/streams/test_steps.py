"""What servers are told of calls, and what is made of their answers."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st
from pydantic import ValidationError

from connector.config_profiles import ProfileSettings
from connector.config_steps import ConnectSettings, PassthruSettings
from connector.media.control import EndCause
from connector.streams.connect import BadPlan, Plan, read_plan
from connector.streams.passthru import CallData, StreamData, body, query, target_after

CALL = CallData(
    call_id="main:1.1", caller="+491", dialled="100", direction="inbound", began_at=0.0, now=61.0, digits="4",
    more={"queue": "support"},
)  # fmt: skip
STREAM = StreamData(
    stream_id="s",
    url="wss://bot.example.com",
    cause=EndCause.BOT_CLOSED,
    detail="d",
    duration_s=12.4,
    recording_url="https://r/1.wav",
)
CONNECT = ConnectSettings(dial="PJSIP/{number}@out", trunks={"t": "PJSIP/{to}@other"})


def plan(settings: ConnectSettings = CONNECT, **answer: Any) -> Plan:
    return read_plan(settings, json.dumps(answer).encode(), dialled="100", channel_id="1.1")


# -- passthru -----------------------------------------------------------------------------------------------------


def test_the_query_after_a_stream() -> None:
    settings = PassthruSettings(flow_id="7", custom_field="gold")
    found = query(settings, CALL, STREAM)
    assert found | {"CallSid": "", "Stream[StreamSID]": ""} == {
        "CallSid": "", "CallFrom": "+491", "CallTo": "100", "Direction": "incoming", "Created": "1970-01-01 00:00:00",
        "DialCallDuration": "0", "StartTime": "1970-01-01 00:00:00", "EndTime": "1970-01-01 00:01:01",
        "CallType": "call-attempt", "From": "+491", "To": "100", "flow_id": "7", "CustomField": "gold", "digits": "4",
        "queue": "support", "Stream[StreamSID]": "", "Stream[Status]": "completed", "Stream[Duration]": "12",
        "Stream[StreamUrl]": "wss://bot.example.com", "Stream[DisconnectedBy]": "bot",
        "Stream[DetailedStatus]": "bot_closed", "Stream[Disposition]": "answered",
        "Stream[RecordingUrl]": "https://r/1.wav",
    }  # fmt: skip
    assert not [name for name in query(settings, CALL, None) if name.startswith("Stream")]
    one = query(PassthruSettings(request="get_json"), CALL, STREAM)
    assert json.loads(one["Stream"])["DisconnectedBy"] == "bot"


@pytest.mark.parametrize(
    ("cause", "status", "who"),
    [
        (EndCause.CALLER_HUNG_UP, "completed", "user"),
        (EndCause.HANDED_OVER, "completed", "bot"),
        (EndCause.SESSION_LIMIT, "completed", "system"),
        (EndCause.BOT_REFUSED, "failed", "system"),
        (EndCause.BOT_FAILED, "failed", "bot"),
    ],
)
def test_how_a_stream_ended_in_the_vendors_words(cause: EndCause, status: str, who: str) -> None:
    stream = StreamData(stream_id="s", url="", cause=cause, detail="why", duration_s=1)
    found = query(PassthruSettings(), CALL, stream)
    assert (found["Stream[Status]"], found["Stream[DisconnectedBy]"]) == (status, who)
    assert found.get("Stream[Error]") == ("why" if status == "failed" else None)


def test_the_posts() -> None:
    before = body(PassthruSettings(request="post_before"), CALL, None, url="wss://bot")
    assert set(before) == {
        "CallSid", "StreamSid", "StreamUrl", "AccountSid", "EventType", "From", "To", "Direction"
    }  # fmt: skip
    after = body(PassthruSettings(request="post_after"), CALL, STREAM, url="")
    assert (after["status"], after["disconnectedby"], after["recordingurl"]) == ("completed", "bot", "https://r/1.wav")
    assert all(name.islower() for name in after)


def test_where_an_answer_leads() -> None:
    settings = PassthruSettings(on_200="queue:a", on_302="queue:b", otherwise="queue:c")
    found = [target_after(settings, status) for status in (200, 302, 404, 503, None)]
    assert found == ["queue:a", "queue:b", "queue:c", "queue:c", "queue:c"]


# -- connect ------------------------------------------------------------------------------------------------------


def test_numbers_together_or_in_turn() -> None:
    numbers = {"numbers": ["1", "2", "3"]}
    assert plan(destination=numbers).attempts == ("PJSIP/1@out", "PJSIP/2@out", "PJSIP/3@out")
    parallel = {"activate": True, "max_parallel_attempts": 2}
    assert plan(destination=numbers, parallel_ringing=parallel).attempts == ("PJSIP/1@out&PJSIP/2@out", "PJSIP/3@out")
    assert plan(destination={"trunk": "t"}).attempts == ("PJSIP/100@other",)
    assert plan(destination={"numbers": []}).attempts == ()
    few = ConnectSettings(dial="PJSIP/{number}", max_numbers=1)
    assert plan(few, destination=numbers).attempts == ("PJSIP/1",)


def test_what_dial_gets() -> None:
    found = plan(
        destination={"numbers": ["1"]},
        max_ringing_duration=45,
        max_conversation_duration=3600,
        music_on_hold={"type": "default_tone"},
        outgoing_phone_number="+4930",
        record=True,
        recording_channels="dual",
        custom_params="ticket=7&mood=so%20so",
        start_call_playback={"playback_to": "callee", "type": "audio_url", "value": "https://a.example/b.wav"},
    ).variables
    assert found["CONNECTOR_RING_S"] == "45"
    assert found["CONNECTOR_DIAL_OPTIONS"] == (
        "gmL(3600000)b(connector-connect-leg^s^1)U(connector-connect-playback^s^1)"
    )
    assert found["__CONNECTOR_CALLER_ID"] == "+4930"
    assert found["CONNECTOR_RECORD_OPTIONS"] == "br(connector-1.1-caller.wav)t(connector-1.1-callee.wav)"
    assert (found["__CONNECTOR_HEADER2_NAME"], found["__CONNECTOR_HEADER2"]) == ("X-mood", "so so")
    assert (found["__CONNECTOR_PLAYBACK"], found["CONNECTOR_PLAYBACK_CALLER"]) == ("https://a.example/b.wav", "")


def test_what_an_attempt_does_not_say_is_taken_back() -> None:
    """A second answer must not inherit what the first one set."""
    assert set(plan(destination={}).variables) == set(plan(destination={}, record=True, custom_params="a=b").variables)


def test_what_is_not_done_is_said() -> None:
    text = {"playback_to": "both", "type": "text", "value": "hello"}
    assert "speech synthesis" in plan(destination={}, start_call_playback=text).left_out[0]
    for params in ("exotel-x=1", "a=1&b=2&c=3&d=4", "long=" + "x" * 200, "bad name=1"):
        assert "custom_params" in plan(destination={}, custom_params=params).left_out[0]


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"destination": {"numbers": ["1&Local/0900@out"]}},
        {"destination": {"numbers": ["1,30,tT"]}},
        {"destination": {"numbers": ["${EXTEN}"]}},
        {"destination": {"trunk": "unknown"}},
        {"destination": {}, "outgoing_phone_number": "1)U(x"},
        {"destination": {}, "start_call_playback": {"type": "audio_url", "value": "a&b"}},
        {"destination": {}, "start_call_playback": {"type": "audio_url", "value": "http://x/${SHELL(id)}"}},
        {"destination": {}, "recording_channels": "many"},
    ],
)
def test_what_could_mean_something_to_the_dialplan_refuses_the_answer(answer: dict[str, Any]) -> None:
    with pytest.raises(BadPlan):
        plan(**answer)


@given(
    st.binary(max_size=200)
    | st.recursive(st.none() | st.text() | st.integers(), st.lists, max_leaves=5).map(json.dumps).map(str.encode)
)
def test_any_answer_is_a_plan_or_refused(answer: bytes) -> None:
    try:
        read_plan(CONNECT, answer, dialled="1", channel_id="1.1")
    except BadPlan:
        pass


@given(st.lists(st.text(max_size=12), max_size=4), st.text(max_size=40), st.text(max_size=20), st.text(max_size=40))
def test_nothing_in_an_answer_reaches_the_dialplan_as_code(
    numbers: list[str], params: str, number: str, value: str
) -> None:
    answer = {
        "destination": {"numbers": numbers}, "custom_params": params, "outgoing_phone_number": number,
        "start_call_playback": {"type": "audio_url", "value": value},
    }  # fmt: skip
    try:
        found = read_plan(CONNECT, msgspec.json.encode(answer), dialled="1", channel_id="1.1")
    except BadPlan:
        return
    for text in (*found.attempts, found.variables["__CONNECTOR_CALLER_ID"], found.variables["__CONNECTOR_PLAYBACK"]):
        assert not set(text) & set("${}(),;|^\"'\\\r\n")


# -- settings -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"mode": "passthru", "url": "wss://bot.example.com/"}, "asks an http"),
        ({"url": "wss://b/", "connect": {"dial": "PJSIP/{number},30"}}, "technology/resource"),
        ({"url": "wss://b/", "connect": {"dial": "PJSIP/{other}"}}, "technology/resource"),
        ({"url": "wss://b/", "connect": {"trunks": {"a": "PJSIP/{number}"}}}, "technology/resource"),
        ({"url": "wss://b/", "passthru": {"on_200": "queue:a,b"}}, "must not hold"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        ProfileSettings.model_validate(settings)
