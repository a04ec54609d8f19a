#!/usr/bin/env bash
# evenet.sh [WAY] - the reduced edge device of examples/evenet: each of its checks is a point
#
# Prints TAP (testanything.org) and is run on the tier vrf with VRFBIND_TEST_LIB and VRFBIND_TEST_COMMAND. The plan is a
# number that is written here, so that a check which is not made any more is missed.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

way=${1:-library}
# As a task, no charon is beside those in VRFs; where each daemon is counted is looked at instead.
case $way in
library) checks=52 ;;
containerd) checks=55 ;;
esac
echo "1..$((checks + 3))"

# The files that a run creates outside of its own namespaces. The first namespace that is named creates /run/netns.
traces() {
	mkdir -p /run/netns
	find /run/netns "${TMPDIR:-/tmp}" -maxdepth 1 -name 'evenet*' | sort
	find /sys/fs/cgroup -name '*evenet-*'
	ip link show
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
traces >"$scratch/before"
status=0
EVENET_REDUCED=1 examples/evenet/run "$way" >"$scratch/said" 2>"$scratch/log" || status=$?
traces >"$scratch/after"

sed 's/^/# /' "$scratch/said" "$scratch/log"
awk '/^ok / || /^WRONG / {
	verdict = $1 == "ok" ? "ok" : "not ok"
	sub(/^[^ ]+ +/, "")
	print verdict, ++number, "-", $0
}' "$scratch/said"

point() {
	number=$((number + 1))
	if "${@:2}"; then echo "ok $number - $1"; else echo "not ok $number - $1"; fi
}
number=$checks
point 'it says so itself' [ "$status" -eq 0 ]
point 'nothing is left behind' cmp "$scratch/before" "$scratch/after"
point 'the drawing is of the table' examples/evenet/draw.sh --check
