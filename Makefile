# Every target works on a fresh clone that has make and Python 3.10 or newer.
# `make PYTHON=python3.13 test` chooses another interpreter for a new .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
ROUNDS ?= 3
CHECKED := lasersell pytest_lasersell.py tests examples $(wildcard benchmarks)

# Many tests start Python, which must not compile the package each time.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help demo typescript test test-all test-slow stress check format coverage bench bench-docs bench-guard profile conformance soak soak-relay screens clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## Show a whole session against an embedded server
	@$(BIN)/lasersell demo

test: $(READY) ## Run the tests a change must pass
	@$(BIN)/python -m pytest

test-all: $(READY) ## Run the slow tests too
	@$(BIN)/python -m pytest -m "not soak"

test-slow: $(READY) ## Run only the slow tests
	@$(BIN)/python -m pytest -m "slow and not soak"

stress: $(READY) ## Drive sessions against their model, SEQUENCES=20000; kill the daemon, KILLS=200
	@LASERSELL_SEQUENCES=$(or $(SEQUENCES),20000) $(BIN)/python -m pytest -m slow tests/stateful
	@LASERSELL_KILL_POINTS=$(or $(KILLS),200) $(BIN)/python -m pytest -m slow tests/faults/test_kill.py

check: $(READY) ## Check style, types and import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(CHECKED)
	$(BIN)/lint-imports --no-logo --no-cache

format: $(READY) ## Format the code and mend what ruff can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

coverage: $(READY) ## Run the tests and show which lines and branches they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -m "not soak"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

bench: $(READY) ## Measure beside the official SDKs; ROUNDS=3, QUICK=1 for a trial
	-@! command -v npm >/dev/null || $(MAKE) --silent typescript
	@$(BIN)/python -m benchmarks --rounds $(ROUNDS) $(if $(QUICK),--quick)

bench-docs: $(READY) ## Put the last whole run of bench into docs/performance.md
	@$(BIN)/python -m benchmarks --write-docs

bench-guard: $(READY) ## Count instructions: has the path of a frame become longer?
	@$(BIN)/python -m benchmarks.guard

typescript: ## Install the official TypeScript SDK, to measure and test beside it
	@npm install --silent --no-audit --no-fund --no-package-lock --ignore-scripts \
	  --prefix build/typescript @lasersell/lasersell-sdk@1.1.0

profile: $(READY) ## Show where the time of a frame goes, stage by stage
	@$(BIN)/python -m benchmarks.stages

conformance: $(READY) ## Have the Autobahn test suite judge the transport, where it can run
	@$(BIN)/python -m tests.conformance.autobahn

soak: $(READY) ## Run a stream under load on every CPython here, MINUTES=10 in all
	@$(BIN)/python -m tests.soak.soak $(or $(MINUTES),10)

screens: $(READY) ## Draw the screens of the documentation anew, where tmux is
	@$(BIN)/python -m tests.screens.draw

soak-relay: $(READY) ## Kill the relay's publishers, workers and Redis at random, MINUTES=10
	@$(BIN)/python -m tests.soak.relay $(or $(MINUTES),10)

clean: ## Remove .venv and everything that tools left behind
	rm -rf $(VENV) $(VENV)-* build dist .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	  echo "lasersell needs Python 3.10 or newer, but '$(PYTHON)' is not; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
	  echo "'$(PYTHON)' lacks the venv module; on Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check 'pip>=22'
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
