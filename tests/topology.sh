#!/usr/bin/env bash
# topology.sh CMD [ARG...] - runs CMD on an edge device with two VRFs that use the same addresses
#
#   client blue   eth0 -- ve-blue - br-blue \                    / up-blue -- eth0  upstream blue
#                          10.10.1.1/24      } VRF blue, table 101  192.0.2.1       192.0.2.53
#                          fd00:10:1::1/64  /                    \  2001:db8::1     2001:db8::53
#
#   client red    eth0 -- ve-red  - br-red   \                   / up-red  -- eth0  upstream red
#                          10.10.1.1/24       } VRF red, table 102  192.0.2.2       192.0.2.53
#                          fd00:10:1::1/64   /                   \  2001:db8::2     2001:db8::53
#
#                                              default VRF, main  - uplink0 -- eth0  upstream default
#                                                                   192.0.2.3        192.0.2.53
#                                                                   2001:db8::3      2001:db8::53
#
# Everything between the two columns of eth0 is one network namespace, the edge; each client and each upstream is another. Every
# table has an IPv4 and an IPv6 default route by way of its own upstream. The edge forwards, so that radvd is content. What a
# new network namespace brings is otherwise kept: 127.0.0.1 is on lo alone, the *_l3mdev_accept
# switches are 0, the local table is asked before the VRFs. (Hence the three uplinks have
# different addresses: one that the default VRF has is local in every VRF.)
#
# A client's eth0 is up and has a link-local address and nothing else; it accepts router advertisements. Duplicate address
# detection is off everywhere, or the daemons of the edge would have to wait for their own addresses.
#
# How it works, in order: take a scratch folder, whose random name the namespaces get too; set the trap that
# undoes everything; make the namespaces; connect and address them; wait until no address is tentative and every link runs;
# run CMD in the edge's network namespace, with mounts, cgroup and standard input as they are; undo. Undoing ends
# the processes that are still in one of these namespaces (SIGTERM, after 5 s SIGKILL) and no other. On SIGINT, SIGTERM
# and SIGHUP that is done at once. Only namespaces of our own are changed: no sysctl, route or device outside of them.
#
# CMD finds in its environment:
#   VRFBIND_TEST_TIER=vrf, VRFBIND_TEST_DEVICE=blue, VRFBIND_TEST_OTHER=red
#   for X in BLUE and RED: T_X_VRF, T_X_BRIDGE, T_X_UPLINK   devices in the edge
#                          T_X_CLIENT, T_X_UPSTREAM          names of network namespaces, the device there is eth0
#   T_UPLINK, T_UPSTREAM   the same for the default VRF
#   T_EDGE                 the name of the network namespace it runs in
#   T_DIR                  a scratch folder, removed at the end; every user may enter it, as daemons drop root
#   T_UPLINK_COUNT         a command line for `sh -c`: how many packets left by the default VRF's uplink
#
# That count is taken on the other end of uplink0, where raw and packet sockets cannot pass it by: everything that arrives but ARP,
# and ICMPv6 of the types that the kernel sends on its own account: MLD, neighbour discovery, router solicitation.
# By hand:  ip netns exec "$T_UPSTREAM" nft list counter netdev vrfbind sent
#
# Exit status: CMD's; 77 and one sentence when there is no root or no VRF in this kernel (tests/vm.sh has both); 1 when
# something else could not be set up.
#
# shellcheck disable=SC2317  # functions that await and trap call by name
set -euo pipefail

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }

[ $# -gt 0 ] || { say 'usage: tests/topology.sh CMD [ARG...]'; exit 2; }
export PATH=$PATH:/usr/sbin:/sbin
[ "$(id -u)" -eq 0 ] || { say 'two VRFs can only be made by root'; exit 77; }
for tool in ip nft nsenter; do
	command -v "$tool" >/dev/null || { say "$tool is missing: run tests/packages.sh test"; exit 1; }
done

namespaces=()

# Waits up to $1 seconds until command $2... succeeds.
await() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || return 1
		sleep 0.1
	done
}

pids() {
	local name
	for name in "${namespaces[@]}"; do
		ip netns pids "$name" 2>/dev/null || true
	done
}

no_pids() { [ -z "$(pids)" ]; }

undo() {
	local signal name mount
	trap '' INT TERM HUP
	for signal in TERM KILL; do
		no_pids && break
		# shellcheck disable=SC2046  # process ids
		kill -s "$signal" $(pids) 2>/dev/null || true
		await 5 no_pids || true
	done
	for name in "${namespaces[@]}"; do
		ip netns delete "$name" 2>/dev/null || true
	done
	# `ip vrf exec` leaves the cgroup it made: .../NETNS/vrf/VRF
	mount=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET) || true
	[ -z "$mount" ] || find "$mount" -depth -path "*/$edge*" -type d -exec rmdir {} + 2>/dev/null || true
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

# add_namespace NAME FORWARDS - a network namespace without duplicate address detection, lo up. Its IPv4 settings begin
# as those of the machine (devconf_inherit_init_net), whose rp_filter may be on.
add_namespace() {
	namespaces+=("$1")
	ip netns add "$1"
	# shellcheck disable=SC2016  # $0 is the second argument, in the shell that runs this
	nsenter --net="/run/netns/$1" sh -ec '
		cd /proc/sys/net
		echo "$0" >ipv4/ip_forward
		echo "$0" >ipv6/conf/all/forwarding
		for scope in all default; do
			echo 0 >ipv6/conf/$scope/accept_dad
			echo 0 >ipv4/conf/$scope/rp_filter
		done
	' "$2"
	ip -n "$1" link set lo up
}

# add_uplink DEVICE UPSTREAM NUMBER [VRF] - a link to the upstream, with the edge at address NUMBER; both default routes
add_uplink() {
	local device=$1 upstream=$2 number=$3 vrf=("${@:4}")
	add_namespace "$upstream" 0
	ip -n "$edge" link add "$device" type veth peer name eth0 netns "$upstream"
	# Before the addresses: enslaving moves what IPv4 has, but IPv6 loses it.
	[ ${#vrf[@]} -eq 0 ] || ip -n "$edge" link set "$device" master "${vrf[@]}"
	ip -n "$edge" address add "192.0.2.$number/24" dev "$device"
	ip -n "$edge" address add "2001:db8::$number/64" dev "$device" nodad
	ip -n "$upstream" address add 192.0.2.53/24 dev eth0
	ip -n "$upstream" address add 2001:db8::53/64 dev eth0 nodad
	ip -n "$edge" link set "$device" up
	ip -n "$upstream" link set eth0 up
	ip -n "$upstream" route add default via "192.0.2.$number"
	ip -n "$upstream" route add default via "2001:db8::$number"
	ip -n "$edge" route add default via 192.0.2.53 dev "$device" ${vrf[0]+vrf "${vrf[0]}"}
	ip -n "$edge" route add default via 2001:db8::53 dev "$device" ${vrf[0]+vrf "${vrf[0]}"}
}

# add_network NAME NUMBER - VRF NAME with table 100 + NUMBER, its bridge, client and uplink
add_network() {
	local name=$1 number=$2 client=$id-client-$1 error
	error=$(ip -n "$edge" link add "$name" type vrf table $((100 + number)) 2>&1) || {
		say "this kernel has no VRF devices (CONFIG_NET_VRF); tests/vm.sh runs one that has [ip link: $error]"
		exit 77
	}
	ip -n "$edge" link set "$name" up
	ip -n "$edge" link add "br-$name" type bridge mcast_snooping 0
	ip -n "$edge" link set "br-$name" master "$name"
	ip -n "$edge" address add 10.10.1.1/24 dev "br-$name"
	ip -n "$edge" address add fd00:10:1::1/64 dev "br-$name" nodad
	ip -n "$edge" link set "br-$name" up
	add_namespace "$client" 0
	ip -n "$edge" link add "ve-$name" type veth peer name eth0 netns "$client"
	ip -n "$edge" link set "ve-$name" master "br-$name" up
	ip -n "$client" link set eth0 up
	add_uplink "up-$name" "$id-upstream-$name" "$number" "$name"
}

add_namespace "$edge" 1
add_network blue 1
add_network red 2
add_uplink uplink0 "$id-upstream" 3

nsenter --net="/run/netns/$id-upstream" nft -f - <<'NFT'
table netdev vrfbind {
	counter sent { }
	chain arrived {
		type filter hook ingress device "eth0" priority 0;
		meta protocol arp return
		icmpv6 type { mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report } return
		icmpv6 type { nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert } return
		counter name "sent"
	}
}
NFT

# Every link of every namespace is up with a carrier and has a link-local address that can be used.
ready() {
	local name device
	for name in "${namespaces[@]}"; do
		[ -z "$(ip -n "$name" -6 address show tentative)" ] || return 1
	done
	for device in br-blue br-red up-blue up-red uplink0; do
		[[ $(ip -n "$edge" link show "$device") == *' state UP '* &&
			-n $(ip -n "$edge" -6 address show dev "$device" scope link) ]] || return 1
	done
	for name in blue red; do
		[ -n "$(ip -n "$id-client-$name" -6 address show dev eth0 scope link)" ] || return 1
	done
}
await 60 ready || { say 'the links of the two VRFs did not come up in 60 s'; exit 1; }

export VRFBIND_TEST_TIER=vrf VRFBIND_TEST_DEVICE=blue VRFBIND_TEST_OTHER=red
export T_BLUE_VRF=blue T_BLUE_BRIDGE=br-blue T_BLUE_UPLINK=up-blue
export T_BLUE_CLIENT=$id-client-blue T_BLUE_UPSTREAM=$id-upstream-blue
export T_RED_VRF=red T_RED_BRIDGE=br-red T_RED_UPLINK=up-red
export T_RED_CLIENT=$id-client-red T_RED_UPSTREAM=$id-upstream-red
export T_UPLINK=uplink0 T_UPSTREAM=$id-upstream T_EDGE=$edge T_DIR=$dir
export T_UPLINK_COUNT="nsenter --net=/run/netns/$id-upstream nft list counter netdev vrfbind sent |
	sed -n 's/.*packets \\([0-9]*\\) .*/\\1/p'"

# In the background, because bash runs a trap only when the foreground command has ended. A background command has no
# standard input and ignores SIGINT unless that is put right (env --default-signal: coreutils 8.31).
nsenter --net="/run/netns/$edge" -- env --default-signal=INT,QUIT "$@" <&0 &
status=0
wait $! || status=$?
exit "$status"
