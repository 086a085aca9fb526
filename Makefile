# Every target sets up what it needs first and is quick when nothing changed. `make help` lists them.
.DEFAULT_GOAL := help
SHELL := /bin/sh
BIN := .venv/bin
# Two processes suit the two cores of a small machine; 0 runs the tests in one, for a debugger.
WORKERS ?= 2
# One thread a process: numerical libraries that each start one thread a core slow each other down.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

KILLS ?= 10000

.PHONY: help setup setup-dev setup-bench demo serve test soak check lint types format bench docs changelog lock sbom audit clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: setup-dev ## Make .venv with everything for working on Handrail

setup-dev:
	@scripts/setup dev

setup-bench:
	@scripts/setup bench

demo: ## Serve the shop agent on http://127.0.0.1:8080 (run-time dependencies only)
	@scripts/setup
	@exec $(BIN)/handrail demo $(ARGS)

serve: ## Serve an agent project: make serve ARGS="--project my-agent"
	@scripts/setup
	@exec $(BIN)/handrail serve $(ARGS)

test: setup-dev ## Run the tests: make test ARGS="tests/flows -k approval"
	@browser=$$(scripts/find-browser) && promtool=$$(scripts/find-promtool) && \
	HANDRAIL_CHROMIUM="$$browser" HANDRAIL_PROMTOOL="$$promtool" \
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

soak: setup-dev ## Kill servers 10,000 times and hold the outcome against the outside world (hours): make soak KILLS=1000
	HANDRAIL_KILLS=$$(( $(KILLS) / 2 )) $(BIN)/python -m pytest tests/integration/crash/test_crash.py --capture=no $(ARGS)

check: lint types test ## Everything that must pass before a change lands

lint: setup-dev ## Style, layout and the rules of who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo

types: setup-dev ## Check the types
	$(BIN)/basedpyright

format: setup-dev ## Lay the code out and fix what can be fixed
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: setup-bench ## Measure speed against the floor and a bare endpoint (8 minutes at most)
	$(BIN)/python -m bench $(ARGS)

docs: setup-dev ## Check the documents: links, code blocks, commands, decision records
	$(BIN)/python -m pytest tests/test_docs.py $(ARGS)

changelog: setup-dev ## Join the fragments into CHANGELOG.md: make changelog VERSION=0.2.0
	$(BIN)/python scripts/changelog.py $(VERSION)

lock: setup-dev ## Write the lock files again: make lock ARGS=--upgrade
	scripts/lock $(ARGS)

sbom: setup-dev ## Write the bill of materials of the run-time lock: dist/handrail.cdx.json
	$(BIN)/python -m scripts.sbom

audit: setup-dev ## Ask for known weaknesses of the locked packages (needs the network, says when it has none)
	$(BIN)/python -m scripts.audit

clean: ## Remove .venv and everything else that can be made again
	rm -rf .venv dist build .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
