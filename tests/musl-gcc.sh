#!/usr/bin/env bash
# musl-gcc.sh SUITE ARCHITECTURE [ARGUMENT...] - a C compiler for the musl of that release of Debian, and of that architecture
#
# An empty SUITE is this machine's. # As Debian's own musl-gcc: gcc with the specs of package musl-dev. That package is unpacked into target/musl-dev
# (debian.sh), and the paths in its specs are changed accordingly. For ARCHITECTURE arm64 it is Debian's cross compiler. What
# is built for amd64 names the unpacked loader, so that it runs here beside this system's musl; what is built for another
# architecture names /lib/ld-musl-*.so.1, where the package musl has it.
set -euo pipefail
from=$PWD
cd -- "$(dirname -- "$0")/.."
# shellcheck source=tests/debian.sh
. tests/debian.sh

suite=${1-}
architecture=${2-}
case $architecture in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*) say 'usage: tests/musl-gcc.sh SUITE amd64|arm64 [ARGUMENT...]'; exit 2 ;;
esac
shift 2
root=$PWD/target/musl-dev/${suite:-own}-$architecture

# shellcheck disable=SC2317  # called by provide(), which takes its name
get() {
	say "downloading musl for $architecture"
	debian_lists "$suite" "$architecture" && debian_unpack "$1" musl musl-dev || return
	sed -i "s,/usr/\(lib\|include\)/$machine-linux-musl,$root&,g" "$1/usr/lib/$machine-linux-musl/musl-gcc.specs"
}

provide "$root" get
# Debian's musl has no kernel headers of its own; the cross compiler's are beside its libc's.
headers=(-idirafter "/usr/$machine-linux-gnu/include")
loader=()
if [ "$architecture" = amd64 ]; then
	headers=(-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu)
	# Debian 13 has it in /usr/lib.
	loader=("-Wl,--dynamic-linker=$(find "$root" -name ld-musl-x86_64.so.1)")
fi
cd -- "$from"
exec "$machine-linux-gnu-gcc" -specs "$root/usr/lib/$machine-linux-musl/musl-gcc.specs" "${headers[@]}" "$@" "${loader[@]}"
