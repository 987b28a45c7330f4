"""`queue show` and queue_log as Asterisk prints them."""

from __future__ import annotations

from connector.lab.facts import parse_queue_show, queue_log_counts

SHOWN = """empty has 0 calls (max unlimited) in 'ringall' strategy (0s holdtime, 0s talktime), W:0, C:0, A:0, SL:0.0%, SL2:0.0% within 0s
   No Members
   No Callers

support has 2 calls (max unlimited) in 'rrmemory' strategy (1s holdtime, 1s talktime), W:0, C:3, A:4, SL:100.0%, SL2:80.0% within 20s
   Members: 
      Agent 1 (PJSIP/agent1) (ringinuse disabled) (Not in use) has taken no calls yet (login was 8 secs ago)
      Temp, Ä (Local/answer@agents/n from PJSIP/x) with penalty 2 (ringinuse disabled) (dynamic) (paused:Lunch was 3 secs ago) (in call) (In use) has taken 12 calls (last was 2 secs ago) (login was 2 secs ago)
      PJSIP/agent3 (ringinuse disabled) (paused was 3 secs ago) (Unavailable) has taken 1 calls (last was 2 secs ago)
   Callers: 
      1. PJSIP/caller-00000012 (wait: 0:03, prio: 0)
      2. PJSIP/caller-00000013 (wait: 1:03, prio: 5)

"""  # noqa: E501, W291


def test_queue_show() -> None:
    queues = parse_queue_show(SHOWN)
    assert queues["empty"] == {"waiting": [], "members": [], "completed": 0, "abandoned": 0}
    support = queues["support"]
    assert (support["completed"], support["abandoned"]) == (3, 4)
    assert support["waiting"] == ["PJSIP/caller-00000012", "PJSIP/caller-00000013"]
    first, second, third = support["members"]
    assert (first["name"], first["interface"], first["state"]) == ("Agent 1", "PJSIP/agent1", "not_in_use")
    assert (first["paused"], first["dynamic"], first["in_call"], first["calls_taken"]) == (False, False, False, 0)
    assert (second["name"], second["interface"], second["state"]) == ("Temp, Ä", "Local/answer@agents/n", "in_use")
    assert (second["paused"], second["dynamic"], second["in_call"], second["calls_taken"]) == (True, True, True, 12)
    assert (third["name"], third["interface"], third["state"]) == ("PJSIP/agent3", "PJSIP/agent3", "unavailable")
    assert third["paused"]


def test_queue_log() -> None:
    text = (
        "1|NONE|NONE|NONE|QUEUESTART|\n2|a.1|support|NONE|ENTERQUEUE||alice|1\n3|a.1|support|Agent 1|CONNECT|0|b|0\nx\n"
    )
    assert queue_log_counts(text) == {"support": {"ENTERQUEUE": 1, "CONNECT": 1}}
