# Every target works from a fresh clone with Python 3.11 to 3.14, Go, make and git. `make help` lists them.

# A user's settings for other Pythons; the tools look after those of Go, of C compilers, of pip and of uv.
unexport PYTHONHOME PYTHONPATH PYTHONSAFEPATH PYTHONSTARTUP PYTHONINSPECT PYTHONPLATLIBDIR PYTHONWARNINGS PYTHONOPTIMIZE
MAKEFLAGS += --no-print-directory
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

STACK ?= edge
ARGS ?=
BIN := .venv/bin
# Half of a run is waiting, for pods, deadlines and servers: on two processors three tests at a time keep them busy.
WORKERS ?= 3
# A file at a time, the longest first: its tests share servers and registries.
PYTEST = env $(addprefix -u ,$(NOT_FOR_TESTS)) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

PYTHON_MODULE = python=$$(tools/find-python) && "$$python" -m
# Ring cluster starts a Kubernetes of its own: on Linux, as root, with some packages; elsewhere it is skipped by name.
RINGS := unit contract engine cluster
# Builds Kubernetes outside any test's time limit, once per machine; where that fails, its tests are skipped by name.
WITH_CLUSTER = $(if $(filter cluster,$(RINGS)),$(BIN)/python -m tools.cluster prepare || true)
# Tests bring their own backends; what `make env` exported must not reach them. Their workers, and the programs that
# they start from copies of this tree, would each compile all that they import where nobody may keep what is compiled.
NOT_FOR_TESTS := PYTHONDONTWRITEBYTECODE PULUMI_BACKEND_URL PULUMI_CONFIG_PASSPHRASE PULUMI_CONFIG_PASSPHRASE_FILE PULUMI_HOME PULUMI_STACK
# Tests that import TensorFlow's files need `make tensorflow` first; without it they are skipped by name.
WITH_TENSORFLOW = export ACCELFORM_TENSORFLOW_PYTHON="$${ACCELFORM_TENSORFLOW_PYTHON:-$$($(PYTHON_MODULE) tools.tensorflow --path)}"
ON_PATH = exports=$$($(PYTHON_MODULE) tools.env --path) && eval "$$exports"

RESOLVE = $(BIN)/uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --quiet \
  --custom-compile-command 'make lock'
# One lock for Python 3.11 to 3.14 and every machine; the newest of each package that serves all of them.
FOR_EVERY_PYTHON := --universal --fork-strategy fewest

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: up
up: ## Deploy the stack (STACK=edge) and score one image
	@$(PYTHON_MODULE) tools.stack up --stack $(STACK)

.PHONY: preview
preview: ## Show what `make up` would change
	@$(PYTHON_MODULE) tools.stack preview --stack $(STACK)

.PHONY: down
down: ## Destroy the stack and remove all that `make up` left
	@$(PYTHON_MODULE) tools.stack down --stack $(STACK)

.PHONY: env
env: ## Print shell exports for plain pulumi: eval "$(make -s env)"
	@$(PYTHON_MODULE) tools.env

.PHONY: tensorflow
tensorflow: ## Set up TensorFlow beside .venv, for importing its files and for fine-tuning
	@$(PYTHON_MODULE) tools.tensorflow

.PHONY: conformance
conformance: ## Set up other people's clients beside .venv, to call a service with
	@$(PYTHON_MODULE) tools.conformance

.PHONY: test
test: environment ## Run all tests: RINGS="unit contract engine cluster" (ARGS="-k name", WORKERS=3)
	@$(if $(filter unit,$(RINGS)),$(BIN)/python -m tools.front)
	@$(WITH_CLUSTER)
	@$(WITH_TENSORFLOW); $(ON_PATH); $(PYTEST) $(addprefix tests/,$(RINGS)) $(ARGS)

.PHONY: quick
quick: environment ## Run the tests that need neither an engine nor a cluster nor long (ARGS="-k name", WORKERS=3)
	@$(BIN)/python -m tools.front
	@$(WITH_TENSORFLOW); $(ON_PATH); $(PYTEST) -m "not long" tests/unit tests/contract $(ARGS)

.PHONY: cluster
cluster: environment ## Start a Kubernetes of four nodes on this machine (ARGS="--nodes 2 --simulated-nodes 500")
	@$(BIN)/python -m tools.cluster start $(ARGS)

.PHONY: cluster-down
cluster-down: environment ## Stop it, and remove all that it or a killed one left
	@$(BIN)/python -m tools.cluster stop $(ARGS)

.PHONY: check
check: environment ## Lint, formatting, types, dependencies, and which room may import which
	@$(BIN)/python -m tools.generate --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/deptry infra providers runtime
	@$(BIN)/deptry tests tools benchmarks examples --ignore DEP002,DEP004
	@$(BIN)/lint-imports

.PHONY: bench
bench: environment ## Measure, and write benchmarks/results/
	@$(ON_PATH); $(BIN)/python -m benchmarks $(ARGS)

.PHONY: fuzz
fuzz: environment ## Search for inputs that break worker and engine: RUNS=20000 of each target, or for MINUTES
	@$(BIN)/python -m tools.fuzz $(if $(MINUTES),--minutes $(MINUTES),--runs $(or $(RUNS),20000)) $(ARGS)

.PHONY: soak
soak: environment ## Put good and bad calls on a server for MINUTES=30; fail when it keeps growing
	@$(ON_PATH); $(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),30)

.PHONY: generate
generate: environment ## Write again what is made from declarations: Go's settings, Pulumi.yaml, schemas, tables in docs/
	@$(BIN)/python -m tools.generate
	@$(BIN)/ruff format -q providers/accelform/resources/service_settings.py

.PHONY: proto
proto: environment ## Regenerate the gRPC code from the .proto files
	@$(BIN)/python tools/generate_protocol.py

.PHONY: licences
licences: environment ## Collect the licences of the front's Go modules again, which every image holds
	@$(BIN)/python -m tools.licences

.PHONY: lock
lock: environment ## Resolve pyproject.toml again into the locks
	@$(RESOLVE) pyproject.toml --group build --extra dev $(FOR_EVERY_PYTHON) --output-file requirements-dev.lock
	@$(RESOLVE) pyproject.toml --constraint requirements-dev.lock $(FOR_EVERY_PYTHON) --output-file requirements.lock
	@$(RESOLVE) --group build --constraint requirements-dev.lock $(FOR_EVERY_PYTHON) --output-file requirements-build.lock
	@$(RESOLVE) pyproject.toml --extra tensorflow --extra training --output-file requirements-tensorflow.lock
	@$(RESOLVE) requirements-conformance.in --excludes <(echo azureml-core) --output-file requirements-conformance.lock

.PHONY: audit
audit: environment ## Ask the public databases whether anything that is locked has a known weakness
	@$(BIN)/python -m tools.audit

.PHONY: clean
clean: ## Remove the environment and everything generated; the stacks stay
	@rm -rf .venv .venv-tensorflow .venv-conformance .venv-serving-peers build dist .pytest_cache .import_linter_cache .mypy_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -prune -exec rm -rf {} + -o -name '*.egg-info' -prune -exec rm -rf {} +
	@if [ -d .accelform ]; then echo "kept .accelform: it records what is up (make down removes both)"; fi

.PHONY: environment
environment:
	@$(PYTHON_MODULE) tools.venv --development
