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
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from bench.parts import designs, soak
from bench.parts.build import Native, build
from bench.parts.designs import Relay
from bench.parts.load import Load
from bench.parts.proc import cpu_model, rss_kb

WARM_UP_S = 1.0
NAIVE_CALLS = 100
"""The naive design breaks at about 150: beyond, its figures would say nothing but that."""
HEADLINE = ("us_per_packet", "p99_in_ms", "p99_out_ms", "interval_p99_ms", "interval_in_2ms", "lost", "kb_per_call")

Start = Callable[[], AbstractAsyncContextManager[Relay]]


@dataclass(frozen=True)
class Case:
    """What is compared.

    Attributes:
        calls: How many.
        dialect: `twilio`, `raw` (8 kHz) or `raw16`.
        tls: With wss:// beside ws://.
        naive: With the naive design beside.
        workers: More than one: so many as well, each with as many calls as the one.
    """

    calls: int
    dialect: str = "twilio"
    tls: bool = False
    naive: bool = False
    workers: int = 1


ALL = (
    Case(500, tls=True, naive=True),
    Case(1_000),
    Case(500, "raw"),
    Case(1_000, "raw"),
    Case(500, "raw16"),
    Case(1_000, "raw16"),
    Case(400, workers=2),
)


async def measure(load: Load, calls: int, start: Start, seconds: float) -> dict[str, Any]:
    """One run of one design, from its start to its end."""
    async with start() as relay:
        run = await load.run(ports=relay.ports, pids=relay.pids, calls=calls, warm_up_s=WARM_UP_S, seconds=seconds)
        if relay.idle_kb is not None:
            run["kb_per_call"] = round((sum(map(rss_kb, relay.pids)) - relay.idle_kb) / calls, 1)
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


async def compare(case: Case, native: Native, rounds: int, seconds: float) -> dict[str, Any]:
    """All designs of a case in turn, several rounds."""
    calls, dialect = case.calls, case.dialect
    skipped: dict[str, str] = {}
    async with AsyncExitStack() as open_loads:

        async def load_for(calls: int, *tls: Path) -> Load:
            load = await Load.start(native.load, calls, dialect, *tls)
            open_loads.push_async_callback(load.stop)
            return load

        load = await load_for(calls * case.workers)
        order: list[tuple[str, Load, int, Start]] = [
            ("c", load, calls, lambda: designs.c_relay(load, calls, native.relay, dialect)),
            ("connector", load, calls, lambda: designs.connector(load, calls, dialect, None)),
        ]
        if case.workers > 1:
            many = calls * case.workers
            order.append(
                ("connector_workers", load, many, lambda: designs.connector(load, many, dialect, None, case.workers))
            )
        if case.tls and native.certificate is not None and native.key is not None:
            certificate = native.certificate
            secure = await load_for(calls, certificate, native.key)
            order.append(
                ("connector_tls", secure, calls, lambda: designs.connector(secure, calls, dialect, certificate))
            )
        else:
            skipped["connector_tls"] = native.no_tls if case.tls else "not asked for"
        if case.naive and dialect == "twilio":
            few = min(calls, NAIVE_CALLS)
            order.append(("naive", load, few, lambda: designs.naive(load, few)))
            order.append(("c_beside_naive", load, few, lambda: designs.c_relay(load, few, native.relay, dialect)))
        else:
            skipped["naive"] = "written for twilio only" if case.naive else "not asked for"
        runs: dict[str, list[dict[str, Any]]] = {name: [] for name, *_ in order}
        for number in range(rounds):
            for name, through, count, start in order:
                run = await measure(through, count, start, seconds)
                runs[name].append(run)
                told = ", ".join(f"{key} {run[key]}" for key in HEADLINE if key in run)
                title = f"{dialect} {count} round {number + 1} {name}"
                print(f"{title}: {told}", "(machine stalled)" * run["stalled"], file=sys.stderr)
    product = summary(runs["connector"], calls)
    result: dict[str, Any] = {"calls": calls, "dialect": dialect, "ratio_to_c": ratio(runs["connector"], runs["c"])}
    result |= {key: product[key] for key in HEADLINE}
    result["stalled_runs"] = product["stalled_runs"]
    if "connector_tls" in runs:
        result["ratio_tls_to_plain"] = ratio(runs["connector_tls"], runs["connector"])
    if "connector_workers" in runs:
        # Load and workers share the cores, so what they can do in all is told by what each packet costs.
        costs = ratio(runs["connector_workers"], runs["connector"])
        result["workers"], result["workers_speedup"] = case.workers, round(case.workers / costs, 2)
    if "naive" in runs:
        result["naive_ratio_to_c"] = ratio(runs["naive"], runs["c_beside_naive"])
    result["skipped"] = skipped
    result["designs"] = {name: summary(runs[name], count) for name, _, count, _ in order}
    return result


def about(options: argparse.Namespace) -> dict[str, Any]:
    """When, where and how."""
    return {
        "bench": "media",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    titles = "us a packet", "C relay", "ratio", "p99 in ms", "p99 out ms", "interval p99 ms", "in 20 +- 2 ms"
    rows = [f"| | {' | '.join(titles)} | lost | kB a call |"]
    rows.append("|---" * 10 + "|")
    for one in results:
        for name, design in one["designs"].items():
            if name.startswith("connector"):
                to_c = ratio(design["runs"], one["designs"]["c"]["runs"])
                title = f"{one['dialect']}, {design['calls']} calls{name.removeprefix('connector').replace('_', ', ')}"
                cost = f"{design['us_per_packet']} | {one['designs']['c']['us_per_packet']} | {to_c}"
                times = f"{design['p99_in_ms']} | {design['p99_out_ms']} | {design['interval_p99_ms']}"
                share = f"{100 * design['interval_in_2ms']:.1f} %"
                rows.append(f"| {title} | {cost} | {times} | {share} | {design['lost']:g} | {design['kb_per_call']} |")
    return "\n".join(rows)


async def bench(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """What was asked for."""
    native = build(folder)
    dialect = "raw16" if (options.dialect, options.rate) == ("raw", 16_000) else options.dialect
    if options.soak:
        return about(options) | await soak.run(native, options.calls, dialect, options.soak)
    case = Case(options.calls, dialect, not options.no_tls, not options.no_naive, options.workers)
    cases = ALL if options.all else (case,)
    results = [await compare(each, native, options.rounds, options.seconds) for each in cases]
    print(table(results), file=sys.stderr)
    return about(options) | (results[0] if not options.all else {"cases": results})


def main() -> None:
    """`scripts/bench media [--calls N] [--dialect twilio|raw] [--rate HZ] [--all] [--json FILE]`."""
    parser = argparse.ArgumentParser(prog="scripts/bench media", description="The audio path against a C relay.")
    parser.add_argument("--calls", type=int, default=200)
    parser.add_argument("--dialect", choices=("twilio", "raw"), default="twilio")
    parser.add_argument("--rate", type=int, choices=(8_000, 16_000), default=8_000, help="of raw, in Hz")
    parser.add_argument("--workers", type=int, choices=(1, 2), default=1, help="2: two as well, each with --calls")
    parser.add_argument("--all", action="store_true", help="the whole table, about ten minutes")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="memory and descriptors while calls come and go")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each run, after a second of warm-up")
    parser.add_argument("--rounds", type=int, default=3, help="each round runs every design once")
    parser.add_argument("--no-tls", action="store_true", help="leave out the runs over wss://")
    parser.add_argument("--no-naive", action="store_true", help="leave out the naive design")
    parser.add_argument("--json", type=Path, help="file for the result; standard output if absent")
    options = parser.parse_args()
    if not 1 <= options.calls <= 2_000:
        parser.error("--calls: 1 to 2000")
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # standard output is the result's
    with tempfile.TemporaryDirectory(prefix="bench-media-") as folder:
        text = json.dumps(asyncio.run(bench(options, Path(folder))), indent=2)
    if options.json:
        options.json.write_text(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
