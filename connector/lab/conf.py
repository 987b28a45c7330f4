"""What stands in the files of the laboratory's PBX: the part that a customer has already.

`asterisk-conf/` is included at the end of these files exactly as the documentation tells a customer to.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

SAMPLE_SECRET = "change-me"  # the placeholder, not a secret
"""What `asterisk-conf/` has in place of secrets, and the laboratory replaces."""

NOISY_MODULES = """
app_adsiprog.so app_agent_pool.so app_alarmreceiver.so app_amd.so app_dahdiras.so app_festival.so app_flash.so
app_followme.so app_getcpeid.so app_ices.so app_image.so app_jack.so app_macro.so app_meetme.so app_minivm.so
app_nbscat.so app_skel.so app_sla.so app_url.so app_voicemail.so app_voicemail_odbc.so cdr_adaptive_odbc.so
cdr_beanstalkd.so cdr_csv.so cdr_custom.so cdr_manager.so cdr_odbc.so cdr_pgsql.so cdr_radius.so cdr_sqlite3_custom.so
cdr_syslog.so cdr_tds.so cel_beanstalkd.so cel_custom.so cel_manager.so cel_odbc.so cel_pgsql.so cel_radius.so
cel_sqlite3_custom.so cel_tds.so chan_alsa.so chan_console.so chan_dahdi.so chan_iax2.so chan_mgcp.so chan_mobile.so
chan_motif.so chan_ooh323.so chan_oss.so chan_phone.so chan_sip.so chan_skinny.so chan_unistim.so chan_vpb.so
func_aes.so func_curl.so func_odbc.so pbx_ael.so pbx_dundi.so pbx_gtkconsole.so pbx_lua.so pbx_realtime.so
pbx_spool.so res_adsi.so res_aeap.so res_ael_share.so res_calendar.so res_calendar_caldav.so res_calendar_ews.so
res_calendar_exchange.so res_calendar_icalendar.so res_cdrel_custom.so res_clialiases.so res_config_curl.so
res_config_ldap.so res_config_mysql.so res_config_odbc.so res_config_pgsql.so res_config_sqlite.so
res_config_sqlite3.so res_corosync.so res_curl.so res_fax.so res_fax_spandsp.so res_geolocation.so res_hep.so
res_hep_pjsip.so res_hep_rtcp.so res_http_media_cache.so res_http_post.so res_monitor.so res_odbc.so
res_odbc_transaction.so res_phoneprov.so res_pjsip_config_wizard.so res_pjsip_geolocation.so
res_pjsip_notify.so res_pjsip_phoneprov_provider.so res_pjsip_stir_shaken.so res_pjsip_transport_websocket.so
res_pktccops.so res_prometheus.so res_resolver_unbound.so res_smdi.so res_snmp.so res_speech_aeap.so res_statsd.so
res_stir_shaken.so res_stun_monitor.so res_timing_dahdi.so res_xmpp.so
"""
"""Modules of Debian's builds that the tests do not use and that speak up without their configuration."""


@dataclass(frozen=True, kw_only=True)
class LabPorts:
    """Ports of one laboratory PBX, all of one block on 127.0.0.1."""

    ami: int
    http: int
    sip: int
    phones: tuple[int, ...]
    rtp: tuple[int, int]
    """First and last UDP port, both included, as rtp.conf's rtpstart and rtpend."""
    spare: tuple[int, ...]
    """Free for whatever stands beside the PBX: callers, a connector, a bot."""


@dataclass(frozen=True, kw_only=True)
class LabConf:
    """What a laboratory PBX is to be.

    Attributes:
        queue_options: Lines for `[support]`, after those of the sample: short timeouts make short tests.
        agents: How many of the phones are static members of `support`; None means all.
        extensions: More dialplan, appended to extensions.conf: contexts of its own, or `[from-phones](+)`.
        append: More text for the end of any file, by file name, for example {"rtp.conf": "strictrtp = no"}.
        files: Whole further files, by name.
        connector_conf: Whether the files of `asterisk-conf/` are included.
    """

    queue_options: str = "timeout = 3\nretry = 1\nwrapuptime = 0"
    agents: int | None = None
    extensions: str = ""
    append: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    connector_conf: bool = True


def sample_conf_dir() -> Path:
    """Directory of `asterisk-conf/`: inside the installed package, or beside it in a checkout."""
    packaged = Path(__file__).with_name("asterisk-conf")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "asterisk-conf"


def new_secret() -> str:
    """A random secret that no configuration syntax can misread."""
    return secrets.token_hex(16)


def connector_files(directory: Path, secret: Callable[[], str]) -> tuple[dict[str, str], dict[str, str]]:
    """The files of `asterisk-conf/` with secrets of their own.

    Args:
        directory: Where they are.
        secret: Makes one.

    Returns:
        Contents by file name, and the secrets by the name of the file that has each.

    Raises:
        FileNotFoundError: The directory has no such files.
    """
    contents: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for path in sorted(directory.glob("*.conf")):
        text = path.read_text("utf-8")
        if SAMPLE_SECRET in text:
            chosen[path.name] = secret()
            text = text.replace(SAMPLE_SECRET, chosen[path.name])
        contents[path.name] = text
    if not contents:
        raise FileNotFoundError(f"no *.conf in {directory}")
    return contents, chosen


def pbx_files(conf: LabConf, ports: LabPorts, inside: str, data_dir: str) -> dict[str, str]:
    """The customer's own files, as text by name.

    Args:
        conf: What is wanted.
        ports: Where to listen.
        inside: The PBX's folder, as Asterisk sees it.
        data_dir: Asterisk's data directory, with sounds and the XML documentation.
    """
    files = {
        "asterisk.conf": _asterisk(inside, data_dir),
        "modules.conf": "[modules]\nautoload = yes\n" + "".join(f"noload = {name}\n" for name in NOISY_MODULES.split()),
        "logger.conf": "[general]\ndateformat = %F %T.%3q\n[logfiles]\nmessages = notice,warning,error\n",
        "rtp.conf": f"[general]\nrtpstart = {ports.rtp[0]}\nrtpend = {ports.rtp[1]}\n",
        "pjsip.conf": _pjsip(ports),
        "manager.conf": f"[general]\nenabled = no\nport = {ports.ami}\nbindaddr = 127.0.0.1\n",
        "http.conf": f"[general]\nenabled = no\nbindaddr = 127.0.0.1\nbindport = {ports.http}\n",
        "ari.conf": "[general]\nenabled = no\n",
        "queues.conf": _queues(),
        "extensions.conf": _extensions(),
        "musiconhold.conf": f"[default]\nmode = files\ndirectory = {inside}/moh\n",
        "indications.conf": "[general]\ncountry = us\n[us]\ndescription = US\nringcadence = 2000,4000\n"
        "dial = 350+440\nbusy = 480+620/500,0/500\nring = 440+480/2000,0/4000\ncongestion = 480+620/250,0/250\n",
        "cdr.conf": "[general]\nenable = no\n",
        "features.conf": "[general]\n",
        "udptl.conf": "[general]\n",
        "stasis.conf": "[threadpool]\n",
        "acl.conf": "",
        "ccss.conf": "[general]\n",
        "cli.conf": "",
        "cli_aliases.conf": "",
        "cli_permissions.conf": "[general]\ndefault_perm = permit\n",
        "confbridge.conf": "[general]\n",
        "codecs.conf": "",
        "dnsmgr.conf": "[general]\nenable = no\n",
        "dsp.conf": "[default]\n",
        "enum.conf": "[general]\n",
        "extconfig.conf": "[settings]\n",
        "pjproject.conf": "[startup]\n",
        "sorcery.conf": "",
        "res_parking.conf": "[general]\n[default]\nparkext = 700\nparkpos = 701-720\ncontext = parkedcalls\n",
        "queuerules.conf": "[general]\n",
        "cel.conf": "[general]\nenable = no\n",
        "websocket_client.conf": "",
        "chan_websocket.conf": "",
    }
    if conf.connector_conf:
        for name in ("manager", "http", "ari", "queues", "extensions"):
            files[f"{name}.conf"] += f"\n#include connector-{name}.conf\n"
        members = "".join(f"member => PJSIP/agent{n},0,Agent {n}\n" for n in _agents(conf, ports))
        files["queues.conf"] += f"\n[support](+)\n{conf.queue_options}\n{members}"
    files["extensions.conf"] += "\n" + conf.extensions + "\n"
    files.update(conf.files)
    for name, text in conf.append.items():
        files[name] = files.get(name, "") + "\n" + text + "\n"
    return files


def _agents(conf: LabConf, ports: LabPorts) -> range:
    return range(1, 1 + (len(ports.phones) if conf.agents is None else conf.agents))


def _asterisk(inside: str, data_dir: str) -> str:
    return f"""[directories]
astetcdir => {inside}/etc
astvarlibdir => {inside}/lib
astdbdir => {inside}/lib
astkeydir => {inside}/lib
astdatadir => {data_dir}
astagidir => {inside}/lib
astspooldir => {inside}/spool
astrundir => {inside}/run
astlogdir => {inside}/log
[options]
nocolor = yes
systemname = lab
documentation_language = en_US
"""


def _pjsip(ports: LabPorts) -> str:
    # Every phone is on 127.0.0.1: who calls in as agentN is that endpoint, everybody else is identified by address
    # and keeps its From as caller id.
    text = f"""[global]
type = global
user_agent = lab
endpoint_identifier_order = username,ip,anonymous
[lab-udp]
type = transport
protocol = udp
bind = 127.0.0.1:{ports.sip}
[phone](!)
type = endpoint
transport = lab-udp
context = from-phones
disallow = all
allow = ulaw,alaw,g722,slin16
direct_media = no
dtmf_mode = rfc4733
[caller](phone)
[caller]
type = identify
endpoint = caller
match = 127.0.0.1
"""
    for number, port in enumerate(ports.phones, start=1):
        text += f"""[agent{number}](phone)
aors = agent{number}
[agent{number}]
type = aor
contact = sip:agent{number}@127.0.0.1:{port}
"""
    return text


def _queues() -> str:
    return """[general]
persistentmembers = no
autofill = yes
[empty]
; nobody is ever a member: every caller is refused with JOINEMPTY
joinempty = no
[keyed]
; a caller who presses 1 leaves by key
context = queue-exit
joinempty = yes
"""


def _extensions() -> str:
    return """[general]
static = yes
[from-phones]
exten => echo,1,Answer()
 same => n,Echo()
 same => n,Hangup()

; a bot, then people
exten => bot,1,Gosub(connector-bot,s,1(echo))
 same => n,Queue(support)
 same => n,Hangup()

; a bot, then a 1300 Hz tone which proves to the caller's ear that the dialplan went on
exten => bot-then-mark,1,Gosub(connector-bot,s,1(echo))
 same => n,Goto(mark,1)

; any profile: bot_<profile>
exten => _bot_.,1,Gosub(connector-bot,s,1(${EXTEN:4}))
 same => n,Goto(mark,1)

exten => mark,1,Answer()
 same => n,PlayTones(1300)
 same => n,Wait(30)
 same => n,Hangup()

exten => inline,1,Goto(connector-support,s,1)

exten => support,1,Queue(support)
 same => n,Hangup()
exten => support-timeout,1,Queue(support,,,,2)
 same => n,Hangup()
exten => support-empty,1,Queue(empty)
 same => n,Hangup()
exten => support-keyed,1,Answer()
 same => n,Queue(keyed)
 same => n,Hangup()

exten => ring,1,Ringing()
 same => n,Wait(60)
 same => n,Hangup()

[queue-exit]
exten => 1,1,NoOp(left by key)
 same => n,Hangup()

; members that need no phone: Local/answer@agents/n talks, Local/busy@agents/n does not
[agents]
exten => answer,1,Answer()
 same => n,Wait(60)
exten => busy,1,Busy(1)
"""
