"""deploy/Dockerfile. It cannot be built where the tests run; what can be known of it without is known here."""

import json
import re
import shlex
from pathlib import Path

import pytest

import stream
from tests.deploy.compose import DOCKERFILE
from tests.deploy.containers import environment_of
from tests.live import PROJECT
from tests.test_readme import pins

TEXT = DOCKERFILE.read_text()
INSTRUCTIONS = [
    tuple(line.split(maxsplit=1))
    for line in re.sub(r"^#.*\n", "", TEXT, flags=re.MULTILINE).replace("\\\n", " ").splitlines()
    if line.strip()
]
LAST = INSTRUCTIONS[max(number for number, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]


def last(word: str) -> str:
    """The rest of the only such instruction of the last stage."""
    (rest,) = (rest for each, rest in LAST if each == word)
    return rest


def test_every_stage_has_the_same_exact_version_of_python_and_it_is_one_that_ci_tests() -> None:
    bases = [rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"]
    assert bases == ["python:${PYTHON}"] * 2
    (given,) = (rest for word, rest in INSTRUCTIONS if word == "ARG")
    assert re.fullmatch(r"PYTHON=3\.11\.\d+-slim-bookworm", given)


def test_the_last_stage_installs_nothing() -> None:
    """No compiler comes in, since only the first stage has one, and only its environment is copied."""
    assert not re.search(r"apt|pip|gcc|curl|wget", last("RUN"))
    assert last("COPY") == "--from=build /opt/liveshop /opt/liveshop"


def test_its_user_is_a_number_and_not_root() -> None:
    assert last("USER") == "10001:10001"
    assert LAST.index(("USER", last("USER"))) > LAST.index(("RUN", last("RUN")))


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD"])
def test_it_starts_liveshop_itself_so_that_signals_reach_it(word: str) -> None:
    assert json.loads(last(word)) == {"ENTRYPOINT": ["liveshop"], "CMD": ["worker"]}[word]


def test_its_health_check_asks_whether_the_worker_lives_and_starts_no_shell() -> None:
    command = json.loads(last("HEALTHCHECK").split(" CMD ")[1])
    assert command[0] == "python"
    assert "/healthz" in command[2]


def test_its_labels_name_the_version_that_is_built() -> None:
    labels = dict(word.split("=", 1) for word in shlex.split(last("LABEL")))
    assert labels["org.opencontainers.image.version"] == stream.__version__
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert f"liveshop:{stream.__version__} ." in TEXT


def test_metrics_and_health_can_be_reached_from_outside() -> None:
    assert environment_of(TEXT)["LIVESHOP_HTTP_HOST"] == "0.0.0.0"


def test_what_is_copied_is_let_through_to_the_build() -> None:
    let_through = {line[1:] for line in ignored() if line.startswith("!")}
    copied = {
        source
        for word, rest in INSTRUCTIONS
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_through
    assert all((PROJECT / source).exists() for source in copied)
    assert ignored()[0] == "*"
    assert "**/*.so" in ignored(), "what was built here is built anew there"


def ignored() -> list[str]:
    lines = Path(f"{DOCKERFILE}.dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_it_is_built_with_what_the_tests_are_built_with() -> None:
    assert pins("deploy/requirements-build.txt").items() <= pins("constraints.txt").items()
    assert {"setuptools", "cython"} <= pins("deploy/requirements-build.txt").keys()
