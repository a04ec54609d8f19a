#!/usr/bin/env bash
# containers.sh build [debian]|run - containers in VRFs, by Debian's engines: podman (crun, runc, rootless), containerd, Docker, and bundles
#
# build: makes the root directories of three images in target/containers, from Debian packages (debian.sh) and from what
# is built here: `debian`, with the daemons of the examples; `musl`, with the dnsmasq and busybox of musl.sh; `go`, a static Go program and
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

# The users that dnsmasq and radvd become.
users() {
	mkdir -p "$1/etc"
	printf '%s\n' root:x:0:0::/:/bin/sh nobody:x:65534:65534::/: radvd:x:998:65534::/: >"$1/etc/passwd"
	printf '%s\n' root:x:0: nogroup:x:65534: >"$1/etc/group"
}

debian_packages=(dash coreutils iproute2 busybox dnsmasq-base radvd charon-systemd libstrongswan-standard-plugins)
debian_image() {
	debian_lists '' && debian_unpack_all "$1" "${debian_packages[@]}" || return
	echo "${debian_packages[*]}" >"$1/packages"
	mkdir -p "$1"/{dev,proc,sys,tmp,run,usr/local/bin}
	[ -e "$1/bin/sh" ] || ln -s dash "$1/bin/sh"
}

musl_image() {
	mkdir -p "$1"/{bin,dev,lib,proc,sys,tmp} || return
	cp -L /lib/ld-musl-*.so.1 "$1/lib" && cp target/musl/sbin/dnsmasq target/musl/bin/busybox "$1/bin"
}

go_image() { mkdir "$1/x" && rmdir "$1/x"; }

build() {
	# One of other packages is made anew.
	grep -qsxF "${debian_packages[*]}" "$images/debian/packages" || rm -rf "$images/debian"
	provide "$images/debian" debian_image
	users "$images/debian"
	# As they were built last.
	cp "$programs"/{ask,ask-static} "$images/debian/usr/local/bin"
	[ "${1-}" != debian ] || return 0
	provide "$images/musl" musl_image
	provide "$images/go" go_image
	users "$images/musl"
	cp "${programs%/*}"/musl/{ask,ask-static} "$images/musl/bin"
	cp "$programs/ask-go" "$images/go"
}

case ${1-} in
build)
	build "${2-}"
	exit
	;;
run) ;;
*)
	say 'usage: tests/containers.sh build [debian]|run'
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

# shellcheck source=examples/containerd/engine.sh
. examples/containerd/engine.sh

daemons=()
end() {
	end_containerd
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

# exec_serves ENGINE - of every kind of program: ENGINE is a function of VRF, IMAGE and a command
exec_serves() {
	local engine=$1
	shows "$(bound blue)" "$engine" blue musl /bin/ask tcp udp6 libc
	shows 'tcp red' "$engine" red musl /bin/ask-static tcp
	shows 'tcp blue' "$engine" blue go /ask-go tcp
}

# -- podman

# The engine's own restrictions, and none.
all_together='--read-only --cap-drop ALL --security-opt no-new-privileges --user 1234'
restrictions=('' --read-only '--cap-drop ALL' '--security-opt no-new-privileges' '--user 1234' '--userns=auto' "$all_together")

runtime=crun
podman_() {
	podman --runtime "$runtime" --cgroup-manager cgroupfs --root "$scratch/podman" --runroot "$scratch/podman-run" \
		--tmpdir "$scratch/podman-tmp" --storage-driver overlay --events-backend file "$@"
}
podman_run=(podman_ run --rm --network host)

# The machine's, for this mount namespace.
prepare_podman() {
	local image
	printf '%s\n' containers:100000:1000000 guest:2000000:65536 | tee -a /etc/subuid >>/etc/subgid
	echo "guest:x:4242:4242::$scratch/guest:/bin/sh" >>/etc/passwd
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
	for options; do
		echo "$options"
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

# An engine's own program is in front of the image's.
podman_init() {
	shows 'tcp blue' "${podman_run[@]}" --init --device vrfbind.dev/vrf=blue debian ask tcp
	fails_with 'vrfbind: /usr/local/bin/ask-static is' "${podman_run[@]}" --init --device vrfbind.dev/vrf=blue debian ask-static tcp
}

podman_supervises() {
	local options run
	for options; do
		echo "$options"
		# shellcheck disable=SC2206  # words
		run=("${podman_run[@]}" $options --device vrfbind.dev/vrf=blue --entrypoint "$inside/vrfbind")
		shows 'tcp blue' "${run[@]}" go exec blue /ask-go tcp
		shows 'tcp blue' "${run[@]}" debian exec blue ask-static tcp
		shows "$(bound blue)" "${run[@]}" musl exec blue ask tcp udp6 libc
	done
}

# The seal of the device, for what an entry program starts.
podman_sealed() {
	shows $'tcp blue\ntcp EPERM' "${podman_run[@]}" --device vrfbind.dev/vrf=blue debian sh -c 'ask tcp; ask-static tcp'
}

ip_vrf_exec() {
	fails_with 'Read-only file system' "${podman_run[@]}" debian ip vrf exec blue ask tcp
	shows 'tcp blue' "${podman_run[@]}" --privileged debian ip vrf exec blue ask tcp
}

# A VRF of the container's own, made by a privileged one in the network namespace that it shares.
own_vrf() {
	ip netns add "$T_EDGE-own"
	ip -n "$T_EDGE-own" link add green type vrf table 7
	"$vrfbind" cdi --write blue red green
	shows "$(bound green)" podman_ run --rm --network "ns:/run/netns/$T_EDGE-own" --device vrfbind.dev/vrf=green debian ask tcp udp6 libc
	fails_with 'no device blue' podman_ run --rm --network "ns:/run/netns/$T_EDGE-own" --device vrfbind.dev/vrf=blue debian ask tcp
	ip netns delete "$T_EDGE-own"
	"$vrfbind" cdi --write
}

rootless() {
	setpriv --reuid 4242 --regid 4242 --clear-groups env HOME="$scratch/guest" XDG_RUNTIME_DIR="$scratch/guest/run" PATH="$scratch/bin:$PATH" \
		podman --runtime crun --cgroup-manager cgroupfs --storage-driver vfs --events-backend file "$@"
}
rootless_run() { rootless run --rm --network host --cgroups disabled "$@"; }

podman_rootless() {
	local image
	# newuidmap(1) is set-user-ID, which not every file system has.
	install -d -m 755 "$scratch/bin"
	install -m 4755 "$(command -v newuidmap)" "$(command -v newgidmap)" "$scratch/bin"
	install -d -m 700 -o 4242 -g 4242 "$scratch/guest" "$scratch/guest/run"
	for image in musl go; do
		tar --directory "$images/$image" --create . | rootless import --quiet - "$image"
	done
	shows "$(bound unbound)" rootless_run musl ask tcp udp6 libc
	shows "$(bound blue)" rootless_run --device vrfbind.dev/vrf=blue musl ask tcp udp6 libc
	fails_with 'vrfbind: /ask-go is ' rootless_run --device vrfbind.dev/vrf=blue go /ask-go tcp
	shows 'tcp blue' rootless_run --device vrfbind.dev/vrf=blue --entrypoint "$inside/vrfbind" go exec blue /ask-go tcp
}

# -- Daemons

# answered VRF - what a client of that VRF is told, and should be (examples/dnsmasq/ask)
answered() {
	local question answer expected count=0
	while IFS='|' read -r question answer expected; do
		echo "$1 $question: $answer"
		# shellcheck disable=SC2053  # a pattern
		[[ $answer == $expected ]]
		count=$((count + 1))
	done < <(examples/dnsmasq/ask "$1")
	[ "$count" -eq 2 ]
}

start_dnsmasq() {
	podman_ run --detach --name "dns-$1" --network host --device "vrfbind.dev/vrf=$1" --cap-add NET_ADMIN,NET_RAW \
		--volume "$PWD/examples/dnsmasq:/conf:ro" debian dnsmasq --keep-in-foreground --conf-file="/conf/$1.conf" --pid-file= \
		--dhcp-leasefile=/tmp/leases --log-facility=-
	pid=$(podman_ inspect --format '{{.State.Pid}}' "dns-$1")
}

podman_daemons() {
	local before pid id pids=()
	before=$(sh -c "$T_UPLINK_COUNT")
	start_dnsmasq blue
	pids+=("$pid")
	answered blue
	# The other network has nobody yet who answers.
	ip -n "$T_RED_CLIENT" address add 10.10.1.9/24 dev eth0
	not grep '^Name:' <(nsenter --net="/run/netns/$T_RED_CLIENT" busybox nslookup -type=a app.test 10.10.1.1)
	ip -n "$T_RED_CLIENT" address delete 10.10.1.9/24 dev eth0
	start_dnsmasq red
	pids+=("$pid")
	answered red
	answered blue
	"$programs/sockets" blue "${pids[0]}"
	"$programs/sockets" red "${pids[1]}"
	# And whose process that is.
	id=$(podman_ inspect --format '{{.Id}}' dns-red)
	"$vrfbind" status "${pids[1]}" >"$scratch/status"
	cat "$scratch/status"
	grep -q "dnsmasq: VRF red, library .* container libpod-${id:0:12}" <(tr -s '\n ' ' ' <"$scratch/status")
	not grep 'unknown' "$scratch/status"
	grep -q "\"container\": \"libpod-$id\"" <("$vrfbind" status --json "${pids[1]}")
	[ "$("$vrfbind" identify "${pids[1]}")" = "red  libpod-${id:0:12}" ]
	grep -qx " *${pids[1]}  dnsmasq  libpod-${id:0:12}" <("$vrfbind" pids red)
	podman_ rm --force --time 1 dns-blue dns-red
	[ "$(sh -c "$T_UPLINK_COUNT")" = "$before" ]
}

# -- Bundles

bundle_run() {
	local vrf=$1 image=$2 status=0
	shift 2
	rm -rf "$scratch/bundle"
	mkdir -p "$scratch/bundle"
	cp -a "$images/$image" "$scratch/bundle/rootfs"
	runc spec --bundle "$scratch/bundle"
	# As somebody would who has no network of its own in mind.
	python3 - "$scratch/bundle/config.json" "$@" <<-'END'
		import json, sys
		path, *args = sys.argv[1:]
		config = json.load(open(path))
		config["process"].update(terminal=False, args=args)
		config["linux"]["namespaces"] = [one for one in config["linux"]["namespaces"] if one["type"] != "network"]
		json.dump(config, open(path, "w"), indent="\t")
	END
	cp "$scratch/bundle/config.json" "$scratch/before.json"
	[ "$vrf" = none ] || "$vrfbind" oci "$vrf" "$scratch/bundle"
	"$runtime" run --bundle "$scratch/bundle" "vrfbind-$vrf-$image" || status=$?
	[ "$vrf" = none ] || "$vrfbind" oci --remove "$scratch/bundle"
	cmp "$scratch/bundle/config.json" "$scratch/before.json"
	return "$status"
}

bundles() {
	shows "$(bound unbound)" bundle_run none musl /bin/ask tcp udp6 libc
	exec_serves bundle_run
	fails_with 'vrfbind: there is no device nowhere' bundle_run nowhere musl /bin/ask tcp
}

# -- containerd

mounts=(--mount "type=bind,src=$vrfbind,dst=$inside/vrfbind,options=rbind:ro"
	--mount "type=bind,src=$library,dst=$inside/libvrfbind.so,options=rbind:ro")
options=()
ctr_run() {
	local vrf=$1 image=$2
	shift 2
	rm -rf "$scratch/rootfs"
	cp -a "$images/$image" "$scratch/rootfs"
	[ "$vrf" = none ] || set -- "$inside/vrfbind" exec "$vrf" "$@"
	ctr run --rm --net-host "${options[@]}" "${mounts[@]}" --rootfs "$scratch/rootfs" "vrfbind-$vrf-$image" "$@"
}

containerd_tasks() {
	shows "$(bound unbound)" ctr_run none musl /bin/ask tcp udp6 libc
	exec_serves ctr_run
	options=(--seccomp --read-only)
	exec_serves ctr_run
	# By the environment alone, which judges nothing.
	options=(--env VRFBIND_VRF=blue --env "LD_PRELOAD=$inside/libvrfbind.so")
	shows "$(bound blue)" ctr_run none musl /bin/ask tcp udp6 libc
	shows 'tcp unbound' ctr_run none musl /bin/ask-static tcp
	options=()
}

# -- Docker

start_docker() {
	local here=$scratch/docker image
	mkdir "$here"
	dockerd --data-root "$here/root" --exec-root "$here/exec" --pidfile "$here/pid" --host "unix://$here/socket" \
		--iptables=false --ip6tables=false --bridge=none >"$here/log" 2>&1 &
	daemons+=($!)
	await docker_ version >"$here/said" 2>&1 || { cat "$here/log"; return 1; }
	for image in musl go; do
		tar --directory "$images/$image" --create . | docker_ import - "$image" >"$here/said"
	done
}
docker_() { docker --host "unix://$scratch/docker/socket" "$@"; }

docker_run() {
	local vrf=$1 image=$2 entry=()
	shift 2
	if [ "$vrf" = none ]; then
		entry=("$image")
	else
		entry=(--volume "$vrfbind:$inside/vrfbind:ro" --volume "$library:$inside/libvrfbind.so:ro" --entrypoint "$inside/vrfbind"
			"$image" exec "$vrf")
	fi
	docker_ run --rm --network host "${options[@]}" "${entry[@]}" "$@"
}

docker_containers() {
	shows "$(bound unbound)" docker_run none musl /bin/ask tcp udp6 libc
	exec_serves docker_run
	# shellcheck disable=SC2206  # words
	options=($all_together)
	exec_serves docker_run
	options=()
}

prepare_podman
echo 1..18
for runtime in crun runc; do
	point "podman, $runtime: by its device a container is in the VRF, with glibc and musl" podman_by_device
	point "podman, $runtime: what the library does not serve, or where there is no such VRF, is not created" podman_refuses
done
runtime=runc
point 'podman, runc: so it is when everything is restricted' podman_restricted "$all_together"
point 'podman, runc: vrfbind exec as entry point supervises, also when everything is restricted' podman_supervises '' "$all_together"
point 'an OCI bundle for runc is in the VRF, and is again what it was' bundles
runtime=crun
point 'podman, crun: so it is with each restriction' podman_restricted "${restrictions[@]}"
point 'podman, crun: vrfbind exec as entry point supervises, also with each restriction' podman_supervises "${restrictions[@]}"
point 'podman: what an entry program starts and the library does not serve gets no socket' podman_sealed
point 'podman: its own init is not the entry program' podman_init
point 'podman: a container is in a VRF of its own network namespace' own_vrf
point 'podman: ip vrf exec has no cgroup to write to, but in a privileged container' ip_vrf_exec
point 'podman: two dnsmasq with one subnet serve their own clients, and status says which containers they are' podman_daemons
point 'podman without root: by its device a container is in the VRF, and by vrfbind exec' podman_rootless
point 'an OCI bundle for crun is in the VRF, and is again what it was' bundles
start_containerd "$scratch/containerd" "${scratch##*/}"
await containerd_answers || cat "$scratch/containerd/log"
point 'containerd: by vrfbind exec a task is in the VRF; by the environment alone a static program is not' containerd_tasks
end_containerd
start_docker
point 'Docker: by vrfbind exec a container is in the VRF, also when everything is restricted' docker_containers
exit "$all_ok"
