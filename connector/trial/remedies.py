"""What to do about it: a sentence for each way in which a bot can be wrong. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from connector.dialects.base import RejectCause
from connector.media.control import EndCause
from connector.media.diagnosis import Fault

UNREACHED: Mapping[EndCause, str] = {
    EndCause.BOT_DNS: "check the host in the profile's url, and that this machine's name server knows it",
    EndCause.BOT_REFUSED: "start the bot, check host and port in the profile's url, and let this machine through the "
    "firewall in front of it",
    EndCause.BOT_TIMEOUT: "let the bot accept the WebSocket before it loads models or opens sessions of its own; "
    "connect_timeout_ms and dial_timeout_ms say how long a caller may wait",
    EndCause.BOT_TLS: "give the bot a certificate for the host in the url, signed by an authority that this machine "
    "trusts, with its whole chain; where there is no TLS the url begins with ws://",
    EndCause.BOT_REJECTED: "look at the bot's log for the request: its path, its query, and the credentials of the "
    "profile (auth, headers); a redirect is not followed",
    EndCause.BOT_UNAVAILABLE: "the server in front of the bot answers, the bot does not: look at what runs behind it",
    EndCause.BOT_FORBIDDEN: "name the host in outgoing.allowed_hosts or outgoing.allow_private, or set the secret",
    EndCause.BOT_FAILED: "the bot's own words tell what it lacks",
}
UNREACHED_OTHERWISE = "look at the bot's log for the same moment"

BROKEN: Mapping[EndCause, str] = {
    EndCause.BOT_CLOSED: "keep the WebSocket open until the call is over: a bot that closes it gives the call back to "
    "the dialplan. Look for an exception in the bot's log at that moment",
    EndCause.BOT_LOST: "look for a crash of the bot, or for a proxy that cuts connections; the bot has to read, and to "
    "answer pings, all the time: from a task of its own",
    EndCause.BOT_FAILED: "the bot's own words tell what went wrong",
}

REFUSED: Mapping[RejectCause, str] = {
    RejectCause.NOT_JSON: "send one JSON object a message",
    RejectCause.BAD_SHAPE: "compare the message with the page of the dialect: a field is missing, or of another type",
    RejectCause.BAD_BASE64: "encode audio in standard base64 with padding, in one piece and without line ends",
    RejectCause.BAD_FORMAT: "send audio in the format that the stream began with",
    RejectCause.UNKNOWN_EVENT: "the protocol has no such event: look for a typing error, or for another dialect",
    RejectCause.TOO_LARGE: "send audio in smaller pieces; max_message_bytes is the bound",
    RejectCause.WRONG_STREAM: "send the id of the stream that came with its start, not one of another call",
    RejectCause.NOT_TEXT: "the protocol has no binary messages: send text",
    RejectCause.OUT_OF_TURN: "wait for the start before speaking; a server that only listens says nothing",
}

CERTAIN = frozenset(
    {
        Fault.BOT_WRONG_CODEC,
        Fault.BOT_WRONG_BYTE_ORDER,
        Fault.BOT_WRONG_RATE,
        Fault.BOT_TOO_SLOW,
        Fault.BOT_TOO_FAST,
    }
)
"""Faults that every caller hears; others may be meant."""
OF_PACE = frozenset({Fault.BOT_TOO_SLOW, Fault.BOT_TOO_FAST, Fault.BOT_WRONG_RATE})
OF_SOUND = frozenset({Fault.BOT_WRONG_CODEC, Fault.BOT_WRONG_BYTE_ORDER, Fault.BOT_CLIPS, Fault.BOT_RESAMPLED_TWICE})

NO_GREETING = "let the bot speak first: a caller who hears nothing says hello twice and hangs up"
NO_ANSWER = (
    "a bot that recognises speech may rightly take the test's buzz for none: give it words with --say FILE. Otherwise "
    "look whether it gets the caller's audio, and whether its speech detection fits telephone sound"
)
NO_AUDIO = "look at the bot's log: does it get the start, and send audio in this dialect with the id of this stream"
NO_INTERRUPT = "send `clear` (or what the dialect calls it) as soon as the caller speaks, and stop sending"
UNREAD = "read the WebSocket all the time, from a task of its own, and work on what came elsewhere"
OVERFILLED = (
    "send no more ahead than media.playout_max_ms, wait for marks before sending more, or let the profile drop the "
    "oldest (playout.when_full)"
)
MARKS_DROPPED = "send a mark at the end of a sentence, not for each piece of audio"
NO_PATIENCE = (
    "let the bot survive a network that stands still for some seconds: write timeouts of 10 s or more, and audio that "
    "waits in a queue of bounded length rather than an exception"
)
NOT_CLOSED = (
    "answer the close of a WebSocket (RFC 6455 section 5.5.1): most libraries do it while the bot reads, so it has to "
    "go on reading until the connection is closed"
)
ONE_AT_A_TIME = "keep the state of a call in an object of its own: globals and single sessions serve one caller"
NO_SECOND = (
    "take a second connection of the same call: it comes when the first one breaks, with the same ids and a start "
    "of its own"
)
NOT_ALLOWED = "add the target to the profile's handover.allow if the bot may send callers there"


def refused(causes: Mapping[str, str]) -> str:
    """What to do about messages that were not used; each cause once."""
    known = [REFUSED[RejectCause(cause)] for cause in causes if cause in {*RejectCause}]
    return "; ".join(known)
