#!/usr/bin/env bash
# command-supervise.sh - the supervisor of `vrfbind exec`: sockets of programs without the library
#
# `ask` (c-tests/command/ask.c) reports sockets, by getsockopt(), or ss(8) does. Each point first shows the program
# without the command.
#
# On the lo tier as root it moves to a network namespace of its own, with a veth device, vrfbind0, which can be
# taken away, and which other namespaces do not have. On the vrf tier peers in the network namespaces of tests/topology.sh
# answer, each with the name of its VRF.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
# shellcheck disable=SC2016  # scripts are text

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
move_from_lo "$0" "$@"
for_nobody ask ask-static ask-go ask-go-dynamic
[ ! -e "$programs/../musl/ask-static" ] || cp "$programs/../musl/ask-static" "$scratch/ask-musl"
am_root=''
[ "$(id -u)" -ne 0 ] || am_root=1
ask=$scratch/ask-static

other=${VRFBIND_TEST_OTHER-}
if [ -n "${VRFBIND_TEST_MOVED-}" ]; then
	device=vrfbind0
	other=vrfbind1
	ip link set lo up
	ip link add "$device" type veth peer name "$other"
	ip link set "$device" up
	ip link set "$other" up
	echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range
fi
start=("$vrfbind" exec "${any[@]}")

# as_without COMMAND... - says under the command what it says without, with the device for "unbound"; something at all
as_without() {
	local plain
	plain=$(timeout "$limit" "$@" </dev/null)
	[ -n "$plain" ]
	printf 'without: %s\n' "$plain"
	says "${plain//unbound/$device}" "${start[@]}" --supervise "$device" "$@"
}

# The processes that supervise what was started from the scratch directory, one a line.
supervisors() {
	local pid
	# Processes come and go meanwhile, which find complains of.
	{ find /proc/[0-9]*/fd -lname 'anon_inode:seccomp notify' 2>/dev/null || true; } | cut -d/ -f3 | sort -u |
		while read -r pid; do
			! tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -q "^$vrfbind exec" || echo "$pid"
		done
}
none_left() { [ -z "$(supervisors)" ]; }
has_said() { grep -qs "$1" "$scratch/paused"; }

# pausing COMMAND... - starts it in the background; go_on lets it continue. Its process is $paused.
pausing() {
	rm -f "$scratch"/{paused,line}
	mkfifo "$scratch/line"
	"$@" <>"$scratch/line" >"$scratch/paused" 2>&1 &
	paused=$!
	trap 'kill -KILL "$paused"' EXIT
	await has_said paused
}
go_on() { echo >"$scratch/line"; }
has_ended() {
	await eval '! kill -0 "$paused" 2>/dev/null'
	trap - EXIT
	wait "$paused"
}
# ended_with TEXT - it ends, having said TEXT behind "paused"
ended_with() {
	has_ended
	diff <(sed '0,/^paused$/d' "$scratch/paused") <(printf '%s\n' "$1")
}

# -- Programs

static_programs() {
	local program
	for program in "$scratch"/ask-{static,musl}; do
		[ -e "$program" ] || continue
		says 'tcp unbound' "$program" tcp
		says "tcp $device"$'\n'"udp6 $device" "${start[@]}" "$device" "$program" tcp udp6
		says "unix unbound" "${start[@]}" "$device" "$program" unix
	done
	[ -e "$scratch/ask-musl" ] || [ "${VRFBIND_MUST_RUN-}" != 1 ]
	says $'flags cloexec nonblock\nflags ' "${start[@]}" "$device" "$ask" flags
}

static_nobody() {
	says $'tcp unbound\nudp6 unbound' "${nobody[@]}" "$ask" tcp udp6
	says "tcp $device"$'\n'"udp6 $device" "${nobody[@]}" "${start[@]}" "$device" "$ask" tcp udp6
}

# ld.so drops the library where the real and the effective user differ, or the groups.
other_ids() {
	local ids
	for ids in --ruid=65534 --euid=65534 --rgid=65534 --egid=65534; do
		VRFBIND_VRF=$device LD_PRELOAD=$library says $'tcp unbound\nudp6 unbound' \
			setpriv --clear-groups "$ids" "$scratch/ask" tcp udp6
		says "tcp $device"$'\n'"udp6 $device" \
			setpriv --clear-groups "$ids" "${start[@]}" "$device" "$scratch/ask" tcp udp6
		refused 125 'ask is started with real and effective IDs that differ: .*--no-supervise' \
			setpriv --clear-groups "$ids" "${start[@]}" --no-supervise "$device" "$scratch/ask" tcp
	done
}

# What the library is not in is served; what it is in makes its own sockets, and is served if it goes round it.
trees() {
	printf '#!/bin/sh\n"%s" tcp; "%s" tcp; env -i "%s" tcp\n' "$scratch/ask" "$ask" "$ask" >"$scratch/script"
	chmod +x "$scratch/script"
	says $'tcp unbound\ntcp unbound\ntcp unbound' "$scratch/script"
	says "tcp $device"$'\n'"tcp $device"$'\n'"tcp $device" "${start[@]}" --supervise "$device" "$scratch/script"
	says "tcp $device"$'\n'"tcp $device" "${start[@]}" --supervise "$device" \
		python3 -c 'import subprocess, sys
for program in sys.argv[1:]:
    subprocess.run([program, "tcp"], env={}, check=True)' "$scratch/ask" "$ask"
}

busybox() {
	cp "$static_busybox" "$scratch/busybox"
	mkdir "$scratch/www"
	listens "$scratch/busybox" httpd -f -p 5380 -h "$scratch/www"
}

# falls_back TEXT PATTERN COMMAND... - the program's standard output is TEXT, its status 0, and first of all one line says
# that the tree is only sealed, with PATTERN in it
falls_back() {
	local text=$1 pattern=$2
	shift 2
	ends 0 "$@"
	cat "$scratch/said.stderr"
	diff "$scratch/said" <(printf '%s\n' "$text")
	[ "$(grep -c '^vrfbind: cannot start a supervisor' "$scratch/said.stderr")" -eq 1 ]
	sed -n 1p "$scratch/said.stderr" | grep -qE "^vrfbind: cannot start a supervisor: .*($pattern).*only sealed"
}

# listens COMMAND... - a server on port 5380 listens without a device, and under the command on the device
listens() {
	local pid how
	for how in plain under; do
		if [ "$how" = plain ]; then "$@" & else "${start[@]}" "$device" "$@" & fi
		pid=$!
		trap 'kill "$pid"' EXIT
		await eval 'ss -Hltn "sport = :5380" | grep -q .'
		ss -Hltn 'sport = :5380' | awk '{print $4}' >"$scratch/$how"
		kill "$pid"
		wait "$pid" || true
		trap - EXIT
	done
	head "$scratch/plain" "$scratch/under"
	not grep % "$scratch/plain"
	grep -q "%$device:5380" "$scratch/under"
}

go_sockets() {
	local program=$1
	says 'tcp unbound' "$program" tcp
	says "tcp $device" "${start[@]}" "$device" "$program" tcp
	# Go's runtime signals its own threads all the time.
	says "many 2000 on $device" "${start[@]}" "$device" "$program" many 2000
	listens "$program" serve 0.0.0.0:5380 hello
}

# As all of Debian's Go programs are. It is known by its note, or by its build info: -ldflags=-buildid= leaves the note out.
dynamic_go() {
	local program=$scratch/ask-go-dynamic
	grep -q INTERP <(readelf --segments --wide "$program")
	VRFBIND_VRF=$device LD_PRELOAD=$library says 'tcp unbound' "$program" tcp
	go_sockets "$program"
	strip --strip-all --remove-section=.note.go.buildid -o "$scratch/ask-go-unmarked" "$program"
	grep -q '^  Go ' <(readelf --notes "$program")
	not grep -q '^  Go ' <(readelf --notes "$scratch/ask-go-unmarked")
	VRFBIND_VRF=$device LD_PRELOAD=$library says 'tcp unbound' "$scratch/ask-go-unmarked" tcp
	says "tcp $device" "${start[@]}" "$device" "$scratch/ask-go-unmarked" tcp
}

# -- Peers, on the vrf tier

# In each upstream network namespace the same address serves, with another answer.
serve_upstream() {
	local vrf netns
	for vrf in default BLUE RED; do
		netns=T_${vrf}_UPSTREAM
		[ "$vrf" != default ] || netns=T_UPSTREAM
		# What the one before has said is not awaited.
		rm -f "$scratch"/{serves,dnsmasq}
		nsenter --net="/run/netns/${!netns}" "$scratch/ask-go" serve 192.0.2.53:80 "from ${vrf,,}" >"$scratch/serves" &
		servers+=($!)
		await grep -qs serves "$scratch/serves"
		nsenter --net="/run/netns/${!netns}" dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --no-daemon --user=root \
			--group=root --pid-file= --listen-address=192.0.2.53 --bind-interfaces \
			--address="/app.local/$(case $vrf in BLUE) echo 192.0.2.101 ;; RED) echo 192.0.2.102 ;; *) echo 192.0.2.100 ;; esac)" \
			2>"$scratch/dnsmasq" &
		servers+=($!)
		await grep -qs started "$scratch/dnsmasq"
	done
}

# The packets that the default VRF's upstream has seen do not grow by what the VRF's programs do.
go_peers() {
	local servers=() before
	trap 'kill "${servers[@]}"' EXIT
	serve_upstream
	echo nameserver 192.0.2.53 >"$scratch/resolv.conf"
	local resolving=(unshare --mount sh -c 'mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"' "$scratch")
	says 'from default' "$scratch/ask-go" get http://192.0.2.53/
	says '[192.0.2.100]' "${resolving[@]}" "$scratch/ask-go" resolve app.local
	before=$(sh -c "$T_UPLINK_COUNT")
	[ "$before" -gt 0 ]
	says 'from blue' "${start[@]}" blue "$scratch/ask-go" get http://192.0.2.53/
	says 'from red' "${start[@]}" red "$scratch/ask-go" get http://192.0.2.53/
	says '[192.0.2.101]' "${resolving[@]}" "${start[@]}" blue "$scratch/ask-go" resolve app.local
	says '[192.0.2.102]' "${resolving[@]}" "${start[@]}" red "$scratch/ask-go" resolve app.local
	says 'from blue' "${start[@]}" --supervise blue sh -c 'exec "$0" get http://192.0.2.53/' "$scratch/ask-go"
	# Its own resolver, and libc's, which makes its sockets through the library.
	local resolver
	for resolver in go cgo; do
		says 'from red' env GODEBUG=netdns="$resolver" "${start[@]}" red "$scratch/ask-go-dynamic" get http://192.0.2.53/
		says '[192.0.2.102]' env GODEBUG=netdns="$resolver" \
			"${resolving[@]}" "${start[@]}" red "$scratch/ask-go-dynamic" resolve app.local
	done
	[ "$(sh -c "$T_UPLINK_COUNT")" -eq "$before" ]
	kill "${servers[@]}"
	trap - EXIT
}

# On loopback the device is lo, and the proof that a client and a resolver of Go's work at all.
go_clients() {
	local servers=()
	trap 'kill "${servers[@]}"' EXIT
	"$scratch/ask-go" serve 127.0.0.1:5381 hello >"$scratch/serves" &
	servers+=($!)
	dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --no-daemon --user=root --group=root --pid-file= \
		--listen-address=127.0.0.1 --bind-interfaces --address=/app.local/192.0.2.100 2>"$scratch/dnsmasq" &
	servers+=($!)
	await grep -qs serves "$scratch/serves"
	await grep -qs started "$scratch/dnsmasq"
	echo nameserver 127.0.0.1 >"$scratch/resolv.conf"
	local resolving=(unshare --mount sh -c 'mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"' "$scratch")
	says hello "$scratch/ask-go" get http://127.0.0.1:5381/
	says hello "${start[@]}" lo "$scratch/ask-go" get http://127.0.0.1:5381/
	says '[192.0.2.100]' "${resolving[@]}" "$scratch/ask-go" resolve app.local
	says '[192.0.2.100]' "${resolving[@]}" "${start[@]}" lo "$scratch/ask-go" resolve app.local
	local resolver
	for resolver in go cgo; do
		says '[192.0.2.100]' env GODEBUG=netdns="$resolver" \
			"${resolving[@]}" "${start[@]}" lo "$scratch/ask-go-dynamic" resolve app.local
	done
	kill "${servers[@]}"
	trap - EXIT
}

# Nobody runs the library's constructor in a program of musl that begins elsewhere: by itself, the library does not seal it.
own_entry() {
	local libc raw
	for libc in gnu musl; do
		[ -x "$programs/../$libc/own_entry" ] || continue
		cp "$programs/../$libc/own_entry" "$scratch/own_entry"
		says $'libc unbound\nraw unbound' "$scratch/own_entry"
		[ "$libc" = musl ] && raw=unbound || raw=none
		says "libc $device"$'\n'"raw $raw" env VRFBIND_SEAL=1 VRFBIND_VRF="$device" LD_PRELOAD="$library" "$scratch/own_entry"
		says "libc $device"$'\n'"raw $device" "${start[@]}" "$device" "$scratch/own_entry"
		says $'libc unbound\nraw unbound' "${start[@]}" "$device" "$vrfbind" exec default "$scratch/own_entry"
	done
	says $'libc none\nraw none' "${start[@]}" --no-supervise "$device" "$scratch/own_entry"
}

# ld.so drops the library where AppArmor confines a program at its start (AT_SECURE), which nobody can see beforehand.
confined_at_start() {
	mountpoint --quiet /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
	cp "$(readlink -f /bin/sh)" "$scratch/starter"
	cp "$scratch/ask" "$scratch/confined"
	apparmor_parser --replace --skip-cache <<-PROFILES
		profile starter $scratch/starter flags=(complain) { /** mr, $scratch/confined Px -> confined, }
		profile confined flags=(complain) { /** mrw, network, capability, }
	PROFILES
	local run=("$scratch/starter" -c '"$0" tcp; exit' "$scratch/confined")
	VRFBIND_VRF=$device LD_PRELOAD=$library says 'tcp unbound' "${run[@]}"
	says "tcp $device" "${start[@]}" "$device" "${run[@]}"
	says 'tcp EPERM' "${start[@]}" --no-supervise "$device" "${run[@]}"
}

# -- No more than the caller may have

privileged_types() {
	as_without "$ask" raw ping tcp nobody raw ping tcp
	# A packet socket in IPv4's disguise is no IP socket, as the library has it.
	says $'packet unbound\npacket EPERM' "$ask" packet nobody packet
	says $'packet unbound\npacket EPERM' "${start[@]}" --supervise "$device" "$ask" packet nobody packet
	says $'raw EPERM\npacket EPERM' "$ask" nobody raw packet
}

ping_groups() {
	range=$(cat /proc/sys/net/ipv4/ping_group_range)
	trap 'echo "$range" >/proc/sys/net/ipv4/ping_group_range' EXIT
	echo 100 100 >/proc/sys/net/ipv4/ping_group_range
	says $'ping EACCES\nping unbound\nping6 unbound\nping EACCES' "$ask" ping group 100 ping ping6 group 200 ping
	as_without "$ask" ping group 100 ping ping6 group 200 ping nobody ping
}

# Capabilities count in the user namespace that they were given in.
user_namespaces() {
	if ! unshare --user --map-root-user true; then
		echo 'no user namespaces'
		return 0
	fi
	says $'raw EPERM\ntcp unbound' unshare --user --map-root-user "$ask" raw tcp
	as_without unshare --user --map-root-user "$ask" raw tcp
	# lo is in every network namespace.
	says 'raw unbound' unshare --user --map-root-user --net "$ask" raw
	says 'raw lo' "$vrfbind" exec --any-device --supervise lo unshare --user --map-root-user --net "$ask" raw
}

owners() {
	says $'owner 0 0\nowner 65534 65534' "$ask" owner nobody owner
	as_without "$ask" owner nobody owner
}

# The VRF is looked for in the caller's network namespace.
other_network_namespace() {
	says $'tcp unbound\ntcp unbound' "$ask" tcp unshare tcp
	says "tcp $device"$'\n''tcp ENODEV' "${start[@]}" --supervise "$device" "$ask" tcp unshare tcp
	says $'tcp lo\ntcp lo' "$vrfbind" exec --any-device --supervise lo "$ask" tcp unshare tcp
	# One that the supervisor may not enter.
	says 'tcp EPERM' "${nobody[@]}" "$vrfbind" exec --any-device --supervise lo \
		unshare --user --map-root-user --net "$ask" tcp
}

other_abis() {
	says $'i386-socket unbound\ni386-socketcall EFAULT' "$ask" i386
	says "i386-socket $device"$'\n''i386-socketcall EPERM' "${start[@]}" "$device" "$ask" i386
}

# -- The two processes

same_process() {
	local said
	said=$("${start[@]}" "$device" "$ask" pid & wait $!; echo "pid $! $BASHPID")
	diff <(sed -n 1p <<<"$said") <(sed -n 2p <<<"$said")
	# No descriptor that it does not know of.
	ls /proc/self/fd >"$scratch/fds"
	"${start[@]}" "$device" ls /proc/self/fd >"$scratch/said"
	diff "$scratch/said" "$scratch/fds"
	local status
	for status in 0 1 125 255; do
		ends "$status" "${start[@]}" "$device" "$ask" exit "$status"
	done
	ends 143 "${start[@]}" "$device" "$ask" signal 15
}

# A program that waits for all its children does not wait for the supervisor, whoever they are given to.
no_child() {
	local program run
	for program in "$ask" "$scratch/ask"; do
		says 'waited 0' "$program" wait
		says "tcp $device"$'\nwaited 0' "${start[@]}" "$device" "$program" tcp wait
		says "tcp $device"$'\nwaited 0' "$program" subreaper run "${start[@]}" "$device" "$program" tcp wait
		says "tcp $device"$'\nwaited 0' "$program" subreaper run \
			sh -c '"$@"; exit' sh "${start[@]}" "$device" "$program" tcp wait
	done
	if [ -n "$am_root" ]; then
		run=(unshare --pid --fork --mount-proc --kill-child)
		says $'pid 1 0\nwaited 0' "${run[@]}" "$ask" pid wait
		says $'pid 1 0\n'"tcp $device"$'\nwaited 0' "${run[@]}" "${start[@]}" "$device" "$ask" pid tcp wait
	fi
}

# A reader of the tree's output hears its end though a process of the tree is left, and so is its supervisor.
holds_nothing() {
	local left
	left=$(timeout "$limit" "${start[@]}" --supervise "$device" sh -c 'sleep 1000 >/dev/null 2>&1 & echo $!')
	trap 'kill "$left"' EXIT
	kill -0 "$left"
	[ -n "$(supervisors)" ]
	kill "$left"
	trap - EXIT
	await none_left
}

dies_with_the_tree() {
	await none_left
	pausing "${start[@]}" "$device" "$ask" tcp pause tcp
	[ "$(supervisors | wc -l)" -eq 1 ]
	# A ^C and a stop of the service are not for it.
	kill -TERM "$(supervisors)"
	kill -INT "$(supervisors)"
	kill -HUP "$(supervisors)"
	go_on
	ended_with "tcp $device"
	await none_left
	pausing "${start[@]}" "$device" "$ask" pause
	kill -KILL "$paused"
	has_ended || true
	await none_left
}

supervisor_is_killed() {
	pausing "$ask" pause tcp tcp6 unix
	go_on
	ended_with $'tcp unbound\ntcp6 unbound\nunix unbound'
	pausing "${start[@]}" --supervise "$device" "$ask" tcp pause tcp tcp6 unix run "$scratch/ask" udp
	kill -KILL "$(supervisors)"
	await none_left
	go_on
	# The library still makes its own.
	ended_with $'tcp ENOSYS\ntcp6 ENOSYS\nunix unbound\nudp '"$device"
}

# -- Under load

signals() {
	# 20,000 calls take some minutes where the CPU is emulated and shared.
	local limit=1800 calls=${VRFBIND_TRIALS:-20000}
	says "signals $calls on $device, 0 elsewhere, 0 failed" "${start[@]}" "$device" "$ask" signals "$calls"
	# As on Linux 5.14 to 5.18, where a signal interrupts a call that is being answered: seccomp() with both flags is EINVAL.
	says "signals $calls on $device, 0 elsewhere, 0 failed" \
		"$scratch/ask" refuse "$seccomp" 1 0x28 22 run "${start[@]}" "$device" "$ask" signals "$calls"
}

threads() {
	# In a virtual machine so many threads take minutes, also without the command.
	local many=2000 each=$((${VRFBIND_TRIALS:-20000} / 40))
	[ "$tier" = lo ] || many=200
	says "many $((many * 4)) on unbound, 0 elsewhere, 0 failed" "$ask" many "$many" 4
	says "many $((many * 4)) on $device, 0 elsewhere, 0 failed" "${start[@]}" "$device" "$ask" many "$many" 4
	says "many $((64 * each)) on unbound, 0 elsewhere, 0 failed" "$ask" many 64 "$each"
	says "many $((64 * each)) on $device, 0 elsewhere, 0 failed" "${start[@]}" "$device" "$ask" many 64 "$each"
}

limits() {
	says $'full 19 EMFILE\nagain unbound' "$ask" full
	as_without "$ask" full
	says "tcp $device" "${start[@]}" "$device" "$ask" close tcp
}

# What the tree may not exceed is no matter of the supervisor's, as far as the kernel lets it raise its limits.
own_limits() {
	local limited=(bash -c 'ulimit -St 1000; ulimit -Sn 6; exec "$@"' bash) pid
	says 'tcp unbound' "${limited[@]}" "$ask" tcp
	says "tcp $device" "${limited[@]}" "${start[@]}" "$device" "$ask" tcp
	await none_left
	pausing "${limited[@]}" "${start[@]}" "$device" "$ask" pause
	pid=$(supervisors)
	cat "/proc/$pid/limits"
	# Name, soft, hard: the columns are aligned, and names have blanks.
	awk '/^Max (cpu time|open files|address space|data size|stack size|processes|realtime timeout) / {
		n++
		gsub(/^Max [a-z ]+/, "")
		if ($1 != $2) bad = 1
	}
	END { exit !(n == 7 && !bad) }' "/proc/$pid/limits"
	# CAP_SYS_RESOURCE
	if [ $((0x$(awk '/^CapEff:/ { print $2 }' /proc/self/status) >> 24 & 1)) -eq 1 ]; then
		limited=(bash -c 'ulimit -t 1000; ulimit -n 6; exec "$@"' bash)
		go_on
		has_ended
		await none_left
		pausing "${limited[@]}" "${start[@]}" "$device" "$ask" pause
		awk '/^Max cpu time/ { exit $4 != "unlimited" }' "/proc/$(supervisors)/limits"
		says "tcp $device" "${limited[@]}" "${start[@]}" "$device" "$ask" tcp
	fi
	go_on
	has_ended
	if [ -n "$am_root" ]; then
		limited=("${nobody[@]}" bash -c 'ulimit -n 6; exec "$@"' bash)
		says 'tcp unbound' "${limited[@]}" "$ask" tcp
		refused 125 'Too many open files.*ulimit -n' "${limited[@]}" "${start[@]}" "$device" "$ask" tcp
		limited=("${nobody[@]}" bash -c 'ulimit -n 7; exec "$@"' bash)
		says "tcp $device" "${limited[@]}" "${start[@]}" "$device" "$ask" tcp
	fi
}

# It makes a second thread while the program starts. clone3(2) is told that its argument has 88 bytes.
one_thread() {
	await none_left
	says "tcp $device"$'\n'"tcp $device" "$scratch/ask" refuse 435 1 88 11 run "${start[@]}" --supervise "$device" "$ask" tcp tcp
	await none_left
}

# What the kernel calls a thread is any bytes, such as a letter that was cut at 15 bytes.
names() {
	local program=$scratch/$'abcdefghijklmn\303\274'
	cp "$ask" "$program"
	as_without "$program" raw ping tcp
}

# Under load: not one socket is anywhere else.
device_goes() {
	local each=50000 made supervisor before
	[ "$tier" = lo ] || each=5000
	new_device doomed
	says "many $((4 * each)) on unbound, 0 elsewhere, 0 failed" "$ask" many 4 "$each"
	pausing "${start[@]}" doomed "$ask" pause many 4 "$each" tcp
	supervisor=$(supervisors)
	before=$(switches "$supervisor")
	go_on
	await has_begun "$supervisor" "$before"
	ip link delete doomed
	has_ended
	cat "$scratch/paused"
	grep -qx 'tcp ENODEV' "$scratch/paused"
	made=$(sed -n 's/^many \([0-9]*\) on doomed, 0 elsewhere, [1-9][0-9]* failed$/\1/p' "$scratch/paused")
	[ -n "$made" ]
}

# How often a process has waited, and whether it has done so since.
switches() { awk '/^voluntary/ {print $2}' "/proc/$1/status"; }
has_begun() { [ "$(switches "$1")" -gt $(($2 + 20)) ]; }

new_device() {
	if [ "$tier" = vrf ]; then
		ip link add "$1" type vrf table 199
	else
		ip link add "$1" type veth peer name "$1-peer"
	fi
	ip link set "$1" up
}

# -- Nested

nested() {
	local outer=("${start[@]}" "$device") inner
	says "tcp $device"$'\n'"tcp $device" "${outer[@]}" "${start[@]}" "$device" "$ask" tcp run "${start[@]}" "$device" "$scratch/ask" tcp
	says "tcp $device" "${outer[@]}" "${start[@]}" --supervise "$device" "$ask" tcp
	if grep -q ^Seccomp_filters: /proc/self/status; then
		local filters
		filters=$("${outer[@]}" grep ^Seccomp_filters: /proc/self/status)
		says "$filters" "${outer[@]}" "${start[@]}" "$device" grep ^Seccomp_filters: /proc/self/status
	fi
	for inner in "$ask" "$scratch/ask"; do
		says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "$inner" tcp
		says "tcp $device" "${outer[@]}" "$vrfbind" exec default "${start[@]}" "$device" "$inner" tcp
		says $'tcp unbound\n'"tcp $device" "${outer[@]}" \
			sh -c 'VRFBIND_VRF=default "$@"; "$@"' sh "$inner" tcp
	done
}

# Each program of the tree is in the VRF of its own environment, whoever has created its sockets.
nested_other() {
	local outer=("${start[@]}" "$device") way inner
	for inner in "$ask" "$scratch/ask"; do
		says "tcp $other" "${outer[@]}" "${start[@]}" "$other" "$inner" tcp
		says "tcp $other" "${outer[@]}" "${start[@]}" --supervise "$other" "$inner" tcp
		says "tcp $other" "${outer[@]}" "$vrfbind" exec default "${start[@]}" "$other" "$inner" tcp
		says "tcp $device" "${outer[@]}" "${start[@]}" "$other" "${start[@]}" "$device" "$inner" tcp
		says 'tcp unbound' "${outer[@]}" "${start[@]}" "$other" "$vrfbind" exec default "$inner" tcp
		for way in "$ask" "$scratch/ask"; do
			says "tcp $other"$'\n'"tcp $other" "${outer[@]}" "${start[@]}" "$other" "$way" tcp run "$inner" tcp
		done
		# One process, one program after the other.
		says "tcp $device"$'\n'"tcp $other"$'\ntcp unbound\n'"tcp $device" "${outer[@]}" \
			"$inner" tcp run env VRFBIND_VRF="$other" "$inner" tcp run "$vrfbind" exec default "$inner" tcp run \
			env VRFBIND_VRF="$device" "$inner" tcp
	done
	# One after the other, and both at once.
	says "tcp $device"$'\n'"tcp $other"$'\ntcp unbound\n'"tcp $device" "${outer[@]}" sh -c '
		"$0" tcp; VRFBIND_VRF=$1 "$0" tcp; VRFBIND_VRF=default "$0" tcp; "$0" tcp' "$ask" "$other"
	says "many 5000 on $device, 0 elsewhere, 0 failed"$'\n'"many 5000 on $other, 0 elsewhere, 0 failed" "${outer[@]}" sh -c '
		"$0" many 10 500 >"$2" & VRFBIND_VRF=$1 "$0" many 10 500 >"$3"; wait; cat "$2" "$3"' \
		"$ask" "$other" "$scratch/first" "$scratch/second"
}

# What is known of a thread is of the program that it runs now. At the third socket it may be remembered.
executes_another() {
	local outer=("${start[@]}" "$device") program layout here there
	here="tcp $device"$'\n'"tcp $device"$'\n'"tcp $device"
	there="tcp $other"$'\n'"tcp $other"$'\n'"tcp $other"
	for program in "$scratch"/ask-{static,musl} "$scratch/ask"; do
		[ -e "$program" ] || continue
		says "${here//$device/unbound}"$'\ntcp unbound\n'"${here//$device/unbound}" "$program" vfork "$program" tcp
		says "${here//$device/unbound}"$'\ntcp unbound' "$program" thread "$program" tcp
		# Also where each program lies at the same addresses.
		for layout in env 'setarch -R'; do
			# shellcheck disable=SC2086  # words
			says "$here"$'\n'"$there"$'\n'"${here//$device/unbound}"$'\n'"$here" "${outer[@]}" $layout \
				"$program" tcp tcp tcp set VRFBIND_VRF="$other" run "$program" tcp tcp tcp set VRFBIND_VRF=default \
				run "$program" tcp tcp tcp set VRFBIND_VRF="$device" run "$program" tcp tcp tcp
			# shellcheck disable=SC2086
			says "$here"$'\n'"$here"$'\n'"$there"$'\n'"$here" "${outer[@]}" $layout \
				"$program" tcp tcp tcp set VRFBIND_VRF="$other" vfork "$program" tcp tcp tcp
			# shellcheck disable=SC2086
			says "$here"$'\n'"$here"$'\n'"$there" "${outer[@]}" $layout \
				"$program" tcp tcp tcp set VRFBIND_VRF="$other" thread "$program" tcp tcp tcp
		done
	done
}

# Two processes, one after the other, have the same numbers, and so have their second threads.
same_number() {
	local last=/proc/sys/kernel/ns_last_pid
	if [ ! -e "$last" ]; then
		echo 'this kernel gives no numbers by request'
		return 0
	fi
	# Who has got a socket has a supervisor that makes no thread of its own any more.
	says "tcp $device"$'\npid 1001 1000\n'"many 3 on $device, 0 elsewhere, 0 failed"$'\npid 1001 1000\n'"many 3 on $other, 0 elsewhere, 0 failed" \
		unshare --pid --fork --mount-proc "${start[@]}" "$device" sh -c '
		"$0" tcp
		echo 999 >"$1"
		(echo 1000 >"$1"; "$0" pid many 1 3; echo 1000 >"$1"; VRFBIND_VRF=$2 "$0" pid many 1 3; exit)' "$ask" "$last" "$other"
}

# Environments that name no VRF, or no longer do.
unnamed() {
	local outer=("${start[@]}" "$device")
	says 'tcp unbound' "$ask" title tcp
	says "tcp $device" "${outer[@]}" "$ask" scrub run "$ask" tcp
	says "tcp $device" "${outer[@]}" "$ask" title tcp
	says "tcp $device"$'\n'"tcp $device" "${outer[@]}" "$ask" tcp title tcp
	says "tcp $device" "${outer[@]}" env VRFBIND_VRF= "$ask" tcp
	says 'tcp EPERM' "${outer[@]}" env VRFBIND_VRF=a/b "$ask" tcp
	says 'tcp EPERM' "${outer[@]}" env VRFBIND_VRF=abcdefghijklmnop "$ask" tcp
	says 'tcp ENODEV' "${outer[@]}" env VRFBIND_VRF=nosuchvrf "$ask" tcp
	# Where it could have named another VRF, and nobody knows.
	says 'tcp EPERM' "${outer[@]}" "$vrfbind" exec default "$ask" title tcp
	says "tcp $device"$'\ntcp unbound\ntcp EPERM\n'"tcp $device" "${outer[@]}" sh -c '
		"$0" title tcp; VRFBIND_VRF=default "$0" tcp; "$0" title tcp; "$0" scrub run "$0" tcp' "$ask"
	# The library reports what it starts.
	says 'tcp EPERM' "${outer[@]}" sh -c 'VRFBIND_VRF=default "$0" title tcp' "$ask"
	# It knows itself what it has read.
	says "tcp $device" "${outer[@]}" "$scratch/ask" title tcp
}

# A program that gains privileges takes orders from who has started the tree, and from nobody else.
privileged_programs() {
	local outer=("${start[@]}" "$device") program
	for program in ask ask-static; do
		install -m 4755 "$scratch/$program" "$scratch/set-user-$program"
		install -m 4755 --owner=65534 "$scratch/$program" "$scratch/set-nobody-$program"
		cp "$scratch/$program" "$scratch/capable-$program"
		setcap cap_net_raw+ep "$scratch/capable-$program"
		says $'raw unbound' "${nobody[@]}" "$scratch/set-user-$program" raw
		says $'raw unbound' "${nobody[@]}" "$scratch/capable-$program" raw
		says "raw $device" "${outer[@]}" "${nobody[@]}" "$scratch/set-user-$program" raw
		says "raw $device" "${outer[@]}" "${nobody[@]}" "$scratch/capable-$program" raw
		says 'raw EPERM' "${outer[@]}" "${nobody[@]}" env VRFBIND_VRF=default "$scratch/set-user-$program" raw
		says 'raw EPERM' "${outer[@]}" "${nobody[@]}" env VRFBIND_VRF=default "$scratch/capable-$program" raw
		says $'owner 65534 0\ntcp unbound' "$scratch/set-nobody-$program" owner tcp
		says $'owner 65534 0\n'"tcp $device" "${outer[@]}" "$scratch/set-nobody-$program" owner tcp
		says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "$scratch/set-nobody-$program" tcp
		# Real and effective user differ.
		says "tcp $device" "${outer[@]}" setpriv --euid=65534 --clear-groups "$scratch/$program" tcp
	done
}

# A program that its user may not read, and which the kernel therefore hides from him.
unreadable() {
	local program outer=("${nobody[@]}" "${start[@]}" "$device")
	for program in ask ask-static; do
		install -m 0711 "$scratch/$program" "$scratch/closed-$program"
		not "${nobody[@]}" sh -c 'cat "$0" >"$1"' "$scratch/closed-$program" /dev/null
		says $'tcp unbound\nudp6 unbound' "${nobody[@]}" "$scratch/closed-$program" tcp udp6
		says "tcp $device"$'\n'"udp6 $device" "${outer[@]}" "$scratch/closed-$program" tcp udp6
	done
	says 'tcp EPERM' "${outer[@]}" "$vrfbind" exec default "$scratch/closed-ask-static" tcp
	says 'tcp EPERM' "${outer[@]}" sh -c 'VRFBIND_VRF=default exec "$0" tcp' "$scratch/closed-ask-static"
	says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "$scratch/closed-ask" tcp
	says 'tcp EPERM' "${nobody[@]}" "$vrfbind" exec --any-device lo \
		unshare --user --map-root-user --net "$scratch/closed-ask-static" tcp
}

# A supervisor that may not look at everybody's processes, as in a container, looks with the eyes of who asks.
without_ptrace() {
	# With CAP_PERFMON (38) Linux lets some of it be read, too.
	local without='-sys_ptrace,-sys_admin,-cap_38'
	local outer=(setpriv --bounding-set="$without" --inh-caps="$without" "${start[@]}" "$device")
	says "tcp $device" "${outer[@]}" "$ask" tcp
	says "tcp $device"$'\nowner 65534 65534' "${outer[@]}" "${nobody[@]}" "$ask" tcp owner
	says $'tcp unbound\ntcp unbound' "$ask" tcp nobody tcp
	says "tcp $device"$'\n'"tcp $device" "${outer[@]}" "$ask" tcp nobody tcp
	says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "${nobody[@]}" "$ask" tcp
	# Where such a program could have been told another VRF, and nobody can see which.
	says $'tcp unbound\ntcp EPERM' "${outer[@]}" "$vrfbind" exec default "$ask" tcp nobody tcp
}

# The filter of a sandbox that knows a list of families answers in the place of the seal.
hidden_answer() {
	says 'tcp unbound' "$scratch/ask" families run "$scratch/ask" run "$ask" tcp
	says "tcp $device"$'\n'"tcp $device" "${start[@]}" "$device" \
		"$scratch/ask" families run "$scratch/ask" tcp run "$ask" tcp
	says "tcp $device"$'\n'"tcp $device" "${start[@]}" "$device" \
		"$scratch/ask" families run "${start[@]}" "$device" "$scratch/ask" tcp run "$ask" tcp
	# And it is no way out of a seal either.
	says "tcp $device"$'\ntcp EPERM' "${start[@]}" --no-supervise "$device" \
		"$scratch/ask" families run "$scratch/ask" tcp run "$ask" tcp
}

# A filter of the program's own that does not know SO_BINDTODEVICE, which is 25.
own_filter() {
	local how names outer=("${start[@]}" "$device")
	for how in "2 25 1" "2 25 13" "2 25 38" "1 1 1"; do
		read -ra names <<<"refuse $setsockopt $how"
		says $'tcp unbound\nudp6 unbound' "$scratch/ask" "${names[@]}" tcp udp6
		says "tcp $device"$'\n'"udp6 $device"$'\n'"tcp $device" "${outer[@]}" "$scratch/ask" tcp "${names[@]}" udp6 run "$scratch/ask" tcp
		says "tcp $device"$'\n'"libc $device" "${outer[@]}" "$scratch/ask" "${names[@]}" tcp libc
		says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "$scratch/ask" "${names[@]}" tcp
		[ -z "$other" ] || says "tcp $other" "${outer[@]}" "${start[@]}" "$other" "$scratch/ask" "${names[@]}" tcp
		# What the library was told counts, whatever has become of the environment.
		says "tcp $device" "${outer[@]}" "$scratch/ask" title "${names[@]}" tcp
		says "tcp $(error "${how##* }")" "${start[@]}" --no-supervise "$device" "$scratch/ask" "${names[@]}" tcp
	done
	says 'tcp ENODEV' "${outer[@]}" env VRFBIND_VRF=nosuchvrf "$scratch/ask" "${names[@]}" tcp
	says $'raw EPERM\n'"tcp $device" "${nobody[@]}" "${outer[@]}" "$scratch/ask" "${names[@]}" raw tcp
}
error() { case $1 in 1) echo EPERM ;; 13) echo EACCES ;; 38) echo ENOSYS ;; esac; }

# -- What it needs

# What is in the way is pretended by another filter: of a program that cannot do without a supervisor it is a failure, of others
# with --supervise.
obstacle() {
	local pattern=$1
	shift
	refused 125 "$pattern" "$@" "${start[@]}" "$device" "$ask" tcp
	refused 125 "$pattern" "$@" "${start[@]}" --supervise "$device" "$scratch/ask" tcp
	falls_back "tcp $device"$'\ntcp EPERM' "$pattern" "$@" "${start[@]}" "$device" "$scratch/ask" tcp run \
		env -u LD_PRELOAD "$ask" tcp
	falls_back "waited 0" "$pattern" "$@" "${start[@]}" "$device" "$scratch/ask" wait
}

obstacles() {
	local addfd=0x40182103
	obstacle 'requires Linux 5.14' "$scratch/ask" refuse "$seccomp" 0 3 22 run
	obstacle 'requires Linux 5.14' "$scratch/ask" refuse "$ioctl" 1 "$addfd" 22 run
	obstacle 'SECCOMP_GET_NOTIF_SIZES.: Operation not permitted' "$scratch/ask" refuse "$seccomp" 0 3 1 run
	obstacle 'SECCOMP_SET_MODE_FILTER.: Operation not permitted' "$scratch/ask" refuse "$seccomp" 0 1 1 run
	obstacle 'SECCOMP_SET_MODE_FILTER. succeeds without effect' "$scratch/ask" refuse "$seccomp" 0 1 0 run
	obstacle 'kills it when it calls seccomp.*SystemCallFilter=seccomp' "$scratch/ask" kill "$seccomp" run
	obstacle 'listener is installed already' "$scratch/ask" listen run
	await none_left
}

before_5_14() {
	says 'tcp unbound' "$ask" tcp
	obstacle 'requires Linux 5.14' env
	none_left
}

no_proc() {
	obstacle '/proc is not mounted, or shows another' unshare --mount --pid --fork
	mkdir "$scratch/root"
	cp "$vrfbind" "$scratch/libvrfbind.so" "$ask" "$scratch/root"
	says 'tcp unbound' chroot "$scratch/root" /ask-static tcp
	refused 125 '/proc: No such file' chroot "$scratch/root" /vrfbind exec "${any[@]}" "$device" /ask-static tcp
}

# What one supervisor more costs. The file's own pages are the page cache's, and shared by the two.
memory() {
	local own='' pid another
	mkfifo "$scratch/another"
	"${start[@]}" "$device" "$ask" pause <>"$scratch/another" >"$scratch/another.said" &
	another=$!
	await grep -qs paused "$scratch/another.said"
	pausing "${start[@]}" "$device" "$ask" many 1 1000 pause
	for pid in $(supervisors); do
		own+=" $(awk '/^Anonymous:/ { print $2 }' "/proc/$pid/smaps_rollup")"
	done
	go_on
	has_ended
	echo >"$scratch/another"
	wait "$another"
	echo "anonymous memory, kB:$own"
	[ "$(wc -w <<<"$own")" -eq 2 ]
	for own in $own; do
		[ "$own" -gt 0 ] && [ "$own" -le 200 ]
	done
}

static_busybox=busybox-static
[ "$tier" = lo ] || static_busybox=$("$(dirname -- "$0")/busybox.sh" static) || static_busybox=busybox-static

# Numbers of system calls.
if [ "$(uname -m)" = x86_64 ]; then seccomp=317 ioctl=16 setsockopt=54; else seccomp=277 ioctl=29 setsockopt=208; fi

if before 5.14; then
	echo 1..1
	root_point 'before Linux 5.14 a tree is only sealed, and what needs a supervisor is refused' before_5_14
	exit "$all_ok"
fi

# -- Rules

rules() {
	local addressed=(bind 0.0.0.0 connect 127.0.0.1)
	says $'bind unbound\nconnect unbound' "$scratch/ask" "${addressed[@]}"
	says "bind $device"$'\nconnect lo' "${start[@]}" --loopback "$device" "$scratch/ask" "${addressed[@]}"
	says "bind unbound"$'\nconnect lo' "${start[@]}" --rule 'bind udp *:4000 default' --loopback "$device" \
		"$scratch/ask" "${addressed[@]}"
	says "bind unbound"$'\nconnect lo' "${start[@]}" --loopback=lo --rule 'bind * default' --rule 'bind * lo' "$device" \
		"$scratch/ask" "${addressed[@]}"
	# In the environment, and inherited.
	says "bind lo"$'\nconnect lo' env VRFBIND_RULES='bind *:4000 lo; loopback lo' "${start[@]}" "$device" \
		sh -c '"$1" bind 0.0.0.0; env -i "$1" connect 127.0.0.1' sh "$scratch/ask"
	# A tree that has left its VRF has none.
	says 'bind unbound' env VRFBIND_RULES='bind * lo' "${start[@]}" default "$scratch/ask" bind 0.0.0.0
}

invalid_rules() {
	refused 125 'rule 2, "bind \* a/b", at "a/b"' "${start[@]}" --rule 'bind * lo' --rule 'bind * a/b' "$device" true
	refused 125 'rule 1, "loopback a b", at "b"' "${start[@]}" --loopback='a b' "$device" true
	refused 125 'rule 1, "/etc/rules"' "${start[@]}" --rule /etc/rules "$device" true
	refused 125 'require a VRF' "${start[@]}" --loopback default true
}

# A guest has what --prepare of tests/with-vrf.sh has unpacked; the tier lo may be run without a network.
if [ "$tier" = lo ]; then echo 1..41; else echo 1..43; fi
point 'static programs of glibc and musl get their sockets on the device' static_programs
root_point 'also those of nobody' static_nobody
point 'a tree of dynamic and static programs does, whatever their environment' trees
[ "$tier" = lo ] || point_with "$static_busybox" 'static busybox does' busybox
point_with "$scratch/ask-go" 'Go programs do' go_sockets "$scratch/ask-go"
point_with "$scratch/ask-go-dynamic" 'also those that are linked dynamically' dynamic_go
root_point 'programs that are started with two users or groups do' other_ids
if [ "$tier" = vrf ]; then
	point_with "$scratch/ask-go" 'Go'\''s HTTP client and resolver reach the VRF'\''s peers and no others' go_peers
elif [ -n "$am_root" ]; then
	point_with "$scratch/ask-go" 'Go'\''s HTTP client and resolver work' go_clients
else
	skip_point 'Go'\''s HTTP client and resolver work' 'it takes root'
fi
root_point 'privileged types take the privilege of the caller' privileged_types
root_point 'ICMP datagram sockets take its groups' ping_groups
root_point 'and its capabilities count where they were given' user_namespaces
root_point 'a socket belongs to the caller'\''s user' owners
root_point 'it is created in the caller'\''s network namespace, or not at all' other_network_namespace
if [ "$(uname -m)" = x86_64 ]; then
	point 'i386'\''s socket() is answered, its socketcall() refused' other_abis
else
	skip_point 'i386'\''s socket() is answered, its socketcall() refused' 'this machine has no i386 system calls'
fi
point_with "$programs/../musl/own_entry" 'a program of musl that runs no constructor is served' own_entry
if [ "$tier" = vrf ]; then
	if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
		point_with /sbin/apparmor_parser 'so is one that AppArmor confines at its start' confined_at_start
	else
		skip_point 'so is one that AppArmor confines at its start' 'AppArmor is not active'
	fi
fi
root_point 'a program that gains privileges is served, and gets another VRF only from the owner of the tree' privileged_programs
root_point 'without CAP_SYS_PTRACE processes of other users are served, and those that gave up their user' without_ptrace
root_point 'programs that may not be read are served, in the tree'\''s own VRF and network namespace alone' unreadable
root_point 'the name of a thread may be any bytes' names
point 'the program has the process, its descriptors and its status' same_process
point 'no wait() finds the supervisor, not that of process 1 or of a subreaper' no_child
point 'the supervisor keeps nobody'\''s output open' holds_nothing
point 'it lives as long as the tree, and no longer' dies_with_the_tree
point 'if it is killed, the tree gets no sockets' supervisor_is_killed
point 'signals do no harm' signals
point 'many threads get their sockets, as fast as they can ask' threads
point 'a full table of descriptors is an error, and no more' limits
point 'the limits of the tree are not the supervisor'\''s' own_limits
point 'nor does it need a second thread, to serve and to end' one_thread
root_point 'if the device goes, there are no sockets' device_goes
point 'within a supervised tree nothing is stacked, and "default" is obeyed' nested
if [ -n "$other" ]; then
	point 'another VRF in its environment puts a static program there as it does a dynamic one' nested_other
	point 'a process that executes a program for another VRF is there, whatever it has asked before' executes_another
	root_point 'so is one that has the PID of another' same_number
else
	skip_point 'another VRF in its environment puts a static program there as it does a dynamic one' 'there is one device here'
	skip_point 'a process that executes a program for another VRF is there, whatever it has asked before' 'there is one device here'
	skip_point 'so is one that has the PID of another' 'there is one device here'
fi
point 'an environment that names none leaves a program in the tree'\''s VRF, one with an invalid name without sockets' unnamed
point 'a filter that hides the seal'\''s answer makes no other seal' hidden_answer
root_point 'a filter of the program'\''s own that refuses setsockopt() leaves it its sockets' own_filter
root_point 'rules put a program'\''s sockets on other devices, --loopback on lo' rules
point 'a rule that is invalid is refused, with its place' invalid_rules
point 'an obstacle to a supervisor is reported: the tree is only sealed, or refused' obstacles
root_point 'so is a /proc that is missing, or of another PID namespace' no_proc
point 'two have at most 200 kB of anonymous memory each' memory
exit "$all_ok"
