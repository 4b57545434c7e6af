# Every target sets up .venv by itself on first use, and again when
# pyproject.toml or constraints.txt changed.

PYTHON ?= python3
ARGS   ?=

VENV := .venv
RUN  := $(VENV)/bin/python
# What the program and its demo need; and on top of it what work on the code needs.
READY     := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev
# -c pins what is installed, --build-constraint pins what builds the package.
INSTALL := $(RUN) -m pip install -qq --disable-pip-version-check -c constraints.txt
PINNED_BUILD := --build-constraint constraints.txt

# The targets share a terminal and two of them a database server: one after the other, also under -j.
.NOTPARALLEL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo test check screenshots bench bench-faults walk clean

help: ## this list
	@echo "make TARGET [ARGS='...'] [PYTHON=/path/to/python3.12]"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'

demo: $(READY) ## the program on a sample shop, with its own PostgreSQL
	@$(VENV)/bin/geode-tui demo $(ARGS)

test: $(READY_DEV) ## all tests; ARGS='-k word' for some
	@$(RUN) -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

check: $(READY_DEV) ## lint, format, types, floors
	@$(RUN) -m ruff check .
	@$(RUN) -m ruff format --check .
	@$(RUN) -m mypy
	@$(VENV)/bin/lint-imports --no-logo

screenshots: $(READY_DEV) ## draw the pictures of the documentation anew
	@$(RUN) -m tests.make_screenshots $(ARGS)

bench: $(READY_DEV) ## measure speed and memory
	@$(RUN) -m benchmarks $(ARGS)

bench-faults: $(READY_DEV) ## break runs on purpose and count what is lost
	@$(RUN) -m benchmarks.faults $(ARGS)
	@$(RUN) -m benchmarks.damages $(ARGS)
	@$(RUN) -m benchmarks.followed $(ARGS)

walk: $(READY_DEV) ## walk through a whole migration on the command line
	@bash tests/walk.sh $(ARGS)

clean: ## remove caches, builds and reports (rm -r .venv starts the set-up anew)
	@rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis snapshot_report.html
	@find . -path ./$(VENV) -prune -o -path ./.git -prune -o -type d -name __pycache__ -exec rm -rf {} +

# Standard output belongs to the targets: whatever happens here is told on standard error.
$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	  echo "geode-tui needs Python 3.12 or newer, and there is no $(PYTHON): install it, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 12))' || { \
	  echo "geode-tui needs Python 3.12 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>&1 | head -n 1): install it, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) lacks its venv or pip part: install them (on Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@echo "Setting up $(VENV), which takes a moment ..." >&2
	@$(RUN) -c 'import pip, sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) >&2 || { \
	  echo "$(PYTHON) could not create $(VENV); its message is above" >&2; exit 1; }
	@{ $(INSTALL) --upgrade pip && $(INSTALL) $(PINNED_BUILD) -e '.[demo,serve]'; } >&2 || { \
	  echo "pip could not install what geode-tui needs; its message is above. The next make tries again." >&2; exit 1; }
	@touch $@

$(READY_DEV): $(READY)
	@echo "Adding the tools for tests and checks ..." >&2
	@$(INSTALL) --group dev >&2 || { \
	  echo "pip could not install the tools for tests and checks; its message is above. The next make tries again." >&2; exit 1; }
	@touch $@
