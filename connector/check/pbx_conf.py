"""What the PBX's own files say that works, and goes wrong on a bad day: limits of time, connections, addresses."""

from __future__ import annotations

import re

from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import AmiError
from connector.asterisk.ari_http import MAX_CONNECTIONS
from connector.asterisk.ari_models import ConfigInfo
from connector.asterisk.pbx_facts import config_value
from connector.check.findings import Cause, Findings
from connector.config import PbxSettings, Settings

DEFAULT_WRITE_TIMEOUT_MS = 100
"""Of AMI and of ARI's events, where the files say nothing (16 and 22)."""
ENOUGH_WRITE_TIMEOUT_MS = 1_000
DEFAULT_SESSIONS = 100
"""http.conf's sessionlimit."""
OTHER_SESSIONS = 8
"""Of ARI's events and of others beside the connector."""
MAX_FILTERS = 64
FILES_PER_CALL = 9
"""Of Asterisk, with a bot: two legs, a bridge, timers; seen on 16.28 and 22.10."""
CHANNELS_PER_CALL = 2
_SECTION = re.compile(r"[A-Za-z0-9_.-]+")
_ANYWHERE = frozenset({"0.0.0.0", "::", "[::]"})

WANTED_EVENTS = (
    *("QueueCallerJoin", "QueueCallerLeave", "QueueCallerAbandon", "QueueMemberStatus", "QueueMemberPause"),
    *("QueueMemberAdded", "QueueMemberRemoved", "AgentCalled", "AgentConnect", "AgentComplete", "AgentRingNoAnswer"),
    *("Newchannel", "Newstate", "Hangup", "HangupRequest", "BridgeEnter", "DialEnd", "Hold", "Unhold"),
    *("AttendedTransfer", "BlindTransfer"),
)
"""What the live state cannot do without, each with its own line of an event as Asterisk filters it."""


async def check_conf(name: str, ami: Ami, pbx: PbxSettings, findings: Findings) -> None:
    """Reads what can be read of manager.conf, http.conf and ari.conf.

    Args:
        name: Of the PBX.
        ami: Logged in, and known to be allowed to.
        pbx: Its settings.
        findings: Gets what is wrong, and one where nothing is.
    """
    at_ami, at_ari = f"pbx.{name}.ami", f"pbx.{name}.ari"
    before = len(findings)
    try:
        if _SECTION.fullmatch(pbx.ami.username):
            await _check_account(at_ami, ami, pbx.ami.username, findings)
        await _check_http(at_ari, ami, pbx, findings)
        await _check_ari(at_ari, ami, findings)
    except AmiError as error:
        findings.warning(at_ami, Cause.AMI_RIGHTS, f"the PBX's configuration could not be read: {error}")
        return
    if len(findings) == before:
        findings.ok(at_ami, Cause.PBX_CONF, "nothing in manager.conf, http.conf and ari.conf gives way under load")


async def _check_account(subject: str, ami: Ami, username: str, findings: Findings) -> None:
    if not await config_value(ami, "manager.conf", username, "read"):
        return  # defined elsewhere, in a database for example
    timeout_ms = await _number(ami, "manager.conf", username, "writetimeout", DEFAULT_WRITE_TIMEOUT_MS)
    if timeout_ms < ENOUGH_WRITE_TIMEOUT_MS:
        findings.warning(
            subject,
            Cause.AMI_WRITE_TIMEOUT,
            f"Asterisk cuts the connection when we do not read for {timeout_ms} ms, which a busy machine may: set "
            f"`writetimeout = 5000` in the section {username!r} of manager.conf",
        )
    lines: list[str] = []
    while len(lines) < MAX_FILTERS:
        line = await config_value(ami, "manager.conf", username, "eventfilter", len(lines))
        if not line:
            break
        lines.append(line)
    held_back = filtered(lines)
    if held_back:
        findings.error(
            subject,
            Cause.AMI_EVENTS,
            f"the lines `eventfilter` of {username!r} hold back {', '.join(held_back[:5])}"
            + (f" and {len(held_back) - 5} more" if len(held_back) > 5 else "")
            + ", so the queues stay blind to it: take those of asterisk-conf/connector-manager.conf",
        )


def filtered(lines: list[str]) -> list[str]:
    """The wanted events that filters of a manager account hold back.

    Args:
        lines: Values of `eventfilter`, as regular expressions over the whole event; those of the newer syntax (22) have
            another key, and are not among them. With `!` an event that matches is held back. Where there are lines
            without, one of them has to match.
    """
    let_through: list[re.Pattern[str]] = []
    hold_back: list[re.Pattern[str]] = []
    for line in lines:
        try:
            (hold_back if line.startswith("!") else let_through).append(re.compile(line.removeprefix("!")))
        except re.error:
            return []  # a dialect of regular expressions that we do not read alike
    found = []
    for event in WANTED_EVENTS:
        text = f"Event: {event}\r\nPrivilege: agent,all\r\n"
        passes = not let_through or any(each.search(text) for each in let_through)
        if not passes or any(each.search(text) for each in hold_back):
            found.append(event)
    return found


async def _check_http(subject: str, ami: Ami, pbx: PbxSettings, findings: Findings) -> None:
    sessions = await _number(ami, "http.conf", "general", "sessionlimit", DEFAULT_SESSIONS)
    needed = MAX_CONNECTIONS + OTHER_SESSIONS
    if sessions < needed:
        findings.warning(
            subject,
            Cause.HTTP_SESSIONS,
            f"Asterisk's web server takes {sessions} connections and the connector may want {needed} when calls come "
            f"in heaps: set `sessionlimit = {DEFAULT_SESSIONS}` in [general] of http.conf",
        )
    address = await config_value(ami, "http.conf", "general", "bindaddr")
    if address in _ANYWHERE and pbx.ari.url.startswith("http:"):
        findings.warning(
            subject,
            Cause.HTTP_OPEN,
            f"Asterisk's web server listens without TLS at all addresses ({address}), where anybody may try passwords "
            "of ARI: set `bindaddr = 127.0.0.1` in http.conf, and for a connector elsewhere tlsenable "
            "(asterisk-conf/connector-http-tls.conf) with https:// in ari.url",
        )


async def _check_ari(subject: str, ami: Ami, findings: Findings) -> None:
    timeout_ms = await _number(ami, "ari.conf", "general", "websocket_write_timeout", DEFAULT_WRITE_TIMEOUT_MS)
    if timeout_ms < ENOUGH_WRITE_TIMEOUT_MS:
        findings.warning(
            subject,
            Cause.ARI_WRITE_TIMEOUT,
            f"Asterisk cuts the events connection when we do not read for {timeout_ms} ms, which a busy machine may: "
            "set `websocket_write_timeout = 5000` in [general] of ari.conf",
        )
    origins = await config_value(ami, "ari.conf", "general", "allowed_origins")
    if "*" in origins:
        findings.warning(
            subject,
            Cause.ARI_ORIGINS,
            "`allowed_origins = *` in ari.conf lets every web page that somebody opens use ARI with a password that "
            "the browser knows; the connector needs none: take the line out, or name the pages",
        )


async def _number(ami: Ami, file: str, section: str, key: str, default: int) -> int:
    value = (await config_value(ami, file, section, key)).strip()
    return int(value) if value.isdecimal() else default


def check_limits(subject: str, config: ConfigInfo, pbx: PbxSettings, settings: Settings, findings: Findings) -> None:
    """Whether Asterisk's own limits let through as many calls as streams are asked for.

    Args:
        subject: For the findings.
        config: Limits of asterisk.conf; what is None there, the system decides.
        pbx: Its settings.
        settings: All settings.
        findings: Gets one.
    """
    streams = pbx.max_streams or settings.media.max_streams
    files, channels = streams * FILES_PER_CALL, streams * CHANNELS_PER_CALL
    fine = True
    if config.max_open_files and config.max_open_files < files:
        fine = False
        findings.warning(
            subject,
            Cause.PBX_LIMITS,
            f"Asterisk may open {config.max_open_files} files and {streams} calls with a bot need {files}: set "
            f"`maxfiles = {2 * files}` in asterisk.conf, or lower max_streams",
        )
    if config.max_channels and config.max_channels < channels:
        fine = False
        findings.warning(
            subject,
            Cause.PBX_LIMITS,
            f"Asterisk takes {config.max_channels} channels and {streams} calls with a bot need {channels}: raise "
            "`maxcalls` in asterisk.conf, or lower max_streams",
        )
    if config.max_load:
        fine = False
        findings.warning(
            subject,
            Cause.PBX_LIMITS,
            f"Asterisk refuses calls while the machine's load is above {config.max_load:g} (`maxload` in "
            "asterisk.conf): bots count towards it, so take the line out, or raise it above the number of cores",
        )
    if fine:
        files_are = "maxfiles of asterisk.conf is enough" if config.max_open_files else "see LimitNOFILE of its service"
        findings.ok(
            subject,
            Cause.PBX_LIMITS,
            f"asterisk.conf limits no calls; {streams} with a bot need {files} open files ({files_are})",
        )
