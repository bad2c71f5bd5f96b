# botlib. `make` alone lists the targets. Needs GNU make, a POSIX shell and Python 3.11 or newer.
#
# The environment is the active one (a virtual environment, or a conda environment other than base, which conda activates
# unasked); without one it is .venv here, with the versions that the tests are run with (tests/constraints.txt).
# Name another Python for .venv with: make run PYTHON=/path/to/python3.13

.DEFAULT_GOAL := help
SHELL := /bin/sh

ACTIVE := $(filter-out $(CURDIR)/.venv,$(VIRTUAL_ENV))
ifeq ($(VIRTUAL_ENV)$(filter base,$(CONDA_DEFAULT_ENV)),)
ACTIVE := $(CONDA_PREFIX)
endif
ENV := $(if $(ACTIVE),$(ACTIVE),.venv)
PY := $(ENV)/bin/python
PINS := -c tests/constraints.txt
PYTHON :=

# JupyterLab takes defaults from botlib/data/jupyter, e.g. that it does not ask about news; the user's settings win.

# No broker's keys reach a backtest or a test.
OFFLINE := unset APCA_API_KEY_ID $(filter APCA_%,$(.VARIABLES));

# $(call install,EXTRAS,PINS): botlib in $(ENV), unless it is there for this pyproject.toml, these pins and this Python.
# pip is heard only when it fails.
define install
@set -e; \
say() { printf '%s\n' "$$*" >&2; }; \
log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
if [ -z "$(ACTIVE)" ] && [ ! -x .venv/bin/python ]; then \
    for python in $(or $(PYTHON),python3 python python3.14 python3.13 python3.12 python3.11) ''; do \
        if [ -z "$$python" ]; then \
            say "botlib needs Python 3.11 or newer; $(or $(PYTHON),python3) is: $$($(or $(PYTHON),python3) --version 2>&1)"; \
            say "Install one (python.org, your system's packages, conda), or name it: make run PYTHON=/path/to/python3.12"; \
            exit 1; \
        fi; \
        "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; \
    done; \
    if ! "$$python" -c 'import ensurepip, venv' 2>/dev/null; then \
        say "$$python cannot make virtual environments: its venv module is missing."; \
        say "On Debian, Ubuntu and WSL: sudo apt install python3-venv"; \
        exit 1; \
    fi; \
    "$$python" -m venv .venv >"$$log" 2>&1 || { cat "$$log" >&2; rm -rf .venv; say "could not make .venv"; exit 1; }; \
fi; \
if ! "$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
    say "botlib needs Python 3.11 or newer; $(ENV) has: $$("$(PY)" --version 2>&1 || echo none)"; \
    say "$(if $(ACTIVE),Deactivate it or activate another one.,Remove .venv and try again.)"; \
    exit 1; \
fi; \
key="$(1) $$("$(PY)" --version) $(CURDIR) $$(cat pyproject.toml tests/constraints.txt | cksum)"; \
[ -f "$(ENV)/.botlib" ] && case "$$(cat "$(ENV)/.botlib")" in "$$key"|"[test]$${key#"$(1)"}") exit 0;; esac; \
say "Installing botlib and its libraries into $(if $(ACTIVE),the active environment $(ACTIVE),.venv)" \
    "(the first time takes a few minutes) ..."; \
set -- --quiet $(2) -e '.$(1)'; \
if "$(PY)" -m pip --version >/dev/null 2>&1 || "$(PY)" -m ensurepip >"$$log" 2>&1; then \
    set -- "$(PY)" -m pip install --disable-pip-version-check --no-input "$$@"; \
else \
    set -- uv pip install --python "$(PY)" "$$@"; \
fi; \
"$$@" >"$$log" 2>&1 || { cat "$$log" >&2; say "Could not install botlib into $(ENV): see above."; exit 1; }; \
printf '%s' "$$key" >"$(ENV)/.botlib"; \
$(OFFLINE) "$(PY)" -m botlib.warmup || say "(not finished; the first run goes on with it)"
endef

# --- To use botlib

.PHONY: help
help:  ## List the targets
	@awk 'BEGIN { FS = ":.*## " } /^# --- / { sub(/^# --- /, ""); printf "%s%s:\n", n++ ? "\n" : "", $$0 } \
	    /^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

.PHONY: run
run: environment  ## Backtest on the bars that ship, then a paper session on the local exchange: the same fills
	@$(OFFLINE) "$(PY)" -m botlib backtest --config parameters/backtest.yaml && \
	    "$(PY)" -m botlib live paper --config parameters/parity.yaml --quiet

.PHONY: lab
lab: environment  ## Open JupyterLab here
	@JUPYTER_CONFIG_PATH="$(CURDIR)/botlib/data/jupyter$${JUPYTER_CONFIG_PATH:+:$$JUPYTER_CONFIG_PATH}" \
	"$(PY)" -m jupyterlab $$([ "$$(id -u)" = 0 ] && echo --allow-root) --ServerApp.root_dir="$(CURDIR)" \
	    "--LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb"

.PHONY: clean
clean:  ## Remove .venv, the benchmark's environments and all caches; outputs of runs stay
	@rm -rf .venv .bench build dist outputs/test-failures .pytest_cache .ruff_cache .mypy_cache .hypothesis
	@find botlib notebooks tests \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +

# --- To work on botlib itself

.PHONY: test
test: test-environment  ## Install what the tests need and run them all
	@$(OFFLINE) "$(PY)" -m pytest -n 2 --dist loadfile --max-worker-restart=0 --nbval tests

.PHONY: quick
quick: test-environment  ## The tests that take less than a minute together
	@$(OFFLINE) HYPOTHESIS_PROFILE=quick "$(PY)" -m pytest -q -n 2 --dist loadfile --max-worker-restart=0 -m "not slow and not browser" tests

.PHONY: parity
parity: test-environment  ## Sessions against the backtest at length: many more worlds than the tests play (EXAMPLES=300)
	@$(OFFLINE) BOTLIB_PARITY_EXAMPLES=$(or $(EXAMPLES),300) "$(PY)" -m pytest -q -n 2 --dist load \
	    tests/test_session_parity.py

.PHONY: golden
golden: test-environment  ## Execute the notebooks under tests/golden again and show what changed
	@$(OFFLINE) "$(PY)" tests/golden/update.py

.PHONY: bench
bench: environment  ## Compare the speed with other engines, each in its own environment (ARGS="w1-d --rounds 3")
	@$(OFFLINE) "$(PY)" tests/bench/runner.py $(ARGS)

.PHONY: lock
lock: environment  ## Renew tests/constraints.txt with the versions of today
	@set -e; folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; \
	"$(PY)" -m venv "$$folder"; pip() { "$$folder/bin/python" -m pip --disable-pip-version-check "$$@"; }; \
	pip install --quiet '.[test]' 2>"$$folder/log" || { cat "$$folder/log" >&2; exit 1; }; \
	{ echo "# What the tests are run with ($$("$(PY)" --version)). Made by: make lock"; \
	  pip freeze --exclude botlib; } >"$$folder/pins"; \
	cp "$$folder/pins" tests/constraints.txt; echo "tests/constraints.txt: $$(grep -c == tests/constraints.txt) versions"

# What the targets above need.

.PHONY: environment
environment:
	$(call install,,$(if $(ACTIVE),,$(PINS)))

.PHONY: test-environment
test-environment:
	$(call install,[test],$(PINS))
