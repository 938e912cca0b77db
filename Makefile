# Every target says what it does after `##`; `make` lists them. CI and the pre-commit hooks call these targets and nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.ready
SUDO   := $(shell [ "$$(id -u)" = 0 ] || echo sudo)
LOCK   := $(BIN)/uv pip compile --quiet --no-emit-index-url --no-emit-find-links --no-header --no-annotate --universal --python-version 3.11

.DEFAULT_GOAL := help
.PHONY: help setup tools postgresql format lint types imports unit check test test-pg dev demo bench faults lock docs clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv with everything that is needed, versions from constraints/
	@:

# The stamp is written last: an interrupted set-up starts again.
$(STAMP): pyproject.toml constraints/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; name it: make PYTHON=/path/to/python3 setup"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { $(SUDO) apt-get update -q && $(SUDO) apt-get install -q -y --no-install-recommends python3-venv; }
	@echo "setting up $(VENV), a minute or two"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints/dev.txt --editable '.[dev]'
	@touch $@
	@echo "set up: $(BIN)/penstock"

tools:  ## install what the shell blocks of the documentation use, where it is missing
	@for tool in curl jq openssl; do command -v $$tool >/dev/null || missing="$$missing $$tool"; done; test -z "$$missing" || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q -y --no-install-recommends $$missing; }

postgresql:  ## install Debian's postgresql when its binaries are missing
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	  { $(SUDO) apt-get update -q && DEBIAN_FRONTEND=noninteractive $(SUDO) apt-get install -q -y --no-install-recommends postgresql; }

format: setup  ## put the code into its form
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

lint: setup  ## ruff: form and rules
	@$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: setup  ## mypy --strict
	@$(BIN)/mypy

imports: setup  ## who may import whom (pyproject.toml)
	@$(BIN)/lint-imports

unit: setup  ## the tests without I/O
	@$(BIN)/pytest -q tests/unit

check: lint types imports unit  ## what you run before every commit (under 30 s)

test: setup postgresql tools check  ## set up, check, and every test
	@$(BIN)/pytest -q tests --ignore=tests/unit --ignore=tests/benchmarks

test-pg: setup postgresql  ## the tests that need PostgreSQL
	@$(BIN)/pytest -q tests --ignore=tests/benchmarks -m postgres

dev: setup  ## serve a demo tenant from var/dev on port 8080 (SQLite)
	@$(BIN)/penstock dev --data var/dev --port 8080

demo: setup  ## run the main job to its end on real input and show what happened
	@$(BIN)/python examples/licence_audit/demo.py

bench: setup  ## measure; figures in the README come from here
	@$(BIN)/python tests/benchmarks/run.py

faults: setup postgresql  ## break it on purpose, the long way: kill -9, full disk, frozen nodes, jumping clocks, every commit
	@PENSTOCK_FAULTS=long $(BIN)/pytest -q tests/faults

docs: setup  ## write docs/reference/ anew from the code
	@$(BIN)/python tests/docs/generate.py

lock:  ## compile constraints/ anew from pyproject.toml (versions only, no hosts)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@mkdir -p constraints
	@$(LOCK) --upgrade pyproject.toml --output-file constraints/runtime.txt
	@$(LOCK) --upgrade --extra dev --constraint constraints/runtime.txt pyproject.toml --output-file constraints/dev.txt

clean:  ## remove .venv, caches, reports and var/demo; data in the rest of var/ stays
	@rm -rf $(VENV) var/demo dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
