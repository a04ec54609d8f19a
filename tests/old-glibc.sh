#!/usr/bin/env bash
# old-glibc.sh PROGRAM [ARGUMENT...] - runs PROGRAM with glibc 2.31, the oldest that the library is for
#
# glibc 2.31 is Debian 11's. Its package is unpacked below target/glibc-2.31 (debian.sh). PROGRAM runs with the ld.so
# and the libraries from there, so that it must not need newer symbols itself. LD_PRELOAD and the rest of the
# environment are passed on.
#
# Exit status: PROGRAM's; 77 and one sentence if the package is not available.
set -euo pipefail
root=$(cd -- "$(dirname -- "$0")/.." && pwd)
directory=$root/target/glibc-2.31
# Set for PROGRAM only: under the library, apt-get would look for the archive in the VRF.
preload=${LD_PRELOAD-}
unset LD_PRELOAD

# shellcheck source=tests/debian.sh
. "$root/tests/debian.sh"

# shellcheck disable=SC2317  # called by provide(), which takes its name
get_glibc() {
	say 'downloading glibc 2.31'
	debian_lists bullseye && debian_unpack "$1" libc6
}

provide "$directory" get_glibc || { say 'there is no glibc 2.31 here'; exit 77; }

libraries=$(echo "$directory"/lib/*-linux-gnu)
exec env ${preload:+"LD_PRELOAD=$preload"} "$libraries"/ld-2.31.so --library-path "$libraries" "$@"
