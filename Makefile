# The Python that makes the environment, and the torch that goes into it first. On a machine without a GPU
# `make setup TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu"` saves a large download.
PYTHON ?= python3
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
READY := $(VENV)/.ready
READY_DEV := $(VENV)/.ready-dev

.PHONY: setup setup-dev demo test test-oldest test-oldest-torch lint site notebooks clean

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

# Files are shared out to WORKERS processes; the models are so small that more threads would only wait for each other.
WORKERS ?= 2

test: $(READY_DEV)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m pytest -q -n $(WORKERS) --dist loadfile

# With the oldest libraries that pyproject.toml promises, in an environment of its own; see docs/versions.md.
OLDEST_TESTS ?= tests/methods tests/attention tests/photo tests/hosts
PIP_OLDEST := $(VENV)-oldest/bin/python -m pip --disable-pip-version-check install --quiet

test-oldest:
	$(PYTHON) -m venv $(VENV)-oldest
	$(PIP_OLDEST) $(TORCH)
	$(PIP_OLDEST) --requirement tests/oldest.txt
	$(PIP_OLDEST) --no-deps stable-diffusion-sdkit==2.1.5
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -q $(OLDEST_TESTS)

# The core and what the WebUI loads, with the oldest torch besides. From PyPI its wheel brings gigabytes of CUDA.
OLDEST_TORCH ?= torch==2.1.2

test-oldest-torch:
	$(MAKE) test-oldest VENV=$(VENV)-torch TORCH="$(OLDEST_TORCH)" OLDEST_TESTS="tests/language tests/methods tests/attention \
		tests/webui tests/hosts/test_ldm.py tests/hosts/test_sgm.py tests/hosts/test_forge.py"

lint: $(READY_DEV)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# Into build/site. A dead link, or a docstring that cannot be read, is an error (not with --quiet, which hides warnings from --strict too).
site: $(READY_DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

# Runs the notebooks of examples and keeps what they show in them.
notebooks: $(READY_DEV)
	OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(BIN)/python -m tests.notebooks

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
