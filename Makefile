# SPDX-License-Identifier: Apache-2.0
# Every target sets up what it needs. Variables:
#   PYTHON=python3         the Python the virtual environment is made from; a torch >= 2.10 it has is used, never moved
#   VENV=.venv             where the environment lies
#   TORCH="torch==2.13.0"  what to install when there is no torch (a CPU build:
#                          TORCH="torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu")
#   CMAKE_ARGS=...         build options, see CMakeLists.txt
#   ARGS=...               passed on to pytest or to the command that runs
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
ARGS ?=
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip install --quiet --disable-pip-version-check
HAS_TORCH := -c "import importlib.metadata as m; v = m.version('torch').split('.'); assert (int(v[0]), int(v[1])) >= (2, 10)"

.PHONY: help demo test build bench lint format check-abi clean
.DEFAULT_GOAL := help

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/bin/python:
	@if $(PYTHON) $(HAS_TORCH) 2>/dev/null; then site=--system-site-packages; fi; \
	$(PYTHON) -m venv $$site $(VENV) || { rm -rf $(VENV); \
	echo "make: $(PYTHON) -m venv failed: fasthash needs Python >= 3.10 with venv (Debian: apt install python3-venv)"; exit 1; }

$(VENV)/.installed: requirements.txt Makefile | $(VENV)/bin/python
	$(RUN) $(HAS_TORCH) 2>/dev/null || $(PIP) $(TORCH)
	$(PIP) -r requirements.txt
	@touch $@

# The build is incremental: without changes it takes seconds.
define install
	PATH="$(abspath $(VENV))/bin:$$PATH" CMAKE_ARGS="-DFASTHASH_TESTS=$(1) $(CMAKE_ARGS)" \
	$(PIP) --no-build-isolation --no-deps --editable .
endef

demo: $(VENV)/.installed  ## train, encode, index and search on handwritten digits; writes report.html
	$(call install,OFF)
	$(RUN) -m fasthash demo $(ARGS)

build: $(VENV)/.installed  ## the extension and its native tests
	$(call install,ON)

test: build  ## every test, and lint
	$(RUN) -m pytest --require-variants $(ARGS)

bench: build  ## benchmarks against reference and peers; writes bench/results/
	$(PIP) -r requirements-bench.txt
	$(RUN) -m bench $(ARGS)

lint: $(VENV)/.installed  ## ruff, mypy, clang-format
	$(RUN) -m pytest tests/test_style.py $(ARGS)

format: $(VENV)/.installed  ## rewrite Python and C++ in the project's style
	$(VENV)/bin/ruff check --fix . ; $(VENV)/bin/ruff format .
	git ls-files '*.h' '*.cuh' '*.cpp' '*.cu' | xargs $(VENV)/bin/clang-format -i

check-abi: build  ## one binary under the oldest, a CUDA and the newest torch (downloads gigabytes)
	bash tests/check_abi.sh $(ARGS)

clean:  ## forget builds, keep the environment
	rm -rf build dist *.egg-info fasthash/_C*.so
