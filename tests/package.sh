#!/usr/bin/env bash
# package.sh - the Debian package: built twice to the same bytes, clean by lintian, installed, used and removed
#
# Prints TAP (testanything.org). `make test-package` runs it; the packages that it needs are in packages.sh, group
# package. The committed files are built, twice, in two directories. The package is installed below a directory of its
# own, by dpkg --root: nothing of this machine changes.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. tests/tap.sh

builds() {
	local directory
	for directory in one another; do
		make --no-print-directory deb DIST="$scratch/$directory"
	done
	ls "$scratch"/*/*.deb
}

same_bytes() {
	(cd "$scratch/one" && sha256sum ./*.deb ./*.tar.gz) >"$scratch/sums"
	[ "$(wc -l <"$scratch/sums")" -eq 2 ]
	cat "$scratch/sums"
	(cd "$scratch/another" && sha256sum --check "$scratch/sums")
}

lint() {
	lintian --allow-root --fail-on error,warning,info "$scratch"/one/*.deb
}

root=$scratch/root
in_root() { dpkg --root="$root" --force-not-root --force-depends --force-script-chrootless "$@"; }

installs() {
	local library
	mkdir -p "$root/var/lib/dpkg"/{info,updates}
	touch "$root/var/lib/dpkg/"{status,available}
	in_root --install "$scratch"/one/*.deb
	library=$(echo "$root"/usr/lib/*-linux-gnu/libvrfbind.so)
	[ -f "$library" ]
	[ -f "$root/usr/share/man/man1/vrfbind.1.gz" ] && [ -f "$root/usr/share/man/man7/libvrfbind.7.gz" ]
	# The command finds its files, and a socket is bound.
	"$root/usr/bin/vrfbind" check --any-device lo | tee "$scratch/said"
	grep -q "^ok    library: $library, version" "$scratch/said"
	grep -q '^ok    probe: a socket made here is bound to lo' "$scratch/said"
}

removes() {
	find "$root" -path '*vrfbind*' ! -path "$root/var/*" | grep -q .
	in_root --purge vrfbind
	find "$root" -path '*vrfbind*' -type f | not grep .
}

echo 1..5
point 'make deb builds the committed files' builds
point 'two builds in two directories have the same bytes' same_bytes
point 'lintian has nothing against it' lint
point 'installed, the command finds its library and binds a socket' installs
point 'purged, nothing is left' removes
exit "$all_ok"
