"""How one stream sounds and flows: measured a tenth of the time, told once a second.

Each second 100 ms of what the caller says and of what the bot says are kept and looked at, so that the cost does not
grow with the sound. Packets are counted all.
"""

from __future__ import annotations

from collections import deque

import msgspec

from connector.audio.formats import AudioFormat
from connector.audio.levels import EMPTY_DBFS, READABLE, Look, dbfs, look, narrowband, read, sounds_like
from connector.media.mos import BPL_G711, BPL_G711_CONCEALED, mos, r_factor

SAMPLE_FRAMES = 5
"""100 ms: one pitch period of a deep voice is 15 ms, a vowel about 100."""
NATURE_LOOKS = 5
"""A stream's codec does not change: its first loud pieces tell it, and then one in as many."""
NATURE_EVERY = 20
PACE_S = 5
"""Of the bot's speech; shorter, and a sentence sent at once would look like a rate."""
REGULAR = 0.25
"""By how much of their mean the messages of a second may differ where a bot sends in real time."""
FRAME_MS = 20


class Sound(msgspec.Struct, omit_defaults=True):
    """What one direction sounds like, since the stream began. Levels are of mean power against full scale, in dBFS."""

    looked_ms: int = 0
    """How much of it was looked at."""
    now_dbfs: float = EMPTY_DBFS
    """Of the last look, silent or not."""
    level_dbfs: float = EMPTY_DBFS
    """Of what was not silent."""
    peak_dbfs: float = EMPTY_DBFS
    silence_share: float = 0.0
    """Of what was looked at, 0 to 1."""
    clipped_share: float = 0.0
    """Samples at the end of the codec's range, of those that were not silent."""
    dc: float = 0.0
    """Mean, of full scale."""
    nature_known: bool = False
    """It was looked at whether it is what was agreed: until then, what looks clipped may be another codec."""
    sounds_like: str = ""
    """An encoding as which it makes more sense than as the one that was agreed."""
    narrowband: bool = False
    """It ends at a quarter of the rate as at a wall: it had half the rate before."""


class Quality(msgspec.Struct, omit_defaults=True):
    """One stream as it is now; a message of the worker. Counters of packets are in `StreamStats`.

    Attributes:
        age_s: Since audio began.
        since_packet_s: Since the last packet of the caller; `age_s` where there was none.
        jitter_ms: Interarrival jitter (RFC 3550 section 6.4.1), to the 2 ms of the audio loop.
        jitter_max_ms: The largest it was.
        loss_percent: Of the caller's packets.
        concealed_ms: Sound made up in the place of packets that were lost; 0 where the profile does not conceal.
        in_delay_ms: Mouth to bot, added here: how far the bot's clock is behind ours.
        out_delay_ms: Bot to mouth, added here: the least that waited to be played within the last second, while the
            bot spoke.
        mos: Estimated listening quality of the caller's audio, see `connector.media.mos`.
        caller: What the caller sounds like.
        bot: What the bot sounds like.
        bot_share: Time in which the bot spoke, 0 to 1.
        bot_pace: Audio of the bot a second of its speech, 1.0 in real time; 0 where it is not known.
        bot_regular: It sends message by message, as one who speaks in real time, not a sentence at once.
        bot_dry: Times within the last seconds that the bot's speech had a hole.
        bot_backlog_ms: What waits to be played.
        wrong_type: Packets with another payload type than was agreed, and which it was last.
        stranger: Who sends audio that belongs to no stream, `host:port`; empty if nobody does.
    """

    age_s: float = 0.0
    since_packet_s: float = 0.0
    jitter_ms: float = 0.0
    jitter_max_ms: float = 0.0
    loss_percent: float = 0.0
    concealed_ms: int = 0
    in_delay_ms: float = 0.0
    out_delay_ms: float = 0.0
    mos: float = 0.0
    caller: Sound = msgspec.field(default_factory=Sound)
    bot: Sound = msgspec.field(default_factory=Sound)
    bot_share: float = 0.0
    bot_pace: float = 0.0
    bot_regular: bool = False
    bot_dry: int = 0
    bot_backlog_ms: int = 0
    wrong_type: int = 0
    wrong_type_last: int = -1
    stranger: str = ""


class Allowance:
    """How many pieces may still be looked at as to their nature: that takes long, and other calls wait.

    Args:
        left: So many.
    """

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self) -> bool:
        """Whether there was one left."""
        self.left -= 1
        return self.left >= 0


class SoundMeter:
    """Keeps 100 ms of a direction when asked, and adds up what they are like.

    Args:
        audio: As what the sound was agreed.

    Attributes:
        wanted: Frames that `take` is still to be given. To be asked for each frame, so it is a plain number.
        whole: Their sums will not do, for their nature is to be looked at.
    """

    __slots__ = (
        "_clipped",
        "_dc",
        "_due",
        "_encoding",
        "_frames",
        "_looks",
        "_loud",
        "_power",
        "_rate_hz",
        "_sums",
        "sound",
        "wanted",
        "whole",
    )

    def __init__(self, audio: AudioFormat) -> None:
        self.sound = Sound()
        self.wanted = 0
        self._encoding = audio.encoding
        self._rate_hz = audio.rate_hz
        self._frames: list[bytes] = []
        self._sums: tuple[int, int, int, int, int] | None = None
        self.whole = False
        self._looks = self._due = 0  # at its nature: done, and seconds until the next
        self._loud = 0  # samples, as the next three
        self._power = 0.0
        self._clipped = 0
        self._dc = 0.0

    def take(self, payload: bytes) -> None:
        """A frame."""
        self._frames.append(payload)
        self.wanted -= 1

    @property
    def watches(self) -> int:
        """As `Columns.watched` wants it."""
        return 0 if self.wanted <= 0 else 1 if self.whole else self.wanted + 1

    def add(self, samples: int, total: int, squares: int, peak: int, clipped: int) -> None:
        """Frames of which somebody else made the sums, in place of `take`; see `Look.of_sums`."""
        if samples:
            self._sums = samples, total, squares, peak, clipped
            self.wanted = 0

    def measure(self, natures: Allowance) -> None:
        """Looks at what was taken, and asks for more. Once a second; at its nature where that is due and allowed."""
        if self._encoding in READABLE:
            self._measure()
            self.whole = self._due <= 1 and natures.take()

    def _measure(self) -> None:
        payload, sums, whole = b"".join(self._frames), self._sums, self.whole
        self._frames.clear()
        self._sums = None
        self.wanted = SAMPLE_FRAMES
        if not payload and sums is None:
            return
        samples = read(payload, self._encoding)
        seen = look(samples) if payload or sums is None else Look.of_sums(*sums)
        sound = self.sound
        sound.now_dbfs = dbfs(seen.power)
        ms = seen.samples * 1000 // self._rate_hz
        silent_ms = sound.silence_share * sound.looked_ms + (ms if seen.silent else 0)
        sound.looked_ms += ms
        sound.silence_share = silent_ms / sound.looked_ms if sound.looked_ms else 0.0
        self._dc += seen.dc * seen.samples
        sound.dc = self._dc * 1000 / max(1, sound.looked_ms * self._rate_hz)
        if seen.silent:
            self._due = max(2, self._due)  # of silence there is no nature: others have their turn until there is sound
            return
        self._loud += seen.samples
        self._power += seen.power * seen.samples
        self._clipped += seen.clipped
        sound.level_dbfs = dbfs(self._power / self._loud)
        sound.peak_dbfs = max(sound.peak_dbfs, dbfs(seen.peak**2))
        sound.clipped_share = self._clipped / self._loud
        self._due -= 1
        if self._due <= 0 and whole and payload:
            self._looks += 1
            self._due = 1 if self._looks < NATURE_LOOKS else NATURE_EVERY
            better = sounds_like(payload, self._encoding)
            sound.nature_known = True
            sound.sounds_like = better.value if better is not None else ""
            walled = narrowband(samples, self._rate_hz)
            if walled is not None:
                sound.narrowband = walled


class PaceMeter:
    """How fast the bot sends, by the second."""

    def __init__(self) -> None:
        self.pace = 0.0
        self.regular = False
        self.dry = 0
        self._seconds: deque[tuple[float, int, int]] = deque(maxlen=PACE_S)

    def add(self, audio_ms: float, messages: int, underruns: int) -> None:
        """A second.

        Args:
            audio_ms: How much audio came in it.
            messages: In how many messages.
            underruns: Holes in the bot's speech within it.
        """
        self._seconds.append((audio_ms, messages, underruns))
        self.dry = sum(each[2] for each in self._seconds)
        if len(self._seconds) < PACE_S or not all(each[0] for each in self._seconds):
            self.pace, self.regular = 0.0, False
            return
        counts = [each[1] for each in self._seconds]
        mean = sum(counts) / len(counts)
        self.pace = sum(each[0] for each in self._seconds) / (1000.0 * PACE_S)
        self.regular = mean >= 5 and all(abs(count - mean) <= REGULAR * mean for count in counts)


def loss_percent(received: int, lost: int) -> float:
    """Of the packets that were expected."""
    expected = received + lost
    return 100.0 * lost / expected if expected else 0.0


def estimate_mos(received: int, lost: int, in_delay_ms: float, jitter_ms: float, *, conceals: bool = False) -> float:
    """Of the caller's audio as the bot gets it; 0 where nothing came.

    Jitter counts as delay, as a buffer against it would add it.
    """
    if not received:
        return 0.0
    delay_ms = max(0.0, in_delay_ms) + jitter_ms
    bpl = BPL_G711_CONCEALED if conceals else BPL_G711
    return round(mos(r_factor(loss_percent=loss_percent(received, lost), delay_ms=delay_ms, bpl=bpl)), 2)
