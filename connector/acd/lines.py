"""Registrations of endpoints and trunks, and what the PBX says of itself."""

from __future__ import annotations

from connector.acd.model import CONTACTS_MAX, Line, PbxState
from connector.events import ContactChanged, EndpointsSnapshot, PbxChanged, PbxPhase, PeerChanged, TrunkChanged
from connector.records import Derived

GONE = frozenset({"removed", "unreachable", "unregistered", "rejected", "timeout"})
"""Words of Asterisk for what cannot be reached; all others can, or nobody has asked (nonqualified)."""

LINES_MAX = 50_000
"""Endpoints and trunks each; those beyond are passed over."""


def endpoints_snapshot(state: PbxState, event: EndpointsSnapshot, changes: list[Derived]) -> None:
    """All endpoints there are; contacts that events told of stay."""
    known = state.endpoints
    state.endpoints = {}
    for endpoint in event.endpoints[:LINES_MAX]:
        line = known.get(endpoint.name) or Line(endpoint.name, since=event.at)
        if line.online is not endpoint.online:
            line.online, line.status, line.since = endpoint.online, "", event.at
            if not endpoint.online:
                line.contacts.clear()
        state.endpoints[endpoint.name] = line


def contact_changed(state: PbxState, event: ContactChanged, changes: list[Derived]) -> None:
    """ContactStatus."""
    line = _line(state.endpoints, event.endpoint)
    if line is None:
        return
    if event.status == "removed":
        line.contacts.pop(event.contact, None)
    elif event.contact in line.contacts or len(line.contacts) < CONTACTS_MAX:
        line.contacts[event.contact] = event.status
    _set(line, any(status not in GONE for status in line.contacts.values()), event.status, event.at)


def peer_changed(state: PbxState, event: PeerChanged, changes: list[Derived]) -> None:
    """PeerStatus."""
    line = _line(state.endpoints, event.endpoint)
    if line is not None:
        _set(line, event.status not in GONE, event.status, event.at)


def trunk_changed(state: PbxState, event: TrunkChanged, changes: list[Derived]) -> None:
    """Registry."""
    line = _line(state.trunks, event.trunk)
    if line is not None:
        _set(line, event.status == "registered", event.status, event.at)


def pbx_changed(state: PbxState, event: PbxChanged, changes: list[Derived]) -> None:
    """FullyBooted, Reload, Shutdown. What they make stale is read anew by whoever asks for the lists."""
    if event.phase is PbxPhase.BOOTED and event.booted_at:
        state.booted_at = event.booted_at
    elif event.phase is PbxPhase.RELOADED:
        if event.at != state.reloaded_at:
            state.reloads += 1
        state.reloaded_at = event.at


def _line(lines: dict[str, Line], name: str) -> Line | None:
    line = lines.get(name)
    if line is None and len(lines) < LINES_MAX:
        line = lines[name] = Line(name)
    return line


def _set(line: Line, online: bool, status: str, at: float) -> None:
    if line.online is not online:
        line.since = at
    line.online, line.status = online, status
