# Needs make and Python 3.11 or newer; everything else goes into .venv by itself, once.
#   make serve                      train the example if need be, and serve it on port 8001
#   make serve PYTHON=/opt/python3.11/bin/python3.11
#   make bench QUICK=1
#   make bench ONLY="soak-router autoscaling"

VENV   := .venv
STAMP  := $(VENV)/.installed
PYTHON ?=
CONFIG ?= serve_config.yaml
REGISTRY ?= models
CANDIDATES := python3.11 python3.12 python3.13 python3 python

.DEFAULT_GOAL := help
.PHONY: help serve test nightly check bench lock clean setup

help: ## list the targets
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

serve: setup ## train the example's model if none is registered, and serve on port 8001
	$(VENV)/bin/python -m examples.eurusd.train --if-empty --registry $(REGISTRY)
	$(VENV)/bin/modelctl serve $(CONFIG)

test: setup ## run all tests, on up to four cores
	$(VENV)/bin/python -m pytest -n logical --maxprocesses 4 --dist loadgroup

nightly: setup ## run the long forms of the tests, about ten minutes
	$(VENV)/bin/python -m pytest -m nightly

check: setup ## check format, style, types, import rules and the documentation
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python -m tools.reference --check
	$(VENV)/bin/python -m mkdocs build --strict --quiet

bench: setup ## measure, about 35 minutes; needs wrk (QUICK=1: a short run)
	$(VENV)/bin/python -m benchmarks $(ONLY) $(if $(QUICK),--quick)

lock: setup ## pin the newest allowed versions in requirements.lock
	$(VENV)/bin/pip-compile --quiet --upgrade --all-extras --strip-extras --allow-unsafe \
		--no-header --no-annotate --no-emit-index-url --no-emit-find-links \
		--output-file=requirements.lock pyproject.toml
	sed -i 's/^\(torch==[^+]*\)+.*/\1/' requirements.lock  # any build of this version will do

clean: ## remove .venv and caches; models stay
	rm -rf $(VENV) build dist *.egg-info
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is written last and holds what was installed and where, so that an interrupted set-up,
# another requirements.lock or a moved folder is set up anew by the next call. Two calls at once
# take turns where there is flock. A .venv that is a link belongs to another checkout: it is used as
# it is, since a set-up would empty that checkout's.
setup:
	@wanted() { pwd && cat requirements.lock; }; \
	ready() { wanted | cmp -s - $(STAMP) && $(VENV)/bin/python -c '' 2>/dev/null; }; \
	works() { "$$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }; \
	version() { "$$1" --version 2>&1 | head -n 1; }; \
	if ready || [ -L $(VENV) ]; then exit 0; fi; \
	if command -v flock >/dev/null 2>&1; then \
		exec 9<Makefile; \
		flock --nonblock 9 || { echo "Waiting for another set-up of $(VENV)"; flock 9; }; \
		if ready; then exit 0; fi; \
	fi; \
	python=; seen=; \
	for each in $(if $(PYTHON),"$(PYTHON)",$(CANDIDATES)); do \
		if works "$$each"; then python=$$each; break; fi; \
		if command -v "$$each" >/dev/null 2>&1; then \
			seen="$$seen$$(printf '\n  %s: %s' "$$each" "$$(version "$$each")")"; \
		else \
			seen="$$seen$$(printf '\n  %s: not found' "$$each")"; \
		fi; \
	done; \
	if [ -z "$$python" ]; then \
		printf 'No Python to set up %s with. Expected 3.11 or newer, found:%s\n' $(VENV) "$$seen" >&2; \
		printf 'Install Python 3.11 and name it: make %s PYTHON=/path/to/python3.11\n' \
			"$(or $(firstword $(MAKECMDGOALS)),serve)" >&2; \
		exit 1; \
	fi; \
	echo "Setting up $(VENV) with $$python ($$(version "$$python")), once; takes a few minutes and 2 GB"; \
	pip() { $(VENV)/bin/python -m pip --disable-pip-version-check install -qq "$$@"; }; \
	if "$$python" -m venv --clear $(VENV) \
		&& pip -r requirements.lock \
		&& pip --no-build-isolation --no-deps -e . \
		&& wanted >$(STAMP).new && mv $(STAMP).new $(STAMP); \
	then echo "Set up $(VENV)"; \
	else \
		echo "The set-up did not finish, see above; the same command begins it anew" >&2; exit 1; \
	fi
