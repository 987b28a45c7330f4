"""Tells the servers that profiles name (`status_callback`) what becomes of their streams.

What concerns one stream is told in its order; streams do not wait for each other beyond the bound of requests at a
time. A server that does not take it is asked again twice; what cannot be told is counted, and no call waits for it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import structlog

from connector.config_profiles import AuthSettings, ProfileSettings
from connector.media.control import EndCause
from connector.net.credentials import TWILIO_HEADER, NoSecret, Secrets, auth_headers, twilio_signature
from connector.net.fetch import FetchCause, Fetcher, FetchFailed
from connector.net.reach import Reach
from connector.records import StreamBegan, StreamRecord
from connector.streams.book import ProfileBook
from connector.streams.handover import FAILURES
from connector.streams.statusshapes import Body, Status, StreamEvent, body_of

log = structlog.get_logger()

PENDING_MAX = 2_000
"""That wait to be told; beyond it the newest is dropped and counted."""
AT_A_TIME = 8
WAITS_S = (1.0, 5.0)
"""Before the second and the third attempt."""
AGAIN = frozenset({408, 425, 429})
"""Refusals that pass; those from 500 on do too."""
ERRORS = FAILURES | {EndCause.ASTERISK_ERROR, EndCause.WORKER_FULL}


class StatusCallbacks:
    """For the bus; `run` until cancelled.

    Args:
        book: The profiles.
        reach: Where a profile may connect to, by whether it stands in the settings file.
        fetcher: Makes the requests.
        secrets: For the profile's `auth`.
        timeout_s: Of one request.
        count: Counts by outcome: delivered, failed, dropped.
        clock: Seconds since the epoch.
        random: Spreads attempts.
        sleep: Waits between attempts.
    """

    takes = (StreamBegan, StreamRecord)

    def __init__(
        self,
        book: ProfileBook,
        *,
        reach: Callable[[bool], Reach],
        fetcher: Fetcher,
        secrets: Secrets,
        timeout_s: float,
        count: Callable[[str], None],
        clock: Callable[[], float],
        random: Random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._book = book
        self._reach = reach
        self._fetcher = fetcher
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._count = count
        self._clock = clock
        self._random = random
        self._sleep = sleep
        self._pending: dict[str, deque[tuple[Status, ProfileSettings]]] = {}
        self._waiting = 0
        self._slots = asyncio.Semaphore(AT_A_TIME)
        self._new = asyncio.Queue[str]()

    def on_event(self, event: object) -> None:
        """A stream began or ended."""
        match event:
            case StreamBegan():
                self._put(event, StreamEvent.STARTED)
            case StreamRecord():
                if event.cause in ERRORS:
                    self._put(event, StreamEvent.ERROR, event.cause, event.detail)
                if event.setup_s is not None:
                    self._put(event, StreamEvent.STOPPED, event.cause, event.detail)

    async def run(self) -> None:
        """Tells until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                tasks.create_task(self._tell_stream(await self._new.get()))

    def _put(self, event: StreamBegan | StreamRecord, what: StreamEvent, cause: str = "", detail: str = "") -> None:
        settings = self._book.profiles.get(event.profile)
        if settings is None or not settings.status_callback:
            return
        if self._waiting >= PENDING_MAX:
            self._count("dropped")
            return
        status = Status(
            event=what,
            profile=event.profile,
            call_id=f"{event.pbx}:{event.uniqueid}",
            stream_id=event.stream_id,
            cause=cause,
            detail=detail,
            at=event.at,
        )
        self._waiting += 1
        queue = self._pending.get(event.stream_id)
        if queue is None:
            queue = self._pending[event.stream_id] = deque()
            self._new.put_nowait(event.stream_id)
        queue.append((status, settings))

    async def _tell_stream(self, stream_id: str) -> None:
        queue = self._pending[stream_id]
        while queue:
            status, settings = queue.popleft()
            try:
                problem = await self._tell(status, settings)
            except Exception:  # a defect of ours must cost this one alone
                log.exception("status_callback_defect")
                problem = "defect"
            self._waiting -= 1
            self._count("failed" if problem else "delivered")
            if problem:
                log.warning("status_callback_failed", profile=status.profile, told=status.event.value, problem=problem)
        del self._pending[stream_id]

    async def _tell(self, status: Status, settings: ProfileSettings) -> str:
        """Returns what went wrong at last; empty if nothing."""
        body = body_of(status, settings)
        problem = ""
        for wait_s in (0.0, *WAITS_S):
            if wait_s:
                await self._sleep(wait_s * self._random.uniform(0.8, 1.2))
            async with self._slots:
                problem, again = await self._attempt(body, settings, trusted=self._book.is_trusted(status.profile))
            if not again:
                break
        return problem

    async def _attempt(self, body: Body, settings: ProfileSettings, *, trusted: bool) -> tuple[str, bool]:
        url = settings.status_callback
        try:
            headers = self._headers(settings.auth, url, body.form)
            answer = await self._fetcher.fetch(
                "POST",
                url,
                reach=self._reach(trusted),
                timeout_s=self._timeout_s,
                headers=headers if body.form else {**headers, "Content-Type": "application/json"},
                form=body.form or None,
                body=body.json or None,
            )
        except NoSecret as error:
            return str(error), False
        except FetchFailed as error:
            return error.detail, error.cause is not FetchCause.FORBIDDEN
        if 200 <= answer.status < 300:
            return "", False
        return f"answered {answer.status}", answer.status >= 500 or answer.status in AGAIN

    def _headers(self, auth: AuthSettings, url: str, form: Mapping[str, str]) -> dict[str, str]:
        if auth.kind == "twilio":
            return {TWILIO_HEADER: twilio_signature(self._secrets.find(auth.secret.get_secret_value()), url, form)}
        return auth_headers(auth, self._secrets, url=url, unix_s=self._clock())
