#!/usr/bin/env bash
# programs.sh - the library beside other people's: preloads, a sanitizer, a virtual machine
#
# Prints TAP (testanything.org) like the programs of c-tests/ and is run with the same variables: VRFBIND_TEST_LIB,
# VRFBIND_TEST_DEVICE. Each point shows first that its program's sockets are unbound without the library and that the
# other tool does its work, and then that both hold under the library. The sockets are looked at from inside
# by python3, whose ctypes finds libc's own socket() too, and for dnsmasq from outside by ss(8).
#
# All files are in one scratch directory, which is removed at the end; every process that is started is waited for, or
# ended by its PID.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail

library=${VRFBIND_TEST_LIB:?}
device=${VRFBIND_TEST_DEVICE:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"
# valgrind on an emulated machine is slow for two reasons.
limit=$((3 * limit))

# -- Other preloads

# sockets.py DEVICE: every socket of this process is on DEVICE ("": on none). With SEALED=1 in its environment a process
# without the library must fail instead; that is not asked here.
cat >"$scratch/sockets.py" <<'END'
import ctypes, os, socket, subprocess, sys

SO_BINDTODEVICE = 25
expected = sys.argv[1].encode()

def device(fd):
    with socket.socket(fileno=os.dup(fd)) as one:
        return one.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16).rstrip(b"\0")

libc = ctypes.CDLL("libc.so.6")
for family in socket.AF_INET, socket.AF_INET6:
    for kind in socket.SOCK_STREAM, socket.SOCK_DGRAM:
        mine = socket.socket(family, kind)
        found = device(mine.fileno()), device(libc.socket(family, kind, 0))
        assert found == (expected, expected), f"{family} {kind}: by export, by libc: {found}"
# A child whose environment is scrubbed, unless the test forbids it.
if len(sys.argv) == 2:
    subprocess.run([sys.executable, *sys.argv, "child"], env={}, check=True)
END

# Each asserts that another preload does its work.
cat >"$scratch/faketime.py" <<'END'
import time
assert time.gmtime().tm_year == 2001, time.asctime()
END
cat >"$scratch/eatmydata.py" <<'END'
import os
os.fsync(os.pipe()[1])  # fails with EINVAL, if anybody syncs
END
cat >"$scratch/jemalloc.py" <<'END'
import ctypes
program, value, size = ctypes.CDLL(None), ctypes.c_char_p(), ctypes.c_size_t(8)
assert program.mallctl(b"version", ctypes.byref(value), ctypes.byref(size), None, 0) == 0
assert value.value
END
cat >"$scratch/copy.py" <<'END'
END

# must_fail COMMAND... - its output is in $scratch/failure
must_fail() {
	if "$@" >"$scratch/failure" 2>&1; then
		echo "succeeds: $*"
		return 1
	fi
}

# under PRELOADS PROGRAM... - runs PROGRAM as the user would; the environment of the test is not the program's
under() {
	local preloads=$1
	shift
	env LD_PRELOAD="$preloads" VRFBIND_VRF="$device" FAKETIME='2001-02-03 04:05:06' "$@" </dev/null
}

# both_work NAME PRELOADS - without the library (and with a mere copy of ours only under it), then under it
both_work() {
	local name=$1 other=$2 preloads=$3
	if [ "$name" != copy ]; then
		under "$other" python3 "$scratch/$name.py"
		under "$other" python3 "$scratch/sockets.py" ''
		must_fail under '' python3 "$scratch/$name.py"
	fi
	under "$preloads" python3 "$scratch/$name.py"
	under "$preloads" python3 "$scratch/sockets.py" "$device"
	VRFBIND_SEAL=1 under "$preloads" python3 "$scratch/$name.py"
	VRFBIND_SEAL=1 under "$preloads" python3 "$scratch/sockets.py" "$device"
}

# find_library NAME - the path of a shared object of Debian's, or nothing
find_library() { compgen -G "/usr/lib/*/$1" | head -n 1; }

mkdir "$scratch/elsewhere"
cp "$library" "$scratch/elsewhere/libvrfbind.so"

stacking() {
	local name=$1 title=$2 other=$3
	if [ -z "$other" ]; then
		skip_point "$title before the library" 'its package is not installed'
		skip_point "$title after the library" 'its package is not installed'
		return
	fi
	point "$title before the library" both_work "$name" "$other" "$other:$library"
	point "$title after the library" both_work "$name" "$other" "$library:$other"
}

# -- AddressSanitizer

cat >"$scratch/asan.c" <<'END'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	int (*libc_socket)(int, int, int) =
		(int (*)(int, int, int))dlsym(dlopen("libc.so.6", RTLD_LAZY), "socket");
	int fds[] = { socket(AF_INET, SOCK_STREAM, 0), libc_socket(AF_INET6, SOCK_DGRAM, 0) };
	char *name = malloc(16);
	socklen_t length;

	for (int i = 0; i < 2; i++) {
		length = 16;
		memset(name, 0, 16);
		if (getsockopt(fds[i], SOL_SOCKET, SO_BINDTODEVICE, name, &length) < 0)
			return 2;
		puts(name);
	}
	/* With an argument: one byte too far, which is what the sanitizer is for. */
	name[argc > 1 ? (int)strlen(argv[1]) : 0] = 'x';
	free(name);
	return 0;
}
END

sanitized() {
	local preloads=$1 expected=$2
	shift 2
	env "$@" LD_PRELOAD="$preloads" "$scratch/asan" >"$scratch/devices"
	diff "$scratch/devices" <(printf '%s\n%s\n' "$expected" "$expected")
	must_fail env "$@" LD_PRELOAD="$preloads" "$scratch/asan" 0123456789abcdef
	grep -q 'AddressSanitizer: heap-buffer-overflow' "$scratch/failure"
	must_fail grep libvrfbind "$scratch/failure"
}

address_sanitizer() {
	local runtime
	runtime=$(readlink -f "$(gcc -print-file-name=libasan.so)")
	gcc -fsanitize=address -g -o "$scratch/asan" "$scratch/asan.c" -ldl
	sanitized "$runtime" '' VRFBIND_VRF="$device"
	sanitized "$runtime:$library" "$device" VRFBIND_VRF="$device"
	sanitized "$runtime:$library" "$device" VRFBIND_VRF="$device" VRFBIND_SEAL=1
}

# -- valgrind

memcheck=(valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite
	--track-fds=no "--log-file=$scratch/valgrind.%p")

said_nothing() {
	local log status=0
	for log in "$scratch"/valgrind.*; do
		if [ -s "$log" ]; then
			cat "$log"
			status=1
		fi
		rm "$log"
	done
	return "$status"
}

dnsmasq_options=(--conf-file=/dev/null --no-resolv --no-hosts --no-daemon --user=root --group=root
	--pid-file= --port=5300 --listen-address=127.0.0.1 --bind-interfaces --address=/app.local/192.0.2.1)

valgrind_tests() {
	env "$@" LD_PRELOAD="$library" VRFBIND_VRF="$device" \
		timeout "$limit" "${memcheck[@]}" dnsmasq "${dnsmasq_options[@]}" --test
	said_nothing
}

# sockets_of_dnsmasq - local addresses with their devices; the namespace is the daemon's own
sockets_of_dnsmasq() { nsenter --target "$daemon" --net ss -H -l -n -u -t | awk '{print $5}' | sort -u; }

# or_gone COMMAND... - it succeeds, or the daemon has ended
or_gone() { "$@" || ! kill -0 "$daemon" 2>/dev/null; }

# start_dnsmasq EXPECTED VARIABLE... - starts it in a network namespace of its own, asks it, and ends it
start_dnsmasq() {
	local expected=$1
	shift
	# The output of the previous daemon must not be mistaken for this one's.
	rm -f "$scratch/dnsmasq"
	unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
		env "$@" "${memcheck[@]}" dnsmasq "${dnsmasq_options[@]}" >"$scratch/dnsmasq" 2>&1 </dev/null &
	daemon=$!
	# It is a child that has not been waited for, so its PID is not reused.
	trap 'cat "$scratch/dnsmasq"; kill -KILL "$daemon"' EXIT
	await or_gone grep -qs 'started, version' "$scratch/dnsmasq"
	sockets_of_dnsmasq >"$scratch/sockets"
	diff "$scratch/sockets" <(printf '%s\n' "$expected")
	nsenter --target "$daemon" --net timeout "$limit" python3 "$scratch/ask.py" >"$scratch/answer"
	diff "$scratch/answer" <(echo 192.0.2.1)
	kill -TERM "$daemon"
	wait "$daemon"
	trap - EXIT
	said_nothing
}

# A DNS question, and the last four bytes of the answer.
cat >"$scratch/ask.py" <<'END'
import socket
asker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
asker.sendto(bytes.fromhex("000101000001000000000000036170700" "56c6f63616c0000010001"), ("127.0.0.1", 5300))
print(socket.inet_ntoa(asker.recv(512)[-4:]))
END

valgrind_starts() {
	# First, without the library: the daemon's sockets are unbound, and valgrind has no complaint.
	start_dnsmasq 127.0.0.1:5300 VRFBIND_VRF=lo
	start_dnsmasq 127.0.0.1%lo:5300 VRFBIND_VRF=lo LD_PRELOAD="$library" "$@"
}

# -- The points

echo 1..13
stacking faketime 'libfaketime' "$(find_library faketime/libfaketime.so.1)"
stacking eatmydata 'libeatmydata' "$(find_library libeatmydata.so)"
stacking jemalloc 'jemalloc' "$(find_library libjemalloc.so.2)"
stacking copy 'a second copy of the library, elsewhere,' "$scratch/elsewhere/libvrfbind.so"
point 'a program with AddressSanitizer, whose runtime comes first' address_sanitizer
for sealed in 0 1; do
	title="valgrind$([ "$sealed" = 0 ] || echo ', sealed,')"
	if ! command -v valgrind dnsmasq >/dev/null; then
		skip_point "$title finds nothing in dnsmasq --test" 'valgrind or dnsmasq is not installed'
		skip_point "$title finds nothing in a dnsmasq that serves" 'valgrind or dnsmasq is not installed'
		continue
	fi
	point "$title finds nothing in dnsmasq --test" valgrind_tests VRFBIND_SEAL="$sealed"
	if unshare --net true 2>/dev/null; then
		point "$title finds nothing in a dnsmasq that serves" valgrind_starts VRFBIND_SEAL="$sealed"
	else
		skip_point "$title finds nothing in a dnsmasq that serves" 'a network namespace takes root'
	fi
done
exit "$all_ok"
