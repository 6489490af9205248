"""schemas/ is right by itself, agrees with the code, and its examples are what consumers and producers can live with."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from schemas import generate
from stream.core import deadletters
from stream.core.counts import COUNTERS
from stream.core.decode import Rejected, decode_batch
from stream.core.figures import FIGURES, UNNAMED, How
from stream.core.policy import Policy
from stream.core.shard import Shard
from stream.dlq import ledger
from stream.durations import parse_duration
from stream.model import promotions
from stream.model.events import Action, Checkout, Comment, Status, View
from stream.model.names import INPUTS, KINDS, Closed, Kind, Reason
from stream.model.results import RefusedBatch
from stream.replay import audit
from stream.replay.plan import PartitionPlan, Plan
from stream.sessions.role import PROMOTING
from tests.replay.test_plan import a_plan

SPECS = (*PROMOTING.specs, *ledger.ROLE.specs, *audit.ROLE.specs)
ROOT = Path(__file__).parent.parent / "schemas"
TOPICS: dict[str, dict[str, Any]] = {
    file.stem: yaml.safe_load(file.read_text()) for file in sorted((ROOT / "topics").glob("*.yaml"))
}
SCHEMAS = sorted(ROOT.glob("*/v*.schema.json"))
EXAMPLES = sorted(ROOT.glob("*/examples/*.json"))
INPUT_EXAMPLES = [file for file in EXAMPLES if file.parts[-3] in tuple(KINDS)]
PRINTED = {ROOT / name / "v1.schema.json" for name in ("backtest", "doctor", "replay-diff")}
"""Of what commands print; no topic holds it."""


@dataclass(frozen=True)
class Rec:
    """A record as the log hands it out."""

    value: bytes
    key: bytes
    offset: int = 0
    timestamp: int = 1_700_000_060_000
    headers: tuple[tuple[str, bytes], ...] = ()


def relative(file: Path) -> str:
    return str(file.relative_to(ROOT))


def schema(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / name / "v1.schema.json").read_text())
    return found


def check(name: str, value: object) -> None:
    Draft202012Validator(schema(name)).validate(value)


def record(event: Mapping[str, Any], offset: int = 0) -> Rec:
    return Rec(json.dumps(event).encode(), str(event["session_id"]).encode(), offset)


# By themselves


@pytest.mark.parametrize("file", SCHEMAS, ids=relative)
def test_a_schema_is_a_schema_and_knows_its_own_name(file: Path) -> None:
    found = json.loads(file.read_text())
    Draft202012Validator.check_schema(found)
    assert found["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    assert found["$id"] == f"urn:liveshop:schema:{file.parent.name}:{file.name.removesuffix('.schema.json')}"
    assert set(found["required"]) <= set(found["properties"])
    assert found["description"]


@pytest.mark.parametrize("file", SCHEMAS, ids=relative)
def test_a_consumer_must_live_with_fields_it_does_not_know(file: Path) -> None:
    """Contracts are changed by adding: nothing may forbid more."""
    assert '"additionalProperties": false' not in file.read_text()


@pytest.mark.parametrize("file", EXAMPLES, ids=relative)
def test_an_example_is_one(file: Path) -> None:
    check(file.parts[-3], json.loads(file.read_text()))


def test_every_schema_belongs_to_a_topic_and_has_examples() -> None:
    used = {
        (ROOT / "topics" / version["schema"]).resolve()
        for topic in TOPICS.values()
        for version in topic["versions"]
        if "schema" in version
    }
    assert used | PRINTED == set(SCHEMAS)
    for topic in TOPICS.values():
        for version in topic["versions"]:
            assert version.get("private") or list((ROOT / "topics" / version["examples"]).glob("*.json"))


# With the code


def test_what_says_which_letters_were_sent_again_is_as_its_schema_says() -> None:
    check("redrives", json.loads(ledger.Entry("", 0, [(1, 2)], 2, "me").value()))
    example = json.loads((ROOT / "redrives" / "examples" / "seconds.json").read_text())
    assert json.loads(msgspec.json.decode(json.dumps(example), type=ledger.Entry).value()) == example
    assert list(schema("redrives")["properties"]) == list(ledger.Entry.__struct_fields__)


def test_what_was_replayed_is_as_its_schema_says() -> None:
    entry = audit.begun(a_plan(), "me", "a wrong rate", None)
    promotion = audit.Promotion(at_ms=1, by="me", why="the rate", sessions=["7301"])
    for each in (entry, audit.changed(entry, outcome=audit.RunOutcome.DONE, ended_ms=2, promotions=[promotion])):
        check("replays", json.loads(each.value()))
    found = schema("replays")["properties"]
    assert list(found) == list(audit.Entry.__struct_fields__)
    assert list(found["plan"]["properties"]) == list(Plan.__struct_fields__)
    assert list(found["plan"]["properties"]["parts"]["items"]["properties"]) == list(PartitionPlan.__struct_fields__)
    assert list(found["promotions"]["items"]["properties"]) == list(audit.Promotion.__struct_fields__)
    assert found["outcome"]["enum"] == list(audit.RunOutcome)
    example = json.loads((ROOT / "replays" / "examples" / "friday.json").read_text())
    assert json.loads(msgspec.json.decode(json.dumps(example), type=audit.Entry).value()) == example


def test_promotions_and_what_became_of_them_are_as_their_schemas_say() -> None:
    head: dict[str, Any] = {"promotion": "a" * 16, "session_id": "s"}
    after = promotions.Totals(value=msgspec.Raw(b'{"session_id":"s"}'), packed=b"x", named=[["a"]], figures=["views"])
    changes: list[promotions.Change] = [
        promotions.WindowChange(**head, window="1m", start=0, end=60_000),
        promotions.TotalsChange(**head, after=after),
    ]
    manifest = promotions.Manifest(**head, replay="r", ends={"views": 1}, generation=0)
    for _, value in promotions.records_of(changes, manifest):
        check("promotions", json.loads(value))
    verdict = promotions.Verdict(**head, outcome="applied", generation=0, offset=3, positions={"views": 1})
    check("promotion-outcomes", json.loads(promotions.written(verdict)))
    properties = schema("promotions")["$defs"]
    for name, shape in (
        ("window", promotions.WindowChange),
        ("totals", promotions.TotalsChange),
        ("manifest", promotions.Manifest),
    ):
        assert set(properties[name]["properties"]) == {"record", *shape.__struct_fields__}
    assert set(schema("promotion-outcomes")["properties"]) == set(promotions.Verdict.__struct_fields__)
    for file in (ROOT / "promotions" / "examples").glob("*.json"):
        promotions.read(file.read_bytes())


def test_there_is_a_page_for_every_topic() -> None:
    assert set(TOPICS) == {spec.name for spec in SPECS}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_topic_is_created_as_its_page_says(spec: Any) -> None:
    page = TOPICS[spec.name]
    assert page["topic"] == spec.name
    assert page["cleanup_policy"] == spec.configs["cleanup.policy"]
    assert page.get("timestamp_type") == spec.configs.get("message.timestamp.type")
    ms = spec.configs.get("retention.ms")
    assert (
        page["retention"] == "forever"
        if ms is None
        else parse_duration(page["retention"]).total_seconds() * 1000 == int(ms)
    )
    assert page["owner"]
    assert page["description"]
    assert page["consumers"]


@pytest.mark.parametrize(("kind", "struct"), [(Kind.VIEWS, View), (Kind.COMMENTS, Comment), (Kind.CHECKOUTS, Checkout)])
def test_an_input_has_the_fields_of_its_struct(kind: Kind, struct: type[msgspec.Struct]) -> None:
    fields = msgspec.structs.fields(struct)
    found = schema(kind)
    assert set(found["properties"]) == {field.name for field in fields}
    assert set(found["required"]) == {field.name for field in fields if field.required}


def test_actions_and_states_are_those_of_the_code() -> None:
    assert tuple(schema("views")["properties"]["action"]["enum"]) == Action.__args__  # type: ignore[attr-defined]
    assert tuple(schema("checkouts")["properties"]["status"]["enum"]) == Status.__args__  # type: ignore[attr-defined]


def test_counts_reasons_and_headers_are_those_of_the_code() -> None:
    for name in ("session-windows", "sessions"):
        assert tuple(schema(name)["properties"]["counts"]["properties"]) == COUNTERS
    reasons = schema("session-windows")["properties"]["reason"]["description"]
    assert all(re.search(rf"\b{reason}\b", reasons) for reason in Closed)
    headers = schema("dead-letters")["properties"]
    assert set(headers) == deadletters.OURS
    assert all(re.search(rf"\b{reason}\b", headers["liveshop-reason"]["description"]) for reason in Reason)
    page = (ROOT.parent / "docs" / "dead-letters.md").read_text()
    assert [reason for reason in Reason if f"`{reason}`" not in page] == []


@pytest.mark.parametrize("file", INPUT_EXAMPLES, ids=relative)
def test_the_worker_reads_every_example_of_an_input(file: Path) -> None:
    kind = Kind(file.parts[-3])
    (event,) = decode_batch(kind, [record(json.loads(file.read_text()))], 2**20)
    assert not isinstance(event, Rejected)


WRONG: list[tuple[Kind, dict[str, Any]]] = [
    *((kind, {"session_id": bad}) for kind in KINDS for bad in ("", "a/b", "a\n", "x" * 129, 7, None)),
    *((kind, {"event_time": bad}) for kind in KINDS for bad in (-1, 2**42 + 1, "1", None)),
    *((kind, {"viewer_id": bad}) for kind in KINDS for bad in ("", "\x7f", 1)),
    *((kind, {"creator_id": bad}) for kind in KINDS for bad in ("", "a/b", 1)),
    *((kind, {"platform": None}) for kind in KINDS),
    (Kind.VIEWS, {"action": "stare"}),
    (Kind.VIEWS, {"count": 0}),
    (Kind.VIEWS, {"gift_value": -1}),
    (Kind.VIEWS, {"gift_value": 10**13 + 1}),
    (Kind.VIEWS, {"action": "pin", "product_id": None}),
    (Kind.VIEWS, {"action": "unpin", "product_id": ""}),
    (Kind.VIEWS, {"action": "begin"}),
    (Kind.VIEWS, {"watch_ms": 86_400_001}),
    (Kind.VIEWS, {"concurrent_viewers": -1}),
    (Kind.COMMENTS, {"text": None}),
    (Kind.CHECKOUTS, {"status": "lost"}),
    (Kind.CHECKOUTS, {"amount_minor": 10**13 + 1}),
    (Kind.CHECKOUTS, {"amount_minor": 1.5}),
    (Kind.CHECKOUTS, {"currency": "rupiah"}),
    (Kind.CHECKOUTS, {"items": None}),
    (Kind.CHECKOUTS, {"items": [{"product_id": "p", "quantity": 0, "unit_price_minor": 1}]}),
    (Kind.CHECKOUTS, {"attempt": 1001}),
    (Kind.CHECKOUTS, {"is_cod": "yes"}),
    (Kind.CHECKOUTS, {"discount_minor": 10**13 + 1}),
    (Kind.CHECKOUTS, {"voucher_id": ""}),
]


@pytest.mark.parametrize(("kind", "change"), WRONG, ids=str)
def test_what_a_schema_refuses_the_worker_refuses_and_the_other_way_round(kind: Kind, change: dict[str, Any]) -> None:
    example = next(file for file in INPUT_EXAMPLES if file.parts[-3] == kind)
    event = json.loads(example.read_text()) | change
    with pytest.raises(ValidationError):
        check(kind, event)
    (decoded,) = decode_batch(kind, [record(event)], 2**20)
    assert isinstance(decoded, Rejected)


# With the tables of figures and rates


def test_what_follows_from_the_tables_is_fresh() -> None:
    assert generate.stale() == [], "make schemas"


def test_what_is_counted_since_later_is_not_required_of_what_was_written_before() -> None:
    for name in generate.RESULTS:
        required = {*schema(name)["required"], *schema(name)["properties"]["counts"]["required"]}
        later = {figure.shown_as for figure in FIGURES if figure.since > UNNAMED and figure.how is not How.BREAKDOWN}
        assert later & {*schema(name)["properties"], *schema(name)["properties"]["counts"]["properties"]}
        assert not required & later


def described(found: dict[str, Any], value: Any, where: str) -> None:
    """No field is written that the schema does not describe."""
    if isinstance(value, dict) and "properties" in found:
        assert value.keys() <= found["properties"].keys(), where
        for name, each in value.items():
            described(found["properties"][name], each, f"{where}.{name}")
    elif isinstance(value, list):
        for each in value:
            described(found["items"], each, where)


# What is written


def shard_with(*events: tuple[Kind, dict[str, Any]]) -> Shard:
    shard = Shard(Policy())
    for offset, (kind, event) in enumerate(events):
        shard.read(kind, [record(event, offset)])
    return shard


def test_what_the_worker_writes_is_as_the_schemas_say() -> None:
    inputs = [(Kind(file.parts[-3]), json.loads(file.read_text())) for file in INPUT_EXAMPLES]
    shard = shard_with(*inputs)
    shard.finish()
    while shard.work(100):
        pass
    outputs = shard.collect()
    assert outputs is not None
    assert len(outputs.windows) == 6  # one of 1m, five of 5m
    for name, values in (("session-windows", outputs.windows), ("sessions", outputs.sessions)):
        for _, value in values:
            check(name, json.loads(value))
            described(schema(name), json.loads(value), name)
    assert outputs.sessions
    assert not outputs.dead_letters


def test_a_dead_letters_headers_are_as_the_schema_says() -> None:
    shard = Shard(Policy())
    large = Rec(b"x" * (2**20 + 1), b"7301", headers=(("trace", b"1" * 70_000),))
    records = deadletters.shortened([large], decode_batch(Kind.VIEWS, [large], 2**20))
    shard.read(Kind.VIEWS, [Rec(b"{", b"7301", 3)])
    shard.count(Kind.VIEWS, records, decode_batch(Kind.VIEWS, [large], 2**20))
    batch = RefusedBatch(5, 9, 5, 0, Reason.UNREADABLE, "batch: goes beyond the end", b"\xff", 1, "0123456789abcdef")
    shard.read(Kind.VIEWS, [batch])
    outputs = shard.collect()
    assert outputs is not None
    rows = list(deadletters.rows(outputs.dead_letters, {str(kind): f"x.{name}" for kind, name in INPUTS.items()}, 3, 0))
    assert len(rows) == 3
    for _, _, headers in rows:
        check("dead-letters", {name: (value or b"").decode() for name, value in headers if name in deadletters.OURS})
    assert {name for name, _ in rows[1][2]} == deadletters.OURS - {deadletters.RECORDS}
    assert {name for name, _ in rows[2][2]} == deadletters.OURS - {deadletters.DROPPED}
