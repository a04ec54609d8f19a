/*
 * places.h - a network namespace with two places for sockets besides lo: prod, which is the VRF, and mgmt
 *
 *   prod  10.1.1.1/24   fd01::1/64
 *   mgmt  10.99.0.1/24  fd99::1/64
 *   home  10.22.1.1/24  fd22::1/64    in the default VRF
 *   lo    127.0.0.1/8   ::1
 *
 * On the vrf tier prod and mgmt are VRFs; on the others, and without the library, whose sockets would not get there, they
 * are ends of veth pairs.
 */
#ifndef PLACES_H
#define PLACES_H

#include "device.h"
#include <arpa/inet.h>

static inline void add_place(const char *name, int number, const char *table)
{
	if (table && tier_is("vrf") && world == PRELOADED)
		command("ip link add %s type vrf table %s", name, table);
	else
		command("ip link add %s type veth peer name %s-peer && ip link set %s-peer up", name,
			name, name);
	command("ip link set %s up && ip addr add 10.%d.1.1/24 dev %s && ip addr add fd%02d::1/64 dev %s nodad",
		name, number, name, number, name);
}

static inline void own_places(void)
{
	own_netns();
	add_place("prod", 1, "11");
	add_place("mgmt", 99, "99");
	add_place("home", 22, NULL);
}

/* The device of a socket in the world PRELOADED; without the library, no device. */
static inline const char *if_ruled(const char *device)
{
	return world == PRELOADED ? device : "";
}

struct place_address {
	struct sockaddr_storage storage;
	socklen_t length;
};

/* An address of either family. */
static inline struct place_address at(const char *ip, int port)
{
	struct place_address address = { .length = sizeof(struct sockaddr_in) };
	struct sockaddr_in *v4 = (struct sockaddr_in *)&address.storage;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address.storage;

	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
	} else {
		NEED(inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1);
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		address.length = sizeof(*v6);
	}
	return address;
}

static inline int bind_at(int fd, const char *ip, int port)
{
	struct place_address address = at(ip, port);

	return bind(fd, (struct sockaddr *)&address.storage, address.length);
}

static inline int connect_at(int fd, const char *ip, int port)
{
	struct place_address address = at(ip, port);

	return connect(fd, (struct sockaddr *)&address.storage, address.length);
}

/* A new socket for addresses such as this one. */
static inline int socket_for(const char *ip, int type)
{
	int fd = socket(strchr(ip, ':') ? AF_INET6 : AF_INET, type, 0);

	NEED(fd >= 0);
	return fd;
}

/* The port that a socket has. */
static inline int port_of(int fd)
{
	struct sockaddr_in6 address;
	socklen_t length = sizeof(address);

	NEED(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	return ntohs(address.sin6_port);
}

/* A listener bound to this address, by the library's rules if there are any. */
static inline int listener_at(const char *ip)
{
	int fd = socket_for(ip, SOCK_STREAM);

	NEED(bind_at(fd, ip, 0) == 0 && listen(fd, 8) == 0);
	return fd;
}

#endif
