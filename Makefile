# Needs only make and a Python from 3.10 to 3.13: everything is installed into .venv.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV ?= .venv
RUN = $(VENV)/bin/python -m

.PHONY: help setup train test test-slow lint format docs benchmarks matrix zoo clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.installed  ## create .venv and install the project with its development tools

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: needs a Python from 3.10 to 3.13 on PATH (or make PYTHON=/path/to/python);" \
		"found: $$(python3 --version 2>&1)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

train: setup  ## train the default model on the embedded digits
	$(RUN) zoo.train --model cnn --strategy mirrored

# A process a core, four at the most, each with a TensorFlow of its own in memory; a file's tests share their fixtures.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup  ## all tests
	$(RUN) pytest $(PARALLEL)

test-slow: setup  ## the tests that `make test` leaves out for time
	$(RUN) pytest $(PARALLEL) -m slow

lint: setup  ## check format and rules
	$(RUN) ruff format --check .
	$(RUN) ruff check .

format: setup  ## format, and repair what can be repaired
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

docs: setup  ## build the documentation into site/; any warning fails
	$(RUN) mkdocs build --strict

benchmarks: setup  ## measure, and write benchmarks/results
	$(RUN) benchmarks

matrix: setup  ## every model x every precision, measured on the exported files; DATA_DIR=... for prepared TFDS sets
	$(RUN) benchmarks matrix $(if $(DATA_DIR),--data-dir $(DATA_DIR))
	$(RUN) benchmarks.readme

zoo: setup  ## train and compress the runs that come with the package again, and say what changed; DATA_DIR=... as above
	$(RUN) benchmarks.restock $(if $(DATA_DIR),--data-dir $(DATA_DIR))
	$(RUN) benchmarks.readme

clean:  ## remove .venv and caches, never runs
	rm -rf $(VENV) .pytest_cache .ruff_cache site *.egg-info
