# The one command of each kind of work. Needs make and Python 3.11 or newer with venv, no more:
# where uv is missing it is fetched into .tools/, and uv makes .venv/ from uv.lock.

UV := $(if $(shell uv --version 2>/dev/null),uv,.tools/bin/uv)
RUN := $(UV) run --frozen

.DEFAULT_GOAL := help
.PHONY: help setup demo test check figures clean

help:  ## what can be made
	@sed -n 's/^\([a-z]*\):.*  ## /  make \1\t/p' Makefile | expand -t 18

setup: $(filter .tools/bin/uv,$(UV))  ## uv where it is missing, and .venv/ from uv.lock
	$(UV) sync --frozen

demo: setup  ## a cluster under load: a store lost, one more, one drained; every promise checked
	$(RUN) flaredb demo

test: setup  ## every test: the quick ones, real processes, then containers where an engine runs
	$(RUN) pytest -rs

check: setup  ## what the tools find without running anything
	$(RUN) ruff check
	$(RUN) ruff format --check
	$(RUN) mypy
	$(RUN) lint-imports --no-cache
	$(RUN) pytest --quiet tests/test_tidy.py

figures: setup  ## measure again every figure in docs/figures.md
	$(RUN) python -m tests.figures

clean:  ## remove what the tools left; data folders stay
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check 'uv>=0.7'
