# shellcheck shell=bash
# flows.sh - who spoke with whom, and how much: conntrack's events as lines like NetFlow's, nft's counters as a table
#
# A conntrack entry that ends reports what it carried in both directions; its zone tells in which network it was, its mark
# (acl.sh) which app's it was and whether it was dropped. watch_flows listens from the beginning (its netlink socket of
# protocol 12 has groups then), and end_flows ends what is still open.

edge_namespaces() { printf '%s\n' "${namespaces[@]}" | grep -E -- '-(edge|ni[0-9])$'; }

watch_flows() {
	local name
	for name in $(edge_namespaces); do
		background "$name" conntrack --event --event-mask DESTROY --output extended \
			--buffer-size 1048576 >"$dir/${name#"$id"-}.events" 2>"$dir/${name#"$id"-}.events.log" &
		daemons+=($!)
	done
	for name in $(edge_namespaces); do
		await "$limit" inside "$name" awk '$2 == 12 && $4 != "00000000" { found = 1 } END { exit !found }' /proc/net/netlink
	done
}

end_flows() {
	local name
	for name in $(edge_namespaces); do
		inside "$name" conntrack --flush >/dev/null 2>&1
	done
}

flow_lines() {
	cat "$dir"/*.events | awk '
		{
			split("", first); split("", last)
			zone = mark = 0
			for (i = 1; i <= NF; i++)
				if (split($i, part, "=") == 2) {
					if (part[1] == "zone") zone = part[2]
					else if (part[1] == "mark") mark = part[2]
					else if (part[1] in first) last[part[1]] = part[2]
					else first[part[1]] = part[2]
				}
			app = int(mark / 16) % 256
			if (!zone || zone == 999 || !app)
				next
			printf "ni%d app%d %s %s %s %d %d %d %d %s\n", zone, app, $4,
				first["src"] (first["sport"] ? ":" first["sport"] : ""),
				first["dst"] (first["dport"] ? ":" first["dport"] : ""),
				first["packets"], first["bytes"], last["packets"], last["bytes"],
				int(mark / 4096) % 2 ? "dropped" : "allowed"
		}' | sort -V
}

show_flows() {
	flow_lines | awk '
		BEGIN { format = "%-3s  %-4s  %-4s  %-22s  %-22s  %7s %7s  %7s %7s  %s\n"
			printf format, "NET", "APP", "IP", "FROM", "TO", "PACKETS", "BYTES", "BACK", "BYTES", "VERDICT" }
		{ printf format, $1, $2, $3, $4, $5, $6, $7, $8, $9, $10 }'
}

# "NAME PACKETS BYTES" for each counter of the edge.
counters() {
	local name
	for name in $(edge_namespaces); do
		inside "$name" nft list counters
	done | awk '$1 == "counter" { name = $2 } $1 == "packets" { packets[name] += $2; bytes[name] += $4 }
		END { for (name in packets) print name, packets[name], bytes[name] }'
}

show_metrics() {
	counters | sort | awk '
		BEGIN { format = "%-4s  %-3s  %8s %9s  %8s %9s  %8s\n"
			printf format, "APP", "NET", "SENT", "BYTES", "RECEIVED", "BYTES", "DROPPED" }
		split($1, part, "-") == 3 && part[1] ~ /^app/ {
			row = part[1] " " part[2]
			if (!(row in seen)) { seen[row]; order[++rows] = row }
			value[row, part[3]] = $2
			size[row, part[3]] = $3
		}
		END {
			for (i = 1; i <= rows; i++) {
				split(order[i], part, " ")
				printf format, part[1], part[2], value[order[i], "sent"], size[order[i], "sent"],
					value[order[i], "received"], size[order[i], "received"], value[order[i], "dropped"]
			}
		}'
}
