#!/usr/bin/env bash
# old-glibc.sh PROGRAM [ARGUMENT...] - runs PROGRAM with glibc 2.31, the oldest that the library is for
#
# That is Debian 11's. Its package is downloaded from the archive this machine's apt uses, checked against Debian's
# archive keyring, and unpacked below target/glibc-2.31, not installed; PROGRAM runs under the ld.so and with the
# libraries from there, so that it must not need newer symbols itself. LD_PRELOAD and the rest of the
# environment are passed on.
#
# Exit status: PROGRAM's; 77 and one sentence where the package cannot be had.
set -euo pipefail
root=$(cd -- "$(dirname -- "$0")/.." && pwd)
folder=$root/target/glibc-2.31
# For PROGRAM alone: under the library, apt-get would look for the archive in the VRF.
preload=${LD_PRELOAD-}
unset LD_PRELOAD

cannot() {
	printf 'vrfbind-tests: no glibc 2.31 here: %s\n' "$*" >&2
	exit 77
}

if [ ! -d "$folder" ]; then
	command -v apt-get >/dev/null || cannot 'there is no apt-get'
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ -r "$keyring" ] || cannot "there is no $keyring"
	# shellcheck disable=SC2016  # apt's own variables
	archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' 'Label: Debian' |
		sort -u | head -n 1)
	[ -n "$archive" ] || cannot "apt's sources name no Debian archive, or apt-get update has not been run"
	work=$folder.partial
	rm -rf "$work"
	mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
	touch "$work/status"
	echo "deb [signed-by=$keyring] $archive bullseye main" >"$work/sources"
	apt=(apt-get --quiet -o "Dir::Etc::SourceList=$work/sources" -o Dir::Etc::SourceParts=/dev/null
		-o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work/cache"
		-o "Dir::State::status=$work/status" -o APT::Sandbox::User=root)
	printf 'vrfbind-tests: downloading glibc 2.31\n' >&2
	(cd "$work" && "${apt[@]}" update && "${apt[@]}" download libc6) >&2 || cannot 'apt-get could not download it'
	dpkg-deb --extract "$work"/libc6_2.31-*.deb "$work/root"
	mv "$work/root" "$folder"
	rm -rf "$work"
fi

libraries=$(echo "$folder"/lib/*-linux-gnu)
exec env ${preload:+"LD_PRELOAD=$preload"} "$libraries"/ld-2.31.so --library-path "$libraries" "$@"
