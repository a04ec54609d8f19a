#!/usr/bin/env bash
# netns.sh [--vrf] PROGRAM [ARGUMENT...]
#
# Runs a test program on the netns tier: between two veth devices, or two VRFs with --vrf. The caller has made a new
# network namespace for us (`unshare --net`, as root or with a user namespace) and is the only one in it, so nothing has
# to be undone: the devices go with the namespace.
set -euo pipefail

ip link set lo up
if [ "$1" = --vrf ]; then
	shift
	ip link add blue type vrf table 101
	ip link add red type vrf table 102
	ip link set blue up
	ip link set red up
	# No peer is in these VRFs: a connect() need not try for two minutes.
	echo 1 >/proc/sys/net/ipv4/tcp_syn_retries
else
	ip link add blue type veth peer name blue-peer
	ip link add red type veth peer name red-peer
	for device in blue blue-peer red red-peer; do
		ip link set "$device" up
	done
fi

export VRFBIND_TEST_DEVICE=blue VRFBIND_TEST_OTHER=red
exec "$@"
