# shellcheck shell=bash
# daemons.sh - dnsmasq, radvd and the metadata web server of each network, in one of the ways
#
# None of them knows VRFs. Each is started in the foreground by under(), which is all that differs between the ways; its
# output goes to a log in the scratch directory. What a user would type for network 1:
#   VRFBIND_VRF=ni1 LD_PRELOAD=libvrfbind.so dnsmasq -k -C ni1.dnsmasq
#   ip vrf exec ni1 dnsmasq -k -C ni1.dnsmasq
#   ip netns exec ni1 dnsmasq -k -C ni1.dnsmasq
# In the way `containerd` each is a task (../containerd), whose program is `vrfbind exec ni1`; start() starts it, and under() is for
# what the device itself asks in the VRF.

daemons=()

# under NETWORK COMMAND... - becomes the command in that network's VRF, or namespace
under() {
	local n=$1
	shift
	case $way in
	library) become env "VRFBIND_VRF=ni$n" "LD_PRELOAD=$VRFBIND_TEST_LIB" "$@" ;;
	ip-vrf) become ip vrf exec "ni$n" "$@" ;;
	containerd) become "$VRFBIND_TEST_COMMAND" exec "ni$n" "$@" ;;
	netns) become nsenter --net="/run/netns/$id-ni$n" -- "$@" ;;
	esac
}
become() { exec "$@"; }

# start NETWORK NAME COMMAND... - a daemon of that network
start() {
	local n=$1 name=$2 pid
	shift 2
	if [ "$way" = containerd ]; then
		LOGS=$dir "$here/../containerd/task" "--mount=type=bind,src=$dir,dst=$dir,options=rbind:rw" \
			"--env=STRONGSWAN_CONF=${STRONGSWAN_CONF-}" "ni$n" "ni$n.$name" "$@"
		pid=$(task_pid "ni$n.$name")
	else
		under "$n" "$@" >"$dir/ni$n.$name.log" 2>&1 &
		pid=$!
		daemons+=("$pid")
	fi
	echo "$n $name $pid" >>"$dir/daemons"
}

dnsmasq_conf() {
	local n=$1 subnet=$2 app address _
	cat <<-CONF
		interface=br-ni$n
		bind-interfaces
		# 127.0.0.1 is an address of lo, not of the VRF.
		except-interface=lo
		no-resolv
		no-hosts
		server=$nameserver$n
		domain=ni$n
		local=/ni$n/
		host-record=device.ni$n,$subnet.1
		dhcp-range=$subnet.0,static,1h
		dhcp-leasefile=$dir/ni$n.leases
		pid-file=
		# It closes its standard output, and then containerd 1.6 no longer writes down what comes from the other one.
		log-facility=$dir/ni$n.dnsmasq.log
		log-dhcp
		log-queries
	CONF
	while read -r app _ _ address; do
		echo "dhcp-host=$(mac "$n" "$app"),$address,$app"
		echo "host-record=$app.ni$n,$address"
	done < <(rows apps 1 "$n")
	[ "$n" != 1 ] || echo 'ipset=/allowed.test/ni1.allowed'
}

# On a VRF no router solicitation is heard: a host waits for the next advertisement.
radvd_conf() {
	cat <<-CONF
		interface br-ni$1 {
			AdvSendAdvert on;
			MinRtrAdvInterval 3;
			MaxRtrAdvInterval 4;
			AdvDefaultLifetime 0;
			prefix $2::/64 { };
		};
	CONF
}

# start_daemons KIND - of all networks of that kind
start_daemons() {
	local n subnet prefix _
	while read -r n _ subnet prefix _; do
		dnsmasq_conf "$n" "$subnet" >"$dir/ni$n.dnsmasq"
		radvd_conf "$n" "$prefix" >"$dir/ni$n.radvd"
		mkdir -p "$dir/ni$n/latest/meta-data"
		echo "the metadata of ni$n" >"$dir/ni$n/latest/meta-data/local-hostname"
		start "$n" dnsmasq dnsmasq --keep-in-foreground --conf-file="$dir/ni$n.dnsmasq"
		start "$n" radvd radvd --nodaemon --username=radvd --logmethod=stderr \
			--config="$dir/ni$n.radvd" --pidfile="$dir/ni$n.radvd.pid"
		start "$n" httpd busybox httpd -f -p "$metadata:80" -h "$dir/ni$n"
	done < <(rows networks 1 "$1")
	for n in $(numbers "$1"); do
		await "$limit" ready "$n" || { tail -n 5 "$dir/ni$n".*.log >&2; return 1; }
	done
}

# dnsmasq logs when it has opened everything; radvd has two processes then; the web server listens.
ready() {
	local name pid
	while read -r _ name pid; do
		case $name in
		dnsmasq) grep -q ': started, version' "$dir/ni$1.dnsmasq.log" || return 1 ;;
		radvd) [ -n "$(cat "/proc/$pid/task/$pid/children")" ] || return 1 ;;
		httpd) grep -q '^ *[0-9]*: FEA9FEA9:0050' "/proc/$pid/net/tcp" || return 1 ;;
		esac
	done < <(grep "^$1 " "$dir/daemons")
}

# The machines around the edge: a web page with its owner's name, names, and for the switch DHCP.
start_outside() {
	local app n _ gateway
	for app in gw $(cloud_names) $(app_names); do
		mkdir "$dir/$app"
		echo "$app" >"$dir/$app/index.html"
		background "$id-$app" busybox httpd -f -p 80 -h "$dir/$app" &
		daemons+=($!)
	done
	gateway=$(rows uplinks 0 eth3 | cut -d' ' -f3)
	{
		cat <<-CONF
			bind-interfaces
			except-interface=lo
			listen-address=${nameserver}1,${nameserver}2,${nameserver}3,${nameserver}4,${nameserver}5${gateway:+,$gateway}
			no-resolv
			no-hosts
			host-record=allowed.test,$allowed
			host-record=blocked.test,$blocked
			${gateway:+dhcp-range=${gateway%.*}.0,static,1h}
			dhcp-leasefile=$dir/gw.leases
			pid-file=
			log-facility=-
			log-dhcp
		CONF
		while read -r app n _ _; do
			echo "dhcp-host=$(mac "$n" "$app"),$(rows apps 1 6 | cut -d' ' -f4),$app"
		done < <(rows apps 1 6)
	} >"$dir/gw.dnsmasq"
	background "$id-gw" dnsmasq --keep-in-foreground --conf-file="$dir/gw.dnsmasq" >"$dir/gw.dnsmasq.log" 2>&1 &
	daemons+=($!)
}
