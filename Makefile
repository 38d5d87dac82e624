# make setup   server and client in .venv
# make demo    start a server, score a clip as it is and with its audio moved, stop the server
# make test    everything in .venv, lint, all tests
# make lint    ruff and mypy
# make bench   the quick benchmarks

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: setup demo test lint bench clean

setup: $(VENV)/.server

demo: $(VENV)/.server
	$(BIN)/python samples/demo.py

test: lint
	$(BIN)/python -m pytest

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[server]'
	touch $@

# The test environment holds the server's too.
$(VENV)/.test: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) '.[test]'
	touch $@ $(VENV)/.server
