"""A tap in every order of events: it ends with what it listens to, and leaves nothing behind."""

from __future__ import annotations

import pytest

from connector.dialects.base import Track
from connector.dialects.commands import Hold
from connector.events import LegChanged, LegHeld
from connector.media.control import EndCause
from connector.media.engine import StreamFailed
from connector.streams.admission import Refusal
from connector.streams.tapcall import TapCall, TapOrder
from connector.streams.taps import TapRefused
from tests.unit.streams.conftest import Scene

BOTH = (Track.CALLER, Track.AGENT)


def talks(scene: Scene, channel_id: str = "1.1") -> None:
    """A call that is none of ours."""
    scene.ari.up[channel_id] = "dialplan"


def begin(scene: Scene, tracks: tuple[Track, ...] = (Track.CALLER,), profile: str = "talk") -> TapCall:
    return scene.taps.start(TapOrder("1.1", profile, tracks))


async def until_over(scene: Scene) -> None:
    await scene.until(lambda: not scene.taps.active)
    await scene.until_over()


async def test_each_track_is_a_snoop_with_a_stream_of_its_own(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, BOTH)
    await scene.until(tap.started.is_set)
    assert sorted(scene.ari.snooped.values()) == [("1.1", "in"), ("1.1", "out")]
    assert [handle.request.tracks for handle in scene.engine.handles] == [(Track.CALLER,), (Track.AGENT,)]
    assert not any(handle.request.two_way for handle in scene.engine.handles)
    assert all(handle.attached is not None for handle in scene.engine.handles)
    assert len(scene.ari.bridges_up) == 2
    assert scene.admission.active("main") == 2
    tap.stop()
    await until_over(scene)
    assert scene.ari.up == {"1.1": "dialplan"}
    assert [(record.uniqueid, record.cause) for record in scene.published] == [("1.1", "stopped")] * 2


async def test_a_dialect_that_tells_tracks_apart_gets_them_on_one_stream(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, BOTH, "perspectives")
    await scene.until(tap.started.is_set)
    (handle,) = scene.engine.handles
    assert handle.request.tracks == BOTH
    assert sorted(handle.heard_tracks, key=str) == [Track.AGENT, Track.CALLER]
    assert len(scene.ari.bridges_up) == 2
    assert scene.admission.active("main") == 2
    tap.stop()
    await until_over(scene)
    assert [(record.uniqueid, record.cause) for record in scene.published] == [("1.1", "stopped")]
    assert scene.admission.active("main") == 0


def ears(scene: Scene) -> list[tuple[str, str]]:
    """What is listened to now."""
    return sorted(ear for snoop, ear in scene.ari.snooped.items() if snoop in scene.ari.up)


def moves(scene: Scene, *channel_ids: str) -> None:
    """The tapped call is in a bridge with others now; AMI tells."""
    scene.ari.talks = {"call": list(channel_ids)} if channel_ids else {}
    for channel_id in channel_ids:
        scene.ari.up[channel_id] = "dialplan"
    scene.taps.on_event(LegChanged(pbx="main", at=1.0, uniqueid="1.2", linkedid="1.1", state="up"))


async def test_the_other_side_is_heard_at_its_own_channel_wherever_the_call_goes(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, BOTH)
    await scene.until(tap.started.is_set)
    assert ears(scene) == [("1.1", "in"), ("1.1", "out")]  # nobody is there yet
    moves(scene, "1.1", "1.2")
    await scene.until(lambda: ears(scene) == [("1.1", "in"), ("1.2", "in")])
    moves(scene, "1.3", "1.1")
    await scene.until(lambda: ears(scene) == [("1.1", "in"), ("1.3", "in")])
    moves(scene, "1.1", "1.3", "1.4")  # a conference
    await scene.until(lambda: ears(scene) == [("1.1", "in"), ("1.1", "out")])
    assert not tap.tap.ended.done()
    tap.stop()
    await until_over(scene)


async def test_the_end_of_the_other_side_is_not_the_end(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, BOTH)
    await scene.until(tap.started.is_set)
    moves(scene, "1.1", "1.2")
    await scene.until(lambda: ("1.2", "in") in ears(scene))
    (snoop,) = [snoop for snoop, ear in scene.ari.snooped.items() if ear == ("1.2", "in")]
    scene.ari.talks = {}
    del scene.ari.up[snoop], scene.ari.up["1.2"]
    scene.leaves(snoop)
    await scene.until(lambda: ears(scene) == [("1.1", "in"), ("1.1", "out")])
    tap.stop()
    await until_over(scene)


async def test_with_the_other_side_alone_it_ends_with_the_call_too(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, (Track.AGENT,))
    await scene.until(tap.started.is_set)
    (snoop,) = scene.ari.snooped
    del scene.ari.up[snoop], scene.ari.up["1.1"]
    scene.leaves(snoop)
    await until_over(scene)
    assert scene.ended("call_ended") == 1


async def test_it_ends_when_the_tapped_call_does(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene)
    await scene.until(tap.started.is_set)
    (snoop,) = scene.ari.snooped
    del scene.ari.up[snoop]
    scene.leaves(snoop)
    await until_over(scene)
    assert scene.ended("call_ended") == 1


async def test_it_ends_when_the_bot_does(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene, BOTH)
    await scene.until(tap.started.is_set)
    scene.engine.handles[1].end(EndCause.BOT_CLOSED)
    await until_over(scene)
    assert scene.ended("bot_closed") == 2
    assert scene.ari.up == {"1.1": "dialplan"}


@pytest.mark.parametrize("step", ["snoop", "external_media", "create_bridge", "add_channel"])
async def test_whatever_asterisk_refuses_nothing_stays(scene: Scene, step: str) -> None:
    talks(scene)
    scene.ari.fails.add(step)
    begin(scene, BOTH)
    await until_over(scene)
    assert scene.ended("asterisk_error") == 2


async def test_a_call_that_is_gone_is_no_error(scene: Scene) -> None:
    begin(scene)
    await until_over(scene)
    assert scene.ended("call_ended") == 1


async def test_a_bot_that_refuses_costs_no_channel(scene: Scene) -> None:
    talks(scene)
    scene.engine.fails = StreamFailed(EndCause.BOT_REJECTED, "403")
    begin(scene)
    await until_over(scene)
    assert scene.ended("bot_rejected") == 1
    assert "snoop" not in scene.ari.asked


async def test_it_takes_as_many_places_as_it_has_channels(scene: Scene) -> None:
    talks(scene)
    begin(scene)
    with pytest.raises(TapRefused) as refused:
        begin(scene, BOTH)
    assert refused.value.refusal is Refusal.NODE_FULL
    with pytest.raises(TapRefused):
        begin(scene, profile="nobody")
    assert scene.refused("node_full") == 1


async def test_a_gap_in_which_the_tapped_call_ended_ends_it(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene)
    await scene.until(tap.started.is_set)
    (snoop,) = scene.ari.snooped
    del scene.ari.up[snoop]
    scene.manager.on_connected()
    await until_over(scene)


async def test_a_resync_leaves_a_running_tap_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("connector.streams.manager.SWEEP_GRACE_S", 0)
    talks(scene)
    tap = begin(scene)
    await scene.until(tap.started.is_set)
    scene.manager.on_connected()
    await scene.until(lambda: scene.ari.asked.count("bridges") >= 1)
    for _ in range(50):
        await scene.until(lambda: True)
    assert "hangup" not in scene.ari.asked
    assert scene.taps.active
    tap.stop()
    await until_over(scene)


async def test_hold_is_told_and_does_not_end_it(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene)
    await scene.until(tap.started.is_set)
    for holding in (True, False):
        scene.view.holding = holding
        scene.taps.on_event(LegHeld(pbx="main", at=1.0, uniqueid="1.2", held=holding))
        assert tap.paused is holding
    assert scene.engine.handles[0].notices == [Hold(True), Hold(False)]
    tap.stop()
    await until_over(scene)


async def test_a_stop_of_the_connector_ends_it(scene: Scene) -> None:
    talks(scene)
    tap = begin(scene)
    await scene.until(tap.started.is_set)
    scene.taps.stop()
    await until_over(scene)
    assert scene.ended("shutdown") == 1
    with pytest.raises(TapRefused):
        begin(scene)
