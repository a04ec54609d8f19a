# shellcheck shell=bash disable=SC2034  # who sources this uses it
# addresses.sh - who is where: the single table, from which everything is built, checked and drawn
#
# The collisions are meant: NI1 and NI3 are one subnet, IPv4 and IPv6, and app1 and app3 one address; NI2 is eth1's
# subnet; eth0's is the clouds'; NI4 and NI5 have one subnet, one app address, and one pair of traffic selectors.
#
# A VRF ni4 has table 404 and conntrack zone 4. A veth pair leads from it (vn4, 240.0.4.2) to the default VRF (vd4,
# 240.0.4.1), in whose zone 999 and by whose table 500 + the number of the uplink its packets go on.

# number | kind | subnet /24 | prefix /64 | uplink; its bridge has address 1, in each
networks='
1 | local  | 10.10.1  | fd00:10:1  | eth0
2 | local  | 10.10.2  | fd00:10:2  | eth0
3 | local  | 10.10.1  | fd00:10:1  | eth1
4 | vpn    | 10.10.10 | fd00:10:10 | eth1
5 | vpn    | 10.10.10 | fd00:10:10 | eth2
6 | switch | 172.16.3 | -          | eth3
'

# device | the edge's address | the gateway's, which is another machine's than a cloud's 192.168.0.1
uplinks='
eth0 | 192.168.0.2 | 192.168.0.1
eth1 | 10.10.2.200 | 10.10.2.254
eth2 | 172.16.2.2  | 172.16.2.1
eth3 | -           | 172.16.3.1
'

# app | network | its device there | what dnsmasq leases to it; its MAC address is 02:00:00:00:NETWORK:APP
apps='
app1 | 1 | eth0 | 10.10.1.11
app1 | 2 | eth1 | 10.10.2.11
app2 | 2 | eth0 | 10.10.2.12
app3 | 3 | eth0 | 10.10.1.11
app4 | 4 | eth0 | 10.10.10.11
app5 | 5 | eth0 | 10.10.10.11
app6 | 6 | eth0 | 172.16.3.11
'

# port on the uplink | network | port 80 of
port_maps='
8081 | 1 | 10.10.1.11
8082 | 2 | 10.10.2.12
'

# cloud | network it serves | its public address | the address that both have inside
clouds='
cloud1 | 4 | 198.51.100.1 | 192.168.0.1
cloud2 | 5 | 198.51.100.5 | 192.168.0.1
'

# On the far side of the gateway. NI 4 asks the name server 203.0.113.54, and so on.
allowed=203.0.113.10    # allowed.test
blocked=203.0.113.66    # blocked.test
outsider=203.0.113.99   # asks from outside
nameserver=203.0.113.5
metadata=169.254.169.254

# A mark is who sent it: 16 * app + network; and:
let_in=0x2000           # its destination is in the network's ipset
dropped=0x1000          # its route is table 400, which ends in the device blackhole

# rows TABLE [COLUMN VALUE] - the table's rows, as words, perhaps only those with that value
rows() {
	local row
	while read -ra row; do
		[ ${#row[@]} -gt 0 ] || continue
		[ $# -eq 1 ] || [ "${row[$2]}" = "$3" ] || continue
		echo "${row[*]}"
	done <<<"${!1//|/}"
}

# only TABLE COLUMN PATTERN - leaves out the table's other rows
only() {
	local row
	while read -ra row; do
		[[ ${#row[@]} -eq 0 || ! ${row[$2]} =~ ^($3)$ ]] || echo "${row[*]}"
	done <<<"${!1//|/}"
}

# The reduced form has the local networks and one VPN.
if [ -n "${EVENET_REDUCED-}" ]; then
	networks=$(only networks 0 '[1-4]')
	uplinks=$(only uplinks 0 'eth[01]')
	apps=$(only apps 1 '[1-4]')
	clouds=$(only clouds 1 4)
fi

# The numbers of the networks of kind $1, and the names of the machines around the edge.
numbers() { rows networks 1 "$1" | cut -d' ' -f1; }
app_names() { rows apps | cut -d' ' -f1 | sort -u; }
cloud_names() { rows clouds | cut -d' ' -f1; }

mac() { printf '02:00:00:00:%02x:%02x' "$1" "${2#app}"; }
