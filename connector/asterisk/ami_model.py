"""What the AMI client hands out: the items of its stream, its errors, its counters and its limits."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

Fields = Mapping[str, str | list[str]]
"""The headers of one AMI message as Asterisk spells them; a repeated header is a list."""


# -- the stream -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AmiConnected:
    """Logged in: events follow. What happened before is unknown, so ask for the lists.

    Attributes:
        banner: Asterisk's first line, for example `Asterisk Call Manager/11.0.0`.
    """

    banner: str


@dataclass(frozen=True, slots=True)
class AmiLost:
    """The connection is gone or could not be made; tried again by itself."""

    reason: str


@dataclass(frozen=True, slots=True)
class AmiRefused:
    """Asterisk does not let us in: somebody has to change the settings. Tried again once a minute."""

    reason: str


@dataclass(frozen=True, slots=True)
class AmiEvent:
    """One live event.

    Attributes:
        message: Its headers.
        received_at: Seconds since the epoch by our clock.
    """

    message: Fields
    received_at: float


@dataclass(frozen=True, slots=True)
class AmiList:
    """The whole answer to `Ami.request_list`, at the place in the stream where its Complete event stood.

    Events before it are already in the list, events after it may be: apply them idempotently.

    Attributes:
        name: The action, for example QueueStatus.
        items: The headers of each list event, without the response and the Complete event.
        received_at: Seconds since the epoch by our clock.
    """

    name: str
    items: tuple[Fields, ...]
    received_at: float


@dataclass(frozen=True, slots=True)
class AmiOverflow:
    """The consumer was too slow: this many items are missing here, so ask for the lists."""

    dropped: int


AmiItem = AmiConnected | AmiLost | AmiRefused | AmiEvent | AmiList | AmiOverflow


@dataclass(frozen=True, slots=True)
class Response:
    """Asterisk's consent to an action. That it *happened* is told by the event that follows."""

    fields: Fields

    @property
    def message(self) -> str:
        """The sentence Asterisk gave, empty if none."""
        text = self.fields.get("Message", "")
        return text if isinstance(text, str) else " ".join(text)


# -- errors ---------------------------------------------------------------------------------------------------


class AmiError(Exception):
    """An action did not succeed.

    Attributes:
        action: Its name.
    """

    def __init__(self, action: str, text: str) -> None:
        super().__init__(f"AMI action {action}: {text}")
        self.action = action


class AmiNotConnected(AmiError):
    """There is no connection; nothing was sent."""


class AmiBusy(AmiError):
    """Too many actions wait for an answer already; nothing was sent."""


class AmiBadValue(AmiError):
    """A value cannot be sent as it would change the meaning of the message; nothing was sent.

    Attributes:
        field: Name of the header. The value is kept out of the error, it may be a secret.
    """

    def __init__(self, action: str, field: str, text: str) -> None:
        super().__init__(action, f"{field} {text}")
        self.field = field


class AmiOutcomeUnknown(AmiError):
    """The action was sent and no answer came: it may have happened. It is never sent again by itself."""


class AmiTimeout(AmiOutcomeUnknown):
    """No answer within the deadline."""


class AmiConnectionLost(AmiOutcomeUnknown):
    """The connection broke before the answer."""


class AmiActionRejected(AmiError):
    """Asterisk said no.

    Attributes:
        message: Asterisk's own words.
    """

    def __init__(self, action: str, message: str, remedy: str = "") -> None:
        super().__init__(action, f"Asterisk answered {message!r}{remedy}")
        self.message = message


class PermissionDenied(AmiActionRejected):
    """The account lacks the write class of this action."""

    def __init__(self, action: str, message: str) -> None:
        super().__init__(action, message, ": add the action's class to `write` of the account in manager.conf")


class AmiListTooLong(AmiError):
    """A list had more items than allowed; it was dropped whole."""


# -- counters and limits --------------------------------------------------------------------------------------


class AmiCounter(enum.StrEnum):
    """What is counted. A closed set: it is a metric label."""

    CONNECTED = "connected"
    LOST = "lost"
    REFUSED = "refused"
    EVENTS = "events"
    DROPPED = "dropped"
    """Items that the consumer was too slow for."""
    MESSAGE_TOO_LONG = "message_too_long"
    TOO_MANY_LINES = "too_many_lines"
    LINE_WITHOUT_COLON = "line_without_colon"
    BAD_UTF8 = "bad_utf8"
    NO_TYPE = "no_type"
    """Messages that are neither an event nor a response."""
    NOT_HANDLED = "not_handled"
    """Messages whose handling raised: a defect of ours."""
    UNEXPECTED_RESPONSE = "unexpected_response"
    """Responses to nothing we wait for, such as one that came after its deadline."""
    ACTION_TIMEOUT = "action_timeout"
    CAPTURE_FAILED = "capture_failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class AmiLimits:
    """Bounds of one AMI connection.

    Attributes:
        connect_s: Deadline of DNS, TCP, TLS and banner together.
        login_s: Deadline of the login; Asterisk itself waits 1 s before it refuses one.
        ping_interval_s: Between two Pings.
        ping_deadline_s: For the answer; with the interval it bounds how long a half-open link stays unnoticed.
        refused_retry_s: Between two tries after a refusal.
        stable_s: A connection that lived this long starts the backoff anew when it breaks.
        backoff_base_s: See `connector.asterisk.backoff`.
        backoff_cap_s: See `connector.asterisk.backoff`.
        max_waiting: Items for the consumer.
        max_pending: Actions that wait for an answer.
        max_list_items: Of one list.
        max_message_bytes: Of one message of Asterisk.
        max_lines: Of one message of Asterisk.
    """

    connect_s: float = 5.0
    login_s: float = 5.0
    ping_interval_s: float = 5.0
    ping_deadline_s: float = 5.0
    refused_retry_s: float = 60.0
    stable_s: float = 10.0
    backoff_base_s: float = 0.5
    backoff_cap_s: float = 30.0
    max_waiting: int = 20_000
    max_pending: int = 1_000
    max_list_items: int = 200_000
    max_message_bytes: int = 256 * 1024
    max_lines: int = 2_000
