"""G.722 at 64 kbit/s, exact to ITU-T G.722 (09/2012) as its reference code (ITU-T G.191, STL) computes it.

The codec is adaptive: a stream has a state for each way, and a lost frame is heard until both ends agree again. The
work is done by `libg722`. It differs from the reference in one case, as do Asterisk and ffmpeg: a square wave at full
scale, whose filtered form does not fit 15 bits, is not cut off there.
"""

from __future__ import annotations

import G722
import numpy as np
from numpy.typing import NDArray

RATE_HZ = 16_000
BITS_PER_S = 64_000


class G722Codec:
    """Both ways of one stream."""

    def __init__(self) -> None:
        # Without the optional numpy back end: the result is the same, and one package less has to fit.
        self._codec = G722.G722(RATE_HZ, BITS_PER_S, use_numpy=False)

    def decode(self, payload: bytes) -> NDArray[np.int16]:
        """The next payload, as twice as many samples."""
        return np.array(self._codec.decode(payload), np.int16)

    def encode(self, samples: NDArray[np.int16]) -> bytes:
        """The next samples, an even number of them, as half as many bytes."""
        return bytes(self._codec.encode(np.ascontiguousarray(samples)))
