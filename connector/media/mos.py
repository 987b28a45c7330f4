"""Estimated listening quality: the E-model of ITU-T G.107, with what one side of a call can know of it.

R = 93.2 - Id - Ie_eff, and MOS = 1 + 0.035 R + R (R - 60) (100 - R) 7e-6 (G.107 annex B).
Id is the delay impairment in the common approximation 0.024 d + 0.11 (d - 177.3) H(d - 177.3), d in ms one way.
Ie_eff = Ie + (95 - Ie) Ppl / (Ppl + Bpl) (G.107 section 7.3, random loss), Ppl in percent.
What the phone, its echo and the room add is not in it: it is the quality of what came over the wire.
"""

from __future__ import annotations

R_DEFAULT = 93.2
"""With every other parameter at its default (G.107 table 3)."""
IE_G711, BPL_G711 = 0.0, 4.3
"""Mu-law and A-law without loss concealment (G.113 appendix I)."""
BPL_G711_CONCEALED = 25.1
"""With loss concealment as in G.711 Appendix I (G.113 appendix I)."""
MOS_MAX = 4.41
"""Of R at its default."""


def r_factor(*, loss_percent: float, delay_ms: float, ie: float = IE_G711, bpl: float = BPL_G711) -> float:
    """The transmission rating, 0 to 93.2.

    Args:
        loss_percent: Packets that were not there when they were to be played, 0 to 100.
        delay_ms: One way, mouth to ear, as far as it is known.
        ie: Impairment of the codec without loss.
        bpl: Robustness of the codec against loss.
    """
    delay = 0.024 * delay_ms + (0.11 * (delay_ms - 177.3) if delay_ms > 177.3 else 0.0)
    loss = ie + (95.0 - ie) * loss_percent / (loss_percent + bpl)
    return max(0.0, R_DEFAULT - delay - loss)


def mos(r: float) -> float:
    """Mean opinion score of a rating, 1.0 to 4.41."""
    if r <= 0:
        return 1.0
    return max(1.0, 1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6)
