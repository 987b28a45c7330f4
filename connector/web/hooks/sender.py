"""One attempt to deliver a webhook, bounded in time, size and reach."""

from __future__ import annotations

import asyncio
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from connector import __version__
from connector.config import WebhookSettings
from connector.net.reach import ANYWHERE, Forbidden, GuardedResolver, Reach
from connector.web.hooks.outbox import Delivery
from connector.web.hooks.signature import HEADER, sign

ANSWER_MAX_BYTES = 16_384
"""An answer is read no further; nothing in it matters but its status."""

RETRY_AFTER_MAX_S = 3600.0
AGAIN = frozenset({408, 425, 429})
"""Refusals that pass; those from 500 on do too."""


class Verdict(enum.StrEnum):
    """What became of an attempt. A closed set: it is a metric label."""

    DELIVERED = "delivered"
    RETRY = "retry"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Attempt:
    """What became of an attempt.

    Attributes:
        error: What went wrong; empty if nothing.
        wait_s: How long the receiver asked to be left alone.
    """

    verdict: Verdict
    error: str = ""
    wait_s: float = 0.0


class Sender:
    """Posts to one endpoint. Open it with `async with`.

    Args:
        settings: Of the endpoint.
        clock: Seconds since the epoch.
        resolver: Looks names up; by default the system.
    """

    def __init__(
        self, settings: WebhookSettings, clock: Callable[[], float], resolver: AbstractResolver | None = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._resolver = resolver
        self._reach = ANYWHERE if settings.allow_private else Reach(remedy="set allow_private if that is meant")
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Sender:
        resolver = GuardedResolver(self._reach, self._resolver)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=resolver, limit=2),
            timeout=aiohttp.ClientTimeout(total=self._settings.timeout_ms / 1000),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, delivery: Delivery) -> Attempt:
        """Tries once. Nothing that the network does raises."""
        assert self._session is not None, "use it in an `async with` block"
        secret = self._settings.secret.get_secret_value()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"asterisk-connector/{__version__}",
            "X-Connector-Event": delivery.event,
            "X-Connector-Delivery": delivery.id,
            "X-Connector-Attempt": str(delivery.attempts + 1),
            HEADER: sign(secret, delivery.body, int(self._clock())),
        }
        try:
            self._reach.check_url(self._settings.url)
            async with self._session.post(
                self._settings.url, data=delivery.body, headers=headers, allow_redirects=False
            ) as response:
                await response.content.read(ANSWER_MAX_BYTES)
                return _judge(response)
        except Forbidden as error:
            return Attempt(Verdict.DEAD, str(error))
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, Forbidden):
                return Attempt(Verdict.DEAD, str(error.os_error))
            return Attempt(Verdict.RETRY, f"cannot connect: {error.os_error.strerror or error.os_error}")
        except aiohttp.InvalidURL as error:
            return Attempt(Verdict.DEAD, f"the url cannot be used: {error}"[:300])
        except TimeoutError:
            return Attempt(Verdict.RETRY, f"no answer within {self._settings.timeout_ms} ms")
        except (aiohttp.ClientError, OSError) as error:
            return Attempt(Verdict.RETRY, f"{type(error).__name__}: {error}"[:300])
        except asyncio.CancelledError:
            raise
        except ValueError as error:  # an answer that aiohttp cannot read
            return Attempt(Verdict.RETRY, f"the answer cannot be read: {error}"[:300])


def _judge(response: aiohttp.ClientResponse) -> Attempt:
    status = response.status
    if 200 <= status < 300:
        return Attempt(Verdict.DELIVERED)
    if status >= 500 or status in AGAIN:
        return Attempt(Verdict.RETRY, f"answered {status}", _retry_after(response.headers.get("Retry-After", "")))
    if 300 <= status < 400:
        return Attempt(Verdict.DEAD, f"answered {status}: redirects are not followed; set the final address as url")
    return Attempt(Verdict.DEAD, f"answered {status}")


def _retry_after(value: str) -> float:
    try:
        seconds = float(value)
    except ValueError:
        return 0.0  # a date, or nothing
    return min(max(0.0, seconds), RETRY_AFTER_MAX_S) if math.isfinite(seconds) else 0.0
