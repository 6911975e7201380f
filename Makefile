# Needs git, make, and Python 3.11 or later with pip; everything else comes into .venv.
#
#   make demo ARGS=--once               arguments of manage.py demo
#   make test ARGS="-k embedded"        arguments of pytest
#   make faults ARGS=--short            arguments of the fault suite; needs PostgreSQL's server programs
#   make bench ARGS=--quick             arguments of the benchmarks; needs PostgreSQL's server programs, Redis and wrk
#   make test PYTHON=python3.13         another Python for .venv

VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench

# Another Python than the environment's was asked for: make the environment anew
ifdef PYTHON
ifneq ($(shell $(PYTHON) -V 2>/dev/null),$(shell $(BIN)/python -V 2>/dev/null))
.PHONY: $(VENV)/runs $(VENV)/develops $(VENV)/torments
endif
ifneq ($(shell $(PYTHON) -V 2>/dev/null),$(shell $(BENCH)/bin/python -V 2>/dev/null))
.PHONY: $(BENCH)/measures
endif
endif
PYTHON ?= python3

.DEFAULT_GOAL := help
.PHONY: help demo test faults bench dev clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1\t\2/p' Makefile

demo: $(VENV)/runs  ## the example project at work: a broker, a web server, a worker, and one order
	@$(BIN)/python manage.py demo $(ARGS)

test: $(VENV)/runs  ## the tests
	@$(BIN)/python -m pytest $(ARGS)

faults: $(VENV)/torments  ## kill what can be killed, and count what is lost (half an hour)
	@$(BIN)/python -m tests.faults $(ARGS)

bench: $(BENCH)/measures  ## measure us beside our peers (half an hour; ARGS=--quick: three minutes)
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

dev: $(VENV)/develops  ## also the tools that CONTRIBUTING.md speaks of

clean:  ## remove .venv, .venv-bench, the demo's data and the caches
	rm -rf $(VENV) $(BENCH) .demo .bench .pytest_cache .mypy_cache .ruff_cache .import_linter_cache docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Each of these files says that its packages are those of pyproject.toml

$(VENV)/runs: pyproject.toml
	@$(check_python)
	@echo "Setting up $(VENV): packages for the demo and the tests (a minute, this once) ..."
	@$(make_venv)
	@$(BIN)/python -m pip install -qq -e ".[embedded]" --group test
	@touch $@

$(VENV)/develops: pyproject.toml | $(VENV)/runs
	@echo "Setting up $(VENV): the developers' tools (a minute, this once) ..."
	@$(BIN)/python -m pip install -qq -e ".[embedded]" --group dev --group databases --group browser
	@touch $@

$(VENV)/torments: pyproject.toml | $(VENV)/runs
	@$(BIN)/python -m pip install -qq -e ".[embedded]" --group databases
	@touch $@

# The peers stay out of .venv
$(BENCH)/measures: VENV := $(BENCH)
$(BENCH)/measures: BIN := $(BENCH)/bin
$(BENCH)/measures: pyproject.toml
	@$(check_python)
	@echo "Setting up $(VENV): the packages that are measured (a minute, this once) ..."
	@$(make_venv)
	@$(BIN)/python -m pip install -qq -e . --group bench
	@touch $@

define check_python
$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" 2>/dev/null || { \
	echo "numflow_django needs Python 3.11 or later; $(PYTHON) is $$($(PYTHON) -V 2>/dev/null || echo missing)." >&2; \
	echo "Install one and name it: make demo PYTHON=python3.13" >&2; exit 1; }
endef

# Without ensurepip, which Debian's python3 does not have: the host's pip brings a new pip, one that knows --group
define make_venv
if [ "$$($(BIN)/python -V 2>/dev/null)" != "$$($(PYTHON) -V 2>/dev/null)" ]; then \
	$(PYTHON) -m venv --without-pip --clear $(VENV) || exit 1; \
fi; \
for pip in "$(PYTHON) -m pip" pip3 pip; do \
	if $$pip --version >/dev/null 2>&1; then break; fi; pip=; \
done; \
if [ -z "$$pip" ]; then \
	echo "$(PYTHON) has no pip. Install it (Debian: apt install python3-pip) and try again." >&2; exit 1; \
fi; \
$$pip --python $(BIN)/python install -qq --disable-pip-version-check --upgrade "pip>=25.1"
endef
