# The everyday commands. CMake does the building; this file makes sure that what it needs is there.
#   make demo     build, then a folder of images -> a better encoder, a table and a report, in minutes
#   make test     build, then every test
MAKEFLAGS += --no-print-directory
JOBS ?= $(shell nproc)
PREFIX ?= /usr/local
DEMO_PROCESSES ?= 2  # its two arms side by side, 0.3 GB each
FUZZ_SECONDS ?= 600

.PHONY: all build demo test bench bench-full bench-accuracy sweep fuzz format install archive models deps clean
all: build

deps:
	@tools/deps.sh

# The program and the operators for PyTorch; the tests, which are as much again, are built by `make test`.
# Configured again for another TORCH_ROOT than the last.
build: deps
	@root=$${TORCH_ROOT:+$$(realpath "$$TORCH_ROOT")}; \
	{ [ -f build/build.ninja ] && { [ -z "$$root" ] || grep -qxF "TORCH_ROOT:PATH=$$root" build/CMakeCache.txt; }; } || \
	  cmake --preset release $${root:+"-DTORCH_ROOT=$$root"} > build-configure.log 2>&1 || { cat build-configure.log; exit 1; }
	@rm -f build-configure.log
	@cmake --build build -j $(JOBS) --target genview genview_operators

demo: build
	@build/bin/genview run recipes/demo.toml --processes $(DEMO_PROCESSES)

test: build
	@cmake --build build -j $(JOBS)
	@ctest --test-dir build --output-on-failure -j $(JOBS)

bench: build
	@bench/run.sh

# Full-size networks, random weights made by the peers (9 GB of disk, up to an hour on two cores). ARGS: of bench/full.py, e.g.
# ARGS="--rows unet,decode", ARGS=--tiny.
bench-full: build
	@bench/run.sh full $(ARGS)

# Whether what a run trained is as good as what lightly trains in the same settings. ARGS: of bench/accuracy.py, at least the run's
# folder, ARGS=runs/methods-seeds.
bench-accuracy: build
	@bench/run.sh accuracy $(ARGS)

# Random small configurations of every model that is read, each beside the library it belongs to. ARGS: of tests/golden/sweep.py, e.g.
# ARGS="--only schedulers --count 500".
sweep: build
	@bench/run.sh ../tests/golden/sweep $(ARGS)

# Every fuzzer for FUZZ_SECONDS under AddressSanitizer and UndefinedBehaviorSanitizer; findings stay in build-fuzz/findings.
fuzz:
	@tools/deps.sh --extra "clang libclang-rt-dev"
	@fuzz/run.sh $(FUZZ_SECONDS)

format:
	@tools/format.sh

install: build
	@cmake --install build --prefix "$(PREFIX)"

# The program with all that it needs, for machines without a compiler: build/genview-VERSION-linux-x86_64.tar.gz.
archive: build
	@cmake --build build --target archive

# Trains the shipped models of models/demo from scratch; 21 minutes on two cores (docs/model-card.md), resumes where it was stopped.
models: build
	@tools/make_models.sh

clean:
	@rm -rf build build-dev build-asan build-tsan build-fuzz
