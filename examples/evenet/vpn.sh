# shellcheck shell=bash
# vpn.sh - strongSwan: the tunnels of NI4 and NI5 to their clouds, whose traffic selectors are the same
#
# The kernel keeps them apart by if_id 4 and 5: network 4's packets for 192.168.0.0/24 are routed to the XFRM interface
# xfrm4, which is in VRF ni4. In one of two modes:
#   each   one charon in each VRF, with a vici socket of its own. IKE and ESP are the network's traffic as any other is:
#          from 240.0.4.2 through the pair, translated at both ends, hence in UDP port 4500 (NAT traversal)
#   one    a charon in the default VRF for both, as strongSwan is meant to be run; it speaks from the uplinks'
#          addresses, in plain ESP
# The device below an XFRM interface decides in which VRF the encrypted packet is routed: vn4, or the uplink.
#
# What a user would type, for NI4:
#   STRONGSWAN_CONF=ni4.strongswan VRFBIND_VRF=ni4 LD_PRELOAD=libvrfbind.so charon-systemd
#   swanctl --load-all --file ni4.swanctl --uri unix://...
# Where AppArmor confines charon-systemd (Debian's profile does), the profile must allow the library and this directory.

# strongswan_conf NAME - to be found by charon as STRONGSWAN_CONF
strongswan_conf() {
	cat <<-CONF
		charon-systemd {
			load = random nonce openssl aes gcm sha2 hmac kdf kernel-netlink socket-default vici
			# The routes are ours, in the VRFs.
			install_routes = no
			install_virtual_ip = no
			plugins {
				vici {
					socket = unix://$dir/$1.vici
				}
			}
			journal {
				default = -1
			}
			filelog {
				log {
					path = $dir/$1.charon.log
					flush_line = yes
				}
			}
		}
	CONF
}

# connection NAME LOCAL REMOTE LOCAL_ID REMOTE_ID LOCAL_TS REMOTE_TS [IF_ID]
connection() {
	cat <<-CONF
		connections {
			$1 {
				version = 2
				mobike = no
				proposals = aes128gcm16-prfsha256-ecp256
				local_addrs = $2
				remote_addrs = $3
				local {
					auth = psk
					id = $4
				}
				remote {
					auth = psk
					id = $5
				}
				children {
					$1 {
						esp_proposals = aes128gcm16
						local_ts = $6
						remote_ts = $7
						${8:+if_id_in = $8}
						${8:+if_id_out = $8}
						${8:+reqid = $8}
					}
				}
			}
		}
		secrets {
			ike-$1 {
				id = $5
				secret = not a secret: of $1
			}
		}
	CONF
}

swan() { swanctl "${@:2}" --uri "unix://$dir/$1.vici" >>"$dir/$1.swanctl.log" 2>&1; }
answers() { [ -S "$dir/$1.vici" ] && swan "$1" --stats; }

# load NAME CONNECTION... - waits for the charon and tells it its connections
load() {
	await "$limit" answers "$1" || { cat "$dir/$1.charon.log" "$dir/$1.swanctl.log" >&2; return 1; }
	cat "${@:2}" >"$dir/$1.swanctl"
	swan "$1" --load-all --file "$dir/$1.swanctl"
}

start_clouds() {
	local name n public _
	while read -r name n public _; do
		strongswan_conf "$name" >"$dir/$name.strongswan"
		connection "ni$n" "$public" %any "$name" "ni$n" 192.168.0.0/24 10.10.10.0/24 >"$dir/$name.connection"
		STRONGSWAN_CONF=$dir/$name.strongswan background "$id-$name" charon-systemd >"$dir/$name.log" 2>&1 &
		daemons+=($!)
	done < <(rows clouds)
	while read -r name _; do load "$name" "$dir/$name.connection"; done < <(rows clouds)
}

# xfrm_interfaces MODE
xfrm_interfaces() {
	local n uplink below _
	while read -r n _ _ _ uplink; do
		below=vn$n
		[ "$1" = each ] || below=$uplink
		ip link delete "xfrm$n" 2>/dev/null || true
		cat <<-IP
			link add xfrm$n type xfrm dev $below if_id $n
			link set xfrm$n addrgenmode none master ni$n up
			route add 192.168.0.0/24 dev xfrm$n vrf ni$n
		IP
	done < <(rows networks 1 vpn) | ip -batch -
}

# vpn_connections MODE
vpn_connections() {
	local name n public uplink from _
	while read -r name n public _; do
		read -r _ _ _ _ uplink < <(rows networks 0 "$n")
		from=240.0.$n.2
		[ "$1" = each ] || from=$(rows uplinks 0 "$uplink" | cut -d' ' -f2)
		connection "ni$n" "$from" "$public" "ni$n" "$name" 10.10.10.0/24 192.168.0.0/24 "$n" >"$dir/ni$n.connection"
	done < <(rows clouds)
}

start_vpn_each() {
	local n
	for n in $(numbers vpn); do
		strongswan_conf "ni$n" >"$dir/ni$n.strongswan"
		export STRONGSWAN_CONF=$dir/ni$n.strongswan
		start "$n" charon charon-systemd
	done
	unset STRONGSWAN_CONF
	for n in $(numbers vpn); do load "ni$n" "$dir/ni$n.connection"; done
}

start_vpn_one() {
	strongswan_conf one >"$dir/one.strongswan"
	STRONGSWAN_CONF=$dir/one.strongswan charon-systemd >"$dir/one.log" 2>&1 &
	one=$!
	daemons+=($one)
	load one "$dir"/ni?.connection
}

# Takes the tunnels down, and then ends the charons of the VRFs: one that is killed may not get to tell its peer.
end_vpn_each() {
	local n name pid _
	for n in $(numbers vpn); do swan "ni$n" --terminate --ike "ni$n" --timeout "$limit"; done
	while read -r _ name pid; do
		[ "$name" != charon ] || { kill "$pid"; wait "$pid" || true; }
	done <"$dir/daemons"
	sed -i '/ charon /d' "$dir/daemons"
}

end_vpn_one() {
	kill "$one"
	wait "$one" || true
	rm -f "$dir/one.vici"
}
