#!/usr/bin/env bash
# rules-daemons.sh [DAEMON...] - one daemon of Debian in several VRFs, and reached on 127.0.0.1, by rules
#
# Prints TAP (testanything.org) and is run on the tier vrf, with the variables of tests/topology.sh. The daemons are not installed
# on this machine: tests/packages.sh has set them aside in target/daemons.
#
# The daemon's VRF is blue; who asks it, and whom it asks, is in tests/peers.sh. A daemon has of its own
#
#   daemon      the command line                            rules      what it needs
#   sockets     PROTOCOL LOCAL DEVICE, a pattern for LOCAL: those that must be there. All others must be in blue
#   requests    what must be answered: in blue, and on 127.0.0.1 or in red
#   strayed     a request from a VRF where the daemon must not be reached
#   by_nobody   the command line of an ordinary user, if it is another one; rights: what the daemon does not do without
#
# Of each: as it is, under `ip vrf exec` and under `vrfbind exec` without rules some requests fail. By rules all are answered, the
# sockets say that they are on their devices (c-tests/command/sockets.c), and no packet leaves by a link that is in none of the VRFs
# of its rules. The same as nobody, who may bind all ports here, and whose sockets are replaced.
#
# Without arguments: the daemons of `make test`. tests/rules-daemons-more.sh has the others, and tests/musl.sh its own.
# shellcheck disable=SC2317,SC2034,SC2016  # functions are called by point(), variables are used there, requests are text
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

[ $# -gt 0 ] || set -- redis dnsmasq libc unbound named dnsdist snmpd nginx prometheus-node-exporter python
packages=target/daemons/${VRFBIND_TEST_DAEMONS:-daemons}.tar
if [ -e "$packages" ] && [ -z "${VRFBIND_TEST_MOVED-}" ]; then
	VRFBIND_TEST_MOVED=1 exec tests/set-aside.sh over "$packages" "$0" "$@"
fi
# shellcheck source=tests/command.sh
. tests/command.sh
for_nobody ask ask-go
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start

# shellcheck source=tests/peers.sh
. tests/peers.sh
# What a daemon writes; of the user who runs it.
own=$scratch/own

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
	{ cat "$scratch/unbound.conf"; printf 'server:\n  username: ""\n'; } >"$scratch/unbound-nobody.conf"
	by_nobody=(/usr/sbin/unbound -d -p -c "$scratch/unbound-nobody.conf")
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
	daemon=(redis-server --bind 127.0.0.1 192.0.2.1 --protected-mode no --save '' --dir /)
	rules=('loopback lo')
	sockets=('tcp 127.0.0.1:6379 lo' 'tcp 192.0.2.1:6379 blue')
	requests=('is PONG redis-cli -h 127.0.0.1 PING' 'is PONG from blue redis-cli -h 192.0.2.1 PING')
	strayed() { is PONG from red redis-cli -h 192.0.2.2 PING; }
}

named() {
	cat >"$scratch/rndc.key" <<-'END'
		key "rndc-key" { algorithm hmac-sha256; secret "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"; };
	END
	cat >"$scratch/named.conf" <<-END
		include "$scratch/rndc.key";
		options {
			directory "$own";
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
	daemon=(/usr/sbin/named -g -n 1 -c "$scratch/named.conf")
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red'
		'tcp 127.0.0.1:953 lo')
	requests=(
		'rndc -k "$scratch/rndc.key" -s 127.0.0.1 reload'
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
		pid $own/pid;
		error_log stderr;
		events { }
		http {
			access_log off;
			client_body_temp_path $own/body;
			proxy_temp_path $own/proxy;
			fastcgi_temp_path $own/fastcgi;
			uwsgi_temp_path $own/uwsgi;
			scgi_temp_path $own/scgi;
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
	"${1-dnsmasq}"
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
libc_resolved() { libc systemd_resolved; }
# Its method http runs as _apt.
resolves_for_apt() {
	echo 'deb [trusted=yes] http://apt.example/ ./' >"$scratch/apt/sources.list"
	: >"$scratch/heard.blue"
	resolves root '^http apt.example Debian APT' apt-get -o "Dir::Etc::SourceList=$scratch/apt/sources.list" \
		-o Dir::Etc::SourceParts=/dev/null -o "Dir::State::Lists=$scratch/apt/lists" update
}

# Its listeners it puts on lo itself, which a rule grants it. dig sets SO_REUSEPORT and binds to the wildcard, so that connect()
# does not move it any more: an address to bind to does, or TCP.
systemd_resolved() {
	mkdir -p /run/systemd
	mount -t tmpfs -o mode=777 resolved /run/systemd
	cat >/etc/systemd/resolved.conf <<-'END'
		[Resolve]
		DNS=192.0.2.53
		LLMNR=no
		MulticastDNS=no
		DNSSEC=no
	END
	daemon=(/lib/systemd/systemd-resolved)
	# Its unit gives it these too. Without CAP_NET_RAW it cannot put its listeners on lo. Root makes its directory.
	rights=("--inh-caps=-all,+setpcap,+net_raw,+net_bind_service" "--ambient-caps=+setpcap,+net_raw,+net_bind_service")
	by_nobody=(sh -c 'cd /run/systemd && { mv resolve $$ 2>/dev/null; mkdir resolve; } && exec "$0"' "${daemon[@]}")
	rules=('loopback lo')
	sockets=('udp 127.0.0.5[34]:53 lo' 'tcp 127.0.0.5[34]:53 lo')
	requests=(
		'is 10.0.0.1 "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red dig -b 127.0.0.1 +short @127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 "$vrfbind" exec --loopback red dig +tcp +short @127.0.0.53 "$RANDOM.example"'
		'not is 10.0.0.1 "$vrfbind" exec --loopback red dig +short @127.0.0.53 "$RANDOM.example"'
	)
	strayed() { from blue "${asks[@]}" dns 192.0.2.1 other.example || from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

# Built with musl, by tests/musl.sh.
musl_dnsmasq() {
	dnsmasq
	cp target/musl/sbin/dnsmasq "$scratch/dnsmasq-musl"
	daemon=("$scratch/dnsmasq-musl" "${daemon[@]:1}" --listen-address=192.0.2.1 --listen-address=192.0.2.2)
	rules+=('bind 192.0.2.2 red')
	sockets+=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red')
	requests=(
		'is 10.0.0.1 "${asks[@]}" dns 127.0.0.53 "$RANDOM.example"'
		'is 10.0.0.1 from red "${asks[@]}" dns 192.0.2.2 "$RANDOM.example"'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 "$RANDOM.example"'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 other.example; }
}
musl_libc() {
	libc
	cp target/musl/bin/busybox "$scratch/busybox-musl"
	requests=()
	for user in root nobody; do
		requests+=(
			"resolves $user '^Address.* 10[.]0[.]0[.]1( |$)' '$scratch/busybox-musl' nslookup NAME"
			"resolves $user '^SSH-2.0-peer' '$scratch/busybox-musl' nc NAME 22"
		)
	done
}

# A program that listens in three VRFs, and tells each client which servers have answered it in all of them and on 127.0.0.1.
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
	cat >"$scratch/chrony.conf" <<-END
		server 192.0.2.54 iburst minpoll 0 maxpoll 0
		local stratum 8
		allow
		cmdport 323
		bindcmdaddress 127.0.0.1
		bindcmdaddress /
		pidfile $own/pid
	END
	# -x: it shall not set this machine's clock.
	daemon=(/usr/sbin/chronyd -x -d -f "$scratch/chrony.conf")
	by_nobody=("${daemon[@]}" -U)
	rules=('connect 192.0.2.54 red' 'loopback lo')
	sockets=('udp 0.0.0.0:123 blue' 'udp 127.0.0.1:323 lo' 'udp6 \[::1]:323 lo' 'udp 192.0.2.2:* red')
	requests=('chronyc -n -h 127.0.0.1 tracking' 'is "mode 4" from blue "${asks[@]}" ntp 192.0.2.1')
	strayed() { from red "${asks[@]}" ntp 192.0.2.2 || from default "${asks[@]}" ntp 192.0.2.3; }
}

haproxy() {
	cat >"$scratch/haproxy.cfg" <<-'END'
		global
			user haproxy
			group haproxy
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
	sed -E '/^(user|group) /d' "$scratch/haproxy.cfg" >"$scratch/haproxy-nobody.cfg"
	by_nobody=(/usr/sbin/haproxy -db -f "$scratch/haproxy-nobody.cfg")
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
# UDP is sent by sockets that are not connected, so that only their own address tells where they belong.
rsyslogd() {
	cat >"$scratch/rsyslog.conf" <<-'END'
		module(load="imudp")
		input(type="imudp" address="127.0.0.1" port="514")
		action(type="omfwd" target="192.0.2.53" port="514" protocol="tcp" action.resumeRetryCount="-1" action.resumeInterval="1")
		action(type="omfwd" target="192.0.2.54" port="514" protocol="tcp" action.resumeRetryCount="-1" action.resumeInterval="1")
		action(type="omfwd" target="192.0.2.54" port="514" protocol="udp" address="192.0.2.2")
	END
	daemon=(/usr/sbin/rsyslogd -n -i "$own/pid" -f "$scratch/rsyslog.conf")
	rules=('bind 192.0.2.2 red' 'connect 192.0.2.54 red' 'loopback lo')
	sockets=('udp 127.0.0.1:514 lo' 'tcp 192.0.2.1:* blue' 'tcp 192.0.2.2:* red' 'udp 192.0.2.2:* red')
	requests=('syslog_arrives "of $BASHPID"')
	strayed() { [ -s "$scratch/heard.default" ]; }
}

pdns_recursor() {
	mkdir -p "$scratch/recursor"
	cat >"$scratch/recursor/recursor.conf" <<-END
		config-dir=$scratch/recursor
		socket-dir=$own
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
		newServer({address="192.0.2.54", pool="red"})
		addAction("red.example.", PoolAction("red"))
		webserver("127.0.0.1:8083")
		setWebserverConfig({apiKey="secret", acl="127.0.0.1", statsRequireAuthentication=false})
		controlSocket("127.0.0.1:5199")
		setKey("c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0c2U=")
	END
	daemon=(/usr/bin/dnsdist --supervised --disable-syslog -C "$scratch/dnsdist.conf")
	rules=('bind 192.0.2.2 red' 'connect 192.0.2.54 red' 'loopback lo')
	sockets=('udp 192.0.2.1:53 blue' 'tcp 192.0.2.1:53 blue' 'udp 192.0.2.2:53 red' 'tcp 192.0.2.2:53 red'
		'tcp 127.0.0.1:8083 lo' 'tcp 127.0.0.1:5199 lo' 'udp 192.0.2.2:* red')
	requests=(
		'"${http[@]}" --fail 127.0.0.1:8083/metrics | grep ^dnsdist_'
		'/usr/bin/dnsdist -C "$scratch/dnsdist.conf" -e "showVersion()" | grep ^dnsdist'
		'is 10.0.0.1 from red "${asks[@]}" dns 192.0.2.2 other.example'
		'is 10.0.0.1 from blue "${asks[@]}" dns 192.0.2.1 other.example'
		'is 10.0.0.2 from blue "${asks[@]}" dns 192.0.2.1 red.example'
	)
	strayed() { from default "${asks[@]}" dns 192.0.2.3 other.example; }
}

asked_often() { for _ in {1..20}; do is blue "${http[@]}" 127.0.0.1:9103; done; }
# While one asks in the VRF, the other is asked on 127.0.0.1.
scraped_meanwhile() {
	asked_often &
	while kill -0 $! 2>/dev/null; do "${http[@]}" --fail 127.0.0.1:9100/metrics | grep '^node_load1 ' || return 1; done
	wait $!
}
# Written in Go: its system calls are its own.
prometheus_node_exporter() {
	supervised=1
	# Beside it another one, which answers with what it hears by the VRF.
	daemon=(sh -c 'setpriv --pdeathsig TERM "$0" exporter 127.0.0.1:9103 http://192.0.2.53/ & exec "$@"' "$scratch/ask-go"
		/usr/bin/prometheus-node-exporter --web.listen-address=127.0.0.1:9100 --web.listen-address=192.0.2.2:9101
		--web.listen-address=192.0.2.1:9102 --collector.disable-defaults --collector.loadavg)
	rules=('bind 192.0.2.2 red' 'loopback lo')
	sockets=('tcp 127.0.0.1:9100 lo' 'tcp 127.0.0.1:9103 lo' 'tcp 192.0.2.2:9101 red' 'tcp 192.0.2.1:9102 blue')
	requests=(
		'"${http[@]}" --fail 127.0.0.1:9100/metrics | grep "^node_load1 "'
		'from red "${http[@]}" --fail 192.0.2.2:9101/metrics | grep "^node_load1 "'
		'from blue "${http[@]}" --fail 192.0.2.1:9102/metrics | grep "^node_load1 "'
		scraped_meanwhile
	)
	strayed() { from blue "${http[@]}" 192.0.2.1:9100 || from default "${http[@]}" 192.0.2.3:9102; }
}

# --- What is asked of each ---

pid='' under=() resolver=()

# start WAY [nobody] - the daemon, in the background
start() {
	local rule heard list='' options=() user=() command=("${daemon[@]}")
	under=()
	rm -rf "$own"
	mkdir "$own"
	if [ -n "${2-}" ]; then
		user=("${nobody[@]::4}" "${rights[@]}") command=("${by_nobody[@]}")
		chown 65534:65534 "$own"
	fi
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
	"${user[@]}" "$@" "${command[@]}" >"$scratch/log" 2>&1 </dev/null &
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

# Each request without an answer is reported.
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
# by_rule DEVICE - whether one puts sockets there
by_rule() { [[ "${rules[*]/%/;}" == *" $1;"* ]]; }
# That have left by the default VRF, to the customers, and by a VRF that no rule names.
packets() {
	sh -c "$T_UPLINK_COUNT"
	counted "$T_BLUE_CLIENT" 91
	counted "$T_RED_CLIENT" 92
	by_rule red || counted "$T_RED_UPSTREAM" 93
	by_rule green || counted "$T_RED_CLIENT" 94
}

fails() {
	local way
	for way; do
		# shellcheck disable=SC2086  # a way, and who
		start $way
		await begins >"$scratch/answers" 2>&1
		not all_answered
		stop
	done
}

# Fails where one is missing, and at once where one is elsewhere. What has no address yet may be what takes the place of another one.
on_their_devices() {
	local protocol address device verdict place now missing=("${sockets[@]}")
	now=$(sockets_now)
	while read -r protocol address device verdict; do
		if listed "$protocol" "$address"; then unset "missing[$place]"; else place=''; fi
		case ${place:+${sockets[$place]##* }} in
		blue | '') [ "$verdict" = ok ] || { [[ $address == *:0 ]] && by_rule "$device"; } ;;
		*) [ "$device" = "${sockets[$place]##* }" ] ;;
		esac || { printf '%s\n' "$now" "on a wrong device: $protocol $address" >&2; exit 1; }
	done <<<"$now"
	printf '%s\n' "$now" "${missing[@]/#/missing: }"
	[ ${#missing[@]} -eq 0 ]
}

works() {
	local before
	before=$(packets)
	start "$@"
	await all_answered >"$scratch/answers" 2>&1 || { tail -n 3 "$scratch/answers"; return 1; }
	await on_their_devices >"$scratch/missing" || { tail -n 20 "$scratch/missing"; return 1; }
	diff <(echo "$before") <(packets)
	not strayed
	not has_ended
}

works_for_nobody() {
	works vrfbind-exec nobody
	stop
	if [ -n "$supervised" ]; then fails 'library nobody'; else works library nobody; fi
}

echo "1..$((4 * $#))"
for daemon; do
	title=$daemon
	# The decoy counts nothing for them.
	point_end=:
	resolver=() supervised='' by_nobody=() rights=(--inh-caps=-all)
	"${title//-/_}"
	[ ${#by_nobody[@]} -gt 0 ] || by_nobody=("${daemon[@]}")
	point_end=stop
	point "$title: without rules not all requests are answered" fails as-it-is ip-vrf-exec without-rules
	point "$title: by vrfbind exec and rules all requests are answered, and its sockets are on their devices" works vrfbind-exec
	if [ -z "$supervised" ]; then
		point "$title: by the library alone and rules likewise" works library
		point "$title: as nobody both do" works_for_nobody
	else
		point "$title: by the library alone they are not" fails library
		point "$title: as nobody likewise" works_for_nobody
	fi
done
exit "$all_ok"
