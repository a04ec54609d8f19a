#!/usr/bin/env bash
# apkbuild.sh - what apk/APKBUILD builds of the tarball, and puts into the package
#
# Prints TAP (testanything.org). `make test-package` runs it. The functions of the APKBUILD are run by busybox's sh,
# which is Alpine's, with the variables and in the directory that abuild gives them; the built files use this machine's
# libc. Not run here: abuild itself, its split into subpackages, and a build on Alpine.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. tests/tap.sh

pkgdir=$scratch/pkg
builds() {
	make --no-print-directory dist DIST="$scratch"
	mkdir "$scratch/src" "$pkgdir"
	tar -C "$scratch/src" -xzf "$scratch"/vrfbind-*.tar.gz
	# What abuild does, in this order. Its default_prepare applies patches; there are none.
	# shellcheck disable=SC2016  # for the other shell
	env -u MAKEFLAGS -u MAKELEVEL -u CARGO_TARGET_DIR srcdir="$scratch/src" pkgdir="$pkgdir" busybox sh -euc '
		default_prepare() { :; }
		. apk/APKBUILD
		cp "$srcdir/../$source" "$srcdir"
		cd "$srcdir/$pkgname-$pkgver"
		prepare
		build
		package'
}

holds() {
	(cd "$pkgdir" && find . -type f | sort) >"$scratch/holds"
	diff "$scratch/holds" - <<-'FILES'
		./usr/bin/vrfbind
		./usr/lib/libvrfbind.so
		./usr/libexec/vrfbind/vrfbind-probe
		./usr/share/bash-completion/completions/vrfbind
		./usr/share/doc/vrfbind/LICENSE-APACHE
		./usr/share/doc/vrfbind/LICENSE-MIT
		./usr/share/fish/vendor_completions.d/vrfbind.fish
		./usr/share/man/man1/vrfbind.1
		./usr/share/man/man7/libvrfbind.7
		./usr/share/zsh/site-functions/_vrfbind
	FILES
}

binds() {
	ends 0 "$pkgdir/usr/bin/vrfbind" check --any-device lo
	cat "$scratch/said"
	grep -q "^ok    library: $pkgdir/usr/lib/libvrfbind.so, version" "$scratch/said"
	grep -q '^ok    probe: a socket made here is bound to lo' "$scratch/said"
}

echo 1..3
point 'its functions build the tarball, by the shell of Alpine' builds
point 'the package holds what belongs into it' holds
point 'its command finds its library and binds a socket' binds
exit "$all_ok"
