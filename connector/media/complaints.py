"""What is wrong with what a stream is sent: the first of each cause, as a line of the log and for whoever asks."""

from __future__ import annotations

from structlog.typing import FilteringBoundLogger

MAX_COMPLAINTS = 32
"""Kinds of errors that a bot reports are its own words, so there is a bound."""


class Complaints:
    """Of one stream.

    Args:
        log: Of the stream.

    Attributes:
        first: The detail of the first of each cause.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self.first: dict[str, str] = {}
        self._log = log

    def note(self, event: str, cause: str, detail: str) -> None:
        """The first of a cause is a change of state, and logged; the counters tell the rest."""
        if cause not in self.first and len(self.first) < MAX_COMPLAINTS:
            self.first[cause] = detail
            self._log.warning(event, cause=cause, detail=detail)
