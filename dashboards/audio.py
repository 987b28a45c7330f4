"""For the telephony engineer: does it sound right, and if not, on which side."""

from __future__ import annotations

from dashboards.panels import Page, Panel, Query, Row, low_is_good, stat_panel


def page() -> Page:
    """The page."""
    return Page(
        uid="connector-audio",
        title="Audio quality",
        description="Packets, loss, gaps and lateness on the way between Asterisk, the connector and the bots.",
        variables=(),
        rows=(
            Row(
                "Now",
                (
                    stat_panel(
                        "Loss",
                        "RTP packets of callers that never came, of all, in five minutes. Above 1 % speech recognition suffers.",
                        "percentunit",
                        "sum(rate(connector_media_packets_lost_total[5m]))"
                        " / (sum(rate(connector_media_packets_in_total[5m])) + sum(rate(connector_media_packets_lost_total[5m])))",
                        thresholds=low_is_good(0.005, 0.02),
                        width=6,
                    ),
                    stat_panel(
                        "Late packets",
                        "RTP packets that came after their place had been passed on, or twice, of all.",
                        "percentunit",
                        "sum(rate(connector_media_packets_late_total[5m])) / sum(rate(connector_media_packets_in_total[5m]))",
                        thresholds=low_is_good(0.005, 0.02),
                        width=6,
                    ),
                    stat_panel(
                        "Underruns",
                        "Times a minute that a bot's speech broke off because its audio came too late.",
                        "short",
                        "sum(rate(connector_media_underruns_total[5m])) * 60",
                        thresholds=low_is_good(1, 10),
                        width=6,
                        decimals=1,
                    ),
                    stat_panel(
                        "Lateness of ticks",
                        "The largest in the last minute. Beyond 20 ms callers hear it.",
                        "s",
                        "max(max_over_time(connector_media_tick_late_seconds[1m]))",
                        thresholds=low_is_good(0.01, 0.02),
                        width=6,
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    Panel(
                        "Packets",
                        "RTP packets a second from callers and to callers: 50 for each stream that speaks.",
                        "pps",
                        (
                            Query("sum(rate(connector_media_packets_in_total[1m]))", "from callers"),
                            Query("sum(rate(connector_media_packets_out_total[1m]))", "to callers"),
                        ),
                    ),
                    Panel(
                        "Silence filled in",
                        "Share of frames given to bots that were silence of ours: hold, voice activity detection, or lost audio.",
                        "percentunit",
                        (
                            Query(
                                "sum(rate(connector_media_silence_filled_total[5m]))"
                                " / (sum(rate(connector_media_silence_filled_total[5m])) + sum(rate(connector_media_packets_in_total[5m])))",
                                "silence",
                            ),
                        ),
                        maximum=1,
                    ),
                    Panel(
                        "Datagrams not used",
                        "By cause, per second. Unknown senders are what a scanner or a wrong NAT looks like.",
                        "ops",
                        (
                            Query(
                                "sum by (cause) (rate(connector_media_rtp_rejected_total[5m]))",
                                "{{cause}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(1, 100),
                    ),
                    Panel(
                        "Datagrams that the system did not take",
                        "Send failures per second: full socket buffer, no route.",
                        "ops",
                        (Query("rate(connector_media_rtp_send_failed_total[5m])", "failed"),),
                        thresholds=low_is_good(0.1, 1),
                    ),
                ),
            ),
        ),
    )
