#!/usr/bin/env bash
# arm64.sh LIBRARY [PROGRAM...] - the C tests on aarch64 with its own kernel: seccomp, seals and VRFs
#
# Speaks TAP (testanything.org): a point for each PROGRAM, by default each hook- and requires- of c-tests/. `make
# test-arch-vm` builds LIBRARY and calls this.
#
# How it works, in order: compile the C tests with Debian's cross compiler into target/; boot the machine arm64
# (machine.sh); run each program there as on the netns tier, but with VRFs for devices (netns.sh --vrf).
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

library=$(realpath -- "$1")
shift
bin=$PWD/target/c-tests/aarch64-vm
said=$PWD/target/arm64
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. tests/tap.sh

programs=("$@")
if [ $# -eq 0 ]; then
	for source in c-tests/hook-*.c c-tests/requires-*.c; do
		programs+=("$(basename "$source" .c)")
	done
fi

# Each C test, as tests/build.rs builds it.
compile() {
	local source name options
	mkdir -p "$bin"
	for source in c-tests/preload-*.c c-tests/{hook,requires,reach}-*.c c-tests/ask.c; do
		name=$(basename "$source" .c)
		options=(-ldl)
		# shellcheck disable=SC2016,SC2054  # that is the linker's
		case $name in
		preload-*) options=(-shared -fPIC "-Wl,-soname,$name.so") name+=.so ;;
		reach-needs) options=('-Wl,-rpath,$ORIGIN' -Wl,--no-as-needed "$bin/preload-reach.so") ;;
		hook-reach) options=(-ldl -lresolv) ;;
		hook-foreign) options=(-ldl -fexceptions) ;;
		esac
		aarch64-linux-gnu-gcc -std=gnu11 -O1 -g -Wall -Wextra -Werror -pthread "$source" -o "$bin/$name" "${options[@]}"
		case $name in
		ask | reach-child)
			aarch64-linux-gnu-gcc -std=gnu11 -O1 -pthread -static "$source" -o "$bin/$name-static"
			;;
		esac
	done
}

# One after the other, to its end. A user who is not root can look into /tmp alone.
# shellcheck disable=SC2016  # for the guest
run_all() {
	rm -rf "$said"
	mkdir -p "$said"
	{
		printf '%q ' "$said/prepare" cp -r "$bin" "$library" /tmp/
		echo
		for program in "${programs[@]}"; do
			printf '%q ' "$said/$program" env VRFBIND_TEST_LIB="/tmp/$(basename "$library")" VRFBIND_TEST_BIN=/tmp/aarch64-vm \
				VRFBIND_TEST_TIER=netns VRFBIND_TRIALS=400 \
				unshare --net tests/netns.sh --vrf "/tmp/aarch64-vm/$program"
			echo
		done
	} | tests/machine.sh arm64 --serve >&2
}

# all_ok_of PROGRAM - as many points as planned, each ok, and the exit status 0
all_ok_of() {
	local out=$said/$1
	grep -v '^ok' "$out.out" || true
	cat "$out.err"
	[ "1..$(grep -c '^ok ' "$out.out")" = "$(grep '^1\.\.' "$out.out")" ]
	not grep '^not ok' "$out.out"
	[ "$(cat "$out.status")" = 0 ]
}

compile
run_all || echo '# the machine ended early'
echo "1..${#programs[@]}"
for program in "${programs[@]}"; do
	point "$program, on aarch64, on a VRF" all_ok_of "$program"
done
grep -h '# SKIP' "$said"/*.out | sed 's/^ok [0-9]* - /# skipped: /' || true
exit "$all_ok"
