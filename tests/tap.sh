# shellcheck shell=bash
# tap.sh - what the scripts that print TAP (testanything.org) have in common; they source it
#
# The script sets `scratch`, a directory of its own, and calls point() or skip_point() for each sentence of its plan. It
# ends with `exit "$all_ok"`.

number=0
all_ok=0
# After this many seconds a command counts as hanging. The caller has measured how slow this machine is:
# tests/machines/guest.sh by its boot, tests/harness/here.rs by starting processes.
limit=${VRFBIND_TEST_LIMIT:-120}
# Runs when a point has ended, within it.
point_end=:

# point SENTENCE COMMAND... - the status of COMMAND tells whether SENTENCE holds, and its output why not. Each command
# in it has to succeed: bash ignores errexit in a command that is tested, so the status is tested afterwards.
point() {
	local sentence=$1 verdict=ok status
	shift
	number=$((number + 1))
	set +e
	# shellcheck disable=SC2064  # as it is now
	(set -e; trap "$point_end" EXIT; "$@") >"${scratch:?}/output" 2>&1
	status=$?
	set -e
	if [ "$status" -ne 0 ]; then
		verdict='not ok'
		all_ok=1
		sed 's/^/# /' "$scratch/output"
	fi
	printf '%s %d - %s\n' "$verdict" "$number" "$sentence"
}

# skip_point SENTENCE REASON
# shellcheck disable=SC2034  # all_ok is the script's exit status
skip_point() {
	number=$((number + 1))
	if [ "${VRFBIND_MUST_RUN-}" = 1 ]; then
		printf '# must run, but cannot: %s\nnot ok %d - %s\n' "$2" "$number" "$1"
		all_ok=1
	else
		printf 'ok %d - %s # SKIP %s\n' "$number" "$1" "$2"
	fi
}

# root_point SENTENCE COMMAND...
root_point() {
	if [ "$(id -u)" -eq 0 ]; then point "$@"; else skip_point "$1" 'it takes root'; fi
}

# point_with FILE SENTENCE COMMAND... - a point if FILE exists, otherwise a skip
point_with() {
	local file=$1
	shift
	if [ -x "$file" ]; then point "$@"; else skip_point "$1" "${file##*/} is not there"; fi
}

# ends STATUS COMMAND... - COMMAND ends with STATUS within $limit seconds; its output is in $scratch/said and
# $scratch/said.stderr
ends() {
	local expected=$1 status=0
	shift
	timeout "$limit" "$@" >"$scratch/said" 2>"$scratch/said.stderr" </dev/null || status=$?
	[ "$status" -eq "$expected" ] || {
		echo "exit status $status, not $expected: $*"
		cat "$scratch/said" "$scratch/said.stderr"
		return 1
	}
}

# says TEXT COMMAND... - standard output is TEXT, and the status 0; what goes to standard error is shown
says() {
	local text=$1
	shift
	timeout "$limit" "$@" >"$scratch/said" </dev/null
	diff "$scratch/said" <(printf '%s\n' "$text")
}

# refused STATUS PATTERN COMMAND... - one line on standard error with PATTERN in it, nothing on standard output, and STATUS
refused() {
	local status=$1 pattern=$2
	shift 2
	ends "$status" "$@"
	cat "$scratch/said.stderr"
	[ ! -s "$scratch/said" ]
	[ "$(wc -l <"$scratch/said.stderr")" -eq 1 ]
	grep -qE "^vrfbind: .*($pattern)" "$scratch/said.stderr"
}

# before VERSION - whether the kernel is older than VERSION, for tests that expect something else then
before() { [ "$(printf '%s\n' "$1" "$(uname -r)" | sort -V | sed -n 1p)" != "$1" ]; }

# await COMMAND... - repeats COMMAND until it succeeds: as many times as would fit into $limit seconds if it took no
# time, so on a busy machine it waits longer.
await() {
	local tries
	for ((tries = 10 * limit; tries > 0; tries--)); do
		! "$@" || return 0
		sleep 0.1
	done
	echo "still not: $*"
	return 1
}

# not COMMAND...
not() {
	if "$@"; then
		echo "succeeds: $*"
		return 1
	fi
}

# all_ok_in FILE STATUS - in what a program has printed there are as many points as planned, and each is ok; its exit status is 0
all_ok_in() {
	grep -v '^ok' "$1" || true
	[ "1..$(grep -c '^ok ' "$1")" = "$(grep '^1\.\.' "$1")" ]
	not grep '^not ok' "$1"
	[ "$2" = 0 ]
}
