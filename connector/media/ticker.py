"""A timer that fires each few milliseconds to the microsecond: timerfd_create(2), which the event loop can watch.

The loop's own timers count in whole milliseconds.
"""

from __future__ import annotations

import ctypes
import os
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_CLOCK_MONOTONIC = 1
_ABSOLUTE = 1  # TFD_TIMER_ABSTIME
_ITIMERSPEC = struct.Struct("@qqqq")
_COUNT_BYTES = 8


class Ticker:
    """Becomes readable at `first_s` and each `period_s` after, on `time.monotonic()`.

    Args:
        first_s: Monotonic time of the first tick.
        period_s: Between ticks.

    Raises:
        OSError: There are no file descriptors left.
    """

    def __init__(self, first_s: float, period_s: float) -> None:
        self.fd: int = _libc.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self.set(first_s, period_s)

    def set(self, first_s: float, period_s: float) -> None:
        """Starts anew."""
        every, first = round(period_s * 1e9), round(first_s * 1e9)
        spec = _ITIMERSPEC.pack(every // 10**9, every % 10**9, first // 10**9, first % 10**9)
        _libc.timerfd_settime(self.fd, _ABSOLUTE, spec, None)

    def clear(self) -> None:
        """Takes the ticks that have come, so that it is readable no more."""
        try:
            os.read(self.fd, _COUNT_BYTES)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Gives the descriptor back."""
        os.close(self.fd)
