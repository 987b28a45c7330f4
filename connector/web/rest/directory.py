"""The people, what they use, and which SIP identities are free."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from connector.acd.model import Line, PbxState
from connector.web.ports import Conflict, Directory, Live
from connector.web.rest.endpoint import PREFIX, Answer, Call, Deed, Endpoint, Nothing
from connector.web.rest.fields import Limit, NameCursor, PersonId, Text
from connector.web.rest.live import no_pbx
from connector.web.rest.people import (
    ContactView,
    Identity,
    IdentityList,
    NewPerson,
    Person,
    PersonFields,
    PersonList,
    Source,
    Which,
)
from connector.web.rest.problems import Refused, not_found


class PeopleQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which people."""

    search: Annotated[Text, Meta(description="Part of id, name or skills, upper or lower case.")] = ""
    team: Annotated[Text, Meta(description="Of this team.")] = ""
    limit: Limit = 200
    after: NameCursor = ""


class PersonPath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person."""

    person: PersonId


class IdentitiesQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which identities."""

    pbx: Text = ""
    which: Which = Which.ALL
    person: Annotated[Text, Meta(description="For `available`: who would use it.")] = ""


class DirectoryApi:
    """Answers from the directory.

    Args:
        directory: The people.
        live: The endpoints of the PBXs.
    """

    def __init__(self, directory: Directory, live: Live) -> None:
        self._directory = directory
        self._live = live

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        return [
            Endpoint("GET", "/directory/people", "list_people", "People, by id", "directory", self._people, PersonList,
                     query=PeopleQuery),
            Endpoint("POST", "/directory/people", "add_person", "Add a person", "directory", self._add, Person,
                     body=NewPerson, status=201, problems=(404, 409),
                     deed=Deed("person.add", lambda call: call.body.id, detail=_fields)),
            Endpoint("GET", "/directory/people/{person}", "get_person", "A person", "directory", self._person, Person,
                     parameters=PersonPath, problems=(404,)),
            Endpoint("PUT", "/directory/people/{person}", "replace_person", "Change a person", "directory",
                     self._replace, Person, parameters=PersonPath, body=PersonFields, problems=(404, 409),
                     deed=Deed("person.replace", lambda call: call.path.person, detail=_fields)),
            Endpoint("DELETE", "/directory/people/{person}", "remove_person", "Remove a person", "directory",
                     self._remove, None, parameters=PersonPath, problems=(404, 409),
                     deed=Deed("person.remove", lambda call: call.path.person)),
            Endpoint("GET", "/directory/identities", "list_identities",
                     "SIP identities: all, free, allocated, or available to a person", "directory",
                     self._list_identities, IdentityList, query=IdentitiesQuery, problems=(404,)),
        ]  # fmt: skip

    async def _people(self, call: Call[Nothing, PeopleQuery, None]) -> PersonList:
        query = call.query
        part = query.search.casefold()
        found = [
            person
            for person in await self._directory.people()
            if person.id > query.after
            and (not query.team or query.team in person.teams)
            and any(part in text.casefold() for text in (person.id, person.name, person.skills))
        ]
        page = found[: query.limit]
        return PersonList(people=tuple(page), next=page[-1].id if len(found) > query.limit else "")

    async def _add(self, call: Call[Nothing, Nothing, NewPerson]) -> Answer:
        person = self._checked(call.body.id, call.body)
        await _without_conflict(self._directory.add(person))
        return Answer(person, {"Location": f"{PREFIX}/directory/people/{person.id}"})

    async def _person(self, call: Call[PersonPath, Nothing, None]) -> Person:
        for person in await self._directory.people():
            if person.id == call.path.person:
                return person
        raise nobody(call.path.person)

    async def _replace(self, call: Call[PersonPath, Nothing, PersonFields]) -> Person:
        person = self._checked(call.path.person, call.body)
        try:
            await _without_conflict(self._directory.replace(person))
        except KeyError:
            raise nobody(person.id) from None
        return person

    async def _remove(self, call: Call[PersonPath, Nothing, None]) -> None:
        try:
            await _without_conflict(self._directory.remove(call.path.person))
        except KeyError:
            raise nobody(call.path.person) from None

    def _checked(self, person: str, fields: PersonFields) -> Person:
        known = self._live.states()
        for own in fields.interfaces:
            if own.pbx not in known:
                raise no_pbx(own.pbx, known)
        return Person(
            id=person,
            name=fields.name,
            teams=tuple(dict.fromkeys(fields.teams)),
            skills=fields.skills,
            interfaces=tuple(dict.fromkeys(fields.interfaces)),
            source=Source.API,
        )

    # -- identities -----------------------------------------------------------------------------------------------

    async def _list_identities(self, call: Call[Nothing, IdentitiesQuery, None]) -> IdentityList:
        query = call.query
        known = self._live.states()
        if query.pbx and query.pbx not in known:
            raise no_pbx(query.pbx, known)
        owners = {
            (own.pbx, own.interface): person.id
            for person in await self._directory.people()
            for own in person.interfaces
        }
        found: list[Identity] = []
        missing: list[str] = []
        for pbx in [query.pbx] if query.pbx else sorted(known):
            found += _identities(known[pbx], owners)
            missing += [] if known[pbx].endpoints else [pbx]
        return IdentityList(
            identities=tuple(identity for identity in found if _is(query, identity)),
            complete=not missing,
            note=f"The endpoints of {', '.join(missing)} are not known: they are read by ARI." if missing else "",
        )


def _identities(state: PbxState, owners: dict[tuple[str, str], str]) -> list[Identity]:
    """The endpoints of a PBX, and what people have that is none of them."""
    names = {*state.endpoints, *(interface for pbx, interface in owners if pbx == state.pbx)}
    listed = []
    for name in sorted(names):
        line = state.endpoints.get(name) or Line(name)
        listed.append(
            Identity(
                pbx=state.pbx,
                interface=name,
                person=owners.get((state.pbx, name), ""),
                online=line.online,
                status=line.status,
                contacts=tuple(
                    ContactView(uri=each.uri, address=each.address, user_agent=each.user_agent, status=each.status)
                    for _, each in sorted(line.contacts.items())
                ),
            )
        )
    return listed


def _is(query: IdentitiesQuery, identity: Identity) -> bool:
    match query.which:
        case Which.FREE:
            return not identity.person
        case Which.ALLOCATED:
            return bool(identity.person)
        case Which.AVAILABLE:
            return identity.person in ("", query.person)
    return True


def _fields(call: Call[Any, Nothing, PersonFields]) -> str:
    """What of a person the audit keeps."""
    used = ", ".join(f"{own.interface} of {own.pbx}" for own in call.body.interfaces) or "nothing"
    return f"name {call.body.name!r}, uses {used}, teams {', '.join(call.body.teams) or 'none'}"


async def _without_conflict(change: Awaitable[None]) -> None:
    try:
        await change
    except Conflict as error:
        raise Refused(
            409, "conflict", str(error), remedy="Take it from the other person first, or choose another."
        ) from None


def nobody(person: str) -> Refused:
    """404: no such person."""
    return not_found(f"There is no person {person!r}.", "See /api/v1/directory/people for those there are.")
