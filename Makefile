# Needs only make and a Python from 3.11 to 3.13. Everything is installed into .venv.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null \
	&& { echo $$python; break; }; done)
VENV ?= .venv
RUN = $(VENV)/bin/python -m
INSTALL = $(RUN) pip install --quiet --disable-pip-version-check

.PHONY: help setup train test test-slow lint format docs screenshots benchmarks matrix zoo resolve clean

help:  ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

setup: $(VENV)/.installed-dev  ## create .venv and install the project with its development tools

$(VENV)/.installed: pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: needs a Python from 3.11 to 3.13 on PATH (or make PYTHON=/path/to/python);" \
		"found: $$(python3 --version 2>&1)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(INSTALL) --editable ".[dev]"
	@touch $@

train: $(VENV)/.installed  ## train the default model on the embedded digits; installs no development tools
	$(RUN) zoo.train --model cnn --strategy mirrored

# One process a core, at most four, because each holds its own TensorFlow in memory. Tests of one file share fixtures.
PARALLEL = --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: setup  ## run the tests
	$(RUN) pytest $(PARALLEL)

test-slow: setup  ## run the tests that `make test` leaves out to save time
	$(RUN) pytest $(PARALLEL) -m slow

lint: setup  ## check the format and the rules of ruff
	$(RUN) ruff format --check .
	$(RUN) ruff check .

format: setup  ## format, and fix what ruff can fix
	$(RUN) ruff format .
	$(RUN) ruff check --fix .

docs: setup  ## build the documentation into site/; a warning is an error
	$(RUN) mkdocs build --strict

screenshots: setup  ## make the pictures of docs/images anew, by a headless Chromium
	$(RUN) docs.screenshots

benchmarks: setup  ## run the benchmarks and write benchmarks/results
	$(RUN) benchmarks

matrix: setup  ## measure every model in every precision on the exported files; DATA_DIR=... for prepared TFDS sets
	$(RUN) benchmarks matrix $(if $(DATA_DIR),--data-dir $(DATA_DIR))
	$(RUN) benchmarks.readme

zoo: setup  ## train and compress the pretrained runs again and report what changed; DATA_DIR=... as above
	$(RUN) benchmarks.restock $(if $(DATA_DIR),--data-dir $(DATA_DIR))
	$(RUN) benchmarks.readme

EXTRAS = $(shell $(VENV)/bin/python -c 'import pathlib, tomllib; \
	print(*tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["optional-dependencies"])')

# Everything must have a wheel but `promise`, which tensorflow-datasets needs and which has none.
resolve: setup  ## check that Python 3.11, 3.12 and 3.13 can install the project and each extra, without installing them
	@for python in 3.11 3.12 3.13; do for extra in "" $(EXTRAS); do \
		found=$$($(RUN) uv pip compile --quiet --python-version $$python $${extra:+--extra $$extra} \
			--only-binary :all: --no-binary promise pyproject.toml) || exit 1; \
		echo "Python $$python, $${extra:-no extra}: $$(echo "$$found" | grep -c ==) packages"; \
	done; done

clean:  ## remove .venv and caches, but no runs
	rm -rf $(VENV) .pytest_cache .ruff_cache site *.egg-info
