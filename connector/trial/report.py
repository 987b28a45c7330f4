"""What a profile test found: for each step of the script a sentence and, where something is wrong, the remedy."""

from __future__ import annotations

import enum
import textwrap
from dataclasses import dataclass, field
from typing import Any

WIDTH = 100


class Step(enum.StrEnum):
    """What is tried. A closed set, in this order; docs/profile-test.md explains each."""

    CONNECT = "connect"
    GREETING = "greeting"
    CALLER_AUDIO = "caller_audio"
    BOT_AUDIO = "bot_audio"
    INTERRUPT = "interrupt"
    DIGITS = "digits"
    SLOW_READ = "slow_read"
    PACE = "pace"
    SOUND = "sound"
    MARKS = "marks"
    PROTOCOL = "protocol"
    HANG_UP = "hang_up"
    SIDE_BY_SIDE = "side_by_side"
    RECONNECT = "reconnect"


class Outcome(enum.StrEnum):
    """How a step went."""

    OK = "ok"
    WARNING = "warning"
    """Calls work, but callers will notice, or it could not be told for sure."""
    ERROR = "error"
    """The bot is wrong; exit code 1."""
    SKIPPED = "skipped"
    """It does not apply, or something before went wrong."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    Attributes:
        step: Where.
        outcome: How bad it is.
        text: What was seen, in a sentence.
        remedy: What to do; empty where all is well.
    """

    step: Step
    outcome: Outcome
    text: str
    remedy: str = ""


@dataclass(slots=True)
class Report:
    """Of one profile.

    Attributes:
        profile: Its name.
        dialect: What it speaks.
        url: Where its bot is; without what an address may hide in its query.
        findings: In the order in which they came up.
    """

    profile: str
    dialect: str
    url: str
    findings: list[Finding] = field(default_factory=list)

    def ok(self, step: Step, text: str) -> None:
        """As it should be."""
        self.findings.append(Finding(step, Outcome.OK, text))

    def warning(self, step: Step, text: str, remedy: str) -> None:
        """Works, but."""
        self.findings.append(Finding(step, Outcome.WARNING, text, remedy))

    def error(self, step: Step, text: str, remedy: str) -> None:
        """The bot is wrong."""
        self.findings.append(Finding(step, Outcome.ERROR, text, remedy))

    def skipped(self, step: Step, why: str) -> None:
        """It was not tried."""
        self.findings.append(Finding(step, Outcome.SKIPPED, why))

    def found(self, step: Step) -> bool:
        """Whether there is a word about a step."""
        return any(each.step is step for each in self.findings)

    @property
    def passed(self) -> bool:
        """Whether nothing is wrong; there may be warnings."""
        return not any(each.outcome is Outcome.ERROR for each in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """As JSON shows it."""
        return {
            "profile": self.profile,
            "dialect": self.dialect,
            "url": self.url,
            "passed": self.passed,
            "findings": [
                {"step": each.step.value, "outcome": each.outcome.value, "text": each.text, "remedy": each.remedy}
                for each in self.findings
            ],
        }

    def __str__(self) -> str:
        """For a terminal."""
        lines = [f"profile {self.profile}: {self.dialect} at {self.url}"]
        for each in self.findings:
            head = f"{each.outcome.value:<8}{each.step.value:<14}"
            told = [each.text, *([f"Remedy: {each.remedy}"] if each.remedy else [])]
            wrapped = [line for text in told for line in textwrap.wrap(text, WIDTH)]
            lines += [(head if not number else " " * len(head)) + line for number, line in enumerate(wrapped)]
        count = {outcome: sum(each.outcome is outcome for each in self.findings) for outcome in Outcome}
        verdict = "passed" if self.passed else "failed"
        lines.append(f"{verdict}: {count[Outcome.ERROR]} errors, {count[Outcome.WARNING]} warnings")
        return "\n".join(lines)
