#!/usr/bin/env bash
# command-supervise.sh - `vrfbind exec` of programs that cannot be preloaded: the supervisor
#
# Speaks TAP (testanything.org) and is run with the variables of the C programs: VRFBIND_TEST_LIB, VRFBIND_TEST_DEVICE,
# VRFBIND_TEST_TIER (lo or vrf), VRFBIND_TEST_BIN with the programs, and VRFBIND_TEST_COMMAND, the command. What sockets
# there are is said by `ask` (c-tests/ask.c), by getsockopt, or by ss(8). Each point first shows the program without the command.
#
# On the lo tier as root it moves to a network namespace of its own, with a veth device, vrfbind0, which can be
# taken away, and which other namespaces do not have. On the vrf tier peers in the network namespaces of tests/topology.sh
# answer, each with the name of its VRF.
#
# What is written lies in one scratch directory, which goes at the end; what is started is waited for, or ended by
# its process id.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
# shellcheck disable=SC2016  # scripts are text
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

library=${VRFBIND_TEST_LIB:?}
device=${VRFBIND_TEST_DEVICE:?}
tier=${VRFBIND_TEST_TIER:?}
programs=${VRFBIND_TEST_BIN:?}
vrfbind=${VRFBIND_TEST_COMMAND:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG VRFBIND_LIBRARY

am_root=''
[ "$(id -u)" -ne 0 ] || am_root=1
if [ "$tier" = lo ] && [ -n "$am_root" ] && [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	VRFBIND_TEST_MOVED=1 exec unshare --net "$0" "$@"
fi

nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# For nobody too, who may not enter the folder of the build.
chmod 755 "$scratch"
cp "$vrfbind" "$scratch/vrfbind"
cp "$library" "$scratch/libvrfbind.so"
cp "$programs"/{ask,ask-static} "$scratch"
[ ! -e "$programs/ask-go" ] || cp "$programs/ask-go" "$scratch"
[ ! -e "$programs/../musl/ask-static" ] || cp "$programs/../musl/ask-static" "$scratch/ask-musl"
vrfbind=$scratch/vrfbind
ask=$scratch/ask-static

any=()
other=${VRFBIND_TEST_OTHER-}
if [ "$tier" = lo ]; then
	any=(--any-device)
	if [ -n "$am_root" ]; then
		device=vrfbind0
		other=vrfbind1
		ip link set lo up
		ip link add "$device" type veth peer name "$other"
		ip link set "$device" up
		ip link set "$other" up
		echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range
	fi
fi
start=("$vrfbind" exec "${any[@]}")

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"

# point_with FILE SENTENCE COMMAND... - if FILE is there
point_with() {
	local file=$1
	shift
	if [ -x "$file" ]; then point "$@"; else skip_point "$1" "${file##*/} is not there"; fi
}

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
	says 'tcp unbound' "$scratch/ask-go" tcp
	says "tcp $device" "${start[@]}" "$device" "$scratch/ask-go" tcp
	# Go's runtime signals its own threads all the time.
	says "many 2000 on $device" "${start[@]}" "$device" "$scratch/ask-go" many 2000
	listens "$scratch/ask-go" serve 0.0.0.0:5380 hello
}

# -- Peers, on the vrf tier

# In each upstream network namespace the same address serves, with another answer.
serve_upstream() {
	local vrf netns
	for vrf in default BLUE RED; do
		netns=T_${vrf}_UPSTREAM
		[ "$vrf" != default ] || netns=T_UPSTREAM
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
	kill "${servers[@]}"
	trap - EXIT
}

# -- No more than the caller may have

privileged_types() {
	as_without "$ask" raw packet ping tcp nobody raw packet ping tcp
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
	# No child that it does not know of, and no descriptor.
	says 'children: ' "${start[@]}" --supervise "$device" sh -c 'read -r all </proc/$$/task/$$/children; echo "children: $all"'
	ls /proc/self/fd >"$scratch/fds"
	"${start[@]}" --supervise "$device" ls /proc/self/fd >"$scratch/said"
	diff "$scratch/said" "$scratch/fds"
	local status
	for status in 0 1 125 255; do
		ends "$status" "${start[@]}" "$device" "$ask" exit "$status"
	done
	ends 143 "${start[@]}" "$device" "$ask" signal 15
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
	says "signals 20000 on $device, 0 elsewhere, 0 failed" "${start[@]}" "$device" "$ask" signals 20000
	# As on Linux 5.14 to 5.18, where a signal interrupts a call that is being answered: seccomp() with both flags is EINVAL.
	says "signals 20000 on $device, 0 elsewhere, 0 failed" \
		"$scratch/ask" refuse "$seccomp" 1 0x28 22 run "${start[@]}" "$device" "$ask" signals 20000
}

threads() {
	says 'many 32000 on unbound, 0 elsewhere, 0 failed' "$ask" many 64 500
	says "many 32000 on $device, 0 elsewhere, 0 failed" "${start[@]}" "$device" "$ask" many 64 500
}

limits() {
	says $'full 19 EMFILE\nagain unbound' "$ask" full
	as_without "$ask" full
	says "tcp $device" "${start[@]}" "$device" "$ask" close tcp
	# The supervisor needs few descriptors itself.
	says "tcp $device" bash -c 'ulimit -n 8; exec "$@"' bash "${start[@]}" "$device" "$ask" tcp
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
	local outer=("${start[@]}" --supervise "$device")
	says "tcp $device"$'\n'"tcp $device" "${outer[@]}" "${start[@]}" "$device" "$ask" tcp run "${start[@]}" "$device" "$scratch/ask" tcp
	says "tcp $device" "${outer[@]}" "${start[@]}" --supervise "$device" "$ask" tcp
	if grep -q ^Seccomp_filters: /proc/self/status; then
		local filters
		filters=$("${outer[@]}" grep ^Seccomp_filters: /proc/self/status)
		says "$filters" "${outer[@]}" "${start[@]}" --supervise "$device" grep ^Seccomp_filters: /proc/self/status
	fi
	if [ -n "$other" ]; then
		says "tcp $other" "${outer[@]}" "${start[@]}" "$other" "$scratch/ask" tcp
		refused 125 "serves $device, and $other" "${outer[@]}" "${start[@]}" "$other" "$ask" tcp
		refused 125 "serves $device, and $other" "${outer[@]}" "${start[@]}" --supervise "$other" "$scratch/ask" tcp
	fi
	refused 125 'cannot leave the VRF' "${outer[@]}" "$vrfbind" exec default "$ask" tcp
	says 'tcp unbound' "${outer[@]}" "$vrfbind" exec default "$scratch/ask" tcp
}

# -- What it needs

# Another filter pretends.
old_kernels() {
	local addfd=0x40182103
	refused 125 'takes Linux 5.14' "$scratch/ask" refuse "$seccomp" 0 3 22 run "${start[@]}" "$device" "$ask" tcp
	refused 125 'takes Linux 5.14' "$scratch/ask" refuse "$ioctl" 1 "$addfd" 22 run "${start[@]}" "$device" "$ask" tcp
	refused 125 'kills for seccomp.*SystemCallFilter=seccomp' "$scratch/ask" kill "$seccomp" run "${start[@]}" "$device" "$ask" tcp
	refused 125 'listens .* already' "$scratch/ask" listen run "${start[@]}" "$device" "$ask" tcp
	await none_left
}

# Supervision is refused, and the program is not started in another way.
before_5_14() {
	says 'tcp unbound' "$ask" tcp
	refused 125 'takes Linux 5.14' "${start[@]}" "$device" "$ask" tcp
	refused 125 'takes Linux 5.14' "${start[@]}" --supervise "$device" "$scratch/ask" tcp
	refused 125 'takes Linux 5.14' "${nobody[@]}" "${start[@]}" "$device" "$ask" tcp
	says "tcp $device" "${start[@]}" "$device" "$scratch/ask" tcp
	none_left
}

no_proc() {
	refused 125 '/proc' unshare --mount --pid --fork "${start[@]}" "$device" "$ask" tcp
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
		own+=" $(awk '/^Private_(Clean|Dirty):/ { sum += $2 } END { print sum }' "/proc/$pid/smaps_rollup")"
	done
	go_on
	has_ended
	echo >"$scratch/another"
	wait "$another"
	echo "private memory, kB:$own"
	[ "$(wc -w <<<"$own")" -eq 2 ]
	for own in $own; do
		[ "$own" -gt 0 ] && [ "$own" -lt 1024 ]
	done
}

static_busybox=busybox-static
[ "$tier" = lo ] || static_busybox=$("$(dirname -- "$0")/busybox.sh" static) || static_busybox=busybox-static

# Numbers of system calls.
if [ "$(uname -m)" = x86_64 ]; then seccomp=317 ioctl=16; else seccomp=277 ioctl=29; fi

if before 5.14; then
	echo 1..1
	root_point 'before Linux 5.14 supervision is refused, and nothing is started' before_5_14
	exit "$all_ok"
fi

# A guest has what --prepare of tests/with-vrf.sh has unpacked; the tier lo may be run without a network.
if [ "$tier" = lo ]; then echo 1..23; else echo 1..24; fi
point 'static programs of glibc and musl get their sockets on the device' static_programs
root_point 'also those of nobody' static_nobody
point 'a tree of dynamic and static programs does, whatever their environment' trees
[ "$tier" = lo ] || point_with "$static_busybox" 'static busybox does' busybox
point_with "$scratch/ask-go" 'Go programs do' go_sockets
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
root_point 'a socket belongs to the user who asked' owners
root_point 'it is made in the network namespace of who asked, or not at all' other_network_namespace
if [ "$(uname -m)" = x86_64 ]; then
	point 'i386'\''s socket() is answered, its socketcall() refused' other_abis
else
	skip_point 'i386'\''s socket() is answered, its socketcall() refused' 'this machine has no i386 system calls'
fi
point 'the program has the process, its status, and no child' same_process
point 'the supervisor keeps nobody'\''s output open' holds_nothing
point 'it lives as long as the tree, and no longer' dies_with_the_tree
point 'if it is killed, the tree gets no sockets' supervisor_is_killed
point 'signals do no harm' signals
point '64 threads get 32,000 sockets as fast as they can ask' threads
point 'a full table of descriptors is an error, and no more' limits
root_point 'if the device goes, there are no sockets' device_goes
point 'within a supervised tree nothing is stacked' nested
point 'what the kernel or the tree cannot do is said' old_kernels
root_point '/proc of another process namespace is refused' no_proc
point 'two have less than a megabyte of private memory each' memory
exit "$all_ok"
