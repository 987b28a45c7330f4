"""What the PBX of a scripted shift has: a queue for each way out, agents made of dialplan, entries for its callers.

Asterisk writes no queue_log entry for a caller whom a queue refuses, and calls a redirected one abandoned. The
dialplan here adds REFUSED and REDIRECTED with QueueLog(), so that queue_log alone tells the whole truth.
"""

from __future__ import annotations

from connector.lab.conf import LabConf

ANSWERED = "Süd/Büro 1"
CALLER_ENDS = "größe & maß"
KEYED = "by key"
MANY = tuple(f"many-{n}" for n in range(1, 11))
"""Queues with the same member."""

ANSWERED_AGENTS = 10
CALLER_ENDS_AGENTS = 6
FULL_AT = 3
AMI_USER = "shift"

ROAMER = "Local/t03-roamer@shift-agents/n"
"""The member of all queues of `MANY`."""
DYNAMIC = "Local/t03-dyn@shift-agents/n"
"""Comes and goes in `ANSWERED`."""
LEFT_MEMBER = "Local/t03-left@shift-agents/n"
"""Is paused all the time, while callers wait in `left`."""
EMPTIED_MEMBER = "Local/r-emptied@shift-agents/n"
"""Rings in vain in `emptied`; once it is paused, all callers are sent away."""


def answered_agent(number: int) -> str:
    """Interface of a member of `ANSWERED`; each talks 0.3 s and hangs up."""
    return f"Local/t03-{number}@shift-agents/n"


def shift_conf(secret: str) -> LabConf:
    """The configuration.

    Args:
        secret: Of the AMI login `AMI_USER`, by which the script acts.
    """
    return LabConf(
        queue_options="timeout = 3\nretry = 1\nwrapuptime = 0",
        extensions=_extensions(),
        append={
            "queues.conf": _queues(),
            "manager.conf": f"[{AMI_USER}]\nsecret = {secret}\nread =\nwrite = originate,call,agent,reporting\n",
        },
    )


def doomed_section() -> str:
    """The part of queues.conf that a reload takes away while callers wait there."""
    return "[doomed]\njoinempty = yes\nleavewhenempty = no\nmember => Local/b-doomed@shift-agents/n,0,Doomed\n"


def _queues() -> str:
    common = "joinempty = yes\nleavewhenempty = no\nringinuse = no\ntimeout = 1\nretry = 1\nwrapuptime = 0\n"
    answered = "".join(f"member => {answered_agent(n)},0,Zoë Müller/{n}\n" for n in range(ANSWERED_AGENTS))
    patient = "".join(f"member => Local/c-{n}@shift-agents/n,0,Çağ {n}\n" for n in range(CALLER_ENDS_AGENTS))
    sections = {
        ANSWERED: f"strategy = rrmemory\nservicelevel = 2\n{answered}",
        CALLER_ENDS: f"strategy = leastrecent\n{patient}",
        KEYED: "context = shift-key\n",
        "nobody": "",
        "short": "",
        "emptied": f"leavewhenempty = paused\nmember => {EMPTIED_MEMBER},0,Emptied\n",
        "refusing": "joinempty = no\n",
        "withdrawn": "",
        "redirected": "",
        "full": f"maxlen = {FULL_AT}\n",
        "vain": "strategy = linear\n"
        "member => Local/r-vain@shift-agents/n,0,Rings in vain\nmember => Local/b-vain@shift-agents/n,0,Busy\n"
        "member => Local/t03-vain@shift-agents/n,0,Answers\n",
        "sip": "timeout = 3\nmember => PJSIP/agent1,0,Agent 1\n",
        "sip-vanishing": "timeout = 1\nmember => PJSIP/agent2,0,Agent 2\n",
        "first": "member => Local/t02-first@shift-agents/n,0,First\n",
        "second": "member => Local/t03-s1@shift-agents/n\nmember => Local/t03-s2@shift-agents/n\n",
        "left": f"member => {LEFT_MEMBER},5,Left alone\n",
        **dict.fromkeys(MANY, f"timeout = 3\nmember => {ROAMER},0,Roamer\n"),
    }
    return "".join(f"[{name}]\n{common}{lines}" for name, lines in sections.items()) + doomed_section()


def _extensions() -> str:
    entries = [
        _entry("answered", ANSWERED),
        _entry("caller-ends", CALLER_ENDS),
        _entry("keyed", KEYED, answer=True),
        _entry("nobody", "nobody"),
        _entry("short", "short", ",,,,1"),
        *(_entry(name, name) for name in ("emptied", "refusing", "withdrawn", "full", "vain", "left", "doomed")),
        _entry("redirected", "redirected"),
        _entry("sip", "sip"),
        _entry("sip-vanishing", "sip-vanishing"),
        *(_entry(name, name) for name in MANY),
        # c: goes on when the agent hangs up; the second queue is another stay of the same call.
        _entry("requeued", "first", ",c", then="Goto(second,1)"),
        _entry("overflow", "short", ",,,,1", then="Goto(second,1)"),
        _entry("second", "second"),
    ]
    return f"""[shift]
{"".join(entries)}
exten => moved,1,QueueLog(redirected,${{UNIQUEID}},NONE,REDIRECTED)
 same => n,Hangup()

[shift-key]
exten => 1,1,NoOp()
 same => n,Hangup()

; what callers do once they are answered: talk for so many tenths of a second, or press a key
[shift-callers]
exten => _XX,1,Wait(${{EXTEN:0:1}}.${{EXTEN:1}})
 same => n,Hangup()
exten => key,1,Wait(0.4)
 same => n,SendDTMF(1)
 same => n,Wait(20)

[shift-agents]
; talks for so many tenths of a second and hangs up
exten => _tXX-.,1,Answer()
 same => n,Wait(${{EXTEN:1:1}}.${{EXTEN:2:1}})
 same => n,Hangup()
; leaves the end to the caller
exten => _c-.,1,Answer()
 same => n,Wait(60)
exten => _r-.,1,Ringing()
 same => n,Wait(60)
exten => _b-.,1,Busy(1)

[from-phones](+)
exten => to-sip,1,Goto(shift,sip,1)
exten => to-sip-vanishing,1,Goto(shift,sip-vanishing,1)
exten => to-second,1,Goto(shift,second,1)
exten => consult,1,Answer()
 same => n,Wait(3)
 same => n,Hangup()
"""


def _entry(exten: str, queue: str, arguments: str = "", *, answer: bool = False, then: str = "Hangup()") -> str:
    refused = '$["${QUEUESTATUS}" = "FULL" | "${QUEUESTATUS}" = "JOINEMPTY"]'
    return f"""exten => {exten},1,{"Answer()" if answer else "NoOp()"}
 same => n,Queue({queue}{arguments})
 same => n,ExecIf({refused}?QueueLog({queue},${{UNIQUEID}},NONE,REFUSED,${{QUEUESTATUS}}))
 same => n,{then}
"""
