"""Imports point one way: cli -> observe, sandbox -> sessions -> kafka -> core -> model; and the core is pure."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import stream

ROOT = Path(stream.__file__).parent
MAY_IMPORT = {
    "model": {"model"},
    "core": {"core", "model"},
    "rules": {"rules", "core", "model", "errors", "durations", "sources"},
    "kafka": {
        *("kafka", "plaintext", "printed", "core", "model", "config"),
        *("security_settings", "sources", "errors", "durations"),
    },
    "sessions": {"sessions", "kafka", "rules", "core", "model", "config", "errors"},
    "observe": {"observe", "plaintext", "kafka.metrics_hooks", "kafka.health", "core", "model", "config", "errors"},
    "doctor": {"doctor", "sessions", "kafka", "core", "model", "config", "printed", "errors", "durations"},
    "operate": {"operate", "sessions", "kafka", "core", "model", "config", "printed", "errors"},
    "dlq": {"dlq", "operate.shards", "sessions", "kafka", "core", "model", "config", "printed", "errors"},
    "replay": {
        *("replay", "operate.shards", "sessions", "rules", "kafka", "core", "model", "config"),
        *("errors", "durations"),
    },
    "sandbox": {"sandbox", "children", "kafka", "core", "model", "config", "printed", "errors", "durations"},
}
IMPURE = {
    "asyncio",
    "aiokafka",
    "prometheus_client",
    "logging",
    "structlog",
    "os",
    "time",
    "random",
    "datetime",
    "threading",
}


def modules(room: str) -> Iterator[Path]:
    return iter(sorted((ROOT / room).rglob("*.py")))


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def allowed(name: str, rooms: set[str]) -> bool:
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(room)
        for name in imported(path)
        if name.startswith("stream.") and not allowed(name.removeprefix("stream."), MAY_IMPORT[room])
    ]
    assert wrong == []


@pytest.mark.parametrize("room", ["core", "model"])
def test_the_core_knows_no_clock_and_no_io(room: str) -> None:
    wrong = [
        f"{path.name} imports {name}"
        for path in modules(room)
        for name in imported(path)
        if name.split(".")[0] in IMPURE
    ]
    assert wrong == []


def test_what_starts_the_workers_needs_no_sandbox() -> None:
    found = [*imported(ROOT / "cli" / "processes.py"), *imported(ROOT / "children.py")]
    assert [name for name in found if name.startswith("stream.sandbox")] == []


NOT_OF_KAFKA = {
    *(
        "stream.core.shard",
        "stream.core.checkpoint",
        "stream.core.state_format",
        "stream.core.session",
        "stream.core.sessions",
    ),
    *("stream.core.windows", "stream.core.judge", "stream.core.panes", "stream.core.counts", "stream.core.policy"),
    *("stream.core.decode", "stream.core.alerts", "stream.model.alerts", "stream.model.events", "stream.rules"),
}
"""What one machine is made of: kafka/ runs any, by its role."""
WORDS_OF_ONE = {
    *("Kind", "KINDS", "INPUTS", "OUTPUTS", "SESSION_WINDOWS", "SESSIONS", "ALERTS", "DEAD_LETTERS", "STATE"),
    *("Tally", "ShardView", "SessionView", "Shard"),
}
"""Names of it that other modules give away."""


def test_kafka_knows_no_machine() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules("kafka")
        for name in [*imported(path), *names_imported(path)]
        if allowed(name, NOT_OF_KAFKA) or name in WORDS_OF_ONE
    ]
    assert wrong == []


def names_imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (alias.name for alias in node.names)


def test_the_map_names_every_room() -> None:
    rooms = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    named = set(re.findall(r"^(\w+)/ ", stream.__doc__ or "", re.MULTILINE))
    assert named == rooms


def test_the_map_names_every_module_at_the_top() -> None:
    modules_at_top = {path.name for path in ROOT.glob("*.py")} - {"__init__.py"}
    named = set(re.findall(r"^(\w+\.py) ", stream.__doc__ or "", re.MULTILINE))
    assert named == modules_at_top


def test_only_the_patches_touch_private_names_of_others() -> None:
    """ruff's SLF001 finds each; it is allowed in one folder, and must not be waved through elsewhere."""
    wrong = [
        str(path.relative_to(ROOT))
        for path in ROOT.rglob("*.py")
        if "patches" not in path.parts and "SLF001" in path.read_text()
    ]
    assert wrong == []


def test_only_the_patches_replace_what_is_inside_aiokafka() -> None:
    """A subclass reaches private names by `self`, and getattr by a text: ruff sees neither."""
    wrong = [
        f"{path.relative_to(ROOT)}: {ast.unparse(node)[:60]}"
        for path in ROOT.rglob("*.py")
        if "patches" not in path.parts
        for node in ast.walk(ast.parse(path.read_text()))
        if (isinstance(node, ast.ClassDef) and any(re.match("AIOKafka", ast.unparse(base)) for base in node.bases))
        or (isinstance(node, ast.Call) and re.match(r"[gs]etattr\([^()]+, '_[a-z]", ast.unparse(node)))
    ]
    assert wrong == []


def imports_of() -> dict[str, set[str]]:
    """The modules that each module imports, those for types alone and those within functions included."""
    paths = {path: ".".join(path.with_suffix("").relative_to(ROOT.parent).parts) for path in ROOT.rglob("*.py")}
    names = {path: name.removesuffix(".__init__") for path, name in paths.items()}
    known = set(names.values())
    found: dict[str, set[str]] = {}
    for path, name in names.items():
        asked = {*imported(path), *(f"{module}.{each}" for module, each in pairs_imported(path))}
        packages = {module for module, each in pairs_imported(path) if f"{module}.{each}" in known}
        found[name] = (asked & known) - packages - {name}
    return found


def pairs_imported(path: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)


def test_no_imports_go_round_in_a_circle() -> None:
    left = imports_of()
    while free := {name for name, asked in left.items() if not asked & left.keys()}:
        left = {name: asked for name, asked in left.items() if name not in free}
    between = {name: sorted(asked & left.keys()) for name, asked in left.items()}
    assert between == {}, "they import each other, or what does"
