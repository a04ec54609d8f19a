#!/usr/bin/env bash
# resolvers.sh - names where the resolver is on this machine: what libvrfbind(7), Resolvers on this machine, says of each way
#
# Prints TAP (testanything.org) and is run on the tier vrf, with the variables of tests/topology.sh. systemd-resolved is not installed
# on this machine: tests/packages.sh has set it aside in target/daemons.
#
# The name server is the peer at 192.0.2.53 (tests/peers.sh): 10.0.0.1 is an answer that came by blue, 10.0.0.3 one by the default VRF.
# That a resolver is itself in the VRF, with its listeners on lo, is in tests/rules-daemons.sh.
# shellcheck disable=SC2317  # functions are called by point() and await()
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

packages=target/daemons/daemons-rules.tar
if [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	VRFBIND_TEST_MOVED=1 exec tests/set-aside.sh over "$packages" "$0" "$@"
fi
# shellcheck source=tests/command.sh
. tests/command.sh
# shellcheck source=tests/peers.sh
. tests/peers.sh

pid=''
stop() {
	switch udp 0
	switch tcp 0
	[ -n "$pid" ] || return 0
	kill "$pid" 2>/dev/null || true
	wait "$pid" || true
	pid=''
	tail -n 20 "$scratch/log"
}
# shellcheck disable=SC2034  # of tap.sh
point_end=stop
# serve ADDRESS COMMAND... - in the background, until it listens there
serve() {
	"${@:2}" >"$scratch/log" 2>&1 </dev/null &
	pid=$!
	await listens "$1"
}
listens() { ss -Hlun "sport = :53" | grep " $1\(%[a-z0-9]*\)\?:53 " >/dev/null; }
switch() { echo "$2" >"/proc/sys/net/ipv4/$1_l3mdev_accept"; }
# answers ADDRESS RESOLVER [COMMAND...] - the resolver, asked by UDP
answers() { is "$1" "${@:3}" "${asks[@]}" dns "$2" "n$RANDOM$RANDOM.example"; }

resolved=(/lib/systemd/systemd-resolved)
# resolved_has LINE... - its settings, DEVICE=ADDRESS: a link's name server, as systemd-networkd says it
resolved_has() {
	local line index
	mkdir -p /run/systemd
	mountpoint --quiet /run/systemd || mount -t tmpfs -o mode=755 resolved /run/systemd
	rm -rf /run/systemd/netif
	mkdir -p /run/systemd/netif/links
	printf '%s\n' '[Resolve]' LLMNR=no MulticastDNS=no DNSSEC=no FallbackDNS= >/etc/systemd/resolved.conf
	for line; do
		if index=$(ip -oneline link show dev "${line%%=*}" 2>/dev/null); then
			printf '%s\n' ADMIN_STATE=configured OPER_STATE=routable "DNS=${line#*=}" DNS_DEFAULT_ROUTE=yes \
				>"/run/systemd/netif/links/${index%%:*}"
		else
			echo "$line" >>/etc/systemd/resolved.conf
		fi
	done
	echo OPER_STATE=routable >/run/systemd/netif/state
}

link_in_a_vrf() {
	resolved_has up-blue=192.0.2.53
	serve 127.0.0.53 "${resolved[@]}"
	not answers 10.0.0.1 127.0.0.53
	switch udp 1
	await answers 10.0.0.1 127.0.0.53
	await answers 10.0.0.1 127.0.0.53 "$vrfbind" exec --loopback red
	await answers 10.0.0.1 127.0.0.53 "$vrfbind" exec --loopback blue
	not answers 10.0.0.1 127.0.0.53 ip vrf exec blue
}

server_by_a_device() {
	local device
	for device in up-blue blue; do
		serve 127.0.0.53 /usr/sbin/dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces \
			--pid-file= --log-facility=- --listen-address=127.0.0.53 "--server=192.0.2.53@$device"
		not answers 10.0.0.1 127.0.0.53
		switch udp 1
		await answers 10.0.0.1 127.0.0.53
		stop
	done
}

link_of_its_own() {
	resolved_has up-blue=192.0.2.53
	serve 127.0.0.53 "$vrfbind" exec --loopback blue "${resolved[@]}"
	await answers 10.0.0.1 127.0.0.53
	await answers 10.0.0.1 127.0.0.53 "$vrfbind" exec --loopback red
}

extra_listener() {
	resolved_has DNS=192.0.2.53 DNSStubListenerExtra=192.0.2.1
	serve 192.0.2.1 "${resolved[@]}"
	await answers 10.0.0.3 127.0.0.53
	not answers 10.0.0.3 192.0.2.1 ip vrf exec blue
	switch udp 1
	await answers 10.0.0.3 192.0.2.1 ip vrf exec blue
	await answers 10.0.0.3 192.0.2.1 "$vrfbind" exec blue
	not is 10.0.0.3 by_tcp
	switch tcp 1
	await is 10.0.0.3 by_tcp
}
by_tcp() { ip vrf exec blue dig +tcp +short +time=2 +tries=1 @192.0.2.1 "n$RANDOM.example"; }

nss_resolve() {
	resolved_has DNS=192.0.2.53
	serve 127.0.0.53 "$vrfbind" exec --loopback blue "${resolved[@]}"
	echo 'hosts: resolve' >/etc/nsswitch.conf
	local user
	for user in '' "${nobody[*]}"; do
		# shellcheck disable=SC2086  # words
		await is "10.0.0.1        n1.example" $user "$vrfbind" exec red getent hosts n1.example
	done
}

# What NetworkManager and resolvconf do: a new file in the place of the old one.
mounts() {
	mkdir -p "$scratch/over" /etc/names
	echo 'nameserver 192.0.2.53' >"$scratch/over/resolv.conf"
	echo 'nameserver 127.0.0.53' >/etc/names/resolv.conf
	ln -sf /etc/names/resolv.conf /etc/resolv.conf
	# shellcheck disable=SC2016  # for the shell there
	local see='mount --bind "$0" "$1" && cat /etc/resolv.conf && echo other >"$0.ready" && until [ -e "$0.replaced" ]; do sleep 0.1; done; cat /etc/resolv.conf'
	local over under expected
	for over in "$scratch/over/resolv.conf" "$scratch/over"; do
		rm -f "$over".{ready,replaced}
		under=/etc/names
		expected='nameserver 192.0.2.53'
		[ "$over" = "$scratch/over" ] || { under=/etc/names/resolv.conf; expected='nameserver 127.0.0.2'; }
		unshare --mount sh -c "$see" "$over" "$under" >"$scratch/seen" &
		await test -e "$over.ready"
		echo 'nameserver 127.0.0.2' >/etc/names/resolv.conf.new
		mv /etc/names/resolv.conf.new /etc/names/resolv.conf
		touch "$over.replaced"
		wait $!
		diff "$scratch/seen" <(printf '%s\n' 'nameserver 192.0.2.53' "$expected")
	done
}

echo 1..6
point 'systemd-resolved in no VRF gets answers by a link of one, if net.ipv4.udp_l3mdev_accept is 1' link_in_a_vrf
point 'dnsmasq in no VRF does by server=ADDRESS@DEVICE, if it is 1' server_by_a_device
point 'systemd-resolved in the VRF does by a link, without that' link_of_its_own
point 'DNSStubListenerExtra= with an address of a VRF answers all programs in it, if both switches are 1' extra_listener
point 'nss-resolve answers sealed programs of each VRF, root and nobody' nss_resolve
point 'a mount over resolv.conf goes when the file is replaced, one over its directory stays' mounts
exit "$all_ok"
