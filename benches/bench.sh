#!/usr/bin/env bash
# bench.sh build      - compiles what measures and what is measured, into target/bench/bin
# bench.sh lo  OUT    - measures on this kernel, bound to lo; in a network namespace of its own (tests/netns.sh)
# bench.sh vrf OUT    - measures in a VRF; between the two of tests/topology.sh
#
# `make bench` calls all three, and report.py, which turns what lies in OUT into BENCHMARKS.md. Nothing is asserted here,
# but that everything that is measured does its work: calls.c looks at its sockets' device.
#
# How it works: a table is one program in several ways (with nothing, with the library, under `ip vrf exec` and so on),
# all of them in one run of paired.c, which takes turns; or of take_turns below, where it is not time that is measured.
# Each writes OUT/TABLE.tsv when it is complete. OUT/environment has the machine.
#
# VRFBIND_BENCH_SMOKE=1   a round or two of everything: is the harness in order?
#
# shellcheck disable=SC2317  # functions are called by name
set -euo pipefail
cd "$(dirname "$0")/.."

# shellcheck source=benches/setup.sh
. benches/setup.sh

bin=$PWD/target/bench/bin

build() {
	local flags=(-O2 -Wall -Wextra -Werror)
	mkdir -p "$bin/exports"
	cc "${flags[@]}" -o "$bin/paired" benches/paired.c
	cc "${flags[@]}" -pthread -o "$bin/calls" benches/calls.c
	cc "${flags[@]}" -o "$bin/clients" benches/clients.c
	cc "${flags[@]}" -o "$bin/churn" benches/churn.c
	cc "${flags[@]}" -pthread -static -o "$bin/calls-static" benches/calls.c
	cc "${flags[@]}" -shared -fPIC -o "$bin/plain.so" benches/plain.c -ldl
	# The loader's own floor: an object without code, linked as sparingly as the library.
	cc -shared -nostdlib -Wl,--hash-style=gnu,--build-id=none -Wl,-z,noseparate-code,-z,norelro -s \
		-o "$bin/empty.so" -x c /dev/null
	cargo build --quiet --release --locked --manifest-path benches/redhook-baseline/Cargo.toml \
		--target-dir target/bench/redhook
	# For an unknown architecture the library does not patch libc: only its exports are hooked.
	RUSTFLAGS='--cfg unknown_machine' cargo build --quiet --release --locked --target-dir target/unknown-machine
	cp target/bench/redhook/release/libredhook_baseline.so target/release/libvrfbind.so target/release/vrfbind "$bin"
	cp target/unknown-machine/release/libvrfbind.so "$bin/exports"
	cp -L /bin/true /bin/sleep "$(command -v ip)" "$(command -v dnsmasq)" "$(command -v radvd)" \
		"$(command -v charon-cmd)" "$bin"
	rustc --version | cut -d ' ' -f 1-2 >"$bin/rustc-version"
	# Pages of a file that are still on their way to the disk count as dirty.
	sync "$bin"/* "$bin"/exports/*
}

# rounds N - N, or hardly any
rounds() { if [ "${VRFBIND_BENCH_SMOKE-}" = 1 ]; then echo 2; else echo "$1"; fi; }

# --- ways ---

# Each is what paired.c takes: --, its name, variables, program. All have VRFBIND_VRF, so that the environment is as large.
ways=()
way() { ways+=(-- "$1" "VRFBIND_VRF=$device" "${@:2}"); }

nothing() {
	way nothing "$@"
	way 'nothing, again (null control)' "$@"
}
under_library() { way libvrfbind "LD_PRELOAD=$bin/libvrfbind.so" "$@"; }
under_sealed() { way 'libvrfbind, sealed' "LD_PRELOAD=$bin/libvrfbind.so" VRFBIND_SEAL=1 "$@"; }
under_exports() { way 'libvrfbind without the libc tier' "LD_PRELOAD=$bin/exports/libvrfbind.so" "$@"; }
under_empty() { way 'an empty .so' "LD_PRELOAD=$bin/empty.so" "$@"; }
under_others() {
	way 'redhook (the same two hooks)' "LD_PRELOAD=$bin/libredhook_baseline.so" "$@"
	way 'plain C (the same two hooks)' "LD_PRELOAD=$bin/plain.so" "$@"
}
under_ip() { [ "$tier" != vrf ] || way 'ip vrf exec' "$bin/ip" vrf exec "$device" "$@"; }
under_vrfbind() { # NAME PROGRAM...
	way "$1" "VRFBIND_LIBRARY=$bin/libvrfbind.so" "${vrfbind_exec[@]}" "$device" "${@:2}"
}
under_seal_alone() {
	way 'vrfbind exec --no-supervise' "VRFBIND_LIBRARY=$bin/libvrfbind.so" "${vrfbind_exec[@]}" --no-supervise "$device" "$@"
}
# Empty, if a supervisor cannot be started on this kernel; report.py reports it then.
under_supervisor() { [ -z "$can_supervise" ] || under_vrfbind "$@"; }

# measure TABLE COMMAND... - runs COMMAND, which gets the ways as arguments, and announces it as TABLE
measure() {
	say "$tier: $1"
	# No other run uses these directories.
	"${@:2}" "${ways[@]}" | sed "s|$bin/||g; s|$scratch/||g" >"$out/$1.partial"
	mv "$out/$1.partial" "$out/$1.tsv"
	ways=()
}

# --- calls ---

# call_ways KIND COUNT - without the supervisor. What is not bound cannot be at the VRF's address.
call_ways() {
	local here=("$bin/calls" '' "$1" "$2") there=("$device" "$1${address:+:$address}" "$2")
	nothing "${here[@]}"
	way 'the program itself' "$bin/calls" -o "${there[@]}"
	way 'the program itself, again (null control)' "$bin/calls" -o "${there[@]}"
	under_library "$bin/calls" "${there[@]}"
	under_sealed "$bin/calls" "${there[@]}"
	under_exports "$bin/calls" "${there[@]}"
	under_others "$bin/calls" "${there[@]}"
}

per_call() {
	local kind count=200 number=300
	# Emulated, a call takes fifty times as long.
	[ "$tier" = lo ] || count=50 number=100
	for kind in socket bind connect; do
		call_ways "$kind" "$count"
		under_ip "$bin/calls" "$device" "$kind${address:+:$address}" "$count"
		under_supervisor 'libvrfbind, under vrfbind exec' "$bin/calls" "$device" "$kind${address:+:$address}" "$count"
		under_supervisor 'supervised (a static program)' "$bin/calls-static" "$device" "$kind${address:+:$address}" "$count"
		measure "calls-$kind" "$bin/paired" -a "$(rounds "$number")"
	done
}

# The cost of the library and the seal for calls that give no IP socket a device.
bystanders() {
	local kind program
	for kind in getppid unix option; do
		program=("$bin/calls" '' "$kind" 1000)
		nothing "${program[@]}"
		program[1]=$device
		under_library "${program[@]}"
		under_sealed "${program[@]}"
		measure "calls-$kind" "$bin/paired" -a "$(rounds 200)"
	done
}

# Two networks besides lo, on none of which anything is sent: the calls end at lo, or nowhere.
by_rules() {
	local kind i many='' each few='bind tcp *:5380 other; connect 10.99.0.0/16 other' rules=VRFBIND_RULES
	ip link add vrf0 type veth peer name other
	ip link set vrf0 up
	ip link set other up
	for i in {1..64}; do many+="connect tcp 10.$i.0.0/16:80 other;"; done
	for kind in bind connect; do
		each=
		for i in {1..64}; do each+="$kind 10.$i.0.0/16 other;"; done
		under_library "$bin/calls" lo "$kind" 200
		way 'libvrfbind, again (null control)' "LD_PRELOAD=$bin/libvrfbind.so" "$bin/calls" lo "$kind" 200
		way 'two rules, none of which matches' "LD_PRELOAD=$bin/libvrfbind.so" "$rules=$few" "$bin/calls" lo "$kind" 200
		way '64 rules, none of which matches' "LD_PRELOAD=$bin/libvrfbind.so" "$rules=$many" "$bin/calls" lo "$kind" 200
		way '64 rules for every port, none of which matches' "LD_PRELOAD=$bin/libvrfbind.so" "$rules=$each" "$bin/calls" lo "$kind" 200
		measure "rules-$kind" "$bin/paired" -a "$(rounds 300)"
	done
	# Each socket is made in vrf0 and moved to lo.
	device=vrf0
	local moved=("LD_PRELOAD=$bin/libvrfbind.so" "$rules=loopback lo" RULED=lo) descriptors
	for descriptors in 0 10000; do
		nothing "$bin/calls" -f "$descriptors" '' connect 10
		way 'moved by a rule' "${moved[@]}" "$bin/calls" -f "$descriptors" vrf0 connect 10
		way 'replaced by a rule' "${moved[@]}" "$bin/calls" -n -f "$descriptors" vrf0 connect 10
		measure "rules-moved-$descriptors" "$bin/paired" -a "$(rounds 60)"
	done
	device=lo
	ip link delete vrf0
}

supervised() {
	nothing "$bin/calls-static" '' socket 200
	under_vrfbind supervised "$bin/calls-static" "$device" socket 200
	measure supervised-one taskset --cpu-list 0 "$bin/paired" -a "$(rounds 100)"
	nothing "$bin/calls-static" -t 64 '' socket 20
	under_vrfbind supervised "$bin/calls-static" -t 64 "$device" socket 20
	measure supervised-64 "$bin/paired" -a "$(rounds 100)"
}

# --- start-up ---

start_ways() {
	nothing "$@"
	under_empty "$@"
	under_library "$@"
	under_sealed "$@"
	under_exports "$@"
	under_others "$@"
	under_ip "$@"
	under_seal_alone "$@"
	under_supervisor 'vrfbind exec (supervised)' "$@"
}

start_up() {
	local few=$1 many=$2
	start_ways "$bin/true"
	measure start-true "$bin/paired" "$(rounds "$many")"
	start_ways "$bin/dnsmasq" --test --conf-file=/dev/null
	# It reports success.
	measure start-dnsmasq quietly "$bin/paired" "$(rounds "$few")"
}
quietly() { "$@" 2>/dev/null; }

# --- what is not time ---

# take_turns ROUNDS METER WAY... - as paired.c; METER VARIABLE... PROGRAM... prints the figure
take_turns() {
	local number=$1 meter=$2 names=() starts=() words taken index round line
	shift 2
	words=("$@")
	for index in "${!words[@]}"; do
		if [ "${words[index]}" = -- ]; then
			starts+=("$index")
			names+=("${words[index + 1]}")
		fi
	done
	starts+=(${#words[@]})
	for index in "${!names[@]}"; do
		one_way "$index"
		printf '# %s\t%s\n' "${names[index]}" "$(spelled "${taken[@]}")"
	done
	(IFS=$'\t'; echo "${names[*]}")
	for ((round = 0; round < number; round++)); do
		line=()
		for index in $(shuf --echo "${!names[@]}"); do
			one_way "$index"
			line[index]=$("$meter" "${taken[@]}") || return
		done
		(IFS=$'\t'; echo "${line[*]}")
	done
}
spelled() {
	local word text=''
	for word in "$@"; do
		[ -n "$word" ] || word="''"
		text+="${text:+ }$word"
	done
	echo "$text"
}
one_way() {
	local from=$((starts[$1] + 2))
	taken=("${words[@]:from:starts[$1 + 1] - from}")
}

# await_running COMMAND... - as long as `running` runs
is_running() { kill -0 "$running" 2>/dev/null; }
so_or_ended() { "$@" || ! is_running; }
await_running() { await so_or_ended "$@" && is_running; }
sleeps() { grep -q '^[0-9]* ([^)]*) S' "/proc/$1/stat"; }
ready_sleep() { [ "$(cat "/proc/$running/comm")" = sleep ] && sleeps "$running"; }
ready_dnsmasq() { grep -qs 'started, version' "$log" && sleeps "$running"; }
# Its one socket is there, and both of its processes are waiting.
ready_radvd() {
	local child own=''
	[ "$(wc -l </proc/net/raw6)" -gt 1 ] && sleeps "$running" || return
	# shellcheck disable=SC2013  # one line of words
	for child in $(cat "/proc/$running/task/$running/children"); do
		sleeps "$child" || return
		[ "$(cat "/proc/$child/comm")" != radvd ] || own=yes
	done
	[ -n "$own" ]
}
ready_charon-cmd() { grep -qs 'sending packet' "$scratch/charon.log" && sleeps "$running"; }

# memory VARIABLE... PROGRAM... - kB of private dirty memory, and of PSS, of a program that runs, with its children, of which
# the supervisor is one
memory() {
	local pid
	rm -f "$log" "$scratch/charon.log"
	env -i "$@" >"$log" 2>&1 </dev/null &
	running=$!
	await_running "ready_$daemon" || { say "$daemon does not start:"; cat "$log" >&2; kill "$running"; return 1; }
	for pid in $running $(cat "/proc/$running/task/$running/children"); do
		cat "/proc/$pid/smaps_rollup"
	done | awk '$1 == "Private_Dirty:" { dirty += $2 }
		$1 == "Pss:" { pss += $2 }
		END { printf "%d %d\n", dirty, pss }'
	kill "$running"
	wait "$running" 2>/dev/null || true
}

all_memory() {
	device=blue
	ip address add 10.10.1.1/24 dev blue
	cat >"$scratch/radvd.conf" <<-'CONF'
		interface blue {
			AdvSendAdvert on;
			prefix fd00:10:1::/64 { };
		};
	CONF
	# It buffers its output.
	cat >"$scratch/strongswan.conf" <<-CONF
		charon-cmd {
			filelog {
				log {
					path = $scratch/charon.log
					flush_line = yes
				}
			}
		}
	CONF
	for daemon in sleep dnsmasq radvd charon-cmd; do
		# shellcheck disable=SC2054  # the comma is dnsmasq's
		case $daemon in
		sleep) words=("$bin/sleep" 60) ;;
		dnsmasq) words=("$bin/dnsmasq" --no-daemon --conf-file=/dev/null --interface=blue --bind-dynamic --no-resolv
			--dhcp-range=10.10.1.100,10.10.1.199 "--dhcp-leasefile=$scratch/leases") ;;
		radvd) words=("$bin/radvd" --nodaemon --logmethod stderr --config "$scratch/radvd.conf" --pidfile "$scratch/radvd.pid") ;;
		charon-cmd) words=(/usr/bin/env "STRONGSWAN_CONF=$scratch/strongswan.conf" "$bin/charon-cmd"
			--host 10.10.1.77 --identity nobody --profile ikev2-eap) ;;
		esac
		nothing "${words[@]}"
		under_empty "${words[@]}"
		under_library "${words[@]}"
		under_sealed "${words[@]}"
		under_exports "${words[@]}"
		under_others "${words[@]}"
		under_seal_alone "${words[@]}"
		under_supervisor 'vrfbind exec (supervised)' "${words[@]}"
		measure "memory-$daemon" take_turns "$(rounds 31)" memory
	done
	device=lo
}

# per_call_of COUNTER VARIABLE... PROGRAM... - what COUNTER counts in four batches of 1000 calls less what it counts in two
per_call_of() {
	local counter=$1 few many variables=()
	shift
	while [[ $1 == *=* ]]; do
		variables+=("$1")
		shift
	done
	few=$(printf xx | "$counter" "$@")
	many=$(printf xxxx | "$counter" "$@")
	[ "$many" -gt "$few" ] || { say "$counter: counts nothing"; return 1; }
	awk -v few="$few" -v many="$many" 'BEGIN { printf "%.2f\n", (many - few) / 2000 }'
}
callgrind() {
	env -i "PATH=$PATH" "${variables[@]}" \
		valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$log" "$@" >/dev/null 2>"$log.said"
	sed -n 's/.* Collected : //p' "$log"
}
# The system calls of the batches themselves do not count.
strace_c() {
	strace -f -c -U calls,name -e 'trace=!read,write' -o "$log" env -i "${variables[@]}" "$@" >/dev/null
	awk '$2 == "total" { print $1 }' "$log"
}
instructions() { per_call_of callgrind "$@"; }
system_calls() { per_call_of strace_c "$@"; }

counts() {
	local kind
	for kind in socket bind connect; do
		call_ways "$kind" 1000
		measure "instructions-$kind" take_turns 1 instructions
		call_ways "$kind" 1000
		measure "system-calls-$kind" take_turns 1 system_calls
	done
}

# --- all of it ---

environment() {
	# shellcheck disable=SC1091
	cat <<-TEXT
		system	$(. /etc/os-release && echo "$PRETTY_NAME"), Linux $(uname -r)
		processor	$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed -n 1p), $(nproc) of them
		libc	$(getconf GNU_LIBC_VERSION)
		compiler	$(cat "$bin/rustc-version")
		iproute2	$(ip -V | sed 's/.*iproute2-//; s/,.*//')
		libvrfbind.so	$(stat -c %s "$bin/libvrfbind.so") bytes
	TEXT
}

device=lo
address=''
tier=${1-}
out=${2-}
case $tier in
build)
	build
	exit
	;;
lo)
	if [ "${VRFBIND_TEST_TIER-}" != netns ]; then
		options=(--net)
		unshare "${options[@]}" true 2>/dev/null || options+=(--user --map-root-user)
		VRFBIND_TEST_TIER=netns exec unshare "${options[@]}" tests/netns.sh "$0" "$@"
	fi
	;;
vrf)
	device=${T_BLUE_VRF:?is not set: run this by tests/topology.sh}
	address=10.10.1.1
	# In memory, and all of it in one file system.
	cp -r "$bin" "$T_DIR/bin"
	bin=$T_DIR/bin
	;;
*)
	say 'usage: benches/bench.sh build | lo OUT | vrf OUT'
	exit 2
	;;
esac
[ -x "$bin/paired" ] || { say 'run make bench-programs first'; exit 1; }
rm -rf "$out"
mkdir -p "$out"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
log=$scratch/log
load=$(cut -d ' ' -f 1-3 /proc/loadavg)
vrfbind_exec=("$bin/vrfbind" exec)
[ "$tier" = vrf ] || vrfbind_exec+=(--any-device)
can_supervise=yes
VRFBIND_LIBRARY="$bin/libvrfbind.so" "${vrfbind_exec[@]}" --supervise "$device" "$bin/true" 2>"$log" || {
	grep -q 'this requires Linux 5.14' "$log" || { cat "$log" >&2; exit 1; }
	can_supervise=''
}

per_call
if [ "$tier" = lo ]; then
	start_up 1500 2000
	bystanders
	by_rules
	[ -z "$can_supervise" ] || supervised
	all_memory
	counts
else
	start_up 51 81
fi
{
	environment
	[ -n "$can_supervise" ] || printf 'not measured\tsupervised sockets, which take Linux 5.14 with seccomp notifications\n'
	printf 'load before\t%s\nload after\t%s\n' "$load" "$(cut -d ' ' -f 1-3 /proc/loadavg)"
} >"$out/environment"
