# `make demo` and `make test` need Python (>= 3.11) and make, nothing else; `make docs` builds the documentation.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# files that benchmarks ask for, and the environments of peers
DATA ?= data
ENVS ?= $(VENV)/peers
# a part of them: make published ROW=modes ARGS='--only ring --seeds 1', make peers ARGS='--only regression,language.keyboard'
ROW ?= all
ARGS ?=
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test agreement without web test-published test-tables published peers references ranks test-cluster docs dist env clean

demo: $(VENV)/demo.stamp  ## the environment, then the main job on the bundled digits: report.html
	$(BIN)/fourfold demo --out report.html

test: $(VENV)/test.stamp  ## the environment, then everything CI checks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal

without: $(VENV)/test.stamp  ## the checks without one wing, in a copy: make without WING=atlas, or the next in turn
	$(BIN)/python tools/without.py $(WING)

web: $(VENV)/web.stamp  ## the page in a browser: every view is opened, used and looked at; needs chromium
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -m web tests/web

agreement: $(VENV)/test.stamp  ## what longer trainings learn; the samplers and likelihoods of every recipe tell of one distribution
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal -m agreement tests

test-published: $(VENV)/hf.stamp  ## the tests of published models, against the libraries they come from
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal -m published tests

test-tables: $(VENV)/tables.stamp  ## the tests that ask for DuckDB and polars
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal -rs -k 'duckdb or polars' tests/data tests/databases

published: $(VENV)/test.stamp  ## published rows and ours again, docs/published.md: make published DATA=FOLDER; hours
	OMP_NUM_THREADS=1 $(BIN)/python benchmarks/published.py $(ROW) --data $(DATA) --judge $(ENVS)/judge $(ARGS); status=$$?; \
	$(BIN)/python docs/make_benchmarks.py; exit $$status

peers: $(VENV)/hf.stamp  ## figures beside peers again, those of README: make peers DATA=FOLDER; hours
	$(BIN)/python benchmarks/again.py --data $(DATA) --envs $(ENVS) $(ARGS); status=$$?; \
	$(BIN)/python docs/make_benchmarks.py; exit $$status

references: $(VENV)/references.stamp  ## the scores, against those of the packages that people know
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -m references tests/metrics

test-cluster: $(VENV)/cluster.stamp  ## the tests that start nodes of Ray on this machine
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m cluster tests

ranks: $(VENV)/test.stamp  ## every recipe in two and four processes, against one
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m ranks tests

docs: $(VENV)/docs.stamp  ## run every page of the documentation, then build the site into site/
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m pages --numprocesses auto --dist worksteal tests/pages
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

dist: $(VENV)/bin/python  ## a wheel, in dist/
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

env: $(VENV)/test.stamp  ## the environment for development

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "fourfold needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo.stamp: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/cluster.stamp: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,cluster]'
	touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[dev,metrics]'
	touch $@ $(VENV)/demo.stamp

$(VENV)/references.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --editable '.[references]'
	touch $@

$(VENV)/hf.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --editable '.[hf,whisper]'
	touch $@

$(VENV)/tables.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --editable '.[tables]'
	touch $@

$(VENV)/web.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --editable '.[browser]'
	touch $@

$(VENV)/docs.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) site dist report.html results.json runs
