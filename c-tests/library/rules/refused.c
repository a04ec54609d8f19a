/*
 * refused.c - a socket that a rule cannot move: the call is refused, and the socket stays
 *
 * Under rules a call succeeds with its socket on its address's device, or it fails. Without the library the same call
 * succeeds. The VRF is prod; rules name mgmt and lo (support/places.h).
 */
#include "places.h"

#define RULES "VRFBIND_RULES=loopback lo; bind tcp *:5380 mgmt; connect 10.99.0.0/16 mgmt"

static const struct sockaddr NOBODY_THERE = { .sa_family = AF_UNSPEC };

/* The call succeeds without the library, and fails with it; either way the socket stays on its device. */
#define REFUSED(call, fd, error, device) \
	do { \
		if (world == PRELOADED) \
			FAILS(call, error); \
		else \
			WORKS(call); \
		STR(device_of(fd), if_ruled(device)); \
	} while (0)

static void bound_to_an_address(void)
{
	int fd;

	own_places();
	fd = socket_for("10.1.1.1", SOCK_DGRAM);
	WORKS(bind_at(fd, "10.1.1.1", 0));
	REFUSED(connect_at(fd, "10.99.1.2", 7), fd, EADDRNOTAVAIL, "prod");
	fd = socket_for("fd01::1", SOCK_DGRAM);
	WORKS(bind_at(fd, "fd01::1", 0));
	if (world == PRELOADED)
		FAILS(connect_at(fd, "::1", 7), EADDRNOTAVAIL);
	STR(device_of(fd), if_ruled("prod"));
	fd = socket_for("10.1.1.1", SOCK_STREAM | SOCK_NONBLOCK);
	WORKS(bind_at(fd, "10.1.1.1", 0));
	FAILS(connect_at(fd, "10.99.1.2", 7), world == PRELOADED ? EADDRNOTAVAIL : EINPROGRESS);
	STR(device_of(fd), if_ruled("prod"));
	CONTEXT("back from lo");
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	if (world == PRELOADED)
		FAILS(connect_at(fd, "10.1.1.2", 7), EADDRNOTAVAIL);
	STR(device_of(fd), if_ruled("lo"));
	FAILS(connect_at(fd, "127.0.0.1", 1), ECONNREFUSED);
}

static void connected_datagrams(void)
{
	int fd;

	own_places();
	fd = socket_for("10.1.1.1", SOCK_DGRAM);
	WORKS(connect_at(fd, "10.1.1.2", 7));
	REFUSED(connect_at(fd, "127.0.0.1", 7), fd, EPERM, "prod");
	WORKS(connect_at(fd, "10.1.1.3", 7));
	STR(device_of(fd), if_ruled("prod"));
}

static void disconnected(void)
{
	int fd;

	own_places();
	fd = socket_for("10.1.1.1", SOCK_DGRAM);
	WORKS(connect(fd, &NOBODY_THERE, sizeof(NOBODY_THERE)));
	STR(device_of(fd), if_ruled("prod"));
	WORKS(connect(fd, &NOBODY_THERE, sizeof(sa_family_t)));
	STR(device_of(fd), if_ruled("prod"));
	WORKS(connect_at(fd, "127.0.0.1", 7));
	REFUSED(connect(fd, &NOBODY_THERE, sizeof(NOBODY_THERE)), fd, EPERM, "lo");
	CONTEXT("a stream");
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	FAILS(connect_at(fd, "127.0.0.1", 1), ECONNREFUSED);
	WORKS(connect(fd, &NOBODY_THERE, sizeof(NOBODY_THERE)));
	STR(device_of(fd), if_ruled("prod"));
	WORKS(connect_at(fd, "127.0.0.1", port_of(listener_at("127.0.0.1"))));
	WORKS(connect(fd, &NOBODY_THERE, sizeof(NOBODY_THERE)));
	STR(device_of(fd), if_ruled("lo"));
}

static void shared_ports(void)
{
	const int one = 1;
	int fd;

	own_places();
	fd = socket_for("0.0.0.0", SOCK_DGRAM);
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
	WORKS(bind_at(fd, "0.0.0.0", 700));
	REFUSED(connect_at(fd, "127.0.0.1", 7), fd, EPERM, "prod");
	CONTEXT("not bound yet");
	fd = socket_for("0.0.0.0", SOCK_STREAM);
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) == 0);
	WORKS(bind_at(fd, "0.0.0.0", 5380));
	STR(device_of(fd), if_ruled("mgmt"));
}

static void streams_in_use(void)
{
	int fd, client, served;

	own_places();
	fd = listener_at("127.0.0.1");
	FAILS(connect_at(fd, "10.99.1.1", 7), EISCONN);
	FAILS(bind_at(fd, "0.0.0.0", 5380), EINVAL);
	STR(device_of(fd), if_ruled("lo"));
	client = socket_for("127.0.0.1", SOCK_STREAM);
	WORKS(connect_at(client, "127.0.0.1", port_of(fd)));
	served = accept(fd, NULL, NULL);
	FAILS(connect_at(client, "10.99.1.2", 7), EISCONN);
	FAILS(connect_at(served, "10.1.1.2", 7), EISCONN);
	FAILS(bind_at(client, "0.0.0.0", 5380), EINVAL);
	STR(device_of(client), if_ruled("lo"));
	STR(device_of(served), if_ruled("lo"));
	CONTEXT("connecting");
	client = socket_for("10.99.1.2", SOCK_STREAM | SOCK_NONBLOCK);
	FAILS(connect_at(client, "10.99.1.2", 7), EINPROGRESS);
	FAILS(connect_at(client, "10.1.1.2", 7), EALREADY);
	STR(device_of(client), if_ruled("mgmt"));
}

/* A connection that fails later is told by the next connect(), as the kernel does; the one after that is made. */
static void failed_later(void)
{
	struct pollfd failed;
	int fd;

	own_places();
	fd = socket_for("127.0.0.1", SOCK_STREAM | SOCK_NONBLOCK);
	(void)connect_at(fd, "127.0.0.1", 1);
	failed = (struct pollfd){ .fd = fd };
	NEED(poll(&failed, 1, -1) == 1);
	FAILS(connect_at(fd, "10.99.1.2", 7), ECONNREFUSED);
	FAILS(connect_at(fd, "10.99.1.2", 7), EINPROGRESS);
	STR(device_of(fd), if_ruled("mgmt"));
}

static void failing_calls(void)
{
	int fd, second;

	own_places();
	fd = socket_for("0.0.0.0", SOCK_STREAM);
	second = socket_for("0.0.0.0", SOCK_STREAM);
	WORKS(bind_at(fd, "0.0.0.0", 5380));
	FAILS(bind_at(second, "0.0.0.0", 5380), EADDRINUSE);
	STR(device_of(fd), if_ruled("mgmt"));
	STR(device_of(second), if_ruled("prod"));
	WORKS(bind_at(second, "0.0.0.0", 5381));
	STR(device_of(second), if_ruled("prod"));
}

static void missing_device(void)
{
	int fd;

	own_places();
	command("ip link del mgmt");
	fd = socket_for("0.0.0.0", SOCK_STREAM);
	REFUSED(bind_at(fd, "0.0.0.0", 5380), fd, ENODEV, "prod");
	if (world == PRELOADED)
		WORKS(bind_at(fd, "0.0.0.0", 5381));
	STR(device_of(fd), if_ruled("prod"));
}

/*
 * A device changes while a socket is in the VRF. Then connect() to each address either puts it where that belongs, or fails and
 * leaves it where it is.
 */
static const struct change {
	const char *command;
	struct {
		const char *ip;
		int error;
		const char *device;
	} calls[3];
} CHANGES[] = {
	{ "ip link del mgmt", { { "10.99.1.2", ENODEV, "prod" }, { "127.0.0.1", 0, "lo" } } },
	{ "ip link set mgmt down && ip link set mgmt name other && ip link set other up",
	  { { "10.99.1.2", ENODEV, "prod" }, { "127.0.0.1", 0, "lo" } } },
	{ "ip link set mgmt down", { { "10.99.1.2", ENETUNREACH, "prod" }, { "127.0.0.1", 0, "lo" } } },
	{ "ip link set lo down", { { "127.0.0.1", ENETUNREACH, "prod" }, { "10.99.1.2", 0, "mgmt" } } },
	{ "ip link del prod", { { "10.1.1.2", ENODEV, "(ENODEV)" }, { "127.0.0.1", ENODEV, "(ENODEV)" },
				{ "10.99.1.2", ENODEV, "(ENODEV)" } } },
	/* As one that the program has put on a device of its own. */
	{ "ip link set prod down && ip link set prod name other && ip link set other up",
	  { { "127.0.0.1", 0, "other" } } },
	{ "ip link set prod down", { { "10.1.1.2", ENETUNREACH, "prod" }, { "127.0.0.1", 0, "lo" } } },
};

static void device_changes(const struct change *change, bool privileged)
{
	int fd;

	own_places();
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	command("%s", change->command);
	if (!privileged)
		give_up_capabilities();
	for (int i = 0; i < 3 && change->calls[i].ip; i++) {
		int error = connect_at(fd, change->calls[i].ip, 7) < 0 ? errno : 0;

		CONTEXT("%s, connect() to %s%s", change->command, change->calls[i].ip,
			privileged ? "" : " without CAP_NET_RAW");
		if (world == PRELOADED)
			EQ(error, change->calls[i].error);
		STR(device_of(fd), if_ruled(change->calls[i].device));
	}
}

static void changed_devices(void)
{
	for (size_t i = 0; i < 2 * sizeof(CHANGES) / sizeof(*CHANGES); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			device_changes(&CHANGES[i / 2], i % 2 == 0);
			_exit(0);
		}
		EQ(wait_status(pid), 0);
	}
}

#define RULED .vrf = "prod", .also = RULES

static const struct scenario SCENARIOS[] = {
	{ "connect() of a socket that is bound to an address: EADDRNOTAVAIL", bound_to_an_address, RULED },
	{ "connect() of a datagram socket that is connected elsewhere: EPERM", connected_datagrams, RULED },
	{ "connect() to AF_UNSPEC takes no device: EPERM where there is a peer", disconnected, RULED },
	{ "connect() of a socket that shares its port: EPERM", shared_ports, RULED },
	{ "a stream that is connected, connects or listens stays", streams_in_use, RULED },
	{ "a connection that has failed meanwhile is told as the kernel tells it", failed_later, RULED },
	{ "a call that fails leaves the socket where it was", failing_calls, RULED },
	{ "a rule's device that is missing: ENODEV", missing_device, RULED },
	{ "where the VRF, a rule's device or lo is removed, renamed or down, a socket is moved or stays", changed_devices, RULED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
