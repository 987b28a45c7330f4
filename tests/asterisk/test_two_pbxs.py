"""One connector beside two PBXs of different versions: each has its own calls, queues and figures."""

from __future__ import annotations

from collections.abc import Callable

from connector.lab.asterisk import LabAsterisk
from connector.lab.phone import Phone
from connector.lab.process import ConnectorProcess
from connector.lab.proof import until_heard, until_nothing_left
from connector.lab.recording_bot import RecordingBot
from connector.lab.rtp import tone_source
from connector.lab.useragent import HOST


async def test_calls_on_both_are_streamed_and_told_apart(
    asterisk: LabAsterisk, make_asterisk: Callable[..., LabAsterisk], bot: RecordingBot
) -> None:
    async with make_asterisk(phones=1) as other:
        http_port, rtp_port = other.ports.spare[:2]
        pbxs = {"main": asterisk, "branch": other}
        async with ConnectorProcess(
            pbxs=pbxs, bots={"talk": bot.url}, http_port=http_port, rtp_port=rtp_port
        ) as connector:
            for hz, (name, pbx) in zip((800, 1200), pbxs.items(), strict=True):
                after = len(bot.streams)
                async with Phone(0, "alice", (HOST, pbx.sip_port)) as phone:
                    call = await phone.call("bot_talk", source=tone_source(hz))
                    stream = await bot.next_stream(after=after)
                    await stream.until_heard(hz)
                    await stream.play(hz + 300, 2.0)
                    await until_heard(call, hz + 300)
                    assert {key: len(part["streams"]) for key, part in (await connector.state())["pbx"].items()} == {
                        key: int(key == name) for key in pbxs
                    }
                    await call.hang_up()
                await until_nothing_left(pbx)
                await connector.until_metric(
                    "connector_streams_total", lambda n: n == 1, pbx=name, profile="talk", cause="caller_hung_up"
                )
