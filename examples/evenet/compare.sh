# shellcheck shell=bash
# compare.sh - the three ways side by side, over the daemons of the local networks, which every way has
#
# measure is called once in each way, when those daemons are ready, and leaves lines "KEY VALUE..." in a file that is
# named after the way; show_comparison makes the table of these files. The reduced form leaves out the capabilities,
# which take a dozen of trials.

# measure MILLISECONDS_FOR_THE_DEVICES MILLISECONDS_FOR_THE_DAEMONS
measure() {
	local pids='' pid
	while read -r _ _ pid; do pids+=" $(family "$pid")"; done <"$dir/daemons"
	# shellcheck disable=SC2086  # process ids
	{
		echo "devices $1 ms"
		echo "daemons $2 ms"
		echo "processes $(wc -w <<<"$pids")"
		for pid in $pids; do cat "/proc/$pid/smaps_rollup"; done | awk '
			$1 == "Pss:" { pss += $2 }
			$1 == "Private_Dirty:" { dirty += $2 }
			END { print "pss", pss, "kB"; print "dirty", dirty, "kB" }'
		[ -n "${EVENET_REDUCED-}" ] || echo "privileges $(privileges)"
	} >>"$EVENET_RESULTS/$way"
}

# as_nobody CAPABILITY... - whether a program starts in network 1 as nobody with these, and binds a socket there. That
# address is only in this network, so that a socket outside of it could not.
as_nobody() {
	local list said
	list=-all$([ $# -eq 0 ] || printf ',+%s' "$@")
	said=$(
		VRFBIND_TEST_LIB=$dir/libvrfbind.so
		become() { exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps="$list" --ambient-caps="$list" "$@"; }
		under 1 busybox nslookup -type=a device.ni1 10.10.1.1
	) 2>/dev/null
	[[ $said == *Name:*10.10.1.1* ]]
}

# Leaves out one capability after the other, for good if it is not missed.
privileges() {
	local left=(sys_admin net_admin net_raw bpf dac_override) needed=() candidate
	install -m 644 "$VRFBIND_TEST_LIB" "$dir/libvrfbind.so"
	as_nobody "${left[@]}" || { echo unknown; return; }
	while [ ${#left[@]} -gt 0 ]; do
		candidate=${left[0]}
		left=("${left[@]:1}")
		as_nobody "${needed[@]}" "${left[@]}" || needed+=("$candidate")
	done
	echo "${needed[*]:-none}"
}

# Each was measured once, one after the other; the first has loaded the kernel's modules and filled its caches.
show_comparison() {
	local way key sentence
	printf '%-36s' ''
	for way in "$@"; do
		case $way in
		ip-vrf) way='ip vrf exec' ;;
		netns) way='a namespace for each' ;;
		esac
		printf '%-28s' "$way"
	done
	echo
	while read -r key sentence; do
		printf '%-36s' "$sentence"
		for way in "$@"; do
			printf '%-28s' "$(sed -n "s/^$key //p" "$EVENET_RESULTS/$way" |
				awk -v key="$key" '{ if (key == "local" || key == "all") print $1 " of " $2; else print }')"
		done
		echo
	done <<-'TABLE'
		local checks of the local networks
		all all checks of this way
		processes daemons of NI1 to NI3: processes
		pss   PSS
		dirty   private dirty
		privileges   capabilities to start one
		daemons   until they were ready
		devices devices and rules: time
	TABLE
}
