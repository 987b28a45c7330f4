"""Callers for a demo PBX elsewhere: now and then one talks to the bot, now and then one waits for an agent."""

from __future__ import annotations

import argparse
import asyncio
import signal
from random import Random

import structlog

from connector.lab.call import CallFailed
from connector.lab.phone import Phone
from connector.lab.rtp import tone_source

EVERY_S = (3.0, 9.0)
"""Between two calls."""
TALK_S = (5.0, 20.0)
PATIENCE_S = 15.0
TONE_HZ = 700.0
AT_ONCE = 5

log = structlog.get_logger()


async def call_now_and_then(phone: Phone, random: Random) -> None:
    """Places calls until cancelled; at most `AT_ONCE` at the same time.

    Args:
        phone: Open.
        random: Decides when, where to, how long.
    """
    room = asyncio.Semaphore(AT_ONCE)

    async def one(exten: str, seconds: float) -> None:
        async with room:
            try:
                call = await phone.call(exten)
                await call.wait_answered(timeout_s=PATIENCE_S)
                await asyncio.sleep(seconds)
                await call.hang_up()
            except (CallFailed, TimeoutError) as error:
                log.info("call_ended_early", exten=exten, reason=str(error))

    async with asyncio.TaskGroup() as calls:
        while True:
            calls.create_task(one(random.choice(("bot", "support")), random.uniform(*TALK_S)))
            await asyncio.sleep(random.uniform(*EVERY_S))


async def main() -> None:
    """Runs until SIGTERM."""
    parser = argparse.ArgumentParser(description="Places calls to a demo PBX.")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="its SIP address, UDP")
    options = parser.parse_args()
    host, _, port = options.server.partition(":")
    async with Phone(0, "2001", (host, int(port or 5060)), source=tone_source(TONE_HZ)) as phone:
        calling = asyncio.create_task(call_now_and_then(phone, Random()))
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, calling.cancel)
        await asyncio.gather(calling, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
