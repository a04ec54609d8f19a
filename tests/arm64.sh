#!/usr/bin/env bash
# arm64.sh [TEST...] - aarch64 with its own kernel: the C tests with glibc and musl, the command, daemons, and the package
#
# Prints TAP (testanything.org): a point for each TEST, by default each of all_tests. `make test-arch-vm` builds library, command
# and package for aarch64, and calls this.
#
# How it works, in order: build with the cross compiler, into target/arm64/: the C tests, once with glibc and once with Debian's
# musl for arm64 (musl-gcc.sh), Go programs, and a dnsmasq with musl (musl.sh); boot the machine arm64 (machine.sh); run each
# test there. The kinds of tests:
#
#   gnu:PROGRAM, musl:PROGRAM   a C program as on the netns tier, but with VRFs for devices (netns.sh --vrf)
#   vrf:PROGRAM                 a daemon of c-tests/daemons or a script between the VRFs of topology.sh, as on the vrf tier
#   lo:SCRIPT                   a script as on the tier lo, where it looks at files
#   musl-dnsmasq, package       two_dnsmasqs with that dnsmasq; arm64-package.sh
#
# Not here: units that run, since no systemd runs in the guest. In the scripts, what takes fish, zsh or AppArmor is skipped,
# with its reason.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

release=$PWD/target/aarch64-unknown-linux-gnu/release
built=$PWD/target/arm64
# What the guest has of it: a user who is not root can look into /tmp alone.
there=/tmp/arm64
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. tests/tap.sh

# With musl those that depend on the libc most.
musl_programs='facts/libc_is_patchable library/create/families library/create/other_preloads library/create/races
	library/create/syscall_function library/existing/inherited_fds library/exec/started_programs library/log/vrfbind_log
	library/rules/moves library/rules/replaced library/rules/resolver library/seal/marker library/seal/vrfbind_seal
	library/settings/at_secure library/settings/vrfbind_vrf reach/reach_matrix'
scripts='command-exec.sh command-supervise.sh command-status.sh command-check.sh command-devices.sh command-container.sh
	command-rules.sh command-rules-supervised.sh'

all_tests() {
	local words
	c-tests/build.sh list aarch64 netns | sed 's/^/gnu:/'
	read -rd '' -a words <<<"$musl_programs" || true
	printf 'musl:%s\n' "${words[@]}"
	printf 'vrf:daemons/%s\n' name_resolution two_dnsmasqs two_radvds
	echo musl-dnsmasq
	read -rd '' -a words <<<"$scripts" || true
	printf 'vrf:%s\n' "${words[@]}"
	printf 'lo:%s\n' command-unit.sh command-completions.sh
	echo package
}

build() {
	local gnu=$built/c-tests/gnu
	c-tests/build.sh make aarch64 "$gnu" aarch64-linux-gnu-gcc
	c-tests/build.sh make musl "$built/c-tests/musl" "$PWD/tests/musl-gcc.sh" '' arm64
	if command -v go >/dev/null; then
		export GOARCH=arm64 CC=aarch64-linux-gnu-gcc GOCACHE=$built/go
		CGO_ENABLED=0 go build -o "$gnu/ask-go" c-tests/command/ask.go
		CGO_ENABLED=1 go build -o "$gnu/ask-go-dynamic" c-tests/command/ask.go
		CGO_ENABLED=1 go build -o "$gnu/reporting_child-go" c-tests/reach/reporting_child.go
		cp "$gnu/reporting_child-go" "$built/c-tests/musl"
	fi
	tests/musl.sh build arm64
	install -D -t "$built/release" "$release"/{libvrfbind.so,vrfbind,vrfbind-probe}
}

# file_of TEST - what it prints is in that file, with .out and .err behind
file_of() { echo "$built/said/${1//[:\/]/-}"; }

# words_of TEST - the words of its command, in the guest
words_of() {
	local program=${1#*:} environment=(env VRFBIND_TEST_LIB="$there/release/libvrfbind.so"
		VRFBIND_TEST_COMMAND="$there/release/vrfbind" VRFBIND_TEST_BIN="$there/c-tests/gnu" VRFBIND_TRIALS=400)
	case $1 in
	gnu:* | musl:*)
		environment+=(VRFBIND_TEST_BIN="$there/c-tests/${1%%:*}" VRFBIND_TEST_TIER=netns)
		printf '%q ' "${environment[@]}" unshare --net tests/netns.sh --vrf "$there/c-tests/${1%%:*}/${program##*/}"
		;;
	vrf:*.sh) printf '%q ' "${environment[@]}" tests/topology.sh "tests/$program" ;;
	vrf:*) printf '%q ' "${environment[@]}" tests/topology.sh "$there/c-tests/gnu/${program##*/}" ;;
	lo:*) printf '%q ' "${environment[@]}" VRFBIND_TEST_TIER=lo VRFBIND_TEST_DEVICE=lo "tests/$program" ;;
	musl-dnsmasq)
		printf '%q ' "${environment[@]}" tests/topology.sh env PATH="$PWD/target/musl-arm64/sbin:/usr/sbin:/sbin:/usr/bin:/bin" \
			"$there/c-tests/gnu/two_dnsmasqs"
		;;
	package) printf '%q ' "${environment[@]}" tests/topology.sh tests/arm64-package.sh target/dist/vrfbind_*_arm64.deb ;;
	*) return 1 ;;
	esac
}

# One after the other, to its end.
run_all() {
	{
		printf '%q ' "$built/said/prepare" sh -c "mkdir $there && cp -r $built/c-tests $built/release $there && ldconfig"
		echo
		for test in "${tests[@]}"; do
			printf '%q ' "$(file_of "$test")"
			words_of "$test"
			echo
		done
	} | tests/machine.sh arm64 --serve >&2
}

all_ok_of() {
	local out
	out=$(file_of "$1")
	cat "$out.err"
	all_ok_in "$out.out" "$(<"$out.status")"
}

tests=("$@")
[ $# -gt 0 ] || mapfile -t tests < <(all_tests)
build
rm -rf "$built/said"
mkdir -p "$built/said"
run_all || echo '# the machine ended early'
echo "1..${#tests[@]}"
for test in "${tests[@]}"; do
	point "$test on aarch64" all_ok_of "$test"
done
grep -h '# SKIP' "$built"/said/*.out | sed 's/^ok [0-9]* - /# skipped: /' || true
exit "$all_ok"
