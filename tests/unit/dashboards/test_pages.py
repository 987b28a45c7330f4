"""The dashboards: what is checked in is what the code makes, and every panel helps its reader."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from connector.events import DeviceState, Outcome
from connector.media.control import EndCause
from dashboards.build import FOLDER, pages, rendered
from dashboards.panels import Page, Panel, Query

ROOT = Path(__file__).parents[3]
METRIC = re.compile(r"\bconnector_[a-z0-9_]+")
SUFFIXES = ("_bucket", "_sum", "_count")
PAGES = pages()


def _panels() -> Iterator[tuple[Page, Panel]]:
    for page in PAGES:
        for panel in page.panels():
            yield page, panel


def _documented() -> set[str]:
    text = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


def _plain(metric: str) -> str:
    for suffix in SUFFIXES:
        if metric.endswith(suffix) and metric.removesuffix(suffix) in _documented():
            return metric.removesuffix(suffix)
    return metric


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_what_is_checked_in_is_what_the_code_makes(page: Page) -> None:
    assert (FOLDER / f"{page.uid}.json").read_text("utf-8") == rendered(page), "run: python -m dashboards.build"


def test_nothing_else_is_checked_in() -> None:
    assert {path.stem for path in FOLDER.glob("*.json")} == {page.uid for page in PAGES}


@pytest.mark.parametrize(("page", "panel"), list(_panels()), ids=lambda value: getattr(value, "title", None))
def test_a_panel_says_what_it_shows(page: Page, panel: Panel) -> None:
    assert len(panel.description.split()) >= 4
    assert panel.unit
    assert panel.queries
    assert panel.thresholds[0].value is None, "thresholds begin at the lowest value"
    values = [step.value for step in panel.thresholds[1:]]
    assert values == sorted(values, key=lambda value: value or 0.0)
    assert panel.width in {4, 6, 8, 12, 24}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_panels_fill_their_rows(page: Page) -> None:
    built = json.loads(rendered(page))
    for panel in built["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.uid)
def test_every_metric_it_asks_for_is_documented(page: Page) -> None:
    asked = {metric for panel in page.panels() for query in panel.queries for metric in METRIC.findall(query.expr)}
    asked |= {metric for variable in page.variables for metric in METRIC.findall(variable.values)}
    assert {_plain(metric) for metric in asked} <= _documented()


def test_every_metric_of_the_rules_is_documented() -> None:
    groups = yaml.safe_load((ROOT / "dashboards" / "prometheus" / "connector.rules.yml").read_text("utf-8"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    recorded = {rule["record"] for rule in rules if "record" in rule}
    assert recorded
    exprs = [rule["expr"] for rule in rules]
    for name in recorded:  # asked for by its own name, which is no metric of ours
        assert any(name in expr for expr in exprs), name
        exprs = [expr.replace(name, "") for expr in exprs]
    asked = {metric for expr in exprs for metric in METRIC.findall(expr)}
    assert {_plain(metric) for metric in asked} <= _documented()


def _asked() -> Iterator[str]:
    """Every query of pages and rules."""
    for _, panel in _panels():
        yield from (query.expr for query in panel.queries)
    groups = yaml.safe_load((ROOT / "dashboards" / "prometheus" / "connector.rules.yml").read_text("utf-8"))["groups"]
    yield from (rule["expr"] for group in groups for rule in group["rules"])


@pytest.mark.parametrize(
    ("label", "metric", "known"),
    [
        ("state", "connector_queue_members", DeviceState),
        ("outcome", "connector_queue_calls_total", Outcome),
        ("cause", "connector_streams_total", EndCause),
    ],
)
def test_values_of_labels_exist(label: str, metric: str, known: type[enum.StrEnum]) -> None:
    """A misspelt value is an empty panel, or an alert that never fires."""
    asked: set[str] = set()
    for expr in _asked():
        for chosen in re.findall(rf'{metric}{{[^}}]*\b{label}[=!]~?"([^"]+)"', expr):
            asked |= set(chosen.split("|"))
    assert asked
    assert asked <= {member.value for member in known}


def test_queries_use_only_variables_of_their_page() -> None:
    for page, panel in _panels():
        names = {variable.name for variable in page.variables}
        for query in panel.queries:
            assert isinstance(query, Query)
            assert set(re.findall(r"\$(\w+)", query.expr)) <= names, f"{page.uid}: {panel.title}"
