"""Writes the generated pages anew: `python docs/generate.py`. Tests hold that they are current."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from connector import config

DOCS = Path(__file__).parent

HEAD = """# Settings

One TOML file, `connector run --config FILE` (or `$CONNECTOR_CONFIG`), and environment variables over it:
`CONNECTOR__PBX__MAIN__AMI__SECRET` is `pbx.main.ami.secret`. Secrets are best given that way. Every mistake is told at
once, with file or variable, key, and what is allowed; the exit code is 78 then. `connector config` prints what is in
effect with secrets hidden, `connector config --schema` the JSON Schema ([the same](connector.schema.json)).

This page is generated from the types: `python docs/generate.py`.
"""


def settings_page() -> str:
    """docs/configuration.md."""
    schema = config.schema()
    sections = [HEAD]
    single: list[str] = []
    for name, prop in schema["properties"].items():
        reference = prop.get("$ref") or prop.get("additionalProperties", {}).get("$ref")
        if reference is None:
            single.append(_row(name, prop, required=name in schema.get("required", ())))
        else:
            key = f"{name}.NAME" if "additionalProperties" in prop else name
            sections += _section(key, schema["$defs"], reference)
    if single:
        sections.append("## At the top level\n\n" + TABLE + "\n".join(single) + "\n")
    return "\n".join(sections)


TABLE = "| key | type | default | meaning |\n|---|---|---|---|\n"


def _section(key: str, definitions: dict[str, Any], reference: str) -> list[str]:
    section = definitions[reference.rsplit("/", 1)[-1]]
    rows = []
    below: list[str] = []
    named_alike: dict[str, list[str]] = {}
    for name, prop in section["properties"].items():
        if "$ref" in prop and "properties" in definitions[prop["$ref"].rsplit("/", 1)[-1]]:
            below += _section(f"{key}.{name}", definitions, prop["$ref"])
        else:
            rows.append(_row(name, prop, required=name in section.get("required", ())))
            for each in _choices(prop).values():
                below += _section(f"{key}.{name}", definitions, each)
            if each := prop.get("additionalProperties", {}).get("$ref"):
                named_alike.setdefault(each, []).append(name)
    for each, names in named_alike.items():
        below += _section(f"{key}.{'|'.join(names)}.NAME", definitions, each)
    named = section["properties"].get("name", {}).get("const")
    title = f'[{key}] with name = "{named}"' if named else f"[{key}]"
    text = f"## {title}\n\n{' '.join(section.get('description', '').split())}\n"
    if rows:
        text += "\n" + TABLE + "\n".join(rows) + "\n"
    return [text, *below]


def _choices(prop: dict[str, Any]) -> dict[str, str]:
    """Where a key is one of several tables told apart by their `name`: the name and the reference of each."""
    found: dict[str, str] = {}
    for each in (prop, *prop.get("anyOf", ())):
        found |= each.get("discriminator", {}).get("mapping", {})
    return found


def _row(name: str, prop: dict[str, Any], *, required: bool) -> str:
    value = prop.get("default")
    if _choices(prop):
        value = value["name"]
    default = "required" if required else f"`{json.dumps(value)}`"
    return f"| `{name}` | {_kind(prop)} | {default} | {' '.join(prop.get('description', '').split())} |"


def _kind(prop: dict[str, Any]) -> str:
    if "discriminator" in prop:
        return "table"
    if "anyOf" in prop:
        return " or ".join(_kind(each) for each in prop["anyOf"] if each.get("type") != "null")
    if "const" in prop:
        return f"`{prop['const']}`"
    if "enum" in prop:
        return ", ".join(f"`{value}`" for value in prop["enum"])
    plain = {
        "string": "text",
        "integer": "whole number",
        "object": "table",
        "boolean": "true or false",
        "array": "list",
    }
    kind = plain.get(prop.get("type", "string"), prop.get("type", "text"))
    if prop.get("format") == "password":
        kind = "secret"
    if "minimum" in prop or "maximum" in prop:
        kind += f", {prop.get('minimum', '')} to {prop.get('maximum', 'any')}"
    return kind


def main() -> None:
    """Writes the pages."""
    schema = json.dumps(config.schema(), indent=2, sort_keys=True) + "\n"
    (DOCS / "connector.schema.json").write_text(schema)
    (DOCS / "configuration.md").write_text(settings_page())


if __name__ == "__main__":
    main()
