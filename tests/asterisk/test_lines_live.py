"""SIP identities, registrations and trunks beside a real Asterisk: what is listed is what Asterisk itself lists."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from pydantic import SecretStr

from connector.asterisk.ami import Ami
from connector.asterisk.phone_credentials import NoCredentials, read_credentials
from connector.events import LinkState
from connector.lab.asterisk import LabAsterisk
from connector.lab.capture import AmiRecorder
from connector.lab.conf import LabConf
from connector.lab.lines import add_trunks, lines_conf
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.useragent import HOST
from tests.asterisk.conftest import MakeAsterisk, MakeConnector

OWNED = "PJSIP/agent1"

AUDITOR = """
[auditor]
secret = for-the-test-alone
permit = 127.0.0.1/255.255.255.255
read = system
write = system
"""
"""PJSIPShowEndpoints needs class system, which the connector's own login does without."""

PASSWORD = "x9/=+ secret,(of) web"
BROWSERS = f"""
[web](phone)
webrtc = yes
auth = web-auth
aors = desk
[web-auth]
type = auth
auth_type = userpass
username = web-user
password = {PASSWORD}
[hashed](phone)
webrtc = yes
auth = hashed
[hashed]
type = auth
auth_type = md5
username = hashed
realm = asterisk
md5_cred = 0123456789abcdef0123456789abcdef
[bare](phone)
webrtc = yes
"""


class House:
    """One Asterisk with trunks and phones, the connector beside it."""

    def __init__(self, pbx: LabAsterisk, connector: ConnectorProcess, desk: Phone) -> None:
        self.pbx, self.connector, self.desk = pbx, connector, desk

    async def api(self, path: str, method: str = "GET", body: object = None) -> Any:
        async with (
            aiohttp.ClientSession() as http,
            http.request(method, f"{self.connector.url}/api/v1{path}", json=body) as answer,
        ):
            assert answer.status < 300, await answer.text()
            return await answer.json()

    async def give(self, person: str, interface: str) -> None:
        await self.api(
            "/directory/people", "POST", {"id": person, "interfaces": [{"pbx": "main", "interface": interface}]}
        )

    async def until(self, path: str, holds: Callable[[Any], object]) -> Any:
        answer: Any = None
        try:
            async with asyncio.timeout(30):
                while not holds(answer := await self.api(path)):  # noqa: ASYNC110 - asked over HTTP
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{path} never was as wanted; at last: {answer}") from None
        return answer

    async def identities(self, query: str = "") -> set[str]:
        listed = await self.api(f"/directory/identities?pbx=main&{query}")
        assert listed["complete"]
        return {each["interface"] for each in listed["identities"]}

    async def asterisks_own(self) -> dict[str, str]:
        """Endpoint and device state as PJSIPShowEndpoints lists them."""
        ami = await AmiRecorder.connect(self.pbx.ami_port, "auditor", "for-the-test-alone")
        try:
            listed = await ami.ask("PJSIPShowEndpoints", ActionID="all")
        finally:
            await ami.close()
        return {
            f"PJSIP/{each['ObjectName']}": each["DeviceState"] for each in listed if each.get("Event") == "EndpointList"
        }


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def house(make_asterisk: MakeAsterisk, make_connector: MakeConnector) -> AsyncIterator[House]:
    base = lines_conf()
    append = {**base.append, "manager.conf": AUDITOR, "pjsip.conf": base.append["pjsip.conf"] + BROWSERS}
    conf = LabConf(extensions=base.extensions, append=append)
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(make_asterisk(phones=2, conf=conf))
        await add_trunks(pbx)
        await pbx.until("pjsip show registrations", lambda text: "Registered" in text and "Rejected" in text)
        desk = await stack.enter_async_context(Phone(0, "desk", (HOST, pbx.sip_port)))
        connector = await stack.enter_async_context(make_connector(beside=pbx, bots={}))
        house = House(pbx, connector, desk)
        await house.give("anna", OWNED)
        yield house


async def test_free_allocated_and_available_are_asterisks_own_list(house: House) -> None:
    theirs = set(await house.asterisks_own())
    assert {"PJSIP/agent1", "PJSIP/agent2", "PJSIP/desk", "PJSIP/caller", "PJSIP/web"} <= theirs
    await house.until("/directory/identities?pbx=main", lambda listed: listed["complete"])
    assert await house.identities() == theirs
    assert await house.identities("which=allocated") == {OWNED}
    assert await house.identities("which=free") == theirs - {OWNED}
    await house.give("ben", "PJSIP/agent2")
    assert await house.identities("which=allocated") == {OWNED, "PJSIP/agent2"}
    assert await house.identities("which=free") == theirs - {OWNED, "PJSIP/agent2"}
    assert await house.identities("which=available&person=ben") == theirs - {OWNED}
    assert await house.identities("which=available&person=anna") == theirs - {"PJSIP/agent2"}
    # An endpoint that is added while the connector runs comes with the next look at the lists.
    path = house.pbx.folder / "etc" / "pjsip.conf"
    path.write_text(path.read_text("utf-8") + "[late](phone)\n", "utf-8")
    await house.pbx.cli("module reload res_pjsip.so")
    await house.until("/directory/identities?which=free", lambda listed: "PJSIP/late" in str(listed["identities"]))
    assert await house.identities() == set(await house.asterisks_own())


async def test_a_registration_shows_with_its_address_and_phone(house: House) -> None:
    def desks(listed: Any) -> Any:
        return next(each for each in listed["identities"] if each["interface"] == "PJSIP/desk")

    def phone(listed: Any) -> Any:
        uris = desks(listed)["contacts"]
        return next((each for each in uris if each["uri"].startswith("sip:desk@")), None)

    path = "/directory/identities?pbx=main"
    before = desks(await house.api(path))
    assert before["online"], "the trunk of the test registers as desk"
    await house.desk.register(120, user_agent="Desk phone 7")
    listed = await house.until(path, lambda now: (phone(now) or {}).get("address"))
    expected = (f"{HOST}:{house.desk.port}", "Desk phone 7", "nonqualified")
    shown = phone(listed)
    assert (shown["address"], shown["user_agent"], shown["status"]) == expected
    # One that comes later knows it from Asterisk's list.
    await house.connector.stop()
    await house.connector.start()
    listed = await house.until(path, lambda now: (phone(now) or {}).get("address"))
    assert (phone(listed)["address"], phone(listed)["user_agent"]) == expected[:2]
    await house.desk.register(0)
    await house.until(path, lambda now: phone(now) is None)


async def test_trunks_are_known_from_the_start_and_followed(house: House) -> None:
    def statuses(listed: Any) -> dict[str, str]:
        return {each["label"]: each["status"] for each in listed["trunks"]}

    await house.until("/trunks", lambda now: statuses(now) == {"provider": "registered", "wrong": "rejected"})
    good = next(each for each in (await house.api("/trunks"))["trunks"] if each["label"] == "provider")
    assert good["trunk"] == f"PJSIP/desk@{HOST}:{house.pbx.sip_port}"
    assert (good["online"], good["endpoint"]) == (True, "PJSIP/caller")
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(house.connector.url.replace("http", "ws") + "/api/v1/live") as live,
    ):
        await live.send_json({"type": "subscribe"})
        shown: dict[str, Any] = {}

        async def pushed(online: bool) -> None:
            async with asyncio.timeout(20):
                while shown.get("provider", {}).get("online") is not online:
                    message = await live.receive_json()
                    items = message.get("items", message.get("changed", ()))
                    shown.update((each["label"], each) for each in items if each["kind"] == "trunk")

        await pushed(True)
        await house.pbx.cli("pjsip send unregister provider")
        await pushed(False)
    assert shown["provider"]["status"] == "unregistered"
    assert shown["provider"]["trunk"] == good["trunk"]
    await house.until("/trunks", lambda now: statuses(now)["provider"] == "unregistered")


async def test_a_browser_phones_password_is_read_by_the_rights_that_there_are(house: House) -> None:
    pbx = house.pbx
    ami = Ami(
        pbx="main",
        host=HOST,
        port=pbx.ami_port,
        username=pbx.ami_user,
        secret=SecretStr(pbx.ami_secret),
        clock=time.time,
        monotonic=time.monotonic,
        random=Random(1),
    )
    running = asyncio.create_task(ami.run())
    try:
        async with asyncio.timeout(10):
            while ami.state is not LinkState.UP:  # noqa: ASYNC110 - its items are nobody's here
                await asyncio.sleep(0.01)
        found = await read_credentials(ami, "PJSIP/web")
        assert (found.user, found.username, found.password) == ("desk", "web-user", PASSWORD)
        for interface, words in (
            ("PJSIP/desk", "no browser phone"),
            ("PJSIP/nobody", "no browser phone"),
            ("PJSIP/hashed", "tells no username and password"),
            ("PJSIP/bare", "has no auth"),
            ("PJSIP/web,auth)${SHELL(id)}", "no endpoint of PJSIP"),
            ("Local/web@agents", "no endpoint of PJSIP"),
        ):
            with pytest.raises(NoCredentials, match=words):
                await read_credentials(ami, interface)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert PASSWORD not in (pbx.folder / "log" / "messages").read_text("utf-8", "replace")


async def test_an_asterisk_that_is_shut_down_says_so(house: House) -> None:
    await house.pbx.shut_down()
    state = await house.connector.until(lambda pbx: pbx["links"]["ami"]["state"] != "up")
    assert state["links"]["ami"]["detail"].startswith("Asterisk said that it stops"), state["links"]
    await house.pbx.start()
    await house.connector.until(lambda pbx: pbx["links"]["ami"]["state"] == "up", timeout_s=30)
