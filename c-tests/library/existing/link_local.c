/*
 * link_local.c - bind() to a link-local address does not take a socket out of its VRF
 *
 * The kernel moves an IPv6 socket to the device that such an address has for its scope, without a capability, and even if
 * bind() then fails. Each scenario has a network namespace of its own (in_and_out.h).
 */
#include "in_and_out.h"
#include "stderr_capture.h"
#include "bypass.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <stddef.h>
#include <sys/resource.h>

static struct sockaddr_in6 at(const char *address, unsigned int scope)
{
	struct sockaddr_in6 it = { .sin6_family = AF_INET6, .sin6_scope_id = scope };

	NEED(inet_pton(AF_INET6, address, &it.sin6_addr) == 1);
	return it;
}

static const struct { const char *name; int type, protocol; } TYPES[] = {
	{ "udp", SOCK_DGRAM, 0 }, { "tcp", SOCK_STREAM, 0 }, { "raw", SOCK_RAW, IPPROTO_ICMPV6 },
	{ "ping", SOCK_DGRAM, IPPROTO_ICMPV6 },
};

enum { UDP, TCP, RAW, PING, ALL_TYPES };

/* A socket on NAME in both worlds. */
static int socket_in(int type)
{
	int fd = (int)WORKS(socket(AF_INET6, TYPES[type].type, TYPES[type].protocol));

	if (world == BASELINE)
		NEED(set_device(fd, NAME) == 0);
	STR(device_of(fd), NAME);
	return fd;
}

static int bind_to(int fd, const struct sockaddr_in6 *address)
{
	return bind(fd, (const struct sockaddr *)address, sizeof(*address));
}

/* The library refuses, and the socket stays. Without it the kernel has moved it, whatever bind() returned. */
static void refused(int type, const char *address, const char *device)
{
	struct sockaddr_in6 to = at(address, if_nametoindex(device));
	int fd = socket_in(type);

	CONTEXT("%s socket, %s%%%s", TYPES[type].name, address, device);
	if (world == PRELOADED) {
		FAILS(bind_to(fd, &to), EADDRNOTAVAIL);
		STR(device_of(fd), NAME);
	} else {
		(void)bind_to(fd, &to);
		STR(device_of(fd), device);
	}
	close(fd);
}

static void scopes_outside(void)
{
	static const char *const ADDRESSES[] = { "fe80::a", "fe80::b", "fe80::c" };
	int open;

	make_devices();
	open = open_descriptors();
	for (int type = 0; type < ALL_TYPES; type++)
		for (int i = 0; i < outsides; i++) {
			refused(type, ADDRESSES[i], OUTSIDE[i]);
			if (type == PING)
				continue;
			/* bind() fails in both worlds: nobody has this address. */
			refused(type, "fe80::dead", OUTSIDE[i]);
			if (type == TCP)
				continue;
			refused(type, "ff02::1", OUTSIDE[i]);
			refused(type, "ff01::1", OUTSIDE[i]);
			refused(type, "ff12::1", OUTSIDE[i]);
		}
	EQ(open_descriptors(), open);
}

static void as_an_ordinary_user(void)
{
	make_devices();
	give_up_capabilities();
	refused(UDP, "fe80::a", "outside");
	refused(TCP, "fe80::a", "outside");
}

static void no_such_device(void)
{
	struct sockaddr_in6 to = at("fe80::a", 9999);
	int fd;

	make_devices();
	for (int type = UDP; type <= RAW; type++) {
		CONTEXT("%s socket", TYPES[type].name);
		fd = socket_in(type);
		FAILS(bind_to(fd, &to), world == PRELOADED ? EADDRNOTAVAIL : ENODEV);
		STR(device_of(fd), world == PRELOADED ? NAME : "(ENODEV)");
		close(fd);
	}
}

static void scopes_inside(void)
{
	struct sockaddr_in6 to, group;

	make_devices();
	to = at("fe80::1", if_nametoindex(inside));
	group = at("ff02::1", if_nametoindex(inside));
	for (int type = 0; type < ALL_TYPES; type++) {
		int fd = socket_in(type);

		CONTEXT("%s socket", TYPES[type].name);
		WORKS(bind_to(fd, &to));
		STR(device_of(fd), inside);
		close(fd);
	}
	for (int type = UDP; type <= RAW; type += RAW - UDP) {
		int fd = socket_in(type);

		CONTEXT("%s socket, group", TYPES[type].name);
		WORKS(bind_to(fd, &group));
		STR(device_of(fd), inside);
		close(fd);
	}
}

/* A scope means nothing for other addresses, and its device is not looked at. */
static void other_addresses(void)
{
	struct sockaddr_in6 any, mapped, local;
	struct sockaddr_in any4 = { .sin_family = AF_INET };
	int fd;

	make_devices();
	any = at("::", if_nametoindex("outside"));
	mapped = at("::ffff:0.0.0.0", if_nametoindex("outside"));
	/* Without the scope's four bytes the socket's own device is the scope. */
	local = at("fe80::1", 0);
	for (int type = 0; type < ALL_TYPES; type++) {
		CONTEXT("%s socket", TYPES[type].name);
		fd = socket_in(type);
		WORKS(bind_to(fd, &any));
		STR(device_of(fd), NAME);
		close(fd);
	}
	CONTEXT("%s", "other addresses");
	fd = socket_in(UDP);
	WORKS(bind_to(fd, &mapped));
	STR(device_of(fd), NAME);
	close(fd);
	fd = socket_in(UDP);
	(void)bind(fd, (struct sockaddr *)&local, offsetof(struct sockaddr_in6, sin6_scope_id));
	STR(device_of(fd), NAME);
	close(fd);
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	WORKS(bind(fd, (struct sockaddr *)&any4, sizeof(struct sockaddr_storage)));
	STR(device_of(fd), expected_device());
	/* An IPv4 socket accepts no such address, and fails itself. */
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	any = at("fe80::a", if_nametoindex("outside"));
	FAILS(bind_to(fd, &any), EAFNOSUPPORT);
	STR(device_of(fd), expected_device());
}

static void sockets_from_outside(void)
{
	struct sockaddr_in6 to;
	int fd;

	make_devices();
	to = at("fe80::a", if_nametoindex("outside"));
	fd = raw_socket(AF_INET6, SOCK_DGRAM, 0);
	CONTEXT("without a device");
	if (world == PRELOADED)
		FAILS(bind_to(fd, &to), EADDRNOTAVAIL);
	else
		WORKS(bind_to(fd, &to));
	STR(device_of(fd), world == PRELOADED ? NAME : "outside");
	/* A socket that has this very device keeps it, and does not move. */
	fd = raw_socket(AF_INET6, SOCK_DGRAM, 0);
	NEED(set_device(fd, "outside") == 0);
	to.sin6_port = htons(9);
	CONTEXT("on that device already");
	if (world == PRELOADED)
		WORKS(bind_to(fd, &to));
	STR(device_of(fd), "outside");
}

/* If the kernel cannot be asked, the call fails: the question needs a descriptor. */
static void no_descriptor_left(void)
{
	struct sockaddr_in6 to, here;
	struct rlimit limit;
	int fd;

	make_devices();
	to = at("fe80::a", if_nametoindex("outside"));
	here = at("fe80::1", if_nametoindex(inside));
	fd = socket_in(UDP);
	NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = 0;
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	FAILS(bind_to(fd, &to), EMFILE);
	STR(device_of(fd), NAME);
	if (strcmp(inside, NAME) != 0) {
		FAILS(bind_to(fd, &here), EMFILE);
		STR(device_of(fd), NAME);
	}
}

static void bad_pointers(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *pages = mmap(NULL, (size_t)page * 3, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct sockaddr_in6 *across;
	int fd;

	make_devices();
	NEED(pages != MAP_FAILED && munmap(pages + page, (size_t)page) == 0);
	fd = socket_in(UDP);
	for (int left = 1; left < 28; left++) {
		CONTEXT("%d bytes before a page that is not there", left);
		across = (struct sockaddr_in6 *)(pages + page - left);
		FAILS(bind_to(fd, across), EFAULT);
		CONTEXT("%d bytes behind one", left);
		across = (struct sockaddr_in6 *)(pages + page * 2 - left);
		FAILS(bind_to(fd, across), EFAULT);
	}
	CONTEXT("%s", "");
	FAILS(bind_to(fd, NULL), EFAULT);
	FAILS(bind_to(fd, (struct sockaddr_in6 *)-28L), EFAULT);
	FAILS(bind(fd, (struct sockaddr *)pages, (socklen_t)-1), EINVAL);
	FAILS(bind(fd, NULL, 0), EINVAL);
	FAILS(bind(-1, NULL, sizeof(struct sockaddr_in6)), EBADF);
	STR(device_of(fd), NAME);
}

/* A limit: the kernel is not asked about the page again. */
static void page_taken_away(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct sockaddr_in6 *there = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid;
	int fd;

	make_devices();
	NEED(there != MAP_FAILED);
	*there = at("::", 0);
	WORKS(bind_to(socket_in(UDP), there));
	fd = socket_in(UDP);
	NEED(munmap(there, page) == 0);
	pid = fork();
	if (pid == 0)
		_exit(bind_to(fd, there) ? errno : 0);
	EQ(wait_status(pid), world == PRELOADED ? 128 + SIGSEGV : EFAULT);
	STR(device_of(fd), NAME);
}

/* A limit: no hook sees it. The other end of `outside` receives it. */
static void sends_leave(void)
{
	static const char MARK[] = "a datagram of link_local";
	struct sockaddr_ll wire = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IPV6) };
	struct sockaddr_in6 to;
	struct pollfd ready = { .events = POLLIN };
	char frame[2000];
	ssize_t length = 0;
	int fd;

	make_devices();
	wire.sll_ifindex = (int)if_nametoindex("far");
	ready.fd = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_IPV6));
	NEED(bind(ready.fd, (struct sockaddr *)&wire, sizeof(wire)) == 0);
	to = at("ff02::1", if_nametoindex("outside"));
	to.sin6_port = htons(9);
	fd = socket_in(UDP);
	WORKS(sendto(fd, MARK, sizeof(MARK), 0, (struct sockaddr *)&to, sizeof(to)));
	STR(device_of(fd), NAME);
	/* Other frames may pass. */
	while (length <= 0 || !memmem(frame, (size_t)length, MARK, sizeof(MARK))) {
		NEED(poll(&ready, 1, HUNG * 1000) == 1);
		length = recv(ready.fd, frame, sizeof(frame), 0);
	}
}

static void one_line(void)
{
	struct sockaddr_in6 to;
	const char *text;
	int fd;

	make_devices();
	to = at("fe80::a", if_nametoindex("outside"));
	fd = socket_in(UDP);
	capture_stderr(0);
	for (int i = 0; i < 3; i++)
		FAILS(bind_to(fd, &to), EADDRNOTAVAIL);
	text = captured_stderr();
	EQ(lines_in(text), 1);
	TRUE(strncmp(text, "vrfbind: bind() ", 16) == 0);
	TRUE(strstr(text, " outside, ") && strstr(text, " VRF " NAME " (VRFBIND_VRF)"));
}

static const struct scenario SCENARIOS[] = {
	{ "bind() to an address of a device outside the VRF leaves the socket in it", scopes_outside,
	  .vrf = NAME },
	{ "the same in a sealed process", scopes_outside, .vrf = NAME, .also = "VRFBIND_SEAL=1",
	  .worlds = PRELOADED },
	{ "the same without a capability", as_an_ordinary_user, .vrf = NAME },
	{ "bind() to the scope of a device that does not exist leaves it there too", no_such_device,
	  .vrf = NAME },
	{ "bind() to an address of a device in the VRF narrows the socket to that device",
	  scopes_inside, .vrf = NAME },
	{ "other addresses are bound whatever their scope", other_addresses, .vrf = NAME },
	{ "a socket from outside is in the VRF, or on the device that it had", sockets_from_outside,
	  .vrf = NAME },
	{ "where the library cannot ask, bind() fails and the socket stays", no_descriptor_left,
	  .vrf = NAME, .worlds = PRELOADED },
	{ "a bad pointer is the kernel's to refuse", bad_pointers, .vrf = NAME },
	{ "one into a page that was taken away since: SIGSEGV, and without the library EFAULT",
	  page_taken_away, .vrf = NAME },
	{ "sendto() to such an address leaves by that device, and the socket stays", sends_leave,
	  .vrf = NAME },
	{ "the first refusal is a line on stderr", one_line, .vrf = NAME, .worlds = PRELOADED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
