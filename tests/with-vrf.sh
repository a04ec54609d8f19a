#!/usr/bin/env bash
# with-vrf.sh COMMAND [ARGUMENT...] - runs COMMAND as root on a kernel that has VRFs
# with-vrf.sh --prepare             - installs what that needs here
#
# The kernel that runs is used if we are root and a VRF can be made, tried in a network namespace of its own; nothing is left of
# it. Else, and always if VRFBIND_VM_KERNEL names a kernel, a VM with a Debian kernel is booted (vm.sh). COMMAND finds the
# library, the command and the C programs by VRFBIND_TEST_LIB, VRFBIND_TEST_COMMAND and VRFBIND_TEST_BIN, and starts in
# the project's root folder.
#
# Exit status: COMMAND's; 77 when there is neither VRF nor VM (vm.sh has said why).
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

# modprobe and ip lie in sbin, which is not in the PATH of every user.
export PATH=$PATH:/usr/sbin:/sbin
export VRFBIND_TEST_LIB=${VRFBIND_TEST_LIB:-$PWD/target/release/libvrfbind.so}
export VRFBIND_TEST_COMMAND=${VRFBIND_TEST_COMMAND:-$PWD/target/release/vrfbind}
export VRFBIND_TEST_BIN=${VRFBIND_TEST_BIN:-$PWD/target/c-tests/gnu}

has_vrf() { [ -z "${VRFBIND_VM_KERNEL-}" ] && unshare --net -- ip link add vrf-probe type vrf table 1 2>/dev/null; }

case ${1-} in
'')
	echo 'vrfbind-tests: usage: tests/with-vrf.sh COMMAND [ARGUMENT...]' >&2
	exit 2
	;;
--prepare)
	has_vrf || tests/packages.sh vm
	;;
*)
	has_vrf && exec "$@"
	status=0
	tests/vm.sh --limit "${VRFBIND_VM_LIMIT:-2000}" -- "$@" || status=$?
	# 125: no guest came up.
	[ "$status" -ne 125 ] || status=77
	exit "$status"
	;;
esac
