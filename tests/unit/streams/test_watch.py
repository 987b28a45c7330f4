"""Faults are named while the call goes on, counted once, and kept with the stream."""

from __future__ import annotations

from connector.media.quality import Quality, Sound
from tests.unit.streams.conftest import Scene


async def test_a_fault_is_told_once_and_kept(scene: Scene) -> None:
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    (handle,) = scene.engine.handles
    (call,) = scene.manager.calls.values()
    watched = scene.manager._watched(call)
    await scene.manager.watch.look(watched)  # nothing is known yet
    assert scene.manager.watch.faults(call.call.stream_id) == []
    handle.quality = Quality(age_s=20, since_packet_s=20, bot=Sound(looked_ms=500))
    handle.stats.bot_audio_bytes = 1
    for _ in range(3):
        await scene.manager.watch.look(scene.manager._watched(call))
    (found,) = scene.manager.watch.faults(call.call.stream_id)
    assert found.fault.value == "no_rtp"
    assert "Asterisk has none of the caller's phone" in found.evidence
    assert scene.count("connector_stream_faults_total", profile="talk", fault="no_rtp") == 1
    assert scene.ari.asked.count("rtp_statistics") == 1
    scene.hangs_up()
    await scene.until_over()
    (record,) = scene.published
    assert [each["fault"] for each in record.quality["faults"]] == ["no_rtp"]
    assert record.quality["age_s"] == 20
    assert scene.manager.watch.faults(call.call.stream_id) == []
    assert scene.count("connector_stream_mos_count", profile="talk") == 0  # nothing came


async def test_how_a_stream_sounded_goes_into_the_histograms(scene: Scene) -> None:
    scene.enters()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    (handle,) = scene.engine.handles
    handle.quality = Quality(age_s=20, since_packet_s=0, mos=4.2, jitter_ms=2.5, loss_percent=1.0)
    scene.hangs_up()
    await scene.until_over()
    assert scene.count("connector_stream_mos_sum", profile="talk") == 4.2
    assert scene.count("connector_stream_jitter_seconds_sum", profile="talk") == 0.0025
    assert scene.count("connector_stream_loss_ratio_sum", profile="talk") == 0.01
