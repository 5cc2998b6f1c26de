# The Python that makes the environment, and the torch that goes into it first. On a machine without a GPU
# `make setup TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"` saves a large download.
PYTHON ?= python3
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: setup setup-dev demo test lint clean

setup: $(READY)

setup-dev: $(READY_DEV)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet $(TORCH)
	$(PIP) install --quiet --constraint constraints.txt --editable .
	touch $@

$(READY_DEV): $(READY)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	$(PIP) install --quiet --no-deps stable-diffusion-sdkit==2.1.5
	touch $@

# The embedded model is so small that a second thread would only wait for the first.
demo: $(READY)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/ebca demo --out demo

test: $(READY_DEV)
	$(BIN)/python -m pytest -q

lint: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
