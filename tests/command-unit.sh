#!/usr/bin/env bash
# command-unit.sh - vrfbind enable puts a unit into a VRF, or the unit fails; disable takes it out again
#
# Prints TAP (testanything.org) and is run on the tiers lo and vrf with VRFBIND_TEST_LIB, VRFBIND_TEST_TIER,
# VRFBIND_TEST_BIN and VRFBIND_TEST_COMMAND.
#
# On the tier lo the files are checked, by the rules of systemd.unit(5) and systemctl(1), below a root directory; on the
# tier vrf units run under a real systemd (tests/second-systemd.sh). The verdict on a unit comes from its sockets, by
# c-tests/command/sockets.c; each point first shows the unit without its drop-in, or without a line of it. Services of
# Debian's packages are in tests/units.sh.
# shellcheck disable=SC2016,SC2317  # $ is systemd's; the functions are called by point() and await(), which take their names
set -euo pipefail
cd -- "$(dirname -- "$0")/.."

library=${VRFBIND_TEST_LIB:?}
tier=${VRFBIND_TEST_TIER:?}
command=${VRFBIND_TEST_COMMAND:?}
bin=${VRFBIND_TEST_BIN:?}
unset LD_PRELOAD VRFBIND_VRF VRFBIND_SEAL VRFBIND_LOG VRFBIND_LIBRARY SYSTEMD_UNIT_PATH

scratch=$(mktemp -d)
chmod 755 "$scratch"

# shellcheck source=tests/tap.sh
. tests/tap.sh
# shellcheck source=tests/second-systemd.sh
. tests/second-systemd.sh

has_line() {
	grep -qxF -- "$2" "$1" || {
		echo "no line is: $2"
		cat "$1"
		return 1
	}
}

# -- Files

# A root directory with units in it. Each point has one of its own.
image() {
	root=$(mktemp -d "$scratch/root.XXXXXX")
	mkdir -p "$root"/usr/local/{bin,lib,libexec/vrfbind} "$root/usr/lib/systemd/system" "$root/etc/systemd/system" "$root/opt"
	cp "$library" "$root/usr/local/lib/libvrfbind.so"
	touch "$root"/usr/local/{bin/vrfbind,libexec/vrfbind/vrfbind-probe}
	unit radvd.service '[Service]' 'Environment="LD_PRELOAD=/usr/lib/libeatmydata.so" A=1' 'ExecStart=-/usr/sbin/radvd -n'
	unit dnsmasq@.service '[Service]' 'ExecStart=/usr/sbin/dnsmasq -C /etc/%i.conf'
	unit web.socket '[Socket]' ListenStream=80
	unit web.service '[Service]' ExecStart=/bin/cat
}

# unit NAME LINE... - a unit of a package
unit() { put "/usr/lib/systemd/system/$1" "${@:2}"; }
# put PATH LINE...
put() {
	mkdir -p "$(dirname "$root$1")"
	printf '%s\n' "${@:2}" >"$root$1"
}
# preload PATH NAME - a drop-in with a preload
preload() { put "$1" '[Service]' "Environment=LD_PRELOAD=$2"; }

# As systemd puts the unit together, from directories of its own name.
cat_unit() { systemd-analyze --no-pager --root="$root" cat-config "systemd/system/$1"; }
drop_in() { echo "/etc/systemd/system/$1.d/50-vrfbind.conf"; }

enables() { ends 0 "$command" enable --root "$root" "$@"; }
# refuses PATTERN UNIT VRF - with one sentence, and nothing is written
refuses() {
	find "$root" | sort >"$scratch/files"
	refused 125 "$1" "$command" enable --root "$root" "${@:2}"
	find "$root" | sort | diff "$scratch/files" -
}
# has UNIT LINE... - in its drop-in
has() {
	local line
	for line in "${@:2}"; do
		has_line "$root$(drop_in "$1")" "$line"
	done
}
has_not() { not grep -qE -- "$2" "$root$(drop_in "$1")"; }
ours=/usr/local/lib/libvrfbind.so
# preloads UNIT NAME... - what there is besides ours
preloads() {
	local names
	names=$(printf ':%s' "${@:2}")
	[ $# -gt 1 ] || names=''
	has "$1" "Environment=LD_PRELOAD=$ours$names"
}
loaded='ExecStartPre=/usr/local/bin/vrfbind check --quiet --loaded --'

of_service() {
	image
	cat_unit radvd.service >"$scratch/before"
	not grep -q vrfbind "$scratch/before"
	enables radvd vrf-blue
	cat_unit radvd.service >"$scratch/unit"
	for line in \
		"BindsTo=sys-subsystem-net-devices-$(systemd-escape vrf-blue).device" \
		"After=sys-subsystem-net-devices-$(systemd-escape vrf-blue).device" \
		Environment=LD_PRELOAD=/usr/local/lib/libvrfbind.so:/usr/lib/libeatmydata.so \
		Environment=VRFBIND_VRF=vrf-blue \
		"$loaded vrf-blue /usr/sbin/radvd" \
		'ExecStartPost=+/usr/local/bin/vrfbind check --quiet --running -- vrf-blue $MAINPID'; do
		has_line "$scratch/unit" "$line"
	done
	# Once more, for another VRF: no line of the first is left, and the unit's own preload is there once.
	enables radvd.service red
	cat_unit radvd.service >"$scratch/unit"
	not grep -q vrf-blue "$scratch/unit"
	has_line "$scratch/unit" Environment=LD_PRELOAD=/usr/local/lib/libvrfbind.so:/usr/lib/libeatmydata.so
	ends 0 "$command" disable --root "$root" radvd
	cat_unit radvd.service | diff "$scratch/before" -
	[ ! -e "$root/etc/systemd/system/radvd.service.d" ]
	ends 125 "$command" disable --root "$root" radvd
	grep -q '^vrfbind: radvd.service was not put into a VRF by vrfbind: ' "$scratch/said.stderr"
}

# What systemd makes of the quotes is a point of the tier vrf.
with_rules() {
	local rules='"VRFBIND_RULES=bind tcp *:5380 mgmt-1; connect [2001:db8::]/32:1-9 a%%b; loopback lo"' device
	image
	enables --rule 'bind tcp *:5380 mgmt-1' --rule 'connect [2001:db8::]/32:1-9 a%b' --loopback radvd blue
	[ ! -s "$scratch/said.stderr" ]
	has radvd.service "Environment=$rules"
	for device in mgmt-1 a%b; do
		device=sys-subsystem-net-devices-$(systemd-escape "$device").device
		has radvd.service "Wants=$device" "After=$device"
	done
	# Others replace them, and none take them away.
	enables --loopback=auto radvd blue
	has radvd.service 'Environment="VRFBIND_RULES=loopback auto"'
	has_not radvd.service 'mgmt|Wants='
	enables radvd blue
	has_not radvd.service VRFBIND_RULES
	ends 0 "$command" enable --root "$root" --dry-run --rule 'bind * blue' radvd blue
	has_line "$scratch/said" 'Environment="VRFBIND_RULES=bind * blue"'
	not grep -q Wants= "$scratch/said"
	has_not radvd.service VRFBIND_RULES
	# Invalid values, or values that another file would set instead.
	rm -r "$root/etc/systemd/system/radvd.service.d"
	refuses 'rule 2, "bind \* a/b", at "a/b": ' --rule 'bind * a' --rule 'bind * a/b' radvd blue
	refuses 'web.socket is a socket unit, whose sockets have one device' --loopback web.socket blue
	refused 2 '--loopback lo: .* write --loopback=lo, ' "$command" enable --root "$root" radvd blue --loopback lo
	refused 2 '--loopback auto: .* write --loopback=auto, ' "$command" enable --root "$root" --loopback auto radvd blue
	refused 2 '--loopback mgmt: .* write --loopback=mgmt, ' "$command" enable --root "$root" radvd blue --loopback mgmt
	refuses 'is not UTF-8' --rule $'bind * a\xff' radvd blue
	put /etc/rules VRFBIND_RULES=
	unit web.service '[Service]' ExecStart=/bin/cat EnvironmentFile=/etc/rules
	refuses 'EnvironmentFile=/etc/rules sets VRFBIND_RULES' --loopback web blue
	enables web blue
	put /etc/systemd/system/radvd.service.d/60-late.conf '[Service]' 'Environment=A=1 "VRFBIND_RULES=bind * a"'
	refuses '60-late.conf comes after 50-vrfbind.conf' --loopback radvd blue
	enables radvd blue
}

# capable NUMBER LINE... - the message about a unit of these lines occurs this many times
capable() {
	unit able.service '[Service]' ExecStart=/bin/cat "${@:2}"
	enables --loopback able blue
	[ "$(grep -cE "^vrfbind: able.service starts, but lacks CAP_NET_RAW .*$pattern" "$scratch/said.stderr")" -eq "$1" ] || {
		printf '%s\n' "${@:2}"
		cat "$scratch/said.stderr"
		return 1
	}
}
without_capability() {
	local pattern='CapabilityBoundingSet= lacks it.* add CapabilityBoundingSet=CAP_NET_RAW$'
	image
	put /etc/passwd 'root:x:0:0::/:/bin/sh' 'able:x:7:7::/:/bin/sh'
	capable 1 CapabilityBoundingSet=CAP_CHOWN
	capable 1 'CapabilityBoundingSet=~CAP_NET_RAW'
	capable 1 CapabilityBoundingSet=
	capable 1 'CapabilityBoundingSet=~' CapabilityBoundingSet=CAP_CHOWN
	capable 1 'CapabilityBoundingSet=CAP_CHOWN CAP_NET_RAW' 'CapabilityBoundingSet=~CAP_NET_RAW'
	capable 1 CapabilityBoundingSet=CAP_NET_RAW CapabilityBoundingSet= CapabilityBoundingSet=CAP_CHOWN
	capable 1 ExecStart= 'ExecStart=!/bin/cat' User=able CapabilityBoundingSet=CAP_CHOWN
	pattern='add CapabilityBoundingSet=CAP_NET_RAW and AmbientCapabilities=CAP_NET_RAW$'
	capable 1 User=able CapabilityBoundingSet=
	pattern='User= or DynamicUser= removes it.*RULES in libvrfbind.7.* add AmbientCapabilities=CAP_NET_RAW$'
	capable 1 User=able
	capable 1 User=other
	capable 1 DynamicUser=yes
	capable 1 User=able AmbientCapabilities=CAP_CHOWN
	capable 1 User=able AmbientCapabilities=CAP_NET_RAW AmbientCapabilities=
	pattern='PrivateUsers= removes it\)'
	capable 1 PrivateUsers=yes
	pattern='PrivateUsers= .*, CapabilityBoundingSet= .*, User= .*add PrivateUsers=no and CapabilityBoundingSet=CAP_NET_RAW and AmbientCapabilities=CAP_NET_RAW$'
	capable 1 PrivateUsers=yes User=able CapabilityBoundingSet=
	pattern=''
	capable 0
	capable 0 User=root
	capable 0 User=able 'AmbientCapabilities=CAP_CHOWN CAP_NET_RAW'
	capable 0 User=able AmbientCapabilities=CAP_CHOWN AmbientCapabilities=CAP_NET_RAW
	capable 0 'CapabilityBoundingSet=CAP_CHOWN cap_net_raw'
	capable 0 CapabilityBoundingSet=CAP_CHOWN CapabilityBoundingSet=CAP_NET_RAW
	capable 0 'CapabilityBoundingSet=~CAP_CHOWN'
	capable 0 CapabilityBoundingSet= 'CapabilityBoundingSet=~'
	capable 0 ExecStart= 'ExecStart=+/bin/cat' User=able CapabilityBoundingSet=
	capable 0 ExecStart= 'ExecStart=!/bin/cat' User=able
	# Without rules nobody asks.
	unit able.service '[Service]' ExecStart=/bin/cat User=able
	enables able blue
	[ ! -s "$scratch/said.stderr" ]
}

of_instance() {
	image
	enables dnsmasq@blue blue
	has dnsmasq@blue.service "$loaded blue /usr/sbin/dnsmasq"
	[ ! -e "$root$(drop_in dnsmasq@red.service)" ] && [ ! -e "$root$(drop_in dnsmasq@.service)" ]
	# What a specifier means is the same in the drop-in, also of the whole template.
	unit b@.service '[Service]' 'Environment=LD_PRELOAD=/opt/%i.so' 'ExecStart=/opt/%p/run %I'
	enables b@x blue
	preloads b@x.service /opt/%i.so
	has b@x.service "$loaded blue /opt/%p/run"
	enables b@.service blue
	preloads b@.service /opt/%i.so
}

of_socket() {
	image
	enables web.socket blue
	cat_unit web.socket >"$scratch/unit"
	has_line "$scratch/unit" BindToDevice=blue
	not grep -q -e LD_PRELOAD -e Exec "$scratch/unit"
	# systemd would ignore such a name, and listen everywhere.
	refuses 'systemd does not accept a%b as a device name' web.socket 'a%b'
	refuses 'systemd does not accept 42 as a device name' web.socket 42
	unit local.socket '[Socket]' ListenStream=/run/x ListenDatagram=@y
	refuses 'local.socket has no IPv4 or IPv6 socket' local.socket blue
}

only_says() {
	image
	find "$root" | sort >"$scratch/files"
	ends 0 "$command" enable --dry-run --root "$root" radvd blue
	cp "$scratch/said" "$scratch/dry"
	find "$root" | sort | diff "$scratch/files" -
	enables radvd blue
	sed 1d "$scratch/dry" | diff - "$root$(drop_in radvd.service)"
	# Where the unit will find it, and not where it is now.
	ends 0 "$command" enable --dry-run --root "$root" --library /opt/libvrfbind.so radvd blue
	has_line "$scratch/said" Environment=LD_PRELOAD=/opt/libvrfbind.so:/usr/lib/libeatmydata.so
	ends 0 "$command" disable --dry-run --root "$root" radvd
	[ -e "$root$(drop_in radvd.service)" ]
}

keeps_other_drop_ins() {
	image
	preload /etc/systemd/system/radvd.service.d/10-other.conf /usr/lib/libother.so
	enables radvd blue
	preloads radvd.service /usr/lib/libother.so
	ends 0 "$command" disable --root "$root" radvd
	[ -e "$root/etc/systemd/system/radvd.service.d/10-other.conf" ]
}

in_order() {
	local own=/usr/lib/systemd/system etc=/etc/systemd/system
	image
	unit a-b-c.service '[Service]' Environment=LD_PRELOAD=/unit.so ExecStart=/bin/a
	preload "$own/a-b-c.service.d/10.conf" /10.so
	preload "$etc/a-b-c.service.d/20.conf" /20.so
	enables a-b-c blue
	preloads a-b-c.service /20.so
	# The type's and a prefix's count, and their names alone decide.
	preload "$etc/service.d/30.conf" /30.so
	enables a-b-c blue
	preloads a-b-c.service /30.so
	preload /run/systemd/system/a-b-.service.d/31.conf /31.so
	preload "$own/a-.service.d/32.conf" /32.so
	enables a-b-c blue
	preloads a-b-c.service /32.so
	enables radvd blue
	preloads radvd.service /30.so
	# A namesake in a directory that comes before masks it, and so does a link to /dev/null, which the image does not have.
	preload "$etc/a-.service.d/32.conf" /etc-32.so
	ln -s /dev/null "$root$etc/a-b-c.service.d/31.conf"
	enables a-b-c blue
	preloads a-b-c.service /etc-32.so
	ln -sf /dev/null "$root$etc/a-b-c.service.d/32.conf"
	enables a-b-c blue
	preloads a-b-c.service /30.so
	put "$etc/a-b-c.service.d/33.conf" '[Service]' Environment=
	enables a-b-c blue
	preloads a-b-c.service
	# Of an instance: its own, its template's, and their prefixes'.
	unit t-x@.service '[Service]' ExecStart=/bin/a
	preload "$own/t-@.service.d/35.conf" /35.so
	enables t-x@y blue
	preloads t-x@y.service /35.so
	preload "$etc/t-x@.service.d/40.conf" /40.so
	enables t-x@y blue
	preloads t-x@y.service /40.so
}

other_names() {
	local etc=/etc/systemd/system
	image
	unit ssh.service '[Service]' ExecStart=/usr/sbin/sshd-of-the-image
	ln -s /usr/lib/systemd/system/ssh.service "$root$etc/sshd.service"
	ln -s /usr/lib/systemd/system/ssh.service "$root$etc/ssh.service"
	preload "$etc/sshd.service.d/10.conf" /alias.so
	for name in sshd ssh; do
		enables "$name" blue
		has ssh.service "$loaded blue /usr/sbin/sshd-of-the-image"
		preloads ssh.service /alias.so
		[ ! -e "$root$(drop_in sshd.service)" ]
		ends 0 "$command" disable --root "$root" sshd
		[ ! -e "$root$(drop_in ssh.service)" ]
	done
	# An instance of a template by another name, relatively.
	ln -s ../../../usr/lib/systemd/system/dnsmasq@.service "$root$etc/dns@.service"
	enables dns@x blue
	has dnsmasq@x.service "$loaded blue /usr/sbin/dnsmasq"
	# Linked, generated, from /usr/local.
	put /opt/linked.service '[Service]' ExecStart=/bin/linked
	ln -s /opt/linked.service "$root$etc/linked.service"
	enables linked blue
	has linked.service "$loaded blue /bin/linked"
	put /run/systemd/generator/q.service '[Service]' ExecStart=/bin/podman
	enables q blue
	has q.service "$loaded blue /bin/podman"
	put /usr/local/lib/systemd/system/radvd.service '[Service]' ExecStart=/bin/local
	enables radvd blue
	has radvd.service "$loaded blue /bin/local"
}

masked() {
	image
	ln -s /dev/null "$root/etc/systemd/system/radvd.service"
	refuses "radvd.service is masked by $root/etc/systemd/system/radvd.service, .*systemctl unmask" radvd blue
	: >"$root/etc/systemd/system/web.service"
	refuses 'web.service is masked' web blue
}

reads_and_quotes() {
	image
	unit a.service '[Service]' '# ExecStart=/bin/comment' 'ExecStart=/bin/gone' 'ExecStart=' \
		"ExecStart=\"/opt/my app/run \\x27me\\x27\" \\" '# between' '  -x' "Environment=\"A=b c\" \\" "  'LD_PRELOAD=/a b.so'" \
		'[Install]' 'ExecStart=/bin/not'
	enables a blue
	has a.service "$loaded blue \"/opt/my app/run 'me'\"" "Environment=\"LD_PRELOAD=$ours:/a b.so\""
	has_not a.service '/bin/(comment|gone|not)'
	# What means something to systemd, in the name of a VRF.
	enables -- radvd '-a%b$c;d'
	has radvd.service 'BindsTo=sys-subsystem-net-devices-\x2da\x25b\x24c\x3bd.device' \
		'Environment="VRFBIND_VRF=-a%%b$c;d"' \
		"$loaded \"-a%%b\$\$c;d\" /usr/sbin/radvd"
	# And in paths.
	mkdir -p "$root/opt/v f"
	ends 0 "$command" enable --dry-run --root "$root" --library '/opt/a-%i.so' radvd blue
	has_line "$scratch/said" 'Environment=LD_PRELOAD=/opt/a-%%i.so:/usr/lib/libeatmydata.so'
	refuses 'LD_PRELOAD can contain only an absolute path' --library '/opt/a b.so' radvd blue
}

by_exec='/usr/local/bin/vrfbind exec --library /usr/local/lib/libvrfbind.so --'
supervised() {
	image
	cp "$bin/ask-static" "$root/opt/static"
	printf '#!/opt/static\n' >"$root/opt/script"
	chmod 755 "$root/opt/script"
	unit a.service '[Service]' Type=oneshot 'ExecStart=-/opt/static "a b" $C %i' 'ExecStart=+:/opt/script $D ; !/bin/dynamic \; x' \
		'ExecStop=/opt/static' ExecReload=/bin/kill
	enables a 'b$c'
	has a.service ExecStart= "ExecStart=-$by_exec b\$\$c /opt/static \"a b\" \$C %i" "ExecStart=+:$by_exec b\$c /opt/script \$D" \
		"ExecStart=!$by_exec b\$\$c /bin/dynamic \\; x" ExecStop= "ExecStop=$by_exec b\$\$c /opt/static" "$loaded b\$\$c"
	has_not a.service ExecReload
	# What the prefix @ gives a program for its name, vrfbind exec cannot give it.
	unit named.service '[Service]' 'ExecStart=@/opt/static /opt/static x'
	enables named blue
	has named.service "ExecStart=$by_exec blue /opt/static x"
	unit named.service '[Service]' 'ExecStart=@/opt/static name x'
	refuses '@/opt/static name x: .*the prefix @' named blue
	unit shell.service '[Service]' 'ExecStart=|/opt/static x'
	refuses 'the prefix \|' shell blue
	# Of two processes systemd could not tell which is the main one.
	unit forks.service '[Service]' Type=forking ExecStart=/opt/static
	refuses 'Type=forking and no PIDFile=' forks blue
	put /etc/systemd/system/forks.service.d/10.conf '[Service]' PIDFile=/run/x.pid
	enables forks blue
	has forks.service "ExecStart=$by_exec blue /opt/static"
	unit forks.service '[Service]' Type=forking ExecStart=/bin/true
	rm -r "$root/etc/systemd/system/forks.service.d"
	enables forks blue
	has_not forks.service ^ExecStart=
}

with_capabilities() {
	image
	cp /bin/true "$root/opt/able"
	setcap cap_net_raw+ep "$root/opt/able" || { echo "no file capabilities here"; return 1; }
	put /etc/passwd root:x:0:0::/: ping:x:123:123::/:
	unit a.service '[Service]' ExecStart=/opt/able
	enables a blue
	has a.service "$loaded blue /opt/able"
	unit a.service '[Service]' User=ping ExecStart=/opt/able
	enables a blue
	has a.service "ExecStart=$by_exec blue /opt/able"
	# As root after all.
	unit a.service '[Service]' User=ping ExecStart=!/opt/able
	enables a blue
	has a.service "${loaded/=/=!} blue /opt/able"
	chmod u+s "$root/opt/able"
	unit a.service '[Service]' User=ping ExecStart=/opt/able
	refuses 'starts /opt/able, which is set-user-ID' a blue
}

executable() {
	image
	unit a.service '[Service]' NoExecPaths=/ 'ExecPaths=/bin/a /usr/lib' ExecStart=/bin/a
	enables a blue
	has a.service "ExecPaths=/usr/local/libexec/vrfbind/vrfbind-probe $ours /usr/local/bin/vrfbind"
	unit a.service '[Service]' NoExecPaths=/ 'ExecPaths=-/usr/local /usr/lib' ExecStart=/bin/a
	enables a blue
	has_not a.service ExecPaths
	unit a.service '[Service]' NoExecPaths=/ NoExecPaths= NoExecPaths=/usr/locality ExecStart=/bin/a
	enables a blue
	has_not a.service ExecPaths
	unit a.service '[Service]' 'NoExecPaths=/usr /usr/local/lib' ExecPaths=/usr/local ExecStart=/bin/a
	enables a blue
	has a.service "ExecPaths=$ours"
}

would_undo_it() {
	local later=/usr/lib/systemd/system/radvd.service.d/60.conf setting
	image
	for setting in Environment=LD_PRELOAD=/x.so 'Environment="A=b" VRFBIND_VRF=red' Environment= ExecStartPre= ExecStartPost=; do
		put "$later" '[Service]' "$setting"
		refuses "/usr/lib/systemd/system/radvd.service.d/60.conf comes after 50-vrfbind.conf, and its $setting" radvd blue
	done
	put "$later" '[Service]' UnsetEnvironment=LD_PRELOAD
	refuses "60.conf has UnsetEnvironment=LD_PRELOAD" radvd blue
	put "$later" '[Service]' Environment=A=1 ExecStartPre=/bin/true ExecStart= ExecStart=/bin/later
	enables radvd blue
	has radvd.service "$loaded blue /bin/later"
	# What is repeated in the drop-in is not to be changed behind it.
	cp "$bin/ask-static" "$root/opt/static"
	put "$later" '[Service]' ExecStart=/opt/static
	ends 125 "$command" enable --root "$root" radvd blue
	grep -q '60.conf comes after 50-vrfbind.conf, and its ExecStart=/opt/static' "$scratch/said.stderr"
	put /etc/systemd/system/web.socket.d/60.conf '[Socket]' BindToDevice=red
	refuses '60.conf comes after 50-vrfbind.conf, and its BindToDevice=red' web.socket blue
}

confined() {
	image
	unit a.service '[Service]' 'RestrictAddressFamilies=AF_UNIX AF_NETLINK' ExecStart=/bin/a
	refuses 'RestrictAddressFamilies= permits a.service no IPv4 or IPv6 socket' a blue
	unit a.service '[Service]' 'RestrictAddressFamilies=~AF_INET AF_INET6' RestrictAddressFamilies=AF_INET ExecStart=/bin/a
	enables a blue
	[ ! -s "$scratch/said.stderr" ]
	cp "$bin/ask-static" "$root/opt/static"
	unit a.service '[Service]' RestrictAddressFamilies=AF_INET6 'SystemCallFilter=~socketpair seccomp:EPERM' ExecStart=/opt/static
	enables a blue
	grep -q '^vrfbind: RestrictAddressFamilies= of a.service lacks AF_UNIX' "$scratch/said.stderr"
	grep -q '^vrfbind: SystemCallFilter= of a.service lacks seccomp, socketpair, ' "$scratch/said.stderr"
	unit a.service '[Service]' RootDirectory=/srv/a ExecStart=/bin/a
	enables a blue
	grep -q '^vrfbind: RootDirectory=/srv/a is the root directory of a.service' "$scratch/said.stderr"
}

service_and_socket() {
	image
	enables web.service blue
	grep -q '^vrfbind: web.service gets sockets from web.socket, .*(vrfbind enable web.socket blue)' "$scratch/said.stderr"
	enables web.socket blue
	not grep . "$scratch/said.stderr"
	enables web.service blue
	not grep . "$scratch/said.stderr"
	enables web.socket red
	grep -q '^vrfbind: the sockets of web.socket, .* will be in red; .*(vrfbind enable web.service red)' "$scratch/said.stderr"
	# With Accept=yes each connection has an instance; the service may have another name; and not all sockets are for IP.
	unit ssh.socket '[Socket]' ListenStream=22 Accept=yes
	unit ssh@.service '[Service]' ExecStart=/usr/sbin/sshd
	enables ssh.socket blue
	grep -q '(vrfbind enable ssh@.service blue)' "$scratch/said.stderr"
	enables ssh@.service red
	grep -q '^vrfbind: ssh@.service gets sockets from ssh.socket' "$scratch/said.stderr"
	unit a.socket '[Socket]' 'ListenDatagram=[::]:69' Service=tftp.service
	unit tftp.service '[Service]' Sockets=a.socket ExecStart=/bin/a
	enables tftp blue
	grep -q '^vrfbind: tftp.service gets sockets from a.socket' "$scratch/said.stderr"
	unit a.socket '[Socket]' ListenDatagram=/run/log Service=tftp.service
	enables tftp blue
	not grep . "$scratch/said.stderr"
}

stays_below_the_root() {
	local outside=$scratch/outside etc=/etc/systemd/system
	mkdir -p "$outside"
	echo precious >"$outside/file"
	image
	# A directory, or a file, that leads out.
	ln -s "$outside" "$root$etc/radvd.service.d"
	ends 125 "$command" enable --root "$root" radvd blue
	grep -q '^vrfbind: cannot write ' "$scratch/said.stderr"
	rm "$root$etc/radvd.service.d"
	mkdir "$root$etc/radvd.service.d"
	for name in 50-vrfbind.conf.new 50-vrfbind.conf; do
		ln -s "$outside/file" "$root$etc/radvd.service.d/$name"
	done
	refuses '50-vrfbind.conf was not written by vrfbind' radvd blue
	rm "$root$etc/radvd.service.d/50-vrfbind.conf"
	enables radvd blue
	cp "$root$(drop_in radvd.service)" "$outside/50-vrfbind.conf"
	# What is outside is not read: neither units, nor drop-ins, nor files of variables.
	preload "$etc/radvd.service.d/20.conf" /x.so
	mv "$root$etc/radvd.service.d/20.conf" "$outside/"
	ln -s "$outside/20.conf" "$root$etc/radvd.service.d/20.conf"
	ln -s "$outside" "$root$etc/service.d"
	ln -s ../../../../../../../../../../../../../../../../../../../../"$outside" "$root$etc/radvd-.service.d"
	enables radvd blue
	preloads radvd.service /usr/lib/libeatmydata.so
	printf '[Service]\nExecStart=/bin/outside\n' >"$outside/out.service"
	ln -s "$outside/out.service" "$root$etc/out.service"
	refuses 'there is no unit out.service' out blue
	echo VRFBIND_VRF=red >"$outside/environment"
	unit e.service '[Service]' "EnvironmentFile=$outside/environment" ExecStart=/bin/a
	enables e blue
	put "$outside/environment" VRFBIND_VRF=red
	ends 125 "$command" enable --root "$root" e blue
	# Nor is anything removed there.
	rm -r "$root$etc/radvd.service.d"
	ln -s "$outside" "$root$etc/radvd.service.d"
	ends 125 "$command" disable --root "$root" radvd
	(cd "$outside" && ls) | diff - <(printf '%s\n' 20.conf 50-vrfbind.conf environment file out.service)
	[ "$(cat "$outside/file")" = precious ]
	# Links that an image needs lead to what they name in it.
	mkdir -p "$root/srv/etc"
	mv "$root/etc/systemd" "$root/srv/etc/systemd"
	ln -s /srv/etc/systemd "$root/etc/systemd"
	enables web blue
	[ -e "$root/srv/etc/systemd/system/web.service.d/50-vrfbind.conf" ]
}

others_files() {
	image
	put "$(drop_in radvd.service)" '[Service]' '# Written by vrfbind enable; vrfbind disable removes it.' LimitNOFILE=9
	cp "$root$(drop_in radvd.service)" "$scratch/theirs"
	refuses '50-vrfbind.conf was not written by vrfbind enable, and is left as it is' radvd blue
	ends 125 "$command" enable --dry-run --root "$root" radvd blue
	ends 125 "$command" disable --root "$root" radvd
	grep -q '50-vrfbind.conf was not written by vrfbind' "$scratch/said.stderr"
	diff "$root$(drop_in radvd.service)" "$scratch/theirs"
	# In a directory that ours would mask.
	put /usr/lib/systemd/system/web.service.d/50-vrfbind.conf '[Service]' LimitNOFILE=9
	refuses 'usr/lib/systemd/system/web.service.d/50-vrfbind.conf was not written' web blue
}

cannot_be() {
	image
	refuses 'there is no unit no-such-unit.service below ' no-such-unit blue
	refuses 'is not a unit name' ../../radvd.service blue
	refuses 'cannot be in a VRF' multi-user.target blue
	refuses 'longer than 15 bytes' radvd a-name-that-is-too-long
	refuses 'default is no VRF; ' radvd default
	refuses 'is not accepted by systemd' radvd $'a\ab'
	refuses 'is not accepted by systemd' radvd $'a\xff'
	for name in 'a"b' "a'b" 'a\b'; do
		refuses 'systemd cannot name the device a.b, ' radvd "$name"
		refuses 'systemd cannot name the device a.b, ' web.socket "$name"
	done
	put /etc/red 'VRFBIND_VRF=red'
	unit web.service '[Service]' ExecStart=/bin/cat EnvironmentFile=-/etc/%N-red EnvironmentFile=/etc/red
	refuses 'EnvironmentFile=/etc/red sets VRFBIND_VRF' web blue
	put /etc/red OTHER=red
	put /etc/web-red LD_PRELOAD=/x
	refuses 'EnvironmentFile=/etc/web-red sets LD_PRELOAD' web blue
	put /etc/web-red OTHER=red
	enables web blue
	rm "$root/usr/local/libexec/vrfbind/vrfbind-probe"
	refuses 'require vrfbind-probe, which is not below .*/usr/local/libexec/vrfbind/vrfbind-probe' radvd blue
	rm "$root/usr/local/lib/libvrfbind.so"
	refuses 'libvrfbind.so is not installed below ' radvd blue
	rm "$root/usr/local/bin/vrfbind"
	refuses 'vrfbind is not installed below ' --library /usr/lib/libvrfbind.so radvd blue
}

# On this machine, in whose directories nothing is written.
from_a_build_directory() {
	local build=$scratch/build
	mkdir "$build"
	cp "$command" "$command-probe" "$library" "$build"
	ends 0 "$build/vrfbind" enable --dry-run getty@x blue
	grep -q "^Environment=LD_PRELOAD=$build/libvrfbind.so" "$scratch/said"
	grep -q "^vrfbind: getty@x.service will use $build/vrfbind and $build/libvrfbind.so, and fail if " "$scratch/said.stderr"
	ends 0 "$build/vrfbind" enable --dry-run --library "$build/libvrfbind.so" getty@x blue
	grep -q "^vrfbind: getty@x.service will use $build/vrfbind, and fail if " "$scratch/said.stderr"
	rm "$build/vrfbind-probe"
	refused 125 'require vrfbind-probe, which is not below /' "$build/vrfbind" enable --dry-run getty@x blue
}

# -- A real systemd

undo() {
	stop_systemd
	rm -rf "$scratch"
}
trap undo EXIT

boot() {
	mkdir "$T_DIR/etc"
	echo 'interface br-blue { AdvSendAdvert on; prefix 2001:db8:1::/64 { }; };' >"$T_DIR/etc/radvd.conf"
	printf '%s\n' no-resolv interface=br-blue bind-dynamic dhcp-leasefile=/var/lib/dnsmasq/blue/leases \
		>"$T_DIR/etc/dnsmasq-blue.conf"
	start_systemd radvd.service "$PWD/examples/systemd/dnsmasq@.service"
	put_unit web.socket '[Socket]' ListenStream=0.0.0.0:7777
	put_unit web.service '[Service]' 'ExecStart=/bin/sleep infinity'
	manage daemon-reload
}
# put_unit NAME LINE...
put_unit() { printf '%s\n' "${@:2}" | write "/etc/systemd/system/$1"; }
put_program() { inside install -m 755 /dev/stdin "/usr/local/lib/$2" <"$1"; }
# in_journal UNIT PATTERN - a line arrives there, which may be after the end of who has written it
in_journal() { await journal_has "$@"; }
journal_has() { journal "$1" | grep -E -- "$2" >/dev/null; }
fails() {
	not restart "$1"
	# It may be about to try again.
	not is "$1" ActiveState active
	manage stop "$1"
}

real_service() {
	restart radvd.service
	await unbound blue radvd.service
	vrfbind enable --any-device radvd br-blue
	restart radvd.service
	await in_vrf blue radvd.service
	# And the command's report about it.
	ends 0 "$command" status "$(main_pid radvd.service)"
	grep -q 'VRF br-blue, library .*, libc patched' "$scratch/said"
}

hardened_service() {
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	# By another name of the VRF, which systemd has no unit for.
	ip link property add dev blue altname also-blue
	vrfbind enable dnsmasq@blue also-blue
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
	is dnsmasq@blue.service MemoryDenyWriteExecute yes
	local pid
	pid=$(main_pid dnsmasq@blue.service)
	not grep -q '^Uid:	0' "/proc/$pid/status"
	grep -q '^NoNewPrivs:	1' "/proc/$pid/status"
	ends 0 "$command" status "$pid"
	grep -q 'libc patched' "$scratch/said"
}

# A service with a listener in each of two VRFs, and on the loopback; with /run/past there, the first one is in the wrong one,
# past the library.
rules_service() {
	local odd='a$b"c\d' rules path
	write /usr/local/lib/ruled.py <<-'END'
		import ctypes, os, socket, time
		for kind, ip, port in ((1, "0.0.0.0", 5380), (1, "0.0.0.0", 5381), (2, "127.0.0.1", 5382)):
		    one = socket.socket(socket.AF_INET, kind)
		    try:
		        one.bind((ip, port))
		    except OSError as error:
		        print(port, error, flush=True)
		        continue
		    if os.path.exists("/run/past") and port == 5380:
		        ctypes.CDLL("libc.so.6").setsockopt(one.fileno(), 1, 25, b"blue", 4)
		    if kind == 1:
		        one.listen()
		    os.dup(one.detach())
		ready = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		ready.sendto(b"READY=1", os.environ["NOTIFY_SOCKET"].replace("@", "\0", 1))
		time.sleep(1000000)
	END
	put_unit ruled.service '[Service]' Type=notify 'ExecStart=/usr/bin/python3 /usr/local/lib/ruled.py'
	restart ruled.service
	listens - - -
	ip link add "$odd" type veth peer name odd0
	rules="bind tcp *:5380 red; connect 10.9.0.0/16 $odd; loopback lo"
	vrfbind enable ruled blue --rule 'bind tcp *:5380 red' --rule "connect 10.9.0.0/16 $odd" --loopback 2>"$scratch/said"
	[ ! -s "$scratch/said" ]
	restart ruled.service || { journal ruled.service; return 1; }
	listens red blue lo
	has_rules "$rules"
	ends 0 "$command" status "$(main_pid ruled.service)"
	# Without one line of it the check at the end fails what it lets pass now.
	path=$(drop_in ruled.service)
	inside sed -i.bak '/^Environment=.*VRFBIND_RULES/d' "$path"
	restart ruled.service
	listens blue blue ''
	inside mv "$path.bak" "$path"
	inside touch /run/past
	fails ruled.service
	in_journal ruled.service 'has the socket tcp 0.0.0.0:5380 in the VRF blue, .* and not where rule 1 puts it \("bind tcp \*:5380 red"\)'
	inside rm /run/past
	# Others replace them.
	vrfbind enable ruled blue --rule 'bind tcp *:5380 default'
	restart ruled.service || { journal ruled.service; return 1; }
	listens - blue ''
	has_rules 'bind tcp *:5380 default'
	ip link delete "$odd"
	# With rights and without, by systemd's properties.
	put_unit ruled.service '[Service]' Type=notify 'ExecStart=/usr/bin/python3 /usr/local/lib/ruled.py' DynamicUser=yes
	manage daemon-reload
	vrfbind enable ruled blue --rule 'bind tcp *:5380 red' --loopback 2>"$scratch/said"
	grep -q '^vrfbind: ruled.service starts, but lacks CAP_NET_RAW (User= or DynamicUser= ' "$scratch/said"
	restart ruled.service
	not can_move
	put_unit ruled.service '[Service]' Type=notify 'ExecStart=/usr/bin/python3 /usr/local/lib/ruled.py' DynamicUser=yes \
		AmbientCapabilities=CAP_NET_RAW
	manage daemon-reload
	vrfbind enable ruled blue --rule 'bind tcp *:5380 red' --loopback 2>"$scratch/said"
	[ ! -s "$scratch/said" ]
	restart ruled.service || { journal ruled.service; return 1; }
	can_move
	listens red blue lo
	put_unit ruled.service '[Service]' Type=notify 'ExecStart=/usr/bin/python3 /usr/local/lib/ruled.py' \
		CapabilityBoundingSet=CAP_CHOWN
	manage daemon-reload
	vrfbind enable ruled blue --rule 'bind tcp *:5380 red' --loopback 2>"$scratch/said"
	grep -q '^vrfbind: ruled.service starts, but lacks CAP_NET_RAW (CapabilityBoundingSet= ' "$scratch/said"
	restart ruled.service
	not can_move
	vrfbind disable ruled
	restart ruled.service
	listens - - -
	has_rules ''
	manage stop ruled.service
}
# listens DEVICE DEVICE DEVICE - where its sockets of the ports 5380, 5381 and 5382 are (-: on none); '': that one is not there
listens() {
	in_vrf blue ruled.service >"$scratch/sockets" || true
	local port=5380 device
	for device; do
		if [ -n "$device" ]; then
			grep -E ":$port +$device " "$scratch/sockets"
		else
			not grep -E ":$port " "$scratch/sockets"
		fi || { cat "$scratch/sockets"; journal ruled.service; return 1; }
		port=$((port + 1))
	done
}
has_rules() { [ "$(tr '\0' '\n' <"/proc/$(main_pid ruled.service)/environ" | sed -n 's/^VRFBIND_RULES=//p')" = "$1" ]; }
# CAP_NET_RAW is number 13.
can_move() { (( 0x$(sed -n 's/^CapEff:\t//p' "/proc/$(main_pid ruled.service)/status") >> 13 & 1 )); }

# Without the library a service runs unbound, but for the check.
no_library() {
	local path
	path=$(drop_in dnsmasq@blue.service)
	vrfbind enable dnsmasq@blue blue
	inside mv /usr/local/lib/libvrfbind.so /usr/local/lib/elsewhere.so
	inside sed -i.bak '/ExecStartP/d' "$path"
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	inside mv "$path.bak" "$path"
	fails dnsmasq@blue.service
	in_journal dnsmasq@blue.service 'vrfbind: probe: a socket made here is not bound to blue'
	inside mv /usr/local/lib/elsewhere.so /usr/local/lib/libvrfbind.so
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
}

taken_away() {
	vrfbind enable dnsmasq@blue blue
	printf '[Service]\nUnsetEnvironment=LD_PRELOAD\n' | write /etc/systemd/system/dnsmasq@blue.service.d/90-late.conf
	fails dnsmasq@blue.service
	inside rm /etc/systemd/system/dnsmasq@blue.service.d/90-late.conf
	restart dnsmasq@blue.service
	await in_vrf blue dnsmasq@blue.service
}

not_a_vrf() {
	vrfbind enable radvd br-blue
	not restart radvd.service
	in_journal radvd.service 'vrfbind: VRF: br-blue is not a VRF'
	vrfbind enable --any-device radvd br-blue
	restart radvd.service
	await in_vrf blue radvd.service
}

# A Go program runs unbound under the library alone, which neither check lets pass.
go_service() {
	local path
	path=$(drop_in go.service)
	put_program "$bin/ask-go-dynamic" ask-go-dynamic
	put_unit go.service '[Service]' 'ExecStart=/usr/local/lib/ask-go-dynamic serve 0.0.0.0:5380 hello'
	restart go.service
	await unbound blue go.service
	vrfbind enable go blue
	if before 5.14; then
		fails go.service
		in_journal go.service 'vrfbind: /usr/local/lib/ask-go-dynamic is a Go program: .* cannot be started: this requires Linux 5.14'
		return
	fi
	restart go.service
	await in_vrf blue go.service
	# What it was started by is its main process still.
	[ "$(inside readlink "/proc/$(manage show --property MainPID --value go.service)/exe")" = /usr/local/lib/ask-go-dynamic ]
	inside sed -i.bak '/^ExecStart/d' "$path"
	restart go.service
	await unbound blue go.service
	inside cp "$path.bak" "$path"
	inside sed -i '/^ExecStart=/d' "$path"
	fails go.service
	in_journal go.service 'vrfbind: unit: the main process, .*/ask-go-dynamic\), is a Go program: .* has no supervisor'
	inside cp "$path.bak" "$path"
	printf '[Service]\nExecStart=\nExecStart=/usr/local/lib/ask-go-dynamic serve 0.0.0.0:5381 hello\n' |
		write "${path%/*}/60-late.conf"
	fails go.service
	inside rm "${path%/*}/60-late.conf"
	restart go.service
	await in_vrf blue go.service
	manage stop go.service
}

# A static program in several commands with prefixes, by a name that means something to systemd.
static_commands() {
	local vrf='.a-b$d;e'
	ip link add "$vrf" type vrf table 120
	ip link set "$vrf" up
	put_program "$bin/ask-static" ask-static
	put_unit static.service '[Service]' Type=oneshot RemainAfterExit=yes Environment='A="it  is"' \
		'ExecStart=-/usr/local/lib/ask-static tcp exit 3' 'ExecStart=:/usr/local/lib/ask-static udp run /bin/echo $A' \
		'ExecStart=/usr/local/lib/ask-static tcp6 run /bin/echo ${A} ; "/usr/local/lib/ask-static" udp6'
	vrfbind enable static "$vrf"
	restart static.service
	for kind in tcp udp tcp6 udp6; do
		in_journal static.service "^$kind [.]a-b\\\$d;e\$"
	done
	in_journal static.service '^\$A$'
	in_journal static.service '^it  is$'
	ip link delete "$vrf"
	await is static.service ActiveState inactive
}

# A shell becomes a program in which AT_SECURE is set: where nobody can see it beforehand.
file_capabilities() {
	put_program /usr/sbin/dnsmasq able
	inside setcap cap_net_raw+ep /usr/local/lib/able
	at_secure
}
security_module() {
	mountpoint --quiet /sys/kernel/security || mount -t securityfs securityfs /sys/kernel/security
	put_program /usr/sbin/dnsmasq able
	apparmor_parser --replace --skip-cache <<-PROFILES
		profile start-able /usr/local/lib/start-able flags=(complain) { /** mr, /usr/local/lib/able Px -> able, }
		profile able flags=(complain) { /** mrw, network, capability, }
	PROFILES
	at_secure
}
at_secure() {
	local path
	put_program "$(readlink -f /bin/sh)" start-able
	put_unit able.service '[Service]' Type=forking User=nobody RuntimeDirectory=able PIDFile=/run/able/pid \
		"ExecStart=/usr/local/lib/start-able -c 'exec /usr/local/lib/able --conf-file=/dev/null --port=5390 --pid-file=/run/able/pid'"
	vrfbind enable able blue
	path=$(drop_in able.service)
	inside sed -i.bak /ExecStartPost/d "$path"
	restart able.service
	await unbound blue able.service
	inside mv "$path.bak" "$path"
	fails able.service
	in_journal able.service 'vrfbind: unit: the main process, .*/able\), has AT_SECURE set'
	in_journal able.service 'vrfbind: unit: process .* \(able\) has the socket .*:5390 in no VRF, and not in blue'
	vrfbind disable able
}

passed_socket() {
	vrfbind enable web.service blue 2>"$scratch/said"
	cat "$scratch/said"
	grep -q '^vrfbind: web.service gets sockets from web.socket' "$scratch/said"
	manage daemon-reload
	restart web.socket
	restart web.service
	await in_vrf blue web.service
	# systemd has the same socket, and passes it on.
	manage stop web.service
	vrfbind disable web.service >"$scratch/said"
	grep -q 'sockets that web.socket has passed to web.service stay in the VRF until .systemctl restart web.socket' "$scratch/said"
	manage daemon-reload
	restart web.service
	await in_vrf blue web.service
	manage stop web.service
	restart web.socket
	restart web.service
	await unbound blue web.service
	manage stop web.service
	# In a program that the library is not in, nobody does.
	if ! before 5.14; then
		put_program "$bin/ask-go" ask-go
		put_unit web.service '[Service]' 'ExecStart=/usr/local/lib/ask-go serve 0.0.0.0:5380 hello'
	fi
	manage daemon-reload
	vrfbind enable web.service blue
	restart web.socket
	if ! before 5.14; then
		fails web.service
		in_journal web.service 'has the socket tcp 0.0.0.0:7777 in no VRF, .*; if a socket unit has passed it'
	fi
	manage stop web.socket
	vrfbind enable web.socket blue
	restart web.socket
	restart web.service
	await in_vrf blue web.service
	manage stop web.service web.socket
	vrfbind disable web.service
	vrfbind disable web.socket
	manage daemon-reload
}

# What systemd makes of names is what we make of them, whether the files are asked or systemd is.
as_systemd_has_it() {
	local etc=/etc/systemd/system name preload
	put_unit x-y@.service '[Service]' Environment=LD_PRELOAD=/unit.so 'ExecStart=/bin/sleep infinity'
	for name in x-y@a.service.d/{20,31} x-y@.service.d/{21,32} x-@a.service.d/22 x-@.service.d/23 x-.service.d/{24,33} service.d/25; do
		printf '[Service]\nEnvironment=LD_PRELOAD=/%s.so\n' "$name" | write "$etc/$name.conf"
	done
	inside ln -s /dev/null "$etc/x-y@.service.d/33.conf"
	inside ln -s x-y@.service "$etc/alias@.service"
	printf '[Service]\nEnvironment=LD_PRELOAD=/alias.so\n' | write "$etc/alias@.service.d/34.conf"
	manage daemon-reload
	manage show x-y@a.service >/dev/null
	# Each kind of directory once the last.
	for name in 35 34 3 25 24 23 22 2; do
		inside find "$etc/" -name "$name*.conf" -delete
		# As far as systemd has not read it, the files are asked.
		vrfbind enable --dry-run x-y@a blue >"$scratch/files"
		manage daemon-reload
		vrfbind enable --dry-run x-y@a blue | diff "$scratch/files" -
		preload=$(manage show --property Environment --value x-y@a.service)
		[[ $preload == LD_PRELOAD=/*.so ]]
		has_line "$scratch/files" "Environment=${preload/=/=/usr/local/lib/libvrfbind.so:}"
	done
	[ "$preload" = LD_PRELOAD=/unit.so ]
	vrfbind enable --dry-run alias@a blue | grep -q '/x-y@a.service.d/50-vrfbind.conf$'
	inside rm -r "$etc"/{x-y@.service,alias@.service,x-y@a.service.d}
	inside ln -s /dev/null "$etc/x-y@a.service"
	for name in files asked; do
		not vrfbind enable x-y@a blue 2>"$scratch/said"
		grep -q 'is masked by /etc/systemd/system/x-y@a.service' "$scratch/said"
		manage daemon-reload
	done
	inside rm "$etc/x-y@a.service"
}

as_systemd_confines_it() {
	put_program "$bin/ask-static" ask-static
	put_unit confined.service '[Service]' RestrictAddressFamilies=none ExecStart=/usr/local/lib/ask-static
	not vrfbind enable confined blue 2>"$scratch/said"
	grep 'RestrictAddressFamilies= permits confined.service no IPv4 or IPv6 socket' "$scratch/said"
	put_unit confined.service '[Service]' SystemCallFilter=~@network-io ExecStart=/usr/local/lib/ask-static
	manage daemon-reload
	vrfbind enable --dry-run confined blue 2>"$scratch/said"
	grep 'SystemCallFilter= of confined.service lacks setsockopt, getsockopt, socketpair, sendmsg, recvmsg, which' "$scratch/said"
}

real_socket() {
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0:7777 '
	vrfbind enable web.socket blue
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0%blue:7777 '
	vrfbind disable web.socket
	restart web.socket
	ss -H -l -t -n | grep -q ' 0.0.0.0:7777 '
}

disabled() {
	await in_vrf blue dnsmasq@blue.service
	vrfbind disable dnsmasq@blue
	restart dnsmasq@blue.service
	await unbound blue dnsmasq@blue.service
	not inside test -e "$(drop_in dnsmasq@blue.service)"
}

# -- The points

if [ "$tier" = lo ]; then
	echo 1..21
	point 'a service gets the environment, the device and the checks, and loses them again' of_service
	point 'rules are written, replaced and taken away; invalid ones are refused, with the place' with_rules
	point 'under rules, a lack of CAP_NET_RAW is reported' without_capability
	point 'an instance of a template gets them alone' of_instance
	point 'a socket unit gets BindToDevice= and nothing else' of_socket
	point '--dry-run prints what would be written, and writes nothing' only_says
	point 'other drop-ins stay, and their preloads count' keeps_other_drop_ins
	point 'drop-ins count in the order of their names, and mask one another' in_order
	point 'aliases, linked and generated units are treated as by systemd' other_names
	point 'a masked unit is refused' masked
	point 'quotes, escapes and continued lines are read and written as systemd has them' reads_and_quotes
	point_with "$bin/ask-static" 'commands of a static program are started by vrfbind exec, or refused' supervised
	root_point 'so are those of a program with file capabilities, if it is not for root' with_capabilities
	point 'what NoExecPaths= forbids is allowed, if the drop-in needs it' executable
	point_with "$bin/ask-static" 'what would undo the drop-in is refused' would_undo_it
	point_with "$bin/ask-static" 'a sandbox that confines the unit too much is refused or reported' confined
	point 'of a service and its socket each names the other' service_and_socket
	point 'nothing is read or written outside of the root' stays_below_the_root
	point "somebody else's file is neither overwritten nor removed" others_files
	point 'what cannot be put into a VRF is refused' cannot_be
	point 'what the unit needs and is not installed is named' from_a_build_directory
else
	echo 1..15
	boot >"$scratch/boot" 2>&1 || {
		sed 's/^/# /' "$scratch/boot"
		echo 'Bail out! the second systemd did not come up'
		exit 1
	}
	point "a package's service is in the VRF" real_service
	point 'a service with DynamicUser=, MemoryDenyWriteExecute= and SystemCallFilter= is in the VRF' hardened_service
	point 'a service follows its rules, or fails' rules_service
	point 'without the library the service fails, and would run unbound without the checks' no_library
	point 'where another drop-in takes LD_PRELOAD away, the service fails' taken_away
	point 'a device that is no VRF fails the service, unless it was asked for' not_a_vrf
	point_with "$bin/ask-go-dynamic" 'a Go service is in the VRF by a supervisor, and fails without it' go_service
	if before 5.14; then
		skip_point 'several commands of a static program are, with their prefixes' 'it takes a supervisor, and that Linux 5.14'
	else
		point 'several commands of a static program are, with their prefixes' static_commands
	fi
	point 'a program that drops the library for AT_SECURE fails the service' file_capabilities
	if [ "$(cat /sys/module/apparmor/parameters/enabled 2>/dev/null)" != Y ]; then
		skip_point 'so does one that AppArmor confines at its start' 'AppArmor is not active'
	else
		point_with /sbin/apparmor_parser 'so does one that AppArmor confines at its start' security_module
	fi
	point_with "$bin/ask-go" 'a socket that was passed from outside of the VRF is put into it, for systemd too, or fails the service' passed_socket
	point 'a unit is what systemd makes of its files, whether it has read them or not' as_systemd_has_it
	point_with "$bin/ask-static" 'what confines a unit is taken as systemd has it' as_systemd_confines_it
	point 'a socket unit listens in the VRF' real_socket
	point 'disable takes the service out of the VRF' disabled
fi
exit "$all_ok"
