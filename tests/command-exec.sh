#!/usr/bin/env bash
# command-exec.sh - `vrfbind exec`: the programs that it starts, those that it refuses, and its messages
#
# `ask` (c-tests/command/ask.c) reports sockets, by getsockopt(). Each point first shows the program without the command.
# Nothing is left running.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
# shellcheck disable=SC2016  # scripts are text

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
mounted=''
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$scratch"' EXIT
for_nobody ask ask-static ask-go-dynamic

start=("$vrfbind" exec "${any[@]}")
sealed=("${start[@]}" --no-supervise)

here=("$scratch/ask" tcp udp6)
unbound=$'tcp unbound\nudp6 unbound'
bound="tcp $device"$'\n'"udp6 $device"
none=$'tcp EPERM\nudp6 EPERM'

# -- What it starts

binds() {
	says "$unbound" "${here[@]}"
	says "$bound" "${start[@]}" "$device" "${here[@]}"
	says "$bound" "${start[@]}" "$device" -- "${here[@]}"
	says "$bound" env PATH="$scratch" "$vrfbind" exec "${any[@]}" "$device" ask tcp udp6
}

binds_nobody() {
	says "$unbound" "${nobody[@]}" "${here[@]}"
	says "$bound" "${nobody[@]}" "${start[@]}" "$device" "${here[@]}"
}

# The arguments behind CMD are CMD's.
arguments() {
	says '--supervise -x --' "${start[@]}" "$device" echo --supervise -x --
	says 'a  b' "${start[@]}" "$device" sh -c 'printf "%s\n" "$1"' sh 'a  b'
}

statuses() {
	local status
	for status in 0 1 125 126 127 255; do
		ends "$status" "$scratch/ask" exit "$status"
		ends "$status" "${start[@]}" "$device" "$scratch/ask" exit "$status"
	done
	# Of a program that a signal has ended, as bash reports it: a shell in between would show 143 for both.
	ends 143 bash -c '"$@"; exit' bash "${start[@]}" "$device" "$scratch/ask" signal 15
	refused 127 'cannot execute no-such-command: No such file' "${start[@]}" "$device" no-such-command
	refused 127 'No such file' "${start[@]}" "$device" "$scratch/nothing"
	refused 126 'Permission denied' "${start[@]}" "$device" "$scratch/libvrfbind.so.text"
	refused 126 'Permission denied' "${start[@]}" "$device" "$scratch"
}

# The process stays: its number, its parent, its signals, its closed and its open descriptors.
same_process() {
	local got
	got=$(exec 9>&1; "${start[@]}" "$device" sh -c 'echo $$ $PPID' & wait $!; echo "$! $BASHPID")
	diff <(sed -n 1p <<<"$got") <(sed -n 2p <<<"$got")
	# Through timeout(1) as says() does it: a signal that it handles is no longer ignored behind it.
	got=$(timeout "$limit" "$scratch/ask" ignored)
	says "$got" "${start[@]}" "$device" "$scratch/ask" ignored
	says "ignored 1 13" bash -c 'trap "" HUP PIPE; exec "$@"' bash "${start[@]}" "$device" "$scratch/ask" ignored
	diff <(echo one | "${start[@]}" "$device" cat) <(echo one)
	ls /proc/self/fd >"$scratch/fds" 7</dev/null
	"${start[@]}" "$device" ls /proc/self/fd >"$scratch/said" 7</dev/null
	diff "$scratch/said" "$scratch/fds"
}

closed_stdio() {
	local fds
	for fds in '<&-' '>&-' '2>&-' '<&- >&- 2>&-'; do
		eval "'$scratch/ask' stdio 9>'$scratch/plain' $fds"
		eval "timeout $limit \"\${start[@]}\" '$device' '$scratch/ask' stdio 9>'$scratch/under' $fds"
		cat "$scratch/plain"
		diff "$scratch/plain" "$scratch/under"
		# Refusing works without them too.
		local status=0
		eval "timeout $limit '$vrfbind' exec nosuchvrf true $fds" || status=$?
		[ "$status" -eq 125 ]
	done
	grep -qx 'stdio 0 0 0' "$scratch/plain"
}

scripts() {
	printf '#!/bin/sh\n"%s" tcp udp6\n' "$scratch/ask" >"$scratch/script"
	printf '#! %s\n' "$scratch/script" >"$scratch/script-of-script"
	printf '"%s" tcp udp6\n' "$scratch/ask" >"$scratch/no-interpreter"
	printf '#!%s tcp\n' "$scratch/ask-static" >"$scratch/static-script"
	chmod +x "$scratch"/{script,script-of-script,no-interpreter,static-script}
	says "$unbound" "$scratch/script"
	says "$bound" "${start[@]}" "$device" "$scratch/script"
	says "$bound" "${start[@]}" "$device" "$scratch/script-of-script"
	says "$bound" "${start[@]}" "$device" "$scratch/no-interpreter"
	# The interpreter is what counts.
	refused 125 'ask-static is statically linked' "${start[@]}" --no-supervise "$device" "$scratch/static-script"
}

# As many as the kernel follows; one more is its error.
scripts_of_scripts() {
	local number interpreter=$scratch/ask-static
	for number in 1 2 3 4 5 6; do
		printf '#!%s\n' "$interpreter" >"$scratch/script-$number"
		chmod +x "$scratch/script-$number"
		interpreter=$scratch/script-$number
	done
	ends 0 "$scratch/script-5"
	refused 125 'ask-static is statically linked' "${start[@]}" --no-supervise "$device" "$scratch/script-5"
	ends 126 env "$scratch/script-6"
	refused 126 'script-6: Too many symbolic links' "${start[@]}" "$device" "$scratch/script-6"
}

# No FIFO is waited for, and no device opened.
irregular_files() {
	mkfifo "$scratch/fifo"
	chmod +x "$scratch/fifo"
	printf '#!%s\n' "$scratch/fifo" >"$scratch/script-of-fifo"
	printf '#!/dev/null\n' >"$scratch/script-of-device"
	printf '#!%s/nothing\n' "$scratch" >"$scratch/script-of-nothing"
	chmod +x "$scratch"/script-of-{fifo,device,nothing}
	local program
	for program in fifo script-of-fifo script-of-device; do
		ends 126 env "$scratch/$program"
		refused 126 "$program: .*Permission denied" "${start[@]}" "$device" "$scratch/$program"
	done
	refused 127 'script-of-nothing: its interpreter .*/nothing: No such file' \
		"${start[@]}" "$device" "$scratch/script-of-nothing"
	# Nor as the library.
	refused 125 'fifo: it is no regular file' "${start[@]}" --library "$scratch/fifo" "$device" true
	VRFBIND_LIBRARY=/dev/null refused 125 '/dev/null: it is no regular file' "${start[@]}" "$device" true
}

# To the kernel, a program whose ld.so does not exist does not exist either.
no_loader() {
	cp "$scratch/ask" "$scratch/no-loader"
	sed -i 's,/ld-linux,/no-linux,' "$scratch/no-loader"
	readelf -lW "$scratch/no-loader" | grep -q 'interpreter: .*/no-linux'
	ends 127 env "$scratch/no-loader" tcp
	refused 127 'cannot execute .*/no-loader: its loader .*/no-linux.*: No such file' \
		"${start[@]}" "$device" "$scratch/no-loader" tcp
}

# Also what is no variable, and what is there twice.
environment() {
	local given='import ctypes, os, sys
entries = [b"A=1", b"", b"no-value", b"=", b"=x=y", b"A=2", b"LD_PRELOAD", b"\xff=\n", b"VRFBIND_VRF=x", b"B=", b"VRFBIND_VRF"]
entries.append(b"VRFBIND_LIBRARY=" + os.fsencode(sys.argv[1]))
array = lambda strings: (ctypes.c_char_p * (len(strings) + 1))(*strings, None)
command = [os.fsencode(word) for word in sys.argv[2:]]
ctypes.CDLL(None).execve(command[0], array(command), array(entries))'
	local cat plain under
	cat=$(command -v cat)
	plain=$(python3 -c "$given" "$library" "$cat" /proc/self/environ | tr '\0' '|')
	grep -q '|no-value|=|=x=y|A=2|LD_PRELOAD|' <<<"$plain"
	under=$(python3 -c "$given" "$library" "${sealed[@]}" "$device" "$cat" /proc/self/environ | tr '\0' '|')
	[ "${under%%|*}" = "VRFBIND_VRF=$device" ]
	under=${under#*|}
	diff <(echo "${plain/VRFBIND_VRF=x|/}") <(echo "${under#VRFBIND_SEAL=1|LD_PRELOAD="$library"|}")
}

# If descriptors run out, that is reported; or there are enough.
few_descriptors() {
	local number
	for number in 3 4 5 6 7 8 9 10 11 12; do
		timeout "$limit" "${nobody[@]}" bash -c 'ulimit -n "$1"; shift; exec "$@"' bash "$number" \
			"${start[@]}" "$device" "$scratch/ask-static" tcp >"$scratch/said" 2>"$scratch/said.stderr" || true
		cat "$scratch/said" "$scratch/said.stderr"
		if [ -s "$scratch/said" ]; then
			diff "$scratch/said" <(echo "tcp $device")
		else
			grep -qE '^vrfbind: .*(Too many open files|ulimit -n)' "$scratch/said.stderr"
		fi
	done
	# There were enough in the end.
	diff "$scratch/said" <(echo "tcp $device")
}

# memory_of COMMAND... - the most that it had at a time, in kB
memory_of() {
	python3 -c 'import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)' "$@"
}

# Programs of 3 GiB, nearly all of it holes; in the static one all of that is said to be a note.
large_files() {
	cp "$scratch/ask" "$scratch/large"
	cp "$scratch/ask-static" "$scratch/large-static"
	python3 - "$scratch/large-static" <<-'PYTHON'
		import struct, sys
		with open(sys.argv[1], "r+b") as file:
		    header = file.read(64)
		    table, count = struct.unpack_from("<Q", header, 32)[0], struct.unpack_from("<H", header, 56)[0]
		    for at in range(table, table + 56 * count, 56):
		        file.seek(at)
		        if struct.unpack("<I", file.read(4))[0] == 4:  # PT_NOTE
		            file.seek(at + 32)
		            file.write(struct.pack("<Q", 2 << 30))
	PYTHON
	truncate --size=3G "$scratch"/large{,-static}
	local program memory
	for program in large large-static; do
		says 'tcp unbound' "$scratch/$program" tcp
		for memory in "$(memory_of "$vrfbind" check "${any[@]}" "$device" "$scratch/$program")" \
			"$(memory_of "${start[@]}" "$device" "$scratch/$program" exit 0)"; do
			echo "$program: $memory kB"
			[ "$memory" -lt 65536 ]
		done
	done
	refused 125 'large-static is statically linked' "${start[@]}" --no-supervise "$device" "$scratch/large-static" tcp
	rm "$scratch"/large{,-static}
}

keeps_preloads() {
	printf 'int preloaded_too;\n' | gcc -shared -fPIC -o "$scratch/other.so" -x c -
	LD_PRELOAD=$scratch/other.so says "LD_PRELOAD=$library:$scratch/other.so" \
		"${start[@]}" "$device" sh -c 'env | grep ^LD_PRELOAD'
	LD_PRELOAD=$scratch/other.so says "$bound" "${start[@]}" "$device" "${here[@]}"
	# Once is enough.
	LD_PRELOAD=$library says "LD_PRELOAD=$library" "${start[@]}" "$device" sh -c 'env | grep ^LD_PRELOAD'
}

# -- The seal

# What the loader drops, and what passes the library by.
seals() {
	says 'tcp unbound' sh -c 'exec "$0" tcp' "$scratch/ask-static"
	ends 0 "${sealed[@]}" "$device" sh -c 'exec "$0" tcp' "$scratch/ask-static"
	grep -qx 'tcp EPERM' "$scratch/said"
	[ "$(uname -m)" != x86_64 ] || says $'i386-socket EPERM\ni386-socketcall EPERM' "${sealed[@]}" "$device" "$scratch/ask" i386
	before 5.14 || says "tcp $device" "${start[@]}" "$device" sh -c 'exec "$0" tcp' "$scratch/ask-static"
}

# A library that is there for root, and not for what root then becomes: ld.so goes on without it.
loses_the_library() {
	local become_nobody=("${nobody[@]}" "${here[@]}")
	install -d -m 0700 "$scratch/private"
	cp "$library" "$scratch/private"
	local options=(--library "$scratch/private/libvrfbind.so" "$device")
	says "$unbound" "${start[@]}" --no-seal "${options[@]}" "${become_nobody[@]}"
	says "$none" "${sealed[@]}" "${options[@]}" "${become_nobody[@]}"
	before 5.14 || says "$bound" "${start[@]}" "${options[@]}" "${become_nobody[@]}"
}

# A program that the command cannot read to know what it is.
cannot_be_looked_at() {
	local program
	for program in ask ask-static; do
		install -m 0711 "$scratch/$program" "$scratch/closed-$program"
		says "$unbound" "${nobody[@]}" "$scratch/closed-$program" tcp udp6
		refused 125 "closed-$program is not readable: .*--no-supervise" \
			"${nobody[@]}" "${sealed[@]}" "$device" "$scratch/closed-$program" tcp
		refused 125 "closed-$program is not readable: .*this process tree is sealed without one" \
			"${sealed[@]}" "$device" "${nobody[@]}" "${start[@]}" "$device" "$scratch/closed-$program" tcp
		before 5.14 || says "$bound" "${nobody[@]}" "${start[@]}" "$device" "$scratch/closed-$program" tcp udp6
	done
	before 5.14 || says "$bound" "${start[@]}" "$device" "$scratch/closed-ask-static" tcp udp6
}

no_seal() {
	says "$bound" "${start[@]}" --no-seal "$device" "${here[@]}"
	says 'tcp unbound' "${start[@]}" --no-seal "$device" sh -c 'exec "$0" tcp' "$scratch/ask-static"
	# One that is there is not taken away, and the library knows.
	says VRFBIND_SEAL=1 "${start[@]}" "$device" "${start[@]}" --no-seal "$device" sh -c 'env | grep ^VRFBIND_SEAL'
}

line_in_a_shell() {
	says 'tcp unbound' bash -c '"$0" tcp' "$scratch/ask-static"
	echo "$scratch/ask-static tcp" >"$scratch/typed"
	timeout "$limit" "${sealed[@]}" "$device" bash <"$scratch/typed" >"$scratch/said" 2>"$scratch/said.stderr"
	cat "$scratch/said.stderr"
	diff "$scratch/said" <(echo tcp EPERM)
	[ "$(grep -c . "$scratch/said.stderr")" -eq 1 ]
	grep -q "^vrfbind: $scratch/ask-static .*statically linked.*EPERM.*supervisor" "$scratch/said.stderr"
	if before 5.14; then
		refused 125 'requires Linux 5.14' "${start[@]}" --supervise "$device" bash "$scratch/typed"
		return
	fi
	# A supervisor helps, and then there is no line.
	timeout "$limit" "${start[@]}" "$device" bash <"$scratch/typed" >"$scratch/said" 2>"$scratch/said.stderr"
	cat "$scratch/said.stderr"
	diff "$scratch/said" <(echo "tcp $device")
	[ ! -s "$scratch/said.stderr" ]
}

# The command is static itself, and needs no socket: the library prints no line about it, as it does about others.
itself() {
	local shell=("${sealed[@]}" "$device" sh -c)
	readelf -lW "$vrfbind" | not grep -q INTERP
	"${shell[@]}" "'$scratch/ask-static' unix; true" >"$scratch/said" 2>"$scratch/said.stderr"
	cat "$scratch/said.stderr"
	grep -q 'is statically linked' "$scratch/said.stderr"
	"${shell[@]}" "'$vrfbind' --version; true" >"$scratch/said" 2>"$scratch/said.stderr"
	cat "$scratch/said.stderr"
	grep -q '^vrfbind [0-9]' "$scratch/said"
	[ ! -s "$scratch/said.stderr" ]
}

io_uring() {
	local ask='import ctypes, errno
p = ctypes.create_string_buffer(120)
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall(425, 1, p)
print(errno.errorcode.get(ctypes.get_errno(), "made"))'
	local plain
	plain=$(python3 -c "$ask")
	[ "$plain" != ENOSYS ] || { echo 'this kernel has no io_uring'; return 0; }
	says ENOSYS "${start[@]}" "$device" python3 -c "$ask"
	says "$plain" "${start[@]}" --allow-io-uring "$device" python3 -c "$ask"
	# What is around a tree stays as it is.
	says "$plain" "${start[@]}" --allow-io-uring "$device" "${start[@]}" --allow-io-uring "$device" python3 -c "$ask"
	refused 125 '--allow-io-uring: the seal of this process tree refuses io_uring' \
		"${start[@]}" "$device" "${start[@]}" --allow-io-uring "$device" python3 -c "$ask"
}

# -- What it refuses: the VRF

no_vrf() {
	refused 125 'no device nosuchvrf .*`ip vrf show`' "$vrfbind" exec nosuchvrf "${here[@]}"
	refused 125 'not a device name: it is longer than 15 bytes' "$vrfbind" exec abcdefghijklmnop "${here[@]}"
	refused 125 'not a device name: it is empty' "$vrfbind" exec '' "${here[@]}"
	refused 125 "not a device name: it has a '/'" "$vrfbind" exec blue/red "${here[@]}"
}

not_a_vrf() {
	refused 125 'lo is not a VRF; .*--any-device' "$vrfbind" exec lo "${here[@]}"
	says $'tcp lo\nudp6 lo' "$vrfbind" exec --any-device lo "${here[@]}"
}

# lo has no driver with a name; this one has, and it is another.
another_driver() {
	local with_veth=(unshare --net sh -c 'ip link add probe0 type veth && exec "$@"' sh)
	says $'tcp probe0\nudp6 probe0' "${with_veth[@]}" "$vrfbind" exec --any-device probe0 "${here[@]}"
	refused 125 'probe0 is not a VRF; .*--any-device' "${with_veth[@]}" "$vrfbind" exec probe0 "${here[@]}"
}

misuse() {
	ends 125 "$vrfbind" exec
	ends 125 "$vrfbind" exec "$device"
	ends 125 "$vrfbind" exec --no-such-option "$device" true
	ends 125 "${start[@]}" --supervise --no-supervise "$device" true
	ends 125 "${start[@]}" --supervise --no-seal "$device" true
	ends 0 "$vrfbind" exec --help
	# The device of --loopback, where a VRF or a program would be.
	refused 125 '--loopback lo: .* write --loopback=lo, ' "${start[@]}" --loopback lo "$device" true
	refused 125 '--loopback auto: .* write --loopback=auto, ' "${start[@]}" "$device" --loopback auto -- true
	says $'tcp lo\nudp6 lo' "$vrfbind" exec --any-device --loopback -- lo "${here[@]}"
	says '--loopback lo' "${start[@]}" "$device" echo --loopback lo
	says '--loopback lo' "${start[@]}" --loopback=lo "$device" echo --loopback lo
}

# -- The library

finds_library() {
	local prefix=$scratch/prefix
	mkdir -p "$prefix"/{bin,lib,elsewhere}
	cp "$vrfbind" "$prefix/bin"
	cp "$library" "$prefix/lib"
	local show=(sh -c 'echo "$LD_PRELOAD"')
	says "$prefix/lib/libvrfbind.so" "$prefix/bin/vrfbind" exec "${any[@]}" "$device" "${show[@]}"
	mv "$prefix/lib/libvrfbind.so" "$prefix/elsewhere"
	if [ ! -e /usr/local/lib/libvrfbind.so ] && [ ! -e /usr/lib/libvrfbind.so ]; then
		refused 125 'libvrfbind.so was not found in: ' "$prefix/bin/vrfbind" exec "${any[@]}" "$device" true
	fi
	VRFBIND_LIBRARY=$prefix/elsewhere/libvrfbind.so says "$prefix/elsewhere/libvrfbind.so" \
		"$prefix/bin/vrfbind" exec "${any[@]}" "$device" "${show[@]}"
	cd "$prefix"
	says "$prefix/elsewhere/libvrfbind.so" \
		bin/vrfbind exec "${any[@]}" --library elsewhere/libvrfbind.so "$device" "${show[@]}"
}

library_that_is_none() {
	refused 125 'No such file' "${start[@]}" --library "$scratch/nothing.so" "$device" true
	refused 125 'is not a libvrfbind.so' "${start[@]}" --library "$scratch/ask" "$device" true
	refused 125 'is not a libvrfbind.so' "${start[@]}" --library /etc/passwd "$device" true
	mkdir "$scratch/a folder"
	cp "$library" "$scratch/a folder"
	refused 125 'cannot contain .* move the library' \
		"${start[@]}" --library "$scratch/a folder/libvrfbind.so" "$device" true
}

# The version lies behind the magic and the size.
library_of_another_version() {
	python3 - "$library" "$scratch/foreign.so" <<'PYTHON'
import sys
data = bytearray(open(sys.argv[1], "rb").read())
magic = data.index(b"vrfbind\0", data.index(b"vrfbind_info"))
while not 48 <= int.from_bytes(data[magic + 8:magic + 12], "little") < 256:
    magic = data.index(b"vrfbind\0", magic + 1)
data[magic + 13] += 1
open(sys.argv[2], "wb").write(data)
PYTHON
	refused 125 'it is version [0-9.]*, and this command is' "${start[@]}" --library "$scratch/foreign.so" "$device" true
}

library_that_is_unreadable() {
	install -m 0600 "$library" "$scratch/unreadable.so"
	# What it would be without the check: ld.so goes on.
	VRFBIND_VRF=$device LD_PRELOAD=$scratch/unreadable.so says "$unbound" "${nobody[@]}" "${here[@]}"
	refused 125 'unreadable.so: Permission denied' \
		"${nobody[@]}" "${start[@]}" --library "$scratch/unreadable.so" "$device" "${here[@]}"
}

library_on_noexec() {
	mkdir "$scratch/noexec"
	mount -t tmpfs -o noexec,mode=755 none "$scratch/noexec"
	mounted=$scratch/noexec
	trap 'umount "$mounted"' EXIT
	cp "$library" "$mounted"
	VRFBIND_VRF=$device LD_PRELOAD=$mounted/libvrfbind.so says "$unbound" "${here[@]}"
	refused 125 'noexec' "${start[@]}" --library "$mounted/libvrfbind.so" "$device" "${here[@]}"
}

# -- The program

static_program() {
	says "$unbound" "$scratch/ask-static" tcp udp6
	refused 125 'ask-static is statically linked: .*--no-supervise' \
		"${start[@]}" --no-supervise "$device" "$scratch/ask-static" tcp
	refused 125 'ask-static is statically linked: .*--no-seal' \
		"${start[@]}" --no-seal "$device" "$scratch/ask-static" tcp
}

# ld.so preloads the library into it, and its sockets pass the library by.
go_program() {
	VRFBIND_VRF=$device LD_PRELOAD=$library says 'tcp unbound' "$scratch/ask-go-dynamic" tcp
	refused 125 'ask-go-dynamic is a Go program: .*; it requires a supervisor: omit --no-supervise' \
		"${start[@]}" --no-supervise "$device" "$scratch/ask-go-dynamic" tcp
	refused 125 'ask-go-dynamic is a Go program: .*--no-seal' \
		"${start[@]}" --no-seal "$device" "$scratch/ask-go-dynamic" tcp
	refused 125 'ask-go-dynamic is a Go program: .*this process tree is sealed without one' \
		"${sealed[@]}" "$device" "${start[@]}" "$device" "$scratch/ask-go-dynamic" tcp
	# If the check is skipped, the library reports it.
	ends 1 "${sealed[@]}" "$device" sh -c '"$0" tcp' "$scratch/ask-go-dynamic"
	grep -q "^vrfbind: $scratch/ask-go-dynamic is a Go program: .*EPERM.*a supervisor would serve it" "$scratch/said.stderr"
}

# A program of 32 bits without a libc, so that no other compiler is needed.
another_class() {
	printf 'void _start(void) { for (;;) ; }\n' |
		gcc -m32 -nostdlib -static -o "$scratch/i386" -x c - -Wl,--build-id=none
	refused 125 'i386 is for another architecture or of another ELF class' "${start[@]}" "$device" "$scratch/i386"
	refused 125 'another ELF class' "${start[@]}" --supervise "$device" "$scratch/i386"
}

set_id() {
	install -m 4755 "$scratch/ask" "$scratch/set-user"
	install -m 2755 "$scratch/ask" "$scratch/set-group"
	install -m 4755 --owner=65534 "$scratch/ask" "$scratch/set-nobody"
	says "$unbound" "${nobody[@]}" "$scratch/set-user" tcp udp6
	local name
	for name in set-user set-group; do
		refused 125 "$name is set-user-ID or set-group-ID: .*no_new_privs" \
			"${nobody[@]}" "${start[@]}" "$device" "$scratch/$name" tcp
		refused 125 "$name is set-user-ID" "${nobody[@]}" "${start[@]}" --no-seal "$device" "$scratch/$name" tcp
		# Where nothing can be gained it is a program as any other, and for its owner.
		says "tcp $device" setpriv --no-new-privs "${nobody[@]}" "${start[@]}" "$device" "$scratch/$name" tcp
		says "tcp $device" "${start[@]}" "$device" "$scratch/$name" tcp
	done
	# Root keeps the privileges of what it starts, and takes another user's as well.
	says $'tcp unbound\nowner 65534 0' "$scratch/set-nobody" tcp owner
	refused 125 'set-nobody is set-user-ID or set-group-ID: .*--no-supervise' \
		"${sealed[@]}" "$device" "$scratch/set-nobody" tcp
	refused 125 'set-nobody is set-user-ID or set-group-ID: .*--no-seal' \
		"${start[@]}" --no-seal "$device" "$scratch/set-nobody" tcp
	refused 125 'set-nobody is set-user-ID or set-group-ID: .*it requires a supervisor, and this process tree is sealed without one' \
		"${sealed[@]}" "$device" "${start[@]}" "$device" "$scratch/set-nobody" tcp
	before 5.14 || says "tcp $device"$'\nowner 65534 0' "${start[@]}" "$device" "$scratch/set-nobody" tcp owner
}

file_capabilities() {
	cp "$scratch/ask" "$scratch/capable"
	setcap cap_net_raw+ep "$scratch/capable"
	says 'raw unbound' "${nobody[@]}" "$scratch/capable" raw
	refused 125 'capable is a program with file capabilities' \
		"${nobody[@]}" "${start[@]}" --no-supervise "$device" "$scratch/capable" raw
	# Supervised, and without the capability: no_new_privs.
	if before 5.14; then
		refused 125 'requires Linux 5.14' "${nobody[@]}" "${start[@]}" "$device" "$scratch/capable" tcp raw
	else
		says $'tcp '"$device"$'\nraw EPERM' "${nobody[@]}" "${start[@]}" "$device" "$scratch/capable" tcp raw
	fi
	says "raw $device" "${start[@]}" "$device" "$scratch/capable" raw
}

# -- Inside of a tree

nested_sealed() {
	local other=${VRFBIND_TEST_OTHER:-}
	says "$bound" "${sealed[@]}" "$device" "${start[@]}" "$device" "${here[@]}"
	# Nothing is stacked: one filter, within as without.
	if grep -q ^Seccomp_filters: /proc/self/status; then
		local filters
		filters=$("${sealed[@]}" "$device" grep ^Seccomp_filters: /proc/self/status)
		says "$filters" "${sealed[@]}" "$device" "${start[@]}" "$device" grep ^Seccomp_filters: /proc/self/status
	fi
	if [ -n "$other" ]; then
		says "tcp $other" "${sealed[@]}" "$device" "${start[@]}" "$other" "$scratch/ask" tcp
	fi
	refused 125 'ask-static is statically linked: .*; it requires a supervisor, and this process tree is sealed without one.*without --no-supervise' \
		"${sealed[@]}" "$device" "${start[@]}" "$device" "$scratch/ask-static" tcp
	refused 125 'this process tree is sealed without a supervisor' \
		"${sealed[@]}" "$device" "${start[@]}" --supervise "$device" "${here[@]}"
}

leaves() {
	says "$bound" "${sealed[@]}" "$device" "${here[@]}"
	says "$unbound" "$vrfbind" exec default "${here[@]}"
	VRFBIND_VRF=$device LD_PRELOAD=$library VRFBIND_SEAL=0 says "$unbound" "$vrfbind" exec default "${here[@]}"
	says "$unbound" "${sealed[@]}" "$device" "$vrfbind" exec default "${here[@]}"
	says "$unbound" "${sealed[@]}" "$device" "$vrfbind" exec default sh -c 'exec "$@"' sh "${here[@]}"
	refused 125 'ask-static is statically linked: .*it requires a supervisor, and this process tree is sealed without one' \
		"${sealed[@]}" "$device" "$vrfbind" exec default "$scratch/ask-static" tcp
	says 'tcp unbound' "$vrfbind" exec default "$scratch/ask-static" tcp
}

# with-sockets COMMAND... - with inherited sockets: 3 is a TCP socket, 4 a UDP socket, 5 a UNIX socket
cat >"$scratch/with-sockets" <<'END'
#!/usr/bin/python3
import os, socket, sys

KINDS = (socket.AF_INET, socket.SOCK_STREAM), (socket.AF_INET6, socket.SOCK_DGRAM), (socket.AF_UNIX, socket.SOCK_STREAM)
for fd, kind in enumerate(KINDS, 3):
    os.dup2(socket.socket(*kind).detach(), 20 + fd, inheritable=False)
for fd in 3, 4, 5:
    os.dup2(20 + fd, fd, inheritable=True)
os.execvp(sys.argv[1], sys.argv[1:])
END
chmod 755 "$scratch/with-sockets"

# What the program finds, and the sockets are the ones that others have too.
inherited_devices=(python3 -c 'import socket
for fd in 3, 4, 5:
    print(fd, socket.socket(fileno=fd).getsockopt(1, 25, 16).rstrip(b"\0").decode() or "unbound")')

binds_inherited() {
	says $'3 unbound\n4 unbound\n5 unbound' "$scratch/with-sockets" "${inherited_devices[@]}"
	says $'3 unbound\n4 unbound\n5 unbound' "$scratch/with-sockets" "${start[@]}" "$device" "${inherited_devices[@]}"
	says "3 $device"$'\n'"4 $device"$'\n5 unbound' \
		"$scratch/with-sockets" "${start[@]}" --bind-inherited "$device" "${inherited_devices[@]}"
	says $'3 unbound\n'"4 $device"$'\n5 unbound' \
		"$scratch/with-sockets" "${start[@]}" --bind-inherited=4 "$device" "${inherited_devices[@]}"
	says "3 $device"$'\n'"4 $device"$'\n5 unbound' \
		"$scratch/with-sockets" "${start[@]}" --bind-inherited=4,3 "$device" "${inherited_devices[@]}"
	refused 125 '--bind-inherited=5: descriptor 5 is not an IPv4 or IPv6 socket' \
		"$scratch/with-sockets" "${start[@]}" --bind-inherited=5 "$device" "${inherited_devices[@]}"
	refused 125 '--bind-inherited=77: descriptor 77 is no' "$scratch/with-sockets" "${start[@]}" --bind-inherited=77 "$device" true
	refused 125 '--bind-inherited requires a VRF; "default" is none' "$vrfbind" exec --bind-inherited default true
}

# gcc's runtime ends a program where another library comes before it.
address_sanitizer() {
	printf '%s\n' '#include <stdio.h>' '#include <net/if.h>' '#include <sys/socket.h>' \
		'int main(void) { char d[16] = ""; socklen_t l = 16;' \
		'getsockopt(socket(AF_INET, SOCK_DGRAM, 0), SOL_SOCKET, SO_BINDTODEVICE, d, &l); puts(*d ? d : "unbound"); }' |
		gcc -fsanitize=address -x c - -o "$scratch/sanitized"
	says unbound "$scratch/sanitized"
	not env "LD_PRELOAD=$library" "VRFBIND_VRF=$device" "$scratch/sanitized" >"$scratch/said" 2>&1
	grep -q 'does not come first' "$scratch/said"
	says "$device" "${start[@]}" "$device" "$scratch/sanitized"
	LD_PRELOAD=libasan.so.8 says "$device" "${start[@]}" "$device" "$scratch/sanitized"
}

# A kernel that has no filters, as another filter pretends: seccomp(SECCOMP_SET_MODE_FILTER) and prctl(PR_SET_SECCOMP) fail
# with EINVAL.
no_filters() {
	local prctl=157 seccomp=317
	[ "$(uname -m)" = x86_64 ] || { prctl=167 seccomp=277; }
	# PR_SET_SECCOMP is 22.
	local without_filters=("$scratch/ask" refuse "$seccomp" 0 1 22 refuse "$prctl" 0 22)
	refused 125 'cannot install the seal: prctl.PR_SET_SECCOMP.: Invalid argument; with --no-seal' \
		"${without_filters[@]}" 22 run "${start[@]}" "$device" "${here[@]}"
	refused 125 'cannot install the seal: prctl.PR_SET_SECCOMP.: Invalid argument; with --no-seal' \
		"${without_filters[@]}" 22 run "${sealed[@]}" "$device" "${here[@]}"
	refused 125 'succeeds without effect' "${without_filters[@]}" 0 run "${start[@]}" "$device" "${here[@]}"
	says "$bound" "${without_filters[@]}" 22 run "${start[@]}" --no-seal "$device" env VRFBIND_SEAL=0 "${here[@]}"
}

: >"$scratch/libvrfbind.so.text"

echo 1..40
point 'its program makes its sockets in the VRF' binds
root_point 'also as nobody, without any privilege' binds_nobody
point "options end where CMD begins" arguments
point 'the exit status is the program'\''s, 127 if there is none, 126 if it cannot be executed' statuses
point 'the program has the process: number, parent, signals, descriptors' same_process
point 'closed standard descriptors stay closed' closed_stdio
point 'scripts are followed to their interpreter' scripts
point 'and no further than the kernel does' scripts_of_scripts
point 'a program or an interpreter that is no regular file is refused as by the kernel' irregular_files
point 'a loader that does not exist is named' no_loader
point 'the environment is handed on byte for byte' environment
point 'a present LD_PRELOAD is kept' keeps_preloads
point '--bind-inherited puts inherited sockets into the VRF' binds_inherited
point 'a program with AddressSanitizer runs, which has to come first' address_sanitizer
point 'a program that bypasses the library gets no socket' seals
root_point 'nor does a program that ld.so finds no library for' loses_the_library
point '--no-seal leaves the seal off' no_seal
point 'a static program started from a shell causes a line that tells why it gets no socket' line_in_a_shell
point 'there is no such line about the command itself' itself
point 'io_uring is not available without --allow-io-uring' io_uring
if before 5.14; then
	skip_point 'a lack of descriptors is reported as such' 'no supervisor before Linux 5.14'
else
	root_point 'a lack of descriptors is reported as such' few_descriptors
fi
point 'a VRF that is missing, or no name, is refused' no_vrf
point 'a device that is not a VRF is refused, but with --any-device' not_a_vrf
root_point 'also one that has a driver' another_driver
point 'misuse ends with 125' misuse
point 'the library is found below the prefix, by VRFBIND_LIBRARY and by --library' finds_library
point 'a library that is missing, invalid, or has a path that cannot be named is refused' library_that_is_none
point 'a library of another version is refused' library_of_another_version
root_point 'a library that cannot be read is refused' library_that_is_unreadable
root_point 'a library on a noexec mount is refused' library_on_noexec
point 'a static program is refused without supervision' static_program
point_with "$scratch/ask-go-dynamic" 'so is a Go program that is linked dynamically' go_program
root_point 'a program that may not be read is supervised, or refused' cannot_be_looked_at
point 'of a file that is large little is read' large_files
if [ "$(uname -m)" = x86_64 ]; then
	point 'a program of another ELF class is refused' another_class
else
	skip_point 'a program of another ELF class is refused' 'gcc makes none here'
fi
root_point 'a set-user-ID or set-group-ID program is refused where it would lose its privilege' set_id
root_point 'a program with file capabilities is supervised, or refused' file_capabilities
point 'within a sealed tree nothing is stacked' nested_sealed
point '"default" leaves the VRF, also within a sealed tree' leaves
point 'a kernel without filters is reported' no_filters
exit "$all_ok"
