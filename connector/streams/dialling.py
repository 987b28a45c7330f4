"""How a bot is dialled: its address asked for where need be, credentials, attempts, and the circuit breaker.

A 4xx is final; a 5xx is tried up to three times with backoff; what could not be reached is tried once more; all within
one deadline, because a caller waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random

import msgspec
import structlog

from connector.config_profiles import OutgoingSettings, ProfileSettings
from connector.config_types import checked_url
from connector.media.control import EndCause, OpenStream
from connector.media.engine import MediaEngine, StreamFailed, StreamHandle
from connector.net.credentials import NoSecret, Secrets, auth_headers
from connector.net.fetch import FetchCause, Fetched, Fetcher, FetchFailed
from connector.net.reach import ANYWHERE, Forbidden, Reach
from connector.streams.breaker import Breakers

log = structlog.get_logger()

FIRST_BACKOFF_S = 0.1
MIN_ATTEMPT_S = 0.1
"""An attempt with less time left is not begun."""

AGAIN_ONCE = frozenset({EndCause.BOT_REFUSED, EndCause.BOT_DNS, EndCause.BOT_TIMEOUT, EndCause.BOT_LOST})
UNHEALTHY = AGAIN_ONCE | {EndCause.BOT_UNAVAILABLE, EndCause.BOT_TLS}
"""What counts for the circuit breaker. A 4xx does not: the server is well, and refuses this call."""

_OF_FETCH = {
    FetchCause.DNS: EndCause.BOT_DNS,
    FetchCause.TLS: EndCause.BOT_TLS,
    FetchCause.TIMEOUT: EndCause.BOT_TIMEOUT,
    FetchCause.FORBIDDEN: EndCause.BOT_FORBIDDEN,
    FetchCause.REFUSED: EndCause.BOT_REFUSED,
}


class _Answer(msgspec.Struct):
    url: str


class Dialler:
    """Opens streams as profiles say.

    Args:
        engine: The media engine.
        outgoing: Where connections may go.
        secrets: Finds secrets.
        fetcher: Asks for addresses.
        clock: Seconds since the epoch.
        monotonic: Seconds that never go back.
        random: Jitter of the backoff.
        count: Told the outcome of each attempt: name of the profile, and `opened` or the cause.
        join: Headers by which a bot joins the call's trace.
        sleep: Waits between attempts.
    """

    def __init__(
        self,
        *,
        engine: MediaEngine,
        outgoing: OutgoingSettings,
        secrets: Secrets,
        fetcher: Fetcher,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random: Random,
        count: Callable[[str, str], None],
        join: Callable[[OpenStream], Mapping[str, str]] = lambda _: {},
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._outgoing = outgoing
        self._secrets = secrets
        self._fetcher = fetcher
        self._clock = clock
        self._monotonic = monotonic
        self._random = random
        self._count = count
        self._join = join
        self._sleep = sleep
        self._breakers = Breakers(
            failures=outgoing.breaker_failures, open_s=outgoing.breaker_seconds, monotonic=monotonic
        )
        self._reach = Reach(hosts=outgoing.allowed_hosts, private=outgoing.allow_private)

    def reach(self, trusted: bool) -> Reach:
        """Where a profile may connect to."""
        return ANYWHERE if trusted else self._reach

    async def open(
        self,
        request: OpenStream,
        name: str,
        profile: ProfileSettings,
        *,
        trusted: bool,
        near: StreamHandle | None = None,
    ) -> StreamHandle:
        """Dials until the bot accepts.

        Args:
            request: The stream; address, headers, timeout and reach are put in here.
            name: Of the profile.
            profile: Its settings.
            trusted: Its address comes from the settings file.
            near: An earlier stream whose RTP this one takes over.

        Raises:
            StreamFailed: With the cause of the last attempt.
        """
        if not profile.url:  # nobody is to be dialled: the audio is only recorded
            return await self._engine.open(request, near=near)
        if not self._breakers.allows(profile.url):
            self._count(name, EndCause.BOT_CIRCUIT_OPEN.value)
            raise StreamFailed(
                EndCause.BOT_CIRCUIT_OPEN, "the bot has not answered the last calls; it is tried again in a while"
            )
        try:
            handle = await self._attempts(request, name, profile, trusted, near)
        except StreamFailed as failure:
            if failure.cause in UNHEALTHY:
                self._breakers.failed(profile.url)
            else:
                self._breakers.gave_up(profile.url)
            raise
        except BaseException:
            self._breakers.gave_up(profile.url)
            raise
        self._breakers.succeeded(profile.url)
        return handle

    async def _attempts(
        self, request: OpenStream, name: str, profile: ProfileSettings, trusted: bool, near: StreamHandle | None
    ) -> StreamHandle:
        deadline_s = self._monotonic() + profile.dial_timeout_ms / 1000
        attempt = 0
        while True:
            attempt += 1
            try:
                handle = await self._attempt(request, profile, trusted, deadline_s, near)
            except StreamFailed as failure:
                self._count(name, failure.cause.value)
                delay_s = self._delay(failure.cause, attempt, profile)
                left_s = deadline_s - self._monotonic()
                if delay_s is None or delay_s + MIN_ATTEMPT_S > left_s:
                    raise
                log.info("bot_dialled_again", profile=name, attempt=attempt, cause=failure.cause.value)
                await self._sleep(delay_s)
            else:
                self._count(name, "opened")
                return handle

    def _delay(self, cause: EndCause, attempt: int, profile: ProfileSettings) -> float | None:
        """Seconds before the next attempt; None if there is to be none."""
        if cause is EndCause.BOT_UNAVAILABLE:
            most = profile.attempts
        elif cause in AGAIN_ONCE:
            most = min(2, profile.attempts)
        else:
            most = 1
        if attempt >= most:
            return None
        backoff_s: float = FIRST_BACKOFF_S * 2 ** (attempt - 1)
        return backoff_s * self._random.uniform(0.8, 1.2)

    async def _attempt(
        self,
        request: OpenStream,
        profile: ProfileSettings,
        trusted: bool,
        deadline_s: float,
        near: StreamHandle | None,
    ) -> StreamHandle:
        url = profile.url
        if profile.asks_for_url:
            url = await self._ask(request, profile, trusted, deadline_s)
            trusted = False
        left_ms = int((deadline_s - self._monotonic()) * 1000)
        whole = msgspec.structs.replace(
            request,
            url=url,
            headers={**self._join(request), **self._headers(profile, url)},
            connect_timeout_ms=max(1, min(profile.connect_timeout_ms, left_ms)),
            reach=self.reach(trusted),
        )
        return await self._engine.open(whole, near=near)

    async def fetch(
        self,
        method: str,
        url: str,
        profile: ProfileSettings,
        *,
        trusted: bool,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Fetched:
        """A request with a profile's headers and credentials.

        Args:
            method: GET, POST.
            url: http:// or https://.
            profile: Whose.
            trusted: The address comes from the settings file.
            timeout_s: Until the last byte.
            params: Added to the query.
            headers: Further ones.
            body: JSON.

        Raises:
            FetchFailed: There is no answer.
            StreamFailed: The profile's secret is missing.
        """
        own = {**self._headers(profile, url), **(headers or {})}
        if body is not None:
            own["Content-Type"] = "application/json"
        return await self._fetcher.fetch(
            method,
            url,
            reach=self.reach(trusted),
            timeout_s=max(0.001, timeout_s),
            params=params,
            headers=own,
            body=body,
        )

    async def _ask(self, request: OpenStream, profile: ProfileSettings, trusted: bool, deadline_s: float) -> str:
        """The bot's address for this call."""
        timeout_s = min(self._outgoing.timeout_ms / 1000, deadline_s - self._monotonic())
        try:
            answer = await self.fetch(
                "GET",
                profile.url,
                profile,
                trusted=trusted,
                timeout_s=timeout_s,
                params={"callId": request.call_id, "streamId": request.stream_id, **request.parameters},
            )
        except FetchFailed as failure:
            cause = _OF_FETCH.get(failure.cause, EndCause.BOT_REJECTED)
            raise StreamFailed(cause, f"the address of the bot: {failure.detail}") from None
        if answer.status != 200:
            cause = EndCause.BOT_UNAVAILABLE if answer.status >= 500 else EndCause.BOT_REJECTED
            raise StreamFailed(cause, f"the address of the bot: HTTP {answer.status}")
        try:
            url = checked_url(msgspec.json.decode(answer.body, type=_Answer).url, ("ws", "wss"))
            self._reach.check_url(url)
        except Forbidden as error:
            raise StreamFailed(EndCause.BOT_FORBIDDEN, str(error)) from None
        except (msgspec.DecodeError, ValueError) as error:
            raise StreamFailed(
                EndCause.BOT_REJECTED, f'the address of the bot is not {{"url": "wss://..."}}: {error}'[:200]
            ) from None
        return url

    def _headers(self, profile: ProfileSettings, url: str) -> Mapping[str, str]:
        try:
            own = {name: self._secrets.find(value.get_secret_value()) for name, value in profile.headers.items()}
            return {**own, **auth_headers(profile.auth, self._secrets, url=url, unix_s=self._clock())}
        except NoSecret as error:
            raise StreamFailed(EndCause.BOT_FORBIDDEN, str(error)) from None
