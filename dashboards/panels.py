"""What a dashboard of ours is made of, and how it becomes Grafana's JSON.

A page is written as plain values (`Page`, `Row`, `Panel`, `Query`), so that tests can run every query and hold every
panel to the same rules; `build` turns it into Grafana's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.models import common as common_model, dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "asterisk-connector"
COLUMNS = 24
"""Of Grafana's grid."""

Kind = Literal["stat", "timeseries", "table"]


@dataclass(frozen=True, slots=True)
class Query:
    """One PromQL query.

    Attributes:
        expr: PromQL; `$pbx`, `$queue` and so on are variables of the page.
        legend: Name of its series, with `{{label}}`; in a table the title of the value's column.
        may_be_empty: No series is a good sign here: nothing is broken, no alert fires.
    """

    expr: str
    legend: str
    may_be_empty: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """From this value on (None: from the lowest) a figure has this colour."""

    value: float | None
    color: str


GOOD = (Step(None, "green"),)


def low_is_good(warning: float, critical: float) -> tuple[Step, ...]:
    """Green below `warning`, orange up to `critical`, red from there."""
    return (Step(None, "green"), Step(warning, "orange"), Step(critical, "red"))


def high_is_good(critical: float, warning: float) -> tuple[Step, ...]:
    """Red below `critical`, orange up to `warning`, green from there."""
    return (Step(None, "red"), Step(critical, "orange"), Step(warning, "green"))


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel.

    Attributes:
        title: At most a few words.
        description: What the figure means and what to do when it is bad: the (i) of the panel.
        unit: Grafana's name of the unit: `s`, `percentunit`, `short`, `bytes`.
        queries: At least one.
        kind: A big number, lines over time, or a table of the latest values.
        thresholds: Colours by value.
        width: Columns of 24.
        height: Rows of Grafana's grid, about 30 pixels each.
        stacked: Lines stand on each other: parts of a whole.
        maximum: Of the axis, where the unit has one.
        decimals: None: Grafana chooses.
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    thresholds: tuple[Step, ...] = GOOD
    width: int = 12
    height: int = 8
    stacked: bool = False
    maximum: float | None = None
    decimals: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top of the page.

    Attributes:
        name: As `$name` in queries.
        label: What the user reads.
        values: PromQL `label_values(...)`.
    """

    name: str
    label: str
    values: str


PBX = Variable("pbx", "PBX", "label_values(connector_link_up, pbx)")
QUEUE = Variable("queue", "Queue", 'label_values(connector_queue_callers_waiting{pbx=~"$pbx"}, queue)')
PROFILE = Variable("profile", "Profile", 'label_values(connector_streams_active{pbx=~"$pbx"}, profile)')


@dataclass(frozen=True, slots=True)
class Page:
    """A dashboard.

    Attributes:
        uid: In its address; links and runbooks use it, so it stays.
        title: In lists.
        description: Whom it is for.
        rows: From the top.
        variables: Beside the data source.
        refresh: How often it asks anew.
        since: Span of time it opens with.
    """

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = field(default=(PBX,))
    refresh: str = "10s"
    since: str = "now-6h"

    def panels(self) -> Iterator[Panel]:
        """All panels."""
        for row in self.rows:
            yield from row.panels


def stat_panel(title: str, description: str, unit: str, expr: str, **kwargs: object) -> Panel:
    """A big number with its colour; one query."""
    values: dict[str, object] = {"width": 4, "height": 4, **kwargs}
    return Panel(title, description, unit, (Query(expr, title),), kind="stat", **values)  # type: ignore[arg-type]


def build(page: Page) -> model.Dashboard:
    """Grafana's model of a page."""
    builder = (
        dashboard.Dashboard(page.title)
        .uid(page.uid)
        .description(page.description)
        .tags([TAG])
        .refresh(page.refresh)
        .time(page.since, "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("Asterisk connector")
            .type(model.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .annotation(
            dashboard.AnnotationQuery()
            .name("Alerts")
            .datasource(SOURCE)
            .enable(True)
            .icon_color("red")
            .expr('ALERTS{alertname=~"Connector.*|Queue.*|Bot.*|Audio.*|Stream.*", alertstate="firing"}')
        )
    )
    for variable in page.variables:
        builder.with_variable(
            dashboard.QueryVariable(variable.name)
            .label(variable.label)
            .query(variable.values)
            .datasource(SOURCE)
            .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
            .sort(model.VariableSort.ALPHABETICAL_ASC)
            .multi(True)
            .include_all(True)
            .all_value(".*")
        )
    for row in page.rows:
        builder.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            builder.with_panel(_BUILDERS[panel.kind](panel))
    return builder.build()


def _targets(panel: Panel, *, instant: bool) -> list[prometheus.Dataquery]:
    targets = []
    for number, query in enumerate(panel.queries):
        target = (
            prometheus.Dataquery()
            .expr(query.expr)
            .legend_format(query.legend)
            .ref_id(chr(ord("A") + number))
            .datasource(SOURCE)
        )
        if instant:
            target = target.instant()
        targets.append(target)
    return targets


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    steps = [model.Threshold(value=step.value, color=step.color) for step in panel.thresholds]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps)


def _stat(panel: Panel) -> stat.Panel:
    built = (
        stat.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .thresholds(_thresholds(panel))
        .color_mode(common_model.BigValueColorMode.VALUE)
        .graph_mode(common_model.BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .no_value("no data")
        .span(panel.width)
        .height(panel.height)
    )
    if panel.decimals is not None:
        built = built.decimals(panel.decimals)
    for target in _targets(panel, instant=False):
        built.with_target(target)
    return built


def _timeseries(panel: Panel) -> timeseries.Panel:
    built = (
        timeseries.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .min(0)
        .thresholds(_thresholds(panel))
        .fill_opacity(30 if panel.stacked else 8)
        .line_width(1)
        .show_points(common_model.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .display_mode(common_model.LegendDisplayMode.TABLE)
            .placement(common_model.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "max"])
        )
        .tooltip(
            common.VizTooltipOptions()
            .mode(common_model.TooltipDisplayMode.MULTI)
            .sort(common_model.SortOrder.DESCENDING)
        )
        .span(panel.width)
        .height(panel.height)
    )
    if len(panel.thresholds) > 1:
        built = built.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
        )
    if panel.stacked:
        built = built.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    if panel.maximum is not None:
        built = built.max(panel.maximum)
    if panel.decimals is not None:
        built = built.decimals(panel.decimals)
    for target in _targets(panel, instant=False):
        built.with_target(target)
    return built


def _table(panel: Panel) -> table.Panel:
    """The latest values, one row for each set of labels, one column for each query."""
    built = (
        table.Panel()
        .title(panel.title)
        .description(panel.description)
        .datasource(SOURCE)
        .unit(panel.unit)
        .thresholds(_thresholds(panel))
        .show_header(True)
        .cell_height(common_model.TableCellHeight.SM)
        .span(panel.width)
        .height(panel.height)
    )
    for target in _targets(panel, instant=True):
        built.with_target(target.format(PromQueryFormat.TABLE))
    names = {f"Value #{chr(ord('A') + number)}": query.legend for number, query in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        names = {"Value": panel.queries[0].legend}
    built.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    built.with_transformation(
        model.DataTransformerConfig(
            id_val="organize",
            options={"excludeByName": {"Time": True, "job": True, "instance": True}, "renameByName": names},
        )
    )
    return built


_BUILDERS = {"stat": _stat, "timeseries": _timeseries, "table": _table}
