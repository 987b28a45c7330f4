"""A scripted shift: hundreds of queue calls in under a minute, with every way out of a queue among them.

Most callers and agents are dialplan behind Local channels, which costs little; where the signalling matters they are
SIP phones. All scenarios run at the same time, each in queues of its own, so that one cannot starve another. Bounded
in count and time, and paced by a seeded random number generator.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from random import Random
from typing import Any

from connector.lab.asterisk import LabAsterisk, LabError
from connector.lab.call import Answer, Call, CallFailed, RingForever
from connector.lab.capture import AmiRecorder
from connector.lab.phone import Phone
from connector.lab.shift_conf import (
    AMI_USER,
    ANSWERED,
    ANSWERED_AGENTS,
    DYNAMIC,
    EMPTIED_MEMBER,
    FULL_AT,
    LEFT_MEMBER,
    MANY,
    answered_agent,
    doomed_section,
)
from connector.lab.useragent import HOST

LEFT_WAITING = 3
"""Callers who still wait in `left` when the shift is over."""
PATIENT_S = 60.0
RELOADS = 5

_WAITING = re.compile(r"^ +\d+\. (\S+) \(wait", re.MULTILINE)

REASONS = ("Lunch", "Café ☕", "a/b: 1, 2", "")


class Shift:
    """One shift on a PBX made with `shift_conf`.

    Args:
        pbx: Started; needs two phones.
        secret: As given to `shift_conf`.
        random: Decides the pace and who is patient.
        scale: Multiplies the number of calls; 1.0 are about 360.
        pace: Multiplies the time between them; with 1.0 the shift takes about half a minute.

    Attributes:
        originated: Calls that were asked for.
    """

    def __init__(self, pbx: LabAsterisk, secret: str, random: Random, *, scale: float = 1.0, pace: float = 1.0) -> None:
        self.originated = 0
        self._pbx = pbx
        self._secret = secret
        self._random = random
        self._scale = scale
        self._pace = pace
        self._ami: AmiRecorder | None = None
        self._actions = 0

    @property
    def _driver(self) -> AmiRecorder:
        assert self._ami is not None
        return self._ami

    async def run(self) -> None:
        """Runs it and returns when only `LEFT_WAITING` callers are left.

        Raises:
            LabError: The PBX did not get where the script wanted it.
        """
        self._ami = await AmiRecorder.connect(self._pbx.ami_port, AMI_USER, self._secret)
        try:
            await self._act("QueuePause", Queue="left", Interface=LEFT_MEMBER, Paused="true", Reason="Gone home")
            async with asyncio.TaskGroup() as tasks:
                for scenario in self._scenarios():
                    tasks.create_task(scenario)
            await self._until_channels(0)
            for _ in range(LEFT_WAITING):
                self._call("left", patience_s=10 * PATIENT_S)
            await self._waiting("left", LEFT_WAITING)
        finally:
            await self._ami.close()

    def _scenarios(self) -> list[Coroutine[Any, Any, None]]:
        return [
            self._stream("answered", 100, every_s=0.2),
            self._stream("caller-ends", 35, every_s=0.5, then="05"),
            self._stream("nobody", 40, every_s=0.4, patience_s=(0.2, 2.5)),
            self._stream("short", 30, every_s=0.5),
            self._stream("keyed", 25, every_s=0.6, then="key"),
            self._stream("refusing", 15, every_s=1.0),
            self._stream("vain", 6, every_s=3.0),
            self._stream("requeued", 10, every_s=1.5),
            self._stream("overflow", 10, every_s=1.5),
            *(self._stream(name, 2, every_s=8.0) for name in MANY),
            self._emptied(),
            self._withdrawn(),
            self._redirected(),
            self._full(),
            self._sip_agent(),
            self._vanishing_agent(),
            self._pauses(),
            self._dynamic_member(),
            self._reloads(),
        ]

    # -- callers --------------------------------------------------------------------------------------------------

    async def _stream(
        self, entry: str, count: int, *, every_s: float, then: str = "99", patience_s: tuple[float, float] | None = None
    ) -> None:
        for _ in range(self._scaled(count)):
            await asyncio.sleep(every_s * self._pace * self._random.uniform(0.2, 1.8))
            self._call(entry, then=then, patience_s=self._random.uniform(*patience_s) if patience_s else PATIENT_S)

    async def _emptied(self) -> None:
        """All callers are sent away at once when the last member goes to lunch."""
        count = self._crowd("emptied", 15)
        await self._waiting("emptied", count)
        await self._act("QueuePause", Queue="emptied", Interface=EMPTIED_MEMBER, Paused="true", Reason="Lunch")
        await self._waiting("emptied", 0)

    async def _withdrawn(self) -> None:
        count = self._crowd("withdrawn", 12)
        for channel in await self._waiting("withdrawn", count):
            await self._act("QueueWithdrawCaller", Queue="withdrawn", Caller=channel)
        await self._waiting("withdrawn", 0)

    async def _redirected(self) -> None:
        count = self._crowd("redirected", 12)
        for channel in await self._waiting("redirected", count):
            await self._act("Redirect", Channel=channel, Context="shift", Exten="moved", Priority="1")
        await self._waiting("redirected", 0)

    async def _full(self) -> None:
        for _ in range(FULL_AT):
            self._call("full", patience_s=12.0)
        await self._waiting("full", FULL_AT)
        # Whoever still finds room, because the first have left by now, must not wait for ever either.
        await self._stream("full", 10, every_s=0.5, patience_s=(4.0, 8.0))
        await self._waiting("full", 0)

    def _crowd(self, entry: str, count: int) -> int:
        """So many callers at once; returns how many."""
        for _ in range(self._scaled(count)):
            self._call(entry)
        return self._scaled(count)

    def _call(self, entry: str, *, then: str = "99", patience_s: float = PATIENT_S) -> None:
        """One caller: enters at an extension of `[shift]`, and once answered does what `[shift-callers]` says."""
        self.originated += 1
        self._driver.send(
            "Originate",
            Channel=f"Local/{entry}@shift/n",
            Context="shift-callers",
            Exten=then,
            Priority="1",
            Timeout=str(int(patience_s * 1000)),
            CallerID=f'"Kundin Nº {self.originated}" <{30000 + self.originated}>',
            Async="true",
        )

    # -- agents ---------------------------------------------------------------------------------------------------

    async def _pauses(self) -> None:
        for _ in range(self._scaled(12)):
            agent = answered_agent(self._random.randrange(ANSWERED_AGENTS))
            await self._act("QueuePause", Interface=agent, Paused="true", Reason=self._random.choice(REASONS))
            await asyncio.sleep(self._pace * self._random.uniform(0.3, 1.5))
            await self._act("QueuePause", Interface=agent, Paused="false")

    async def _dynamic_member(self) -> None:
        for _ in range(self._scaled(4)):
            await self._act("QueueAdd", Queue=ANSWERED, Interface=DYNAMIC, Penalty="1", MemberName="Aushilfe, 2. Stock")
            await asyncio.sleep(self._pace * self._random.uniform(1.0, 2.0))
            await self._act("QueuePenalty", Queue=ANSWERED, Interface=DYNAMIC, Penalty="0")
            await asyncio.sleep(self._pace * self._random.uniform(1.0, 2.0))
            await self._act("QueueRemove", Queue=ANSWERED, Interface=DYNAMIC)
            await asyncio.sleep(self._random.uniform(0.1, 1.0))

    async def _sip_agent(self) -> None:
        """A person with a phone: holds, transfers, lets it ring, hangs up."""
        server = (HOST, self._pbx.sip_port)
        async with Phone(self._pbx.ports.phones[0], "agent1", server) as agent, Phone(0, "4711", server) as caller:
            served = 0

            async def next_talk() -> tuple[Call, Call]:
                nonlocal served
                self.originated += 1
                outside = await caller.call("to-sip")
                inside = await (await agent.next_call(after=served, timeout_s=30.0)).wait_answered()
                served += 1
                await outside.wait_answered()
                return outside, inside

            outside, inside = await next_talk()
            await inside.hold()
            await asyncio.sleep(1.0)
            await inside.unhold()
            await inside.hang_up()
            await outside.wait_ended()

            outside, inside = await next_talk()
            await outside.hang_up()
            await inside.wait_ended()

            outside, inside = await next_talk()
            await inside.transfer("to-second")
            await inside.hang_up()
            await outside.wait_ended(timeout_s=30.0)

            outside, inside = await next_talk()
            consulted = await (await agent.call("consult")).wait_answered()
            await inside.transfer("consult", consulted)
            await outside.wait_ended(timeout_s=30.0)
            await asyncio.gather(inside.hang_up(), consulted.hang_up())

            agent.on_invite = RingForever()
            self.originated += 1
            outside = await caller.call("to-sip")
            await agent.next_call(after=served, timeout_s=30.0)
            await (await agent.next_call(after=served + 1, timeout_s=30.0)).wait_status(180)
            agent.on_invite = Answer()
            await outside.wait_answered(timeout_s=30.0)
            await outside.hang_up()

    async def _vanishing_agent(self) -> None:
        """A phone that loses its network in the middle of a call, and the caller who comes after."""
        server = (HOST, self._pbx.sip_port)
        agent = Phone(self._pbx.ports.phones[1], "agent2", server)
        await agent.start()
        async with Phone(0, "4712", server) as caller:
            self.originated += 2
            outside = await caller.call("to-sip-vanishing")
            await outside.wait_answered(timeout_s=30.0)
            await agent.close()
            await outside.hang_up()
            outside = await caller.call("to-sip-vanishing")
            try:
                await outside.wait_answered(timeout_s=4.0)
            except CallFailed:
                await outside.hang_up()
        await agent.stop()

    # -- the administrator ----------------------------------------------------------------------------------------

    async def _reloads(self) -> None:
        """Reloads under load; one of them takes away a queue in which callers wait."""
        waiting = self._crowd("doomed", 5)
        await self._waiting("doomed", waiting)
        path = self._pbx.folder / "etc" / "queues.conf"
        for number in range(RELOADS):
            await asyncio.sleep(2.0 * self._pace)
            if number == RELOADS // 2:
                path.write_text(path.read_text("utf-8").replace(doomed_section(), ""), "utf-8")
            await self._pbx.cli("queue reload all")
        for channel in await self._channels("Local/doomed@"):
            await self._act("Hangup", Channel=channel)

    # -- small things ---------------------------------------------------------------------------------------------

    async def _act(self, action: str, **fields: str) -> None:
        """An action that must succeed."""
        self._actions += 1
        answer = await self._driver.ask(action, ActionID=f"shift-{self._actions}", **fields)
        if answer[0].get("Response") != "Success":
            raise LabError(f"{action} {fields} was refused: {answer[0].get('Message')}")

    async def _waiting(self, queue: str, count: int) -> list[str]:
        """Waits until so many callers wait in a queue; returns their channels, first in line first."""
        text = await self._pbx.until(
            f"queue show {queue}", lambda text: len(_WAITING.findall(text)) == count, timeout_s=40.0
        )
        return _WAITING.findall(text)

    async def _channels(self, prefix: str) -> list[str]:
        lines = (await self._pbx.cli("core show channels concise")).splitlines()
        return [name for line in lines if (name := line.split("!")[0]).startswith(prefix) and name.endswith(";2")]

    async def _until_channels(self, count: int) -> None:
        await self._pbx.until(
            "core show channels count", lambda text: text.startswith(f"{count} active channel"), timeout_s=60.0
        )

    def _scaled(self, count: int) -> int:
        return max(1, round(count * self._scale))
