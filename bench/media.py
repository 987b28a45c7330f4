"""The audio path against a C relay: CPU per packet, added latency, pacing, loss and memory, without Asterisk.

Run by `scripts/bench media`; the method and the keys of the result are described in docs/bench.md.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from bench.parts import designs
from bench.parts.build import build
from bench.parts.designs import Relay
from bench.parts.load import Load
from bench.parts.proc import cpu_model, rss_kb
from connector.dialects.registry import DIALECTS

WARM_UP_S = 1.0
NAIVE_CALLS = 100
"""The naive design breaks at about 150: beyond, its figures would say nothing but that."""
HEADLINE = ("us_per_packet", "p99_in_ms", "p99_out_ms", "interval_p99_ms", "lost", "kb_per_call")

Start = Callable[[], AbstractAsyncContextManager[Relay]]
Design = tuple[str, Load, int, Start]


async def measure(load: Load, calls: int, start: Start, seconds: float) -> dict[str, Any]:
    """One run of one design, from its start to its end."""
    async with start() as relay:
        run = await load.run(port=relay.port, pid=relay.pid, calls=calls, warm_up_s=WARM_UP_S, seconds=seconds)
        if relay.idle_kb is not None:
            run["kb_per_call"] = round((rss_kb(relay.pid) - relay.idle_kb) / calls, 1)
        return run


def summary(runs: list[dict[str, Any]], calls: int) -> dict[str, Any]:
    """Medians over all runs of a design, those in which the machine stalled included and told."""
    medians = {
        key: round(statistics.median(run[key] for run in runs), 5)
        for key, value in runs[0].items()
        if not isinstance(value, bool)
    }
    return {
        "calls": calls,
        **medians,
        "stalled_runs": sum(run["stalled"] for run in runs),
        "load_was_limit_runs": sum(run["load_is_limit"] for run in runs),
        "runs": runs,
    }


def ratio(of: list[dict[str, Any]], to: list[dict[str, Any]]) -> float:
    """The median of the ratios of CPU per packet, round by round."""
    pairs = zip(of, to, strict=True)
    return round(float(statistics.median(a["us_per_packet"] / b["us_per_packet"] for a, b in pairs)), 2)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All designs in turn, several rounds."""
    native = build(folder)
    calls, dialect = options.calls, options.dialect
    skipped: dict[str, str] = {}
    load = await Load.start(native.load, calls, dialect)
    loads = [load]
    order: list[Design] = [("c", load, calls, lambda: designs.c_relay(load, calls, native.relay, dialect))]
    if dialect not in DIALECTS:
        skipped["connector"] = skipped["connector_tls"] = f"this version has no dialect {dialect!r}"
    else:
        order.append(("connector", load, calls, lambda: designs.connector(load, calls, dialect, None)))
        if native.certificate is None or native.key is None:
            skipped["connector_tls"] = native.no_tls
        elif options.no_tls:
            skipped["connector_tls"] = "--no-tls"
        else:
            secure = await Load.start(native.load, calls, dialect, native.certificate, native.key)
            loads.append(secure)
            certificate = native.certificate
            order.append(
                ("connector_tls", secure, calls, lambda: designs.connector(secure, calls, dialect, certificate))
            )
    if dialect != "twilio" or options.no_naive:
        skipped["naive"] = "--no-naive" if options.no_naive else "written for twilio only"
    else:
        few = min(calls, NAIVE_CALLS)
        order.append(("naive", load, few, lambda: designs.naive(load, few)))
        if few != calls:
            order.append(("c_beside_naive", load, few, lambda: designs.c_relay(load, few, native.relay, dialect)))
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in order}
    try:
        for number in range(options.rounds):
            for name, through, count, start in order:
                run = await measure(through, count, start, options.seconds)
                runs[name].append(run)
                told = ", ".join(f"{key} {run[key]}" for key in HEADLINE if key in run)
                print(f"round {number + 1} {name}: {told}", "(machine stalled)" * run["stalled"], file=sys.stderr)
    finally:
        for one in loads:
            await one.stop()
    result: dict[str, Any] = {
        "bench": "media",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "calls": calls,
        "dialect": dialect,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
    }
    if "connector" in runs:
        product = summary(runs["connector"], calls)
        result["ratio_to_c"] = ratio(runs["connector"], runs["c"])
        result |= {key: product[key] for key in HEADLINE}
        result["stalled_runs"] = product["stalled_runs"]
    if "connector_tls" in runs:
        result["ratio_tls_to_plain"] = ratio(runs["connector_tls"], runs["connector"])
    if "naive" in runs:
        result["naive_ratio_to_c"] = ratio(runs["naive"], runs["c_beside_naive" if "c_beside_naive" in runs else "c"])
    result["skipped"] = skipped
    result["designs"] = {name: summary(runs[name], count) for name, _, count, _ in order}
    return result


def main() -> None:
    """`scripts/bench media [--calls N] [--dialect twilio|raw] [--seconds S] [--rounds N] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench media", description="The audio path against a C relay.")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--dialect", choices=("twilio", "raw"), default="twilio")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each run, after a second of warm-up")
    parser.add_argument("--rounds", type=int, default=3, help="each round runs every design once")
    parser.add_argument("--no-tls", action="store_true", help="leave out the runs over wss://")
    parser.add_argument("--no-naive", action="store_true", help="leave out the naive design")
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    if not 1 <= options.calls <= 10_000:
        parser.error("--calls: 1 to 10000")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
    with tempfile.TemporaryDirectory(prefix="bench-media-") as folder:
        text = json.dumps(asyncio.run(bench(options, Path(folder))), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
