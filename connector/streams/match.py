"""Which profile a call gets: a pure function of what is known of the call and of what the profiles say."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from connector.config_profiles import MatchSettings, Mode, ProfileSettings

BUCKETS = 10_000
"""Percentages are told apart to a hundredth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFacts:
    """What a profile may ask of a call. Empty where it is not known.

    Attributes:
        pbx: Name of the PBX.
        call_id: Unique over all PBXs.
        name: First argument of Stasis().
        queue: The queue it is about.
        did: Number that the caller dialled.
        campaign: Tag of an outbound call.
        bot: Profile of the bot that has it.
        trunk: Endpoint of its channel, as `PJSIP/carrier`.
        direction: inbound, outbound, internal or unknown.
        headers: Headers of the caller's INVITE that some profile asks for, names in lower case.
    """

    pbx: str
    call_id: str
    name: str = ""
    queue: str = ""
    did: str = ""
    campaign: str = ""
    bot: str = ""
    trunk: str = ""
    direction: str = "unknown"
    headers: Mapping[str, str] = field(default_factory=dict)


def find_profile(profiles: Mapping[str, ProfileSettings], facts: CallFacts, modes: frozenset[Mode]) -> str | None:
    """The profile for a call, or None.

    A call that names a profile gets that one or none; every other gets, of those that fit, the one with the highest
    priority, and the first by name among equals.

    Args:
        profiles: All of them by name.
        facts: What is known of the call.
        modes: Kinds of profiles that are looked for.
    """
    names: Iterable[str] = (
        (facts.name,) if facts.name else sorted(profiles, key=lambda name: (-profiles[name].priority, name))
    )
    for name in names:
        profile = profiles.get(name)
        if profile is not None and profile.mode in modes and fits(name, profile, facts):
            return name
    return None


def fits(name: str, profile: ProfileSettings, facts: CallFacts) -> bool:
    """Whether a call is one of the profile's."""
    match = profile.match
    return (
        profile.enabled
        and (not match.pbxs or facts.pbx in match.pbxs)
        and (not match.queues or facts.queue in match.queues)
        and (not match.dids or any(_same(pattern, facts.did) for pattern in match.dids))
        and (not match.campaigns or facts.campaign in match.campaigns)
        and (not match.bots or facts.bot in match.bots)
        and (not match.trunks or facts.trunk in match.trunks)
        and (not match.directions or facts.direction in match.directions)
        and all(_same(pattern, facts.headers.get(key.lower(), "")) for key, pattern in match.headers.items())
        and chosen(name, facts.call_id, match.percent)
    )


def chosen(name: str, call_id: str, percent: float) -> bool:
    """Whether a call belongs to the share of calls that a profile takes; always the same for the same call."""
    digest = hashlib.sha256(f"{name}\0{call_id}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") % BUCKETS < percent * BUCKETS / 100


def wanted_headers(matches: Iterable[MatchSettings]) -> tuple[str, ...]:
    """Names of the headers that have to be read before calls can be matched, each once, in lower case."""
    return tuple(dict.fromkeys(name.lower() for match in matches for name in match.headers))


def _same(pattern: str, text: str) -> bool:
    if pattern.endswith("*"):
        return bool(text) and text.startswith(pattern[:-1])
    return pattern == text
