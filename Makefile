# Every target makes what it needs, the virtual environment included.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SHARDS ?= shards
RUN    ?= runs/train-tiny
INTEROP ?= .venv-interop
# for bench-gpu: the virtual environment where it is made, else the machine's own Python
GPU_PYTHON ?= $(if $(wildcard $(BIN)/.installed),$(BIN)/python,$(PYTHON))
WHEELS_FOR ?= 3.12
SUBSETS := basic complex flexible
PYTEST  = OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile --durations 12

.DEFAULT_GOAL := help
.PHONY: help setup build-dataset train-demo test test-fast test-all test-interop lint bench bench-gpu \
  gpu-wheels schemas weights lock clean

help:            ## this list
	@grep -E '^[a-z-]+: .*##|^[a-z-]+:  +##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 18

setup: $(BIN)/.installed  ## make the virtual environment (about 7 GB, most of it PyTorch)

$(BIN)/.installed: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "imig needs Python 3.11 or newer; name one: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --editable '.[dev]'
	@touch $@

build-dataset: setup  ## build a small dataset of all three subsets into shards/ (offline, CPU, minutes)
	$(BIN)/imig build $(SUBSETS) --set models=tiny $(if $(SCENES),--limit $(SCENES)) \
	  --output $(SHARDS)-parts
	test -e $(SHARDS)/dataset.json || \
	  $(BIN)/imig merge $(addprefix $(SHARDS)-parts/,$(SUBSETS)) --output $(SHARDS)

train-demo: setup  ## train the tiny model on that dataset and draw held-out layouts (CPU, minutes)
	test -e $(SHARDS)/dataset.json || $(MAKE) build-dataset
	$(BIN)/imig encode $(SHARDS) --recipe train-tiny --output $(SHARDS)-encoded
	$(BIN)/imig train --shards $(SHARDS)-encoded --recipe train-tiny --output $(RUN) --resume
	@echo "pictures of held-out layouts: $(RUN)/pictures"

test: setup  ## the test suite (8 minutes on two cores)
	$(PYTEST)

test-fast: setup  ## only what needs neither Ray nor a model (about a minute)
	$(PYTEST) --fast

test-all: setup  ## also what is longer by nature: official models of full size, minutes of fuzzing
	$(PYTEST) -m "" --hypothesis-profile=long

test-interop: setup $(INTEROP)/.installed  ## other tools' own readers on what imig writes (a minute)
	IMIG=$(BIN)/imig $(INTEROP)/bin/python -m pytest --confcutdir tests/other_side tests/other_side

# Of its own: these packages and requirements.lock want different versions of the same things.
$(INTEROP)/.installed: requirements-interop.txt
	rm -rf $(INTEROP) && $(PYTHON) -m venv $(INTEROP)
	$(INTEROP)/bin/python -m pip install --quiet --no-deps --requirement requirements-interop.txt
	@touch $@

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: setup  ## every part beside its peer or its limit (CPU, under 20 minutes)
	$(BIN)/python -m benchmarks.suite --json benchmarks/results/suite.json

# Without the virtual environment: a machine with a GPU has its own PyTorch, and maybe no network.
bench-gpu:  ## imig on one GPU, measured and checked (9 minutes; docs/gpu-benchmark.md)
	$(GPU_PYTHON) -m benchmarks.gpu --json benchmarks/results/gpu.json

# gpu-wheels/ belongs to one version of Python: make gpu-wheels WHEELS_FOR=3.12
gpu-wheels:  ## fetch the few packages that a bare machine with a GPU lacks, into gpu-wheels/
	rm -rf gpu-wheels
	$(PYTHON) -m pip download --quiet --no-deps --only-binary=:all: --dest gpu-wheels \
	  --python-version $(WHEELS_FOR) --implementation cp --platform any \
	  $(foreach one,2_28 2_17,--platform manylinux_$(one)_x86_64) --platform manylinux2014_x86_64 \
	  --constraint requirements.lock --requirement benchmarks/gpu/wheels.txt

schemas: setup  ## generate schemas/ from the pydantic models
	$(BIN)/python -m imig.schema_export schemas

weights: setup  ## train the tiny checkpoints again, from nothing (CPU: up to 3 hours; resumes)
	$(BIN)/python -m tools.tiny

lock:  ## pin what a fresh installation brings (versions only)
	rm -rf .lock-venv && $(PYTHON) -m venv .lock-venv
	.lock-venv/bin/python -m pip install --quiet --editable '.[dev]'
	.lock-venv/bin/python -m pip freeze --exclude-editable | grep -E '^[A-Za-z0-9._-]+==' > requirements.lock
	rm -rf .lock-venv

clean:  ## remove the environment, caches, the small dataset and its training
	rm -rf $(VENV) $(INTEROP) .cache build dist gpu-wheels *.egg-info .mypy_cache .ruff_cache .pytest_cache \
	  $(SHARDS) $(SHARDS)-parts $(SHARDS)-encoded $(RUN)
