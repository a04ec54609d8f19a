#!/usr/bin/env bash
# second-systemd.sh - a second systemd of this machine, PID 1 of namespaces of its own, for tests of units
#
# Sourced, it defines functions: start_systemd, and those by which tests control that systemd. Called, it becomes that
# systemd:
#
# second-systemd.sh [--packages ARCHIVE] UNIT...
#
# The network namespace is the caller's. Everything else that the units can change is theirs: in the mount namespace /etc is an
# overlay, /run, /tmp, /dev and /usr/local/lib are new, and so is /var; with --packages /usr and /var are overlays too, and the
# packages of the archive (tests/set-aside.sh) are in all three. systemd knows the UNITs and nothing else: a path is copied,
# a name is one of this machine's or of these packages. Its /usr/local/lib holds the library, and the command and its probe
# besides. $T_DIR/etc is copied into /etc. At the end nothing is left: the kernel ends with PID 1 all that is in its
# PID namespace.
set -euo pipefail

# --- Functions ---

unshare='' cgroup='' pid1=''

# start_systemd ARGUMENT... - returns when basic.target is reached and its udevd knows the devices. Needs tests/tap.sh.
start_systemd() {
	local group
	group=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET)
	cgroup=$group$(sed -n 's/^0:://p' /proc/self/cgroup)/${T_DIR##*/}-units
	mkdir "$cgroup"
	(
		echo "$BASHPID" >"$cgroup/cgroup.procs"
		exec unshare --cgroup --mount --uts --ipc --pid --fork --kill-child -- tests/second-systemd.sh "$@"
	) >"$T_DIR/pid1.log" 2>&1 &
	unshare=$!
	await boot_is_over || true
	booted || { cat "$T_DIR/pid1.log"; return 1; }
	manage start systemd-journald.service systemd-udevd.service
	inside udevadm trigger --subsystem-match=net --action=add
	await is 'sys-subsystem-net-devices-blue.device' ActiveState active
}
ended() { ! kill -0 "$unshare" 2>/dev/null; }
booted() {
	pid1=$(cat "/proc/$unshare/task/$unshare/children" 2>/dev/null) && pid1=${pid1% } && [ -n "$pid1" ] &&
		inside systemctl is-active --quiet basic.target 2>/dev/null
}
boot_is_over() { booted || ended; }

# For a trap.
stop_systemd() {
	# unshare ends when its child has, and takes PID 1 with it when it is killed (--kill-child).
	[ -z "$unshare" ] || { kill -KILL "$unshare"; wait "$unshare"; } 2>/dev/null || true
	if [ -n "$cgroup" ]; then
		await no_processes || true
		find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
	fi
}
no_processes() { ! grep -q 'populated 1' "$cgroup/cgroup.events" 2>/dev/null; }

inside() { nsenter --target "$pid1" --mount --uts --ipc --pid --cgroup -- "$@"; }
manage() { inside systemctl --no-pager "$@"; }
vrfbind() { inside /usr/local/lib/vrfbind "$@"; }
is() { [ "$(manage show --property "$2" --value "$1")" = "$3" ]; }
# The messages of a unit's processes, and of systemd about the unit; some may be older than its last restart.
journal() { inside journalctl --unit "$1" --output cat; }
# write PATH - a file for the units, of standard input
write() { inside install -D -m 644 /dev/stdin "$1"; }

restart() {
	manage daemon-reload
	manage reset-failed "$1" 2>/dev/null || true
	manage restart "$1"
}

# The PIDs of a unit's processes in this PID namespace, the oldest first.
pids_of() {
	local group
	group=$(manage show --property ControlGroup --value "$1")
	[ -n "$group" ] && find "$cgroup$group" -name cgroup.procs -exec cat {} + | sort -n
}
main_pid() { pids_of "$1" | sed -n 1p; }

# in_vrf VRF UNIT - all IP sockets of the unit's processes are in the VRF, and there is at least one
in_vrf() {
	local pids
	# shellcheck disable=SC2086  # process ids
	pids=$(pids_of "$2") && "${VRFBIND_TEST_BIN:?}/sockets" "$1" $pids
}
# One has no device.
unbound() {
	in_vrf "$@" >"${scratch:?}/sockets" || true
	grep ' unbound$' "$scratch/sockets"
}

[ "${BASH_SOURCE[0]}" = "$0" ] || return 0

# --- PID 1 to be ---

packages=''
[ "$1" != --packages ] || { packages=$2; shift 2; }

overlay() { mount -t overlay -o "lowerdir=$1,upperdir=$layers/upper$1,workdir=$layers/work$1" overlay "$1"; }

mount --make-rprivate /
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# systemd would raise the machine's limits of open files.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys

layers=$T_DIR/layers
mkdir "$layers"
mount -t tmpfs -o mode=755 layers "$layers"
mkdir -p "$layers"/dev "$layers"/{upper,work}/{etc,usr,var}
if [ -n "$packages" ]; then
	tar --extract --file="$packages" --xattrs --xattrs-include='*' -C "$layers/upper"
	overlay /usr
	overlay /var
fi
overlay /etc
mount -t tmpfs -o mode=755 dev "$layers/dev"
for node in null zero full random urandom tty; do
	touch "$layers/dev/$node"
	mount --bind "/dev/$node" "$layers/dev/$node"
done
mkdir "$layers"/dev/{shm,pts}
chmod 1777 "$layers/dev/shm"
mount -t devpts devpts "$layers/dev/pts"
ln -s pts/ptmx "$layers/dev/ptmx"
ln -s /proc/self/fd "$layers/dev/fd"

mkdir -p /etc/systemd /etc/udev
mount -t tmpfs -o mode=755 systemd /etc/systemd
mount -t tmpfs -o mode=755 udev /etc/udev
mkdir -p /etc/systemd/system /etc/udev/rules.d
cp -r "$T_DIR"/etc/. /etc/
cp /lib/udev/rules.d/99-systemd.rules /etc/udev/rules.d/
mount -t tmpfs -o mode=755 rules /lib/udev/rules.d

mount -t tmpfs -o mode=755 lib /usr/local/lib
install -m 644 "$VRFBIND_TEST_LIB" /usr/local/lib/libvrfbind.so
install -m 755 "$VRFBIND_TEST_COMMAND" /usr/local/lib/vrfbind
install -m 755 "$VRFBIND_TEST_COMMAND-probe" /usr/local/lib/vrfbind-probe

mount --move "$layers/dev" /dev

# From here on, the files of the project and of T_DIR may be out of reach.
units=/run/units
mount -t tmpfs -o mode=755 run /run
[ -n "$packages" ] || mount -t tmpfs -o mode=755 var /var
mkdir $units
mkdir -p /var/tmp
chmod 1777 /var/tmp
for unit in {basic,sysinit,sockets,shutdown,umount}.target \
	systemd-journald.{service,socket} systemd-udevd.service systemd-udevd-{control,kernel}.socket "$@"; do
	case $unit in
	*/*) cp "$unit" /etc/systemd/system/ ;;
	*) ln -s "/lib/systemd/system/$unit" "$units/$unit" ;;
	esac
done
# systemd does not listen for events of devices unless this file announces a udevd.
mkdir /run/udev
touch /run/udev/control

mount -t tmpfs -o mode=1777 tmp /tmp
exec env -i PATH="$PATH" container=vrfbind-tests \
	SYSTEMD_UNIT_PATH=/etc/systemd/system:$units \
	SYSTEMD_GENERATOR_PATH=/run/none SYSTEMD_ENVIRONMENT_GENERATOR_PATH=/run/none \
	/lib/systemd/systemd --system --unit=basic.target --show-status=no
