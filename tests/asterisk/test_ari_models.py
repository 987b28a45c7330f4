"""Every model and every request of the ARI client, compared with the rest-api JSON that the started Asterisk serves."""

import inspect
import re
import types
import typing
from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec
import pytest_asyncio
from pydantic import SecretStr

from connector.asterisk import ari_models
from connector.asterisk.ari_models import EVENT_TYPES, Application, AsteriskInfo, Bridge, Channel, Module, Variable
from connector.asterisk.ari_rest import AriRest
from connector.lab.asterisk import LabAsterisk

RESOURCES = ("events", "channels", "bridges", "applications", "asterisk", "endpoints")
SCALARS: dict[Any, set[str]] = {
    str: {"string"},
    int: {"int", "long"},
    float: {"double"},
    bool: {"boolean"},
    datetime: {"Date"},
}
STRUCTS = [
    kind
    for _, kind in inspect.getmembers(ari_models, inspect.isclass)
    if issubclass(kind, msgspec.Struct) and kind is not msgspec.Struct and not kind.__name__.startswith("_")
]


@pytest_asyncio.fixture(loop_scope="session")
async def api(asterisk: LabAsterisk) -> dict[str, Any]:
    """The rest-api JSON, by resource."""
    docs = {}
    login = {"Authorization": aiohttp.encode_basic_auth(asterisk.ari_user, asterisk.ari_password)}
    async with aiohttp.ClientSession(headers=login) as http:
        for name in RESOURCES:
            async with http.get(f"{asterisk.ari_url}/api-docs/{name}.json") as answer:
                assert answer.status == 200
                docs[name] = await answer.json(content_type=None)
    return docs


def properties(models: dict[str, Any], name: str) -> dict[str, Any]:
    """Those of a model and of the models it is a subtype of."""
    found = dict(models[name]["properties"])
    for base, model in models.items():
        if name in model.get("subTypes", []):
            found |= properties(models, base)
    return found


def described(kind: Any, name: str) -> bool:
    """Whether values of the type that Asterisk describes can be decoded as `kind`."""
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return any(described(one, name) for one in typing.get_args(kind) if one is not type(None))
    if origin is list:
        inner = re.fullmatch(r"List\[(\w+)\]", name)
        return inner is not None and described(typing.get_args(kind)[0], inner[1])
    if origin is dict:
        return name == "object"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind.__name__ == name
    return name in SCALARS[kind]


async def test_every_field_of_every_model_is_asterisks_own(api: dict[str, Any]) -> None:
    models: dict[str, Any] = {}
    for doc in api.values():
        models |= {name: model for name, model in doc["models"].items() if model["properties"] or name not in models}
    assert {Application, AsteriskInfo, Bridge, Channel, Module, Variable, *EVENT_TYPES.values()} <= set(STRUCTS)
    faults = []
    for struct in STRUCTS:
        theirs = properties(models, struct.__name__)
        hints = typing.get_type_hints(struct)
        for field in msgspec.structs.fields(struct):
            where = f"{struct.__name__}.{field.name}"
            if field.name not in theirs:
                faults.append(f"{where} does not exist")
                continue
            their = theirs[field.name]
            if not described(hints[field.name], their["type"]):
                faults.append(f"{where} is {hints[field.name]}, Asterisk says {their['type']}")
            if field.required and not their.get("required"):
                faults.append(f"{where} may be absent")
    assert faults == []


async def test_events_are_told_apart_by_asterisks_own_types(api: dict[str, Any]) -> None:
    models = api["events"]["models"]
    assert set(EVENT_TYPES) <= set(models["Event"]["subTypes"])
    assert models["Message"]["discriminator"] == "type"


ARGUMENTS: dict[str, Any] = {
    "name": "x",
    "channel_id": "x",
    "bridge_id": "x",
    "sources": ["channel:x"],
    "channels": ["x"],
    "variable": "x",
    "value": "x",
    "digits": "1",
    "reason": "normal",
    "context": "x",
    "extension": "x",
    "priority": 1,
    "external_host": "127.0.0.1:4000",
    "format": "ulaw",
    "formats": "ulaw",
    "variables": {"A": "b"},
    "type": "mixing",
    "missing_ok": False,
    "snoop_id": "x",
    "endpoint": "PJSIP/x",
    "exten": "1",
    "caller_id": "x",
    "timeout_s": 10,
    "technology": "PJSIP",
    "resource": "x",
    "sender": "sip:x@y",
    "text": "x",
    "spy": "in",
    "whisper": "none",
    "uuid": "00000000-0000-0000-0000-000000000001",
}


class Recorder(AriRest):
    """Notes requests instead of sending them."""

    def __init__(self) -> None:
        super().__init__(url="http://127.0.0.1/ari", username="u", password=SecretStr("p"), app="x")
        self.requests: list[tuple[str, str, Mapping[str, Any], Any]] = []

    async def _request(self, method: str, path: str, body: object, query: Mapping[str, Any]) -> bytes:
        self.requests.append((method, path, query, body))
        return b""

    async def _ask(self, method: str, path: str, kind: Any, body: object = None, **query: str | int | None) -> Any:
        await self._request(method, path, body, query)
        address = {
            "UNICASTRTP_LOCAL_ADDRESS": "127.0.0.1",
            "UNICASTRTP_LOCAL_PORT": "4000",
            "MEDIA_WEBSOCKET_CONNECTION_ID": "x",
        }
        return SimpleNamespace(value="x", channelvars=address)


NEWER = {"audio_socket", "media_websocket"}
"""Not on 16; `connector check` says which ways audio can go."""


async def test_every_request_is_one_that_asterisk_describes(asterisk: LabAsterisk, api: dict[str, Any]) -> None:
    operations = {}
    for doc in api.values():
        for resource in doc["apis"]:
            pattern = re.sub(r"\{\w+\}", "[^/]+", resource["path"])
            for operation in resource["operations"]:
                operations[operation["httpMethod"], pattern] = operation
    methods = [name for name, member in inspect.getmembers(AriRest, inspect.iscoroutinefunction) if name[0] != "_"]
    if asterisk.version.startswith("16."):
        methods = [name for name in methods if name not in NEWER]
    assert len(methods) > 20
    ari = Recorder()
    for name in methods:
        method = getattr(ari, name)
        await method(**{key: ARGUMENTS[key] for key in inspect.signature(method).parameters})
    assert len(ari.requests) == len(methods)
    for verb, path, query, body in ari.requests:
        where = f"{verb} {path}"
        fitting = [key for key in operations if key[0] == verb and re.fullmatch(key[1], path)]
        assert fitting, f"Asterisk describes no {where}"
        # The most special one: /channels/externalMedia fits /channels/{id} too.
        operation = operations[min(fitting, key=lambda key: key[1].count("[^/]+"))]
        parameters = {one["name"]: one for one in operation.get("parameters", [])}
        known = {name for name, one in parameters.items() if one["paramType"] == "query"}
        assert query.keys() <= known, where
        # `only` of /asterisk/info is called required and is not, as the other tests show.
        # What is described as of the query may come in the body as well, and has to where it is long: set_variable.
        in_body = (body or {}).keys()
        assert {name for name in known if parameters[name]["required"]} - {"only"} <= query.keys() | in_body, where
        assert in_body <= known | {name for name, one in parameters.items() if one["paramType"] == "body"}, where
