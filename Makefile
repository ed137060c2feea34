# Requires make and Python 3.11 or newer. The first target that is made sets up .venv with the rest.
#   make serve                      train the example if it is not registered, serve on port 8001
#   make serve PYTHON=/opt/python3.11/bin/python3.11
#   make bench QUICK=1
#   make bench ONLY="soak-router autoscaling"

VENV   := .venv
STAMP  := $(VENV)/.installed
PYTHON ?=
PYTEST := $(VENV)/bin/python -m pytest
PARALLEL := -n logical --maxprocesses 4
CONFIG ?= serve_config.yaml
REGISTRY ?= models
OSV_URL ?= https://api.osv.dev/v1/query
CANDIDATES := python3.11 python3.12 python3.13 python3 python

.DEFAULT_GOAL := help
.PHONY: help serve test test-unit nightly check docs bench floors audit sbom lock clean setup

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 18

serve: setup ## train the example's model if none is registered, and serve on port 8001
	$(VENV)/bin/python -m examples.eurusd.train --if-empty --registry $(REGISTRY)
	$(VENV)/bin/modelctl serve $(CONFIG)

test: setup ## run all tests, on up to four cores
	$(PYTEST) $(PARALLEL)

test-unit: setup ## run the tests without a cluster, under two minutes
	$(PYTEST) $(PARALLEL) -m "not nightly and not cluster and not slow"

nightly: setup ## run the long forms of the tests, about 15 minutes
	$(PYTEST) -m nightly

check: setup ## check format, style, types, import rules and the documentation
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m tools.reference --check
	$(VENV)/bin/python -m mkdocs build --strict --quiet

docs: setup ## build the documentation into site/ and fail on broken links
	$(VENV)/bin/python -m mkdocs build --strict

bench: setup ## run the benchmarks, about 35 minutes; requires wrk (QUICK=1 for a short run)
	$(VENV)/bin/python -m benchmarks $(ONLY) $(if $(QUICK),--quick)

floors: setup ## run the client's tests with the oldest dependencies that pyproject.toml allows
	$(VENV)/bin/python -m venv --clear build/floors
	$(VENV)/bin/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		| sed 's/>=/==/' >build/floors/requirements.txt
	build/floors/bin/python -m pip --disable-pip-version-check install -qq \
		-r build/floors/requirements.txt cryptography pytest pytest-asyncio pytest-xdist
	build/floors/bin/python -m pytest -q -W default tests/serve_app/client

audit: setup ## check the locked packages for known vulnerabilities; needs access to api.osv.dev
	$(VENV)/bin/python -m pip_audit --requirement requirements.lock --no-deps --disable-pip --strict \
		--progress-spinner off --vulnerability-service osv --osv-url $(OSV_URL)

# The tool has an environment of its own: with a package that it requires, `import ray` compiles a
# grammar and takes 1 s longer in every process (findings/jsonschema-grammar-import.sh).
sbom: setup ## list the installed packages in sbom.cdx.json (CycloneDX 1.6)
	$(VENV)/bin/python -m venv --clear build/sbom
	build/sbom/bin/python -m pip --disable-pip-version-check install -qq cyclonedx-bom==7.5.0
	build/sbom/bin/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible \
		--spec-version 1.6 --output-format JSON --output-file sbom.cdx.json

lock: setup ## pin the newest allowed versions in requirements.lock
	$(VENV)/bin/pip-compile --quiet --upgrade --all-extras --strip-extras --allow-unsafe \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file=requirements.lock pyproject.toml
	sed -i 's/^\(torch==[^+]*\)+.*/\1/' requirements.lock  # any build of this version is accepted

clean: ## remove .venv, builds and caches; keep the models
	rm -rf $(VENV) build dist site *.egg-info examples/*.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp records what was installed and where. It is written last, so that the next call repeats
# a set-up that was interrupted, or whose requirements.lock, folder or list of packages has changed. With flock,
# concurrent calls set up once: the second waits for the first. A .venv that is a link belongs to
# another checkout and is used as it is, since a set-up would clear that checkout's environment.
setup:
	@expected() { pwd && cat requirements.lock && { grep -s '^include = ' pyproject.toml || :; }; }; \
	is_ready() { expected | cmp -s - $(STAMP) && $(VENV)/bin/python -c '' 2>/dev/null; }; \
	is_supported() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	version() { "$$1" --version 2>&1 | head -n 1; }; \
	if is_ready || [ -L $(VENV) ]; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then \
		exec 9<Makefile; \
		flock --nonblock 9 || { echo "Waiting for another set-up of $(VENV)"; flock 9; }; \
		if is_ready; then exit 0; fi; \
	fi; \
	python=; rejected=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
		if is_supported "$$candidate"; then python=$$candidate; break; fi; \
		if command -v "$$candidate" >/dev/null 2>&1; then \
			rejected="$$rejected$$(printf '\n  %s: %s' "$$candidate" "$$(version "$$candidate")")"; \
		else \
			rejected="$$rejected$$(printf '\n  %s: not found' "$$candidate")"; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		printf 'Cannot set up %s: expected Python 3.11 or newer, found:%s\n' \
			$(VENV) "$$rejected" >&2; \
		printf 'Install Python 3.11, or pass its path: make %s PYTHON=/path/to/python3.11\n' \
			"$(or $(firstword $(MAKECMDGOALS)),serve)" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$python ($$(version "$$python"));" \
		"this happens once and takes a few minutes and 2 GB"; \
	pip() { $(VENV)/bin/python -m pip --disable-pip-version-check install -qq "$$@"; }; \
	if "$$python" -m venv --clear $(VENV) \
		&& pip -r requirements.lock \
		&& pip --no-build-isolation --no-deps -e . -e examples \
		&& expected >$(STAMP).new && mv $(STAMP).new $(STAMP); \
	then echo "Set up $(VENV)"; \
	else \
		echo "The set-up of $(VENV) failed, see the output above; run the same command again" >&2; \
		exit 1; \
	fi
