"""The worker as a process: audio, control messages, and what misbehaving peers do to others (nothing)."""

import asyncio
import contextlib
import itertools
import json
import ssl
import statistics
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

from connector.audio import g711
from connector.audio.tone import dominant_tone
from connector.lab.echo_bot import bot, tone
from connector.media import counters
from connector.media.control import Address, EndCause
from connector.media.engine import MediaEngine
from connector.media.rtp import RtpReject, int16, int32
from connector.net.reach import Reach

SILENCE = b"\xff" * 160


def loudest_hz(mulaw: bytes) -> float:
    return dominant_tone(g711.ulaw_decode(mulaw), g711.SAMPLE_RATE_HZ).hz


def frames_of(audio: bytes) -> list[bytes]:
    return [audio[at : at + 160] for at in range(0, len(audio), 160)]


@contextlib.asynccontextmanager
async def answering(answer: bytes, *, asked: bytes) -> AsyncIterator[int]:
    """A server with one answer for all, sent when it has been asked; gives its port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if asked:
            await reader.readuntil(asked)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def test_a_tone_comes_back_from_an_echo_bot(open_stream: Any, until: Any) -> None:
    spoken = frames_of(tone(440, 0.6))
    async with bot("127.0.0.1", 0, "echo") as port:
        _, caller = await open_stream(f"ws://127.0.0.1:{port}/", prebuffer_ms=60)
        await caller.speak(spoken)
        await until(lambda: len(caller.heard) >= len(spoken))
    heard = b"".join(caller.heard)
    assert heard == b"".join(spoken)
    assert abs(loudest_hz(heard) - 440) < 5


async def test_the_bot_gets_a_start_and_then_each_frame(open_stream: Any, recording_bot: Any, until: Any) -> None:
    spoken = frames_of(tone(700, 0.3))
    handle, caller = await open_stream(recording_bot.url)
    await caller.speak(spoken)
    await until(lambda: sum(frame != SILENCE for frame in recording_bot.audio) == len(spoken))
    assert [message["event"] for message in recording_bot.messages[:2]] == ["connected", "start"]
    assert recording_bot.all("start")[0]["start"]["customParameters"] == {"lang": "de"}
    assert recording_bot.headers["Authorization"] == "Bearer sesame"
    assert [frame for frame in recording_bot.audio if frame != SILENCE] == spoken
    numbers = [int(message["sequenceNumber"]) for message in recording_bot.messages[1:]]
    assert numbers == list(range(1, len(numbers) + 1))
    stamps = [int(message["media"]["timestamp"]) for message in recording_bot.all("media")]
    assert stamps == list(range(0, 20 * len(stamps), 20))
    await until(lambda: handle.stats.packets_in == len(spoken))
    assert handle.stats.packets_lost == 0


async def test_nothing_is_exchanged_before_the_media_is_attached(
    engine: MediaEngine, recording_bot: Any, request_for: Any, until: Any
) -> None:
    handle = await engine.open(request_for(recording_bot.url))
    await recording_bot.play(SILENCE)
    await until(lambda: handle.stats.bot_messages == 1)
    assert recording_bot.messages == []
    assert handle.stats.packets_out == 0


async def test_a_mute_caller_gives_the_bot_silence_on_its_clock(
    open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    await until(lambda: len(recording_bot.audio) >= 30)
    assert set(recording_bot.audio) == {SILENCE}
    await until(lambda: handle.stats.silence_filled >= 30)


async def test_a_silent_bot_leaves_the_callers_rtp_running(open_stream: Any, recording_bot: Any, until: Any) -> None:
    _, caller = await open_stream(recording_bot.url)
    await until(lambda: len(caller.packets) >= 20)
    assert {packet.payload for packet in caller.packets} == {SILENCE}


async def test_rtp_to_the_caller_is_paced_and_free_of_gaps(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    _, caller = await open_stream(recording_bot.url)
    await recording_bot.play(bytes(range(200)) * 80)  # two seconds at once
    await until(lambda: len(caller.packets) >= 100)
    packets = caller.packets
    assert packets[0].marker
    assert not any(packet.marker for packet in packets[1:])
    assert len({packet.ssrc for packet in packets}) == 1
    pairs = list(itertools.pairwise(packets))
    assert {int16(after.sequence - before.sequence) for before, after in pairs} == {1}
    steps = [int32(after.timestamp - before.timestamp) for before, after in pairs]
    assert all(step >= 160 and step % 160 == 0 for step in steps)
    # The median, for a shared machine may stall; the absolute clock keeps the sum true all the same.
    intervals = [after - before for before, after in zip(caller.arrived_s, caller.arrived_s[1:], strict=False)]
    assert abs(statistics.median(intervals) - 0.020) < 0.004
    assert abs(sum(intervals) - sum(steps) / 8_000) < 0.1


async def test_digits_reach_the_bot(open_stream: Any, recording_bot: Any, until: Any) -> None:
    handle, _ = await open_stream(recording_bot.url)
    for digit in "1#":
        handle.send_dtmf(digit)
    await until(lambda: len(recording_bot.all("dtmf")) == 2)
    assert [message["dtmf"]["digit"] for message in recording_bot.all("dtmf")] == ["1", "#"]


async def test_a_mark_returns_when_its_audio_has_been_played(open_stream: Any, recording_bot: Any, until: Any) -> None:
    handle, caller = await open_stream(recording_bot.url)
    await recording_bot.play(b"\x11" * 160 * 30)
    await recording_bot.say("mark", mark={"name": "end"})
    await until(lambda: len(caller.heard) >= 5)
    assert recording_bot.all("mark") == []
    await until(lambda: recording_bot.all("mark"))
    await until(lambda: len(caller.heard) == 30)
    assert recording_bot.all("mark")[0]["mark"] == {"name": "end"}
    await recording_bot.say("mark", mark={"name": "at once"})
    await until(lambda: len(recording_bot.all("mark")) == 2)
    await until(lambda: handle.stats.marks == 2)


async def test_clear_stops_the_audio_and_returns_the_marks(open_stream: Any, recording_bot: Any, until: Any) -> None:
    handle, caller = await open_stream(recording_bot.url)
    for name in ("a", "b"):
        await recording_bot.play(b"\x11" * 8_000 * 4)
        await recording_bot.say("mark", mark={"name": name})
    await until(lambda: len(caller.heard) >= 5)
    await recording_bot.say("clear")
    await until(lambda: len(recording_bot.all("mark")) == 2)
    heard = len(caller.heard)
    packets = len(caller.packets)
    await until(lambda: len(caller.packets) >= packets + 20)
    # What left in the very tick of the clear may still have been under way.
    assert len(caller.heard) <= heard + 2
    assert [message["mark"]["name"] for message in recording_bot.all("mark")] == ["a", "b"]
    await until(lambda: handle.stats.clears == 1)


async def test_marks_of_what_was_cleared_are_left_out_where_the_profile_wants_that(
    open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, caller = await open_stream(recording_bot.url, return_cleared=False)
    await recording_bot.play(b"\x11" * 32_000)
    await recording_bot.say("mark", mark={"name": "cleared"})
    await until(lambda: len(caller.heard) >= 5)
    await recording_bot.say("clear")
    await recording_bot.play(b"\x11" * 160)
    await recording_bot.say("mark", mark={"name": "heard"})
    await until(lambda: recording_bot.all("mark"))
    assert [message["mark"]["name"] for message in recording_bot.all("mark")] == ["heard"]
    await until(lambda: handle.stats.marks == 1)


async def test_the_digits_of_the_echo_bot(open_stream: Any, until: Any) -> None:
    async with bot("127.0.0.1", 0, "echo") as port:
        handle, caller = await open_stream(f"ws://127.0.0.1:{port}/")
        handle.send_dtmf("2")
        await until(lambda: len(caller.heard) >= 20)
        assert abs(loudest_hz(b"".join(caller.heard[:20])) - 1_000) < 10
        handle.send_dtmf("1")
        await until(lambda: handle.stats.clears == 1 and handle.stats.marks == 1)
        handle.send_dtmf("4")
        await until(lambda: handle.stats.marks == 2)
        handle.send_dtmf("3")
        ended = await asyncio.wait_for(handle.ended, 10)
        assert ended.cause is EndCause.BOT_CLOSED
        assert "1000" in ended.detail


async def test_a_dropped_connection_is_a_lost_bot(open_stream: Any) -> None:
    async with bot("127.0.0.1", 0, "echo") as port:
        handle, _ = await open_stream(f"ws://127.0.0.1:{port}/")
        handle.send_dtmf("5")
        assert (await asyncio.wait_for(handle.ended, 10)).cause is EndCause.BOT_LOST


async def test_closing_says_stop_and_closes_with_1000(open_stream: Any, recording_bot: Any, until: Any) -> None:
    handle, caller = await open_stream(recording_bot.url)
    await until(lambda: caller.packets)
    handle.close(EndCause.CALLER_HUNG_UP)
    ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.CALLER_HUNG_UP
    assert ended.stats.packets_out >= 1
    await until(lambda: recording_bot.closed_with is not None)
    assert recording_bot.closed_with == 1000
    assert recording_bot.messages[-1]["event"] == "stop"


async def test_late_packets_of_a_closed_stream_are_drained(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    handle, caller = await open_stream(recording_bot.url)
    handle.close(EndCause.CALLER_HUNG_UP)
    await asyncio.wait_for(handle.ended, 10)
    caller.send(SILENCE)
    await until(lambda: engine.stats.counters[counters.RTP_DRAINED] == 1)
    assert engine.stats.counters[counters.rtp_rejected(RtpReject.UNKNOWN_SOURCE)] == 0


async def test_rubbish_on_the_rtp_port_is_counted_by_cause_and_harms_nobody(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, until: Any
) -> None:
    spoken = frames_of(tone(440, 0.4))
    _, caller = await open_stream(recording_bot.url)
    stranger, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        asyncio.DatagramProtocol, remote_addr=caller.worker
    )
    rubbish = {
        RtpReject.TOO_SHORT: b"\x80\x00",
        RtpReject.TOO_LONG: b"\x80" * 3_000,
        RtpReject.WRONG_VERSION: b"GET / HTTP/1.1\r\n",
        RtpReject.RTCP: b"\x80\xc8" + bytes(26),
        RtpReject.TRUNCATED_CSRC: b"\x8f\x00" + bytes(10),
        RtpReject.TRUNCATED_EXTENSION: b"\x90\x00" + bytes(10) + b"\x00\x00\xff\xff",
        RtpReject.BAD_PADDING: b"\xa0\x00" + bytes(11),
        RtpReject.WRONG_PAYLOAD_TYPE: b"\x80\x08" + bytes(170),
    }
    speaking = asyncio.create_task(caller.speak(spoken))
    for datagram in rubbish.values():
        caller.raw(datagram)
        stranger.sendto(datagram)
    await speaking
    stranger.close()
    await until(lambda: engine.stats.counters[counters.rtp_rejected(RtpReject.UNKNOWN_SOURCE)] == len(rubbish))
    totals = engine.stats.counters
    assert {cause: totals[counters.rtp_rejected(cause)] for cause in rubbish} == dict.fromkeys(rubbish, 1)
    await until(lambda: sum(frame != SILENCE for frame in recording_bot.audio) == len(spoken))
    assert [frame for frame in recording_bot.audio if frame != SILENCE] == spoken


async def test_rubbish_from_a_bot_is_counted_and_the_call_goes_on(
    engine: MediaEngine, open_stream: Any, until: Any
) -> None:
    spoken = frames_of(tone(440, 0.2))
    async with bot("127.0.0.1", 0, "garbage") as port:
        handle, caller = await open_stream(f"ws://127.0.0.1:{port}/")
        await until(lambda: handle.stats.bot_rejected == 8)
        await caller.speak(spoken)
        await until(lambda: len(caller.heard) == len(spoken))
    for cause in ("not_json", "unknown_event", "bad_base64", "wrong_stream", "too_large", "not_text"):
        assert engine.stats.counters[f"bot_rejected_{cause}"] == 1
    assert engine.stats.counters["bot_rejected_bad_shape"] == 2


async def test_a_message_far_too_long_ends_the_stream_not_the_worker(
    engine: MediaEngine, open_stream: Any, recording_bot: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    with contextlib.suppress(ConnectionError):
        await recording_bot.sockets[-1].send(json.dumps({"event": "clear", "x": "x" * 2_000_000}))
    ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.BOT_LOST
    assert "1009" in ended.detail
    assert engine.stats.restarts == 0


async def test_a_bot_that_never_reads_harms_nobody(open_stream: Any, recording_bot: Any, until: Any) -> None:
    """The outbox of the one overflows and drops; the other gets every frame."""
    loud = b"\x11" * 160
    async with bot("127.0.0.1", 0, "never_read") as port:
        deaf, deaf_caller = await open_stream(f"ws://127.0.0.1:{port}/")
        handle, caller = await open_stream(recording_bot.url)
        # Faster than real time, so that what the kernel buffers is soon full.
        ended = deaf.ended
        sent = 0
        while not deaf.stats.send_dropped and not ended.done():
            for _ in range(50):
                deaf_caller.send(loud)
            caller.send(bytes([sent % 250]) * 160)
            sent += 1
            await asyncio.sleep(0.020)
        await until(lambda: sum(frame != SILENCE for frame in recording_bot.audio) >= sent)
        await until(lambda: handle.stats.packets_in == sent)
        assert [frame[0] for frame in recording_bot.audio if frame != SILENCE] == [n % 250 for n in range(sent)]
        assert handle.stats.send_dropped == 0
        assert not handle.ended.done()
        # It answers no ping either, and is given up.
        final = await asyncio.wait_for(ended, 20)
        assert final.cause is EndCause.BOT_LOST
        assert final.stats.send_dropped > 0


async def test_an_address_that_asterisk_gives_out_again_belongs_to_the_new_stream(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, request_for: Any, until: Any
) -> None:
    _, caller = await open_stream(recording_bot.url)
    newer = await engine.open(request_for(recording_bot.url))
    newer.attach(caller.address)
    await until(lambda: engine.stats.counters[counters.RTP_SOURCE_TAKEN_OVER] == 1)
    caller.send(b"\x11" * 160)
    await until(lambda: newer.stats.packets_in == 1)


async def test_an_address_that_is_none_ends_its_stream_alone(
    engine: MediaEngine, open_stream: Any, recording_bot: Any, request_for: Any
) -> None:
    handle, _ = await open_stream(recording_bot.url)
    other = await engine.open(request_for(recording_bot.url))
    other.attach(Address("pbx.example", 4000))
    assert (await asyncio.wait_for(other.ended, 10)).cause is EndCause.ASTERISK_ERROR
    assert not handle.ended.done()


@pytest.mark.parametrize(
    ("mode", "cause"),
    [
        ("refuse", EndCause.BOT_UNAVAILABLE),
        ("hang", EndCause.BOT_TIMEOUT),
        ("hangup", EndCause.BOT_REFUSED),
    ],
)
async def test_bots_that_do_not_answer_well(
    engine: MediaEngine, request_for: Any, stream_failed: Any, mode: str, cause: EndCause
) -> None:
    async with bot("127.0.0.1", 0, mode) as port:
        failure = await stream_failed(engine, request_for(f"ws://127.0.0.1:{port}/", connect_timeout_ms=300))
    assert failure.cause is cause
    assert engine.stats.streams == 0


async def test_bots_that_are_not_there(engine: MediaEngine, request_for: Any, stream_failed: Any) -> None:
    async with bot("127.0.0.1", 0, "echo") as port:
        pass
    for url, cause in (
        (f"ws://127.0.0.1:{port}/", EndCause.BOT_REFUSED),
        ("ws://no-such-host.invalid/", EndCause.BOT_DNS),
        ("ws:///", EndCause.BOT_REFUSED),
        ("http://127.0.0.1/", EndCause.BOT_REFUSED),
    ):
        failure = await stream_failed(engine, request_for(url))
        assert failure.cause is cause, url


async def test_a_private_address_is_refused_before_a_connection_is_made(
    engine: MediaEngine, request_for: Any, stream_failed: Any, recording_bot: Any
) -> None:
    port = recording_bot.url.rpartition(":")[2].strip("/")
    for url in (f"ws://127.0.0.1:{port}/", f"ws://localhost:{port}/", f"ws://[::ffff:127.0.0.1]:{port}/"):
        failure = await stream_failed(engine, msgspec.structs.replace(request_for(url), reach=Reach()))
        assert failure.cause is EndCause.BOT_FORBIDDEN, url
        assert "private address" in failure.detail
    allowed = msgspec.structs.replace(request_for(recording_bot.url), reach=Reach(private=("127.0.0.0/8",)))
    await engine.open(allowed)


async def test_tls_with_a_bot_that_has_none_is_refused(
    engine: MediaEngine, request_for: Any, stream_failed: Any
) -> None:
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n", asked=b"\x16") as port:
        failure = await stream_failed(engine, request_for(f"wss://127.0.0.1:{port}/"))
    assert failure.cause is EndCause.BOT_TLS
    assert "TLS" in failure.detail


async def test_a_bot_over_tls_is_reached_and_its_certificate_checked(
    recording_bot: Any,
    request_for: Any,
    stream_failed: Any,
    until: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=bot"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    made = await asyncio.create_subprocess_exec(*command, *names, stderr=asyncio.subprocess.DEVNULL)
    assert await made.wait() == 0
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)

    async def try_it(engine: MediaEngine, url: str, trusted: bool) -> None:
        running = asyncio.create_task(engine.run())
        await asyncio.wait_for(engine.ready.wait(), 20)
        if trusted:
            handle = await engine.open(request_for(url))
            await recording_bot.play(SILENCE)
            await until(lambda: handle.stats.bot_audio_bytes == 160)
        else:
            failure = await stream_failed(engine, request_for(url))
            assert (failure.cause, "TLS" in failure.detail) == (EndCause.BOT_TLS, True)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async with serve(recording_bot.handle, "127.0.0.1", 0, ssl=tls, compression=None) as server:
        url = f"wss://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"
        await try_it(MediaEngine(bind_host="127.0.0.1", bind_port=0), url, trusted=False)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await try_it(MediaEngine(bind_host="127.0.0.1", bind_port=0), url, trusted=True)


@pytest.mark.parametrize("asked", [b"", b"\r\n\r\n"], ids=["unasked", "asked"])
async def test_an_answer_that_is_not_http_is_rejected(
    engine: MediaEngine, request_for: Any, stream_failed: Any, asked: bytes
) -> None:
    async with answering(b"SSH-2.0-OpenSSH_9.9\r\n\r\n", asked=asked) as port:
        # Unasked, it depends on the moment in which the library is met: several tries.
        failures = [await stream_failed(engine, request_for(f"ws://127.0.0.1:{port}/")) for _ in range(20)]
    assert {failure.cause for failure in failures} == {EndCause.BOT_REJECTED}


async def test_a_redirect_is_not_followed(engine: MediaEngine, request_for: Any, stream_failed: Any) -> None:
    """Headers of the profile are secrets of this bot, not of the one that it names."""
    answer = b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"
    async with answering(answer, asked=b"\r\n\r\n") as port:
        failure = await stream_failed(engine, request_for(f"ws://127.0.0.1:{port}/"))
    assert (failure.cause, "302" in failure.detail) == (EndCause.BOT_REJECTED, True)


async def test_an_unknown_dialect_is_refused(engine: MediaEngine, request_for: Any, stream_failed: Any) -> None:
    failure = await stream_failed(engine, request_for("ws://127.0.0.1:1/", dialect="no-such"))
    assert "twilio" in failure.detail


async def test_a_close_while_dialling_ends_the_dial(engine: MediaEngine, request_for: Any, until: Any) -> None:
    async with bot("127.0.0.1", 0, "hang") as port:
        asked = request_for(f"ws://127.0.0.1:{port}/", connect_timeout_ms=30_000)
        opening = asyncio.create_task(engine.open(asked))
        await until(lambda: engine.stats.streams == 1)
        opening.cancel()
        await until(lambda: engine.stats.streams == 0)
    await asyncio.gather(opening, return_exceptions=True)


async def test_a_closed_bot_tells_its_code(open_stream: Any, recording_bot: Any) -> None:
    handle, _ = await open_stream(recording_bot.url)
    await recording_bot.sockets[-1].close(4_001, "out of ideas")
    ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.BOT_CLOSED
    assert "4001" in ended.detail
    assert "out of ideas" in ended.detail


async def test_a_flood_from_one_bot_lets_the_others_have_their_turn(
    open_stream: Any, recording_bot: Any, until: Any
) -> None:
    async def flood(socket: ServerConnection) -> None:
        socket.transport.write((b"\x81\x11" + b'{"event":"clear"}') * 50_000)
        await socket.wait_closed()

    spoken = frames_of(tone(440, 0.6))
    handle, caller = await open_stream(recording_bot.url)
    async with serve(flood, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        flooding, _ = await open_stream(f"ws://127.0.0.1:{port}/")
        await caller.speak(spoken)
        await until(lambda: flooding.stats.clears == 50_000, 30)
        await until(lambda: sum(frame != SILENCE for frame in recording_bot.audio) == len(spoken))
        flooding.close(EndCause.CALLER_HUNG_UP)
        await asyncio.wait_for(flooding.ended, 10)
    assert [frame for frame in recording_bot.audio if frame != SILENCE] == spoken
    assert not handle.ended.done()


async def test_messages_in_several_frames_are_put_together(open_stream: Any, until: Any) -> None:
    async def speak_in_parts(socket: ServerConnection) -> None:
        await socket.send(['{"event":', '"mark","mark":{"na', 'me":"whole"}}'])
        answers.extend([json.loads(text) async for text in socket])

    answers: list[dict[str, Any]] = []
    async with serve(speak_in_parts, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        handle, _ = await open_stream(f"ws://127.0.0.1:{port}/")
        await until(lambda: handle.stats.marks == 1)
        handle.close(EndCause.CALLER_HUNG_UP)
        await asyncio.wait_for(handle.ended, 10)
        await until(lambda: answers)
    assert [answer["mark"] for answer in answers if answer["event"] == "mark"] == [{"name": "whole"}]


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        (b"\x81\x02\xff\xfe", "1007"),  # text that is not UTF-8
        (b"\x01\x02\xff\xfe\x80\x01\xff", "1007"),  # the same in parts
        (b"\x80\x01x", "1002"),  # a part without a beginning
        (b"\x01\x01x\x01\x01y", "1002"),  # two beginnings
    ],
)
async def test_frames_against_the_protocol_end_the_stream_alone(
    engine: MediaEngine, open_stream: Any, frames: bytes, code: str
) -> None:
    opened = asyncio.Event()

    async def misbehave(socket: ServerConnection) -> None:
        await opened.wait()
        socket.transport.write(frames)
        await socket.wait_closed()

    async with serve(misbehave, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        handle, _ = await open_stream(f"ws://127.0.0.1:{port}/")
        opened.set()
        ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.BOT_LOST
    assert code in ended.detail
    assert engine.stats.restarts == 0


async def test_a_message_in_endless_parts_is_cut_off(open_stream: Any) -> None:
    opened = asyncio.Event()

    async def never_finish(socket: ServerConnection) -> None:
        await opened.wait()
        socket.transport.write(b"\x01\x00" + b"\x00\x00" * 100_000)
        await socket.wait_closed()

    async with serve(never_finish, "127.0.0.1", 0, compression=None) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        handle, _ = await open_stream(f"ws://127.0.0.1:{port}/")
        opened.set()
        ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.BOT_LOST
    assert "1009" in ended.detail


@contextlib.asynccontextmanager
async def shaking_hands(connection: str, then: Callable[[asyncio.StreamWriter], None]) -> AsyncIterator[str]:
    """A server that takes every upgrade, with these headers in the answer, and reads ever after; gives its url."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        key = next(line for line in request.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:"))
        accept = accept_key(key.partition(b":")[2].strip().decode())
        head = f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n{connection}"
        writer.write(f"{head}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
        then(writer)
        while await reader.read(65_536):
            pass
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


async def test_a_bot_that_does_not_answer_pings_is_lost(open_stream: Any) -> None:
    async with shaking_hands("Connection: Upgrade\r\n", lambda writer: None) as url:
        handle, _ = await open_stream(url)
        ended = await asyncio.wait_for(handle.ended, 10)
    assert ended.cause is EndCause.BOT_LOST
    assert "ping" in ended.detail


@pytest.mark.parametrize(
    "connection",
    [
        "Connection: keep-alive, Upgrade\r\n",
        "connection: keep-alive\r\nConnection:upgrade\r\n",
        f"Connection: Upgrade, close\r\nServer: {'x' * 5_000}\r\n",
    ],
    ids=["list", "two-lines", "long-head"],
)
async def test_a_bot_behind_a_proxy_that_has_more_to_say_of_the_connection(
    open_stream: Any, until: Any, connection: str
) -> None:
    """And one that speaks in the same breath: what follows the head of the answer is not lost."""
    rubbish = b"\x81\x01x" * 1_000  # frames of one byte of text that is no JSON
    async with shaking_hands(connection, lambda writer: writer.write(rubbish)) as url:
        handle, _ = await open_stream(url)
        await until(lambda: handle.stats.bot_rejected == 1_000)


async def test_an_upgrade_without_the_word_is_refused(
    engine: MediaEngine, request_for: Any, stream_failed: Any
) -> None:
    async with shaking_hands("Connection: keep-alive\r\n", lambda writer: None) as url:
        failure = await stream_failed(engine, request_for(url))
    assert (failure.cause, "connection" in failure.detail) == (EndCause.BOT_REJECTED, True)


async def test_more_streams_than_there_were_rows_at_first(open_stream: Any, recording_bot: Any, until: Any) -> None:
    opened = [await open_stream(recording_bot.url) for _ in range(70)]
    for index, (_, caller) in enumerate(opened):
        caller.send(bytes([index]) * 160)
    for handle, caller in opened:
        await until(lambda handle=handle: handle.stats.packets_in == 1)
        packets = len(caller.packets)
        await until(lambda caller=caller, packets=packets: len(caller.packets) > packets)
    assert {bytes([index]) * 160 for index in range(70)} <= set(recording_bot.audio)
