"""The profiles: which calls are streamed where. Those of the settings file are shown, the others can be changed."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from connector.config_profiles import ProfileSettings
from connector.store.profiles import Outdated
from connector.streams.book import BadProfile, Fixed, ProfileBook, ProfileView
from connector.web.rest.endpoint import PREFIX, Answer, Call, Deed, Endpoint, Nothing
from connector.web.rest.history import available
from connector.web.rest.problems import Refused, not_found

T = TypeVar("T")

ProfileName = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_]{0,30}$", description="Name of a profile.")]
Version = Annotated[
    int | None,
    Meta(description="The version that is changed, 0 for none; refused if there is another. Left out: whichever."),
]


def _settings_schema() -> dict[str, Any]:
    """The schema of a profile's settings, whole: references written out in place."""
    schema = ProfileSettings.model_json_schema()
    parts = schema.pop("$defs", {})

    def whole(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                rest = {key: value for key, value in node.items() if key != "$ref"}
                return {**whole(parts[node["$ref"].rpartition("/")[2]]), **rest}
            return {key: whole(value) for key, value in node.items()}
        return [whole(each) for each in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = whole(schema)
    return resolved


Settings = Annotated[
    dict[str, Any],
    Meta(description="As [profile.NAME] in the settings file.", extra_json_schema=_settings_schema()),
]


class NewProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile to add."""

    name: ProfileName
    settings: Settings


class ChangedProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A profile as it is to be, whole; a secret sent back as it was shown stays."""

    settings: Settings
    version: Version = None


class ProfileList(msgspec.Struct, frozen=True, kw_only=True):
    """All profiles, by name."""

    profiles: tuple[ProfileView, ...]


class ProfileVersions(msgspec.Struct, frozen=True, kw_only=True):
    """What a profile was, the latest first; no settings where it was removed."""

    versions: tuple[ProfileView, ...]


class ProfilePath(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One profile."""

    profile: ProfileName


class VersionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which version is removed."""

    version: Version = None


class ProfilesApi:
    """Answers from the book.

    Args:
        book: The profiles.
    """

    def __init__(self, book: ProfileBook) -> None:
        self._book = book

    def endpoints(self) -> list[Endpoint]:
        """What it serves."""
        one = "/profiles/{profile}"
        return [
            Endpoint("GET", "/profiles", "list_profiles", "Profiles, by name", "profiles", self._list, ProfileList),
            Endpoint("POST", "/profiles", "add_profile", "Add a profile", "profiles", self._add, ProfileView,
                     body=NewProfile, status=201, problems=(409, 422, 503),
                     deed=Deed("profile.add", lambda call: call.body.name)),
            Endpoint("GET", one, "get_profile", "A profile", "profiles", self._get, ProfileView,
                     parameters=ProfilePath, problems=(404,)),
            Endpoint("PUT", one, "replace_profile", "Change a profile, or add it", "profiles", self._replace,
                     ProfileView, parameters=ProfilePath, body=ChangedProfile, problems=(409, 422, 503),
                     deed=Deed("profile.replace", lambda call: call.path.profile)),
            Endpoint("DELETE", one, "remove_profile", "Remove a profile; calls that it has go on", "profiles",
                     self._remove, None, parameters=ProfilePath, query=VersionQuery, problems=(404, 409, 503),
                     deed=Deed("profile.remove", lambda call: call.path.profile)),
            Endpoint("GET", one + "/versions", "list_profile_versions", "What a profile was, when and by whom",
                     "profiles", self._versions, ProfileVersions, parameters=ProfilePath, problems=(404, 503)),
        ]  # fmt: skip

    async def _list(self, _call: Call[Nothing, Nothing, None]) -> ProfileList:
        return ProfileList(profiles=tuple(self._book.views()))

    async def _get(self, call: Call[ProfilePath, Nothing, None]) -> ProfileView:
        try:
            return self._book.view(call.path.profile)
        except KeyError:
            raise _none(call.path.profile) from None

    async def _add(self, call: Call[Nothing, Nothing, NewProfile]) -> Answer:
        name = call.body.name
        if name in self._book.profiles:
            raise Refused(409, "conflict", f"There is a profile {name} already.", remedy="Choose another name.")
        made = await _changed(self._book.put(name, call.body.settings, by=call.who.actor, version=0))
        return Answer(made, {"Location": f"{PREFIX}/profiles/{name}"})

    async def _replace(self, call: Call[ProfilePath, Nothing, ChangedProfile]) -> ProfileView:
        body = call.body
        return await _changed(self._book.put(call.path.profile, body.settings, by=call.who.actor, version=body.version))

    async def _remove(self, call: Call[ProfilePath, VersionQuery, None]) -> None:
        try:
            await _changed(self._book.remove(call.path.profile, by=call.who.actor, version=call.query.version))
        except KeyError:
            raise _none(call.path.profile) from None

    async def _versions(self, call: Call[ProfilePath, Nothing, None]) -> ProfileVersions:
        versions = await available(self._book.versions(call.path.profile))
        if not versions and call.path.profile not in self._book.profiles:
            raise _none(call.path.profile)
        return ProfileVersions(versions=tuple(versions))


async def _changed(change: Awaitable[T]) -> T:
    try:
        return await available(change)
    except BadProfile as error:
        raise Refused(
            422,
            "invalid-profile",
            "; ".join(error.problems) + ".",
            remedy="See docs/configuration.md for the keys of a profile.",
        ) from None
    except Fixed as error:
        raise Refused(409, "conflict", str(error), remedy="Change the file and restart the connector.") from None
    except Outdated as error:
        raise Refused(409, "outdated", str(error), remedy="Read the profile again.") from None


def _none(name: str) -> Refused:
    return not_found(f"There is no profile {name}.", remedy="See /api/v1/profiles for those there are.")
