# make setup      server, client and plots in .venv
# make demo       start a server, score a clip as it is and with its audio moved, stop the server
# make test       everything in .venv, lint, all tests but the long ones
# make test-long  the tests that take minutes: fresh installs from the built wheel, the page in a browser
# make lint       ruff, mypy, and the directions of imports
# make bench      the quick benchmarks

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: setup demo test test-long lint bench clean

setup: $(VENV)/.server

demo: $(VENV)/.server
	$(BIN)/python samples/demo.py

# Two files of tests at a time: each process has servers of its own.
test: lint
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

test-long: $(VENV)/.test
	$(BIN)/python -m pytest -m long

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

# A half-made environment would be taken for a whole one by the next call.
$(BIN)/python:
	@$(PYTHON) server/syncnet_server/requirements.py
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[server,plot]'
	touch $@

# The test environment holds the server's too.
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[test]'
	touch $@ $(VENV)/.server
