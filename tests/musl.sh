#!/usr/bin/env bash
# musl.sh build|run - a dnsmasq and a busybox that are built with musl, in VRFs, under the same library
#
# build: fetches Debian's sources of both, of the release that this machine's apt uses, and builds them with musl-gcc
# into target/musl: dnsmasq without what Debian adds by other libraries (D-Bus, DNSSEC, sets of addresses), and of
# busybox nc and nslookup.
# run: is run by topology.sh (`make test-musl`). Speaks TAP: first ss(8) says where busybox listens, then
# c-tests/daemons/two_dnsmasqs.c drives that dnsmasq instead of Debian's, and looks at its sockets, its answers and at what its
# clients get.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
# shellcheck source=tests/debian.sh
. tests/debian.sh

work=$PWD/target/musl
dnsmasq=$work/sbin/dnsmasq
busybox=$work/bin/busybox

fetch() {
	debian_lists '' '' deb-src
	(cd "$work" && apt-get "${apt[@]}" source --download-only dnsmasq busybox)
}

is_musl() {
	readelf --wide --program-headers "$1" | grep -q 'interpreter: /lib/ld-musl-'
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

case ${1-} in
build)
	[ ! -x "$dnsmasq" ] || [ ! -x "$busybox" ] || exit 0
	mkdir -p "$work/bin" "$work/sbin"
	fetch >&2
	# Debian's musl has no kernel headers of its own.
	cc="musl-gcc -idirafter /usr/include -idirafter /usr/include/$(gcc -print-multiarch)"
	rm -rf "$work/dnsmasq" "$work/busybox"
	dpkg-source --extract "$work"/dnsmasq_*.dsc "$work/dnsmasq" >&2
	make --directory "$work/dnsmasq" --quiet CC="$cc" >&2
	dpkg-source --extract "$work"/busybox_*.dsc "$work/busybox" >&2
	make --directory "$work/busybox" --quiet allnoconfig >&2
	sed -i -E 's/^# (CONFIG_NC|CONFIG_NC_SERVER|CONFIG_NSLOOKUP|CONFIG_FEATURE_IPV6) is not set/\1=y/' "$work/busybox/.config"
	yes '' | make --directory "$work/busybox" --quiet oldconfig >&2 || [ "${PIPESTATUS[1]}" -eq 0 ]
	make --directory "$work/busybox" --quiet CC="$cc" SKIP_STRIP=y busybox >&2
	is_musl "$work/dnsmasq/src/dnsmasq"
	is_musl "$work/busybox/busybox"
	install "$work/dnsmasq/src/dnsmasq" "$work/sbin"
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
*)
	echo 'vrfbind-tests: usage: tests/musl.sh build|run' >&2
	exit 2
	;;
esac
