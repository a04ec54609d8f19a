#!/usr/bin/env bash
# musl-gcc.sh SUITE ARCHITECTURE [ARGUMENT...] - a C compiler for the musl of that release of Debian, and of that architecture
#
# An empty SUITE is this machine's. As Debian's own musl-gcc does, it calls gcc with the specs of package musl-dev, unpacked
# into target/musl-dev (debian.sh) beside the package musl; the paths in the specs are changed accordingly. For ARCHITECTURE
# arm64 it calls Debian's cross compiler. Programs name the loader /lib/ld-musl-*.so.1 as all do. --libc for an ARGUMENT prints
# the path of the unpacked libc.so, which is that loader.
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
libc=usr/lib/$machine-linux-musl/libc.so
root=$PWD/target/musl-dev/${suite:-own}-$architecture

# shellcheck disable=SC2317  # called by provide(), which takes its name
get() {
	say "downloading musl for $architecture"
	debian_lists "$suite" "$architecture" && debian_unpack "$1" musl musl-dev || return
	# A link out of the directory. Without it programs are linked with libc.a.
	[ -e "$1/$libc" ] || cp --remove-destination "$1/lib/$machine-linux-musl/libc.so" "$1/$libc" || return
	sed -i "s,/usr/\(lib\|include\)/$machine-linux-musl,$root&,g" "$1/usr/lib/$machine-linux-musl/musl-gcc.specs"
}

provide "$root" get
if [ "${1-}" = --libc ]; then
	echo "$root/$libc"
	exit
fi
# Debian's musl has no kernel headers of its own.
case $architecture in
amd64) options=(-idirafter /usr/include -idirafter /usr/include/x86_64-linux-gnu) ;;
# Outline atomics ask glibc's __getauxval() which instructions there are.
arm64) options=(-idirafter /usr/aarch64-linux-gnu/include -mno-outline-atomics) ;;
esac
cd -- "$from"
exec "$machine-linux-gnu-gcc" -specs "$root/usr/lib/$machine-linux-musl/musl-gcc.specs" "${options[@]}" "$@"
