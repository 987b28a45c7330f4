"""The OpenAPI 3.1 document, from the same types that check requests and make answers."""

from __future__ import annotations

from typing import Any

import msgspec

from connector import __version__
from connector.web.rest.endpoint import PREFIX, Endpoint
from connector.web.rest.problems import CONTENT_TYPE, Problem

_REFERENCE = "#/components/schemas/{name}"

_REASONS = {
    400: "The request is not as described here.",
    401: "Nobody is logged in, or the token is wrong.",
    403: "There is no right to it, or the request comes from a web page that may not use the API.",
    404: "There is no such thing.",
    409: "It contradicts what is there.",
    413: "The body is too large.",
    415: "The body is not JSON.",
    422: "It has the described shape, and what it says cannot be used.",
    500: "The connector failed.",
    429: "Too many tries.",
    502: "The PBX refused.",
    503: "What is needed for the answer cannot be reached.",
}

_ALWAYS = (400, 401, 403, 500)


def document(endpoints: list[Endpoint]) -> dict[str, Any]:
    """Describes the API.

    Args:
        endpoints: All of it.

    Returns:
        An OpenAPI 3.1 document as plain values; the same endpoints give the same document.
    """
    shapes: list[Any] = [Problem]
    for endpoint in endpoints:
        shapes += [shape for shape in (endpoint.answer, endpoint.body) if shape is not None]
    references, components = msgspec.json.schema_components(shapes, ref_template=_REFERENCE)
    named = {id(shape): reference for shape, reference in zip(shapes, references, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, named)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Asterisk connector",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "Queues, agents, calls and figures of the PBXs. Times are seconds since the epoch, "
            "durations seconds. Ids in a path are percent-encoded, a slash as %2F.",
        },
        "security": [{"bearer": []}, {"session": [], "csrf": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(components.items())),
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A token of an account."},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "connector",
                    "description": "Set by POST /session; by TLS it is called __Host-connector.",
                },
                "csrf": {
                    "type": "apiKey",
                    "in": "header",
                    "name": "X-CSRF-Token",
                    "description": "What GET /session says as csrf; with the cookie, for whatever acts.",
                },
            },
        },
    }


def _operation(endpoint: Endpoint, named: dict[int, dict[str, Any]]) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    if endpoint.answer is None:
        responses["204"] = {"description": "Done."}
    else:
        responses[str(endpoint.status)] = _content("Done.", "application/json", named[id(endpoint.answer)])
    with_body = (413, 415) if endpoint.body is not None else ()
    for status in sorted({*_ALWAYS, *with_body, *endpoint.problems}):
        responses[str(status)] = _content(_REASONS[status], CONTENT_TYPE, named[id(Problem)])
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
        "parameters": [*_parameters(endpoint.parameters, "path"), *_parameters(endpoint.query, "query")],
        "responses": responses,
    }
    if endpoint.right is None:
        operation["security"] = []
    else:
        operation["x-right"] = endpoint.right.value
    if endpoint.body is not None:
        operation["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": named[id(endpoint.body)]}},
        }
    return operation


def _parameters(shape: type[msgspec.Struct], where: str) -> list[dict[str, Any]]:
    (_,), components = msgspec.json.schema_components([shape], ref_template=_REFERENCE)
    schema = components[shape.__name__]
    required = schema.get("required", [])
    return [
        {"name": name, "in": where, "required": where == "path" or name in required, **_split(field, components)}
        for name, field in schema["properties"].items()
    ]


def _split(field: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """A parameter's description and its schema; enumerations are written out in place."""
    if "allOf" in field:
        field = {**field, **field["allOf"][0]}
        del field["allOf"]
    if "anyOf" in field:
        field["anyOf"] = [_inline(part, components) for part in field["anyOf"]]
    schema = _inline(field, components)
    description = schema.pop("description", "")
    return {"description": description, "schema": schema} if description else {"schema": schema}


def _inline(field: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    reference = field.get("$ref")
    if reference is None:
        return dict(field)
    rest = {key: value for key, value in field.items() if key != "$ref"}
    target = {key: value for key, value in components[reference.rpartition("/")[2]].items() if key != "title"}
    return {**target, **rest}


def _content(description: str, content_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {content_type: {"schema": schema}}}
