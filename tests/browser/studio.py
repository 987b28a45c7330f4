"""A floor on which everybody sounds different, with a bot, a recorder, and names that try to be markup."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Page

from connector.lab.call import Answer, Call
from connector.lab.conf import LabConf
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST
from tests.asterisk.conftest import _make, rootfs_of
from tests.browser.test_page_live import Floor, add_users

CALLER_HZ, AGENT_HZ, BOT_HZ = 1000, 600, 800
HOSTILE_CALLER = '<img src=x onerror="document.title=1">'
HOSTILE_QUEUE = "<img src=x onerror=document.title=2>"
HOSTILE_AGENT = "<img src=x onerror=document.title=3>"
CONF = LabConf(
    queue_options="timeout = 30\nretry = 1\nwrapuptime = 0",
    agents=1,
    extensions=f"[from-phones](+)\nexten => hostile,1,Queue({HOSTILE_QUEUE})\n same => n,Hangup()\n",
    append={"queues.conf": f"[{HOSTILE_QUEUE}]\njoinempty = yes\nmember => PJSIP/agent2,0,{HOSTILE_AGENT}\n"},
)


@dataclass
class Studio(Floor):
    """The floor, its bot, and the folder of its recordings."""

    bot: RecordingBot
    recordings: Path

    async def talking(self) -> tuple[Call, Call]:
        """A caller and the agent, connected."""
        self.agent.on_invite, before = Answer(), sum(call.incoming for call in self.agent.calls.values())
        call = await self.caller.call("support")
        at_agent = await self.agent.next_call(after=before)
        await at_agent.wait_answered()
        return call, at_agent


async def open_agent(page: Page) -> None:
    """The dialog of Agent 1."""
    await page.get_by_role("link", name="Agents").click()
    await page.get_by_role("button", name="Actions for Agent 1").click()


@contextlib.asynccontextmanager
async def in_studio(folder: Path) -> AsyncIterator[Studio]:
    """Opens it; `folder` is for what the connector leaves."""
    async with contextlib.AsyncExitStack() as stack:
        pbx = await stack.enter_async_context(_make(rootfs_of("22"))(phones=2, conf=CONF))
        bot = await stack.enter_async_context(RecordingBot())
        server = (HOST, pbx.sip_port)
        tones = (tone_source(AGENT_HZ), tone_source(CALLER_HZ))
        agent = await stack.enter_async_context(Phone(pbx.ports.phones[0], "agent1", server, source=tones[0]))
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tones[1]))
        http, rtp, *_ = pbx.ports.spare
        recordings = folder / "recordings"
        connector = ConnectorProcess(
            pbxs={"main": pbx},
            bots={"talk": bot.url},
            http_port=http,
            rtp_port=rtp,
            settings={"http": {"anonymous": "", "health": "open"}, "recording": {"directory": str(recordings)}},
            log_file=folder / "log",
        )
        await add_users(Path(connector.settings["store"]["directory"]))
        await connector.start(timeout_s=60)
        stack.push_async_callback(connector.stop)
        yield Studio(pbx, connector, agent, caller, bot, recordings)
