# make demo | make test | make check | make rtx | make bench: each builds .venv as far as it needs it
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
DEMO := demo
BENCH ?=

.PHONY: demo test check rtx kernels format bench clean

demo: $(VENV)/.build
	rm -rf $(DEMO)
	$(BIN)/bsbatch-build phantom $(DEMO)/set --studies 20 --seed 1
	$(BIN)/bsbatch-build export $(DEMO)/model --weights random --seed 1
	$(BIN)/bsbatch run $(DEMO)/set/archive --model $(DEMO)/model --out $(DEMO)/out --max-error-rate 1
	@echo "The weights are random, so the scores mean nothing yet. Look at $(DEMO)/out/results and $(DEMO)/out/objects."

test: $(VENV)/.test
	$(BIN)/python -m pytest

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

rtx: $(VENV)/.test
	@# without pycuda, which nvcc would have to build: engines compile without a GPU
	$(PIP) tensorrt-rtx
	$(BIN)/python -c 'import tensorrt_rtx'
	$(BIN)/python -m pytest -m rtx tests/build_tools

kernels:
	cd engine/bsbatch/cuda/kernels && nvcc -std=c++17 -arch=compute_75 -ptx -o normalise.ptx normalise.cu

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.compare $(BENCH)

clean:
	rm -rf $(VENV) $(DEMO)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bsbatch needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.build: $(BIN)/python pyproject.toml constraints.txt
	@echo "Installing into $(VENV) (once, some minutes) ..."
	$(PIP) --editable '.[codecs,build]'
	@touch $@

$(VENV)/.test: $(VENV)/.build
	$(PIP) --editable '.[codecs,build,evaluate,test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.build
	$(PIP) --editable '.[codecs,build,peers]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --editable '.[codecs,build,evaluate,test,check]'
	@touch $@
