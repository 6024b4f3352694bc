# Words: demo fix check test zoo bench docs lock.  Each makes what it needs in .venv first.
PYTHON ?= python3
VENV := .venv
TORCH := torch==2.13.0
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo fix check test zoo bench docs lock clean
.DEFAULT_GOAL := test

# torch comes first and pinned: without it, a dependant's open range would fetch the CUDA build.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt "pip>=25.1"
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[onnx,sklearn,ray,guard,otel,privacy,keras,text]" --group dev --group docs
	touch $(STAMP)

demo: $(STAMP)            ## train, assess, harden and assess again a small digit reader (under 5 minutes)
	$(BIN)/redoubt demo

fix: $(STAMP)             ## format and repair what can be repaired
	$(BIN)/ruff check --fix src tests bench docs
	$(BIN)/ruff format src tests bench docs

check: $(STAMP)           ## lint, types, floors and walls, dependencies
	$(BIN)/ruff check src tests bench docs
	$(BIN)/ruff format --check src tests bench docs
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry src

test: $(STAMP)            ## everything but the slow marks, on all cores
	$(BIN)/python -m pytest -n auto --dist worksteal -m "not slow"

zoo: $(STAMP)             ## the hardened models of the bench, with cards, in .bench/zoo (about two hours on one core)
	$(BIN)/python bench/zoo.py

bench: $(STAMP)           ## the measured figures: rewrites docs/results.md
	bash bench/run.sh

docs: $(STAMP)            ## the site, in ./site
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict

lock:                     ## rewrite constraints.txt: the newest versions that pyproject.toml allows, and torch as pinned
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install -q --disable-pip-version-check "pip>=25.1"
	$(VENV)-lock/bin/python -m pip install -q --disable-pip-version-check $(TORCH)
	$(VENV)-lock/bin/python -m pip install -q --disable-pip-version-check -e ".[onnx,sklearn,ray,guard,otel,privacy,keras,text]" --group dev --group docs
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | sort -f > constraints.txt
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) site
