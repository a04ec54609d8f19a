#!/usr/bin/env bash
# command-status.sh - vrfbind status, identify and pids report each socket as the kernel does
#
# A program creates sockets on devices that are named to it, itself or by the library, and waits. Each point first takes
# the truth from the program, which queries its own sockets by getsockopt(), or from ss(8), and then compares the
# command's output. So a point without a socket that is bound, or without one that is not, fails before the command is
# asked. Hostile programs stand for other users' processes: there the truth is that the command ends, which files it has
# opened, and which bytes it has printed. Devices are created in network namespaces of the script.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
command=$vrfbind
point_end=end_all

# -- The program

# program.py [DEVICE...] - a UDP socket with a port for each DEVICE ("-": left as socket() made it), besides
# a TCP listener and its connection for "tcp", an ICMPv6 raw socket for "raw", a UDP socket without a port for "idle".
# Says "ready", and then the truth at each line that it reads: a line "FD DEVICE" for each socket ("-": on none,
# "ENODEV": on one that is gone), and "end". "chroot": what follows, it does in a chroot.
cat >"$scratch/program.py" <<'END'
import ctypes, errno, os, socket, sys

SO_BINDTODEVICE = 25
made = []

# Past the library, which has a word in setsockopt(): libc's own.
def bind_to(fd, name):
    libc = ctypes.CDLL("libc.so.6", use_errno=True)
    if libc.setsockopt(fd, socket.SOL_SOCKET, SO_BINDTODEVICE, name, len(name)) < 0:
        raise OSError(ctypes.get_errno(), "setsockopt")

for device in sys.argv[1:]:
    if device == "tcp":
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        made += [listener, client, listener.accept()[0]]
        continue
    if device == "raw":
        made.append(socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
        continue
    if device == "chroot":
        os.chroot(os.path.dirname(sys.argv[0]))
        continue
    one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.append(one)
    if device == "idle":
        continue
    if device != "-":
        bind_to(one.fileno(), device.encode())
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
    elif field == "path":
        print(process["library"]["path"])
    else:
        print(process[field])
END

write_refused_py
readonly PIDFD_GETFD=438

# hostile.py KIND DIRECTORY - maps a file DIRECTORY/libvrfbind.so, on a tmpfs, and puts something else there of the same
# inode number, on another: a "fifo", a "device" (/dev/zero), or a "file". For "large" it is the file that is mapped, of
# 12 GiB. Says "ready", and at each line that it reads what of "opened" and "read" has happened to it by then.
cat >"$scratch/hostile.py" <<'END'
import ctypes, mmap, os, stat, struct, sys

kind, directory = sys.argv[1:]
path = directory + "/libvrfbind.so"
libc = ctypes.CDLL(None, use_errno=True)

def check(result):
    assert result >= 0, os.strerror(ctypes.get_errno())
    return result

def mount():
    if kind != "large":
        check(libc.mount(b"tmpfs", directory.encode(), b"tmpfs", 0, None))

def create(path):
    if kind in ("file", "large"):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    else:
        type = stat.S_IFIFO if kind == "fifo" else stat.S_IFCHR
        os.mknod(path, type | 0o666, os.makedev(1, 5))

mount()
with open(path, "w+b") as file:
    file.truncate(12 << 30 if kind == "large" else 4096)
    mapped = mmap.mmap(file.fileno(), 4096, mmap.MAP_PRIVATE, mmap.PROT_READ)
    inode = os.fstat(file.fileno()).st_ino
mount()
for number in range(1000):
    if kind == "large":
        break
    name = "%s/%d" % (directory, number)
    create(name)
    if os.stat(name).st_ino == inode:
        os.rename(name, path)
        break
assert os.stat(path).st_ino == inode

IN_ACCESS, IN_OPEN = 0x1, 0x20
watch = check(libc.inotify_init1(os.O_NONBLOCK))
check(libc.inotify_add_watch(watch, path.encode(), IN_ACCESS | IN_OPEN))
print("ready", flush=True)
for line in sys.stdin:
    masks = 0
    try:
        events = os.read(watch, 4096)
        for at in range(0, len(events), 16):
            masks |= struct.unpack_from("iIII", events, at)[1]
    except BlockingIOError:
        pass
    print("opened" if masks & IN_OPEN else "not opened")
    print("read" if masks & IN_ACCESS else "not read")
    print("end", flush=True)
END

# locked.py - keeps a socket locked for good: the kernel copies from memory of its own that never comes (userfaultfd(2)).
# With an argument only its status tells whether it could.
cat >"$scratch/locked.py" <<'END'
import ctypes, fcntl, os, platform, socket, struct, sys, threading, time

number = {"x86_64": 323, "aarch64": 282}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
faults = libc.syscall(number, os.O_CLOEXEC)
if len(sys.argv) > 1:
    sys.exit(faults < 0)
assert faults >= 0, os.strerror(ctypes.get_errno())
fcntl.ioctl(faults, 0xc018aa3f, struct.pack("QQQ", 0xaa, 0, 0))  # UFFDIO_API
memory = libc.mmap(None, ctypes.c_size_t(4096), 3, 0x22, -1, ctypes.c_long(0))
fcntl.ioctl(faults, 0xc020aa00, struct.pack("QQQQ", memory, 4096, 1, 0))  # UFFDIO_REGISTER
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
send = lambda: libc.send(client.fileno(), ctypes.c_void_p(memory), ctypes.c_size_t(4096), 0)
threading.Thread(target=send, daemon=True).start()
assert len(os.read(faults, 32)) == 32  # it waits
print("ready", flush=True)
time.sleep(100000)
END

# plain.py - whether standard input is text without characters that steer a terminal or a reader's eyes
cat >"$scratch/plain.py" <<'END'
import sys, unicodedata

for number, line in enumerate(sys.stdin.buffer.read().decode().split("\n")):
    bad = [one for one in line if unicodedata.category(one) in ("Cc", "Cf", "Zl", "Zp")]
    if bad:
        sys.exit("line %d has %a: %a" % (number + 1, bad, line))
END

# start COMMAND... - starts it, and waits until it is ready. Its process is $pid; $from and $to are its pipes.
start() {
	coproc PROGRAM { exec "$@" 2>&1; }
	pid=$PROGRAM_PID
	exec {from}<&"${PROGRAM[0]}" {to}>&"${PROGRAM[1]}"
	started+=("$pid")
	local line
	read -r -t "$limit" line <&"$from"
	[ "$line" = ready ] || { echo "the program says: $line"; kill -KILL "$pid"; cat <&"$from"; return 1; }
}

# truth - the program's own report about its sockets
truth() {
	local line
	echo >&"$to"
	while read -r -t "$limit" line <&"$from" && [ "$line" != end ]; do
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
	agrees 1 "$(lines '- unbound' '- unbound' '- unbound')"
	found 1 vrf library seal >"$scratch/fields"
	same "$(lines None None none)" "$(<"$scratch/fields")"
}

inherited() {
	start "$python" -c 'import os, socket, sys
for _ in range(2):
    os.set_inheritable(socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(), True)
os.execv(sys.argv[1], sys.argv[1:])' \
		/usr/bin/env LD_PRELOAD="$library" VRFBIND_VRF="$device" "${program[@]}" idle
	found 1 library >"$scratch/fields"
	grep -q "'inherited': 2" "$scratch/fields"
	ends 1 "$command" status "$pid"
	tr -s '\n ' ' ' <"$scratch/said" | grep -q ', 2 inherited without a device,'
	bound "${program[@]}" idle
	found 0 library | grep -q "'inherited': 0"
}

bound_by_library() {
	local kinds=(- raw idle)
	# Not every VRF has a 127.0.0.1.
	[ "$tier" = vrf ] || kinds+=(tcp)
	bound "${program[@]}" "${kinds[@]}"
	[ "$(truth | grep -c " $device\$")" -ge 3 ]
	agrees 0 "$(found 0 sockets | sed "s/.*/$vrf ok/")"
	same "$(lines "$device" library libc)" "$(found 0 vrf vrf_from coverage)"
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

# The library reports it, and for a static program the supervisor's listener proves it.
supervised() {
	local under=(env VRFBIND_LIBRARY="$library" "$command" exec --any-device --supervise "$device")
	static_program
	if before 5.14; then
		refused 125 'requires Linux 5.14' "${under[@]}" "$static"
		no_supervisor
		return
	fi
	start "${under[@]}" "${program[@]}" -
	truth | grep -q " $device\$"
	same "$(lines supervised libc)" "$(found 0 seal coverage)"
	"$command" status "$pid" | grep -q ', supervised'
	start "${under[@]}" "$static"
	not grep -q libvrfbind "/proc/$pid/maps"
	same "$(lines supervised None "$device" environment)" "$(found 0 seal library vrf vrf_from)"
	same "$device" "$(found 0 sockets | cut -d' ' -f2)"
	not_listed
	no_supervisor
}

# A supervisor has the environment in which it was started, and no sockets.
not_listed() {
	local pids supervisor
	start env VRFBIND_VRF="$device" VRFBIND_LIBRARY="$library" "$command" exec --any-device --supervise "$device" "$static"
	# Of all processes here: what others hold decides its status.
	"$command" status --json >"$scratch/said" || true
	pids=$("$python" -c 'import json, sys; print(*(p["pid"] for p in json.load(sys.stdin)["processes"]))' <"$scratch/said")
	[[ " $pids " == *" $pid "* ]]
	supervisor=$(pgrep --parent "$pid")
	readlink "/proc/$supervisor"/fd/* | grep 'seccomp notify'
	[[ " $pids " != *" $supervisor "* ]]
}

nothing_has_it() {
	refused 125 'there is no VRF no-such-device' "$command" status --vrf no-such-device
	! ip link show no-such-device 2>/dev/null
}

# Another process is no supervisor, whatever a program's environment names.
no_supervisor() {
	VRFBIND_SEAL=1 bound VRFBIND_SUPERVISOR=$$ sh -c "exec '$static' 2>/dev/null"
	same None "$(found 0 seal)"
	found 0 notes | grep -q "its supervisor, process $$, has ended"
}

# The number of the supervisor is one of the container's.
supervised_elsewhere() {
	local below=(unshare --pid --fork --kill-child --mount-proc)
	local under=("${below[@]}" env VRFBIND_LIBRARY="$library" "$command" exec --any-device --supervise "$device")
	static_program
	start "${under[@]}" "$static"
	pid=$(pgrep --parent "$pid" --exact static)
	not grep -q libvrfbind "/proc/$pid/maps"
	same "$device ok" "$(found 0 sockets | cut -d' ' -f2,4)"
	same "$(lines supervised '')" "$(found 0 seal notes)"
	kill -KILL "$(pgrep --parent "$pid")"
	await supervisor_is_unknown
	# There the number is another one's, or nobody's.
	start "${under[@]}" "${below[@]}" "$static"
	pid=$(pgrep --parent "$pid" --exact unshare)
	pid=$(pgrep --parent "$pid" --exact static)
	supervisor_is_unknown
}
supervisor_is_unknown() {
	[ "$(found 0 seal)" = None ] &&
		found 0 notes | grep 'it is in another PID namespace; it is unknown whether process [0-9]* there is its supervisor'
}

# Its sockets are as others are, and our library is not one for it.
of_32_bits() {
	# shellcheck disable=SC2016  # it is C
	printf '%s\n' 'static int call(int number, long a, long b, long c) {' '	int result;' \
		'	__asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c) : "memory");' \
		'	return result;' '}' 'void _start(void) {' '	char byte;' \
		'	call(359, 2, 2, 0);' '	call(4, 1, (long)"ready\n", 6);' '	call(3, 0, (long)&byte, 1);' '	call(1, 0, 0, 0);' '}' |
		gcc -m32 -nostdlib -static -fno-pie -no-pie -o "$scratch/i386" -x c - -Wl,--build-id=none
	start env VRFBIND_VRF="$device" LD_PRELOAD="$library" "$scratch/i386"
	same "$(lines '- unbound')" "$(found 1 sockets | cut -d' ' -f3-)"
	same "$(lines None "$device" environment)" "$(found 1 library vrf vrf_from)"
	found 1 notes | grep -qx 'it is a 32-bit program, into which only a 32-bit library can be loaded'
	bound "${program[@]}" -
	same '' "$(found 0 notes)"
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
not_patched() {
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
	same exports "$(found 0 coverage)"
	"$command" status "$pid" | grep -q 'exported symbols only'
}

# The devices are where the program is, and not where the command is.
elsewhere() {
	local far='' of_far='- no-vrf'
	# On the tier vrf there is a VRF, which no other namespace has.
	[ "$tier" != vrf ] || far='&& ip link add far type vrf table 7 && ip link set gone0 master far'
	[ "$tier" != vrf ] || of_far='far ok'
	start unshare --net bash -c "ip link add gone0 type veth peer name kept0 $far && exec \"\$@\"" bash \
		"${program[@]}" gone0 kept0 -
	same "$(lines gone0 kept0 -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines "$of_far" '- no-vrf' '- unbound')"
	ends 1 "$command" status --vrf gone0 --json "$pid"
	same 'ok no-vrf unbound' "$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f4 | paste -sd' ')"
	found 1 notes | grep -q 'it is in another network namespace'
	# Its VRFs may have the names of ours.
	"$command" status --vrf gone0 >"$scratch/said" || true
	process_ids | not grep -qx "$pid"
	start "${program[@]}" -
	same '' "$(found 1 notes)"
}

deleted() {
	start unshare --net bash -c 'ip link add gone0 type veth peer name kept0 && exec "$@"' bash \
		"${program[@]}" gone0 -
	nsenter --target "$pid" --net ip link delete gone0
	same "$(lines ENODEV -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines '- device-deleted' '- unbound')"
	# Another device of that name is another device.
	nsenter --target "$pid" --net ip link add gone0 type veth peer name kept0
	same "$(lines ENODEV -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines '- device-deleted' '- unbound')"
}

unprivileged() {
	start "${nobody[@]}" env LD_PRELOAD="$library" VRFBIND_VRF="$device" "${program[@]}" - idle
	grep -q '^Uid:	65534' "/proc/$pid/status"
	command_as nobody
	local of=$vrf
	# Without SO_NETNS_COOKIE a socket's namespace is known by entering it.
	if before 5.14; then of=-; fi
	agrees 0 "$(lines "$of ok" "$of ok")"
	same "$(lines "$device" libc none pidfd_getfd)" "$(found 0 vrf coverage seal method)"
}

# From here on in this point, the command runs as somebody else.
command_as() {
	printf '#!/bin/sh\nexec %s %q "$@"\n' "${nobody[*]}" "$command" >"$scratch/as-$1"
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
	grep -q "^vrfbind: cannot inspect process $pid: .*CAP_SYS_PTRACE" "$scratch/said.stderr"
	# Whatever else of this user's runs here.
	"$command" status 2>"$scratch/said.stderr" || true
	grep -q 'processes of other users are not shown' "$scratch/said.stderr"
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
	same sock_diag "$(found 1 method)"
	found 1 notes | grep -q 'pidfd_getfd(2) is refused'
	found 1 notes | grep -q 'their device is unknown'
}

deleted_by_sock_diag() {
	start unshare --net bash -c 'ip link add gone0 type veth peer name kept0 && exec "$@"' bash \
		"${program[@]}" gone0 -
	nsenter --target "$pid" --net ip link delete gone0
	command_without_getfd
	agrees 1 "$(lines '- device-deleted' '- unbound')"
	same sock_diag "$(found 1 method)"
}

# Yama: only an ancestor may attach (1), only CAP_SYS_PTRACE may (2). The guest's own switch, put back at the end.
yama() {
	local switch=/proc/sys/kernel/yama/ptrace_scope was
	start "${nobody[@]}" env LD_PRELOAD="$library" VRFBIND_VRF="$device" "${program[@]}" -
	command_as nobody
	same "$(lines pidfd_getfd libc)" "$(found 0 method coverage)"
	was=$(<"$switch")
	# shellcheck disable=SC2064  # now
	trap "echo $was >$switch; end_all" EXIT
	for scope in 1 2; do
		echo "$scope" >"$switch"
		agrees 0 "$vrf ok"
		same "$(lines sock_diag None "$device" environment)" "$(found 0 method coverage vrf vrf_from)"
		found 0 notes | grep -q 'its memory cannot be read'
	done
}

in_vrfs() {
	bound "${program[@]}" - br-blue
	same "$(lines blue br-blue)" "$(truth | cut -d' ' -f2)"
	agrees 0 "$(lines 'blue ok' 'blue ok')"
	start "${program[@]}" blue br-blue red up-red uplink0 -
	same "$(lines blue br-blue red up-red uplink0 -)" "$(truth | cut -d' ' -f2)"
	agrees 1 "$(lines 'blue ok' 'blue ok' 'red ok' 'red ok' '- no-vrf' '- unbound')"
	# Judged by one of them.
	ends 1 "$command" status --vrf blue --json "$pid"
	same "$(lines ok ok wrong-vrf wrong-vrf no-vrf unbound)" \
		"$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f4)"
	ends 0 "$command" identify "$pid"
	same "$(lines blue default red)" "$(<"$scratch/said")"
	# In the bridge's port the kernel does not see the bridge's VRF, nor do we.
	start "${program[@]}" ve-blue
	same ve-blue "$(truth | cut -d' ' -f2)"
	agrees 1 '- no-vrf'
}

deleted_vrf() {
	ip link add lost type vrf table 109
	start env LD_PRELOAD="$library" VRFBIND_VRF=lost "${program[@]}" -
	agrees 0 'lost ok'
	ip link delete lost
	agrees 1 '- device-deleted'
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
	# The blue of another network namespace.
	start unshare --net bash -c 'ip link add blue type vrf table 7 && exec "$@"' bash "${program[@]}" blue
	says blue "$command" identify "$pid"
	ends 0 "$command" pids blue
	awk '{ print $1 }' "$scratch/said" | not grep -qx "$pid"
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

# process_ids - of all processes in the table that is in $scratch/said; behind it grep reads to the end (no -q), or SIGPIPE would
# fail the point
process_ids() { sed -n 's/^\([0-9]*\) .*: .*, .*/\1/p' "$scratch/said"; }

which_processes() {
	local with without
	bound "${program[@]}" -
	with=$pid
	start "${program[@]}" -
	without=$pid
	ends 0 "$command" status "$with"
	process_ids | grep -x "$with"
	"$command" status >"$scratch/said" || true
	process_ids | grep -x "$with"
	process_ids | not grep -qx "$without"
	ends 1 "$command" status --all
	process_ids | grep -x "$with"
	process_ids | grep -x "$without"
	"$command" status --all --vrf "$device" >"$scratch/said" || true
	process_ids | grep -x "$with"
	process_ids | not grep -qx "$without"
}

# Under the name of the library there is another file by now.
replaced() {
	cp "$library" "$scratch/libvrfbind.so"
	library=$scratch/libvrfbind.so bound "${program[@]}" -
	cp "$library" "$scratch/new.so"
	mv "$scratch/new.so" "$scratch/libvrfbind.so"
	agrees 0 "$vrf ok"
	same "$(lines environment None)" "$(found 0 vrf_from coverage)"
	found 0 notes | grep -q 'is gone or was replaced'
}

# hostile KIND - starts it, in a mount namespace of its own
hostile() {
	mkdir -p "$scratch/hostile"
	start unshare --mount --propagation private "$python" "$scratch/hostile.py" "$1" "$scratch/hostile"
	grep -q '/hostile/libvrfbind.so' "/proc/$pid/maps"
}

# From here on in this point, the command has so much memory.
command_within() {
	printf '#!/bin/sh\nulimit -v %d\nexec %q "$@"\n' "$1" "$command" >"$scratch/within"
	chmod 755 "$scratch/within"
	command=$scratch/within
}
readonly MEBIBYTE=1024

not_opened() {
	hostile "$1"
	command_within $((64 * MEBIBYTE))
	same 'its library'\''s file is gone or was replaced: the library'\''s state is unknown' "$(found 0 notes)"
	same "$(lines 'not opened' 'not read')" "$(truth)"
}

not_read() {
	hostile file
	same 'its library'\''s file is gone or was replaced: the library'\''s state is unknown' "$(found 0 notes)"
	truth | grep -qx 'not read'
}

large() {
	mkdir -p "$scratch/hostile"
	start "$python" "$scratch/hostile.py" large "$scratch/hostile"
	grep -q '/hostile/libvrfbind.so' "/proc/$pid/maps"
	command_within $((64 * MEBIBYTE))
	found 0 notes | grep -q 'is larger than 1 MiB and is not read'
}

# The library is behind 8 MiB of other mappings.
many_mappings() {
	cat >"$scratch/many.py" <<-'END'
		import ctypes, os, runpy, sys
		libc = ctypes.CDLL(None)
		libc.mmap.restype = ctypes.c_void_p
		libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
		directory = os.path.dirname(sys.argv[0]) + ("/" + "x" * 250) * 4
		os.makedirs(directory, exist_ok=True)
		with open(directory + "/file", "w+b") as file:
		    file.truncate(4096)
		    for _ in range(8000):
		        assert libc.mmap(None, 4096, 1, 2, file.fileno(), 0) != 2**64 - 1  # PROT_READ, MAP_PRIVATE
		runpy.run_path(os.path.dirname(sys.argv[0]) + "/program.py")
	END
	bound "$python" "$scratch/many.py" -
	[ "$(wc -c <"/proc/$pid/maps")" -gt $((8 << 20)) ]
	not grep -q libvrfbind <(head -c $((1 << 20)) "/proc/$pid/maps")
	command_within $((16 * MEBIBYTE))
	agrees 0 "$vrf ok"
	same "$(lines library libc)" "$(found 0 vrf_from coverage)"
}

# with_environment BEFORE AFTER - starts a program with VRFBIND_VRF and so many KiB before and after it
with_environment() {
	start "$python" -c 'import os, sys
sizes, program = sys.argv[1:3], sys.argv[3:]
fill = lambda name, size: {name + str(number): "x" * 1020 for number in range(int(size))}
os.execve(program[0], program, {**fill("A", sizes[0]), "VRFBIND_VRF": "'"$device"'", **fill("B", sizes[1])})' "$@" \
		"${program[@]}" -
	[ "$(wc -c <"/proc/$pid/environ")" -gt $((1 << 20)) ]
}

large_environment() {
	with_environment 0 1100
	agrees 1 '- unbound'
	same "$(lines "$device" environment '')" "$(found 1 vrf vrf_from notes)"
	with_environment 1100 0
	same "$(lines None None 'its environment is larger than 1 MiB; VRFBIND_VRF is not in the first MiB')" \
		"$(found 1 vrf vrf_from notes)"
}

on_overlay() {
	mkdir -p "$scratch/overlay"
	cat >"$scratch/overlay.sh" <<-'END'
		set -e
		mount -t tmpfs tmpfs "$1"
		cd "$1"
		mkdir lower other merged
		mount -t tmpfs tmpfs other
		mkdir other/upper other/work
		cp "$2" lower/libvrfbind.so
		mount -t overlay overlay -o lowerdir=lower,upperdir=other/upper,workdir=other/work merged
		shift 2
		exec env LD_PRELOAD="$PWD/merged/libvrfbind.so" "$@"
	END
	start unshare --mount --propagation private bash "$scratch/overlay.sh" "$scratch/overlay" "$library" \
		VRFBIND_VRF="$device" "${program[@]}" -
	grep -q '/merged/libvrfbind.so' "/proc/$pid/maps"
	agrees 0 "$vrf ok"
	same "$(lines library libc '')" "$(found 0 vrf_from coverage notes)"
}

in_chroot() {
	bound "${program[@]}" - chroot
	same "$scratch" "$(readlink "/proc/$pid/root")"
	agrees 0 "$vrf ok"
	same "$(lines library libc '')" "$(found 0 vrf_from coverage notes)"
}

# The socket's lock is waited for by who asks for its address, and SIGKILL does not end that.
without_answer() {
	start env VRFBIND_VRF="$device" "$python" "$scratch/locked.py"
	local silent=$pid
	bound "${program[@]}" -
	# Nothing may keep its pipe open either. In the background, for who waits so is not ended by timeout(1).
	(
		set +e
		"$command" status 2>"$scratch/said.stderr" | cat >"$scratch/said"
		echo "${PIPESTATUS[0]}" >"$scratch/status"
	) &
	await test -s "$scratch/status"
	same 1 "$(<"$scratch/status")"
	process_ids | grep -x "$pid"
	process_ids | not grep -qx "$silent"
	grep -q "^vrfbind: process $silent does not answer" "$scratch/said.stderr"
}

# Who has chosen this name, this value and this path wants to be taken for another process.
readonly STEERING=$'a\n1 sshd\e[8m'
forging() {
	# The long word is where a line ends, and the next would begin like a row.
	local long value
	printf -v long '%080d' 0
	value=$'x\e]0;y\a\n1 sshd: VRF blue, sealed\xe2\x80\xae\xc2\x9b2J '$long' 3 tcp       0.0.0.0:22 blue blue ok'
	local directory=$scratch/$'\e[2J\xe2\x80\xae'
	cat >"$scratch/forging.py" <<-'END'
		import ctypes, os, runpy, sys
		ctypes.CDLL(None).prctl(15, sys.argv.pop(1).encode(), 0, 0, 0)  # PR_SET_NAME
		runpy.run_path(os.path.dirname(sys.argv[0]) + "/program.py")
	END
	start env VRFBIND_VRF="$value" "$python" "$scratch/forging.py" "$STEERING" -
	local by_value=$pid
	[ "$(<"/proc/$pid/comm")" = "$STEERING" ]
	mkdir -p "$directory"
	cp "$library" "$directory/"
	library=$directory/libvrfbind.so bound "$python" "$scratch/forging.py" "$STEERING" -
	truth | grep -q " $device\$"

	printable 1 status "$by_value" "$pid"
	same "$(lines "$by_value" "$pid")" "$(grep -oE '^[0-9]+' "$scratch/said")"
	grep -qF "$by_value a\\n1 sshd\\x1b[8m: VRF" "$scratch/said"
	[ "$(grep -cE '^ {3,}[0-9]+ (tcp|udp) ' "$scratch/said")" = 2 ]
	# A parser has them as they are.
	printable 1 status --json "$by_value"
	same "$(lines "$STEERING" "$value")" "$("$python" "$scratch/report.py" name vrf <"$scratch/said")"
	if [ "$tier" = vrf ]; then
		printable 0 pids "$device"
		grep -qxF "$(printf '%5d' "$pid")  a\\n1 sshd\\x1b[8m" "$scratch/said"
	fi
	printable 0 status --json "$pid"
	same "$(lines "$directory/libvrfbind.so" library libc)" \
		"$("$python" "$scratch/report.py" path vrf_from coverage <"$scratch/said")"
	# Notes and sentences too.
	rm "$directory/libvrfbind.so"
	printable 0 status "$pid"
	start env VRFBIND_VRF="$device" VRFBIND_SUPERVISOR="$value" "$python" "$scratch/refused.py" "$PIDFD_GETFD" \
		"${program[@]}" -
	printable 1 status "$pid"
	grep -q 'its supervisor, process' "$scratch/said"
	printable 125 pids "$value"
	printable 125 exec "${STEERING:2}" true
	cp "$programs/ask" "$directory/"
	printable 0 check "${any[@]}" "$device" "$directory/ask"
	grep -qF '/\x1b[2J\u{202e}/ask is dynamically linked' "$scratch/said"
	# What is not UTF-8.
	start env VRFBIND_VRF=$'v\xff' "${program[@]}" -
	printable 1 status "$pid"
	grep -qF ' VRF v\xff, ' "$scratch/said"
	same 'v\xff' "$(found 1 vrf)"
}

# printable STATUS ARGUMENT... - the command ends with STATUS, and what it prints steers nothing
printable() {
	ends "$1" "$command" "${@:2}"
	"$python" "$scratch/plain.py" <"$scratch/said"
	"$python" "$scratch/plain.py" <"$scratch/said.stderr"
}

forging_device() {
	# shellcheck disable=SC2016  # the other shell's
	start unshare --net bash -c 'ip link add "$1" type veth peer name kept0 && shift && exec "$@"' bash $'\e[2J\x7f' \
		"${program[@]}" $'\e[2J\x7f'
	printable 1 status "$pid"
	grep -qF ' \x1b[2J\x7f ' "$scratch/said"
	printable 1 status --json "$pid"
	same $'\e[2J\x7f - no-vrf' "$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f2-)"
}

# No PID is so great (PID_MAX_LIMIT, linux/threads.h).
readonly NOBODY=4194304

one_of_several() {
	bound "${program[@]}" -
	ends 125 "$command" status "$NOBODY" "$pid"
	same "$pid" "$(process_ids)"
	same "vrfbind: there is no process $NOBODY" "$(<"$scratch/said.stderr")"
	ends 125 "$command" status --json "$NOBODY" "$pid"
	same "$(lines ok)" "$("$python" "$scratch/report.py" sockets <"$scratch/said" | cut -d' ' -f4)"
}

# to PLACE STATUS WHY ARGUMENT... - the command ends with STATUS if its standard output goes to PLACE, and says once that it
# cannot write there
to() {
	# shellcheck disable=SC2016  # the other shell's
	ends "$2" bash -c "\"\$@\" $1" bash "$command" "${@:4}"
	same "vrfbind: write to standard output: $3" "$(<"$scratch/said.stderr")"
}

no_space() {
	bound "${program[@]}" -
	# A pipe that nobody reads, where SIGPIPE is ignored.
	mkfifo "$scratch/pipe"
	exec 8<>"$scratch/pipe"
	exec 9>"$scratch/pipe" 8<&-
	trap '' PIPE
	local place why argument
	while read -r place why; do
		for argument in --help --version 'completions bash' "status $pid" "status --json $pid" "identify $pid" check; do
			# shellcheck disable=SC2086  # words
			to "$place" 125 "$why" $argument
		done
		[ "$tier" != vrf ] || to "$place" 125 "$why" pids "$device"
		to "$place" 125 "$why" check "${any[@]}" "$device"
	done <<-'END'
		>/dev/full No space left on device
		>&9 Broken pipe
		>&- Bad file number
	END
	# Where there is nobody to tell, the status has to do.
	for place in 2\>/dev/full '2>&9' '2>&-' '2>&- >&-'; do
		# shellcheck disable=SC2016
		silent() { ends "$1" bash -c "\"\$@\" $place" bash "$command" "${@:2}"; }
		silent 125 status "$NOBODY"
		silent 125 identify "$NOBODY"
		silent 1 check --quiet missing0
		silent 1 check --quiet --loaded missing0
		silent 0 check --quiet "${any[@]}" "$device"
		silent 125 check an-overlong-device-name
		silent 125 exec nosuchvrf true
		silent 125 exec --no-such-option
		silent 2 status --no-such-option
	done
	# Nothing that is opened meanwhile takes the place of what is closed.
	ends 0 bash -c '"$@" 2>&-' bash "$command" status "$pid"
	ends 0 bash -c '"$@" <&- 2>&-' bash "$command" status "$pid"
	process_ids | grep -x "$pid"
}

without_proc() {
	local none=(unshare --mount bash -c 'mount -t tmpfs none /proc && exec "$@"' bash "$command")
	local other=(unshare --pid --fork bash -c 'exec "$@"' bash "$command")
	bound "${program[@]}" -
	refused 125 'cannot see other processes: /proc/self: No such file' "${none[@]}" status
	refused 125 'cannot see other processes: /proc/self: No such file' "${none[@]}" status "$pid"
	refused 125 'cannot see other processes: /proc/self: No such file' "${none[@]}" identify "$pid"
	refused 125 'cannot see other processes: ' "${other[@]}" identify "$pid"
	refused 125 'cannot see other processes: ' "${other[@]}" status
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

plan=32
if [ "$tier" = vrf ]; then
	plan=$((plan + 4))
else
	plan=$((plan + 4))
	[ "$(uname -m)" != x86_64 ] || plan=$((plan + 1))
fi
echo "1..$plan"
point 'without the library, every socket is "unbound", and the exit status 1' unbound
point 'under the library, every socket is ok on the device that getsockopt() returns' bound_by_library
point 'inherited sockets without a device are counted' inherited
point 'the addresses and devices are those that ss prints' agrees_with_ss
point 'a sealed process is distinguished from one that is not' sealed
point 'supervised is distinguished from sealed, for a static program too' supervised
if [ "$tier" = lo ]; then
	root_only 'also in another PID namespace, and where its supervisor is not found there that is said' supervised_elsewhere
fi
point 'a filter in a process without the library is not called the seal, nor no seal' seal_unknown
if [ "$(uname -m)" = x86_64 ]; then
	point 'a libc that is not patched is distinguished from one that is' not_patched
else
	skip_point 'a libc that is not patched is distinguished from one that is' 'its other instructions are written for x86_64'
fi
# Not in user-mode Linux, which has neither.
if [ "$tier" = lo ] && [ "$(uname -m)" = x86_64 ]; then
	point 'a 32-bit program is shown as such' of_32_bits
fi
root_only 'a device of another network namespace is looked up in that namespace' elsewhere
root_only 'a socket whose device was deleted is "device-deleted", also when there is another device of its name' deleted
root_only 'an unprivileged user sees the same of his processes' unprivileged
root_only 'the processes of others are said not to be shown' of_others
point 'where pidfd_getfd is refused, sock_diag shows the sockets in use, and the others are "unknown"' by_sock_diag
root_only 'sock_diag shows a socket whose device was deleted too' deleted_by_sock_diag
point 'identify goes by the sockets and by the library' identifies
point 'without PID those with the library are shown, with --all all, with --vrf those of that VRF' which_processes
point 'a library that was replaced since is not asked' replaced
for kind in fifo device; do
	root_only "a $kind under the name of the library is not opened" not_opened "$kind"
done
root_only 'a file of the same inode number on another device is not read' not_read
point 'a library of 12 GiB is not read' large
root_only 'a library on overlayfs is asked' on_overlay
root_only 'the library of a process in a chroot is asked' in_chroot
# Slow where the CPUs are emulated, and no VRF has to do with it.
if [ "$tier" = lo ]; then
	point 'the library is found behind 8 MiB of mappings, in 16 MiB of memory' many_mappings
	point '1 MiB of an environment is read, and if it is longer a note reports it' large_environment
	silent='a process that keeps the kernel waiting is named, and the others are shown'
	if "$python" "$scratch/locked.py" probe; then
		point "$silent" without_answer
	else
		skip_point "$silent" 'userfaultfd(2) is refused'
	fi
fi
point 'names, values and paths of others steer no terminal and forge no line' forging
root_only 'names of devices do not either' forging_device
point 'one process that does not exist does not hide the others' one_of_several
point 'where nothing can be written to, the exit status is the usual one, and nothing panics' no_space
root_only 'without /proc it is said that nothing can be seen' without_proc
point 'a process that does not exist is exit status 125, and a PID that is no number is misuse' no_process
point 'the JSON is what the man page says, and the table fits 80 columns' documented
point 'a table on a terminal has colours, but with NO_COLOR' colours
if [ "$tier" = vrf ] && [ -e /proc/sys/kernel/yama/ptrace_scope ]; then
	point 'under Yama an unprivileged user sees the sockets by sock_diag, and a note reports it' yama
elif [ "$tier" = vrf ]; then
	skip_point 'under Yama an unprivileged user sees the sockets by sock_diag, and a note reports it' 'this kernel has no Yama'
else
	point 'status --vrf refuses a name that nothing has' nothing_has_it
fi
vrf_only 'a device enslaved to the VRF is in the VRF, another VRF is "wrong-vrf", a port of a bridge is in none' in_vrfs
vrf_only 'a deleted VRF leaves sockets whose device was deleted' deleted_vrf
vrf_only 'a cgroup with the name of a VRF puts nothing into it' not_by_cgroup
vrf_only 'pids lists who has a socket in the VRF, or the library set to it' pids_of_vrf
exit "$all_ok"
