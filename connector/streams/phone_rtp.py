"""What Asterisk counted of the RTP between it and the caller's phone or trunk: it tells which part of the way is bad.

While the call is up ARI's `rtp_statistics` has it. When the caller hangs up, the channel is gone before anybody could
ask. As it goes, 22.10 leaves the same figures as RTPAUDIOQOSBRIDGED on the channel that it was bridged with: our media
channel, which is there until we end it. 16.28 leaves nothing, so what was asked last has to do. On both, the jitter of
what comes from the phone is called `txjitter`, and what the phone reports `rxjitter`; losses are the other way round.
"""

from __future__ import annotations

import msgspec

from connector.asterisk.ari import Ari, AriError
from connector.asterisk.ari_models import RTPstat

LEFT_BEHIND = "RTPAUDIOQOSBRIDGED"


class PhoneRtp(msgspec.Struct, frozen=True, kw_only=True):
    """Counted by Asterisk, since the phone's audio began; `from_phone` is what the caller says.

    Attributes:
        packets_from_phone: That came.
        packets_to_phone: That were sent.
        lost_from_phone: That never came, by their numbers.
        lost_to_phone: That never came there, as the phone reports (RTCP); 0 where it does not.
        jitter_from_phone_ms: RFC 3550 section 6.4.1.
        jitter_to_phone_ms: As the phone reports.
        round_trip_ms: Between Asterisk and the phone, as RTCP measures it; 0 where it does not.
    """

    packets_from_phone: int
    packets_to_phone: int
    lost_from_phone: int = 0
    lost_to_phone: int = 0
    jitter_from_phone_ms: float = 0.0
    jitter_to_phone_ms: float = 0.0
    round_trip_ms: float = 0.0


def of_statistics(counted: RTPstat) -> PhoneRtp:
    """From what ARI tells of a channel."""
    return PhoneRtp(
        packets_from_phone=counted.rxcount,
        packets_to_phone=counted.txcount,
        lost_from_phone=counted.rxploss,
        lost_to_phone=counted.txploss,
        jitter_from_phone_ms=_ms(counted.txjitter),
        jitter_to_phone_ms=_ms(counted.rxjitter),
        round_trip_ms=_ms(counted.rtt),
    )


def of_variable(text: str) -> PhoneRtp | None:
    """From what a call has left behind: `ssrc=1;themssrc=2;lp=0;rxjitter=0.000000;rxcount=126;...`.

    Returns:
        None where it does not say how many packets there were.
    """
    fields = dict(part.strip().partition("=")[::2] for part in text.split(";"))
    try:
        return PhoneRtp(
            packets_from_phone=int(fields["rxcount"]),
            packets_to_phone=int(fields["txcount"]),
            lost_from_phone=int(fields.get("lp", "0")),
            lost_to_phone=int(fields.get("rlp", "0")),
            jitter_from_phone_ms=_ms(float(fields.get("txjitter", "0"))),
            jitter_to_phone_ms=_ms(float(fields.get("rxjitter", "0"))),
            round_trip_ms=_ms(float(fields.get("rtt", "0"))),
        )
    except (KeyError, ValueError):
        return None


async def phone_now(ari: Ari, channel_id: str) -> PhoneRtp | None:
    """Of a call that is up; None where it is not, or where its channel has no RTP."""
    try:
        return of_statistics(await ari.rtp_statistics(channel_id))
    except AriError:
        return None


async def phone_at_end(ari: Ari, channel_id: str, media_channel_id: str, *, hung_up: bool) -> PhoneRtp | None:
    """Of a call whose stream ends, before our media channel does.

    Args:
        ari: Of the PBX.
        channel_id: Of the caller.
        media_channel_id: Ours, which it was bridged with.
        hung_up: The caller's channel has left us: by hanging up, as a rule.
    """
    if hung_up:
        try:
            return of_variable(await ari.get_variable(media_channel_id, LEFT_BEHIND))
        except AriError:
            pass  # an older Asterisk; or it was taken elsewhere
    return await phone_now(ari, channel_id)


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
