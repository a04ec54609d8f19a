#!/usr/bin/env bash
# command-unit.sh - vrfbind enable puts a unit into a VRF, or the unit fails; disable takes it out again
#
# Speaks TAP (testanything.org) and is run on the tiers lo and vrf with VRFBIND_TEST_LIB, VRFBIND_TEST_TIER,
# VRFBIND_TEST_BIN and VRFBIND_TEST_COMMAND.
#
# On the tier lo the files are looked at, as systemctl(1) reads them below a root folder. On the tier vrf units run
# under a real systemd: a second one of this machine, PID 1 of a PID namespace, which examples/systemd/run makes (its
# head says how). Its /usr/local/lib holds the library, and the command and its trial besides. What a unit does is read from its
# sockets, by c-tests/command/sockets.c; each point shows first what the unit does without its drop-in, or without a line of it.
# shellcheck disable=SC2317  # the functions are called by point() and await(), which take their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

library=${VRFBIND_TEST_LIB:?}
tier=${VRFBIND_TEST_TIER:?}
command=${VRFBIND_TEST_COMMAND:?}
bin=${VRFBIND_TEST_BIN:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG VRFBIND_LIBRARY SYSTEMD_UNIT_PATH

scratch=$(mktemp -d)
chmod 755 "$scratch"

# shellcheck source=tests/tap.sh
. tests/tap.sh

has_line() {
	grep -qxF -- "$2" "$1" || {
		echo "no line is: $2"
		cat "$1"
		return 1
	}
}

# -- Files

# A root folder with units in it. Each point has one of its own.
image() {
	root=$(mktemp -d "$scratch/root.XXXXXX")
	mkdir -p "$root"/usr/local/{bin,lib} "$root/usr/lib/systemd/system" "$root/etc/systemd/system"
	cp "$library" "$root/usr/local/lib/libvrfbind.so"
	touch "$root/usr/local/bin/vrfbind"
	printf '%s\n' '[Service]' 'Environment="LD_PRELOAD=/usr/lib/libeatmydata.so" A=1' 'ExecStart=-/usr/sbin/radvd -n' \
		>"$root/usr/lib/systemd/system/radvd.service"
	printf '[Service]\nExecStart=/usr/sbin/dnsmasq -C /etc/%%i.conf\n' >"$root/usr/lib/systemd/system/dnsmasq@.service"
	printf '[Socket]\nListenStream=80\n' >"$root/usr/lib/systemd/system/web.socket"
	printf '[Service]\nExecStart=/bin/cat\n' >"$root/usr/lib/systemd/system/web.service"
}

# As systemd puts the unit together.
unit() { systemd-analyze --no-pager --root="$root" cat-config "systemd/system/$1"; }
drop_in() { echo "/etc/systemd/system/$1.d/50-vrfbind.conf"; }

of_service() {
	image
	unit radvd.service >"$scratch/before"
	not grep -q vrfbind "$scratch/before"
	ends 0 "$command" enable --root "$root" radvd vrf-blue
	unit radvd.service >"$scratch/unit"
	for line in \
		"BindsTo=sys-subsystem-net-devices-$(systemd-escape vrf-blue).device" \
		"After=sys-subsystem-net-devices-$(systemd-escape vrf-blue).device" \
		Environment=LD_PRELOAD=/usr/local/lib/libvrfbind.so:/usr/lib/libeatmydata.so \
		Environment=VRFBIND_VRF=vrf-blue \
		'ExecStartPre=/usr/local/bin/vrfbind check --quiet --loaded vrf-blue /usr/sbin/radvd'; do
		has_line "$scratch/unit" "$line"
	done
	# Once more, for another VRF: no line of the first is left, and the unit's own preload is there once.
	ends 0 "$command" enable --root "$root" radvd.service red
	unit radvd.service >"$scratch/unit"
	not grep -q vrf-blue "$scratch/unit"
	has_line "$scratch/unit" Environment=LD_PRELOAD=/usr/local/lib/libvrfbind.so:/usr/lib/libeatmydata.so
	ends 0 "$command" disable --root "$root" radvd
	unit radvd.service | diff "$scratch/before" -
	[ ! -e "$root/etc/systemd/system/radvd.service.d" ]
	ends 125 "$command" disable --root "$root" radvd
	grep -q '^vrfbind: radvd.service is in no VRF by vrfbind: there is no ' "$scratch/said.stderr"
}

of_instance() {
	image
	ends 0 "$command" enable --root "$root" dnsmasq@blue blue
	has_line "$root$(drop_in dnsmasq@blue.service)" \
		'ExecStartPre=/usr/local/bin/vrfbind check --quiet --loaded blue /usr/sbin/dnsmasq'
	[ ! -e "$root$(drop_in dnsmasq@red.service)" ] && [ ! -e "$root$(drop_in dnsmasq@.service)" ]
}

of_socket() {
	image
	ends 0 "$command" enable --root "$root" web.socket blue
	unit web.socket >"$scratch/unit"
	has_line "$scratch/unit" BindToDevice=blue
	not grep -q -e LD_PRELOAD -e ExecStartPre "$scratch/unit"
}

only_says() {
	image
	find "$root" | sort >"$scratch/files"
	ends 0 "$command" enable --dry-run --root "$root" radvd blue
	cp "$scratch/said" "$scratch/dry"
	find "$root" | sort | diff "$scratch/files" -
	ends 0 "$command" enable --root "$root" radvd blue
	sed 1d "$scratch/dry" | diff - "$root$(drop_in radvd.service)"
	# Where the unit will find it, and not where it is now.
	ends 0 "$command" enable --dry-run --root "$root" --library /opt/libvrfbind.so radvd blue
	has_line "$scratch/said" Environment=LD_PRELOAD=/opt/libvrfbind.so:/usr/lib/libeatmydata.so
	ends 0 "$command" disable --dry-run --root "$root" radvd
	[ -e "$root$(drop_in radvd.service)" ]
}

keeps_other_drop_ins() {
	image
	mkdir "$root/etc/systemd/system/radvd.service.d"
	printf '[Service]\nEnvironment=LD_PRELOAD=/usr/lib/libother.so\n' \
		>"$root/etc/systemd/system/radvd.service.d/a.conf"
	ends 0 "$command" enable --root "$root" radvd blue
	has_line "$root$(drop_in radvd.service)" \
		Environment=LD_PRELOAD=/usr/local/lib/libvrfbind.so:/usr/lib/libother.so
	ends 0 "$command" disable --root "$root" radvd
	[ -e "$root/etc/systemd/system/radvd.service.d/a.conf" ]
}

refuses() {
	image
	ends 125 "$command" enable --root "$root" no-such-unit blue
	grep -q '^vrfbind: there is no unit no-such-unit.service below ' "$scratch/said.stderr"
	ends 125 "$command" enable --root "$root" ../../radvd.service blue
	ends 125 "$command" enable --root "$root" multi-user.target blue
	ends 125 "$command" enable --root "$root" radvd a-name-that-is-too-long
	echo 'VRFBIND_VRF=red' >"$scratch/environment"
	printf 'EnvironmentFile=-%s\n' "$scratch/environment" >>"$root/usr/lib/systemd/system/web.service"
	ends 125 "$command" enable --root "$root" web blue
	grep -q "EnvironmentFile=$scratch/environment sets VRFBIND_VRF" "$scratch/said.stderr"
	echo 'OTHER=red' >"$scratch/environment"
	ends 0 "$command" enable --root "$root" web blue
	rm "$root/usr/local/lib/libvrfbind.so"
	ends 125 "$command" enable --root "$root" radvd blue
	grep -q '^vrfbind: libvrfbind.so is not installed below ' "$scratch/said.stderr"
	rm "$root/usr/local/bin/vrfbind"
	ends 125 "$command" enable --root "$root" --library /usr/lib/libvrfbind.so radvd blue
}

# -- A real systemd (examples/systemd/run)

unshare=''
cgroup=''
undo() {
	# unshare ends when its child has, and takes PID 1 with it when it is killed (--kill-child).
	[ -z "$unshare" ] || { kill -KILL "$unshare"; wait "$unshare"; } 2>/dev/null || true
	if [ -n "$cgroup" ]; then
		await no_processes || true
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
	fi
	rm -rf "$scratch"
}
no_processes() { ! grep -q 'populated 1' "$cgroup/cgroup.events" 2>/dev/null; }
trap undo EXIT

inside() { nsenter --target "$pid1" --mount --uts --ipc --pid --cgroup -- "$@"; }
ended() { ! kill -0 "$unshare" 2>/dev/null; }
booted() {
	pid1=$(cat "/proc/$unshare/task/$unshare/children" 2>/dev/null) && pid1=${pid1% } && [ -n "$pid1" ] &&
		inside systemctl is-active --quiet basic.target 2>/dev/null
}
boot_is_over() { booted || ended; }

boot() {
	local group
	mkdir "$T_DIR/etc"
	echo 'interface br-blue { AdvSendAdvert on; prefix 2001:db8:1::/64 { }; };' >"$T_DIR/etc/radvd.conf"
	printf '%s\n' no-resolv interface=br-blue bind-dynamic dhcp-leasefile=/var/lib/dnsmasq/blue/leases \
		>"$T_DIR/etc/dnsmasq-blue.conf"
	group=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
	cgroup=$group$(sed -n 's/^0:://p' /proc/self/cgroup)/${T_DIR##*/}-unit
	mkdir "$cgroup"
	(
		echo "$BASHPID" >"$cgroup/cgroup.procs"
		exec unshare --cgroup --mount --uts --ipc --pid --fork --kill-child -- "$PWD/examples/systemd/run" pid1
	) >"$T_DIR/pid1.log" 2>&1 &
	unshare=$!
	await boot_is_over || true
	booted || { cat "$T_DIR/pid1.log"; return 1; }
	manage start systemd-journald.service systemd-udevd.service
	inside udevadm trigger --subsystem-match=net --action=add
	await is 'sys-subsystem-net-devices-blue.device' ActiveState active
	inside install -m 755 /dev/stdin /usr/local/lib/vrfbind <"$command"
	inside install -m 755 /dev/stdin /usr/local/lib/vrfbind-trial <"$command-trial"
	inside tee /etc/systemd/system/web.socket >/dev/null <<<$'[Socket]\nListenStream=0.0.0.0:7777'
	inside tee /etc/systemd/system/web.service >/dev/null <<<$'[Service]\nExecStart=/bin/cat'
	manage daemon-reload
}

# Of the second systemd.
manage() { inside systemctl --no-pager "$@"; }
vrfbind() { inside /usr/local/lib/vrfbind "$@"; }
is() { [ "$(manage show --property "$2" --value "$1")" = "$3" ]; }
restart() {
	manage daemon-reload
	manage reset-failed "$1" 2>/dev/null || true
	manage restart "$1"
}

# The unit's main process: the eldest in the cgroup that systemd made for the unit.
main_pid() {
	local group
	group=$(manage show --property ControlGroup --value "$1")
	[ -n "$group" ] && sort -n "$cgroup$group/cgroup.procs" | sed -n 1p
}
in_vrf() {
	local pid
	pid=$(main_pid "$2") && "$bin/sockets" "$1" "$pid"
}
unbound() {
	in_vrf "$@" >"$scratch/sockets" || true
	grep ' UNBOUND$' "$scratch/sockets"
}
has_started() { inside journalctl --unit "$1" --output cat | grep ': started, version' >/dev/null; }

real_service() {
	restart radvd.service
	await unbound blue radvd.service
	vrfbind enable --any-device radvd br-blue
	restart radvd.service
	await in_vrf blue radvd.service
	# And what the command says of it.
	ends 0 "$command" status "$(main_pid radvd.service)"
	grep -q 'VRF br-blue, library .*, libc led' "$scratch/said"
}

hardened_service() {
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	vrfbind enable dnsmasq@blue blue
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
	is dnsmasq@blue.service MemoryDenyWriteExecute yes
	local pid
	pid=$(main_pid dnsmasq@blue.service)
	not grep -q '^Uid:	0' "/proc/$pid/status"
	grep -q '^NoNewPrivs:	1' "/proc/$pid/status"
	ends 0 "$command" status "$pid"
	grep -q 'libc led' "$scratch/said"
}

# Without the library a service runs unbound, but for the check.
no_library() {
	local path
	path=$(drop_in dnsmasq@blue.service)
	vrfbind enable dnsmasq@blue blue
	inside mv /usr/local/lib/libvrfbind.so /usr/local/lib/elsewhere.so
	inside sed -i.bak /ExecStartPre/d "$path"
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	inside mv "$path.bak" "$path"
	not restart dnsmasq@blue.service
	# Restart=on-failure: it may be about to try again.
	not is dnsmasq@blue.service ActiveState active
	manage stop dnsmasq@blue.service
	inside journalctl --unit dnsmasq@blue.service --output cat |
		grep -q 'vrfbind: trial: a socket made here is not bound to blue'
	inside mv /usr/local/lib/elsewhere.so /usr/local/lib/libvrfbind.so
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
}

taken_away() {
	vrfbind enable dnsmasq@blue blue
	inside mkdir -p /etc/systemd/system/dnsmasq@blue.service.d
	inside tee /etc/systemd/system/dnsmasq@blue.service.d/90-late.conf >/dev/null \
		<<<$'[Service]\nUnsetEnvironment=LD_PRELOAD'
	not restart dnsmasq@blue.service
	manage stop dnsmasq@blue.service
	inside rm /etc/systemd/system/dnsmasq@blue.service.d/90-late.conf
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
}

not_a_vrf() {
	vrfbind enable radvd br-blue
	not restart radvd.service
	inside journalctl --unit radvd.service --output cat | grep -q 'vrfbind: VRF: br-blue is not a VRF'
	vrfbind enable --any-device radvd br-blue
	restart radvd.service
	await in_vrf blue radvd.service
}

# A Go program runs unbound, but for the check; started by the command it is supervised.
go_service() {
	local path serve='/usr/local/lib/ask-go-dynamic serve 0.0.0.0:5380 hello'
	path=$(drop_in go.service)
	inside install -m 755 /dev/stdin /usr/local/lib/ask-go-dynamic <"$bin/ask-go-dynamic"
	inside tee /etc/systemd/system/go.service >/dev/null <<<$'[Service]\nExecStart='"$serve"
	restart go.service
	await unbound blue go.service
	vrfbind enable go blue
	inside sed -i.bak /ExecStartPre/d "$path"
	restart go.service
	await unbound blue go.service
	inside mv "$path.bak" "$path"
	not restart go.service
	is go.service ActiveState failed
	inside journalctl --unit go.service --output cat |
		grep "vrfbind: program: .*/ask-go-dynamic is a Go program: .*\`vrfbind exec VRF\` in the unit's ExecStart="
	inside tee "${path%/*}/start.conf" >/dev/null <<<$'[Service]\nExecStart=\nExecStart=/usr/local/lib/vrfbind exec blue '"$serve"
	vrfbind enable go blue
	restart go.service
	await in_vrf blue go.service
	manage stop go.service
}

real_socket() {
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0:7777 '
	vrfbind enable web.socket blue
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0%blue:7777 '
	vrfbind disable web.socket
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0:7777 '
}

disabled() {
	await in_vrf blue dnsmasq@blue.service
	vrfbind disable dnsmasq@blue
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	not inside test -e "$(drop_in dnsmasq@blue.service)"
}

# -- The points

plan=6
[ "$tier" != vrf ] || plan=$((plan + 8))
echo "1..$plan"
point 'a service gets the environment, the device and the check, and loses them again' of_service
point 'an instance of a template gets them alone' of_instance
point 'a socket unit gets BindToDevice= and nothing else' of_socket
point '--dry-run prints what would be written, and writes nothing' only_says
point "other drop-ins stay, and their preloads count" keeps_other_drop_ins
point 'what cannot be put into a VRF is refused' refuses
if [ "$tier" = vrf ]; then
	boot >"$scratch/boot" 2>&1 || {
		sed 's/^/# /' "$scratch/boot"
		echo 'Bail out! the second systemd did not come up'
		exit 1
	}
	point "a package's service is in the VRF" real_service
	point 'a service with DynamicUser=, MemoryDenyWriteExecute= and SystemCallFilter= is in the VRF' hardened_service
	point 'without the library the service fails, and would run unbound without the check' no_library
	point 'where another drop-in takes LD_PRELOAD away, the service fails' taken_away
	point 'a device that is no VRF fails the service, unless it was asked for' not_a_vrf
	point_with "$bin/ask-go-dynamic" 'a Go service fails, and is in the VRF if the command starts it' go_service
	point 'a socket unit listens in the VRF' real_socket
	point 'disable takes the service out of the VRF' disabled
fi
exit "$all_ok"
