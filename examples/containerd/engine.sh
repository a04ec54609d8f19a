# shellcheck shell=bash
# engine.sh - a containerd for the time of a script, and what its tasks use; the scripts that start tasks source it
#
# It is in the network namespace of the script, and so are its tasks (task). It keeps its files in a directory of the script's, and
# its tasks in a containerd namespace of their own, which is their cgroup's name as well: a containerd that this machine has is
# not disturbed. ctr(1) and `task` find it by the two variables that are exported here.

containerd=''
cgroups=$(findmnt --noheadings --first-only --types cgroup2 --output TARGET || true)

# start_containerd DIRECTORY NAMESPACE - it can be used when containerd_answers
start_containerd() {
	export CONTAINERD_ADDRESS=$1/socket CONTAINERD_NAMESPACE=$2
	mkdir "$1"
	cat >"$1/config.toml" <<-END
		version = 2
		root = "$1/root"
		state = "$1/state"
		disabled_plugins = ["io.containerd.grpc.v1.cri"]
		[grpc]
		address = "$1/socket"
	END
	containerd --config "$1/config.toml" >"$1/log" 2>&1 &
	containerd=$!
}
containerd_answers() { ctr version >/dev/null 2>&1; }

# end_containerd - and its tasks. They are killed: ctr(1) would have four programs started for each, and hundreds take as long to
# remove as to start. What containerd, its shims and runc would then remove themselves is removed here.
end_containerd() {
	local state=${CONTAINERD_ADDRESS-} processes
	[ -n "$containerd" ] || return 0
	mapfile -t processes < <(ctr task ls | awk 'NR > 1 && $3 != "STOPPED" { print $2 }')
	# The first one would start to clean up after the others.
	{ kill -KILL "$containerd" && wait "$containerd"; } 2>/dev/null || true
	containerd=''
	mapfile -t -O ${#processes[@]} processes < <(task_shims)
	[ ${#processes[@]} -eq 0 ] || kill -KILL "${processes[@]}" 2>/dev/null || true
	while [ -n "$(cat "$cgroups/$CONTAINERD_NAMESPACE"/*/cgroup.procs 2>/dev/null)" ]; do sleep 0.1; done
	find "$cgroups/$CONTAINERD_NAMESPACE" -depth -type d -exec rmdir {} + 2>/dev/null || true
	grep --recursive --no-filename --only-matching --include=address '/[^/].*' "${state%/*}/state" |
		xargs --no-run-if-empty rm -f || true
	rm -rf "/run/containerd/runc/$CONTAINERD_NAMESPACE"
}

task_pid() { ctr task ls | awk -v name="$1" '$1 == name { print $2 }'; }
task_status() { ctr task ls | awk -v name="$1" '$1 == name { print $3 }'; }

# task_cgroup NAME - the directory; it is there until the task is removed
task_cgroup() { echo "$cgroups/$CONTAINERD_NAMESPACE/$1"; }

# task_uses NAME - memory and its limit in kB, and CPU time in ms, as the task's cgroup counts them
task_uses() {
	local cgroup memory limit
	cgroup=$(task_cgroup "$1")
	memory=$(<"$cgroup/memory.current") limit=$(<"$cgroup/memory.max")
	echo $((memory / 1024)) $((limit / 1024)) "$(awk '$1 == "usage_usec" { print int($2 / 1000) }' "$cgroup/cpu.stat")"
}

# task_shims - the processes that hold the tasks, one for each but where an annotation groups them
task_shims() { pgrep --full "^[^ ]*containerd-shim.* -address $CONTAINERD_ADDRESS( |\$)" || true; }

# in_its_cgroup NAME PID - whether that process is where containerd has put the task
in_its_cgroup() { grep -qx "0::/$CONTAINERD_NAMESPACE/$1" "/proc/$2/cgroup"; }
