# Everything runs in .venv, which tools/setup creates and keeps up to date.
# ARGS is passed to the command: make demo ARGS="--hosts 100", make test ARGS="tests/wire -q"
.PHONY: help run demo test quick lab lab-vm check bench bench-page soak gpu-check clean
.DEFAULT_GOAL := help

ARGS =
BIN = .venv/bin
# Most tests wait more than they compute. WORKERS=0 runs them in one process, for a debugger.
WORKERS = $(shell n=$$((2 * $$(nproc))); echo $$((n < 12 ? n : 12)))
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# If the shell disabled bytecode, each worker would compile the tests again.
export PYTHONDONTWRITEBYTECODE =

CC ?= cc
SANITIZED = -Wall -Wextra -Werror -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all

help:
	@echo "make run        serve the live page of this machine"
	@echo "make demo       serve the page with a simulated fleet"
	@echo "make test       run the tests; installs what they need"
	@echo "make quick      run the tests that need neither a browser nor processes"
	@echo "make check      check format, lint and types; test the page's modules and the fake NVML"
	@echo "make lab        deploy to booted containers and inject faults (root, Debian)"
	@echo "make lab-vm     test the services' limits in an emulated machine (root, Debian)"
	@echo "make bench      run the benchmarks; each result is a ratio to a measured floor"
	@echo "make bench-page measure what the page costs a browser, compared with a naive page"
	@echo "make soak       check for an hour whether the services grow (ARGS=\"--minutes 10\")"
	@echo "make gpu-check  measure driver and card, and compare with nvidia-smi (needs an NVIDIA card; 150 s)"
	@echo "make clean      remove everything that make has created, including .venv"

run:
	@tools/setup run
	@$(BIN)/gpu-monitor up $(ARGS)

demo:
	@tools/setup run
	@$(BIN)/gpu-monitor demo $(ARGS)

test:
	@tools/setup test
	@$(PYTEST) $(ARGS)

quick:
	@tools/setup test
	@$(PYTEST) -m "not browser and not processes" $(ARGS)

lab:
	@tools/setup lab
	@$(BIN)/python -m pytest tests/lab --timeout=600 -x $(ARGS)

lab-vm:
	@tools/setup lab-vm
	@$(BIN)/python -m pytest tests/lab/vm_limits.py --timeout=900 $(ARGS)

check:
	@tools/setup test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python
	cd frontend && ../$(BIN)/node node_modules/@biomejs/biome/bin/biome lint --error-on-warnings .
	$(BIN)/node frontend/node_modules/typescript/bin/tsc -p frontend
	$(BIN)/node --test "frontend/tests/**/*.test.js"
	$(BIN)/shellcheck tools/setup tools/lock .ci/run
	cd ansible && PATH="$$PWD/../$(BIN):$$PATH" ansible-lint -q
	FAKE_NVML_CFLAGS="$(SANITIZED)" ASAN_OPTIONS=detect_leaks=0 LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" \
		$(BIN)/python -m pytest -s -q tests/fake_nvml

bench:
	@tools/setup test
	@for file in bench/*.py; do \
		echo "== $$file"; $(BIN)/python "$$file" $(ARGS) || exit 1; \
	done

bench-page:
	@tools/setup test
	@$(BIN)/python -m bench.page $(ARGS)

soak:
	@tools/setup test
	@$(BIN)/python -m bench.soak $(ARGS)

gpu-check:
	@tools/setup run
	@$(BIN)/python -m tools.first_contact $(ARGS)

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	rm -rf frontend/node_modules tests/screenshots
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
