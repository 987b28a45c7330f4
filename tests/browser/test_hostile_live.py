"""Names of callers, queues and agents that are markup stay words in every view, on a real call."""

from __future__ import annotations

from playwright.async_api import Page, expect

from tests.browser.studio import HOSTILE_AGENT, HOSTILE_CALLER, HOSTILE_QUEUE, Studio


async def only_words(page: Page) -> None:
    """Nothing of a name became an element, nor did it run."""
    assert await page.locator("img, script:not([src])").count() == 0
    assert await page.title() == "Wallboard"


async def test_names_that_are_markup_stay_words(studio: Studio, page: Page) -> None:
    studio.caller.display_name = HOSTILE_CALLER
    call = await studio.caller.call("hostile")
    try:
        await studio.log_in(page, "root")
        tile = page.locator("a.tile", has_text=HOSTILE_QUEUE)
        await expect(tile).to_have_count(1)
        await tile.click()
        await expect(page.locator("h2", has_text=HOSTILE_QUEUE)).to_be_visible()
        await expect(page.locator("table.waiting tbody th")).to_contain_text("<img src=x")
        await only_words(page)
        await page.locator("table.waiting tbody button").click()
        await expect(page.get_by_role("dialog")).to_contain_text("<img src=x")
        await page.get_by_role("button", name="Withdraw").click()
        await expect(page.get_by_role("alertdialog")).to_contain_text("<img src=x")
        await only_words(page)
        await page.keyboard.press("Escape")
        await page.get_by_role("link", name="Agents").click()
        await page.get_by_role("button", name=f"Actions for {HOSTILE_AGENT}").click()
        await expect(page.get_by_role("dialog")).to_contain_text(HOSTILE_AGENT)
        await only_words(page)
        await page.keyboard.press("Escape")
        await page.get_by_role("link", name="Calls").click()
        row = page.locator("table.calls tbody tr", has_text="<img src=x")
        await row.get_by_role("button").click()
        await page.get_by_role("button", name="Listen here").click()
        await expect(page.get_by_role("alertdialog")).to_contain_text("<img src=x")
        await page.get_by_role("alertdialog").get_by_role("button", name="Listen here").click()
        panel = page.get_by_role("region", name="In a conversation")
        await expect(panel).to_contain_text("<img src=x")
        await only_words(page)
    finally:
        await call.hang_up()
        studio.caller.display_name = ""
    ended = page.locator("table.recent tbody tr", has_text="<img src=x").first
    await expect(ended).to_contain_text(HOSTILE_QUEUE)
    await ended.get_by_role("button").click()
    await expect(page.locator("ol.timeline")).to_contain_text("<img src=x")
    await only_words(page)
