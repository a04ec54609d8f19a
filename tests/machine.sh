#!/usr/bin/env bash
# machine.sh [--kernel [SUITE/]PACKAGE] MACHINE COMMAND [ARGUMENT...]  - runs COMMAND as root on a kernel that has VRFs
# machine.sh [--kernel [SUITE/]PACKAGE] MACHINE --serve                - runs one command after the other
# machine.sh [--kernel [SUITE/]PACKAGE] MACHINE --prepare              - downloads what that takes
#
#   MACHINE
#   native   this kernel, and no virtual machine
#   uml      Debian's user-mode Linux                              tests/machines/uml.sh
#   qemu     a stock Debian kernel on emulated CPUs                tests/machines/qemu.sh
#   arm64    Debian's kernel and userland for arm64, likewise      tests/machines/arm64.sh
#
# COMMAND runs in the project's root directory, with an empty standard input. Its output arrives while it is written, and its
# exit status is ours (128+N after signal N). With --serve each line of standard input is words for the shell: OUT COMMAND
# [ARGUMENT...]; what COMMAND prints goes to OUT.out and OUT.err, and when it has ended its exit status is printed. OUT is
# a path below target/. What is downloaded stays in target/machines/, so that only the first run needs a network;
# `rm -r target/machines` makes the next one take the newest kernel.
#
# How it works, in order: prepare what target/machines/ does not have yet; write the guest's settings in a directory of this run;
# boot; wait until the guest's first process (tests/machines/guest.sh) is ready; give it each command in a file, and wait for the
# file with its status. While waiting, see that there is progress: output, or work. At the end of the commands the guest
# powers off. If this script dies, the kernel ends the guest.
#
# What COMMAND finds: this machine's files at the same paths (arm64: that architecture's, and the project). target/ is writable.
# /etc, /home, /lib, /opt, /srv, /tmp, /usr and /var are writable too, but what is written there is gone with the guest
# (overlays in its memory); /run, /dev/shm and /var/tmp are empty tmpfs. Everything else is read-only. UNIX sockets and FIFOs cannot
# be made in target/, but in /tmp and /run. cgroup2 is on /sys/fs/cgroup, modules load on demand, there is no network but
# lo. Of this environment COMMAND gets the variables whose names begin with VRFBIND_, and CI.
# VRFBIND_TEST_LIMIT is what a test may call a hang, in seconds: more on a slow machine, by the time it took to boot.
#
# Root is needed for uml alone: a guest is root within itself.
#
#   --kernel [SUITE/]PACKAGE
#                      qemu only: a kernel package, or one that depends on it, that apt-get can download (default:
#                      VRFBIND_VM_KERNEL, or linux-image-amd64; on Ubuntu linux-image-generic). With SUITE it is
#                      that suite's of the Debian archive this machine's apt uses: bullseye/linux-image-amd64
#   VRFBIND_VM_MEMORY=SIZE   the guest's memory (default 2G)
#   VRFBIND_VM_KVM=1   let qemu use /dev/kvm. Not the default, because /dev/kvm is no proof: where
#                      virtual machines are nested, a guest of one sector may run and this kernel hang all the same.
#   VRFBIND_VM_VERBOSE=1   show the guest's console on standard error
#
# Exit status: COMMAND's (with --serve 0), or 124 when there was no progress, 125 when no guest came up to run it in, 126 when
# the guest ended before COMMAND did.
# Run on Debian 12. On Ubuntu, whose kernel comes in several packages, it was not run.
#
# shellcheck disable=SC2317  # functions that trap calls by name
set -euo pipefail

# The longest silence without work that is no hang, in seconds: a TCP connection that nobody answers takes 130.
idle_limit=300
# How much CPU time a command may take between two bytes of its output: so often that of the boot, and at least so much.
busy_boots=200
busy_least=600

# shellcheck disable=SC2034  # of the machines
cpus=2 memory=${VRFBIND_VM_MEMORY:-2G}

# depmod and modprobe lie in sbin, which is not in the PATH of every user.
export PATH=$PATH:/usr/sbin:/sbin
cd -- "$(dirname -- "$0")/.."
project=$PWD
cache=$project/target/machines

# shellcheck source=tests/debian.sh
. tests/debian.sh
die() { say "$*"; exit 125; }
usage() { say 'usage: tests/machine.sh [--kernel [SUITE/]PACKAGE] native|uml|qemu|arm64 COMMAND [ARGUMENT...]|--serve|--prepare'; exit 2; }

kernel=${VRFBIND_VM_KERNEL-}
[ "${1-}" != --kernel ] || { kernel=${2-}; shift 2 || usage; }
[ $# -ge 2 ] || usage
machine=$1
shift
case $machine in
native) ;;
uml)
	# shellcheck source=tests/machines/uml.sh
	. tests/machines/uml.sh
	;;
qemu)
	# shellcheck source=tests/machines/qemu.sh
	. tests/machines/qemu.sh
	;;
arm64)
	# shellcheck source=tests/machines/arm64.sh
	. tests/machines/arm64.sh
	;;
*) usage ;;
esac
# These are on the kernel's command line.
[[ $project =~ ^[A-Za-z0-9_+/.-]{1,120}$ ]] ||
	die "a machine needs a project directory of at most 120 letters, digits and _+/.-, and not '$project'"
[ "$machine" = native ] || machine_prepare || die "the machine $machine cannot be prepared"
[ "$1" != --prepare ] || exit 0

# --- boot ---

run='' guest=''
finish() {
	# It has ended already, unless something went wrong.
	[ -z "$guest" ] || { kill -s "$ends_by" -- "-$guest" && wait "$guest"; } 2>/dev/null || true
	[ -z "$run" ] || rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
mkdir -p "$cache"
run=$(mktemp -d "$cache/run.XXXXXX")
: >"$run/console"
{
	printf 'project=%q\n' "$project"
	[ "$machine" = native ] || machine_settings
	while IFS= read -r name; do
		printf 'export %s=%q\n' "$name" "${!name}"
	done < <(compgen -e | grep -E '^(VRFBIND_.*|CI)$')
} >"$run/settings"

# The guest is a session of its own, out of reach of what a terminal sends to us, and ends with us.
ends_by=KILL
alone=(setsid setpriv --pdeathsig KILL)
if [ "$machine" = native ]; then
	# What runs there has something to undo.
	ends_by=TERM
	alone=(setsid setpriv --pdeathsig TERM)
	machine_boot() { exec "${alone[@]}" bash tests/machines/guest.sh "$run"; }
fi

[ "$machine" = native ] || say "booting the machine $machine"
(machine_boot) </dev/null >"$run/console" 2>&1 &
guest=$!
if [ "${VRFBIND_VM_VERBOSE-}" = 1 ]; then
	tail -n +1 -f --pid="$guest" "$run/console" >&2 &
fi

# --- wait ---

# Looks at the guest, with all that it has started: `used` is the CPU time so far, in hundredths of a second, `wants` whether
# something wants to run now, which it may not get where others work.
look() {
	local pids
	read -r used pids < <(cat /proc/[0-9]*/stat 2>/dev/null | awk -v guest="$guest" '
		{ pid = $1; sub(/^.*\) /, ""); parent[pid] = $2; time[pid] = $12 + $13 + $14 + $15 }
		END {
			for (pid in time) {
				# No further than 20: while this is read, processes come and go.
				of = pid
				for (step = 0; step < 20 && of != guest; step++)
					of = parent[of]
				if (of == guest) {
					sum += time[pid]
					pids = pids " " pid
				}
			}
			print sum + 0 pids
		}')
	wants=''
	# shellcheck disable=SC2046,SC2086  # process ids, and files
	! grep -qs '^State:.*[RD]' $(printf '/proc/%s/task/*/status ' $pids) || wants=1
}

# wait_for FILE OUTPUT... - until FILE is there: 0; 124 if there is no progress; 125 if the guest has ended
wait_for() {
	local file=$1 size used wants last_size='' last_used=0 said_at=0 worked_at=$SECONDS looked_at=-10
	shift
	until [ -e "$file" ]; do
		kill -0 "$guest" 2>/dev/null || { [ -e "$file" ] && return 0; return 125; }
		sleep 0.1
		[ $((SECONDS - looked_at)) -ge 10 ] || continue
		looked_at=$SECONDS
		look
		size=$(cat -- "$@" 2>/dev/null | wc -c || true)
		if [ "$size" != "$last_size" ]; then
			said_at=$used
			worked_at=$SECONDS
		elif [ -n "$wants" ] || [ $((used - last_used)) -gt 20 ]; then
			worked_at=$SECONDS
		fi
		last_size=$size
		last_used=$used
		if [ $((SECONDS - worked_at)) -ge "$idle_limit" ]; then
			say "no output and no work for $idle_limit s: the guest is ended"
			return 124
		elif [ $((used - said_at)) -ge "$busy_limit" ]; then
			say "no output in $((busy_limit / 100)) s of CPU time: the guest is ended"
			return 124
		fi
	done
}

# ended_early SENTENCE STATUS
ended_early() {
	local how=0
	[ "$2" -eq 124 ] || { wait "$guest" || how=$?; }
	say "$1 (status $how); its console said:"
	tail -n 20 "$run/console" >&2
	exit "$2"
}

busy_limit=$((busy_least * 100))
ended=0
wait_for "$run/ready" "$run/console" || ended=$?
[ "$ended" -eq 0 ] || ended_early "the machine $machine does not come up" 125
look
[ "$busy_limit" -ge $((used * busy_boots)) ] || busy_limit=$((used * busy_boots))

# --- the commands ---

# run_line LINE - OUT, and a command
run_line() {
	local out words=() ended=0
	eval "words=($1)"
	out=${words[0]}
	rm -f "$out.status"
	: >"$out.out"
	: >"$out.err"
	printf '%s\n' "$1" >"$run/next.partial"
	mv "$run/next.partial" "$run/next"
	wait_for "$out.status" "$out.out" "$out.err" || ended=$?
	[ "$ended" -ne 125 ] || ended=126
	[ "$ended" -eq 0 ] || ended_early 'the guest ended before the command did' "$ended"
	status=$(<"$out.status")
}

if [ "$1" = --serve ]; then
	while IFS= read -r line; do
		run_line "$line"
		echo "$status"
	done
	status=0
else
	touch "$run/command."{out,err}
	relays=()
	tail -n +1 -f -s 0.2 --pid="$guest" "$run/command.out" &
	relays+=($!)
	tail -n +1 -f -s 0.2 --pid="$guest" "$run/command.err" >&2 &
	relays+=($!)
	run_line "$(printf '%q ' "$run/command" "$@")"
fi

touch "$run/end"
wait_for "$run/never" "$run/console" || true
[ -z "${relays-}" ] || wait "${relays[@]}"
exit "$status"
