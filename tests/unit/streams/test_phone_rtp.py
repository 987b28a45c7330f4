"""What Asterisk counted of a caller's phone: asked in turn while calls are up, found where it was left at the end."""

from __future__ import annotations

import pytest

from connector.media.quality import Quality
from connector.streams.phone_rtp import PhoneRtp, of_variable
from tests.unit.streams.conftest import Scene

LEFT_BY_22 = (
    "ssrc=1979108824;themssrc=3355058761;lp=4;rxjitter=0.000500;rxcount=126;txjitter=0.000125;txcount=127;rlp=2;"
    "rtt=0.020000;rxmes=0.000000;txmes=0.000000"
)
LEFT_BY_16 = (
    "ssrc=1698645764;themssrc=4081903642;lp=0;rxjitter=0.000000;rxcount=126;txjitter=0.000321;txcount=124;rlp=0;rtt=0.0"
)


def test_what_a_call_leaves_behind_is_read() -> None:
    assert of_variable(LEFT_BY_22) == PhoneRtp(
        packets_from_phone=126,
        packets_to_phone=127,
        lost_from_phone=4,
        lost_to_phone=2,
        jitter_from_phone_ms=0.125,
        jitter_to_phone_ms=0.5,
        round_trip_ms=20.0,
    )
    older = of_variable(LEFT_BY_16)
    assert older is not None
    assert (older.packets_from_phone, older.jitter_from_phone_ms) == (126, 0.321)


@pytest.mark.parametrize("text", ["", "4711", "rxcount=;txcount=1", "rxcount=1", ";;=;=", "rxcount=x;txcount=y"])
def test_what_says_nothing_of_packets_is_nothing(text: str) -> None:
    assert of_variable(text) is None


async def test_of_a_caller_who_hung_up_it_is_found_on_our_channel(scene: Scene) -> None:
    scene.ari.left_behind = LEFT_BY_22
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    scene.engine.handles[0].quality = Quality(age_s=20)
    scene.hangs_up()
    await scene.until_over()
    (record,) = scene.published
    assert record.quality["phone"]["lost_from_phone"] == 4
    assert "rtp_statistics" not in scene.ari.asked


async def test_where_nothing_is_left_behind_what_was_asked_last_counts(scene: Scene) -> None:
    scene.ari.phone_sends = 50
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    scene.engine.handles[0].quality = Quality(age_s=20)
    (call,) = scene.manager.calls.values()
    await scene.manager.watch.look(scene.manager._watched(call))
    await scene.manager.watch.ask_next()
    scene.hangs_up()
    await scene.until_over()
    (record,) = scene.published
    assert record.quality["phone"]["packets_from_phone"] == 50


async def test_of_one_who_did_not_asterisk_is_asked(scene: Scene) -> None:
    scene.ari.phone_sends = 77
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    (handle,) = scene.engine.handles
    handle.quality = Quality(age_s=20)
    (call,) = scene.manager.calls.values()
    assert scene.manager.watch.phone(call.call.stream_id) is None
    await scene.manager.watch.look(scene.manager._watched(call))
    await scene.manager.watch.ask_next()
    live = scene.manager.watch.phone(call.call.stream_id)
    assert live is not None
    assert live.packets_from_phone == 77
    scene.manager.stop()
    await scene.until_over()
    (record,) = scene.published
    assert record.quality["phone"]["packets_from_phone"] == 77


async def test_with_no_stream_nobody_is_asked(scene: Scene) -> None:
    await scene.manager.watch.ask_next()
    assert "rtp_statistics" not in scene.ari.asked
