PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: install demo check check-long docs lint types test clean

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[dev]'
	touch $@

demo: install
	$(BIN)/chaos test --nemesis partition --workload eos

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: install
	$(BIN)/mypy

test: install
	$(BIN)/pytest -n auto

check: lint types test

check-long: install
	$(BIN)/pytest -n 2 -m "real or long"

docs: install
	$(BIN)/python docs/reference/generate.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
