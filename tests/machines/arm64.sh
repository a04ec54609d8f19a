# shellcheck shell=bash
# arm64.sh - the machine `arm64`: qemu.sh with Debian's kernel, libc and tools for arm64; machine.sh sources it
#
# The root file system is a directory of unpacked packages, where nothing was installed: what their scripts would have
# made and the guest needs is written here. The project is at its own path, read-only but for target/.

kernel=linux-image-arm64
# shellcheck source=tests/machines/qemu.sh
. tests/machines/qemu.sh
qemu=(qemu-system-aarch64 -M virt -cpu cortex-a72)
qemu_console=ttyAMA0
qemu_architecture=arm64
# KASLR turns page table isolation on, with which each system call makes the emulator forget its translations of addresses.
qemu_parameters=kpti=off
# What the guest and the tests run. Those of another list are unpacked into another directory.
arm64_packages=(bash dash coreutils mount util-linux bsdutils kmod grep sed findutils diffutils mawk procps iproute2 libcap2-bin libc-bin dpkg
	binutils gcc libc6-dev tar systemd python3 busybox-static dnsmasq-base radvd isc-dhcp-client curl git musl)
qemu_root=$cache/arm64-$(cksum <<<"${arm64_packages[*]}" | cut -d' ' -f1)
qemu_more=(-fsdev "local,id=project,path=$project,security_model=none,readonly=on,multidevs=remap"
	-device virtio-9p-pci,fsdev=project,mount_tag=project)

machine_prepare() {
	qemu_prepare && provide "$qemu_root" arm64_get_root && mkdir -p "$qemu_root$project"
}

qemu_static_busybox() {
	provide "$cache/busybox-arm64" arm64_get_busybox && find "$cache/busybox-arm64" -path '*/bin/busybox'
}

arm64_get_busybox() { debian_lists '' arm64 && debian_unpack "$1" busybox-static; }

arm64_get_root() {
	local into=$1
	say "downloading Debian's tools for arm64"
	debian_lists '' arm64 || return
	debian_unpack_all "$into" "${arm64_packages[@]}" || return
	rm -rf "$into"/usr/share/{doc,man,locale}
	mkdir -p "$into"/{dev,etc,home,mnt,opt,proc,root,run,srv,sys,tmp,var/tmp}
	chmod 1777 "$into"/{tmp,var/tmp}
	ln -sf dash "$into/bin/sh"
	ln -s mawk "$into/usr/bin/awk"
	printf '%s\n' root:x:0:0:root:/:/bin/sh nobody:x:65534:65534:nobody:/:/bin/false radvd:x:998:65534::/:/bin/false >"$into/etc/passwd"
	touch "$into/etc/"{resolv.conf,nsswitch.conf}
	printf 'root:x:0:\nnogroup:x:65534:\n' >"$into/etc/group"
}

machine_mounts() {
	echo "/busybox mount -t 9p -o trans=virtio,version=9p2000.L,access=any,msize=524288,cache=loose,ro project /new$project"
}
