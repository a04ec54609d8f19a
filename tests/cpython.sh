#!/usr/bin/env bash
# cpython.sh - CPython's own tests give the same results under the library as without it
#
#   where                               device                under            compared with
#   here (VRFBIND_TEST_TIER unset, lo)  lo                    the library      no preload
#   topology.sh (VRFBIND_TEST_TIER=vrf) $VRFBIND_TEST_DEVICE  the library      ip vrf exec
#
# Here the suites are test_socket, test_asyncio and test_subprocess; in the VRF, which gets loopback addresses of its own
# for it, test_socket. Output is TAP: one test point for the devices of python3's sockets in either
# world, then one for each suite.
#
# How it works, in order:
#   1. Run a suite in both worlds, one after the other, as CPython's own runner does it. Its JUnit report gives the result
#      of every test: passed, skipped, failure or error.
#   2. Run tests whose results differ again, without the others, up to 3 times. One that comes out alike in the two
#      worlds once is not due to the library: a time limit on a busy machine, a port that was taken.
#   3. What is left fails the suite's test point. There is no list of excused differences, for there is none to excuse.
#
# The tests run as an ordinary user (nobody, when this is started as root): the kernel lets root bind a socket again to
# whatever it likes, and others not (CAP_NET_RAW), so that root would not see what the library takes away.
# The runner's `network` resource is off. Tests of AF_VSOCK are left out: they do not use IP, and without any preload
# test_socket's hang on Linux 6.18 in a virtual machine (ThreadedVSOCKSocketStreamTest).
#
# python3 is Debian's, because libpython3.11-testsuite goes with it.
#
# Exit status: 0 all ok, 1 not, 2 when something is missing.
#
# shellcheck disable=SC2317  # the worlds are called by name
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

python=/usr/bin/python3
library=${VRFBIND_TEST_LIB:-$PWD/target/release/libvrfbind.so}
# For one suite in one world.
limit=$((10 * ${VRFBIND_TEST_LIMIT:-120}))
device=lo
suites=(test_socket test_asyncio test_subprocess)
reference=without
said='without it'
if [ "${VRFBIND_TEST_TIER-lo}" = vrf ]; then
	device=$VRFBIND_TEST_DEVICE
	suites=(test_socket)
	reference=yardstick
	said='under ip vrf exec'
	ip address add 127.0.0.1/8 dev "$device"
	ip address add ::1/128 dev "$device" nodad
	# The local table of the default VRF, which has lo's 127.0.0.1, is asked first unless its rule goes behind that of the
	# VRFs (Documentation/networking/vrf.rst); a packet for it would leave by lo and not be heard in the VRF.
	for family in -4 -6; do
		ip $family rule add pref 32765 table local
		ip $family rule del pref 0
	done
fi
unset LD_PRELOAD VRFBIND_VRF

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }
$python -c 'import test.test_socket' 2>/dev/null || {
	say "$python has no test suite: install libpython3.N-testsuite for its version, $($python --version)"
	exit 2
}

# The user of the tests may not enter the project's directory.
scratch=$(mktemp -d "${TMPDIR:-/tmp}/vrfbind.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
cp "$library" "$scratch/libvrfbind.so"
mkdir -m 1777 "$scratch/work"
as_user=(env "HOME=$scratch/work" "TMPDIR=$scratch/work")
[ "$(id -u)" -ne 0 ] || as_user=(setpriv --reuid=65534 --regid=65534 --clear-groups "${as_user[@]}")

# --- the worlds ---

without() { "$@"; }
yardstick() { ip vrf exec "$device" "$@"; }
under() { env "LD_PRELOAD=$scratch/libvrfbind.so" "VRFBIND_VRF=$device" "$@"; }

# results WORLD SUITE OUT [OPTION...] - writes a line `TEST RESULT` for each test to OUT, sorted
results() {
	local world=$1 suite=$2 out=$3 xml=$scratch/work/report.xml
	shift 3
	rm -f "$xml"
	# The runner's exit status is 2 when a test has failed, which may be so in both worlds.
	(cd "$scratch/work" && "$world" timeout --kill-after=10 "$limit" "${as_user[@]}" \
		$python -m test --timeout "$((limit - 20))" --tempdir "$scratch/work" \
		--ignore '*VSOCK*' --junit-xml "$xml" "$@" "$suite") \
		>"$out.log" 2>&1 </dev/null || true
	$python - "$xml" >"$out" <<-'PYTHON'
		import sys, xml.etree.ElementTree as tree
		lines = []
		for case in tree.parse(sys.argv[1]).iter("testcase"):
		    kinds = [child.tag for child in case if child.tag in ("skipped", "failure", "error")]
		    lines.append(case.get("name").replace(" ", "_") + " " + (kinds[0] if kinds else "passed") + "\n")
		sys.stdout.writelines(sorted(lines))
	PYTHON
}

# differences - prints a line `TEST RESULT RESULT-UNDER` for each test whose results differ
differences() {
	LC_ALL=C join -a1 -a2 -e missing -o 0,1.2,2.2 "$scratch/$reference" "$scratch/under" |
		while read -r name one two; do
			[ "$one" = "$two" ] || echo "$name $one $two"
		done
}

# --- test points ---

points=0
failures=0
point() {
	points=$((points + 1))
	if [ "$1" = 0 ]; then printf 'ok'; else printf 'not ok'; failures=$((failures + 1)); fi
	printf ' %d - %s\n' "$points" "${*:2}"
}

# This proves that the library is loaded, and that two different worlds are compared.
device_of() {
	"$1" "${as_user[@]}" $python -c 'import socket as s
print(s.socket().getsockopt(s.SOL_SOCKET, s.SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "none")' 2>&1
}
expected=none
[ "$reference" = without ] || expected=$device
found="$(device_of under) $(device_of "$reference")"
status=0
[ "$found" = "$device $expected" ] || status=1
point $status "the devices of python3's sockets, under the library and $said, are: $found"

for suite in "${suites[@]}"; do
	SECONDS=0
	status=0
	for world in "$reference" under; do
		results "$world" "$suite" "$scratch/$world" || status=1
	done
	if [ $status -ne 0 ]; then
		point 1 "$suite runs to its end in both worlds"
		tail -n 40 "$scratch/$world.log" | sed 's/^/# /'
		continue
	fi
	passes=$(grep -c ' passed$' "$scratch/under" || true)
	tests=$(wc -l <"$scratch/under")
	left=$(differences)
	for try in 1 2 3; do
		[ -n "$left" ] || break
		# shellcheck disable=SC2001  # a substitution in each line
		options=$(sed 's/^\([^ ]*\).*/--match \1/' <<<"$left")
		for world in "$reference" under; do
			# shellcheck disable=SC2086  # words
			results "$world" "$suite" "$scratch/$world" $options || continue 2
		done
		echo "# $suite: tests that came out differently, try $try: ${left//$'\n'/; }"
		# Two worlds without results do not agree.
		[ "$(wc -l <"$scratch/under")" -lt "$(wc -l <<<"$left")" ] || left=$(differences)
	done
	status=0
	if [ -n "$left" ] || [ "$passes" -eq 0 ]; then
		status=1
		echo "# the result $said, and under the library: ${left//$'\n'/; }"
		tail -n 60 "$scratch/under.log" | sed 's/^/# /'
	fi
	point $status "$suite: $passes of $tests tests pass on $device under the library, and the same ones" \
		"$said ($SECONDS s)"
done

echo "1..$points"
[ "$failures" -eq 0 ]
