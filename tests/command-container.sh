#!/usr/bin/env bash
# command-container.sh - `vrfbind cdi`, `vrfbind oci`, and the verdicts of CDI's hook, without an engine
#
# tests/containers.sh runs the engines. Here the hook is called as a runtime calls it: with a bundle, whose root has only
# a libc and the test programs, and the container's state on standard input. A program that it allows is started in that
# root with the environment of the device, and reports the device of its socket; likewise a program that it refuses.
# shellcheck disable=SC2317  # the functions are called by point(), which takes their names

# shellcheck source=tests/command.sh
. "$(dirname -- "$0")/command.sh"
export VRFBIND_LIBRARY=$library

mounted=''
trap '[ -z "$mounted" ] || umount "$mounted"; rm -rf "$scratch"' EXIT

bundle=$scratch/bundle
root=$bundle/rootfs
inside=/opt/vrfbind

# json FILE EXPRESSION - what a Python expression of `it`, the parsed file, is
json=$scratch/json
printf '%s\n' "#!$python" 'import json, sys' 'it = json.load(open(sys.argv[1]))' 'print(eval(sys.argv[2]))' >"$json"
chmod 755 "$json"

# ask_with VARIABLE... - the test program in the root, with exactly this environment, in which a variable may be there twice
ask_with=$scratch/ask-with
printf '%s\n' "#!$python" 'import ctypes, os, sys' "os.chroot('$root')" 'os.chdir("/")' \
	'strings = lambda words: (ctypes.c_char_p * (len(words) + 1))(*map(str.encode, words), None)' \
	'ctypes.CDLL(None).execve(b"/bin/ask", strings(["ask", "tcp"]), strings(sys.argv[1:]))' \
	'sys.exit("execve fails")' >"$ask_with"
chmod 755 "$ask_with"

# -- CDI

devices_of_vrfs() {
	"$vrfbind" cdi blue red >"$scratch/cdi.json"
	says '0.5.0 vrfbind.dev/vrf' "$json" "$scratch/cdi.json" 'it["cdiVersion"] + " " + it["kind"]'
	says '["blue", "red"]' "$json" "$scratch/cdi.json" 'json.dumps([one["name"] for one in it["devices"]])'
	says "['VRFBIND_VRF=red']" "$json" "$scratch/cdi.json" 'it["devices"][1]["containerEdits"]["env"]'
	says "['vrfbind', 'hook', '--', 'red']" "$json" "$scratch/cdi.json" \
		'it["devices"][1]["containerEdits"]["hooks"][0]["args"]'
	says "createContainer $(realpath "$vrfbind")" "$json" "$scratch/cdi.json" \
		'" ".join(it["devices"][1]["containerEdits"]["hooks"][0][name] for name in ("hookName", "path"))'
	says "['LD_PRELOAD=$inside/libvrfbind.so', 'VRFBIND_SEAL=1']" "$json" "$scratch/cdi.json" 'it["containerEdits"]["env"]'
	says "$(realpath "$library") $(realpath "$vrfbind")" "$json" "$scratch/cdi.json" \
		'" ".join(one["hostPath"] for one in it["containerEdits"]["mounts"])'
	says "[True, True]" "$json" "$scratch/cdi.json" '["ro" in one["options"] for one in it["containerEdits"]["mounts"]]'
	"$vrfbind" cdi --no-seal blue >"$scratch/cdi.json"
	says 'VRFBIND_SEAL=0' "$json" "$scratch/cdi.json" 'it["containerEdits"]["env"][1]'
	says "['vrfbind', 'hook', '--no-seal', '--', 'blue']" "$json" "$scratch/cdi.json" \
		'it["devices"][0]["containerEdits"]["hooks"][0]["args"]'
}

options() {
	local config=$bundle/config.json
	cp "$library" "$scratch/libvrfbind.so"
	env -u VRFBIND_LIBRARY "$vrfbind" cdi --any-device --library "$scratch/libvrfbind.so" blue >"$scratch/cdi.json"
	says "$scratch/libvrfbind.so" "$json" "$scratch/cdi.json" 'it["containerEdits"]["mounts"][0]["hostPath"]'
	says "['vrfbind', 'hook', '--any-device', '--', 'blue']" "$json" "$scratch/cdi.json" \
		'it["devices"][0]["containerEdits"]["hooks"][0]["args"]'
	"$vrfbind" cdi --rule 'bind tcp *:5380 mgmt' --loopback blue >"$scratch/cdi.json"
	says 'VRFBIND_RULES=bind tcp *:5380 mgmt; loopback lo' "$json" "$scratch/cdi.json" 'it["containerEdits"]["env"][2]'
	says "['vrfbind', 'hook', '--rules=bind tcp *:5380 mgmt; loopback lo', '--', 'blue']" "$json" "$scratch/cdi.json" \
		'it["devices"][0]["containerEdits"]["hooks"][0]["args"]'
	refused 125 'no_such_word' "$vrfbind" cdi --rule no_such_word blue
	printf %s "${bundles[1]}" >"$config"
	cp "$config" "$scratch/before"
	env -u VRFBIND_LIBRARY "$vrfbind" oci --any-device --library "$scratch/libvrfbind.so" blue "$bundle"
	says "['$inside/vrfbind', 'exec', '--any-device', '--', 'blue', 'sh']" "$json" "$config" 'it["process"]["args"][:6]'
	says "$scratch/libvrfbind.so" "$json" "$config" 'it["mounts"][-2]["source"]'
	"$vrfbind" oci --remove "$bundle"
	cmp "$config" "$scratch/before"
	rm "$config"
}

# Those of the kernel, or the sentence that there are none.
devices_by_default() {
	if [ "$tier" = vrf ]; then
		"$vrfbind" cdi >"$scratch/cdi.json"
		says "$(ip -brief link show type vrf | awk '{ print $1 }' | sort | xargs)" \
			"$json" "$scratch/cdi.json" '" ".join(sorted(one["name"] for one in it["devices"]))'
	else
		refused 125 'there is no VRF' unshare --net "$vrfbind" cdi
	fi
}

names_that_are_refused() {
	refused 125 'not a device name' "$vrfbind" cdi too-long-for-a-name
	refused 125 'no device of CDI' "$vrfbind" cdi blue _
	refused 125 '"default" is no VRF' "$vrfbind" cdi default
	refused 125 'not a device name' "$vrfbind" oci too-long-for-a-name "$bundle"
	refused 125 '"default" is no VRF' "$vrfbind" oci default "$bundle"
}

# In a mount namespace, so that this machine's /etc stays as it is.
written_and_removed() {
	mkdir -p "$scratch/etc"
	# shellcheck disable=SC2016  # for the other shell
	unshare --mount sh -euc '
		mount --bind "$1" /etc
		umask 077
		"$2" cdi --write blue 2>/etc/said | grep "/etc/cdi/vrfbind.json is written: vrfbind.dev/vrf=blue"
		grep "^vrfbind: a container will use $2 and .*, and fail if these files are moved or removed" /etc/said
		"$2" cdi blue | cmp - /etc/cdi/vrfbind.json
		[ "$(stat -c %a /etc/cdi/vrfbind.json)" = 644 ]
		"$2" cdi --write red >/dev/null 2>&1
		"$2" cdi red | cmp - /etc/cdi/vrfbind.json
		[ "$(ls /etc/cdi)" = vrfbind.json ]
		"$2" cdi --remove | grep -q "removed /etc/cdi/vrfbind.json"
		[ -z "$(ls /etc/cdi)" ]
		! "$2" cdi --remove 2>/dev/null
	' sh "$scratch/etc" "$vrfbind"
}

# -- Bundles

# As `runc spec` writes it, as containerd does, and with arguments that are no plain words.
bundles=(
	$'{\n\t"ociVersion": "1.0.2",\n\t"process": {\n\t\t"args": [\n\t\t\t"sh"\n\t\t],\n\t\t"cwd": "/"\n\t},\n\t"mounts": [\n\t\t{\n\t\t\t"destination": "/proc"\n\t\t}\n\t],\n\t"z": 1.50\n}\n'
	'{"process":{"args":["sh","-c","a \u003e b"],"cwd":"/"},"mounts":[{"destination":"/proc"},{"destination":"/opt"}]}'
	'{"mounts":[],"process":{"args":["/opt/vrfbind/vrfbind","exec","--"]}}'
)

put_in_and_taken_out() {
	local text config=$bundle/config.json
	for text in "${bundles[@]}"; do
		printf %s "$text" >"$config"
		chmod 640 "$config"
		cp -p "$config" "$scratch/before"
		"$vrfbind" oci --dry-run blue "$bundle" >"$scratch/dry"
		cmp "$config" "$scratch/before"
		"$vrfbind" oci blue "$bundle" 2>"$scratch/said.stderr"
		grep "^vrfbind: the bundle will use $vrfbind and " "$scratch/said.stderr"
		says "['$inside/vrfbind', 'exec', '--', 'blue']" "$json" "$config" 'it["process"]["args"][:4]'
		says "$("$json" "$scratch/before" 'it["process"]["args"]')" "$json" "$config" 'it["process"]["args"][4:]'
		says "['$inside/libvrfbind.so', '$inside/vrfbind']" "$json" "$config" '[one["destination"] for one in it["mounts"][-2:]]'
		says "$("$json" "$config" it)" "$json" "$scratch/dry" it
		# Once is enough, and the last VRF counts.
		cp "$config" "$scratch/once"
		"$vrfbind" oci blue "$bundle"
		cmp "$config" "$scratch/once"
		"$vrfbind" oci red "$bundle"
		says red "$json" "$config" 'it["process"]["args"][3]'
		[ "$(stat -c '%a %U' "$config")" = "$(stat -c '%a %U' "$scratch/before")" ]
		"$vrfbind" oci --remove "$bundle"
		cmp "$config" "$scratch/before"
		[ "$(ls "$bundle")" = $'config.json\nrootfs' ]
		refused 125 'was not put into a VRF by vrfbind' "$vrfbind" oci --remove "$bundle"
	done
}

bundles_that_are_refused() {
	local text
	for text in '' '{}' '[]' '{"process":{"args":[]},"mounts":[]}' '{"process":{"args":["a"]}}'; do
		printf %s "$text" >"$bundle/config.json"
		refused 125 'cannot edit .*config.json' "$vrfbind" oci blue "$bundle"
		[ "$(cat "$bundle/config.json")" = "$text" ]
	done
	rm "$bundle/config.json"
	refused 125 'cannot read .*config.json' "$vrfbind" oci blue "$bundle"
	mkfifo "$bundle/config.json"
	refused 125 'no regular file' "$vrfbind" oci blue "$bundle"
	rm "$bundle/config.json"
}

# -- The hook

# A root directory with a libc, as ldd says, and what is tried.
make_root() {
	local file
	mkdir -p "$root$inside" "$root/bin" "$root/tmp"
	for file in $(ldd "$programs/ask" | grep -oE '/[^ ]+'); do
		cp --parents -L "$file" "$root"
	done
	for file in ask ask-static ask-go; do
		[ ! -e "$programs/$file" ] || cp "$programs/$file" "$root/bin"
	done
	cp "$vrfbind" "$library" "$root$inside"
	printf '#!/bin/ask-static tcp\n' >"$root/bin/static-script"
	printf '#!/bin/ask\n' >"$root/bin/script"
	printf '#!/bin/nothing\n' >"$root/bin/broken-script"
	chmod 755 "$root"/bin/*-script "$root/bin/script"
	install -m 700 "$programs/ask" "$root/bin/roots"
	install -m 4755 "$programs/ask" "$root/bin/set-id"
	# In the container, and not here.
	ln -s /bin/ask "$root/bin/link"
	ln -s "$root/bin/ask" "$root/bin/link-out"
}

device_environment=("VRFBIND_VRF=$device" "LD_PRELOAD=$inside/libvrfbind.so" VRFBIND_SEAL=1)

# config USER NO_NEW_PRIVILEGES PROGRAM [VARIABLE...] - the bundle of a container that runs PROGRAM
config() {
	"$python" -c '
import json, sys
user, privileges, program, *environment = sys.argv[1:]
json.dump({
    "process": {
        "args": [program, "tcp"], "cwd": "/tmp", "env": ["PATH=/nowhere:/bin", *environment],
        "user": {"uid": int(user), "gid": int(user)}, "noNewPrivileges": bool(int(privileges)),
    },
    "root": {"path": "rootfs"}, "mounts": [],
}, sys.stdout)' "$@" >"$bundle/config.json"
}

# judge VRF [OPTION] - as the runtime calls it
judge() {
	printf '{"ociVersion":"1.0.2","id":"x","status":"created","pid":0,"bundle":"%s"}' "$bundle" >"$scratch/state"
	printf '#!/bin/sh\nexec "%s" hook %s %s -- "%s" <"%s"\n' "$vrfbind" "${any[*]}" "${2-}" "$1" "$scratch/state" >"$scratch/judge"
	chmod 755 "$scratch/judge"
}


passes_what_the_library_serves() {
	local program
	judge "$device"
	for program in ask link script; do
		config 0 0 "$program" "${device_environment[@]}"
		ends 0 "$scratch/judge"
	done
	config 0 0 /bin/ask "${device_environment[@]}"
	ends 0 "$scratch/judge"
	says 'tcp unbound' chroot "$root" /bin/ask tcp
	says "tcp $device" env -u VRFBIND_LIBRARY chroot "$root" "$inside/vrfbind" exec "${any[@]}" --no-supervise "$device" /bin/ask tcp
	# vrfbind itself judges then.
	config 0 0 "$inside/vrfbind" "${device_environment[@]}"
	ends 0 "$scratch/judge"
}

refuses_what_it_does_not_serve() {
	judge "$device"
	says 'tcp unbound' chroot "$root" /bin/ask-static tcp
	config 0 0 ask-static "${device_environment[@]}"
	refused 125 "/bin/ask-static is statically linked: .*--entrypoint $inside/vrfbind IMAGE exec $device ask-static" "$scratch/judge"
	config 0 0 static-script "${device_environment[@]}"
	refused 125 '/bin/ask-static is statically linked' "$scratch/judge"
	if [ -e "$root/bin/ask-go" ]; then
		config 0 0 ask-go "${device_environment[@]}"
		refused 125 '/bin/ask-go is ' "$scratch/judge"
	fi
	config 65534 0 set-id "${device_environment[@]}"
	refused 125 '/bin/set-id is set-user-ID' "$scratch/judge"
	config 65534 1 set-id "${device_environment[@]}"
	ends 0 "$scratch/judge"
}

refuses_what_cannot_start() {
	judge "$device"
	config 0 0 nothing "${device_environment[@]}"
	refused 127 'cannot execute nothing' "$scratch/judge"
	config 0 0 broken-script "${device_environment[@]}"
	refused 127 'its interpreter /bin/nothing' "$scratch/judge"
	# It is there on this machine, and not in the container.
	config 0 0 link-out "${device_environment[@]}"
	refused 127 'cannot execute link-out' "$scratch/judge"
	config 65534 0 roots "${device_environment[@]}"
	refused 126 'cannot execute roots: Permission denied' "$scratch/judge"
	config 0 0 roots "${device_environment[@]}"
	ends 0 "$scratch/judge"
	mv "$root$inside/libvrfbind.so" "$scratch/away"
	config 0 0 ask "${device_environment[@]}"
	ends 125 "$scratch/judge"
	grep "the library $inside/libvrfbind.so" "$scratch/said.stderr"
	mv "$scratch/away" "$root$inside/libvrfbind.so"
}

refuses_another_environment() {
	local preload="LD_PRELOAD=$inside/libvrfbind.so"
	judge "$device"
	config 0 0 ask "$preload"
	refused 125 "VRFBIND_VRF is not $device alone" "$scratch/judge"
	config 0 0 ask "$preload" "VRFBIND_VRF=$device" VRFBIND_VRF=other
	refused 125 "VRFBIND_VRF is not $device alone" "$scratch/judge"
	config 0 0 ask "VRFBIND_VRF=$device"
	refused 125 'LD_PRELOAD does not name' "$scratch/judge"
	config 0 0 ask "VRFBIND_VRF=$device" LD_PRELOAD=/lib/other.so
	refused 125 'LD_PRELOAD does not name' "$scratch/judge"
	config 0 0 ask LD_PRELOAD=/lib/other.so "${device_environment[@]}"
	refused 125 'another LD_PRELOAD \(/lib/other.so\)' "$scratch/judge"
	config 0 0 ask "${device_environment[@]}" "LD_PRELOAD=$inside/libvrfbind.so:/lib/other.so"
	ends 0 "$scratch/judge"
	# glibc's ld.so takes the last, and musl's the first.
	says "tcp $device" "$ask_with" "${device_environment[@]}"
	says 'tcp unbound' "$ask_with" "${device_environment[@]}" LD_PRELOAD=
	config 0 0 ask "${device_environment[@]}" LD_PRELOAD=
	refused 125 'an empty LD_PRELOAD' "$scratch/judge"
	config 0 0 ask LD_PRELOAD= "${device_environment[@]}"
	refused 125 'an empty LD_PRELOAD' "$scratch/judge"
}

refuses_another_seal_or_other_rules() {
	local unsealed=("VRFBIND_VRF=$device" "LD_PRELOAD=$inside/libvrfbind.so") value
	judge "$device"
	config 0 0 ask "${unsealed[@]}"
	refused 125 'VRFBIND_SEAL is not 1 alone' "$scratch/judge"
	for value in 0 '' 2; do
		config 0 0 ask "${device_environment[@]}" "VRFBIND_SEAL=$value"
		refused 125 'VRFBIND_SEAL is not 1 alone' "$scratch/judge"
		config 0 0 ask "VRFBIND_SEAL=$value" "${device_environment[@]}"
		refused 125 'VRFBIND_SEAL is not 1 alone' "$scratch/judge"
	done
	config 0 0 ask "${device_environment[@]}" 'VRFBIND_RULES=bind * other'
	refused 125 'VRFBIND_RULES is not that of its device' "$scratch/judge"
	config 0 0 ask "${device_environment[@]}" VRFBIND_RULES=
	ends 0 "$scratch/judge"

	judge "$device" --no-seal
	config 0 0 ask "${unsealed[@]}" VRFBIND_SEAL=0
	ends 0 "$scratch/judge"

	judge "$device" "'--rules=bind * other; loopback lo'"
	config 0 0 ask "${device_environment[@]}" 'VRFBIND_RULES=bind * other; loopback lo'
	ends 0 "$scratch/judge"
	config 0 0 ask "${device_environment[@]}"
	refused 125 'VRFBIND_RULES is not that of its device' "$scratch/judge"
	config 0 0 ask "${device_environment[@]}" VRFBIND_RULES= 'VRFBIND_RULES=bind * other; loopback lo'
	refused 125 'VRFBIND_RULES is not that of its device' "$scratch/judge"
	config 0 0 ask "${device_environment[@]}" 'VRFBIND_RULES=bind * other; loopback lo' 'VRFBIND_RULES=loopback lo'
	refused 125 'VRFBIND_RULES is not that of its device' "$scratch/judge"
}

refuses_where_there_is_no_device() {
	judge "$device"
	config 0 0 ask "${device_environment[@]}"
	ends 0 "$scratch/judge"
	if [ "$tier" = vrf ]; then
		refused 125 "there is no device $device .*--network host" unshare --net "$scratch/judge"
	fi
	judge nowhere
	config 0 0 ask VRFBIND_VRF=nowhere "LD_PRELOAD=$inside/libvrfbind.so" VRFBIND_SEAL=1
	refused 125 'there is no device nowhere .*--network host' "$scratch/judge"
}

# crun gives a hook /dev/null. What calls it here has a log and a standard error, as crun has.
tells_a_deaf_runtime() {
	judge "$device"
	config 0 0 ask-static "${device_environment[@]}"
	: >"$scratch/log"
	bash -c '"$0" >/dev/null 2>/dev/null; exit $?' "$scratch/judge" --log "$scratch/log" --log-format=json 2>"$scratch/runtimes" || true
	grep -q '^vrfbind: /bin/ask-static is statically linked' "$scratch/runtimes"
	says error "$json" "$scratch/log" 'it["level"]'
	says "$(cat "$scratch/runtimes")" "$json" "$scratch/log" 'it["msg"]'
}

refuses_what_is_no_state() {
	# shellcheck disable=SC2016  # for the other shell
	printf '#!/bin/sh\necho "$1" | exec "%s" hook -- "%s"\n' "$vrfbind" "$device" >"$scratch/called"
	chmod 755 "$scratch/called"
	for state in '' '{}' 'x'; do
		refused 125 'no state of a container' "$scratch/called" "$state"
	done
	refused 125 'cannot judge the container: /nowhere/config.json' "$scratch/called" '{"bundle":"/nowhere"}'
}

make_root
echo 1..15
point 'cdi prints a device for each VRF, with the files, the variables and the hook' devices_of_vrfs
root_point 'cdi without names prints the existing VRFs' devices_by_default
point 'names that are invalid, or invalid for CDI, are refused' names_that_are_refused
root_point 'cdi writes its file in one step for everybody to read, and removes it' written_and_removed
point 'oci puts a bundle into a VRF, and what it takes out leaves every byte as it was' put_in_and_taken_out
point 'the library, rules and what the hook accepts can be chosen' options
point 'what is no bundle is refused, and stays' bundles_that_are_refused
root_point 'the hook allows programs that the library serves' passes_what_the_library_serves
root_point 'the hook refuses other programs, and tells how they are served' refuses_what_it_does_not_serve
root_point 'the hook refuses what cannot start in the container, by its root and its user' refuses_what_cannot_start
root_point 'the hook refuses an environment that is not that of its device' refuses_another_environment
root_point 'the hook refuses a container without the seal of its device, or with other rules' refuses_another_seal_or_other_rules
root_point 'the hook refuses a container that has no such device' refuses_where_there_is_no_device
root_point 'a runtime that does not read its hooks'\'' output gets the message in its log and on its standard error' tells_a_deaf_runtime
point 'the hook refuses what is no state' refuses_what_is_no_state
exit "$all_ok"
