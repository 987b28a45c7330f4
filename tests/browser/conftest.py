"""A real browser, Debian's Chromium, for the page."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.sound import write_microphone
from tests.browser.studio import Studio, in_studio

HERE = Path(__file__).parent
expect.set_options(timeout=30_000)
ARTEFACTS = Path(os.environ.get("BROWSER_ARTEFACTS", HERE / "artefacts"))
"""Where screenshots go."""

NAMES = ("chromium", "chromium-browser", "google-chrome")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All on the session's event loop, where the browser runs; a second try, as for all that is in real time."""
    on_session_loop = pytest.mark.asyncio(loop_scope="session")
    for item in items:
        if HERE not in item.path.parents:
            continue
        item.add_marker(pytest.mark.flaky(reruns=1))
        if pytest_asyncio.is_async_test(item):
            item.add_marker(on_session_loop, append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    """One browser for all, with a microphone that hears a tone; a page of its own for each test."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.fail("there is no Chromium: apt-get install chromium")
    async with async_playwright() as playwright:
        # No sandbox: it cannot be had as root, and only our own page is shown.
        microphone = tmp_path_factory.mktemp("microphone") / "tone.wav"
        write_microphone(microphone)
        fake = [
            "--use-fake-ui-for-media-stream",
            "--use-fake-device-for-media-stream",
            f"--use-file-for-fake-audio-capture={microphone}",
        ]
        chromium = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox", *fake])
        yield chromium
        await chromium.close()


class Broken(AssertionError):
    """The page threw, or the Content-Security-Policy refused something."""


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page that must not throw and must not break its own policy."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800}, locale="en-GB")
    context.set_default_timeout(20_000)
    page = await context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    page.on(
        "console",
        lambda message: broken.append(message.text) if "Content Security Policy" in message.text else None,
    )
    yield page
    await context.close()
    if broken:
        raise Broken("; ".join(broken))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def studio(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Studio]:
    """One for all tests in which somebody is heard."""
    async with in_studio(tmp_path_factory.mktemp("studio")) as opened:
        yield opened
