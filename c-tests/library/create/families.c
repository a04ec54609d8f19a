/*
 * families.c - which sockets are created on the device: all of AF_INET and AF_INET6, no others
 *
 * Each type of socket is created twice, by the kernel (syscall(2)) and by socket(). What the kernel grants or
 * refuses (a protocol that it lacks, a privilege that we lack), socket() has to grant or refuse likewise,
 * with the same errno; and the socket must have the same type and the flags that were asked for. The kernel
 * of the VRF tier is our choice, and must grant all.
 */
#include "device.h"

#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif

struct kind {
	const char *name;
	int domain, type, protocol;
	bool optional;			/* the VRF tier's kernel and user need not have it */
};

static const struct kind IP[] = {
	{ "IPv4 TCP", AF_INET, SOCK_STREAM, 0 },
	{ "IPv4 TCP by number", AF_INET, SOCK_STREAM, IPPROTO_TCP },
	{ "IPv4 UDP", AF_INET, SOCK_DGRAM, 0 },
	{ "IPv4 UDP by number", AF_INET, SOCK_DGRAM, IPPROTO_UDP },
	{ "IPv4 ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP, .optional = true },
	{ "IPv4 raw ICMP", AF_INET, SOCK_RAW, IPPROTO_ICMP },
	{ "IPv4 raw IP", AF_INET, SOCK_RAW, IPPROTO_RAW },
	{ "IPv4 raw OSPF", AF_INET, SOCK_RAW, 89 },
	{ "IPv4 SCTP, one to one", AF_INET, SOCK_STREAM, IPPROTO_SCTP },
	{ "IPv4 SCTP, one to many", AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP },
	{ "IPv4 MPTCP", AF_INET, SOCK_STREAM, IPPROTO_MPTCP },
	{ "IPv6 TCP", AF_INET6, SOCK_STREAM, 0 },
	{ "IPv6 TCP by number", AF_INET6, SOCK_STREAM, IPPROTO_TCP },
	{ "IPv6 UDP", AF_INET6, SOCK_DGRAM, 0 },
	{ "IPv6 UDP by number", AF_INET6, SOCK_DGRAM, IPPROTO_UDP },
	{ "IPv6 ping", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6, .optional = true },
	{ "IPv6 raw ICMPv6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6 },
	{ "IPv6 raw IP", AF_INET6, SOCK_RAW, IPPROTO_RAW },
	{ "IPv6 raw OSPF", AF_INET6, SOCK_RAW, 89 },
	{ "IPv6 SCTP, one to one", AF_INET6, SOCK_STREAM, IPPROTO_SCTP },
	{ "IPv6 SCTP, one to many", AF_INET6, SOCK_SEQPACKET, IPPROTO_SCTP },
	{ "IPv6 MPTCP", AF_INET6, SOCK_STREAM, IPPROTO_MPTCP },
	{ "IPv4 of a type that does not exist", AF_INET, 9, 0, .optional = true },
	{ "IPv4 TCP over UDP", AF_INET, SOCK_DGRAM, IPPROTO_TCP, .optional = true },
	{ NULL }
};

static const struct kind OTHERS[] = {
	{ "UNIX stream", AF_UNIX, SOCK_STREAM, 0 },
	{ "UNIX datagram", AF_UNIX, SOCK_DGRAM, 0 },
	{ "UNIX seqpacket", AF_UNIX, SOCK_SEQPACKET, 0 },
	{ "netlink", AF_NETLINK, SOCK_RAW, 0 },
	{ "packet", AF_PACKET, SOCK_RAW, 0 },
	{ "cooked packet", AF_PACKET, SOCK_DGRAM, 0 },
	{ "packet in IPv4's disguise", AF_INET, SOCK_PACKET, 0 },
	{ "vsock", AF_VSOCK, SOCK_STREAM, 0, .optional = true },
	{ "a family that there is not", 77, SOCK_STREAM, 0, .optional = true },
	{ "a negative family", -1, SOCK_STREAM, 0, .optional = true },
	{ NULL }
};

static const int FLAGS[] = { 0, SOCK_NONBLOCK, SOCK_CLOEXEC, SOCK_NONBLOCK | SOCK_CLOEXEC };

static int option(int fd, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return getsockopt(fd, SOL_SOCKET, name, &value, &length) < 0 ? -1 : value;
}

static void is_on_expected_device(const char *device, const struct kind *kind, int flags)
{
	int twin = raw_socket(kind->domain, kind->type | flags, kind->protocol);
	int refusal = errno, fd;

	CONTEXT("%s%s%s", kind->name, flags & SOCK_NONBLOCK ? ", SOCK_NONBLOCK" : "",
		flags & SOCK_CLOEXEC ? ", SOCK_CLOEXEC" : "");
	if (tier_is("vrf") && !kind->optional && (kind->protocol != IPPROTO_MPTCP || has_mptcp()))
		TRUE(twin >= 0);
	if (twin < 0) {
		FAILS(socket(kind->domain, kind->type | flags, kind->protocol), refusal);
		return;
	}
	fd = (int)WORKS(socket(kind->domain, kind->type | flags, kind->protocol));
	STR(device_of(fd), device);
	EQ(fcntl(fd, F_GETFL), fcntl(twin, F_GETFL));
	EQ(!(fcntl(fd, F_GETFL) & O_NONBLOCK), !(flags & SOCK_NONBLOCK));
	EQ(fcntl(fd, F_GETFD), flags & SOCK_CLOEXEC ? FD_CLOEXEC : 0);
	EQ(option(fd, SO_DOMAIN), option(twin, SO_DOMAIN));
	EQ(option(fd, SO_TYPE), option(twin, SO_TYPE));
	EQ(option(fd, SO_PROTOCOL), option(twin, SO_PROTOCOL));
	STR(device_of(twin), "");
	close(fd);
	close(twin);
}

static void all_on_expected_device(const char *device, const struct kind *kinds)
{
	for (; kinds->name; kinds++)
		for (size_t i = 0; i < sizeof(FLAGS) / sizeof(*FLAGS); i++)
			is_on_expected_device(device, kinds, FLAGS[i]);
}

static void ip_sockets(void)
{
	all_on_expected_device(expected_device(), IP);
}

static void other_sockets(void)
{
	all_on_expected_device("", OTHERS);
}

/* Raw, packet and ping sockets require privileges, which everybody has in a namespace of his own. */
static void privileged_sockets(void)
{
	int fd;

	own_netns();
	command("echo 0 0 > /proc/sys/net/ipv4/ping_group_range");
	fd = raw_socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	NEED(fd >= 0);
	close(fd);
	fd = raw_socket(AF_PACKET, SOCK_RAW, 0);
	NEED(fd >= 0);
	close(fd);
	all_on_expected_device(expected_device(), IP);
	all_on_expected_device("", OTHERS);
}

static const struct scenario SCENARIOS[] = {
	{ "every IPv4 and IPv6 socket is created on the device, with the flags it was asked for",
	  ip_sockets },
	{ "a socket of any other family has no device", other_sockets },
	{ "both hold for raw, packet and ping sockets of a privileged process",
	  privileged_sockets, .vrf = "lo" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
