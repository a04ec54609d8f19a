#!/usr/bin/env bash
# reach.sh       - prints how far the library reaches: every way to a socket, and what becomes of it
# reach.sh --man - prints what is expected of each, as libvrfbind(7) has it, and runs nothing
#
# Runs reach_matrix (c-tests/reach/reach_matrix.c explains the table), built for glibc and for musl, and lays out as a
# table what it found. `make reach` calls it on the VRF tier (with-vrf.sh, topology.sh); called alone it runs on lo,
# where there is no column for `ip vrf exec`. A cell that is not as expected is WRONG, and shown in full first.
#
# Exit status: 0 if every cell is as expected, 1 if one is not, 2 if there is nothing to run.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

export VRFBIND_TEST_LIB=${VRFBIND_TEST_LIB:-$PWD/target/release/libvrfbind.so}
export VRFBIND_TEST_COMMAND=${VRFBIND_TEST_COMMAND:-$PWD/target/release/vrfbind}
export VRFBIND_TEST_TIER=${VRFBIND_TEST_TIER:-lo}
export VRFBIND_TEST_DEVICE=${VRFBIND_TEST_DEVICE:-lo}
bin=${VRFBIND_TEST_BIN:-$PWD/target/c-tests/gnu}

# The two libcs have one table in the manual: their verdicts must not differ, but musl lacks some of the functions.
if [ "${1-}" = --man ]; then
	LC_ALL=C awk -F '; ' '
	/^= / {
		if (NR != FNR)
			heading[count + 1] = substr($0, 3)
		next
	}
	{
		verdict = $2
		sub(/^[^:]*: /, "", verdict)
		sub(/^FAILS /, "", verdict)
		verdict = verdict == "ESCAPES" ? "\\fBESCAPES\\fR" : verdict == "BOUND" ? "bound" : verdict
	}
	NR == FNR { musl[$1] = musl[$1] ";" verdict; next }
	!($1 in glibc) { ways[++count] = $1 }
	{ glibc[$1] = glibc[$1] ";" verdict }
	END {
		for (w = 1; w <= count; w++) {
			way = ways[w]
			if (way in musl && musl[way] != glibc[way]) {
				print "reach.sh: the libcs differ: " way >"/dev/stderr"
				exit 1
			}
			if (w in heading)
				printf "T{\n%s\\fI%s\\fR\nT};;;;\n", (w > 1 ? ".sp\n" : ""), heading[w]
			title = way (way in musl ? "" : " (glibc)")
			gsub(/-/, "\\-", title)
			printf "T{\n%s\nT}%s\n", title, glibc[way]
		}
	}' <("$(dirname "$bin")/musl/reach_matrix" list) <("$bin/reach_matrix" list)
	exit
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

status=0
libcs=()
for libc in gnu musl; do
	program=$(dirname "$bin")/$libc/reach_matrix
	if [ ! -x "$program" ]; then
		echo "vrfbind-tests: $program is not there; is the compiler for $libc installed? run \`make\` first" >&2
		continue
	fi
	libcs+=("$libc")
	echo "vrfbind-tests: $libc, one cell after the other" >&2
	"$program" </dev/null >"$scratch/$libc" 2>"$scratch/$libc.stderr" || status=1
	# Every line of the plan must have been run, or the table would have holes.
	planned=$(sed -n 's/^1\.\.//p' "$scratch/$libc")
	[ "$(grep -cE '^(not )?ok ' "$scratch/$libc")" = "$planned" ] || status=1
	grep -E -B 3 '^not ok|^Bail out' "$scratch/$libc" || true
done
[ "${#libcs[@]}" -gt 0 ] || exit 2

# ok NUMBER - WAY; COLUMN: VERDICT
# # not in this tier: WAY; COLUMN: VERDICT (REASON)
for libc in "${libcs[@]}"; do
	sed "s/^/$libc /" "$scratch/$libc"
done | awk -v libcs="${libcs[*]}" '
function cell(text, verdict,    at, way, column) {
	at = index(text, "; ")
	way = substr(text, 1, at - 1)
	column = substr(text, at + 2)
	sub(/: .*/, "", column)
	if (verdict == "") {
		verdict = substr(text, at + 2)
		sub(/^[^:]*: /, "", verdict)
	}
	if (!(way in seen)) {
		seen[way] = 1
		ways[++count] = way
	}
	found[way, libc, column] = verdict
	return way
}
BEGIN { names_of["gnu"] = "glibc"; names_of["musl"] = "musl" }
{ libc = $1; sub(/^[^ ]+ /, "") }
/^ok [0-9]+ - / { sub(/^ok [0-9]+ - /, ""); points++; cell($0, / # SKIP / ? "skipped" : "") }
/^not ok [0-9]+ - / { sub(/^not ok [0-9]+ - /, ""); points++; cell($0, "WRONG") }
/^# not in this tier: / {
	sub(/^# not in this tier: /, "")
	reason = $0
	sub(/.*: [A-Z ]+ \(/, "", reason)
	sub(/\)$/, "", reason)
	if (reason ~ /takes a VRF/)
		no_vrf = reason
	way = cell($0, "n/a")
	if (/; ip vrf exec: /)
		next
	if (!((way, libc) in told)) {
		told[way, libc] = 1
		reasons[++reason_count] = way ", " names_of[libc] ": " reason
	}
}
END {
	columns = split("LD_PRELOAD,vrfbind exec,--no-supervise,ip vrf exec", column, ",")
	libc_count = split(libcs, names, " ")
	printf "%-71s", ""
	for (l = 1; l <= libc_count; l++)
		printf " %-*s", columns * 15 - 1, names_of[names[l]]
	printf "\n%-71s", ""
	for (l = 1; l <= libc_count; l++)
		for (c = 1; c <= columns; c++)
			printf " %-14s", column[c]
	print ""
	for (w = 1; w <= count; w++) {
		printf "%-71s", ways[w]
		for (l = 1; l <= libc_count; l++)
			for (c = 1; c <= columns; c++)
				printf " %-14s", found[ways[w], names[l], column[c]]
		print ""
	}
	print ""
	if (no_vrf)
		print "n/a: " no_vrf
	for (r = 1; r <= reason_count; r++)
		print "n/a: " reasons[r]
	for (w = 1; w <= count; w++)
		for (l = 1; l <= libc_count; l++) {
			verdict = found[ways[w], names[l], "nothing around it"]
			if (verdict == "WRONG")
				print "WRONG with nothing around it: " ways[w] ", " names_of[names[l]]
			escapes += verdict == "ESCAPES"
		}
	printf "%d test points. With nothing around it, %d of these ways ESCAPE.\n", points, escapes
}'
exit "$status"
