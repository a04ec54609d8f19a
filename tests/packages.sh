#!/usr/bin/env bash
# packages.sh GROUP... - the Debian packages that a group of tasks needs
#
#   build   make, a C compiler and the linker that cargo calls
#   test    the daemons and clients that the tests drive, and the tools that observe them
#   evenet  what `make evenet` runs besides
#   daemons daemons-more   the services of tests/units.sh and tests/units-more.sh: not installed, but set aside in target/daemons
#   daemons-rules          likewise, those of tests/rules-daemons-more.sh
#   daemons-containers     likewise, the engines that tests/containers.sh runs in `make test`
#   vm      what tests/machine.sh runs the machines with
#   aarch64 i686 riscv64   what `make ARCH=...` builds with, and what runs that here
#   arch-vm what `make test-arch-vm` runs the virtual machine with
#   package what `make deb` and its test need
#   musl    what `make test-musl` builds with
#   containers  the engines that `make test-containers` runs
#   lint    what `make lint` needs besides Rust
#
# In order: look up the rows of the groups in the table below, ask dpkg once which of them are installed, and print
# the missing ones with the reason for each. Where none is missing nothing else is run, so that a call before every
# task costs one dpkg-query. Otherwise apt-get installs them, through sudo if the user is not root. A package index that
# lacks one of them, or cannot deliver it, is refreshed once with `apt-get update`.
#
# No daemon is left running. Six packages here have a service. The unit (ConditionPathExists=) and the init script of radvd
# do nothing without /etc/radvd.conf, and the package brings no such file. Who has written that file wants radvd to run.
# RUNLEVEL=1 would not hold it back: invoke-rc.d(8) of Debian 12 does not look at the runlevel where systemd runs.
# Those of charon-systemd (strongswan.service), bind9 (named.service), containerd and docker.io (docker.service and its socket) are
# stopped and disabled, if they were installed here.
# That of apparmor, which Debian's own installer has put on most machines, loads the profiles of /etc/apparmor.d.
#
# Those of daemons and daemons-more are many, and some would not do beside one another: tests/set-aside.sh installs them into an
# archive, once for all. `rm -r target/daemons` makes the next run take the newest ones.
#
# Rust is only looked for: a toolchain is its user's choice, and Debian 12's (1.63) is too old for this crate.
#
# Exit status: 0 all there, 1 something is missing and was not installed, 2 misuse.
set -euo pipefail

# group | package, or alternatives of which the first is installed if none is there | what for
# shellcheck disable=SC2016  # the table is text
table='
build | make                   | the Makefile
build | gcc                    | the C test programs; the linker that cargo calls
build | libc6-dev              | the headers and start files gcc needs, which its package only recommends
test  | gcc                    | the C test programs
test  | libc6-dev              | their headers
test  | musl-tools             | musl-gcc: the library in programs of the other libc
test  | binutils               | nm: what the library exports and imports
test  | strace                 | how many system calls the library adds
test  | libcap2-bin            | setcap: programs that start with AT_SECURE
test  | iproute2               | ip, ss: VRFs, network namespaces, the yardstick `ip vrf exec`
test  | nftables               | nft: what `make compare` counts, the rules of `make evenet`
test  | dnsmasq-base           | the DNS, DHCP and TFTP daemon, without the service of package dnsmasq
test  | radvd                  | the router advertisement daemon
test  | bind9                  | named: a daemon that listens on each address that it sees
test  | golang-go              | Go programs: a client, a server and a resolver that libc knows nothing of
test  | busybox busybox-static | udhcpc, nslookup, ping, tftp: a DHCPv4 client whose script is ours, and the small probes
test  | isc-dhcp-client        | dhclient -6: a DHCPv6 client (busybox in Debian has no udhcpc6)
test  | systemd                | services in VRFs: a second systemd, in namespaces of its own
test  | udev                   | and its udevd, for .device units
test  | python3                | sockets of an everyday program; the test suite of CPython
test  | libpython3.11-testsuite libpython3.13-testsuite | that test suite, for the python3 of Debian
test  | curl                   | the resolver test
test  | git                    | the resolver test
test  | apparmor               | apparmor_parser: a profile that takes the preload from a program
test  | libfaketime            | a preload beside ours
test  | libeatmydata1          | another
test  | libjemalloc2           | another
test  | valgrind               | a dnsmasq under the library is clean
test  | charon-cmd             | a fourth daemon, whose memory is measured
test  | zsh                    | its completions of the command
test  | fish                   | likewise
evenet | charon-systemd         | IKE: a strongSwan in each VRF; no daemon is left, see above
evenet | strongswan-swanctl     | swanctl: its connections
evenet | libstrongswan-standard-plugins | openssl and gcm, for its ciphers
evenet | ipset                  | the set of addresses that dnsmasq fills
evenet | iptables               | iptables-nft: asks that set, which nft cannot
evenet | conntrack              | the entries in each zone, and flows
evenet | iputils-ping           | 60 quick pings, for the rate limit
daemons | prometheus-node-exporter | written in Go
daemons | redis-server         | NoExecPaths=/
daemons | bind9                | named
daemons | openssh-server       | a service beside a socket unit
daemons | unbound              | several ExecStartPre=
daemons | nginx-light          | Type=forking, and a worker of another user
daemons | mosquitto            | Type=notify
daemons | snmpd                | UDP
daemons | dnsdist              | examples/rules; it listens in three VRFs
daemons-more | chrony          | a program that gives up root itself
daemons-more | ntpsec          | a shell script starts it
daemons-more | pdns-recursor   | ambient capabilities
daemons-more | haproxy         | a main process that starts itself anew
daemons-more | kea-dhcp4-server | RuntimeDirectory= and a user of its own
daemons-more | postgresql      | a template; a Perl script starts it
daemons-more | bird2           | connects instead of listening
daemons-more | rsyslog         | beside a socket unit that is not for IP
daemons-rules | chrony          | chronyc reaches it on 127.0.0.1
daemons-rules | haproxy         | its statistics are in another VRF
daemons-rules | rsyslog         | it sends to a server in each of two VRFs
daemons-rules | pdns-recursor   | it asks servers in two VRFs
daemons-rules | systemd-resolved | a resolver on 127.0.0.53
daemons-rules | libnss-resolve  | and getent, over its UNIX socket
daemons-rules | bind9-dnsutils  | dig asks that
daemons-rules | default-jdk-headless | a program in Java, of one source file
daemons-containers | podman     | the engine without a daemon, with CDI
daemons-containers | crun       | its OCI runtime
daemons-containers | containerd | ctr
daemons-containers | runc       | its OCI runtime
aarch64 | gcc-aarch64-linux-gnu   | the linker and the C test programs, for aarch64
aarch64 | libc6-dev-arm64-cross   | its glibc
aarch64 | qemu-user-static        | runs them
i686  | gcc-i686-linux-gnu     | the linker and the C test programs, for i386
i686  | libc6-dev-i386-cross   | its glibc
riscv64 | gcc-riscv64-linux-gnu   | the linker and the C test programs, for riscv64
riscv64 | libc6-dev-riscv64-cross | its glibc
riscv64 | qemu-user-static        | runs them
package | debhelper            | make deb
package | dpkg-dev             | dpkg-buildpackage, which calls it
package | lintian              | what is wrong with the package
package | busybox busybox-static | the shell of Alpine, for apk/APKBUILD
vm    | qemu-system-x86        | the emulated CPUs
vm    | cpio                   | what the guest has in its memory when it boots
vm    | xz-utils               | the modules of newer kernels
vm    | kmod                   | depmod for the unpacked kernel, modprobe in the guest
vm    | iproute2               | ip: brings up lo in the guest
arch-vm | qemu-system-arm      | a virtual machine of aarch64
arch-vm | cpio                 | what it has in its memory when it boots
arch-vm | kmod                 | depmod, modprobe: which modules that takes
arch-vm | golang-go            | cross-builds Go programs
containers | podman            | the engine without a daemon, with CDI
containers | crun              | its OCI runtime
containers | runc containerd.io | that of the others
containers | catatonit         | its init (--init)
containers | uidmap            | newuidmap: podman without root
containers | containerd containerd.io | ctr
containers | docker.io         | dockerd, before it had CDI
musl  | dpkg-dev               | dpkg-source: Debian sources, to be built with musl
lint  | shellcheck             | make lint
lint  | python3                | import-circles.py
'

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }

as_root() {
	if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -- "$@"; fi
}

rows=''
for group in "$@"; do
	found=$(grep -E "^$group +\|" <<<"$table") || {
		say "no group of packages is named '$group'; there are build, test, evenet, daemons, daemons-more, daemons-rules, daemons-containers, containers, package, vm, lint, musl, aarch64, i686, riscv64 and arch-vm"
		exit 2
	}
	if [[ $group == daemons* ]]; then
		archive=$(dirname -- "$0")/../target/daemons/$group.tar
		mapfile -t members < <(cut -d'|' -f2 <<<"$found" | tr -d ' ')
		# One of other packages is made anew.
		if command -v apt-get >/dev/null && ! { [ -e "$archive" ] && grep -qsxF "${members[*]}" "$archive.packages"; }; then
			rm -f "$archive"
			"$(dirname -- "$0")/set-aside.sh" "$archive" "${members[@]}"
			echo "${members[*]}" >"$archive.packages"
		fi
	else
		rows+=$found$'\n'
	fi
done
if [ $# -eq 0 ]; then
	say "usage: tests/packages.sh GROUP...  (build, test, evenet, daemons, daemons-more, daemons-rules, daemons-containers, containers, package, vm, lint, musl, aarch64, i686, riscv64, arch-vm)"
	exit 2
fi

rust_is_missing=''
if [[ " $* " == *' build '* ]] && ! command -v cargo >/dev/null; then
	say "cargo is missing: install Rust 1.88 or later, for example with rustup (https://rustup.rs)"
	rust_is_missing=1
fi

installed=' '
if command -v dpkg-query >/dev/null; then
	# One call for all; a name that dpkg has never heard of only makes it exit 1.
	names=$(cut -d'|' -f2 <<<"$rows")
	# shellcheck disable=SC2086  # the names are words
	installed+=$(dpkg-query -W -f='${db:Status-Status}=${Package} ' $names 2>/dev/null || true)
fi
# Somebody else's Docker stays: docker.io would take its place.
! command -v docker >/dev/null || installed+=' installed=docker.io '

missing=()
while IFS='|' read -r _ alternatives reason; do
	[ -n "$alternatives" ] || continue
	for name in $alternatives; do
		[[ "$installed" == *" installed=$name "* ]] && continue 2
	done
	read -r name _ <<<"$alternatives"
	[[ " ${missing[*]-} " == *" $name "* ]] && continue
	missing+=("$name")
	say "missing: $name  (${reason# })"
done <<<"$rows"

if [ ${#missing[@]} -gt 0 ]; then
	if ! command -v apt-get >/dev/null; then
		say "this system has no apt-get: install what these Debian packages hold, then try again: ${missing[*]}"
		exit 1
	fi
	if [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null; then
		say "as root, run: apt-get install --no-install-recommends ${missing[*]}"
		exit 1
	fi
	install=(as_root env DEBIAN_FRONTEND=noninteractive
		apt-get install --yes --quiet --no-install-recommends
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 "${missing[@]}")
	say "installing: ${missing[*]}"
	"${install[@]}" >&2 || {
		say 'refreshing the package index and trying once more'
		as_root apt-get update --quiet >&2 && "${install[@]}" >&2
	} || {
		say "apt-get could not install: ${missing[*]}"
		exit 1
	}
	for service in charon-systemd:strongswan.service bind9:named.service containerd:containerd.service \
		docker.io:docker.socket docker.io:docker.service; do
		if [[ " ${missing[*]} " == *" ${service%:*} "* && -d /run/systemd/system ]]; then
			as_root systemctl disable --now "${service#*:}" >&2
		fi
	done
fi

[ -z "$rust_is_missing" ]
