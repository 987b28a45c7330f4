"""What a bot may ask for beyond audio, and what we may tell it: the same for every dialect.

A `Command` goes from the bot through its dialect to the control process; a `Notice` the other way. Both travel on the
control channel of the media worker, so they are plain tagged structs. A dialect that has no word for one leaves it out.
"""

from __future__ import annotations

import enum

import msgspec

MAX_TEXT = 4_096
"""Longest text of a command, in characters: a summary for the agent. What is longer is cut."""
MAX_HEADERS = 16
MAX_DIGITS = 64
MAX_DATA_BYTES = 65_536
"""Longest JSON of an event, a function's arguments or its output."""


class TransferState(enum.StrEnum):
    """How far a transfer has come."""

    STARTED = "started"
    ANSWERED = "answered"
    FAILED = "failed"


# -- from the bot ----------------------------------------------------------------------------------------------


class HangUp(msgspec.Struct, frozen=True, tag="hang_up"):
    """End the caller's call, not only the stream."""

    reason: str = ""


class Transfer(msgspec.Struct, frozen=True, tag="transfer"):
    """Hand the caller over; the stream ends once the transfer has begun.

    Attributes:
        target: Where to, in the words of the profile: `queue:support`, an extension, `sip:` URI, `profile:NAME`.
            Empty: what the profile says.
        reason: One word or sentence for the history.
        summary: For the person who takes the call.
        headers: Custom headers that follow the call; checked where they are used, not here.
        blind: Without the announcements of the profile.
    """

    target: str = ""
    reason: str = ""
    summary: str = ""
    headers: dict[str, str] = {}
    blind: bool = False


class SendDigits(msgspec.Struct, frozen=True, tag="send_digits"):
    """Press keys towards the caller's side: 0-9, A-D, * and #; `w` waits half a second."""

    digits: str


class Mute(msgspec.Struct, frozen=True, tag="mute"):
    """Whether the bot hears the caller. The dialect has already begun or stopped to leave the audio out."""

    muted: bool


class Pause(msgspec.Struct, frozen=True, tag="pause"):
    """Whether the bot wants no audio for a while (AudioHook). Recordings of the profile pause with it."""

    paused: bool


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """The bot has ended its part in an orderly way; the stream closes and the call goes on in the dialplan.

    Attributes:
        reason: As the bot put it.
        data: What the bot leaves behind, as JSON (AudioHook's output variables); empty: nothing.
    """

    reason: str = ""
    data: str = ""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The bot says that something went wrong.

    Attributes:
        code: The bot's own code, if it has one.
        message: The bot's own words.
        fatal: Whether it cannot go on; the stream then ends as one whose bot failed.
    """

    code: str
    message: str
    fatal: bool = False


class FunctionCall(msgspec.Struct, frozen=True, tag="function_call"):
    """A model calls a function that the profile declared; answered by `FunctionResult`.

    Attributes:
        call_id: The model's id of this call.
        name: The function.
        arguments: JSON text, as the model wrote it: not checked.
    """

    call_id: str
    name: str
    arguments: str


class Event(msgspec.Struct, frozen=True, tag="event"):
    """Anything else that the bot tells: a transcript, an intent, a note for the agent.

    Attributes:
        name: What it is, in the words of the dialect.
        data: JSON text.
    """

    name: str
    data: str = "{}"


Command = HangUp | Transfer | SendDigits | Mute | Pause | Ended | Failed | FunctionCall | Event

# -- to the bot ------------------------------------------------------------------------------------------------


class Hold(msgspec.Struct, frozen=True, tag="hold"):
    """The caller was put on hold, or taken back."""

    held: bool


class Transferred(msgspec.Struct, frozen=True, tag="transferred"):
    """What becomes of a transfer that the bot or somebody else asked for."""

    state: TransferState
    target: str = ""
    reason: str = ""


class Quality(msgspec.Struct, frozen=True, tag="quality"):
    """How well the caller is heard, over the last interval.

    Attributes:
        loss_percent: Packets of the caller that never came.
        jitter_ms: RFC 3550 section 6.4.1.
        mos: Estimated listening quality, 1.0 to 4.5 (ITU-T G.107); 0 where it is not known.
    """

    loss_percent: float
    jitter_ms: float
    mos: float = 0.0


class Reconnected(msgspec.Struct, frozen=True, tag="reconnected"):
    """This WebSocket goes on with a stream that an earlier one began.

    Attributes:
        gap_ms: Audio of the caller that no bot has heard.
        attempt: Which reconnection of the stream it is, from 1.
    """

    gap_ms: int
    attempt: int = 1


class FunctionResult(msgspec.Struct, frozen=True, tag="function_result"):
    """What a function gave.

    Attributes:
        call_id: Of the `FunctionCall`.
        output: JSON text.
    """

    call_id: str
    output: str


Notice = Hold | Transferred | Quality | Reconnected | FunctionResult
