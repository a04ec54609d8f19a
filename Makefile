# What there is to make: `make help` prints these lines.
#
# make              target/release: libvrfbind.so, the commands vrfbind and vrfbind-probe; completions
# make ARCH=...     the library for aarch64, i686 or riscv64, and the commands for aarch64, below target/
# make install      library, command, manual pages, completions, licences below $(DESTDIR)$(PREFIX)
# make uninstall    removes them
# make dist         a tarball of what is committed, into target/dist
# make deb          the Debian package of that tarball, into target/dist; ARCH=aarch64 for arm64
# make man          the options in man/vrfbind.1, from the definition of the command line
# make clean        removes target/
#
# make demo         two VRFs with the same subnet, dnsmasq and radvd in each: shows every socket's device
# make evenet       an edge device with six networks, overlapping subnets and two VPNs; KEEP=1 leaves it up, with a shell;
#                   TASKS=containerd runs its daemons as containerd tasks as well
# make compare      `ip vrf exec` and the library side by side
# make reach        every way to a socket, and what becomes of it: library, vrfbind exec, ip vrf exec; glibc, musl
#
# make test         every test on every tier; VRFBIND_MUST_RUN=1 forbids skips
# make test-more    what takes longer: the rest of 16 packaged services in a VRF, the rest of 15 daemons in several; make fuzz
# make test-kernels the tests that require a VRF, on the kernels of Debian 11, 12 and 13, each in a VM
# make test-arch ARCH=...  the C tests for another architecture, as far as they run here
# make test-arch-vm C tests (glibc, musl), the command, daemons and the package on aarch64 with its own kernel, in a VM
# make test-musl    the C tests with the musl of Debian 13; a dnsmasq and a busybox that are built with musl, in VRFs
# make test-containers  podman, containerd, Docker and OCI bundles, with containers in VRFs
# make test-package builds the Debian package twice, installs and removes it; and what apk/APKBUILD builds
# make races        100,000 trials of each race: threads, signal handlers, forks
# make fuzz         100,000 broken inputs for each reader of files, messages and settings of others
# make lint         rustfmt, clippy, shellcheck, and no circles of imports
#
# make bench        writes BENCHMARKS.md: what a call, a start and a process cost, here and in a VRF
# make bench-smoke  hardly any rounds of it: is the harness in order, and has BENCHMARKS.md its rows?
# make scale        256 networks with the same subnet, a dnsmasq and a radvd in each, into BENCHMARKS.md
# make scale-tasks  its part with 512 containerd tasks
# make churn        1,000 VRFs created and removed under daemons: nothing leaves, nothing leaks; into BENCHMARKS.md
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
built = target/$(if $(ARCH),$(triple)/)release
library = $(built)/libvrfbind.so
command = $(built)/vrfbind
completions = target/$(if $(ARCH),$(triple)/)completions

# So that ld.so finds it by its bare name. glibc looks /usr/local/lib up in its cache; musl has none.
ldconfig = @[ -n "$(DESTDIR)" ] || ! command -v ldconfig >/dev/null || ldconfig

container_parts := podman rootless bundles containerd docker
.PHONY: all help man native cross test-arch demo test test-kernels test-musl test-arch-vm test-containers test-package dist deb bench bench-programs \
	bench-smoke scale scale-tasks churn compare reach evenet races fuzz test-more lint install uninstall clean build-packages test-packages programs \
	images container-image $(addprefix test-containers-,$(container_parts) unit example tasks evenet)

.DEFAULT_GOAL := all

help:
	@sed -n '/^# make /s/^# //p; /^#   /s/^# //p; /^$$/q' Makefile

man:
	VRFBIND_WRITE_MANUAL=1 $(CARGO) test --locked --package vrfbind-cli --bin vrfbind manual::

# Two calls: in one, cargo would give the library the features that the command asks of a common dependency.
# The command is linked statically, and not to be moved by the kernel: `vrfbind exec` is done before ld.so would have
# loaded and relocated it (make compare), and the same file runs where musl is.
all: $(if $(ARCH),cross,native)

# `make test-arch ARCH=...` takes the native ones too.
native: override ARCH :=
native:
	$(CARGO) build --release --locked --package vrfbind
	$(CARGO) rustc --release --locked --package vrfbind-cli --bin vrfbind -- \
		-C target-feature=+crt-static -C relocation-model=static
	$(CARGO) build --release --locked --package vrfbind-cli --bin vrfbind-probe
	$(make_completions)

define make_completions
mkdir -p $(completions)
$(runs) $(command) completions bash >$(completions)/vrfbind
$(runs) $(command) completions zsh >$(completions)/_vrfbind
$(runs) $(command) completions fish >$(completions)/vrfbind.fish
endef

ARCH ?=
triple_aarch64 := aarch64-unknown-linux-gnu
triple_i686 := i686-unknown-linux-gnu
triple_riscv64 := riscv64gc-unknown-linux-gnu
triple = $(or $(triple_$(ARCH)),$(error ARCH=$(ARCH) is none of aarch64, i686, riscv64))
triple_env = $(shell echo $(triple) | tr a-z- A-Z_)
# Debian's compiler links, since only it knows the libc of that architecture.
cross = CARGO_TARGET_$(triple_env)_LINKER=$(ARCH)-linux-gnu-gcc $(CARGO)

cross:
	tests/packages.sh build $(ARCH)
	! command -v rustup >/dev/null || rustup --quiet target add $(triple)
	$(cross) build --release --locked --package vrfbind --target $(triple)
ifeq ($(ARCH),aarch64)
	$(cross) rustc --release --locked --package vrfbind-cli --bin vrfbind --target $(triple) -- \
		-C target-feature=+crt-static -C relocation-model=static
	$(cross) build --release --locked --package vrfbind-cli --bin vrfbind-probe --target $(triple)
	$(make_completions)
endif

# The command that runs a program of that architecture here.
runs = $(if $(ARCH),$(runner))
runner_i686 := /usr/i686-linux-gnu/lib/ld-linux.so.2 --library-path /usr/i686-linux-gnu/lib
runner = $(or $(runner_$(ARCH)),qemu-$(ARCH)-static -L /usr/$(ARCH)-linux-gnu)

test-arch: cross programs
	CARGO_TARGET_$(triple_env)_RUNNER='$(runner)' $(cross) test --locked --package vrfbind --package vrfbind-rules --target $(triple)
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

$(if $(filter-out containerd,$(TASKS)),$(error TASKS=$(TASKS) is not containerd))

evenet: test-packages all $(if $(TASKS),container-image)
	$(if $(filter 1,$(KEEP)),examples/evenet/keep $(TASKS),$(if $(TASKS),VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-4G}) \
		tests/with-vrf.sh examples/evenet/run $(if $(TASKS),library ip-vrf netns $(TASKS)))

container-image: programs
	tests/packages.sh containers
	tests/containers.sh build debian

test: test-packages all bench-programs images
	$(CARGO) test --locked --workspace

# What the tests of containers take on the vrf tier.
images: test-packages programs
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
	tests/packages.sh arch-vm musl package
	$(MAKE) cross ARCH=aarch64
	$(MAKE) deb ARCH=aarch64
	tests/arm64.sh

test-musl: test-packages programs
	tests/packages.sh musl
	tests/musl.sh build
	tests/musl.sh newer
	tests/with-vrf.sh tests/topology.sh tests/musl.sh run
	tests/with-vrf.sh tests/topology.sh tests/rules-daemons.sh musl-dnsmasq musl-libc

test-containers: test-packages bench-programs images
	tests/packages.sh containers
	$(MAKE) --jobs=2 --keep-going $(addprefix test-containers-,$(container_parts) unit example tasks evenet)

# As the harness does, on two machines side by side.
with_vrf = VRFBIND_VM_MEMORY=$${VRFBIND_VM_MEMORY:-4G} tests/with-vrf.sh tests/topology.sh
$(addprefix test-containers-,$(container_parts)): test-containers-%: ; $(with_vrf) tests/containers.sh all $*
test-containers-unit: ; $(with_vrf) tests/container-unit.sh
test-containers-example: ; $(with_vrf) examples/containerd/run
test-containers-tasks: ; $(with_vrf) tests/bench.sh tasks
test-containers-evenet: ; $(with_vrf) tests/evenet.sh containerd

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
scale-tasks: bench-programs container-image
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

debian_aarch64 := arm64
debian_arch = $(or $(debian_$(ARCH)),$(error there is no package for ARCH=$(ARCH)))

# Without make's own flags, and the settings that this Makefile exports. Debian's Rust may be older than what the build
# needs, so its packages are not asked for; debhelper's HOME is another one, where no toolchain is.
deb: dist
	rm -rf $(DIST)/vrfbind-$(version)
	tar -C $(DIST) -xzf $(tarball)
	cd $(DIST)/vrfbind-$(version) && env -u MAKEFLAGS -u MAKELEVEL -u MAKEOVERRIDES -u ARCH -u CARGO_TARGET_DIR \
		CARGO_HOME="$${CARGO_HOME:-$$HOME/.cargo}" RUSTUP_HOME="$${RUSTUP_HOME:-$$HOME/.rustup}" \
		dpkg-buildpackage --build=binary --no-sign --no-check-builddeps $(if $(ARCH),--host-arch $(debian_arch))
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

# What `make` has built: root, by sudo, may have no cargo.
install:
	@[ -e $(library) ] && [ -e $(command) ] || { echo 'vrfbind: nothing is built; run `make` first' >&2; exit 1; }
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
	$(ldconfig)

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/libvrfbind.so $(DESTDIR)$(MANDIR)/man7/libvrfbind.7
	rm -f $(DESTDIR)$(BINDIR)/vrfbind $(DESTDIR)$(MANDIR)/man1/vrfbind.1
	rm -f $(DESTDIR)$(LIBEXECDIR)/vrfbind/vrfbind-probe
	-rmdir $(DESTDIR)$(LIBEXECDIR)/vrfbind
	rm -f $(DESTDIR)$(BASHDIR)/vrfbind $(DESTDIR)$(ZSHDIR)/_vrfbind $(DESTDIR)$(FISHDIR)/vrfbind.fish
	rm -f $(DESTDIR)$(DOCDIR)/LICENSE-MIT $(DESTDIR)$(DOCDIR)/LICENSE-APACHE
	-rmdir $(DESTDIR)$(DOCDIR)
	$(ldconfig)

clean:
	$(CARGO) clean
