"""How listening, speaking and recordings look and feel: pictures to be looked at, accessibility, keyboard alone."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Browser, Page, expect

from connector.lab.call import Call
from tests.browser.conftest import ARTEFACTS
from tests.browser.sound import LISTEN_IN, until_tones
from tests.browser.studio import AGENT_HZ, CALLER_HZ, Studio, open_agent
from tests.browser.test_page_looks import AXE, WIDTHS


async def looked_at(page: Page, name: str) -> None:
    """A picture in each theme at each width; it must fit, and axe must find nothing in either theme."""
    for width, (across, down) in WIDTHS.items():
        await page.set_viewport_size({"width": across, "height": down})
        for theme in ("light", "dark"):
            looks: Any = theme
            await page.emulate_media(color_scheme=looks)
            await page.screenshot(path=ARTEFACTS / f"{name}-{width}-{theme}.png")
            wider = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wider <= 0, f"{name} is {wider} px wider than a {width}"
            if width != "desk":
                continue
            found = await page.evaluate("axe.run()")
            faults = [f"{each['id']}: {each['nodes'][0]['html']}" for each in found["violations"]]
            assert not faults, f"{name}-{width}-{theme}"


async def recorded(studio: Studio, page: Page, call: Call) -> None:
    """A short recording of a call, begun and ended in the dialog that is open."""
    await page.get_by_role("button", name="● Record").click()
    await expect(page.get_by_text("The call is recorded.")).to_be_visible()
    heard = call.rtp.packets_in
    await call.rtp.wait_for(lambda rtp: rtp.packets_in > heard + 60)
    await page.get_by_role("button", name="Stop recording").click()
    await expect(page.get_by_text("The recording has ended.")).to_be_visible()


async def test_each_part_fits_and_speaks_to_everybody(studio: Studio, browser: Browser) -> None:
    ARTEFACTS.mkdir(exist_ok=True)
    context = await browser.new_context(bypass_csp=True)  # for axe alone
    page = await context.new_page()
    call, _ = await studio.talking()
    try:
        await page.add_init_script(LISTEN_IN)
        await studio.log_in(page, "anna")
        await page.add_script_tag(path=AXE)
        await open_agent(page)
        await recorded(studio, page, call)
        await looked_at(page, "agent-dialog")
        await page.get_by_role("button", name="Whisper here").click()
        await looked_at(page, "whisper-confirm")
        await page.get_by_role("alertdialog").get_by_role("button", name="Whisper here").click()
        await until_tones(page, CALLER_HZ, AGENT_HZ)
        await looked_at(page, "whisper-panel")
        await page.get_by_role("button", name="Stop").click()
        await page.get_by_role("link", name="Recordings").click()
        row = page.locator("table.recordings tbody tr").first
        await expect(row).to_contain_text("alice")
        await row.get_by_role("button").click()
        await expect(page.locator(".outline figure")).to_have_count(2)
        await looked_at(page, "recordings")
    finally:
        await call.hang_up()
        await context.close()


async def test_one_listens_and_stops_by_keyboard_alone(studio: Studio, page: Page) -> None:
    call, _ = await studio.talking()
    await page.add_init_script(LISTEN_IN)
    await studio.log_in(page, "anna")
    await page.goto(f"{studio.connector.url}#/agents")
    await page.get_by_role("button", name="Actions for Agent 1").focus()
    await page.keyboard.press("Enter")
    await page.get_by_role("button", name="Listen here").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alertdialog").get_by_role("button", name="Listen here")).to_be_focused()
    await page.keyboard.press("Enter")
    panel = page.get_by_role("region", name="In a conversation")
    await expect(panel).to_be_focused()
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    await expect(panel.get_by_role("meter", name="Caller")).to_be_visible()
    await page.keyboard.press("m")
    await expect(panel.get_by_role("status")).to_contain_text("Muted.")
    await page.keyboard.press("Escape")
    await expect(panel.get_by_role("status")).to_have_text("Ended.")
    await expect(panel).to_have_count(0)  # by itself: they know
    await call.hang_up()
