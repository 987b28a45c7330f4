"""What counts as left behind."""

from __future__ import annotations

from connector.streams.sweep import Leftovers, find_leftovers


def ours(item: str) -> bool:
    return item.startswith("connector-")


def test_only_what_is_ours_and_not_live_is_left_over() -> None:
    found = find_leftovers(
        in_application={"1700.1", "1700.2", "connector-n-em-1", "connector-n-em-2"},
        channels={"1700.1", "1700.2", "1700.3", "connector-n-em-1", "connector-n-em-2", "connector-n-em-3"},
        bridges={"connector-n-bridge-1", "connector-n-bridge-2", "confbridge-7"},
        ours=ours,
        live={"1700.1", "connector-n-em-1", "connector-n-bridge-1"},
    )
    assert found == Leftovers(
        callers=("1700.2",), channels=("connector-n-em-2", "connector-n-em-3"), bridges=("connector-n-bridge-2",)
    )


def test_a_channel_that_was_only_there_at_the_first_look_is_no_orphan() -> None:
    first = Leftovers(callers=("a", "b"), channels=("c",), bridges=())
    assert first.still(Leftovers(callers=("b",), channels=(), bridges=("d",))) == Leftovers(("b",), (), ())
    assert not first.still(Leftovers((), (), ()))
