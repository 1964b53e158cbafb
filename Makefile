# Needs Python 3.11 or later with venv and pip, and make. Everything else goes into .venv, from requirements.lock.
#
#   make PYTHON=python3.12 test    another interpreter
#   make UV=1 demo                 uv in place of pip, if it is there (uv does not read pip's mirror settings)
#   make test ARGS="-k stock"      words for pytest

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
UV_BIN := $(if $(filter 1,$(UV)),$(shell command -v uv 2>/dev/null))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test compiled agree theory mutants controls kills check lint types schema lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' Makefile

demo: $(STAMP) ## a whole sale: simulated, then live against the reference shop, then compared
	$(BIN)/doorbuster rehearse scenarios/demo.yaml

# Not `python -m pytest`: that makes the folders at the root (tests, results, ...) importable.
# One process more than there are cores: many tests wait for a shop's clock.
test: $(STAMP) ## run the tests, on all cores; ARGS="-n 0" for one process
	$(BIN)/pytest -n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) --dist loadgroup --no-loadscope-reorder $(ARGS)

compiled: $(STAMP) ## compile the simulated world, once; else the first simulation does
	@results=$$(mktemp -d) && trap 'rm -r "$$results"' EXIT && for records in all none; do \
		$(BIN)/doorbuster simulate scenarios/demo.yaml --engine compiled --records $$records --results "$$results" >/dev/null || exit; \
	done

# For the nightly run: sales that nobody has compared before; a difference is shrunk and shown.
agree: $(STAMP) ## compare both engines on EXAMPLES=10000 new sales, some 5 minutes
	DOORBUSTER_FRESH=1 DOORBUSTER_EXAMPLES=$(or $(EXAMPLES),10000) $(BIN)/pytest tests/test_engines_agree.py -k leave_the_same_records -o faulthandler_timeout=0 $(ARGS)

theory: $(STAMP) ## the simulated world against theory, an oracle and laws, with new seeds, some 5 minutes
	DOORBUSTER_FRESH=1 $(BIN)/pytest tests/test_sim_theory.py tests/test_sim_theory_stock.py tests/test_sim_oracle.py tests/test_sim_laws.py -rP -o faulthandler_timeout=0 $(ARGS)

mutants: $(STAMP) ## plant defects in the simulation, one by one: do the tests notice? (docs/mutants.md)
	$(BIN)/python tests/mutants/run.py $(ARGS)

controls: $(STAMP) ## every way of keeping stock, broken ones too: do the detectors tell? (docs/failure-modes.md)
	$(BIN)/python -m tests.controls.run $(ARGS)

kills: $(STAMP) ## kill -9 of shop, workers and provider, 51 times in live sales: is anything lost?
	$(BIN)/python tests/controls/kills.py $(ARGS)

# matplotlib beside Doorbuster, in a folder of its own: it is no dependency of the project.
pictures: $(STAMP) ## draw the pictures of docs/ again; needs matplotlib and fetches it into .venv/pictures (docs/pictures.txt)
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --upgrade --target $(VENV)/pictures -r docs/pictures.txt
	PYTHONPATH=$(VENV)/pictures $(BIN)/python docs/pictures.py $(ARGS)

check: lint types schema ## all that is checked without running: lint, types, schema

lint: $(STAMP) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP) ## mypy, strict
	$(BIN)/mypy

schema: $(STAMP) ## is the committed JSON Schema the one the models generate?
	$(BIN)/doorbuster schema --check

lock: ## renew requirements.lock from pyproject.toml; with UPGRADE=1 also move what is pinned
	@command -v uv >/dev/null || { echo "make lock: needs uv; install it with: pipx install uv" >&2; exit 1; }
	UV_CUSTOM_COMPILE_COMMAND="make lock" uv pip compile --quiet --no-config \
		--universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --extra dev $(if $(UPGRADE),--upgrade) \
		--output-file requirements.lock pyproject.toml

clean: ## remove .venv, caches and built files; results stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find core simulations loadtests shop tests -name __pycache__ -type d -prune -exec rm -rf {} +

# --no-compile: byte-compiling all of SciPy, PyArrow and Numba takes longer than compiling what a run imports.
$(STAMP): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON) here; install Python 3.11 or later, or name yours: make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: $$($(PYTHON) --version) is too old; Doorbuster needs 3.11 or later: make PYTHON=/path/to/python" >&2; exit 1; }
ifneq ($(UV_BIN),)
	@echo "Installing into $(VENV) with uv ..."
	@$(UV_BIN) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@$(UV_BIN) pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(UV_BIN) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Installing into $(VENV); once, some 200 MB ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --no-build-isolation -e .
endif
	@touch $@
