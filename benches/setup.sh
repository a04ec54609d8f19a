# shellcheck shell=bash
# setup.sh - what the benchmarks have in common: a line for people, waiting, an end that leaves nothing behind; they source it

say() { printf 'vrfbind-bench: %s\n' "$*" >&2; }

# The limit for waiting for a condition, in seconds: a hang, even on the slowest machine. In a VM the limit comes from
# the VM.
limit=${VRFBIND_TEST_LIMIT:-600}

# await COMMAND... - waits until it succeeds; at the limit, reports what was awaited
await() {
	local end=$((SECONDS + limit))
	until "$@"; do
		[ "$SECONDS" -lt "$end" ] || { say "not in $limit s: $*"; return 1; }
		sleep 0.05
	done
}

# at_end COMMAND - COMMAND is run when the script ends, by a signal too
at_end() {
	# shellcheck disable=SC2064  # as it is now
	trap "$1" EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	trap 'exit 129' HUP
}

# in_netns SCRIPT OUT [ARGUMENT...] - begins the script again in a network namespace of its own, where VRFs can be made
in_netns() {
	[ $# -ge 2 ] || { say "usage: $1 OUT"; exit 2; }
	[ "$(id -u)" -eq 0 ] || { say 'VRFs can only be made by root'; exit 77; }
	[ -n "${VRFBIND_BENCH_INSIDE-}" ] || VRFBIND_BENCH_INSIDE=1 exec unshare --net -- "$@"
}
