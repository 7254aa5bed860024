PYTHON ?= python3
VENV ?= .venv

BIN = $(VENV)/bin
TOOLS = $(VENV)/tools
CHECKOV = $(VENV)/checkov
PIP = -m pip install --quiet --disable-pip-version-check

# The stamps say which extras an environment holds; a newer pyproject.toml outdates them.
DEMO_STAMP = $(VENV)/demo.stamp
TEST_STAMP = $(VENV)/test.stamp
TOOLS_STAMP = $(VENV)/tools.stamp
CHECKOV_STAMP = $(VENV)/checkov.stamp

# What is deployed, and what users begin with.
TEMPLATES = template.yaml infra/resonate_infra/project/template.yaml

# Validation is local, but the SAM command line insists on a region and would report its use.
SAM = SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 $(TOOLS)/bin/sam

.DEFAULT_GOAL := help
.PHONY: help demo test lint format clean

help:
	@echo "make demo    run the demonstration, offline"
	@echo "make test    lint, check types and templates, run the tests"
	@echo "make lint    the checks of 'make test' without the tests"
	@echo "make format  rewrite the sources in the house format"
	@echo "make clean   remove the environments and every cache"
	@echo "PYTHON=... selects the interpreter, VENV=... the directory of the environment"

demo: $(DEMO_STAMP)
	$(BIN)/python -m resonate_infra.demo

test: lint
	$(BIN)/python -m pytest

lint: $(TEST_STAMP) $(TOOLS_STAMP) $(CHECKOV_STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/cfn-lint $(TEMPLATES)
	for template in $(TEMPLATES); do $(SAM) validate --lint --template $$template || exit; done
	$(CHECKOV)/bin/checkov --file $(TEMPLATES) --framework cloudformation --compact --quiet --skip-download

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) tests/clients/typescript/node_modules .pytest_cache .ruff_cache .hypothesis .aws-sam build dist
	find . '(' -name __pycache__ -o -name node_modules ')' -type d -prune -exec rm -rf {} +

# Written last when an environment is created, so an interrupted creation is taken up again.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(TOOLS)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(TOOLS)

$(CHECKOV)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(CHECKOV)

$(DEMO_STAMP): pyproject.toml | $(BIN)/pip
	$(BIN)/python $(PIP) --editable '.[testing,aws,cli]'
	touch $@

# The demonstration needs nothing more, so its environment is ready as well.
$(TEST_STAMP): pyproject.toml | $(BIN)/pip
	$(BIN)/python $(PIP) --editable '.[dev]'
	touch $(DEMO_STAMP) $@

$(TOOLS_STAMP): pyproject.toml | $(TOOLS)/bin/pip
	$(TOOLS)/bin/python $(PIP) --editable '.[sam]'
	touch $@

$(CHECKOV_STAMP): pyproject.toml | $(CHECKOV)/bin/pip
	$(CHECKOV)/bin/python $(PIP) --editable '.[checkov]'
	touch $@
