#!/usr/bin/env bash
# compare.sh - `ip vrf exec` and the library side by side, measured here and now
#
# `make compare` runs it by way of tests/with-vrf.sh and tests/topology.sh. Every cell of the table is something that
# happened in this run: what the kernel reports about a daemon's sockets, the device of a new socket
# (socket_device.c), or the first line of a complaint. Nothing is asserted; no cell is written beforehand.
#
# How it works, in order:
#   1. Compile the programs that measure: socket_device, the same linked statically, paired.
#   2. Run dnsmasq and radvd, one at a time and each with one configuration, in three worlds: with neither, under
#      `ip vrf exec`, under the library. Once a daemon's sockets are there, read them, its memory and its cgroup.
#   3. Time the start of /bin/true in the three worlds and by `vrfbind exec`, interleaved and paired (paired.c).
#   4. Let a program make a socket in each world, and again with one thing taken away: root, a mount, the VRF.
#   5. Let those make one whose sockets a hook of socket() alone would not see.
# A row is printed when its cells are known. A trap ends what is started; what is created in the topology's network
# namespaces and in its scratch directory goes with them.
#
# ROUNDS=N   how often /bin/true is started in each way (default 21)
#
# Exit status: 0 if every cell could be measured, whatever its contents. Otherwise 1, and the last line names what could not.
# A command that fails with neither of the two is not measured: then the fault is not theirs.
#
# shellcheck disable=SC2317  # await calls by name
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=benches/setup.sh
. benches/setup.sh

[ -n "${T_DIR-}" ] || { say 'compare.sh needs the two VRFs of tests/topology.sh; run: make compare'; exit 2; }
vrf=$T_BLUE_VRF
bridge=$T_BLUE_BRIDGE
unmeasured=()
running=''

# The place where ip mounts cgroup2 if it is not mounted. The mount goes with its namespace, but the directory would
# stay.
mount_point=/run/cgroup2
[ ! -e "$mount_point" ] || mount_point=''

undo() {
	[ -z "$running" ] || kill "$running" 2>/dev/null || true
	[ -z "$mount_point" ] || rmdir "$mount_point" 2>/dev/null || true
}
at_end undo

could_not() {
	unmeasured+=("$1")
	say "could not measure: $1"
}

# row LABEL NEITHER IP LIBRARY - columns of 22, 18, 28 and 26 characters, wrapped between words if possible
row() {
	if [ -z "$2" ] || [ -z "$3" ] || [ -z "$4" ]; then
		could_not "$1"
	fi
	printf '%s\n' "$@" | awk '
		BEGIN { split("22 18 28 26", width) }
		{
			lines = 0
			for (rest = $0; rest != ""; ) {
				cut = width[NR]
				for (at = cut + 1; length(rest) > width[NR] && at > 1; at--)
					if (substr(rest, at, 1) == " ") {
						cut = at - 1
						break
					}
				cell[NR, ++lines] = substr(rest, 1, cut)
				rest = substr(rest, cut + 1)
				sub(/^ /, "", rest)
				if (NR == 1 && rest != "")
					rest = "    " rest
			}
			if (lines > height)
				height = lines
		}
		END {
			for (line = 1; line <= height; line++) {
				text = ""
				for (column = 1; column <= NR; column++)
					text = text sprintf("%-" width[column] "s  ", cell[column, line])
				sub(/ +$/, "", text)
				print text
			}
		}'
}

rule() { printf '%.0s-' {1..100}; echo; }

# enter WORLD DEVICE - sets `under`, the words that put the command behind them into a world
enter() {
	case $1 in
	neither) under=(env) ;;
	ip) under=(ip vrf exec "$2") ;;
	library) under=(env "LD_PRELOAD=$library" "VRFBIND_VRF=$2") ;;
	esac
}

# --- 1. what measures ---

cc -O2 -Wall -Wextra -Werror -o "$T_DIR/socket_device" benches/socket_device.c
cc -O2 -Wall -Wextra -Werror -static -o "$T_DIR/socket_device-static" benches/socket_device.c
cc -O2 -Wall -Wextra -Werror -o "$T_DIR/paired" benches/paired.c
install -m 4755 "$T_DIR/socket_device" "$T_DIR/socket_device-setuid"

echo "Linux $(uname -r), $(ip -V)"
rule
row "" "neither" "ip vrf exec $vrf CMD" "LD_PRELOAD=libvrfbind.so VRFBIND_VRF=$vrf CMD"
rule

# --- 2. the daemons ---

cat >"$T_DIR/dnsmasq.conf" <<CONF
interface=$bridge
bind-dynamic
no-resolv
server=192.0.2.53
dhcp-range=10.10.1.100,10.10.1.199
dhcp-range=fd00:10:1::100,fd00:10:1::1ff
enable-tftp
tftp-root=$T_DIR
dhcp-leasefile=$T_DIR/leases
log-facility=-
pid-file=
user=nobody
CONF
cat >"$T_DIR/radvd.conf" <<CONF
interface $bridge {
	AdvSendAdvert on;
	prefix fd00:10:1::/64 { };
};
CONF

has_ended() { ! kill -0 "$1" 2>/dev/null; }
table_of() { "$VRFBIND_TEST_BIN/sockets" "$vrf" "$1" 2>/dev/null || true; }
# dnsmasq logs when it has opened everything; radvd has, when its one socket is in both of its processes.
dnsmasq_is_ready() { has_ended "$1" || grep -q ': started, version' "$T_DIR/log"; }
radvd_is_ready() { has_ended "$1" || [ "$(table_of "$1" | wc -l)" -gt 2 ]; }

# "9: 5 br-blue, 4 blue", and how many are outside of the VRF if any is
sockets_of() {
	table_of "$1" | awk '
		NR > 1 {
			all++
			outside += $7 != "ok"
			on[$6 == "-" ? "no device" : $6]++
		}
		END {
			for (device in on)
				list = list ", " on[device] " " device
			if (all)
				print all ": " substr(list, 3) (outside ? "; " outside " not in the VRF" : "")
		}'
}

# Of the process and its children. What the kernel keeps for them (a cgroup, a BPF program) is not in it.
memory_of() {
	local pid
	for pid in $1 $(cat "/proc/$1/task/$1/children"); do
		cat "/proc/$pid/smaps_rollup"
	done | awk '
		$1 == "Private_Dirty:" { dirty += $2 }
		$1 == "Pss:" { pss += $2 }
		END { printf "%d kB dirty, %d kB PSS\n", dirty, pss }'
}

# look_at NAME ARGUMENT... - the rows of a daemon
look_at() {
	local world sockets=() memory=() cgroup=()
	for world in neither ip library; do
		enter "$world" "$vrf"
		: >"$T_DIR/log"
		"${under[@]}" "$@" >"$T_DIR/log" 2>&1 &
		running=$!
		if await "$1_is_ready" "$running" && ! has_ended "$running"; then
			sockets+=("$(sockets_of "$running")")
			memory+=("$(memory_of "$running")")
			cgroup+=("$(sed -n 's/^0:://p' "/proc/$running/cgroup")")
		else
			sockets+=('') memory+=('') cgroup+=('')
			sed 's/^/  /' "$T_DIR/log" >&2
		fi
		kill "$running" 2>/dev/null || true
		wait "$running" || true
		running=''
	done
	row "$1: INET sockets" "${sockets[@]}"
	row '  private memory, PSS' "${memory[@]}"
	row '  cgroup it ends up in' "${cgroup[@]}"
}

# The library at its own path: in a file system in memory all of its pages would count as dirty.
library=$VRFBIND_TEST_LIB
look_at dnsmasq --keep-in-foreground --conf-file="$T_DIR/dnsmasq.conf"
look_at radvd --nodaemon --logmethod stderr --username radvd --config "$T_DIR/radvd.conf" --pidfile "$T_DIR/radvd.pid"

# --- 3. the start of a program ---

# Copies in one file system: how fast each was read would be the difference of theirs. Their libraries, and ld.so,
# come from where they are.
mkdir "$T_DIR/start"
cp -L /bin/true "$(command -v ip)" "$VRFBIND_TEST_LIB" "$VRFBIND_TEST_COMMAND" "$T_DIR/start"
copy=$T_DIR/start/libvrfbind.so
"$T_DIR/paired" "${ROUNDS:-21}" \
	-- neither "$T_DIR/start/true" \
	-- again "$T_DIR/start/true" \
	-- ip "$T_DIR/start/ip" vrf exec "$vrf" "$T_DIR/start/true" \
	-- library "LD_PRELOAD=$copy" "VRFBIND_VRF=$vrf" "$T_DIR/start/true" \
	-- sealed "LD_PRELOAD=$copy" "VRFBIND_VRF=$vrf" VRFBIND_SEAL=1 "$T_DIR/start/true" \
	-- alone "VRFBIND_LIBRARY=$copy" "$T_DIR/start/vrfbind" exec --no-supervise "$vrf" "$T_DIR/start/true" \
	-- vrfbind "VRFBIND_LIBRARY=$copy" "$T_DIR/start/vrfbind" exec "$vrf" "$T_DIR/start/true" >"$T_DIR/rounds"
benches/report.py medians "$T_DIR/rounds" >"$T_DIR/started"

# What a command adds, or takes in all; the median and its interval.
started() {
	awk -v command="$1" '$1 == command {
		printf (NR == 1 ? "%.1f" : "%+.1f") " ms (%.1f to %.1f)\n", $2 / 1000, $3 / 1000, $4 / 1000 }' "$T_DIR/started"
}
row 'start of /bin/true (median, 95 % interval)' "$(started neither)" "$(started ip)" "$(started library)"
row '  sealed (VRFBIND_SEAL=1)' - - "$(started sealed)"
row '  by vrfbind exec --no-supervise' - - "$(started alone)"
row '  by vrfbind exec' - - "$(started vrfbind)"
row '  null control' "$(started again)" - -
rule

# --- 4. one thing taken away ---

# A copy that every user may read.
library=$T_DIR/libvrfbind.so
install -m 644 "$VRFBIND_TEST_LIB" "$library"
program=("$T_DIR/socket_device")

# What a command prints, or what it complains about.
outcome() {
	local text
	if text=$("$@" 2>"$T_DIR/complaint"); then
		echo "$text"
	else
		echo "fails: $(head -n 1 "$T_DIR/complaint")"
	fi
}

# devices LABEL DEVICE [PREFIX...] - the row of what `program` gets in the three worlds, each behind the prefix
devices() {
	local label=$1 device=$2 world cells=()
	shift 2
	for world in neither ip library; do
		enter "$world" "$device"
		cells+=("$(outcome "$@" "${under[@]}" "${program[@]}")")
	done
	row "$label" "${cells[@]}"
	[[ ${cells[0]} != 'fails: '* ]] || could_not "$label"
}

nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

# capable CAPABILITY... - whether the program runs in the world `under` as nobody with these capabilities
capable() {
	local list
	list=-all$([ $# -eq 0 ] || printf ',+%s' "$@")
	"${nobody[@]}" --inh-caps="$list" --ambient-caps="$list" "${under[@]}" "${program[@]}" >/dev/null 2>&1
}

# Leaves out one capability after the other, for good if it is not missed.
capabilities() {
	local left=(sys_admin sys_resource net_admin net_raw perfmon bpf dac_override) needed=() candidate
	enter "$1" "$vrf"
	if capable; then
		echo none
		return
	fi
	capable "${left[@]}" || return 0
	while [ ${#left[@]} -gt 0 ]; do
		candidate=${left[0]}
		left=("${left[@]:1}")
		capable "${needed[@]}" "${left[@]}" || needed+=("$candidate")
	done
	echo "${needed[*]}"
}

# remounted SHELL - sets `private`, the words that run the command behind them after this line, with mounts of its own
remounted() { private=(unshare --mount -- sh -ec "$1; exec \"\$@\"" sh); }

devices 'device of a new socket' "$vrf"
devices '  as nobody' "$vrf" "${nobody[@]}"
row '  capabilities needed' "$(capabilities neither)" "$(capabilities ip)" "$(capabilities library)"
# shellcheck disable=SC2016  # for the shell in the mount namespace
remounted 'while at=$(findmnt -nft cgroup2 -o TARGET); do umount --lazy "$at"; done'
devices '  no cgroup2 mounted' "$vrf" "${private[@]}"
devices '  and mounting forbidden' "$vrf" "${private[@]}" setpriv --bounding-set=-sys_admin
# shellcheck disable=SC2016
remounted 'findmnt -nt cgroup2 -o TARGET | while read -r at; do mount -o remount,bind,ro "$at"; done'
devices '  cgroup2 read-only' "$vrf" "${private[@]}"
# Before Linux 5.11 BPF programs were charged to it.
applies=$([ "$(printf '%s\n' 5.11 "$(uname -r)" | sort -V | sed -n 1p)" != 5.11 ] || echo ' (not applicable to this kernel)')
devices "  RLIMIT_MEMLOCK=0$applies" "$vrf" prlimit --memlock=0
devices '  named after a bridge in the VRF' "$bridge"
devices '  VRF missing' missing

# A process that runs while its VRF is deleted and made again: the device of a new socket before and after.
recreated() {
	local pid before after
	enter "$1" made-again
	ip link add made-again type vrf table 103
	mkfifo "$T_DIR/to" "$T_DIR/from"
	"${under[@]}" "${program[@]}" again <"$T_DIR/to" >"$T_DIR/from" &
	pid=$!
	exec 3>"$T_DIR/to" 4<"$T_DIR/from"
	if read -r before <&4; then
		ip link delete made-again
		ip link add made-again type vrf table 103
		echo >&3
		read -r after <&4 && echo "$before, later $after"
	fi
	exec 3>&- 4<&-
	wait "$pid"
	rm "$T_DIR/to" "$T_DIR/from"
	ip link delete made-again
}
row '  VRF deleted and made again' "$(recreated neither)" "$(recreated ip)" "$(recreated library)"
rule

# --- 5. what a hook of socket() alone would not see ---

# looked_up WORLD - by which uplink the query of getaddrinfo() leaves, counted where it arrives
queries() {
	nsenter --net="/run/netns/$1" nft list counter inet compare dns | sed -n 's/.*packets \([0-9]*\) .*/\1/p'
}
looked_up() {
	local default inside ways=()
	default=$(queries "$T_UPSTREAM")
	inside=$(queries "$T_BLUE_UPSTREAM")
	enter "$1" "$vrf"
	# There is no server: getent fails in every world.
	"${private[@]}" "${under[@]}" getent --service=dns ahostsv4 name.test >/dev/null 2>&1 || true
	[ "$(queries "$T_BLUE_UPSTREAM")" = "$inside" ] || ways+=("$T_BLUE_UPLINK")
	[ "$(queries "$T_UPSTREAM")" = "$default" ] || ways+=("$T_UPLINK")
	[ ${#ways[@]} -eq 0 ] || echo "leaves by ${ways[*]}"
}
for upstream in "$T_UPSTREAM" "$T_BLUE_UPSTREAM"; do
	nsenter --net="/run/netns/$upstream" nft -f - <<-'NFT'
		table inet compare {
			counter dns { }
			chain arrived {
				type filter hook input priority 0;
				udp dport 53 counter name "dns"
			}
		}
	NFT
done
echo 'nameserver 192.0.2.53' >"$T_DIR/resolv.conf"
remounted "mount --bind '$T_DIR/resolv.conf' /etc/resolv.conf"
row 'DNS query of getaddrinfo' "$(looked_up neither)" "$(looked_up ip)" "$(looked_up library)"

program=("$T_DIR/socket_device-static")
devices 'socket of a program linked statically' "$vrf"
program=(env VRFBIND_SEAL=1 env "$T_DIR/socket_device-static")
devices '  the same, VRFBIND_SEAL=1' "$vrf"
program=(env -i "$T_DIR/socket_device")
devices '  of a child whose environment is empty' "$vrf"
program=("${nobody[@]}" "$T_DIR/socket_device-setuid")
devices '  of a set-user-ID program' "$vrf"
[[ ,$(findmnt -no OPTIONS --target "$T_DIR"), != *,nosuid,* ]] ||
	could_not "a set-user-ID program: $T_DIR is mounted nosuid"
rule

if [ ${#unmeasured[@]} -gt 0 ]; then
	printf -v list '; %s' "${unmeasured[@]}"
	say "not measured: ${list:2}"
	exit 1
fi
