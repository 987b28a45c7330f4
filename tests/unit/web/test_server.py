"""The HTTP side over a real socket: what is served, with which headers, and what a taken port says."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families

from connector.access.rights import Role
from connector.config import HttpSettings
from connector.store.accounts import KeptAccounts
from connector.store.database import Database
from connector.web.auth.accounts import Accounts
from connector.web.server import PortTaken, Web


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def nobody() -> Accounts:
    """Everybody is an administrator, so no database is asked."""
    return Accounts(
        KeptAccounts(Database("sqlite://")), clock=time.time, monotonic=time.monotonic, anonymous=Role.ADMIN
    )


class Parts:
    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.missing: list[str] = []


@asynccontextmanager
async def serving(parts: Parts) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    web = Web(
        settings=HttpSettings(port=free_port(), anonymous="admin"),
        accounts=nobody(),
        registry=parts.registry,
        not_ready=lambda: parts.missing,
    )
    started = asyncio.Event()
    task = asyncio.create_task(web.run(started))
    await asyncio.wait({task, asyncio.ensure_future(started.wait())}, return_when=asyncio.FIRST_COMPLETED)
    async with aiohttp.ClientSession() as session:
        yield session, web.url.rstrip("/")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_health_is_about_this_process_and_readiness_about_what_it_needs() -> None:
    parts = Parts()
    async with serving(parts) as (session, url):
        parts.missing = ["pbx.main: AMI is down: connection refused"]
        async with session.get(f"{url}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        async with session.get(f"{url}/readyz") as answer:
            assert answer.status == 503
            assert (await answer.json())["missing"] == parts.missing
        parts.missing = []
        async with session.get(f"{url}/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"status": "ready"})


@pytest.mark.parametrize("accept", ["", "application/openmetrics-text; version=1.0.0"])
async def test_metrics_come_in_the_form_that_the_scraper_asks_for(accept: str) -> None:
    parts = Parts()
    Counter("seen", "Seen.", registry=parts.registry).inc(3)
    async with serving(parts) as (session, url), session.get(f"{url}/metrics", headers={"Accept": accept}) as answer:
        assert answer.headers["Content-Type"].startswith(accept.split(";")[0] or "text/plain")
        text = await answer.text()
    assert text.rstrip().endswith("# EOF") is bool(accept)
    if not accept:
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        assert [(sample.name, sample.value) for sample in samples if sample.name == "seen_total"] == [("seen_total", 3)]


@pytest.mark.parametrize("path", ["/", "/static/wallboard.js", "/metrics", "/api/v1/state", "/nothing-here"])
async def test_every_answer_forbids_foreign_scripts_and_framing(path: str) -> None:
    async with serving(Parts()) as (session, url), session.get(url + path) as answer:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py"])
async def test_nothing_outside_the_static_folder_is_served(path: str) -> None:
    async with serving(Parts()) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    assert answer.startswith((b"HTTP/1.1 404", b"HTTP/1.1 403"))


async def test_a_taken_port_is_named_with_the_setting() -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        web = Web(settings=HttpSettings(port=port), registry=CollectorRegistry(), accounts=nobody(), not_ready=list)
        with pytest.raises(PortTaken, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*choose another http\.port"):
            await web.run(asyncio.Event())
