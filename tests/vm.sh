#!/usr/bin/env bash
# vm.sh [--kernel [SUITE/]PACKAGE] [--limit SECONDS] -- CMD [ARG...] - runs CMD in a virtual machine whose kernel has VRFs
#
# CMD runs as root in the project's root folder, with an empty standard input. Its output arrives while it is written,
# its exit status is ours (128+N after signal N). What is downloaded stays under target/vm/, so that only the first run
# needs a network; `rm -r target/vm` makes the next one take the newest kernel.
#
# How it works, in order:
#   1. Prepare, under a lock, whatever target/vm/ does not have yet: virtme-ng from PyPI in a virtual environment, a
#      Debian kernel package unpacked (not installed), and the static busybox that virtme-ng's initramfs is made of.
#      Each is finished under another name, or marked at the end, so an interrupted step is done again.
#   2. Write the script that the guest runs, in a folder of this run, and boot: qemu with emulated CPUs, and the
#      root file system of this machine over 9p.
#   3. Relay what the guest prints. `timeout` ends qemu when the limit is over, even if this script was killed.
#   4. Take the exit status from the file that the guest's script left. No such file: the guest ended before CMD did.
#
# What CMD finds: this machine's files at the same paths. target/ is writable. /etc, /home, /opt, /srv, /tmp, /usr and /var
# are writable too, but what is written there is gone with the guest (overlays in its memory); /run, /dev/shm
# and /var/tmp are empty tmpfs. Everything else is read-only. UNIX sockets and FIFOs cannot be made in target/ (9p), but in
# /tmp and /run. cgroup2 is on /sys/fs/cgroup, modules load on demand, there is no network but lo. Of this
# environment CMD gets the variables whose names begin with VRFBIND_, and CI.
#
# Root is not needed: `apt-get download` and qemu do without, and the guest is root within itself. A missing or outdated
# package index makes this script call `apt-get update`, and that takes sudo.
#
#   --kernel [SUITE/]PACKAGE
#                      a kernel package, or one that depends on it, that apt-get can download (default: what
#                      VRFBIND_VM_KERNEL says, or linux-image-amd64; on Ubuntu linux-image-generic). With SUITE it is
#                      that suite's of the Debian archive this machine's apt uses: bullseye/linux-image-amd64
#   --limit SECONDS    end the guest after so long (default 1500)
#   VRFBIND_VM_MEMORY=SIZE   the guest's memory (default 2G)
#   VRFBIND_VM_KVM=1   let qemu use /dev/kvm. Not the default, because /dev/kvm is no proof: where
#                      virtual machines are nested, a guest of one sector may run and this kernel hang all the same.
#   VRFBIND_VM_VERBOSE=1   show the guest's console on standard error
#
# Exit status: CMD's, or 124 when the limit was reached, or 125 when there was no guest to run CMD in.
# Run on Debian 12. On Ubuntu, whose kernel comes in several packages, it was not run.
#
# shellcheck disable=SC2317  # get_* and finish are called by name
set -euo pipefail

virtme_ng=1.42
cpus=2
memory=${VRFBIND_VM_MEMORY:-2G}

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }
die() { say "$*"; exit 125; }

kernel=${VRFBIND_VM_KERNEL-}
limit=1500
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2-}; shift 2 || break ;;
	--limit) limit=${2-}; shift 2 || break ;;
	--) shift; break ;;
	*) break ;;
	esac
done
if [ $# -eq 0 ] || [[ ! $limit =~ ^[0-9]+$ ]]; then
	say 'usage: tests/vm.sh [--kernel [SUITE/]PACKAGE] [--limit SECONDS] -- CMD [ARG...]'
	exit 2
fi

# depmod and modprobe lie in sbin, which is not in the PATH of every user.
export PATH=$PATH:/usr/sbin:/sbin
cd -- "$(dirname -- "$0")/.."
project=$PWD
cache=$project/target/vm

# virtme-ng puts paths on the kernel command line: it takes these characters, and the kernel takes 2048 bytes.
[[ $project =~ ^[A-Za-z0-9_+/.-]{1,120}$ ]] ||
	die "the VM needs a project folder of at most 120 letters, digits and _+/.-, and not '$project'"
[ "$(uname -m)" = x86_64 ] || die "the VM is for x86_64, and this machine is $(uname -m)"
for tool in qemu-system-x86_64 depmod file apt-get dpkg-deb; do
	command -v "$tool" >/dev/null || die "$tool is missing: run tests/packages.sh vm"
done

# --- 1. what target/vm/ holds ---

# Makes apt-get and apt-cache look into another suite than this machine's: with a source list, an index and a cache in
# folder $1. Its packages are checked against Debian's archive keyring.
look_into_suite() {
	local state=$1 keyring=/usr/share/keyrings/debian-archive-keyring.gpg archive
	[ -r "$keyring" ] || die "there is no $keyring, and no suite of Debian without it"
	# shellcheck disable=SC2016  # apt's own variables
	archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
		sort -u | sed -n 1p)
	[ -n "$archive" ] || die "apt's sources name no Debian archive, or apt-get update has not been run"
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial"
	touch "$state/status"
	echo "deb [signed-by=$keyring] $archive $suite main" >"$state/sources"
	apt=(-o "Dir::Etc::SourceList=$state/sources" -o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$state/lists"
		-o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache")
}

# The kernel package that $1 is or depends on, and on Ubuntu the packages of its modules, one a line.
kernel_packages() {
	apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
		"$1" 2>/dev/null | grep -E '^linux-(image|modules)(-extra)?-[0-9]' | sort -u
}

# Fetches packages $2... into folder $1 and leaves it with their files.
unpack() {
	local into=$1 deb
	shift
	# apt-get warns when its own user cannot write here; as root it need not become that user.
	(cd "$into" && apt-get "${apt[@]}" download -o APT::Sandbox::User=root "$@" >&2) || return
	for deb in "$into"/*.deb; do
		dpkg-deb --extract "$deb" "$into" && rm "$deb" || return
	done
}

get_kernel() {
	local into=$1 packages version
	packages=$(kernel_packages "$kernel") || return
	say "downloading the kernel, 70 MB or more: ${packages//$'\n'/ }"
	# shellcheck disable=SC2086  # package names are words
	unpack "$into" $packages || return
	# Where /lib is a link to /usr/lib, newer packages hold the modules in usr/lib, and depmod -b asks for lib.
	[ -d "$into/lib" ] || ln -s usr/lib "$into/lib"
	version=$(cd "$into/boot" && echo vmlinuz-*) || return
	depmod -b "$into" "${version#vmlinuz-}"
}

# A suite's index is our own file.
refresh() {
	if [ -n "$suite" ]; then
		apt-get "${apt[@]}" -o APT::Sandbox::User=root update --quiet >&2
	elif [ "$(id -u)" -eq 0 ]; then
		apt-get update --quiet >&2
	else
		sudo apt-get update --quiet >&2
	fi
}

get_busybox() {
	say 'downloading busybox-static'
	unpack "$1" busybox-static
}

# Makes folder $1 with command $2, which is given an empty folder; a failure leaves nothing. Files
# that apt-get's index knows, but the mirror has already replaced, need a new index.
provide() {
	local folder=$1 get=$2 try
	[ -d "$folder" ] && return
	for try in 1 2; do
		rm -rf "$folder.partial"
		mkdir -p "$folder.partial"
		if "$get" "$folder.partial"; then
			mv "$folder.partial" "$folder"
			return
		fi
		[ "$try" = 1 ] || break
		say 'refreshing the package index and trying once more'
		refresh || break
	done
	rm -rf "$folder.partial"
	die "could not download $(basename "$folder")"
}

# A virtual environment knows its own path, so it is made in place, and its mark says which place and version.
provide_virtme_ng() {
	local venv=$cache/venv
	local mark="virtme-ng $virtme_ng in $venv"
	[ "$(cat "$venv/mark" 2>/dev/null)" = "$mark" ] && return
	say "installing virtme-ng $virtme_ng from PyPI"
	rm -rf "$venv"
	# Debian's python3-venv goes with Debian's python3, whichever python3 comes first in PATH.
	/usr/bin/python3 -m venv "$venv" >&2 || die 'python3 -m venv failed: run tests/packages.sh vm'
	"$venv/bin/pip" install --quiet --disable-pip-version-check "virtme-ng==$virtme_ng" >&2 ||
		die "pip could not install virtme-ng $virtme_ng"
	printf '%s\n' "$mark" >"$venv/mark"
}

if [ -z "$kernel" ]; then
	kernel=linux-image-amd64
	grep -qx 'ID=ubuntu' /etc/os-release && kernel=linux-image-generic
fi
[[ $kernel =~ ^([a-z0-9-]+/)?linux-image-[a-z0-9.+~-]+$ ]] ||
	die "'$kernel' is no name of a kernel package like linux-image-amd64 or bullseye/linux-image-amd64"
image=$cache/$kernel
suite=''
apt=()

mkdir -p "$cache"
exec 9>"$cache/lock"
flock --nonblock 9 || { say 'waiting for another run to finish its downloads'; flock 9; }
provide_virtme_ng
provide "$cache/busybox" get_busybox
if [[ $kernel == */* ]] && [ ! -d "$image" ]; then
	suite=${kernel%/*}
	kernel=${kernel#*/}
	look_into_suite "$cache/$suite/apt"
fi
provide "$image" get_kernel
exec 9>&-

vmlinuz=$(echo "$image"/boot/vmlinuz-*)
busybox=$cache/busybox/bin/busybox
[ -x "$busybox" ] || busybox=$cache/busybox/usr/bin/busybox

# --- 2. the guest ---

run=''
vm=''
finish() {
	# timeout passes the signal on to qemu, which is in its process group.
	[ -z "$vm" ] || { kill "$vm" 2>/dev/null && wait "$vm"; } || true
	[ -z "$run" ] || rm -rf "$run"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP
run=$(mktemp -d "$cache/run.XXXXXX")
mkfifo "$run/out" "$run/err"
mkdir -p "$cache/home"

{
	printf 'run=%q project=%q\n' "$run" "$project"
	while IFS= read -r name; do
		printf 'export %s=%q\n' "$name" "${!name}"
	done < <(compgen -e | grep -E '^(VRFBIND_.*|CI)$')
	printf 'cmd=('
	printf ' %q' "$@"
	printf ' )\n'
	cat <<'GUEST'
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# Standard output and error are virtio ports here, and a port can be opened once: a program that opens /dev/stderr, or
# /proc/self/fd/2, would get EBUSY. So CMD writes to pipes.
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkfifo --mode=666 /run/vm.out /run/vm.err
cat /run/vm.out &
cat /run/vm.err >&2 &

# The kernel's own value lets nobody make ICMP datagram sockets; systemd has this one (sysctl.d/50-default.conf).
echo '0 2147483647' >/proc/sys/net/ipv4/ping_group_range

cd "$project" || exit
"${cmd[@]}" </dev/null >/run/vm.out 2>/run/vm.err
echo $? >"$run/status"

# The rest of the output; a process that CMD left behind may keep the pipes open for ever.
for ((i = 0; i < 100; i++)); do
	[ -z "$(jobs -rp)" ] && break
	sleep 0.1
done
GUEST
} >"$run/guest"

vng=("$cache/venv/bin/vng" --run "$vmlinuz" --busybox "$busybox" --user root --cpus "$cpus" --memory "$memory"
	--force-9p --disable-microvm --rwdir "$project/target")
[ "${VRFBIND_VM_KVM-}" = 1 ] || vng+=(--disable-kvm)
[ "${VRFBIND_VM_VERBOSE-}" = 1 ] && vng+=(--verbose)

# --- 3. boot and relay ---

# qemu opens its standard output anew by way of /proc/self/fd, which would truncate a file and fail on a socket: it
# gets pipes. virtme-ng finds its other half through PATH, and a virtme-ng.conf of the user through HOME.
say "booting $(basename "$vmlinuz") (about 20 s with emulated CPUs)"
cat "$run/out" &
relays=$!
cat "$run/err" >&2 &
relays+=" $!"
HOME=$cache/home PATH=$cache/venv/bin:$PATH timeout --kill-after=10 "$limit" \
	"${vng[@]}" -- bash "$run/guest" </dev/null >"$run/out" 2>"$run/err" &
vm=$!
ended=0
wait "$vm" || ended=$?
vm=''
# shellcheck disable=SC2086  # two process ids
wait $relays || true

# --- 4. the exit status ---

[ -s "$run/status" ] && exit "$(cat "$run/status")"
if [ "$ended" -eq 124 ]; then
	say "the time limit of $limit s is over, the guest was ended"
	exit 124
fi
die "the guest ended before the command did (virtme-ng: $ended); VRFBIND_VM_VERBOSE=1 shows its console"
