"""All acts on one PBX, built together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from connector.acd.model import PbxState
from connector.asterisk.ami import Ami
from connector.asterisk.ari import Ari
from connector.calls.agents import AgentActs
from connector.calls.callers import CallerActs
from connector.calls.confirm import Confirmations
from connector.calls.desk import Desk
from connector.streams.taps import Taps


@dataclass(frozen=True, slots=True)
class Acts:
    """What can be done at one PBX."""

    state: PbxState
    agents: AgentActs
    callers: CallerActs


def acts_of(
    state: PbxState,
    *,
    ami: Ami,
    ari: Ari,
    confirmations: Confirmations,
    monotonic: Callable[[], float],
    taps: Taps | None = None,
) -> Acts:
    """Builds them; arguments as of `Desk`, and the PBX's taps for what is played to agents."""
    desk = Desk(state, ami=ami, ari=ari, confirmations=confirmations, monotonic=monotonic)
    return Acts(state, AgentActs(desk, taps), CallerActs(desk))
