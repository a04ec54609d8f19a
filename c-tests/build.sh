#!/usr/bin/env bash
# build.sh list BUILD [TIER]              - the programs of programs.txt that BUILD has; with TIER those that run there
# build.sh make BUILD OUT CC [FLAG...]    - compiles all that BUILD has into directory OUT, which is emptied first
#
# The one place where the C programs' compiler options are, for this machine's build (tests/build.rs) as for others
# (tests/arch.sh, tests/arm64.sh). FLAGs are what the compiler of another machine or libc needs besides. OUT has no
# directories in it: a program finds its helpers and libraries beside itself, wherever all of them are copied to.
set -euo pipefail
cd -- "$(dirname -- "$0")"

fail() {
	printf 'vrfbind-tests: c-tests/programs.txt: %s\n' "$*" >&2
	exit 1
}

# A program without a row would never run, and nobody would see it.
check_table() {
	local differences twice
	differences=$(diff <(sed 's/#.*//' programs.txt | awk 'NF { print $1 ".c" }' | sort) <(find . -name '*.c' -printf '%P\n' | sort)) ||
		fail "has other programs (<) than there are (>): ${differences//$'\n'/ }"
	twice=$(sed 's/#.*//; s/ .*//; s,.*/,,' programs.txt | sort | uniq --repeated | grep .) &&
		fail "has two programs of one name: $twice"
	return 0
}

# The rows of build $1.
rows() {
	local program builds tiers options
	while read -r program builds tiers options; do
		[[ $program == '' || $program == \#* || ,$builds, != *,$1,* ]] || echo "$program $tiers $options"
	done <programs.txt
}

# compile PROGRAM [OPTION...]
compile() {
	local program=$1 name option options=() is_static='' suffix=''
	name=${program##*/}
	shift
	for option in "$@"; do
		case $option in
		static) is_static=1 ;;
		# Without a name of its own it would be wanted by the path that it was linked by.
		shared) suffix=.so options+=(-shared -fPIC "-Wl,-soname,$name.so") ;;
		*.so) options+=("$out/$option" "-Wl,-rpath,\$ORIGIN") ;;
		glibc:*) [ "$build" = musl ] || options+=("${option#glibc:}") ;;
		*) options+=("$option") ;;
		esac
	done
	"${compiler[@]}" "$program.c" -o "$out/$name$suffix" "${options[@]}" -ldl
	[ -z "$is_static" ] || "${compiler[@]}" -static "$program.c" -o "$out/$name-static" -ldl
}

# compile_all ROWS - as many at once as there are CPUs
compile_all() {
	local program options running=0 failed=''
	one_less() { wait -n || failed=yes; running=$((running - 1)); }
	while read -r program _ options; do
		[ "$running" -lt "$(nproc)" ] || one_less
		# shellcheck disable=SC2086  # the table's options are words
		compile "$program" $options &
		running=$((running + 1))
	done <<<"$1"
	while [ "$running" -gt 0 ]; do
		one_less
	done
	[ -z "$failed" ]
}

check_table
case ${1-} in
list)
	rows "$2" | while read -r program tiers _; do
		[[ $# -gt 2 && ,$tiers, != *,$3,* ]] || echo "$program"
	done
	;;
make)
	build=$2
	out=$(realpath --canonicalize-missing -- "$3")
	shift 3
	compiler=("$@" -std=gnu11 -O1 -g -Wall -Wextra -Werror -pthread -Isupport)
	rm -rf "$out"
	mkdir -p "$out"
	# Some programs are linked with some of the libraries.
	compile_all "$(rows "$build" | grep -w shared)"
	compile_all "$(rows "$build" | grep -vw shared)"
	;;
*)
	echo 'vrfbind-tests: usage: c-tests/build.sh list BUILD [TIER] | make BUILD OUT CC [FLAG...]' >&2
	exit 2
	;;
esac
