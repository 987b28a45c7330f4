"""For the telephony engineer: Asterisk's own figures (res_prometheus, Asterisk 17 and newer) beside ours."""

from __future__ import annotations

from dashboards.panels import PBX, Page, Panel, Query, Row, low_is_good, stat_panel


def page() -> Page:
    """The page."""
    return Page(
        uid="connector-pbx",
        title="PBX",
        description="Asterisk's own metrics, from its module res_prometheus, beside what the connector sees of it.",
        variables=(PBX,),
        rows=(
            Row(
                "Asterisk",
                (
                    stat_panel(
                        "Up since",
                        "Time since Asterisk was started.",
                        "s",
                        "max(asterisk_core_uptime_seconds)",
                        width=6,
                    ),
                    stat_panel(
                        "Last reload",
                        "Time since the configuration was last reloaded.",
                        "s",
                        "max(asterisk_core_last_reload_seconds)",
                        width=6,
                    ),
                    stat_panel(
                        "Active calls",
                        "Calls as Asterisk counts them.",
                        "short",
                        "sum(asterisk_calls_count)",
                        width=6,
                    ),
                    stat_panel(
                        "Streams of the limit",
                        "ExternalMedia channels hold RTP ports; an exhausted range crashes Asterisk, so admission stops before.",
                        "percentunit",
                        'sum(connector_streams_active{pbx=~"$pbx"}) / sum(connector_stream_limit{pbx=~"$pbx"})',
                        thresholds=low_is_good(0.7, 0.9),
                        width=6,
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    Panel(
                        "Channels",
                        "As Asterisk counts them and as the connector sees them: the two lines should be one.",
                        "short",
                        (
                            Query("asterisk_channels_count", "Asterisk {{eid}}"),
                            Query('connector_channels{pbx=~"$pbx"}', "connector {{pbx}}"),
                        ),
                    ),
                    Panel(
                        "Calls processed",
                        "Per minute, since Asterisk's start.",
                        "short",
                        (Query("rate(asterisk_calls_sum[5m]) * 60", "calls a minute"),),
                    ),
                    Panel(
                        "Bridges",
                        "Bridges that exist in Asterisk. One that stays for hours with no channel in it is a left-over.",
                        "short",
                        (Query("asterisk_bridges_count", "bridges"),),
                    ),
                    Panel(
                        "Endpoints",
                        "Endpoints by state: 0 unknown, 1 offline, 2 online.",
                        "short",
                        (Query("count by (state) (asterisk_endpoints_state)", "{{state}}", may_be_empty=True),),
                    ),
                ),
            ),
        ),
    )
