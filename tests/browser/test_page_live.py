"""The page in a real browser, on a connector beside a real Asterisk with real calls."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Page, expect

from connector.access import passwords
from connector.access.accounts import Account
from connector.access.rights import Role
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Phone, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from connector.store.accounts import KeptAccounts
from connector.store.database import Database
from tests.asterisk.conftest import WANTED, _make, rootfs_of

PASSWORD = "correct horse battery"
HOSTILE = '<img src=x onerror="document.title=1">'
CONF = LabConf(
    queue_options="timeout = 30\nretry = 1\nwrapuptime = 0",
    agents=1,
    extensions="[from-phones](+)\nexten => sales,1,Queue(sales)\n same => n,Hangup()\n",
    append={"queues.conf": "[sales]\njoinempty = yes\nmember => PJSIP/agent2,0,Agent 2\n"},
)


@dataclass
class Floor:
    """Two agents, one a queue, callers, and the connector with two supervisors' accounts."""

    pbx: LabAsterisk
    connector: ConnectorProcess
    agent: Phone
    caller: Phone
    bot: RecordingBot

    async def log_in(self, page: Page, name: str) -> None:
        await page.goto(self.connector.url)
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("Password").fill(PASSWORD)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_text("● live")).to_be_visible()


async def add_users(directory: Path) -> None:
    """Accounts, in the database that the connector is going to open."""
    directory.mkdir(exist_ok=True)
    database = Database(f"sqlite:///{directory / 'history.sqlite'}")
    await database.migrate()
    kept, hashed = KeptAccounts(database), passwords.hashed(PASSWORD, name="anybody")
    for name, role, queues in (
        ("root", Role.ADMIN, ()),
        ("anna", Role.SUPERVISOR, ("support",)),
        ("berta", Role.SUPERVISOR, ("sales",)),
    ):
        await kept.add(Account(name=name, role=role, queues=queues, password_hash=hashed))
    await database.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session", params=WANTED)
async def floor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Floor]:
    """On one version of Asterisk after the other."""
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(_make(rootfs_of(request.param))(phones=2, conf=CONF))
        bot = await stack.enter_async_context(RecordingBot())
        server = (HOST, pbx.sip_port)
        agent = await stack.enter_async_context(Phone(pbx.ports.phones[0], "agent1", server))
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(1000)))
        http, rtp, *_ = pbx.ports.spare
        connector = ConnectorProcess(
            pbxs={"main": pbx},
            bots={"talk": bot.url},
            http_port=http,
            rtp_port=rtp,
            settings={"http": {"anonymous": "", "health": "open"}},
            log_file=tmp_path_factory.mktemp("connector") / "log",
        )
        await add_users(Path(connector.settings["store"]["directory"]))
        await connector.start(timeout_s=60)
        stack.push_async_callback(connector.stop)
        yield Floor(pbx, connector, agent, caller, bot)


async def test_a_call_arrives_rings_is_answered_and_one_is_given_up(floor: Floor, page: Page) -> None:
    """As a supervisor sees it; the caller's name tries to be markup."""
    floor.agent.on_invite = RingForever()
    floor.caller.display_name = HOSTILE
    await floor.log_in(page, "anna")
    tile = page.locator("a.tile", has_text="support")
    await expect(tile.locator(".large dd").first).to_have_text("0")
    await tile.click()
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()

    call = await floor.caller.call("support")
    waiting = page.locator("table.waiting tbody tr")
    await expect(waiting).to_have_count(1)
    await expect(waiting.locator("td").first).to_have_text("1")
    await expect(waiting.locator("th")).to_contain_text("<img src=x onerror=")
    agent = page.locator("table.agents tbody tr", has_text="Agent 1")
    await expect(agent).to_contain_text("Ringing")
    await call.hang_up()
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()
    await expect(page.locator("dl.figures > div", has=page.get_by_text("Abandoned", exact=True))).to_contain_text("1")

    floor.agent.on_invite = Answer()
    call = await (await floor.caller.call("support")).wait_answered()
    await expect(agent).to_contain_text("On a call")
    await expect(agent.locator("td").nth(2)).to_contain_text("alice")
    await expect(page.locator("dl.figures > div", has=page.get_by_text("Answered", exact=True))).to_contain_text("1")
    await call.hang_up()
    await expect(agent).to_contain_text("Available")
    assert await page.title() == "Wallboard"


async def test_a_supervisor_of_one_queue_sees_nothing_of_the_other(floor: Floor, page: Page) -> None:
    sent: list[str] = []
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: sent.append(str(frame))))
    floor.agent.on_invite = RingForever()
    await floor.log_in(page, "berta")
    call = await floor.caller.call("support")
    own = await floor.caller.call("sales")
    await expect(page.locator("a.tile .large dd").first).to_have_text(re.compile("1$"))
    await expect(page.locator("a.tile")).to_have_count(1)
    await page.get_by_role("link", name="Agents").click()
    await expect(page.locator("table.agents tbody tr")).to_have_count(1)
    await expect(page.locator("table.agents")).to_contain_text("Agent 2")
    assert any("sales" in each for each in sent)
    assert not any("support" in each or "agent1" in each for each in sent)
    await asyncio.gather(call.hang_up(), own.hang_up())


async def test_a_pause_on_the_page_is_one_in_asterisk(floor: Floor, page: Page) -> None:
    await floor.log_in(page, "anna")
    await page.get_by_role("link", name="Agents").click()
    await page.get_by_role("button", name="Actions for Agent 1").click()
    await page.get_by_label("Reason of the pause").fill("coaching")
    await page.get_by_role("button", name="Pause", exact=True).click()
    await expect(page.get_by_text("✓ Done: paused in support")).to_be_visible()
    await floor.pbx.until("queue show support", lambda text: "paused:coaching" in text.replace(" ", ""))
    await expect(page.locator("table.agents tbody tr", has_text="Agent 1")).to_contain_text("Paused")
    await page.get_by_role("button", name="End the pause").click()
    await expect(page.get_by_text("✓ Done: unpaused in support")).to_be_visible()
    await floor.pbx.until("queue show support", lambda text: "paused" not in text)


async def test_a_connector_that_is_away_greys_the_page_and_nothing_is_lost(floor: Floor, page: Page) -> None:
    floor.agent.on_invite = RingForever()
    floor.caller.display_name = "Stayer"
    await floor.log_in(page, "anna")
    await page.locator("a.tile", has_text="support").click()
    first = await floor.caller.call("support")
    await expect(page.locator("table.waiting tbody tr")).to_have_count(1)
    await floor.connector.kill()
    await expect(page.locator(".stale")).to_have_count(1)
    await expect(page.get_by_text("No connection to the connector since")).to_be_visible()
    time = page.locator("table.waiting .time")
    stood = await time.inner_text()
    second = await floor.caller.call("support")
    await page.wait_for_timeout(2500)
    assert await time.inner_text() == stood, "a clock that is not true must not go on"
    await floor.connector.start(timeout_s=60)
    await expect(page.get_by_text("● live")).to_be_visible()
    await expect(page.locator(".stale")).to_have_count(0)
    await expect(page.locator("table.waiting tbody tr")).to_have_count(2)
    await asyncio.gather(first.hang_up(), second.hang_up())
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()


async def test_an_agent_is_put_into_a_queue_weighed_and_taken_out(floor: Floor, page: Page) -> None:
    """What the page says is what Asterisk has; what hurts is asked for once more."""
    await floor.log_in(page, "root")
    await page.get_by_role("link", name="Agents").click()
    await page.get_by_role("button", name="Actions for Agent 1").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("Add to queue").select_option("sales")
    await dialog.locator("p", has=page.get_by_label("Add to queue")).get_by_label("Penalty").fill("3")
    await dialog.get_by_role("button", name="Add", exact=True).click()
    await expect(dialog.get_by_text("✓ Done:")).to_be_visible()
    await floor.pbx.until("queue show sales", lambda text: "PJSIP/agent1" in text and "penalty 3" in text)
    place = dialog.locator("li", has_text="sales")
    await place.get_by_label("Penalty").fill("5")
    await place.get_by_role("button", name="Set").click()
    await floor.pbx.until("queue show sales", lambda text: "penalty 5" in text)
    await place.get_by_role("button", name="Remove").click()
    await expect(page.get_by_role("alertdialog")).to_contain_text("no more calls from sales")
    assert "PJSIP/agent1" in await floor.pbx.cli("queue show sales"), "not before it was confirmed"
    await page.get_by_role("button", name="Yes, do it").click()
    await floor.pbx.until("queue show sales", lambda text: "PJSIP/agent1" not in text)
    await expect(dialog.locator("li", has_text="sales")).to_have_count(0)


async def test_a_waiting_caller_goes_to_another_queue_and_is_withdrawn(floor: Floor, page: Page) -> None:
    floor.agent.on_invite = RingForever()
    floor.caller.display_name = "Wanderer"
    await floor.log_in(page, "root")
    call = await floor.caller.call("support")
    await page.locator("a.tile", has_text="support").click()
    await page.get_by_role("button", name="Actions for Wanderer").click()
    await page.get_by_label("To queue").select_option("sales")
    await page.get_by_role("button", name="Transfer").click()
    await page.get_by_role("button", name="Yes, do it").click()
    await expect(page.get_by_text("✓ Done:")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()
    await page.get_by_role("link", name="← All queues").click()
    await page.locator("a.tile", has_text="sales").click()
    await page.get_by_role("button", name="Actions for Wanderer").click()
    await page.get_by_label("Priority").fill("7")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(page.locator("table.waiting tbody td").nth(2)).to_have_text("7")
    await page.get_by_role("button", name="Withdraw").click()
    await page.get_by_role("button", name="Yes, do it").click()
    # While the queue rings somebody it looks for the withdrawal only afterwards; the page says which of both it is.
    await expect(page.get_by_text(re.compile("✓ (Done|Sent)"))).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_text("Nobody waits.")).to_be_visible()
    await call.hang_up()


async def test_a_bots_stream_is_heard_on_its_meters_and_gone_with_the_call(floor: Floor, page: Page) -> None:
    """Levels of both sides and the quality, as they are; a supervisor whose queue it is not sees none of it."""
    floor.caller.display_name = "Talker"
    await floor.log_in(page, "root")
    await page.get_by_role("link", name="Calls").click()
    await expect(page.get_by_text("No call is streamed.")).to_be_visible()
    had = len(floor.bot.streams)
    call = await floor.caller.call("bot_talk")
    stream = await floor.bot.next_stream(after=had)
    row = page.locator("table.streams tbody tr")
    await expect(row).to_contain_text("Talker")
    await expect(row).to_contain_text("talk")
    await expect(row).to_contain_text("live")
    meters = row.locator("meter")
    await expect(meters.nth(0)).not_to_have_class("silent")  # the phone sends a tone
    await expect(meters.nth(1)).to_have_class("silent")
    await stream.play(800, 20.0)
    await expect(meters.nth(1)).not_to_have_class("silent")
    await expect(row.locator("td").nth(5)).to_contain_text(re.compile(r"4\.\d"))
    berta = await page.context.browser.new_page()  # type: ignore[union-attr]
    await floor.log_in(berta, "berta")
    await berta.get_by_role("link", name="Calls").click()
    await expect(berta.get_by_text("No call is streamed.")).to_be_visible()
    await berta.close()
    await call.hang_up()
    await expect(page.get_by_text("No call is streamed.")).to_be_visible()
