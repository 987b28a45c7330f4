"""Who did what to whom through the API, when, from where, and what came of it: `Audit.write` keeps one deed.

Endpoints that act have it done for them, see `web.rest.endpoint.Deed`; others call it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

import structlog

from connector.records import AuditRecord
from connector.web.auth.identity import Who

log = structlog.get_logger()

DETAIL_MAX = 500
"""Characters of a detail that are kept."""


class Audit:
    """Keeps deeds: in the history, which spools while its database is away, and in the log.

    Args:
        publish: Takes each record; the bus, which brings it to the history.
        clock: Seconds since the epoch.
        new_id: Makes an id that is never the same.
    """

    def __init__(
        self,
        publish: Callable[[AuditRecord], None],
        *,
        clock: Callable[[], float],
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._publish = publish
        self._clock = clock
        self._new_id = new_id

    def write(self, who: Who, action: str, target: str, *, result: str = "ok", detail: str = "", pbx: str = "") -> None:
        """Keeps one deed. Hand in no secret.

        Args:
            who: Who did it.
            action: Closed word, such as person.add; docs/rest.md lists them.
            target: What it was done to.
            result: ok, or why not, as the kind of the problem.
            detail: More of it, for people.
            pbx: Where one is concerned.
        """
        record = AuditRecord(
            id=self._new_id(),
            at=self._clock(),
            pbx=pbx,
            actor=who.actor,
            action=action,
            target=target,
            result=result,
            detail=detail[:DETAIL_MAX],
            remote=who.remote,
        )
        log.info(
            "audit", actor=who.actor, remote=who.remote, action=action, target=target, result=result, pbx=pbx or None
        )
        self._publish(record)
