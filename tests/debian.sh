# shellcheck shell=bash
# debian.sh - packages of Debian's archive, downloaded and unpacked, not installed; scripts source it
#
# Nothing here needs root, and nothing of this machine's apt is changed: lists and caches are below target/debian. In
# order: debian_lists chooses a suite and an architecture and downloads the lists; then debian_unpack, or apt-get and
# apt-cache with the options in `apt`. Packages are checked against the keys of this machine's apt sources, those of
# another suite or architecture against Debian's archive keyring. provide makes files of them, one at a time.

say() { printf 'vrfbind-tests: %s\n' "$*" >&2; }

debian=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/target/debian

# The options for apt-get and apt-cache.
apt=()

# debian_lists [SUITE [ARCHITECTURE [deb-src]]] - an empty one is this machine's, and without all three its sources are
debian_lists() {
	local suite=${1-} architecture=${2-} type=${3-deb}
	local state=$debian/${suite:-own}-${architecture:-own}-$type keyring=/usr/share/keyrings/debian-archive-keyring.gpg archive codename
	command -v apt-get >/dev/null || { say 'there is no apt-get to download Debian packages with'; return 1; }
	mkdir -p "$state/lists/partial" "$state/cache/archives/partial" || return
	# Behave as if nothing were installed.
	: >"$state/status"
	apt=(-o "Dir::State::Lists=$state/lists" -o "Dir::State::status=$state/status" -o "Dir::Cache=$state/cache"
		-o APT::Sandbox::User=root
		-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false --quiet)
	if [ "$suite$architecture$type" != deb ]; then
		[ -r "$keyring" ] || { say "$keyring is missing: install debian-archive-keyring"; return 1; }
		# shellcheck disable=SC2016  # apt's own variables
		read -r archive codename < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' \
			'Origin: Debian' 'Label: Debian' | sort -u) ||
			{ say "apt's sources name no Debian archive, or apt-get update has not been run"; return 1; }
		echo "$type [signed-by=$keyring] $archive ${suite:-$codename} main" >"$state/sources"
		apt+=(-o "Dir::Etc::SourceList=$state/sources" -o Dir::Etc::SourceParts=/dev/null)
	fi
	[ -z "$architecture" ] || apt+=(-o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture")
	apt-get "${apt[@]}" update >&2
}

# debian_unpack DIRECTORY PACKAGE... - leaves DIRECTORY with the files of these packages, without what they depend on
debian_unpack() {
	local into=$1 deb
	shift
	(cd "$into" && apt-get "${apt[@]}" download "$@" >&2) || return
	for deb in "$into"/*.deb; do
		dpkg-deb --extract "$deb" "$into" && rm "$deb" || return
	done
}

# debian_unpack_all DIRECTORY PACKAGE... - the same with all that they depend on, as if nothing were installed
debian_unpack_all() {
	local into=$1
	shift
	mkdir -p "$into/packages/partial" || return
	apt-get "${apt[@]}" -o "Dir::Cache::archives=$into/packages" install --yes --no-install-recommends --download-only "$@" >&2 ||
		return
	find "$into/packages" -name '*.deb' -exec dpkg-deb --extract {} "$into" \; && rm -r "$into/packages"
}

# provide DIRECTORY COMMAND... - if DIRECTORY is missing, makes it by COMMAND, which gets the path of an empty directory
# as its last argument. A failure leaves nothing. If several processes want it at the same time, one makes it.
provide() {
	local directory=$1 lock
	shift
	[ ! -d "$directory" ] || return 0
	mkdir -p "$debian" "$(dirname "$directory")" || return
	exec {lock}>"$debian/lock"
	flock --nonblock "$lock" || { say 'waiting for another run to finish its downloads'; flock "$lock"; }
	if [ ! -d "$directory" ]; then
		rm -rf "$directory.partial"
		mkdir "$directory.partial"
		if "$@" "$directory.partial"; then
			mv "$directory.partial" "$directory"
		else
			rm -rf "$directory.partial"
			say "could not make $directory"
		fi
	fi
	exec {lock}>&-
	[ -d "$directory" ]
}
