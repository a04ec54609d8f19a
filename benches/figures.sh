#!/usr/bin/env bash
# figures.sh - size, memory, system calls, start-up cost, and what the seal and the supervisor cost, measured here and now
#
# Called by `make figures`, which builds the library and the command first. Nothing is asserted: the numbers are for people, and
# the machine may be busy. Times are paired and have a null control (startup.c). What a call costs is the difference
# of two programs that make many, so that their start-up is shared out over the calls.
#
# ROUNDS=N   how often each program is started for the start-up figure (default 2000)
set -euo pipefail
cd "$(dirname "$0")/.."
library=$PWD/target/release/libvrfbind.so
command=$PWD/target/release/vrfbind
rounds=${ROUNDS:-2000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc -O2 -Wall -Wextra -Werror -pthread -o "$work/sockets" benches/sockets.c
cc -O2 -Wall -Wextra -Werror -pthread -static -o "$work/sockets-static" benches/sockets.c
cc -O2 -Wall -Wextra -Werror -o "$work/startup" benches/startup.c -lm
cc -O2 -Wall -Wextra -Werror -o "$work/getppid" benches/getppid.c
# The loader's own floor: an object without code, linked as sparingly as the library.
printf '' >"$work/empty.c"
cc -shared -nostdlib -Wl,--hash-style=gnu,--build-id=none -Wl,-z,noseparate-code,-z,norelro -s \
	-o "$work/empty.so" "$work/empty.c"

echo "size of libvrfbind.so: $(stat -c %s "$library") bytes (goal: at most 32768)"
echo

# A page of the file that is still on its way to the disk counts as dirty.
sync "$library" "$work/empty.so"
private_dirty() { # OBJECT: private dirty memory in a sleeping process, in kB: the object's, and what it has made of libc's code
	LD_PRELOAD=$1 VRFBIND_VRF=lo VRFBIND_SEAL=${2-} sleep 60 &
	local pid=$!
	# Its own program, asleep: loaded, and waiting for the time to pass.
	until grep -q '^[0-9]* (sleep) S' "/proc/$pid/stat"; do :; done
	# Of libc, what is executable.
	awk -v name="${1##*/}" '/^[0-9a-f]+-/ { ours = index($0, name) || ($2 ~ /x/ && /libc/) }
		/^Private_Dirty:/ && ours { sum += $2 } END { print sum }' "/proc/$pid/smaps"
	kill "$pid"
	wait "$pid" 2>/dev/null || true
}
echo "private dirty memory per process: $(private_dirty "$library") kB (goal: at most 20), sealed $(private_dirty "$library" 1) kB;" \
	"an empty .so: $(private_dirty "$work/empty.so") kB"
echo

calls() { # FAMILY [LIBRARY]: system calls of 1000 sockets, by name
	LD_PRELOAD='' strace -f -c -U calls,name -e trace=socket,setsockopt,getsockopt,bind,close -o "$work/strace" \
		${2:+-E "LD_PRELOAD=$2" -E VRFBIND_VRF=lo} "$work/sockets" "$1" 1000
	awk '$2 ~ /^(socket|setsockopt|getsockopt)$/ { printf "%s %d  ", $2, $1 }' "$work/strace"
}
echo "system calls of 1000 sockets (strace -c):"
for family in inet inet6 unix; do
	printf '  %-6s without: %s\n' "$family" "$(calls "$family")"
	printf '  %-6s with:    %s\n' "$family" "$(calls "$family" "$library")"
done
echo

"$work/startup" "$rounds" \
	-- 'no preload' VRFBIND_VRF=lo /bin/true \
	-- 'no preload again (null control)' VRFBIND_VRF=lo /bin/true \
	-- 'an empty .so' VRFBIND_VRF=lo LD_PRELOAD="$work/empty.so" /bin/true \
	-- libvrfbind.so VRFBIND_VRF=lo LD_PRELOAD="$library" /bin/true \
	-- 'libvrfbind.so, sealed' VRFBIND_VRF=lo VRFBIND_SEAL=1 LD_PRELOAD="$library" /bin/true | tee "$work/started"
awk -F '  +' '{ median[$1] = $2 } END {
	printf "libvrfbind.so adds %.2f times what an empty .so adds (goal: at most 3.50); sealed, %.2f times\n",
		median["libvrfbind.so"] / median["an empty .so"], median["libvrfbind.so, sealed"] / median["an empty .so"] }' \
	"$work/started"
echo

# each COUNT - the lines of startup but the first, shared out over COUNT calls, in nanoseconds
each() {
	awk -F '  +' -v count="$1" 'NR > 2 { printf "  %-10s %9.1f  %s\n", $1, $2 * 1000 / count, range($3) }
		function range(text,    ends) {
			split(text, ends, " to ")
			return sprintf("%.1f to %.1f", ends[1] * 1000 / count, ends[2] * 1000 / count)
		}'
}

# per_call COUNT PROGRAM ARGUMENT... - what COUNT calls of the program cost more under the library, each
per_call() {
	local count=$1
	shift
	"$work/startup" 100 -- without VRFBIND_VRF=lo "$@" "$count" -- again VRFBIND_VRF=lo "$@" "$count" \
		-- plain VRFBIND_VRF=lo LD_PRELOAD="$library" "$@" "$count" \
		-- sealed VRFBIND_VRF=lo VRFBIND_SEAL=1 LD_PRELOAD="$library" "$@" "$count" | each "$count"
}
echo 'a call of getppid(2), ns; added by: nothing (null control), the library, the sealed library'
per_call 300000 "$work/getppid"
echo 'socket(AF_INET) and close(), ns; likewise'
per_call 20000 "$work/sockets" inet
echo 'socket(AF_UNIX) and close(), ns; likewise'
per_call 20000 "$work/sockets" unix
echo

# supervised COUNT THREADS [COMMAND...] - what a static program's sockets cost more under the supervisor, each. Its start
# is shared out.
supervised() {
	local program=("$work/sockets-static" inet "$1" "$2")
	"${@:3}" "$work/startup" 50 -- without VRFBIND_LIBRARY="$library" "${program[@]}" \
		-- again VRFBIND_LIBRARY="$library" "${program[@]}" \
		-- supervised VRFBIND_LIBRARY="$library" "$command" exec --any-device lo "${program[@]}" | each $(($1 * $2))
}
echo 'a supervised socket(AF_INET) and close() of a static program, ns (goal: at most 30000); added by: nothing, the supervisor'
supervised 5000 1
echo 'the same with both on one processor, so that none has to be woken'
supervised 5000 1 taskset --cpu-list 0
echo 'the same from 64 threads at a time, per socket'
supervised 500 64
