#!/usr/bin/env bash
# netns.sh PROGRAM [ARGUMENT...]
#
# Runs a test program on the netns tier. The caller has made a new network namespace for us
# (`unshare --net`, as root or with a user namespace) and is the only one in it, so nothing has to be
# undone: the devices go with the namespace.
set -euo pipefail

ip link set lo up
ip link add blue type veth peer name blue-peer
ip link add red type veth peer name red-peer
for device in blue blue-peer red red-peer; do
	ip link set "$device" up
done

export VRFBIND_TEST_DEVICE=blue VRFBIND_TEST_OTHER=red
exec "$@"
