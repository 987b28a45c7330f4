"""The classical faults of call audio, named from what a stream measured: what it is, how that shows, what to do.

Pure: the same measurements give the same faults. The thresholds are explained in docs/quality.md.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from connector.media.control import StreamStats
from connector.media.quality import Quality, Sound

SETTLED_S = 3.0
"""No fault is named before: calls begin with silence."""
MUTE_S = 10.0
"""Nobody is quiet for so long while the other side speaks, unless nothing of him comes through."""
MIN_LOOKED_MS = 300
SURE_SHARE = 0.02
"""Share of clipped samples that is heard as distortion."""
DC_SHARE = 0.05
LOUD_DBFS = -45.0
WRONG_RATES = (0.25, 1 / 3, 0.5, 2.0, 3.0, 6.0)
"""What comes a second, of what should, where a rate was mistaken: 8, 16, 24 and 48 kHz for one another."""
RATE_TOLERANCE = 0.06
TOO_SLOW, TOO_FAST = 0.97, 1.03
HOLES = 3
BACKLOG_MS = 1_000
LOSS_PERCENT = 3.0
JITTER_MS = 30.0


class Fault(enum.StrEnum):
    """What is wrong with the audio. A closed set: it is a metric label."""

    NO_RTP = "no_rtp"
    """No packet of the caller ever came."""
    RTP_STOPPED = "rtp_stopped"
    """Packets came, then no more, and nobody holds the call."""
    NAT_CHANGED_PORT = "nat_changed_port"
    WRONG_PAYLOAD_TYPE = "wrong_payload_type"
    CALLER_NOT_HEARD = "caller_not_heard"
    """One-way audio: what comes of the caller is silence."""
    BOT_NOT_HEARD = "bot_not_heard"
    """One-way audio: the bot sends nothing, or silence."""
    CALLER_WRONG_CODEC = "caller_wrong_codec"
    BOT_WRONG_CODEC = "bot_wrong_codec"
    CALLER_WRONG_BYTE_ORDER = "caller_wrong_byte_order"
    BOT_WRONG_BYTE_ORDER = "bot_wrong_byte_order"
    BOT_WRONG_RATE = "bot_wrong_rate"
    """Chipmunk or giant: the bot's samples are of another rate than agreed."""
    CALLER_RESAMPLED_TWICE = "caller_resampled_twice"
    BOT_RESAMPLED_TWICE = "bot_resampled_twice"
    """Sound was at half the rate before: what it lost there does not come back."""
    BOT_TOO_SLOW = "bot_too_slow"
    BOT_TOO_FAST = "bot_too_fast"
    CALLER_CLIPS = "caller_clips"
    BOT_CLIPS = "bot_clips"
    LOSS = "loss"
    JITTER = "jitter"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One fault of one stream.

    Attributes:
        fault: Its name.
        evidence: What was measured, in a sentence.
        remedy: What to do.
    """

    fault: Fault
    evidence: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the stream beside its measurements.

    Attributes:
        caller_audio: As what the caller's audio was agreed, in words.
        bot_audio: The same of the bot's.
        bot_speaks: It is meant to.
        held: The call is on hold: silence is no fault.
        caller_sends: Packets that Asterisk has of the caller's phone; None where that is not known.
        caller_lost: Of the phone's packets, those that Asterisk misses; None where that is not known.
        caller_widened: The rate agreed with the bot is higher than that at which the caller's audio comes: that it
            ends at a wall is our own doing.
    """

    caller_audio: str = "pcmu at 8000 Hz"
    bot_audio: str = "pcmu at 8000 Hz"
    bot_speaks: bool = True
    held: bool = False
    caller_sends: int | None = None
    caller_lost: int | None = None
    caller_widened: bool = False


def diagnose(quality: Quality, stats: StreamStats, known: Known) -> list[Diagnosis]:
    """Names what is wrong, the cause before its consequences."""
    if quality.age_s < SETTLED_S:
        return []
    found = _of_packets(quality, stats, known)
    if not found:
        found += _of_sound("caller", quality.caller, known.caller_audio, widened=known.caller_widened)
        if not known.held and not found:
            found += _caller_mute(quality)
    if known.bot_speaks:
        of_bot = _of_pace(quality, stats, known) + _of_sound("bot", quality.bot, known.bot_audio)
        found += of_bot or _bot_mute(quality, stats, known)
    return found


def _of_packets(quality: Quality, stats: StreamStats, known: Known) -> list[Diagnosis]:
    if stats.packets_in == 0:
        return [_no_rtp(quality, known)]
    found = []
    if quality.since_packet_s > MUTE_S and not known.held:
        if quality.stranger:
            return [_nat(quality)]
        found.append(
            Diagnosis(
                Fault.RTP_STOPPED,
                f"the last packet of the caller came {quality.since_packet_s:.0f} s ago, and nobody holds the call",
                "look for a phone that mutes by sending nothing, else for a firewall that forgot the flow",
            )
        )
    if quality.loss_percent > LOSS_PERCENT:
        found.append(
            Diagnosis(
                Fault.LOSS,
                f"{quality.loss_percent:.1f} % of the caller's packets never came ({stats.packets_lost} of "
                f"{stats.packets_in + stats.packets_lost})"
                + ("" if known.caller_lost is None else f"; Asterisk misses {known.caller_lost} of the phone's"),
                "look at the network between phone and Asterisk where Asterisk misses as many, else at that from there",
            )
        )
    if quality.jitter_ms > JITTER_MS:
        found.append(
            Diagnosis(
                Fault.JITTER,
                f"packets of the caller come {quality.jitter_ms:.0f} ms apart from their time",
                "look for a wireless link, or for a machine that stands still (an overloaded host)",
            )
        )
    return found


def _no_rtp(quality: Quality, known: Known) -> Diagnosis:
    if quality.wrong_type:
        return Diagnosis(
            Fault.WRONG_PAYLOAD_TYPE,
            f"{quality.wrong_type} packets came with payload type {quality.wrong_type_last}, which is not "
            f"{known.caller_audio}",
            "let ExternalMedia and the profile have the same format, and Asterisk the codec's translator",
        )
    if quality.stranger:
        return _nat(quality)
    if known.caller_sends == 0:
        return Diagnosis(
            Fault.NO_RTP,
            "no packet came, and Asterisk has none of the caller's phone either",
            "look at the phone's side: a firewall before Asterisk, a wrong address in its SDP (NAT), or a muted phone",
        )
    has = "" if known.caller_sends is None else f", though Asterisk has {known.caller_sends} of the caller's phone"
    return Diagnosis(
        Fault.NO_RTP,
        f"no packet came within {quality.age_s:.0f} s{has}",
        "let UDP from Asterisk to media.bind_port through, and set media.advertise_host to the address at which "
        "Asterisk reaches this machine; a phone that sends nothing looks the same",
    )


def _nat(quality: Quality) -> Diagnosis:
    return Diagnosis(
        Fault.NAT_CHANGED_PORT,
        f"nothing comes from the port that Asterisk told, but {quality.stranger} sends audio that belongs to no call",
        "let the NAT between Asterisk and here keep the ports, as streams are told apart by them",
    )


def _of_sound(who: str, sound: Sound, agreed: str, *, widened: bool = False) -> list[Diagnosis]:
    if sound.looked_ms < MIN_LOOKED_MS:
        return []
    if sound.sounds_like:
        pair = {sound.sounds_like, agreed.split(" ", 1)[0]}
        if pair == {"l16", "l16be"}:
            return [
                Diagnosis(
                    Fault(f"{who}_wrong_byte_order"),
                    f"as {agreed} it is white noise, with the bytes swapped it is sound",
                    "send 16 bit samples little-endian on WebSockets and AudioSocket, big-endian in RTP",
                )
            ]
        return [
            Diagnosis(
                Fault(f"{who}_wrong_codec"),
                f"as {agreed} it is noise, as {sound.sounds_like} it is sound",
                f"agree on {sound.sounds_like}, or let the sender encode as {agreed}",
            )
        ]
    found = []
    if sound.narrowband and not widened:
        found.append(
            Diagnosis(
                Fault(f"{who}_resampled_twice"),
                f"agreed is {agreed}, but all above a quarter of that rate is missing: it had half the rate before",
                "leave out one of the conversions, or agree on the lower rate: the higher one costs and brings nothing",
            )
        )
    if sound.clipped_share > SURE_SHARE and sound.nature_known:
        found.append(
            Diagnosis(
                Fault(f"{who}_clips"),
                f"{100 * sound.clipped_share:.0f} % of the samples are at the end of the range",
                "lower the gain at the source by 6 to 12 dB",
            )
        )
    return found


def _of_pace(quality: Quality, stats: StreamStats, known: Known) -> list[Diagnosis]:
    pace = quality.bot_pace
    if not pace:
        return []
    rate = next((each for each in WRONG_RATES if abs(pace / each - 1) < RATE_TOLERANCE), None)
    if rate is not None and quality.bot_regular:
        return [
            Diagnosis(
                Fault.BOT_WRONG_RATE,
                f"the bot sends as in real time, but {pace:.2f} s of audio a second: it is not {known.bot_audio}",
                f"let the bot send what was agreed, or agree on a rate {rate:g} times as high",
            )
        ]
    if pace < TOO_SLOW and quality.bot_dry >= HOLES:
        return [
            Diagnosis(
                Fault.BOT_TOO_SLOW,
                f"the bot sends {pace:.2f} s of audio a second, and its speech had {quality.bot_dry} holes within 5 s",
                "let the bot send ahead of time; media.prebuffer_ms rides out jitter, not slowness",
            )
        ]
    if pace > TOO_FAST and quality.bot_regular and quality.bot_backlog_ms > BACKLOG_MS:
        return [
            Diagnosis(
                Fault.BOT_TOO_FAST,
                f"the bot sends {pace:.2f} s of audio a second, message by message; {quality.bot_backlog_ms} ms wait"
                + (f", {stats.playout_dropped_bytes} bytes were dropped" if stats.playout_dropped_bytes else ""),
                "let the bot pace by a clock of its own: each wait of 20 ms takes as long as the work besides",
            )
        ]
    return []


def _caller_mute(quality: Quality) -> list[Diagnosis]:
    sound = quality.caller
    if quality.age_s < MUTE_S or sound.looked_ms < MIN_LOOKED_MS or sound.silence_share < 1:
        return []
    return [
        Diagnosis(
            Fault.CALLER_NOT_HEARD,
            f"for {quality.age_s:.0f} s nothing but silence came of the caller, packets though there were",
            "look for a muted phone, or for Asterisk hearing another channel than the caller's",
        )
    ]


def _bot_mute(quality: Quality, stats: StreamStats, known: Known) -> list[Diagnosis]:
    if quality.age_s < MUTE_S or known.held:
        return []
    sound = quality.bot
    if stats.bot_audio_bytes == 0:
        if quality.caller.level_dbfs < LOUD_DBFS:
            return []  # nobody says anything
        evidence = f"for {quality.age_s:.0f} s the bot has sent no audio, though the caller speaks"
    elif sound.looked_ms >= MIN_LOOKED_MS and sound.silence_share == 1:
        evidence = f"all that was looked at of the bot's audio, {sound.looked_ms} ms, is silence"
    else:
        return []
    return [
        Diagnosis(
            Fault.BOT_NOT_HEARD,
            evidence,
            "look at the bot's log: does it get the caller's audio, and does it answer in this stream",
        )
    ]
