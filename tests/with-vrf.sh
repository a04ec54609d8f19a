#!/usr/bin/env bash
# with-vrf.sh [--stock] COMMAND [ARGUMENT...] - runs COMMAND as root on a kernel that has VRFs
# with-vrf.sh --prepare                       - installs and downloads what that needs here
# with-vrf.sh --machines PROGRAM...           - prints the machine of each test program, a line each
#
# The kernel that runs is used if we are root and a VRF can be made, tried in a network namespace of its own; nothing is left of
# it. Else a machine of tests/machine.sh: user-mode Linux, where it suffices. A stock Debian kernel with --stock; for the
# programs of tests/machines/uml-lacks, if one of them is a word of COMMAND; for everything if VRFBIND_VM_KERNEL names
# a kernel; and where user-mode Linux does not come up.
#
# COMMAND finds the library, the command and the C programs by VRFBIND_TEST_LIB, VRFBIND_TEST_COMMAND and VRFBIND_TEST_BIN, and
# starts in the project's root directory.
#
# Exit status: COMMAND's; 77 when there is neither VRF nor machine (machine.sh has printed why).
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

# modprobe and ip lie in sbin, which is not in the PATH of every user.
export PATH=$PATH:/usr/sbin:/sbin
export VRFBIND_TEST_LIB=${VRFBIND_TEST_LIB:-$PWD/target/release/libvrfbind.so}
export VRFBIND_TEST_COMMAND=${VRFBIND_TEST_COMMAND:-$PWD/target/release/vrfbind}
export VRFBIND_TEST_BIN=${VRFBIND_TEST_BIN:-$PWD/target/c-tests/gnu}

has_vrf() { [ -z "${VRFBIND_VM_KERNEL-}" ] && unshare --net -- ip link add vrf-probe type vrf table 1 2>/dev/null; }

# The name of a program in tests/machines/uml-lacks, and in the harness (tests/harness/programs.rs).
name() {
	local name=${1##*/}
	[ "$name" != run ] || name=example-$(basename "$(dirname "$1")")
	echo "$name"
}

suffices() {
	local word
	[ -z "${VRFBIND_VM_KERNEL-}" ] || return
	for word; do
		! grep -q "^$(name "$word") *|" tests/machines/uml-lacks || return
	done
}

case ${1-} in
'')
	echo 'vrfbind-tests: usage: tests/with-vrf.sh COMMAND [ARGUMENT...]' >&2
	exit 2
	;;
--prepare)
	tests/busybox.sh static >/dev/null
	tests/busybox.sh dynamic >/dev/null
	! has_vrf || exit 0
	tests/packages.sh vm
	[ -n "${VRFBIND_VM_KERNEL-}" ] || tests/machine.sh uml --prepare
	tests/machine.sh qemu --prepare
	;;
--machines)
	shift
	native=''
	! has_vrf || native=1
	for program; do
		if [ -n "$native" ]; then echo native; elif suffices "$program"; then echo uml; else echo qemu; fi
	done
	;;
*)
	stock=''
	[ "$1" != --stock ] || { stock=1; shift; }
	! has_vrf || exec tests/machine.sh native "$@"
	status=125
	[ -n "$stock" ] || ! suffices "$@" || { status=0; tests/machine.sh uml "$@" || status=$?; }
	[ "$status" -ne 125 ] || { status=0; tests/machine.sh qemu "$@" || status=$?; }
	# No machine has started.
	[ "$status" -ne 125 ] || status=77
	exit "$status"
	;;
esac
