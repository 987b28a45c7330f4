"""For the telephony engineer: does it sound right, and if not, on which side."""

from __future__ import annotations

from dashboards.panels import PBX, PROFILE, Page, Panel, Query, Row, Step, high_is_good, low_is_good, stat_panel

CHOSEN = '{pbx=~"$pbx", profile=~"$profile"}'


def _quantile(share: float, histogram: str) -> str:
    return f"histogram_quantile({share}, sum by (profile, le) (rate({histogram}_bucket{CHOSEN}[15m])))"


def page() -> Page:
    """The page."""
    return Page(
        uid="connector-audio",
        title="Audio quality",
        description="Packets, loss, gaps and lateness on the way between Asterisk, the connector and the bots.",
        variables=(PBX, PROFILE),
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
                "What callers' voices are like when they arrive",
                (
                    Panel(
                        "MOS",
                        "Estimated listening quality at the end of each stream (ITU-T G.107): the middle one, and the one that a tenth is worse than. Below 3.6 some users are dissatisfied, below 3.1 many.",
                        "short",
                        (
                            Query(_quantile(0.5, "connector_stream_mos"), "{{profile}} median"),
                            Query(_quantile(0.1, "connector_stream_mos"), "{{profile}} worst tenth"),
                        ),
                        thresholds=high_is_good(3.1, 3.6),
                        maximum=4.5,
                        decimals=1,
                    ),
                    Panel(
                        "Jitter",
                        "Interarrival jitter at the end of each stream (RFC 3550), of the worst tenth. Beyond 20 ms a bot without a reorder window hears gaps.",
                        "s",
                        (Query(_quantile(0.9, "connector_stream_jitter_seconds"), "{{profile}}"),),
                        thresholds=low_is_good(0.02, 0.05),
                    ),
                    Panel(
                        "Loss by stream",
                        "Share of a caller's packets that never came, of the worst tenth of streams.",
                        "percentunit",
                        (Query(_quantile(0.9, "connector_stream_loss_ratio"), "{{profile}}"),),
                        thresholds=low_is_good(0.01, 0.03),
                    ),
                    Panel(
                        "Levels",
                        "Middle level of callers' and bots' sound over a stream, silence left out. Speech is best around -20; above -10 it clips, below -35 speech recognition suffers.",
                        "dB",
                        (
                            Query(
                                f"histogram_quantile(0.5, sum by (profile, side, le) (rate(connector_stream_level_dbfs_bucket{CHOSEN}[15m])))",
                                "{{profile}} {{side}}",
                            ),
                        ),
                        thresholds=(
                            Step(None, "orange"),
                            Step(-35, "green"),
                            Step(-10, "red"),
                        ),
                    ),
                    Panel(
                        "Faults named",
                        "Streams in which the connector recognised a fault of the audio, by its name: docs/quality.md says what each means and what to do.",
                        "short",
                        (
                            Query(
                                f"sum by (profile, fault) (increase(connector_stream_faults_total{CHOSEN}[15m]))",
                                "{{profile}} {{fault}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(1, 10),
                        stacked=True,
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
