"""`/api/v1/state` keeps the shape that is published."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import msgspec

from connector import config
from connector.acd.apply import apply
from connector.app import Connector
from tests.unit.web.site import recorded

SCHEMA = Path(__file__).parents[3] / "docs" / "schemas" / "state.json"


async def test_the_state_of_a_shift_is_as_published(tmp_path: Path) -> None:
    environment = {
        "CONNECTOR__PBX__MAIN__AMI__SECRET": "secret-of-ami",
        "CONNECTOR__PBX__MAIN__ARI__PASSWORD": "secret-of-ari",
        "CONNECTOR__STORE__DIRECTORY": str(tmp_path),
    }
    connector = Connector(config.load(None, environment))
    for event in recorded():
        apply(connector._links["main"].state, event)
    state = json.loads(msgspec.json.encode(connector.state()))
    jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text())).validate(state)
    assert {queue["name"] for queue in state["pbx"]["main"]["queues"]} == {"support", "keyed", "empty"}
