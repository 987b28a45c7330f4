"""The wallboard in a real browser for half an hour: no long task, and no memory that grows.

`docs/bench.md` says what each figure means, `bench/results` what was measured.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.async_api import Page, async_playwright

from tests.browser.scripted import Scripted
from tests.browser.watch import Watch

VIEWS = ("agents", "queues", "agents", "calls")
"""One a minute; a view that leaves something behind when it goes shows as growth."""
SWITCH_S = 2.0
"""What a change of the view costs stands apart."""


async def minute(page: Page, watch: Watch, scripted: Scripted, view: str, per_second: int, seconds: float) -> Any:
    """A minute in a view: its figures."""
    await watch.begin()
    switching = asyncio.create_task(scripted.change(SWITCH_S, per_second))
    await page.evaluate("view => { location.hash = view }", f"#/{view}")
    await switching
    switch_ms = await watch.long_tasks()
    await watch.begin()
    sent = scripted.sent
    await scripted.change(seconds - SWITCH_S, per_second)
    long_ms = await watch.long_tasks()
    held = await watch.held()
    return {
        "view": view,
        "changes": scripted.sent - sent,
        "long_tasks_ms": [round(each) for each in long_ms],
        "switch_ms": [round(each) for each in switch_ms],
        "heap_mb": round(held.heap_bytes / 1e6, 3),
        "nodes": held.nodes,
        "listeners": held.listeners,
        "load": round(os.getloadavg()[0], 1),
    }


def growth_kb_per_min(minutes: list[dict[str, Any]]) -> float:
    """Slope of the heap over the minutes of the first view, the first five left out."""
    of_view = [(n, each["heap_mb"] * 1e3) for n, each in enumerate(minutes) if n >= 5 and each["view"] == VIEWS[0]]
    if len(of_view) < 2:
        return 0.0
    numbers, heaps = zip(*of_view, strict=True)
    return round(statistics.linear_regression(numbers, heaps).slope, 2)


async def run(options: argparse.Namespace) -> dict[str, Any]:
    """All of it."""
    scripted = Scripted(queues=options.queues, agents=options.agents)
    minutes: list[dict[str, Any]] = []
    async with async_playwright() as playwright, scripted.serving() as url:
        browser = await playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        page = await browser.new_page(viewport={"width": 1920, "height": 1080})
        await page.goto(f"{url}#/{VIEWS[0]}")
        await page.locator("table.agents tbody tr").nth(options.agents - 1).wait_for()
        watch = await Watch.of(page)
        for number in range(options.minutes):
            view = VIEWS[number % len(VIEWS)]
            found = await minute(page, watch, scripted, view, options.per_second, options.seconds)
            minutes.append(found)
            print(json.dumps(found), file=sys.stderr, flush=True)
        version = browser.version
        await browser.close()
    return {
        "bench": "page",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "browser": version,
        "cpus": os.cpu_count(),
        "machine": platform.platform(),
        "queues": options.queues,
        "agents": options.agents,
        "per_second": options.per_second,
        "seconds": options.minutes * options.seconds,
        "changes": scripted.sent,
        "long_tasks": sum(len(each["long_tasks_ms"]) for each in minutes),
        "longest_ms": max((ms for each in minutes for ms in each["long_tasks_ms"]), default=0),
        "longest_switch_ms": max((ms for each in minutes for ms in each["switch_ms"]), default=0),
        "heap_growth_kb_per_min": growth_kb_per_min(minutes),
        "minutes": minutes,
    }


def main() -> None:
    """Runs it."""
    parser = argparse.ArgumentParser(prog="bench page", description=__doc__)
    parser.add_argument("--minutes", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=60.0, help="of a minute: less is a faster run, and says so")
    parser.add_argument("--queues", type=int, default=50)
    parser.add_argument("--agents", type=int, default=200)
    parser.add_argument("--per-second", type=int, default=20)
    parser.add_argument("--chromium", default=shutil.which("chromium"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    text = json.dumps(asyncio.run(run(options)), indent=1) + "\n"
    if options.json is not None:
        options.json.write_text(text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
