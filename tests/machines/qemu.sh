# shellcheck shell=bash
# qemu.sh - the machine `qemu`: a stock Debian kernel on emulated CPUs, 10 to 20 times slower than this machine;
# machine.sh sources it. arm64.sh changes what is set here
#
# The kernel package is unpacked, not installed. An initramfs of busybox and the modules that it takes mounts the root
# file system (9p, read-only) and starts guest.sh there.

qemu=(qemu-system-x86_64 -machine q35 -cpu max)
qemu_console=ttyS0
qemu_architecture=''
# Of the kernel.
qemu_parameters=''
qemu_root=/
qemu_more=()
if [ -z "$kernel" ]; then
	kernel=linux-image-amd64
	! grep -qsx ID=ubuntu /etc/os-release || kernel=linux-image-generic
fi
[[ $kernel =~ ^([a-z0-9-]+/)?linux-image-[a-z0-9.+~-]+$ ]] ||
	die "'$kernel' is no name of a kernel package like linux-image-amd64 or bullseye/linux-image-amd64"

machine_prepare() { qemu_prepare; }

qemu_prepare() {
	local tool
	for tool in "${qemu[0]}" depmod cpio; do
		command -v "$tool" >/dev/null || { say "$tool is missing: run tests/packages.sh vm arch-vm"; return 1; }
	done
	qemu_image=$cache/$kernel
	qemu_busybox=$(qemu_static_busybox) && provide "$qemu_image" qemu_get_kernel
}

qemu_static_busybox() { tests/busybox.sh static; }

# The kernel package that $1 is or depends on, and on Ubuntu the packages of its modules, one a line.
qemu_packages() {
	apt-cache "${apt[@]}" depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces --no-enhances \
		"$1" 2>/dev/null | grep -E '^linux-(image|modules)(-extra)?-[0-9]' | sort -u
}

qemu_get_kernel() {
	local into=$1 suite='' packages version
	[[ $kernel != */* ]] || suite=${kernel%/*}
	debian_lists "$suite" "$qemu_architecture" || return
	packages=$(qemu_packages "${kernel#*/}") || { say "apt-get knows no kernel package '$kernel'"; return 1; }
	say "downloading the kernel, 70 MB or more: ${packages//$'\n'/ }"
	# shellcheck disable=SC2086  # package names are words
	debian_unpack "$into" $packages || return
	# If /lib is a link to /usr/lib, newer packages have the modules in usr/lib, but depmod -b expects lib.
	[ -d "$into/lib" ] || ln -s usr/lib "$into/lib"
	version=$(cd "$into/boot" && echo vmlinuz-*) || return
	depmod -b "$into" "${version#vmlinuz-}"
}

machine_settings() {
	printf 'modules=%q\n' "$(echo "$qemu_image"/lib/modules/*)"
	echo 'target=(-t 9p -o trans=virtio,version=9p2000.L,access=any,msize=524288 target)'
}

# What else init mounts.
machine_mounts() { :; }

# In an initramfs, in this order: the modules that the root file system needs, unpacked, since busybox cannot unpack
# them.
qemu_initramfs() {
	local into=$run/initramfs version module name
	version=$(cd "$qemu_image/boot" && echo vmlinuz-*)
	version=${version#vmlinuz-}
	mkdir -p "$into/modules"
	cp "$qemu_busybox" "$into/busybox"
	for module in virtio_pci 9pnet_virtio 9p; do
		modprobe --dirname "$qemu_image" --set-version "$version" --show-depends "$module"
	done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while IFS= read -r module; do
		name=$(basename "$module")
		case $name in
		*.xz) xz -dc "$module" >"$into/modules/${name%.xz}" ;;
		*) cp "$module" "$into/modules" ;;
		esac
		echo "/modules/${name%.xz}"
	done >"$into/order"
	cat >"$into/init" <<-INIT
		#!/busybox sh
		for module in \$(/busybox cat /order); do /busybox insmod "\$module"; done
		/busybox mkdir /new
		/busybox mount -t 9p -o trans=virtio,version=9p2000.L,access=any,msize=524288,cache=loose,ro root /new
		/busybox mount -t devtmpfs dev /new/dev
		$(machine_mounts)
		exec /busybox switch_root /new "\$@"
	INIT
	chmod +x "$into/init"
	(cd "$into" && find . -print0 | cpio --null --create --format=newc --quiet) >"$run/initramfs.cpio"
	rm -r "$into"
}

machine_boot() {
	local accelerator=tcg
	[ "${VRFBIND_VM_KVM-}" != 1 ] || accelerator=kvm
	qemu_initramfs
	exec "${alone[@]}" "${qemu[@]}" -accel "$accelerator" -smp "$cpus" -m "$memory" -display none -no-reboot -nic none \
		-kernel "$qemu_image"/boot/vmlinuz-* -initrd "$run/initramfs.cpio" \
		-append "console=$qemu_console quiet panic=-1 $qemu_parameters -- $project/tests/machines/guest.sh $run" \
		-serial file:/proc/self/fd/1 \
		-fsdev "local,id=root,path=$qemu_root,security_model=none,readonly=on,multidevs=remap" \
		-device virtio-9p-pci,fsdev=root,mount_tag=root \
		-fsdev "local,id=target,path=$project/target,security_model=none,multidevs=remap" \
		-device virtio-9p-pci,fsdev=target,mount_tag=target "${qemu_more[@]}"
}
