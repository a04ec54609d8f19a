/*
 * bindtodevice.c - what the library relies on in SO_BINDTODEVICE, and in sockets in general
 *
 * socket(7); sock_setbindtodevice, sock_bindtoindex and sk_getsockopt in net/core/sock.c. The comment of each
 * scenario tells what follows for the library. The library is not loaded.
 */
#include "device.h"

static int new_socket(int domain, int type)
{
	int fd = socket(domain, type, 0);

	NEED(fd >= 0);
	return fd;
}

/* So a missing VRF is noticed at once, and the errno can be passed on. */
static void unknown_name(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = new_socket(FAMILIES[i], SOCK_STREAM);

		FAILS(set_device(fd, "no-such-device"), ENODEV);
		STR(device_of(fd), "");
		close(fd);
	}
}

/*
 * The kernel copies min(optlen, IFNAMSIZ - 1) bytes and looks this name up. So the library has to refuse a
 * name that is too long, or a socket ends on another customer's device.
 */
static void long_name(void)
{
	int fd = new_socket(AF_INET, SOCK_DGRAM);

	own_netns();
	add_devices("fifteen-letters", "peer");
	close(fd);
	fd = new_socket(AF_INET, SOCK_DGRAM);
	FAILS(set_device(fd, "fourteen-lette"), ENODEV);
	WORKS(set_device(fd, "fifteen-letters-and-more"));
	STR(device_of(fd), "fifteen-letters");
}

/* So only the library distinguishes families. */
static void any_family(void)
{
	static const int OTHERS[] = { AF_UNIX, AF_NETLINK, AF_PACKET };

	own_netns();
	for (int i = 0; i < 3; i++) {
		int fd = new_socket(OTHERS[i], i ? SOCK_RAW : SOCK_STREAM);

		CONTEXT("family %d", OTHERS[i]);
		STR(device_of(fd), "");
		WORKS(set_device(fd, "lo"));
		STR(device_of(fd), "lo");
		close(fd);
	}
}

/*
 * c427bfec18f2 (Linux 5.7): everybody may set the first device. Hence the library needs no privileges; and
 * bind() reads the device first instead of setting it again, since EPERM means that the socket has one. The
 * name is looked up before that, so ENODEV always means the name.
 */
static void first_bind_only(void)
{
	const char *device = setting("VRFBIND_TEST_DEVICE");

	give_up_capabilities();
	for (int i = 0; i < 2; i++) {
		int fd = new_socket(FAMILIES[i], SOCK_STREAM);

		CONTEXT("family %d", FAMILIES[i]);
		WORKS(set_device(fd, device));
		FAILS(set_device(fd, device), EPERM);
		FAILS(set_device(fd, "no-such-device"), ENODEV);
		FAILS(set_device(fd, ""), EPERM);
		STR(device_of(fd), device);
		close(fd);
	}
}

/* So a privileged program can leave its VRF, and a hook that comes after the library can move its sockets. */
static void with_capabilities(void)
{
	int fd;

	own_netns();
	fd = new_socket(AF_INET, SOCK_STREAM);
	add_devices("another", "peer");
	WORKS(set_device(fd, "lo"));
	WORKS(set_device(fd, "another"));
	STR(device_of(fd), "another");
	WORKS(set_device(fd, ""));
	STR(device_of(fd), "");
}

/*
 * Since Linux 3.8 (c91f6df2db49). Without a device the length is 0, and nothing is written: the length
 * decides, not the buffer. With a device the name has its NUL, and the buffer has to have IFNAMSIZ bytes,
 * however short the name is.
 */
static void read_back(void)
{
	const char *device = setting("VRFBIND_TEST_DEVICE");
	char name[IFNAMSIZ] = "untouched";
	socklen_t length = sizeof(name);
	int fd = new_socket(AF_INET, SOCK_STREAM);

	WORKS(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
	EQ(length, 0);
	STR(name, "untouched");
	NEED(set_device(fd, device) == 0);
	length = sizeof(name);
	WORKS(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length));
	EQ(length, (long)strlen(device) + 1);
	STR(name, device);
	length = IFNAMSIZ - 1;
	FAILS(getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, &length), EINVAL);
}

/* So bind(), connect() and listen() may query any descriptor that they get. */
static void questions(void)
{
	char name[IFNAMSIZ];
	socklen_t length = sizeof(name);
	int domain, pipes[2];

	for (int i = 0; i < 2; i++) {
		int fd = new_socket(FAMILIES[i], SOCK_DGRAM);

		length = sizeof(domain);
		WORKS(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length));
		EQ(domain, FAMILIES[i]);
		close(fd);
	}
	NEED(pipe(pipes) == 0);
	length = sizeof(name);
	FAILS(getsockopt(pipes[0], SOL_SOCKET, SO_BINDTODEVICE, name, &length), ENOTSOCK);
	FAILS(getsockopt(-1, SOL_SOCKET, SO_BINDTODEVICE, name, &length), EBADF);
}

/* Hence accept() needs no hook. */
static void accepted(void)
{
	struct sockaddr_in6 address;
	int listener, client, fd;

	own_netns();
	for (int i = 0; i < 2; i++) {
		socklen_t length = sizeof(address);

		CONTEXT("family %d", FAMILIES[i]);
		listener = new_socket(FAMILIES[i], SOCK_STREAM);
		client = new_socket(FAMILIES[i], SOCK_STREAM);
		NEED(set_device(listener, "lo") == 0 && listen(listener, 1) == 0);
		NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
		NEED(connect(client, (struct sockaddr *)&address, length) == 0);
		fd = accept(listener, NULL, NULL);
		NEED(fd >= 0);
		STR(device_of(fd), "lo");
		STR(device_of(client), "");
	}
}

/*
 * A connection in the queue of a listener without a device has no device either, even if the listener gets
 * one before accept(). bind() on an inherited listener is too late for it.
 */
static void queued(void)
{
	struct sockaddr_in address;
	socklen_t length = sizeof(address);
	int listener, client, fd;

	own_netns();
	listener = new_socket(AF_INET, SOCK_STREAM);
	client = new_socket(AF_INET, SOCK_STREAM);
	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	NEED(connect(client, (struct sockaddr *)&address, length) == 0);
	NEED(set_device(listener, "lo") == 0);
	fd = accept(listener, NULL, NULL);
	NEED(fd >= 0);
	STR(device_of(fd), "");
}

/* __udp_disconnect, net/ipv4/udp.c. A TCP socket keeps its device (tcp_disconnect). */
static void disconnected(void)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int fd;

	own_netns();
	for (int d = 0; d < 2; d++) {
		fd = new_socket(FAMILIES[d], SOCK_DGRAM);
		NEED(set_device(fd, "lo") == 0);
		WORKS(connect(fd, &nobody, sizeof(nobody)));
		STR(device_of(fd), "");
		fd = new_socket(FAMILIES[d], SOCK_STREAM);
		NEED(set_device(fd, "lo") == 0);
		WORKS(connect(fd, &nobody, sizeof(nobody)));
		STR(device_of(fd), "lo");
	}
}

/*
 * __sock_create, net/socket.c: socket(AF_INET, SOCK_PACKET) creates a socket of AF_PACKET, with a warning in
 * the kernel's log. The library must leave such a call alone, whatever the first argument is. AF_INET6 has no
 * such disguise.
 */
static void disguise(void)
{
	int fd, domain = 0;
	socklen_t length = sizeof(domain);

	own_netns();
	fd = socket(AF_INET, SOCK_PACKET | SOCK_CLOEXEC, 0);
	NEED(fd >= 0);
	WORKS(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length));
	EQ(domain, AF_PACKET);
	FAILS(socket(AF_INET6, SOCK_PACKET, 0), ESOCKTNOSUPPORT);
}

/* -- VRFs. */

static const char *requires_vrf(void)
{
	return tier_is("vrf") ? NULL : "it is about VRFs";
}

/* A VRF with one enslaved device, 192.0.2.1/24 and fe80::1. */
static void own_vrf(void)
{
	own_netns();
	add_devices("port", "peer");
	command("ip link add blue type vrf table 1001 && ip link set blue up");
	command("ip link set port master blue");
	command("ip addr add 192.0.2.1/24 dev port && ip addr add fe80::1/64 dev port nodad");
}

static int socket_in_vrf(int domain, int type)
{
	int fd = new_socket(domain, type);

	NEED(set_device(fd, "blue") == 0);
	return fd;
}

static int bind_to(int fd, in_addr_t address, in_port_t port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port),
				  .sin_addr.s_addr = htonl(address) };

	return bind(fd, (struct sockaddr *)&to, sizeof(to));
}

/* Hence a socket on a device enslaved to the VRF counts as inside (daemon.h). */
static void narrowed(void)
{
	struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_addr.s6_addr = {
		0xfe, 0x80, [15] = 1 } };
	int fd;

	own_vrf();
	fd = socket_in_vrf(AF_INET6, SOCK_DGRAM);
	to.sin6_scope_id = if_nametoindex("port");
	WORKS(bind(fd, (struct sockaddr *)&to, sizeof(to)));
	STR(device_of(fd), "port");
}

/* Hence dnsmasq needs except-interface=lo, or the administrator adds the address to the VRF. */
static void addresses(void)
{
	own_vrf();
	FAILS(bind_to(socket_in_vrf(AF_INET, SOCK_DGRAM), INADDR_LOOPBACK, 0), EADDRNOTAVAIL);
	WORKS(bind_to(socket_in_vrf(AF_INET, SOCK_DGRAM), 0xc0000201, 0));
	FAILS(bind_to(new_socket(AF_INET, SOCK_DGRAM), 0xc0000201, 0), EADDRNOTAVAIL);
	command("ip addr add 127.0.0.1/8 dev blue");
	WORKS(bind_to(socket_in_vrf(AF_INET, SOCK_DGRAM), INADDR_LOOPBACK, 0));
}

/* Hence a daemon outside every VRF may have to be told to leave a port alone. */
static void ports(void)
{
	int fd;

	own_vrf();
	WORKS(bind_to(socket_in_vrf(AF_INET, SOCK_DGRAM), INADDR_ANY, 4242));
	FAILS(bind_to(new_socket(AF_INET, SOCK_DGRAM), INADDR_ANY, 4242), EADDRINUSE);
	fd = socket_in_vrf(AF_INET, SOCK_STREAM);
	WORKS(bind_to(fd, INADDR_ANY, 4242));
	WORKS(listen(fd, 1));
	fd = new_socket(AF_INET, SOCK_STREAM);
	WORKS(bind_to(fd, INADDR_ANY, 4242));
	WORKS(listen(fd, 1));
}

static const struct scenario SCENARIOS[] = {
	{ "a name that no device has is ENODEV", unknown_name, .worlds = FACT },
	{ "a name of 16 bytes and more is cut to 15, and that device is taken", long_name,
	  .worlds = FACT },
	{ "sockets of every family take a device", any_family, .worlds = FACT },
	{ "without CAP_NET_RAW the first device can be set, and never changed", first_bind_only,
	  .worlds = FACT },
	{ "with CAP_NET_RAW it can be changed and taken away", with_capabilities,
	  .worlds = FACT },
	{ "the device can be read back, and none is length 0", read_back, .worlds = FACT },
	{ "a socket tells its family, and what is no socket says so", questions,
	  .worlds = FACT },
	{ "an accepted socket has the listener's device", accepted, .worlds = FACT },
	{ "a connection queued before the listener had a device has none", queued,
	  .worlds = FACT },
	{ "connect() to AF_UNSPEC takes the device from a UDP socket", disconnected,
	  .worlds = FACT },
	{ "SOCK_PACKET makes a packet socket of AF_INET", disguise, .worlds = FACT },
	{ "binding a VRF's socket to a link-local address moves it to the enslaved device",
	  narrowed, .worlds = FACT, .elsewhere = requires_vrf },
	{ "a VRF has the addresses of its devices, and 127.0.0.1 only if it is added", addresses,
	  .worlds = FACT, .elsewhere = requires_vrf },
	{ "a UDP port on every address of a VRF is taken outside too, a TCP port is not", ports,
	  .worlds = FACT, .elsewhere = requires_vrf },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
