#!/usr/bin/env bash
# container-unit.sh - a systemd unit that runs podman with a VRF's device: the recipe of vrfbind(1), CONTAINERS
#
# Prints TAP and is run by topology.sh (`make test-containers`). systemd is a second one (second-systemd.sh), which
# knows the unit and the VRFs' device units; the image is that of tests/containers.sh. c-tests/command/sockets.c reports
# the devices of all sockets.
# shellcheck disable=SC2317  # the functions are called by point() and await(), which take their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

image=$PWD/target/containers/debian
scratch=$(mktemp -d)
chmod 755 "$scratch"
# shellcheck source=tests/tap.sh
. tests/tap.sh
# shellcheck source=tests/second-systemd.sh
. tests/second-systemd.sh
undo() {
	stop_systemd
	rm -rf "$scratch"
}
trap undo EXIT

unit=dns-blue.service
mkdir -p "$T_DIR/etc/containers"
cp -r /etc/containers "$T_DIR/etc"
# The cgroup of this systemd has no controllers to delegate.
printf '[containers]\npids_limit = 0\n' >"$T_DIR/etc/containers/containers.conf"
cp examples/dnsmasq/blue.conf "$T_DIR/etc"
# The manual's, with this image and this program.
cat >"$scratch/$unit" <<-'END'
	[Unit]
	BindsTo=sys-subsystem-net-devices-blue.device
	After=sys-subsystem-net-devices-blue.device

	[Service]
	Type=notify
	NotifyAccess=all
	Delegate=yes
	ExecStart=podman run --rm --detach --replace --name %N --cgroups split --sdnotify conmon \
		--network host --device vrfbind.dev/vrf=blue --cap-add NET_ADMIN,NET_RAW --volume /etc/blue.conf:/blue.conf:ro \
		dnsmasq dnsmasq --keep-in-foreground --conf-file=/blue.conf --pid-file= --dhcp-leasefile=/tmp/leases
	ExecStop=podman stop --ignore %N
	ExecStopPost=podman rm --force --ignore %N
END
start_systemd "$scratch/$unit"
tar --directory "$image" --create . | inside podman import --quiet - dnsmasq >/dev/null
vrfbind cdi --write blue

serves_in_vrf() {
	local before question answer expected
	before=$(sh -c "$T_UPLINK_COUNT")
	manage start "$unit" || { journal "$unit"; return 1; }
	await in_vrf blue "$unit"
	in_vrf blue "$unit"
	[ -n "$(inside podman ps --quiet)" ]
	# Its client has an address and a name of it, and nothing has left by the default VRF.
	while IFS='|' read -r question answer expected; do
		echo "$question: $answer"
		# shellcheck disable=SC2053  # a pattern
		[[ $answer == $expected ]]
	done < <(examples/dnsmasq/ask blue)
	[ "$(sh -c "$T_UPLINK_COUNT")" = "$before" ]
}

# The VRF is deleted, and the unit stops.
ends_with_the_vrf() {
	ip link delete blue
	await is "$unit" ActiveState inactive
	await no_container
}
no_container() { [ -z "$(inside podman ps --quiet)" ]; }

echo 1..2
point 'a unit that runs podman has its container in the VRF' serves_in_vrf
point 'it stops when the VRF goes' ends_with_the_vrf
exit "$all_ok"
