/*
 * peers.c - which peer is reached: two networks with the same addresses, by the peers' answers
 *
 *         this process's own namespace            a namespace each
 *      192.0.2.1/24, 2001:db8::1/64 ── red  ┄┄┄┄ 192.0.2.2, 2001:db8::2   "red"
 *      192.0.2.1/24, 2001:db8::1/64 ── blue ┄┄┄┄ 192.0.2.2, 2001:db8::2   "blue"
 *
 * Each peer answers everybody with its name. red's routes are created first, so that the kernel uses red for
 * a socket without a device; the library gets blue. In the VRF tier red and blue are VRFs, and the devices to
 * the peers are enslaved to them: then no route from outside a VRF reaches a peer.
 */
#include "device.h"
#include <arpa/inet.h>

enum { PORT = 4242 };
#define PEER_PORT "port"

static union address {
	struct sockaddr any;
	struct sockaddr_in in4;
	struct sockaddr_in6 in6;
} address_of(int domain, const char *text4, const char *text6)
{
	union address address;

	memset(&address, 0, sizeof(address));
	address.any.sa_family = (sa_family_t)domain;
	/* The port is at the same place in both. */
	address.in4.sin_port = htons(PORT);
	if (domain == AF_INET)
		NEED(inet_pton(AF_INET, text4, &address.in4.sin_addr) == 1);
	else
		NEED(inet_pton(AF_INET6, text6, &address.in6.sin6_addr) == 1);
	return address;
}

enum { ADDRESS = sizeof(struct sockaddr_in6) };

/* In the peer's namespace: sockets made by hand, so that the library is not part of it. */
static int served(int domain, int type)
{
	union address here = address_of(domain, "0.0.0.0", "::");
	int fd = raw_socket(domain, type, 0), yes = 1;

	NEED(fd >= 0);
	NEED(domain == AF_INET ||
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) == 0);
	NEED(syscall(SYS_bind, fd, &here, ADDRESS) == 0);
	NEED(type == SOCK_DGRAM || syscall(SYS_listen, fd, 8) == 0);
	return fd;
}

_Noreturn static void answer_with(const char *name, int ready)
{
	struct pollfd fds[4];

	for (int i = 0; i < 4; i++)
		fds[i] = (struct pollfd){ .fd = served(FAMILIES[i / 2],
						       i % 2 ? SOCK_STREAM : SOCK_DGRAM),
					  .events = POLLIN };
	NEED(write(ready, "", 1) == 1);
	while (poll(fds, 4, -1) > 0)
		for (int i = 0; i < 4; i++) {
			union address from;
			socklen_t length = sizeof(from);
			char request[8];
			int fd;

			if (!(fds[i].revents & POLLIN))
				continue;
			if (i % 2 == 0) {
				(void)recvfrom(fds[i].fd, request, sizeof(request), 0, &from.any,
					       &length);
				(void)sendto(fds[i].fd, name, strlen(name), 0, &from.any, length);
			} else if ((fd = accept(fds[i].fd, NULL, NULL)) >= 0) {
				(void)send(fd, name, strlen(name), MSG_NOSIGNAL);
				close(fd);
			}
		}
	_exit(1);
}

/* A process in a network namespace of its own, kept in step by a byte in `ready` and one in `go`. */
static pid_t peer(const char *name, int table)
{
	int ready[2], go[2];
	char byte = 0, port[IFNAMSIZ];
	pid_t pid;

	snprintf(port, sizeof(port), "%s%s", name, tier_is("vrf") ? "-port" : "");
	NEED(pipe(ready) == 0 && pipe(go) == 0);
	pid = fork();
	if (pid == 0) {
		NEED(unshare(CLONE_NEWNET) == 0);
		NEED(write(ready[1], &byte, 1) == 1 && read(go[0], &byte, 1) == 1);
		command("ip link set lo up");
		command("ip addr add 192.0.2.2/24 dev " PEER_PORT);
		command("ip addr add 2001:db8::2/64 dev " PEER_PORT " nodad");
		command("ip link set " PEER_PORT " up");
		answer_with(name, ready[1]);
	}
	NEED(read(ready[0], &byte, 1) == 1);
	command("ip link add %s type veth peer name " PEER_PORT " netns %d", port, pid);
	if (tier_is("vrf")) {
		command("ip link add %s type vrf table %d && ip link set %s up", name, table, name);
		command("ip link set %s master %s", port, name);
	}
	command("ip link set %s up", port);
	command("ip addr add 192.0.2.1/24 dev %s", port);
	command("ip addr add 2001:db8::1/64 dev %s nodad", port);
	NEED(write(go[1], &byte, 1) == 1 && read(ready[0], &byte, 1) == 1);
	return pid;
}

static pid_t red, blue;

static void build(void)
{
	own_netns();
	/* Asymmetric routes are the point here. */
	for (int i = 0; i < 2; i++)
		command("echo 0 > /proc/sys/net/ipv4/conf/%s/rp_filter", i ? "all" : "default");
	red = peer("red", 1001);
	blue = peer("blue", 1002);
}

/* Who answers at 192.0.2.2; "nobody" if the kernel knows no way. */
static const char *who_answers(int domain, int type)
{
	static char name[20];
	union address there = address_of(domain, "192.0.2.2", "2001:db8::2");
	struct timeval limit = { .tv_sec = HUNG / 2 };
	int fd = (int)WORKS(socket(domain, type, 0));
	ssize_t length;

	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) == 0);
	if (connect(fd, &there.any, ADDRESS) < 0) {
		EQ(errno, ENETUNREACH);
		close(fd);
		return "nobody";
	}
	if (type == SOCK_DGRAM)
		EQ(send(fd, "who?", 4, 0), 4);
	length = recv(fd, name, sizeof(name) - 1, 0);
	name[length > 0 ? length : 0] = '\0';
	close(fd);
	return name;
}

static void reaches(void)
{
	static const int TYPES[] = { SOCK_DGRAM, SOCK_STREAM };

	build();
	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 2; t++) {
			CONTEXT("family %d, type %d", FAMILIES[d], TYPES[t]);
			STR(who_answers(FAMILIES[d], TYPES[t]),
			    world == PRELOADED ? "blue" : tier_is("vrf") ? "nobody" : "red");
		}
}

/* What a TCP client of that peer's gets from 192.0.2.1: 0, or the errno. */
static int result_from(pid_t peer_pid, int domain)
{
	union address there = address_of(domain, "192.0.2.1", "2001:db8::1");
	char path[40];
	pid_t pid = fork();

	if (pid == 0) {
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/ns/net", peer_pid);
		NEED(setns(open(path, O_RDONLY | O_CLOEXEC), CLONE_NEWNET) == 0);
		fd = raw_socket(domain, SOCK_STREAM, 0);
		_exit(syscall(SYS_connect, fd, &there, ADDRESS) == 0 ? 0 : errno);
	}
	return wait_status(pid);
}

/* Without the library red's client is served, but not in the VRF tier (tcp_l3mdev_accept=0). */
static void is_reached(void)
{
	build();
	for (int d = 0; d < 2; d++) {
		union address any = address_of(FAMILIES[d], "0.0.0.0", "::");
		int fd = (int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0));

		CONTEXT("family %d", FAMILIES[d]);
		WORKS(bind(fd, &any.any, ADDRESS));
		WORKS(listen(fd, 1));
		if (world == PRELOADED)
			EQ(result_from(blue, FAMILIES[d]), 0);
		EQ(result_from(red, FAMILIES[d]),
		   world == BASELINE && !tier_is("vrf") ? 0 : ECONNREFUSED);
		close(fd);
	}
}

/*
 * A server in blue's network and one in red's (a second program, VRFBIND_VRF=red) take the same
 * address and port, which without the library the second one cannot have.
 */
static void shares_a_port(void)
{
	for (int d = 0; d < 2; d++) {
		union address here = address_of(FAMILIES[d], "192.0.2.1", "2001:db8::1");
		int stream = (int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0));
		int datagram = (int)WORKS(socket(FAMILIES[d], SOCK_DGRAM, 0));

		CONTEXT("family %d", FAMILIES[d]);
		if (world == BASELINE && (phase || tier_is("vrf"))) {
			/* In the VRF tier the address is none outside the VRFs. */
			int error = tier_is("vrf") ? EADDRNOTAVAIL : EADDRINUSE;

			FAILS(bind(datagram, &here.any, ADDRESS), error);
			FAILS(bind(stream, &here.any, ADDRESS), error);
			continue;
		}
		WORKS(bind(datagram, &here.any, ADDRESS));
		WORKS(bind(stream, &here.any, ADDRESS));
		WORKS(listen(stream, 1));
	}
	if (phase)
		return;
	setenv("VRFBIND_VRF", "red", 1);
	EQ(reexec("the second server"), 0);
}

static void two_servers(void)
{
	if (!phase)
		build();
	shares_a_port();
}

static const struct scenario SCENARIOS[] = {
	{ "of two peers with the same address, the one on the device's network is reached",
	  reaches, .vrf = "blue" },
	{ "a server on every address is reached from the device's network, and from no other",
	  is_reached, .vrf = "blue" },
	{ "two servers in two networks have the same address and port", two_servers,
	  .vrf = "blue" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
