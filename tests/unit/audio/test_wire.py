"""What Asterisk is asked for and what RTP says of it."""

from __future__ import annotations

import pytest

from connector.audio.formats import AudioFormat, Encoding
from connector.audio.wire import WIRES, Transport


@pytest.mark.parametrize(
    ("name", "heard_type", "said_type", "heard_bytes", "clock_hz"),
    [
        ("rtp/ulaw", 0, 0, 160, 8_000),
        ("rtp/alaw", 8, 8, 160, 8_000),
        ("rtp/g722", 9, 9, 160, 8_000),  # RFC 3551 section 4.5.2: 8000 is an error that stayed
        ("rtp/slin16", 118, 9, 640, 16_000),
        ("rtp/slin48", 126, 9, 1920, 48_000),
    ],
)
def test_rtp(name: str, heard_type: int, said_type: int, heard_bytes: int, clock_hz: int) -> None:
    wire = WIRES[name]
    assert (wire.heard_type, wire.said_type, wire.heard_clock_hz) == (heard_type, said_type, clock_hz)
    assert wire.heard.frame_bytes == heard_bytes


@pytest.mark.parametrize("name", WIRES)
def test_every_name_is_that_of_its_wire(name: str) -> None:
    assert WIRES[name].name == name


def test_what_goes_to_asterisk_over_rtp_is_160_bytes_of_a_clock_of_8000() -> None:
    """On which the audio loop builds its datagrams."""
    for wire in WIRES.values():
        if wire.transport is Transport.RTP:
            assert wire.said.frame_bytes == 160


def test_linear_is_big_endian_over_rtp_alone() -> None:
    linear = {wire.heard for wire in WIRES.values() if wire.codec.startswith("slin") and wire.transport == "rtp"}
    assert linear == {AudioFormat(Encoding.L16BE, 16_000), AudioFormat(Encoding.L16BE, 48_000)}
    others = {wire.heard.encoding for wire in WIRES.values() if wire.transport != "rtp"}
    assert Encoding.L16BE not in others
