PYTHON ?= python3
VENV ?= .venv

BIN = $(VENV)/bin
TOOLS = $(VENV)/tools
CHECKOV = $(VENV)/checkov
CDK = $(VENV)/cdk
UV = $(VENV)/uv
RELEASE = $(VENV)/release
DRIFT = $(VENV)-drift
# The directory with the exact versions of the environments' packages. Empty installs the newest versions.
CONSTRAINTS = constraints
# $(call install,NAME): pip install with the constraints in NAME.txt. The first variable constrains builds before pip
# 26.2, the second since then.
install = $(if $(CONSTRAINTS),PIP_CONSTRAINT=$(CONSTRAINTS)/$(1).txt PIP_BUILD_CONSTRAINT=$(CONSTRAINTS)/$(1).txt) \
	$(dir $@)bin/python -m pip install --quiet --disable-pip-version-check

# A stamp says that its environment is complete. A newer pyproject.toml or constraints file makes it out of date.
DEMO_STAMP = $(VENV)/demo.stamp
TEST_STAMP = $(VENV)/test.stamp
TOOLS_STAMP = $(TOOLS)/stamp
CHECKOV_STAMP = $(CHECKOV)/stamp
CDK_STAMP = $(CDK)/stamp
UV_STAMP = $(UV)/stamp
RELEASE_STAMP = $(RELEASE)/stamp

# Where `make dist` and `make sbom` write, and the layer that `make sbom` describes: that of the newest sources.
DIST = dist
SBOM = $(DIST)/layer.cdx.json
SBOM_BUILD = build/sbom
LAYER =

# The template of the deployment, and those of new projects.
TEMPLATES = template.yaml $(wildcard infra/resonate_infra/project/*/template.yaml)

# Validation is local. But the SAM command line requires a region, and sends telemetry unless it is turned off.
SAM = SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=us-east-1 $(TOOLS)/bin/sam

# $(call requirements,PLACE): the list at this place of pyproject.toml, one requirement in a line.
requirements = $(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))$(1), sep="\n")'

.DEFAULT_GOAL := help
.PHONY: help demo test lint docs cdk format clean drift constraints dist sbom installs

help:
	@echo "make demo    run the demonstration, offline"
	@echo "make test    lint, check types and templates, run the tests"
	@echo "make lint    the checks of 'make test' without the tests"
	@echo "make docs    build the documentation site, and check its links"
	@echo "make cdk     create the environment of the CDK, for tests/unit/infra/test_cdk.py (500 MB)"
	@echo "make format  rewrite the sources in the house format"
	@echo "make drift   'make test' with the newest releases, in an environment of its own"
	@echo "make dist    build and check the packages of a release, in dist/"
	@echo "make sbom    list the packages of the Lambda layer, as CycloneDX"
	@echo "make installs  install each extra on each interpreter of this machine"
	@echo "make constraints  rewrite the exact versions with the newest releases"
	@echo "make clean   remove the environments and every cache"
	@echo "PYTHON=... selects the interpreter, VENV=... the directory of the environment"

demo: $(DEMO_STAMP)
	$(BIN)/python -m resonate_infra.demo

# Without the environment of the CDK, its test is skipped. With RESONATE_CI a skipped test fails.
test: lint $(RELEASE_STAMP) $(if $(RESONATE_CI),$(CDK_STAMP))
	$(BIN)/python -m pytest

cdk: $(CDK_STAMP)

lint: $(TEST_STAMP) $(TOOLS_STAMP) $(CHECKOV_STAMP) $(if $(RESONATE_CI),$(CDK_STAMP))
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/pyright --pythonpath $(BIN)/python --project tests/pyrightconfig.json
	$(if $(RESONATE_CI),$(BIN)/pyright --pythonpath $(CDK)/bin/python --project infra/pyright-cdk.json)
	$(BIN)/mypy
	$(BIN)/cfn-lint $(TEMPLATES)
	for template in $(TEMPLATES); do $(SAM) validate --lint --template $$template || exit; done
	$(CHECKOV)/bin/checkov --file $(TEMPLATES) --framework cloudformation --compact --quiet --skip-download

docs: $(TEST_STAMP)
	$(BIN)/python -m website.build

format: $(TEST_STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(DRIFT) tests/clients/typescript/node_modules .aws-sam build dist
	rm -rf .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find . '(' -name __pycache__ -o -name node_modules ')' -type d -prune -exec rm -rf {} +

# pip is written last when an environment is created. So make repeats a creation that was interrupted.
$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

$(TOOLS)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(TOOLS)

$(CHECKOV)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(CHECKOV)

$(CDK)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(CDK)

$(UV)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(UV)

$(RELEASE)/bin/pip: | $(BIN)/pip
	$(BIN)/python -m venv $(RELEASE)

$(DEMO_STAMP): pyproject.toml $(CONSTRAINTS:%=%/main.txt) | $(BIN)/pip
	$(call install,main) --editable '.[testing,api,cli]'
	touch $@

# The dev extra contains what the demonstration needs, so its stamp is written too.
$(TEST_STAMP): pyproject.toml $(CONSTRAINTS:%=%/main.txt) | $(BIN)/pip
	$(call install,main) --editable '.[dev]'
	touch $(DEMO_STAMP) $@

$(TOOLS_STAMP): pyproject.toml $(CONSTRAINTS:%=%/sam.txt) | $(TOOLS)/bin/pip
	$(call requirements,["project"]["optional-dependencies"]["sam"]) | $(call install,sam) --requirement /dev/stdin
	touch $@

$(CHECKOV_STAMP): pyproject.toml $(CONSTRAINTS:%=%/checkov.txt) | $(CHECKOV)/bin/pip
	$(call requirements,["project"]["optional-dependencies"]["checkov"]) | $(call install,checkov) --requirement /dev/stdin
	touch $@

$(RELEASE_STAMP): pyproject.toml $(CONSTRAINTS:%=%/release.txt) | $(RELEASE)/bin/pip
	$(call requirements,["project"]["optional-dependencies"]["release"]) | $(call install,release) --requirement /dev/stdin
	touch $@

# The wheel is built from the source distribution, so this one is complete.
dist: $(RELEASE_STAMP)
	rm -rf $(DIST)
	$(RELEASE)/bin/python -m build --no-isolation --outdir $(DIST) .
	$(RELEASE)/bin/twine check --strict $(DIST)/*.whl $(DIST)/*.tar.gz
	$(RELEASE)/bin/check-wheel-contents $(DIST)/*.whl

# cyclonedx-py describes an environment. This one is empty, but for a path file that names the layer.
sbom: $(RELEASE_STAMP)
	rm -rf $(SBOM_BUILD)
	$(BIN)/python -m venv --without-pip $(SBOM_BUILD)/environment
	$(if $(LAYER),,$(MAKE) --file layer/Makefile build-DependenciesLayer ARTIFACTS_DIR=$(SBOM_BUILD) PYTHON=$(BIN)/python)
	echo "$(abspath $(or $(LAYER),$(SBOM_BUILD)/python))" \
		>"$$(echo $(SBOM_BUILD)/environment/lib/python3.*/site-packages)/layer.pth"
	mkdir -p $(dir $(SBOM))
	$(RELEASE)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library --output-reproducible \
		--output-format JSON --output-file $(SBOM) $(SBOM_BUILD)/environment

installs: $(TEST_STAMP)
	$(BIN)/python benchmarks/installs.py --check

$(CDK_STAMP): pyproject.toml $(CONSTRAINTS:%=%/cdk.txt) | $(CDK)/bin/pip
	$(call requirements,["project"]["optional-dependencies"]["cdk"]) | $(call install,cdk) --requirement /dev/stdin
	touch $@

# The same checks and tests, in a new environment with the newest releases that pyproject.toml allows.
drift:
	rm -rf $(DRIFT)
	$(MAKE) test VENV=$(DRIFT) CONSTRAINTS= || touch $(DRIFT)/failed
	@echo "Releases that differ from the constraints:"
	@$(DRIFT)/bin/python -m pip list --format=freeze --exclude-editable --disable-pip-version-check \
		| grep -vxiFf constraints/main.txt || echo none
	@if [ -e $(DRIFT)/failed ]; then echo "drift: make test fails with the newest releases" >&2; exit 1; fi
	@echo "drift: make test passes with the newest releases"

# $(call compile,FILE): write exact versions of the requirements to FILE, for every Python that pyproject.toml allows.
compile = $(UV)/bin/uv pip compile --quiet --upgrade --no-header --no-annotate --universal --python-version 3.11 \
	--output-file $(1)

# constraints/main.txt also has the requirements of the build.
constraints: $(UV_STAMP)
	mkdir -p constraints
	$(call requirements,["build-system"]["requires"]) | $(call compile,constraints/main.txt) pyproject.toml --extra dev -
	$(call requirements,["project"]["optional-dependencies"]["sam"]) | $(call compile,constraints/sam.txt) -
	$(call requirements,["project"]["optional-dependencies"]["checkov"]) | $(call compile,constraints/checkov.txt) -
	$(call requirements,["project"]["optional-dependencies"]["release"]) | $(call compile,constraints/release.txt) -
	$(call requirements,["project"]["optional-dependencies"]["cdk"]) | $(call compile,constraints/cdk.txt) -
	$(call compile,layer/requirements.txt) layer/requirements.in --constraint constraints/main.txt --no-deps --generate-hashes

$(UV_STAMP): pyproject.toml | $(UV)/bin/pip
	$(call requirements,["project"]["optional-dependencies"]["constraints"]) | $(call install,main) --requirement /dev/stdin
	touch $@
