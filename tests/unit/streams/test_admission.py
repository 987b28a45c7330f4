"""Admission: never a channel more than the PBX's RTP ports allow."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from connector.asterisk.pbx_facts import RtpRange
from connector.streams.admission import Admission, Refusal, stream_limit

WIDE = RtpRange(10_000, 20_000)


def admit(admission: Admission, pbx: str = "main", **changes: object) -> Refusal | None:
    facts: dict[str, object] = {"rtp": WIDE, "configured": 0, "rtp_channels_up": 0, **changes}
    return admission.admit(pbx, **facts)  # type: ignore[arg-type]


def test_the_limit_follows_from_the_range_and_a_setting_only_lowers_it() -> None:
    assert WIDE.channels == 5_000
    assert stream_limit(WIDE, 0) == 1_250
    assert stream_limit(WIDE, 40) == 40
    assert stream_limit(WIDE, 9_999) == 1_250
    assert stream_limit(RtpRange(20_000, 19_000), 0) == 0


def test_a_full_node_and_a_full_pbx_are_told_apart() -> None:
    admission = Admission(node_limit=2)
    assert admit(admission, configured=1) is None
    assert admit(admission, configured=1) is Refusal.PBX_FULL
    assert admit(admission, "branch") is None
    assert admit(admission, "branch") is Refusal.NODE_FULL
    admission.release("main")
    assert admit(admission, configured=1) is None


def test_channels_of_other_calls_count() -> None:
    narrow = RtpRange(10_000, 10_039)  # 20 channels, two of them kept free
    admission = Admission(node_limit=100)
    assert admit(admission, rtp=narrow, rtp_channels_up=17) is None
    assert admit(admission, rtp=narrow, rtp_channels_up=18) is Refusal.RTP_PORTS_LOW


def test_nothing_is_admitted_before_the_range_is_known_or_while_draining() -> None:
    admission = Admission(node_limit=1)
    assert admit(admission, rtp=None) is Refusal.RTP_RANGE_UNKNOWN
    admission.draining = True
    assert admit(admission) is Refusal.DRAINING
    assert admission.active("main") == 0


def test_a_place_is_given_back_once() -> None:
    admission = Admission(node_limit=1)
    admit(admission)
    admission.release("main")
    with pytest.raises(ValueError, match="release without admit"):
        admission.release("main")


@given(st.integers(1, 65_535), st.integers(0, 4_000), st.lists(st.booleans(), max_size=200))
def test_admitted_streams_never_hold_more_than_a_quarter_of_the_range(
    start: int, width: int, moves: list[bool]
) -> None:
    rtp = RtpRange(start, start + width)
    admission = Admission(node_limit=10_000)
    for enters in moves:
        if enters:
            admit(admission, rtp=rtp, rtp_channels_up=2 * admission.active("main"))
        elif admission.active("main"):
            admission.release("main")
        assert admission.active("main") * 4 <= rtp.channels
