"""Three people at work, for a recording: hold, transfers, a requeue, one agent in three queues, pauses, other calls.

Agent 1 is in `billing`, `sales` and `support`, agent 2 in `support`, agent 3 in `sales` and has a number of their own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from connector.lab.asterisk import LabAsterisk
from connector.lab.capture import AmiRecorder, arguments, facts_of, take_snapshot, write
from connector.lab.conf import LabConf
from connector.lab.phone import Answer, Call, Phone, RingForever
from connector.lab.useragent import HOST

TALK_PACKETS = 60
"""Of 20 ms: a talk time over one second, for Asterisk tells it in whole seconds."""


def people_conf() -> LabConf:
    """The configuration of the PBX; it needs three phones."""
    common = "joinempty = yes\nretry = 1\ntimeout = 2\nringinuse = no\nservicelevel = 20\nstrategy = linear\n"
    one, two, three = (f"member => PJSIP/agent{n},0,Agent {n}\n" for n in (1, 2, 3))
    last = one.replace(",0,", ",1,")
    queues = f"[billing]\n{common}wrapuptime = 1\nweight = 5\n{one}[sales]\n{common}{three}{last}"
    return LabConf(
        queue_options=f"{common}wrapuptime = 0\n{two}{last}",
        agents=0,
        append={
            "queues.conf": queues,
            "pjsip.conf": "[desk](phone)\naors = desk\n[desk]\ntype = aor\nmax_contacts = 1\n",
        },
        extensions="""[from-phones](+)
exten => billing,1,Queue(billing)
 same => n,Hangup()
exten => again,1,Queue(billing,c)
 same => n,Queue(sales)
 same => n,Hangup()
exten => 103,1,Dial(PJSIP/agent3,10)
 same => n,Hangup()
exten => busy,1,Dial(Local/busy@agents/n)
 same => n,Hangup()
exten => room,1,Answer()
 same => n,ConfBridge(1)
""",
    )


class People:
    """The script. Use as a context; `run` may be called once.

    Args:
        pbx: Started with `people_conf`.
        ami: Records.
    """

    def __init__(self, pbx: LabAsterisk, ami: AmiRecorder) -> None:
        self._pbx, self._ami = pbx, ami
        server = (HOST, pbx.sip_port)
        self._alice = Phone(0, "alice", server)
        self._agents = [Phone(port, f"agent{n}", server) for n, port in enumerate(pbx.ports.phones, start=1)]
        self._desk = Phone(0, "desk", server)
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        for phone in (self._alice, *self._agents, self._desk):
            await self._stack.enter_async_context(phone)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def run(self) -> dict[str, object]:
        """Plays the script and closes the recording.

        Returns:
            What Asterisk says about its queues and channels at the end.
        """
        await take_snapshot(self._ami, "start")
        await self._register(60)
        await self._hold()
        await self._pauses()
        await self._blind_transfer()
        await self._attended_transfer()
        await self._requeue()
        await self._rings_in_vain()
        await self._other_calls()
        async with self._hears("Reload"):
            await self._pbx.cli("module reload app_queue.so")
        await self._register(0)
        return await self._end()

    async def _hold(self) -> None:
        caller, agent = await self._talk("billing", 1)
        async with self._hears("Hold"):
            await agent.hold()
        await caller.rtp.wait_for_packets(2 * TALK_PACKETS)  # music
        async with self._hears("Unhold"):
            await agent.unhold()
        await self._over(caller, agent, by=agent)

    async def _pauses(self) -> None:
        async with self._hears("QueueMemberPause", 3):
            await self._pause("Lunch")
        async with self._hears("QueueMemberPause", 3):
            await self._pbx.cli("queue unpause member PJSIP/agent1")

    async def _blind_transfer(self) -> None:
        caller, agent = await self._talk("billing", 1)
        calls = self._incoming(2)
        await agent.transfer("support")
        second = await self._agents[1].next_call(after=calls)
        await second.wait_answered()
        await agent.hang_up()
        await self._over(caller, second, by=caller)

    async def _attended_transfer(self) -> None:
        caller, agent = await self._talk("billing", 1)
        await agent.hold()
        calls = self._incoming(3)
        consult = await self._agents[0].call("103")
        third = await (await self._agents[2].next_call(after=calls)).wait_answered()
        await consult.wait_answered()
        await third.rtp.wait_for_packets(TALK_PACKETS)
        async with self._hears("AttendedTransfer"):
            await agent.transfer("103", consult)
        await third.rtp.wait_for_packets(2 * TALK_PACKETS)
        await agent.hang_up()
        await consult.hang_up()
        await self._over(caller, third, by=caller)

    async def _requeue(self) -> None:
        caller, agent = await self._talk("again", 1)
        calls = self._incoming(3)
        await agent.hang_up()
        second = await (await self._agents[2].next_call(after=calls)).wait_answered()
        await second.rtp.wait_for_packets(TALK_PACKETS)
        await self._over(caller, second, by=second)

    async def _rings_in_vain(self) -> None:
        self._agents[0].on_invite = RingForever()
        async with self._hears("AgentRingNoAnswer"):
            caller = await self._alice.call("billing")
        await caller.hang_up()
        await self._idle()
        self._agents[0].on_invite = Answer()

    async def _other_calls(self) -> None:
        calls = self._incoming(3)
        inbound = await (await self._alice.call("103")).wait_answered()
        third = await self._agents[2].next_call(after=calls)
        await self._over(inbound, third, by=inbound)
        outbound = await (await self._agents[2].call("echo")).wait_answered()
        await outbound.rtp.wait_for_packets(TALK_PACKETS)
        await outbound.hang_up()
        internal = await (await self._agents[0].call("103")).wait_answered()
        third = await self._agents[2].next_call(after=calls + 1)
        await self._over(internal, third, by=third)
        await (await self._agents[0].call("busy")).wait_ended()
        async with self._hears("ConfbridgeJoin"):
            room = await (await self._alice.call("room")).wait_answered()
        await room.hang_up()
        await self._idle()

    async def _end(self) -> dict[str, object]:
        """Agent 2 talks and holds, agent 1 is paused, a caller waits."""
        _, agent = await self._talk("support", 2)
        async with self._hears("Hold"):
            await agent.hold()
        async with self._hears("QueueMemberPause", 3):
            await self._pause("Training")
        async with self._hears("QueueCallerJoin"):
            await self._alice.call("billing")
        await self._pbx.until("core show channels count", lambda text: "3 active channels" in text)
        await take_snapshot(self._ami, "end")
        facts = await facts_of(self._pbx)
        await self._ami.close()  # before the phones hang up, so that the recording ends at the quiet moment
        return facts

    # -- steps ----------------------------------------------------------------------------------------------------

    async def _pause(self, reason: str) -> None:
        for queue in ("billing", "sales", "support"):
            await self._pbx.cli(f"queue pause member PJSIP/agent1 queue {queue} reason {reason}")

    async def _talk(self, exten: str, agent: int) -> tuple[Call, Call]:
        calls = self._incoming(agent)
        caller = await self._alice.call(exten)
        taken = await (await self._agents[agent - 1].next_call(after=calls)).wait_answered()
        await caller.wait_answered()
        await taken.rtp.wait_for_packets(TALK_PACKETS)
        return caller, taken

    async def _over(self, *calls: Call, by: Call) -> None:
        await by.hang_up()
        for call in calls:
            await call.wait_ended()
        await self._idle()

    async def _idle(self) -> None:
        """No channel is left, and the last word about the members has come."""
        await self._pbx.until("core show channels count", lambda text: "0 active channels" in text)
        await self._pbx.until("queue show", lambda text: "In use" not in text and "Ringing" not in text)
        await self._ami.ask("Ping", ActionID=f"ping-{len(self._ami.data)}")

    @contextlib.asynccontextmanager
    async def _hears(self, event: str, count: int = 1) -> AsyncIterator[None]:
        """Waits after what is done within for so many more events of that name."""
        text = f"Event: {event}\r\n"
        before = self._ami.data.count(text.encode())
        yield
        await self._ami.wait_for(text, count=before + count)

    def _incoming(self, agent: int) -> int:
        return sum(call.incoming for call in self._agents[agent - 1].calls.values())

    async def _register(self, expires_s: int) -> None:
        """The phone `desk` registers; with 0 it leaves."""
        async with self._hears("ContactStatus"):
            await self._desk.register(expires_s)


async def record(rootfs: Path, out: Path, *, first_port: int, last_port: int) -> Path:
    """Runs the script and writes `<major>-people.bin` and `.json`.

    Returns:
        The path of the recording.
    """
    async with LabAsterisk(rootfs, first_port=first_port, last_port=last_port, phones=3, conf=people_conf()) as pbx:
        ami = await AmiRecorder.connect(pbx.ami_port, pbx.ami_user, pbx.ami_secret)
        try:
            async with People(pbx, ami) as people:
                facts = await people.run()
                facts["log"] = pbx.queue_log.read_text().splitlines()
        finally:
            await ami.close()
        return write(out, "people", pbx, ami, facts)


def main() -> None:
    """Runs the script and records it."""
    given = arguments(__doc__)
    print(asyncio.run(record(given.rootfs, given.out, first_port=given.first_port, last_port=given.last_port)))


if __name__ == "__main__":
    main()
