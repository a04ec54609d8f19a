# shellcheck shell=bash
# acl.sh - conntrack zones, access lists, address translation, counters: one nft ruleset for the edge
#
# The same ruleset is loaded into every namespace that the edge has (in the way `netns`); rules for devices that are
# elsewhere never match. What a packet meets, in order:
#   raw       its conntrack zone, by the device: n in network n, 999 on the default side
#   mangle    iptables, because only that can ask the ipset that dnsmasq fills: the mark let_in
#             then nft: the conntrack mark tells whose flow it is and whether it is dropped, and the mark of a packet
#             that comes out of a network which one that was
#   dstnat    port maps: on the uplink to the network's pair, in the network to the app
#   (route)   a dropped packet's leads to the device blackhole, so that its conntrack entry is confirmed, and is seen
#   srcnat    each side of a pair speaks with the pair's address, so that no subnet is seen in another zone
#
# A VRF shows its packets to prerouting twice: as its device's, and then as its own. The rules name the former.

# The devices of each zone, by which conntrack never takes two networks' equal addresses for one.
zones() {
	local n kind _
	while read -r n kind _; do
		case $kind in
		switch) ;;
		*) printf '"%s" : %s, ' "br-ni$n" "$n" "vn$n" "$n" "ni$n" "$n" "xfrm$n" "$n" "vd$n" 999 ;;
		esac
	done < <(rows networks)
	printf '"%s" : 999, ' eth0 eth1 eth2 blackhole
}

# One chain for each app in each network: what it may. Network 1 may the names that its ipset holds, and the port maps.
app_chains() {
	local app n verdict
	while read -r app n _; do
		[ "$n" != 6 ] || continue
		verdict=
		[ "$n" != 1 ] || verdict="
			ip daddr { 10.10.1.0/24, $metadata, 255.255.255.255 } return
			meta mark & $let_in == $let_in return
			ip daddr 192.168.0.2 tcp dport 8082 return
			counter name $app-ni$n-dropped ct mark set ct mark | $dropped meta mark set meta mark | $dropped"
		cat <<-NFT
			counter $app-ni$n-sent { }
			counter $app-ni$n-received { }
			counter $app-ni$n-dropped { }
			chain $app-ni$n {
				counter name $app-ni$n-sent
				ct state != new return
				ct mark set $((${app#app} * 16 + n))$verdict
			}
		NFT
	done < <(rows apps)
}

# The maps that lead to the chains and counters above.
app_map() {
	local app n _ address
	while read -r app n _ address; do
		[ "$n" = 6 ] || printf "$1, " "$n" "$address" "$app-ni$n"
	done < <(rows apps)
}

port_map_rules() {
	local port n address uplink devices other kind
	while read -r port n address; do
		read -r _ _ _ _ uplink < <(rows networks 0 "$n")
		devices="\"$uplink\""
		while read -r other kind _; do
			devices+=", \"vd$other\""
		done < <(rows networks 4 "$uplink")
		cat <<-NFT
			iifname { $devices } ip daddr $(rows uplinks 0 "$uplink" | cut -d' ' -f2) tcp dport $port dnat ip to 240.0.$n.2
			iifname "vn$n" ip daddr 240.0.$n.2 tcp dport $port dnat ip to $address:80
		NFT
	done < <(rows port_maps)
}

# By which uplink a network's packets may leave; and of the device itself nothing may but IKE and ESP.
uplink_rules() {
	local n uplink _
	while read -r n _ _ _ uplink; do
		[ "$n" = 6 ] || printf '%s . "%s", ' "$n" "$uplink"
	done < <(rows networks)
}

ruleset() {
	cat <<-NFT
		table inet evenet {
			chain zone-of-arriving {
				type filter hook prerouting priority raw
				ct zone set iifname map { $(zones) }
			}
			chain zone-of-own {
				type filter hook output priority raw
				ct zone set oifname map { $(zones) }
			}

			$(app_chains)
			chain acl {
				type filter hook prerouting priority mangle + 1
				iifname . ip saddr vmap { $(app_map '"br-ni%s" . %s : jump %s') }
				$(rows networks | while read -r n kind _; do
					[ "$kind" = switch ] || echo "iifname \"vd$n\" meta mark set $n ct state new ct mark set $n"
				done)
			}

			chain port-maps {
				type nat hook prerouting priority dstnat
				$(port_map_rules)
			}
			chain hide {
				type nat hook postrouting priority srcnat
				oifname { "vn1", "vn2", "vn3", "vn4", "vn5", "vd1", "vd2", "vd3", "vd4", "vd5" } masquerade
				oifname { "eth0", "eth1", "eth2" } masquerade
				oifname "br-ni*" ct status dnat masquerade
			}

			counter wrong-uplink { }
			chain leaving {
				type filter hook postrouting priority filter
				counter name oifname . ip daddr map { $(app_map '"br-ni%s" . %s : "%s-received"') }
				oifname != { "eth0", "eth1", "eth2" } return
				meta mark & 0xf . oifname { $(uplink_rules) } return
				oifname { "eth1", "eth2" } meta mark 0 udp dport { 500, 4500 } return
				oifname { "eth1", "eth2" } meta l4proto esp return
				# Seen here before it is encrypted, too.
				rt ipsec exists return
				ct direction reply return
				counter name wrong-uplink
			}
		}
	NFT
	[ -n "$(numbers switch)" ] || return 0
	# The switch is no router: its packets meet the bridges' own hooks only. With them comes the bridges' own conntrack,
	# which sees the packets of every bridge, and before all of the above: so here, too, a port has its zone.
	cat <<-NFT
		table bridge evenet {
			counter app6-ni6-sent { }
			counter app6-ni6-received { }
			counter app6-ni6-dropped { }
			chain zone-of-port {
				type filter hook prerouting priority -300
				ct zone set iifname map { "eth3" : 6, $(rows apps | while read -r app n _; do
					printf '"%s-ni%s" : %s, ' "$app" "$n" "$n"
				done) }
			}
			chain switched {
				type filter hook forward priority 0
				oifname "app6-ni6" counter name app6-ni6-received
				iifname != "app6-ni6" return
				counter name app6-ni6-sent
				ct state new ct mark set 102
				icmp type echo-request limit rate over 5/second burst 5 packets counter name app6-ni6-dropped drop
			}
		}
	NFT
}

# On the gateway, who sees what the edge does not know of itself: the uplink that a packet has come by. The marks above
# could be wrong; a network's name server and a cloud are reached by its uplink only.
gateway_ruleset() {
	local device address n uplink name _ public
	cat <<-NFT
		table inet gateway {
			counter wrong-uplink { }
			counter blocked { }
			chain arrived {
				type filter hook prerouting priority raw
				ip daddr $blocked counter name blocked
				iifname != { "eth0", "eth1", "eth2" } return
	NFT
	while read -r device address _; do
		[ "$address" = - ] || echo "iifname $device ip saddr != $address counter name wrong-uplink"
	done < <(rows uplinks)
	while read -r n _ _ _ uplink; do
		[ "$n" = 6 ] || echo "iifname != $uplink ip daddr $nameserver$n counter name wrong-uplink"
	done < <(rows networks)
	while read -r name n public _; do
		read -r _ _ _ _ uplink < <(rows networks 0 "$n")
		echo "iifname != $uplink ip daddr $public counter name wrong-uplink"
	done < <(rows clouds)
	printf '%s\n' '}' '}'
}

load_acl() {
	local name
	ruleset >"$dir/edge.nft"
	gateway_ruleset >"$dir/gateway.nft"
	cat >"$dir/mangle" <<-IPTABLES
		*mangle
		-A PREROUTING -i br-ni1 -m set --match-set ni1.allowed dst -j MARK --set-mark $let_in
		COMMIT
	IPTABLES
	for name in "${namespaces[@]}"; do
		case $name in
		*-edge | *-ni?)
			inside "$name" sh -ec '
				ipset create ni1.allowed hash:ip
				iptables-nft-restore --noflush "$0/mangle"
				nft -f "$0/edge.nft"
				cd /proc/sys/net/netfilter
				echo 1 >nf_conntrack_acct
				echo 1 >nf_conntrack_timestamp' "$dir"
			;;
		*-gw) inside "$name" nft -f "$dir/gateway.nft" ;;
		esac
	done
}
