"""A caller's digits: each is told once, by every transport; and what Asterisk sends beside is not taken for another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import pytest
import pytest_asyncio

from connector.audio.tone import dominant_tone
from connector.lab.asterisk import LabAsterisk
from connector.lab.process import ConnectorProcess
from connector.lab.recording_bot import BotStream, RecordingBot
from connector.lab.rtp import RATE_HZ
from tests.asterisk.badnet import bad_net
from tests.asterisk.desk import CALLER_HZ, Desk, open_desk

DIGITS = "15#"
PROFILES = {
    "talk": {"audio": "rtp/ulaw"},
    "audiosocket": {"audio": "audiosocket/slin"},
    "websocket": {"audio": "websocket/ulaw"},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk(
    asterisk: LabAsterisk, make_connector: Callable[..., ConnectorProcess], bot: RecordingBot
) -> AsyncIterator[Desk]:
    described = make_connector(bots=dict.fromkeys(PROFILES, bot.url), profile=PROFILES)
    async with open_desk(asterisk, described.settings, bot) as opened:
        yield opened


def told(stream: BotStream) -> str:
    return "".join(each.message["dtmf"]["digit"] for each in stream.all("dtmf"))


async def test_over_rtp_digits_come_by_ari_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The phone sends RFC 4733; Asterisk passes on neither that nor a tone."""
    async with bad_net(monkeypatch, lambda number: 0.0) as net:
        call, stream = await desk.begin()
        await stream.until_heard(CALLER_HZ)
        before = len(net.from_asterisk)
        await call.send_digits(DIGITS)
        await stream.wait_for("dtmf", count=len(DIGITS))
        await stream.until_heard(CALLER_HZ)
        assert told(stream) == DIGITS
        captured = net.from_asterisk
        assert len(captured) > before
        assert {packet[1] & 0x7F for packet in captured} == {0}
        # 697 to 1477 Hz are what a digit sounds like; there is the caller's tone, and silence.
        samples = stream.audio(last_ms=1_500)
        for at in range(0, samples.size - 400, 400):
            tone = dominant_tone(samples[at : at + 400], RATE_HZ)
            assert tone.dbfs < -40 or abs(tone.hz - CALLER_HZ) < 40, tone
        await desk.end(call)
    assert told(stream) == DIGITS


@pytest.mark.parametrize("profile", ["audiosocket", "websocket"])
async def test_a_transport_that_tells_digits_too_does_not_tell_them_twice(desk: Desk, profile: str) -> None:
    if desk.pbx.version.startswith("16."):
        return  # it has neither
    call, stream = await desk.begin(profile)
    await stream.until_heard(CALLER_HZ)
    await call.send_digits(DIGITS)
    await stream.wait_for("dtmf", count=len(DIGITS))
    await stream.until_heard(CALLER_HZ)  # what else was said of digits has come by then
    assert told(stream) == DIGITS
    await desk.end(call)
    assert told(stream) == DIGITS
