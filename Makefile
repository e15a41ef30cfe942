# `make run` and `make test` work from a fresh clone with Python 3.11+ and make, nothing else.
PYTHON ?= python3
PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help venv run test coverage prove check-delivered lint lint-python lint-texts airflow bench bench-models docs picture pin audit wheel

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

# uv installs in seconds what takes pip minutes; pip is asked where uv cannot reach the index, since only pip
# reads pip's own configuration.
PIP = .venv/bin/python -m pip install -qq --disable-pip-version-check
UV = .venv/bin/uv pip install --quiet --python .venv/bin/python
venv: .venv/.installed  ## install into .venv, once
.venv/.installed: requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Banyan needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ". Say which to use: make PYTHON=python3.11 ...")'
	@echo "Installing into .venv (once) ..." >&2
	@$(PYTHON) -m venv .venv && sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.txt >.venv/uv.txt
	@$(PIP) -r .venv/uv.txt
	@$(UV) --compile-bytecode -r requirements-dev.txt || { echo "pip installs instead (some minutes) ..." >&2; $(PIP) -r requirements-dev.txt; }
	@$(UV) --no-deps --no-build-isolation -e .
	@touch $@

run: venv  ## simulate a small market and match its last day
	@python -m pipelines simulate --start 2026-01-05 --days 30 --leads-per-day 2000 --institutions 60 >/dev/null
	@python -m pipelines run --date 2026-02-03
	@python -m pipelines scorecard --from 2026-02-03 --to 2026-02-03 --truth --headline

test: venv  ## run every test
	@python -m pytest -q -n auto

coverage: venv  ## run every test and measure which lines they run
	@python -m pytest -q -n auto --cov --cov-report=term:skip-covered --cov-report=html

prove: venv  ## run the long proofs: kill -9 in each task, a backfill on PostgreSQL, 1,000 edited markets
	@python -m pytest -q -m prove

check-delivered: venv  ## check every delivered row against landing/, by other code: HOME=var FROM=2026-02-03 TO=2026-02-03
	@python -m tests.independent.check --home $(if $(filter command line,$(origin HOME)),$(HOME),var) $(if $(FROM),--from $(FROM)) $(if $(TO),--to $(TO))

lint: venv  ## style, types, layers, SQL, words
	@$(MAKE) --no-print-directory -j 2 --output-sync lint-python lint-texts

lint-python:
	@ruff check . && ruff format --check . && mypy
	@lint-imports --no-logo && python .ci/check_imports.py

lint-texts:
	@sqlfluff lint dbt_project --disable-progress-bar
	@sqlfluff lint dags models pipelines --templater placeholder --disable-progress-bar
	@python .ci/check_words.py && python .ci/check_encoding.py && PYTHONPATH=. python .ci/translations.py

airflow: venv  ## the same DAGs under Airflow's scheduler, with its page
	@python -m pipelines airflow

SAMPLES = expectations/mappings/samples
bench: venv bench-models  ## the benchmarks, on real records and on simulated markets
	@python -m pipelines bench simulate --leads 1000000 --institutions 500
	@python -m pipelines bench score --pairs 5000000
	@python -m pipelines bench eligibility --leads 1000000 --products 1000 --rules 5
	@python -m pipelines bench day --leads 20000 --institutions 500
	@python -m pipelines bench day --leads 100000 --institutions 500
	@python -m pipelines bench deliver --leads 1000000 --institutions 500
	@python -m pipelines bench leaks
	@python -m pipelines bench off-policy
	@python -m pipelines bench reasons --mapping hmda --file $(SAMPLES)/hmda_sample.parquet
	@python -m pipelines bench allocate --leads 100000 --products 500 --candidates 20 --seed 1 --peers
	@python -m pipelines bench budgets --leads 50000 --products 500 --candidates 20 --seed 1 --peers --warm
	@python -m pipelines bench budgets --leads 1000000 --products 1000 --candidates 20 --seed 1
	@python -m pipelines bench budgets --leads 1000000 --products 1000 --candidates 20 --seed 1 --guarantees
	@python -m pipelines bench budgets --leads 2000 --products 1000 --candidates 250 --offers 5 --seed 1

bench-models: venv  ## the models on the samples, or on the files of DATA=FOLDER; writes docs/figures.md
	@python -m pipelines bench real $(if $(DATA),--data $(DATA))

docs: venv  ## write the derived pages, dbt's page of every table, and the documentation as a site
	@python -m expectations.derive && python -m pipelines.cli.reference
	@python -m pipelines docs >/dev/null
	@python -m dags.lineage.picture
	@NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict
	@echo "the documentation is in site/index.html"

picture: venv  ## make the picture of the README again, with Chromium
	@python -m tests.docs.picture

pin: venv  ## resolve requirements.in, requirements-dev.in and requirements-spark.in into versions with hashes
	@.ci/pin

audit: venv  ## licences, secrets, bill of materials (dist/sbom.json), known vulnerabilities: ADVISORIES=FILE
	@python .ci/audit $(if $(ADVISORIES),--advisories-file $(ADVISORIES))

wheel: venv  ## build dist/banyan-VERSION-py3-none-any.whl
	@python -m build --wheel --no-isolation --outdir dist . >/dev/null && ls dist/*.whl
