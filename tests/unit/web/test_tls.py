"""The listener with a certificate of its own: pages and sockets by TLS alone, cookies that never go without it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from connector.access.accounts import Account
from connector.access.rights import Role
from connector.config import HttpSettings
from connector.web.auth.guard import CSRF_HEADER
from connector.web.server import BadCertificate, Web, tls_of
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Site
from tests.unit.web.test_push import receive, subscribe
from tests.unit.web.test_server import free_port, nobody
from tests.unit.web.test_session import HASH, PASSWORD


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, made with `openssl`, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=wallboard", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-out", str(files[0]), "-keyout", str(files[1])], check=True, capture_output=True)
    return files


def settings_of(certificate: tuple[Path, Path], **more: object) -> HttpSettings:
    return HttpSettings.model_validate(
        {"port": free_port(), "tls_certificate": certificate[0], "tls_key": certificate[1], "anonymous": "", **more}
    )


@asynccontextmanager
async def serving(site: Site, settings: HttpSettings) -> AsyncIterator[str]:
    """The site's parts behind a listener with TLS, as the program starts it."""
    web = Web(
        settings=settings,
        registry=CollectorRegistry(),
        not_ready=list,
        accounts=site.accounts,
        api=site.api,
        live=site.socket,
    )
    started = asyncio.Event()
    task = asyncio.create_task(web.run(started))
    await started.wait()
    yield web.url.rstrip("/")
    task.cancel()
    await asyncio.wait({task})


def trusting(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """Believes this certificate alone, and checks the name."""
    return ssl.create_default_context(cafile=str(certificate[0]))


async def test_page_log_in_and_live_view_go_by_tls(make_site: MakeSite, certificate: tuple[Path, Path]) -> None:
    site = await make_site(anonymous="")
    await site.kept_accounts.add(Account(name="anna", role=Role.ADMIN, password_hash=HASH))
    await site.accounts.refresh()
    tls = trusting(certificate)
    jar = aiohttp.CookieJar(unsafe=True)  # a cookie of an address
    async with serving(site, settings_of(certificate)) as url, aiohttp.ClientSession(cookie_jar=jar) as browser:
        assert url.startswith("https://127.0.0.1:")
        async with browser.get(url, ssl=tls) as page:
            assert page.status == 200
            assert page.headers["Strict-Transport-Security"].startswith("max-age=")
        login = {"name": "anna", "password": PASSWORD}
        async with browser.post(f"{url}/api/v1/session", json=login, ssl=tls) as answer:
            assert answer.status == 200
            csrf = (await answer.json())["csrf"]
            cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith("__Host-connector=")
        for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
            assert part in cookie
        assert "Domain" not in cookie, "__Host- forbids it"
        live = url.replace("https", "wss") + "/api/v1/live"
        async with browser.ws_connect(live, ssl=tls, headers={"Origin": url}) as socket:
            await socket.send_json(subscribe())
            assert (await receive(socket))["type"] == "snapshot"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await browser.ws_connect(live, ssl=tls, headers={"Origin": url.replace("https", "http")})
        assert refused.value.status == 403, "the same host without TLS is another origin"
        async with browser.delete(f"{url}/api/v1/session", ssl=tls, headers={CSRF_HEADER: csrf}) as answer:
            assert answer.status == 204
            assert answer.headers["Set-Cookie"].startswith("__Host-connector=")


async def test_nothing_is_served_without_tls_and_nobody_is_believed_without_a_certificate(
    make_site: MakeSite, certificate: tuple[Path, Path]
) -> None:
    site = await make_site(anonymous="")
    async with serving(site, settings_of(certificate)) as url, aiohttp.ClientSession() as browser:
        with pytest.raises(aiohttp.ClientError):
            await browser.get(url.replace("https", "http"))
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await browser.get(url)  # nobody vouches for it
    context = tls_of(settings_of(certificate))
    assert context is not None
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


async def test_a_certificate_without_its_key_is_named(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    key.write_text("no key")
    settings = settings_of((certificate[0], key))
    web = Web(settings=settings, registry=CollectorRegistry(), accounts=nobody(), not_ready=list)
    with pytest.raises(BadCertificate, match=r"http\.tls_certificate .* with http\.tls_key"):
        await web.run(asyncio.Event())
