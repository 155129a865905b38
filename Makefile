# Every target sets itself up: all it needs is Python 3.11 and git.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

export PATH := $(CURDIR)/$(BIN):$(PATH)
# Stages are processes of their own: without byte code on disk each would compile torch again.
export PYTHONDONTWRITEBYTECODE :=
export DVC_NO_ANALYTICS := 1
export DO_NOT_TRACK := 1
export PREFECT_SERVER_ANALYTICS_ENABLED := false
export PREFECT_HOME ?= $(CURDIR)/.prefect

.DEFAULT_GOAL := help
.PHONY: help setup demo test run server lint starter docs pictures site lock clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(READY)  ## make .venv with everything pinned in requirements.lock

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not here; install Python 3.11 or call make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	$(BIN)/uv pip install --python $(BIN)/python --quiet --requirement requirements.lock
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --editable .
	@echo "importing the packages once, so that every later start is quick ..."
	@$(BIN)/python -c "import dvc.cli.command, dvc.cli.parser, faiss, sklearn.neighbors, torch.optim, \
		nola_core.stages.__main__, nola_core.stages.report, nola_core.stages.tune"
	@$(BIN)/prefect server database upgrade --yes >/dev/null
	@touch $@

demo: $(READY)  ## the whole of NoLA on handwritten digits, offline: dvc repro, then a table and the report
	@$(BIN)/python -m demo.run

run: $(READY)  ## the same as a Prefect flow over all data sets of params.yaml
	@$(BIN)/nola run

server: $(READY)  ## the Prefect UI at http://127.0.0.1:4200, offline
	@$(BIN)/nola server

test: $(READY)  ## lint, types (beside the tests, which take longer) and all tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest; tests=$$?; \
		wait $$types || { echo "mypy found errors: make lint shows them"; exit 1; }; exit $$tests

lint: $(READY)  ## ruff and mypy alone
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

starter:  ## copy the pipeline and its settings into what `nola init` writes
	cp dvc.yaml flows/starter/pipeline.yaml
	cp data/dvc.yaml flows/starter/first_step.yaml
	sed 's/^datasets: \[[^]]*\]/datasets: []/' params.yaml > flows/starter/params.yaml

docs: $(READY)  ## write the entries of docs/methods.md from the methods and their results
	@$(BIN)/python -m benchmarks.methods_docs

pictures: $(READY)  ## take the pictures of the pages again, in docs/pictures; needs Chromium and its driver
	@$(BIN)/python -m docs.site.pictures

site: $(READY)  ## build the documentation into build/site; nothing in it comes from another machine
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml
	@echo "$(CURDIR)/build/site/index.html; with search: python -m http.server --directory build/site"

lock: $(READY)  ## pin the newest fitting version of every package again
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --no-header --no-emit-index-url \
		--upgrade pyproject.toml --output-file requirements.lock

clean:  ## delete what can be computed again (results, caches), nothing that was paid for or that you put there
	@if test -x $(BIN)/nola; then $(BIN)/nola clean; else echo "no $(VENV), so nothing was made yet"; fi
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis build *.egg-info
