"""Records what the monitor login receives during a scripted shift: `python -m connector.lab.capture ROOTFS OUT`.

The recording is what `asterisk-conf/`'s AMI user reads from the socket, byte for byte after the login, and so can be
replayed through the translator and the fold. Beside it, what Asterisk itself said at the same moment.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
from pathlib import Path
from typing import Self

from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import LabConf
from connector.lab.facts import parse_queue_show, queue_log_counts
from connector.lab.phone import Call, Phone, Reject, RingForever
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST

MAX_RECORDING_BYTES = 16 << 20


class AmiRecorder:
    """A raw AMI connection that keeps every byte after the login."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wraps an open connection; use `connect`."""
        self.data = bytearray()
        self._reader, self._writer = reader, writer
        self._more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, port: int, user: str, secret: str) -> Self:
        """Logs in.

        Raises:
            ConnectionError: AMI refused the login.
        """
        reader, writer = await asyncio.open_connection(HOST, port)
        await reader.readline()  # banner
        recorder = cls(reader, writer)
        recorder.send("Login", Username=user, Secret=secret)
        answer = await reader.readuntil(b"\r\n\r\n")
        if b"Response: Success" not in answer:
            writer.close()
            raise ConnectionError(f"AMI refused {user}: {answer.decode('utf-8', 'replace').strip()}")
        recorder._task = asyncio.create_task(recorder._read(), name="lab-ami")
        return recorder

    def send(self, action: str, **fields: str) -> None:
        """Sends an action."""
        lines = [f"Action: {action}", *(f"{name}: {value}" for name, value in fields.items())]
        self._writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())

    async def ask(self, action: str, **fields: str) -> list[dict[str, str]]:
        """Sends an action and waits for its answer, up to the end of its list where it gives one.

        Returns:
            Its response and the events of its list, as fields by name.

        Raises:
            TimeoutError: No answer came.
        """
        action_id = fields["ActionID"]
        self.send(action, **fields)
        await self.wait_for(f"\r\nActionID: {action_id}\r\n")
        found = [message for message in self.messages() if message.get("ActionID") == action_id]
        if found[0].get("EventList", "").lower() == "start":
            await self.wait_for(f"ActionID: {action_id}\r\nEventList: Complete")
            await self._settled()
            found = [message for message in self.messages() if message.get("ActionID") == action_id]
        return found

    async def wait_for(self, text: str, *, count: int = 1, timeout_s: float = 10.0) -> None:
        """Waits until the text was received so many times, its message whole.

        Raises:
            TimeoutError: It was not.
        """
        async with asyncio.timeout(timeout_s):
            while self.data.count(text.encode()) < count or not self.data.endswith(b"\r\n\r\n"):
                self._more.clear()
                await self._more.wait()

    def messages(self) -> list[dict[str, str]]:
        """What was received, in order; of repeated fields the last."""
        text = self.data.decode("utf-8", "replace")
        return [
            dict(line.split(": ", 1) for line in message.split("\r\n") if ": " in line)
            for message in text.split("\r\n\r\n")
            if message
        ]

    async def close(self) -> None:
        """Ends the connection; what was received stays."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._writer.close()
        with contextlib.suppress(OSError):
            await self._writer.wait_closed()

    async def _settled(self) -> None:
        while not self.data.endswith(b"\r\n\r\n"):
            self._more.clear()
            await self._more.wait()

    async def _read(self) -> None:
        while len(self.data) < MAX_RECORDING_BYTES and (chunk := await self._reader.read(65536)):
            self.data += chunk
            self._more.set()


async def shift(pbx: LabAsterisk, ami: AmiRecorder) -> dict[str, object]:
    """One scripted shift in the queue `support`; at its end a caller waits and both agents are paused.

    Needs two phones, and a ring timeout of 1 s in the queue.

    Returns:
        What Asterisk says about its queues and channels at the end.
    """
    server = (HOST, pbx.sip_port)
    async with contextlib.AsyncExitStack() as stack:
        caller = await stack.enter_async_context(Phone(0, "alice", server, source=tone_source(1000)))
        agents = [
            await stack.enter_async_context(Phone(port, f"agent{n}", server, source=tone_source(600)))
            for n, port in enumerate(pbx.ports.phones, start=1)
        ]
        await take_snapshot(ami, "start")
        await _answered(caller, agents, by_agent=False)
        await _answered(caller, agents, by_agent=True)
        await ami.wait_for("Event: AgentComplete\r\n", count=2)

        for agent in agents:
            agent.on_invite = RingForever()
        timed_out = await caller.call("support-timeout")
        await timed_out.wait_ended(timeout_s=15)
        await ami.wait_for("Value: TIMEOUT\r\n")

        abandons = await caller.call("support")
        await ami.wait_for("Event: QueueCallerJoin\r\n", count=4)
        await take_snapshot(ami, "waiting")
        await abandons.hang_up()
        await ami.wait_for("Event: QueueCallerAbandon\r\n", count=2)

        for agent in agents:
            agent.on_invite = Reject(486)
        busy = await caller.call("support-timeout")
        await busy.wait_ended(timeout_s=15)
        await ami.wait_for("Value: TIMEOUT\r\n", count=2)

        await pbx.cli("queue pause member PJSIP/agent1 queue support reason Lunch")
        await ami.wait_for("Event: QueueMemberPause\r\n")
        await pbx.cli("queue unpause member PJSIP/agent1 queue support")
        await ami.wait_for("Event: QueueMemberPause\r\n", count=2)

        await pbx.cli('queue add member Local/answer@agents/n to support penalty 1 as "Temp, Ä"')
        await ami.wait_for("Event: QueueMemberAdded\r\n")
        await pbx.cli("queue set penalty 2 on Local/answer@agents/n in support")
        await ami.wait_for("Event: QueueMemberPenalty\r\n")
        taken = await (await caller.call("support")).wait_answered()  # agents 1 and 2 are busy
        await ami.wait_for("Event: AgentConnect\r\n", count=3)
        await take_snapshot(ami, "talking")
        await taken.hang_up()
        await ami.wait_for("Event: AgentComplete\r\n", count=3)
        await pbx.cli("queue remove member Local/answer@agents/n from support")
        await ami.wait_for("Event: QueueMemberRemoved\r\n")

        await (await caller.call("support-empty")).wait_ended()
        await ami.wait_for("Value: JOINEMPTY\r\n")
        by_key = await (await caller.call("support-keyed")).wait_answered()
        await ami.wait_for("Queue: keyed\r\n")
        await by_key.send_digits("1")
        await by_key.wait_ended()

        await pbx.cli("queue pause member PJSIP/agent2 queue support reason Training")
        await ami.wait_for("Event: QueueMemberPause\r\n", count=3)
        await pbx.cli("queue pause member PJSIP/agent1 queue support")
        await ami.wait_for("Event: QueueMemberPause\r\n", count=4)
        joins = ami.data.count(b"Event: QueueCallerJoin\r\n")
        await caller.call("support")
        await ami.wait_for("Event: QueueCallerJoin\r\n", count=joins + 1)
        await _quiet(pbx)
        await take_snapshot(ami, "end")
        facts = await facts_of(pbx)
        await ami.close()  # before the phones hang up, so that the recording ends at the quiet moment
        return facts


async def facts_of(pbx: LabAsterisk) -> dict[str, object]:
    """What Asterisk itself says of its queues and channels."""
    return {
        "asterisk": pbx.version,
        "queues": parse_queue_show(await pbx.cli("queue show")),
        "queue_log": queue_log_counts(pbx.queue_log.read_text()),
        "channels": [line.split("!")[0] for line in (await pbx.cli("core show channels concise")).splitlines()],
    }


async def take_snapshot(ami: AmiRecorder, name: str) -> None:
    """Asks for both lists, so that they stand in the recording."""
    await ami.ask("QueueStatus", ActionID=f"queues-{name}")
    await ami.ask("CoreShowChannels", ActionID=f"channels-{name}")


async def _answered(caller: Phone, agents: list[Phone], *, by_agent: bool) -> None:
    call = await caller.call("support")
    incoming = await _first(agents)
    await call.wait_answered()
    await incoming.rtp.wait_for_packets(60)  # a talk time over one second
    await (incoming if by_agent else call).hang_up()
    await call.wait_ended()
    await incoming.wait_ended()


async def _first(agents: list[Phone]) -> Call:
    """The call that one of the phones answers next."""
    seen = [sum(call.incoming for call in agent.calls.values()) for agent in agents]
    waits = [asyncio.create_task(agent.next_call(after=n)) for agent, n in zip(agents, seen, strict=True)]
    done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    return await done.pop().result().wait_answered()


async def _quiet(pbx: LabAsterisk) -> None:
    """Waits until only the waiting caller is left."""
    await pbx.until("core show channels count", lambda text: "1 active channel" in text)


async def record(rootfs: Path | None, out: Path, *, first_port: int, last_port: int) -> Path:
    """Runs the shift and writes `<major>-shift.bin` and `.json`.

    Returns:
        The path of the recording.
    """
    conf = LabConf(queue_options="timeout = 1\nretry = 1\nwrapuptime = 0")
    async with LabAsterisk(rootfs, first_port=first_port, last_port=last_port, phones=2, conf=conf) as pbx:
        ami = await AmiRecorder.connect(pbx.ami_port, pbx.ami_user, pbx.ami_secret)
        try:
            facts = await shift(pbx, ami)
        finally:
            await ami.close()
        return write(out, "shift", pbx, ami, facts)


def write(out: Path, name: str, pbx: LabAsterisk, ami: AmiRecorder, facts: dict[str, object]) -> Path:
    """Writes a recording and what belongs to it.

    Raises:
        RuntimeError: A secret is in it.
    """
    for secret in (pbx.ami_secret, pbx.ari_password):
        if secret.encode() in ami.data:
            raise RuntimeError("the recording holds a secret; it is not written")
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{pbx.version.split('.')[0]}-{name}.bin"
    path.write_bytes(ami.data)
    path.with_suffix(".json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return path


def arguments(description: str | None) -> argparse.Namespace:
    """Command line of a recording."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("rootfs", type=Path, help="root file system, as scripts/rootfs prints it")
    parser.add_argument("out", type=Path, nargs="?", default=Path("tests/fixtures/ami"))
    parser.add_argument("--first-port", type=int, default=20000)
    parser.add_argument("--last-port", type=int, default=29999)
    return parser.parse_args()


def main() -> None:
    """Runs the shift and records it."""
    given = arguments(__doc__)
    print(asyncio.run(record(given.rootfs, given.out, first_port=given.first_port, last_port=given.last_port)))


if __name__ == "__main__":
    main()
