"""A long run in which calls come and go: whether memory and descriptors of a media worker stay as they are."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any

from bench.parts.build import Native
from bench.parts.designs import Engine
from bench.parts.load import Load
from bench.parts.proc import cpu_s, descriptors_of, rss_kb
from connector.media.control import EndCause
from connector.media.engine import StreamHandle

SAMPLE_S = 10.0
SETTLED = 0.2
"""Of the time: after it nothing should grow any more."""
CHANGE_S = 0.5
"""A call ends and another begins."""


async def run(native: Native, calls: int, dialect: str, seconds: float) -> dict[str, Any]:
    """So many calls for so long."""
    load = await Load.start(native.load, calls, dialect)
    engine = Engine(load, dialect, None, 1)
    samples: list[dict[str, float]] = []
    changed = 0
    try:
        async with engine.running() as pids:
            handles: list[StreamHandle] = list(await asyncio.gather(*map(engine.open, range(calls))))
            ports = [handle.rtp.port for handle in handles]
            speaking = asyncio.create_task(
                load.run(ports=ports, pids=pids, calls=calls, warm_up_s=1.0, seconds=seconds - 1.0)
            )
            started_s = time.monotonic()
            chance = random.Random(1)
            while not speaking.done():
                await asyncio.wait((speaking,), timeout=CHANGE_S)
                index = chance.randrange(calls)
                handles[index].close(EndCause.CALLER_HUNG_UP)
                await handles[index].ended
                handles[index] = await engine.open(index)
                changed += 1
                at_s = time.monotonic() - started_s
                if at_s >= SAMPLE_S * len(samples):
                    sample = {"at_s": round(at_s), "rss_kb": rss_kb(pids[0]), "descriptors": descriptors_of(pids[0])}
                    samples.append(sample | {"cpu_s": round(cpu_s(pids[0]), 2)})
                    print(samples[-1], file=sys.stderr)
            whole = await speaking
    finally:
        await load.stop()
    settled = samples[int(len(samples) * SETTLED) :]
    return {
        "soak": True,
        "calls": calls,
        "dialect": dialect,
        "calls_changed": changed,
        "rss_kb_first": settled[0]["rss_kb"],
        "rss_kb_last": settled[-1]["rss_kb"],
        "descriptors_least": min(sample["descriptors"] for sample in settled),
        "descriptors_most": max(sample["descriptors"] for sample in settled),
        **{key: whole[key] for key in ("us_per_packet", "p99_in_ms", "interval_in_2ms", "stalls")},
        "samples": samples,
    }
