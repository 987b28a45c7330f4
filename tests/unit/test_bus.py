from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from connector.bus import Bus


async def test_everybody_gets_everything_in_order() -> None:
    bus: Bus[int] = Bus()
    seen: list[int] = []
    bus.handle("list", seen.append)
    with bus.subscribe("one", 10) as one, bus.subscribe("two", 10) as two:
        for n in range(5):
            bus.publish(n)
        bus.close()
        assert [n async for n in one] == [n async for n in two] == seen == list(range(5))
    assert bus.published_total == 5


async def test_a_reader_is_woken() -> None:
    bus: Bus[int] = Bus()
    with bus.subscribe("one", 10) as one:
        reading = asyncio.create_task(anext(one))
        await asyncio.sleep(0)
        bus.publish(7)
        assert await asyncio.wait_for(reading, 1) == 7


async def test_a_slow_reader_loses_the_oldest_and_is_told_once() -> None:
    bus: Bus[int] = Bus()
    with bus.subscribe("slow", 3) as slow, capture_logs() as logs:
        for n in range(10):
            bus.publish(n)
        assert slow.lagged
        assert slow.take_lost() == 7
        assert not slow.lagged
        assert [await anext(slow) for _ in range(3)] == [7, 8, 9]
        assert slow.dropped_total == 7
        assert [entry["event"] for entry in logs] == ["subscriber_lagging"]


async def test_a_raising_handler_harms_nobody_and_is_logged_once() -> None:
    bus: Bus[int] = Bus()
    seen: list[int] = []

    def broken(item: int) -> None:
        raise RuntimeError("no")

    bus.handle("broken", broken)
    bus.handle("good", seen.append)
    with bus.subscribe("reader", 10) as reader, capture_logs() as logs:
        bus.publish(1)
        bus.publish(2)
        assert [await anext(reader), await anext(reader)] == seen == [1, 2]
    assert bus.handler_errors == {"broken": 2}
    assert [entry["event"] for entry in logs] == ["bus_handler_failed"]


async def test_only_the_types_asked_for() -> None:
    bus: Bus[object] = Bus()
    with bus.subscribe("ints", 10, (int,)) as ints:
        for item in (1, "a", 2):
            bus.publish(item)
        assert [await anext(ints), await anext(ints)] == [1, 2]


async def test_what_ended_gets_nothing_more() -> None:
    bus: Bus[int] = Bus()
    seen: list[int] = []
    end = bus.handle("list", seen.append)
    with bus.subscribe("one", 10) as one:
        bus.publish(1)
    end()
    end()
    bus.publish(2)
    assert seen == [1]
    assert [n async for n in one] == [1]
    assert bus.subscriptions == ()


async def test_closing_ends_a_waiting_reader_and_later_ones() -> None:
    bus: Bus[int] = Bus()
    one = bus.subscribe("one", 10)

    async def read() -> list[int]:
        return [n async for n in one]

    reading = asyncio.create_task(read())
    await asyncio.sleep(0)
    bus.close()
    assert await asyncio.wait_for(reading, 1) == []
    assert [n async for n in bus.subscribe("late", 10)] == []


async def test_a_handler_may_end_itself() -> None:
    bus: Bus[int] = Bus()
    seen: list[int] = []

    def once(item: int) -> None:
        seen.append(item)
        end()

    end = bus.handle("once", once)
    bus.publish(1)
    bus.publish(2)
    assert seen == [1]


def test_names_and_bounds_are_checked() -> None:
    bus: Bus[int] = Bus()
    bus.handle("a", print)
    with pytest.raises(ValueError, match="another name"):
        bus.handle("a", print)
    with pytest.raises(ValueError, match="at least 1"):
        bus.subscribe("b", 0)


async def test_a_handler_gets_the_types_that_it_names_and_what_is_of_them() -> None:
    bus: Bus[object] = Bus()
    numbers: list[object] = []
    everything: list[object] = []
    bus.publish(0)  # before anybody asks for it
    end = bus.handle("numbers", numbers.append, (int, float))
    bus.handle("everything", everything.append)
    for item in (1, "a", 2.5, True, None):
        bus.publish(item)
    end()
    bus.publish(3)
    assert numbers == [1, 2.5, True]
    assert everything == [1, "a", 2.5, True, None, 3]
