#!/usr/bin/env bash
# bench.sh - the harness of `make bench` is in order, and BENCHMARKS.md has the rows that it makes
#
# Speaks TAP and is run with the variables of c-tests/. Hardly any round is run, and no figure is judged.
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

# Where a table is not whole, report.py says so.
measured() { timeout 500 benches/bench.sh "$tier" "$out/$tier"; }
has_the_rows() { benches/report.py check BENCHMARKS.md "$out" "$1"; }

echo 1..2
if [ "$tier" = lo ] && ! unshare --net true 2>/dev/null && ! unshare --net --user --map-root-user true 2>/dev/null; then
	skip_point 'everything can be measured' 'a network namespace needs root or unprivileged user namespaces'
	skip_point 'BENCHMARKS.md has its rows' 'nothing was measured'
	exit "$all_ok"
fi
point 'everything can be measured' measured
point 'BENCHMARKS.md has its rows' has_the_rows "$tier"
exit "$all_ok"
