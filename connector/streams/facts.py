"""What is known of a call that enters Stasis, read from Asterisk as far as some profile asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping

from connector.asterisk.ari import Ari, AriError
from connector.asterisk.ari_models import Channel
from connector.config_profiles import Mode, ProfileSettings
from connector.streams.match import CallFacts, wanted_headers
from connector.streams.parameters import split_arguments

DIALLED_NUMBER = "CALLERID(dnid)"
"""What the caller dialled. The extension where the call stands is another: `s` in a subroutine of the dialplan."""
CAMPAIGN = "CONNECTOR_CAMPAIGN"
"""Channel variable with the tag of an outbound campaign."""


async def call_facts(
    ari: Ari,
    channel: Channel,
    args: list[str],
    *,
    pbx: str,
    direction: str,
    profiles: Mapping[str, ProfileSettings],
) -> CallFacts:
    """Reads what the profiles that may fit ask for; nothing where they ask for nothing.

    Args:
        ari: Of the PBX.
        channel: That entered Stasis.
        args: Of Stasis().
        pbx: Name of the PBX.
        direction: Of the call, as the live state has it.
        profiles: All by name.
    """
    name = args[0] if args else ""
    given = split_arguments(args[1:])
    matches = [
        profile.match for key, profile in profiles.items() if not name or key == name or profile.mode is Mode.MONITOR
    ]
    did, campaign, headers = await asyncio.gather(
        _variable(ari, channel.id, DIALLED_NUMBER, wanted=any(match.dids for match in matches)),
        _variable(ari, channel.id, CAMPAIGN, wanted=any(match.campaigns for match in matches)),
        sip_headers(ari, channel.id, wanted_headers(matches)),
    )
    return CallFacts(
        pbx=pbx,
        call_id=f"{pbx}:{channel.id}",
        name=name,
        queue=given.get("queue", ""),
        did=did or channel.dialplan.exten,
        campaign=given.get("campaign", campaign),
        trunk=endpoint_of(channel.name),
        direction=given.get("direction", direction),
        headers=headers,
    )


async def campaign_of(ari: Ari, channel_ids: Iterable[str]) -> str:
    """The tag that one of a call's channels bears; empty if none does."""
    tags = await asyncio.gather(*(_variable(ari, each, CAMPAIGN, wanted=True) for each in channel_ids))
    return next(filter(None, tags), "")


async def sip_headers(ari: Ari, channel_id: str, names: Iterable[str]) -> dict[str, str]:
    """Headers of a channel's INVITE by the names that were asked for; empty where it has none, or is no SIP channel."""
    wanted = tuple(names)
    values = await asyncio.gather(
        *(_variable(ari, channel_id, f"PJSIP_HEADER(read,{name})", wanted=True) for name in wanted)
    )
    return dict(zip(wanted, values, strict=True))


def endpoint_of(channel_name: str) -> str:
    """`PJSIP/carrier-0000002a` is the channel of PJSIP/carrier."""
    return channel_name.rpartition("-")[0]


async def _variable(ari: Ari, channel_id: str, variable: str, *, wanted: bool) -> str:
    if not wanted:
        return ""
    try:
        return await ari.get_variable(channel_id, variable)
    except AriError:
        return ""  # it has no such value; or it is gone, of which an event tells
