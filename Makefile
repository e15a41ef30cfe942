# `make run` and `make test` work from a fresh clone with Python 3.11+ and make, nothing else.
PYTHON ?= python3
PATH := $(CURDIR)/.venv/bin:$(PATH)
.DEFAULT_GOAL := help
.PHONY: help venv run test prove lint airflow bench bench-models docs pin

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1\t/p' Makefile

venv: .venv/.installed  ## install into .venv, once
.venv/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Banyan needs Python 3.11 or later; $(PYTHON) is " + sys.version.split()[0] + ". Say which to use: make PYTHON=python3.11 ...")'
	@echo "Installing into .venv (once, some minutes) ..." >&2
	@$(PYTHON) -m venv .venv && .venv/bin/python -m pip install -qq --disable-pip-version-check -r requirements.txt && .venv/bin/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation -e . && touch $@

run: venv  ## simulate a small market and match its last day
	@python -m pipelines simulate --start 2026-01-05 --days 30 --leads-per-day 2000 --institutions 60 >/dev/null
	@python -m pipelines run --date 2026-02-03
	@python -m pipelines scorecard --from 2026-02-03 --to 2026-02-03 --truth --headline

test: venv  ## run every test
	@python -m pytest -q -n auto

prove: venv  ## run the long proofs: kill -9 in each task, a backfill on PostgreSQL
	@python -m pytest -q -m prove

lint: venv  ## style, types, SQL, YAML
	@ruff check . && ruff format --check . && mypy
	@sqlfluff lint dbt_project --disable-progress-bar
	@sqlfluff lint dags models pipelines --templater placeholder --disable-progress-bar

airflow: venv  ## the same DAGs under Airflow's scheduler, with its page
	@python -m pipelines airflow

SAMPLES = expectations/mappings/samples
bench: venv bench-models  ## the benchmarks, on real records and on simulated markets
	@python -m pipelines bench simulate --leads 1000000 --institutions 500
	@python -m pipelines bench score --pairs 5000000
	@python -m pipelines bench eligibility --leads 1000000 --products 1000 --rules 5
	@python -m pipelines bench leaks
	@python -m pipelines bench offpolicy
	@python -m pipelines bench reasons --mapping hmda --file $(SAMPLES)/hmda_sample.parquet
	@python -m pipelines bench allocate --leads 100000 --products 500 --candidates 20 --seed 1 --peers
	@python -m pipelines bench budgets --leads 50000 --products 500 --candidates 20 --seed 1 --peers --warm
	@python -m pipelines bench budgets --leads 1000000 --products 1000 --candidates 20 --seed 1

bench-models: venv  ## the models on ../shared/data, else on the project's samples; writes docs/figures.md
	@python -m pipelines bench real

docs: venv  ## write the derived pages anew
	@python -m expectations.derive

pin: venv  ## resolve requirements.in into requirements.txt
	@.ci/pin
