# Everything that is run by hand or by continuous integration. Each target prints what it runs and can be repeated;
# `book` and `test` set up what they need. PYTHON, HOI_PROFILE and HOI_CACHE may be given from outside.

PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
export HOI_PROFILE ?= smoke
export HF_HUB_OFFLINE = 1
export TOKENIZERS_PARALLELISM = false
export JUPYTER_PLATFORM_DIRS = 1

BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.hoi-setup
NOTEBOOKS := $(sort $(wildcard book/*/*.ipynb))
.DEFAULT_GOAL := help
.PHONY: help setup book test lint mutations changes serve clean

help: ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: $(STAMP) ## virtual environment in .venv with everything in requirements.txt

$(STAMP): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements.txt
	$(BIN)/python -m pip check
	touch $@

book: $(STAMP) ## execute every chapter and build _build/html
	$(BIN)/python scripts/build_book.py

test: $(STAMP) ## lint, unit tests, and every notebook executed cell by cell
	JOBS=$(JOBS) $(BIN)/python scripts/run_tests.py

lint: $(STAMP) ## ruff and the book's own rules
	$(BIN)/python scripts/lint.py

mutations: $(STAMP) ## plant classic bugs one by one: each has to turn a test red
	JOBS=$(JOBS) $(BIN)/python scripts/mutations.py

changes: $(STAMP) ## change a cell as coursework would, chapter by chapter: each has to run on
	JOBS=$(JOBS) $(BIN)/python scripts/try_changes.py

serve: ## the built book at http://localhost:8000
	@test -f _build/html/index.html || $(MAKE) book
	cd _build/html && $(BIN)/python -m http.server --bind 127.0.0.1 8000

clean: ## the built book and caches, not the virtual environment
	rm -rf _build .pytest_cache .ruff_cache .hypothesis .jupyter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
