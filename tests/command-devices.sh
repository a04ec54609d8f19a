#!/usr/bin/env bash
# command-devices.sh - a device is the same by each of its names, and none of them hides another device
#
# `ask` (c-tests/command/ask.c) reports sockets, by getsockopt(). On the lo tier the script moves to a network namespace
# of its own, with a veth device. The device gets an alternative name (ip-link(8), property), which the kernel accepts as
# its name, but never returns for a socket.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
move_from_lo "$0" "$@"
for_nobody ask ask-static
export VRFBIND_LIBRARY=$library
point_end=end_all

alias=vrfbind_alias
vrf=$device
[ "$tier" = vrf ] || vrf=default
if [ -n "${VRFBIND_TEST_MOVED-}" ]; then
	device=vrfbind0
	ip link set lo up
	ip link add "$device" type veth peer name vrfbind1
	ip link set "$device" up
fi
start=("$vrfbind" exec "${any[@]}")

# pause COMMAND... - starts it, and waits until it prints "paused". Its process is $pid; its output is in $scratch/paused
pause() {
	coproc PROGRAM { exec "$@"; }
	pid=$PROGRAM_PID
	started+=("$pid")
	local line
	: >"$scratch/paused"
	while read -r -t "$limit" line <&"${PROGRAM[0]}" && [ "$line" != paused ]; do
		echo "$line" >>"$scratch/paused"
	done
	[ "$line" = paused ]
}

# -- Alternative names

alternative_in_exec() {
	local ask=$scratch/ask static=$scratch/ask-static
	says 'tcp unbound' "$ask" tcp
	says "tcp $device" "${start[@]}" "$alias" "$ask" tcp
	says "tcp $device" "${start[@]}" --no-supervise "$alias" "$ask" tcp
	if before 5.14; then return; fi
	says "tcp $device" "${start[@]}" "$alias" "$static" tcp
	says "tcp $device" "${start[@]}" "$alias" "${start[@]}" --supervise "$alias" "$static" tcp
	says "tcp $device" "${start[@]}" "$device" "${start[@]}" --supervise "$alias" "$static" tcp
	says "tcp $device" "${start[@]}" "$alias" "${start[@]}" --supervise "$device" "$static" tcp
	# Also where nobody but the environment names it.
	says "tcp $device" "${start[@]}" "$device" env VRFBIND_VRF="$alias" "$static" tcp
}

# Without CAP_NET_RAW the kernel refuses to bind a socket twice, also to the same device: another preload that asks libc
# gets a socket that has its device.
alternative_in_library() {
	printf '%s\n' '#define _GNU_SOURCE' '#include <dlfcn.h>' 'int socket(int a, int b, int c) {' \
		'	int (*next)(int, int, int) = dlsym(RTLD_NEXT, "socket");' '	return next(a, b, c);' '}' |
		gcc -shared -fPIC -o "$scratch/other.so" -x c - -ldl
	local name preload
	for name in "$device" "$alias"; do
		for preload in "$library" "$library:$scratch/other.so"; do
			says $'tcp '"$device"$'\nlibc '"$device" \
				"${nobody[@]}" env VRFBIND_VRF="$name" LD_PRELOAD="$preload" "$scratch/ask" tcp libc
		done
	done
}

alternative_in_status() {
	pause env VRFBIND_VRF="$alias" LD_PRELOAD="$library" "$scratch/ask" tcp pause
	diff "$scratch/paused" <(echo "tcp $device")
	ends 0 "$vrfbind" status "$pid"
	grep -qE "^$pid ask: VRF $device, " "$scratch/said"
	grep -qE " $device +[^ ]+ +ok\$" "$scratch/said"
	says "$vrf" "$vrfbind" identify "$pid"
	local name
	for name in "$device" "$alias"; do
		ends 0 "$vrfbind" status --vrf "$name" "$pid"
		# Of all processes here, one of which may not answer.
		"$vrfbind" status --vrf "$name" >"$scratch/said" || true
		grep -q "^$pid ask: VRF $device, " "$scratch/said"
		if [ "$tier" = vrf ]; then
			ends 0 "$vrfbind" pids "$name"
			grep -qxF "$(printf '%5d' "$pid")  ask" "$scratch/said"
		fi
	done
}

alternative_in_check() {
	ends 0 "$vrfbind" check "${any[@]}" "$alias"
	grep -q "^ok    probe: a socket made here is bound to $device\$" "$scratch/said"
	grep -qE "^ok    VRF: $device is " "$scratch/said"
	ends 0 env LD_PRELOAD="$library" VRFBIND_VRF="$alias" "$vrfbind" check --quiet --loaded "${any[@]}" "$alias"
	ends 0 env LD_PRELOAD="$library" VRFBIND_VRF="$device" "$vrfbind" check --quiet --loaded "${any[@]}" "$alias"
}

# -- Names that are not UTF-8

readonly STRANGE=$'v\xff\xb5'
strange_neighbour() {
	pause env VRFBIND_VRF="$device" LD_PRELOAD="$library" "$scratch/ask" tcp pause
	diff "$scratch/paused" <(echo "tcp $device")
	ends 0 "$vrfbind" status "$pid"
	cp "$scratch/said" "$scratch/before"
	ip link add "$STRANGE" type veth peer name strange1
	ends 0 "$vrfbind" status "$pid"
	diff "$scratch/before" "$scratch/said"
	says "$vrf" "$vrfbind" identify "$pid"
	if [ "$tier" = vrf ]; then
		ends 0 "$vrfbind" pids "$device"
		grep -qxF "$(printf '%5d' "$pid")  ask" "$scratch/said"
	fi
	ends 0 "$vrfbind" check "${any[@]}" "$device"
	not grep -q '^warn  netlink: ' "$scratch/said"
	ip link delete strange1
}

strange_device() {
	ip link add "$STRANGE" type veth peer name strange1
	ip link set "$STRANGE" up
	pause "$vrfbind" exec --any-device "$STRANGE" "$scratch/ask" tcp pause
	diff "$scratch/paused" <(echo "tcp $STRANGE")
	"$vrfbind" status "$pid" >"$scratch/said" || true
	grep -qF ' v\xff\xb5 ' "$scratch/said"
	ends 0 "$vrfbind" check --any-device "$STRANGE"
	grep -qF 'VRF: v\xff\xb5 is a device' "$scratch/said"
	ip link delete strange1
}

strange_vrf() {
	ip link add "$STRANGE" type vrf table 117
	ip link set "$STRANGE" up
	pause "$vrfbind" exec "$STRANGE" "$scratch/ask" tcp pause
	diff "$scratch/paused" <(echo "tcp $STRANGE")
	ends 0 "$vrfbind" status "$pid"
	grep -qE ' v\\xff\\xb5 +v\\xff\\xb5 +ok$' "$scratch/said"
	says 'v\xff\xb5' "$vrfbind" identify "$pid"
	ends 0 "$vrfbind" pids "$STRANGE"
	grep -qxF "$(printf '%5d' "$pid")  ask" "$scratch/said"
	"$vrfbind" status --vrf "$STRANGE" >"$scratch/said" || true
	grep -q "^$pid ask: " "$scratch/said"
	ip link delete "$STRANGE"
}

can_alias=''
! ip link property add dev "$device" altname "$alias" 2>"$scratch/why" || can_alias=1
[ "$tier" = lo ] || trap 'ip link property del dev "$device" altname "$alias" || true; rm -rf "$scratch"' EXIT
alias_point() {
	if [ -n "$can_alias" ]; then point "$@"; else skip_point "$1" "no alternative name: $(<"$scratch/why")"; fi
}

if [ "$tier" = vrf ]; then echo 1..7; else echo 1..6; fi
alias_point 'exec takes an alternative name, also within a tree of the same device' alternative_in_exec
alias_point 'the library does too, unprivileged and with another preload of socket()' alternative_in_library
alias_point 'status, identify and pids take it for the device' alternative_in_status
alias_point 'check finds the probe bound to it' alternative_in_check
root_point 'a device whose name is not UTF-8 hides no other device' strange_neighbour
root_point 'it is one as others are' strange_device
[ "$tier" = lo ] || point 'and so is a VRF' strange_vrf
exit "$all_ok"
