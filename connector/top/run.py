"""Starts the screen."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random

import structlog

from connector.top.app import Top
from connector.top.feed import Feed
from connector.web.push.messages import Subscribe


def run_top(*, url: str, token: str, pbxs: Sequence[str] | None, queues: Sequence[str] | None) -> int:
    """Shows the live queues until the user quits.

    Args:
        url: Base of the connector's pages.
        token: Empty if none is needed.
        pbxs: Only these; None for all.
        queues: Only these; None for all.

    Returns:
        An exit code.
    """
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # a line of log would tear the screen
    subscribe = Subscribe(pbx=None if pbxs is None else tuple(pbxs), queues=None if queues is None else tuple(queues))
    screen = Top(Feed(url, token, subscribe, random=Random(), clock=time.time))
    screen.run()
    return screen.return_code or 0
