/*
 * deleted_device.c - a socket whose device is deleted
 *
 * The kernel stores an index in the socket, and a new device gets a new index. So the socket stays bound to a
 * device that no longer exists: it is useless, but it does not leak into the default VRF either. The library
 * therefore treats ENODEV from getsockopt as "has a device", and gives every new socket the device by name.
 */
#include "device.h"

#define NAME "vrfbind-gone"

static long send_to_the_host(int fd, int domain)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(9),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(9),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	if (domain == AF_INET)
		return sendto(fd, "", 1, 0, (struct sockaddr *)&in4, sizeof(in4));
	return sendto(fd, "", 1, 0, (struct sockaddr *)&in6, sizeof(in6));
}

static void deleted(void)
{
	own_netns();
	for (int i = 0; i < 2; i++) {
		int fd = socket(FAMILIES[i], SOCK_DGRAM, 0);

		add_deletable_device(NAME);
		NEED(set_device(fd, NAME) == 0);
		command("ip link del " NAME);
		for (int back = 0; back < 2; back++) {
			CONTEXT("family %d, %s", FAMILIES[i],
				back ? "a device of that name is back" : "the device is gone");
			STR(device_of(fd), "(ENODEV)");
			/* IPv6 finds no route; IPv4 finds no device. */
			FAILS(send_to_the_host(fd, FAMILIES[i]),
			      FAMILIES[i] == AF_INET ? ENODEV : ENETUNREACH);
			if (!back)
				add_deletable_device(NAME);
		}
		WORKS(set_device(fd, NAME));
		STR(device_of(fd), NAME);
		command("ip link del " NAME);
	}
}

static void tied_for_good(void)
{
	int fd;

	own_netns();
	add_deletable_device(NAME);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, NAME) == 0);
	command("ip link del " NAME);
	add_deletable_device(NAME);
	give_up_capabilities();
	FAILS(set_device(fd, NAME), EPERM);
	STR(device_of(fd), "(ENODEV)");
}

static const struct scenario SCENARIOS[] = {
	{ "the socket reports ENODEV and sends nothing, also when the name is back", deleted,
	  .worlds = FACT },
	{ "without CAP_NET_RAW it cannot be tied to the new device", tied_for_good,
	  .worlds = FACT },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
