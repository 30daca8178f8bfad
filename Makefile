.DEFAULT_GOAL := help
PYTHON ?= python3
.PHONY: help install format lint test test-rust test-python test-slow fuzz fuzz-rust miri torture floor newest doors vllm sglang constraints bench docs site clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-13s %s\n", $$1, $$2}'

install:  ## Build the extension into the current environment, with everything needed to develop
	$(PYTHON) -m pip install -c constraints.txt -e ./kernels -e '.[dev]'

format:  ## Rewrite Rust and Python sources in the house style
	cargo fmt --all
	ruff check --fix
	ruff format

lint:  ## Format, clippy, ruff, types, stubs
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	ruff check
	ruff format --check
	mypy
	$(PYTHON) -m mypy.stubtest t2fast._core --ignore-disjoint-bases
	zizmor --offline --quiet .github

test: test-rust test-python  ## All tests

test-rust:  ## Tests of the Rust core
	cargo test --workspace --locked

test-python:  ## Tests of the Python packages and the documentation
	$(PYTHON) -m pytest -n auto
	$(PYTHON) -m pytest -n auto kernels
	T2FAST_NATIVE=1 $(PYTHON) -m pytest -n auto kernels

test-slow:  ## Tests that train and sample for minutes
	$(PYTHON) -m pytest -m slow

SECONDS ?= 600
fuzz:  ## Broken input for every reader, for SECONDS; COVERAGE=1 lets atheris choose it
	$(PYTHON) -m tests.fuzz --seconds $(SECONDS) $(if $(COVERAGE),--coverage)

TOOLCHAIN ?= nightly
fuzz-rust:  ## The core's parser of records, laws and plans under cargo-fuzz, for SECONDS each; needs a nightly toolchain
	cd fuzz && for target in records laws; do mkdir -p corpus/$$target && cargo +$(TOOLCHAIN) fuzz run $$target \
	  corpus/$$target seeds/$$target -- -max_total_time=$(SECONDS) -dict=$$target.dict -max_len=8192 -timeout=20 || exit 1; done

miri:  ## Tests of the core under miri, those whose names hold MIRI; needs a nightly toolchain with miri
	MIRIFLAGS="-Zmiri-disable-isolation -Zmiri-tree-borrows -Zmiri-ignore-leaks" PROPTEST_CASES=2 cargo +$(TOOLCHAIN) miri test -p t2fast-core --lib -- $(MIRI)

KILLS ?= 200
torture:  ## Kill samplers, writers and laboratories at random moments, KILLS times each
	T2FAST_KILLS=$(KILLS) $(PYTHON) -m pytest -m "slow or not slow" -k "killed or torture" tests

floor:  ## Tests on the oldest versions that the metadata allows, in an environment of its own
	bash .ci/versions floor

newest:  ## Tests on the newest versions of everything, in an environment of its own
	bash .ci/versions newest

doors:  ## Tests against the programs of doors.txt (harnesses, trainers, clients), in an environment of its own
	bash .ci/versions doors

vllm:  ## Tests of the vLLM plug-in against vLLM on the CPU, in an environment of its own (7 GB, ten minutes)
	bash .ci/stacks vllm

sglang:  ## Tests of the SGLang plug-in against SGLang's kernels in Triton's interpreter, in the same environment
	bash .ci/stacks sglang

constraints:  ## Write the newest versions that install together to constraints.txt; run the tests before it is committed
	folder=$$(mktemp -d) && $(PYTHON) -m venv $$folder && $$folder/bin/python -m pip install --quiet ./kernels '.[dev]' \
	  && $$folder/bin/python -m pip freeze --exclude t2fast --exclude t2fast-kernels >constraints.txt; rm -rf $$folder

bench:  ## Benchmarks beside their baselines, a few minutes
	$(PYTHON) -m pytest bench --benchmark-enable --benchmark-columns=median,iqr,rounds

docs:  ## Redraw the figures of the documentation
	$(PYTHON) docs/figures/make.py

site:  ## Build the documentation site into site/, every warning an error
	zensical build --strict --clean

clean:  ## Remove what builds leave behind
	cargo clean
	rm -rf dist site .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
