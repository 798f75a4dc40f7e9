# Two commands for newcomers: `make demo` and `make test`. Everything is installed into .venv.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
# A release of OpenClaw to test with, other than the one that the tests name.
OPENCLAW ?=

.PHONY: demo test test-fleet test-openclaw check bench clean

demo: $(VENV)/.installed
	@$(BIN)/session-monitor demo $(ARGS)

test: $(VENV)/.tools
	@$(BIN)/python -m tests.system
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -n 2 --dist loadgroup --ignore=tests/fleet --ignore=tests/openclaw_real $(ARGS)

# A real cluster: two shards of two replicas and ZooKeeper, from Debian's packages, gone at the end.
test-fleet: $(VENV)/.tools
	$(BIN)/python -m pytest tests/fleet $(ARGS)

# The real OpenClaw, 650 MB from npm: asks a model on this machine, is told its own spend.
test-openclaw: $(VENV)/.tools
	OPENCLAW_RELEASE=$(OPENCLAW) $(BIN)/python -m pytest tests/openclaw_real $(ARGS)

bench: $(VENV)/.tools
	$(BIN)/python -m bench $(ARGS)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) found; name another with PYTHON=python3" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) has no venv module; on Debian: apt-get install python3-venv" >&2; exit 2; }

$(VENV)/.installed: pyproject.toml $(VENV)/bin/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.tools: pyproject.toml $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group dev
	@touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info
