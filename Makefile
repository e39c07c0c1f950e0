# Everything a contributor needs: `make help`. Asks for Python 3.11+ and make, nothing else;
# every target makes .venv by itself and installs again only when the pins changed.

SHELL := /bin/sh
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# Written last: while it is missing or older than the pins, the environment is not ready.
STAMP := $(VENV)/.installed

# Tried in order, each by running it: a name on PATH may be too old, or a version manager's
# shim for a version that isn't there. `make PYTHON=/path/to/python3.12 …` overrides.
PYTHONS := $(PYTHON) python3 python3.13 python3.12 python3.11 python
AT_LEAST_311 := import sys; sys.exit(sys.version_info < (3, 11))

# Processes that share the tests' files between them, each with a PostgreSQL of its own; a
# choice of tests is run in this one.
WORKERS ?= $(if $(ARGS),0,2)

.PHONY: help demo test check format docs site pins bench clean

# Without it Material for MkDocs tells of its successor with each build.
export NO_MKDOCS_2_WARNING := 1

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(STAMP) ## a private PostgreSQL, a sample schema and the server; Ctrl-C ends it all
	@$(BIN)/edgerest demo $(ARGS)

test: $(STAMP) ## the tests, against a real PostgreSQL (ARGS="-k name -x" go to pytest)
	@$(BIN)/pytest -n $(WORKERS) --dist loadfile $(ARGS)

check: $(STAMP) ## formatting, lint, types, import contracts, docs, cost per request
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/edgerest config-docs --check docs/configuration.md
	$(BIN)/edgerest error-docs --check docs/errors.md
	$(BIN)/python -m tests.speed.cost
	$(BIN)/mkdocs build --strict --site-dir .site-check
	rm -rf .site-check

format: $(STAMP) ## put the tree in the form that check wants
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP) ## write docs/configuration.md and docs/errors.md anew from the code's tables
	$(BIN)/edgerest config-docs > docs/configuration.md
	$(BIN)/edgerest error-docs > docs/errors.md

site: $(STAMP) ## the documentation as a site, in build/site
	$(BIN)/mkdocs build --strict
	@echo 'open build/site/index.html'

pins: $(STAMP) ## write constraints.txt anew: the newest of everything pyproject.toml allows
	rm -rf .pins
	$(BIN)/python -m venv .pins
	.pins/bin/python -m pip install --quiet hatchling editables
	.pins/bin/python -m pip install --quiet --no-build-isolation -e '.[dev]'
	.pins/bin/python -m pip freeze --exclude-editable > constraints.txt
	rm -rf .pins

bench: $(STAMP) ## requests per second beside pgbench with the same SQL (ARGS="--help")
	@$(BIN)/python -m tests.bench $(ARGS)
ifeq ($(filter -h --help,$(ARGS)),)
	@$(BIN)/python -m tests.bench.schema_cache
endif

clean: ## remove the environment and every cache
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf build dist .site-check *.egg-info
	find edgerest proxy pool edge_client tests -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@python=; \
	for candidate in $(PYTHONS); do \
	  if "$$candidate" -c '$(AT_LEAST_311)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'edgerest needs Python 3.11 or newer, and none was found on PATH; install one, or name it: make PYTHON=/path/to/python3.12' >&2; \
	  exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "$$python can't make virtual environments: install its venv module (on Debian and Ubuntu: apt install python3-venv)" >&2; \
	  exit 1; \
	fi; \
	if ! $(BIN)/python -c '$(AT_LEAST_311)' 2>/dev/null; then \
	  echo "making $(VENV) with $$("$$python" --version)" >&2; \
	  "$$python" -m venv --clear $(VENV); \
	fi
	@echo 'installing into $(VENV)' >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt hatchling editables
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@
