"""What Asterisk itself counts of a queue, beside what is counted here."""

from __future__ import annotations

from typing import Any

from connector.events import QueueParams


def asterisk_figures(params: QueueParams) -> dict[str, Any]:
    """As Asterisk itself counts, since its own last reset, as of the last snapshot."""
    known = params.service_level_s > 0
    return {
        "completed": params.completed,
        "abandoned": params.abandoned,
        "service_level_s": params.service_level_s,
        "service_level_percent": params.service_level_percent if known else None,
        "service_level2_percent": params.service_level2_percent if known else None,
        "hold_s": params.hold_s,
        "talk_s": params.talk_s,
    }
