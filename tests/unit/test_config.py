"""The settings file: what is taken, and how each mistake is named."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

from connector import config
from connector.dialects.registry import DIALECTS

MINIMAL = """
[pbx.main.ami]
secret = "manager-secret"
[pbx.main.ari]
password = "ari-secret"
[profile.echo]
url = "ws://127.0.0.1:8765/media"
[profile.echo.headers]
Authorization = "Bearer bot-secret"
"""


def load(tmp_path: Path, text: str, **environ: str) -> config.Settings:
    path = tmp_path / "connector.toml"
    path.write_text(text)
    return config.load(path, environ)


def problems(tmp_path: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(config.ConfigError) as caught:
        load(tmp_path, text, **environ)
    return [problem.replace(str(tmp_path) + "/", "") for problem in caught.value.problems]


def test_a_minimal_file_gets_the_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    assert settings.media.external_host(settings.media.bind_port) == "127.0.0.1:32000"
    assert settings.pbx["main"].ari.app == "connector"
    assert settings.profile["echo"].dialect.name == "twilio"


def test_the_environment_overrides_the_file_and_is_named_in_errors(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL, CONNECTOR__PBX__MAIN__AMI__SECRET="other", CONNECTOR__HTTP__PORT="9000")
    assert settings.pbx["main"].ami.secret.get_secret_value() == "other"
    assert settings.http.port == 9000
    assert problems(tmp_path, MINIMAL, CONNECTOR__HTTP__PORT="high") == [
        "CONNECTOR__HTTP__PORT: http.port: input should be a valid integer, unable to parse string as an integer"
    ]


def test_a_secret_may_stand_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "ami").write_text("from the file\n")
    settings = load(tmp_path, MINIMAL, CONNECTOR__PBX__MAIN__AMI__SECRET__FILE=str(tmp_path / "ami"))
    assert settings.pbx["main"].ami.secret.get_secret_value() == "from the file"
    assert problems(tmp_path, MINIMAL, CONNECTOR__PBX__MAIN__AMI__SECRET__FILE=str(tmp_path / "none")) == [
        "CONNECTOR__PBX__MAIN__AMI__SECRET__FILE: none: cannot be read: No such file or directory"
    ]


def test_settings_may_come_from_the_environment_alone() -> None:
    settings = config.load(
        None, {"CONNECTOR__PBX__MAIN__AMI__SECRET": "a", "CONNECTOR__PBX__MAIN__ARI__PASSWORD": "b", "PATH": "/bin"}
    )
    assert list(settings.pbx) == ["main"]


@pytest.mark.parametrize(
    ("addition", "expected"),
    [
        (
            "[log]\nlevle = 1",
            "connector.toml: log.levle: unknown key; allowed in log: level, format",
        ),
        (
            "[profile.x]\nurl='ws://h/'\nretries=1",
            "connector.toml: profile.x.retries: unknown key; allowed in profile.x: url, dialect, mode, audio, "
            "enabled, priority, match, auth, headers, parameters, sip_headers, max_parameters, "
            "max_parameter_characters, connect_timeout_ms, attempts, dial_timeout_ms, max_session_minutes, "
            "max_message_bytes, reorder_max_ms, conceal_loss, playout, record, status_callback, reconnect, handover, "
            "passthru, connect",
        ),
        (
            "[media]\nbind_host = 'localhost'",
            "connector.toml: media.bind_host: must be an IP address, for example 127.0.0.1; "
            "names are not resolved here",
        ),
        (
            "[media]\nbind_host = '0.0.0.0'",
            "connector.toml: media: advertise_host is needed with bind_host 0.0.0.0: "
            "Asterisk is told one address to send to",
        ),
        (
            "[profile.x]\nurl='ftp://h/'",
            "connector.toml: profile.x.url: must be a URL that starts with ws:// or wss:// or http:// or https:// "
            "or grpc:// or grpc+plain://",
        ),
        (
            "[profile.x]\nurl='ws://user:secret@h/'",
            "connector.toml: profile.x.url: must not hold a user or password: addresses are shown in logs; "
            "use the keys made for them",
        ),
        (
            "[profile.x]\nurl='ws://h/'\ndialect='morse'",
            f"connector.toml: profile.x.dialect: 'morse' is not known; allowed: {', '.join(map(repr, DIALECTS))}",
        ),
        (
            "[profile.x]\nurl='ws://h/'\ndialect={name='twilio', speed=1}",
            "connector.toml: profile.x.dialect.twilio.speed: unknown key; allowed in profile.x.dialect.twilio: name, "
            "account_sid, both_tracks",
        ),
        (
            "[profile.Support-Bot]\nurl='ws://h/'",
            "connector.toml: profile: 'Support-Bot' is not a name: 1 to 31 lower-case letters, digits and _, "
            "not starting with _",
        ),
        (
            "[pbx.branch.ami]\nsecret='x'\n[pbx.branch.ari]\npassword='y'",
            "connector.toml: pbx.branch and pbx.main name the same ARI application 'connector' at "
            "http://127.0.0.1:8088/ari; each PBX may be listed once",
        ),
        (
            "[node]\nname = 'a-b'",
            "connector.toml: node.name: 'a-b' is not a name: 1 to 31 lower-case letters, digits and _, "
            "not starting with _",
        ),
    ],
)
def test_each_mistake_names_file_key_and_remedy(tmp_path: Path, addition: str, expected: str) -> None:
    assert problems(tmp_path, f"{MINIMAL}\n{addition}\n") == [expected]


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, "[pbx.main.ami]\nport = 0\n[pbx.main.ari]\nurl = 'x'\n[zone]\n")
    assert {line.split(": ")[1] for line in found} == {
        "pbx.main.ami.secret",
        "pbx.main.ami.port",
        "pbx.main.ari.password",
        "pbx.main.ari.url",
        "zone",
    }


def test_no_pbx_is_a_mistake(tmp_path: Path) -> None:
    assert problems(tmp_path, "") == ["connector.toml: pbx: is missing"]


def test_a_file_that_is_missing_or_no_toml_is_named(tmp_path: Path) -> None:
    with pytest.raises(config.ConfigError, match=r"none\.toml: cannot be read: No such file"):
        config.load(tmp_path / "none.toml", {})
    assert problems(tmp_path, "[pbx")[0].startswith("connector.toml: is not TOML: ")


def test_a_manager_secret_cannot_smuggle_lines(tmp_path: Path) -> None:
    found = problems(tmp_path, MINIMAL, CONNECTOR__PBX__MAIN__AMI__SECRET="a\r\nAction: Originate")
    assert found == [
        "CONNECTOR__PBX__MAIN__AMI__SECRET: pbx.main.ami.secret: must be one non-empty line without control characters"
    ]


def test_no_secret_is_printed(tmp_path: Path) -> None:
    settings = load(tmp_path, MINIMAL)
    printed = json.dumps(config.effective(settings)) + repr(settings)
    for secret in ("manager-secret", "ari-secret", "bot-secret"):
        assert secret not in printed
    assert "**********" in printed


def test_the_schema_and_the_page_of_the_settings_are_the_published_ones() -> None:
    docs = Path(__file__).parents[2] / "docs"
    generate = runpy.run_path(str(docs / "generate.py"))
    remedy = "write them anew: python docs/generate.py"
    assert json.loads((docs / "connector.schema.json").read_text()) == config.schema(), remedy
    assert (docs / "configuration.md").read_text() == generate["settings_page"](), remedy


def test_a_list_comes_by_the_environment_as_json_and_text_that_looks_like_one_stays_text() -> None:
    settings = config.load(
        None,
        {
            "CONNECTOR__PBX__MAIN__AMI__SECRET": "[not a list",
            "CONNECTOR__PBX__MAIN__ARI__PASSWORD": "p",
            "CONNECTOR__OUTGOING__ALLOW_PRIVATE": '["10.0.0.0/8", "bot.internal"]',
        },
    )
    assert settings.outgoing.allow_private == ("10.0.0.0/8", "bot.internal")
    assert settings.pbx["main"].ami.secret.get_secret_value() == "[not a list"
