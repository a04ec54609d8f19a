#!/usr/bin/env bash
# arch.sh ARCH LIBRARY - the C tests of another architecture, as far as they can be run on this machine
#
# Prints TAP (testanything.org). `make test-arch ARCH=aarch64` builds LIBRARY and calls this. ARCH is aarch64 or riscv64,
# whose programs qemu-user runs here, or i686, whose programs an x86_64 kernel runs itself.
#
# How it works: the programs that c-tests/programs.txt lists for `i686`, or for `qemu`, are compiled by Debian's cross
# compiler into target/c-tests/ARCH/. They name the ld.so and the libc of that compiler themselves, so that nothing has
# to be installed into this system's /lib, and no variable has to survive a scrubbed environment. They are found by
# DT_RPATH, which holds for a namespace of dlmopen(3) too. The programs run on lo, in a user and network namespace of their
# own, which has a binfmt_misc apart from this machine's (Linux 6.7).
#
# What is not listed there, and why:
#   seals, filters     qemu-user has no seccomp; for i386 and riscv64 the library has no seal
#   bind() and others of inherited sockets, a second copy   the library asks getsockopt(SO_BINDTODEVICE), which qemu-user
#                      answers wrongly (7.2)
#   exec/started_programs    under qemu-user, handlers that exec within an exec hang. For i386 five of its 90 points start
#                      64-bit programs, or need a seal
#   create/syscall_function  for i386, it passes numbers of more than 32 bits; under qemu-user, one of its points makes a
#                      child by clone() on the stack of its parent, which is not shared there
#   create/syscall_count     for i386, it takes glibc's socket() for socket(2), and there it is socketcall(2)
#   exec/program_notice, facts/execve   start the programs of bypass.h, which has none for i386 and riscv64; and qemu-user starts
#                      scripts and set-user-ID programs in its own way
#   existing/inherited_fds   cancels threads in connect(), which hangs in a program that was cross-compiled for i386,
#                      without the library too
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

arch=$1
library=$(realpath -- "$2")
build=qemu
flags=(-DUNDER_QEMU_USER)
case $arch in
aarch64) loader=ld-linux-aarch64.so.1 ;;
riscv64) loader=ld-linux-riscv64-lp64d.so.1 ;;
i686)
	loader=ld-linux.so.2
	build=i686
	flags=()
	;;
*)
	echo 'vrfbind-tests: usage: tests/arch.sh aarch64|i686|riscv64 LIBRARY' >&2
	exit 2
	;;
esac
bin=$PWD/target/c-tests/$arch
libc=/usr/$arch-linux-gnu/lib
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
unset LD_PRELOAD "${!VRFBIND_@}"
export VRFBIND_TEST_DEVICE=lo VRFBIND_TEST_TIER=lo VRFBIND_TEST_LIB=$library VRFBIND_TEST_BIN=$bin

# shellcheck source=tests/tap.sh
. tests/tap.sh
limit=600

c-tests/build.sh make "$build" "$bin" "$arch-linux-gnu-gcc" "${flags[@]}" -Wl,--dynamic-linker="$libc/$loader" \
	-Wl,-rpath,"$libc" -Wl,--disable-new-dtags

# here COMMAND... - in namespaces of its own, where this kernel runs programs of ARCH
here() {
	# shellcheck disable=SC2016  # for the other shell
	timeout "$limit" unshare --user --map-root-user --net --mount --propagation private --pid --fork --kill-child \
		bash -euc '
			arch=$1 magic=
			shift
			case $arch in
			aarch64) magic="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00" ;;
			riscv64) magic="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf3\x00" ;;
			esac
			mount -t proc proc /proc
			if [ "$magic" ]; then
				mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
				mount -t binfmt_misc none /proc/sys/fs/binfmt_misc
				printf "%s" ":$arch:M::$magic:$mask:/usr/bin/qemu-$arch-static:F" >/proc/sys/fs/binfmt_misc/register
			fi
			ip link set lo up
			"$@"
		' sh "$arch" "$@"
}

# all_ok_of PROGRAM - it prints as many points as planned, and each is ok
all_ok_of() {
	local status=0
	here "$bin/${1##*/}" >"$scratch/tap" 2>"$scratch/tap.stderr" </dev/null || status=$?
	cat "$scratch/tap" "$scratch/tap.stderr"
	[ "$status" -eq 0 ]
	[ "1..$(grep -c '^ok [^#]*$' "$scratch/tap")" = "$(grep '^1\.\.' "$scratch/tap")" ]
}

# asked TEXT NAME=VALUE... PROGRAM... - PROGRAM, with these variables, prints TEXT
asked() {
	local text=$1
	shift
	here env "$@" >"$scratch/said" </dev/null
	diff "$scratch/said" <(printf '%s\n' "$text")
}

# What the compiler's own library brings (outline atomics, on aarch64) may not be loadable with musl.
one_constructor() {
	local word=8
	[ "$arch" != i686 ] || word=4
	diff <(readelf --wide --dynamic "$library" | awk '$2 == "(INIT_ARRAYSZ)" { print $3 }') <(echo "$word")
}

libc_is_patched() {
	asked 'libc unbound' "$bin/ask" libc
	asked 'libc lo' VRFBIND_VRF=lo LD_PRELOAD="$library" "$bin/ask" libc
}

# Where ld.so looks for $LIB.
both_classes() {
	install -D target/release/libvrfbind.so "$scratch/lib/x86_64-linux-gnu/libvrfbind.so"
	install -D "$library" "$scratch/lib/i386-linux-gnu/libvrfbind.so"
}

# shellcheck disable=SC2016  # ld.so replaces $LIB
of_both_classes() {
	local ask=$PWD/target/c-tests/gnu/ask
	both_classes
	# A path of one ELF class: ld.so prints a warning, and starts programs of the other class without the library.
	asked $'tcp lo\ntcp unbound' VRFBIND_VRF=lo LD_PRELOAD="$scratch/lib/x86_64-linux-gnu/libvrfbind.so" \
		"$ask" tcp run "$bin/ask" tcp
	asked $'tcp lo\ntcp lo\nlibc lo' VRFBIND_VRF=lo LD_PRELOAD="$scratch/"'$LIB/libvrfbind.so' \
		"$ask" tcp run "$bin/ask" tcp libc
	asked $'tcp lo\ntcp lo\ntcp lo' VRFBIND_VRF=lo LD_PRELOAD="$scratch/"'$LIB/libvrfbind.so' \
		"$ask" tcp run "$bin/ask" tcp run "$ask" tcp
}

# shellcheck disable=SC2016
sealed() {
	both_classes
	asked $'tcp lo\ntcp EPERM' VRFBIND_SEAL=1 VRFBIND_VRF=lo LD_PRELOAD="$scratch/"'$LIB/libvrfbind.so' \
		"$PWD/target/c-tests/gnu/ask" tcp run "$bin/ask" tcp
}

mapfile -t programs < <(c-tests/build.sh list "$build" lo)
count=$((${#programs[@]} + 2))
[ "$arch" != i686 ] || count=$((count + 2))
echo "1..$count"
for program in "${programs[@]}"; do
	point "$program, built for $arch" all_ok_of "$program"
done
point "libc's own socket() is patched" libc_is_patched
point 'the library has one constructor, its own' one_constructor
if [ "$arch" = i686 ]; then
	point "a 32-bit child of a 64-bit program is bound where LD_PRELOAD says \$LIB, and a 64-bit child of that" of_both_classes
	point 'a 32-bit child in a sealed tree gets no IP socket' sealed
fi
exit "$all_ok"
