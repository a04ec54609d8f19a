#!/usr/bin/env bash
# command-rules.sh - vrfbind status and check judge sockets and machines by rules (VRFBIND_RULES)
#
# It moves to a network namespace of its own, with two places for sockets besides lo: prod, which is the VRF, and mgmt; on the
# tier vrf these are VRFs, on the tier lo ends of veth pairs.
#
# For status: a program creates sockets under the library, and can put them elsewhere by bypassing it. It reports the
# device of each, by getsockopt(), and only then status is asked. For check: its prediction is compared with what this
# program then gets.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
if [ "$(id -u)" -eq 0 ] && [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	rm -rf "$scratch"
	VRFBIND_TEST_MOVED=1 exec unshare --net "$0" "$@"
fi
for_nobody ask
command=$vrfbind
point_end=end_all
export VRFBIND_LIBRARY=$library

# The verdict on a socket in the other place: on the tier lo that is a device in no VRF.
stray=no-vrf
if [ "$(id -u)" -eq 0 ]; then
	ip link set lo up
	subnet=1
	for place in prod mgmt; do
		if [ "$tier" = vrf ]; then
			ip link add "$place" type vrf table "$subnet"
			stray=wrong-vrf
		else
			ip link add "$place" type veth peer name "$place-peer"
			ip link set "$place-peer" up
		fi
		ip link set "$place" up
		ip addr add "10.$subnet.1.1/24" dev "$place"
		subnet=99
	done
fi

# program.py ACT... - does these, keeps the sockets, and says "ready". At each line that it reads it says the truth: a line "FD
# DEVICE" for each socket ("-": on none), and "end". An ACT is words:
#
#   tcp|udp                       a socket without an address
#   tcp|udp bind IP PORT          a bound one, of TCP a listener; with "on DEVICE" behind that, it is put on that device past the
#                                 library ("-": on none)
#   tcp|udp connect IP PORT       a connected one; of TCP nobody need answer
#   udp send IP PORT              one that has sent something, without either call
#   pair IP PORT                  a listener, a client of its, and the accepted connection
#   accepted IP PORT              the accepted connection alone: another process has the listener
#   reset IP PORT                 a client whose connection the server has reset
#   forget                        writes over VRFBIND_RULES in the environment that others see
#
# A call that fails is a line "ACT ERRNO" before "ready".
cat >"$scratch/program.py" <<'END'
import ctypes, errno, os, socket, struct, sys, time

SO_BINDTODEVICE = 25
libc = ctypes.CDLL("libc.so.6", use_errno=True)
made = []

def of(one):
    name = one.getsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, 16).rstrip(b"\0").decode()
    return name or "-"

def put(one, device):
    name = b"" if device == "-" else device.encode()
    if libc.setsockopt(one.fileno(), socket.SOL_SOCKET, SO_BINDTODEVICE, name, len(name)) < 0:
        raise OSError(ctypes.get_errno(), "setsockopt")

def listener(ip, port):
    one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    one.bind((ip, int(port)))
    one.listen()
    return one

def pair(ip, port):
    server = listener(ip, port)
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("127.0.0.1" if ip == "0.0.0.0" else ip, int(port)))
    return server, client, server.accept()[0]

def do(words):
    if words[0] == "forget":
        libc.getenv.restype = ctypes.c_void_p
        at = libc.getenv(b"VRFBIND_RULES")
        ctypes.memset(at, ord("x"), len(ctypes.string_at(at)))
        return
    if words[0] == "pair":
        made.extend(pair(*words[1:]))
        return
    if words[0] == "accepted":
        server, client, accepted = pair(*words[1:])
        if os.fork() == 0:
            libc.prctl(1, 9)  # PR_SET_PDEATHSIG
            accepted.close()
            time.sleep(100000)
        server.close()
        client.close()
        made.append(accepted)
        return
    if words[0] == "reset":
        server, client, accepted = pair(*words[1:])
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        accepted.close()
        server.close()
        made.append(client)
        try:
            client.recv(1)
        except ConnectionResetError:
            return
    kind = socket.SOCK_STREAM if words[0] == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if len(words) > 2 and ":" in words[2] else socket.AF_INET
    one = socket.socket(family, kind)
    made.append(one)
    if len(words) == 1:
        return
    call, ip, port = words[1:4]
    if call == "send":
        one.sendto(b"", (ip, int(port)))
    elif call == "bind":
        one.bind((ip, int(port)))
        if kind == socket.SOCK_STREAM:
            one.listen()
    else:
        one.setblocking(False)
        try:
            one.connect((ip, int(port)))
        except BlockingIOError:
            pass
    if words[4:]:
        put(one, words[5])

for act in sys.argv[1:]:
    try:
        do(act.split())
    except OSError as error:
        print(act, errno.errorcode[error.errno], flush=True)
print("ready", flush=True)
for line in sys.stdin:
    for one in made:
        print(one.fileno(), of(one))
    print("end", flush=True)
END

# report.py FIELD - of the one process in the JSON: for "sockets" a line "FD DEVICE VRF VERDICT RULE" each ("-": none)
cat >"$scratch/report.py" <<'END'
import json, sys

[process] = json.load(sys.stdin)["processes"]
field = sys.argv[1]
if field == "sockets":
    for one in process["sockets"]:
        rule = one["rule"]
        assert rule is None or process["rules"]["list"][rule["number"] - 1] == rule["text"]
        number = rule["number"] if rule else "-"
        print(one["fd"], one["device"] or "-", one["vrf"] or "-", one["verdict"], number)
elif field == "notes":
    print("\n".join(process["notes"]))
elif field == "rules":
    rules = process["rules"]
    print(rules["from"], rules["file"] or "-", "; ".join(rules["list"])) if rules else print("-")
else:
    print(process[field])
END

write_refused_py
readonly PIDFD_GETFD=438

program=("$python" "$scratch/program.py")

# start COMMAND... - starts it in the place of the one before, and waits until it is ready. Its process is $pid, its pipes are
# $from and $to, what it has said before is $words.
pid=''
start() {
	[ -z "$pid" ] || { kill -KILL "$pid"; wait "$pid"; } 2>/dev/null || true
	coproc PROGRAM { exec "$@" 2>&1; }
	pid=$PROGRAM_PID
	exec {from}<&"${PROGRAM[0]}" {to}>&"${PROGRAM[1]}"
	started+=("$pid")
	words=''
	local line=''
	while read -r -t "$limit" line <&"$from" && [ "$line" != ready ]; do
		words+=$line$'\n'
	done
	words=${words%$'\n'}
	[ "$line" = ready ] || { echo "the program says: $words"; return 1; }
}

# ruled RULES ACT... - the program under the library, with these rules
ruled() { start env LD_PRELOAD="$library" VRFBIND_VRF=prod VRFBIND_RULES="$1" "${program[@]}" "${@:2}"; }

truth() {
	local line
	echo >&"$to"
	while read -r -t "$limit" line <&"$from" && [ "$line" != end ]; do
		echo "$line"
	done
}

same() { diff <(printf '%s\n' "$1") <(printf '%s\n' "$2"); }
lines() { printf '%s\n' "$@"; }

# found STATUS FIELD - of `vrfbind status --json $pid`, which ends with STATUS
found() {
	ends "$1" "${as[@]}" "$command" status --json "$pid"
	"$python" "$scratch/report.py" "$2" <"$scratch/said"
}
as=()

# are STATUS EXPECTED... - of each socket in turn "DEVICE VERDICT RULE". The device is first what the program says.
are() {
	local sockets
	same "$(lines "${@:2}" | cut -d' ' -f1)" "$(truth | cut -d' ' -f2)"
	sockets=$(found "$1" sockets)
	same "$(lines "${@:2}")" "$(cut -d' ' -f2,4,5 <<<"$sockets")"
	same "$(truth)" "$(cut -d' ' -f1,2 <<<"$sockets")"
}

# -- status

rules='bind tcp *:5380 mgmt; connect 10.99.0.0/16 mgmt; bind udp *:4000 default; loopback lo'
acts=('tcp bind 0.0.0.0 5380' 'tcp bind 0.0.0.0 5381' 'udp bind 0.0.0.0 4000' 'udp connect 10.99.1.1 53'
	'udp connect 10.1.1.1 53' 'udp bind 127.0.0.1 4001' 'udp bind ::1 4001' 'pair 127.0.0.1 5382' tcp udp)
where=('mgmt ok 1' 'prod ok -' '- ok 3' 'mgmt ok 2' 'prod ok -' 'lo ok 4' 'lo ok 4' 'lo ok 4' 'lo ok 4' 'lo ok 4' 'prod ok -' 'prod ok -')

by_rules() {
	# Without them, all that can be is in the VRF.
	start env LD_PRELOAD="$library" VRFBIND_VRF=prod "${program[@]}" 'tcp bind 0.0.0.0 5380' 'udp bind 0.0.0.0 4000'
	are 0 'prod ok -' 'prod ok -'
	same - "$(found 0 rules)"
	ruled "$rules" "${acts[@]}"
	same '' "$words"
	are 0 "${where[@]}"
	same "library - $rules" "$(found 0 rules)"
	same '' "$(found 0 notes)"
	ends 0 "$command" status "$pid"
	grep -q "^$pid .*: VRF prod, library .*, 4 rules, " "$scratch/said"
	grep -A1 ' tcp  *0.0.0.0:5380 ' "$scratch/said" | grep -qx '  *rule 1: bind tcp \*:5380 mgmt'
	grep -A1 ' tcp  *0.0.0.0:5381 ' "$scratch/said" | not grep -q 'rule '
}

not_by_rules() {
	ruled "$rules" 'udp bind 127.0.0.1 4001 on prod' 'udp bind 127.0.0.1 4002 on -' 'udp bind 0.0.0.0 4000 on lo' \
		'udp bind 0.0.0.0 4003 on lo' 'udp bind 0.0.0.0 4004 on -' 'udp bind 0.0.0.0 4005 on mgmt' \
		'tcp bind 0.0.0.0 5380 on prod' 'udp connect 10.99.1.1 53 on -' 'udp connect 10.1.1.1 53 on mgmt'
	are 1 "prod $stray 4" '- unbound 4' 'lo wrong-vrf 3' 'lo no-vrf -' '- unbound -' "mgmt $stray -" "prod $stray 1" '- unbound 2' \
		"mgmt $stray -"
	ends 1 "$command" status "$pid"
	grep -A1 ' udp  *127.0.0.1:4001 ' "$scratch/said" | grep -qx '  *rule 4: loopback lo'
}

# Its peer has a rule of its own.
of_listeners() {
	ruled 'bind tcp 127.0.0.1:5390-5391 lo; connect 127.0.0.1:5390-5393 lo; connect 127.0.0.1 mgmt; bind tcp *:5392-5393 lo' \
		'pair 127.0.0.1 5390' 'pair 0.0.0.0 5392' 'accepted 127.0.0.1 5391' 'accepted 0.0.0.0 5393'
	same '' "$words"
	are 0 'lo ok 1' 'lo ok 2' 'lo ok 1' 'lo ok 4' 'lo ok 2' 'lo ok 4' 'lo ok 1' 'lo ok 4'
}

# Its addresses do not tell which call has put it there. On a port of its own: who has inherited the listeners of the program
# before may still be ending.
without_peer() {
	ruled 'connect 127.0.0.1:5394 lo; bind 127.0.0.1:5394 lo; connect 10.99.1.77 mgmt' \
		'tcp connect 10.99.1.77 53' 'tcp connect 10.99.1.77 53 on lo' 'reset 127.0.0.1 5394'
	same '' "$words"
	are 0 'mgmt ok -' 'lo ok -' 'lo ok -'
	ruled 'connect 10.99.1.77 mgmt' 'tcp connect 10.99.1.77 53' 'tcp connect 10.99.1.77 53 on lo' \
		'tcp connect 10.99.1.77 53 on -'
	are 1 'mgmt ok -' 'lo no-vrf -' '- unbound -'
}

# The library was asked about port 0, or not at all.
chosen_ports() {
	ruled 'bind udp 127.0.0.1:32768-65535 mgmt; bind udp *:4000-65535 mgmt' 'udp send 10.1.1.1 53' 'udp bind 0.0.0.0 0' \
		'udp bind 0.0.0.0 4000' 'udp bind 0.0.0.0 4001 on prod' 'udp bind 0.0.0.0 0 on -'
	are 1 'prod ok -' 'prod ok -' 'mgmt ok 2' "prod $stray 2" '- unbound 2'
	ruled 'loopback lo' 'udp bind 127.0.0.1 40000 on prod'
	are 1 "prod $stray 1"
}

automatic() {
	ruled 'loopback auto' 'udp bind 127.0.0.1 4001 on lo' 'udp bind 127.0.0.1 4002 on prod' 'udp bind 127.0.0.1 4003 on mgmt' \
		'udp bind 127.0.0.1 4004 on -'
	are 1 'lo ok 1' 'prod ok 1' "mgmt $stray 1" '- unbound 1'
}

own_device() {
	ip link add port0 type veth peer name port1
	ip link set port0 master prod
	ruled 'bind * mgmt' 'udp bind 0.0.0.0 4001 on port0' 'udp bind 0.0.0.0 4002 on prod'
	are 1 'port0 ok -' 'prod wrong-vrf 1'
	ruled 'bind * mgmt; connect 192.0.2.1 port0' 'udp bind 0.0.0.0 4001 on port0'
	are 1 'port0 wrong-vrf 1'
	ip link delete port0
}

renamed_lo() {
	start unshare --net bash -c 'ip link set lo name loop0 && ip link set loop0 up &&
		ip link add prod type veth peer name kept0 && ip link set prod up && exec "$@"' bash \
		env LD_PRELOAD="$library" VRFBIND_VRF=prod VRFBIND_RULES='loopback lo' "${program[@]}" \
		'udp bind 127.0.0.1 4001' 'udp bind 127.0.0.1 4002 on prod'
	are 1 'loop0 ok 1' "prod no-vrf 1"
}

by_sock_diag() {
	as=("$python" "$scratch/refused.py" "$PIDFD_GETFD")
	ruled "$rules" 'tcp bind 0.0.0.0 5380' 'udp bind 0.0.0.0 4000' 'udp bind 127.0.0.1 4001' 'pair 127.0.0.1 5382' \
		'udp connect 10.99.1.1 53' 'udp bind 127.0.0.1 4002 on -'
	are 1 'mgmt ok 1' '- ok 3' 'lo ok 4' 'lo ok 4' 'lo ok 4' 'lo ok 4' 'mgmt ok 2' '- unbound 4'
	same sock_diag "$(found 1 method)"
}

changed_file() {
	local file=$scratch/rules
	lines '# All' 'loopback lo' >"$file"
	ruled "$file" 'udp bind 127.0.0.1 4001'
	are 0 'lo ok 1'
	same "library $file loopback lo" "$(found 0 rules)"
	same '' "$(found 0 notes)"
	lines 'loopback mgmt' >"$file"
	are 0 'lo ok 1'
	found 0 notes | grep -qx "its rules file $file has changed since: its sockets are judged by the rules that its library has .*"
	rm "$file"
	are 0 'lo ok 1'
	found 0 notes | grep -q "^its rules file $file does not exist, or is not a regular file: its sockets are judged by the rules that its"
	mkfifo "$file"
	found 0 notes | grep -q "^its rules file $file does not exist, or is not a regular file"
	# The environment is the program's memory.
	ruled 'loopback lo' 'udp bind 127.0.0.1 4001' forget
	tr '\0' '\n' <"/proc/$pid/environ" | grep -x 'VRFBIND_RULES=xxxxxxxxxxx'
	are 0 'lo ok 1'
	found 0 notes | grep -q '^its library has other rules than VRFBIND_RULES in its environment'
	rm "$file"
}

invalid() {
	ruled 'bind * a/b' 'udp bind 127.0.0.1 4001'
	same 'udp bind 127.0.0.1 4001 EINVAL' "$(grep -v '^vrfbind: ' <<<"$words")"
	same "its VRFBIND_RULES is invalid: rule 1, \"bind * a/b\", at \"a/b\": it has a '/', a ':', white space or the byte 0xa0 in it: "`
		`'it cannot create IPv4 and IPv6 sockets' "$(found 0 notes)"
	# What somebody has written into a rule steers no terminal.
	start env VRFBIND_VRF=prod VRFBIND_RULES=$'bind \e[8m a' "${program[@]}" 'udp bind 127.0.0.1 4001'
	ends 1 "$command" status "$pid"
	grep -qF 'rule 1, "bind \x1b[8m a", at "\x1b[8m": ' <(tr -s '\n ' ' ' <"$scratch/said")
	not grep -q $'\e' "$scratch/said"
	start env VRFBIND_VRF=prod VRFBIND_RULES=$'bind * \e[8m' "${program[@]}" 'udp bind 127.0.0.1 4001'
	ends 1 "$command" status "$pid"
	grep -qF 'rule 1: bind * \x1b[8m' "$scratch/said"
	not grep -q $'\e' "$scratch/said"
	ruled "$scratch/missing" udp
	same 'udp EINVAL' "$(grep -v '^vrfbind: ' <<<"$words")"
	found 0 notes | grep -q "^its VRFBIND_RULES, the file $scratch/missing, does not exist, or is not a regular file: it cannot create IPv4"
	lines 'loopback lo' >"$scratch/missing"
	found 0 notes | grep -q "its rules file $scratch/missing is valid now"
	rm "$scratch/missing"
}

# Where no library can be asked.
by_environment() {
	start env VRFBIND_VRF=prod VRFBIND_RULES="$rules" "${program[@]}" 'udp bind 127.0.0.1 4001' 'udp bind 127.0.0.1 4002 on lo' \
		'udp bind 0.0.0.0 4000'
	are 1 '- unbound 4' 'lo ok 4' '- ok 3'
	same "environment - $rules" "$(found 1 rules)"
	start env VRFBIND_VRF=default VRFBIND_RULES="$rules" "${program[@]}" 'udp bind 127.0.0.1 4001'
	are 0 '- ok -'
	start env VRFBIND_RULES="$rules" "${program[@]}" 'udp bind 127.0.0.1 4001'
	are 1 '- unbound -'
	start env VRFBIND_VRF=prod VRFBIND_RULES='bind *' "${program[@]}"
	found 0 notes | grep -q '^its VRFBIND_RULES is invalid: rule 1, "bind \*", at its end: '
}

# -- check

check() { ends "$1" "${as[@]}" "$command" check "${any[@]}" "${@:2}"; }
# says LINE... - lines about rules
tells() {
	local line
	for line; do
		grep -qE "$line" "$scratch/said" || { echo "no line is like: $line"; cat "$scratch/said"; return 1; }
	done
}

followed() {
	check 0 prod --rule 'bind tcp *:5380 mgmt' --rule 'bind udp 10.99.1.1:53 mgmt' --loopback
	not grep -qE '^(warn|fail)  rules' "$scratch/said"
	tells '^ok    rules: bind tcp \*:5380 mgmt; bind udp 10.99.1.1:53 mgmt; loopback lo$' \
		'^ok    rules: rule 1, .*: mgmt is a device of this network namespace$' \
		'^ok    rules: rule 2, .*: 10.99.1.1 is an address of mgmt$' '^ok    127.0.0.1: is where rule 3 puts it$' \
		'^ok    rules: a socket is moved to a rule.s device in one step, with CAP_NET_RAW'
	ruled 'bind tcp *:5380 mgmt; bind udp 10.99.1.1:53 mgmt; loopback lo' 'tcp bind 0.0.0.0 5380' 'udp bind 10.99.1.1 53' \
		'udp bind 127.0.0.1 4001'
	same "$(lines mgmt mgmt lo)" "$(truth | cut -d' ' -f2)"
	# Those of the environment, too, and their file.
	lines 'bind udp * mgmt' >"$scratch/file"
	as=(env VRFBIND_RULES="$scratch/file")
	check 0 prod
	tells "^ok    rules: VRFBIND_RULES=$scratch/file: bind udp \* mgmt\$" '^ok    rules: rule 1, .*: mgmt is a device '
	as=()
	check 0 prod
	not grep -q rules: "$scratch/said"
	# A name server on the loopback.
	ruled 'loopback lo' 'udp connect 127.0.0.53 53'
	same lo "$(truth | cut -d' ' -f2)"
	lines 'nameserver 127.0.0.53' >"$scratch/resolv"
	# shellcheck disable=SC2016  # the other shell's
	as=(unshare --mount bash -c 'mount --bind "$0" /etc/resolv.conf && exec "$@"' "$scratch/resolv")
	check 0 prod
	tells '^warn  names: .* names the server 127.0.0.53, on the host.s loopback, which sockets in prod do not reach'
	check 0 prod --loopback
	not grep -q 'names the server 127.0.0.53' "$scratch/said"
	as=()
	check 125 --loopback
	check 125 --running --loopback prod
}

missing_device() {
	ruled 'bind udp *:4001 missing0' 'udp bind 0.0.0.0 4001'
	same 'udp bind 0.0.0.0 4001 ENODEV' "$(grep -v '^vrfbind: ' <<<"$words")"
	check 1 prod --rule 'bind udp *:4001 missing0'
	tells '^fail  rules: rule 1, "bind udp \*:4001 missing0": there is no device missing0 in this network namespace'
	check 1 --json prod --rule 'bind udp *:4001 missing0'
	"$python" - "$scratch/said" <<-'END'
		import json, sys
		report = json.load(open(sys.argv[1]))
		assert report["ok"] is False
		[found] = [one for one in report["findings"] if one["level"] == "fail"]
		assert found["subject"] == "rules" and "no device missing0" in found["found"], found
		assert {one["level"] for one in report["findings"]} <= {"ok", "warn", "fail"}
	END
	# It is there, and elsewhere.
	as=(unshare --net bash -c 'ip link add prod type veth peer name missing0 && ip link set prod up && exec "$@"' bash)
	local any=(--any-device)
	check 0 prod --rule 'bind udp *:4001 missing0'
}

missing_address() {
	ruled 'bind udp 10.1.1.1 mgmt' 'udp bind 10.1.1.1 4001'
	# A device that is no VRF takes any address of the machine.
	if [ "$tier" = vrf ]; then
		same 'udp bind 10.1.1.1 4001 EADDRNOTAVAIL' "$(grep -v '^vrfbind: ' <<<"$words")"
		check 0 prod --rule 'bind udp 10.1.1.1 mgmt'
		tells '^warn  rules: rule 1, .*: 10.1.1.1 is not an address of mgmt, and bind\(\) fails with EADDRNOTAVAIL'
	fi
	ruled 'bind udp 192.0.2.77 mgmt; bind [2001:db8::77] mgmt' 'udp bind 192.0.2.77 4001' 'udp bind 2001:db8::77 4001'
	same "$(lines 'udp bind 192.0.2.77 4001 EADDRNOTAVAIL' 'udp bind 2001:db8::77 4001 EADDRNOTAVAIL')" \
		"$(grep -v '^vrfbind: ' <<<"$words")"
	check 0 prod --rule 'bind udp 192.0.2.77 mgmt' --rule 'bind [2001:db8::77] mgmt' --rule 'bind 10.99.0.0/16 mgmt'
	tells '^warn  rules: rule 1, .*: 192.0.2.77 is not an address of mgmt' '^warn  rules: rule 2, .*: 2001:db8::77 is not an address of'
	not grep -q '10.99.0.0.* is not an address' "$scratch/said"
}

foreseen_automatic() {
	local loopback=('udp bind 127.0.0.1 4001')
	if [ "$tier" = vrf ]; then
		ruled 'loopback auto' "${loopback[@]}"
		same lo "$(truth | cut -d' ' -f2)"
		check 0 prod --loopback=auto
		tells '^ok    rules: rule 1, .*: 127.0.0.1 is that of lo, prod does not have it' '^ok    127.0.0.1: is where rule 1 puts it'
		ip addr add 127.0.0.1/8 dev prod
	fi
	# A device that is no VRF takes any address of the machine.
	ruled 'loopback auto' "${loopback[@]}"
	same "$(if [ "$tier" = vrf ]; then echo prod; else device_of_auto; fi)" "$(truth | cut -d' ' -f2)"
	check 0 prod --loopback=auto
	if [ "$tier" = vrf ]; then
		tells '^ok    rules: rule 1, .*: 127.0.0.1 stays in prod, which has it' '^ok    127.0.0.1: is an address of prod'
		ip addr del 127.0.0.1/8 dev prod
	fi
}
device_of_auto() { "$python" -c 'import socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(1, 25, b"prod")
try:
    one.bind(("127.0.0.1", 0))
    print("prod")
except OSError:
    print("lo")'; }

said_aloud() {
	ruled 'bind udp * lo; bind udp *:4001 mgmt; connect * default' 'udp bind 0.0.0.0 4001' 'udp connect 127.0.0.1 53'
	same "$(lines lo -)" "$(truth | cut -d' ' -f2)"
	check 0 prod --rule 'bind udp * lo' --rule 'bind udp *:4001 mgmt' --rule 'connect * default'
	tells '^warn  rules: rule 2, "bind udp \*:4001 mgmt": never decides, because rule 1, "bind udp \* lo", comes first' \
		'^warn  rules: rule 3, "connect \* default": leaves sockets without a device, in the default VRF, on purpose$'
	[ "$(grep -c 'never decides' "$scratch/said")" = 1 ]
}

without_capability() {
	# The kernel's answer without it.
	same EPERM "$("${nobody[@]}" "$python" -c 'import errno, socket
one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
one.setsockopt(1, 25, b"prod")
try:
    one.setsockopt(1, 25, b"mgmt")
except OSError as error:
    print(errno.errorcode[error.errno])')"
	as=("${nobody[@]}")
	check 0 prod --rule 'bind udp * mgmt'
	tells '^warn  rules: without CAP_NET_RAW a socket .*is replaced by another socket where this is safe.*'`
		`'\(RULES in libvrfbind\(7\)\)$'
	as=(unshare --mount bash -c 'mount -t tmpfs none /proc && exec "$@"' bash "${nobody[@]}")
	check 0 prod --rule 'bind udp * mgmt'
	tells '^warn  rules: without CAP_NET_RAW a socket .*, and fewer sockets can be replaced: /proc/self/fdinfo cannot be read'
}

foreseen_invalid() {
	ruled 'bind * a/b' udp
	same 'udp EINVAL' "$(grep -v '^vrfbind: ' <<<"$words")"
	refused 125 'rule 2, "bind \* a/b", at "a/b"' "$command" check prod --rule 'bind * a' --rule 'bind * a/b'
	as=(env VRFBIND_RULES='bind * a; bind *')
	check 1 prod
	tells '^fail  rules: rule 2, "bind \*", at its end: .*; every IPv4 and IPv6 socket would fail with EINVAL$' \
		'^fail  probe: cannot create a socket bound to prod'
	as=(env VRFBIND_RULES="$scratch/none")
	check 1 prod
	tells "^fail  rules: VRFBIND_RULES=$scratch/none: cannot be read: No such file"
	head -c 16385 /dev/zero | tr '\0' '#' >"$scratch/large"
	as=(env VRFBIND_RULES="$scratch/large")
	check 1 prod
	tells "^fail  rules: VRFBIND_RULES=$scratch/large: the file has more than 16 KiB"
}

# In a unit, the rules are the unit's.
foreseen_in_unit() {
	as=(env LD_PRELOAD="$library" VRFBIND_VRF=prod VRFBIND_RULES='bind tcp *:5380 mgmt')
	check 0 --quiet --loaded prod
	[ ! -s "$scratch/said.stderr" ]
	as=(env LD_PRELOAD="$library" VRFBIND_VRF=prod VRFBIND_RULES='bind tcp *:5380 missing0')
	check 1 --quiet --loaded prod
	grep -q '^vrfbind: rules: rule 1, "bind tcp \*:5380 missing0": there is no device missing0 ' "$scratch/said.stderr"
}

# -- The points

[ "$tier" = vrf ] && echo 1..20 || echo 1..19
root_point 'a socket is ok where the rule of its address says, on lo and on none too, and the rule is shown' by_rules
root_point 'elsewhere it is a finding, on lo and on none too where no rule says so' not_by_rules
root_point 'an accepted connection is judged as its listener is, whoever has that' of_listeners
root_point 'a stream that has lost its peer may be where any rule puts it' without_peer
root_point 'where the kernel has chosen the port, it may be in the VRF too' chosen_ports
root_point '"loopback auto" is ok in the VRF and on lo' automatic
[ "$tier" = lo ] || root_point 'a device of its VRF that the program has chosen, and no rule names, is ok' own_device
root_point 'lo is the loopback device, whatever it is called' renamed_lo
root_point 'where pidfd_getfd is refused, sock_diag shows the same' by_sock_diag
root_point 'a rules file that has changed since, and an environment that differs, are reported' changed_file
root_point 'invalid rules are reported, with the place' invalid
root_point 'without the library the rules are those of the environment' by_environment
root_point 'check foresees that rules are followed' followed
root_point 'check names a device that is missing' missing_device
root_point 'check names an address that is missing' missing_address
root_point 'check tells the device of "loopback auto"' foreseen_automatic
root_point 'check tells which rule never decides, and which leaves sockets without a device' said_aloud
root_point 'check tells what cannot be moved without CAP_NET_RAW, and what cannot be replaced' without_capability
root_point 'check names invalid rules, with the place' foreseen_invalid
root_point 'check --loaded judges the rules of its unit' foreseen_in_unit
exit "$all_ok"
