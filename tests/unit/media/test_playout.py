from hypothesis import given, strategies as st

from connector.audio.formats import AudioFormat, Encoding
from connector.media import playout as playout_module
from connector.media.playout import Playout

operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 900)),
        st.just(("mark", 0)),
        st.just(("clear", 0)),
        st.tuples(st.just("read"), st.integers(1, 8)),
    ),
    max_size=80,
)


def new(*, max_ms: int = 1_000, prebuffer_ms: int = 0) -> Playout:
    return Playout(max_ms=max_ms, prebuffer_ms=prebuffer_ms)


def read_all(playout: Playout) -> tuple[bytes, list[str]]:
    audio, marks = b"", []
    for _ in range(2_000):
        frame, fired = playout.read()
        marks += fired
        audio += frame or b""
        if frame is None and not playout.queued_bytes:
            return audio, marks
    raise AssertionError("it never ran dry")


@given(operations, st.sampled_from([0, 20, 60]))
def test_every_byte_and_every_mark_once(todo: list[tuple[str, int]], prebuffer_ms: int) -> None:
    playout = new(max_ms=200, prebuffer_ms=prebuffer_ms)
    sent: list[str] = []
    got: list[str] = []
    accepted = cleared = frames = counter = 0
    for what, amount in todo:
        if what == "write":
            # bytes 1 to 250: never the padding
            audio = bytes((counter + n) % 250 + 1 for n in range(amount))
            dropped = playout.write(audio)
            accepted += amount - dropped
            counter += amount - dropped
        elif what == "mark":
            sent.append(str(len(sent)))
            got += playout.mark(sent[-1])
        elif what == "clear":
            cleared += playout.queued_bytes
            got += playout.clear()
            assert playout.queued_bytes == 0
        else:
            for _ in range(amount):
                frame, fired = playout.read()
                got += fired
                frames += len((frame or b"").rstrip(b"\xff"))
        assert playout.queued_ms <= 200
    audio, fired = read_all(playout)
    frames += len(audio.replace(b"\xff", b""))
    assert got + fired == sent
    assert frames == accepted - cleared


def test_audio_comes_out_as_sent_and_the_last_frame_is_padded() -> None:
    playout = new()
    audio = bytes(n % 251 for n in range(500))
    for at in range(0, 500, 7):
        playout.write(audio[at : at + 7])
    out, _ = read_all(playout)
    assert out == audio + b"\xff" * (4 * 160 - 500)


def test_a_mark_fires_when_its_audio_has_left() -> None:
    playout = new()
    playout.write(bytes(170))
    assert playout.mark("here") == []
    playout.write(bytes(150))
    assert playout.read()[1] == []
    assert playout.read()[1] == ["here"]


def test_a_mark_fires_at_once_when_nothing_waits() -> None:
    assert new().mark("now") == ["now"]


def test_clear_gives_back_each_mark_once_in_order() -> None:
    playout = new()
    for name in ("a", "b"):
        playout.write(bytes(160))
        playout.mark(name)
    assert playout.clear() == ["a", "b"]
    assert playout.clear() == []
    assert playout.read() == (None, [])


def test_what_is_beyond_the_bound_is_dropped_and_counted() -> None:
    playout = new(max_ms=40)
    assert playout.write(b"\x01" * 400) == 80
    assert playout.dropped_bytes == 80
    assert read_all(playout)[0] == b"\x01" * 320


def test_the_first_audio_waits_for_its_prebuffer() -> None:
    playout = new(prebuffer_ms=60)
    playout.write(b"\x01" * 160)
    assert [playout.read()[0] is None for _ in range(4)] == [True, True, True, False]


def test_a_full_prebuffer_waits_no_longer() -> None:
    playout = new(prebuffer_ms=60)
    playout.write(b"\x01" * 480)
    assert playout.read()[0] is not None


def test_an_underrun_is_a_gap_inside_speech() -> None:
    playout = new()
    playout.write(bytes(160))
    for _ in range(3):
        playout.read()
    assert playout.underruns == 0
    playout.write(bytes(160))
    assert playout.underruns == 1


def test_a_pause_of_the_bot_is_no_underrun() -> None:
    playout = new()
    playout.write(bytes(160))
    for _ in range(14):
        playout.read()
    playout.write(bytes(160))
    assert playout.underruns == 0


def test_speech_after_a_clear_is_no_underrun() -> None:
    playout = new()
    playout.write(bytes(160))
    playout.read()
    playout.read()
    playout.clear()
    playout.write(bytes(160))
    assert playout.underruns == 0


def test_marks_are_bounded() -> None:
    playout = new()
    playout.write(bytes(160))
    for index in range(playout_module.MAX_MARKS + 5):
        playout.mark(str(index))
    assert playout.marks_dropped == 5
    assert len(playout.clear()) == playout_module.MAX_MARKS


def test_linear_audio_at_16_khz_comes_in_frames_of_640_bytes() -> None:
    playout = Playout(max_ms=1_000, prebuffer_ms=0, audio=AudioFormat(Encoding.L16, 16_000))
    assert playout.write(b"\x01\x02" * 400) == 0
    assert playout.queued_ms == 25
    assert playout.read() == (b"\x01\x02" * 320, [])
    assert playout.read() == (b"\x01\x02" * 80 + bytes(480), [])
    assert playout.read() == (None, [])


def test_a_sample_cut_in_two_by_the_messages_is_put_together() -> None:
    playout = Playout(max_ms=1_000, prebuffer_ms=0, audio=AudioFormat(Encoding.L16, 8_000))
    whole = bytes(range(1, 161)) * 4
    for at in range(0, len(whole), 33):
        playout.write(whole[at : at + 33])
    assert read_all(playout)[0] == whole


def test_of_too_much_audio_the_oldest_gives_way_where_that_is_wanted() -> None:
    playout = Playout(max_ms=100, prebuffer_ms=0, drop_oldest=True)
    playout.write(b"\x01" * 160)
    playout.mark("first")
    assert playout.write(b"\x02" * 160 * 5) == 160
    assert (playout.queued_ms, playout.dropped_bytes) == (100, 160)
    assert playout.read() == (b"\x02" * 160, ["first"])  # what was dropped is passed
    assert playout.write(b"\x03" * 2_000) == 2_000 - 160
    assert playout.queued_ms == 100
    assert {playout.read()[0] for _ in range(5)} == {b"\x03" * 160}
