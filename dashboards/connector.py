"""For who is on call: is the connector itself well."""

from __future__ import annotations

from dashboards.panels import Page, Panel, Query, Row, high_is_good, low_is_good, stat_panel

P = '{pbx=~"$pbx"}'


def page() -> Page:
    """The page."""
    return Page(
        uid="connector-itself",
        title="Connector",
        description="The connector itself: its links to the PBX, whether its numbers are fresh, its audio clock, its database.",
        rows=(
            Row(
                "Health",
                (
                    stat_panel(
                        "Links up",
                        "AMI and ARI connections that stand, of all. Below 1 something is blind: see the runbook of ConnectorLinkDown.",
                        "percentunit",
                        f"sum(connector_link_up{P}) / count(connector_link_up{P})",
                        thresholds=high_is_good(0.5, 1),
                    ),
                    stat_panel(
                        "Event lag",
                        "Age of the last AMI event when it came. Needs the two clocks to agree.",
                        "s",
                        f"max(connector_ami_event_lag_seconds{P})",
                        thresholds=low_is_good(1, 5),
                    ),
                    stat_panel(
                        "Media worker",
                        "1: serves. 0: calls go on in the dialplan without a bot.",
                        "short",
                        "min(connector_media_worker_up)",
                        thresholds=high_is_good(1, 1),
                    ),
                    stat_panel(
                        "Database",
                        "1: takes records. 0: they wait in memory, then in a spool on disk.",
                        "short",
                        "min(connector_history_up)",
                        thresholds=high_is_good(1, 1),
                    ),
                    stat_panel(
                        "Drift, last day",
                        "Times the live state was proved wrong by Asterisk's own lists. Should be 0; tell us of others.",
                        "short",
                        f"sum(increase(connector_state_drift_total{P}[1d])) or vector(0)",
                        thresholds=low_is_good(1, 10),
                        decimals=0,
                    ),
                    stat_panel(
                        "Late ticks, last hour",
                        "Steps of the audio clock that were skipped because the worker stood still.",
                        "short",
                        "sum(increase(connector_media_late_ticks_total[1h]))",
                        thresholds=low_is_good(10, 100),
                        decimals=0,
                    ),
                ),
            ),
            Row(
                "Events",
                (
                    Panel(
                        "Events received",
                        "Per second, by link.",
                        "ops",
                        (
                            Query(
                                f"sum by (pbx, link) (rate(connector_asterisk_events_total{P}[1m]))", "{{pbx}} {{link}}"
                            ),
                        ),
                    ),
                    Panel(
                        "Since the last event",
                        "A quiet PBX has long gaps at night; by day this should be seconds.",
                        "s",
                        (Query(f"time() - connector_ami_last_event_timestamp_seconds{P}", "{{pbx}}"),),
                    ),
                    Panel(
                        "Gaps",
                        "Seconds without events in each quarter of an hour.",
                        "s",
                        (
                            Query(
                                f"sum by (pbx, link) (increase(connector_link_gap_seconds_total{P}[15m]))",
                                "{{pbx}} {{link}}",
                            ),
                        ),
                        thresholds=low_is_good(1, 30),
                    ),
                    Panel(
                        "Snapshots asked for",
                        "By cause: after a connection, after a reload, by the clock.",
                        "short",
                        (Query(f"sum by (cause) (increase(connector_resyncs_total{P}[15m]))", "{{cause}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Incidents on the links",
                        "What went wrong on a connection, and messages that could not be read.",
                        "short",
                        (
                            Query(
                                f"sum by (pbx, link, cause) (increase(connector_asterisk_incidents_total{P}[15m]))",
                                "{{pbx}} {{link}} {{cause}}",
                                may_be_empty=True,
                            ),
                            Query(
                                f"sum by (pbx, cause) (increase(connector_ami_malformed_total{P}[15m]))",
                                "{{pbx}} malformed {{cause}}",
                                may_be_empty=True,
                            ),
                        ),
                    ),
                    Panel(
                        "Calls and channels",
                        "As the connector sees the PBX.",
                        "short",
                        (
                            Query(f"connector_calls{P}", "{{pbx}} calls"),
                            Query(f"connector_channels{P}", "{{pbx}} channels"),
                        ),
                    ),
                ),
            ),
            Row(
                "Audio clock",
                (
                    Panel(
                        "Lateness of ticks",
                        "The largest in each second. Beyond 20 ms callers hear it.",
                        "s",
                        (Query("max_over_time(connector_media_tick_late_seconds[1m])", "worker {{worker}}"),),
                        thresholds=low_is_good(0.01, 0.02),
                    ),
                    Panel(
                        "CPU of media workers",
                        "Share of a core in the last second. A worker near 1 takes no more streams.",
                        "percentunit",
                        (Query("connector_media_worker_busy", "worker {{worker}}"),),
                        thresholds=low_is_good(0.7, 0.9),
                        maximum=1,
                    ),
                    Panel(
                        "Streams by worker",
                        "Streams that each worker carries.",
                        "short",
                        (Query("connector_media_worker_streams", "worker {{worker}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Restarts of media workers",
                        "Workers that died and were started again.",
                        "short",
                        (Query("increase(connector_media_worker_restarts_total[15m])", "worker {{worker}}"),),
                        thresholds=low_is_good(1, 3),
                    ),
                ),
            ),
            Row(
                "Process, database, outgoing",
                (
                    Panel(
                        "CPU",
                        "Cores used by the control process. Media workers have processes of their own.",
                        "short",
                        (Query('rate(process_cpu_seconds_total{job=~".*connector.*"}[1m])', "{{instance}}"),),
                        thresholds=low_is_good(0.7, 0.9),
                    ),
                    Panel(
                        "Memory",
                        "Resident memory of the control process.",
                        "bytes",
                        (Query('process_resident_memory_bytes{job=~".*connector.*"}', "{{instance}}"),),
                    ),
                    Panel(
                        "Records of history",
                        "Waiting in memory, and on disk because the database does not take them.",
                        "short",
                        (
                            Query("connector_history_records_waiting", "in memory"),
                            Query("connector_history_records_spooled", "on disk"),
                        ),
                        thresholds=low_is_good(1000, 10000),
                    ),
                    Panel(
                        "Records lost",
                        "By cause. Every one is a call or an interval missing in reports.",
                        "short",
                        (
                            Query(
                                "sum by (cause) (increase(connector_history_records_dropped_total[15m]))",
                                "{{cause}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(1, 100),
                    ),
                    Panel(
                        "Webhooks",
                        "Deliveries tried, by what became of them.",
                        "short",
                        (
                            Query(
                                "sum by (webhook, verdict) (increase(connector_webhook_attempts_total[15m]))",
                                "{{webhook}} {{verdict}}",
                                may_be_empty=True,
                            ),
                        ),
                        stacked=True,
                    ),
                    Panel(
                        "Certificates",
                        "Time left until a TLS certificate expires: of our own page (http), and of the PBX as shown at the last connection. Without TLS there is none.",
                        "s",
                        (
                            Query(
                                "connector_certificate_expires_timestamp_seconds - time()",
                                "{{pbx}} {{link}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=high_is_good(7 * 86400, 21 * 86400),
                    ),
                    Panel(
                        "Viewers",
                        "Pages and programs on the push connection, and events that slow ones did not get.",
                        "short",
                        (
                            Query("connector_push_viewers", "viewers"),
                            Query("increase(connector_push_events_dropped_total[5m])", "events dropped in 5 min"),
                        ),
                    ),
                ),
            ),
        ),
    )
