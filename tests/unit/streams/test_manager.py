"""What the manager does around its calls: admission, the end of the program, and clearing up after gaps."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from connector.asterisk.pbx_facts import RtpRange
from connector.media.control import EndCause


@pytest.fixture(autouse=True)
def grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both looks of a sweep follow each other at once."""
    monkeypatch.setattr("connector.streams.manager.SWEEP_GRACE_S", 0.0)


async def turns(count: int = 30) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


# -- the end of the program ---------------------------------------------------------------------------------------


async def test_stop_while_the_bot_is_dialled_hands_the_caller_back(scene: Any) -> None:
    scene.engine.answers.clear()
    scene.enters()
    await scene.engine.dialling.wait()
    scene.manager.stop()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "shutdown"}
    assert scene.ari.up == {"1.1": "dialplan"}
    assert scene.engine.given_up == 1


@pytest.mark.parametrize("step", ["get_variable", "answer", "external_media", "add_channel"])
async def test_stop_while_a_call_is_being_set_up_hands_the_caller_back(scene: Any, step: str) -> None:
    go_on = scene.ari.hold(step)
    scene.enters()
    await scene.ari.reach(step)
    scene.manager.stop()
    await turns()
    go_on.set()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "shutdown"}


async def test_stop_hands_every_running_call_back(scene: Any) -> None:
    scene.enters("1.1")
    scene.enters("1.2")
    await scene.until(lambda: scene.ari.asked.count("add_channel") == 2)
    scene.manager.stop()
    await scene.until_over()
    assert scene.ari.results == {"1.1": "shutdown", "1.2": "shutdown"}
    assert scene.ended("shutdown") == 2


async def test_who_comes_after_stop_is_refused_and_handed_back(scene: Any) -> None:
    scene.enters("1.1")
    hand_back = scene.ari.hold("continue")
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.manager.stop()
    await scene.ari.reach("continue")
    scene.enters("1.2")
    hand_back.set()
    await scene.until_over()
    await scene.until(lambda: scene.ari.results.get("1.2") == "draining")
    assert scene.refused("draining") == 1


# -- admission ----------------------------------------------------------------------------------------------------


async def test_each_refusal_is_counted_and_handed_back(scene: Any) -> None:
    async def comes(channel_id: str, *args: str) -> None:
        scene.enters(channel_id, *args)
        await scene.until(lambda: channel_id in scene.ari.results)

    await comes("1.1", "nobody")
    scene.engine.ready.clear()
    await comes("1.2")
    scene.engine.ready.set()
    scene.view.rtp_range = None
    await comes("1.3")
    scene.view.rtp_range = RtpRange(10_000, 10_005)
    await comes("1.4")
    scene.view.rtp_range, scene.view.rtp_channels_up = RtpRange(10_000, 10_999), 499
    await comes("1.5")
    assert scene.ari.results == {
        "1.1": "unknown_profile",
        "1.2": "worker_down",
        "1.3": "rtp_range_unknown",
        "1.4": "pbx_full",
        "1.5": "rtp_ports_low",
    }
    assert scene.refused("unknown_profile", profile="") == 1, "a name from the dialplan is no metric label"
    assert [scene.refused(cause) for cause in ("worker_down", "rtp_range_unknown", "pbx_full", "rtp_ports_low")] == (
        [1, 1, 1, 1]
    )
    assert not scene.manager.calls
    assert scene.admission.active("main") == 0
    assert not scene.engine.dialling.is_set()


async def test_a_place_is_taken_from_the_first_moment_and_given_back_at_the_end(scene: Any) -> None:
    scene.engine.answers.clear()
    for channel_id in ("1.1", "1.2", "1.3"):
        scene.enters(channel_id)
    await scene.until(lambda: scene.ari.results == {"1.3": "node_full"})
    scene.hangs_up("1.1")
    await scene.until(lambda: len(scene.manager.calls) == 1)
    scene.enters("1.4")
    await scene.until(lambda: len(scene.manager.calls) == 2)


async def test_a_second_start_of_the_same_channel_changes_nothing(scene: Any) -> None:
    scene.enters()
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    await turns()
    assert len(scene.engine.handles) == 1


# -- after a gap --------------------------------------------------------------------------------------------------


async def test_a_media_channel_that_starts_after_its_call_is_hung_up(scene: Any) -> None:
    late = "connector-node1-em-999"
    scene.ari.up[late] = "app"
    scene.media_starts(late)
    await scene.until(lambda: late not in scene.ari.up)
    assert scene.count("connector_orphans_removed_total", kind="channel") == 1
    assert not scene.manager.calls


async def test_what_a_dead_process_left_is_cleared_away(scene: Any) -> None:
    scene.ari.up |= {"1.1": "app", "connector-node1-em-7": "app", "2.2": "dialplan", "connector-node2-em-7": "dialplan"}
    scene.ari.bridges_up |= {"connector-node1-bridge-7", "somebodys"}
    scene.manager.on_connected()
    await scene.until(lambda: scene.ari.up.get("1.1") == "dialplan" and len(scene.ari.bridges_up) == 1)
    assert scene.ari.results == {"1.1": "orphaned"}
    assert scene.ari.up == {"1.1": "dialplan", "2.2": "dialplan", "connector-node2-em-7": "dialplan"}
    assert scene.ari.bridges_up == {"somebodys"}
    for kind in ("caller", "channel", "bridge"):
        assert scene.count("connector_orphans_removed_total", kind=kind) == 1


@pytest.mark.parametrize("step", ["application", "channels", "bridges"])
async def test_a_sweep_spares_a_call_that_comes_in_while_it_looks(scene: Any, step: str) -> None:
    go_on = scene.ari.hold(step)
    scene.manager.on_connected()
    await scene.ari.reach(step)
    scene.ari.up["1.1"] = "app"  # in Asterisk already; its StasisStart is on the way
    go_on.set()
    await turns(3)
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    await turns()
    assert [call.call.channel_id for call in scene.manager.calls.values()] == ["1.1"]
    assert scene.ari.results == {}
    assert len([channel_id for channel_id in scene.ari.up if "-em-" in channel_id]) == 1
    assert len(scene.ari.bridges_up) == 1


async def test_a_sweep_spares_a_call_that_is_being_set_up(scene: Any) -> None:
    go_on = scene.ari.hold("add_channel")
    scene.enters()
    await scene.ari.reach("add_channel")
    scene.manager.on_connected()
    await scene.until(lambda: scene.ari.asked.count("bridges") == 1)
    go_on.set()
    await turns()
    assert [call.call.channel_id for call in scene.manager.calls.values()] == ["1.1"]
    assert "hangup" not in scene.ari.asked
    assert "delete_bridge" not in scene.ari.asked


async def test_a_sweep_spares_a_call_that_ends_by_itself_meanwhile(scene: Any) -> None:
    """Its channels are there at the first look and gone from our books at the second, being cleared away."""
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.manager.on_connected()
    await scene.ari.reach("bridges")
    scene.hangs_up()
    await scene.until_over()
    await turns()
    assert scene.ended("caller_hung_up") == 1
    assert scene.count("connector_orphans_removed_total", kind="bridge") == 0


async def test_who_hung_up_in_the_gap_is_found_out(scene: Any) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    del scene.ari.up["1.1"]
    scene.manager.on_connected()
    await scene.until_over()
    assert scene.engine.handles[0].ended.result().cause is EndCause.CALL_MOVED


async def test_who_went_on_in_the_dialplan_in_the_gap_is_found_out(scene: Any) -> None:
    """An AMI Redirect while no event came: the channel lives, and is ours no more."""
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.ari.up["1.1"] = "dialplan"
    scene.manager.on_connected()
    await scene.until_over()
    assert scene.ended("call_moved") == 1
    assert "continue" not in scene.ari.asked


@pytest.mark.parametrize("step", ["application", "channels", "bridges"])
async def test_a_look_that_fails_touches_nothing(scene: Any, step: str) -> None:
    scene.enters()
    await scene.until(lambda: "add_channel" in scene.ari.asked)
    scene.ari.fails = {step}
    scene.ari.up["1.9"] = "app"
    scene.manager.on_connected()
    await scene.ari.reach(step)
    await turns()
    assert [call.call.channel_id for call in scene.manager.calls.values()] == ["1.1"]
    assert scene.ari.up["1.9"] == "app"
