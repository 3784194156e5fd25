# The front door; meson does the work. `make run` and `make test` need nothing but make and a Debian 12.

BUILD ?= build
PYTHON = /usr/bin/python3

.PHONY: all run test setup build format clean bench-fib figures figures-fib

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

bench-fib:
	@scripts/setup packaging/debian-packages packaging/debian-packages-bench
	@[ ! -f $(BUILD)/build.ninja ] || meson setup --reconfigure $(BUILD) >/dev/null
	@$(MAKE) --no-print-directory build
	@BUILD=$(BUILD) scripts/bench-fib

figures: figures-fib

figures-fib:
	@scripts/figure-fib $(BUILD)/bench/fib.json $(BUILD)/bench

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
