/*
 * in_and_out.h - a network namespace with devices that are in a VRF, and devices that are not
 *
 * NAME is the VRF where the kernel has VRFs, with a bridge in it, a port of that bridge, and a VLAN device above it;
 * elsewhere it is a device. `outside` is in no VRF. Each of them has a link-local address.
 */
#ifndef IN_AND_OUT_H
#define IN_AND_OUT_H

#include "device.h"

#define NAME "in"

static const char *const OUTSIDE[] = { "outside", "port", "vlan" };
static int outsides;		/* how many of them there are */
static const char *inside;	/* a device in NAME that has a link-local address */

static inline void make_devices(void)
{
	own_netns();
	add_devices("outside", "far");
	command("ip address add fe80::a/64 dev outside nodad");
	outsides = 1;
	if (!tier_is("vrf")) {
		inside = NAME;
		add_devices(NAME, "near");
		command("ip address add fe80::1/64 dev " NAME " nodad");
	} else {
		inside = "bridge";
		command("ip link add " NAME " type vrf table 100 && ip link set " NAME " up");
		command("ip link add bridge type bridge && ip link set bridge master " NAME " up");
		command("ip link add port type veth peer name near && ip link set port master bridge up");
		command("ip link add link bridge name vlan type vlan id 5 && ip link set vlan up");
		command("ip address add fe80::1/64 dev bridge nodad");
		command("ip address add fe80::b/64 dev port nodad && ip address add fe80::c/64 dev vlan nodad");
		outsides = 3;
	}
	NEED(write_text("/proc/sys/net/ipv4/ping_group_range", "0 0"));
}

#endif
