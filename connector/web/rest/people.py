"""The directory of people, as the API takes and gives it."""

from __future__ import annotations

import enum
from typing import Annotated

import msgspec
from msgspec import Meta

from connector.web.rest.fields import Interface, Name, PersonId, Text

_Label = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")]


class OwnInterface(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, order=True):
    """An interface of a PBX."""

    pbx: Name
    interface: Interface


class PersonFields(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be changed of a person.

    Attributes:
        name: Shown.
        teams: Names of teams.
        skills: Free text.
        interfaces: That the person uses; nobody else may.
    """

    name: Text = ""
    teams: Annotated[tuple[_Label, ...], Meta(max_length=64)] = ()
    skills: Annotated[str, Meta(max_length=4000)] = ""
    interfaces: Annotated[tuple[OwnInterface, ...], Meta(max_length=64)] = ()


class NewPerson(PersonFields, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A person to be added."""

    id: PersonId


class Source(enum.StrEnum):
    """Where an entry came from."""

    CONFIG = "config"
    API = "api"
    LEARNED = "learned"


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """A person. `source` says where the entry came from; those of the settings file cannot be changed here."""

    id: str
    name: str
    teams: tuple[str, ...]
    skills: str
    interfaces: tuple[OwnInterface, ...]
    source: Source


class PersonList(msgspec.Struct, frozen=True, kw_only=True):
    """People. `next` is empty on the last page."""

    people: tuple[Person, ...]
    next: str


class ContactView(msgspec.Struct, frozen=True, kw_only=True):
    """An address at which an identity is reached.

    Attributes:
        uri: What Asterisk dials.
        address: Host and port that the registration came from; empty for one that is configured, not registered.
        user_agent: What the phone calls itself.
        status: Asterisk's last word on it, or empty.
    """

    uri: str
    address: str
    user_agent: str
    status: str


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """A SIP identity of a PBX.

    Attributes:
        interface: For example PJSIP/alice.
        person: Id of whose it is, or empty.
        online: Registered or reachable; None where Asterisk has not told.
        status: Asterisk's last word on it, or empty.
        contacts: Addresses at which it is reached.
    """

    pbx: str
    interface: str
    person: str
    online: bool | None
    status: str
    contacts: tuple[ContactView, ...]


class IdentityList(msgspec.Struct, frozen=True, kw_only=True):
    """Identities.

    Attributes:
        complete: All endpoints of the PBXs are in it.
        note: Why it is not complete; else empty.
    """

    identities: tuple[Identity, ...]
    complete: bool
    note: str


class Which(enum.StrEnum):
    """Which identities: of nobody, of somebody, or those that a person could use (of nobody or their own)."""

    ALL = "all"
    FREE = "free"
    ALLOCATED = "allocated"
    AVAILABLE = "available"
