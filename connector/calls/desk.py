"""One PBX as its supervisors' hands: sends an act once, and waits for what confirms it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from connector.acd.model import PbxState
from connector.asterisk.ami import Ami
from connector.asterisk.ami_model import (
    AmiActionRejected,
    AmiBadValue,
    AmiError,
    AmiOutcomeUnknown,
    PermissionDenied,
)
from connector.asterisk.ari import Ari, AriError, AriNotFound, AriTimeout, AriUnreachable
from connector.calls.confirm import Confirmations, Told
from connector.calls.outcome import Denied, NotPossible, Outcome, Result
from connector.events import LinkState

log = structlog.get_logger()

CONFIRM_S = 3.0
"""For the event after Asterisk's consent; seen: milliseconds."""


class Desk:
    """What all acts share.

    Args:
        state: The live state; read, never changed.
        ami: For what changes queues and moves callers.
        ari: For channels of phones.
        confirmations: Of the bus.
        monotonic: Seconds that never go back.
    """

    def __init__(
        self,
        state: PbxState,
        *,
        ami: Ami,
        ari: Ari,
        confirmations: Confirmations,
        monotonic: Callable[[], float],
    ) -> None:
        self.state = state
        self.ami = ami
        self.ari = ari
        self.confirmations = confirmations
        self.monotonic = monotonic

    @property
    def pbx(self) -> str:
        """Name of the PBX."""
        return self.state.pbx

    async def manager(self, name: str, told: Told | None, done: str, **fields: Any) -> Result:
        """An action of the manager interface, sent once.

        Args:
            name: The action.
            told: Which event confirms it; None where there is none.
            done: A sentence for when it is.
            fields: Headers.

        Raises:
            NotPossible: Nothing was done.
        """
        return await self.act(lambda: self.ami.action(name, **fields), told, done)

    async def act(
        self, send: Callable[[], Awaitable[object]], told: Told | None, done: str, *, confirm_s: float = CONFIRM_S
    ) -> Result:
        """Sends something once and waits for its event.

        Args:
            send: Sends it.
            told: Which event confirms it; None where there is none.
            done: A sentence for when it is.
            confirm_s: How long the event may take after Asterisk's consent.

        Raises:
            NotPossible: Nothing was done.
        """
        if self.ami.state is not LinkState.UP:  # what ARI does is confirmed by AMI too
            raise NotPossible(f"There is no connection to {self.pbx}; nothing was done.", "Wait until it is back.")
        started = self.monotonic()
        with self.confirmations.expect(told or (lambda _: False)) as confirmed:
            try:
                await send()
            except (AmiOutcomeUnknown, AriTimeout, AriUnreachable) as error:
                # It may have happened all the same: the event tells.
                if told is None or not await _within(confirmed, confirm_s):
                    detail = f"{error}. It may have happened: look before you do it again."
                    return Result(outcome=Outcome.UNKNOWN, detail=detail, took_s=self._since(started))
                return Result(outcome=Outcome.DONE, detail=done, took_s=self._since(started))
            except AriNotFound:
                raise NotPossible(f"{self.pbx} has no such channel or endpoint any more.", "Look again.") from None
            except PermissionDenied as error:
                raise Denied(
                    f"{self.pbx} does not let the connector do this ({error.action}).",
                    "Add agent and call to `write` of its account in manager.conf: docs/asterisk-conf.md.",
                ) from None
            except (AmiActionRejected, AmiBadValue, AmiError, AriError) as error:
                raise Denied(f"{self.pbx} refused: {error}.") from None
            if told is None:
                return Result(outcome=Outcome.SENT, detail=done, took_s=self._since(started))
            if await _within(confirmed, confirm_s):
                return Result(outcome=Outcome.DONE, detail=done, took_s=self._since(started))
        log.warning("act_not_confirmed", pbx=self.pbx, wanted=done, within_s=confirm_s)
        detail = f"{self.pbx} took it, but did not say within {confirm_s:g} s that it happened."
        return Result(outcome=Outcome.UNKNOWN, detail=detail, took_s=self._since(started))

    def _since(self, started: float) -> float:
        return round(self.monotonic() - started, 3)


async def _within(future: asyncio.Future[None], seconds: float) -> bool:
    done, _ = await asyncio.wait({future}, timeout=seconds)
    return bool(done)
