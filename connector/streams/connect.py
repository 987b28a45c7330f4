"""Whom a call is connected to, as a server says in the JSON of Exotel's Connect; and what Dial() makes of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from connector.config_steps import ConnectSettings
from connector.streams.handover import BadHandover, checked_headers

NUMBER = re.compile(r"[0-9A-Za-z+*#._-]{1,64}")
_SOUND = re.compile(r"[A-Za-z0-9_./-]{1,200}")
_URL_FORBIDDEN = re.compile(r"[,()^|;\"'\\${}\[\]\s\x00-\x1f\x7f]")
MAX_SECONDS = 14_400


class _Destination(msgspec.Struct):
    numbers: list[str] = []
    trunk: str = ""


class _Music(msgspec.Struct):
    type: Literal["operator_tone", "default_tone"] = "operator_tone"


class _Parallel(msgspec.Struct):
    activate: bool = False
    max_parallel_attempts: int = 3


class _Playback(msgspec.Struct):
    playback_to: Literal["both", "callee"] = "both"
    type: Literal["text", "audio_url"] = "text"
    value: str = ""


class _Answer(msgspec.Struct):
    destination: _Destination
    fetch_after_attempt: bool = False
    custom_params: str = ""
    outgoing_phone_number: str = ""
    record: bool = False
    recording_channels: Literal["single", "dual"] = "single"
    max_ringing_duration: int = 30
    max_conversation_duration: int = MAX_SECONDS
    music_on_hold: _Music = msgspec.field(default_factory=_Music)
    parallel_ringing: _Parallel = msgspec.field(default_factory=_Parallel)
    dial_passthru_event_url: str = ""
    start_call_playback: _Playback | None = None


class BadPlan(ValueError):
    """The answer cannot be used; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be dialled.

    Attributes:
        attempts: One after the other; what is in one rings together. As Dial() takes it.
        variables: Of the caller's channel, the same for every attempt.
        fetch_again: Whether the server is asked after an attempt that failed.
        event_url: Told of each attempt; empty: nobody is.
        left_out: What of the answer is not done, a sentence each.
    """

    attempts: tuple[str, ...]
    variables: dict[str, str]
    fetch_again: bool
    event_url: str
    left_out: tuple[str, ...]


def read_plan(settings: ConnectSettings, answer: bytes, *, dialled: str, channel_id: str) -> Plan:
    """Reads an answer.

    Args:
        settings: How numbers and trunks are dialled.
        answer: JSON.
        dialled: Number that the caller dialled, for trunks.
        channel_id: Of the caller, for the name of the recording.

    Raises:
        BadPlan: It cannot be used.
    """
    try:
        asked = msgspec.json.decode(answer, type=_Answer)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise BadPlan(f"the answer is not as Connect has it: {error}"[:200]) from None
    left_out: list[str] = []
    found = {
        "CONNECTOR_RING_S": str(_between(asked.max_ringing_duration, 1, 600)),
        "CONNECTOR_DIAL_OPTIONS": _options(asked),
        "__CONNECTOR_CALLER_ID": _number(asked.outgoing_phone_number) if asked.outgoing_phone_number else "",
        **_recording(asked, channel_id),
        **_playback(asked.start_call_playback, left_out),
        **_headers(asked.custom_params, left_out),
    }
    return Plan(
        attempts=_attempts(settings, asked, dialled),
        variables=found,
        fetch_again=asked.fetch_after_attempt,
        event_url=asked.dial_passthru_event_url,
        left_out=tuple(left_out),
    )


def _attempts(settings: ConnectSettings, asked: _Answer, dialled: str) -> tuple[str, ...]:
    trunk = asked.destination.trunk
    if trunk:
        try:
            return (settings.trunks[trunk].replace("{to}", _number(dialled)),)
        except KeyError:
            raise BadPlan(f"connect.trunks has no {trunk[:64]!r}") from None
    numbers = asked.destination.numbers[: settings.max_numbers]
    if numbers and not settings.dial:
        raise BadPlan("connect.dial does not say how numbers are dialled")
    whole = [settings.dial.replace("{number}", _number(number)) for number in numbers]
    size = _between(asked.parallel_ringing.max_parallel_attempts, 1, 50) if asked.parallel_ringing.activate else 1
    return tuple("&".join(whole[at : at + size]) for at in range(0, len(whole), size))


def _options(asked: _Answer) -> str:
    options = "g" + ("m" if asked.music_on_hold.type == "default_tone" else "r")
    options += f"L({1000 * _between(asked.max_conversation_duration, 1, MAX_SECONDS)})b(connector-connect-leg^s^1)"
    playback = asked.start_call_playback
    if playback is not None and playback.type == "audio_url":
        options += "U(connector-connect-playback^s^1)"
    return options


def _recording(asked: _Answer, channel_id: str) -> dict[str, str]:
    if not asked.record:
        return {"CONNECTOR_RECORD": "", "CONNECTOR_RECORD_OPTIONS": ""}
    name = "connector-" + re.sub(r"[^A-Za-z0-9.-]", "-", channel_id)
    both = f"r({name}-caller.wav)t({name}-callee.wav)" if asked.recording_channels == "dual" else ""
    return {"CONNECTOR_RECORD": f"{name}.wav", "CONNECTOR_RECORD_OPTIONS": "b" + both}


def _playback(asked: _Playback | None, left_out: list[str]) -> dict[str, str]:
    found = {"__CONNECTOR_PLAYBACK": "", "CONNECTOR_PLAYBACK_CALLER": ""}
    if asked is None:
        return found
    if asked.type == "text":
        left_out.append("start_call_playback of type text: there is no speech synthesis here")
        return found
    if not is_playable(asked.value):
        raise BadPlan("start_call_playback.value is no address and no name of a sound")
    found["__CONNECTOR_PLAYBACK"] = asked.value
    found["CONNECTOR_PLAYBACK_CALLER"] = asked.value if asked.playback_to == "both" else ""
    return found


def is_playable(value: str) -> bool:
    """Whether Playback() may be given it: the name of a sound, or an address that Asterisk fetches."""
    if _SOUND.fullmatch(value):
        return True
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    plain = not _URL_FORBIDDEN.search(value) and "&" not in value and len(value) <= 500
    return plain and parts.scheme in ("http", "https") and bool(parts.hostname)


def _headers(text: str, left_out: list[str]) -> dict[str, str]:
    try:
        headers: Sequence[tuple[str, str]] = checked_headers(dict(parse_qsl(text, keep_blank_values=True)))
    except (BadHandover, ValueError) as error:
        left_out.append(f"custom_params: {error}")
        headers = ()
    found: dict[str, str] = {}
    for number in (1, 2, 3):
        name, value = headers[number - 1] if number <= len(headers) else ("", "")
        found |= {f"__CONNECTOR_HEADER{number}_NAME": name, f"__CONNECTOR_HEADER{number}": value}
    return found


def _number(text: str) -> str:
    if not NUMBER.fullmatch(text):
        raise BadPlan(f"{text[:64]!r} is no number that may be dialled")
    return text


def _between(value: int, least: int, most: int) -> int:
    return max(least, min(most, value))
