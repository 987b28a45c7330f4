"""The clock of the audio path: steps of one length on an absolute scale, so that no lateness adds up."""

from __future__ import annotations

from connector.media.frames import FRAME_S

EARLY_S = 0.001
"""Timers of libuv count in whole milliseconds and may fire that much before the deadline."""


class PacingClock:
    """Says when the next step is due, and how many were missed.

    Args:
        now_s: Monotonic time of the start; the first step is due one period later.
        period_s: Length of a step.
    """

    def __init__(self, now_s: float, period_s: float = FRAME_S) -> None:
        self._start_s = now_s
        self._period_s = period_s
        self._step = 1

    @property
    def step(self) -> int:
        """The step taken last; the first is 1."""
        return self._step - 1

    @property
    def deadline_s(self) -> float:
        """When the next step is due."""
        return self._start_s + self._step * self._period_s

    def due(self, now_s: float) -> tuple[int, float] | None:
        """Takes the step that is due now.

        After a stall whole steps are skipped, never made up for: a burst would go straight to the caller's phone.

        Returns:
            None when it is too early; else the number of steps skipped before this one, and how late this call is
            against the first of them, in seconds.
        """
        late_s = now_s - self.deadline_s
        if late_s < -EARLY_S:
            return None
        skipped = max(0, int(late_s / self._period_s))
        self._step += skipped + 1
        return skipped, max(0.0, late_s)
