"""What strangers can write into the pages' data: names of callers and queues, and paths."""

from __future__ import annotations

import aiohttp
import msgspec
import pytest
from yarl import URL

from connector.access.rights import Role
from tests.unit.web.conftest import MakeSite
from tests.unit.web.site import Pbxs
from tests.unit.web.test_scope import joined, member

HOSTILE = "<script>alert(1)</script>\"'`${7*7}{{7*7}}"


async def test_hostile_names_are_data_and_never_a_page(make_site: MakeSite) -> None:
    pbxs = Pbxs()
    queue = "<img src=x onerror=alert(1)>"
    leg, caller = joined("alpha")
    leg = msgspec.structs.replace(leg, leg=msgspec.structs.replace(leg.leg, name=HOSTILE))
    caller = msgspec.structs.replace(
        caller, queue=queue, caller=msgspec.structs.replace(caller.caller, name=HOSTILE, number=HOSTILE)
    )
    pbxs.play(member("anna", queue), leg, caller)
    site = await make_site(pbxs, anonymous="")
    headers = await site.token(Role.ADMIN)
    async with aiohttp.ClientSession(headers=headers) as session:
        for endpoint in site.api.endpoints:
            if endpoint.method != "GET" or "{" in endpoint.path:
                continue
            async with session.get(f"{site.url}/api/v1{endpoint.path}") as answer:
                assert answer.content_type in ("application/json", "application/problem+json"), endpoint.path
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
                assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        async with session.get(f"{site.url}/api/v1/calls") as answer:
            assert (await answer.json())["calls"][0]["legs"][0]["name"] == HOSTILE, "kept as it is, and escaped by none"
        path = URL(f"{site.url}/api/v1/queues/main/{queue.replace('/', '%2F').replace(' ', '%20')}", encoded=True)
        async with session.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, "application/json")
        async with session.get(f"{site.url}/api/v1/queues/main/{HOSTILE[:8]}") as answer:
            assert (answer.status, answer.content_type) == (404, "application/problem+json")


@pytest.mark.parametrize("path", ["/%2e%2e/%2e%2e/etc/passwd", "/static/%2e%2e/%2e%2e/app.py", "/static//etc/passwd"])
async def test_no_path_leads_out_of_the_pages(make_site: MakeSite, path: str) -> None:
    site = await make_site(anonymous="")
    async with (
        aiohttp.ClientSession() as session,
        session.get(URL(site.url + path, encoded=True), allow_redirects=False) as answer,
    ):
        assert answer.status in (403, 404)
        assert b"root:" not in await answer.read()
