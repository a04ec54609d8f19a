#!/usr/bin/env bash
# scale.sh OUT [WORLD[:NETWORKS]...] - 256 networks, all 10.10.1.0/24, with a dnsmasq and a radvd each
#
#   WORLD
#   library          in VRFs by the library
#   ip               in VRFs by `ip vrf exec`
#   netns            in a network namespace for each; this and those above if none is given
#   tasks            in VRFs by the library, each daemon a containerd task (examples/containerd) with a shim of its own
#   tasks-paired     likewise, with a shim for each network
#   tasks-together   likewise, with one shim
#
# `make scale` runs it by way of tests/with-vrf.sh. In a network namespace of its own, in order, for each of the
# worlds: make the networks; start the daemons, all at once (tasks one after the other: their start is work of the processor,
# which is not idle meanwhile), in three lots: up to a quarter, up to a half, all; after each lot let every client of it
# ask (clients.c), who is there from the start; ask every socket for its device (`vrfbind status`); add up what memory
# the daemons have; end them. All worlds of VRFs use the same networks.
#
# OUT/figures.tsv gets "WORLD WHAT FIGURE" lines, and OUT/environment says where that was. Times are asserted nowhere.
# Exit status: 1 if a socket is not in its VRF, or a client was not served by its own daemons.
#
# VRFBIND_SCALE=N   so many networks, a multiple of 4, where a world does not say it (default 256)
#
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=benches/setup.sh
. benches/setup.sh
in_netns benches/scale.sh "$@"
# shellcheck source=examples/containerd/engine.sh
. examples/containerd/engine.sh
most=${VRFBIND_SCALE:-256}
out=$1
shift
worlds=("$@")
[ $# -gt 0 ] || worlds=(library ip netns)
export ROOTFS=${ROOTFS:-$PWD/target/containers/debian}
bin=$PWD/target/bench/bin
library=${VRFBIND_TEST_LIB:?is not set: the library}
command=${VRFBIND_TEST_COMMAND:?is not set: the command}
failed=''

dir=$(mktemp -d "${TMPDIR:-/tmp}/vrfbind.XXXXXX")
id=vrfbind-${dir##*.}
pids=()
namespaces=()
# Each dnsmasq has an inotify instance, and its shim one for each task; a user may have 128.
inotify=/proc/sys/fs/inotify/max_user_instances
instances=$(cat "$inotify")

undo() {
	trap '' INT TERM HUP
	end_daemons
	printf 'netns delete %s\n' "${namespaces[@]}" | ip -force -batch - 2>/dev/null || true
	echo "$instances" >"$inotify"
	rm -rf "$dir"
}
at_end undo
[ "$instances" -gt $((4 * most + 64)) ] || echo $((4 * most + 64)) >"$inotify"

end_daemons() {
	[ -z "$containerd" ] || { end_containerd; pids=(); }
	[ ${#pids[@]} -eq 0 ] || kill "${pids[@]}" 2>/dev/null || true
	wait
	pids=()
}

figure() { printf '%s\t%s\t%s\n' "$world" "$1" "$2" >>"$out/figures.partial"; }

# timed WHAT COMMAND... - the milliseconds that COMMAND takes
timed() {
	local start=${EPOCHREALTIME/./}
	"${@:2}"
	figure "$1" $(((${EPOCHREALTIME/./} - start) / 1000))
	say "$world: $1: $(((${EPOCHREALTIME/./} - start) / 1000)) ms"
}

available() { sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo; }

# --- networks ---

# no_waiting - for addresses that are looked for twice
no_waiting() {
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
	echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad
	echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad
}

vrf_networks() {
	local i
	for ((i = $1; i <= $2; i++)); do
		cat <<-IP
			link add v$i type vrf table $((1000 + i))
			link set v$i up
			link add b$i type bridge mcast_snooping 0
			link set b$i master v$i
			link add e$i type veth peer name eth0 netns $id-c$i
			link set e$i master b$i addrgenmode none up
			link set b$i up
			address add 10.10.1.1/24 dev b$i
		IP
	done | ip -batch -
	"$bin/clients" up "$id-c" "$1" "$2"
	# The kernel makes a bridge's link-local address, which radvd needs, when the link runs.
	await links_run "$2"
}
links_run() { [ "$(grep -c '^fe80.* b[0-9]*$' /proc/net/if_inet6)" -ge "$1" ]; }

netns_networks() {
	local i
	for ((i = $1; i <= $2; i++)); do echo "netns add $id-n$i"; done | ip -batch -
	for ((i = $1; i <= $2; i++)); do
		nsenter --net="/run/netns/$id-n$i" bash -c "$(declare -f no_waiting); no_waiting; exec ip -batch -" <<-IP
			link set lo up
			link add b$i type bridge mcast_snooping 0
			link add e$i type veth peer name eth0 netns $id-c$i
			link set e$i master b$i addrgenmode none up
			link set b$i up
			address add 10.10.1.1/24 dev b$i
		IP
	done
	"$bin/clients" up "$id-c" "$1" "$2"
}

# --- daemons ---

launch() {
	local number=$1
	shift
	case $world in
	library) LD_PRELOAD=$library VRFBIND_VRF=v$number "$@" & ;;
	ip) VRFBIND_VRF=v$number ip vrf exec "v$number" "$@" & ;;
	netns) nsenter --net="/run/netns/$id-n$number" "$@" & ;;
	tasks*) start_task "$number" "$@" ;;
	esac >>"$dir/log" 2>&1
	[[ $world == tasks* ]] || pids+=($!)
}

start_task() {
	local number=$1 options=("--mount=type=bind,src=$dir,dst=$dir,options=rbind:rw")
	shift
	case $world in
	tasks-paired) options+=("--annotation=io.containerd.runc.v2.group=$number") ;;
	tasks-together) options+=(--annotation=io.containerd.runc.v2.group=all) ;;
	esac
	LOGS=$dir examples/containerd/task "${options[@]}" "v$number" "$1-$number" "$@"
}

serve() {
	local i
	for ((i = $1; i <= $2; i++)); do
		printf 'interface b%d {\n\tAdvSendAdvert on;\n\tMaxRtrAdvInterval 30;\n\tprefix 2001:db8:%x::/64 { };\n};\n' \
			"$i" "$i" >"$dir/radvd$i.conf"
		launch "$i" dnsmasq --keep-in-foreground --conf-file=/dev/null --interface="b$i" --except-interface=lo \
			--bind-interfaces --no-resolv --no-hosts --user=root --pid-file= --log-facility=- \
			--host-record="app.test,10.99.$((i / 256)).$((i % 256))" \
			--dhcp-range=10.10.1.100,10.10.1.199 --dhcp-leasefile="$dir/leases$i"
		launch "$i" radvd --nodaemon --logmethod stderr --config "$dir/radvd$i.conf" --pidfile "$dir/radvd$i.pid"
		# For a lot of tasks takes minutes, and tests/machine.sh ends a guest that is busy and silent.
		[[ $world != tasks* ]] || [ $((i % 16)) -ne 0 ] || say "$world: $i of $count networks have their daemons"
	done
	"$bin/clients" ask "$id-c" "$1" "$2" >"$dir/served" ||
		{ fail "a client of $1 to $2 was not served by its own daemons"; exit 1; }
	read -r have wrong <"$dir/served"
	served=$((served + have))
	figure 'answers that were not their own' "$wrong"
	[[ $world != tasks* ]] || mapfile -t pids < <(ctr task ls | awk 'NR > 1 { print $2 }')
}
fail() {
	failed=1
	say "$world: $*"
	grep -vE 'started|using|exiting|DHCP' "$dir/log" | tail -n 20 >&2 || true
}

private_dirty() { cat "${@/%//smaps_rollup}" | awk '$1 == "Private_Dirty:" { sum += $2 } END { print sum + 0 }'; }

# growth PERCENT - what there is of everything when so many of the networks have daemons
growth() {
	local shims=() part="up to $1 %"
	figure "fall of MemAvailable, kB, $part" $((with_networks - $(available)))
	[[ $world == tasks* ]] || return 0
	mapfile -t shims < <(task_shims)
	figure "shims, $part" ${#shims[@]}
	figure "private dirty memory of shims, kB, $part" "$(private_dirty "${shims[@]/#//proc/}")"
	figure "private dirty memory of containerd, kB, $part" "$(private_dirty "/proc/$containerd")"
	figure "memory of the tasks' cgroups, kB, $part" \
		"$(cat "$(task_cgroup .)"/*/memory.current | awk '{ sum += $1 } END { print int(sum / 1024) }')"
	figure "processes of runc, $part" "$(pgrep --count --exact runc || true)"
}

memory() {
	local daemon pid children all=()
	for daemon in "${pids[@]}"; do
		read -r -a children <"/proc/$daemon/task/$daemon/children" || true
		for pid in "$daemon" "${children[@]}"; do all+=("/proc/$pid/smaps_rollup"); done
	done
	figure 'processes' "${#all[@]}"
	awk -v world="$world" '$1 == "Private_Dirty:" { dirty += $2 }
		$1 == "Private_Clean:" { clean += $2 }
		$1 == "Pss:" { pss += $2 }
		END {
			printf "%s\tprivate dirty, kB\t%d\n", world, dirty
			printf "%s\tprivate, kB\t%d\n", world, dirty + clean
			printf "%s\tPSS, kB\t%d\n", world, pss
		}' "${all[@]}" >>"$out/figures.partial"
}

# The status of the command says whether every socket is in its VRF; it has to have seen all processes.
look_at_sockets() {
	local all inside processes
	"$command" status --json >"$dir/status" || fail 'not every socket is in its VRF'
	read -r processes all inside < <(python3 - "$dir/status" <<-'PY'
		import json, sys
		processes = json.load(open(sys.argv[1]))["processes"]
		processes = [one for one in processes if one["name"] in ("dnsmasq", "radvd")]
		sockets = [(one, socket) for one in processes for socket in one["sockets"]]
		inside = [socket for one, socket in sockets if socket["verdict"] == "ok" and socket["vrf"] == one["vrf"]]
		print(len(processes), len(sockets), len(inside))
	PY
	)
	figure 'IP sockets' "$all"
	figure 'IP sockets in their VRF' "$inside"
	say "$world: $processes processes, $all sockets, $inside in their VRF"
	# A radvd is two processes; a dnsmasq has three sockets at least, and each radvd one.
	if [ "$processes" -ne $((3 * count)) ] || [ "$all" -lt $((5 * count)) ] || [ "$inside" -ne "$all" ]; then
		fail 'not every socket is there and in its VRF'
	fi
}

# --- all of it ---

# A module of user-mode Linux.
modprobe --quiet ipv6 || true
no_waiting
for ((i = 1; i <= most; i++)); do namespaces+=("$id-c$i"); done
printf 'netns add %s\n' "${namespaces[@]}" | ip -batch -
rm -rf "$out"
mkdir -p "$out"

lot() {
	local what=$1 first=1 last lots=($((count / 4)) $((count / 2)) "$count")
	shift
	for last in "${lots[@]}"; do
		timed "$what, up to $((100 * last / count)) %" "$@" "$first" "$last"
		[ "$what" = networks ] || growth $((100 * last / count))
		first=$((last + 1))
	done
}

have_vrfs=''
for world in "${worlds[@]}"; do
	count=$most
	[[ $world != *:* ]] || count=${world#*:} world=${world%:*}
	end_daemons
	before=$(available)
	served=0
	figure networks "$count"
	case $world in
	netns)
		[ -z "$have_vrfs" ] ||
			for ((i = 1; i <= most; i++)); do printf 'link delete %s\n' "v$i" "b$i" "e$i"; done | ip -batch -
		for ((i = 1; i <= count; i++)); do namespaces+=("$id-n$i"); done
		before=$(available)
		lot networks netns_networks
		figure 'memory that the networks take, kB' $((before - $(available)))
		have_vrfs=''
		;;
	*)
		if [ -n "$have_vrfs" ]; then
			"$bin/clients" up "$id-c" 1 "$count"
		else
			lot networks vrf_networks
			figure 'memory that the networks take, kB' $((before - $(available)))
			[ "$count" -eq "$most" ] || vrf_networks $((count + 1)) "$most"
			have_vrfs=1
		fi
		;;
	esac
	if [[ $world == tasks* ]]; then
		start_containerd "$dir/$world" "$id-$world"
		await containerd_answers || { cat "$dir/$world/log" >&2; exit 1; }
	fi
	with_networks=$(available)
	lot daemons serve
	figure 'clients served by their own daemons' "$served"
	figure 'memory that the daemons take, kB' $((with_networks - $(available)))
	memory
	[ "$world" = netns ] || look_at_sockets
done

cat >"$out/environment" <<-TEXT
	networks	$most
	worlds	${worlds[*]}
	system	$(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)
	processor	$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) of them
	load	$(cut -d ' ' -f 1-3 /proc/loadavg)
	memory	$(($(sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024)) MB
TEXT
mv "$out/figures.partial" "$out/figures.tsv"
[ -z "$failed" ]
