"""Lists of endpoints, registrations and trunks become snapshots: pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from connector.asterisk.headers import Fault, Malformed, Message, Refuse, required, text, trunk_name
from connector.events import (
    Contact,
    ContactsSnapshot,
    Endpoint,
    EndpointsSnapshot,
    Trunk,
    TrunksSnapshot,
)


class _Registration(msgspec.Struct):
    """What res_pjsip_registrar keeps in Asterisk's database (16 and 22), as far as it is read."""

    uri: str
    endpoint: str = ""
    via_addr: str = ""
    via_port: str = ""
    user_agent: str = ""


_registration = msgspec.json.Decoder(_Registration)


def endpoints_snapshot(found: Iterable[tuple[str, str, str]], pbx: str, at: float) -> EndpointsSnapshot:
    """All endpoints from ARI's /endpoints.

    Args:
        found: Technology, resource and state of each.
        pbx: Name of the PBX in the settings.
        at: When they were asked for, seconds since the epoch.
    """
    return EndpointsSnapshot(
        pbx=pbx,
        at=at,
        endpoints=tuple(
            Endpoint(name=f"{technology}/{resource}", online=state.lower() == "online")
            for technology, resource, state in found
        ),
    )


def contacts_snapshot(
    messages: Iterable[Message], pbx: str, at: float
) -> tuple[ContactsSnapshot, tuple[Malformed, ...]]:
    """All registrations from the items of `DBGetTree` of registrar/contact.

    It is the one way to addresses and user agents that `write=reporting` allows: the PJSIPShow lists of contacts and
    endpoints need class system.
    """
    contacts: list[tuple[str, Contact]] = []
    malformed: list[Malformed] = []
    for message in messages:
        if message.get("Event") != "DBGetTreeResponse":
            continue
        try:
            kept = _registration.decode(required(message, "Val"))
        except Refuse as refusal:
            malformed.append(Malformed(refusal.cause, refusal.field, "DBGetTreeResponse"))
            continue
        except (msgspec.DecodeError, UnicodeError):
            malformed.append(Malformed(Fault.UNKNOWN_VALUE, "Val", "DBGetTreeResponse"))
            continue
        if not kept.endpoint:
            continue
        address = f"[{kept.via_addr}]" if ":" in kept.via_addr else kept.via_addr
        contact = Contact(
            uri=kept.uri,
            address=f"{address}:{kept.via_port}" if kept.via_port else address,
            user_agent=kept.user_agent,
        )
        contacts.append((f"PJSIP/{kept.endpoint}", contact))
    return ContactsSnapshot(pbx=pbx, at=at, contacts=tuple(contacts)), tuple(malformed)


def trunks_snapshot(messages: Iterable[Message], pbx: str, at: float) -> tuple[TrunksSnapshot, tuple[Malformed, ...]]:
    """All registrations at providers from the items of PJSIPShowRegistrationsOutbound."""
    trunks: list[Trunk] = []
    malformed: list[Malformed] = []
    for message in messages:
        if message.get("Event") != "OutboundRegistrationDetail":
            continue
        try:
            endpoint = text(message, "Endpoint")
            trunks.append(
                Trunk(
                    trunk=trunk_name("PJSIP", required(message, "ClientUri"), text(message, "ServerUri")),
                    label=required(message, "ObjectName"),
                    endpoint=f"PJSIP/{endpoint}" if endpoint else "",
                    status=required(message, "Status").lower(),
                )
            )
        except Refuse as refusal:
            malformed.append(Malformed(refusal.cause, refusal.field, "OutboundRegistrationDetail"))
    return TrunksSnapshot(pbx=pbx, at=at, trunks=tuple(trunks)), tuple(malformed)
