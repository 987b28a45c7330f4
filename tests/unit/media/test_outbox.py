import asyncio

from connector.media.outbox import Outbox


async def taken(outbox: Outbox) -> list[object]:
    outbox.finish()
    messages: list[object] = []
    while (message := await outbox.get()) is not None:
        messages.append(message)
    return messages


async def test_messages_leave_in_order() -> None:
    outbox = Outbox()
    outbox.put_control("start")
    outbox.put_audio("a")
    outbox.put_control("mark")
    outbox.put_audio("b")
    assert await taken(outbox) == ["start", "a", "mark", "b"]


async def test_the_oldest_frame_goes_and_control_stays() -> None:
    outbox = Outbox(max_frames=2)
    outbox.put_control("start")
    for frame in "abcd":
        outbox.put_audio(frame)
    assert outbox.dropped == 2
    assert await taken(outbox) == ["start", "c", "d"]


async def test_control_messages_are_bounded_too() -> None:
    outbox = Outbox(max_control=2)
    for index in range(5):
        outbox.put_control(str(index))
    assert outbox.dropped == 3
    assert await taken(outbox) == ["0", "1"]


async def test_frames_taken_make_room() -> None:
    outbox = Outbox(max_frames=1)
    for frame in "abc":
        outbox.put_audio(frame)
        assert await outbox.get() == frame
    assert outbox.dropped == 0


async def test_get_waits_for_a_message() -> None:
    outbox = Outbox()
    waiting = asyncio.create_task(outbox.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    outbox.put_audio("a")
    assert await waiting == "a"
