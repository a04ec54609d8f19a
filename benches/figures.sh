#!/usr/bin/env bash
# figures.sh - the library's size, memory, system calls and start-up cost, measured here and now
#
# Called by `make figures`, which builds the library first. Nothing is asserted: the numbers are for people, and
# the machine may be busy. The start-up figure is paired and has a null control (startup.c).
set -euo pipefail
cd "$(dirname "$0")/.."
library=$PWD/target/release/libvrfbind.so
rounds=${ROUNDS:-2000}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cc -O2 -Wall -Wextra -Werror -o "$work/sockets" benches/sockets.c
cc -O2 -Wall -Wextra -Werror -o "$work/startup" benches/startup.c -lm
# The loader's own floor: an object without code, linked as sparingly as the library.
printf '' >"$work/empty.c"
cc -shared -nostdlib -Wl,--hash-style=gnu,--build-id=none -Wl,-z,noseparate-code,-z,norelro -s \
	-o "$work/empty.so" "$work/empty.c"

echo "size of libvrfbind.so: $(stat -c %s "$library") bytes (goal: at most 16384)"
echo

# A page of the file that is still on its way to the disk counts as dirty.
sync "$library" "$work/empty.so"
private_dirty() { # OBJECT: its private dirty memory in a sleeping process, in kB
	LD_PRELOAD=$1 VRFBIND_VRF=lo sleep 60 &
	local pid=$!
	# Its own program, asleep: loaded, and waiting for the time to pass.
	until grep -q '^[0-9]* (sleep) S' "/proc/$pid/stat"; do :; done
	awk -v name="${1##*/}" '/^[0-9a-f]+-/ { ours = index($0, name) } /^Private_Dirty:/ && ours { sum += $2 } END { print sum }' \
		"/proc/$pid/smaps"
	kill "$pid"
	wait "$pid" 2>/dev/null || true
}
echo "private dirty memory per process: $(private_dirty "$library") kB (goal: at most 12; an empty .so: $(private_dirty "$work/empty.so") kB)"
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
	-- libvrfbind.so VRFBIND_VRF=lo LD_PRELOAD="$library" /bin/true | tee "$work/started"
awk -F '  +' '{ median[$1] = $2 } END {
	printf "libvrfbind.so adds %.2f times what an empty .so adds (goal: at most 1.50)\n",
		median["libvrfbind.so"] / median["an empty .so"] }' "$work/started"
