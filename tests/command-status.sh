#!/usr/bin/env bash
# command-status.sh - vrfbind status, identify and pids say of each socket what the kernel says
#
# Speaks TAP (testanything.org) and is run on the tiers lo and vrf with VRFBIND_TEST_LIB, VRFBIND_TEST_DEVICE,
# VRFBIND_TEST_TIER and VRFBIND_TEST_COMMAND. A program makes sockets on devices that are named to it, itself or by the
# library, and waits. Each point first takes the truth from the program, which asks its own sockets by getsockopt(), or
# from ss(8), and then compares what the command says. So a point without a socket that is bound, or one that is not,
# fails before the command is asked.
#
# What is written here lies in one scratch directory, which goes at the end; devices are made in network namespaces of
# their own; what is started is ended by its process id.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail

library=${VRFBIND_TEST_LIB:?}
device=${VRFBIND_TEST_DEVICE:?}
tier=${VRFBIND_TEST_TIER:?}
command=${VRFBIND_TEST_COMMAND:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG
# Everybody's, and not one in a home folder.
python=$(PATH=/usr/bin command -v python3)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"
point_end=end_all

# -- The program

# program.py [DEVICE...] - a UDP socket with a port for each DEVICE ("-": left as socket() made it), besides
# a TCP listener and its connection for "tcp", an ICMPv6 raw socket for "raw", a UDP socket without a port for "idle".
# Says "ready", and then the truth at each line that it reads: a line "FD DEVICE" for each socket ("-": on none,
# "ENODEV": on one that is gone), and "end".
cat >"$scratch/program.py" <<'END'
import errno, socket, sys

SO_BINDTODEVICE = 25
made = []
for device in sys.argv[1:]:
    if device == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        made += [listener, client, listener.accept()[0]]
        continue
    if device == "raw":
        made.append(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
        continue
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.append(one)
    if device == "idle":
        continue
    if device != "-":
        one.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, device.encode())
    one.bind(("", 0))

def of(one):
    try:
        return one.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "-"
    except OSError as error:
        return errno.errorcode[error.errno]

print("ready", flush=True)
for line in sys.stdin:
    for one in made:
        print(one.fileno(), of(one))
    print("end", flush=True)
END

# report.py FIELD... - of the one process in the JSON: for FIELD "sockets" a line "FD DEVICE VRF VERDICT" each
cat >"$scratch/report.py" <<'END'
import json, sys

[process] = json.load(sys.stdin)["processes"]
for field in sys.argv[1:]:
    if field == "sockets":
        for one in process["sockets"]:
            print(one["fd"], one["device"] or "-", one["vrf"] or "-", one["verdict"])
    elif field == "notes":
        print("; ".join(process["notes"]))
    else:
        print(process[field])
END

# refused.py NUMBER COMMAND... - runs COMMAND under a filter that answers system call NUMBER with EPERM
cat >"$scratch/refused.py" <<'END'
import ctypes, os, struct, sys

def instruction(code, jt, jf, k):
    return struct.pack("HBBI", code, jt, jf, k)

code = (instruction(0x20, 0, 0, 0) + instruction(0x15, 0, 1, int(sys.argv[1]))
        + instruction(0x06, 0, 0, 0x50001) + instruction(0x06, 0, 0, 0x7fff0000))
filter = ctypes.create_string_buffer(code, len(code))
program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(filter))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, ctypes.c_char_p(program), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[2], sys.argv[2:])
END
readonly PIDFD_GETFD=438

started=()
end_all() {
	local pid
	for pid in "${started[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# start COMMAND... - starts it, and waits until it is ready. Its process is $pid; $from and $to are its pipes.
start() {
	coproc PROGRAM { exec "$@" 2>&1; }
	pid=$PROGRAM_PID
	exec {from}<&"${PROGRAM[0]}" {to}>&"${PROGRAM[1]}"
	started+=("$pid")
	local line
	read -r -t 60 line <&"$from"
	[ "$line" = ready ] || { echo "the program says: $line"; cat <&"$from"; return 1; }
}

# truth - what the program says of its sockets
truth() {
	local line
	echo >&"$to"
	while read -r -t 60 line <&"$from" && [ "$line" != end ]; do
		echo "$line"
	done
}

bound() { start env LD_PRELOAD="$library" VRFBIND_VRF="$device" "$@"; }
program=("$python" "$scratch/program.py")

# same EXPECTED FOUND - both are texts
same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }

# found STATUS FIELD... - the fields of `vrfbind status --json $pid`, which ends with STATUS
found() {
	local status=$1
	shift
	ends "$status" "$command" status --json "$pid"
	"$python" "$scratch/report.py" "$@" <"$scratch/said"
}

# agrees STATUS EXPECTED - the verdicts are as expected ("VRF VERDICT", a line per socket), descriptors and devices as
# the program says
agrees() {
	local truth sockets
	truth=$(truth)
	sockets=$(found "$1" sockets)
	same "$2" "$(cut -d' ' -f3- <<<"$sockets")"
	same "${truth//ENODEV/-}" "$(cut -d' ' -f1,2 <<<"$sockets")"
}

lines() { printf '%s\n' "$@"; }

# The device's VRF, in words: on the tier lo there is none.
vrf=-
[ "$tier" != vrf ] || vrf=$device

# -- The points

unbound() {
	start "${program[@]}" - raw idle
	truth | not grep -v -- ' -$'
	agrees 1 "$(lines '- default' '- default' '- default')"
	found 1 vrf library seal >"$scratch/fields"
	same "$(lines None None none)" "$(<"$scratch/fields")"
}

bound_by_library() {
	local kinds=(- raw idle)
	# Not every VRF has a 127.0.0.1.
	[ "$tier" = vrf ] || kinds+=(tcp)
	bound "${program[@]}" "${kinds[@]}"
	[ "$(truth | grep -c " $device\$")" -ge 3 ]
	agrees 0 "$(found 0 sockets | sed "s/.*/$vrf ok/")"
	same "$(lines "$device" library libc)" "$(found 0 vrf vrf_from tier)"
}

# As ss(8) prints them: ADDRESS%DEVICE:PORT.
agrees_with_ss() {
	bound "${program[@]}" - -
	"$command" status "$pid" >"$scratch/said" || true
	# shellcheck disable=SC2016  # awk's
	awk '$2 == "udp" { sub(/:/, "%" $4 ":", $3); print $3 }' "$scratch/said" | sort >"$scratch/ours"
	ss -H -u -a -n -p | awk -v pid="pid=$pid," 'index($0, pid) { print $4 }' | sort >"$scratch/theirs"
	[ "$(grep -c "%$device:" "$scratch/theirs")" = 2 ]
	diff "$scratch/theirs" "$scratch/ours"
}

sealed() {
	bound "${program[@]}" -
	same none "$(found 0 seal)"
	grep -q '^Seccomp:	0' "/proc/$pid/status"
	VRFBIND_SEAL=1 bound "${program[@]}" -
	grep -q '^Seccomp:	2' "/proc/$pid/status"
	same sealed "$(found 0 seal)"
}

static=$scratch/static
static_program() {
	[ ! -e "$static" ] || return 0
	printf '%s\n' '#include <unistd.h>' '#include <sys/socket.h>' 'int main(void) {' \
		'	return socket(AF_INET, SOCK_DGRAM, 0) + write(1, "ready\n", 6) + read(0, (char[1]) { 0 }, 1);' \
		'}' >"$scratch/static.c"
	gcc -static -o "$static" "$scratch/static.c"
}

# The library says so, and of a static program the supervisor's listener does.
supervised() {
	local under=(env VRFBIND_LIBRARY="$library" "$command" exec --any-device --supervise "$device")
	static_program
	if before 5.14; then
		refused 125 'takes Linux 5.14' "${under[@]}" "$static"
		no_supervisor
		return
	fi
	start "${under[@]}" "${program[@]}" -
	truth | grep -q " $device\$"
	same "$(lines supervised libc)" "$(found 0 seal tier)"
	"$command" status "$pid" | grep -q ', supervised'
	start "${under[@]}" "$static"
	not grep -q libvrfbind "/proc/$pid/maps"
	same "$(lines supervised None "$device" environment)" "$(found 0 seal library vrf vrf_from)"
	same "$device" "$(found 0 sockets | cut -d' ' -f2)"
	no_supervisor
}

# Another process is no supervisor, whatever a program's environment says.
no_supervisor() {
	VRFBIND_SEAL=1 bound VRFBIND_SUPERVISOR=$$ sh -c "exec '$static' 2>/dev/null"
	same None "$(found 0 seal)"
	found 0 notes | grep -q "its supervisor, process $$, is not there"
}

# A static program in a sealed tree: a filter is there, and nobody to ask which.
seal_unknown() {
	static_program
	VRFBIND_SEAL=1 bound sh -c "exec '$static' 2>/dev/null"
	grep -q '^Seccomp:	2' "/proc/$pid/status"
	not grep -q libvrfbind "/proc/$pid/maps"
	same "$(lines None None "$device" environment)" "$(found 0 seal library vrf vrf_from)"
	found 0 notes | grep -q 'seccomp filter'
}

# A libc whose socket() does the same by other instructions, which the library does not know.
not_led() {
	mkdir -p "$scratch/libc"
	cat >"$scratch/other.py" <<-'END'
		import sys
		libc = open(sys.argv[1], "rb").read()
		known = bytes.fromhex("b8290000000f05")        # mov $41, %eax; syscall
		assert libc.count(known) == 1, libc.count(known)
		other = bytes.fromhex("6a295890900f05")        # push $41; pop %rax; nop; nop; syscall
		open(sys.argv[2], "wb").write(libc.replace(known, other))
	END
	local libc
	libc=$(ldd "$python" | awk '$1 == "libc.so.6" { print $3 }')
	"$python" "$scratch/other.py" "$libc" "$scratch/libc/libc.so.6"
	bound LD_LIBRARY_PATH="$scratch/libc" "${program[@]}" -
	grep -q "$scratch/libc/libc.so.6" "/proc/$pid/maps"
	agrees 0 "$vrf ok"
	same exports "$(found 0 tier)"
	"$command" status "$pid" | grep -q 'exported symbols only'
}

# The devices are where the program is, and not where the command is.
elsewhere() {
	local far='' of_far='- default'
	# On the tier vrf there is a VRF, which no other namespace has.
	[ "$tier" != vrf ] || far='&& ip link add far type vrf table 7 && ip link set gone0 master far'
	[ "$tier" != vrf ] || of_far='far ok'
	start unshare --net bash -c "ip link add gone0 type veth peer name kept0 $far && exec \"\$@\"" bash \
		"${program[@]}" gone0 kept0 -
	same "$(lines gone0 kept0 -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines "$of_far" '- default' '- default')"
	ends 1 "$command" status --vrf gone0 --json "$pid"
	same 'ok default default' "$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f4 | paste -sd' ')"
}

stale() {
	start unshare --net bash -c 'ip link add gone0 type veth peer name kept0 && exec "$@"' bash \
		"${program[@]}" gone0 -
	nsenter --target "$pid" --net ip link delete gone0
	same "$(lines ENODEV -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines '- stale' '- default')"
	# Another device of that name is another device.
	nsenter --target "$pid" --net ip link add gone0 type veth peer name kept0
	same "$(lines ENODEV -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines '- stale' '- default')"
}

as_nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)

unprivileged() {
	start "${as_nobody[@]}" env LD_PRELOAD="$library" VRFBIND_VRF="$device" "${program[@]}" - idle
	grep -q '^Uid:	65534' "/proc/$pid/status"
	command_as nobody
	local of=$vrf
	# Without SO_NETNS_COOKIE a socket's namespace is known by entering it.
	if before 5.14; then of=-; fi
	agrees 0 "$(lines "$of ok" "$of ok")"
	same "$(lines "$device" libc none pidfd_getfd)" "$(found 0 vrf tier seal via)"
}

# From here on in this point, the command runs as somebody else.
command_as() {
	printf '#!/bin/sh\nexec %s %q "$@"\n' "${as_nobody[*]}" "$command" >"$scratch/as-$1"
	chmod 755 "$scratch/as-$1"
	command=$scratch/as-$1
}

command_without_getfd() {
	printf '#!/bin/sh\nexec %q %q %d %q "$@"\n' \
		"$python" "$scratch/refused.py" "$PIDFD_GETFD" "$command" >"$scratch/refused"
	chmod 755 "$scratch/refused"
	command=$scratch/refused
}

of_others() {
	bound "${program[@]}" -
	found 0 sockets >/dev/null
	command_as nobody
	ends 125 "$command" status "$pid"
	grep -q "^vrfbind: process $pid cannot be looked at: .*CAP_SYS_PTRACE" "$scratch/said.stderr"
	# Whatever else of this user's runs here.
	"$command" status 2>"$scratch/said.stderr" || true
	grep -q '^vrfbind: not shown' "$scratch/said.stderr"
}

# What sock_diag shows, and no more.
by_sock_diag() {
	local sockets
	bound "${program[@]}" - idle
	agrees 0 "$(lines "$vrf ok" "$vrf ok")"
	command_without_getfd
	sockets=$(found 1 sockets)
	same "$(lines "$device $vrf ok" '- - unknown')" "$(cut -d' ' -f2- <<<"$sockets")"
	same "$(truth | cut -d' ' -f1)" "$(cut -d' ' -f1 <<<"$sockets")"
	same sock_diag "$(found 1 via)"
	found 1 notes | grep -q 'pidfd_getfd(2) is refused'
	found 1 notes | grep -q 'their device is unknown'
}

stale_by_sock_diag() {
	start unshare --net bash -c 'ip link add gone0 type veth peer name kept0 && exec "$@"' bash \
		"${program[@]}" gone0 -
	nsenter --target "$pid" --net ip link delete gone0
	command_without_getfd
	agrees 1 "$(lines '- stale' '- default')"
	same sock_diag "$(found 1 via)"
}

# Yama: only an ancestor may attach (1), only CAP_SYS_PTRACE may (2). The guest's own switch, put back at the end.
yama() {
	local switch=/proc/sys/kernel/yama/ptrace_scope was
	start "${as_nobody[@]}" env LD_PRELOAD="$library" VRFBIND_VRF="$device" "${program[@]}" -
	command_as nobody
	same "$(lines pidfd_getfd libc)" "$(found 0 via tier)"
	was=$(<"$switch")
	# shellcheck disable=SC2064  # now
	trap "echo $was >$switch; end_all" EXIT
	for scope in 1 2; do
		echo "$scope" >"$switch"
		agrees 0 "$vrf ok"
		same "$(lines sock_diag None "$device" environment)" "$(found 0 via tier vrf vrf_from)"
		found 0 notes | grep -q 'its memory cannot be read'
	done
}

in_vrfs() {
	bound "${program[@]}" - br-blue
	same "$(lines blue br-blue)" "$(truth | cut -d' ' -f2)"
	agrees 0 "$(lines 'blue ok' 'blue ok')"
	start "${program[@]}" blue br-blue red up-red uplink0 -
	same "$(lines blue br-blue red up-red uplink0 -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines 'blue ok' 'blue ok' 'red ok' 'red ok' '- default' '- default')"
	# Judged by one of them.
	ends 1 "$command" status --vrf blue --json "$pid"
	same "$(lines ok ok other other default default)" \
		"$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f4)"
	ends 0 "$command" identify "$pid"
	same "$(lines blue default red)" "$(<"$scratch/said")"
	# In the bridge's port the kernel does not see the bridge's VRF, nor do we.
	start "${program[@]}" ve-blue
	same ve-blue "$(truth | cut -d' ' -f2)"
	agrees 1 '- default'
}

deleted_vrf() {
	ip link add lost type vrf table 109
	start env LD_PRELOAD="$library" VRFBIND_VRF=lost "${program[@]}" -
	agrees 0 'lost ok'
	ip link delete lost
	agrees 1 '- stale'
}

# `ip vrf identify` reads the name of a cgroup.
not_by_cgroup() {
	local mount cgroup
	mount=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
	cgroup=$mount/vrfbind-$$/vrf/blue
	mkdir -p "$cgroup"
	start "${program[@]}" -
	echo "$pid" >"$cgroup/cgroup.procs"
	same blue "$(ip vrf identify "$pid")"
	same - "$(truth | cut -d' ' -f2)"
	ends 0 "$command" identify "$pid"
	same default "$(<"$scratch/said")"
	kill "$pid"
	# The cgroup can go when the process has.
	while [ -s "$cgroup/cgroup.procs" ]; do sleep 0.1; done
	rmdir "$cgroup" "${cgroup%/*}" "${cgroup%/*/*}"
}

pids_of_vrf() {
	start "${program[@]}" blue
	local by_socket=$pid
	bound "${program[@]}"
	local by_library=$pid
	start "${program[@]}" red -
	ends 0 "$command" pids blue
	awk '{ print $1 }' "$scratch/said" >"$scratch/pids"
	grep -qx "$by_socket" "$scratch/pids"
	grep -qx "$by_library" "$scratch/pids"
	not grep -qx "$pid" "$scratch/pids"
	ends 125 "$command" pids br-blue
	grep -q '^vrfbind: there is no VRF br-blue' "$scratch/said.stderr"
}

identifies() {
	start "${program[@]}" -
	ends 0 "$command" identify "$pid"
	same default "$(<"$scratch/said")"
	start "${program[@]}"
	ends 0 "$command" identify "$pid"
	same '' "$(<"$scratch/said")"
	# Without PID: of who asks.
	local own=$device
	[ "$tier" = vrf ] || own=default
	ends 0 env LD_PRELOAD="$library" VRFBIND_VRF="$device" bash -c "'$command' identify; true"
	same "$own" "$(<"$scratch/said")"
	ends 0 bash -c "'$command' identify; true"
	same '' "$(<"$scratch/said")"
}

# process_ids - of all processes in the table that is in $scratch/said
process_ids() { sed -n 's/^\([0-9]*\) .*: .*, .*/\1/p' "$scratch/said"; }

which_processes() {
	local with without
	bound "${program[@]}" -
	with=$pid
	start "${program[@]}" -
	without=$pid
	ends 0 "$command" status "$with"
	process_ids | grep -qx "$with"
	"$command" status >"$scratch/said" || true
	process_ids | grep -qx "$with"
	process_ids | not grep -qx "$without"
	ends 1 "$command" status --all
	process_ids | grep -qx "$with"
	process_ids | grep -qx "$without"
	"$command" status --all --vrf "$device" >"$scratch/said" || true
	process_ids | grep -qx "$with"
	process_ids | not grep -qx "$without"
}

# Under the name of the library there is another file by now.
replaced() {
	cp "$library" "$scratch/libvrfbind.so"
	library=$scratch/libvrfbind.so bound "${program[@]}" -
	cp "$library" "$scratch/new.so"
	mv "$scratch/new.so" "$scratch/libvrfbind.so"
	agrees 0 "$vrf ok"
	same "$(lines environment None)" "$(found 0 vrf_from tier)"
	found 0 notes | grep -q 'is gone or was replaced'
}

no_process() {
	start "${program[@]}" -
	kill -KILL "$pid"
	wait "$pid" 2>/dev/null || true
	ends 125 "$command" status "$pid"
	same "vrfbind: there is no process $pid" "$(<"$scratch/said.stderr")"
	ends 2 "$command" status 0
	ends 2 "$command" status no-number
}

# Every member's name is in the man page, and no line of the table is too long.
documented() {
	local page member
	page=$(dirname "$0")/../man/vrfbind.1
	bound "${program[@]}" -
	ends 0 "$command" status --json "$pid"
	"$python" - "$scratch/said" >"$scratch/members" <<-'END'
		import json, sys
		def members(of):
		    if isinstance(of, dict):
		        for name, value in of.items():
		            print(name)
		            members(value)
		    elif isinstance(of, list):
		        for value in of:
		            members(value)
		members(json.load(open(sys.argv[1])))
	END
	[ "$(sort -u "$scratch/members" | wc -l)" -gt 20 ]
	sort -u "$scratch/members" | while read -r member; do
		grep -qE "^\.B[IR]* .*\b$member\b" "$page" || { echo "$member is not in the man page"; exit 1; }
	done
	"$command" status "$pid" >"$scratch/said"
	not grep -qE '^.{81}' "$scratch/said"
	# No terminal, no colour.
	not grep -q $'\x1b' "$scratch/said"
}

# script(1) gives a terminal.
colours() {
	bound "${program[@]}" -
	ends 0 script --quiet --return --command "'$command' status $pid" /dev/null
	grep -q $'\x1b\[' "$scratch/said"
	ends 0 env NO_COLOR=1 script --quiet --return --command "'$command' status $pid" /dev/null
	grep -q "$device" "$scratch/said"
	not grep -q $'\x1b\[' "$scratch/said"
}

can_namespace=''
! unshare --net true 2>/dev/null || can_namespace=1
root_only() {
	if [ -n "$can_namespace" ]; then point "$@"; else skip_point "$1" 'network namespaces and other users take root'; fi
}
vrf_only() { if [ "$tier" = vrf ]; then point "$@"; fi; }

plan=20
[ "$tier" != vrf ] || plan=$((plan + 4))
echo "1..$plan"
point 'without the library, every socket is "default", and the exit status 1' unbound
point 'under the library, every socket is ok on the device that it says itself' bound_by_library
point 'the addresses and devices are those that ss prints' agrees_with_ss
point 'a sealed process is told from one that is not' sealed
point 'supervised is told from sealed, of a static program too' supervised
point 'a filter in a process without the library is not called the seal, nor no seal' seal_unknown
if [ "$(uname -m)" = x86_64 ]; then
	point 'a libc that is not led is told from one that is' not_led
else
	skip_point 'a libc that is not led is told from one that is' 'its other instructions are written for x86_64'
fi
root_only 'a device of another network namespace is looked up in that namespace' elsewhere
root_only 'a socket whose device is gone is "stale", also when there is another device of its name' stale
root_only 'an unprivileged user sees the same of his processes' unprivileged
root_only 'the processes of others are said not to be shown' of_others
point 'where pidfd_getfd is refused, sock_diag shows the sockets in use, and the others are "unknown"' by_sock_diag
root_only 'sock_diag shows a stale socket too' stale_by_sock_diag
point 'identify goes by the sockets and by the library' identifies
point 'without PID those with the library are shown, with --all all, with --vrf those of that VRF' which_processes
point 'a library that was replaced since is not asked' replaced
point 'a process that is not there is exit status 125, and no number is misuse' no_process
point 'the JSON is what the man page says, and the table fits 80 columns' documented
point 'a table on a terminal has colours, but with NO_COLOR' colours
if [ "$tier" = vrf ] && [ -e /proc/sys/kernel/yama/ptrace_scope ]; then
	point 'under Yama an unprivileged user sees the sockets by sock_diag, and is told so' yama
elif [ "$tier" = vrf ]; then
	skip_point 'under Yama an unprivileged user sees the sockets by sock_diag, and is told so' 'this kernel has no Yama'
else
	point 'a table of nothing is empty, and ok' ends 0 "$command" status --vrf no-such-device
fi
vrf_only 'a device enslaved to the VRF is in the VRF, another VRF is "other", a port of a bridge is in none' in_vrfs
vrf_only 'a deleted VRF leaves stale sockets' deleted_vrf
vrf_only 'a cgroup with the name of a VRF puts nothing into it' not_by_cgroup
vrf_only 'pids lists who has a socket in the VRF, or the library set to it' pids_of_vrf
exit "$all_ok"
