"""HTTP to the ARI of one PBX: keep-alive, deadlines, and what an answer means."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

import aiohttp
import msgspec
from pydantic import SecretStr
from yarl import URL

from connector.asterisk.ari_errors import (
    AriBadAnswer,
    AriNotFound,
    AriNoTls,
    AriTimeout,
    AriUnreachable,
    AriUntrusted,
    error_of,
)

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bound of one answer; a channel is about 700 bytes."""

MAX_CONNECTIONS = 32
"""To one PBX; http.conf's sessionlimit is 100 by default, for all clients together."""

KEEPALIVE_S = 10.0
"""Asterisk closes an idle connection after 15 s (session_keep_alive); a POST that meets the closing is lost."""

T = TypeVar("T")


class AriHttp:
    """Requests to the ARI of one PBX. Use as `async with`, which holds the keep-alive connections.

    Args:
        url: `http://host:8088/ari`; a prefix of http.conf goes before `/ari`.
        username: Section of ari.conf.
        password: Its password.
        app: Our Stasis application.
        deadline_s: For each request, connection included.
        tls: How to check an https address, None for Python's defaults.
    """

    def __init__(
        self,
        *,
        url: str,
        username: str,
        password: SecretStr,
        app: str,
        deadline_s: float = 2.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.app = app
        self._url = url.rstrip("/")
        self._username = username
        self._password = password
        self._deadline_s = deadline_s
        self._tls: ssl.SSLContext | bool = tls if tls is not None else True
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._http = aiohttp.ClientSession(
            headers={"Authorization": self._basic_auth()},
            connector=aiohttp.TCPConnector(ssl=self._tls, limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S),
            timeout=aiohttp.ClientTimeout(total=None),  # each request brings its own
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()
            self._http = None

    async def _get(self, path: str, kind: type[T], **query: str | int | None) -> T:
        return await self._ask("GET", path, kind, **query)

    async def _do(self, method: str, path: str, missing_ok: bool = False, **query: str | int | None) -> None:
        try:
            await self._request(method, path, None, query)
        except AriNotFound:
            if not missing_ok:
                raise

    async def _ask(self, method: str, path: str, kind: type[T], body: object = None, **query: str | int | None) -> T:
        raw = await self._request(method, path, body, query)
        try:
            return msgspec.json.decode(raw, type=kind)
        except (msgspec.DecodeError, RecursionError) as error:
            raise AriBadAnswer(method, path, 200, f"the answer cannot be read ({error})") from None

    async def _request(self, method: str, path: str, body: object, query: Mapping[str, Any]) -> bytes:
        try:
            async with self._session.request(
                method,
                URL(self._url + path, encoded=True),
                params={key: value for key, value in query.items() if value is not None},
                json=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=self._deadline_s),
            ) as answer:
                raw = await _read(answer)
        except TimeoutError:
            raise AriTimeout(method, path, None, f"no answer within {self._deadline_s:g} s") from None
        except aiohttp.ClientConnectorCertificateError as error:
            raise AriUntrusted(method, path, None, untrusted(error)) from None
        except aiohttp.ClientConnectorSSLError as error:
            raise AriNoTls(method, path, None, f"no TLS there ({error.os_error})") from None
        except aiohttp.ClientError as error:
            raise AriUnreachable(method, path, None, f"{error or type(error).__name__}") from None
        if raw is None:
            raise AriBadAnswer(method, path, answer.status, f"the answer is longer than {MAX_ANSWER_BYTES} bytes")
        if answer.status >= 400:
            raise error_of(answer.status)(method, path, answer.status, _words(raw) or str(answer.reason))
        if answer.status >= 300:
            raise AriBadAnswer(method, path, answer.status, "a redirection")
        return raw

    def _basic_auth(self) -> str:
        """RFC 7617; in a header, because Asterisk would log a key in the address."""
        pair = f"{self._username}:{self._password.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()

    @property
    def _session(self) -> aiohttp.ClientSession:
        if self._http is None:
            raise RuntimeError("use Ari as `async with`")
        return self._http


def untrusted(error: aiohttp.ClientConnectorCertificateError) -> str:
    """What is wrong with the certificate of the other side, in OpenSSL's words."""
    cause = error.certificate_error
    said = cause.verify_message if isinstance(cause, ssl.SSLCertVerificationError) else str(cause)
    return f"the certificate is not trusted ({said})"


async def _read(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body; None where it is too long."""
    raw = bytearray()
    async for chunk in answer.content.iter_any():
        raw += chunk
        if len(raw) > MAX_ANSWER_BYTES:
            answer.close()
            return None
    return bytes(raw)


class _Words(msgspec.Struct):
    """The body of an error: `message`, or `error` where no handler was found."""

    message: str = ""
    error: str = ""


def _words(raw: bytes) -> str:
    try:
        said = msgspec.json.decode(raw, type=_Words)
    except (msgspec.DecodeError, RecursionError):
        return ""
    return (said.message or said.error)[:200]
