#!/usr/bin/env bash
# bench.sh [tasks] - `make bench`, `make scale` and `make churn` are in order, and BENCHMARKS.md has the rows that they make
#
# Prints TAP and is run with the variables of c-tests/. A few rounds are run, of a few networks and VRFs, and no time is
# judged. With `tasks` it runs the containers of `make scale` (make test-containers).
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

tier=${VRFBIND_TEST_TIER:?}
out=target/bench-smoke
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export VRFBIND_BENCH_SMOKE=1

# shellcheck source=tests/tap.sh
. tests/tap.sh

# If a table is incomplete, report.py reports it.
measured() { timeout $((4 * limit)) benches/bench.sh "$tier" "$out/$tier"; }
scales() { VRFBIND_SCALE=4 timeout $((3 * limit)) benches/scale.sh "$out/scale"; }
tasks() { VRFBIND_SCALE=4 timeout $((12 * limit)) benches/scale.sh "$out/tasks" library tasks-together tasks-paired tasks; }
churns() { VRFBIND_CHURN=60 timeout $((3 * limit)) benches/churn.sh "$out/churn"; }
has_the_rows() { benches/report.py check BENCHMARKS.md "$out" "$@"; }

if [ "${1-}" = tasks ]; then
	echo 1..2
	point 'four networks are served by containerd tasks, and every socket is in its VRF' tasks
	point 'BENCHMARKS.md has the rows of that' has_the_rows tasks
	exit "$all_ok"
fi
if [ "$tier" = lo ]; then echo 1..2; else echo 1..4; fi
if [ "$tier" = lo ] && ! unshare --net true 2>/dev/null && ! unshare --net --user --map-root-user true 2>/dev/null; then
	skip_point 'everything can be measured' 'a network namespace needs root or unprivileged user namespaces'
	skip_point 'BENCHMARKS.md has its rows' 'nothing was measured'
	exit "$all_ok"
fi
point 'everything can be measured' measured
if [ "$tier" = lo ]; then
	point 'BENCHMARKS.md has its rows' has_the_rows lo
else
	point 'four networks are served, and every socket is in its VRF' scales
	point 'VRFs come and go, nothing leaves, and nothing is left behind' churns
	point 'BENCHMARKS.md has the rows of all three' has_the_rows vrf scale churn
fi
exit "$all_ok"
