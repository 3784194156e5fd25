# The front door; meson does the work. `make run` and `make test` need nothing but make and a Debian 12.

BUILD ?= build
PYTHON = /usr/bin/python3

.PHONY: all run test setup build format clean bench bench-quick bench-setup figures

all: build

setup:
	@scripts/setup

build: setup
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; exit 1; }
	@mkdir -p $(BUILD) && rm -f $(BUILD).setup.log
	@ninja -C $(BUILD) --quiet

run: build
	@$(BUILD)/cli/p2pnic lab run

test: setup
	@scripts/test

# What the bench measures beside (DPDK's l3fwd and testpmd, from Debian's source package) is built on first use.
bench-setup: build
	@scripts/setup packaging/debian-packages packaging/debian-packages-bench
	@bench/build-dpdk || echo "bench: without DPDK: p2pnic, Linux and the loops only"

bench: bench-setup
	@$(PYTHON) bench/bench.py

bench-quick: bench-setup
	@$(PYTHON) bench/bench.py --quick

figures:
	@$(PYTHON) bench/figures.py

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
