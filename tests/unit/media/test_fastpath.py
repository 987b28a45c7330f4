"""The compiled helper against the Python that it spares: same messages written, same frames read."""

import asyncio
import base64
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode

from connector.dialects import registry
from connector.dialects.base import AudioPattern, AudioTemplate, Dialect, Field, StreamStart
from connector.media import fastpath, fastpath_build
from connector.media.control import EndCause
from connector.media.engine import MediaEngine
from connector.media.fastpath import AUDIO, BROKEN, CLOSED, TOO_LONG, FastPath, FastPathMissing, Line

MAX_BYTES = 100_000
TWILIO = AudioPattern(b'{"event":"media","media":{"payload":"', b'"}}')


class Owner:
    """Keeps what a line gives."""

    def __init__(self) -> None:
        self.got: list[tuple[int, bool, bytes]] = []
        self.lost: list[int] = []
        self.rest = b""

    def on_audio(self, audio: bytes) -> None:
        self.got.append((AUDIO, True, audio))

    def on_frame(self, opcode: int, fin: bool, payload: bytes) -> None:
        self.got.append((opcode, fin, payload))

    def on_rest(self, rest: bytes) -> None:
        self.rest += rest

    def on_lost(self, kind: int, error: int) -> None:
        self.lost.append(kind)


@contextlib.contextmanager
def connected(begun: bytes = b"") -> Iterator[tuple[FastPath, Line, Owner, socket.socket]]:
    """A line, and the bot's end of its connection."""
    ours, bot = socket.socketpair()
    path, owner = FastPath(), Owner()
    with ours, bot:
        ours.setblocking(False)
        bot.setblocking(False)
        yield path, path.open(ours.fileno(), owner, max_bytes=MAX_BYTES, begun=begun), owner, bot
        path.close()


def send(path: FastPath, line: Line, *frames: tuple[bytes, int]) -> list[int]:
    lines = np.full(len(frames), line.number, np.int32)
    stamps = np.array([stamp for _, stamp in frames], np.int64)
    return path.send(lines, stamps, [payload for payload, _ in frames])


def unmasked(wire: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The messages of a client, and what is left of the bytes (RFC 6455 section 5.2)."""
    messages = []
    while len(wire) >= 2:
        assert wire[1] & 0x80, "a client masks"
        size, head = wire[1] & 0x7F, 2
        if size == 126:
            size, head = int.from_bytes(wire[2:4], "big"), 4
        if len(wire) < head + 4 + size:
            break
        mask = wire[head : head + 4] * (size // 4 + 1)
        body = wire[head + 4 : head + 4 + size]
        messages.append((wire[0], bytes(a ^ b for a, b in zip(body, mask, strict=False))))
        wire = wire[head + 4 + size :]
    return messages, wire


def dialect(name: str, **options: Any) -> Dialect:
    return registry.create(name, StreamStart("stream", "call"), {"name": name, **options})


# -- writing ---------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["twilio", "raw"]),
    before=st.integers(0, 12),
    frames=st.lists(st.tuples(st.binary(min_size=1, max_size=700), st.integers(0, 2**40)), min_size=1, max_size=20),
)
def test_it_writes_what_the_dialect_would(name: str, before: int, frames: list[tuple[bytes, int]]) -> None:
    spared, writing = dialect(name), dialect(name)
    for one in (spared, writing):
        one.opened()
        for _ in range(before):
            one.audio(b"\xff" * 160, 0)
    template = spared.template()
    assert template is not None
    with connected() as (path, line, _, bot):
        line.write(template)
        assert send(path, line, *frames) == []
        messages, left = unmasked(bot.recv(1 << 20))
        assert line.stop_writing() == len(frames)
        assert send(path, line, frames[0]) == [0]
    spared.sent(len(frames))
    wanted = [writing.audio(payload, stamp) for payload, stamp in frames]
    as_bytes = [(0x81, each.encode()) if isinstance(each, str) else (0x82, each) for each in wanted if each is not None]
    assert (messages, left) == (as_bytes, b"")
    assert spared.audio(b"", 0) == writing.audio(b"", 0)  # the numbers go on


def test_masks_are_not_to_be_foreseen() -> None:
    with connected() as (path, line, _, bot):
        line.write(AudioTemplate((Field.BYTES,), binary=True))
        wire = b""
        for _ in range(15):
            assert send(path, line, *[(b"\0\0\0\0", 0)] * 100) == []
            wire += bot.recv(1 << 20)
        masks = {wire[at + 2 : at + 6] for at in range(0, len(wire), 10)}
        assert len(masks) > 1_490


def test_a_bot_that_does_not_read_gets_whole_frames_in_order_when_it_does() -> None:
    with connected() as (path, line, owner, bot):
        line.write(AudioTemplate((Field.COUNTER_A, b" ", Field.BYTES), counters=(1, 0)))
        unsent = 0
        while not unsent:
            unsent = len(send(path, line, *[(b"x" * 4_000, 0)] * 16))
        wire = b""
        with contextlib.suppress(BlockingIOError):
            while True:
                wire += bot.recv(1 << 20)
        messages, left = unmasked(wire + owner.rest)
        assert left == b""
        assert [int(body.split()[0]) for _, body in messages] == list(range(1, line.stop_writing() + 1))


def test_a_message_that_is_too_long_is_left_to_python() -> None:
    with connected() as (path, line, _, _bot):
        line.write(AudioTemplate((Field.BASE64,)))
        assert send(path, line, (b"x" * 20_000, 0), (b"x" * 160, 0)) == [0, 1]  # which must not overtake it
        line.write(AudioTemplate((Field.BASE64,)))
        assert send(path, line, (b"x" * 160, 0)) == []


def test_no_line_no_message() -> None:
    with connected() as (path, line, owner, bot):
        line.write(AudioTemplate((Field.BYTES,), binary=True))
        lines = np.array([-1, 99, line.number], np.int32)
        assert path.send(lines, np.zeros(3, np.int64), [b"a", b"b", b"c"]) == [0, 1]
        bot.close()
        assert send(path, line, (b"d", 0)) == [0]
        path.receive()
        assert owner.lost == [CLOSED]


# -- reading ---------------------------------------------------------------------------------------------------

FRAMES = st.lists(
    st.one_of(
        st.builds(
            lambda audio: (1, True, TWILIO.head + base64.b64encode(audio) + TWILIO.tail), st.binary(max_size=600)
        ),
        st.tuples(st.sampled_from([0, 1, 2, 9, 10]), st.booleans(), st.binary(max_size=300)),
        st.just((1, True, TWILIO.head + b"AAA" + TWILIO.tail)),
        st.just((1, True, TWILIO.head + b"AA=A" + TWILIO.tail)),
        st.just((1, True, TWILIO.head[:-1])),
        st.just((2, True, b"z" * 70_000)),
    ),
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(frames=FRAMES, cuts=st.lists(st.integers(1, 3_000), max_size=40), begun=st.integers(0, 100))
def test_it_reads_what_was_sent_however_it_is_cut(
    frames: list[tuple[int, bool, bytes]], cuts: list[int], begun: int
) -> None:
    wire = b"".join(
        Frame(Opcode(opcode), payload, fin=fin).serialize(mask=False) if opcode < 8 else _control(opcode, fin, payload)
        for opcode, fin, payload in frames
    )
    with connected(begun=wire[:begun]) as (path, line, owner, bot):
        line.read(TWILIO, MAX_BYTES)
        at = begun
        for cut in [*cuts, *[60_000] * 20]:
            bot.send(wire[at : at + cut])
            at += cut
            path.receive()
    wanted = []
    for opcode, fin, payload in frames:
        audio = None
        if opcode == 1 and fin and payload.startswith(TWILIO.head) and payload.endswith(TWILIO.tail):
            with contextlib.suppress(ValueError):
                audio = base64.b64decode(payload[len(TWILIO.head) : -len(TWILIO.tail)], validate=True)
        wanted.append((AUDIO, True, audio) if audio else (opcode, fin, payload))
    assert owner.got == wanted
    assert owner.lost == []


def _control(opcode: int, fin: bool, payload: bytes) -> bytes:
    """A control frame that the library would not write: too long, or in parts."""
    size = bytes([len(payload)]) if len(payload) < 126 else b"\x7e" + len(payload).to_bytes(2, "big")
    return bytes([opcode | fin << 7]) + size + payload


def test_half_a_sample_is_for_python() -> None:
    with connected() as (path, line, owner, bot):
        line.read(AudioPattern(b"", b"", base64=False, binary=True, unit_bytes=2), MAX_BYTES)
        bot.send(b"\x82\x02ab\x82\x03abc\x82\x00")
        path.receive()
        assert owner.got == [(AUDIO, True, b"ab"), (2, True, b"abc"), (2, True, b"")]
        line.read(None, 0)
        bot.send(b"\x82\x02ab")
        path.receive()
        assert owner.got[3:] == [(2, True, b"ab")]


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        (b"\xc1\x01x", BROKEN),
        (b"\x81\x81\0\0\0\0x", BROKEN),
        (b"\x82\x7f" + (MAX_BYTES + 1).to_bytes(8, "big"), TOO_LONG),
        (b"\x82\x7f" + b"\xff" * 8, TOO_LONG),
        (b"", CLOSED),
    ],
    ids=["extension", "masked", "long", "absurd", "closed"],
)
def test_what_ends_a_line_is_told_once_after_what_came_before(wire: bytes, kind: int) -> None:
    with connected() as (path, _, owner, bot):
        bot.send(b"\x82\x01a" + wire)
        if not wire:
            bot.close()
        path.receive()
        path.receive()
        if wire:
            bot.send(b"\x82\x01b")
            path.receive()
        assert owner.got == [(2, True, b"a")]
        assert owner.lost == [kind]


def test_a_flood_of_tiny_frames_is_taken_whole() -> None:
    with connected() as (path, _, owner, bot):
        sent = bot.send(b"\x81\x00" * 30_000) // 2
        for _ in range(10):
            path.receive()
        assert len(owner.got) == sent


def test_nothing_is_given_after_a_close_from_inside() -> None:
    with connected() as (path, line, owner, bot):
        owner.on_frame = lambda opcode, fin, payload: line.close()  # type: ignore[method-assign]
        bot.send(b"\x81\x00" * 3)
        path.receive()
        line.close()
        assert line.stop_writing() == 0


def test_descriptors_and_numbers_are_given_back() -> None:
    ours, bot = socket.socketpair()
    with ours, bot:
        path = FastPath()
        before = len(list(Path("/proc/self/fd").iterdir()))
        numbers = set()
        for _ in range(200):
            line = path.open(ours.fileno(), Owner(), max_bytes=100)
            numbers.add(line.number)
            line.close()
        assert {number & 0xFFFF for number in numbers} == {0}
        assert len(numbers) == 200, "a number must never be another line's"
        many = [path.open(ours.fileno(), Owner(), max_bytes=100) for _ in range(100)]
        assert {line.number & 0xFFFF for line in many} == set(range(100))
        path.close()
        assert len(list(Path("/proc/self/fd").iterdir())) == before - 1  # its epoll too


# -- without it ------------------------------------------------------------------------------------------------


def test_a_library_that_is_not_there_is_named_with_the_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fastpath, "LIBRARY", tmp_path / "none.so")
    with pytest.raises(FastPathMissing, match=r"none\.so.*fastpath_build"):
        FastPath()


def test_a_library_from_another_source_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fastpath, "source_id", lambda: "0123")
    with pytest.raises(FastPathMissing, match="another source"):
        FastPath()


def test_without_a_compiler_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", "")
    assert fastpath_build.build() == "there is no C compiler"


# -- in a worker -----------------------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["fast", "python"])
async def engine(request: pytest.FixtureRequest) -> AsyncIterator[MediaEngine]:
    engine = MediaEngine(bind_host="127.0.0.1", bind_port=0, fast_path=request.param)
    running = asyncio.create_task(engine.run())
    await asyncio.wait_for(engine.ready.wait(), 20)
    assert engine.workers[0].fast_path == request.param
    yield engine
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_numbers_have_no_gap_whoever_writes(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, caller = await open_stream(recording_bot.url)
    speaking = asyncio.create_task(caller.speak([bytes([n]) * 160 for n in range(100)]))
    for digit in "12345":
        handle.send_dtmf(digit)
        await recording_bot.play(b"\x11" * 320)
        await recording_bot.say("mark", mark={"name": digit})
        seen = len(recording_bot.audio)
        await until(lambda seen=seen: len(recording_bot.audio) > seen + 10)
    await speaking
    await until(lambda: b"\x63" * 160 in recording_bot.audio)
    await until(lambda: len(recording_bot.all("mark")) == 5)
    handle.close(EndCause.CALLER_HUNG_UP)
    await until(lambda: recording_bot.all("stop"))
    numbered = [int(message["sequenceNumber"]) for message in recording_bot.messages if "sequenceNumber" in message]
    assert numbered == list(range(1, len(numbered) + 1))
    chunks = [int(message["media"]["chunk"]) for message in recording_bot.all("media")]
    assert chunks == list(range(1, len(chunks) + 1))
    stamps = [int(message["media"]["timestamp"]) for message in recording_bot.all("media")]
    assert stamps == list(range(0, 20 * len(stamps), 20))
    assert [frame for frame in recording_bot.audio if frame != b"\xff" * 160] == [bytes([n]) * 160 for n in range(100)]


async def test_a_ping_of_the_bot_is_answered_and_its_close_agreed_to(
    engine: MediaEngine, open_stream: Any, recording_bot: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    await asyncio.wait_for(await recording_bot.sockets[0].ping(b"there?"), 5)
    await recording_bot.sockets[0].close(4_321, "enough")
    ended = await asyncio.wait_for(handle.ended, 5)
    assert (ended.cause, "4321" in ended.detail, "enough" in ended.detail) == (EndCause.BOT_CLOSED, True, True)


async def test_a_raw_bot_that_mutes_hears_nothing_until_it_wants_to(
    engine: MediaEngine, open_stream: Any, until: Any
) -> None:
    heard: list[bytes] = []
    sockets: list[ServerConnection] = []

    async def listen(socket: ServerConnection) -> None:
        sockets.append(socket)
        async for message in socket:
            if isinstance(message, bytes):
                heard.append(message)  # noqa: PERF401

    async with serve(listen, "127.0.0.1", 0) as server:
        url = f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        handle, caller = await open_stream(url, dialect="raw", dialect_options={"name": "raw"})
        speaking = asyncio.create_task(caller.speak([b"\x11" * 160] * 200))
        await until(lambda: len(heard) > 10)
        await sockets[0].send(json.dumps({"type": "mute", "muted": True}))
        command = await asyncio.wait_for(handle.commands.get(), 5)
        assert command.muted
        counted = len(heard)
        got = handle.stats.packets_in
        await until(lambda: handle.stats.packets_in > got)
        assert len(heard) <= counted + 2  # what was on its way
        await sockets[0].send(json.dumps({"type": "mute", "muted": False}))
        await until(lambda: len(heard) > counted + 10)
        speaking.cancel()
        await sockets[0].send(b"\x22\x22" * 160)
        await until(lambda: caller.heard)
