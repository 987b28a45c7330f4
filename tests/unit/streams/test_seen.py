"""Streams as they are shown, while a real manager has them."""

from __future__ import annotations

from connector.media.quality import Quality, Sound
from connector.streams.seen import Seen, Stage
from tests.unit.streams.conftest import Scene


async def test_a_call_with_a_bot_is_shown_from_the_dial_to_the_end(scene: Scene) -> None:
    seen = Seen({scene.manager.pbx: scene.manager}, scene.manager._book)
    kind = (scene.manager.pbx, "talk", "twilio", "voicebot")
    assert seen.counted()[kind] == 0, "a profile without a stream is counted as none"
    scene.engine.answers.clear()
    scene.enters()
    await scene.until(scene.engine.dialling.is_set)
    (early,) = seen.streams(scene.manager.pbx)
    assert early.stage is Stage.CONNECTING
    assert early.quality is None
    scene.engine.answers.set()
    await scene.until(lambda: scene.engine.handles and scene.engine.handles[0].attached)
    (handle,) = scene.engine.handles
    handle.quality = Quality(age_s=1, caller=Sound(now_dbfs=-20))
    await scene.until(lambda: next(iter(seen.streams(scene.manager.pbx))).stage is Stage.LIVE)
    (live,) = seen.streams(scene.manager.pbx)
    assert (live.profile, live.dialect, live.mode) == ("talk", "twilio", "voicebot")
    assert "/" not in live.peer.partition("//")[2], "no path: it may hold a secret"
    assert live.quality is not None
    assert live.started_at > 0
    assert seen.counted()[kind] == 1
    scene.hangs_up()
    await scene.until_over()
    assert not list(seen.streams(scene.manager.pbx))
    (record,) = scene.published
    assert (record.dialect, record.mode, record.peer) == ("twilio", "voicebot", live.peer)
    assert scene.count(
        "connector_streams_total", profile="talk", dialect="twilio", mode="voicebot", outcome="completed",
        cause="caller_hung_up",
    ) == 1  # fmt: skip
