# Two commands: `make demo` scores the sample, `make test` checks everything. Each installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install --constraint constraints.txt

.PHONY: demo test lint repro clean

demo: .venv/.installed-base
	$(BIN)/secondlook score labels/sample/cases.csv --out runs/demo --config configs/score.yaml --overwrite --show 5

test: .venv/.installed-dev lint
	$(BIN)/secondlook labels check
	$(BIN)/secondlook labels audit
	$(BIN)/pytest --numprocesses 2

lint: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The whole pipeline: prepare, train, evaluate, score. `dvc repro` in an activated environment does the same.
repro: .venv/.installed-dev
	PATH="$(CURDIR)/$(BIN):$$PATH" DVC_NO_ANALYTICS=true $(BIN)/dvc repro

.venv/.installed-base: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	touch $@

.venv/.installed-dev: pyproject.toml constraints.txt .venv/.installed-base
	$(PIP) --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv runs labels/prepared mlflow.db mlruns
