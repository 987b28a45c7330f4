"""One HTTP request on behalf of a profile: bounded in reach, time and size, every failure with its cause."""

from __future__ import annotations

import asyncio
import enum
import ssl
from collections.abc import Mapping
from dataclasses import dataclass

import aiohttp
from aiohttp.abc import AbstractResolver

from connector import __version__
from connector.net.reach import Forbidden, GuardedResolver, Reach


class FetchCause(enum.StrEnum):
    """Why a request failed. A closed set: it is a metric label."""

    DNS = "dns"
    TLS = "tls"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    """No TCP connection, or it broke."""
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    BAD_ANSWER = "bad_answer"
    """It is not HTTP, or does not say what was asked for."""


class FetchFailed(Exception):
    """A request that got no answer.

    Attributes:
        cause: For the counter.
        detail: One sentence for the operator.
    """

    def __init__(self, cause: FetchCause, detail: str) -> None:
        super().__init__(detail)
        self.cause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer.

    Attributes:
        status: HTTP status.
        headers: Names in lower case.
        body: At most as many bytes as allowed.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Fetcher:
    """Makes requests, each on a connection of its own, without redirects, cookies and proxies.

    Args:
        max_answer_bytes: A longer answer fails.
        resolver: Looks names up; by default the system.
        tls: For https.
    """

    def __init__(
        self,
        *,
        max_answer_bytes: int,
        resolver: AbstractResolver | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._max_bytes = max_answer_bytes
        self._resolver = resolver
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True

    async def fetch(
        self,
        method: str,
        url: str,
        *,
        reach: Reach,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        form: Mapping[str, str] | None = None,
    ) -> Fetched:
        """Asks once.

        Args:
            method: GET, POST.
            url: http:// or https://.
            reach: Where it may go.
            timeout_s: From the name look-up to the last byte.
            params: Added to the query of the URL.
            headers: More headers; may hold secrets.
            body: Of the request.
            form: Body as a form.

        Raises:
            FetchFailed: There is no answer, or too long a one.
        """
        try:
            reach.check_url(url)
            async with (
                asyncio.timeout(timeout_s),
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(
                        resolver=GuardedResolver(reach, self._resolver), ssl=self._tls, force_close=True
                    ),
                    timeout=aiohttp.ClientTimeout(total=None),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    headers={"User-Agent": f"asterisk-connector/{__version__}"},
                    auto_decompress=False,
                ) as session,
                session.request(
                    method,
                    url,
                    params=dict(params) if params else None,
                    headers=dict(headers) if headers else None,
                    data=body if form is None else dict(form),
                    allow_redirects=False,
                ) as answer,
            ):
                read = await self._read(answer)
                return Fetched(answer.status, {key.lower(): value for key, value in answer.headers.items()}, read)
        except TimeoutError:
            raise FetchFailed(FetchCause.TIMEOUT, f"no answer within {timeout_s:g} s") from None
        except Forbidden as error:
            raise FetchFailed(FetchCause.FORBIDDEN, str(error)) from None
        except aiohttp.ClientSSLError as error:
            raise FetchFailed(FetchCause.TLS, f"TLS failed: {error}"[:300]) from None
        except aiohttp.ClientConnectorDNSError as error:
            if isinstance(error.os_error, Forbidden):
                raise FetchFailed(FetchCause.FORBIDDEN, str(error.os_error)) from None
            raise FetchFailed(FetchCause.DNS, f"the name cannot be resolved: {error.os_error}") from None
        except aiohttp.ClientConnectorError as error:
            if isinstance(error.os_error, Forbidden):
                raise FetchFailed(FetchCause.FORBIDDEN, str(error.os_error)) from None
            raise FetchFailed(FetchCause.REFUSED, f"cannot connect: {error.os_error}") from None
        except (aiohttp.InvalidURL, aiohttp.ClientResponseError, ValueError) as error:
            raise FetchFailed(FetchCause.BAD_ANSWER, f"{type(error).__name__}: {error}"[:300]) from None
        except (aiohttp.ClientError, OSError) as error:
            raise FetchFailed(FetchCause.REFUSED, f"{type(error).__name__}: {error}"[:300]) from None

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        raw = bytearray()
        async for chunk in answer.content.iter_any():
            raw += chunk
            if len(raw) > self._max_bytes:
                answer.close()
                raise FetchFailed(FetchCause.TOO_LARGE, f"the answer is longer than {self._max_bytes} bytes")
        return bytes(raw)
