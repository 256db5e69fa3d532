# The targets need nothing but Python 3.10 or newer, because each makes the environment that it runs in.
PYTHON ?= python3
VENV ?= .venv
# CONSTRAINTS=/dev/null takes the newest version of everything.
CONSTRAINTS ?= constraints.txt
# TESTS=tests/core runs these only.
TESTS ?= tests
BIN := $(VENV)/bin
# The variable silences an advertisement that material prints.
MKDOCS = NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs
READY := $(VENV)/.ready
KERNELS := $(wildcard core/flagvec/engine/kernels/*.[ch])
COMPAT := $(basename $(notdir $(wildcard tests/compat/*.txt)))
compat_folders = $(shell sed -n 's|^-r \(.*\)/requirements.txt$$|tests/compat/\1|p' tests/compat/$(1).txt)

without_requirements = $(wildcard $(addsuffix /without_requirements.txt,$(call compat_folders,$(1))))

LOWEST := build/lowest
# These packages want a newer langchain-core than the lowest, so they are not in that environment.
NEWER_LANGCHAIN := langchain_milvus|langchain_qdrant|langchain_tests

.PHONY: help demo test test-compat test-lowest test-integrations test-servers check site publish-site format bench clean

help:  ## Show the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(READY)  ## Index real documents and search them, offline, in an embedded database
	@$(BIN)/python examples/demo.py

test: $(READY)  ## Run the tests
	$(BIN)/pytest -n auto --dist loadfile $(TESTS)

test-compat: $(COMPAT:%=test-compat-%)  ## Run the tests with packages that want other versions, each in an environment for it

test-compat-%: build/compat/%/.ready
	build/compat/$*/bin/pytest -n auto --dist loadfile $(call compat_folders,$*)

test-lowest: $(LOWEST)/.ready  ## Run the tests with the lowest versions that pyproject.toml allows
	$(LOWEST)/bin/pytest -n auto --dist loadfile -m 'not fresh_environment' \
		$(addprefix --ignore=,$(shell grep -rlE '^from ($(NEWER_LANGCHAIN))' --include='*.py' tests/integrations))

test-integrations: $(READY)  ## Run the integration tests, on each server that QDRANT_URL, MILVUS_URI or ELASTICSEARCH_URL names
	$(BIN)/pytest tests/integrations

test-servers: $(READY)  ## Start Qdrant, Milvus and Elasticsearch in Docker, run the integration tests on them, stop them
	@trap 'docker compose -f docker-compose.test.yml down --volumes' EXIT; \
	docker compose -f docker-compose.test.yml up --detach --wait && \
	QDRANT_URL=http://127.0.0.1:6333 QDRANT_GRPC_PORT=6334 MILVUS_URI=http://127.0.0.1:19530 \
	ELASTICSEARCH_URL=http://127.0.0.1:9200 $(MAKE) test-integrations

check: $(READY)  ## Lint, format check and type check, check the workflows of GitHub Actions, and build the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $(KERNELS)
	$(BIN)/mypy
	$(BIN)/jactionlint --shellcheck=$(BIN)/shellcheck .github/workflows/*.yml .github/dependabot.yml
	$(MKDOCS) build --strict --quiet --site-dir build/site

site: $(READY)  ## Build the documentation site and serve it at http://127.0.0.1:8000
	$(MKDOCS) serve

publish-site: $(READY)  ## Build the documentation site into the branch gh-pages and push that; CI does
	$(MKDOCS) gh-deploy --strict --force

format: $(READY)  ## Fix what lint and format find
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(KERNELS)

bench: $(READY)  ## Measure encoding side by side with what people use today, in three quarters of an hour
	$(BIN)/python benchmarks/encode.py --plot benchmarks

clean:  ## Delete the environment and everything built
	rm -rf $(VENV) build dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt hatch_build.py $(KERNELS)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c $(CONSTRAINTS) -e '.[dev]'
	@touch $@

# uv can resolve to lowest versions, and pip cannot. It copies files, because nltk refuses hard links. Only the packages
# that users install are at their lowest; the tools that run the tests have the versions in constraints.txt.
$(LOWEST)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv --clear $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv
	grep -E '^(hypothesis|pytest[a-z-]*)==' constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python --link-mode copy --resolution lowest-direct \
		-c $(@D)/constraints.txt -e '.[all,demo]' hypothesis pytest pytest-asyncio pytest-xdist
	@touch $@

# A version that the requirements pin replaces the one in constraints.txt. What without_requirements.txt names is installed
# without the packages that it asks for.
.PRECIOUS: build/compat/%/.ready
.SECONDEXPANSION:
build/compat/%/.ready: tests/compat/%.txt pyproject.toml constraints.txt \
		$$(addsuffix /requirements.txt,$$(call compat_folders,$$*))
	$(PYTHON) -m venv --clear $(@D)
	sed -n 's/^\([A-Za-z0-9-]*==\).*/^\1/p' $(filter tests/%,$^) | grep -v -f - constraints.txt > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -c $(@D)/constraints.txt -r $<
	$(foreach file,$(call without_requirements,$*),\
		$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r $(file);)
	@touch $@
