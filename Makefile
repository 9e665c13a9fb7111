# The commands of this repository; CONTRIBUTING.md explains them. Each does the set-up that it needs.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SLITHER := .venv-slither
NODE_BIN := contracts/node_modules/.bin
PIP := -m pip --disable-pip-version-check --quiet

.PHONY: help setup setup-demo demo screenshots test test-long check bench format artifacts check-artifacts \
        gas check-gas check-format lint types imports vendor vendored solidity slither

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

# --- set-up: each stamp is newer than the lock file that it was made from -----------------------

setup: $(VENV)/.dev contracts/node_modules/.stamp web/node_modules/.stamp postgresql chromium ## everything that tests and checks need

setup-demo: $(VENV)/.runtime ## only what the product runs on (no Node)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# dev.txt contains runtime.txt: a venv set up for the tests also serves the demo.
$(VENV)/.runtime: requirements/runtime.txt pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP) install --require-hashes -r requirements/runtime.txt
	$(BIN)/python $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/data.txt $(VENV)/.runtime
	$(BIN)/python $(PIP) install --require-hashes -r requirements/dev.txt
	$(BIN)/python $(PIP) install --require-hashes --no-deps -r requirements/data.txt
	@touch $@

$(SLITHER)/.stamp: requirements/slither.txt
	$(PYTHON) -m venv $(SLITHER)
	$(SLITHER)/bin/python $(PIP) install --require-hashes -r requirements/slither.txt
	@touch $@

# contracts/ and web/ each have a lock of their own.
%/node_modules/.stamp: %/package-lock.json %/package.json %/.npmrc
	@command -v npm >/dev/null || { echo "Node 20 or newer with npm is needed for tests and checks" >&2; exit 1; }
	@# Not `npm ci`: it refuses a lock that lacks optional builds for other platforms (forge, anvil), which
	@# not every registry carries. A test holds package.json equal to the lock; hashes are checked here.
	cd $* && npm install --no-save --no-update-notifier
	@touch $@

.PHONY: postgresql chromium
postgresql:
	@tools/require-postgresql

chromium:
	@tools/require-chromium

# --- run -----------------------------------------------------------------------------------------

demo: setup-demo ## the main job, from nothing; ONCE=1 ends after the story, JSON=path writes it down, PORT=9000
	$(BIN)/python -m marketplace.cli demo $(if $(ONCE),--once) $(if $(JSON),--json "$(JSON)") $(if $(PORT),--port "$(PORT)")

screenshots: setup ## the main pages, desktop and phone, light and dark, into var/screenshots
	$(BIN)/python -m tools.screenshots --out var/screenshots

# Workers of the tests. Each takes whole files, since what a file starts serves all of its tests; in their order,
# so that the small ones come last and no worker ends long before another. More than there are cores, since tests wait:
# on 2 cores three workers took 19:22, two 24:27.
JOBS ?= 3

test: setup ## every suite, each with its time
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder

test-long: setup ## the same, with the long campaigns, and again on the other of two chains what holds on both
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --long
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder --other-chain $(ON_EITHER)

ON_EITHER := $(addprefix tests/,$(addsuffix .py,$(addprefix integration/test_,\
	api asking asking_lanes asking_sums class_pages clinic_commands custodian_pages custodian_tallies custody disease_table drafts \
	drafts_tallied erasure_watch erasures following gate_guards hand_over intake joint_key_rotation keygen keygen_erasure \
	odd_datasets openings payment people progress rotation score_dataset scoring scoring_commands scoring_faults silent_operator strangers \
	tallied_records tallied_rotation tally_faults tally_lane tally_pipeline tally_receipts tally_restoring time_left turn_guards turn_rules) \
	$(addprefix adversarial/test_,\
	abuse any_request bad_input custodian_processes custody_liars keygen_liars lying_operator lying_quotes relay_abuse relay_wallets \
	silent_custodians tally_kills withheld)))

check: check-format lint types imports vendored solidity check-artifacts check-gas slither ## all that CI checks beside the tests

check-format: setup
	$(BIN)/ruff format --check .
	@# By what it prints: the npm package's launcher exits with 0 whatever forge says.
	cd contracts && test -z "$$(node_modules/.bin/forge fmt --check 2>&1 | tee /dev/stderr)"

lint: setup
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

imports: setup
	PYTHONPATH=. $(BIN)/lint-imports --no-logo

vendored: setup
	$(BIN)/python -m tools.vendor --check

vendor: setup ## copy the browser's library files from their npm packages
	$(BIN)/python -m tools.vendor

solidity: setup
	cd contracts && node_modules/.bin/solhint --disc --noPoster --max-warnings 0 'src/**/*.sol'

slither: setup $(SLITHER)/.stamp ## static analysis of the contracts; fails on a high or medium finding
	cd contracts && PATH="$$PWD/node_modules/.bin:$$PATH" ../$(SLITHER)/bin/slither . --config-file slither.config.json

format: setup ## format Python and Solidity
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	cd contracts && node_modules/.bin/forge fmt

artifacts: setup ## compile the contracts into contracts/artifacts
	$(BIN)/python -m contracts.tools.compile

check-artifacts: setup
	$(BIN)/python -m contracts.tools.compile --check

gas: setup ## measure gas and write contracts/gas.snapshot
	$(BIN)/python -m tests.contracts.gas --write

check-gas: setup
	$(BIN)/python -m tests.contracts.gas --check

bench: setup ## measured times of the expensive parts
	$(BIN)/python -m tests.bench
