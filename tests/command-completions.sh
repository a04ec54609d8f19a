#!/usr/bin/env bash
# command-completions.sh - bash, zsh and fish know the command's subcommands and options
#
# Prints TAP (testanything.org) and is run on the tier lo with VRFBIND_TEST_COMMAND. Each shell is asked what it would
# complete, without the file that `vrfbind completions SHELL` prints, and with it.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail

command=${VRFBIND_TEST_COMMAND:?}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"

# What --help names, in order.
subcommands() { "$command" --help | awk '/^Commands:/ { on = 1; next } !NF { on = 0 } on { print $1 }' | sort; }
options() { "$command" enable --help | grep -oE -- '--[a-z-]+' | sort -u; }

# bash_offers WORD... - what bash offers for the last word
bash_offers() {
	# shellcheck disable=SC2016  # for the other shell
	bash --norc -c '
		[ ! -s "$1" ] || source "$1"
		shift
		COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMPREPLY=()
		! complete -p vrfbind >/dev/null 2>&1 || _vrfbind vrfbind "${@: -1}" "${@: -2:1}"
		printf "%s\n" "${COMPREPLY[@]}"' bash "$file" "$@"
}

in_bash() {
	file=/dev/null
	[ -z "$(bash_offers vrfbind '')" ]
	file=$scratch/bash
	"$command" completions bash >"$file"
	diff <(subcommands) <(bash_offers vrfbind '' | grep -v ^- | sort)
	diff <(options) <(bash_offers vrfbind enable -- | sort)
}

fish_offers() { HOME=$scratch fish --no-config -c "test -s '$file'; and source '$file'; complete -C '$1'" | cut -f1; }

in_fish() {
	file=/dev/null
	not_offered=$(fish_offers 'vrfbind enable --')
	[ -z "$not_offered" ]
	file=$scratch/fish
	"$command" completions fish >"$file"
	diff <(subcommands) <(fish_offers 'vrfbind ' | sort)
	diff <(options) <(fish_offers 'vrfbind enable --' | sort)
}

# zsh completes only in a terminal: its file is read, and asked for the list that it would offer.
in_zsh() {
	file=$scratch/_vrfbind
	"$command" completions zsh >"$file"
	zsh --no-rcs -n "$file"
	# shellcheck disable=SC2016  # for the other shell
	zsh --no-rcs -c '
		compdef() { :; }
		_describe() { print -rl -- "${(@P)4}"; }
		source "$1"
		_vrfbind_commands' zsh "$file" | cut -d: -f1 | sort >"$scratch/offered"
	diff <(subcommands) "$scratch/offered"
}

echo 1..3
point 'bash completes the subcommands that --help names, and their options' in_bash
for shell in fish zsh; do
	title="$shell completes the subcommands that --help names"
	if command -v "$shell" >/dev/null; then
		point "$title" "in_$shell"
	else
		skip_point "$title" "$shell is not installed"
	fi
done
exit "$all_ok"
