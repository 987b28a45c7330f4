from connector.media.outbox import Outbox


def taken(outbox: Outbox) -> list[object]:
    messages: list[object] = []
    while (message := outbox.take()) is not None:
        messages.append(message)
    return messages


def test_messages_leave_in_order() -> None:
    outbox = Outbox()
    outbox.put_control("start")
    outbox.put_audio("a")
    outbox.put_control("mark")
    outbox.put_audio("b")
    assert taken(outbox) == ["start", "a", "mark", "b"]


def test_the_oldest_frame_goes_and_control_stays() -> None:
    outbox = Outbox(max_frames=2)
    outbox.put_control("start")
    for frame in "abcd":
        outbox.put_audio(frame)
    assert outbox.dropped == 2
    assert taken(outbox) == ["start", "c", "d"]


def test_control_messages_are_bounded_too() -> None:
    outbox = Outbox(max_control=2)
    for index in range(5):
        outbox.put_control(str(index))
    assert outbox.dropped == 3
    assert taken(outbox) == ["0", "1"]


def test_frames_taken_make_room() -> None:
    outbox = Outbox(max_frames=1)
    for frame in "abc":
        outbox.put_audio(frame)
        assert outbox.take() == frame
    assert outbox.dropped == 0


def test_an_empty_one_gives_none() -> None:
    assert Outbox().take() is None
