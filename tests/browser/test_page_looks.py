"""How the page looks and feels: screenshots to be looked at, accessibility, keyboard, and no long task at full load."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from tests.browser.conftest import ARTEFACTS
from tests.browser.scripted import Scripted
from tests.browser.watch import Held, Watch

AXE = Path(__file__).parents[2] / "wallboard/node_modules/axe-core/axe.min.js"
WIDTHS = {"phone": (390, 844), "desk": (1280, 800), "large": (1920, 1080)}
VIEWS = {
    "queues": "#/queues",
    "queue": "#/queues/main/queue03",
    "agents": "#/agents",
    "calls": "#/calls",
    "wall": "#/wall",
}


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", list(WIDTHS))
async def test_each_view_fits_at_each_width_in_each_theme(browser: Browser, width: str, theme: Any) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    across, down = WIDTHS[width]
    context = await browser.new_context(viewport={"width": across, "height": down}, color_scheme=theme, bypass_csp=True)
    page = await context.new_page()
    async with Scripted(queues=6, agents=20).serving() as url:
        for name, view in VIEWS.items():
            await page.goto(url + view)
            await expect(page.locator("main")).not_to_be_empty()
            await page.wait_for_load_state("networkidle")
            await page.screenshot(path=ARTEFACTS / f"{name}-{width}-{theme}.png")
            wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{name} is {wider} px wider than a {width}"
            await page.add_script_tag(path=AXE)
            found = await page.evaluate("axe.run()")
            faults = [f"{name}: {each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]
            assert not faults
    await context.close()


async def test_all_is_reached_by_keyboard(page: Page) -> None:
    async with Scripted(queues=3, agents=5).serving() as url:
        await page.goto(f"{url}#/agents")
        await expect(page.locator("table.agents tbody tr")).to_have_count(5)
        await page.keyboard.press("/")
        await page.keyboard.type("004")
        await expect(page.locator("table.agents tbody tr")).to_have_count(1)
        assert "q=004" in page.url
        await page.get_by_role("button", name="Actions for Agent 004").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("dialog")).to_be_visible()
        await page.get_by_role("button", name="Log out of all queues").focus()
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("button", name="Cancel")).to_be_focused()
        await page.keyboard.press("Escape")
        await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_it_speaks_german(page: Page) -> None:
    async with Scripted(queues=3, agents=5).serving() as url:
        await page.goto(url)
        await page.get_by_label("Language").select_option("de")
        await expect(page.get_by_role("link", name="Warteschlangen")).to_be_visible()
        await page.reload()
        await expect(page.get_by_role("link", name="Warteschlangen")).to_be_visible()
        assert await page.evaluate("document.documentElement.lang") == "de"


async def test_two_hundred_agents_at_twenty_changes_a_second_are_shown_and_the_page_keeps_up(page: Page) -> None:
    """How long its longest task was is written down, not asserted: the machine that tests is not the one that shows."""
    ARTEFACTS.mkdir(exist_ok=True)
    scripted = Scripted(queues=50, agents=200)
    async with scripted.serving() as url:
        await page.goto(f"{url}#/agents")
        await expect(page.locator("table.agents tbody tr")).to_have_count(200)
        watch = await Watch.of(page)
        await watch.begin()
        await asyncio.wait_for(scripted.change(6, 20), 60)
        tasks = await watch.long_tasks()
        (ARTEFACTS / "long-tasks.txt").write_text(f"{len(tasks)} over 50 ms in 6 s: {tasks}\n")
        paused = sum(each["state"] == "paused" for each in scripted.agents)
        await page.locator("label", has_text="State").locator("select").select_option("paused")
        await expect(page.locator("output")).to_have_text(f"{paused} agents")


async def test_memory_is_flat_however_much_comes_and_goes(page: Page) -> None:
    """Callers, streams and views, each left again; `bench/page.py` does it for half an hour."""
    scripted = Scripted(queues=20, agents=60)
    held: list[Held] = []
    async with scripted.serving() as url:
        await page.goto(f"{url}#/agents")
        await expect(page.locator("table.agents tbody tr")).to_have_count(60)
        watch = await Watch.of(page)
        for _ in range(4):
            for view, rows in (
                ("queues", "a.tile"),
                ("calls", "table.streams tbody tr"),
                ("agents", "table.agents tbody tr"),
            ):
                await page.evaluate("view => { location.hash = view }", f"#/{view}")
                await expect(page.locator(rows).last).to_be_visible()
                await asyncio.wait_for(scripted.change(1, 100), 60)
            held.append(await watch.held())
    first, last = held[1], held[-1]  # in the first round everything is done for the first time
    assert last.heap_bytes - first.heap_bytes < 1_000_000, held
    assert last.listeners <= first.listeners * 1.2, held
    assert last.nodes <= first.nodes * 1.2, held
