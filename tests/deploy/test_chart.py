"""The Helm chart: what real Helm makes of it with each values file, and what liveshop makes of that.

`python -m tests.deploy` validates the same against Kubernetes' schemas; no cluster is there to install it in.
"""

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
import typer.core
import yaml

import stream
from stream import cli
from stream.config import SETTINGS, load
from stream.durations import parse_duration
from stream.model.names import INPUTS
from stream.observe.health import STALLED_AFTER
from stream.rules.reading import read_rules
from stream.security_settings import Security
from tests.deploy import tools
from tests.deploy.chart import CHART, VALUES, RefusedError, Rendered, render
from tests.test_readme import CONTENTS

DEPLOY = CHART.parents[1]
DEFAULTS = {setting.name: setting.default for setting in SETTINGS}
NAMES = [path.stem for path in VALUES]


@pytest.fixture(params=VALUES, ids=NAMES)
def values(request: pytest.FixtureRequest) -> Path:
    tools.need()
    path: Path = request.param
    return path


@pytest.fixture
def rendered(values: Path) -> Rendered:
    return render(values)


def of(name: str) -> Rendered:
    tools.need()
    return render(CHART / "ci" / f"{name}.yaml")


def refusal(text: str, tmp_path: Path) -> str:
    tools.need()
    (tmp_path / "values.yaml").write_text(text)
    with pytest.raises(RefusedError) as refused:
        render(tmp_path / "values.yaml")
    return str(refused.value)


def pod(workload: Any) -> Any:
    return workload["spec"]["template"]["spec"]


def container(workload: Any) -> Any:
    (found,) = pod(workload)["containers"]
    return found


def environment(rendered: Rendered, workload: Any) -> dict[str, str]:
    """What the container gets, as Kubernetes puts it together."""
    found: dict[str, str] = {}
    for source in container(workload).get("envFrom", ()):
        name = source["configMapRef"]["name"]
        (config,) = (each for each in rendered.resources("ConfigMap") if each["metadata"]["name"] == name)
        found |= config["data"]
    return found | {each["name"]: each["value"] for each in container(workload).get("env", ())}


def component(workload: Any) -> str:
    name: str = workload["metadata"]["labels"]["app.kubernetes.io/component"]
    return name


def workloads(rendered: Rendered) -> list[Any]:
    return [rendered.one("StatefulSet"), *rendered.resources("Job")]


# --- all of them -----------------------------------------------------------------------------------------------------


def test_helm_finds_nothing_to_complain_of(rendered: Rendered) -> None:
    """Severity 1 is advice: an icon."""
    assert [each for each in rendered.lint["messages"] if each["severity"] > 1] == []
    assert rendered.lint["errors"] == []


def test_all_is_in_the_namespace_and_says_whose_it_is(rendered: Rendered) -> None:
    resources = [each for text in rendered.files.values() for each in yaml.safe_load_all(text) if each]
    assert {each["metadata"]["namespace"] for each in resources} == {"shop"}
    assert {each["metadata"]["labels"]["app.kubernetes.io/instance"] for each in resources} == {"live"}
    keys = [(each["kind"], each["metadata"]["name"]) for each in resources]
    assert len(keys) == len(set(keys))
    assert {each["metadata"]["labels"]["app.kubernetes.io/version"] for each in resources} == {stream.__version__}


def test_settings_are_right_as_they_reach_the_worker(rendered: Rendered, tmp_path: Path) -> None:
    """Every one is known, has a value that liveshop takes, and goes with the others; mounted files are there."""
    for workload in workloads(rendered):
        given = environment(rendered, workload)
        mounts = {mount["mountPath"]: mount for mount in container(workload).get("volumeMounts", ())}
        for name in [name for name in given if name.endswith("_FILE") or given[name].startswith("/")]:
            assert str(Path(given[name]).parent) in mounts, f"{name} is mounted"
            (tmp_path / name).write_bytes(CONTENTS.get(name, b"secret"))
            given[name] = str(tmp_path / name)
        settings = load({}, None, given, required=("brokers",))
        assert settings.http_port == container(workload).get("ports", [{"containerPort": 9464}])[0]["containerPort"]


def test_every_volume_that_is_mounted_is_there_and_every_one_there_is_mounted(rendered: Rendered) -> None:
    for workload in workloads(rendered):
        mounted = [mount["name"] for mount in container(workload).get("volumeMounts", ())]
        assert mounted == [volume["name"] for volume in pod(workload).get("volumes", ())]
        assert all(mount["readOnly"] for mount in container(workload).get("volumeMounts", ()))


def test_commands_are_liveshops_own(rendered: Rendered, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: list[dict[str, Any]] = []
    monkeypatch.setattr(typer.core.TyperCommand, "invoke", lambda _, context: parsed.append(context.params))
    for workload in workloads(rendered):
        assert "command" not in container(workload), "the image's entry point is liveshop"
        with pytest.raises(SystemExit) as ended:
            cli.main(container(workload)["args"])
        assert ended.value.code in {0, None}
    assert len(parsed) == len(workloads(rendered))


def test_nobody_is_root_and_nothing_can_be_written(rendered: Rendered) -> None:
    for workload in workloads(rendered):
        assert pod(workload)["securityContext"]["runAsNonRoot"]
        assert pod(workload)["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod(workload)["securityContext"]["runAsUser"] == 10001, "the user of the image"
        assert container(workload)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not pod(workload)["automountServiceAccountToken"]
        assert not pod(workload)["enableServiceLinks"], "variables that look like settings"
        assert all(mount["name"] != "tmp" for mount in container(workload).get("volumeMounts", ()))


def test_what_is_selected_is_there(rendered: Rendered) -> None:
    """Labels of the workers' pods are those that everybody looks for, and only workers have all of them."""
    worker = rendered.one("StatefulSet")
    labels = worker["spec"]["template"]["metadata"]["labels"]
    selectors = [
        worker["spec"]["selector"]["matchLabels"],
        rendered.one("Service")["spec"]["selector"],
        rendered.one("PodDisruptionBudget")["spec"]["selector"]["matchLabels"],
        *(each["spec"]["selector"]["matchLabels"] for each in rendered.resources("PodMonitor")),
        *(each["labelSelector"]["matchLabels"] for each in pod(worker)["topologySpreadConstraints"]),
    ]
    for selector in selectors:
        assert selector.items() <= labels.items()
        for job in rendered.resources("Job"):
            assert not selector.items() <= job["spec"]["template"]["metadata"]["labels"].items()
    for policy in rendered.resources("NetworkPolicy"):
        for workload in workloads(rendered):
            chosen = policy["spec"]["podSelector"]["matchLabels"]
            assert chosen.items() <= workload["spec"]["template"]["metadata"]["labels"].items()
    assert worker["spec"]["serviceName"] == rendered.one("Service")["metadata"]["name"]
    for scaled in rendered.resources("ScaledObject"):
        assert scaled["spec"]["scaleTargetRef"]["name"] == worker["metadata"]["name"]


def test_probes_mean_what_liveshop_means(rendered: Rendered) -> None:
    worker = container(rendered.one("StatefulSet"))
    startup, liveness, readiness = (worker[f"{name}Probe"] for name in ("startup", "liveness", "readiness"))
    assert startup["httpGet"] == liveness["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert readiness["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 300
    assert liveness["periodSeconds"] * liveness["failureThreshold"] >= STALLED_AFTER


def test_a_worker_has_time_for_its_last_checkpoint(rendered: Rendered) -> None:
    worker = rendered.one("StatefulSet")
    given = environment(rendered, worker)
    needed = sum(
        parse_duration(given.get(f"LIVESHOP_{name.upper()}", DEFAULTS[name])).total_seconds()
        for name in ("revoke_deadline", "transaction_timeout")
    )
    assert pod(worker)["terminationGracePeriodSeconds"] > needed


def test_all_workers_start_at_once_and_are_never_all_away(rendered: Rendered) -> None:
    worker = rendered.one("StatefulSet")["spec"]
    assert worker["podManagementPolicy"] == "Parallel"
    assert worker["updateStrategy"] == {"type": "RollingUpdate"}
    assert rendered.one("PodDisruptionBudget")["spec"]["maxUnavailable"] == 1
    assert "cpu" not in container(rendered.one("StatefulSet"))["resources"]["limits"], "throttled heartbeats are late"


def test_an_alert_warns_before_a_worker_is_killed_for_its_memory(rendered: Rendered) -> None:
    limit = container(rendered.one("StatefulSet"))["resources"]["limits"]["memory"]
    assert re.fullmatch(r"\d+Gi", limit)
    warned_at = yaml.safe_load((DEPLOY / "prometheus" / "values.yaml").read_text())["memory_bytes"]
    assert warned_at <= 0.8 * int(limit[:-2]) * 2**30


def test_the_network_lets_out_to_every_broker(rendered: Rendered) -> None:
    given = environment(rendered, rendered.one("StatefulSet"))
    brokers = {int(broker.rpartition(":")[2]) for broker in given["LIVESHOP_BROKERS"].split(",")}
    for policy in rendered.resources("NetworkPolicy"):
        assert brokers <= {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}
        assert {port["port"] for rule in policy["spec"]["ingress"] for port in rule["ports"]} == {9464}


def test_topics_are_made_before_anything_that_needs_them(rendered: Rendered) -> None:
    """A hook is run before the release's other resources exist, so it can use none of them."""
    for job in [job for job in rendered.resources("Job") if component(job) == "topics"]:
        assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert "envFrom" not in container(job)
        assert "serviceAccountName" not in pod(job)
        assert all("configMap" not in volume for volume in pod(job).get("volumes", ()))
        ours = environment(rendered, rendered.one("StatefulSet"))
        theirs = environment(rendered, job)
        other = {"LIVESHOP_RULES", "LIVESHOP_SASL_USERNAME"}
        assert {k: v for k, v in theirs.items() if k not in other} == {k: v for k, v in ours.items() if k not in other}


def test_scraping_is_as_the_rules_and_the_other_configurations_have_it(rendered: Rendered) -> None:
    """The same bound and the same job for a Prometheus beside a worker, in compose.yaml and with the operator."""
    own = [
        yaml.safe_load((DEPLOY / name).read_text()) for name in ("prometheus/prometheus.yml", "compose/prometheus.yml")
    ]
    (beside, composed) = (
        next(job for job in config["scrape_configs"] if job["job_name"] == "liveshop") for config in own
    )
    assert beside["sample_limit"] == composed["sample_limit"]
    for monitor in rendered.resources("PodMonitor"):
        assert monitor["spec"]["sampleLimit"] == beside["sample_limit"]
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["interval"] == own[0]["global"]["scrape_interval"]
        labels = {each["targetLabel"]: each.get("replacement") for each in endpoint["relabelings"]}
        assert labels == {"job": "liveshop", "instance": None}


def test_what_to_do_next_is_said_with_the_names_that_are_there(rendered: Rendered) -> None:
    name = rendered.one("StatefulSet")["metadata"]["name"]
    assert f"statefulset/{name} --namespace shop" in rendered.notes
    commands = re.findall(r"liveshop [a-z][a-z ]*(?: --\S+ \S+)*$", rendered.notes, re.MULTILINE)
    assert len(commands) >= 2
    for command in commands:
        words = shlex.split(command)[1:]
        assert words[0] in cli.COMMANDS, command


# --- each by itself --------------------------------------------------------------------------------------------------


def test_a_few_values_are_enough() -> None:
    rendered = of("default")
    kinds = {each["kind"] for text in rendered.files.values() for each in yaml.safe_load_all(text) if each}
    assert kinds >= {
        *("StatefulSet", "Service", "ServiceAccount", "ConfigMap", "PodDisruptionBudget", "NetworkPolicy", "Job"),
        *("PodMonitor", "PrometheusRule"),
    }
    assert "ScaledObject" not in kinds
    assert "Every pod of the cluster may read" in rendered.notes


def test_a_secured_cluster_gets_its_files_and_its_own_user_for_topics() -> None:
    rendered = of("tls-sasl")
    worker, job = workloads(rendered)
    assert environment(rendered, worker)["LIVESHOP_SASL_USERNAME"] == "liveshop-worker"
    assert environment(rendered, job)["LIVESHOP_SASL_USERNAME"] == "liveshop-setup"
    secrets = [
        {volume["name"]: volume.get("secret", {}).get("secretName") for volume in pod(each)["volumes"]}
        for each in (worker, job)
    ]
    assert secrets == [
        {"rules": None, "tls": "kafka-tls", "sasl": "kafka-login"},
        {"tls": "kafka-tls", "sasl": "kafka-setup"},
    ]
    assert [rule.alert for rule in read_rules(rules_of(rendered), "values")] == ["many_views"]
    assert environment(rendered, worker)["LIVESHOP_MAX_VALUE"] == "2097152", "not 2.097152e+06"
    (policy,) = rendered.resources("NetworkPolicy")
    assert {port["port"] for port in policy["spec"]["egress"][1]["ports"]} == {9093, 9193}


def test_a_replay_is_a_job_of_its_plan(tmp_path: Path) -> None:
    """Another plan is another job: Kubernetes changes none. It reads the plan that it was given, and no rules but those."""
    rendered = of("replay")
    (job,) = [job for job in rendered.resources("Job") if component(job) == "replay"]
    (plan,) = [config for config in rendered.resources("ConfigMap") if "plan.json" in config["data"]]
    assert plan["metadata"]["name"] == job["metadata"]["name"]
    assert json.loads(plan["data"]["plan.json"]) == {"id": "friday-evening"}
    folder, _, file = container(job)["args"][2].rpartition("/")
    assert (folder, file) == (container(job)["volumeMounts"][0]["mountPath"], "plan.json")
    assert container(job)["args"][-2:] == ["--rate", "50000"]
    assert "helm.sh/hook" not in job["metadata"].get("annotations", {}), "its settings are the release's"
    (tmp_path / "values.yaml").write_text('kafka: {brokers: [b:9092]}\nreplay: {plan: \'{"id": "saturday"}\'}')
    (other,) = [job for job in render(tmp_path / "values.yaml").resources("Job") if component(job) == "replay"]
    assert other["metadata"]["name"] != job["metadata"]["name"]


def rules_of(rendered: Rendered) -> str:
    (config,) = (
        each for each in rendered.resources("ConfigMap") if each["metadata"]["name"].endswith("session-alerts")
    )
    text: str = config["data"]["rules.yaml"]
    return text


def test_a_token_of_the_service_account_is_mounted_where_it_is_asked_for() -> None:
    rendered = of("oauth")
    worker = rendered.one("StatefulSet")
    (volume,) = pod(worker)["volumes"]
    (source,) = volume["projected"]["sources"]
    assert source["serviceAccountToken"] == {"path": "kafka", "audience": "kafka", "expirationSeconds": 3600}
    assert environment(rendered, worker)["LIVESHOP_SASL_TOKEN_FILE"] == "/etc/liveshop/token/kafka"
    assert rendered.resources("Job") == []
    assert "topics create --partitions 12" in rendered.notes
    assert pod(worker)["imagePullSecrets"] == [{"name": "registry-login"}]
    assert container(worker)["image"] == f"registry.example/liveshop:{stream.__version__}"


@pytest.mark.parametrize(("name", "most"), [("keda", 12), ("keda-kafka", 6)])
def test_keda_has_the_number_of_workers_to_itself_and_takes_its_time(name: str, most: int) -> None:
    rendered = of(name)
    assert "replicas" not in rendered.one("StatefulSet")["spec"]
    spec = rendered.one("ScaledObject")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (2, most)
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] >= 1800


def test_keda_asks_for_the_lag_of_every_input_under_its_name() -> None:
    rendered = of("keda-kafka")
    given = environment(rendered, rendered.one("StatefulSet"))
    prefix, group = given["LIVESHOP_TOPIC_PREFIX"], given["LIVESHOP_GROUP"]
    triggers = rendered.one("ScaledObject")["spec"]["triggers"]
    assert {each["metadata"]["topic"] for each in triggers} == {prefix + name for name in INPUTS.values()}
    assert {each["metadata"]["consumerGroup"] for each in triggers} == {group}
    assert {each["authenticationRef"]["name"] for each in triggers} == {"kafka"}


def test_without_the_operator_there_are_none_of_its_resources() -> None:
    rendered = of("no-operator")
    assert not rendered.resources("PodMonitor")
    assert not rendered.resources("PrometheusRule")
    assert not rendered.resources("NetworkPolicy")
    assert pod(rendered.one("StatefulSet"))["serviceAccountName"] == "default"
    annotations = rendered.one("StatefulSet")["spec"]["template"]["metadata"]["annotations"]
    assert {name: value for name, value in annotations.items() if name.startswith("prometheus.io")} == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "9464",
        "prometheus.io/path": "/metrics",
    }


def test_a_large_installation_has_its_nodes_and_figures() -> None:
    worker = of("large").one("StatefulSet")
    assert worker["spec"]["replicas"] == 8
    assert pod(worker)["nodeSelector"] == {"pool": "streaming"}
    assert pod(worker)["priorityClassName"] == "streaming"
    assert worker["spec"]["template"]["metadata"]["labels"]["team"] == "live"


def test_dashboards_are_those_of_the_project() -> None:
    """The chart has links to them, which Helm follows: there is no copy that could grow old."""
    rendered = of("default")
    dashboards = {
        name: text
        for each in rendered.resources("ConfigMap")
        if "grafana_dashboard" in each["metadata"]["labels"]
        for name, text in each["data"].items()
    }
    files = {path.name: path.read_text() for path in (DEPLOY / "grafana" / "dashboards").glob("*.json")}
    assert dashboards == files
    assert all(len(text.encode()) < 1_000_000 for text in dashboards.values()), "etcd takes no more"


def test_a_dashboard_becomes_a_configmap_as_it_is(tmp_path: Path) -> None:
    """Also what looks like a template in it: Grafana has its own."""
    tools.need()
    chart = Path(shutil.copytree(CHART, tmp_path / "chart"))
    text = '{"title": "Pipeline", "legend": "{{topic}}", "unit": "Ümlaut", "expr": "a > \\"b\\""}\n'
    (chart / "files" / "dashboards" / "pipeline.json").write_text(text)
    found = render(CHART / "ci" / "default.yaml", chart).resources("ConfigMap")
    (config,) = (each for each in found if each["metadata"]["name"] == "live-liveshop-pipeline")
    assert config["data"] == {"pipeline.json": text}
    assert config["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config["metadata"]["annotations"] == {"grafana_folder": "liveshop"}


def test_rules_are_those_of_the_project_for_the_operator_and_without_it() -> None:
    rules = (DEPLOY / "prometheus" / "rules.yaml").read_text()
    assert of("default").one("PrometheusRule")["spec"] == yaml.safe_load(rules)
    (config,) = (
        each
        for each in of("no-operator").resources("ConfigMap")
        if each["metadata"]["name"] == "live-liveshop-prometheus-rules"
    )
    assert config["data"] == {"rules.yaml": rules}
    assert "Mount the ConfigMap live-liveshop-prometheus-rules" in of("no-operator").notes


# --- mistakes --------------------------------------------------------------------------------------------------------


def test_mistakes_are_named_all_at_once(tmp_path: Path) -> None:
    told = refusal("workers: {replicas: 20}\nkafka: {sasl: {mechanism: PLAIN}}\n", tmp_path)
    assert "kafka.brokers is needed" in told
    assert "workers.replicas is 20, but with topics.partitions 12 at most 12 can have work" in told
    assert "PLAIN needs kafka.sasl.username and kafka.sasl.existingSecret" in told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("config: {delai: 3s}", "'delai'"),
        ("config: {sasl_password: secret}", "'sasl_password'"),
        ("workers: {replica: 3}", "'replica'"),
        ("workers: {terminationGracePeriodSeconds: 5}", "minimum: got 5, want 20"),
        ("keda: {enabled: true, cooldown: 30}", "minimum: got 30, want 300"),
        ("keda: {enabled: true, maxReplicas: 20}", "at most 12 can have work"),
        ("keda: {enabled: true, minReplicas: 9, maxReplicas: 5}", "keda.minReplicas is more than keda.maxReplicas"),
        ("monitoring: {scrapeAnnotations: true}", "count everything twice"),
        ("topics: {partitions: 0}", "minimum: got 0, want 1"),
        ("rules: ''", "rules"),
    ],
)
def test_a_mistake_is_refused(more: str, told: str, tmp_path: Path) -> None:
    assert told in refusal(f"kafka: {{brokers: [kafka:9092]}}\n{more}\n", tmp_path)


def test_oauth_needs_a_token_from_somewhere(tmp_path: Path) -> None:
    told = refusal("kafka: {brokers: [kafka:9092], sasl: {mechanism: OAUTHBEARER}}", tmp_path)
    assert "OAUTHBEARER needs kafka.sasl.oauth.serviceAccountAudience, or tokenUrl and clientId" in told


# --- the chart's own files -------------------------------------------------------------------------------------------


def test_every_setting_that_no_other_value_sets_can_be_given() -> None:
    """A new setting has to be added to the schema."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    set_by_others = {"brokers", "http_host", "http_port", "rules", *Security.model_fields}
    names = schema["properties"]["config"]["propertyNames"]["enum"]
    assert set(names) == {setting.name for setting in SETTINGS} - set_by_others


def test_every_value_has_a_comment() -> None:
    """On the line above, or above the group that it stands in with others of its kind."""
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = []
    for number, line in enumerate(lines):
        if not re.match(r" *[\w.]+:", line) or re.match(r" *[\w.]+:$", line):
            continue
        above = number - 1
        while above >= 0 and re.match(r" *[\w.]+: |^ *- ", lines[above]):
            above -= 1
        if not lines[above].strip().startswith("#") and not re.match(r" *[\w.]+:$", lines[above]):
            bare.append(line)
    assert bare == []


def test_the_schema_knows_every_value_and_no_other() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    unknown = list(differences(yaml.safe_load((CHART / "values.yaml").read_text()), schema, ""))
    assert unknown == []


def differences(values: Any, schema: Any, path: str) -> Any:
    properties = schema.get("properties")
    if isinstance(values, dict) and properties:
        yield from (f"{path}.{name} is in one only" for name in (values.keys() ^ properties.keys()) - OPTIONAL)
        for name in values.keys() & properties.keys():
            yield from differences(values[name], properties[name], f"{path}.{name}")


OPTIONAL = {"global", "cpu", "ephemeral-storage", "initialDelaySeconds", "successThreshold"}


def test_the_chart_has_the_version_of_liveshop() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["appVersion"] == stream.__version__
