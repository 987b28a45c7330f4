"""History on real Asterisk: what the connector keeps over a crash equals queue_log, and a realtime table is read."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from connector.lab import echo_bot
from connector.lab.asterisk import LabAsterisk
from connector.lab.conf import NOISY_MODULES, LabConf
from connector.lab.facts import queue_log_counts
from connector.lab.phone import Phone, RingForever
from connector.lab.process import ConnectorProcess
from connector.lab.useragent import HOST
from connector.store.recovery import Source, recover

MakeAsterisk = Callable[..., LabAsterisk]

QUICK = "timeout = 1\nretry = 1\nwrapuptime = 0"
CREATE_TABLE = (
    "CREATE TABLE queue_log (id INTEGER PRIMARY KEY, time CHAR(26), callid CHAR(80), queuename CHAR(80), "
    "agent CHAR(80), event CHAR(32), data1 CHAR(100), "
    "data2 CHAR(100), data3 CHAR(100), data4 CHAR(100), data5 CHAR(100))"
)


class Kept:
    """Reads the connector's SQLite file beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        if not self.path.exists():
            return []
        connection = sqlite3.connect(self.path, timeout=10)
        try:
            return connection.execute(statement).fetchall()
        except sqlite3.OperationalError:  # no tables yet
            return []
        finally:
            connection.close()

    async def until(self, statement: str, holds: Callable[[list[tuple[Any, ...]]], bool]) -> list[tuple[Any, ...]]:
        try:
            async with asyncio.timeout(60):  # a call that ended only now is looked for again after half a minute
                while not holds(found := await asyncio.to_thread(self.rows, statement)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{statement}: {found}") from None
        return found


async def test_killed_amid_calls_its_history_still_equals_queue_log(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1, conf=LabConf(queue_options=QUICK)) as pbx:
        server, (http, rtp) = (HOST, pbx.sip_port), pbx.ports.spare[:2]
        settings = {"pbx": {"main": {"queue_log": str(pbx.queue_log)}}}
        connector = ConnectorProcess(pbxs={"main": pbx}, bots={}, http_port=http, rtp_port=rtp, settings=settings)
        kept = Kept(Path(connector.settings["store"]["directory"]) / "history.sqlite")
        async with (
            Phone(0, "alice", server) as caller,
            Phone(pbx.ports.phones[0], "agent1", server) as agent,
            connector,
        ):
            heard = await (await caller.call("support")).wait_answered()
            await heard.rtp.wait_for_packets(60)
            await heard.hang_up()
            await kept.until("SELECT * FROM calls", lambda found: len(found) == 1)
            await kept.until("SELECT * FROM marks", lambda found: len(found) == 1)

            agent.on_invite = RingForever()
            waiting = await caller.call("support")
            await agent.next_call(after=1)
            await connector.kill()
            await waiting.hang_up()
            await (await caller.call("support-timeout")).wait_ended(timeout_s=15)
            over = await caller.call("support")  # joins in the gap, gives up after it
            await pbx.until("queue show support", lambda text: "1. PJSIP" in text)
            await connector.start()
            found = await kept.until(
                "SELECT outcome, recovered FROM visits JOIN calls ON key = call_key", lambda f: len(f) >= 3
            )
            assert sorted(found) == [("abandoned", 1), ("answered", 0), ("timed_out", 1)]
            await over.hang_up()
            await kept.until("SELECT * FROM calls", lambda found: len(found) >= 4)
            await connector.stop()

        counts = queue_log_counts(pbx.queue_log.read_text())["support"]
        outcomes = Counter(row[0] for row in kept.rows("SELECT outcome FROM visits"))
        assert outcomes == {
            "answered": counts["CONNECT"],
            "abandoned": counts["ABANDON"],
            "timed_out": counts["EXITWITHTIMEOUT"],
        }
        names = "offered, answered, abandoned, timed_out"
        sums = kept.rows(f"SELECT {', '.join(f'sum({name})' for name in names.split(', '))} FROM queue_aggregates")
        assert sums == [(4, 1, 2, 1)]


async def test_streams_are_kept_the_one_that_runs_at_the_end_too(make_asterisk: MakeAsterisk) -> None:
    async with make_asterisk(phones=1) as pbx, echo_bot.bot(HOST, 0, "echo") as port:
        http, rtp = pbx.ports.spare[:2]
        bots = {"echo": f"ws://{HOST}:{port}"}
        connector = ConnectorProcess(pbxs={"main": pbx}, bots=bots, http_port=http, rtp_port=rtp)
        kept = Kept(Path(connector.settings["store"]["directory"]) / "history.sqlite")
        async with connector, Phone(0, "alice", (HOST, pbx.sip_port)) as caller:
            ended = await (await caller.call("bot")).wait_answered()
            await ended.rtp.wait_for_packets(20)
            await ended.hang_up()
            await kept.until("SELECT * FROM streams", lambda found: len(found) == 1)
            running = await (await caller.call("bot")).wait_answered()
            await running.rtp.wait_for_packets(20)
            assert await connector.stop() == 0
        found = kept.rows(
            "SELECT profile, cause, setup_s > 0, ended_at > started_at, stats FROM streams ORDER BY ended_at"
        )
        assert [row[:4] for row in found] == [("echo", "caller_hung_up", 1, 1), ("echo", "shutdown", 1, 1)]
        assert all(json.loads(row[4])["packets_in"] > 0 for row in found)


async def test_the_table_that_asterisk_writes_is_read(make_asterisk: MakeAsterisk) -> None:
    modules = [name for name in NOISY_MODULES.split() if name != "res_config_sqlite3.so"]
    files = {
        "modules.conf": "[modules]\nautoload = yes\n" + "".join(f"noload = {name}\n" for name in modules),
        "extconfig.conf": "[settings]\nqueue_log => sqlite3,log,queue_log\n",
        "logger.conf": "[general]\nqueue_log = yes\nqueue_log_to_file = yes\nqueue_log_realtime_use_gmt = yes\n"
        "[logfiles]\nmessages = notice,warning,error\n",
    }
    pbx = make_asterisk(phones=1, conf=LabConf(queue_options=QUICK, files=files))
    async with pbx:
        path = pbx.folder / "lib" / "log.sqlite"
        inside = f"{pbx._inside}/lib/log.sqlite"
        await pbx.kill()
        database = sqlite3.connect(path)
        database.execute(CREATE_TABLE)
        database.close()
        conf = f"[log]\ndbfile => {inside}\nrequirements => warn\n"
        (pbx.folder / "etc" / "res_config_sqlite3.conf").write_text(conf)
        await pbx.start()
        pbx.queue_log.write_text("")
        server = (HOST, pbx.sip_port)
        async with Phone(0, "alice", server) as caller, Phone(pbx.ports.phones[0], "agent1", server) as agent:
            call = await (await caller.call("support")).wait_answered()
            await call.rtp.wait_for_packets(60)
            await call.hang_up()
            agent.on_invite = RingForever()
            await (await caller.call("support-timeout")).wait_ended(timeout_s=15)
        # Asterisk writes both behind the calls, one after the other.
        try:
            async with asyncio.timeout(20):
                while True:
                    file = await recover(Source(place=str(pbx.queue_log)), pbx="main", since=0.0, until=1e12)
                    table = await recover(Source(place=f"sqlite:///{path}"), pbx="main", since=0.0, until=1e12)
                    if table == file and len(file.calls) == 2:
                        break
                    await asyncio.sleep(0.05)
        except TimeoutError:
            assert table == file
        assert [[visit.outcome.value for visit in call.visits] for call in file.calls] == [["answered"], ["timed_out"]]
