"""One HTTP request: what servers can do to us."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from connector.net.fetch import FetchCause, Fetcher, FetchFailed
from connector.net.reach import ANYWHERE, Reach


@contextlib.asynccontextmanager
async def server(answer: bytes, *, hang: bool = False) -> AsyncIterator[tuple[str, list[bytes]]]:
    asked: list[bytes] = []
    over = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.read(4_096))
        writer.write(answer)
        if hang:
            await over.wait()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    running = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}/path", asked
        over.set()


async def fails(url: str, reach: Reach = ANYWHERE, timeout_s: float = 5.0) -> FetchCause:
    with pytest.raises(FetchFailed) as failure:
        await Fetcher(max_answer_bytes=1_000).fetch("GET", url, reach=reach, timeout_s=timeout_s)
    assert failure.value.detail
    return failure.value.cause


async def test_an_answer() -> None:
    async with server(b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 2\r\n\r\nhi") as (
        url,
        asked,
    ):
        answer = await Fetcher(max_answer_bytes=2).fetch(
            "GET", url, reach=ANYWHERE, timeout_s=5, params={"a": "b c"}, headers={"X-Key": "k"}
        )
    assert (answer.status, answer.body, answer.headers["location"]) == (302, b"hi", "http://169.254.169.254/")
    assert b"GET /path?a=b+c HTTP/1.1" in asked[0]
    assert b"X-Key: k" in asked[0]
    assert len(asked) == 1, "a redirect is not followed"


async def test_what_goes_wrong_is_told_apart() -> None:
    async with server(b"") as (url, _):
        pass
    assert await fails(url) is FetchCause.REFUSED
    assert await fails("http://no-such-host.invalid/") is FetchCause.DNS
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001) as (url, _):
        assert await fails(url) is FetchCause.TOO_LARGE
    async with server(b"HTTP/1.1 200 OK\r\n\r\n", hang=True) as (url, _):
        assert await fails(url, timeout_s=0.2) is FetchCause.TIMEOUT
    async with server(b"no HTTP\r\n\r\n") as (url, _):
        assert await fails(url) is FetchCause.BAD_ANSWER
    async with server(b"") as (url, _):
        assert await fails(url) is FetchCause.REFUSED
    async with server(b"HTTP/1.1 400 Bad Request\r\n\r\n") as (url, _):
        assert await fails(url.replace("http", "https")) is FetchCause.TLS


async def test_a_private_address_is_not_even_asked() -> None:
    async with server(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as (url, asked):
        assert await fails(url, Reach()) is FetchCause.FORBIDDEN
        assert await fails(url.replace("127.0.0.1", "localhost"), Reach()) is FetchCause.FORBIDDEN
        assert asked == []
