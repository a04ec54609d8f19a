# shellcheck shell=bash
# command.sh - what command-*.sh have in common; they source it, before all else
#
# They print TAP (testanything.org, tap.sh), and the harness runs them with the variables of the C programs
# (tests/README.md). These get short names here: library, vrfbind (the command), programs (the directory of the C
# programs), device, tier (lo or vrf). On the tier lo the device is not a VRF, and "${any[@]}" makes the command accept
# it.
#
# All files of a script are in $scratch, which is removed at the end; every process that it starts is waited for, or
# ended by its PID.
# shellcheck disable=SC2034  # the scripts use them
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin

library=${VRFBIND_TEST_LIB:?}
vrfbind=${VRFBIND_TEST_COMMAND:?}
programs=${VRFBIND_TEST_BIN:?}
device=${VRFBIND_TEST_DEVICE:?}
tier=${VRFBIND_TEST_TIER:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG VRFBIND_LIBRARY

any=()
[ "$tier" = vrf ] || any=(--any-device)
# A user without any privilege.
nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all)
# A directory that every user can reach, and not one in a home directory.
python=$(PATH=/usr/bin command -v python3)

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"

# shellcheck source=tests/tap.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/tap.sh"

# move_from_lo "$0" "$@" - on the tier lo, as root, begins the script anew in a network namespace of its own
move_from_lo() {
	if [ "$tier" = lo ] && [ "$(id -u)" -eq 0 ] && [ -z "${VRFBIND_TEST_MOVED-}" ]; then
		rm -rf "$scratch"
		VRFBIND_TEST_MOVED=1 exec unshare --net "$@"
	fi
}

# Ends the processes that a point has started and whose PIDs it has put here: `point_end=end_all` (tap.sh).
started=()
end_all() {
	local pid
	for pid in "${started[@]}"; do
		kill -KILL "$pid" 2>/dev/null || true
	done
}

# for_nobody PROGRAM... - copies command, library and those of these C programs that exist to a directory that nobody
# may enter too
for_nobody() {
	local program
	cp "$vrfbind" "${vrfbind%/*}/vrfbind-probe" "$library" "$scratch"
	for program in "$@"; do
		[ ! -e "$programs/$program" ] || cp "$programs/$program" "$scratch"
	done
	vrfbind=$scratch/vrfbind
	library=$scratch/libvrfbind.so
}

# write_refused_py - writes $scratch/refused.py: `refused.py NUMBER COMMAND...` runs COMMAND under a filter that makes
# system call NUMBER fail with EPERM
write_refused_py() {
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
}
