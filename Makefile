# One command for each thing that a change must pass. .ci/run calls these too; CONTRIBUTING.md lists them.
VENV ?= .venv
PYTHON ?= python3
# Processes of the quick tests, and which of these.
JOBS ?= auto
TESTS ?=
# Where build puts the sdist and the wheel.
DIST ?= dist

BIN = $(VENV)/bin

.PHONY: setup quick slow lint format types docs examples build ci

setup:
	$(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install -q -e '.[dev]'

quick:
	$(BIN)/python -m pytest -q -n $(JOBS) -m 'not slow' $(TESTS)

slow:
	$(BIN)/python -m pytest -q -m slow

lint:
	$(BIN)/ruff check && $(BIN)/ruff format --check

format:
	$(BIN)/ruff check --fix && $(BIN)/ruff format

types:
	$(BIN)/mypy && $(BIN)/python .ci/typed_blocks.py

docs:
	$(BIN)/python -m pytest -q tests/package/test_documents.py

examples:
	$(BIN)/python examples/lambda_adapter_example.py

build:
	$(BIN)/python -m build --outdir $(DIST)

ci:
	.ci/run
