# shellcheck shell=bash
# compare.sh - the ways side by side, over the daemons of the local networks, which every way has
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
		if [ "$way" = containerd ]; then
			echo 'privileges root, by containerd'
			shims
		elif [ -z "${EVENET_REDUCED-}" ]; then
			echo "privileges $(privileges)"
		fi
	} >>"$EVENET_RESULTS/$way"
}

# What the daemons would not have without containers: containerd, and a shim for each task. runc has ended when a task runs.
shims() {
	local pids
	mapfile -t pids < <(task_shims)
	cat $(printf '/proc/%s/smaps_rollup ' "$containerd" "${pids[@]}") | awk -v count=${#pids[@]} '
		$1 == "Pss:" { pss += $2 }
		$1 == "Private_Dirty:" { dirty += $2 }
		END { print "shims", count; print "engine-pss", pss, "kB"; print "engine-dirty", dirty, "kB" }'
}

# What each task's own cgroup says, and what that is for each network.
show_tasks() {
	local n name memory limit cpu
	while read -r n name _; do
		read -r memory limit cpu < <(task_uses "ni$n.$name")
		echo "ni$n $name $memory $limit $cpu"
	done <"$dir/daemons" | sort --stable --key=1,1 | awk '
		BEGIN { format = "%-3s  %-8s  %9s  %9s  %8s\n"
			printf format, "NET", "TASK", "MEMORY kB", "LIMIT kB", "CPU ms" }
		function network() { if (name != "") printf format, name, "all", memory, limit, cpu; memory = limit = cpu = 0 }
		$1 != name { network(); name = $1 }
		{ printf format, $1, $2, $3, $4, $5; memory += $3; limit += $4; cpu += $5 }
		END { network() }'
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
		containerd) way='library, containerd tasks' ;;
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
		processes daemons of NI1 to NI3, supervisors: processes
		pss   PSS
		dirty   private dirty
		shims         shims of containerd
		engine-pss    containerd and its shims: PSS
		engine-dirty    private dirty
		privileges   capabilities to start one
		daemons   until they were ready
		devices devices and rules: time
	TABLE
}
