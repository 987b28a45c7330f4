import select
import time

from connector.media.ticker import Ticker


def test_it_ticks_again_and_again_and_clearing_never_waits() -> None:
    ticker = Ticker(time.monotonic() + 0.004, 0.002)
    try:
        ticker.clear()
        for _ in range(10):
            assert select.select([ticker.fd], [], [], 5)[0]
            ticker.clear()
    finally:
        ticker.close()


def test_the_first_tick_is_not_early() -> None:
    started_s = time.monotonic()
    ticker = Ticker(started_s + 0.030, 1.0)
    try:
        assert select.select([ticker.fd], [], [], 5)[0]
        assert time.monotonic() - started_s >= 0.030
    finally:
        ticker.close()
