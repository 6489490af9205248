"""docs/topics.md, from schemas/: each topic, its key and retention, the fields of its records, and an example."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from tests.docs.tables import code, row, table
from tests.live import PROJECT

SCHEMAS: Final = PROJECT / "schemas"
HEAD: Final = """# Topics and records

All topics that liveshop reads and writes. Records are JSON in UTF-8. Made by `make docs` from `schemas/`, where the JSON
Schemas and more examples are; `make check` fails when this page is stale.

Schemas change only by adding. A consumer must ignore fields that it does not know. Times are integer milliseconds since
1970, UTC. Money is in minor units of its currency.

"""
INPUTS: Final = ("live.views", "live.comments", "live.checkouts")
OUTPUTS: Final = (
    "live.session-windows",
    "live.sessions",
    "live.alerts",
    "live.dead-letters",
    "live.state",
    "live.redrives",
    "live.replays",
    "live.promotions",
    "live.promotion-outcomes",
)
EXAMPLES: Final = {"live.session-windows": "contracts", "live.dead-letters": "missing-field"}
"""Which one is shown, where it is not the first by name."""
Node = dict[str, Any]


def page() -> str:
    topics = {file.stem: yaml.safe_load(file.read_text()) for file in sorted((SCHEMAS / "topics").glob("*.yaml"))}
    order = [*(name for name in (*INPUTS, *OUTPUTS) if name in topics), *sorted(topics.keys() - {*INPUTS, *OUTPUTS})]
    overview = (
        row(f"[`{name}`](#{name.replace('.', '')})", "input" if name in INPUTS else "output", code(topics[name]["key"]))
        for name in order
    )
    parts = "".join(_topic(topics[name]) for name in order)
    return HEAD + table(("topic", "", "key"), overview) + parts


def _topic(topic: Node) -> str:
    facts = {
        "key": code(topic["key"]),
        "cleanup policy": f"`{topic['cleanup_policy']}`",
        "retention": topic["retention"],
        "personal data": topic["personal_data"],
        "written by": topic["owner"],
        "read by": ", ".join(topic["consumers"]),
    }
    about = table(("", ""), (row(name, str(fact)) for name, fact in facts.items()))
    versions = "".join(_version(topic["topic"], version) for version in topic["versions"])
    return f"\n## {topic['topic']}\n\n{topic['description'].strip()}\n\n{about}{versions}"


def _version(topic: str, version: Node) -> str:
    if version.get("private"):
        return f"\nThe value is {version['encoding']}.\n"
    file = (SCHEMAS / "topics" / version["schema"]).resolve()
    schema = json.loads(file.read_text())
    fields = table(("field", "type", "required", "what"), _fields(schema, schema))
    kind = "Headers" if version["describes"] == "headers" else "Fields of the value"
    examples = (SCHEMAS / "topics" / version["examples"]).resolve()
    shown = _example(examples, EXAMPLES.get(topic))
    return f"\n{schema['description']}\n\n{kind} (`schemas/{file.relative_to(SCHEMAS)}`):\n\n{fields}\n{shown}"


def _example(folder: Path, name: str | None) -> str:
    file = folder / f"{name}.json" if name else min(folder.glob("*.json"))
    text = json.dumps(json.loads(file.read_text()), indent=2, ensure_ascii=False)
    return f"An example (`schemas/{file.relative_to(SCHEMAS)}`):\n\n```json\n{text}\n```\n"


def _fields(node: Node, schema: Node, before: str = "") -> Iterator[str]:
    """A row for each property, and for those within it."""
    required = node.get("required", ())
    for name, found in node["properties"].items():
        resolved = _resolved(found, schema)
        inner = _resolved(resolved.get("items", resolved), schema)
        what = str(found.get("description") or resolved.get("description") or "")
        yield row(f"`{before}{name}`", _type(found, schema), "yes" if name in required else "", what)
        mark = "[]" if "items" in resolved else ""
        if "properties" in inner:
            yield from _fields(inner, schema, f"{before}{name}{mark}.")
        elif "properties" in (each := _each(inner, schema)):
            yield from _fields(each, schema, f"{before}{name}.*.")


def _each(node: Node, schema: Node) -> Node:
    found = node.get("additionalProperties")
    return _resolved(found, schema) if isinstance(found, dict) else {}


def _resolved(node: Node, schema: Node) -> Node:
    """Without the reference, and without the null that an optional field may be."""
    choices = [choice for choice in node.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) == 1:
        return _resolved(choices[0], schema) | {name: node[name] for name in ("description",) if name in node}
    if "$ref" in node:
        return _resolved(schema["$defs"][node["$ref"].rpartition("/")[2]], schema)
    return node


def _type(node: Node, schema: Node) -> str:
    found = _resolved(node, schema)
    if "enum" in found:
        return "one of " + ", ".join(f"`{value}`" for value in found["enum"])
    kind = str(found.get("type", ""))
    if kind == "array":
        return f"array of {_type(found['items'], schema)}"
    if kind == "object" and (each := _each(found, schema)):
        return f"object of {_type(each, schema)}"
    return kind + _range(found)


def _range(node: Node) -> str:
    match node:
        case {"minimum": low, "maximum": high}:
            return f", {low:,} to {high:,}"
        case {"minimum": low} if low:
            return f", from {low:,}"
        case {"maxLength": length} if length != node.get("minLength"):
            return f", up to {length} characters"
        case _:
            return ""
