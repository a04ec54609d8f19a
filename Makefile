# make            builds target/release/libvrfbind.so, the commands vrfbind and vrfbind-probe there, and completions
# make ARCH=...   builds the library for aarch64, i686 or riscv64, and the commands for aarch64, below target/
# make test-arch ARCH=...   and runs what C tests can be run of it here
# make demo       two VRFs with the same subnet, dnsmasq and radvd in each: shows every socket's device
# make test       every test on every tier; VRFBIND_MUST_RUN=1 forbids skips
# make test-more  what takes longer: the rest of 16 packaged services in a VRF, the rest of 15 daemons in several; make fuzz
# make test-kernels  what takes a VRF, on the kernels of Debian 11, 12 and 13, each in a VM
# make scale      256 networks with the same subnet, a dnsmasq and a radvd in each, into BENCHMARKS.md; make scale-tasks is
#                 its part where these are 512 containerd tasks
# make churn      1,000 VRFs made and removed under daemons: nothing leaves, nothing leaks; into BENCHMARKS.md
# make compare    `ip vrf exec` and the library side by side
# make reach      every way to a socket and what becomes of it: library, vrfbind exec, ip vrf exec; glibc, musl
# make evenet     an edge device with six networks, overlapping subnets and two VPNs; KEEP=1 leaves it up, with a shell;
#                 TASKS=containerd runs it with its daemons as containerd tasks as well
# make bench      writes BENCHMARKS.md: what a call, a start and a process cost, here and in a VRF
# make bench-smoke  hardly any rounds of that: is the harness in order, and has BENCHMARKS.md its rows?
# make races      100,000 trials of each race: threads, signal handlers, forks
# make fuzz       100,000 broken inputs for each reader of files, messages and settings of others
# make dist       a tarball of what is committed; make deb: the Debian package of that; both into target/dist
# make test-arch-vm  the C tests on aarch64 with its own kernel, in a VM: seals and VRFs
# make test-musl  a dnsmasq and a busybox that are built with musl, in VRFs
# make test-containers  podman, containerd, Docker and OCI bundles, with containers in VRFs
# make test-package builds that package twice, and installs and removes it; and what apk/APKBUILD builds
# make lint       rustfmt, clippy, shellcheck, and no circles of imports
# make install    library, command, man pages, completions, licences below $(DESTDIR)$(PREFIX); make uninstall
#                 takes them away again
#
# Needs Rust 1.88 or later. What starts daemons installs the Debian packages that it needs (tests/packages.sh),
# and boots another kernel where this one has no VRFs (tests/with-vrf.sh): a stock one for what measures.

PREFIX  ?= /usr/local
LIBDIR  ?= $(PREFIX)/lib
BINDIR  ?= $(PREFIX)/bin
LIBEXECDIR ?= $(PREFIX)/libexec
MANDIR  ?= $(PREFIX)/share/man
BASHDIR ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR  ?= $(PREFIX)/share/zsh/site-functions
FISHDIR ?= $(PREFIX)/share/fish/vendor_completions.d
DOCDIR  ?= $(PREFIX)/share/doc/vrfbind
DESTDIR ?=
CARGO   ?= cargo
INSTALL ?= install

# The scripts look for everything there.
override export CARGO_TARGET_DIR := $(CURDIR)/target
library := target/release/libvrfbind.so
command := target/release/vrfbind
completions := target/completions

# So that ld.so finds it by its bare name. glibc looks /usr/local/lib up in its cache; musl has none.
refresh = @[ -n "$(DESTDIR)" ] || ! command -v ldconfig >/dev/null || ldconfig

.PHONY: all native cross test-arch demo test test-kernels test-musl test-arch-vm test-containers test-package dist deb bench bench-programs \
	bench-smoke scale scale-tasks churn compare reach evenet races fuzz test-more lint install uninstall clean build-packages test-packages programs images engines

# Two calls: in one, cargo would give the library the features that the command asks of a common dependency.
# The command is linked statically, and not to be moved by the kernel: `vrfbind exec` is done before ld.so would have
# loaded and relocated it (make compare), and the same file runs where musl is.
all: $(if $(ARCH),cross,native)

native:
	$(CARGO) build --release --locked --package vrfbind
	$(CARGO) rustc --release --locked --package vrfbind-cli --bin vrfbind -- \
		-C target-feature=+crt-static -C relocation-model=static
	$(CARGO) build --release --locked --package vrfbind-cli --bin vrfbind-probe
	mkdir -p $(completions)
	$(command) completions bash >$(completions)/vrfbind
	$(command) completions zsh >$(completions)/_vrfbind
	$(command) completions fish >$(completions)/vrfbind.fish

ARCH ?=
triple_aarch64 := aarch64-unknown-linux-gnu
triple_i686 := i686-unknown-linux-gnu
triple_riscv64 := riscv64gc-unknown-linux-gnu
triple = $(or $(triple_$(ARCH)),$(error ARCH=$(ARCH) is none of aarch64, i686, riscv64))
shout = $(shell echo $(triple) | tr a-z- A-Z_)
# Debian's compiler links, since only it knows that machine's libc.
cross = CARGO_TARGET_$(shout)_LINKER=$(ARCH)-linux-gnu-gcc $(CARGO)

cross:
	tests/packages.sh build $(ARCH)
	! command -v rustup >/dev/null || rustup --quiet target add $(triple)
	$(cross) build --release --locked --package vrfbind --target $(triple)
ifeq ($(ARCH),aarch64)
	$(cross) rustc --release --locked --package vrfbind-cli --bin vrfbind --target $(triple) -- \
		-C target-feature=+crt-static -C relocation-model=static
	$(cross) build --release --locked --package vrfbind-cli --bin vrfbind-probe --target $(triple)
endif

# What runs a test of that machine here.
runner_i686 := /usr/i686-linux-gnu/lib/ld-linux.so.2 --library-path /usr/i686-linux-gnu/lib
runner = $(or $(runner_$(ARCH)),qemu-$(ARCH)-static -L /usr/$(ARCH)-linux-gnu)

test-arch: cross programs
	CARGO_TARGET_$(shout)_RUNNER='$(runner)' $(cross) test --locked --package vrfbind --package vrfbind-rules --target $(triple)
	tests/arch.sh $(ARCH) target/$(triple)/release/libvrfbind.so

build-packages:
	tests/packages.sh build

test-packages:
	tests/packages.sh build test evenet daemons
	tests/with-vrf.sh --prepare

programs: native
	$(CARGO) build --locked --package vrfbind-tests --tests

demo: test-packages programs
	tests/with-vrf.sh tests/topology.sh examples/demo.sh

compare: test-packages programs
	tests/with-vrf.sh --stock tests/topology.sh benches/compare.sh

reach: test-packages programs
	tests/with-vrf.sh tests/topology.sh tests/reach.sh

evenet: test-packages all $(if $(TASKS),engines)
	$(if $(filter-out containerd,$(TASKS)),$(error TASKS=$(TASKS) is not containerd))
	$(if $(filter 1,$(KEEP)),examples/evenet/keep $(TASKS),$(if $(TASKS),VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-4G}) \
		tests/with-vrf.sh examples/evenet/run $(if $(TASKS),library ip-vrf netns $(TASKS)))

test: test-packages all bench-programs images
	$(CARGO) test --locked --workspace

# What the tests of containers take on the vrf tier.
images: build-packages programs
	tests/packages.sh daemons-containers musl
	tests/musl.sh build
	tests/containers.sh build

# All of them, though one fails.
KERNELS ?= $(addsuffix /linux-image-amd64,bullseye bookworm trixie)

test-more: test-packages programs fuzz
	tests/packages.sh daemons-more daemons-rules
	tests/with-vrf.sh tests/topology.sh tests/units-more.sh
	tests/with-vrf.sh tests/topology.sh tests/rules-daemons-more.sh
	tests/with-vrf.sh tests/topology.sh tests/resolvers.sh

test-kernels: test-packages programs bench-programs images
	failed=; for kernel in $(KERNELS); do \
		echo "vrfbind-tests: the vrf tier on $$kernel"; \
		VRFBIND_VM_KERNEL=$$kernel $(CARGO) test --locked --package vrfbind-tests -- vrf: || failed="$$failed $$kernel"; \
	done; [ -z "$$failed" ] || { echo "vrfbind-tests: failed on:$$failed"; exit 1; }

test-arch-vm: build-packages
	tests/packages.sh arch-vm
	$(MAKE) cross ARCH=aarch64
	tests/arm64.sh target/$(triple_aarch64)/release/libvrfbind.so

test-musl: test-packages programs
	tests/packages.sh musl
	tests/musl.sh build
	tests/with-vrf.sh tests/topology.sh tests/musl.sh run
	tests/with-vrf.sh tests/topology.sh tests/rules-daemons.sh musl-dnsmasq musl-libc

engines: images
	tests/packages.sh containers

test-containers: test-packages engines bench-programs
	failed=; for test in 'tests/containers.sh all' tests/container-unit.sh examples/containerd/run 'tests/bench.sh tasks' \
		'tests/evenet.sh containerd'; do \
		VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-4G} tests/with-vrf.sh tests/topology.sh $$test || failed="$$failed $$test"; \
	done; [ -z "$$failed" ] || { echo "vrfbind-tests: failed:$$failed"; exit 1; }

bench-programs: test-packages all
	benches/bench.sh build

bench: bench-programs
	benches/bench.sh lo target/bench/lo
	benches/report.py write BENCHMARKS.md target/bench lo
	tests/with-vrf.sh --stock tests/topology.sh benches/bench.sh vrf target/bench/vrf
	benches/report.py write BENCHMARKS.md target/bench vrf

scale: bench-programs scale-tasks
	VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-4G} tests/with-vrf.sh --stock benches/scale.sh target/bench/scale
	benches/report.py write BENCHMARKS.md target/bench scale

# An emulated processor is too slow to start hundreds of tasks.
scale-tasks: bench-programs engines
	VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-8G} tests/with-vrf.sh \
		benches/scale.sh target/bench/tasks library tasks-together:16 tasks-paired:16 tasks
	benches/report.py write BENCHMARKS.md target/bench tasks

churn: bench-programs
	tests/with-vrf.sh --stock benches/churn.sh target/bench/churn
	benches/report.py write BENCHMARKS.md target/bench churn

bench-smoke: bench-programs programs
	$(CARGO) test --locked --package vrfbind-tests -- bench.sh

races: build-packages programs
	VRFBIND_TRIALS=100000 VRFBIND_TEST_TIER=lo VRFBIND_TEST_DEVICE=lo VRFBIND_TEST_LIB=$(CURDIR)/$(library) \
		target/c-tests/gnu/races

# Not optimised, so that an overflow is a panic.
fuzz:
	VRFBIND_FUZZ=100000 $(CARGO) test --locked --package vrfbind-cli --bin vrfbind -- --test-threads=1 mutated_

DIST ?= $(CURDIR)/target/dist
version := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
tarball := $(DIST)/vrfbind-$(version).tar.gz

dist:
	mkdir -p $(DIST)
	git archive --prefix=vrfbind-$(version)/ HEAD | gzip -9n >$(tarball)

# Without make's own flags, and the settings that this Makefile exports. Debian's Rust may be older than what the build
# needs, so its packages are not asked for; debhelper's HOME is another one, where no toolchain is.
deb: dist
	rm -rf $(DIST)/vrfbind-$(version)
	tar -C $(DIST) -xzf $(tarball)
	cd $(DIST)/vrfbind-$(version) && env -u MAKEFLAGS -u MAKELEVEL -u CARGO_TARGET_DIR \
		CARGO_HOME="$${CARGO_HOME:-$$HOME/.cargo}" RUSTUP_HOME="$${RUSTUP_HOME:-$$HOME/.rustup}" \
		dpkg-buildpackage --build=binary --no-sign --no-check-builddeps
	rm -rf $(DIST)/vrfbind-$(version)

test-package:
	tests/packages.sh build package
	tests/package.sh
	tests/apkbuild.sh

without_circles := c-tests rules src cli/src

lint:
	$(CARGO) fmt --check
	$(CARGO) fmt --check --manifest-path benches/redhook-baseline/Cargo.toml
	$(CARGO) clippy --locked --all-targets --workspace -- -D warnings
	tests/import-circles.py $(without_circles)
	shellcheck -x $$(git ls-files | xargs grep -lE '^#!(/usr/bin/env bash|/bin/sh)')

install: all
	$(INSTALL) -D -m 0644 $(library) $(DESTDIR)$(LIBDIR)/libvrfbind.so
	$(INSTALL) -D -m 0755 $(command) $(DESTDIR)$(BINDIR)/vrfbind
	$(INSTALL) -D -m 0755 $(command)-probe $(DESTDIR)$(LIBEXECDIR)/vrfbind/vrfbind-probe
	$(INSTALL) -D -m 0644 man/libvrfbind.7 $(DESTDIR)$(MANDIR)/man7/libvrfbind.7
	$(INSTALL) -D -m 0644 man/vrfbind.1 $(DESTDIR)$(MANDIR)/man1/vrfbind.1
	$(INSTALL) -D -m 0644 $(completions)/vrfbind $(DESTDIR)$(BASHDIR)/vrfbind
	$(INSTALL) -D -m 0644 $(completions)/_vrfbind $(DESTDIR)$(ZSHDIR)/_vrfbind
	$(INSTALL) -D -m 0644 $(completions)/vrfbind.fish $(DESTDIR)$(FISHDIR)/vrfbind.fish
	$(INSTALL) -D -m 0644 LICENSE-MIT $(DESTDIR)$(DOCDIR)/LICENSE-MIT
	$(INSTALL) -D -m 0644 LICENSE-APACHE $(DESTDIR)$(DOCDIR)/LICENSE-APACHE
	$(refresh)

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/libvrfbind.so $(DESTDIR)$(MANDIR)/man7/libvrfbind.7
	rm -f $(DESTDIR)$(BINDIR)/vrfbind $(DESTDIR)$(MANDIR)/man1/vrfbind.1
	rm -f $(DESTDIR)$(LIBEXECDIR)/vrfbind/vrfbind-probe
	-rmdir $(DESTDIR)$(LIBEXECDIR)/vrfbind
	rm -f $(DESTDIR)$(BASHDIR)/vrfbind $(DESTDIR)$(ZSHDIR)/_vrfbind $(DESTDIR)$(FISHDIR)/vrfbind.fish
	rm -f $(DESTDIR)$(DOCDIR)/LICENSE-MIT $(DESTDIR)$(DOCDIR)/LICENSE-APACHE
	-rmdir $(DESTDIR)$(DOCDIR)
	$(refresh)

clean:
	$(CARGO) clean
