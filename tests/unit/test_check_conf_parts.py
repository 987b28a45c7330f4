"""The parts of `connector check` that read a PBX's files, without one: filters, dialplan, certificates, addresses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from connector.check import own
from connector.check.certificates import check_end, check_own
from connector.check.dialplan import judge
from connector.check.findings import Cause, Findings, Level
from connector.check.pbx_conf import WANTED_EVENTS, filtered
from connector.lab.conf import sample_conf_dir

DAY_S = 86_400.0


def delivered_filters() -> list[str]:
    text = (sample_conf_dir() / "connector-manager.conf").read_text("utf-8")
    return re.findall(r"^eventfilter = (.*)$", text, re.MULTILINE)


def test_the_delivered_filters_hold_nothing_back() -> None:
    assert filtered(delivered_filters()) == []
    assert filtered([]) == []


@pytest.mark.parametrize("event", WANTED_EVENTS)
def test_each_wanted_event_is_missed(event: str) -> None:
    assert filtered([*delivered_filters(), rf"!^Event: {event}\b"]) == [event]


@pytest.mark.parametrize(
    ("lines", "held_back"),
    [
        (["Event: .*"], False),
        (["!Event: VarSet"], False),
        (["^Event: Queue"], True),
        (["Event: Hangup$"], True),  # Asterisk looks at the whole event, which does not end there
        (["["], False),  # nothing is said of what cannot be read
    ],
)
def test_other_filters(lines: list[str], held_back: bool) -> None:
    assert bool(filtered(lines)) is held_back


def line(context: str, application: str, data: str = "", include: str = "") -> dict[str, Any]:
    return {"Context": context, "Application": application, "AppData": data, "IncludeContext": include}


OURS = [line("connector-bot", "Stasis", "connector,${ARG1}"), line("connector-support", "Stasis", "connector,support")]


@pytest.mark.parametrize(
    ("lines", "level", "said"),
    [
        ([line("in", "Queue", "support")], Level.WARNING, "no line of the dialplan"),
        ([line("in", "Stasis", "other,echo")], Level.WARNING, "no line of the dialplan"),
        (OURS, Level.WARNING, "nothing leads to them"),
        ([*OURS, line("in", "Gosub", "connector-bot,s,1(echo)")], Level.OK, ""),
        ([*OURS, line("in", "", "", "connector-support")], Level.OK, ""),
        ([line("in", "Stasis", "connector,echo,queue=support")], Level.OK, ""),
        ([line("in", "Stasis", "connector,${PROFILE}")], Level.OK, ""),
        ([line("in", "Stasis", "connector")], Level.OK, ""),
        ([line("in", "Stasis", "connector,nobody")], Level.WARNING, "nobody"),
    ],
)
def test_what_a_dialplan_means(lines: list[dict[str, Any]], level: Level, said: str) -> None:
    findings = Findings()
    judge("pbx.main.ari", lines, "connector", {"echo"}, findings)
    (finding,) = findings
    assert finding.level is level
    assert said in finding.text


@pytest.mark.parametrize(
    ("days", "level"),
    [(-1.0, Level.ERROR), (0.5, Level.WARNING), (29.0, Level.WARNING), (31.0, Level.OK)],
)
def test_the_end_of_a_certificate(days: float, level: Level) -> None:
    findings = Findings()
    check_end("http", "one", 1e9 + days * DAY_S, 1e9, findings)
    assert [finding.level for finding in findings] == [level]
    check_end("http", "none", None, 1e9, findings)
    assert len(findings) == 1


def test_our_own_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    findings = Findings()
    (tmp_path / "empty.pem").write_text("nothing")
    for path in (tmp_path / "none.pem", tmp_path / "empty.pem"):
        check_own(path, 1e9, findings)
    assert [(finding.level, finding.cause) for finding in findings] == [(Level.ERROR, Cause.CERTIFICATE_END)] * 2
    check_own(None, 1e9, findings)
    assert len(findings) == 2


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.0.0.9", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("192.0.2.5", False),
        ("pbx.example.com", False),
        ("", False),
    ],
)
def test_what_stays_on_this_machine(host: str, loopback: bool) -> None:
    assert own.is_loopback(host) is loopback
