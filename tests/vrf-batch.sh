#!/usr/bin/env bash
# vrf-batch.sh OUT PROGRAM... - runs every PROGRAM between two fresh VRFs and keeps what it said
#
# Called by tiers.rs through with-vrf.sh. A program's output goes to OUT/NAME.out, its exit status, when it has
# ended, to OUT/NAME.status; NAME is the file's, or example-FOLDER for a script named run. A program that hangs is
# ended after LIMIT seconds (status 124). Progress goes to standard error.
set -euo pipefail

out=$1
shift
limit=${LIMIT:-600}
count=$#
number=0
printf 'vrf tier: Linux %s\n' "$(uname -r)" >&2

for program in "$@"; do
	number=$((number + 1))
	name=$(basename "$program")
	[ "$name" != run ] || name=example-$(basename "$(dirname "$program")")
	printf 'vrf tier: %d/%d %s\n' "$number" "$count" "$name" >&2
	status=0
	timeout --kill-after=20 "$limit" tests/topology.sh "$program" >"$out/$name.out" 2>&1 || status=$?
	echo "$status" >"$out/$name.status"
	printf 'vrf tier: %d/%d %s: exit status %d after %d s\n' "$number" "$count" "$name" "$status" "$SECONDS" >&2
done
