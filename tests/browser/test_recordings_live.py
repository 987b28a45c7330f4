"""A call is recorded from the page, and played there: with the outline of both sides, from any place in it."""

from __future__ import annotations

from pathlib import Path

from playwright.async_api import Page, expect

from tests.browser.studio import Studio, open_agent


async def seek_and_play(page: Page) -> float:
    """Clicks into the middle of the outline; gives where the sound is then, as a part of it."""
    await page.locator(".outline").click()
    place = "() => { const a = document.querySelector('audio'); return a.currentTime / a.duration; }"
    return float(await page.evaluate(place))


async def test_a_call_is_recorded_and_played_in_the_page(studio: Studio, page: Page) -> None:
    ranges: list[str] = []
    page.on("request", lambda sent: ranges.append(sent.headers.get("range", "")) if "/audio" in sent.url else None)
    studio.caller.display_name = "Recorded on the page"
    call, at_agent = await studio.talking()
    studio.caller.display_name = ""
    await studio.log_in(page, "anna")
    await open_agent(page)
    await page.get_by_role("button", name="● Record").click()
    await expect(page.get_by_text("The call is recorded.")).to_be_visible()
    heard = at_agent.rtp.packets_in
    await at_agent.rtp.wait_for(lambda rtp: rtp.packets_in > heard + 100)
    await page.get_by_role("button", name="Pause recording").click()
    await expect(page.get_by_text("What is said now is left out.")).to_be_visible()
    heard = at_agent.rtp.packets_in
    await at_agent.rtp.wait_for(lambda rtp: rtp.packets_in > heard + 50)
    await page.get_by_role("button", name="Pause recording").click()
    await expect(page.get_by_text("The call is recorded.")).to_be_visible()
    await page.get_by_role("button", name="Stop recording").click()
    await expect(page.get_by_text("The recording has ended.")).to_be_visible()
    await page.keyboard.press("Escape")
    await call.hang_up()

    await page.get_by_role("link", name="Recordings").click()
    row = page.locator("table.recordings tbody tr", has_text="Recorded on the page")
    await expect(row).to_contain_text("whole")
    await expect(row).to_contain_text("support")
    await row.get_by_role("button").click()
    await expect(page.locator(".outline figure")).to_have_count(2)
    await expect(page.get_by_text("were left out")).to_be_visible()
    await page.wait_for_function("document.querySelector('audio').readyState >= 1")
    assert 0.4 < await seek_and_play(page) < 0.6
    await page.evaluate("document.querySelector('audio').play()")
    await page.wait_for_function(
        "() => { const a = document.querySelector('audio'); return a.currentTime > a.duration / 2 + 0.1; }"
    )
    assert any(ranges), "the browser asks for parts"


async def test_a_bots_recording_stands_below_its_timeline_and_out_of_scope_nowhere(studio: Studio, page: Page) -> None:
    call = await studio.caller.call("bot_talk")
    stream = await studio.bot.next_stream(after=len(studio.bot.streams))
    await stream.play(800, 30)
    await studio.log_in(page, "root")
    await page.get_by_role("link", name="Calls").click()
    await page.locator("table.calls tbody tr", has_text="alice").get_by_role("button").click()
    await page.get_by_role("button", name="● Record").click()
    await expect(page.get_by_text("The call is recorded.")).to_be_visible()
    await page.keyboard.press("Escape")
    heard = call.rtp.packets_in
    await call.rtp.wait_for(lambda rtp: rtp.packets_in > heard + 60)
    await call.hang_up()
    ended = page.locator("table.recent tbody tr", has_text="bot_talk").first
    await ended.get_by_role("button").click()
    await expect(page.get_by_role("dialog").locator(".outline")).to_be_visible()
    assert list(Path(studio.recordings).glob("*/*.wav"))

    await page.context.clear_cookies()
    await studio.log_in(page, "berta")
    await page.get_by_role("link", name="Recordings").click()
    await expect(page.get_by_text("Nothing was recorded in your scope on this day.")).to_be_visible()
