#!/usr/bin/env bash
# arch-vm.sh LIBRARY [PROGRAM...] - the C tests on aarch64 with its own kernel: seccomp, seals and VRFs
#
# Speaks TAP (testanything.org): a point for each PROGRAM, by default each that c-tests/programs.txt lists for `aarch64`
# and the netns tier. `make test-arch-vm` builds LIBRARY and calls this.
#
# How it works, in order: take Debian's arm64 kernel, glibc, coreutils, dash, iproute2 and others, and busybox for the rest,
# unpacked into target/arch-vm without an installation; compile the C tests with Debian's cross compiler; put all of that
# into an initramfs; boot it in qemu with an emulated CPU. Its init makes the VRFs blue and red, runs the programs as on
# the netns tier, with blue as their device, and writes what they say to the console, between marks. The guest has no
# other disk, no network but lo, and no cgroups. busybox comes last in its PATH, for it is static: nothing can be preloaded
# into it.
# shellcheck disable=SC2317  # the function is called by point(), which takes its name
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

library=$(realpath -- "$1")
shift
work=$PWD/target/arch-vm
archive_state=$work/apt
bin=$PWD/target/c-tests/aarch64-vm
root=$work/root
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. tests/tap.sh

programs=("$@")
[ $# -gt 0 ] || mapfile -t programs < <(c-tests/build.sh list aarch64 netns)

# Debian's packages for arm64, of the release that this machine's apt uses.
fetch() {
	local uri codename kernel apt deb
	# shellcheck disable=SC2016  # apt's own variables
	read -r uri codename < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' \
		'Origin: Debian' 'Label: Debian' | sort -u)
	[ -n "$codename" ] || { echo 'vrfbind-tests: apt names no Debian archive: run apt-get update' >&2; return 1; }
	mkdir -p "$archive_state/lists/partial" "$archive_state/cache/archives/partial"
	touch "$archive_state/status"
	echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $codename main" >"$archive_state/sources"
	apt=(-o "Dir::Etc::SourceList=$archive_state/sources" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$archive_state/lists" -o "Dir::State::status=$archive_state/status"
		-o "Dir::Cache=$archive_state/cache" -o APT::Architecture=arm64 -o APT::Architectures=arm64
		-o APT::Sandbox::User=root --quiet)
	apt-get "${apt[@]}" update
	# As if nothing were installed: with all that they depend on.
	apt-get "${apt[@]}" install --yes --no-install-recommends --download-only dash coreutils mount \
		iproute2 libcap2-bin busybox-static
	kernel=$(apt-cache "${apt[@]}" depends linux-image-arm64 | sed -n 's/.*Depends: \(linux-image-[0-9][^ ]*\).*/\1/p')
	rm -rf "$work/kernel" "$work/kernel.partial" "$root.partial"
	mkdir -p "$work/kernel.partial" "$root.partial"
	(cd "$work/kernel.partial" && apt-get "${apt[@]}" download "$kernel" && dpkg-deb --extract ./*.deb . && rm ./*.deb)
	for deb in "$archive_state"/cache/archives/*.deb; do
		dpkg-deb --extract "$deb" "$root.partial"
	done
	rm -rf "$root.partial"/usr/share "$root.partial"/var
	mv "$work/kernel.partial" "$work/kernel"
	mv "$root.partial" "$root"
}

# init, to $1.
write_init() {
	cat >"$1" <<-'INIT'
		#!/bin/dash
		export PATH=/usr/bin:/bin:/usr/sbin:/sbin:/busybox
		ln -sf dash /bin/sh
		mkdir -p /busybox
		/bin/busybox --install -s /busybox
		mkdir -p /proc /sys /dev /tmp /run /mnt /var/tmp
		mount -t proc proc /proc
		mount -t sysfs sysfs /sys
		mount -t devtmpfs devtmpfs /dev
		mkdir -p /dev/shm /dev/pts
		mount -t tmpfs tmpfs /dev/shm
		mount -t tmpfs tmpfs /tmp
		mount -t tmpfs tmpfs /run
		chmod 1777 /tmp
		ln -sf /proc/self/fd /dev/fd
		for module in $(cat /modules); do insmod $module; done
		echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
		# Nobody is in these VRFs: a connect() need not be tried for two minutes.
		echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
		ip link set lo up
		ip link add blue type vrf table 101
		ip link add red type vrf table 102
		ip link set blue up
		ip link set red up
		export VRFBIND_TEST_TIER=netns VRFBIND_TEST_DEVICE=blue VRFBIND_TEST_OTHER=red
		# Single steps are slow where the CPU is emulated: the default takes more than the limit of a child.
		export VRFBIND_TRIALS=400
		export VRFBIND_TEST_LIB=/tests/libvrfbind.so VRFBIND_TEST_BIN=/tests
		echo "@@ Linux $(uname -r) $(uname -m)"
		for program in $(cat /programs); do
			echo "@@ begin $program"
			timeout 600 /tests/${program##*/} 2>&1 </dev/null
			echo "@@ end $program $?"
		done
		poweroff -f
	INIT
	chmod +x "$1"
}

make_initramfs() {
	local into=$scratch/initramfs version module
	cp -a "$root" "$into"
	mkdir -p "$into/tests" "$into/modules.d" "$into/etc"
	cp "$bin"/* "$library" "$into/tests"
	version=$(cd "$work/kernel/boot" && echo vmlinuz-*)
	version=${version#vmlinuz-}
	depmod -b "$work/kernel" "$version"
	for module in vrf veth dummy; do
		modprobe --dirname "$work/kernel" --set-version "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' >"$scratch/modules"
	while read -r module; do
		cp "$module" "$into/modules.d"
		echo "/modules.d/$(basename "$module")"
	done <"$scratch/modules" >"$into/modules"
	printf '%s\n' "${programs[@]}" >"$into/programs"
	printf 'root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$into/etc/passwd"
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$into/etc/group"
	write_init "$into/init"
	(cd "$into" && find . -print0 | cpio --null --create --format=newc --quiet) | gzip -1 >"$work/initramfs"
}

# all_ok_of PROGRAM - as many points as planned, each ok, and the exit status 0
all_ok_of() {
	sed -n "\,^@@ begin $1\$,,\,^@@ end $1 ,p" "$work/console" >"$scratch/said"
	grep -v '^ok' "$scratch/said" || true
	[ "1..$(grep -c '^ok' "$scratch/said")" = "$(grep '^1\.\.' "$scratch/said")" ]
	[ "$(grep -c '^not ok' "$scratch/said")" -eq 0 ]
	grep -qx "@@ end $1 0" "$scratch/said"
}

mkdir -p "$work"
[ -d "$root" ] || fetch >&2
c-tests/build.sh make aarch64 "$bin" aarch64-linux-gnu-gcc
make_initramfs
timeout "${VRFBIND_VM_LIMIT:-2000}" qemu-system-aarch64 -M virt -cpu cortex-a72 -smp 2 -m 3G \
	-display none -serial "file:$scratch/console" -no-reboot -nic none -kernel "$work"/kernel/boot/vmlinuz-* -initrd "$work/initramfs" \
	-append 'console=ttyAMA0 quiet panic=-1' </dev/null >&2
tr -d '\r' <"$scratch/console" >"$work/console"
grep -m1 '^@@ Linux' "$work/console" | sed 's/^@@/#/'
echo "1..${#programs[@]}"
for program in "${programs[@]}"; do
	point "$program, on aarch64, on a VRF" all_ok_of "$program"
done
grep -h '# SKIP' "$work/console" | sed 's/^ok [0-9]* - /# skipped: /' || true
exit "$all_ok"
