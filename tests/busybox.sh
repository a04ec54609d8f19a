#!/usr/bin/env bash
# busybox.sh dynamic|static - prints the path of a busybox that is linked so
#
# Debian has both, busybox and busybox-static, of which one replaces the other. The one that is not installed here is
# unpacked into target/ (debian.sh), so that nothing depends on which of them is.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."
# shellcheck source=tests/debian.sh
. tests/debian.sh

kind=${1-}
case $kind in
dynamic) package=busybox ;;
static) package=busybox-static ;;
*) say 'usage: tests/busybox.sh dynamic|static'; exit 2 ;;
esac

# shellcheck disable=SC2317  # called by provide(), which takes its name
get() {
	say "downloading $package"
	debian_lists "" && debian_unpack "$1" "$package"
}

is_so() {
	if ldd "$1" >/dev/null 2>&1; then [ "$kind" = dynamic ]; else [ "$kind" = static ]; fi
}

path=$(command -v busybox || true)
if [ -z "$path" ] || ! is_so "$path"; then
	provide "$PWD/target/$package" get || { say "there is no $kind busybox here"; exit 1; }
	path=$(find "$PWD/target/$package" -path '*/bin/busybox')
fi
echo "$path"
