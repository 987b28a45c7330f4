"""`connector check --audio` on real Asterisk: a test call without a phone, its figures, and each broken way named."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from random import Random
from typing import Any

from connector.check import Cause, Finding, Level, check
from connector.lab.asterisk import LabAsterisk
from tests.asterisk.test_check import nothing_is_left, set_up

AUDIO = "pbx.main.audio"


async def found_by_call(pbx: LabAsterisk, **changes: Any) -> list[Finding]:
    async with set_up(pbx, **changes) as settings, asyncio.timeout(120):
        findings = await check(settings, audio=True, random=Random(1))
    return [each for each in findings if each.subject == AUDIO]


async def test_a_healthy_way_is_measured_and_nothing_is_left(asterisk: LabAsterisk) -> None:
    (found,) = await found_by_call(asterisk)
    assert found.cause is Cause.AUDIO_CALL
    figures = re.search(r"in (\d+) ms; -10\.0 dBFS to the PBX, (-?[\d.]+) dBFS back; \d+ of (\d+) packets", found.text)
    assert figures is not None, found.text
    assert 5 <= int(figures[1]) < 1000
    assert abs(float(figures[2]) + 10) < 1
    assert int(figures[3]) > 50
    await nothing_is_left(asterisk)


async def test_an_address_that_asterisk_does_not_reach_is_named(asterisk: LabAsterisk) -> None:
    (found,) = await found_by_call(asterisk, media__advertise_host="127.0.0.2")  # where nobody listens
    assert (found.level, found.cause) == (Level.ERROR, Cause.RTP_FROM_ASTERISK)
    assert "told to send to UDP 127.0.0.2:" in found.text
    assert "media.advertise_host" in found.text
    await nothing_is_left(asterisk)


async def test_a_wrong_address_of_asterisk_is_named(asterisk: LabAsterisk) -> None:
    (found,) = await found_by_call(asterisk, pbx__main__rtp_host="127.0.0.3")
    assert (found.level, found.cause) == (Level.ERROR, Cause.RTP_SOURCE)
    assert "rtp_host" in found.text
    await nothing_is_left(asterisk)


async def test_a_dialplan_without_the_context_is_named(make_asterisk: Callable[..., LabAsterisk]) -> None:
    async with make_asterisk() as pbx:
        await pbx.cli("dialplan remove context connector-check")
        (found,) = await found_by_call(pbx)
    assert (found.level, found.cause) == (Level.ERROR, Cause.AUDIO_CALL)
    assert "connector-check" in found.text
