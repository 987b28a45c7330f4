"""`connector check`: says what is wrong before a call does. It rings no phone and leaves nothing behind."""

from connector.check.findings import Cause, Finding, Level
from connector.check.run import check

__all__ = ["Cause", "Finding", "Level", "check"]
