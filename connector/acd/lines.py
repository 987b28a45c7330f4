"""Registrations of endpoints and trunks, and what the PBX says of itself."""

from __future__ import annotations

import msgspec

from connector.acd.model import CONTACTS_MAX, Line, PbxState
from connector.events import (
    Contact,
    ContactChanged,
    ContactsSnapshot,
    EndpointsSnapshot,
    PbxChanged,
    PbxPhase,
    PeerChanged,
    TrunkChanged,
    TrunksSnapshot,
)
from connector.records import Derived

GONE = frozenset({"removed", "unreachable", "unregistered", "rejected", "timeout"})
"""Words of Asterisk for what cannot be reached; all others can, or nobody has asked (nonqualified)."""

REGISTERED = "registered"

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


def contacts_snapshot(state: PbxState, event: ContactsSnapshot, changes: list[Derived]) -> None:
    """All registrations there are. Contacts that are configured, not registered, stay as events told them."""
    listed: dict[str, dict[str, Contact]] = {}
    for name, contact in event.contacts:
        listed.setdefault(name, {})[contact.uri] = contact
    for line in state.endpoints.values():
        new = listed.pop(line.name, {})
        for uri in [uri for uri, known in line.contacts.items() if known.address and uri not in new]:
            del line.contacts[uri]
        _add_contacts(line, new)
    for name, new in listed.items():  # the endpoints were not read yet
        unknown = _line(state.endpoints, name)
        if unknown is not None:
            _add_contacts(unknown, new)


def _add_contacts(line: Line, new: dict[str, Contact]) -> None:
    for uri, contact in new.items():
        known = line.contacts.get(uri)
        if known is not None:
            contact = msgspec.structs.replace(contact, status=known.status)
        elif len(line.contacts) >= CONTACTS_MAX:
            continue
        line.contacts[uri] = contact


def registers(state: PbxState, device: str) -> bool:
    """Whether a device is registered at the PBX: then it is a phone of the house, for providers do not."""
    line = state.endpoints.get(device)
    return line is not None and any(contact.address for contact in line.contacts.values())


def contact_changed(state: PbxState, event: ContactChanged, changes: list[Derived]) -> None:
    """ContactStatus."""
    line = _line(state.endpoints, event.endpoint)
    if line is None:
        return
    known = line.contacts.get(event.contact)
    if event.status == "removed":
        line.contacts.pop(event.contact, None)
    elif known is not None or len(line.contacts) < CONTACTS_MAX:
        line.contacts[event.contact] = msgspec.structs.replace(known or Contact(uri=event.contact), status=event.status)
    _set(line, any(each.status not in GONE for each in line.contacts.values()), event.status, event.at)


def peer_changed(state: PbxState, event: PeerChanged, changes: list[Derived]) -> None:
    """PeerStatus."""
    line = _line(state.endpoints, event.endpoint)
    if line is not None:
        _set(line, event.status not in GONE, event.status, event.at)


def trunk_changed(state: PbxState, event: TrunkChanged, changes: list[Derived]) -> None:
    """Registry."""
    line = _line(state.trunks, event.trunk)
    if line is not None:
        _set(line, event.status == REGISTERED, event.status, event.at)


def trunks_snapshot(state: PbxState, event: TrunksSnapshot, changes: list[Derived]) -> None:
    """All registrations at providers. Those that no list has named are another technology's and stay."""
    known = state.trunks
    listed = {trunk.trunk for trunk in event.trunks}
    state.trunks = {name: line for name, line in known.items() if not line.label and name not in listed}
    for trunk in event.trunks[:LINES_MAX]:
        line = state.trunks[trunk.trunk] = known.get(trunk.trunk) or Line(trunk.trunk)
        line.label, line.endpoint = trunk.label, trunk.endpoint
        _set(line, trunk.status == REGISTERED, trunk.status, event.at)


def pbx_changed(state: PbxState, event: PbxChanged, changes: list[Derived]) -> None:
    """FullyBooted, Reload, Shutdown. What they make stale is read anew by whoever asks for the lists."""
    state.stopping = event.phase is PbxPhase.STOPPING
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
