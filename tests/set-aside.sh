#!/usr/bin/env bash
# set-aside.sh ARCHIVE PACKAGE... - installs Debian packages aside: what they would change of this machine goes into ARCHIVE
# set-aside.sh over ARCHIVE COMMAND... - becomes COMMAND, with ARCHIVE over /etc, /usr and /var, in a mount namespace of its own
#
# For packages with services that nobody wants on this machine: tests/second-systemd.sh lays the archive over /etc, /usr and /var,
# and so does the second form, whose layers are in $T_DIR (tests/topology.sh).
# In order: download the packages, and what they depend on that is not here; in a mount namespace, where /etc, /usr and
# /var are overlays, let dpkg install them (no service is started: policy-rc.d forbids it); archive the upper layers of these.
# Packages that would not do beside one another on one machine are installed all the same.
#
# Needs root, as installing does, and apt-get. ARCHIVE is made anew each time.
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

# shellcheck source=tests/debian.sh
. tests/debian.sh

# Second call, in the mount namespace.
if [ "${1-}" = install ]; then
	archive=$2 scratch=$3
	mount --make-rprivate /
	mount -t tmpfs -o mode=755 layers "$scratch/layers"
	for directory in etc usr var; do
		mkdir -p "$scratch/layers"/{upper,work}/$directory
		mount -t overlay overlay "/$directory" -o \
			"lowerdir=/$directory,upperdir=$scratch/layers/upper/$directory,workdir=$scratch/layers/work/$directory"
	done
	mount -t tmpfs -o mode=755 run /run
	printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
	chmod 755 /usr/sbin/policy-rc.d
	# dpkg has to know the installed packages, but need not read the names of their files, a hundred thousand. Of
	# debconf only the questions stay that a package asks in the name of another one.
	mkdir -p /run/dpkg/{info,updates}
	cp /var/lib/dpkg/{status,statoverride,diversions} /run/dpkg/
	cp /var/lib/dpkg/info/*.{templates,config} /run/dpkg/info/
	mount --bind /run/dpkg /var/lib/dpkg
	export DEBIAN_FRONTEND=noninteractive
	dpkg --install --force-depends --force-conflicts --force-confnew --force-unsafe-io "$scratch"/debs/*.deb \
		>"$scratch/log" 2>&1 || { grep -v 'files list file for package' "$scratch/log" >&2; exit 1; }
	umount /var/lib/dpkg
	rm -f "$archive"
	tar --create --file="$archive.partial" --xattrs --xattrs-include='*' --sort=name -C "$scratch/layers/upper" .
	mv "$archive.partial" "$archive"
	exit
fi

if [ "${1-}" = over ]; then
	exec unshare --mount -- tests/set-aside.sh here "${@:2}"
elif [ "${1-}" = here ]; then
	layers=${T_DIR:?}/layers
	mkdir "$layers"
	mount -t tmpfs -o mode=755 layers "$layers"
	mkdir -p "$layers"/{upper,work}/{etc,usr,var}
	tar --extract --file="$2" --xattrs --xattrs-include='*' -C "$layers/upper"
	for directory in etc usr var; do
		mount -t overlay overlay "/$directory" -o \
			"lowerdir=/$directory,upperdir=$layers/upper/$directory,workdir=$layers/work/$directory"
	done
	exec "${@:3}"
fi

[ $# -ge 2 ] || { say 'usage: tests/set-aside.sh ARCHIVE PACKAGE...'; exit 2; }
mkdir -p "$(dirname "$1")"
archive=$(realpath "$1")
shift
root=()
[ "$(id -u)" -eq 0 ] || root=(sudo --)
scratch=$(mktemp -d)
trap '"${root[@]}" rm -rf "$scratch"' EXIT
mkdir -p "$scratch"/{layers,debs/partial}
say "setting aside in ${archive#"$PWD/"}: $*"
download() {
	apt-get --quiet --yes --no-install-recommends --reinstall --download-only -o Debug::NoLocking=1 -o APT::Sandbox::User=root \
		-o "Dir::Cache::archives=$scratch/debs" install "$1" >"$scratch/log" 2>&1
}
# One after the other, because some are in conflict. An index that lacks one, or cannot deliver it, is refreshed once.
refreshed=''
for package; do
	download "$package" || {
		[ -n "$refreshed" ] || "${root[@]}" apt-get --quiet update >&2
		refreshed=1
		download "$package" || { cat "$scratch/log" >&2; exit 1; }
	}
done
"${root[@]}" unshare --mount -- tests/set-aside.sh install "$archive" "$scratch"
