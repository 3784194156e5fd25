# The front door; meson does the work. `make run` and `make test`, `make test-vm`, `make test-card`, `make deb` need nothing but
# make and a Debian 12: they install what is missing (`make setup`). Nothing else does, but the benchmarks' own set-up.

BUILD ?= build
PYTHON = /usr/bin/python3
BENCH_PACKAGES = packaging/debian-packages packaging/debian-packages-bench

.PHONY: all run test conformance foreign test-vm test-zero-copy test-card check debug chaos endurance coverage setup \
	build firmware-riscv deb bench bench-quick bench-compare bench-setup bench-fib figures format clean

all: build

setup:
	@scripts/setup

build:
	@command -v meson >/dev/null || { echo "build: meson is not installed; run: make setup" >&2; exit 1; }
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) >$(BUILD).setup.log 2>&1 || { cat $(BUILD).setup.log; exit 1; }
	@mkdir -p $(BUILD) && rm -f $(BUILD).setup.log
	@ninja -C $(BUILD) --quiet

run: setup
	@$(MAKE) --no-print-directory build
	@$(BUILD)/cli/p2pnic lab run

# All tests, or those that T names: make test T="firmware rings".
test: setup
ifdef T
	@$(MAKE) --no-print-directory build
	@BUILD=$(BUILD) scripts/one "$(T)"
else
	@scripts/test
endif

# The driver in virtual machines, over the kernel's VFIO and without an IOMMU (docs/testing.md): no root, under three
# minutes once QEMU is fetched.
test-vm: setup
	@scripts/test vm

# AF_XDP ports without a copy, in a virtual machine (docs/testing.md): no root, a minute once QEMU and a later kernel are
# fetched.
test-zero-copy: setup
	@scripts/test zero-copy

# What the RFCs want of a router, case by case: make conformance [DUT=p2pnic|linux|file] [K=test_29]. DUT=linux puts
# the same cases to the kernel's own forwarding; what differs is in tests/conformance/differences.txt.
conformance: build
	@P2PNIC=$(or $(P2PNIC),$(BUILD)/cli/p2pnic) DUT=$(or $(DUT),p2pnic) $(PYTHON) -B -m pytest -q -rs --tb=short \
		$(if $(K),-k "$(K)") tests/conformance

# The kernel's own tests of forwarding, of NICs, in a virtual machine with Debian's kernel (docs/testing.md): some
# minutes, once QEMU and these tests are fetched.
foreign: setup
	@scripts/test foreign

# The firmware bare-metal on emulated cards, RISC-V (docs/testing.md): no root, half a minute.
test-card: setup
	@scripts/test card

# After every edit: build, format what changed, unit tests without network.
check: build
	@BUILD=$(BUILD) scripts/check

# For gdb (scripts/gdb.py) and the sanitizers.
debug:
	@[ -f build-debug/build.ninja ] || meson setup build-debug -Dbuildtype=debug -Db_sanitize=address,undefined >/dev/null
	@ninja -C build-debug --quiet
	@echo "debug: build-debug/cli/p2pnic; gdb -x scripts/gdb.py --args build-debug/cli/p2pnic ..."

# Minutes of what a router must endure, with figures (docs/testing.md). make endurance [ROWS="process churn"]
endurance: build
	@P2PNIC=$(or $(P2PNIC),$(BUILD)/cli/p2pnic) $(PYTHON) -B tests/endurance/endurance.py $(ROWS)

# Everything happens to a router at once (docs/testing.md). make chaos [MINUTES=10] [SEED=N] [ONLY=A,B]
# [CALLS=all|start-router|…]; P2PNIC=PATH chooses the program, which preloads libinject.so of its own build.
chaos: build
	@P2PNIC=$(or $(P2PNIC),$(BUILD)/cli/p2pnic) $(PYTHON) -B tests/chaos/chaos.py --minutes $(or $(MINUTES),10) \
		$(if $(SEED),--seed $(SEED)) $(if $(ROUND),--round $(ROUND) --rounds 1) $(if $(ONLY),--only $(ONLY)) \
		$(if $(CALLS),--calls $(CALLS)) --logs $(BUILD)/chaos

# What the tests run of the code, line by line: build/coverage/index.html.
coverage:
	@command -v gcovr >/dev/null || { echo "coverage: gcovr is not installed; run: make setup" >&2; exit 1; }
	@scripts/coverage

# The firmware bare-metal for RV64: nothing undefined but the board.
firmware-riscv:
	@command -v riscv64-unknown-elf-gcc >/dev/null || \
		{ echo "firmware-riscv: riscv64-unknown-elf-gcc is not installed; run: make setup" >&2; exit 1; }
	@scripts/firmware-riscv

# Debian packages, into build/deb (packaging/debian).
deb: setup
	@scripts/deb

# What is measured beside p2pnic (DPDK's tables, its l3fwd, l3fwd-graph and testpmd from Debian's source package) is
# installed and built on first use; meson looks for it again then.
bench-setup: setup
	@scripts/setup $(BENCH_PACKAGES)
	@[ ! -f $(BUILD)/build.ninja ] || meson setup --reconfigure $(BUILD) >/dev/null
	@$(MAKE) --no-print-directory build

# All of it, or these parts again, into the results of the others: make bench BENCH_PARTS="jumbo cost".
bench bench-quick: bench-setup
	@bench/build-dpdk || echo "bench: without DPDK: p2pnic, Linux and the loops only"
	@bench/fetch-xdp-tools || echo "bench: without xdp-forward"
	@$(PYTHON) bench/bench.py $(if $(filter bench-quick,$@),--quick) $(if $(BENCH_PARTS),--parts "$(BENCH_PARTS)")

# Is this tree slower than BASE, a commit or a file of results? make bench-compare BASE=main [NEW=FILE]
# [OPTIONS="--methods wr --sizes 64"]; as root, with two processors.
bench-compare: build
	@[ -n "$(BASE)" ] || { echo "bench-compare: BASE=COMMIT or BASE=results.json is missing" >&2; exit 1; }
	@$(PYTHON) bench/compare.py $(OPTIONS) "$(BASE)" $(NEW)

bench-fib: bench-setup
	@BUILD=$(BUILD) scripts/bench-fib

figures:
	@$(PYTHON) bench/figures.py $(BUILD)/bench

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf build build-*
