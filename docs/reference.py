"""Writes docs/rest-reference.md anew from the OpenAPI document: `python docs/reference.py`. A test holds it current."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent

HEAD = """# REST reference

Every request of the API, by subject; how to log in, limits and examples: [REST](rest.md). The same as a machine reads
it: [openapi.json](schemas/openapi.json), which a running connector serves at `/api/v1/openapi.json`.

This page is generated: `python docs/reference.py`.
"""

COMMON = {"400", "401", "403", "413", "415", "500", "503"}
"""Status codes that mean the same everywhere."""

NO_RIGHT = {"own": "any login, for itself"}


def page() -> str:
    """docs/rest-reference.md."""
    api = json.loads((DOCS / "schemas" / "openapi.json").read_text("utf-8"))
    by_tag: dict[str, list[str]] = defaultdict(list)
    meanings: dict[str, str] = {}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            by_tag[operation["tags"][0]].append(_operation(method.upper(), path, operation))
            meanings |= {
                code: answer["description"] for code, answer in operation["responses"].items() if code in COMMON
            }
    parts = [HEAD, "Any request may be answered with\n"]
    parts += [
        "| status | means |\n|---|---|\n" + "\n".join(f"| {code} | {meanings[code]} |" for code in sorted(meanings))
    ]
    for tag, operations_of_tag in by_tag.items():
        parts.append(f"\n## {tag.capitalize()}\n")
        parts += operations_of_tag
    parts.append("\n## Types\n")
    parts += [_type(name, schema) for name, schema in sorted(api["components"]["schemas"].items())]
    return "\n".join(parts).rstrip() + "\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"### {method} {path}\n", operation["summary"] + "."]
    if operation.get("description"):
        lines.append(" ".join(operation["description"].split()))
    right = operation.get("x-right")
    lines.append(f"\nRight: {NO_RIGHT.get(right, f'`{right}`')}." if right else "\nWithout a login.")
    if operation["parameters"]:
        lines.append("\n| parameter | in | type | meaning |\n|---|---|---|---|")
        for each in operation["parameters"]:
            name = f"`{each['name']}`" + ("" if each.get("required") else " (optional)")
            lines.append(f"| {name} | {each['in']} | {_kind(each['schema'])} | {_line(each)} |")
    body = operation.get("requestBody")
    if body:
        lines.append(f"\nBody: {_content(body)}.")
    answers = []
    for code, answer in operation["responses"].items():
        if code not in COMMON:
            content = _content(answer)
            answers.append(f"{code} {content}" if content and code.startswith("2") else f"{code}: {_plain(answer)}")
    lines.append("\nAnswers: " + "; ".join(answers) + ".\n")
    return "\n".join(lines)


def _plain(answer: dict[str, Any]) -> str:
    description: str = answer["description"].rstrip(".")
    return description[:1].lower() + description[1:]


def _content(holder: dict[str, Any]) -> str:
    for media, content in holder.get("content", {}).items():
        kind = _kind(content.get("schema", {}))
        return kind if media == "application/json" else f"{kind} as `{media}`"
    return ""


def _type(name: str, schema: dict[str, Any]) -> str:
    lines = [f"### {name}\n"]
    if schema.get("description"):
        lines.append(" ".join(schema["description"].split()) + "\n")
    if "properties" in schema:
        lines.append("| field | type | meaning |\n|---|---|---|")
        for field, each in schema["properties"].items():
            needed = "" if field in schema.get("required", ()) else " (optional)"
            lines.append(f"| `{field}`{needed} | {_kind(each)} | {_line(each)} |")
        lines.append("")
    else:
        lines.append(_kind(schema) + "\n")
    return "\n".join(lines)


def _line(holder: dict[str, Any]) -> str:
    return " ".join(str(holder.get("description", "")).split()).replace("|", "\\|")


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        return f"[{name}](#{re.sub(r'[^a-z0-9_-]', '', name.lower())})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_kind(each) for each in schema[several]))
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "any")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}" if "items" in schema else "list"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"map to {_kind(schema['additionalProperties'])}"
    named = {
        "string": "text",
        "integer": "whole number",
        "boolean": "true or false",
        "null": "nothing",
        "object": "map",
    }
    text: str = named.get(kind, kind)
    bounds = [str(schema[key]) for key in ("minimum", "maximum") if key in schema]
    return f"{text}, {' to '.join(bounds)}" if len(bounds) == 2 else text


if __name__ == "__main__":
    (DOCS / "rest-reference.md").write_text(page(), "utf-8")
