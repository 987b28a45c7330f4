"""AMI: whether it is reached, lets us in, and allows what is needed and no more."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import Callable, Collection

from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import AmiActionRejected, AmiConnected, AmiError, AmiEvent, AmiRefused
from connector.asterisk.pbx_facts import RtpRange, read_rtp_range
from connector.check import own
from connector.check.findings import SAMPLE_SECRET, Cause, Findings
from connector.config import AmiSettings

CONNECT_S = 3.0
BANNER = b"Asterisk Call Manager/"
MAX_BANNER_BYTES = 256
EVENT_S = 2.0
"""For an event to come after what caused it; seen: 0 to 2 ms."""
MAX_SKEW_S = 1.0
"""Between the clocks; NTP keeps them within milliseconds."""

NEEDED_ACTIONS = ("CoreShowChannels", "Getvar")
"""Beside QueueStatus, which is there for every account once app_queue is."""
HELP_ACTIONS = ("QueuePause", "QueueAdd", "QueueRemove", "QueuePenalty", "Redirect", "Setvar")
"""For what supervisors do; the rest goes by ARI, or needs no class."""
NEEDED_CLASSES = frozenset({"reporting", "agent", "call"})
NEEDED_EVENTS = ("agent", "call", "dialplan")
"""Classes of `read`; why: docs/asterisk-conf.md."""
_PRIVILEGES = re.compile(r"\(Priv: ([^)]*)\)\s*$")
_SECTION = re.compile(r"[A-Za-z0-9_.-]+")


async def reach(subject: str, settings: AmiSettings, findings: Findings) -> bool:
    """Connects and reads the first line, without a login; says whether an Asterisk manager is there.

    Args:
        subject: For the findings.
        settings: Where; its CA file can be read.
        findings: Gets one where none is there.
    """
    wrong = await _what_is_wrong(settings)
    if wrong is not None:
        findings.error(subject, *wrong)
    return wrong is None


async def _what_is_wrong(settings: AmiSettings) -> tuple[Cause, str] | None:
    host, port, at = settings.host, settings.port, f"{settings.host}:{settings.port}"
    tls = ssl.create_default_context(cafile=settings.tls_ca_file) if settings.tls else None
    try:
        async with asyncio.timeout(CONNECT_S):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    except TimeoutError:
        return Cause.AMI_TIMEOUT, (
            f"no connection to {at} within {CONNECT_S:g} s: check ami.host, and that a firewall lets TCP {port} through"
            + (", and that the port speaks TLS" if tls else "")
        )
    except socket.gaierror as error:
        return Cause.AMI_HOST, f"ami.host {host!r} has no address ({error.strerror}): correct it, or mend DNS"
    except ConnectionRefusedError:
        return Cause.AMI_REFUSED, (
            f"nothing listens at {at}: check that Asterisk runs, and enabled, bindaddr and port in [general] of "
            "manager.conf (AMI is off by default)"
        )
    except ssl.SSLCertVerificationError as error:
        return Cause.AMI_CERTIFICATE, (
            f"the certificate at {at} is not trusted ({error.verify_message}): set ami.tls_ca_file to its CA, and "
            "ami.host to a name that is in it"
        )
    except ssl.SSLError as error:
        return Cause.AMI_TLS, (
            f"{at} does not speak TLS ({error.reason}): set ami.port to that of tlsbindaddr in manager.conf, or "
            "ami.tls = false"
        )
    except OSError as error:
        return Cause.AMI_UNREACHABLE, (
            f"{at} cannot be reached ({error.strerror or error}): check ami.host and the network's route to it"
        )
    banner = b""
    try:
        async with asyncio.timeout(CONNECT_S):
            banner = await reader.read(MAX_BANNER_BYTES)
    except (TimeoutError, OSError):
        pass  # whatever it is, it is no AMI, which greets first
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    if banner.startswith(BANNER):
        return None
    said = f"says {banner[:40]!r}" if banner else "says nothing"
    return Cause.AMI_NOT_AMI, (
        f"what listens at {at} is no AMI, it {said} where Asterisk greets: set ami.port to port in [general] of "
        "manager.conf (5038 by default)" + ("" if tls else ", or ami.tls = true if this is that of tlsbindaddr")
    )


async def log_in(subject: str, ami: Ami, settings: AmiSettings, findings: Findings) -> bool:
    """Waits until the client is logged in; says whether it is.

    Args:
        subject: For the findings.
        ami: A client that runs.
        settings: Its settings.
        findings: Gets one, and one more for a secret that everybody knows.
    """
    first = await ami.items.get()
    if not isinstance(first, AmiConnected):
        refused = isinstance(first, AmiRefused)
        findings.error(
            subject,
            Cause.AMI_LOGIN if refused else Cause.AMI_UNREACHABLE,
            str(getattr(first, "reason", "")) or "the connection broke at the login: see Asterisk's log",
        )
        return False
    findings.ok(subject, Cause.AMI_LOGIN, f"{settings.username!r} is logged in to {first.banner}")
    if not settings.tls and not own.is_loopback(settings.host):
        findings.warning(
            subject,
            Cause.AMI_CLEAR,
            f"the secret goes to {settings.host} in clear: use TLS (asterisk-conf/connector-manager-tls.conf and "
            "ami.tls = true), or a network that nobody else is in",
        )
    if settings.secret.get_secret_value() == SAMPLE_SECRET:
        findings.warning(
            subject,
            Cause.SAMPLE_SECRET,
            "the secret is still that of the sample, which everybody knows: set one of your own in manager.conf and in "
            "ami.secret (openssl rand -hex 16)",
        )
    return True


async def check_rights(subject: str, ami: Ami, settings: AmiSettings, findings: Findings) -> None:
    """Compares what the account may do with what is needed, by Asterisk's own list of what it may do."""
    try:
        listed = (await ami.action("ListCommands")).fields
    except AmiError as error:
        findings.warning(subject, Cause.AMI_RIGHTS, f"the rights of the account could not be listed: {error}")
        return
    if "QueueStatus" not in listed:
        findings.error(
            subject,
            Cause.MODULES,
            "app_queue.so is not loaded, so there are no queues to show: take its noload out of modules.conf",
        )
    missing = [action for action in NEEDED_ACTIONS if action not in listed]
    if missing:
        findings.error(
            subject,
            Cause.AMI_RIGHTS_MISSING,
            f"{settings.username!r} may not do {' and '.join(missing)}: add `write = reporting` to its section of "
            "manager.conf",
        )
    # The actions of queues come with the module, which has been named above where it is missing.
    without_help = [
        action
        for action in HELP_ACTIONS
        if action not in listed and ("QueueStatus" in listed or not action.startswith("Queue"))
    ]
    if without_help and not missing:
        findings.warning(
            subject,
            Cause.AMI_RIGHTS_HELP,
            f"{settings.username!r} may not do {_some(without_help)}, so supervisors cannot help: set `write = "
            "reporting,agent,call` in its section of manager.conf, or leave it so if they are not to",
        )
    excess = excess_rights({name: str(text) for name, text in listed.items()})
    if excess:
        findings.warning(
            subject,
            Cause.AMI_RIGHTS_EXCESS,
            f"{settings.username!r} may do more than is needed ({_some(excess)}), and so may whoever learns its "
            "secret: set `write = reporting,agent,call` in its section of manager.conf",
        )
    if not (missing or excess or without_help):
        findings.ok(subject, Cause.AMI_RIGHTS, "the account may do what is needed and no more")
    await _check_read(subject, ami, settings, findings)


def excess_rights(listed: dict[str, str]) -> list[str]:
    """The actions among those of ListCommands that `NEEDED_CLASSES` do not give, the gravest first.

    Args:
        listed: Action -> description, which ends in its classes, any of which suffices: `(Priv: call,all)`.
    """
    excess = []
    for action, text in listed.items():
        found = _PRIVILEGES.search(text)
        classes = found[1].split(",") if found else []
        if found and "<none>" not in classes and NEEDED_CLASSES.isdisjoint(classes):
            excess.append(action)
    grave = ("Command", "Originate", "UpdateConfig", "GetConfig", "ModuleLoad")
    return sorted(excess, key=lambda action: (grave.index(action) if action in grave else len(grave), action))


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:5])
    return shown if len(names) <= 5 else f"{shown} and {len(names) - 5} more"


async def read_range(subject: str, ami: Ami, findings: Findings) -> RtpRange | None:
    """The PBX's RTP ports, without which no stream is admitted; None where they cannot be read."""
    try:
        return await read_rtp_range(ami)
    except (AmiActionRejected, ValueError) as error:
        why = (
            f"the RTP port range cannot be read, and without it no call is streamed ({error}): the account needs "
            "`write = reporting` in manager.conf, and Asterisk func_config.so (take its noload out of modules.conf)"
        )
    except AmiError as error:
        why = f"the RTP port range cannot be read, and without it no call is streamed: {error}"
    findings.error(subject, Cause.RTP_RANGE_UNKNOWN, why)
    return None


async def _check_read(subject: str, ami: Ami, settings: AmiSettings, findings: Findings) -> None:
    """The classes of events by what manager.conf says of our own account: there is no action that lists them.

    Of several lines the last counts, for Asterisk as for the index -1.
    """
    if not _SECTION.fullmatch(settings.username):
        return
    try:
        answer = await ami.action("Getvar", Variable=f"AST_CONFIG(manager.conf,{settings.username},read,-1)")
    except AmiError:
        return  # the missing right is told already
    classes = {name.strip() for name in str(answer.fields.get("Value", "")).split(",")} - {""}
    lacking = [name for name in NEEDED_EVENTS if name not in classes]
    # Nothing there: the account is defined in another file, and only its events can tell.
    if classes and "all" not in classes and lacking:
        findings.error(
            subject,
            Cause.AMI_EVENTS,
            f"`read` of {settings.username!r} lacks {', '.join(lacking)}, so the queues stay blind to it: set "
            f"`read = {','.join(NEEDED_EVENTS)}` in its section of manager.conf",
        )


async def check_clock(subject: str, ami: Ami, clock: Callable[[], float], findings: Findings) -> None:
    """Whether our clock is the PBX's, by the Timestamp in the answer to Ping (16 and 22).

    Args:
        subject: For the findings.
        ami: The client.
        clock: Ours, seconds since the epoch.
        findings: Gets one.
    """
    asked = clock()
    try:
        theirs = float(str((await ami.action("Ping")).fields.get("Timestamp", "")))
    except (AmiError, ValueError):
        return
    took_s = clock() - asked
    ahead_s = theirs - asked - took_s / 2
    if abs(ahead_s) > MAX_SKEW_S + took_s / 2:
        findings.warning(
            subject,
            Cause.CLOCK,
            f"the PBX's clock is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} ours, so waiting times "
            "and delays are wrong by that: let both machines follow NTP (timedatectl set-ntp true; chronyc tracking)",
        )
    else:
        findings.ok(subject, Cause.CLOCK, "its clock is ours, within a second")


async def check_events(subject: str, ami: Ami, channel_ids: Collection[str], findings: Findings) -> None:
    """Whether the events of channels that were made and removed came, say when they happened, and are no more.

    Args:
        subject: For the findings.
        ami: The client, whose items nobody else reads.
        channel_ids: Uniqueids of the channels.
        findings: Gets one or two.
    """
    events: list[AmiEvent] = []
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(EVENT_S):
            await _until_hangup(ami, channel_ids, events)
    ours = [event for event in events if event.message.get("Uniqueid") in channel_ids]
    came = next((event for event in ours if event.message.get("Event") == "Newchannel"), None)
    if came is None:
        if not any(finding.cause is Cause.AMI_EVENTS for finding in findings if finding.subject == subject):
            findings.error(
                subject,
                Cause.AMI_EVENTS,
                "no event came of a channel that was made: `read` of the account needs call, and an eventfilter must "
                "let Newchannel pass (asterisk-conf/connector-manager.conf)",
            )
        return
    if "Timestamp" in came.message:
        findings.ok(subject, Cause.AMI_EVENTS, "events come, and say when they happened")
    else:
        findings.warning(
            subject,
            Cause.AMI_TIMESTAMPS,
            "events do not say when they happened, so waiting times are wrong by each delay: set "
            "`timestampevents = yes` in [general] of manager.conf",
        )
    # Making the channel has set two variables, of which the white list lets neither pass.
    if any(event.message.get("Event") == "VarSet" for event in ours):
        findings.warning(
            subject,
            Cause.AMI_FILTER,
            "every variable of every call comes (no eventfilter holds VarSet back), several times what is needed, and "
            "with it what callers typed: take the eventfilter lines of asterisk-conf/connector-manager.conf",
        )


async def _until_hangup(ami: Ami, channel_ids: Collection[str], events: list[AmiEvent]) -> None:
    """Takes events until all that was made is gone."""
    left = set(channel_ids)
    while left:
        item = await ami.items.get()
        if isinstance(item, AmiEvent):
            events.append(item)
            if item.message.get("Event") == "Hangup":
                left.discard(str(item.message.get("Uniqueid")))
