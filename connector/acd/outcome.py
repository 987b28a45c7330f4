"""How a caller's stay in a queue ended: the rules, each from what a real 16.28 and 22.10 sent.

QueueCallerAbandon alone means little: it comes for a hang-up, a timeout, an emptied queue, a withdrawal and a
redirect. What tells them apart comes before it or after:

| end                  | before              | then                           | after                                 |
|----------------------|---------------------|--------------------------------|---------------------------------------|
| answered             |                     | Leave                          | AgentConnect, once a subroutine ended |
| far end hangs up     | HangupRequest       | Abandon, Leave                 | Hangup, same place                    |
| hung up by command   |                     | Abandon, Leave                 | SoftHangupRequest, Hangup, same place |
| timeout, empty ...   |                     | Abandon, Leave                 | QUEUESTATUS                           |
| redirect             |                     | Abandon, Leave (22: new place) | Newexten at the new place             |
| key                  |                     | Leave (22: new place)          | Newexten at the new place             |
| refused              | Newexten of Queue() |                                | QUEUESTATUS, no queue event at all    |

"Place" is the channel's context, exten and priority, which Queue() itself never moves.
"""

from __future__ import annotations

from connector.acd.model import Stay
from connector.events import Outcome, QueueStatus

ENDED_BY_STATUS = {
    QueueStatus.TIMEOUT: Outcome.TIMED_OUT,
    QueueStatus.LEAVEEMPTY: Outcome.LEFT_EMPTY,
    QueueStatus.LEAVEUNAVAIL: Outcome.LEFT_EMPTY,
    QueueStatus.WITHDRAW: Outcome.WITHDRAWN,
}
"""CONTINUE is not here: it follows an answered call."""

REFUSED_BY_STATUS = {
    QueueStatus.JOINEMPTY: Outcome.JOIN_EMPTY,
    QueueStatus.JOINUNAVAIL: Outcome.JOIN_EMPTY,
    QueueStatus.FULL: Outcome.FULL,
}


def at_abandon(stay: Stay, location: str, hangup_requested: bool) -> Outcome | None:
    """Judges QueueCallerAbandon; None if what follows must tell."""
    return at_step(stay, location) or (Outcome.ABANDONED if hangup_requested else None)


def at_step(stay: Stay, location: str) -> Outcome | None:
    """Judges by the dialplan's place when a caller leaves or after that; None if that tells nothing."""
    if stay.lost or not _moved(stay, location):
        return None
    if _is_hangup_handler(stay, location):
        return Outcome.ABANDONED if stay.abandoned else Outcome.UNKNOWN
    return Outcome.REDIRECTED if stay.abandoned else Outcome.KEY_EXIT


def at_rejoin(stay: Stay) -> Outcome:
    """Judges a caller who joins a queue while the last exit is still open."""
    return Outcome.REDIRECTED if stay.abandoned else Outcome.UNKNOWN


def at_end(stay: Stay, location: str) -> Outcome:
    """Judges by the channel's end, which is the last that will be heard."""
    if stay.abandoned and not _moved(stay, location):
        return Outcome.ABANDONED
    return at_step(stay, location) or Outcome.UNKNOWN


def _moved(stay: Stay, location: str) -> bool:
    return bool(location) and bool(stay.location) and location != stay.location


def _is_hangup_handler(stay: Stay, location: str) -> bool:
    """The extension `h` of the context in which the caller waited: nobody moved the call there."""
    context, exten, _ = location.rsplit(",", 2) if location.count(",") >= 2 else ("", "", "")
    return exten == "h" and context == stay.location.rsplit(",", 2)[0]
