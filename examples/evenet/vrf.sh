# shellcheck shell=bash
# vrf.sh - the devices and the routes: namespaces, VRFs, bridges, veth pairs, uplinks, tables, conntrack zones
#
# One `ip -batch` for each namespace. In order: the edge, from which all veth pairs lead; then each peer, which only
# has to take up what it was given. In the way `netns` a local network's bridge and vn device are in a namespace
# instead of a VRF, and everything else is the same.

# The namespace of network $1's bridge.
namespace_of() {
	if [ "$way" = netns ] && is_local "$1"; then echo "$id-ni$1"; else echo "$edge"; fi
}
is_local() { [ "$1" -le 3 ]; }

make_namespaces() {
	local name
	for name in gw $(app_names) $(cloud_names); do namespaces+=("$id-$name"); done
	[ "$way" != netns ] || namespaces+=("$id"-ni{1..3})
	printf 'netns add %s\n' "${namespaces[@]:1}" | ip -batch -
	for name in "${namespaces[@]}"; do
		[[ $name != *-app* ]] || continue
		inside "$name" sh -ec '
			cd /proc/sys/net
			echo 1 >ipv4/ip_forward
			echo 1 >ipv6/conf/all/forwarding
			for scope in all default; do
				echo 0 >ipv6/conf/$scope/accept_dad
				echo 0 >ipv4/conf/$scope/rp_filter
			done
			# The hairpin comes back by eth0 with the address of eth1.
			echo 1 >ipv4/conf/default/accept_local
			ip link set lo up'
	done
}

# network NUMBER KIND SUBNET PREFIX
# A bridge in its VRF, the pair to the default VRF, and its apps' ports. Devices are enslaved before they get addresses:
# IPv6 loses those that it had. A port of a bridge is in no VRF, so it has no address of its own.
network() {
	local n=$1 subnet=$3 prefix=$4 where master='' route=''
	where=$(namespace_of "$n")
	if [ "$where" = "$edge" ]; then
		master="master ni$n" route="vrf ni$n"
		cat <<-IP
			link add ni$n type vrf table 40$n
			link set ni$n up
			route add unreachable 0.0.0.0/0 vrf ni$n metric 4278198272
			route add unreachable ::/0 vrf ni$n metric 4278198272
		IP
	fi
	cat <<-IP
		link add vd$n type veth peer name vn$n netns $where
		address add 240.0.$n.1/30 dev vd$n
		link set vd$n addrgenmode none up
	IP
	in_network "$n" <<-IP
		$([ "$where" = "$edge" ] || black_hole)
		link add br-ni$n type bridge mcast_snooping 0
		link set br-ni$n $master
		link set vn$n addrgenmode none $master
		address add 240.0.$n.2/30 dev vn$n
		link set vn$n up
		$(ports "$n")
		link set br-ni$n up
		address add $subnet.1/24 dev br-ni$n
		address add $prefix::1/64 dev br-ni$n nodad
		address add $metadata/32 dev br-ni$n
		route add default via 240.0.$n.1 dev vn$n $route
	IP
}

# What is in the edge's namespace is done with the rest of the edge.
in_network() {
	local where
	where=$(namespace_of "$1")
	if [ "$where" = "$edge" ]; then cat; else cat >"$dir/ni$1.ip"; fi
}

ports() {
	local app network device _
	while read -r app network device _; do
		cat <<-IP
			link add $app-ni$network type veth peer name $device address $(mac "$network" "$app") netns $id-$app
			link set $app-ni$network master br-ni$network addrgenmode none up
		IP
	done < <(rows apps 1 "$1")
}

# The switch has no address and no VRF: its uplink is a port like its app's.
switch() {
	cat <<-IP
		link add br-ni$1 type bridge mcast_snooping 0
		link set br-ni$1 addrgenmode none
		$(ports "$1")
		link set $2 master br-ni$1
		link set br-ni$1 up
	IP
}

# Table 500 + the number of the uplink: what its networks and its own address send. Before them: what was dropped goes
# to the black hole, what is for another network's pair goes there. The table local comes after the VRFs, or an
# address of the default VRF would be local in every VRF, and the hairpin would not leave the device.
uplink() {
	local device=$1 address=$2 gateway=$3 n _
	echo "link add $device type veth peer name $device netns $id-gw"
	echo "link set $device addrgenmode none up"
	[ "$address" != - ] || return 0
	cat <<-IP
		address add $address/24 dev $device
		route add default via $gateway dev $device table 50${device#eth}
		rule add pref 400 from $address iif lo lookup 50${device#eth}
	IP
	while read -r n _; do
		printf "rule add pref %s iif vd$n to 240.0.0.0/4 lookup %s\n" 200 local 201 main
		echo "rule add pref 300 iif vd$n lookup 50${device#eth}"
	done < <(rows networks 4 "$device")
}

# Where what was dropped goes, in each namespace that has access lists.
black_hole() {
	cat <<-IP
		rule add pref 100 fwmark $dropped/$dropped lookup 400
		link add blackhole type dummy
		link set blackhole up
		route add default dev blackhole table 400
	IP
}

edge() {
	local n kind subnet prefix uplink address gateway
	cat <<-IP
		rule add pref 32765 lookup local
		rule delete pref 0
		$(black_hole)
	IP
	while read -r uplink address gateway; do
		uplink "$uplink" "$address" "$gateway"
	done < <(rows uplinks)
	while read -r n kind subnet prefix uplink; do
		case $kind in
		switch) switch "$n" "$uplink" ;;
		*) network "$n" "$kind" "$subnet" "$prefix" ;;
		esac
	done < <(rows networks)
}

# The gateway routes between its uplinks, the clouds and the addresses outside, which it has itself.
gateway() {
	local device address gateway name _ public
	while read -r device address gateway; do
		printf '%s\n' "link set $device addrgenmode none up" "address add $gateway/24 dev $device"
	done < <(rows uplinks)
	for address in "$allowed" "$blocked" "$outsider" "$nameserver"{1..5}; do
		echo "address add $address/32 dev lo"
	done
	while read -r name _ public _; do
		cat <<-IP
			link add $name type veth peer name eth0 netns $id-$name
			link set $name addrgenmode none up
			address add ${public%.*}.$((${public##*.} + 1))/30 dev $name
		IP
	done < <(rows clouds)
}

cloud() {
	local public=$1 inner=$2
	cat <<-IP
		link set eth0 addrgenmode none up
		address add $public/30 dev eth0
		address add $inner/32 dev lo
		route add default via ${public%.*}.$((${public##*.} + 1))
	IP
}

make_topology() {
	local n app name public inner device _
	edge >"$dir/edge.ip"
	ip -n "$edge" -batch "$dir/edge.ip"
	for n in $(numbers local); do
		[ ! -e "$dir/ni$n.ip" ] || ip -n "$id-ni$n" -batch "$dir/ni$n.ip"
	done
	gateway >"$dir/gw.ip"
	ip -n "$id-gw" -batch "$dir/gw.ip"
	while read -r name _ public inner; do
		cloud "$public" "$inner" | ip -n "$id-$name" -batch -
	done < <(rows clouds)
	# All devices of an app; they get their addresses from daemons.
	for app in $(app_names); do
		{
			echo 'link set lo up'
			rows apps 0 "$app" | while read -r _ _ device _; do echo "link set $device up"; done
		} | ip -n "$id-$app" -batch -
	done
}
