#!/usr/bin/env bash
# command-rules-supervised.sh - rules (VRFBIND_RULES) for programs without the library: their supervisor is notified of
# bind(), connect() and setsockopt(), and moves or replaces the socket
#
# The devices of sockets are reported by the sockets themselves (c-tests/command/addressed.c, by getsockopt), by ss(8), or
# by peers. Packets by a device that nobody has named are counted at the decoy: the link of the default route. Each point
# first shows the program without the command.
#
# On the lo tier it moves to a network namespace of its own, with veth devices: vrfbind0 in the part of the VRF, vrfbind1 in that
# of another one, and the decoy. On the vrf tier these are blue, red and the uplink of tests/topology.sh.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
# shellcheck disable=SC2016  # scripts are text

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
move_from_lo "$0" "$@"
for_nobody addressed addressed-static ask-go
[ ! -e "$programs/../musl/addressed-static" ] || cp "$programs/../musl/addressed-static" "$scratch/addressed-musl"
static=$scratch/addressed-static
dynamic=$scratch/addressed

if [ "$(id -u)" -ne 0 ]; then
	echo '1..0 # SKIP it takes root'
	exit 0
fi
if before 5.14; then
	echo '1..0 # SKIP a supervisor takes Linux 5.14'
	exit 0
fi

other=${VRFBIND_TEST_OTHER-}
if [ -n "${VRFBIND_TEST_MOVED-}" ]; then
	device=vrfbind0
	other=vrfbind1
	ip link set lo up
	for link in "$device" "$other" decoy; do
		ip link add "$link" type veth peer name "$link-peer"
		# A kernel speaks IPv6 on its own account.
		[ "$link" != decoy ] || echo 1 >/proc/sys/net/ipv6/conf/decoy/disable_ipv6
		ip link set "$link-peer" up
		ip link set "$link" up arp off
	done
	ip address add 10.10.1.1/24 dev "$device"
	ip address add 192.0.2.7/24 dev decoy
	ip route add default dev decoy
	# A socket that is on another device goes by that, for which there is no route.
	escaped() { awk '$1 == "decoy:" { print $11 }' /proc/net/dev; }
else
	escaped() { sh -c "$T_UPLINK_COUNT"; }
fi
start=("$vrfbind" exec "${any[@]}")
# --loopback, and two rules of which the first one decides.
ruled=("${start[@]}" --loopback --rule "bind tcp *:5380 $other" --rule "connect 10.99.0.0/16 $other"
	--rule 'connect 10.99.0.0/16 lo')
# As in a container, and as a desktop's user.
without='-sys_ptrace,-sys_admin,-cap_38'
no_ptrace=(setpriv --bounding-set="$without" --inh-caps="$without")


# for_each_static FUNCTION... - with a static program of glibc, and one of musl
for_each_static() {
	"$@" "$static"
	if [ -e "$scratch/addressed-musl" ]; then
		"$@" "$scratch/addressed-musl"
	else
		[ "${VRFBIND_MUST_RUN-}" != 1 ]
	fi
}

# lines TEXT... - one a line
lines() { printf '%s\n' "$@"; }

# stays COMMAND... - it succeeds, and no packet leaves by the decoy
stays() {
	local before
	before=$(escaped)
	"$@"
	[ "$(escaped)" -eq "$before" ]
}

# -- Moved

# To loopback, by a rule, and where no rule matches; each with a packet.
everywhere=(udp connect 127.0.0.1 9 udp connect 10.99.0.1 9 send udp connect 10.98.0.1 9 send
	udp6 connect ::1 9 udp6 connect ::ffff:10.99.0.1 9 send tcp connect 127.0.0.1 9
	tcp bind 0.0.0.0 5380 udp bind 0.0.0.0 5380 tcp6 bind ::1 5381 udp bind 127.0.0.53 53)
unbound_everywhere() {
	lines 'udp unbound' 'connect unbound' 'udp unbound' 'connect unbound' 'send unbound' 'udp unbound' 'connect unbound' \
		'send unbound' 'udp6 unbound' 'connect unbound' 'udp6 unbound' 'connect unbound' 'send unbound' 'tcp unbound' \
		'connect ECONNREFUSED unbound' 'tcp unbound' 'bind unbound' 'udp unbound' 'bind unbound' 'tcp6 unbound' \
		'bind unbound' 'udp unbound' 'bind unbound'
}
ruled_everywhere() {
	lines "udp $device" 'connect lo' "udp $device" "connect $other" "send $other" "udp $device" "connect $device" \
		"send $device" "udp6 $device" 'connect lo' "udp6 $device" "connect $other" "send $other" "tcp $device" \
		'connect ECONNREFUSED lo' "tcp $device" "bind $other" "udp $device" "bind $device" "tcp6 $device" \
		'bind lo' "udp $device" 'bind lo'
}

moves() {
	local before
	before=$(escaped)
	says "$(unbound_everywhere)" "$1" "${everywhere[@]}"
	# So it is seen there.
	await eval '[ "$(escaped)" -gt "$before" ]'
	stays says "$(ruled_everywhere)" "${ruled[@]}" "$device" "$1" "${everywhere[@]}"
}

# A stream that was refused on loopback goes into the VRF, and back; a bound one by the address it is given first.
again() {
	says $'tcp unbound\nconnect ECONNREFUSED unbound\nconnect ECONNREFUSED unbound' \
		"$1" tcp connect 127.0.0.1 9 connect 127.0.0.1 9
	says $'tcp '"$device"$'\nconnect ECONNREFUSED lo\nconnect ECONNREFUSED lo' \
		"${ruled[@]}" "$device" "$1" tcp connect 127.0.0.1 9 connect 127.0.0.1 9
	stays says "tcp $device"$'\nconnect ECONNREFUSED lo\nconnect EINPROGRESS '"$device" \
		"${ruled[@]}" "$device" "$1" tcp connect 127.0.0.1 9 nonblock connect 10.98.0.1 9
	says "$(lines "tcp $device" "bind $other" 'bind EINVAL '"$other")" \
		"${ruled[@]}" "$device" "$1" tcp bind 0.0.0.0 5380 bind 0.0.0.0 5381
	says "$(lines "tcp $device" 'connect ECONNREFUSED lo' "bind $other")" \
		"${ruled[@]}" "$device" "$1" tcp connect 127.0.0.1 9 bind 0.0.0.0 5380
}

# The kernel refuses what it cannot read, and what is no socket of IP is none of ours.
left_alone() {
	says "$(lines 'udp unbound' 'nowhere EFAULT unbound' 'nowhere EFAULT unbound' 'short EINVAL unbound' \
		'negative EINVAL unbound' 'unix ENOENT')" "$1" udp nowhere unix
	says "$(lines "udp $device" "nowhere EFAULT $device" "nowhere EFAULT $device" "short EINVAL $device" \
		"negative EINVAL $device" 'unix ENOENT')" "${ruled[@]}" "$device" "$1" udp nowhere unix
	says 'unix ENOENT' "${ruled[@]}" "$device" env VRFBIND_VRF=a/b "$1" unix
}

# connect(AF_UNSPEC) would take the device away for a moment.
unspec() {
	says $'udp unbound\nunspec unbound\nconnect unbound\nunspec unbound' "$1" udp unspec connect 127.0.0.1 9 unspec
	says $'udp '"$device"$'\nunspec '"$device"$'\nconnect lo\nunspec EPERM lo' \
		"${ruled[@]}" "$device" "$1" udp unspec connect 127.0.0.1 9 unspec
	says $'tcp '"$device"$'\nunspec '"$device" "${ruled[@]}" "$device" "$1" tcp unspec
}

# Another thread looks all the time.
never_none() {
	ends 0 "$1" udp watch 1000
	grep -q '^watched 1000, unbound [1-9].*, failed 0$' "$scratch/said"
	says "udp $device"$'\nwatched 5000, unbound 0, failed 0' "${ruled[@]}" "$device" "$1" udp watch 5000
	says "udp $device"$'\nwatched 1000, unbound 0, failed 0' "${nobody[@]}" "${ruled[@]}" "$device" "$1" udp watch 1000
}

with_other_descriptors() {
	says $'tcp '"$device"$'\nconnect ECONNREFUSED lo' "${ruled[@]}" "$device" "$1" apart tcp connect 127.0.0.1 9
}

# -- Replaced

replaced() {
	local outer=("${nobody[@]}" "${start[@]}" --loopback --rule "bind tcp *:5380 $other" --rule "connect 10.99.0.0/16 $other")
	local ports=(udp bind 0.0.0.0 5380 tcp bind 0.0.0.0 5380 udp connect 127.0.0.1 9 udp6 connect ::1 9
		udp connect 10.99.0.1 9 send udp connect 10.98.0.1 9 send)
	stays says "$(lines "udp $device" "bind $device" "tcp $device" "bind $other" "udp $device" 'connect lo' \
		"udp6 $device" 'connect lo' "udp $device" "connect $other" "send $other" "udp $device" "connect $device" \
		"send $device")" "${outer[@]}" "$device" "$1" "${ports[@]}"
	# With all that it had.
	says "$(lines 'udp unbound' 'options 1 1 16384 7 16 3 cloexec nonblock')" "$1" udp set options
	says "$(lines "udp $device" 'connect lo' 'options 1 1 16384 7 16 3 cloexec nonblock')" \
		"${outer[@]}" "$device" "$1" udp set connect 127.0.0.1 9 options
	# What would be left with the old one.
	local what
	for what in dup epoll; do
		ends 0 "${outer[@]}" "$device" "$1" udp "$what" connect 127.0.0.1 9 connect 10.98.0.1 9
		diff "$scratch/said" <(lines "udp $device" "connect EPERM $device" "connect $device")
		grep -q "^vrfbind: connect() of .* fails with EPERM: its address belongs to lo by rule 3, .*CAP_NET_RAW" \
			"$scratch/said.stderr"
		[ "$(wc -l <"$scratch/said.stderr")" -eq 1 ]
	done
	says "$(lines "udp $device" "bind $device" "connect EPERM $device")" \
		"${outer[@]}" "$device" "$1" udp bind 0.0.0.0 0 connect 127.0.0.1 9
	says "$(lines "tcp $device" 'connect ECONNREFUSED lo' 'connect ECONNREFUSED lo')" \
		"${outer[@]}" "$device" "$1" tcp connect 127.0.0.1 9 connect 127.0.0.1 9
	# Much of MPTCP's cannot be read.
	if [ -d /proc/sys/net/mptcp ]; then
		says "$(lines "mptcp $device" "connect EPERM $device")" "${outer[@]}" "$device" "$1" mptcp connect 127.0.0.1 9
	fi
	# And an epoll that has others.
	says "$(lines "udp $device" "udp $device" 'connect lo')" "${outer[@]}" "$device" "$1" udp epoll udp connect 127.0.0.1 9
}

# What is not fresh moves by the caller's own CAP_NET_RAW.
rights() {
	says "$(lines "udp $device" "bind $device" 'connect lo')" \
		"${ruled[@]}" "$device" "$1" udp bind 0.0.0.0 0 connect 127.0.0.1 9
	says "$(lines "udp $device" "bind $device" "connect EPERM $device")" \
		"${ruled[@]}" "$device" "$1" udp bind 0.0.0.0 0 nobody connect 127.0.0.1 9
	says "$(lines "raw $device" 'connect lo')" "${ruled[@]}" "$device" "$1" raw connect 127.0.0.1 9
	says "$(lines "raw $device" "connect EPERM $device")" "${ruled[@]}" "$device" "$1" raw nobody connect 127.0.0.1 9
	says "$(lines "udp $device" 'connect lo')" "${ruled[@]}" "$device" "$1" udp nobody connect 127.0.0.1 9
	says "$(lines "tcp $device" 'bind EACCES lo')" "${ruled[@]}" "$device" env sh -c \
		'echo 1024 >/proc/sys/net/ipv4/ip_unprivileged_port_start; exec "$@"' sh "$1" nobody tcp bind 127.0.0.1 80
}

# -- The fence

fence() {
	local outer=("${ruled[@]}" "$device") outside=$other
	says "$(lines 'udp unbound' "device $outside" "device $outside")" "$1" udp device "$outside" device "$outside"
	stays says "$(lines "udp $device" "device ENODEV $device" "index ENODEV $device" "device $device" "index $device" "device $device")" \
		"${outer[@]}" "$1" udp device "$outside" index "$outside" device "$device" index "$device" device ''
	grep -q "^vrfbind: setsockopt(SO_BINDTODEVICE) of .* fails with ENODEV: the device is not in VRF $device" "$scratch/output"
	# A link's address has the device in it.
	says "$(lines 'udp6 unbound' "bind EADDRNOTAVAIL $outside")" "$1" udp6 bind "fe80::7%$outside" 5382
	says "$(lines "udp6 $device" "bind EADDRNOTAVAIL $device")" "${outer[@]}" "$1" udp6 bind "fe80::7%$outside" 5382
}

# -- Programs

# serving PATTERN COMMAND... - in the background, until the point ends; it has said PATTERN
serving() {
	local pattern=$1
	shift
	# What the one before has said is not awaited.
	rm -f "$scratch/serves"
	"$@" >"$scratch/serves" 2>&1 &
	started+=($!)
	await grep -qs "$pattern" "$scratch/serves"
}

go_exporter() {
	trap end_all EXIT
	local under=("${start[@]}" --loopback "$device") url='http://10.10.1.1:5383/'
	if [ "$tier" = vrf ]; then
		url=http://192.0.2.53/
		serving serves nsenter --net="/run/netns/$T_BLUE_UPSTREAM" "$scratch/ask-go" serve 192.0.2.53:80 'from the VRF'
		serving serves nsenter --net="/run/netns/$T_UPSTREAM" "$scratch/ask-go" serve 192.0.2.53:80 'from the decoy'
	else
		serving serves "$scratch/ask-go" serve 10.10.1.1:5383 'from the VRF'
	fi
	# Without rules it would not listen there.
	if [ "$tier" = vrf ]; then
		ends 1 "${start[@]}" "$device" "$scratch/ask-go" exporter 127.0.0.1:5384 "$url"
		grep -q 'assign requested address' "$scratch/said"
	fi
	serving serves "${under[@]}" "$scratch/ask-go" exporter 127.0.0.1:5385 "$url"
	ss -Hltn 'sport = :5385' >"$scratch/listeners"
	grep -q '127.0.0.1%lo:5385' "$scratch/listeners"
	local before
	before=$(escaped)
	if [ "$tier" = vrf ]; then
		says 'from the VRF' "$scratch/ask-go" get http://127.0.0.1:5385/
	else
		# A device that is no VRF does not reach its own address: what counts is where the question is.
		timeout "$limit" "$scratch/ask-go" get http://127.0.0.1:5385/ &
		started+=($!)
		await eval "ss -Htn 'dport = :5383' | grep -q '%$device:'"
	fi
	[ "$(escaped)" -eq "$before" ]
}

go_resolver() {
	trap end_all EXIT
	serving started dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --no-daemon --user=root --group=root --pid-file= \
		--listen-address=127.0.0.53 --bind-interfaces --address=/app.local/192.0.2.100
	echo nameserver 127.0.0.53 >"$scratch/resolv.conf"
	local resolving=(unshare --mount sh -c 'mount --bind "$0/resolv.conf" /etc/resolv.conf && exec "$@"' "$scratch")
	says '[192.0.2.100]' "${resolving[@]}" "$scratch/ask-go" resolve app.local
	stays says '[192.0.2.100]' "${resolving[@]}" "${start[@]}" --loopback "$device" "$scratch/ask-go" resolve app.local
	stays says '[192.0.2.100]' "${resolving[@]}" "${nobody[@]}" "${start[@]}" --loopback "$device" "$scratch/ask-go" resolve app.local
}

# Both in one tree, and the library's own calls are not asked about: its program ends while the supervisor is stopped.
with_library() {
	local words=(udp bind 0.0.0.0 5380 udp connect 127.0.0.1 9 device "$device" tcp nonblock connect 127.0.0.1 9)
	local expected supervisor
	expected=$(lines "udp $device" "bind $device" "udp $device" 'connect lo' "device $device" "tcp $device" \
		'connect EINPROGRESS lo')
	says "$expected"$'\n'"udp $device"$'\nconnect lo' \
		"${ruled[@]}" "$device" "$dynamic" "${words[@]}" run "$static" udp connect 127.0.0.1 9
	# The library hears that the call has failed, and moves the socket back.
	says "$(lines "tcp $device" "connect ECONNREFUSED $device" 'unix ENOENT')" \
		"${ruled[@]}" "$device" "$dynamic" tcp connect 127.0.0.1 9 unix
	trap end_all EXIT
	mkfifo "$scratch/line"
	"${ruled[@]}" "$device" "$dynamic" pause "${words[@]}" <>"$scratch/line" >"$scratch/paused" &
	started+=($!)
	await grep -qs paused "$scratch/paused"
	supervisor=$(pgrep --parent "$!")
	kill -STOP "$supervisor"
	started+=("$supervisor")
	echo >"$scratch/line"
	wait "$!"
	diff <(sed 1d "$scratch/paused") <(echo "$expected")
}

# -- Trees

nested() {
	local outer=("${ruled[@]}" "$device") inner=("${start[@]}" --rule 'bind * lo') words=(udp bind 0.0.0.0 5390 udp connect 127.0.0.1 9)
	says "$(lines "udp $device" 'bind lo' "udp $device" "connect $device")" \
		"${outer[@]}" "${inner[@]}" "$device" "$1" "${words[@]}"
	says "$(lines "udp $other" 'bind lo' "udp $other" "connect $other")" \
		"${outer[@]}" "${inner[@]}" "$other" "$1" "${words[@]}"
	# The tree's own: inherited, scrubbed, written over.
	local expected
	expected=$(lines "udp $device" "bind $device" "udp $device" 'connect lo')
	says "$expected" "${outer[@]}" "${start[@]}" "$device" "$1" "${words[@]}"
	says "$expected" "${outer[@]}" "$1" run env -i "$1" "${words[@]}"
	says "$expected" "${outer[@]}" "$1" run env -u VRFBIND_RULES "$1" "${words[@]}"
	says "$expected" "${outer[@]}" "$1" title "${words[@]}"
	# Both at once, and one that nobody knows is not moved: there it stays, or it is not.
	says "$(lines 'udp unbound' 'bind unbound' 'udp unbound' 'connect unbound')" \
		"${outer[@]}" "$vrfbind" exec default "$1" "${words[@]}"
	says "$(lines "udp $device" 'bind lo')"$'\nudp EPERM' "${outer[@]}" sh -c \
		'VRFBIND_RULES="bind * lo" "$@" udp bind 0.0.0.0 5390; "$@" title udp' sh "$1"
	# Nor does it get away: by a device, by AF_UNSPEC, by a link's address.
	local way mixed='VRFBIND_RULES="bind * lo" "$@" udp >"$0"'
	for way in "udp6 title bind fe80::7%$other 5382 device $other index $other unspec" 'tcp title unspec' \
		'udp title connect 10.98.0.1 9'; do
		"${outer[@]}" sh -c "$mixed; exec \"\$@\" $way" "$scratch/mixed" "$1"
	done >"$scratch/said"
	diff "$scratch/said" <(lines "udp6 $device" "bind EPERM $device" "device EPERM $device" "index EPERM $device" \
		"unspec EPERM $device" "tcp $device" "unspec $device" "udp $device" "connect $device")
	# A list in a file, as who asks can read it.
	echo 'loopback lo' >"$scratch/list"
	chmod 600 "$scratch/list"
	says "$(lines "udp $device" 'connect lo')" env VRFBIND_RULES="$scratch/list" "${start[@]}" "$device" "$1" udp connect 127.0.0.1 9
	says 'udp EINVAL' env VRFBIND_RULES="$scratch/list" "${start[@]}" "$device" "${nobody[@]}" "$1" udp
}

invalid() {
	ends 0 env VRFBIND_RULES='loopback lo; bind * a/b' "${start[@]}" "$device" "$1" udp tcp6
	diff "$scratch/said" <(lines 'udp EINVAL' 'tcp6 EINVAL')
	[ "$(grep -c "^vrfbind: VRFBIND_RULES of .*: rule 2, \"bind \* a/b\", at \"a/b\": .*EINVAL" "$scratch/said.stderr")" -eq 1 ]
	mkfifo "$scratch/fifo"
	ends 0 env VRFBIND_RULES="$scratch/fifo" "${start[@]}" "$device" "$1" udp
	diff "$scratch/said" <(echo 'udp EINVAL')
	rm "$scratch/fifo"
}

# A tree that was started without rules asks nobody about addresses.
started_without() {
	refused 125 'supervisor of this process tree was started without rules' \
		"${start[@]}" "$device" "$vrfbind" exec "${any[@]}" --loopback "$device" "$1" udp
	says 'udp EPERM' "${start[@]}" "$device" env VRFBIND_RULES='loopback lo' "$1" udp
	says "$(lines "udp $device" "connect $device" "device $other")" \
		"${start[@]}" "$device" "$1" udp connect 127.0.0.1 9 device "$other"
}

# Of a process that has given up its user the memory cannot be read without CAP_SYS_PTRACE.
unreadable() {
	local outer=("${no_ptrace[@]}" "${ruled[@]}" "$device")
	says "$(lines "udp $device" 'connect lo')" "${outer[@]}" "$1" udp connect 127.0.0.1 9
	ends 0 "${outer[@]}" "$1" nobody udp connect 127.0.0.1 9 bind 127.0.0.1 5380 device "$device" unix
	diff "$scratch/said" <(lines "udp $device" "connect EPERM $device" "bind EPERM $device" "device EPERM $device" 'unix EPERM')
	cat "$scratch/said.stderr"
	[ "$(grep -c '^vrfbind: connect() of .* fails with EPERM: its memory cannot be read.*CAP_SYS_PTRACE' "$scratch/said.stderr")" -eq 1 ]
	# The library has judged the address, and marks the call; but not where a thread may be cancelled while it waits.
	ends 0 "${outer[@]}" "$dynamic" nobody udp connect 10.98.0.1 9 tcp connect 10.98.0.1 9 nonblock connect 10.98.0.1 9
	diff "$scratch/said" <(lines "udp $device" "connect $device" "tcp $device" "connect EPERM $device" \
		"connect EINPROGRESS $device")
	# What does not come from the library is refused, as far as that can be told.
	says "$(lines "udp $device" "bind EPERM $device" "connect EPERM $device" "connect $device" "tcp $device" "connect EINTR $device")" \
		"${outer[@]}" "${nobody[@]}" "$dynamic" udp nonblock direct 127.0.0.1 5392 connect 10.98.0.1 9 \
		tcp waits 300 connect 10.98.0.1 9
	# On older kernels, a line reports it.
	"${no_ptrace[@]}" "$vrfbind" check "${any[@]}" --library "$library" "$device" >"$scratch/said" || true
	grep -q '^warn  rules: .*CAP_SYS_PTRACE' "$scratch/said"
	"$vrfbind" check "${any[@]}" --library "$library" "$device" >"$scratch/said" || true
	not grep -q '^warn  rules: ' "$scratch/said"
}

# The devices are those of the caller's network namespace.
elsewhere() {
	says "$(lines 'udp unbound' 'connect unbound')" "$1" unshare udp connect 127.0.0.1 9
	says "$(lines 'udp lo' 'connect lo' 'udp lo' 'connect unbound')" \
		"$vrfbind" exec --any-device --rule 'connect 127.0.0.2 default' lo "$1" unshare udp connect 127.0.0.1 9 udp connect 127.0.0.2 9
	says "$(lines 'udp lo' "connect ENODEV lo")" \
		"$vrfbind" exec --any-device --rule "connect 127.0.0.1 $device" lo "$1" unshare udp connect 127.0.0.1 9
	# A socket of another one is not replaced by one of the caller's.
	says "$(lines "udp $device" "connect EPERM $device")" setpriv --bounding-set=-net_raw --inh-caps=-net_raw \
		"${ruled[@]}" "$device" "$1" udp unshare connect 127.0.0.1 9
}

other_abis() {
	says "$(lines "udp $device" "socketcall EPERM $device" "socketcall EPERM $device" "socketcall EPERM $device" 'i386 lo')" \
		"${ruled[@]}" "$device" "$static" udp i386 127.0.0.1 5391
	"${ruled[@]}" "$device" "$static" udp x32 127.0.0.1 5391 >"$scratch/said"
	grep -qxE 'x32 (ENOSYS )?lo' "$scratch/said"
}

# One that waits for its peer keeps nobody waiting, and hears its signals.
waits() {
	local blocked
	says "$(lines 'tcp unbound' 'connect EINTR unbound')" "$1" tcp waits 300 connect 10.98.0.1 9
	says "$(lines "tcp $device" "connect EINTR $device")" "${ruled[@]}" "$device" "$1" tcp waits 300 connect 10.98.0.1 9
	trap end_all EXIT
	"${ruled[@]}" "$device" sh -c '"$@" tcp connect 10.98.0.1 9 & "$@" udp connect 127.0.0.1 9 >&3; wait' sh "$1" \
		3>"$scratch/others" >/dev/null &
	blocked=$!
	started+=("$blocked")
	await eval 'grep -qs "connect lo" "$scratch/others"'
	kill -0 "$blocked"
	await one_is_left "$blocked" "$(basename "$1" | cut -c1-15)"
	kill "$waiting"
	wait "$blocked" || true
}
# one_is_left PARENT NAME - of its children of that name; `waiting` is its PID
one_is_left() { waiting=$(pgrep --parent "$1" --exact "$2") && [[ $waiting != *$'\n'* ]]; }

# User-mode Linux has none.
has_i386=''
[ "$tier $(uname -m)" != 'lo x86_64' ] || has_i386=1
if [ -n "$has_i386" ]; then echo 1..19; else echo 1..18; fi
for_static() { point "$1" for_each_static "$2"; }
for_static 'static programs are where the addresses belong that they bind and connect' moves
for_static 'a stream that was refused is moved again, and what is bound is not' again
for_static 'what is no address, and no socket of IP, is left to the kernel' left_alone
for_static 'connect(AF_UNSPEC) takes no device away' unspec
for_static 'another thread never finds the socket without a device' never_none
for_static 'a thread'\''s socket is its own' with_other_descriptors
for_static 'without CAP_NET_RAW a fresh socket is replaced with its options, or the call refused' replaced
for_static 'nobody gets by a rule what its rights would not have given' rights
for_static 'a device or a link'\''s address outside of the VRF is refused' fence
point_with "$scratch/ask-go" 'a Go exporter listens on 127.0.0.1 and asks in the VRF' go_exporter
point_with "$scratch/ask-go" 'Go'\''s resolver on 127.0.0.53 answers, root and nobody' go_resolver
point 'a program with the library is in the same tree, and its calls are not asked about' with_library
for_static 'each program has the rules of its environment, or the tree'\''s' nested
for_static 'a list that is invalid is said, and gives no socket' invalid
for_static 'in a tree that was started without rules nobody follows them' started_without
for_static 'where memory cannot be read the call fails with a line, and check says so before' unreadable
for_static 'in another network namespace its devices count' elsewhere
for_static 'a connect() that waits keeps nobody waiting, and hears signals' waits
[ -z "$has_i386" ] || point 'i386'\''s bind() is judged, its socketcall() refused; x32 is no way round' other_abis
exit "$all_ok"
