"""A pause without packets is none to the sequence, is one to the timestamps, and ends with the marker."""

import numpy as np

from connector.media.columns import Columns
from connector.media.idle import MARKER, Idle

FRAME = b"x" * 160


def test_a_row_that_is_to_be_silent_sends_nothing_and_catches_up() -> None:
    columns = Columns(4)
    columns.words[:, 0] = 0x80000007
    idle = Idle(columns)

    def sent(rows: list[int], frames: list[bytes], skipped: list[int]) -> list[tuple[int, bytes, int]]:
        talking, said, missed = idle.without(np.array(rows), frames, np.array(skipped))
        return list(zip(talking.tolist(), said, missed.tolist(), strict=True))

    assert sent([1, 2], [b"", b""], [0, 0]) == [(1, b"", 0), (2, b"", 0)]
    idle.open(1, sends_silence=True)
    idle.open(2, sends_silence=False)
    assert sent([1, 2], [b"", FRAME], [0, 0]) == [(1, b"", 0), (2, FRAME, 0)]
    assert sent([1, 2], [b"", b""], [0, 0]) == [(1, b"", 0)]
    assert sent([2], [b""], [3]) == []  # the machine stood still meanwhile
    assert columns.words[2, 0] & MARKER == 0
    assert sent([1, 2], [b"", FRAME], [0, 1]) == [(1, b"", 0), (2, FRAME, 6)]
    assert columns.words[2, 0] == 0x80800007
    assert columns.words[1, 0] == 0x80000007
    assert sent([2], [FRAME], [0]) == [(2, FRAME, 0)]
    idle.close(2)
    idle.close(1)
    assert sent([2], [b""], [0]) == [(2, b"", 0)]
