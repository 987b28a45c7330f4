"""What a server is told of a call, in the shapes of Exotel's Passthru. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from connector.config_steps import PassthruSettings
from connector.dialects.exotel import ExotelOptions, vendor_ids
from connector.media.control import EndCause
from connector.streams.handover import FAILURES

_BY_BOT = frozenset({EndCause.BOT_CLOSED, EndCause.BOT_HUNG_UP, EndCause.HANDED_OVER, EndCause.BOT_FAILED})


@dataclass(frozen=True, slots=True, kw_only=True)
class CallData:
    """A call as a server is told of it.

    Attributes:
        call_id: Unique over all PBXs.
        caller: Number of the caller.
        dialled: Number that was dialled.
        direction: As the live state has it.
        began_at: Unix time.
        now: Unix time.
        digits: That the caller pressed; empty if unknown.
        more: Further parameters, as the dialplan gave them.
    """

    call_id: str
    caller: str
    dialled: str
    direction: str
    began_at: float
    now: float
    digits: str = ""
    more: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamData:
    """The stream that a call had before.

    Attributes:
        stream_id: Ours.
        url: Scheme, host and port of the bot.
        cause: Why it ended.
        detail: In a sentence.
        duration_s: How long it lasted.
        recording_url: Where it is recorded; empty if it is not.
    """

    stream_id: str
    url: str
    cause: EndCause
    detail: str
    duration_s: float
    recording_url: str = ""

    @property
    def status(self) -> str:
        """Exotel's word for how it ended."""
        failed = self.cause in FAILURES or self.cause is EndCause.ASTERISK_ERROR
        return "failed" if failed else "completed"

    @property
    def ended_by(self) -> str:
        """Exotel's word for who ended it."""
        if self.cause is EndCause.CALLER_HUNG_UP:
            return "user"
        return "bot" if self.cause in _BY_BOT else "system"


def query(settings: PassthruSettings, call: CallData, stream: StreamData | None) -> dict[str, str]:
    """The parameters of a GET after a stream."""
    found = call_parameters(call)
    if settings.flow_id:
        found["flow_id"] = settings.flow_id
    if settings.custom_field:
        found["CustomField"] = settings.custom_field
    if stream is None:
        return found
    whole = _stream(stream)
    if settings.request == "get_json":
        short = ("StreamSID", "RecordingUrl", "Status", "Duration", "StreamUrl", "DisconnectedBy")
        return {**found, "Stream": json.dumps({key: whole[key] for key in short if key in whole})}
    return {**found, **{f"Stream[{key}]": value for key, value in whole.items()}}


def call_parameters(call: CallData) -> dict[str, str]:
    """What is told of a call, of Passthru and of Connect."""
    ids = vendor_ids(ExotelOptions(), call.call_id, "")
    began = _time(call.began_at)
    found = {
        **call.more,
        "CallSid": ids.call,
        "CallFrom": call.caller,
        "CallTo": call.dialled,
        "Direction": "outbound-api" if call.direction == "outbound" else "incoming",
        "Created": began,
        "DialCallDuration": "0",
        "StartTime": began,
        "EndTime": _time(call.now),
        "CallType": "call-attempt",
        "From": call.caller,
        "To": call.dialled,
    }
    if call.digits:
        found["digits"] = call.digits
    return found


def body(settings: PassthruSettings, call: CallData, stream: StreamData | None, *, url: str) -> dict[str, Any]:
    """The JSON of a POST.

    Args:
        settings: Which one.
        call: The call.
        stream: That ended; None if there was none.
        url: Of the bot that comes, for the POST before a stream.
    """
    ids = vendor_ids(ExotelOptions(), call.call_id, "" if stream is None else stream.stream_id)
    if settings.request == "post_before":
        return {
            "CallSid": ids.call,
            "StreamSid": ids.stream,
            "StreamUrl": url,
            "AccountSid": ids.account,
            "EventType": "stream-start",
            "From": call.caller,
            "To": call.dialled,
            "Direction": "outbound-api" if call.direction == "outbound" else "incoming",
        }
    found: dict[str, Any] = {"callsid": ids.call, "legs": [], "dialcallstatus": "", "dialwhomnumber": ""}
    if stream is not None:
        found |= {key.lower(): value for key, value in _stream(stream).items()}
    return found


def target_after(settings: PassthruSettings, status: int | None) -> str:
    """Where a call goes after an answer; None for none."""
    return {200: settings.on_200, 302: settings.on_302}.get(status or 0, settings.otherwise)


def _stream(stream: StreamData) -> dict[str, str]:
    found = {
        "StreamSID": vendor_ids(ExotelOptions(), "", stream.stream_id).stream,
        "Status": stream.status,
        "Duration": str(round(stream.duration_s)),
        "StreamUrl": stream.url,
        "DisconnectedBy": stream.ended_by,
        "DetailedStatus": stream.cause.value,
        "Disposition": "answered" if stream.status == "completed" else "failed",
    }
    if stream.recording_url:
        found["RecordingUrl"] = stream.recording_url
    if stream.status == "failed":
        found["Error"] = stream.detail
    return found


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
