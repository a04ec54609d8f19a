#!/usr/bin/env bash
# units.sh [SERVICE...] - services of Debian's packages are in the VRF that vrfbind enable has put them into
#
# Prints TAP (testanything.org) and is run on the tier vrf, with VRFBIND_TEST_LIB, VRFBIND_TEST_BIN, VRFBIND_TEST_COMMAND and the
# variables of tests/topology.sh. The services run under a second systemd (tests/second-systemd.sh), with the units and the
# settings of their packages, but for the few lines below that give them something to listen to. The packages are not installed
# on this machine: tests/packages.sh has set them aside in target/daemons.
#
# Each service first has, without the drop-in, a socket outside of the VRF. After `enable` all IP sockets of all its
# processes are in it (c-tests/command/sockets.c), and its sandbox is unchanged: systemd's properties of the unit, and the
# kernel's of its main process.
#
# The VRF has the loopback addresses, where most of them listen, as `vrfbind check` advises, and its table is asked before the
# local one, as the kernel's vrf.rst advises: otherwise a connection to 127.0.0.1 in the VRF (rndc stop) is not answered.
#
# Without arguments: the services of `make test`. tests/units-more.sh has the others.
# shellcheck disable=SC2317  # the functions are called by point() and await(), which take their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

[ $# -gt 0 ] || set -- prometheus-node-exporter redis-server named named-by-rules ssh unbound nginx mosquitto snmpd
packages=target/daemons/${VRFBIND_TEST_DAEMONS:-daemons}.tar

scratch=$(mktemp -d)
chmod 755 "$scratch"
# shellcheck source=tests/tap.sh
. tests/tap.sh
# shellcheck source=tests/second-systemd.sh
. tests/second-systemd.sh
undo() {
	stop_systemd
	rm -rf "$scratch"
}
trap undo EXIT

# --- The services ---

units() {
	case $1 in
	ssh) echo ssh.service ssh.socket ;;
	postgresql) echo postgresql@.service ;;
	named-by-rules) echo named.service ;;
	rsyslog) echo rsyslog.service syslog.socket ;;
	*) echo "$1.service" ;;
	esac
}

# What their packages leave open.
settings() {
	local etc=$T_DIR/etc
	mkdir -p "$etc"/{default,haproxy,kea,bird,rsyslog.d}
	cat >"$etc/haproxy/haproxy.cfg" <<-'END'
		defaults
			mode tcp
			timeout connect 5s
			timeout client 5s
			timeout server 5s
		listen test
			bind :5000
			server one 127.0.0.1:5001
	END
	cat >"$etc/kea/kea-dhcp4.conf" <<-'END'
		{ "Dhcp4": {
			"interfaces-config": { "interfaces": [ "uplink0", "br-blue" ], "dhcp-socket-type": "udp" },
			"lease-database": { "type": "memfile", "persist": false },
			"subnet4": [ { "subnet": "10.10.1.0/24" } ]
		} }
	END
	cat >"$etc/bird/bird.conf" <<-'END'
		router id 10.10.1.1;
		protocol device { }
		protocol bgp { local 192.0.2.1 as 65001; neighbor 192.0.2.53 as 65002; ipv4 { import all; export all; }; }
	END
	printf '%s\n' 'module(load="imudp")' 'input(type="imudp" port="514")' >"$etc/rsyslog.d/udp.conf"
	# It shall not set this machine's clock.
	printf '%s\n' 'DAEMON_OPTS="-x"' >"$etc/default/chrony"
}

# --- What is asked of each ---

# systemd's properties of a unit, without those that the drop-in sets, and those that differ at each start: of other
# units, the order.
as_systemd_says() {
	manage show "$1" | grep -vE '^(Exec(Start|Stop|Condition|Reload)|ExecMain|ExecPaths|Environment|DropInPaths|NeedDaemonReload'`
		`'|BindsTo|Requires|Wants|Conflicts|After|Before|[A-Za-z]*Timestamp|[A-Za-z]*PID|ControlGroupId|InvocationID|StatusText'`
		`'|CPUUsageNSec|MemoryCurrent|MemoryAvailable|TasksCurrent|NRestarts|Result)' | sort
}

# The kernel's properties of the main process. A supervisor requires no_new_privs, and is a filter.
as_the_kernel_says() {
	local pid
	pid=$(main_pid "$1")
	grep -E '^(Uid|Gid|Groups|Cap[A-Z][a-z]+):' "/proc/$pid/status"
	is_supervised "$1" || grep -E '^(NoNewPrivs|Seccomp):' "/proc/$pid/status"
}
is_as_before() { as_the_kernel_says "$1" | diff "$scratch/before.kernel" -; }
journal_has() { journal "$1" | grep -F "$2"; }
is_supervised() { inside grep -qs '^ExecStart=.*vrfbind exec' "/etc/systemd/system/$1.d/50-vrfbind.conf"; }

service_is_in_vrf() {
	local unit=$1
	restart "$unit" || { journal "$unit"; return 1; }
	await unbound blue "$unit"
	as_systemd_says "$unit" >"$scratch/before"
	vrfbind enable "$unit" blue
	inside cat "/etc/systemd/system/$unit.d/50-vrfbind.conf"
	as_the_kernel_says "$unit" >"$scratch/before.kernel"
	if is_supervised "$unit" && before 5.14; then
		not restart "$unit"
		await journal_has "$unit" 'this requires Linux 5.14'
		manage stop "$unit"
		return
	fi
	restart "$unit" || { journal "$unit"; return 1; }
	await in_vrf blue "$unit" || { in_vrf blue "$unit" || true; journal "$unit"; return 1; }
	as_systemd_says "$unit" | diff "$scratch/before" -
	# Some give up their user when they have their sockets.
	await is_as_before "$unit"
	# If systemd reports what the drop-in has set, the drop-in is the same.
	inside cp "/etc/systemd/system/$unit.d/50-vrfbind.conf" /run/once
	vrfbind enable "$unit" blue
	inside diff /run/once "/etc/systemd/system/$unit.d/50-vrfbind.conf"
	manage stop "$unit"
}

# greets NAMESPACE ADDRESS - a connection to the SSH server at that address
greets() {
	local line=''
	# shellcheck disable=SC2016  # for the shell there
	line=$(timeout "$limit" nsenter --net="/run/netns/$1" bash -c 'exec 3<>"/dev/tcp/$0/22" && read -r line <&3 && echo "$line"' "$2") &&
		[[ $line == SSH-* ]]
}

# systemd makes the socket, and sshd has no other but those of its connections.
ssh_is_in_vrf() {
	restart ssh.socket
	greets "$T_UPSTREAM" 192.0.2.3
	not greets "$T_BLUE_UPSTREAM" 192.0.2.1
	unbound blue ssh.service
	# The service alone: it takes its socket into the VRF when it is started.
	vrfbind enable ssh.service blue 2>"$scratch/said"
	grep -q '^vrfbind: ssh.service gets sockets from ssh.socket' "$scratch/said"
	restart ssh.service
	await in_vrf blue ssh.service
	greets "$T_BLUE_UPSTREAM" 192.0.2.1
	not greets "$T_UPSTREAM" 192.0.2.3
	manage stop ssh.service ssh.socket
	# Both.
	vrfbind enable ssh.socket blue
	restart ssh.socket
	greets "$T_BLUE_UPSTREAM" 192.0.2.1
	await in_vrf blue ssh.service
	not greets "$T_UPSTREAM" 192.0.2.3
	# The socket alone.
	vrfbind disable ssh.service
	manage daemon-reload
	manage stop ssh.service
	restart ssh.socket
	greets "$T_BLUE_UPSTREAM" 192.0.2.1
	await in_vrf blue ssh.service
	not greets "$T_UPSTREAM" 192.0.2.3
	# The service without a socket unit.
	vrfbind disable ssh.socket
	manage daemon-reload
	manage stop ssh.service ssh.socket
	service_is_in_vrf ssh.service
}

# Its own commands for reload and stop are rndc, which speaks to it on 127.0.0.1. Red has no such address.
named_is_commanded_by_rndc() {
	local unit=named.service stops reloads
	printf '[Service]\nTimeoutStopSec=10\n' | write "/etc/systemd/system/$unit.d/10-once.conf"
	vrfbind enable named red
	restart "$unit"
	await in_vrf red "$unit"
	stops=$(heard stop)
	manage stop "$unit"
	not heard_more stop "$stops"
	vrfbind enable named red --loopback
	restart "$unit" || { journal "$unit"; return 1; }
	await on_devices
	reloads=$(heard reload)
	manage reload "$unit"
	await heard_more reload "$reloads"
	on_devices
	manage stop "$unit"
	await heard_more stop "$stops" || { journal "$unit"; return 1; }
	is "$unit" Result success
	inside rm "/etc/systemd/system/$unit.d/10-once.conf"
	vrfbind disable named
	manage daemon-reload
}
# How often it has heard a command.
heard() { journal named.service | grep -cF "received control channel command '$1" || true; }
heard_more() { [ "$(heard "$1")" -gt "$2" ]; }
# All in red, but those of loopback addresses, which are on lo.
on_devices() {
	local line
	in_vrf red named.service >"$scratch/table" || true
	cat "$scratch/table"
	awk '{ print $(NF - 3), $(NF - 2), $(NF - 1) }' "$scratch/table" >"$scratch/sockets"
	for line in 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red' 'udp 127.0.0.1:53 lo' 'tcp 127.0.0.1:953 lo'; do
		grep -qxF "$line" "$scratch/sockets" || return 1
	done
	! grep -vE ' (VERDICT|ok)$| (127[.0-9]*|\[::1]):[0-9]+ +lo ' "$scratch/table"
}

# --- The points ---

echo "1..$#"
if [ ! -e "$packages" ]; then
	for service; do
		skip_point "$service is in the VRF" "$packages is not there: run tests/packages.sh daemons"
	done
	exit "$all_ok"
fi
settings
ip address add 127.0.0.1/8 dev blue
ip address add ::1/128 dev blue nodad
for family in -4 -6; do
	ip $family rule add pref 32765 table local
	ip $family rule delete pref 0
done
all=(network.target network-online.target nss-lookup.target time-sync.target systemd-journald-dev-log.socket)
for service; do
	# shellcheck disable=SC2207  # words
	all+=($(units "$service"))
done
mapfile -t all < <(printf '%s\n' "${all[@]}" | sort -u)
start_systemd --packages "$packages" "${all[@]}" >"$scratch/boot" 2>&1 || {
	sed 's/^/# /' "$scratch/boot"
	echo 'Bail out! the second systemd did not come up'
	exit 1
}
manage start systemd-journald-dev-log.socket
for service; do
	case $service in
	ssh) point 'ssh is in the VRF, by its service and by its socket' ssh_is_in_vrf ;;
	named-by-rules) point 'named by rules is reloaded and stopped by its own commands on 127.0.0.1' named_is_commanded_by_rndc ;;
	postgresql) point 'postgresql is in the VRF' service_is_in_vrf postgresql@15-main.service ;;
	*) point "$service is in the VRF" service_is_in_vrf "$service.service" ;;
	esac
done
exit "$all_ok"
