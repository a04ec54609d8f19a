#!/usr/bin/env bash
# topology.sh CMD [ARG...] - runs CMD on an edge device with two VRFs that use the same addresses
#
#                                       the edge
#                .-----------------------------------------------------.
#   client       |              VRF blue, table 101                    |       upstream
#     eth0 ------- ve-blue - br-blue               up-blue --------------------- eth0
#                |           10.10.1.1/24          192.0.2.1/24        |  192.0.2.53/24
#                |           fd00:10:1::1/64       2001:db8::1/64      |  2001:db8::53/64
#                |                                                     |
#   client       |              VRF red, table 102                     |       upstream
#     eth0 ------- ve-red - br-red                 up-red ---------------------- eth0
#                |          10.10.1.1/24           192.0.2.2/24        |  192.0.2.53/24
#                |          fd00:10:1::1/64        2001:db8::2/64      |  2001:db8::53/64
#                |                                                     |
#                |              default VRF, table main                |       upstream
#                |                                 uplink0 --------------------- eth0
#                |                                 192.0.2.3/24        |  192.0.2.53/24
#                |                                 2001:db8::3/64      |  2001:db8::53/64
#                '-----------------------------------------------------'
#
# The edge is one network namespace, each client and each upstream another. Each of the three tables has an IPv4 and an
# IPv6 default route by way of its own upstream. The edge forwards, which radvd asks for. It keeps what the kernel gives
# a new network namespace: 127.0.0.1 is on lo alone, the *_l3mdev_accept sysctls are 0, and the local table is asked
# before the VRFs (hence different addresses on the uplinks: an address of the default VRF is local in every VRF). Only
# ping_group_range is opened.
#
# A client's eth0 is up and has a link-local address and nothing else; it accepts router advertisements. Duplicate address
# detection is off everywhere, or the daemons of the edge would have to wait for their own addresses.
#
# How it works, in order: take a scratch directory, whose random name the namespaces get too; set the trap that undoes
# everything; make the namespaces; connect and address them; wait until every link runs; run CMD in the edge's network
# namespace, with mounts, cgroup and standard input as they are; undo. Undoing ends the processes that are still in one of
# these namespaces (SIGTERM, and SIGKILL if that is not enough) and no other. On SIGINT, SIGTERM and SIGHUP that is done at once. Only
# namespaces of our own are changed: no sysctl, route or device outside of them.
#
# CMD finds in its environment:
#   VRFBIND_TEST_TIER=vrf, VRFBIND_TEST_DEVICE=blue, VRFBIND_TEST_OTHER=red
#   for X in BLUE and RED: T_X_VRF, T_X_BRIDGE, T_X_UPLINK   devices in the edge
#                          T_X_CLIENT, T_X_UPSTREAM          names of network namespaces, the device there is eth0
#   T_UPLINK, T_UPSTREAM   the same for the default VRF
#   T_EDGE                 the name of the network namespace it runs in
#   T_DIR                  a scratch directory, removed at the end; every user may enter it, as daemons drop root
#   T_UPLINK_COUNT         a command line for `sh -c`: how many packets left by the default VRF's uplink
#
# That count is taken on the other end of uplink0, where every frame arrives, those of packet sockets too. It leaves out ARP
# and the ICMPv6 types that the kernel sends on its own account: MLD, neighbour discovery, router solicitation.
# By hand:  tc -n "$T_UPSTREAM" -statistics filter show dev eth0 ingress
#
# Exit status: CMD's; 77 and one sentence when there is no root or no VRF in this kernel (tests/with-vrf.sh has both); 1 when
# something else could not be set up, 2 for misuse.
#
# shellcheck disable=SC2317  # functions that await and trap call by name
set -euo pipefail

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }

[ $# -gt 0 ] || { say 'usage: tests/topology.sh CMD [ARG...]'; exit 2; }
export PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || { say 'two VRFs can only be made by root'; exit 77; }
for tool in ip tc nsenter; do
	command -v "$tool" >/dev/null || { say "$tool is missing: run tests/packages.sh test"; exit 1; }
done

# ICMPv6: multicast listener (130, 131, 132, 143), router solicitation, neighbour solicitation and advertisement.
uncounted=(130 131 132 143 133 135 136)

namespaces=()

# Tries command $2... up to $1 times, until it succeeds. There is no limit of time, which would be shorter on a busy
# machine.
await() {
	local tries
	for ((tries = $1; tries > 0; tries--)); do
		! "${@:2}" || return 0
		sleep 0.1
	done
	return 1
}

# The processes that are in one of our namespaces.
pids() {
	local name expression=() found
	for name in "${namespaces[@]}"; do
		[ -e "/run/netns/$name" ] || continue
		expression+=(${expression[0]+-o} -samefile "/run/netns/$name")
	done
	found=$(find -L /proc/[0-9]*/ns/net -maxdepth 0 \( "${expression[@]}" \) -printf '%h ' 2>/dev/null) || true
	found=${found//\/proc\//}
	echo "${found//\/ns/}"
}

no_pids() { [ -z "$(pids)" ]; }

undo() {
	local signal left mount
	trap '' INT TERM HUP
	for signal in TERM KILL; do
		left=$(pids)
		[ -n "$left" ] || break
		# shellcheck disable=SC2086  # process ids
		kill -s "$signal" $left 2>/dev/null || true
		await 50 no_pids || true
	done
	printf 'netns delete %s\n' "${namespaces[@]}" | ip -force -batch - 2>/dev/null || true
	# `ip vrf exec` leaves the cgroups that it made in the directory NETNS-ns.
	mount=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET) || true
	[ -z "$mount" ] || find "$mount" -depth -path "*/$edge-ns*" -type d -exec rmdir {} + 2>/dev/null || true
	rm -rf "$dir"
}

dir=$(mktemp -d "${TMPDIR:-/tmp}/vrfbind.XXXXXX")
id=vrfbind-${dir##*.}
edge=$id-edge
trap undo EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
chmod 755 "$dir"

# configure NAMESPACE FORWARDS - no duplicate address detection; no reverse path filter, which a machine
# may hand down to its new namespaces (devconf_inherit_init_net); ICMP datagram sockets for every group, as
# systemd has it in the machine's own namespace
configure() {
	# shellcheck disable=SC2016  # $0 is the second argument, in the shell that runs this
	nsenter --net="/run/netns/$1" sh -ec '
		cd /proc/sys/net
		echo "$0" >ipv4/ip_forward
		echo "$0" >ipv6/conf/all/forwarding
		echo 0 2147483647 >ipv4/ping_group_range
		for scope in all default; do
			echo 0 >ipv6/conf/$scope/accept_dad
			echo 0 >ipv4/conf/$scope/rp_filter
		done
	' "$2"
}

# One ip for many commands: in a virtual machine with emulated CPUs a process takes a quarter of a second.
in_namespace() { ip -n "$1" -batch -; }

namespaces=("$edge" "$id"-client-{blue,red} "$id"-upstream{,-blue,-red})
printf 'netns add %s\n' "${namespaces[@]}" | ip -batch -
error=$(ip -n "$edge" link add blue type vrf table 101 2>&1) || {
	say "this kernel has no VRF devices (CONFIG_NET_VRF); tests/with-vrf.sh runs one that has [ip link: $error]"
	exit 77
}
configure "$edge" 1
configure "$id-client-blue" 0
configure "$id-client-red" 0

# Devices are enslaved before they get addresses, because enslaving removes their IPv6 addresses.
uplink() {
	local device=$1 upstream=$2 number=$3 vrf=${4-}
	cat <<-IP
		link add $device type veth peer name eth0 netns $upstream
		${vrf:+link set $device master $vrf}
		address add 192.0.2.$number/24 dev $device
		address add 2001:db8::$number/64 dev $device nodad
		link set $device up
		route add default via 192.0.2.53 dev $device ${vrf:+vrf $vrf}
		route add default via 2001:db8::53 dev $device ${vrf:+vrf $vrf}
	IP
}

# A port of a bridge is not in the bridge's VRF: an address of its own would be one of the default VRF. The bridge is
# set up after its port, whose MAC address it takes over.
customer() {
	local vrf=$1 number=$2
	cat <<-IP
		link set $vrf up
		link add br-$vrf type bridge mcast_snooping 0
		link set br-$vrf master $vrf
		link add ve-$vrf type veth peer name eth0 netns $id-client-$vrf
		link set ve-$vrf master br-$vrf addrgenmode none up
		link set br-$vrf up
		address add 10.10.1.1/24 dev br-$vrf
		address add fd00:10:1::1/64 dev br-$vrf nodad
	IP
	uplink "up-$vrf" "$id-upstream-$vrf" "$number" "$vrf"
}

upstream() {
	local number=$1
	cat <<-IP
		link set lo up
		address add 192.0.2.53/24 dev eth0
		address add 2001:db8::53/64 dev eth0 nodad
		link set eth0 up
		route add default via 192.0.2.$number
		route add default via 2001:db8::$number
	IP
}

in_namespace "$edge" <<-IP
	link set lo up
	link add red type vrf table 102
	$(customer blue 1)
	$(customer red 2)
	$(uplink uplink0 "$id-upstream" 3)
IP
upstream 1 | in_namespace "$id-upstream-blue"
upstream 2 | in_namespace "$id-upstream-red"
upstream 3 | in_namespace "$id-upstream"
for client in "$id"-client-{blue,red}; do
	printf 'link set %s up\n' lo eth0 | in_namespace "$client"
done

# Frames that are not counted pass first. tc, since the smallest kernels have it but not nft's family netdev.
tc -n "$id-upstream" -batch - <<-TC
	qdisc add dev eth0 ingress
	filter add dev eth0 ingress pref 1 protocol arp matchall action pass
	$(for type in "${uncounted[@]}"; do
		echo "filter add dev eth0 ingress pref 2 protocol ipv6 flower ip_proto icmpv6 type $type action pass"
	done)
	filter add dev eth0 ingress pref 3 protocol all matchall action pass index 99
TC

# The kernel makes a device's link-local address when the link runs: on the bridges, the uplinks, and the clients' eth0.
link_local_addresses() { ip -n "$1" -6 -brief address show scope link -tentative | grep -c . ; }
ready() {
	[ "$(link_local_addresses "$edge")" = 5 ] &&
		[ "$(link_local_addresses "$id-client-blue")" = 1 ] &&
		[ "$(link_local_addresses "$id-client-red")" = 1 ]
}
await 600 ready || { say 'the links of the two VRFs do not come up'; exit 1; }

export VRFBIND_TEST_TIER=vrf VRFBIND_TEST_DEVICE=blue VRFBIND_TEST_OTHER=red
export T_BLUE_VRF=blue T_BLUE_BRIDGE=br-blue T_BLUE_UPLINK=up-blue
export T_BLUE_CLIENT=$id-client-blue T_BLUE_UPSTREAM=$id-upstream-blue
export T_RED_VRF=red T_RED_BRIDGE=br-red T_RED_UPLINK=up-red
export T_RED_CLIENT=$id-client-red T_RED_UPSTREAM=$id-upstream-red
export T_UPLINK=uplink0 T_UPSTREAM=$id-upstream T_EDGE=$edge T_DIR=$dir
count="tc -n $id-upstream -statistics actions get action gact index 99"
export T_UPLINK_COUNT="$count | sed -n 's/.*bytes \\([0-9]*\\) pkt.*/\\1/p'"

# In the background, because bash runs a trap only when the foreground command has ended. A background command has no
# standard input and ignores SIGINT unless that is put right (env --default-signal: coreutils 8.31).
nsenter --net="/run/netns/$edge" -- env --default-signal=INT,QUIT "$@" <&0 &
status=0
wait $! || status=$?
exit "$status"
