# The front door; meson does the work. `make run` and `make test` need nothing but make and a Debian 12.

BUILD ?= build
PYTHON = /usr/bin/python3

.PHONY: all run test setup build format clean

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

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
