#!/usr/bin/env bash
# arm64-package.sh DEB - the Debian package of a cross build, installed and used on its own architecture
#
# Speaks TAP (testanything.org). arm64.sh has it run by topology.sh in a guest, whose file system is an overlay: dpkg installs
# the package there into /usr, as on a machine of that architecture.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
export PATH=$PATH:/usr/sbin:/sbin
unset LD_PRELOAD "${!VRFBIND_@}"

deb=$1
device=$T_BLUE_VRF
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"

python='import socket; s = socket.socket(); print("device", s.getsockopt(1, 25, 16).rstrip(b"\0").decode())'

# What it depends on is unpacked here, and not in dpkg's list.
installs() {
	not command -v vrfbind
	says 'device ' python3 -c "$python"
	mkdir -p /var/lib/dpkg/{info,updates,triggers}
	touch /var/lib/dpkg/{status,available}
	dpkg --force-depends --install "$deb"
	[ "$(command -v vrfbind)" = /usr/bin/vrfbind ]
	[ "$(dpkg-query -W -f '${Status} ${Architecture}' vrfbind)" = "install ok installed $(dpkg --print-architecture)" ]
}

checks() {
	vrfbind check "$device" python3 | tee "$scratch/said"
	not grep -q ^fail "$scratch/said"
	grep -q "^ok    library: /usr/lib/$(uname -m)-linux-gnu/libvrfbind.so, version" "$scratch/said"
	grep -q "^ok    probe: a socket made here is bound to $device\$" "$scratch/said"
}

binds() {
	says "device $device" vrfbind exec "$device" python3 -c "$python"
	vrfbind completions bash >"$scratch/completions"
	cmp "$scratch/completions" /usr/share/bash-completion/completions/vrfbind
}

removes() {
	dpkg --purge vrfbind
	find /usr -path '*vrfbind*' | not grep .
}

echo 1..4
point 'dpkg installs it' installs
point 'vrfbind check finds its library, and nothing in the way' checks
point 'a program that it starts is in the VRF, and its completions are its own' binds
point 'purged, nothing is left' removes
exit "$all_ok"
