"""For who runs the bots: do calls reach them, how fast, and why not."""

from __future__ import annotations

from dashboards.panels import PBX, PROFILE, Page, Panel, Query, Row, low_is_good, stat_panel

S = '{pbx=~"$pbx", profile=~"$profile"}'


def page() -> Page:
    """The page."""
    failed = 'connector_streams_total{pbx=~"$pbx", profile=~"$profile", outcome="failed"}'
    return Page(
        uid="connector-streams",
        title="Streams and bots",
        description="Calls with bots: how many, how they begin and end, and what bots do wrong.",
        variables=(PBX, PROFILE),
        rows=(
            Row(
                "Now",
                (
                    stat_panel(
                        "Active streams",
                        "Set up or running.",
                        "short",
                        f"sum(connector_streams_active{S})",
                        width=6,
                    ),
                    stat_panel(
                        "Of the limit",
                        "Streams running, of those that the PBX's RTP ports and the settings allow. At 100 % calls go on without a bot.",
                        "percentunit",
                        'sum(connector_streams_active{pbx=~"$pbx"}) / sum(connector_stream_limit{pbx=~"$pbx"})',
                        thresholds=low_is_good(0.7, 0.9),
                        width=6,
                    ),
                    stat_panel(
                        "Failed, last hour",
                        "Streams that ended for another cause than a hang-up or the bot's own goodbye.",
                        "short",
                        f"sum(increase({failed}[1h])) or vector(0)",
                        thresholds=low_is_good(1, 10),
                        width=6,
                        decimals=0,
                    ),
                    stat_panel(
                        "Set-up p95",
                        "From the call's entry into Stasis to audio in both directions; most of it is the bot's handshake.",
                        "s",
                        f"histogram_quantile(0.95, sum by (le) (rate(connector_stream_setup_seconds_bucket{S}[15m])))",
                        thresholds=low_is_good(0.5, 1.5),
                        width=6,
                    ),
                ),
            ),
            Row(
                "Over time",
                (
                    Panel(
                        "Active by profile",
                        "Streams that are set up or running.",
                        "short",
                        (Query(f"sum by (profile) (connector_streams_active{S})", "{{profile}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Set-up time",
                        "From the call's entry into Stasis to audio in both directions.",
                        "s",
                        tuple(
                            Query(
                                f"histogram_quantile({q}, sum by (le) (rate(connector_stream_setup_seconds_bucket{S}[15m])))",
                                f"p{int(q * 100)}",
                            )
                            for q in (0.5, 0.95, 0.99)
                        ),
                        thresholds=low_is_good(0.5, 1.5),
                    ),
                    Panel(
                        "Ends by cause",
                        "Streams that ended in five minutes. `bot_*` other than `bot_closed` are failures of the bot's side.",
                        "short",
                        (Query(f"sum by (cause) (increase(connector_streams_total{S}[5m]))", "{{cause}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Outcomes",
                        "Streams that ended in five minutes: the conversation was over, handed over to somebody, stopped by us or a user, or failed.",
                        "short",
                        (Query(f"sum by (outcome) (increase(connector_streams_total{S}[5m]))", "{{outcome}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Active by mode and dialect",
                        "Bots that talk (voicebot), and servers that listen (assist, monitor, campaign, on demand), by the protocol they speak.",
                        "short",
                        (Query(f"sum by (mode, dialect) (connector_streams_active{S})", "{{mode}} {{dialect}}"),),
                        stacked=True,
                    ),
                    Panel(
                        "Refused by cause",
                        "Calls that went on in the dialplan before anything was created: full, worker down, unknown profile.",
                        "short",
                        (
                            Query(
                                f"sum by (cause) (increase(connector_streams_refused_total{S}[5m]))",
                                "{{cause}}",
                                may_be_empty=True,
                            ),
                        ),
                        stacked=True,
                    ),
                ),
            ),
            Row(
                "Around the streams",
                (
                    Panel(
                        "Recordings",
                        "Begun in five minutes, and over by what became of them: failed and impossible want a look at the disk and the log.",
                        "short",
                        (
                            Query("increase(connector_recordings_started_total[5m])", "begun"),
                            Query(
                                'sum by (outcome) (increase(connector_recordings_total{outcome!="closed"}[5m]))',
                                "{{outcome}}",
                                may_be_empty=True,
                            ),
                        ),
                    ),
                    Panel(
                        "Calls by HTTP",
                        "Steps of calls that a server decided (passthru, connect), vendors' REST requests and status callbacks, in five minutes, by result.",
                        "short",
                        (
                            Query(
                                f"sum by (profile, result) (increase(connector_steps_total{S}[5m]))",
                                "step {{profile}} {{result}}",
                                may_be_empty=True,
                            ),
                            Query(
                                "sum by (vendor, result) (increase(connector_vendor_requests_total[5m]))",
                                "{{vendor}} {{result}}",
                                may_be_empty=True,
                            ),
                            Query(
                                "sum by (outcome) (increase(connector_status_callbacks_total[5m]))",
                                "callback {{outcome}}",
                                may_be_empty=True,
                            ),
                        ),
                    ),
                ),
            ),
            Row(
                "What bots send",
                (
                    Panel(
                        "Messages of bots",
                        "Per second, over all bots.",
                        "ops",
                        (Query("rate(connector_media_bot_messages_total[1m])", "messages"),),
                    ),
                    Panel(
                        "Messages not used",
                        "By cause, per second. The log of the stream names the first of each cause.",
                        "ops",
                        (
                            Query(
                                "sum by (cause) (rate(connector_media_bot_messages_rejected_total[5m]))",
                                "{{cause}}",
                                may_be_empty=True,
                            ),
                        ),
                        thresholds=low_is_good(0.1, 1),
                    ),
                    Panel(
                        "Marks and clears",
                        "Marks that were played or cleared, and times a bot was interrupted, per second.",
                        "ops",
                        (
                            Query("rate(connector_media_marks_total[5m])", "marks"),
                            Query("rate(connector_media_clears_total[5m])", "clears"),
                        ),
                    ),
                    Panel(
                        "Audio dropped",
                        "Audio that a bot sent beyond the bound of the playout buffer (seconds of audio per second), "
                        "and messages that a bot did not read in time.",
                        "short",
                        (
                            Query("rate(connector_media_playout_dropped_bytes_total[5m]) / 8000", "bot's audio, s/s"),
                            Query("rate(connector_media_send_dropped_total[5m])", "messages to bots, 1/s"),
                        ),
                        thresholds=low_is_good(0.01, 1),
                    ),
                ),
            ),
        ),
    )
