"""When certificates end is told of those that are there, from what they say themselves."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from connector.asterisk.certificate import certificate_end
from connector.telemetry.certificates import CertificatesCollector, expiry_of

NAME = "connector_certificate_expires_timestamp_seconds"
DAY_S = 86400.0


@dataclass
class Link:
    certificate_expires_at: float | None = None


@dataclass
class Pbx:
    pbx: str
    ami: Link
    ari: Link


def make(folder: Path, days: int, name: str = "own") -> Path:
    """A certificate with its key in one file each, as `openssl` makes them."""
    path = folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", str(days), "-subj", "/CN=pbx", "-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", str(path.with_suffix(".key")), "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    return path


def test_a_chain_ends_with_its_first(tmp_path: Path) -> None:
    chain = make(tmp_path, 90, "leaf").read_bytes() + make(tmp_path, 10, "issuer").read_bytes()
    assert expiry_of(chain) == pytest.approx(time.time() + 10 * DAY_S, abs=60)


def test_what_has_a_certificate_is_told_and_the_rest_is_not(tmp_path: Path) -> None:
    own = make(tmp_path, 30)
    registry = CollectorRegistry()
    registry.register(CertificatesCollector([Pbx("main", Link(2e9), Link())], own))
    assert registry.get_sample_value(NAME, {"pbx": "main", "link": "ami"}) == 2e9
    assert registry.get_sample_value(NAME, {"pbx": "main", "link": "ari"}) is None
    ours = registry.get_sample_value(NAME, {"pbx": "", "link": "http"})
    assert ours == pytest.approx(time.time() + 30 * DAY_S, abs=60)


def test_a_file_that_cannot_be_read_costs_no_scrape(tmp_path: Path) -> None:
    own = make(tmp_path, 30)
    registry = CollectorRegistry()
    registry.register(CertificatesCollector([], own))
    good = own.read_bytes()
    for bad in (b"", b"-----BEGIN CERTIFICATE-----\nAA\n-----END CERTIFICATE-----\n"):
        own.write_bytes(bad)
        assert registry.get_sample_value(NAME, {"pbx": "", "link": "http"}) is None
    own.write_bytes(good)
    assert registry.get_sample_value(NAME, {"pbx": "", "link": "http"}) is not None


async def test_the_end_of_what_a_peer_shows(tmp_path: Path) -> None:
    own = make(tmp_path, 5)
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    serving.load_cert_chain(own, own.with_suffix(".key"))

    async def idle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(await asyncio.start_server(idle, "127.0.0.1", 0, ssl=serving))
        port = server.sockets[0].getsockname()[1]
        trusting = ssl.create_default_context(cafile=str(own))
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
        assert certificate_end(writer) == pytest.approx(time.time() + 5 * DAY_S, abs=60)
        writer.close()
    plain = await asyncio.start_server(idle, "127.0.0.1", 0)
    async with plain:
        _, writer = await asyncio.open_connection("127.0.0.1", plain.sockets[0].getsockname()[1])
        assert certificate_end(writer) is None
        writer.close()
