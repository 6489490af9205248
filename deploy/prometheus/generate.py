"""Makes rules.yaml, the promtool cases, the index of the alerts' pages, and in each page how one sees that it is over.

Of values.yaml, recording.yaml and alerts/*.yaml.

::

    python -m deploy.prometheus.generate            writes them
    python -m deploy.prometheus.generate --check    exit code 1 when one of them is not what it would write

A threshold is written ``${name}``, or ``${name + 1}`` with one of + - * / and a number. Everything else is Prometheus's.
"""

import operator
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

FOLDER: Final = Path(__file__).parent
RULES: Final = FOLDER / "rules.yaml"
CASES: Final = FOLDER / "tests"
"""A file for each interval of samples."""
INDEX: Final = FOLDER.parent.parent / "docs" / "operate" / "alerts" / "README.md"
INDEX_HEAD: Final = """\
<!-- Generated from deploy/prometheus/ by `make rules`. -->
# Alerts

A page for each alert of `deploy/prometheus/rules.yaml`. Each says what the alert means, what to look at, what to do, when
it is over, and whom to wake. Queries go to Prometheus, or to Explore in Grafana. Commands take the settings of the workers:
`LIVESHOP_BROKERS`, and `LIVESHOP_TOPIC_PREFIX` and `LIVESHOP_GROUP` where they are set. `curl` asks a worker where it
listens, by default on port 9464: take the host and port of the label `instance`.

Several alerts at once mostly have one cause. The `inhibit_rules` of `deploy/compose/alertmanager.yml` keep back those that
follow from another: take them over into an Alertmanager of yours. Without them begin with the page that others name.

Logs and exit codes of a worker, also of one that was started anew:

```sh
kubectl logs live-liveshop-0 --previous --namespace shop
kubectl describe pod live-liveshop-0 --namespace shop
docker compose -f deploy/compose.yaml logs worker
```

Severity `page`: somebody gets up. `ticket`: somebody looks at it on the next working day. Alerts of single sessions are
another thing: liveshop decides them itself, and writes them to live.alerts. They are in
[deploy/runbook.md](../../../deploy/runbook.md).

| alert | severity | after | says |
|---|---|---|---|"""
OVER: Final = """\
## Over

When this gives nothing{late}:

```promql
{expr}
```

"""
"""A section of each page."""
WAKE: Final = "## Wake\n"
HEAD: Final = "# Generated from values.yaml, recording.yaml and alerts/ by `make rules`. Change those.\n"
WIDTH: Final = 120
INTERVAL: Final = "1m"
"""Between samples and evaluations of a case, where its alert names none with ``every``."""
TARGET: Final = {"job": "liveshop", "instance": "a:9464"}
"""Labels of a series in a case that does not say otherwise."""

_THRESHOLD: Final = re.compile(r"\$\{(\w+)(?: ([-+*/]) ([\d.]+))?\}")
_RANGE: Final = re.compile(r"\[(\d+)([mhd])\]|[a-z_](\d+)([mhd])\b")
"""In brackets, or at the end of the name of what is recorded."""
_MINUTES: Final = {"m": 1, "h": 60, "d": 1440}
_OPERATORS: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
}

Values = Mapping[str, Any]


def load(file: Path) -> Any:
    return yaml.safe_load(file.read_text())


def values() -> dict[str, Any]:
    found: dict[str, Any] = load(FOLDER / "values.yaml")
    return found


def filled(text: str, values: Values) -> str:
    """With every threshold in its place. Raises KeyError for one that values.yaml does not have."""

    def value(found: re.Match[str]) -> str:
        name, sign, other = found.groups()
        number = values[name]
        return str(number) if sign is None else f"{_OPERATORS[sign](number, float(other)):.10g}"

    return _THRESHOLD.sub(value, text)


def fill(tree: Any, values: Values) -> Any:
    """The same for each text in it."""
    match tree:
        case dict():
            return {filled(key, values): fill(each, values) for key, each in tree.items()}
        case list():
            return [fill(each, values) for each in tree]
        case str():
            return filled(tree, values).strip()
        case _:
            return tree


@dataclass(frozen=True, slots=True)
class Case:
    """Series that an alert fires at, or stays quiet at, ``at`` a time."""

    alert: str
    name: str
    fires: bool
    at: str
    every: str
    when: Mapping[str, str]


def sources() -> list[tuple[str, list[dict[str, Any]]]]:
    """Name and alerts of each file in alerts/, as they are written."""
    return [(file.stem, load(file)) for file in sorted((FOLDER / "alerts").glob("*.yaml"))]


def alerts(values: Values) -> list[dict[str, Any]]:
    """All of them, thresholds in their places."""
    return [fill(alert, values) for _, listed in sources() for alert in listed]


def rules(values: Values) -> dict[str, Any]:
    """Groups, as Prometheus reads them: what is recorded first."""
    recorded = fill(load(FOLDER / "recording.yaml"), values)["groups"]
    groups = [
        {"name": f"liveshop-alerts-{name}", "rules": [_rule(fill(alert, values), values) for alert in listed]}
        for name, listed in sources()
    ]
    return {"groups": [*recorded, *groups]}


def _rule(alert: Mapping[str, Any], values: Values) -> dict[str, Any]:
    lasting = {"for": alert["for"]} if "for" in alert else {}
    return {
        "alert": alert["alert"],
        "expr": alert["expr"],
        **lasting,
        "labels": {"severity": alert["severity"], **alert.get("labels", {})},
        "annotations": {
            "summary": alert["summary"],
            "description": alert["description"],
            "runbook_url": f"{values['runbook'].rstrip('/')}/{alert['alert']}.md",
        },
    }


def cases(alert: Mapping[str, Any]) -> Iterator[Case]:
    """Of one alert, thresholds in their places. One that has to last also stays quiet before its time."""
    name, fires, every = alert["alert"], alert["fires"], alert.get("every", INTERVAL)
    yield Case(name, "fires", fires=True, at=fires["at"], every=every, when=fires["when"])
    for why, quiet in alert["quiet"].items():
        yield Case(name, why, fires=False, at=quiet.get("at", fires["at"]), every=every, when=quiet["when"])
    if "for" in alert and not alert["expr"].startswith("absent"):
        yield Case(name, "before its time", fires=False, at=alert["for"], every=every, when=_later(fires["when"]))


def _later(when: Mapping[str, str]) -> dict[str, str]:
    """The same an interval later."""
    return {series: f"_ {numbers}" for series, numbers in when.items()}


def tests(values: Values) -> dict[str, dict[str, Any]]:
    """What promtool is to try, by interval."""
    found = [case for alert in alerts(values) for case in cases(alert)]
    return {
        every: {
            "rule_files": ["../rules.yaml"],
            "evaluation_interval": every,
            "group_eval_order": eval_order(values),
            "tests": [_test(case) for case in found if case.every == every],
        }
        for every in {case.every: None for case in found}
    }


def eval_order(values: Values) -> list[str]:
    """Groups, those that record first: promtool takes them in any order otherwise."""
    return [group["name"] for group in rules(values)["groups"]]


def _test(case: Case) -> dict[str, Any]:
    firing = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)'
    return {
        "name": f"{case.alert}: {case.name}",
        "interval": case.every,
        "input_series": [{"series": labelled(series), "values": numbers} for series, numbers in case.when.items()],
        "promql_expr_test": [
            {"expr": firing, "eval_time": case.at, "exp_samples": [{"labels": "{}", "value": int(case.fires)}]}
        ],
    }


def labelled(series: str) -> str:
    """With a job and an instance, where it says none."""
    name, _, labels = series.partition("{")
    missing = [f'{label}="{value}"' for label, value in TARGET.items() if f"{label}=" not in labels]
    given = labels.rstrip("}")
    return f"{name}{{{','.join([*missing, *([given] if given else [])])}}}"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, and lists indented: to be read by people."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002
        super().increase_indent(flow, indentless=False)


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def as_text(tree: Any) -> str:
    return HEAD + yaml.dump(tree, Dumper=_Dumper, sort_keys=False, width=WIDTH, allow_unicode=True)


def files() -> dict[Path, str]:
    """What is to be in each generated file."""
    found = values()
    by_interval = {CASES / f"every-{every}.yaml": as_text(each) for every, each in tests(found).items()}
    return {RULES: as_text(rules(found)), INDEX: index(found), **by_interval, **pages(found)}


def pages(values: Values) -> dict[Path, str]:
    """The page of each alert that has one, as people wrote it, with the section that says when it is over."""
    named = ((INDEX.parent / f"{alert['alert']}.md", alert) for alert in alerts(values))
    return {file: with_over(file.read_text(), alert["expr"]) for file, alert in named if file.exists()}


def with_over(page: str, expr: str) -> str:
    """The section stands before the last one. ``expr`` on one line: so people copy it."""
    before, _, after = page.partition(WAKE)
    before = before.partition(OVER.partition("\n")[0])[0]
    late = f", at most {last} after its cause has ended" if (last := longest(expr)) else ""
    return before + OVER.format(late=late, expr=" ".join(expr.split())) + WAKE + after


def longest(expr: str) -> str:
    """The longest time that an expression looks back; empty when it asks for now."""
    found = [(int(n or m), unit or other) for n, unit, m, other in _RANGE.findall(expr)]
    return "".join(map(str, max(found, key=lambda each: each[0] * _MINUTES[each[1]], default=("", ""))))


def index(values: Values) -> str:
    """The table of docs/operate/alerts/: what there is, how urgent, and what it says."""
    rows = [
        f"| [{name}]({name}.md) | {alert['severity']} | {alert.get('for', 'at once')} | {_plain(alert)} |"
        for alert in alerts(values)
        for name in [alert["alert"]]
    ]
    return "\n".join([INDEX_HEAD, *rows, ""])


def _plain(alert: Mapping[str, Any]) -> str:
    """Its summary, with a word in place of each label and value."""
    return re.sub(r"\{\{ \$(?:labels\.)?(\w+)[^}]*\}\}", lambda found: f"*{found[1]}*", alert["summary"])


def main(arguments: list[str]) -> int:
    stale = [file for file, text in files().items() if not file.exists() or file.read_text() != text]
    if "--check" in arguments:
        for file in stale:
            print(f"{file.relative_to(FOLDER.parent.parent)} is not what its sources say: make rules")  # noqa: T201
        return int(bool(stale))
    for file in stale:
        file.parent.mkdir(exist_ok=True)
        file.write_text(files()[file])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
