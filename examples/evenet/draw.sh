#!/usr/bin/env bash
# draw.sh         - prints the topology as SVG, made of the tables in addresses.sh
# draw.sh --check - whether evenet.svg is that; with status 1 and the difference if it is not
#
# A row for each network: its apps, its VRF, its pair to the default VRF, and the uplink it leaves by. An uplink's
# height is that of the first network which uses it.
set -euo pipefail
here=$(dirname -- "$(readlink -f -- "$0")")
unset EVENET_REDUCED
# shellcheck source=examples/evenet/addresses.sh
. "$here/addresses.sh"

row_of() { echo $((50 + ($1 - 1) * 96)); }
box() { printf '<rect x="%s" y="%s" width="%s" height="%s" rx="4" class="%s"/>\n' "$@"; }
text() { printf '<text x="%s" y="%s" class="%s">%s</text>\n' "$@"; }
line() { printf '<line x1="%s" y1="%s" x2="%s" y2="%s"/>\n' "$@"; }

network() {
	local n=$1 kind=$2 subnet=$3 prefix=$4 y app device address offset=0 _
	y=$(row_of "$n")
	while read -r app _ device address; do
		box 10 $((y + offset)) 150 34 app
		text 18 $((y + offset + 14)) name "$app, its $device"
		text 18 $((y + offset + 28)) '' "$address"
		line 160 $((y + offset + 17)) 230 $((y + offset + 17))
		offset=$((offset + 40))
	done < <(rows apps 1 "$n")
	if [ "$kind" = switch ]; then
		box 230 "$y" 250 76 switch
		text 238 $((y + 16)) name "NI$n (switch): br-ni$n, no address"
		text 238 $((y + 32)) '' "$subnet.0/24, DHCP from the gateway"
		text 238 $((y + 48)) '' "conntrack zone $n, rate limit"
		return
	fi
	box 230 "$y" 250 76 "$kind"
	text 238 $((y + 16)) name "NI$n ($kind): VRF ni$n, table 40$n, zone $n"
	text 238 $((y + 32)) '' "br-ni$n $subnet.1/24"
	text 238 $((y + 48)) '' "$prefix::1/64, $metadata"
	text 238 $((y + 64)) '' "dnsmasq, radvd, httpd$([ "$kind" = local ] || echo ", charon; xfrm$n")"
	line 480 $((y + 38)) 640 $((y + 38))
	text 486 $((y + 33)) '' "vn$n 240.0.$n.2"
	text 560 $((y + 52)) '' "240.0.$n.1 vd$n"
}

drawing() {
	local n kind subnet prefix uplink device address gateway y name public inner height first
	height=$(($(row_of 6) + 100))
	cat <<-SVG
		<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1290 $height" font-family="sans-serif" font-size="11">
		<style>
		rect { fill: #fff; stroke: #555 } line { stroke: #555 } .name { font-weight: bold }
		.edge { fill: #f4f4f4 } .local { fill: #e3f0ff } .vpn { fill: #e6f6e2 } .switch { fill: #fff3d6 }
		</style>
	SVG
	box 200 10 740 $((height - 20)) edge
	text 210 28 name 'the edge device: one network namespace'
	box 640 40 130 $(($(row_of 5) + 46)) default
	text 648 58 name 'default VRF'
	text 648 74 '' 'zone 999'
	box 1030 40 90 $((height - 60)) app
	text 1038 58 name gateway
	while read -r n kind subnet prefix uplink; do
		network "$n" "$kind" "$subnet" "$prefix"
		first=$(rows networks 4 "$uplink" | head -n 1 | cut -d' ' -f1)
		[ "$kind" = switch ] || line 640 $(($(row_of "$n") + 38)) 770 $(($(row_of "$first") + 58))
	done < <(rows networks)
	while read -r device address gateway; do
		read -r n kind _ < <(rows networks 4 "$device" | head -n 1)
		y=$(($(row_of "$n") + 58))
		line "$([ "$kind" = switch ] && echo 480 || echo 770)" "$y" 1030 "$y"
		text 778 $((y - 6)) name "$device"
		[ "$address" = - ] || text 778 $((y + 14)) '' "$address/24, table 50${device#eth}"
		text 950 $((y - 6)) '' "$gateway"
	done < <(rows uplinks)
	while read -r name n public inner; do
		y=$(row_of "$n")
		box 1150 "$y" 130 50 vpn
		text 1156 $((y + 14)) name "$name"
		text 1156 $((y + 28)) '' "$public"
		text 1156 $((y + 42)) '' "$inner inside"
		line 1120 $((y + 25)) 1150 $((y + 25))
	done < <(rows clouds)
	echo '</svg>'
}

case ${1-} in
--check) diff "$here/evenet.svg" <(drawing) ;;
*) drawing ;;
esac
