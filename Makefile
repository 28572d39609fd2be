# Two targets do all: `make demo` is the main job, `make test` passes the tests. Both set up what they need first.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON    ?= python3
UV_VERSION := 0.13.8
CACHE     := $(if $(XDG_CACHE_HOME),$(XDG_CACHE_HOME),$(HOME)/.cache)/inference-fleet
UV        := $(CACHE)/uv-$(UV_VERSION)/bin/uv
BIN       := .venv/bin
FLEET     := $(BIN)/inference-fleet

ENGINE    ?= emulated
SEED      ?= 0
DURATION  ?=
TRACE     ?=
TRACES    ?=
SHARD     ?=
SAMPLE    ?=
PLAN      ?=
export TRACES SHARD SAMPLE PLAN SEED

PYTEST    := $(BIN)/pytest -q --durations=5

.PHONY: help
help: ## show the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sort | awk -F':.*## ' '{printf "  %-18s %s\n", $$1, $$2}'

# --- set-up -----------------------------------------------------------------------------------------------------
$(UV):
	@echo "setup: uv $(UV_VERSION)"
	@mkdir -p $(dir $(UV)).. && $(PYTHON) -m venv $(CACHE)/uv-$(UV_VERSION) && $(CACHE)/uv-$(UV_VERSION)/bin/pip -q install --disable-pip-version-check uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock | $(UV)
	@echo "setup: Python packages from uv.lock"
	@$(UV) sync --quiet --locked --extra sandbox --extra simulation --extra emulator --extra load
	@touch $@

.PHONY: setup-python setup-tools setup-helm setup-engine setup
setup-python: .venv/.synced
setup-tools: setup-python
	@$(BIN)/python -m inference_fleet.sandbox.tools setup
setup-helm: setup-python
	@$(BIN)/python -m inference_fleet.sandbox.tools setup helm helm3 kubeconform kube-state-metrics
setup-engine: setup-python
	@UV=$(UV) $(BIN)/python tests/engine/setup_engine.py
setup: setup-python setup-tools setup-helm setup-engine ## install everything the targets below need, into .venv and the user's cache

# --- the main job -----------------------------------------------------------------------------------------------
.PHONY: demo
demo: setup-python setup-tools $(if $(filter vllm,$(ENGINE)),setup-engine) ## serve, load and scale a model in a sandbox (ENGINE=emulated|vllm, TRACE=FILE, DURATION=S)
	@$(FLEET) demo --engine $(ENGINE) --seed $(SEED) $(if $(TRACE),--trace $(TRACE)) $(if $(DURATION),--duration $(DURATION))

# --- tests ------------------------------------------------------------------------------------------------------
.PHONY: test test-unit test-faults test-cluster test-engine test-package lint check-generated
test: setup lint check-generated docs test-unit test-faults test-package test-cluster test-engine ## everything that must hold before a change lands

lint: setup-python ## format, style, types, import layers
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache | tail -3

test-unit: setup-python ## rules, tables and properties; nothing outside
	@$(PYTEST) tests/unit

test-faults: setup-python ## the whole controller against an in-memory cluster on a virtual clock
	@$(PYTEST) tests/faults

test-cluster: setup-tools setup-helm ## the operator against a real control plane and kubelet
	@$(PYTEST) --timeout=300 tests/cluster

test-package: setup-tools setup-helm ## the chart, kustomize and monitoring rules by their own tools
	@$(PYTEST) tests/package

test-engine: setup-tools setup-engine ## real vLLM on CPU
	@$(PYTEST) --timeout=600 tests/engine

# --- generated files --------------------------------------------------------------------------------------------
.PHONY: generate
generate: setup-python ## write the generated files again
	@$(BIN)/python scripts/generate.py

check-generated: setup-python ## fail if a generated file is not what its generator writes
	@$(BIN)/python scripts/generate.py --check

# --- documentation ----------------------------------------------------------------------------------------------
.PHONY: docs
docs: $(UV) ## build the documentation into ./site; a broken link fails it
	@UV_PROJECT_ENVIRONMENT=.venv-docs $(UV) sync --quiet --locked --only-group docs
	@# --quiet would make --strict see no warnings.
	@log=$$(NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict --clean --site-dir site 2>&1) || { echo "$$log" >&2; exit 1; }
	@echo "docs: site/index.html"

# --- measurements -----------------------------------------------------------------------------------------------
.PHONY: bench-scale
bench-scale: setup-tools ## 500 InferenceDeployments beside 500 Deployments on hollow nodes (benchmarks/results/scale.json)
	@$(BIN)/python benchmarks/scale.py

.PHONY: bench-scaling
bench-scaling: setup-python ## scaling policies and an offline optimum (benchmarks/scaling.md; goes on where it was stopped; TRACES=DIR adds recorded traces)
	@$(BIN)/python benchmarks/scaling.py

.PHONY: bench-ablations
bench-ablations: setup-python ## what the scaler's parts are worth (benchmarks/results/ablations.json; TRACES=DIR adds recorded traces)
	@$(BIN)/python benchmarks/ablations.py

.PHONY: bench-laboratory
bench-laboratory: setup-engine ## the laboratory against the emulator and real vLLM on CPU, its speed, and the scaler's (benchmarks/results/emulated.json, real-engine.json, simulator.json, decide.json)
	@$(BIN)/python benchmarks/emulated.py
	@$(BIN)/python benchmarks/real_engine.py
	@$(BIN)/python benchmarks/simulator.py
	@$(BIN)/python benchmarks/decide.py

# --- what a release ships ---------------------------------------------------------------------------------------
IMAGE         ?= inference-fleet/operator:dev
PYTHON_BASE   := docker.io/library/python:3.11-slim-bookworm
RUNTIME_BASE  := gcr.io/distroless/python3-debian12:nonroot
digest_of      = $$(docker buildx imagetools inspect $(1) --format '{{.Manifest.Digest}}')

.PHONY: audit sbom image package-chart
audit: setup-python ## known vulnerabilities of the locked production packages (says what it could not ask)
	@$(BIN)/python scripts/audit.py $(UV)

sbom: setup-python ## bill of materials of the production packages (dist/sbom.cdx.json)
	@mkdir -p dist && $(UV) export --quiet --locked --no-dev --format cyclonedx1.5 --output-file dist/sbom.cdx.json
	@echo "sbom: dist/sbom.cdx.json"

image: ## the operator's image, by Docker (IMAGE=REGISTRY/NAME:TAG)
	@docker build --build-arg PYTHON_DIGEST="$(call digest_of,$(PYTHON_BASE))" --build-arg RUNTIME_DIGEST="$(call digest_of,$(RUNTIME_BASE))" --tag $(IMAGE) .

package-chart: setup-python setup-helm ## the chart as an archive (dist/inference-fleet-VERSION.tgz)
	@mkdir -p dist && "$$($(FLEET) sandbox tool helm)" package charts/inference-fleet --destination dist

.PHONY: bench-engine
bench-engine: setup-engine ## 20,000 drawn specs against real vLLM, cold render, checks a second, shares of flags (benchmarks/results/engine.json)
	@rm -f $(CACHE)/drawn.json
	@SAMPLE=$(or $(SAMPLE),20000) DRAWN_REPORT=$(CACHE)/drawn.json $(PYTEST) --timeout=7200 tests/engine/test_drawn_specs.py
	@$(BIN)/python benchmarks/engine.py --drawn $(CACHE)/drawn.json && rm -f $(CACHE)/drawn.json

# --- not built yet ----------------------------------------------------------------------------------------------
NOT_YET := faults faults-cluster rollback-cluster mutants
.PHONY: $(NOT_YET)
$(NOT_YET):
	@echo "make $@: not built yet (see README.md, 'What works today')" >&2; exit 1

.PHONY: clean
clean: ## remove what the targets above wrote into this folder (the cache stays: $(CACHE))
	@rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis tests/engine/.venv .venv-docs site dist demo-report.html demo-summary.json
