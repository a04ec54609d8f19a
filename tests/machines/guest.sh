#!/bin/bash
# guest.sh RUN - the first process of a guest: prepares it, and runs commands
#
# machine.sh has written RUN/settings, where this finds `project`, `modules` (the directory lib/modules/VERSION of the kernel is
# in) and `target` (options of mount(8) for target/). It is called by the kernel or by the initramfs, with the root file
# system mounted and read-only. On the machine `native` there is no guest and nothing to prepare: `modules` is empty.
#
# When it has made RUN/ready, it takes each RUN/next: words for the shell, OUT COMMAND ARGUMENT... The command runs in the project's
# root directory. What it prints is in OUT.out and OUT.err while it is written, its exit status in OUT.status when it
# and its output have ended. Files, because every other way into a guest depends on the machine. RUN/end
# ends the guest.
set -uo pipefail

run=$1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

writable_in_memory() {
	local directory=$1 layers=/run/overlay$1
	[ -d "$directory" ] && [ ! -L "$directory" ] || return 0
	mkdir -p "$layers/upper" "$layers/work"
	chmod --reference="$directory" "$layers/upper"
	mount -t overlay overlay -o "lowerdir=$directory,upperdir=$layers/upper,workdir=$layers/work" "$directory"
}

prepare() {
	local directory
	mount -t proc proc /proc
	mount -t sysfs sysfs /sys
	mkdir -p /dev/pts /dev/shm
	mount -t devpts -o ptmxmode=666 devpts /dev/pts
	mount -t tmpfs -o mode=1777 tmpfs /dev/shm
	ln -s /proc/self/fd /dev/fd
	ln -s fd/0 /dev/stdin
	ln -s fd/1 /dev/stdout
	ln -s fd/2 /dev/stderr
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -m 1777 /run/lock
	modprobe --dirname "${modules%/lib/modules/*}" overlay
	for directory in /etc /home /lib /opt /srv /tmp /usr /var; do
		writable_in_memory "$directory"
	done
	mount -t tmpfs -o mode=1777 tmpfs /var/tmp
	mkdir -p "/lib/modules/$(uname -r)"
	mount --bind "$modules" "/lib/modules/$(uname -r)"
	mount "${target[@]}" "$project/target"
	mount -t cgroup2 cgroup2 /sys/fs/cgroup
	ip link set lo up
	# By the kernel's own value nobody may create ICMP datagram sockets; this is systemd's value
	# (sysctl.d/50-default.conf).
	echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range
}

# The output of a command goes through named pipes, so that every user may open /dev/stderr.
relay() {
	cat "$pipes/out" >"$1.out" &
	cat "$pipes/err" >"$1.err" &
}

# The rest of the output. A process that the command left behind may keep the pipes open for ever.
relayed() {
	local tries
	for ((tries = 0; tries < 50; tries++)); do
		[ -n "$(jobs -rp)" ] || return 0
		sleep 0.1
	done
	# shellcheck disable=SC2046  # process ids
	kill $(jobs -rp)
	wait
}

run_command() {
	local out=$1 status
	shift
	rm -f "$out.status"
	relay "$out"
	"$@" </dev/null >"$pipes/out" 2>"$pipes/err"
	status=$?
	relayed
	# A command leaves no process for the next one.
	[ -z "$modules" ] || kill -KILL -1
	echo "$status" >"$out.partial"
	mv "$out.partial" "$out.status"
}

project='' modules='' target=()
# shellcheck source=/dev/null  # machine.sh writes it
. "$run/settings"
pipes=$run
if [ -n "$modules" ]; then
	set -e
	prepare
	set +e
	pipes=/run
	limit=$((30 * $(cut -d. -f1 /proc/uptime)))
	[ "$limit" -le "${VRFBIND_TEST_LIMIT:-120}" ] || export VRFBIND_TEST_LIMIT=$limit
fi
mkfifo --mode=666 "$pipes/out" "$pipes/err"
cd "$project" || exit
touch "$run/ready"
until [ -e "$run/end" ]; do
	if [ -e "$run/next" ]; then
		line=$(<"$run/next")
		rm "$run/next"
		eval "run_command $line"
	else
		sleep 0.1
	fi
done
if [ -n "$modules" ]; then
	sync
	echo o >/proc/sysrq-trigger
	sleep infinity
fi
