"""What a bot's server is told of its streams by HTTP, in the words of its vendor; pure.

Twilio: the form of `statusCallback` ("<Stream>: statusCallback"). Telnyx: the webhooks `streaming.started`, `.stopped`
and `.failed`. Every other dialect: JSON of ours.
"""

from __future__ import annotations

import datetime
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from connector.config_profiles import ProfileSettings
from connector.dialects import telnyx, twilio
from connector.dialects.wire import hashed_uuid

_NAMESPACE = uuid.UUID("6c6f3a5e-51f0-5f5a-9a4e-1d0f7a3c2b11")


class StreamEvent(enum.StrEnum):
    """What became of a stream."""

    STARTED = "stream-started"
    STOPPED = "stream-stopped"
    ERROR = "stream-error"


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Something that became of a stream.

    Attributes:
        event: What.
        profile: Name of the profile.
        call_id: Unique over all PBXs.
        stream_id: Our id of the stream.
        cause: Why it ended; empty at its start.
        detail: One sentence more.
        at: Unix time.
    """

    event: StreamEvent
    profile: str
    call_id: str
    stream_id: str
    cause: str = ""
    detail: str = ""
    at: float


@dataclass(frozen=True, slots=True)
class Body:
    """Of a request: fields of a form, or JSON."""

    form: Mapping[str, str]
    json: bytes = b""


def body_of(status: Status, settings: ProfileSettings) -> Body:
    """What the server is told."""
    options = settings.dialect
    match options:
        case twilio.TwilioOptions():
            return _twilio(status, options)
        case telnyx.TelnyxOptions():
            return _telnyx(status, options, settings.url)
    return Body(
        {},
        msgspec.json.encode(
            {
                "event": status.event.value,
                "profile": status.profile,
                "dialect": options.name,
                "call": status.call_id,
                "stream": status.stream_id,
                "cause": status.cause,
                "detail": status.detail,
                "at": status.at,
            }
        ),
    )


def _twilio(status: Status, options: twilio.TwilioOptions) -> Body:
    ids = twilio.vendor_ids(options, status.call_id, status.stream_id)
    form = {
        "AccountSid": ids.account,
        "CallSid": ids.call,
        "StreamSid": ids.stream,
        "StreamName": status.profile,
        "StreamEvent": status.event.value,
        "Timestamp": _moment(status.at),
    }
    if status.event is StreamEvent.ERROR:
        form["StreamError"] = f"{status.cause}: {status.detail}"
    return Body(form)


def _telnyx(status: Status, options: telnyx.TelnyxOptions, url: str) -> Body:
    ids = telnyx.vendor_ids(options, status.call_id, status.stream_id)
    kind = {"stream-started": "started", "stream-stopped": "stopped", "stream-error": "failed"}[status.event.value]
    payload = {
        "call_control_id": ids.call,
        "call_session_id": hashed_uuid(status.call_id),
        "client_state": options.client_state,
        "stream_id": ids.stream,
        "stream_params": {"stream_url": url},
    }
    if status.event is StreamEvent.ERROR:
        payload |= {"failure_reason": status.cause, "failure_detail": status.detail}
    data = {
        "record_type": "event",
        "event_type": f"streaming.{kind}",
        "id": str(uuid.uuid5(_NAMESPACE, f"{status.stream_id} {status.event}")),
        "occurred_at": _moment(status.at),
        "payload": payload,
    }
    return Body({}, msgspec.json.encode({"data": data}))


def _moment(unix_s: float) -> str:
    """RFC 3339 with milliseconds."""
    at = datetime.datetime.fromtimestamp(unix_s, datetime.UTC)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}Z"
