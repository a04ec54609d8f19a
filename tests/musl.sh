#!/usr/bin/env bash
# musl.sh build [arm64]|run|newer - a dnsmasq and a busybox that are built with musl, in VRFs, under the same library
#
# build: fetches Debian's sources of both, of the release that this machine's apt uses, and builds them with musl-gcc
# into target/musl: dnsmasq without what Debian adds by other libraries (D-Bus, DNSSEC, sets of addresses), and of
# busybox nc and nslookup. arm64: that dnsmasq for arm64 (musl-gcc.sh), into target/musl-arm64.
# run: is run by topology.sh (`make test-musl`). Speaks TAP: first ss(8) says where busybox listens, then
# c-tests/daemons/two_dnsmasqs.c drives that dnsmasq instead of Debian's, and looks at its sockets, its answers and at what its
# clients get.
# newer: the C tests of `make test`'s lo tier with musl 1.2.5, which is Debian 13's (musl-gcc.sh), where Debian 12 has
# 1.2.3. Speaks TAP, a point for each program. In a mount namespace of its own, that musl is where the installed one is.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
# shellcheck source=tests/debian.sh
. tests/debian.sh

work=$PWD/target/musl
[ "${2-}" != arm64 ] || work=$PWD/target/musl-arm64
dnsmasq=$work/sbin/dnsmasq
busybox=$work/bin/busybox

fetch() {
	debian_lists '' '' deb-src
	(cd "$work" && apt-get "${apt[@]}" source --download-only "$@")
}

is_musl() {
	readelf --wide --program-headers "$1" | grep -q 'interpreter: /lib/ld-musl-' &&
		readelf --wide --dynamic "$1" | grep -q '(NEEDED).*\[libc\.so\]'
}

# listens_on ADDRESS [NAME=VALUE...] - where busybox listens, by ss(8), with these variables
listens_on() {
	local expected=$1 pid found=''
	shift
	env "$@" "$busybox" nc -l -p 7777 </dev/null &
	pid=$!
	# It is there when ss shows it, or it has ended.
	while [ -z "$found" ] && kill -0 "$pid" 2>/dev/null; do
		found=$(ss --no-header --tcp --listening --numeric --processes 'sport = 7777' | grep "pid=$pid," || true)
	done
	kill "$pid"
	wait "$pid" 2>/dev/null || true
	found=$(awk '{ print $4 }' <<<"$found")
	echo "# busybox nc -l listens on $found"
	[ "$found" = "$expected" ]
}

# build_dnsmasq COMPILER...
build_dnsmasq() {
	rm -rf "$work/dnsmasq"
	dpkg-source --extract "$work"/dnsmasq_*.dsc "$work/dnsmasq" >&2
	make --directory "$work/dnsmasq" --quiet CC="$*" >&2
	is_musl "$work/dnsmasq/src/dnsmasq"
	install "$work/dnsmasq/src/dnsmasq" "$work/sbin"
}

# all_ok_of PROGRAM - on lo
all_ok_of() {
	local status=0
	VRFBIND_TEST_BIN=$newer VRFBIND_TEST_TIER=lo VRFBIND_TEST_DEVICE=lo "$newer/${1##*/}" >"$scratch/tap" 2>"$scratch/stderr" \
		</dev/null || status=$?
	cat "$scratch/stderr"
	all_ok_in "$scratch/tap" "$status"
}

# The loader says so, and that it is no program.
version_is() {
	{ "$(loader)" 2>&1 || true; } | grep -x "Version $1"
}

loader() { readelf --wide --program-headers "$newer/ask" | sed -n 's/.*interpreter: \(.*\)\]/\1/p'; }

case ${1-}${2+ $2} in
'build arm64')
	[ ! -x "$dnsmasq" ] || exit 0
	mkdir -p "$work/sbin"
	fetch dnsmasq >&2
	build_dnsmasq "$PWD/tests/musl-gcc.sh" "''" arm64
	;;
build)
	[ ! -x "$dnsmasq" ] || [ ! -x "$busybox" ] || exit 0
	mkdir -p "$work/bin" "$work/sbin"
	fetch dnsmasq busybox >&2
	# Debian's musl has no kernel headers of its own.
	cc="musl-gcc -idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)"
	build_dnsmasq "$cc"
	rm -rf "$work/busybox"
	dpkg-source --extract "$work"/busybox_*.dsc "$work/busybox" >&2
	make --directory "$work/busybox" --quiet allnoconfig >&2
	sed -i -E 's/^# (CONFIG_NC|CONFIG_NC_SERVER|CONFIG_NSLOOKUP|CONFIG_FEATURE_IPV6) is not set/\1=y/' "$work/busybox/.config"
	yes '' | make --directory "$work/busybox" --quiet oldconfig >&2 || [ "${PIPESTATUS[1]}" -eq 0 ]
	make --directory "$work/busybox" --quiet CC="$cc" SKIP_STRIP=y busybox >&2
	is_musl "$work/busybox/busybox"
	install "$work/busybox/busybox" "$work/bin"
	;;
run)
	for program in "$dnsmasq" "$busybox"; do
		is_musl "$program" || { echo "Bail out! $program is not built with musl"; exit 1; }
	done
	listens_on '*:7777' || { echo 'Bail out! busybox does not listen without the library'; exit 1; }
	listens_on "*%$VRFBIND_TEST_DEVICE:7777" VRFBIND_VRF="$VRFBIND_TEST_DEVICE" LD_PRELOAD="$VRFBIND_TEST_LIB" ||
		{ echo "Bail out! under the library busybox does not listen in $VRFBIND_TEST_DEVICE"; exit 1; }
	# Its clients are made of Debian's busybox, which has them.
	PATH=$work/sbin:$PATH exec "${VRFBIND_TEST_BIN:-$PWD/target/c-tests/gnu}/two_dnsmasqs"
	;;
newer)
	mapped=(--user --map-root-user)
	[ "$(id -u)" -ne 0 ] || mapped=()
	exec unshare "${mapped[@]}" --mount tests/musl.sh newer-here
	;;
newer-here)
	export VRFBIND_TEST_LIB=${VRFBIND_TEST_LIB:-$PWD/target/release/libvrfbind.so} VRFBIND_TRIALS=${VRFBIND_TRIALS:-1000}
	newer=$PWD/target/c-tests/musl-1.2.5
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	unset LD_PRELOAD
	# shellcheck source=tests/tap.sh
	. tests/tap.sh
	c-tests/build.sh make musl "$newer" "$PWD/tests/musl-gcc.sh" trixie amd64
	mount --bind "$(tests/musl-gcc.sh trixie amd64 --libc)" "$(realpath "$(loader)")"
	mapfile -t programs < <(c-tests/build.sh list musl lo)
	echo "1..$((${#programs[@]} + 1))"
	point 'their libc is musl 1.2.5' version_is 1.2.5
	for program in "${programs[@]}"; do
		point "$program, with that" all_ok_of "$program"
	done
	exit "$all_ok"
	;;
*)
	echo 'vrfbind-tests: usage: tests/musl.sh build [arm64]|run|newer' >&2
	exit 2
	;;
esac
