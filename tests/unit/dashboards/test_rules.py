"""Each alert fires when it should and stays quiet when it should, as Prometheus' own tool sees it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES = ROOT / "dashboards" / "prometheus" / "connector.rules.yml"
RUNBOOKS = ROOT / "docs" / "runbooks.md"

Series = Mapping[str, str]
"""Values by series, one each 30 s, in promtool's notation: `0x20`, `0+1x20`."""


@dataclass(frozen=True)
class Case:
    """An alert, what makes it fire, and what looks like it and does not."""

    alert: str
    firing: Series
    quiet: Series
    at: str = "20m"


QUEUE = '{pbx="main", queue="sales"}'
WAITING = f"connector_queue_callers_waiting{QUEUE}"
PAUSED = f"connector_queue_members_paused{QUEUE}"


def _member(state: str) -> str:
    return f'connector_queue_members{{pbx="main", queue="sales", state="{state}"}}'


def _outcome(outcome: str) -> str:
    return f'connector_queue_calls_total{{pbx="main", queue="sales", outcome="{outcome}"}}'


def _ended(cause: str) -> str:
    return f'connector_streams_total{{pbx="main", profile="support", cause="{cause}"}}'


def _setup(le: str) -> str:
    return f'connector_stream_setup_seconds_bucket{{pbx="main", profile="support", le="{le}"}}'


SETUP_COUNT = 'connector_stream_setup_seconds_count{pbx="main", profile="support"}'
ACTIVE = 'connector_streams_active{pbx="main", profile="support"}'
LIMIT = 'connector_stream_limit{pbx="main"}'

FAULT = 'connector_stream_faults_total{pbx="main", profile="support", fault="one_way_in"}'

CASES = [
    Case("ConnectorDown", {'up{job="connector"}': "0x60"}, {'up{job="connector"}': "1x38 0 1x20"}),
    Case(
        "ConnectorLinkDown",
        {'connector_link_up{pbx="main", link="ami"}': "0x60"},
        {'connector_link_up{pbx="main", link="ami"}': "1x39 0 1x20"},
    ),
    Case(
        "ConnectorAuthenticationFailing",
        {'connector_link_refused{pbx="main", link="ami"}': "1x60"},
        {'connector_link_refused{pbx="main", link="ami"}': "0x60"},
    ),
    Case(
        "ConnectorEventLag",
        {'connector_ami_event_lag_seconds{pbx="main"}': "8x60"},
        {'connector_ami_event_lag_seconds{pbx="main"}': "0x38 8 0x20"},
    ),
    Case(
        "ConnectorStateDrift",
        {'connector_state_drift_total{pbx="main", kind="member"}': "0x20 1x40"},
        {'connector_state_drift_total{pbx="main", kind="member"}': "1x60"},
    ),
    Case(
        "ConnectorOrphanFound",
        {'connector_orphans_removed_total{pbx="main", kind="bridge"}': "0x20 1x40"},
        {'connector_orphans_removed_total{pbx="main", kind="bridge"}': "1x60"},
    ),
    Case(  # promtool's time starts with 0
        "ConnectorCertificateExpiring",
        {'connector_certificate_expires_timestamp_seconds{pbx="main", link="ami"}': f"{13 * 86400}x60"},
        {'connector_certificate_expires_timestamp_seconds{pbx="main", link="ami"}': f"{15 * 86400}x60"},
    ),
    Case(
        "QueueServiceLevel",
        {
            f"connector_queue_service_level_met_total{QUEUE}": "0+1x60",
            f"connector_queue_service_level_calls_total{QUEUE}": "0+2x60",
            f"connector_queue_service_level_target_ratio{QUEUE}": "0.8x60",
        },
        {
            f"connector_queue_service_level_met_total{QUEUE}": "0+9x60",
            f"connector_queue_service_level_calls_total{QUEUE}": "0+10x60",
            f"connector_queue_service_level_target_ratio{QUEUE}": "0.8x60",
        },
    ),
    Case(
        "QueueLongestWait",
        {f"connector_queue_longest_wait_seconds{QUEUE}": "0+30x60"},
        {f"connector_queue_longest_wait_seconds{QUEUE}": "200x60"},
    ),
    Case(
        "QueueNobodyAvailable",
        {WAITING: "1x60", _member("not_in_use"): "2x60", _member("unavailable"): "3x60", PAUSED: "2x60"},
        {WAITING: "1x60", _member("in_use"): "2x60", _member("not_in_use"): "1x60", PAUSED: "2x60"},
    ),
    Case(
        "QueueNobodyAvailable",
        {WAITING: "1x60", _member("unavailable"): "3x60", PAUSED: "0x60"},
        {WAITING: "0x60", _member("unavailable"): "3x60", PAUSED: "0x60"},
    ),
    Case(
        "QueueAbandonRate",
        {_outcome("answered"): "0+1x60", _outcome("abandoned"): "0+1x60"},
        # Half of them, but four callers in half an hour are no rate.
        {_outcome("answered"): "0x20 1x20 2x20", _outcome("abandoned"): "0x20 1x20 2x20"},
        at="30m",
    ),
    Case(
        "BotFailing",
        {_ended("bot_refused"): "0+1x60", _ended("caller_hung_up"): "0+3x60"},
        {_ended("bot_refused"): "0x20 1x40", _ended("caller_hung_up"): "0+30x60"},
    ),
    Case(
        "BotSlowToConnect",
        {_setup("1.5"): "0+1x60", _setup("2.0"): "0+2x60", _setup("+Inf"): "0+2x60", SETUP_COUNT: "0+2x60"},
        {_setup("1.5"): "0+2x60", _setup("2.0"): "0+2x60", _setup("+Inf"): "0+2x60", SETUP_COUNT: "0+2x60"},
    ),
    Case("StreamCapacity", {ACTIVE: "90x60", LIMIT: "100x60"}, {ACTIVE: "70x60", LIMIT: "100x60"}),
    Case(
        "StreamsRefused",
        {'connector_streams_refused_total{pbx="main", profile="support", cause="node_full"}': "0x30 3x40"},
        {'connector_streams_refused_total{pbx="main", profile="support", cause="node_full"}': "3x60"},
    ),
    Case("AudioWorkerDown", {"connector_media_worker_up": "0x60"}, {"connector_media_worker_up": "1x39 0 1x20"}),
    Case(
        "AudioTickLate",
        {"connector_media_tick_late_seconds": "0.05x60"},
        {"connector_media_tick_late_seconds": "0.001x30 0.05x5 0.001x30"},
    ),
    Case(
        "AudioLoss",
        {"connector_media_packets_lost_total": "0+50x60", "connector_media_packets_in_total": "0+1500x60"},
        {"connector_media_packets_lost_total": "0+5x60", "connector_media_packets_in_total": "0+1500x60"},
    ),
    Case(
        "AudioFaults",
        {FAULT: "0x10 1x5 4x45", _ended("caller_hung_up"): "0+1x60"},
        {FAULT: "0x10 1x5 4x45", _ended("caller_hung_up"): "0+10x60"},  # four of three hundred
    ),
    Case(
        "AudioFaults",
        {FAULT: "0x10 1x5 4x45", _ended("caller_hung_up"): "0+1x60"},
        {FAULT: "0x10 1x50", _ended("caller_hung_up"): "0x20 1x40"},  # one, though it is every one
    ),
    Case("ConnectorDatabaseDown", {"connector_history_up": "0x60"}, {"connector_history_up": "1x38 0 1x20"}),
    Case(
        "ConnectorSpoolGrowing",
        {"connector_history_records_spooled": "0+10x60"},
        {"connector_history_records_spooled": "500-10x60"},
    ),
]


def _alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}


def _promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.fail("promtool is missing: run scripts/setup unit, or install the package prometheus")
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)


def test_the_rules_are_well_formed() -> None:
    checked = _promtool("check", "rules", str(RULES))
    assert checked.returncode == 0, checked.stderr


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES} == set(_alerts())


@pytest.mark.parametrize("name", sorted(_alerts()))
def test_an_alert_says_what_it_is_and_has_a_runbook(name: str) -> None:
    rule = _alerts()[name]
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert {"summary", "description", "runbook"} <= set(rule["annotations"])
    assert rule["annotations"]["runbook"] == name
    runbook = re.search(rf"^## {name}\n(.+?)(?=^## |\Z)", RUNBOOKS.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert runbook is not None, f"docs/runbooks.md has no part ## {name}"
    assert len(runbook[1].split()) > 20, "a runbook says what it means, what to look at and what to do"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}")
def test_it_fires_and_stays_quiet(case: Case, tmp_path: Path) -> None:
    def look(series: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
        expr = f'count(ALERTS{{alertname="{case.alert}", alertstate="firing"}})'
        return {
            "interval": "30s",
            "input_series": [{"series": name, "values": values} for name, values in series.items()],
            "promql_expr_test": [{"expr": expr, "eval_time": case.at, "exp_samples": expected}],
        }

    rules = tmp_path / "rules.json"  # JSON is YAML
    fires = [{"labels": "{}", "value": 1}]
    rules.write_text(
        json.dumps(
            {
                "rule_files": [str(RULES)],
                "evaluation_interval": "30s",
                "tests": [look(case.firing, fires), look(case.quiet, [])],
            }
        )
    )
    tested = _promtool("test", "rules", str(rules))
    assert tested.returncode == 0, tested.stdout + tested.stderr
