"""How a call leaves Stasis: to the next line of the dialplan, or where its bot hands it over to."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from connector.asterisk.ari import Ari, AriError, AriNotFound
from connector.config_targets import TargetKind
from connector.streams.handover import Handover

log = structlog.get_logger()

RESULT_VARIABLE = "CONNECTOR_RESULT"
"""Channel variable that tells the dialplan why the call came back."""

EXTENSIONS = {
    TargetKind.QUEUE: "queue",
    TargetKind.EXTENSION: "extension",
    TargetKind.SIP: "sip",
    TargetKind.PROFILE: "profile",
    TargetKind.ANNOUNCE: "say",
}
"""Of the context `connector-handover`, by kind of target."""


async def hand_back(ari: Ari, channel_id: str, result: str) -> None:
    """Lets a call go on in the dialplan, at the priority after Stasis(), with `RESULT_VARIABLE` set to `result`."""
    await send_on(ari, channel_id, Handover(), {RESULT_VARIABLE: result}, context="")


async def send_on(ari: Ari, channel_id: str, handover: Handover, variables: Mapping[str, str], *, context: str) -> None:
    """Lets a call leave Stasis. Never raises: where the handover cannot be done, the dialplan goes on.

    Args:
        ari: Of the PBX.
        channel_id: The caller's channel.
        handover: Where to.
        variables: To set first.
        context: Of the dialplan, that does it.
    """
    try:
        results = await asyncio.gather(
            *(ari.set_variable(channel_id, name, value) for name, value in variables.items()), return_exceptions=True
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result
        kind = handover.target.kind
        if kind is TargetKind.HANGUP:
            await ari.hangup(channel_id, missing_ok=True)
        elif kind in EXTENSIONS and await _exists(ari, channel_id, context, EXTENSIONS[kind]):
            await ari.continue_in_dialplan(channel_id, context=context, extension=EXTENSIONS[kind], priority=1)
        else:
            await ari.continue_in_dialplan(channel_id)
    except AriNotFound:
        pass  # hung up meanwhile
    except AriError as error:
        log.warning("hand_back_failed", call_id=channel_id, variables=sorted(variables), error=str(error))


async def _exists(ari: Ari, channel_id: str, context: str, extension: str) -> bool:
    """Whether the dialplan has it: a call that is sent to a place that does not exist is hung up."""
    try:
        found = await ari.get_variable(channel_id, f"DIALPLAN_EXISTS({context},{extension},1)")
    except AriNotFound:
        raise
    except AriError as error:
        found = str(error)
    if found == "1":
        return True
    log.error(
        "handover_impossible",
        call_id=channel_id,
        context=context,
        extension=extension,
        remedy="add asterisk-conf/connector-extensions.conf to the dialplan; the call goes on after Stasis()",
    )
    return False
