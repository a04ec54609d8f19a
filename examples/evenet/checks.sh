# shellcheck shell=bash
# checks.sh - what must be seen, each with a name and what is expected
#
# The apps ask, all at once, each in one shell in its own namespace, and leave lines "KEY|ANSWER"; the checks compare.
# What must not pass is looked for where it would arrive.

# expect NAME PATTERN ANSWER
expect() {
	local verdict=ok
	# shellcheck disable=SC2053  # a pattern
	[[ $3 == $2 ]] || verdict=WRONG
	printf '%-5s  %-58s  %s\n' "$verdict" "$1" "${3:-(nothing)}" | tee -a "$dir/checks"
	[ "$verdict" = ok ] || printf '%-5s  %-58s  %s\n' '' '  expected:' "$2"
}

answer() { sed -n "s/^$1|//p" "$dir/answers"; }

# ask APP - runs the shell script from standard input there
ask() {
	{
		cat <<-SH
			say() { printf '%s|%s\n' "$1-\$1" "\$2" >>"$dir/answers"; }
			lease() { busybox udhcpc -i \$1 -f -q -n -t 40 -T 2 -s "$here/lease" 2>&1 | sed -n 's/^lease: //p'; }
			name() { busybox nslookup -type=a \$1 \$2 2>&1 | awk '/^Name:/ { found = 1 } found && /^Address/ { print \$NF }'; }
			web() { timeout "$limit" busybox wget -qO- "http://\$1" 2>/dev/null || echo 'no answer'; }
			blocked() { timeout 4 busybox wget -qO- "http://\$1" 2>/dev/null || echo 'no answer'; }
			host_id=$metadata/latest/meta-data/local-hostname
		SH
		cat
	} >"$dir/$1.sh"
	inside "$id-$1" sh "$dir/$1.sh" 2>"$dir/$1.log"
}

# The zones of the conntrack entries of port $1, sorted.
zones_of() {
	local name
	for name in $(edge_namespaces); do
		inside "$name" conntrack --dump 2>/dev/null
	done | grep -w "dport=$1" | grep -o 'zone=[0-9]*' | cut -d= -f2 | sort -n | paste -sd' '
}
flush() { for name in $(edge_namespaces); do inside "$name" conntrack --flush 2>/dev/null; done; }

gateway_counter() {
	inside "$id-gw" nft list counter inet gateway "$1" | awk '$1 == "packets" { print $2 }'
}

v6_of() { ip -n "$id-$1" -6 -brief address show dev "$2" scope global | grep -o 'fd00:[0-9a-f:]*' | head -n 1; }
has_v6() { [ -n "$(v6_of "$1" "$2")" ]; }

check_local() {
	local app
	ask app1 <<-'SH' &
		say lease1 "$(lease eth0)"
		say lease2 "$(lease eth1)"
		say name-own "$(name app1.ni1 10.10.1.1)"
		say name-ni2 "$(name app1.ni2 10.10.2.1)"
		say name-foreign "$(name app2.ni2 10.10.1.1)"
		say metadata "$(web $host_id)"
		say app2 "$(web 10.10.2.12)"
		say allowed "$(web "$(name allowed.test 10.10.1.1)")"
		say blocked "$(blocked "$(name blocked.test 10.10.1.1)")"
	SH
	ask app2 <<-'SH' &
		say lease "$(lease eth0)"
		say name "$(name app2.ni2 10.10.2.1)"
		say metadata "$(web $host_id)"
	SH
	ask app3 <<-'SH' &
		say lease "$(lease eth0)"
		say name "$(name device.ni3 10.10.1.1)"
		say metadata "$(web $host_id)"
		say web "$(web 203.0.113.10)"
	SH
	wait_for_apps

	expect 'app1 gets a lease in NI1' '10.10.1.11 from 10.10.1.1' "$(answer app1-lease1)"
	expect 'app1 gets a lease in NI2' '10.10.2.11 from 10.10.2.1' "$(answer app1-lease2)"
	expect 'app2 gets a lease in NI2' '10.10.2.12 from 10.10.2.1' "$(answer app2-lease)"
	expect 'app3 gets the address of app1, in NI3' '10.10.1.11 from 10.10.1.1' "$(answer app3-lease)"
	expect 'app1 finds its name in NI1' 10.10.1.11 "$(answer app1-name-own)"
	expect 'app1 finds its name in NI2' 10.10.2.11 "$(answer app1-name-ni2)"
	expect 'app1 does not find a name of NI2 in NI1' '' "$(answer app1-name-foreign)"
	expect 'app3 finds the device in NI3' 10.10.1.1 "$(answer app3-name)"
	expect 'metadata in NI1 is of NI1' 'the metadata of ni1' "$(answer app1-metadata)"
	expect 'metadata in NI2 is of NI2' 'the metadata of ni2' "$(answer app2-metadata)"
	expect 'metadata in NI3 is of NI3' 'the metadata of ni3' "$(answer app3-metadata)"
	expect 'app1 reaches app2 within NI2' app2 "$(answer app1-app2)"
	expect 'app1 reaches the allowed name, by the ipset' gw "$(answer app1-allowed)"
	expect 'app1 does not reach another name' 'no answer' "$(answer app1-blocked)"
	expect '  nothing of it arrives at the gateway' 0 "$(gateway_counter blocked)"
	expect '  but it has a conntrack entry in zone 1, marked as dropped' 1 \
		"$(inside "$(namespace_of 1)" conntrack --dump --zone 1 --orig-dst "$blocked" --mark $((dropped + 17)) 2>/dev/null |
			grep -c UNREPLIED)"
	expect 'app3 gets out by eth1' gw "$(answer app3-web)"

	ask app2 <<-SH
		say blocked "\$(web $blocked)"
	SH
	expect 'app2, who may, reaches that other name (control)' gw "$(answer app2-blocked)"

	flush
	ask app1 <<-'SH'
		say hairpin "$(web 192.168.0.2:8082)"
	SH
	expect 'hairpin inside: app1 by the port map of eth0 to app2' app2 "$(answer app1-hairpin)"
	expect '  one conntrack entry in each of the zones' '1 2 999' "$(zones_of 8082)"
	flush
	ask app3 <<-'SH'
		say hairpin "$(web 192.168.0.2:8082)"
	SH
	expect 'hairpin outside: app3 by eth1, the gateway, eth0 to app2' app2 "$(answer app3-hairpin)"
	expect '  one conntrack entry in each of the zones' '2 3 999 999' "$(zones_of 8082)"
	expect 'from outside to app2 by the port map' app2 \
		"$(inside "$id-gw" timeout "$limit" curl --silent --interface "$outsider" http://192.168.0.2:8082)"
	expect 'from the device to app1 by the pair' app1 "$(timeout "$limit" busybox wget -qO- http://240.0.1.2:8081)"
	expect 'from the device to app1 by its own address, in the VRF' app1 \
		"$(under_way 1 timeout "$limit" busybox wget -qO- http://10.10.1.11)"

	for app in 'app1 eth0' 'app1 eth1' 'app3 eth0'; do
		# shellcheck disable=SC2086  # two words
		await "$limit" has_v6 $app || true
	done
	expect 'app1 makes itself an IPv6 address in NI1' 'fd00:10:1::*' "$(v6_of app1 eth0)"
	expect 'app1 makes itself an IPv6 address in NI2' 'fd00:10:2::*' "$(v6_of app1 eth1)"
	expect 'app3 makes itself an IPv6 address in NI3' 'fd00:10:1::*' "$(v6_of app3 eth0)"
}

# check_tunnels MODE - either mode; the clouds see which it is, because ESP of a translated peer comes in UDP
check_tunnels() {
	local n name vici esp sentence
	while read -r name n _; do
		case $1 in
		each) vici=ni$n esp='ESP in UDP' sentence='a charon in its VRF' ;;
		one) vici=one esp='ESP' sentence='one charon for all' ;;
		esac
		expect "the tunnel of NI$n comes up, $sentence" "up, $esp" \
			"$(swan "$vici" --initiate --child "ni$n" --timeout "$limit" && echo "up, $(encapsulation "$name")")"
		ask "app$n" <<-SH
			say cloud-$1 "\$(web 192.168.0.1)"
		SH
		expect "app$n reaches $name at 192.168.0.1, $sentence" "$name" "$(answer "app$n-cloud-$1")"
	done < <(rows clouds)
}
encapsulation() {
	case $(inside "$id-$1" ip xfrm state) in
	*'encap type espinudp'*) echo 'ESP in UDP' ;;
	*'proto esp'*) echo ESP ;;
	esac
}

check_vpn() {
	local n
	for n in $(numbers vpn); do
		ask "app$n" <<-SH &
			say lease "\$(lease eth0)"
			say name "\$(name app$n.ni$n 10.10.10.1)"
			say metadata "\$(web \$host_id)"
			say before "\$(blocked 192.168.0.1)"
		SH
	done
	wait_for_apps
	for n in $(numbers vpn); do
		expect "app$n gets a lease in NI$n" '10.10.10.11 from 10.10.10.1' "$(answer "app$n-lease")"
		expect "app$n finds its name in NI$n" 10.10.10.11 "$(answer "app$n-name")"
		expect "metadata in NI$n is of NI$n" "the metadata of ni$n" "$(answer "app$n-metadata")"
		await "$limit" has_v6 "app$n" eth0 || true
		expect "app$n makes itself an IPv6 address in NI$n" 'fd00:10:10::*' "$(v6_of "app$n" eth0)"
		expect "app$n reaches no 192.168.0.1 without a tunnel" 'no answer' "$(answer "app$n-before")"
	done
	check_tunnels each
}

# The sockets of UDP 500 and 4500 in the edge, by their device.
ike_sockets() { ss --no-header -nul '( sport = :500 or sport = :4500 )' | grep -c "$@"; }

# The one charon in place of those in the VRFs. Beside them it gets no socket, nor they beside it: an unbound UDP port
# and a bound one exclude each other. charon runs on without.
check_vpn_one() {
	vpn_connections one
	start_vpn_one
	expect 'IKE sockets of a charon without VRF, beside those in VRFs' 0 "$(ike_sockets -v %ni)"
	end_vpn_each
	end_vpn_one
	# A charon that ends does not wait for its peer, who would still show the old tunnel.
	await "$limit" no_tunnels || true
	# For two minutes the uplink's port 500 would still be the translated one of NI4. The new charon's would be made
	# another, which is what a peer takes for a NAT.
	flush
	xfrm_interfaces one
	start_vpn_one
	expect '  and of one that is alone, IPv4 and IPv6' 4 "$(ike_sockets -v %ni)"
	check_tunnels one
	start_vpn_each
	expect '  and of those in VRFs, beside it' 0 "$(ike_sockets %ni)"
}

no_tunnels() {
	local name
	for name in $(cloud_names); do [ -z "$(encapsulation "$name")" ] || return 1; done
}

check_switch() {
	local received dropped
	ask app6 <<-'SH'
		say lease "$(lease eth0)"
		say web "$(web 203.0.113.10)"
		say pings "$(ping -q -c 60 -i 0.02 -W 1 172.16.3.1 | grep -o '[0-9]* received')"
	SH
	expect 'app6 gets a lease from the gateway, through the switch' '172.16.3.11 from 172.16.3.1' "$(answer app6-lease)"
	expect 'app6 gets out through the switch' gw "$(answer app6-web)"
	received=$(answer app6-pings) dropped=$(counters | awk '$1 == "app6-ni6-dropped" { print $2 }')
	expect 'of 60 quick pings of app6 the rate limit lets few through' '[1-9]* received, [1-9]* dropped, together 60' \
		"$received, $dropped dropped, together $((${received% *} + dropped))"
	expect '  in conntrack zone 6' '[1-9]*' "$(conntrack --dump --zone 6 2>/dev/null | grep -c 'src=172.16.3.11')"
}

wait_for_apps() {
	# shellcheck disable=SC2046  # process ids
	wait $(jobs -rp | grep -vxF "$(printf '%s\n' "${daemons[@]}")")
}

under_way() { (under "$@"); }

# Daemon $1 of network $2 and its children.
family() { echo "$1" "$(cat "/proc/$1/task/$1/children")"; }

sockets_of() {
	local n=$1 pids='' pid said
	while read -r _ _ pid; do pids+=" $(family "$pid")"; done < <(grep "^$n " "$dir/daemons")
	if [ "$way" = netns ]; then
		for pid in $pids; do
			[ "/proc/$pid/ns/net" -ef "/run/netns/$id-ni$n" ] || echo "$pid is in another namespace"
		done
		echo 'in their namespace'
		return
	fi
	# shellcheck disable=SC2086  # process ids
	if said=$("$VRFBIND_TEST_COMMAND" status --vrf "ni$n" --json $pids 2>&1); then
		echo "all $(grep -o '"verdict":' <<<"$said" | wc -l) ok"
	else
		# shellcheck disable=SC2086
		"$VRFBIND_TEST_COMMAND" status --vrf "ni$n" $pids 2>&1
	fi
}

check_sockets() {
	local n
	for n in "$@"; do
		expect "every socket of the daemons of NI$n is in its VRF" \
			"$([ "$way" = netns ] && echo 'in their namespace' || echo 'all [1-9]* ok')" "$(sockets_of "$n")"
	done
}

# A daemon of network $1 that is not in the cgroup of its task, with all of its processes.
outside_of_tasks() {
	local name pid process
	while read -r _ name pid; do
		for process in $(family "$pid"); do
			in_its_cgroup "ni$1.$name" "$process" || echo "$name: $(sed -n 's/^0:://p' "/proc/$process/cgroup")"
		done
	done < <(grep "^$1 " "$dir/daemons")
}

# Whose memory is none, or not within its own limit.
beyond_limits() {
	local name memory limit
	while read -r _ name _; do
		read -r memory limit _ < <(task_uses "ni$1.$name")
		{ [ "$memory" -gt 0 ] && [ "$memory" -le "$limit" ] && [ "$limit" -eq $((32 << 10)) ]; } || echo "$name: $memory of $limit"
	done < <(grep "^$1 " "$dir/daemons")
}

check_tasks() {
	local n
	for n in "$@"; do
		expect "every daemon of NI$n is in the cgroup that containerd gave it" '' "$(outside_of_tasks "$n")"
		expect "  and has memory, within 32 MiB of its own" '' "$(beyond_limits "$n")"
	done
}

check_flows() {
	end_flows
	expect 'the dropped flow is recorded, with its packets' '[1-9]* 0 dropped' \
		"$(flow_lines | awk -v to="$blocked:80" '$2 == "app1" && $5 == to { print $6, $8, $10 }' | head -n 1)"
	expect 'an allowed flow is recorded, in both directions' '[1-9]* [1-9]* allowed' \
		"$(flow_lines | awk -v to="$allowed:80" '$2 == "app1" && $5 == to { print $6, $8, $10 }' | head -n 1)"
	expect 'packets that left by a wrong uplink, seen by the edge' 0 \
		"$(counters | awk '$1 == "wrong-uplink" { print $2 }')"
	expect 'packets that left by a wrong uplink, seen by the gateway' 0 "$(gateway_counter wrong-uplink)"
}

# The pair of a network with each of the ranges that were proposed for it. Linux takes 0.0.0.0/8 since 5.3.
check_ranges() {
	local range
	for range in 240.0.7 169.254.7 127.9.9 0.1.2; do
		printf '%s\n' "address add $range.1/30 dev vd3" "address add $range.2/30 dev vn3" \
			"rule add pref 199 iif vd3 to $range.0/30 lookup local" | ip -batch -
		expect "the pair of NI3 with addresses of ${range%%.*}.x" \
			"$(case $range in 127.*) echo 'ping: connect: Invalid argument' ;; *) echo '1 received' ;; esac)" \
			"$(under_way 3 ping -c 1 -W 2 "$range.1" 2>&1 | grep -oE '[01] received|^ping: .*')"
		printf '%s\n' "address delete $range.1/30 dev vd3" "address delete $range.2/30 dev vn3" \
			'rule delete pref 199' | ip -batch -
	done
}
