# `make` alone lists the targets. Each sets up what it needs: a plain pip install into .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
SEED ?= 0
SENSOR ?= sentinel
OUT ?= runs/demo

export HF_HUB_OFFLINE ?= 1

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow check format bench clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 14

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --constraint constraints.txt --editable ".[dev]"
	touch $@

setup: $(READY) ## install graft and its tools into .venv

demo: $(READY) ## build the embedded world, train, evaluate, write a report (SEED= SENSOR=sentinel|naip OUT=)
	$(BIN)/python -m scripts.demo --seed=$(SEED) --sensor=$(SENSOR) --out=$(OUT)

test: $(READY) ## run the tests that need nothing but Python (under 6 minutes on two cores)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses=4 --dist=loadfile

test-slow: $(READY) ## run the long tests: full towers, fresh processes, a browser where there is one
	$(BIN)/pytest -m slow -rs

check: $(READY) ## lint, format check and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY) ## put the code into its format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(READY) ## measure speed against peers and limits; writes benchmarks/results.json
	$(BIN)/python -m benchmarks

clean: ## remove the environment, caches and demo runs
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache runs/demo
