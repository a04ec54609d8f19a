#!/usr/bin/env bash
# rules-daemons.sh [DAEMON...] - one daemon of Debian in several VRFs, and reached on 127.0.0.1, by rules
#
# Speaks TAP (testanything.org) and is run on the tier vrf, with the variables of tests/topology.sh. The daemons are not installed
# on this machine: tests/packages.sh has set them aside in target/daemons.
#
# The daemon's VRF is blue. Blue, red, a third VRF, green, and the default VRF have a peer each (peer.py): 192.0.2.53, 54 and 55 in
# all four. It asks the daemon, and answers with the name of its VRF: who asks or is asked in the wrong VRF is seen. The edge is
# 192.0.2.1 in blue, .2 in red, .4 in green and .3 in the default VRF, the decoy. A daemon has of its own
#
#   daemon      the command line                            rules      what it needs
#   sockets     PROTOCOL LOCAL DEVICE, a pattern for LOCAL: those that must be there. All others must be in blue
#   requests    what must be answered: in blue, and on 127.0.0.1 or in red
#   strayed     a request from a VRF where the daemon must not be reached
#
# Of each: as it is, under `ip vrf exec` and under `vrfbind exec` without rules some requests fail. By rules all are answered, the
# sockets say that they are on their devices (c-tests/command/sockets.c), and no packet leaves by the default VRF.
#
# Without arguments: the daemons of `make test`. tests/rules-daemons-more.sh has the others.
# shellcheck disable=SC2317,SC2034,SC2016  # functions are called by point(), variables are used there, requests are text
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

[ $# -gt 0 ] || set -- redis dnsmasq libc unbound named dnsdist snmpd nginx python
packages=target/daemons/${VRFBIND_TEST_DAEMONS:-daemons}.tar
if [ -e "$packages" ] && [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	VRFBIND_TEST_MOVED=1 exec tests/set-aside.sh over "$packages" "$0" "$@"
fi
# shellcheck source=tests/command.sh
. tests/command.sh

declare -A peer=([blue]=$T_BLUE_UPSTREAM [red]=$T_RED_UPSTREAM [default]=$T_UPSTREAM [green]=$T_RED_CLIENT)
declare -A number=([blue]=1 [red]=2 [default]=3 [green]=4)

# --- Requests ---

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
    Udp((at, 53), Dns), Tcp((at, 80), Http), Udp((at, 514), SyslogUdp), Tcp((at, 514), SyslogTcp), Tcp((at, 22), Ssh)]
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
# A program of this machine that the daemons reach on 127.0.0.1.
"$python" "$scratch/peer.py" edge 0 "$scratch/heard.edge" &
peers+=($!)
trap 'kill "${peers[@]}"; wait; rm -rf "$scratch"' EXIT

# --- The daemons ---

strayed() { false; }

unbound() {
	cat >"$scratch/unbound.conf" <<-END
		server:
		  interface: 192.0.2.1
		  interface: 192.0.2.2
		  access-control: 192.0.2.0/24 allow
		  use-syslog: no
		  chroot: ""
		  pidfile: ""
		  auto-trust-anchor-file: ""
		  do-ip6: no
		  do-not-query-localhost: no
		  local-data: "own.example. A 10.0.0.9"
		forward-zone:
		  name: "."
		  forward-addr: 192.0.2.53
		remote-control:
		  control-enable: yes
		  control-interface: 127.0.0.1
		  control-use-cert: no
	END
	daemon=(/usr/sbin/unbound -d -p -c "$scratch/unbound.conf")
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red'
		'tcp 127.0.0.1:8953 lo')
	requests=(
		'unbound-control -c "$scratch/unbound.conf" status'
		'is 10.0.0.9 from red "${asks[@]}" dns 192.0.2.2 own.example'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 other.example'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 own.example; }
}

redis() {
	daemon=("${nobody[@]}" redis-server --bind 127.0.0.1 192.0.2.1 --protected-mode no --save '' --dir /)
	rules=('loopback lo')
	sockets=('tcp 127.0.0.1:6379 lo' 'tcp 192.0.2.1:6379 blue')
	requests=('is PONG redis-cli -h 127.0.0.1 PING' 'is PONG from blue redis-cli -h 192.0.2.1 PING')
	strayed() { is PONG from red redis-cli -h 192.0.2.2 PING; }
}

named() {
	mkdir -p "$scratch/named"
	cat >"$scratch/named/key" <<-'END'
		key "rndc-key" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"; };
	END
	cat >"$scratch/named/conf" <<-END
		include "$scratch/named/key";
		options {
			directory "$scratch/named";
			pid-file none;
			session-keyfile none;
			listen-on { 192.0.2.1; 192.0.2.2; };
			listen-on-v6 { none; };
			dnssec-validation no;
			recursion yes;
			allow-recursion { any; };
			forward only;
			forwarders { 192.0.2.53; };
			empty-zones-enable no;
		};
		controls { inet 127.0.0.1 port 953 allow { 127.0.0.1; } keys { "rndc-key"; }; };
	END
	daemon=(/usr/sbin/named -g -n 1 -c "$scratch/named/conf")
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red'
		'tcp 127.0.0.1:953 lo')
	requests=(
		'rndc -k "$scratch/named/key" -s 127.0.0.1 reload'
		'is 10.0.0.1 from red "${asks[@]}" dns 192.0.2.2 other.example'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 other.example'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

snmpd() {
	cat >"$scratch/snmpd.conf" <<-'END'
		sysName edge
		rocommunity public
	END
	daemon=(/usr/sbin/snmpd -f -Lo -C -c "$scratch/snmpd.conf" -I system_mib udp:192.0.2.1:161 udp:192.0.2.2:161 udp:127.0.0.1:161)
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('udp 192.0.2.1:161 blue' 'udp 192.0.2.2:161 red' 'udp 127.0.0.1:161 lo')
	requests=(
		'is edge "${asks[@]}" snmp 127.0.0.1'
		'is edge from red "${asks[@]}" snmp 192.0.2.2'
		'is edge from blue "${asks[@]}" snmp 192.0.2.1'
	)
	strayed() { from default "${asks[@]}" snmp 192.0.2.3; }
}

nginx() {
	cat >"$scratch/nginx.conf" <<-END
		user www-data;
		worker_processes 2;
		daemon off;
		pid $scratch/nginx.pid;
		error_log stderr;
		events { }
		http {
			access_log off;
			server {
				listen 80;
				location /inside { proxy_pass http://127.0.0.1:8080; }
				location /blue { proxy_pass http://192.0.2.53:80; }
				location /red { proxy_pass http://192.0.2.54:80; }
			}
			server {
				listen 127.0.0.1:81;
				location / { return 200 status; }
			}
		}
	END
	daemon=(/usr/sbin/nginx -c "$scratch/nginx.conf")
	rules=('connect 192.0.2.54 red' 'loopback lo')
	sockets=('tcp 0.0.0.0:80 blue' 'tcp 127.0.0.1:81 lo')
	requests=(
		'is status "${http[@]}" 127.0.0.1:81'
		'is edge from blue "${http[@]}" 192.0.2.1/inside'
		'is red from blue "${http[@]}" 192.0.2.1/red'
		'is blue from blue "${http[@]}" 192.0.2.1/blue'
	)
	strayed() { from red "${http[@]}" 192.0.2.2/inside || from default "${http[@]}" 192.0.2.3/inside; }
}

dnsmasq() {
	daemon=(/usr/sbin/dnsmasq --keep-in-foreground --conf-file=/dev/null --no-resolv --no-hosts --bind-interfaces --pid-file=
		--log-facility=- --listen-address=127.0.0.53 --server=192.0.2.53)
	rules=('loopback lo')
	sockets=('udp 127.0.0.53:53 lo' 'tcp 127.0.0.53:53 lo')
	requests=(
		'is 10.0.0.1 "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback blue "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
	)
	strayed() { from blue "${asks[@]}" dns 192.0.2.1 other.example || from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

# dig sets SO_REUSEPORT and binds to the wildcard, unless it is told an address: such a socket is not moved by connect().
# What it listens on is an extra listener: its usual one it puts on lo itself, which the library refuses.
# resolves USER PATTERN COMMAND... - COMMAND is run by USER, with a new name in the place of NAME; its output, or what the peer
# in blue has heard, has a line of PATTERN
resolves() {
	local user=() pattern=$2 name=n$RANDOM.example
	[ "$1" = root ] || user=("${nobody[@]}")
	shift 2
	{
		timeout "$once" "${user[@]}" "${under[@]}" "${@//NAME/$name}" </dev/null || true
		cat "$scratch/heard.blue"
	} >"$scratch/heard" 2>&1
	grep -E "${pattern//NAME/$name}" "$scratch/heard" || { cat "$scratch/heard"; return 1; }
}
# Programs whose names libc resolves, by a resolver on 127.0.0.53: they are what is run in each way.
libc() {
	local user
	for_nobody ask
	dnsmasq
	resolver=("$vrfbind" exec blue --loopback --)
	rm -f /etc/resolv.conf
	echo 'nameserver 127.0.0.53' >/etc/resolv.conf
	echo 'hosts: files dns' >/etc/nsswitch.conf
	mkdir -p "$scratch/apt/lists/partial"
	requests=()
	for user in root nobody; do
		requests+=(
			"resolves $user '^10.0.0.1 +NAME' getent hosts NAME"
			"resolves $user '^http NAME curl/' curl --silent http://NAME/"
			"resolves $user '^http NAME Python' '$python' -c 'import urllib.request as r; r.urlopen(\"http://NAME/\")'"
			"resolves $user '^http NAME git/' git ls-remote http://NAME/repository"
			"resolves $user '^ssh SSH-2.0-OpenSSH' ssh -F /dev/null -o BatchMode=yes NAME"
		)
	done
	requests+=("resolves_for_apt")
}
# Its method http runs as _apt.
resolves_for_apt() {
	echo 'deb [trusted=yes] http://apt.example/ ./' >"$scratch/apt/sources.list"
	: >"$scratch/heard.blue"
	resolves root '^http apt.example Debian APT' apt-get -o "Dir::Etc::SourceList=$scratch/apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$scratch/apt/lists" update
}

systemd_resolved() {
	mkdir -p /run/systemd
	mount -t tmpfs -o mode=755 resolved /run/systemd
	cat >/etc/systemd/resolved.conf <<-'END'
		[Resolve]
		DNS=192.0.2.53
		LLMNR=no
		MulticastDNS=no
		DNSSEC=no
		DNSStubListener=no
		DNSStubListenerExtra=127.0.0.53
	END
	daemon=(/lib/systemd/systemd-resolved)
	rules=('loopback lo')
	sockets=('udp 127.0.0.53:53 lo' 'tcp 127.0.0.53:53 lo')
	requests=(
		'is 10.0.0.1 "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red dig -b 127.0.0.1 +short @127.0.0.53 "$RANDOM.example"'
	)
	strayed() { from blue "${asks[@]}" dns 192.0.2.1 other.example || from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

# A program that listens in three VRFs, and says to each client who has answered it in all of them and on 127.0.0.1.
in_three_vrfs() {
	rules=('bind tcp *:7002 red' 'bind tcp *:7003 green' 'connect 192.0.2.54 red' 'connect 192.0.2.55 green' 'loopback lo')
	requests=(
		'is "blue red green edge" from blue "${http[@]}" 192.0.2.1:7001'
		'is "blue red green edge" from red "${http[@]}" 192.0.2.2:7002'
		'is "blue red green edge" from green "${http[@]}" 192.0.2.4:7003'
	)
	strayed() {
		from red "${http[@]}" 192.0.2.2:7001 || from blue "${http[@]}" 192.0.2.1:7002 || from default "${http[@]}" 192.0.2.3:7003
	}
}

python() {
	cat >"$scratch/three.py" <<-'END'
		import http.server, threading, urllib.request

		class Handler(http.server.BaseHTTPRequestHandler):
		    def do_GET(self):
		        heard = [urllib.request.urlopen("http://" + address).read().decode()
		                 for address in ("192.0.2.53", "192.0.2.54", "192.0.2.55", "127.0.0.1:8080")]
		        self.send_response(200)
		        self.end_headers()
		        self.wfile.write(" ".join(heard).encode())

		for port in 7001, 7002, 7003:
		    server = http.server.ThreadingHTTPServer(("", port), Handler)
		    threading.Thread(target=server.serve_forever).start()
	END
	daemon=("$python" "$scratch/three.py")
	in_three_vrfs
	sockets=('tcp 0.0.0.0:7001 blue' 'tcp 0.0.0.0:7002 red' 'tcp 0.0.0.0:7003 green')
}

java() {
	cat >"$scratch/Three.java" <<-'END'
		import com.sun.net.httpserver.HttpServer;
		import java.net.InetSocketAddress;
		import java.net.URL;

		class Three {
		    public static void main(String[] none) throws Exception {
		        String[] addresses = { "192.0.2.53", "192.0.2.54", "192.0.2.55", "127.0.0.1:8080" };
		        for (int port = 7001; port <= 7003; port++) {
		            HttpServer server = HttpServer.create(new InetSocketAddress(port), 0);
		            server.createContext("/", exchange -> {
		                StringBuilder heard = new StringBuilder();
		                for (String address : addresses)
		                    try (var answer = new URL("http://" + address + "/").openStream()) {
		                        heard.append(heard.length() == 0 ? "" : " ").append(new String(answer.readAllBytes()));
		                    }
		                exchange.sendResponseHeaders(200, heard.length());
		                exchange.getResponseBody().write(heard.toString().getBytes());
		                exchange.close();
		            });
		            server.start();
		        }
		    }
		}
	END
	daemon=(/usr/bin/java "$scratch/Three.java")
	in_three_vrfs
	sockets=('tcp6 \[::]:7001 blue' 'tcp6 \[::]:7002 red' 'tcp6 \[::]:7003 green')
}

chronyd() {
	cat >"$scratch/chrony.conf" <<-'END'
		server 192.0.2.53 iburst
		local stratum 8
		allow
		cmdport 323
		bindcmdaddress 127.0.0.1
	END
	# -x: it shall not set this machine's clock.
	daemon=(/usr/sbin/chronyd -x -d -f "$scratch/chrony.conf")
	rules=('loopback lo')
	sockets=('udp 0.0.0.0:123 blue' 'udp 127.0.0.1:323 lo' 'udp6 \[::1]:323 lo')
	requests=('chronyc -n -h 127.0.0.1 tracking' 'is "mode 4" from blue "${asks[@]}" ntp 192.0.2.1')
	strayed() { from red "${asks[@]}" ntp 192.0.2.2 || from default "${asks[@]}" ntp 192.0.2.3; }
}

haproxy() {
	cat >"$scratch/haproxy.cfg" <<-'END'
		defaults
			mode http
			timeout connect 5s
			timeout client 5s
			timeout server 5s
		frontend service
			bind :80
			default_backend blue
			use_backend inside if { path /inside }
		backend blue
			server one 192.0.2.53:80
		backend inside
			server one 127.0.0.1:8080
		frontend statistics
			bind :8404
			stats enable
			stats uri /
	END
	daemon=(/usr/sbin/haproxy -db -f "$scratch/haproxy.cfg")
	rules=('bind tcp *:8404 red' 'loopback lo')
	sockets=('tcp 0.0.0.0:80 blue' 'tcp 0.0.0.0:8404 red')
	requests=(
		'from red "${http[@]}" 192.0.2.2:8404 | grep "Statistics Report"'
		'is edge from blue "${http[@]}" 192.0.2.1/inside'
		'is blue from blue "${http[@]}" 192.0.2.1/'
	)
	strayed() {
		from blue "${http[@]}" 192.0.2.1:8404 || from red "${http[@]}" 192.0.2.2 || from default "${http[@]}" 192.0.2.3:8404
	}
}

# has_heard PEER PROTOCOL TEXT
has_heard() { grep -q "^$2 .*$3" "$scratch/heard.$1"; }
# Says it to the daemon until both have heard it.
syslog_arrives() {
	logger --server 127.0.0.1 --port 514 --udp --tag vrfbind "$1"
	has_heard blue tcp "$1" && has_heard red tcp "$1" && has_heard red udp "$1"
}
# UDP is sent by sockets that are not connected, so that only their own address says where they belong.
rsyslogd() {
	cat >"$scratch/rsyslog.conf" <<-'END'
		module(load="imudp")
		input(type="imudp" address="127.0.0.1" port="514")
		action(type="omfwd" target="192.0.2.53" port="514" protocol="tcp" action.resumeRetryCount="-1" action.resumeInterval="1")
		action(type="omfwd" target="192.0.2.54" port="514" protocol="tcp" action.resumeRetryCount="-1" action.resumeInterval="1")
		action(type="omfwd" target="192.0.2.54" port="514" protocol="udp" address="192.0.2.2")
	END
	daemon=(/usr/sbin/rsyslogd -n -i "$scratch/rsyslog.pid" -f "$scratch/rsyslog.conf")
	rules=('bind 192.0.2.2 red' 'connect 192.0.2.54 red' 'loopback lo')
	sockets=('udp 127.0.0.1:514 lo' 'tcp 192.0.2.1:* blue' 'tcp 192.0.2.2:* red' 'udp 192.0.2.2:* red')
	requests=('syslog_arrives "of $BASHPID"')
	strayed() { [ -s "$scratch/heard.default" ]; }
}

pdns_recursor() {
	mkdir -p "$scratch/recursor"
	cat >"$scratch/recursor/recursor.conf" <<-END
		config-dir=$scratch/recursor
		socket-dir=$scratch/recursor
		local-address=192.0.2.1
		allow-from=192.0.2.0/24
		dnssec=off
		threads=1
		forward-zones-recurse=red.example=192.0.2.54,.=192.0.2.53
		dont-query=
		webserver=yes
		webserver-address=127.0.0.1
		webserver-port=8082
		webserver-allow-from=127.0.0.1
		api-key=secret
		setuid=root
		setgid=root
	END
	daemon=(/usr/sbin/pdns_recursor --config-dir="$scratch/recursor" --daemon=no)
	rules=('connect 192.0.2.54 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'tcp 127.0.0.1:8082 lo')
	requests=(
		'"${http[@]}" --fail 127.0.0.1:8082/metrics | grep ^pdns_recursor_'
		'is 10.0.0.2 from blue "${asks[@]}" dns 192.0.2.1 "$RANDOM.red.example"'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 "$RANDOM.other.example"'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

dnsdist() {
	cat >"$scratch/dnsdist.conf" <<-'END'
		setSecurityPollSuffix("")
		setACL("192.0.2.0/24")
		addLocal("192.0.2.1:53")
		addLocal("192.0.2.2:53")
		newServer("192.0.2.53")
		webserver("127.0.0.1:8083")
		setWebserverConfig({apiKey="secret", acl="127.0.0.1", statsRequireAuthentication=false})
		controlSocket("127.0.0.1:5199")
		setKey("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=")
	END
	daemon=(/usr/bin/dnsdist --supervised --disable-syslog -C "$scratch/dnsdist.conf")
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red'
		'tcp 127.0.0.1:8083 lo' 'tcp 127.0.0.1:5199 lo')
	requests=(
		'"${http[@]}" --fail 127.0.0.1:8083/metrics | grep ^dnsdist_'
		'/usr/bin/dnsdist -C "$scratch/dnsdist.conf" -e "showVersion()" | grep ^dnsdist'
		'is 10.0.0.1 from red "${asks[@]}" dns 192.0.2.2 other.example'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 other.example'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

# Its usual listener, which it puts on lo itself.
systemd_resolved_stub() {
	systemd_resolved
	sed -i '/^DNSStubListener/d' /etc/systemd/resolved.conf
	requests+=('is 10.0.0.1 "$vrfbind" exec --loopback red dig +short @127.0.0.53 "$RANDOM.example"')
}

prometheus_node_exporter() {
	daemon=(/usr/bin/prometheus-node-exporter --web.listen-address=127.0.0.1:9100 --collector.disable-defaults
		--collector.loadavg)
	rules=('loopback lo')
	sockets=('tcp 127.0.0.1:9100 lo')
	requests=('"${http[@]}" --fail 127.0.0.1:9100/metrics | grep "^node_load1 "')
	strayed() { from blue "${http[@]}" 192.0.2.1:9100 || from default "${http[@]}" 192.0.2.3:9100; }
}

# --- What is asked of each ---

pid='' under=() resolver=()

# start WAY - the daemon, in the background
start() {
	local rule heard list='' options=()
	under=()
	for rule in "${rules[@]}"; do
		if [ "$rule" = 'loopback lo' ]; then options+=(--loopback); else options+=(--rule "$rule"); fi
		list+="$rule;"
	done
	case $1 in
	as-it-is) ;;
	ip-vrf-exec) under=(ip vrf exec blue) ;;
	without-rules) under=("$vrfbind" exec blue --) ;;
	vrfbind-exec) under=("$vrfbind" exec blue "${options[@]}" --) ;;
	library) under=(env "LD_PRELOAD=$library" VRFBIND_VRF=blue "VRFBIND_RULES=$list") ;;
	esac
	for heard in "$scratch"/heard.*; do : >"$heard"; done
	if [ ${#resolver[@]} -gt 0 ]; then set -- "${resolver[@]}"; else set -- "${under[@]}"; fi
	"$@" "${daemon[@]}" >"$scratch/log" 2>&1 </dev/null &
	pid=$!
}
has_ended() { ! grep -q '^State:.[^Z]' "/proc/$pid/status" 2>/dev/null; }
# The end of each point, which shows the daemon's log if the point fails.
stop() {
	[ -n "$pid" ] || return 0
	kill -TERM "$pid" 2>/dev/null || true
	await has_ended || kill -KILL "$pid"
	wait "$pid" || true
	pid=''
	tail -n 40 "$scratch/log"
}
# shellcheck disable=SC2034  # of tap.sh
point_end=stop

# Each that is not answered is said.
all_answered() {
	local request
	for request in "${requests[@]}"; do eval "$request" >"$scratch/answer" 2>&1 || { cat "$scratch/answer"; return 1; }; done
}
one_answered() {
	local request
	for request in "${requests[@]}"; do ! eval "$request" >"$scratch/answer" 2>&1 || return 0; done
	return 1
}
# Of each IP socket of the daemon: PROTOCOL LOCAL DEVICE VERDICT.
sockets_now() { { "$programs/sockets" blue "$pid" || true; } | sed 1d | awk '{ print $(NF - 3), $(NF - 2), $(NF - 1), $NF }'; }
# listed PROTOCOL LOCAL - its place in `sockets` is in `place`
listed() {
	for place in "${!sockets[@]}"; do
		# shellcheck disable=SC2053  # a pattern
		[[ "$1 $2" != ${sockets[$place]% *} ]] || return 0
	done
	return 1
}
has_socket() {
	local protocol address place
	while read -r protocol address _; do
		! listed "$protocol" "$address" || return 0
	done < <(sockets_now 2>/dev/null)
	return 1
}
begins() { has_ended || has_socket || one_answered; }
packets() { sh -c "$T_UPLINK_COUNT"; }

fails() {
	local way
	for way in as-it-is ip-vrf-exec without-rules; do
		start "$way"
		await begins >"$scratch/answers" 2>&1
		not all_answered
		stop
	done
}

on_their_devices() {
	local protocol address device verdict place missing=("${sockets[@]}")
	sockets_now >"$scratch/sockets"
	cat "$scratch/sockets"
	while read -r protocol address device verdict; do
		if listed "$protocol" "$address"; then unset "missing[$place]"; else place=''; fi
		case ${place:+${sockets[$place]##* }} in
		blue | '') [ "$verdict" = ok ] ;;
		*) [ "$device" = "${sockets[$place]##* }" ] ;;
		esac || { echo "on a wrong device: $protocol $address"; return 1; }
	done <"$scratch/sockets"
	printf 'missing: %s\n' "${missing[@]}"
	[ ${#missing[@]} -eq 0 ]
}

works() {
	local before
	before=$(packets)
	start "$1"
	await all_answered >"$scratch/answers" 2>&1 || { tail -n 3 "$scratch/answers"; return 1; }
	on_their_devices
	[ "$(packets)" = "$before" ]
	not strayed
	not has_ended
}

echo "1..$((3 * $#))"
for daemon; do
	title=$daemon
	# The decoy counts nothing for them.
	point_end=:
	resolver=()
	"${title//-/_}"
	point_end=stop
	point "$title: without rules not all requests are answered" fails
	point "$title: by vrfbind exec and rules all requests are answered, and its sockets are on their devices" works vrfbind-exec
	point "$title: by the library alone and rules likewise" works library
done
exit "$all_ok"
