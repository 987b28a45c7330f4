"""Where a call goes when its bot is done, and what goes with it: as channel variables, for the dialplan to act on.

Pure: what is written to the channel is decided here, `voicebot` writes it. The context `connector-handover` of
asterisk-conf/connector-extensions.conf reads it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from connector.config_profiles import HandoverSettings
from connector.config_targets import Target, TargetKind, is_allowed, parse_target
from connector.dialects.commands import Transfer
from connector.media.control import EndCause

HEADERS_MAX = 3
HEADERS_MAX_BYTES = 200
"""Of all names and values together; Exotel's limits."""
RESERVED = ("connector", "exotel", "veeno", "asterisk")
"""Beginnings of names that are not the bot's to use."""
SUMMARY_HEADER_MAX_BYTES = 512
"""Of the summary in the SIP header; an INVITE by UDP should fit one packet. The channel variable has all of it."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,39}")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")

FAILURES = frozenset(
    {
        EndCause.BOT_DNS,
        EndCause.BOT_REFUSED,
        EndCause.BOT_TLS,
        EndCause.BOT_REJECTED,
        EndCause.BOT_UNAVAILABLE,
        EndCause.BOT_FORBIDDEN,
        EndCause.BOT_CIRCUIT_OPEN,
        EndCause.BOT_TIMEOUT,
        EndCause.BOT_LOST,
        EndCause.BOT_FAILED,
        EndCause.WORKER_LOST,
    }
)
"""Ends at which a call goes where `handover.on_failure` says."""

DIALPLAN = Target(TargetKind.DIALPLAN)


class BadHandover(ValueError):
    """What was asked for cannot be done; the message says why."""


class OnItsWay(BadHandover):
    """The call is leaving its bot already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What becomes of a call.

    Attributes:
        target: Where it goes.
        reason: One word or sentence for the history.
        summary: For the person who takes the call.
        headers: SIP headers for that person's phone, names with `X-`.
        blind: Without the announcements of the profile.
    """

    target: Target = DIALPLAN
    reason: str = ""
    summary: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    blind: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a call comes from.

    Attributes:
        context: Of the dialplan line that the call stands in.
        extension: Of it.
        priority: Of it.
        queue: That the caller waited in before, empty for none.
        position: There, from 1; 0 for none.
    """

    context: str = ""
    extension: str = ""
    priority: int = 0
    queue: str = ""
    position: int = 0


def asked_handover(settings: HandoverSettings, asked: Transfer, *, trusted: bool) -> Handover:
    """Checks what a bot, or a user of the API, asks for.

    Args:
        settings: Of the profile.
        asked: What; without a target `handover.on_close` is meant.
        trusted: Asked for by a user of the API, not by a bot: any target will do.

    Raises:
        BadHandover: It cannot be done.
    """
    try:
        found = parse_target(asked.target or settings.on_close)
        checked = checked_headers(asked.headers)
    except ValueError as error:
        raise BadHandover(str(error)) from None
    if asked.target and not trusted and not is_allowed(found, settings.allow):
        raise BadHandover(f"{found} is not among the targets that the profile allows (handover.allow)")
    if found.kind is TargetKind.SIP and not settings.sip_endpoint:
        raise BadHandover("there is no handover.sip_endpoint to dial SIP addresses by")
    return Handover(
        target=found,
        reason=one_line(asked.reason),
        summary=one_line(asked.summary),
        headers=checked,
        blind=asked.blind,
    )


def handover_after(cause: EndCause, settings: HandoverSettings) -> Handover:
    """What becomes of a call whose bot asked for nothing."""
    if cause is EndCause.BOT_CLOSED:
        return Handover(target=parse_target(settings.on_close))
    if cause is EndCause.BOT_HUNG_UP:
        return Handover(target=Target(TargetKind.HANGUP))
    if cause in FAILURES:
        return Handover(target=parse_target(settings.on_failure))
    return Handover()


def checked_headers(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Custom headers as they go to the phone.

    Raises:
        BadHandover: There are too many, they are too long, or a name is reserved.
    """
    found: list[tuple[str, str]] = []
    for given, value in headers.items():
        name = given[2:] if given[:2].lower() == "x-" else given
        if not _NAME.fullmatch(name):
            raise BadHandover(f"{given[:40]!r} is no name of a header: letters, digits and -, at most 40")
        if name.lower().startswith(RESERVED):
            raise BadHandover(f"headers may not begin with {', '.join(RESERVED)}: {given}")
        found.append((f"X-{name}", one_line(value)))
    if len(found) > HEADERS_MAX:
        raise BadHandover(f"{len(found)} headers, and {HEADERS_MAX} are allowed")
    size = sum(len(name) + len(value.encode()) for name, value in found)
    if size > HEADERS_MAX_BYTES:
        raise BadHandover(f"the headers have {size} bytes, and {HEADERS_MAX_BYTES} are allowed")
    return tuple(found)


def variables(
    handover: Handover, settings: HandoverSettings, place: Place, *, result: str, app: str, profile: str
) -> dict[str, str]:
    """What is set on the caller's channel. Names with `__` are inherited by the channels that it dials.

    Args:
        handover: What becomes of the call.
        settings: Of the profile.
        place: Where the call comes from.
        result: Why the bot's part ended.
        app: Our Stasis application, for a call that goes to another bot.
        profile: Whose bot it was.
    """
    target = handover.target
    found = {"CONNECTOR_RESULT": result}
    if handover.summary or handover.reason or handover.headers:
        found |= {
            "__CONNECTOR_PROFILE": profile,
            "__CONNECTOR_SUMMARY": handover.summary,
            "__CONNECTOR_SUMMARY_HEADER": _cut(handover.summary, SUMMARY_HEADER_MAX_BYTES),
            "__CONNECTOR_REASON": handover.reason,
        }
    for number, (name, value) in enumerate(handover.headers, start=1):
        found |= {f"__CONNECTOR_HEADER{number}_NAME": name, f"__CONNECTOR_HEADER{number}": value}
    if target.kind in (TargetKind.DIALPLAN, TargetKind.HANGUP):
        return found
    extension, _, context = target.value.partition("@")
    found |= {
        "CONNECTOR_TARGET": extension if target.kind is TargetKind.EXTENSION else target.value,
        "CONNECTOR_TARGET_CONTEXT": context or place.context,
        "CONNECTOR_ENDPOINT": settings.sip_endpoint,
        "CONNECTOR_ANNOUNCE": "" if handover.blind else settings.announce,
        "CONNECTOR_ANNOUNCE_AGENT": "" if handover.blind else settings.announce_agent,
        "CONNECTOR_APP": app,
        "CONNECTOR_POSITION": str(place.position) if place.position and place.queue == target.value else "",
    }
    if place.context != settings.context:  # else it was sent here from there, and goes back to where it was before
        found["CONNECTOR_RETURN"] = f"{place.context},{place.extension},{place.priority + 1}" if place.context else ""
    return found


def one_line(text: str) -> str:
    """Text without anything that could end a line."""
    return _CONTROLS.sub(" ", text).strip()


def _cut(text: str, most_bytes: int) -> str:
    return text.encode()[:most_bytes].decode(errors="ignore")
