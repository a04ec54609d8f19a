/*
 * unseen_ways.c - what takes a socket's packets out of its VRF, and no hook sees
 *
 * The socket has its device all the time. These are limits of the kernel's VRFs, under `ip vrf exec` alike, and so the same in
 * both worlds. Each scenario has a network namespace of its own (in_and_out.h).
 */
#include "in_and_out.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>

static const char MARK[] = "a datagram of unseen_ways";

static int socket_in(void)
{
	int fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));

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

/* The local table is looked at first, and has the broadcast addresses of the default VRF's subnets. */
static void directed_broadcast(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int watcher, fd, yes = 1;

	make_devices();
	command("ip address add 10.9.9.1/24 broadcast 10.9.9.255 dev outside");
	watcher = watch("far");
	fd = socket_in();
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
	fd = socket_in();
	NEED(inet_pton(AF_INET, "239.1.2.3", &group.imr_multiaddr) == 1);
	NEED(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	STR(members(), "outside");
	group.imr_ifindex = (int)if_nametoindex(inside);
	NEED(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	TRUE(strstr(members(), inside) != NULL);
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
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
