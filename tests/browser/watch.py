"""What the page costs the browser that shows it: its longest tasks, and memory after the garbage is gone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from playwright.async_api import CDPSession, Page

_OBSERVE = """
() => {
  window.longTasks = [];
  const take = (entries) => window.longTasks.push(...entries.map((each) => each.duration));
  window.longTaskObserver = new PerformanceObserver((list) => take(list.getEntries()));
  window.longTaskObserver.observe({ type: "longtask" });
}
"""
_TAKE = """
() => {
  window.longTasks.push(...window.longTaskObserver.takeRecords().map((each) => each.duration));
  window.longTaskObserver.disconnect();
  return window.longTasks;
}
"""


@dataclass(frozen=True, slots=True)
class Held:
    """What the page holds once the garbage is collected."""

    heap_bytes: int
    nodes: int
    listeners: int


class Watch:
    """Watches one page. `begin`, then `long_tasks` and `held` as often as wanted.

    Args:
        page: That is open.
        cdp: A DevTools session with it.
    """

    def __init__(self, page: Page, cdp: CDPSession) -> None:
        self._page = page
        self._cdp = cdp

    @classmethod
    async def of(cls, page: Page) -> Watch:
        """A watch of a page."""
        cdp = await page.context.new_cdp_session(page)
        await cdp.send("HeapProfiler.enable")
        return cls(page, cdp)

    async def begin(self) -> None:
        """From now on tasks over 50 ms are noted; the browser's own measure."""
        await self._page.evaluate(_OBSERVE)

    async def long_tasks(self) -> list[float]:
        """Durations in ms of those since `begin`, which ends the noting: collecting garbage by order is one itself."""
        found: list[float] = await self._page.evaluate(_TAKE)
        return found

    async def held(self) -> Held:
        """Collects garbage, then looks."""
        await self._cdp.send("HeapProfiler.collectGarbage")
        heap: dict[str, Any] = await self._cdp.send("Runtime.getHeapUsage")
        counters: dict[str, Any] = await self._cdp.send("Memory.getDOMCounters")
        return Held(int(heap["usedSize"]), int(counters["nodes"]), int(counters["jsEventListeners"]))
