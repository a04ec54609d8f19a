#!/usr/bin/env bash
# containers.sh build|run - containers in VRFs, by Debian's engines: podman (crun, runc, rootless), containerd, Docker, and bundles
#
# build: makes the root directories of three images in target/containers, from Debian packages (debian.sh) and from what
# is built here: `debian`, with dnsmasq and radvd; `musl`, with the dnsmasq and busybox of musl.sh; `go`, a static Go program and
# nothing else. In the first two is `ask` (c-tests/command/ask.c), which says where its sockets are, by getsockopt().
#
# run: is run by topology.sh (`make test-containers`). Speaks TAP (testanything.org). Each engine has its own default seccomp profile
# and capabilities. It moves to a mount namespace, where all that engines write is in memory, and /etc is an overlay; what it
# starts ends with it, by process id.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
export PATH=$PATH:/usr/sbin:/sbin

images=$PWD/target/containers
programs=${VRFBIND_TEST_BIN:-$PWD/target/c-tests/gnu}

# --- build ---

# shellcheck source=tests/debian.sh
. tests/debian.sh

users() { mkdir -p "$1/etc" && printf '%s\n' root:x:0:0::/:/bin/sh dnsmasq:x:999:999::/: radvd:x:998:998::/: >"$1/etc/passwd"; }

debian_image() {
	debian_lists '' && debian_unpack_all "$1" dash coreutils iproute2 dnsmasq-base radvd || return
	users "$1" && mkdir -p "$1"/{dev,proc,sys,tmp,run,usr/local/bin}
	[ -e "$1/bin/sh" ] || ln -s dash "$1/bin/sh"
}

musl_image() {
	mkdir -p "$1"/{bin,dev,lib,proc,sys,tmp} && users "$1" || return
	cp -L /lib/ld-musl-*.so.1 "$1/lib" && cp target/musl/sbin/dnsmasq target/musl/bin/busybox "$1/bin"
}

go_image() { mkdir "$1/x" && rmdir "$1/x"; }

build() {
	provide "$images/debian" debian_image
	provide "$images/musl" musl_image
	provide "$images/go" go_image
	# As they were built last.
	cp "$programs"/{ask,ask-static} "$images/debian/usr/local/bin"
	cp "${programs%/*}"/musl/{ask,ask-static} "$images/musl/bin"
	cp "$programs/ask-go" "$images/go"
}

case ${1-} in
build)
	build
	exit
	;;
run) ;;
*)
	say 'usage: tests/containers.sh build|run'
	exit 2
	;;
esac

# --- run ---

library=${VRFBIND_TEST_LIB:?}
vrfbind=${VRFBIND_TEST_COMMAND:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG
export VRFBIND_LIBRARY=$library

if [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	VRFBIND_TEST_MOVED=1 exec unshare --mount "$0" run
fi
scratch=$(mktemp -d /run/vrfbind-containers.XXXXXX)
mount -t tmpfs -o mode=755 tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work"
mount -t overlay overlay -o "lowerdir=/etc,upperdir=$scratch/upper,workdir=$scratch/work" /etc

# shellcheck source=tests/tap.sh
. tests/tap.sh

daemons=()
end() {
	[ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null || true
	wait "${daemons[@]}" 2>/dev/null || true
	daemons=()
}
undo() {
	end
	umount --lazy "$scratch"
	rmdir "$scratch"
}
trap undo EXIT

inside=/opt/vrfbind
bound() { printf 'tcp %s\nudp6 %s\nlibc %s' "$1" "$1" "$1"; }

# shows TEXT COMMAND... - standard output is TEXT and the status 0, whatever an engine says on standard error
shows() {
	local text=$1
	shift
	"$@" >"$scratch/said" 2>"$scratch/said.stderr" </dev/null || {
		echo "exit status $?: $*"
		cat "$scratch/said" "$scratch/said.stderr"
		return 1
	}
	diff "$scratch/said" <(printf '%s\n' "$text") || {
		echo "that was: $*"
		cat "$scratch/said.stderr"
		return 1
	}
}

# fails_with PATTERN COMMAND... - a line of standard error has PATTERN in it, and standard output is empty
fails_with() {
	local pattern=$1
	shift
	! "$@" >"$scratch/said" 2>"$scratch/said.stderr" </dev/null || {
		echo "succeeds: $*"
		return 1
	}
	[ ! -s "$scratch/said" ]
	grep -qE "$pattern" "$scratch/said.stderr" || {
		cat "$scratch/said.stderr"
		return 1
	}
}

# -- podman

# The engine's own restrictions, and none.
restrictions=('' --read-only '--cap-drop ALL' '--security-opt no-new-privileges' '--user 1234' '--read-only --cap-drop ALL --security-opt no-new-privileges --user 1234')

runtime=crun
podman_() {
	podman --runtime "$runtime" --cgroup-manager cgroupfs --root "$scratch/podman" --runroot "$scratch/podman-run" \
		--tmpdir "$scratch/podman-tmp" --storage-driver overlay --events-backend file "$@"
}
podman_run=(podman_ run --rm --network host)

import() {
	local image
	"$vrfbind" cdi --write
	for image in debian musl go; do
		tar --directory "$images/$image" --create . | podman_ import --quiet - "$image" >/dev/null
	done
}

podman_by_device() {
	local image vrf
	for image in debian musl; do
		shows "$(bound unbound)" "${podman_run[@]}" "$image" ask tcp udp6 libc
		for vrf in blue red; do
			shows "$(bound "$vrf")" "${podman_run[@]}" --device "vrfbind.dev/vrf=$vrf" "$image" ask tcp udp6 libc
		done
	done
}

podman_restricted() {
	local options
	for options in "${restrictions[@]}"; do
		# shellcheck disable=SC2086  # words
		shows "$(bound blue)" "${podman_run[@]}" $options --device vrfbind.dev/vrf=blue debian ask tcp udp6 libc
	done
}

podman_refuses() {
	local device=vrfbind.dev/vrf=blue
	shows 'tcp unbound' "${podman_run[@]}" debian ask-static tcp
	fails_with 'vrfbind: /usr/local/bin/ask-static is statically linked' "${podman_run[@]}" --device "$device" debian ask-static tcp
	fails_with 'vrfbind: /bin/ask-static is statically linked' "${podman_run[@]}" --device "$device" musl ask-static tcp
	fails_with 'vrfbind: /ask-go is ' "${podman_run[@]}" --device "$device" go /ask-go tcp
	fails_with 'vrfbind: .*VRFBIND_VRF is not' "${podman_run[@]}" --device "$device" --device vrfbind.dev/vrf=red debian ask tcp
	fails_with 'vrfbind: there is no device blue .*--network host' podman_ run --rm --network none --device "$device" debian ask tcp
}

podman_supervises() {
	local options run
	for options in "${restrictions[@]}"; do
		# shellcheck disable=SC2206  # words
		run=("${podman_run[@]}" $options --device vrfbind.dev/vrf=blue --entrypoint "$inside/vrfbind")
		shows 'tcp blue' "${run[@]}" go exec blue /ask-go tcp
		shows 'tcp blue' "${run[@]}" debian exec blue ask-static tcp
		shows "$(bound blue)" "${run[@]}" musl exec blue ask tcp udp6 libc
	done
}

ip_vrf_exec() {
	fails_with 'Read-only file system' "${podman_run[@]}" debian ip vrf exec blue ask tcp
	shows 'tcp blue' "${podman_run[@]}" --privileged debian ip vrf exec blue ask tcp
}

import
echo 1..9
for runtime in crun runc; do
	point "podman, $runtime: by its device a container is in the VRF, with glibc and musl" podman_by_device
	point "podman, $runtime: also when it is restricted" podman_restricted
	point "podman, $runtime: what the library does not serve, or where there is no such VRF, is not created" podman_refuses
	point "podman, $runtime: vrfbind exec as entry point supervises, also when it is restricted" podman_supervises
done
point 'podman: ip vrf exec has no cgroup to write to, but in a privileged container' ip_vrf_exec
exit "$all_ok"
