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
    for name, prop in schema["properties"].items():
        reference = prop.get("$ref") or prop.get("additionalProperties", {}).get("$ref")
        named = "additionalProperties" in prop
        sections += _section(f"{name}.NAME" if named else name, schema["$defs"], reference)
    return "\n".join(sections)


def _section(key: str, definitions: dict[str, Any], reference: str) -> list[str]:
    section = definitions[reference.rsplit("/", 1)[-1]]
    rows = []
    below: list[str] = []
    for name, prop in section["properties"].items():
        if "$ref" in prop:
            below += _section(f"{key}.{name}", definitions, prop["$ref"])
            continue
        default = "required" if name in section.get("required", ()) else f"`{json.dumps(prop.get('default'))}`"
        rows.append(f"| `{name}` | {_kind(prop)} | {default} | {' '.join(prop.get('description', '').split())} |")
    text = f"## [{key}]\n\n{section.get('description', '')}\n"
    if rows:
        text += "\n| key | type | default | meaning |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"
    return [text, *below]


def _kind(prop: dict[str, Any]) -> str:
    if "anyOf" in prop:
        return " or ".join(_kind(each) for each in prop["anyOf"] if each.get("type") != "null")
    if "const" in prop:
        return f"`{prop['const']}`"
    if "enum" in prop:
        return ", ".join(f"`{value}`" for value in prop["enum"])
    kind = {"string": "text", "integer": "whole number", "object": "table", "boolean": "true or false"}.get(
        prop["type"], prop["type"]
    )
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
