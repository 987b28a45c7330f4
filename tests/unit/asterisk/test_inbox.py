import asyncio

import pytest

from connector.asterisk.inbox import Inbox


def marker(dropped: int) -> str:
    return f"gap {dropped}"


async def drain(inbox: Inbox[str]) -> list[str]:
    return [await inbox.get() for _ in range(len(inbox))]


async def test_items_come_in_order_and_get_waits() -> None:
    inbox: Inbox[str] = Inbox(10, marker)
    waiting = asyncio.create_task(inbox.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.put("a")
    inbox.put_state("b")
    assert await waiting == "a"
    assert await anext(aiter(inbox)) == "b"


async def test_overflow_drops_the_new_counts_and_leaves_one_marker() -> None:
    inbox: Inbox[str] = Inbox(4, marker)
    assert [inbox.put(str(i)) for i in range(10)] == [True] * 4 + [False] * 6
    assert inbox.dropped == 6
    assert await drain(inbox) == ["0", "1", "2", "3", "gap 6"]
    assert inbox.put("later")
    assert await drain(inbox) == ["later"]


async def test_a_gap_closes_only_when_half_is_worked_off() -> None:
    inbox: Inbox[str] = Inbox(4, marker)
    for i in range(5):
        inbox.put(str(i))
    await inbox.get()
    assert not inbox.put("still shed")
    await inbox.get()
    assert not inbox.put("still shed")
    await inbox.get()
    assert inbox.put("in")
    assert await drain(inbox) == ["3", "gap 3", "in"]


async def test_states_are_never_lost_and_stay_bounded() -> None:
    inbox: Inbox[str] = Inbox(4, marker)
    for i in range(5):
        inbox.put(str(i))
    for i in range(100):
        inbox.put_state(f"state {i}")
        inbox.put("shed")
    assert len(inbox) == 6
    assert await drain(inbox) == ["0", "1", "2", "3", "gap 101", "state 99"]


def test_a_limit_that_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        Inbox(1, marker)
