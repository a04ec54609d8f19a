#!/usr/bin/env bash
# churn.sh OUT - 1,000 VRFs are made and removed while daemons and makers of sockets come and go: nothing leaves its
#                VRF, and nothing is left behind
#
# `make churn` runs it by way of tests/with-vrf.sh. In a network namespace of its own, in order: start a dnsmasq in a VRF
# that stays, and a maker of sockets (churn.c) for each of four VRFs that do not. Then, fifty times: make twenty VRFs;
# start two dnsmasqs in them; ask the daemons' sockets for their device (`vrfbind status`); remove the twenty VRFs, with
# the daemons still in them; ask again; end the two. Then end all, and add up, into OUT/figures.tsv.
#
# A maker looks at its sockets itself. An observer from outside sees a socket now and then that has no device yet: it is
# still being created, and socket() has not returned it.
#
# Exit status: 1 if a socket was outside of its VRF, or anything was left behind, or nothing was looked at.
#
# VRFBIND_CHURN=N   so many VRFs, a multiple of 20, at least 60 (default 1000)
#
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=benches/setup.sh
. benches/setup.sh
in_netns benches/churn.sh "$@"
count=${VRFBIND_CHURN:-1000}
out=$1
maker=$PWD/target/bench/bin/churn
library=${VRFBIND_TEST_LIB:?is not set: the library}
command=${VRFBIND_TEST_COMMAND:?is not set: the command}

dir=$(mktemp -d "${TMPDIR:-/tmp}/vrfbind.XXXXXX")
pids=()
undo() {
	trap '' INT TERM HUP
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	rm -rf "$dir"
}
at_end undo

# serve VRF - a dnsmasq under the library, on the VRF's own device
serve() {
	LD_PRELOAD=$library VRFBIND_VRF=$1 dnsmasq --keep-in-foreground --conf-file=/dev/null --interface="$1" \
		--except-interface=lo --bind-dynamic --no-resolv --no-hosts --user=root --pid-file= --log-facility=- \
		--dhcp-range=10.10.1.100,10.10.1.199 --dhcp-leasefile="$dir/$1.leases" >"$dir/$1.log" 2>&1 &
	pids+=($!)
}
serves() { grep -q 'started, version' "$dir/$1.log"; }

# Counts the sockets of the daemons.
outside=0
seen=0
deleted=0
look() {
	# Status 1, of a socket that is not ok, is what is counted here.
	"$command" status --json "$@" >"$dir/status" || true
	outside=$((outside + $(grep -cE '"verdict": "(unbound|no-vrf|wrong-vrf|unknown)"' "$dir/status" || true)))
	deleted=$((deleted + $(grep -c '"verdict": "device-deleted"' "$dir/status" || true)))
	seen=$((seen + $(grep -c '"verdict": "' "$dir/status" || true)))
}

descriptors_of() { find "/proc/$1/fd" -mindepth 1 | wc -l; }
dirty_of() { awk '$1 == "Private_Dirty:" { print $2 }' "/proc/$1/smaps_rollup"; }
in_use() {
	awk '/^(TCP|UDP|RAW)6?: inuse/ { sum += $3 } END { print sum }' /proc/net/sockstat /proc/net/sockstat6
}

vrfs() { # add | delete
	local i
	for ((i = 0; i < 20; i++)); do
		if [ "$1" = delete ]; then
			echo "link delete c$i"
		else
			printf 'link add c%d type vrf table %d\nlink set c%d up\naddress add 10.10.1.1/24 dev c%d\n' "$i" $((100 + i)) "$i" "$i"
		fi
	done | ip -batch -
}

ip link set lo up
printf 'link add stays type vrf table 99\nlink set stays up\naddress add 10.10.1.1/24 dev stays\n' | ip -batch -
serve stays
long=${pids[0]}
await serves stays
for number in 0 1 2 3; do
	# One of them is sealed.
	LD_PRELOAD=$library VRFBIND_VRF=c$number VRFBIND_SEAL=$((number == 3)) "$maker" "c$number" >"$dir/maker$number" &
	pids+=($!)
done
lasting=("${pids[@]}")

for ((round = 1; round <= count / 20; round++)); do
	vrfs add
	first=c$((round % 20)) second=c$(((round + 10) % 20))
	serve "$first"
	serve "$second"
	await serves "$first"
	await serves "$second"
	both=("${pids[@]:${#lasting[@]}}")
	look "$long" "${both[@]}"
	vrfs delete
	look "$long" "${both[@]}"
	kill "${both[@]}"
	wait "${both[@]}" || true
	pids=("${lasting[@]}")
	if [ "$round" -eq 2 ]; then
		descriptors=$(descriptors_of "$long")
		dirty=$(dirty_of "$long")
	fi
	[ $((round % 5)) -ne 0 ] || say "$((20 * round)) VRFs, $seen sockets looked at, $outside outside"
done
more_descriptors=$(($(descriptors_of "$long") - descriptors))
more_dirty=$(($(dirty_of "$long") - dirty))
kill "${pids[@]}"
wait "${pids[@]}" || true
pids=()
left=$(in_use)
ip link delete stays
devices=$(ip -brief link show type vrf | wc -l)

rm -rf "$out"
mkdir -p "$out"
failed=''
# figure WHAT FIGURE MUST - MUST is 0 or more
figure() {
	local verdict=ok
	case $3:$2 in
	0:0 | more:[1-9]*) ;;
	*) verdict=WRONG failed=1 ;;
	esac
	printf '%s\t%s\t%s\n' "$1" "$2" "$verdict" | tee -a "$out/figures.partial" >&2
}
read -r created missing stray more more_memory < <(awk '
	{ created += $1; missing += $2; outside += $4; more += $6 - $5; dirty += $8 - $7 }
	!$7 { dirty = "never-looked-at" }
	END { print created, missing, outside, more, dirty }' "$dir"/maker?)
figure 'sockets that makers made' "$created" more
figure 'sockets that were not created, as their VRF was missing (ENODEV)' "$missing" more
figure 'sockets of daemons looked at' "$seen" more
figure 'of these in a VRF that was removed' "$deleted" more
figure 'sockets of makers outside of their VRF' "$stray" 0
figure 'sockets of daemons outside of their VRF' "$outside" 0
figure 'descriptors that makers have more than at first' "$more" 0
figure 'descriptors that the lasting dnsmasq has more' "$more_descriptors" 0
figure 'private dirty memory that makers have more than at first, kB' "$more_memory" 0
figure 'private dirty memory that the lasting dnsmasq has more, kB' "$more_dirty" 0
figure 'sockets in use after all have ended' "$left" 0
figure 'VRFs that are left' "$devices" 0

cat >"$out/environment" <<-TEXT
	VRFs	$count
	system	$(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)
	processor	$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) of them
TEXT
mv "$out/figures.partial" "$out/figures.tsv"
[ -z "$failed" ]
