"""A supervisor in real conversations through the browser alone: heard, and speaking, by FFT at every phone."""

from __future__ import annotations

import asyncio
import time

import numpy as np
from numpy.typing import NDArray
from playwright.async_api import Page, expect

from connector.audio.tone import sine
from connector.lab.proof import until_heard
from connector.lab.rtp import RATE_HZ, RtpSession, silence
from tests.browser.conftest import ARTEFACTS
from tests.browser.sound import LISTEN_IN, MICROPHONE_HZ, until_tones
from tests.browser.studio import AGENT_HZ, BOT_HZ, CALLER_HZ, Studio, open_agent

CHANGED_HZ = 1400


async def begin(studio: Studio, page: Page, mode: str) -> None:
    """Logs in and is in the conversation of Agent 1 in this way."""
    await page.add_init_script(LISTEN_IN)
    await studio.log_in(page, "anna")
    await open_agent(page)
    await page.get_by_role("button", name=mode).click()
    await page.get_by_role("alertdialog").get_by_role("button", name=mode).click()


async def test_a_conversation_is_heard_in_the_page(studio: Studio, page: Page) -> None:
    call, at_agent = await studio.talking()
    await begin(studio, page, "Listen here")
    panel = page.get_by_role("region", name="In a conversation")
    await expect(panel).to_contain_text("You listen; nobody hears you.")
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    await until_heard(call, AGENT_HZ, window_ms=400, share=0.99)
    await until_heard(at_agent, CALLER_HZ, window_ms=400, share=0.99)
    await panel.press("m")
    await expect(panel).to_contain_text("Muted.")
    await until_tones(page)
    await panel.press("m")
    await page.get_by_role("link", name="Queues").click()  # it goes on under another view
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    await call.hang_up()
    await expect(panel).to_contain_text("The conversation has ended.")
    await panel.press("Escape")
    await expect(panel).to_have_count(0)


async def test_the_agent_hears_the_microphone_and_the_caller_does_not(studio: Studio, page: Page) -> None:
    call, at_agent = await studio.talking()
    await begin(studio, page, "Whisper here")
    panel = page.get_by_role("region", name="In a conversation")
    await expect(panel).to_contain_text("Only the agent hears you.")
    await at_agent.rtp.wait_for(lambda rtp: hears(rtp, MICROPHONE_HZ) and hears(rtp, CALLER_HZ))
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    sent = at_agent.rtp.packets_in
    await at_agent.rtp.wait_for(lambda rtp: rtp.packets_in > sent + 100)
    assert strength(call.rtp.audio(last_ms=4_000), MICROPHONE_HZ) < NOTHING
    assert strength(call.rtp.audio(last_ms=1_000), AGENT_HZ) > 0.1

    await panel.get_by_role("button", name="Mute the microphone").click()
    await expect(panel).to_contain_text("Muted.")
    await at_agent.rtp.wait_for(lambda rtp: strength(rtp.audio(last_ms=1_500), MICROPHONE_HZ) < NOTHING)
    await panel.get_by_role("button", name="Stop").click()
    await expect(panel).to_contain_text("Ended.")
    await studio.pbx.until("core show channels concise", lambda text: len(text.splitlines()) == 2)
    await call.hang_up()


async def test_who_barges_in_is_heard_by_both(studio: Studio, page: Page) -> None:
    call, at_agent = await studio.talking()
    await begin(studio, page, "Barge in here")
    await expect(page.get_by_role("region", name="In a conversation")).to_contain_text("Both hear you.")
    await asyncio.gather(
        at_agent.rtp.wait_for(lambda rtp: hears(rtp, MICROPHONE_HZ) and hears(rtp, CALLER_HZ)),
        call.rtp.wait_for(lambda rtp: hears(rtp, MICROPHONE_HZ) and hears(rtp, AGENT_HZ)),
    )
    await call.hang_up()


async def test_a_bots_call_is_heard_in_the_page(studio: Studio, page: Page) -> None:
    after = len(studio.bot.streams)
    call = await studio.caller.call("bot_talk")
    stream = await studio.bot.next_stream(after=after)
    await stream.play(BOT_HZ, 30)
    await page.add_init_script(LISTEN_IN)
    await studio.log_in(page, "root")
    await page.get_by_role("link", name="Calls").click()
    await page.locator("table.calls tbody tr", has_text="alice").get_by_role("button").click()
    await page.get_by_role("button", name="Listen here").click()
    await page.get_by_role("alertdialog").get_by_role("button", name="Listen here").click()
    await until_tones(page, CALLER_HZ, BOT_HZ)
    await call.hang_up()
    await expect(page.get_by_role("region", name="In a conversation")).to_contain_text("The conversation has ended.")


async def test_without_a_microphone_nothing_is_begun(studio: Studio, page: Page) -> None:
    call, _ = await studio.talking()
    await page.add_init_script(
        "navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('no', 'NotAllowedError'));"
    )
    await begin(studio, page, "Whisper here")
    panel = page.get_by_role("region", name="In a conversation")
    await expect(panel).to_contain_text("The browser gives no microphone: allow it for this page.")
    assert len((await studio.pbx.cli("core show channels concise")).splitlines()) == 2
    await call.hang_up()


async def test_who_logs_out_hears_no_more(studio: Studio, page: Page) -> None:
    call, _ = await studio.talking()
    await begin(studio, page, "Listen here")
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    await page.get_by_role("button", name="Log out").click()
    await expect(page.get_by_label("Password")).to_be_visible()
    await until_tones(page)
    await studio.pbx.until("core show channels concise", lambda text: len(text.splitlines()) == 2)
    await studio.log_in(page, "anna")
    await expect(page.get_by_role("region", name="In a conversation")).to_have_count(0)
    await call.hang_up()


async def test_from_the_callers_phone_to_the_ear(studio: Studio, page: Page) -> None:
    """Measured, and left beside the screenshots; how long it takes is the machine's, so that is not judged here."""
    call, at_agent = await studio.talking()
    await begin(studio, page, "Listen here")
    await until_tones(page, CALLER_HZ, AGENT_HZ)
    at_agent.rtp.source = silence
    await until_tones(page, CALLER_HZ)
    took_ms, delays = [], {}
    for turn in range(10):
        hz, before = (CHANGED_HZ, CALLER_HZ) if turn % 2 == 0 else (CALLER_HZ, CHANGED_HZ)
        arriving = asyncio.create_task(page.evaluate(f"window.arrival({hz}, {before})"))
        await page.wait_for_timeout(300 + 37 * turn)
        changed = Changed(hz)
        call.rtp.source = changed
        found = await asyncio.wait_for(arriving, 20)
        assert changed.at is not None
        delays = {name: round(found[name] * 1000, 1) for name in ("baseLatency", "outputLatency")}
        took_ms.append(round((found["at"] - changed.at) * 1000))
    held = await page.get_by_text("ms held back").inner_text()
    ARTEFACTS.mkdir(exist_ok=True)
    (ARTEFACTS / "listen-latency.txt").write_text(
        f"{sorted(took_ms)} ms from a new tone's first sample at the phone to the page's output; {held}; {delays}\n"
    )
    await call.hang_up()


class Changed:
    """A tone, and when its first sample was sent."""

    def __init__(self, hz: float) -> None:
        self._hz = hz
        self.at: float | None = None

    def __call__(self, start: int, count: int) -> NDArray[np.int16]:
        if self.at is None:
            self.at = time.time()
        return sine(self._hz, count, rate_hz=RATE_HZ, start=start)


NOTHING = 0.01
"""Strength of a tone that is not there; the loudest of these tests have more than 0.1."""


def strength(samples: NDArray[np.int16], hz: float) -> float:
    """Amplitude of a tone, 0 to 1 at full scale, in the 200 ms where it is strongest."""
    size = RATE_HZ // 5
    wave = np.exp(-2j * np.pi * hz / RATE_HZ * np.arange(size)) * np.hanning(size)
    pieces = [samples[start : start + size] / 32768 for start in range(0, samples.size - size + 1, size // 2)]
    return max((4 * abs(np.dot(piece, wave)) / size for piece in pieces), default=0.0)


def hears(rtp: RtpSession, hz: float) -> bool:
    return strength(rtp.audio(last_ms=1_000), hz) > 3 * NOTHING
