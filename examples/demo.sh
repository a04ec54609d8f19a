#!/usr/bin/env bash
# demo.sh [EXAMPLE...] - the daemons of the examples (dnsmasq and radvd) in two VRFs with the same addresses
#
# The command of tests/topology.sh, which makes the VRFs and a client behind each. In order: start every
# example's daemon in both VRFs under the library (EXAMPLE/start VRF); let both clients ask (EXAMPLE/ask VRF),
# who are patient until the daemons are ready; take every socket of the daemons and print where it is
# (c-tests/command/sockets.c); print the answers, each beside what it should be if it is not.
#
# Exit status: 0 only if every socket is in its VRF, each client was answered by the daemon of its own VRF, and
# nothing has left by the default VRF's uplink.
set -euo pipefail
cd -- "$(dirname -- "$0")"
sockets=${VRFBIND_TEST_BIN:?is not set: the folder of the C programs}/sockets
: "${T_DIR:?is not set: run this by tests/topology.sh}" "${VRFBIND_TEST_LIB:?is not set: the library}"

examples=("$@")
[ $# -gt 0 ] || examples=(dnsmasq radvd)
vrfs=(blue red)
failed=''

title() {
	if [ -t 1 ]; then printf '\n\e[1m%s\e[m\n' "$*"; else printf '\n%s\n' "$*"; fi
}
fail() {
	failed=1
	printf '%s\n' "$*"
}

daemons=()
# shellcheck disable=SC2317  # called by the trap
end() {
	kill "${daemons[@]}" 2>/dev/null || true
	wait
}
trap end EXIT

daemon_names=${examples[*]}
echo "Two networks, 10.10.1.0/24 both, with a gateway 10.10.1.1 each: in VRF ${vrfs[0]} and in VRF ${vrfs[1]}."
before=$(sh -c "$T_UPLINK_COUNT")
declare -A of=()
for vrf in "${vrfs[@]}"; do
	for example in "${examples[@]}"; do
		"$example/start" "$vrf" >"$T_DIR/$vrf-$example.log" 2>&1 &
		daemons+=($!)
		of[$vrf]+="$! "
	done
done

clients=()
for vrf in "${vrfs[@]}"; do
	for example in "${examples[@]}"; do "$example/ask" "$vrf"; done >"$T_DIR/$vrf-answers" &
	clients+=($!)
done
for client in "${clients[@]}"; do
	wait "$client" || fail 'A client could not ask.'
done

for vrf in "${vrfs[@]}"; do
	title "VRF $vrf: the INET sockets of ${daemon_names// / and }"
	# shellcheck disable=SC2086  # process ids
	"$sockets" "$vrf" ${of[$vrf]} || fail "Not every socket is in VRF $vrf."
done

title 'What the clients were answered'
printf '%-6s  %-8s  %-49s  %s\n' CLIENT QUESTION ANSWER VERDICT
for vrf in "${vrfs[@]}"; do
	while IFS='|' read -r question answer expected; do
		verdict=ok
		# shellcheck disable=SC2053  # a pattern
		[[ $answer == $expected ]] || verdict=WRONG
		printf '%-6s  %-8s  %-49s  %s\n' "$vrf" "$question" "${answer:-(nothing)}" "$verdict"
		[ "$verdict" = ok ] || fail "expected: $expected"
	done <"$T_DIR/$vrf-answers"
done

left=$(($(sh -c "$T_UPLINK_COUNT") - before))
title "Packets that left by the uplink of the default VRF: $left"
[ "$left" -eq 0 ] || failed=1

if [ -n "$failed" ]; then
	for log in "$T_DIR"/*.log; do
		title "$log"
		cat "$log"
	done
	title 'Not as it should be.'
	exit 1
fi
title 'Every socket is in its VRF, and every client was answered by its own daemon.'
