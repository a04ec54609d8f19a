#!/usr/bin/env bash
# daemon-link-local.sh - named and dnsmasq answer no other network by a link-local address
#
# Prints TAP (testanything.org) and is run on the tier vrf, by topology.sh. Both daemons listen on each address that
# they see, the link-local ones of all VRFs among them, and the kernel would let them. In each VRF one runs, beside the
# one in the other VRF. The verdicts are the devices of their sockets (c-tests/command/sockets.c) and the answers that
# clients get: in each network this network's data, and on the uplink of the default VRF none.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names
set -euo pipefail

library=${VRFBIND_TEST_LIB:?}
sockets=${VRFBIND_TEST_BIN:?}/sockets
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG

scratch=$(mktemp -d "${T_DIR:?}/link-local.XXXXXX")
chmod 755 "$scratch"
# The daemons that run now.
daemons=()
end() {
	[ ${#daemons[@]} -eq 0 ] || kill "${daemons[@]}" 2>/dev/null || true
	wait "${daemons[@]}" 2>/dev/null || true
	daemons=()
}
trap 'end; rm -rf "$scratch"' EXIT

# shellcheck source=tests/tap.sh
. "$(dirname -- "$0")/tap.sh"

declare -A client=([blue]=$T_BLUE_CLIENT [red]=$T_RED_CLIENT)
declare -A answer=([blue]=10.0.0.11 [red]=10.0.0.22)

for vrf in blue red; do
	mkdir "$scratch/$vrf"
	cat >"$scratch/$vrf/zone" <<-END
		\$TTL 60
		@ SOA ns.test. root.test. 1 60 60 60 60
		@ NS ns.test.
		ns A ${answer[$vrf]}
		app A ${answer[$vrf]}
	END
	cat >"$scratch/$vrf/named.conf" <<-END
		options {
			directory "$scratch/$vrf";
			pid-file none;
			session-keyfile none;
			listen-on { any; };
			listen-on-v6 { any; };
			recursion no;
			interface-interval 0;
		};
		controls { };
		zone "test" { type primary; file "zone"; };
	END
done

# start DAEMON VRF BEFORE... - in the background, its output in a file
start() {
	local daemon=$1 vrf=$2
	shift 2
	case $daemon in
	named) set -- "$@" named -g -n 1 -c "$scratch/$vrf/named.conf" ;;
	dnsmasq)
		set -- "$@" dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-dynamic --user=root \
			--log-facility=- --pid-file= "--address=/app.test/${answer[$vrf]}"
		;;
	esac
	"$@" >"$scratch/$vrf/log" 2>&1 &
	daemons+=($!)
}

# start_both DAEMON - one in each VRF, under the library
start_both() {
	end
	for vrf in blue red; do
		start "$1" "$vrf" env "LD_PRELOAD=$library" "VRFBIND_VRF=$vrf"
	done
}

# link_local NAMESPACE DEVICE
link_local() { ip -n "$1" -6 -oneline address show dev "$2" scope link | awk '{ sub("/.*", "", $4); print $4 }'; }

# ask NAMESPACE ADDRESS - the server's answer for app.test; nothing, if it does not answer in some seconds
ask() {
	ip netns exec "$1" /usr/bin/python3 - "$2" "${3:-20}" <<-'END'
		import socket, sys, time
		question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03app\x04test\x00\x00\x01\x00\x01"
		address = socket.getaddrinfo(sys.argv[1], 53, type=socket.SOCK_DGRAM)[0]
		client = socket.socket(address[0], socket.SOCK_DGRAM)
		client.settimeout(0.5)
		for _ in range(int(sys.argv[2])):
		    try:
		        client.sendto(question, address[4])
		        reply = client.recv(512)
		    except OSError:
		        time.sleep(0.05)
		        continue
		    if reply[7]:
		        print(socket.inet_ntoa(reply[-4:]) if b"\x00\x01\x00\x01\x00" in reply else reply)
		        break
		    print("no answer in the reply")
		    break
	END
}

# hears NAMESPACE ADDRESS TEXT - asks until the answer is TEXT
hears() {
	local heard
	heard=$(ask "$1" "$2")
	[ "$heard" = "$3" ] || { echo "at $2: \"$heard\", not \"$3\""; return 1; }
}

own_clients_are_served() {
	local vrf
	for vrf in blue red; do
		ip -n "${client[$vrf]}" address replace 10.10.1.50/24 dev eth0
		await hears "${client[$vrf]}" 10.10.1.1 "${answer[$vrf]}"
	done
}

# Called after the daemon has answered elsewhere, so that it is up.
nobody_answers_on_the_uplink() {
	local heard
	heard=$(ask "$T_UPSTREAM" "$(link_local "$T_EDGE" "$T_UPLINK")%eth0" 4)
	echo "on the uplink: $heard"
	[ -z "$heard" ]
}

# Without the library the daemon answers on all links, the uplink of the default VRF among them.
answers_everywhere() {
	await hears "$T_UPSTREAM" "$(link_local "$T_EDGE" "$T_UPLINK")%eth0" "${answer[blue]}"
	not "$sockets" blue "${daemons[0]}" >/dev/null
}


sockets_stay() {
	local i=0 vrf
	for vrf in blue red; do
		"$sockets" "$vrf" "${daemons[$i]}"
		i=$((i + 1))
	done
}

# The kernel refuses the addresses of other networks too, except the link-local ones: the library has to refuse these.
says_it_once() {
	local vrf
	for vrf in blue red; do
		cat "$scratch/$vrf/log"
		[ "$(grep -c '^vrfbind: bind() .* fails with EADDRNOTAVAIL: .* whose address it names' "$scratch/$vrf/log")" -eq 1 ]
	done
}

echo 1..10
for daemon in named dnsmasq; do
	# Not by point(), whose subshell would forget them.
	start "$daemon" blue env
	point "$daemon without the library answers on the uplink of the default VRF" answers_everywhere
	start_both "$daemon"
	point "$daemon in each of two VRFs: clients are served by their own" own_clients_are_served
	point "$daemon: every socket is in its VRF" sockets_stay
	point "$daemon: nobody answers on the uplink" nobody_answers_on_the_uplink
	point "$daemon: the refusal is reported once" says_it_once
	end
done
exit "$all_ok"
