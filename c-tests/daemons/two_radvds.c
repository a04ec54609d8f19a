/*
 * two_radvds.c - two real radvds, one for each of two VRFs with the same addresses
 *
 * Each advertises a prefix of its own on its own bridge, and its client makes an address of it. That
 * alone would prove little: radvd names the interface with every packet, so that two radvds without
 * any VRF give their clients the right prefixes too. Their raw sockets have no device then, and
 * hear what arrives in any VRF (net.ipv4.raw_l3mdev_accept).
 *
 * What a router advertisement daemon cannot have on a VRF, whoever bound its socket, is shown first, by
 * sockets of our own. It hears no router solicitation, because the kernel leaves neighbour discovery
 * on the device it came in by (vrf_ip6_rcv(), drivers/net/vrf.c). And it cannot send to ff02::1 without
 * an interface in the call itself, for the VRF is no link. radvd gives one, so its unasked
 * advertisements arrive (every few seconds here); dnsmasq does not (two_dnsmasqs.c). On a device
 * enslaved to the VRF both work.
 *
 * radvd runs as the user of the Debian package, and so splits in two processes; both are looked into.
 */
#include "daemon.h"

#include <netinet/icmp6.h>

static void start_radvd(struct network *net, enum world world, const char *device)
{
	char conf[PATH_MAX], pid[PATH_MAX];
	FILE *f;

	snprintf(conf, sizeof(conf), "%s/%s.radvd.conf", scratch, net->name);
	snprintf(pid, sizeof(pid), "%s/%s.radvd.pid", scratch, net->name);
	f = fopen(conf, "we");
	if (!f)
		bail_out("cannot write %s: %s", conf, strerror(errno));
	fprintf(f, "interface %s {\n\tAdvSendAdvert on;\n\tMinRtrAdvInterval 3;\n\tMaxRtrAdvInterval 4;\n"
		"\tprefix 2001:db8:%d::/64 {\n\t};\n};\n", net->bridge, net->number);
	fclose(f);
	start(net, world, device,
	      (const char *const[]){ "radvd", "--nodaemon", "--username", "radvd",
	      "--logmethod", "stderr", "--debug", "3", "--config", conf, "--pidfile", pid, NULL });
}

/* The one socket is seen in both processes. */
static bool in_both_processes(const struct probe *p)
{
	return p->count > 1 && p->socket[0].pid != p->socket[p->count - 1].pid;
}

static void run_both(enum world world, const char *what, bool on_bridge)
{
	for EACH_NETWORK(net)
		start_radvd(net, world, on_bridge ? net->bridge : net->vrf);
	for EACH_NETWORK(net) {
		await_log(net, "polling for");
		check_sockets(net, world, what, in_both_processes);
	}
}

static void without_the_library(void)
{
	run_both(BASELINE, "radvd", false);
	for EACH_NETWORK(net)
		plug_in(net);
	for EACH_NETWORK(net) {
		AWAIT(15, has_prefix(net, net->number));
		note(net->name, addresses(net));
	}
	stop_all();
}

static void under_the_library(const char *what, bool on_bridge)
{
	struct network *blue = &networks[0], *red = &networks[1];
	long before = uplink_packets();

	run_both(PRELOADED, what, on_bridge);
	for EACH_NETWORK(net)
		plug_in(net);
	for EACH_NETWORK(net)
		check_advertisement(net, PRELOADED, what);

	/* Red's next advertisement tells when blue's would have been there. */
	stop(blue);
	plug_in(blue);
	plug_in(red);
	check_advertisement(red, PRELOADED, what);
	check(!*addresses(blue), "%s: %s: once blue's radvd has ended, nobody advertises to blue's client",
	      world_name[PRELOADED], what);
	check(uplink_packets() == before, "%s: %s: no packet left by the default VRF's uplink",
	      world_name[PRELOADED], what);
	stop_all();
}

/* -- The kernel's part */

/* A raw socket that is on `device` (NULL: none) and in the group of all routers on the bridge. */
static int router_socket(const char *device, int bridge)
{
	struct ipv6_mreq all_routers = { .ipv6mr_interface = bridge };
	struct icmp6_filter solicitations;
	int sk = socket(AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMPV6);

	ICMP6_FILTER_SETBLOCKALL(&solicitations);
	ICMP6_FILTER_SETPASS(ND_ROUTER_SOLICIT, &solicitations);
	inet_pton(AF_INET6, "ff02::2", &all_routers.ipv6mr_multiaddr);
	if (sk < 0 ||
	    (device && setsockopt(sk, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device))) ||
	    setsockopt(sk, IPPROTO_ICMPV6, ICMP6_FILTER, &solicitations, sizeof(solicitations)) ||
	    setsockopt(sk, IPPROTO_IPV6, IPV6_JOIN_GROUP, &all_routers, sizeof(all_routers)) ||
	    setsockopt(sk, IPPROTO_IPV6, IPV6_MULTICAST_IF, &bridge, sizeof(bridge)))
		bail_out("cannot make a router's socket on %s: %s", device ? device : "no device", strerror(errno));
	return sk;
}

/* Sends a router advertisement without contents to all nodes, and returns whether the kernel accepted it. */
static bool advertises(int sk, int scope)
{
	struct nd_router_advert nothing = { .nd_ra_type = ND_ROUTER_ADVERT };
	struct sockaddr_in6 all_nodes = { .sin6_family = AF_INET6, .sin6_scope_id = scope };

	inet_pton(AF_INET6, "ff02::1", &all_nodes.sin6_addr);
	return sendto(sk, &nothing, sizeof(nothing), 0, (struct sockaddr *)&all_nodes, sizeof(all_nodes)) > 0;
}

static bool hears(int sk, int milliseconds)
{
	struct pollfd in = { .fd = sk, .events = POLLIN };

	return poll(&in, 1, milliseconds) == 1;
}

static void check_kernel(void)
{
	struct network *blue = &networks[0];
	int bridge = if_nametoindex(blue->bridge);
	int none = router_socket(NULL, bridge);
	int on_bridge = router_socket(blue->bridge, bridge);
	int on_vrf = router_socket(blue->vrf, bridge);

	plug_in(blue);
	check(hears(none, PATIENCE * 1000) && hears(on_bridge, PATIENCE * 1000) && !hears(on_vrf, 0),
	      "the kernel: a router solicitation reaches a raw socket without device and one on the "
	      "enslaved bridge, but none on the VRF");
	check(advertises(none, 0) && advertises(on_bridge, 0) && advertises(on_vrf, bridge),
	      "the kernel: an advertisement leaves from each of them, from the VRF if the interface is named");
	check(!advertises(on_vrf, 0) && errno == ENETUNREACH,
	      "the kernel: from the VRF it does not if IPV6_MULTICAST_IF alone names it (ENETUNREACH)");
	close(none);
	close(on_bridge);
	close(on_vrf);
}

int main(void)
{
	set_up();
	check_counter();
	check_kernel();
	without_the_library();
	under_the_library("radvd", false);
	under_the_library("radvd on the bridge", true);
	run_both(IP_VRF_EXEC, "radvd", false);
	stop_all();
	return report();
}
