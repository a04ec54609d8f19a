#!/usr/bin/env bash
# command-check.sh - vrfbind check reports obstacles, and nothing else
#
# Each point first shows that the obstacle is real, by the result of a program or by the kernel, then that the command
# names it, and that it does not without the obstacle.
#
# Sysctls and ports are those of network namespaces that are created here, files those of mount namespaces.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
export VRFBIND_LIBRARY=$library
command=$vrfbind
bin=$programs

# has_line PATTERN - the output has such a line
has_line() {
	grep -qE "$1" "$scratch/said" || {
		echo "no line is like: $1"
		cat "$scratch/said"
		return 1
	}
}

# device_of VARIABLE... - the device of a socket that a program makes, with these variables
device_of() {
	env "$@" "$python" -c 'import socket; s = socket.socket(); print(s.getsockopt(1, 25, 16).rstrip(b"\0").decode())'
}

# cannot_bind ADDRESS PORT DEVICE - prints the errno, if a UDP socket on the device cannot be bound to the address
cannot_bind() {
	"$python" - "$@" <<-'END'
		import errno, socket, sys
		family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
		one = socket.socket(family, socket.SOCK_DGRAM)
		one.setsockopt(socket.SOL_SOCKET, 25, sys.argv[3].encode())
		try:
		    one.bind((sys.argv[1], int(sys.argv[2])))
		    print("binds")
		except OSError as error:
		    print(errno.errorcode[error.errno])
	END
}

# -- The points

nothing_in_the_way() {
	[ "$(device_of A=1)" = '' ]
	[ "$(device_of LD_PRELOAD="$library" VRFBIND_VRF="$device")" = "$device" ]
	ends 0 "$command" check "${any[@]}" "$device" "$python"
	not grep -q ^fail "$scratch/said"
	has_line "^ok    probe: a socket made here is bound to $device\$"
	has_line "^ok    program: .*python3.* is dynamically linked; it uses the probe's libc"
	# Every line is of one of three kinds.
	not grep -qvE '^(ok   |warn |fail ) [A-Za-z0-9 .:]+: ' "$scratch/said"
}

loaded() {
	[ "$(device_of A=1)" = '' ]
	ends 1 "$command" check --quiet --loaded "${any[@]}" "$device"
	grep -q "^vrfbind: probe: a socket made here is not bound to $device: the library is not" "$scratch/said.stderr"
	# The loader's own way: it prints a line and goes on.
	[ "$(device_of LD_PRELOAD=/no/such/libvrfbind.so VRFBIND_VRF="$device" 2>/dev/null)" = '' ]
	ends 1 env LD_PRELOAD=/no/such/libvrfbind.so VRFBIND_VRF="$device" "$command" check --loaded "${any[@]}" "$device"
	[ "$(device_of LD_PRELOAD="$library")" = '' ]
	ends 1 env LD_PRELOAD="$library" "$command" check --loaded "${any[@]}" "$device"
	ends 1 env LD_PRELOAD="$library" VRFBIND_VRF=missing "$command" check --loaded "${any[@]}" "$device"
	[ "$(device_of LD_PRELOAD="$library" VRFBIND_VRF="$device")" = "$device" ]
	ends 0 env LD_PRELOAD="$library" VRFBIND_VRF="$device" "$command" check --quiet --loaded "${any[@]}" "$device"
	[ ! -s "$scratch/said" ] && [ ! -s "$scratch/said.stderr" ]
	# Without /proc, with nothing but IP sockets allowed, the probe is still one.
	ends 0 unshare --mount bash -c 'mount -t tmpfs none /proc && exec "$@"' bash \
		env LD_PRELOAD="$library" VRFBIND_VRF="$device" "$command" check --loaded "${any[@]}" "$device"
	has_line "^ok    probe: a socket made here is bound to $device\$"
}

no_vrf() {
	not ip link show missing0
	ends 1 "$command" check missing0
	has_line '^fail  VRF: there is no device missing0 .*ip link add missing0 type vrf table NUMBER`$'
	ends 1 "$command" check lo
	has_line '^fail  VRF: lo is not a VRF; .*--any-device accepts other devices$'
	ends 0 "$command" check --any-device lo
	# Where none can be, as far as the kernel tells.
	if [ -n "$can_namespace" ] && ! unshare --net ip link add missing0 type vrf table 1 &&
		[ -z "$(find "/lib/modules/$(uname -r)" -name 'vrf.ko*' 2>/dev/null)" ]; then
		has_line '^warn  VRFs: none in this network namespace, .*CONFIG_NET_VRF'
		ends 0 "$command" check
		has_line '^warn  VRFs: '
		ends 1 "$command" check missing0
		has_line '^fail  VRFs: none in this network namespace, .*CONFIG_NET_VRF'
	fi
	ends 125 "$command" check an-overlong-device-name
	grep -q '^vrfbind: "an-overlong-device-name" is not a device name: it is longer than' "$scratch/said.stderr"
}

static_program() {
	echo 'int main(void) { return 0; }' >"$scratch/static.c"
	gcc -static -o "$scratch/static" "$scratch/static.c"
	readelf -lW "$scratch/static" | not grep -q INTERP
	if before 5.14; then
		ends 1 "$command" check "${any[@]}" "$device" "$scratch/static"
		has_line '^fail  program: .*/static is statically linked: .*, and it cannot be supervised here'
	else
		ends 0 "$command" check "${any[@]}" "$device" "$scratch/static"
		has_line '^warn  program: .*/static is statically linked: .*; .vrfbind exec. serves it with a supervisor'
	fi
	ends 1 env LD_PRELOAD="$library" VRFBIND_VRF="$device" \
		"$command" check --loaded "${any[@]}" "$device" "$scratch/static"
	has_line '^fail  program: .*/static is statically linked: .*; put .vrfbind exec VRF. in front of it in the unit.s ExecStart='
	printf '#!/dev/null\n' >"$scratch/script"
	chmod +x "$scratch/script"
	ends 1 "$command" check "${any[@]}" "$device" "$scratch/script"
	has_line '^fail  program: cannot execute .*/script: its interpreter /dev/null: Permission denied'
	ends 1 "$command" check "${any[@]}" "$device" no-such-command
	has_line '^fail  program: cannot execute no-such-command'
	# What the kernel does not find either.
	printf '#!%s/nothing\n' "$scratch" >"$scratch/script"
	ends 127 env "$scratch/script"
	ends 1 "$command" check "${any[@]}" "$device" "$scratch/script"
	has_line '^fail  program: cannot execute .*/script: its interpreter .*/nothing: No such file'
	sed 's,/ld-linux,/no-linux,' "$bin/ask" >"$scratch/no-loader"
	chmod +x "$scratch/no-loader"
	ends 127 env "$scratch/no-loader"
	ends 1 "$command" check "${any[@]}" "$device" "$scratch/no-loader"
	has_line '^fail  program: cannot execute .*/no-loader: its loader .*/no-linux.*: No such file'
}

# In a unit there is only the preload, and this command if the unit starts with it.
go_program() {
	local program=$bin/ask-go-dynamic under=(env LD_PRELOAD="$library" VRFBIND_VRF="$device")
	says 'tcp unbound' "${under[@]}" "$program" tcp
	if before 5.14; then
		ends 1 "$command" check "${any[@]}" "$device" "$program"
	else
		ends 0 "$command" check "${any[@]}" "$device" "$program"
		has_line '^warn  program: .*/ask-go-dynamic is a Go program: .*; .vrfbind exec. serves it with a supervisor'
	fi
	ends 1 "${under[@]}" "$command" check --quiet --loaded "${any[@]}" "$device" "$program"
	[ "$(wc -l <"$scratch/said.stderr")" -eq 1 ]
	grep -q "^vrfbind: program: .*/ask-go-dynamic is a Go program: .*vrfbind exec VRF. in front of it in the unit's ExecStart=" \
		"$scratch/said.stderr"
	ends 0 "${under[@]}" "$command" check --quiet --loaded "${any[@]}" "$device" "$command"
}

unreadable_library() {
	cp "$library" "$scratch/libvrfbind.so"
	ends 0 "$command" check "${any[@]}" --library "$scratch/libvrfbind.so" "$device"
	: >"$scratch/libvrfbind.so"
	[ "$(device_of LD_PRELOAD="$scratch/libvrfbind.so" VRFBIND_VRF="$device" 2>/dev/null)" = '' ]
	ends 1 "$command" check "${any[@]}" --library "$scratch/libvrfbind.so" "$device"
	has_line '^fail  library: .*/libvrfbind.so: it is not a libvrfbind.so'
}

# The value of the switch in a network namespace of its own.
switches() {
	local protocol
	for protocol in tcp udp; do
		# shellcheck disable=SC2016  # for the other shell
		unshare --net bash -ec 'echo "$1" >"/proc/sys/net/ipv4/$2_l3mdev_accept" && exec "$3" check' bash \
			1 "$protocol" "$command" >"$scratch/said"
		has_line "^warn  sysctl: net.ipv4.${protocol}_l3mdev_accept=1: .*sysctl net.ipv4.${protocol}_l3mdev_accept=0"
		# shellcheck disable=SC2016
		unshare --net bash -ec 'echo "$1" >"/proc/sys/net/ipv4/$2_l3mdev_accept" && exec "$3" check' bash \
			0 "$protocol" "$command" >"$scratch/said"
		has_line "^ok    sysctl: net.ipv4.${protocol}_l3mdev_accept=0: "
	done
}

udp_port() {
	coproc HOLDER {
		# shellcheck disable=SC2016  # for the other shell
		exec unshare --net bash -ec 'ip link add port0 type veth peer name port1; ip link set port0 up; exec "$@"' \
			bash "$python" -c '
import socket, sys
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
print("ready", flush=True)
sys.stdin.readline()
one.bind(("", 5353))
print("holds", flush=True)
sys.stdin.readline()'
	}
	holder=$HOLDER_PID
	# In a network namespace whose device is a veth.
	local inside=(nsenter --target "$holder" --net)
	trap 'kill -KILL "$holder"' EXIT
	local line
	read -r -t "$limit" line <&"${HOLDER[0]}"
	[ "$("${inside[@]}" bash -c "$(declare -f cannot_bind); python=$python; cannot_bind 0.0.0.0 5353 port0")" = binds ]
	ends 0 "${inside[@]}" "$command" check --any-device port0 dnsmasq --listen-address=127.0.0.1,::1
	has_line '^ok    UDP ports: '
	# It is no VRF: 127.0.0.1 is lo's, and can be bound.
	[ "$("${inside[@]}" bash -c "$(declare -f cannot_bind); python=$python; cannot_bind 127.0.0.1 0 port0")" = binds ]
	has_line '^ok    127.0.0.1: can be bound'
	echo >&"${HOLDER[1]}"
	read -r -t "$limit" line <&"${HOLDER[0]}"
	[ "$line" = holds ]
	[ "$("${inside[@]}" bash -c "$(declare -f cannot_bind); python=$python; cannot_bind 0.0.0.0 5353 port0")" = EADDRINUSE ]
	ends 0 "${inside[@]}" "$command" check --any-device port0
	has_line '^warn  UDP ports: unbound wildcard sockets hold 5353, .*bind\(\) of these ports in port0 fails with EADDRINUSE'
}

# with_file TEXT PATH COMMAND... - COMMAND sees a file with that text at PATH
with_file() {
	printf '%s\n' "$1" >"$scratch/file"
	# shellcheck disable=SC2016  # for the other shell
	unshare --mount bash -ec 'mount --bind "$1" "$2" && shift 2 && exec "$@"' bash "$scratch/file" "${@:2}"
}

resolvers() {
	with_file 'hosts: files dns' /etc/nsswitch.conf "$command" check >"$scratch/before"
	with_file 'hosts: files resolve dns' /etc/nsswitch.conf "$command" check >"$scratch/said"
	has_line '^warn  names: .*systemd-resolved'
	not grep -q systemd-resolved "$scratch/before"
	with_file 'hosts: files sss' /etc/nsswitch.conf "$command" check >"$scratch/said"
	has_line '^warn  names: .*sssd'
	with_file 'nameserver 127.0.0.53' /etc/resolv.conf "$command" check >"$scratch/said"
	has_line "^warn  names: /etc/resolv.conf names the server 127.0.0.53, on the host's loopback, which sockets in a VRF do not reach"
	not grep -q '^ok    names' "$scratch/said"
	# From lo it is reached.
	with_file 'nameserver 127.0.0.53' /etc/resolv.conf "$command" check --any-device lo >"$scratch/said"
	not grep -q "the host's loopback" "$scratch/said"
	with_file 'nameserver 192.0.2.53' /etc/resolv.conf "$command" check >"$scratch/said"
	not grep -q "the host's loopback" "$scratch/said"
}

notifications() {
	grep -qw user_notif /proc/sys/kernel/seccomp/actions_avail
	ends 0 "$command" check
	if before 5.14; then
		has_line '^warn  seccomp: static and Go programs cannot be supervised: .*Linux 5.14'
	else
		has_line '^(ok  |warn)  seccomp: .*static.* can be supervised'
	fi
	# Kernels that lack them, as other filters pretend: seccomp(SECCOMP_GET_NOTIF_SIZES), prctl(PR_SET_SECCOMP).
	local prctl=157 seccomp=317
	[ "$(uname -m)" = x86_64 ] || { prctl=167 seccomp=277; }
	ends 0 "$bin/ask" refuse "$seccomp" 0 3 22 run "$command" check
	has_line '^ok    seccomp: .*can be sealed'
	has_line '^warn  seccomp: static and Go programs cannot be supervised: this requires Linux 5.14'
	ends 1 "$bin/ask" refuse "$prctl" 0 22 22 run "$command" check
	has_line '^fail  seccomp: the seal cannot be installed: prctl.PR_SET_SECCOMP.: Invalid argument'
	# The process that tries it is killed, and not the command.
	before 5.14 || ends 0 "$bin/ask" kill "$seccomp" run "$command" check
	has_line '^(warn|fail)  seccomp: '
	# In the tree of somebody else's listener.
	before 5.14 || ends 0 "$bin/ask" listen run "$command" check
	before 5.14 || has_line '^warn  seccomp: .*cannot be supervised: a seccomp user-notification listener is installed already'
}

# What is run behind one of these sees so little of /proc.
# shellcheck disable=SC2016  # for the other shell
no_sys=(unshare --mount bash -ec 'mount -t proc -o subset=pid proc /proc && exec "$@"' bash)
# shellcheck disable=SC2016
no_proc=(unshare --mount bash -ec 'mount -t tmpfs none /proc && exec "$@"' bash)

# exec does there what check predicts.
hidden_proc() {
	before 5.14 && return
	local static=$bin/ask-static start=("$command" exec "${any[@]}" "$device")
	"${no_sys[@]}" sh -c 'test ! -e /proc/sys && test -e /proc/self/maps'
	ends 0 "${no_sys[@]}" "${start[@]}" "$static" tcp
	[ "$(<"$scratch/said")" = "tcp $device" ]
	ends 0 "${no_sys[@]}" "$command" check "${any[@]}" "$device" "$static"
	not grep -q '^fail' "$scratch/said"
	has_line '^ok    seccomp: .*can be sealed'
	has_line '^ok    seccomp: .*can be supervised'
	has_line '^warn  sysctl: .*tcp_l3mdev_accept is unknown without /proc/sys'
	ends 125 "${no_proc[@]}" "${start[@]}" "$static" tcp
	ends 1 "${no_proc[@]}" "$command" check "${any[@]}" "$device" "$static"
	has_line '^ok    seccomp: .*can be sealed'
	has_line '^warn  seccomp: static and Go programs cannot be supervised: /proc is not mounted'
	has_line '^fail  program: .* cannot be supervised here: /proc is not mounted'
	has_line '^ok    ip vrf exec: it is unknown what it would lack: /proc'
	ends 0 "${no_proc[@]}" "$command" check "${any[@]}" "$device"
	has_line "^ok    probe: a socket made here is bound to $device\$"
}

in_a_sealed_tree() {
	ends 0 env LD_PRELOAD="$library" VRFBIND_VRF="$device" VRFBIND_SEAL=1 \
		bash -c "exec '$command' check ${any[*]} '$device'"
	has_line '^ok    seccomp: this process tree is sealed already'
	has_line "^ok    probe: a socket made here is bound to $device\$"
	ends 0 "$command" check "${any[@]}" "$device"
	not grep -q 'sealed already' "$scratch/said"
	# It predicts what exec would do.
	local static=$bin/ask-static here=("$command" exec "${any[@]}")
	ends 1 "${here[@]}" --no-supervise "$device" "$command" check "${any[@]}" "$device" "$static"
	has_line '^fail  program: .* is statically linked: .*, and it cannot be supervised here'
	ends 125 "${here[@]}" --no-supervise "$device" "${here[@]}" "$device" "$static" tcp
	! before 5.14 || return 0
	ends 0 "${here[@]}" "$device" "$command" check "${any[@]}" "$device" "$static"
	has_line '^ok    seccomp: this process tree has a supervisor already'
	has_line '^warn  program: .* is statically linked: .*; .vrfbind exec. serves it with a supervisor'
	says "tcp $device" "${here[@]}" "$device" "${here[@]}" "$device" "$static" tcp
}

unprivileged() {
	ends 0 setpriv --reuid=65534 --regid=65534 --clear-groups env VRFBIND_LIBRARY="$library" \
		"$command" check "${any[@]}" "$device" "$python"
	has_line "^ok    probe: a socket made here is bound to $device\$"
	has_line '^ok    ip vrf exec: would lack root '
}

# -- In real VRFs

the_vrf() {
	ends 0 "$command" check blue
	has_line '^ok    table: blue uses routing table 101; '
	ip -o -4 address show dev br-blue | grep -q ' 10.10.1.1/'
	has_line '^ok    addresses: on .*br-blue.*10\.10\.1\.1'
	not grep -q 'up-red' "$scratch/said"
	ip link add lost type vrf table 109
	ends 1 "$command" check lost
	has_line "^fail  VRF: lost is down, .*run \`ip link set lost up\`\$"
	has_line '^warn  devices: no device belongs to lost'
	ip link set lost up
	ends 0 "$command" check lost
	ip link delete lost
}

loopback() {
	printf '%s\n' interface=br-blue bind-interfaces >"$scratch/dnsmasq.conf"
	[ "$(cannot_bind 127.0.0.1 0 blue)" = EADDRNOTAVAIL ]
	ends 0 "$command" check blue dnsmasq -C "$scratch/dnsmasq.conf"
	has_line "^warn  127.0.0.1: $scratch/dnsmasq.conf names it, .*--loopback puts it on lo; .* \`ip addr add 127.0.0.1/8 dev blue\`;"
	echo except-interface=lo >>"$scratch/dnsmasq.conf"
	ends 0 "$command" check blue dnsmasq -C "$scratch/dnsmasq.conf"
	not grep -q '^warn  127' "$scratch/said"
	ip address add 127.0.0.1/8 dev blue
	[ "$(cannot_bind 127.0.0.1 0 blue)" = binds ]
	ends 0 "$command" check blue dnsmasq --listen-address=127.0.0.1
	has_line '^ok    127.0.0.1: is an address of blue'
	ip address delete 127.0.0.1/8 dev blue
	# The remedies are ones.
	[ "$(cannot_bind ::1 0 blue)" = EADDRNOTAVAIL ]
	ends 0 "$command" check blue dnsmasq --listen-address=::1
	remedy=$(sed -n "s/^warn  ::1: the command line names it, .* run \`\(ip addr add [^\`]*\)\`.*/\1/p" "$scratch/said")
	$remedy
	[ "$(cannot_bind ::1 0 blue)" = binds ]
	ends 0 "$command" check blue dnsmasq --listen-address=::1
	has_line '^ok    ::1: is an address of blue'
	ip address delete ::1/128 dev blue
}

# asks ADDRESS SERVER CLIENT - whether a UDP socket on the device SERVER, bound to ADDRESS, is heard and answers one on CLIENT
asks() {
	"$python" - "$@" <<-'END'
		import socket, sys
		def on(device):
		    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
		    one.setsockopt(socket.SOL_SOCKET, 25, device.encode())
		    one.settimeout(2)
		    return one
		server, client = on(sys.argv[2]), on(sys.argv[3])
		server.bind((sys.argv[1], 5353))
		try:
		    client.sendto(b"question", server.getsockname())
		    server.sendto(b"answer", server.recvfrom(100)[1])
		    print(client.recv(100).decode())
		except OSError:
		    print("no answer")
	END
}

# The table local comes before those of the VRFs, unless somebody moves it.
reached_loopback() {
	[ "$(asks 127.0.0.53 lo lo)" = answer ]
	[ "$(asks 127.0.0.53 lo blue)" = 'no answer' ]
	with_file 'nameserver 127.0.0.53' /etc/resolv.conf "$command" check blue >"$scratch/said"
	has_line "^warn  names: .*server 127.0.0.53, on the host's loopback, which sockets in blue do not reach"
	ip address add 127.0.0.53/8 dev blue
	[ "$(asks 127.0.0.53 blue blue)" = 'no answer' ]
	with_file 'nameserver 127.0.0.53' /etc/resolv.conf "$command" check blue >"$scratch/said"
	has_line "^warn  names: .*server 127.0.0.53, on the host's loopback"
	local remedy
	remedy=$(sed -n "s/^ok    127.0.0.1: .* after that of the VRFs: run \`\(ip rule add [^\`]*\)\`\$/\1/p" "$scratch/said")
	trap 'ip rule add pref 0 table local; ip rule del pref 32765; ip address delete 127.0.0.53/8 dev blue' EXIT
	eval "$remedy"
	[ "$(asks 127.0.0.53 blue blue)" = answer ]
	with_file 'nameserver 127.0.0.53' /etc/resolv.conf "$command" check blue >"$scratch/said"
	not grep -q "the host's loopback" "$scratch/said"
	has_line "^ok    127.0.0.1: .*, run \`ip addr add 127.0.0.1/8 dev blue\`\$"
}

rival() {
	[ "$(device_of A=1)" = '' ]
	[ "$(ip vrf exec blue bash -c "$(declare -f device_of); python=$python; device_of A=1")" = blue ]
	ends 0 "$command" check blue
	has_line '^ok    ip vrf exec: its requirements are met'
	not setpriv --reuid=65534 --regid=65534 --clear-groups ip vrf exec blue true
	ends 0 setpriv --reuid=65534 --regid=65534 --clear-groups env VRFBIND_LIBRARY="$library" "$command" check blue
	has_line '^ok    ip vrf exec: would lack root '
}

apparmor() {
	mkdir -p "$scratch/apparmor.d"
	local program profile
	program=$(readlink -f "$python")
	profile=$scratch/apparmor.d/python
	confined() { unshare --mount bash -ec "mkdir -p /etc/apparmor.d; mount --bind '$scratch/apparmor.d' /etc/apparmor.d
		exec '$command' check blue '$python'" >"$scratch/said"; }
	confined
	has_line '^ok    AppArmor: no profile '
	printf '%s {\n}\n' "$program" >"$profile"
	confined
	has_line "^warn  AppArmor: /etc/apparmor.d/python may deny it the library.*add \"$library mr,\""
	printf '%s {\n  %s mr,\n}\n' "$program" "$library" >"$profile"
	confined
	has_line '^ok    AppArmor: /etc/apparmor.d/python lets it map the library'
}

plan=14
[ "$tier" != vrf ] || plan=$((plan + 5))
echo "1..$plan"
can_namespace=''
! unshare --net --mount true 2>/dev/null || can_namespace=1
root_only() {
	if [ -n "$can_namespace" ]; then point "$@"; else skip_point "$1" 'namespaces and other users take root'; fi
}
point 'without an obstacle no line has fail, and the probe is bound' nothing_in_the_way
root_only '--loaded fails unless the library is in the process and binds its sockets' loaded
point 'a VRF that is missing, no VRF, or an invalid name is reported with the remedy' no_vrf
point 'a static program is a warning, and a failure where there is only the preload' static_program
point_with "$bin/ask-go-dynamic" 'so is a Go program that is linked dynamically' go_program
point 'a file that ld.so cannot load is a failure' unreadable_library
root_only 'the l3mdev_accept switches are read in this network namespace' switches
root_only 'a UDP port that a socket without a device holds is named' udp_port
root_only 'names that another process looks up are a warning, and so is a server on the loopback' resolvers
root_only 'seccomp without notifications is a warning, without filters a failure' notifications
root_only 'where /proc hides something, check says what exec does' hidden_proc
point 'in a sealed tree it works too, and reports it' in_a_sealed_tree
root_only 'an unprivileged user has the same, and is told what ip vrf exec would lack' unprivileged
if [ "$tier" = vrf ]; then
	point "the VRF's table, devices and addresses are those that ip shows; one that is down is a failure" the_vrf
	point '127.0.0.1 is a warning for a configuration that will want it, in a VRF without it' loopback
	point 'a server that answers on the loopback is distinguished from one that does not' reached_loopback
	point 'ip vrf exec lacks nothing for root, and does for others' rival
	if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" = Y ]; then
		point 'an AppArmor profile that does not let the library be mapped is a warning' apparmor
	else
		skip_point 'an AppArmor profile that does not let the library be mapped is a warning' 'AppArmor is not active'
	fi
fi
point '--quiet prints nothing if nothing fails' ends 0 "$command" check --quiet "${any[@]}" "$device"
exit "$all_ok"
