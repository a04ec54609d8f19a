#!/usr/bin/env bash
# containers.sh build|[all [PART...]] - containers in VRFs, by Debian's engines: podman (crun, runc, without root), containerd, Docker, bundles
#
# build: makes the root directories of three images in target/containers, from Debian packages (debian.sh) and from what
# is built here: `debian`, with the daemons of the examples; `musl`, with the dnsmasq and busybox of musl.sh; `go`, a static Go program and
# nothing else. In the first two is `ask` (c-tests/command/ask.c), which reports the device of its sockets, by getsockopt().
# `build musl go` makes these two.
#
# Otherwise it speaks TAP (testanything.org) and is run by topology.sh. Without an argument: what `make test` runs, a container of
# podman and one of containerd, which are not installed on this machine but set aside in target/daemons (tests/packages.sh). With
# `all`: what `make test-containers` runs, or a part of that: podman rootless bundles containerd docker.
#
# Each engine has its own default seccomp profile and capabilities, and is told to restrict further. Of each cell, serves() starts
# a daemon in a container, which asks a server for what it answers: dnsmasq for names, the Go program by HTTP. That server is
# 192.0.2.53 in every VRF, and each has another answer; that of the default VRF is the decoy. Somebody in the container's VRF asks the
# daemon. Nobody listens in the other VRF, nor in the default one; the device of every socket of every process of the
# container is read from the socket (c-tests/command/sockets.c); no packet has reached the decoy. Each engine shows first that
# without vrfbind it is the decoy that answers. restricted() runs `ip vrf exec` beside that.
#
# It moves to a mount namespace, where all that engines write is in memory, and /etc is an overlay; what it starts ends with it,
# by process id.
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

# The test programs as they were built last.
build() {
	local image
	# One of other packages is made anew.
	grep -qsxF "${debian_packages[*]}" "$images/debian/packages" || rm -rf "$images/debian"
	for image; do
		provide "$images/$image" "${image}_image"
		case $image in
		debian) cp "$programs"/{ask,ask-static} "$images/debian/usr/local/bin" ;;
		musl) cp "${programs%/*}"/musl/{ask,ask-static} "$images/musl/bin" ;;
		go) cp "$programs/ask-go" "$images/go" ;;
		esac
		[ "$image" = go ] || users "$images/$image"
	done
}

case ${1-} in
build)
	shift
	[ $# -gt 0 ] || set -- debian musl go
	build "$@"
	exit
	;;
all | '') ;;
*)
	say 'usage: tests/containers.sh build [IMAGE...] | [all [PART...]]'
	exit 2
	;;
esac

# --- run ---

library=${VRFBIND_TEST_LIB:?}
vrfbind=${VRFBIND_TEST_COMMAND:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG
export VRFBIND_LIBRARY=$library

if [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	export VRFBIND_TEST_MOVED=1
	[ $# -gt 0 ] || exec tests/set-aside.sh over target/daemons/daemons-containers.tar "$0"
	exec unshare --mount "$0" "$@"
fi
scratch=$(mktemp -d /run/vrfbind-containers.XXXXXX)
mount -t tmpfs -o mode=755 tmpfs "$scratch"
if [ $# -gt 0 ]; then
	mkdir "$scratch/upper" "$scratch/work"
	mount -t overlay overlay -o "lowerdir=/etc,upperdir=$scratch/upper,workdir=$scratch/work" /etc
fi

# shellcheck source=tests/tap.sh
. tests/tap.sh
# shellcheck source=examples/containerd/engine.sh
. examples/containerd/engine.sh

daemons=() peers=()
end() {
	# Without an argument wait would wait for everything.
	[ $# -eq 0 ] || { kill "$@" && wait "$@"; } 2>/dev/null || true
}
end_daemons() {
	end "${daemons[@]}"
	daemons=()
}
undo() {
	end_containerd
	end "${daemons[@]}" "${peers[@]}"
	umount --lazy "$scratch"
	rmdir "$scratch"
}
trap undo EXIT

inside=/opt/vrfbind
bound() { printf 'tcp %s\nudp6 %s\nlibc %s' "$1" "$1" "$1"; }

# shows TEXT COMMAND... - standard output is TEXT and the status 0, whatever an engine prints on standard error
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
	if [ -s "$scratch/said" ] || ! grep -qE "$pattern" "$scratch/said.stderr"; then
		cat "$scratch/said" "$scratch/said.stderr"
		return 1
	fi
}

# -- Who asks and answers

# green and its decoy are those of a network namespace other than the machine's (own_network).
declare -A peer=([blue]=$T_BLUE_UPSTREAM [red]=$T_RED_UPSTREAM [default]=$T_UPSTREAM [green]=$T_BLUE_CLIENT [decoy]=$T_RED_CLIENT)
declare -A octet=([blue]=1 [red]=2 [default]=3 [green]=4 [decoy]=5)

edge=/run/netns/$T_EDGE own=$T_EDGE-own
# The network namespace of the containers, and the VRFs in it that they are in.
where=$edge first=blue second=red

start_peers() {
	local vrf in
	for vrf in "${!peer[@]}"; do
		in=(nsenter "--net=/run/netns/${peer[$vrf]}")
		"${in[@]}" ip address replace 192.0.2.53/32 dev lo
		"${in[@]}" dnsmasq --no-daemon --conf-file=/dev/null --pid-file= --no-hosts --no-resolv --user=root \
			--listen-address=192.0.2.53 --bind-interfaces "--address=/app.test/10.0.0.${octet[$vrf]}" >"$scratch/peer-$vrf" 2>&1 &
		peers+=($!)
		"${in[@]}" "$programs/ask-go" serve 192.0.2.53:80 "$vrf" >"$scratch/peer-$vrf.http" 2>&1 &
		peers+=($!)
		await serve_peer "${in[@]}"
	done
	# For containers of another user, and those without capabilities.
	echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
}
serve_peer() { [ "$("$@" ss --no-header --listening --tcp --numeric '( sport = :53 or sport = :80 )' | wc -l)" -eq 2 ]; }

# own_network - VRF green in the network namespace `own`, whose default VRF has a decoy of its own. No IPv6, which sends by itself
own_network() {
	ip -n "$own" -batch - <<-IP
		link set lo up
		link add green type vrf table 104
		link set green up
		link add to-green type veth peer name own netns $T_BLUE_CLIENT
		link set to-green master green
		link add to-decoy type veth peer name own netns $T_RED_CLIENT
		address add 192.0.2.4/24 dev to-green
		address add 192.0.2.5/24 dev to-decoy
		link set to-green addrgenmode none up
		link set to-decoy addrgenmode none up
	IP
	for client in "$T_BLUE_CLIENT" "$T_RED_CLIENT"; do
		printf '%s\n' 'address add 192.0.2.54/24 dev own' 'link set own addrgenmode none up' | ip -n "$client" -batch -
	done
	nsenter --net="/run/netns/$own" sh -c 'echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start'
}

# How many packets have reached a decoy.
left() {
	local count
	count=$(sh -c "$T_UPLINK_COUNT")
	[ "$where" = "$edge" ] || count+=" $(ip -n "$T_RED_CLIENT" -statistics link show own | sed -n '/RX:/{n;p}' | awk '{ print $2 }')"
	echo "$count"
}

# asked VRF IMAGE - what its daemon tells somebody in that VRF
asked() {
	local in=(nsenter "--net=/run/netns/${peer[$1]}") address=192.0.2.${octet[$1]}
	case $2 in
	go) "${in[@]}" curl --silent --show-error --noproxy '*' --max-time "$limit" "http://$address/" ;;
	*) "${in[@]}" busybox nslookup -type=a app.test "$address" | sed -n '/^Name:/,$s/^Address: *//p' ;;
	esac
}

# nobody_at ADDRESS PORT COMMAND... - listens, as the kernel says to COMMAND's network namespace
nobody_at() {
	local said
	said=$("${@:3}" bash -c "</dev/tcp/$1/$2" 2>&1) || true
	[[ $said == *'Connection refused'* ]] || { echo "$1 port $2, asked by $3: \"$said\""; return 1; }
}

# -- What a container does

# How containers are started: a function of plain|device|exec, VRF, IMAGE and a command; what it shall pass to the engine; the
# name that `vrfbind identify` has for the container, a pattern.
engine='' network=() options=() name=''

# Their dnsmasq: not every engine gives a PATH to a root directory.
declare -A path=([debian]=/usr/sbin/dnsmasq [musl]=/bin/dnsmasq)

# serves HOW VRF IMAGE - a daemon in a container that is started so, its VRF and no other
serves() {
	local how=$1 vrf=$2 image=$3 daemon port=53 answer=10.0.0.${octet[$2]} before started pid pids other
	daemon=("${path[$image]-}" --no-daemon --conf-file=/dev/null --pid-file= --no-hosts --no-resolv --user=root --cache-size=0 --server=192.0.2.53)
	[ "$image" != go ] || daemon=(/ask-go exporter :80 http://192.0.2.53/) port=80 answer=$vrf
	echo "$how, VRF $vrf, image $image"
	before=$(left)
	"$engine" "$how" "$vrf" "$image" "${daemon[@]}" >"$scratch/daemon" 2>&1 </dev/null &
	started=$!
	await listens_or_ended "$started" "$port"
	pid=$(listener "$port")
	[ -n "$pid" ] || { cat "$scratch/daemon"; return 1; }
	mapfile -t pids < <(find -L /proc/[0-9]*/ns/pid -maxdepth 0 -samefile "/proc/$pid/ns/pid" -printf '%h\n' 2>/dev/null | sed 's/[^0-9]//g')
	if [ "$how" != plain ]; then
		[ "$(asked "$vrf" "$image")" = "$answer" ] || { asked "$vrf" "$image"; cat "$scratch/daemon"; return 1; }
		"$programs/sockets" "$vrf" "${pids[@]}"
		for other in blue red; do
			[ "$other" = "$vrf" ] || [ "$where" != "$edge" ] || nobody_at "192.0.2.${octet[$other]}" "$port" nsenter "--net=/run/netns/${peer[$other]}"
		done
		nobody_at 127.0.0.1 "$port" nsenter "--net=$where"
		# shellcheck disable=SC2053  # a pattern
		[[ $("$vrfbind" identify "$pid") == $vrf$name ]] || { "$vrfbind" identify "$pid"; cat "/proc/$pid/cgroup"; return 1; }
	else
		[ "$(asked "$vrf" "$image")" = "$answer" ]
		[ "$(left)" != "$before" ]
		not "$programs/sockets" blue "${pids[@]}"
	fi
	kill -KILL "${pids[@]}"
	wait "$started" || true
	[ "$how" = plain ] || [ "$(left)" = "$before" ] || { echo "packets at the decoy: $before before, $(left) now"; return 1; }
}
listener() {
	nsenter --net="$where" ss --no-header --listening --tcp --numeric --processes "sport = :$1" | sed -n 's/.*pid=\([0-9]*\),.*/\1/p' | head -n 1
}
listens_or_ended() { [ -n "$(listener "$2")" ] || ! kill -0 "$1" 2>/dev/null; }

# What a point that failed has left: processes of other PID namespaces in our network namespaces.
end_containers() {
	local pids
	pids=$(find -L /proc/[0-9]*/ns/net -maxdepth 0 \( -samefile "$edge" ${own_is_there:+-o -samefile "/run/netns/$own"} \) \
		-printf '%h\n' 2>/dev/null | sed 's/[^0-9]//g' | while read -r pid; do
		[ "/proc/$pid/ns/pid" -ef /proc/self/ns/pid ] || echo "$pid"
	done) || true
	# shellcheck disable=SC2086  # process ids
	[ -z "$pids" ] || kill -KILL $pids 2>/dev/null || true
}
own_is_there=''
point_end=end_containers

# restricted HOW... - with the engine's `options`
restricted() {
	local how said
	for how; do
		if [ "$how" = device ]; then serves device "$first" debian; else serves exec "$second" go; fi
	done
	fails_with "$ip_vrf_exec_says" "$engine" plain default debian /bin/ip vrf exec "$first" /usr/local/bin/ask tcp
	said=$(grep -m 1 -E "$ip_vrf_exec_says" "$scratch/said.stderr")
	echo "$title | $restriction | $* | $said" >>"$scratch/table"
}
ip_vrf_exec_says='Read-only file system|Operation not permitted|Permission denied'

# without_vrfbind - it is the decoy that answers
without_vrfbind() {
	serves plain default debian
	serves plain default go
}

# in_own_network MAKE HOW... - a VRF of its own network namespace, which MAKE makes, with `network` to name it
in_own_network() {
	ip netns delete "$own" 2>/dev/null || true
	ip -n "$T_BLUE_CLIENT" link delete own 2>/dev/null || true
	ip -n "$T_RED_CLIENT" link delete own 2>/dev/null || true
	$1
	own_network
	where=/run/netns/$own first=green second=green own_is_there=1 restriction='a network namespace of its own'
	restricted "${@:2}"
	fails_with 'no device blue' "$engine" exec blue debian /usr/local/bin/ask tcp
}
podman_network() { ip netns add "$own" && network=(--network "ns:/run/netns/$own"); }
bundle_network() { ip netns add "$own" && network=("/run/netns/$own"); }
ctr_network() { ip netns add "$own" && network=(--with-ns "network:/run/netns/$own"); }
# That of a container which waits.
container_network() {
	local pid
	"$1" run --detach --name network --network none debian sleep infinity >/dev/null
	pid=$("$1" inspect --format '{{.State.Pid}}' network)
	ip netns attach "$own" "$pid"
	network=(--network container:network)
}
rootless_network() { container_network rootless; }
docker_network() { container_network docker_; }

# -- podman

# The engine's own restrictions, and none.
all_together='--read-only --cap-drop ALL --security-opt no-new-privileges --user 1234'
restrictions=(--read-only '--cap-drop ALL' '--security-opt no-new-privileges' '--user 1234' '--userns=auto' "$all_together")

runtime=crun
podman_() {
	podman --runtime "$runtime" --cgroup-manager cgroupfs --root "$scratch/podman" --runroot "$scratch/podman-run" \
		--tmpdir "$scratch/podman-tmp" --storage-driver overlay --events-backend file "$@"
}
podman_run() { podman_ run --rm "${network[@]}" "${options[@]}" "$@"; }

# How podman and podman without root are told: COMMAND, then as an engine.
podman_how() {
	local run=$1 how=$2 vrf=$3 image=$4
	shift 4
	case $how in
	plain) "$run" "$image" "$@" ;;
	device) "$run" --device "vrfbind.dev/vrf=$vrf" "$image" "$@" ;;
	exec) "$run" --device "vrfbind.dev/vrf=$vrf" --entrypoint "$inside/vrfbind" "$image" exec "$vrf" "$@" ;;
	esac
}
podman_engine() { podman_how podman_run "$@"; }

# imports COMMAND IMAGE... - COMMAND is podman's or docker's
imports() {
	local image
	for image in "${@:2}"; do
		tar --directory "$images/$image" --create . | "$1" import - "$image" >"$scratch/said" 2>&1 || { cat "$scratch/said"; return 1; }
	done
}

# The machine's, for this mount namespace.
prepare() {
	printf '%s\n' containers:100000:1000000 guest:2000000:65536 | tee -a /etc/subuid >>/etc/subgid
	echo "guest:x:4242:4242::$scratch/guest:/bin/sh" >>/etc/passwd
	echo guest:x:4242: >>/etc/group
	"$vrfbind" cdi --write blue red green >/dev/null
}

# readme_engine - as an engine, the two commands of README.md by somebody who has run `make install`, and whose image starts the daemon
readme_engine() {
	local words commands settings=("CONTAINERS_CONF=$scratch/readme.conf" "CONTAINERS_STORAGE_CONF=$scratch/readme-storage.conf")
	printf -v words '"%s",' "${@:4}"
	# The guest has no systemd, and /var is no file system for an overlay.
	printf '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n' >"$scratch/readme.conf"
	printf '[storage]\ndriver = "overlay"\ngraphroot = "%s"\nrunroot = "%s"\n' "$scratch"/readme{,-run} >"$scratch/readme-storage.conf"
	mount -t tmpfs installed /usr/local
	make --silent install
	mapfile -t commands < <(sed -n '/^## Containers/,/^## /s/^# //p' README.md | sed "s/  *#.*//; s/IMAGE\$/resolver/")
	[ ${#commands[@]} -eq 2 ] && [[ ${commands[1]} == *resolver ]] || return
	tar --directory "$images/$3" --create . | env "${settings[@]}" podman import --quiet --change "CMD [${words%,}]" - resolver >/dev/null
	env --unset=VRFBIND_LIBRARY "${settings[@]}" PATH="/usr/local/bin:$PATH" sh -euxc "${commands[0]}
		exec ${commands[1]}"
}
as_in_readme() {
	engine=readme_engine
	rm /etc/cdi/vrfbind.json
	serves device blue musl
	grep -q '/usr/local/lib/libvrfbind.so' /etc/cdi/vrfbind.json
	umount /usr/local
	"$vrfbind" cdi --write blue red green >/dev/null
}

podman_by_device() {
	local image vrf
	for image; do
		shows "$(bound unbound)" podman_run "$image" ask tcp udp6 libc
		for vrf in blue red; do
			shows "$(bound "$vrf")" podman_engine device "$vrf" "$image" ask tcp udp6 libc
			serves device "$vrf" "$image"
		done
	done
}

# What `podman exec` and health checks start beside the container's program.
podman_exec() {
	local vrfbind=/opt/vrfbind variables beside
	variables=(--env "LD_PRELOAD=$vrfbind/libvrfbind.so" --env VRFBIND_VRF=blue --env VRFBIND_SEAL=1)
	beside=(--interactive --detach --device vrfbind.dev/vrf=blue)
	podman_run "${beside[@]}" --name without musl ask pause >/dev/null
	shows 'tcp unbound' podman_ exec without ask tcp
	shows 'tcp blue' podman_ exec without "$vrfbind/vrfbind" exec blue /bin/ask tcp
	podman_run "${beside[@]}" "${variables[@]}" --name with musl ask pause >/dev/null
	shows 'tcp blue' podman_ exec with ask tcp
	podman_ rm --force --time 0 without with >/dev/null
}

podman_refuses() {
	local device=vrfbind.dev/vrf=blue
	shows 'tcp unbound' podman_run debian ask-static tcp
	fails_with 'vrfbind: /usr/local/bin/ask-static is statically linked' podman_run --device "$device" debian ask-static tcp
	fails_with 'vrfbind: /bin/ask-static is statically linked' podman_run --device "$device" musl ask-static tcp
	fails_with 'vrfbind: /ask-go is ' podman_run --device "$device" go /ask-go tcp
	fails_with 'vrfbind: .*VRFBIND_VRF is not' podman_run --device "$device" --device vrfbind.dev/vrf=red debian ask tcp
	fails_with 'vrfbind: there is no device blue .*--network host' podman_ run --rm --network none --device "$device" debian ask tcp
}

podman_go() {
	fails_with 'vrfbind: /ask-go is ' podman_engine device blue go /ask-go tcp
	supervised
}

# A static Go program. Where there is no supervisor it gets no socket.
supervised() {
	if before 5.14; then
		not serves exec blue go
		grep -q 'operation not permitted' "$scratch/daemon"
	else
		serves exec blue go
	fi
}

# An engine's own program is in front of the image's.
podman_init() {
	shows 'tcp blue' podman_run --init --device vrfbind.dev/vrf=blue debian ask tcp
	fails_with 'vrfbind: /usr/local/bin/ask-static is' podman_run --init --device vrfbind.dev/vrf=blue debian ask-static tcp
}

# The seal of the device, for what an entry program starts.
podman_sealed() {
	shows $'tcp blue\ntcp EPERM' podman_run --device vrfbind.dev/vrf=blue debian sh -c 'ask tcp; ask-static tcp'
}

ip_vrf_exec_privileged() {
	shows 'tcp blue' podman_run --privileged debian ip vrf exec blue ask tcp
}

rootless() {
	setpriv --reuid 4242 --regid 4242 --clear-groups env HOME="$scratch/guest" XDG_RUNTIME_DIR="$scratch/guest/run" PATH="$scratch/bin:$PATH" \
		podman --runtime crun --cgroup-manager cgroupfs --storage-driver vfs --events-backend file "$@"
}
rootless_run() { rootless run --rm --cgroups disabled "${network[@]}" "${options[@]}" "$@"; }
rootless_engine() { podman_how rootless_run "$@"; }

prepare_rootless() {
	# newuidmap(1) is set-user-ID, which not every file system has.
	install -d -m 755 "$scratch/bin"
	install -m 4755 "$(command -v newuidmap)" "$(command -v newgidmap)" "$scratch/bin"
	install -d -m 700 -o 4242 -g 4242 "$scratch/guest" "$scratch/guest/run"
}

rootless_refuses() {
	shows "$(bound unbound)" rootless_run musl ask tcp udp6 libc
	shows "$(bound blue)" rootless_engine device blue musl ask tcp udp6 libc
	fails_with 'vrfbind: /ask-go is ' rootless_engine device blue go /ask-go tcp
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
	before=$(left)
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
	[ "$(left)" = "$before" ]
}

# -- Root directories of bundles and tasks

# lay IMAGE - over it, what is written is in memory
lay() {
	! mountpoint --quiet "$scratch/rootfs" || umount --lazy "$scratch/rootfs"
	rm -rf "$scratch/layers"
	mkdir -p "$scratch/rootfs" "$scratch/layers"/{upper,work}
	mount -t overlay overlay -o "lowerdir=$images/$1,upperdir=$scratch/layers/upper,workdir=$scratch/layers/work" "$scratch/rootfs"
}

# -- Bundles

# What `runc spec` writes is read-only, has three capabilities, and no new privileges.
bundle_restrictions=(no-capabilities user user-namespace new-privileges)

bundle_engine() {
	local how=$1 vrf=$2 image=$3 status=0
	shift 3
	lay "$image"
	mkdir -p "$scratch/bundle"
	rm -f "$scratch/bundle/config.json"
	runc spec --bundle "$scratch/bundle"
	# As somebody would who has no network of its own in mind.
	python3 - "$scratch/bundle/config.json" "$scratch/rootfs" "${network[*]}" "${options[*]}" "$@" <<-'END'
		import json, sys
		path, root, network, options, *args = sys.argv[1:]
		config = json.load(open(path))
		process, linux = config["process"], config["linux"]
		process.update(terminal=False, args=args)
		config["root"]["path"] = root
		linux["namespaces"] = [one for one in linux["namespaces"] if one["type"] != "network"]
		if network:
		    linux["namespaces"].append({"type": "network", "path": network})
		if "no-capabilities" in options:
		    process["capabilities"] = {}
		if "new-privileges" in options:
		    process["noNewPrivileges"] = False
		if options == "user":
		    process["user"] = {"uid": 1234, "gid": 1234}
		if "user-namespace" in options:
		    linux["namespaces"].append({"type": "user"})
		    linux["uidMappings"] = linux["gidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
		    # It may not mount what is not of a network namespace of its own.
		    sys = {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "ro"]}
		    config["mounts"] = [sys if one["destination"] == "/sys" else one for one in config["mounts"]]
		json.dump(config, open(path, "w"), indent="\t")
	END
	[ "${options[*]}" != user-namespace ] || chown 100000:100000 "$scratch/rootfs" "$scratch/rootfs"/*
	cp "$scratch/bundle/config.json" "$scratch/before.json"
	[ "$how" = plain ] || "$vrfbind" oci "$vrf" "$scratch/bundle"
	"$runtime" run --bundle "$scratch/bundle" "vrfbind-$how-$image" || status=$?
	[ "$how" = plain ] || "$vrfbind" oci --remove "$scratch/bundle"
	cmp "$scratch/bundle/config.json" "$scratch/before.json"
	return "$status"
}

bundles() {
	shows "$(bound unbound)" bundle_engine plain default musl /bin/ask tcp udp6 libc
	shows "$(bound blue)" bundle_engine exec blue musl /bin/ask tcp udp6 libc
	fails_with 'vrfbind: there is no device nowhere' bundle_engine exec nowhere musl /bin/ask tcp
}

# -- containerd

run_containerd() {
	prepare_ctr
	start_containerd "$scratch/containerd" "${scratch##*/}"
	await containerd_answers || { cat "$scratch/containerd/log"; return 1; }
}

# Its own capabilities, one by one; it knows no word for all, and --user not yet.
drop_all=$(printf -- '--cap-drop CAP_%s ' CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE \
	SYS_CHROOT KILL AUDIT_WRITE)
ctr_restrictions=('' --seccomp --read-only "$drop_all" --allow-new-privs "--seccomp --read-only $drop_all")

mounts=(--mount "type=bind,src=$vrfbind,dst=$inside/vrfbind,options=rbind:ro"
	--mount "type=bind,src=$library,dst=$inside/libvrfbind.so,options=rbind:ro")
# What a task prints is read by a program of its shim: ctr 1.6.20 may end before it has read that itself (containerd/containerd#8643),
# and so may the shim. It is told to end before it has read everything.
prepare_ctr() {
	cat >"$scratch/reader" <<-'END'
		#!/bin/sh
		trap '' TERM
		cat <&3 >"$1/task.out" 5>&- &
		cat <&4 >"$1/task.err" 5>&- &
		exec 3<&- 4<&- 5>&-
		wait
	END
	chmod 755 "$scratch/reader"
}
ctr_engine() {
	local how=$1 vrf=$2 image=$3 status=0
	shift 3
	lay "$image"
	[ "$how" = plain ] || set -- "$inside/vrfbind" exec "$vrf" "$@"
	: >"$scratch/task.out" 2>"$scratch/task.err"
	ctr run --rm --log-uri "binary://$scratch/reader?$scratch" "${network[@]}" "${options[@]}" "${mounts[@]}" \
		--rootfs "$scratch/rootfs" "vrfbind-$how-$image" "$@" || status=$?
	cat "$scratch/task.out"
	cat "$scratch/task.err" >&2
	return "$status"
}

# By the environment alone, which judges nothing.
containerd_environment() {
	options=(--env VRFBIND_VRF=blue --env "LD_PRELOAD=$inside/libvrfbind.so")
	shows "$(bound blue)" ctr_engine plain blue musl /bin/ask tcp udp6 libc
	shows 'tcp unbound' ctr_engine plain blue musl /bin/ask-static tcp
}

containerd_musl() {
	shows "$(bound unbound)" ctr_engine plain default musl /bin/ask tcp udp6 libc
	shows "$(bound blue)" ctr_engine exec blue musl /bin/ask tcp udp6 libc
	serves exec red musl
}

# -- Docker

# start_docker OPTION...
start_docker() {
	local here=$scratch/docker
	mkdir -p "$here"
	dockerd "$@" --data-root "$here/root" --exec-root "$here/exec" --pidfile "$here/pid" --host "unix://$here/socket" \
		--iptables=false --ip6tables=false --bridge=none >"$here/log" 2>&1 &
	daemons+=($!)
	await docker_ version >"$here/said" 2>&1 || { cat "$here/log"; return 1; }
}
docker_() { docker --host "unix://$scratch/docker/socket" "$@"; }

docker_engine() {
	local how=$1 vrf=$2 image=$3 entry=("$3")
	shift 3
	[ "$how" = plain ] || entry=(--volume "$vrfbind:$inside/vrfbind:ro" --volume "$library:$inside/libvrfbind.so:ro"
		--entrypoint "$inside/vrfbind" "$image" exec "$vrf")
	docker_ run --rm "${network[@]}" "${options[@]}" "${entry[@]}" "$@"
}

docker_musl() {
	shows "$(bound unbound)" docker_engine plain default musl /bin/ask tcp udp6 libc
	shows "$(bound blue)" docker_engine exec blue musl /bin/ask tcp udp6 libc
	serves exec red musl
}

# --- Points ---

# each HOWS RESTRICTION... - a point for each, of options in one word
each() {
	local hows=$1 restriction
	shift
	for restriction; do
		# shellcheck disable=SC2206  # words
		options=($restriction)
		restriction=${restriction/"$drop_all"/--cap-drop of each}
		restriction=${restriction:-as it is by default}
		# shellcheck disable=SC2086  # words
		point "$title: served in its VRF and in no other, $restriction; ip vrf exec fails" restricted $hows
	done
	options=()
}

start_peers
prepare
if [ $# -eq 0 ]; then
	engine=podman_engine network=(--network host) name='  libpod-????????????'
	imports podman_ musl go
	point "podman: with README's two commands an image is in the VRF, after make install" as_in_readme
	point 'podman: by its device a container with musl is in the VRF' podman_by_device musl
	point 'podman: what podman exec starts is unbound, but by vrfbind exec or with the variables' podman_exec
	point 'podman: what the library does not serve is not created, and is in the VRF by vrfbind exec' podman_go
	run_containerd
	engine=ctr_engine network=(--net-host) name='  vrfbind-*'
	point 'containerd: by vrfbind exec a task with musl is in the VRF' containerd_musl
	point 'containerd: so is a static Go program' supervised
	end_containerd
	echo "1..$number"
	exit "$all_ok"
fi

of_podman() {
	engine=podman_engine network=(--network host) name='  libpod-????????????'
	imports podman_ debian musl go
	point "podman: with README's two commands an image is in the VRF, after make install" as_in_readme
	for runtime in crun runc; do
		title="podman, $runtime"
		# runc cannot mount sysfs with --userns=auto on the machine's network.
		[ "$runtime" = crun ] || restrictions=("$all_together")
		point "$title: without vrfbind the decoy answers" without_vrfbind
		point "$title: by its device a container is in the VRF, with glibc and musl" podman_by_device debian musl
		point "$title: what the library does not serve, or where there is no such VRF, is not created" podman_refuses
		each 'device exec' '' "${restrictions[@]}"
		point "$title: in a VRF of its own network namespace" in_own_network podman_network device exec
	done
	runtime=crun
	point 'podman: what podman exec starts is unbound, but by vrfbind exec or with the variables' podman_exec
	point 'podman: what an entry program starts and the library does not serve gets no socket' podman_sealed
	point 'podman: its own init is not the entry program' podman_init
	point 'podman: ip vrf exec works in a privileged container' ip_vrf_exec_privileged
	point 'podman: two dnsmasq with one subnet serve their own clients, and status says which containers they are' podman_daemons
}

of_rootless() {
	title='podman without root' engine=rootless_engine network=(--network host) name=''
	prepare_rootless
	imports rootless debian musl go
	point "$title: without vrfbind the decoy answers" without_vrfbind
	point "$title: by its device a container is in the VRF; what the library does not serve is not created" rootless_refuses
	each 'device exec' '' "$all_together"
	point "$title: in a VRF of its own network namespace" in_own_network rootless_network device exec
}

of_bundles() {
	engine=bundle_engine name='  vrfbind-*'
	for runtime in crun runc; do
		title="bundle, $runtime" network=()
		point "$title: without vrfbind the decoy answers" without_vrfbind
		point "$title: it is in the VRF, and is again what it was" bundles
		[ "$runtime" = crun ] || bundle_restrictions=(user-namespace)
		each exec '' "${bundle_restrictions[@]}"
		point "$title: in a VRF of its own network namespace" in_own_network bundle_network exec
	done
}

of_containerd() {
	title=containerd engine=ctr_engine network=(--net-host) name='  vrfbind-*'
	run_containerd
	point "$title: without vrfbind the decoy answers" without_vrfbind
	point "$title: by vrfbind exec a task with musl is in the VRF" containerd_musl
	point "$title: by the environment alone a static program is not" containerd_environment
	each exec "${ctr_restrictions[@]}"
	point "$title: in a VRF of its own network namespace" in_own_network ctr_network exec
	end_containerd
}

of_docker() {
	title=Docker engine=docker_engine network=(--network host) name='  ????????????'
	start_docker
	imports docker_ debian musl go
	point "$title: without vrfbind the decoy answers" without_vrfbind
	point "$title: by vrfbind exec a container with musl is in the VRF" docker_musl
	each exec '' --read-only '--cap-drop ALL' '--security-opt no-new-privileges' '--user 1234' "$all_together"
	point "$title: in a VRF of its own network namespace" in_own_network docker_network exec
	end_daemons
	title='Docker, userns-remap'
	start_docker --userns-remap guest
	imports docker_ debian go
	point "$title: it refuses the machine's network" fails_with "cannot share the host's network namespace" docker_engine plain default go /ask-go tcp
	point "$title: in a VRF of its own network namespace" in_own_network docker_network exec
	end_daemons
}

shift
[ $# -gt 0 ] || set -- podman rootless bundles containerd docker
for part; do "of_$part"; done
echo "1..$number"
sed 's/^/# /' "$scratch/table"
exit "$all_ok"
