"""Roles, the rights they have, and what a token may use of them."""

from __future__ import annotations

import enum


class Role(enum.StrEnum):
    """What somebody is to the product."""

    VIEWER = "viewer"
    """Sees; the numbers of callers only where the settings say so."""
    SUPERVISOR = "supervisor"
    """Sees and helps, within the queues and teams of the account."""
    ADMIN = "admin"
    """Everything, everywhere."""


class Right(enum.StrEnum):
    """One thing that one may be allowed to do."""

    OWN = "own"
    """One's own session, password and preferences."""
    SEE = "see"
    """Queues, agents, calls, figures and history, within one's scope."""
    PAUSE = "pause"
    MEMBERS = "members"
    """Queue membership and penalty of agents."""
    FORCE_LOGOUT = "force_logout"
    MESSAGE = "message"
    HANG_UP = "hang_up"
    TRANSFER = "transfer"
    """Transfer a waiting caller, or pick one up."""
    PRIORITY = "priority"
    WITHDRAW = "withdraw"
    LISTEN = "listen"
    WHISPER = "whisper"
    BARGE = "barge"
    TAKE_OVER = "take_over"
    RECORD = "record"
    PLAY_RECORDINGS = "play_recordings"
    METRICS = "metrics"
    ADMINISTER = "administer"
    """Everything else: people, profiles, webhooks, tests, accounts, the audit, the whole state."""


VIEWER_RIGHTS = frozenset({Right.OWN, Right.SEE})

SUPERVISOR_RIGHTS = VIEWER_RIGHTS | {
    Right.PAUSE,
    Right.MEMBERS,
    Right.FORCE_LOGOUT,
    Right.MESSAGE,
    Right.HANG_UP,
    Right.TRANSFER,
    Right.PRIORITY,
    Right.WITHDRAW,
    Right.LISTEN,
    Right.WHISPER,
    Right.BARGE,
    Right.TAKE_OVER,
    Right.RECORD,
    Right.PLAY_RECORDINGS,
}

RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: VIEWER_RIGHTS,
    Role.SUPERVISOR: SUPERVISOR_RIGHTS,
    Role.ADMIN: frozenset(Right),
}


class TokenScope(enum.StrEnum):
    """What a token may be used for, as far as its account may."""

    READ = "read"
    """See."""
    ACT = "act"
    """Help agents and callers."""
    LISTEN = "listen"
    """Hear calls and recordings, and speak in them."""
    METRICS = "metrics"
    ADMIN = "admin"
    """What only administrators may, and the account itself."""


_HEARING = frozenset({Right.LISTEN, Right.WHISPER, Right.BARGE, Right.TAKE_OVER, Right.RECORD, Right.PLAY_RECORDINGS})

SCOPE_RIGHTS: dict[TokenScope, frozenset[Right]] = {
    TokenScope.READ: frozenset({Right.SEE}),
    TokenScope.ACT: SUPERVISOR_RIGHTS - VIEWER_RIGHTS - _HEARING,
    TokenScope.LISTEN: _HEARING,
    TokenScope.METRICS: frozenset({Right.METRICS}),
    TokenScope.ADMIN: frozenset({Right.ADMINISTER, Right.OWN}),
}


def rights_of(role: Role, scopes: tuple[TokenScope, ...] | None = None) -> frozenset[Right]:
    """The rights of a role, or as much of them as a token's scopes leave.

    A token for metrics needs no administrator: what Prometheus reads names no caller.
    """
    if scopes is None:
        return RIGHTS[role]
    wanted = frozenset().union(*(SCOPE_RIGHTS[scope] for scope in scopes))
    return (RIGHTS[role] | {Right.METRICS}) & wanted
