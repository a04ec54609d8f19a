# shellcheck shell=bash
# peers.sh - what rules-daemons.sh and resolvers.sh have in common: who asks, and who is asked; they source it after command.sh
#
# Blue, red, a third VRF, green, and the default VRF have a peer each (peer.py): 192.0.2.53, 54 and 55 in all four. A peer answers
# with the name of its VRF: who asks or is asked in the wrong VRF is seen. The edge is 192.0.2.1 in blue, .2 in red, .4 in green and
# .3 in the default VRF, the decoy. What a peer hears is in $scratch/heard.VRF. What arrives at the links that no program has any
# business with is counted.
# shellcheck disable=SC2034  # of who sources it

declare -A peer=([blue]=$T_BLUE_UPSTREAM [red]=$T_RED_UPSTREAM [default]=$T_UPSTREAM [green]=$T_RED_CLIENT)
declare -A number=([blue]=1 [red]=2 [default]=3 [green]=4)

# How long one may take, in seconds. Some that must fail do so by that; where one must succeed, it is tried again.
once=$((limit < 60 ? 5 : limit / 12))

# from VRF COMMAND... - by the peer of that VRF
from() { timeout "$once" nsenter --net="/run/netns/${peer[$1]}" -- "${@:2}"; }
# is TEXT COMMAND... - what it prints
is() {
	local said
	said=$("${@:2}" 2>&1 </dev/null) || true
	[ "$said" = "$1" ] || { echo "\"$said\", not \"$1\": ${*:2}"; return 1; }
}
http=(curl --silent --show-error --max-time "$once")
asks=("$python" "$scratch/ask.py")

# ask.py dns ADDRESS NAME | ntp ADDRESS | snmp ADDRESS - prints the answer; fails if there is none in two seconds
cat >"$scratch/ask.py" <<'END'
import socket, sys

kind, address = sys.argv[1:3]
client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
client.settimeout(0.5)
if kind == "dns":
    name = b"".join(bytes([len(part)]) + part.encode() for part in sys.argv[3].split("."))
    port, question = 53, b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + b"\x00\x00\x01\x00\x01"
elif kind == "ntp":
    port, question = 123, b"\x23" + bytes(47)
else:
    # A GET of sysName.0, community public.
    port, question = 161, bytes.fromhex(
        "302902010104067075626c6963a01c02040000000102010002010030 0e300c06082b060102010105000500")
for _ in range(4):
    try:
        client.connect((address, port))
        client.send(question)
        answer = client.recv(1024)
    except TimeoutError:
        continue
    except OSError as error:
        sys.exit(error)
    if kind == "dns":
        if not answer[7]:
            sys.exit("no answer in the reply")
        print(socket.inet_ntoa(answer[-4:]))
    elif kind == "ntp":
        print("mode", answer[0] & 7)
    else:
        print(answer[-answer[answer.rindex(b"\x06\x08+\x06\x01\x02\x01\x01\x05\x00") + 11]:].decode())
    sys.exit()
sys.exit("no answer")
END

# peer.py NAME NUMBER LOG - DNS (any name is 10.0.0.NUMBER), HTTP (NAME), syslog, SSH (a greeting). LOG has the lines of syslog and SSH,
# and the host of each HTTP request.
cat >"$scratch/peer.py" <<'END'
import http.server, os, socket, socketserver, sys, threading

name, number, log = sys.argv[1], int(sys.argv[2]), open(sys.argv[3], "ab", buffering=0)

class Dns(socketserver.BaseRequestHandler):
    def handle(self):
        query, server = self.request
        end = query.index(b"\0", 12) + 5
        is_a = query[end - 4:end - 2] == b"\0\1"
        answer = b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4" + bytes([10, 0, 0, number])
        server.sendto(query[:2] + b"\x85\x80\0\1" + (b"\0\1" if is_a else b"\0\0") + bytes(4) + query[12:end]
                      + (answer if is_a else b""), self.client_address)

class Http(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        log.write(f"http {self.headers['Host']} {self.headers['User-Agent']}\n".encode())
        self.send_response(200)
        self.end_headers()
        self.wfile.write(name.encode())
    def log_message(self, *_):
        pass

class SyslogUdp(socketserver.BaseRequestHandler):
    def handle(self):
        log.write(b"udp " + self.request[0] + b"\n")

class SyslogTcp(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            log.write(b"tcp " + line)

class Ssh(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"SSH-2.0-peer\r\n")
        log.write(b"ssh " + self.rfile.readline())

class Tcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True

class Udp(socketserver.ThreadingUDPServer):
    pass

at = "127.0.0.1" if name == "edge" else ""
servers = [Tcp((at, 8080), Http)] if at else [
    # A datagram's answer has the address that was asked.
    *[Udp((f"192.0.2.{last}", 53), Dns) for last in (53, 54, 55)],
    Tcp((at, 80), Http), Udp((at, 514), SyslogUdp), Tcp((at, 514), SyslogTcp), Tcp((at, 22), Ssh)]
for server in servers:
    threading.Thread(target=server.serve_forever).start()
END

ip -batch - <<-END
	link add green type vrf table 103
	link set green up
	link add up-green type veth peer name eth1 netns ${peer[green]}
	link set up-green master green up
	address add 192.0.2.4/24 dev up-green
END
ip -n "${peer[green]}" -batch - <<-END
	address add 192.0.2.53/24 dev eth1
	link set eth1 up
END
peers=()
for vrf in "${!peer[@]}"; do
	device=eth0
	[ "$vrf" != green ] || device=eth1
	printf 'address add %s dev %s\n' 192.0.2.54/24 "$device" 192.0.2.55/24 "$device" "10.0.0.${number[$vrf]}/32" lo |
		ip -n "${peer[$vrf]}" -batch -
	nsenter --net="/run/netns/${peer[$vrf]}" -- "$python" "$scratch/peer.py" "$vrf" "${number[$vrf]}" "$scratch/heard.$vrf" &
	peers+=($!)
done
# count NAMESPACE DEVICE INDEX - what arrives there, as tests/topology.sh does for the default VRF
count() {
	tc -n "$1" -batch - <<-TC
		qdisc add dev $2 ingress
		filter add dev $2 ingress pref 1 protocol arp matchall action pass
		$(for type in 130 131 132 143 133 135 136; do
			echo "filter add dev $2 ingress pref 2 protocol ipv6 flower ip_proto icmpv6 type $type action pass"
		done)
		filter add dev $2 ingress pref 3 protocol all matchall action pass index $3
	TC
}
counted() { tc -n "$1" -statistics actions get action gact index "$2" | sed -n 's/.*bytes \([0-9]*\) pkt.*/\1/p'; }
count "$T_BLUE_CLIENT" eth0 91
count "$T_RED_CLIENT" eth0 92
count "$T_RED_UPSTREAM" eth0 93
count "$T_RED_CLIENT" eth1 94
# A program of this machine that the daemons reach on 127.0.0.1.
"$python" "$scratch/peer.py" edge 0 "$scratch/heard.edge" &
peers+=($!)
trap 'kill "${peers[@]}"; wait; rm -rf "$scratch"' EXIT
