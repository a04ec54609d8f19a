# shellcheck shell=bash
# uml.sh - the machine `uml`: Debian's user-mode Linux, a kernel that is a process; machine.sh sources it
#
# It boots in seconds and runs at nearly the speed of this machine, on one CPU. Its root file system is this machine's
# (hostfs), and what the guest's root may do to it, it may do with the rights of who started it. So these are cut down first: in
# a mount namespace of its own everything is read-only but target/. A process namespace takes with it whatever it has started.
# Both take root: in a user namespace all files would be nobody's. tests/machines/uml-lacks lists what it cannot run.

uml_image=$cache/uml

machine_prepare() {
	[ "$(id -u)" -eq 0 ] || { say 'user-mode Linux is booted by root only'; return 1; }
	provide "$uml_image" uml_get
}

uml_get() {
	say "downloading user-mode Linux, 40 MB"
	debian_lists "" && debian_unpack "$1" user-mode-linux || return
	mkdir "$1/lib" && ln -s ../usr/lib/uml/modules "$1/lib/modules"
}

# The settings for guest.sh.
machine_settings() {
	local modules
	modules=$(echo "$uml_image"/lib/modules/*)
	printf 'modules=%q\n' "$modules"
	printf 'target=(-t hostfs -o %q none)\n' "$project/target"
}

machine_boot() {
	# shellcheck disable=SC2016  # for the other shell
	exec "${alone[@]}" unshare --mount --pid --fork --kill-child --mount-proc bash -euc '
		target=$1
		shift
		mount --bind "$target" "$target"
		mount -t tmpfs tmpfs /dev/shm
		findmnt --raw --noheadings --output TARGET | while IFS= read -r mounted; do
			case $mounted in
			"$target" | /dev/shm | /proc | /proc/*) ;;
			*) mount -o remount,bind,ro "$mounted" ;;
			esac
		done
		exec "$@"
	' sh "$project/target" "$uml_image/usr/bin/linux.uml" "mem=$memory" uml_dir=/dev/shm root=none rootfstype=hostfs ro quiet \
		noreboot panic=-1 console=tty0 con=null con0=null,fd:1 ssl=null security=apparmor \
		"init=$project/tests/machines/guest.sh" -- "$run"
}
