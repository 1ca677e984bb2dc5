# make demo | make test | make check | make rtx | make bench | make demo-model: each builds .venv as far as it needs it
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
COMPILED := hatch_build.py $(addprefix engine/bsbatch/native/,build.py native.h views.c files.c winograd.h winograd.c)
DEMO := demo
MADE := demo-model
SETS = $(patsubst %,$(MADE)/%/expected.csv,set more most last external)
DRIVER = $(CURDIR)/$(VENV)/driver
CUDA = $(shell nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^.* TOP=//p')
BENCH ?=

.PHONY: demo test check rtx pycuda kernels format bench demo-model clean

demo: $(VENV)/.demo
	rm -rf $(DEMO)
	$(BIN)/bsbatch demo --out $(DEMO)

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

# pycuda on a driver of ours, without a GPU. That has what is called, of a hundred names more that pycuda knows: hence lazily.
pycuda: $(VENV)/.test
	mkdir -p $(DRIVER)
	g++ -std=c++17 -O1 -Wall -Werror -fPIC -shared -Wl,-soname,libcuda.so.1 -Itests/cuda/shim -Iengine/bsbatch/cuda/kernels \
	    -isystem $(CUDA)/include -o $(DRIVER)/libcuda.so.1 tests/cuda/shim/driver.cpp
	ln -sf libcuda.so.1 $(DRIVER)/libcuda.so
	printf "%s\n" "CUDA_ROOT = '$(CUDA)'" "CUDADRV_LIB_DIR = ['$(DRIVER)']" "CUDA_ENABLE_CURAND = False" > $(DRIVER)/.aksetup-defaults.py
	XDG_CONFIG_HOME="$${XDG_CONFIG_HOME:-$$HOME/.config}" HOME=$(DRIVER) $(PIP) pycuda
	LD_LIBRARY_PATH=$(DRIVER) $(BIN)/python -c 'import os, pytest, sys; sys.setdlopenflags(os.RTLD_LAZY); \
	    sys.exit(pytest.main(["tests/contracts/test_devices.py"]))'

kernels:
	cd engine/bsbatch/cuda/kernels && nvcc -std=c++17 -arch=compute_75 -ptx -o normalise.ptx normalise.cu

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench
	$(BIN)/python -m benchmarks.compare $(BENCH)

# The model in engine/bsbatch/models/demo, from nothing: eight hours on two cores with bfloat16; goes on where it was stopped.
demo-model: $(SETS) $(VENV)/.test
	$(BIN)/bsbatch-build train $(MADE)/set/archive --labels $(MADE)/set/labels.csv --masks $(MADE)/set/masks --cache $(MADE)/cache \
	    --out $(MADE)/crops --weights random --seed 1 --width 0.25 --early-width 0.125 --batch-norm --epochs 8 --horizon 10 --steps 800 \
	    --batch-size 16 --learning-rate 2e-3 --schedule cosine --crop-epochs 8 --crop-side 128
	$(BIN)/bsbatch-build train $(MADE)/set/archive --labels $(MADE)/set/labels.csv --masks $(MADE)/set/masks --cache $(MADE)/cache \
	    --out $(MADE)/whole --weights $(MADE)/crops/model.keras --seed 2 --width 0.25 --early-width 0.125 --epochs 4 --horizon 5 --steps 450 \
	    --batch-size 4 --learning-rate 4e-4 --schedule cosine --lesion-weight 100
	$(BIN)/bsbatch-build train $(MADE)/set/archive --labels $(MADE)/set/labels.csv --masks $(MADE)/set/masks --cache $(MADE)/cache \
	    --out $(MADE)/longer --weights $(MADE)/whole/model.keras --seed 3 --width 0.25 --early-width 0.125 --epochs 9 --horizon 9 --steps 450 \
	    --batch-size 4 --learning-rate 4e-4 --schedule cosine --lesion-weight 100 --operating-point equal-errors
	$(BIN)/bsbatch-build train $(MADE)/more/archive --labels $(MADE)/more/labels.csv --masks $(MADE)/more/masks --cache $(MADE)/more-cache \
	    --out $(MADE)/fresh --weights $(MADE)/longer/model.keras --seed 4 --width 0.25 --early-width 0.125 --epochs 26 --horizon 26 --steps 450 \
	    --batch-size 4 --learning-rate 4e-4 --schedule cosine --lesion-weight 100 --operating-point equal-errors --precision bfloat16 --validation-limit 400
	$(BIN)/bsbatch-build train $(MADE)/most/archive --labels $(MADE)/most/labels.csv --masks $(MADE)/most/masks --cache $(MADE)/most-cache \
	    --out $(MADE)/guided --weights $(MADE)/fresh/model.keras --seed 5 --width 0.25 --early-width 0.125 --epochs 26 --horizon 26 --steps 450 \
	    --batch-size 4 --learning-rate 2e-4 --schedule cosine --lesion-weight 100 --lesion-map cam --operating-point equal-errors --precision bfloat16 \
	    --validation-limit 400
	$(BIN)/bsbatch-build train $(MADE)/most/archive --labels $(MADE)/most/labels.csv --masks $(MADE)/most/masks --cache $(MADE)/most-cache \
	    --out $(MADE)/averaged --weights $(MADE)/fresh/model.keras --average $(MADE)/guided/model.keras --seed 5 --width 0.25 --early-width 0.125 \
	    --epochs 22 --horizon 30 --steps 450 --batch-size 4 --learning-rate 2e-4 --schedule cosine --lesion-weight 50 --lesion-map cam \
	    --ema-momentum 0.9995 --operating-point equal-errors --precision bfloat16 --validation-limit 800
	$(BIN)/bsbatch-build train $(MADE)/last/archive --labels $(MADE)/last/labels.csv --masks $(MADE)/last/masks --cache $(MADE)/last-cache \
	    --out $(MADE)/blurred --weights $(MADE)/averaged/model.keras --seed 6 --width 0.25 --early-width 0.125 \
	    --epochs 21 --horizon 30 --steps 450 --batch-size 4 --learning-rate 3e-4 --schedule cosine --lesion-weight 50 --lesion-map cam \
	    --blur 1.2 --ema-momentum 0.9995 --operating-point equal-errors --precision bfloat16 --validation-limit 800
	rm -rf $(MADE)/model $(MADE)/run $(MADE)/report
	$(BIN)/bsbatch-build export $(MADE)/model --weights $(MADE)/blurred/model.keras --join $(MADE)/averaged/model.keras --mirror --half-weights --name demo \
	    --note "trained on synthetic phantoms, not for clinical use" --made-by "make demo-model"
	$(BIN)/bsbatch run $(MADE)/external/archive --model $(MADE)/model --out $(MADE)/run --cam positive --overlay-format none
	$(BIN)/bsbatch evaluate $(MADE)/run --labels $(MADE)/external/labels.csv --masks $(MADE)/external/masks --out $(MADE)/report
	$(BIN)/bsbatch-build card $(MADE)/model --evaluation $(MADE)/report
	cp $(MADE)/report/metrics.json $(MADE)/model

$(MADE)/set/expected.csv: DRAWN = --studies 8000 --seed 101 --centre A --centre B
$(MADE)/more/expected.csv: DRAWN = --studies 16000 --seed 404 --centre A --centre B
$(MADE)/most/expected.csv: DRAWN = --studies 20000 --seed 505 --centre A --centre B
$(MADE)/last/expected.csv: DRAWN = --studies 16000 --seed 606 --centre A --centre B
$(MADE)/external/expected.csv: DRAWN = --studies 1000 --seed 202 --centre C
$(SETS): | $(VENV)/.build
	rm -rf $(@D)
	$(BIN)/bsbatch-build phantom $(@D) $(DRAWN) --no-clutter

clean:
	rm -rf $(VENV) $(DEMO) $(MADE)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bsbatch needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt $(COMPILED)
	@echo "Installing into $(VENV) (once, a minute) ..."
	$(PIP) --editable '.[codecs,evaluate,report]'
	@touch $@

$(VENV)/.build: $(BIN)/python pyproject.toml constraints.txt $(COMPILED)
	@echo "Installing into $(VENV) (once, some minutes) ..."
	$(PIP) --editable '.[codecs,build]'
	@touch $@

$(VENV)/.test: $(VENV)/.build
	$(PIP) --editable '.[codecs,build,evaluate,masks,report,test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.build
	$(PIP) --editable '.[codecs,build,peers]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --editable '.[codecs,build,evaluate,masks,report,test,check]'
	@touch $@
