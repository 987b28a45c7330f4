"""Counting by time: a minute each for the last hour, and the day so far. Pure; the time of events drives it.

A window of 15 minutes is the minute under way and the 14 before it.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from connector.config_people import OpenHours, QueueSettings, minute_of_day, parse_open

MINUTES = 60
DAYS = 3
WINDOWS = {"m15": 15, "m30": 30, "m60": 60}
"""Sliding windows by name, in minutes."""


EVER = float("-inf")

Numbers = list[float]


class Day:
    """When a day begins in a place, and when it is open there.

    Args:
        settings: Of the queue.
    """

    def __init__(self, settings: QueueSettings) -> None:
        self._zone = ZoneInfo(settings.time_zone)
        self._starts = timedelta(minutes=minute_of_day(settings.day_starts))
        self._hours: OpenHours = parse_open(settings.open)
        self._began = self._ends = 0.0

    def began(self, at: float) -> float:
        """When the day began that holds a time; both in seconds since the epoch."""
        if not self._began <= at < self._ends:
            local = datetime.fromtimestamp(at, self._zone).replace(tzinfo=None) - self._starts
            midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
            # By the clock on the wall: a day has 23 or 25 hours when the clock is changed.
            self._began = (midnight + self._starts).replace(tzinfo=self._zone).timestamp()
            self._ends = (midnight + timedelta(days=1) + self._starts).replace(tzinfo=self._zone).timestamp()
        return self._began

    def is_open(self, at: float) -> bool:
        """Whether it is within business hours; always, where there are none."""
        if not self._hours:
            return True
        local = datetime.fromtimestamp(at, self._zone)
        minute = local.hour * 60 + local.minute
        return any(local.weekday() in days and begin <= minute < end for days, begin, end in self._hours)


class Tally:
    """Numbers of a fixed set of fields, by minute and by day.

    What is late goes where it belongs, and a clock that was set wrong spoils only the minutes and days that it named:
    of both the latest to be counted in are kept, whatever they are, and the asker's time chooses among them.

    Args:
        fields: How many fields there are.
        largest: Which of them keep their largest value; all others add up.
        day: Whose days.
    """

    __slots__ = ("_day", "_days", "_fields", "_largest", "_minutes")

    def __init__(self, fields: int, largest: frozenset[int], day: Day) -> None:
        self._fields, self._largest, self._day = fields, largest, day
        self._minutes: dict[int, Numbers] = {}
        self._days: dict[float, Numbers] = {}

    def add(self, at: float, field: int, value: float = 1.0, recent: float = EVER) -> None:
        """Counts something that happened at a time; what lies before `recent`, in its day alone."""
        of_minute = (self._minute(int(at // 60)),) if at >= recent else ()
        for numbers in (*of_minute, self._of_day(at)):
            if field in self._largest:
                numbers[field] = max(numbers[field], value)
            else:
                numbers[field] += value

    def add_time(self, begin: float, end: float, field: int, recent: float = EVER) -> None:
        """Counts seconds from a time to a time, each minute its own share; of the days that of the last. See `add`."""
        if end <= begin:
            return
        self._of_day(end)[field] += end - max(begin, self._day.began(end))
        last = int(end // 60)
        first = max(int(begin // 60), last - MINUTES)
        if recent > end:
            return
        if recent > begin:
            first = max(first, int(recent // 60))
        for minute in range(first, last + 1):
            part = min(end, minute * 60 + 60) - max(begin, minute * 60)
            if part > 0:
                self._minute(minute)[field] += part

    def windows(self, now: float) -> dict[str, Numbers]:
        """What the day so far came to (`today`), and the last 15, 30 and 60 minutes."""
        last = int(now // 60)
        found = {"today": list(self.today(now))}
        total, since = self._zeros(), -1  # an event may be a moment ahead of the asker's clock
        for name, minutes in WINDOWS.items():
            buckets = [numbers for minute, numbers in self._minutes.items() if since <= last - minute < minutes]
            total, since = self._sum([total, *buckets]), minutes
            found[name] = total
        return found

    def today(self, now: float) -> Numbers:
        """What the day so far came to; not to be changed."""
        return self._days.get(self._day.began(now)) or self._zeros()

    def last_hour(self, now: float, fields: tuple[int, ...]) -> Numbers:
        """The sum of some fields over the last 60 minutes."""
        last = int(now // 60)
        buckets = [numbers for minute, numbers in self._minutes.items() if last - minute < MINUTES]
        return [sum([numbers[field] for numbers in buckets]) for field in fields]

    def minutes(self, now: float, fields: tuple[int, ...]) -> list[list[float]]:
        """Of each field its values in the last 60 minutes, the oldest first; the running minute is the last."""
        last = int(now // 60)
        zeros = self._zeros()
        hour = [self._minutes.get(minute, zeros) for minute in range(last - MINUTES + 1, last + 1)]
        return [[numbers[field] for numbers in hour] for field in fields]

    def began(self, now: float) -> dict[str, float]:
        """When each of the windows began, seconds since the epoch."""
        return {
            "today": self._day.began(now),
            **{name: (now // 60 - minutes + 1) * 60 for name, minutes in WINDOWS.items()},
        }

    def _sum(self, buckets: list[Numbers]) -> Numbers:
        return [
            max(column) if field in self._largest else sum(column)
            for field, column in enumerate(zip(*buckets, strict=True))
        ]

    def _minute(self, minute: int) -> Numbers:
        numbers = self._minutes.get(minute)
        if numbers is None:
            numbers = self._minutes[minute] = self._zeros()
            if len(self._minutes) > 2 * MINUTES:
                del self._minutes[next(iter(self._minutes))]
        return numbers

    def _of_day(self, at: float) -> Numbers:
        began = self._day.began(at)
        numbers = self._days.get(began)
        if numbers is None:
            numbers = self._days[began] = self._zeros()
            if len(self._days) > DAYS:
                del self._days[next(iter(self._days))]
        return numbers

    def _zeros(self) -> Numbers:
        return [0.0] * self._fields


def share(part: float, whole: float) -> float | None:
    """A ratio from 0 to 1; None of nothing."""
    return part / whole if whole > 0 else None


def mean(total: float, count: float) -> float | None:
    """None of nothing."""
    return total / count if count > 0 else None
