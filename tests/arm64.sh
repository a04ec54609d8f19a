#!/usr/bin/env bash
# arm64.sh LIBRARY [PROGRAM...] - the C tests on aarch64 with its own kernel: seccomp, seals and VRFs
#
# Prints TAP (testanything.org): a point for each PROGRAM, by default each that c-tests/programs.txt lists for `aarch64`
# and the netns tier. `make test-arch-vm` builds LIBRARY and calls this.
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
[ $# -gt 0 ] || mapfile -t programs < <(c-tests/build.sh list aarch64 netns)

# One after the other, to its end. A user who is not root can look into /tmp alone.
# shellcheck disable=SC2016  # for the guest
run_all() {
	rm -rf "$said"
	mkdir -p "$said"
	{
		printf '%q ' "$said/prepare" cp -r "$bin" "$library" /tmp/
		echo
		for program in "${programs[@]}"; do
			printf '%q ' "$said/${program##*/}" env VRFBIND_TEST_LIB="/tmp/$(basename "$library")" VRFBIND_TEST_BIN=/tmp/aarch64-vm \
				VRFBIND_TEST_TIER=netns VRFBIND_TRIALS=400 \
				unshare --net tests/netns.sh --vrf "/tmp/aarch64-vm/${program##*/}"
			echo
		done
	} | tests/machine.sh arm64 --serve >&2
}

# all_ok_of PROGRAM - as many points as planned, each ok, and the exit status 0
all_ok_of() {
	local out=$said/${1##*/}
	grep -v '^ok' "$out.out" || true
	cat "$out.err"
	[ "1..$(grep -c '^ok ' "$out.out")" = "$(grep '^1\.\.' "$out.out")" ]
	not grep '^not ok' "$out.out"
	[ "$(cat "$out.status")" = 0 ]
}

c-tests/build.sh make aarch64 "$bin" aarch64-linux-gnu-gcc
run_all || echo '# the machine ended early'
echo "1..${#programs[@]}"
for program in "${programs[@]}"; do
	point "$program, on aarch64, on a VRF" all_ok_of "$program"
done
grep -h '# SKIP' "$said"/*.out | sed 's/^ok [0-9]* - /# skipped: /' || true
exit "$all_ok"
