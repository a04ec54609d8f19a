/*
 * unseen_ways.c - ways by which packets leave a VRF, or do not arrive, that no hook sees
 *
 * The program's sockets have their device all the time. These are limits of the kernel's VRFs, also under `ip
 * vrf exec`, and so the same in both worlds. Each scenario has a network namespace of its own (in_and_out.h).
 */
#include "in_and_out.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/tcp.h>

static const char MARK[] = "a datagram of unseen_ways";

static int socket_in(int type)
{
	int fd = (int)WORKS(socket(AF_INET, type, 0));

	if (world == BASELINE)
		NEED(set_device(fd, NAME) == 0);
	STR(device_of(fd), NAME);
	return fd;
}

/* Everything that arrives at a device. */
static int watch(const char *device)
{
	struct sockaddr_ll wire = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL));

	NEED(bind(fd, (struct sockaddr *)&wire, sizeof(wire)) == 0);
	return fd;
}

static bool arrives(int watcher)
{
	struct pollfd ready = { .fd = watcher, .events = POLLIN };
	char frame[2000];
	ssize_t length;

	while (poll(&ready, 1, HUNG * 1000 / 2) == 1) {
		length = recv(watcher, frame, sizeof(frame), 0);
		if (length > 0 && memmem(frame, (size_t)length, MARK, sizeof(MARK)))
			return true;
	}
	return false;
}

/* The local table is searched first, and has the broadcast addresses of the default VRF's subnets. */
static void directed_broadcast(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int watcher, fd, yes = 1;

	make_devices();
	command("ip address add 10.9.9.1/24 broadcast 10.9.9.255 dev outside");
	watcher = watch("far");
	fd = socket_in(SOCK_DGRAM);
	NEED(inet_pton(AF_INET, "10.9.9.255", &to.sin_addr) == 1);
	NEED(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) == 0);
	NEED(sendto(fd, MARK, sizeof(MARK), 0, (struct sockaddr *)&to, sizeof(to)) == sizeof(MARK));
	TRUE(arrives(watcher));
	STR(device_of(fd), NAME);
}

/* The devices that are members of 239.1.2.3 (/proc/net/igmp). */
static const char *members(void)
{
	static char found[100], line[200], device[IFNAMSIZ];
	FILE *file = fopen("/proc/net/igmp", "re");

	NEED(file != NULL);
	*found = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (line[0] != '\t')
			sscanf(line, "%*d %15s", device);
		else if (strstr(line, "030201EF"))
			strcat(strcat(found, *found ? " " : ""), device);
	}
	fclose(file);
	return found;
}

/* The device is the one that the default VRF's routes choose. */
static void join_without_interface(void)
{
	struct ip_mreqn group = { .imr_ifindex = 0 };
	int fd;

	make_devices();
	command("ip address add 10.9.9.1/24 dev outside && ip route add default dev outside");
	fd = socket_in(SOCK_DGRAM);
	NEED(inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr) == 1);
	NEED(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	STR(members(), "outside");
	group.imr_ifindex = (int)if_nametoindex(inside);
	NEED(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	TRUE(strstr(members(), inside) != NULL);
}

/* The UDP sockets of this network namespace, ADDRESS:PORT or ADDRESS%DEVICE:PORT, with a blank behind each. */
static const char *udp_sockets(void)
{
	static char found[200];
	char local[60];
	FILE *lines = popen("ss -H -u -a -n", "r");

	NEED(lines != NULL);
	*found = '\0';
	while (fscanf(lines, "%*s %*s %*s %58s %*[^\n]", local) == 1)
		strcat(strcat(found, local), " ");
	NEED(pclose(lines) == 0);
	return found;
}

/* The program has it created by ip(8), with the library if the program has it. */
static bool makes(const char *tunnel)
{
	char line[200];

	snprintf(line, sizeof(line), "ip link add tunnel type %s && ip link set tunnel up", tunnel);
	return system(line) == 0;
}

/* The frame is encapsulated by the kernel. */
static void send_by_tunnel(void)
{
	struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_802_EX1),
				   .sll_ifindex = (int)if_nametoindex("tunnel"), .sll_halen = ETH_ALEN };
	int fd = socket(AF_PACKET, SOCK_DGRAM, 0);

	memset(all.sll_addr, 0xff, ETH_ALEN);
	NEED(sendto(fd, MARK, sizeof(MARK), 0, (struct sockaddr *)&all, sizeof(all)) == sizeof(MARK));
}

/* The same addresses inside and outside. With `dev` the tunnel's socket is in the VRF of that device. */
static void vxlan(void)
{
	static const char TUNNEL[] = "vxlan id 7 dstport 4789 remote 10.9.9.2";
	const char *devices[] = { "outside", NULL };
	int watchers[2];
	char with_device[100];

	make_devices();
	devices[1] = inside;
	command("ip link set near up");
	for (int i = 0; i < 2; i++) {
		/* Without a carrier nothing is sent. */
		command("until ip link show %s | grep -q 'state UP'; do sleep 0.05; done", devices[i]);
		command("ip address add 10.9.9.1/24 dev %s", devices[i]);
		command("ip neighbour add 10.9.9.2 lladdr 02:00:00:00:00:02 dev %s", devices[i]);
	}
	watchers[0] = watch("far");
	watchers[1] = watch("near");
	NEED(makes(TUNNEL));
	STR(udp_sockets(), "0.0.0.0:4789 ");
	send_by_tunnel();
	TRUE(arrives(watchers[0]));
	command("ip link delete tunnel");
	snprintf(with_device, sizeof(with_device), "%s dev %s", TUNNEL, inside);
	NEED(makes(with_device));
	STR(udp_sockets(), "0.0.0.0%" NAME ":4789 ");
	send_by_tunnel();
	TRUE(arrives(watchers[1]));
}

static void wireguard(void)
{
	make_devices();
	if (!makes("wireguard"))
		skip("this kernel has no WireGuard");
	TRUE(strstr(udp_sockets(), "0.0.0.0:") != NULL);
	TRUE(strstr(udp_sockets(), "[::]:") != NULL);
	TRUE(strchr(udp_sockets(), '%') == NULL);
}

/*
 * The local table has the address for lo, and the VRF's table has it for the VRF. Packets on lo are not
 * delivered in the VRF.
 */
static void loopback_address(void)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof(here);
	int listener, fd, once = 1;

	make_devices();
	listener = socket_in(SOCK_STREAM);
	FAILS(bind(listener, (struct sockaddr *)&here, length), EADDRNOTAVAIL);
	command("ip address add 127.0.0.1/8 dev " NAME);
	WORKS(bind(listener, (struct sockaddr *)&here, length));
	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&here, &length) == 0);
	fd = socket_in(SOCK_STREAM);
	/* The kernel gives up after two SYNs, three seconds. */
	NEED(setsockopt(fd, IPPROTO_TCP, TCP_SYNCNT, &once, sizeof(once)) == 0);
	FAILS(connect(fd, (struct sockaddr *)&here, length), ETIMEDOUT);
	STR(device_of(fd), NAME);
	command("ip rule add pref 32765 table local && ip rule del pref 0");
	fd = socket_in(SOCK_STREAM);
	WORKS(connect(fd, (struct sockaddr *)&here, length));
	STR(device_of((int)WORKS(accept(listener, NULL, NULL))), NAME);
}

static const char *requires_vrf(void)
{
	return tier_is("vrf") ? NULL : "it is about VRFs";
}

static const struct scenario SCENARIOS[] = {
	{ "a directed broadcast for a subnet of the default VRF leaves there", directed_broadcast,
	  .vrf = NAME, .elsewhere = requires_vrf },
	{ "a multicast group that is joined without an interface is joined in the default VRF",
	  join_without_interface, .vrf = NAME, .elsewhere = requires_vrf },
	{ "the kernel's socket for VXLAN has no device, but with ip-link's dev", vxlan, .vrf = NAME,
	  .elsewhere = requires_vrf },
	{ "the kernel's sockets for WireGuard have no device", wireguard, .vrf = NAME,
	  .elsewhere = requires_vrf },
	{ "connections to 127.0.0.1 time out until the local table comes behind the VRFs", loopback_address,
	  .vrf = NAME, .elsewhere = requires_vrf },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
