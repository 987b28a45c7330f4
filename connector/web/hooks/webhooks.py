"""Webhooks from end to end: happenings go into the outbox, and from there, in order, to each endpoint."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import Counter, deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec
import structlog
from aiohttp.abc import AbstractResolver

from connector.config import WebhookSettings
from connector.config_web import HAPPENINGS
from connector.web.happenings import AnyHappening
from connector.web.hooks.outbox import Delivery, Outbox
from connector.web.hooks.sender import Attempt, Sender, Verdict

log = structlog.get_logger()

T = TypeVar("T")

INCOMING_MAX = 20_000
"""Deliveries that may wait in memory for the file; beyond it the oldest is dropped and counted."""

FIRST_RETRY_S = 1.0
LAST_RETRY_S = 300.0
OUTBOX_RETRY_S = 2.0


@dataclass(slots=True)
class EndpointStats:
    """What became of an endpoint's deliveries since the start.

    Attributes:
        attempts: By verdict.
        dropped: Deliveries that did not fit.
        last_error: Of the last attempt; empty if it went well.
        last_delivered_at: Seconds since the epoch; None if nothing was.
    """

    attempts: Counter[Verdict] = field(default_factory=Counter)
    dropped: int = 0
    last_error: str = ""
    last_delivered_at: float | None = None


class Webhooks:
    """Delivers what happens to those who want to know.

    Args:
        settings: The endpoints by name.
        path: Of the outbox.
        clock: Seconds since the epoch.
        random: Jitter of retries.
        resolver: Looks names up; by default the system.
        first_retry_s: Pause after the first failure; it doubles up to five minutes.

    Attributes:
        stats: By endpoint.
        outbox_failures: How often the file could not be used.
    """

    def __init__(
        self,
        settings: Mapping[str, WebhookSettings],
        path: Path,
        *,
        clock: Callable[[], float],
        random: Random,
        resolver: AbstractResolver | None = None,
        first_retry_s: float = FIRST_RETRY_S,
    ) -> None:
        self.settings = settings
        self.stats = {name: EndpointStats() for name in settings}
        self.outbox_failures = 0
        self._path = path
        self._clock = clock
        self._random = random
        self._resolver = resolver
        self._first_retry_s = first_retry_s
        self._incoming: deque[tuple[str, str, str, bytes, float]] = deque()
        self._arrived = asyncio.Event()
        self._wake = {name: asyncio.Event() for name in settings}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="webhook-outbox")
        self._outbox: Outbox | None = None

    def on_happening(self, happening: AnyHappening) -> None:
        """Takes what happened; quick, for it is called within the event path."""
        body: bytes | None = None
        for name, settings in self.settings.items():
            if not wants(settings, happening):
                continue
            body = body or msgspec.json.encode(happening)
            if len(self._incoming) >= INCOMING_MAX:
                self.stats[self._incoming.popleft()[0]].dropped += 1
            event = str(happening.__struct_config__.tag)
            self._incoming.append((name, happening.id, event, body, self._clock()))
            self._arrived.set()

    async def run(self) -> None:
        """Delivers until cancelled; what is not delivered then stays in the file."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._write(), name="webhook-outbox")
                for name in self.settings:
                    tasks.create_task(self._deliver(name), name=f"webhook-{name}")
        finally:
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._thread, self._finish))
            self._thread.shutdown(wait=False)

    async def use(self, work: Callable[[Outbox], T]) -> T:
        """Does something with the outbox, in its thread.

        Raises:
            sqlite3.Error: The file cannot be used.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._with_outbox, work)

    async def revive(self, name: str) -> int:
        """Has an endpoint's dead letters tried once more; returns how many."""
        now = self._clock()
        count = await self.use(lambda outbox: outbox.revive(name, now))
        self._wake[name].set()
        return count

    # -- the outbox's thread --------------------------------------------------------------------------------------

    def _with_outbox(self, work: Callable[[Outbox], T]) -> T:
        if self._outbox is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._outbox = Outbox(self._path)
        return work(self._outbox)

    def _finish(self) -> None:
        """Writes what still waits, and closes the file."""
        try:
            if self._incoming:
                rows = list(self._incoming)
                self._with_outbox(lambda outbox: outbox.add(rows, self._bounds()))
            if self._outbox is not None:
                self._outbox.close()
        except (sqlite3.Error, OSError) as error:
            log.error("webhooks_lost", count=len(self._incoming), error=str(error))

    def _bounds(self) -> dict[str, int]:
        return {name: settings.max_pending for name, settings in self.settings.items()}

    # -- tasks ----------------------------------------------------------------------------------------------------

    async def _write(self) -> None:
        failing = False
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            rows = list(self._incoming)
            if not rows:
                continue
            try:
                dropped = await self.use(lambda outbox, rows=rows: outbox.add(rows, self._bounds()))  # type: ignore[misc]
            except (sqlite3.Error, OSError) as error:
                self.outbox_failures += 1
                if not failing:
                    log.error("webhook_outbox_failed", path=str(self._path), error=str(error), hint="kept in memory")
                failing = True
                await asyncio.sleep(OUTBOX_RETRY_S)
                self._arrived.set()
                continue
            if failing:
                log.info("webhook_outbox_works", path=str(self._path))
            failing = False
            self._forget(rows)
            for name, count in dropped.items():
                self.stats[name].dropped += count
            for name in {row[0] for row in rows}:
                self._wake[name].set()

    def _forget(self, written: list[tuple[str, str, str, bytes, float]]) -> None:
        """Takes out what was written; some of it may have been dropped meanwhile."""
        left = {id(row) for row in written}
        while self._incoming and id(self._incoming[0]) in left:
            self._incoming.popleft()
        if self._incoming:
            self._arrived.set()

    async def _deliver(self, name: str) -> None:
        wake = self._wake[name]
        wake.set()
        async with Sender(self.settings[name], self._clock, self._resolver) as sender:
            while True:
                await wake.wait()
                wake.clear()
                try:
                    while (delivery := await self.use(lambda outbox: outbox.head(name))) is not None:
                        await self._try(name, sender, delivery)
                except (sqlite3.Error, OSError) as error:
                    self.outbox_failures += 1
                    log.warning("webhook_outbox_failed", endpoint=name, error=str(error))
                    await asyncio.sleep(OUTBOX_RETRY_S)
                    wake.set()

    async def _try(self, name: str, sender: Sender, delivery: Delivery) -> None:
        pause_s = min(delivery.next_at - self._clock(), LAST_RETRY_S * 12)
        if pause_s > 0:
            await asyncio.sleep(pause_s)
        stats = self.stats[name]
        max_age_s = self.settings[name].max_age_hours * 3600.0
        if delivery.attempts and self._clock() - delivery.made_at > max_age_s:
            attempt = Attempt(Verdict.DEAD, f"given up after {delivery.attempts} attempts: {delivery.error}")
        else:
            attempt = await sender.send(delivery)
        stats.attempts[attempt.verdict] += 1
        self._say(name, stats, attempt)
        match attempt.verdict:
            case Verdict.DELIVERED:
                stats.last_delivered_at = self._clock()
                await self.use(lambda outbox: outbox.delivered(name, delivery.seq))
            case Verdict.DEAD:
                await self.use(lambda outbox: outbox.dead(name, delivery.seq, attempt.error))
            case Verdict.RETRY:
                wait_s = min(self._first_retry_s * 2.0 ** min(delivery.attempts, 20), LAST_RETRY_S)
                wait_s = max(wait_s * self._random.uniform(0.5, 1.0), attempt.wait_s)
                next_at = self._clock() + wait_s
                await self.use(lambda outbox: outbox.failed(delivery.seq, next_at, attempt.error))

    def _say(self, name: str, stats: EndpointStats, attempt: Attempt) -> None:
        """Logs where it begins to fail and where it works again."""
        if attempt.error and not stats.last_error:
            log.warning("webhook_failing", endpoint=name, error=attempt.error)
        elif stats.last_error and not attempt.error:
            log.info("webhook_delivered_again", endpoint=name)
        stats.last_error = attempt.error


def wants(settings: WebhookSettings, happening: AnyHappening) -> bool:
    """Whether an endpoint is to be told: only what concerns members of the queue, and those whom it asked for."""
    tag = str(happening.__struct_config__.tag)
    return (
        bool(happening.recipients)
        and tag in (settings.events or HAPPENINGS)
        and (not settings.queues or happening.queue in settings.queues)
        and (
            not settings.agents
            or any(to.agent in settings.agents or to.interface in settings.agents for to in happening.recipients)
        )
    )
