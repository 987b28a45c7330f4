"""The profiles as one: those of the settings file, which stay as they are, and those kept, changed at run time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import msgspec
import structlog
from pydantic import SecretStr, ValidationError

from connector.config_profiles import ProfileSettings
from connector.config_types import checked_name
from connector.store.profiles import KeptProfile, Outdated

log = structlog.get_logger()

PROFILES_MAX = 200
"""Names of profiles are metric labels, so there is a bound."""
HIDDEN = "**********"
"""In place of a secret; sent back, it means the secret that is there."""


class ProfileView(msgspec.Struct, frozen=True, kw_only=True):
    """A profile as it is in effect.

    Attributes:
        name: Its name.
        version: Counts its changes from 1; 0 for one of the settings file.
        source: `config` or `api`.
        changed_at: Seconds since the epoch; 0 for one of the settings file.
        changed_by: Who did it.
        settings: As in the settings file, secrets hidden.
    """

    name: str
    version: int
    source: str
    changed_at: float
    changed_by: str
    settings: dict[str, Any]


class BadProfile(ValueError):
    """Settings that cannot be used.

    Attributes:
        problems: A sentence each.
    """

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


class Fixed(Exception):
    """The profile stands in the settings file and can be changed only there."""


class Kept(Protocol):
    """Where profiles are kept; `store.profiles.KeptProfiles` is one."""

    async def current(self) -> list[KeptProfile]:
        """The last version of each that is not removed."""
        ...

    async def versions(self, name: str) -> list[KeptProfile]:
        """Every version of one, the latest first."""
        ...

    async def put(self, profile: KeptProfile) -> None:
        """Adds a version; raises `Outdated` when there is such a one already."""
        ...


class ProfileBook:
    """All profiles by name.

    Args:
        fixed: Those of the settings file.
        kept: Where the others are kept.
        clock: Seconds since the epoch.
    """

    def __init__(self, fixed: Mapping[str, ProfileSettings], kept: Kept, *, clock: Callable[[], float]) -> None:
        self._fixed = dict(fixed)
        self._kept = kept
        self._clock = clock
        self._changing = asyncio.Lock()
        self._entries: dict[str, KeptProfile] = {}
        self.profiles: Mapping[str, ProfileSettings] = MappingProxyType(dict(fixed))
        """In effect now. A change replaces the mapping; a call keeps what it began with."""

    def is_trusted(self, name: str) -> bool:
        """Whether the profile's addresses come from the settings file."""
        return name in self._fixed

    async def load(self) -> None:
        """Reads the kept ones. One that this version cannot use is left out and logged."""
        async with self._changing:
            self._entries = {entry.name: entry for entry in await self._kept.current()}
            self._take_effect()

    async def replace_fixed(self, fixed: Mapping[str, ProfileSettings]) -> None:
        """Takes the profiles of a settings file that was read anew; a kept one of the same name gives way meanwhile."""
        async with self._changing:
            self._fixed = dict(fixed)
            self._take_effect()

    def views(self) -> list[ProfileView]:
        """All, by name."""
        return [self.view(name) for name in sorted(self.profiles)]

    def view(self, name: str) -> ProfileView:
        """One; raises KeyError if there is none."""
        settings = shown(self.profiles[name])
        entry = None if name in self._fixed else self._entries.get(name)
        if entry is None:
            return ProfileView(name=name, version=0, source="config", changed_at=0.0, changed_by="", settings=settings)
        return _view(entry, settings)

    async def versions(self, name: str) -> list[ProfileView]:
        """What a kept profile was, the latest first; without settings where it was removed."""
        return [
            _view(entry, {} if entry.settings is None else _hidden(entry.settings))
            for entry in await self._kept.versions(name)
        ]

    async def put(self, name: str, settings: dict[str, Any], *, by: str, version: int | None = None) -> ProfileView:
        """Adds or changes one.

        Args:
            name: Its name.
            settings: Whole, as in the settings file; `HIDDEN` keeps a secret.
            by: Who does it.
            version: The one that is changed, 0 for a new one; None for whichever there is.

        Raises:
            Fixed: It stands in the settings file.
            Outdated: Somebody else changed it meanwhile.
            BadProfile: The settings cannot be used, or there are too many profiles.
        """
        self._check_free(name)
        async with self._changing:
            earlier = self._entries.get(name)
            if earlier is None and len(self.profiles) >= PROFILES_MAX:
                raise BadProfile([f"there are {PROFILES_MAX} profiles already: remove one first"])
            self._check_version(name, version)
            whole = _unhidden(settings, (earlier.settings if earlier is not None else None) or {})
            checked(name, whole)
            await self._keep(name, whole, by)
            return self.view(name)

    async def remove(self, name: str, *, by: str, version: int | None = None) -> None:
        """Removes one; raises `Fixed`, `Outdated`, and KeyError if there is none."""
        self._check_free(name)
        async with self._changing:
            if name not in self._entries:
                raise KeyError(name)
            self._check_version(name, version)
            await self._keep(name, None, by)

    async def _keep(self, name: str, settings: dict[str, Any] | None, by: str) -> None:
        before = await self._kept.versions(name)
        entry = KeptProfile(
            name=name, version=before[0].version + 1 if before else 1, at=self._clock(), by=by, settings=settings
        )
        await self._kept.put(entry)
        if settings is None:
            del self._entries[name]
        else:
            self._entries[name] = entry
        self._take_effect()
        log.info("profile_changed", profile=name, version=entry.version, by=by, removed=settings is None)

    def _take_effect(self) -> None:
        usable: dict[str, ProfileSettings] = {}
        for name, entry in sorted(self._entries.items()):
            try:
                usable[name] = checked(name, entry.settings or {})
            except BadProfile as error:
                log.error("profile_unusable", profile=name, version=entry.version, problems=error.problems)
        self.profiles = MappingProxyType({**usable, **self._fixed})

    def _check_free(self, name: str) -> None:
        if name in self._fixed:
            raise Fixed(f"{name} is in the settings file, as profile.{name}, and can be changed only there.")

    def _check_version(self, name: str, version: int | None) -> None:
        entry = self._entries.get(name)
        found = entry.version if entry is not None else 0
        if version is not None and version != found:
            raise Outdated(name, found)


def checked(name: str, settings: dict[str, Any]) -> ProfileSettings:
    """Settings as an object.

    Raises:
        BadProfile: With every problem.
    """
    try:
        checked_name(name)
        return ProfileSettings.model_validate(settings)
    except ValidationError as error:
        raise BadProfile([_problem(each) for each in error.errors()]) from None
    except ValueError as error:
        raise BadProfile([str(error)]) from None


def shown(profile: ProfileSettings) -> dict[str, Any]:
    """Settings as plain values, every secret hidden."""
    return profile.model_dump(mode="json")


def _view(entry: KeptProfile, settings: dict[str, Any]) -> ProfileView:
    return ProfileView(
        name=entry.name,
        version=entry.version,
        source="api",
        changed_at=entry.at,
        changed_by=entry.by,
        settings=settings,
    )


def _secrets(settings: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Where the secrets are in settings as they were given: the dict and the key."""
    found = []
    for place, keys in ((settings.get("auth"), ("secret",)), (settings.get("headers"), None)):
        if isinstance(place, dict):
            found += [(place, key) for key in (place if keys is None else keys) if place.get(key)]
    return found


def _hidden(settings: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    for place, key in _secrets(copy):
        place[key] = str(SecretStr(str(place[key])))
    return copy


def _unhidden(settings: dict[str, Any], earlier: dict[str, Any]) -> dict[str, Any]:
    """Puts the secrets that are there in the places where the caller sent what it was shown."""
    copy: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(settings))
    for section, place in (("auth", copy.get("auth")), ("headers", copy.get("headers"))):
        before = earlier.get(section)
        if not isinstance(place, dict):
            continue
        for key, value in place.items():
            if value == HIDDEN:
                if not isinstance(before, dict) or key not in before:
                    raise BadProfile([f"{section}.{key}: there is no secret yet that {HIDDEN} could stand for"])
                place[key] = before[key]
    return copy


def _problem(entry: Any) -> str:
    key = ".".join(str(part) for part in entry["loc"])
    if entry["type"] == "extra_forbidden":
        return f"{key}: unknown key"
    words = str(entry.get("ctx", {}).get("error", entry["msg"]))
    return f"{key}: {words[0].lower()}{words[1:]}" if key else words
