/*
 * inherited_fds.c - sockets that the library did not create
 *
 * A socket can come into a program without one of the hooked functions: inherited over exec, passed over a
 * UNIX socket, created by an instruction of the program's own. bind(), connect() and listen() look at the
 * socket itself, and not at the address, which may be bad. An IP socket without a device gets the device
 * before the real call is made, one with a device keeps it, and everything else is left to the kernel.
 * connect() gives back the device that it takes away.
 */
#include "cancelled.h"
#include "device.h"
#include "pass_fd.h"
#include "seccomp_filters.h"
#include <pthread.h>
#include <sys/un.h>

static int unseen_socket(int domain, int type, int protocol)
{
	int fd = raw_socket(domain, type, protocol);

	NEED(fd >= 0);
	STR(device_of(fd), "");
	return fd;
}

static void bind_gives_it(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_RAW };
	int protocol, fd;

	own_netns();
	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 3; t++) {
			CONTEXT("family %d, type %d", FAMILIES[d], TYPES[t]);
			protocol = TYPES[t] == SOCK_RAW ? IPPROTO_ICMP : 0;
			fd = unseen_socket(FAMILIES[d], TYPES[t], protocol);
			WORKS(bind(fd, wildcard(FAMILIES[d]), WILDCARD_LENGTH));
			STR(device_of(fd), expected_device());
			close(fd);
		}
}

static void listen_gives_it(void)
{
	static const int PROTOCOLS[] = { IPPROTO_TCP, IPPROTO_MPTCP };
	int fd;

	for (int d = 0; d < 2; d++)
		for (int p = 0; p < 2; p++) {
			CONTEXT("family %d, protocol %d", FAMILIES[d], PROTOCOLS[p]);
			fd = raw_socket(FAMILIES[d], SOCK_STREAM, PROTOCOLS[p]);
			if (fd < 0 && PROTOCOLS[p] == IPPROTO_MPTCP && !(tier_is("vrf") && has_mptcp()))
				continue;
			NEED(fd >= 0);
			WORKS(listen(fd, 1));
			STR(device_of(fd), expected_device());
			close(fd);
		}
}

/* The address by which a socket on the wildcard is reached from here. */
static struct sockaddr_in6 reached_at(int domain, int fd)
{
	struct sockaddr_in6 address;
	socklen_t length = sizeof(address);

	memset(&address, 0, sizeof(address));
	NEED(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	if (domain == AF_INET)
		((struct sockaddr_in *)&address)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		address.sin6_addr = in6addr_loopback;
	return address;
}

/* A peer without the library: `listener` is created by an instruction. */
static struct sockaddr_in6 listener(int domain, int type)
{
	int fd = unseen_socket(domain, type, 0);

	NEED(syscall(SYS_bind, fd, wildcard(domain), WILDCARD_LENGTH) == 0);
	if (type == SOCK_STREAM)
		NEED(syscall(SYS_listen, fd, 8) == 0);
	return reached_at(domain, fd);
}

static void connect_gives_it(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM };
	struct sockaddr_in6 to;
	int fd;

	own_netns();
	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 2; t++) {
			CONTEXT("family %d, type %d", FAMILIES[d], TYPES[t]);
			to = listener(FAMILIES[d], TYPES[t]);
			fd = unseen_socket(FAMILIES[d], TYPES[t], 0);
			WORKS(connect(fd, (struct sockaddr *)&to, sizeof(to)));
			STR(device_of(fd), expected_device());
			close(fd);
		}
}

static void accepted(void)
{
	struct sockaddr_in6 to;
	int fd, client, served;

	own_netns();
	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		fd = (int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0));
		WORKS(listen(fd, 1));
		to = reached_at(FAMILIES[d], fd);
		client = unseen_socket(FAMILIES[d], SOCK_STREAM, 0);
		NEED(syscall(SYS_connect, client, &to, sizeof(to)) == 0);
		served = accept(fd, NULL, NULL);
		NEED(served >= 0);
		STR(device_of(served), expected_device());
	}
}

static void duplicates(void)
{
	int fd = unseen_socket(AF_INET, SOCK_DGRAM, 0), copy = dup(fd), higher;

	NEED(copy >= 0);
	WORKS(bind(copy, wildcard(AF_INET), WILDCARD_LENGTH));
	STR(device_of(copy), expected_device());
	STR(device_of(fd), expected_device());
	fd = (int)WORKS(socket(AF_INET6, SOCK_STREAM, 0));
	higher = fcntl(fd, F_DUPFD_CLOEXEC, 70);
	NEED(dup2(higher, 80) == 80);
	close(fd);
	WORKS(bind(80, wildcard(AF_INET6), WILDCARD_LENGTH));
	STR(device_of(higher), expected_device());
	STR(device_of(80), expected_device());
}

enum { KNOWN = 50 };	/* a descriptor known on both sides of an exec */

static void inherited(void)
{
	if (phase) {
		STR(device_of(KNOWN), "");
		WORKS(bind(KNOWN, wildcard(AF_INET), WILDCARD_LENGTH));
		STR(device_of(KNOWN), expected_device());
		return;
	}
	NEED(dup2(unseen_socket(AF_INET, SOCK_STREAM, 0), KNOWN) == KNOWN);
	EQ(reexec("the heir"), 0);
	STR(device_of(KNOWN), expected_device());
}

static void passed(void)
{
	int channel[2], fd;

	if (phase) {
		send_fd(KNOWN, socket(AF_INET, SOCK_DGRAM, 0));
		send_fd(KNOWN, socket(AF_INET6, SOCK_STREAM, 0));
		return;
	}
	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
	NEED(dup2(channel[1], KNOWN) == KNOWN);
	/* Without LD_PRELOAD alone it would be in the VRF all the same (exec/started_programs.c). */
	setenv("VRFBIND_VRF", "default", 1);
	NEED(reexec("the sender, in no VRF") == 0);
	fd = receive_fd(channel[0]);
	STR(device_of(fd), "");
	WORKS(bind(fd, wildcard(AF_INET), WILDCARD_LENGTH));
	STR(device_of(fd), expected_device());
	fd = receive_fd(channel[0]);
	STR(device_of(fd), "");
	WORKS(listen(fd, 1));
	STR(device_of(fd), expected_device());
}

static void keeps_its_own(void)
{
	const char *other = other_device();
	int fd;

	CONTEXT("bound to %s by the program", other);
	for (int d = 0; d < 2; d++) {
		fd = unseen_socket(FAMILIES[d], SOCK_STREAM, 0);
		NEED(set_device(fd, other) == 0);
		WORKS(bind(fd, wildcard(FAMILIES[d]), WILDCARD_LENGTH));
		STR(device_of(fd), other);
		WORKS(listen(fd, 1));
		STR(device_of(fd), other);

		fd = unseen_socket(FAMILIES[d], SOCK_DGRAM, 0);
		NEED(set_device(fd, other) == 0);
		(void)connect(fd, wildcard(FAMILIES[d]), WILDCARD_LENGTH);
		STR(device_of(fd), other);
	}
	/* Created in our VRF and moved by the program, which requires CAP_NET_RAW. */
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	STR(device_of(fd), expected_device());
	if (set_device(fd, other) == 0) {
		WORKS(bind(fd, wildcard(AF_INET), WILDCARD_LENGTH));
		STR(device_of(fd), other);
	}
}

static void other_families(void)
{
	static const int OTHERS[] = { AF_UNIX, AF_NETLINK };
	struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket" };
	int fd;

	for (int i = 0; i < 2; i++) {
		CONTEXT("family %d", OTHERS[i]);
		fd = unseen_socket(OTHERS[i], i ? SOCK_RAW : SOCK_STREAM, 0);
		/* unix(7), netlink(7): the kernel chooses the name. */
		WORKS(bind(fd, wildcard(OTHERS[i]), i ? 12 : sizeof(sa_family_t)));
		STR(device_of(fd), "");
	}
	fd = unseen_socket(AF_UNIX, SOCK_STREAM, 0);
	FAILS(connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)), ENOENT);
	FAILS(listen(fd, 1), EINVAL);
	STR(device_of(fd), "");
	/* An address of AF_INET does not make an IPv4 socket. */
	FAILS(bind(fd, wildcard(AF_INET), WILDCARD_LENGTH), EINVAL);
	STR(device_of(fd), "");
}

static void no_sockets(void)
{
	int directory = open("/", O_RDONLY), path = open("/", O_PATH), pipes[2];

	NEED(directory >= 0 && path >= 0 && pipe(pipes) == 0);
	FAILS(bind(-1, wildcard(AF_INET), WILDCARD_LENGTH), EBADF);
	FAILS(connect(-1, wildcard(AF_INET), WILDCARD_LENGTH), EBADF);
	FAILS(listen(-1, 1), EBADF);
	FAILS(bind(99, wildcard(AF_INET), WILDCARD_LENGTH), EBADF);
	FAILS(bind(path, wildcard(AF_INET), WILDCARD_LENGTH), EBADF);
	FAILS(bind(directory, wildcard(AF_INET), WILDCARD_LENGTH), ENOTSOCK);
	FAILS(connect(pipes[0], wildcard(AF_INET), WILDCARD_LENGTH), ENOTSOCK);
	FAILS(listen(pipes[1], 1), ENOTSOCK);
}

static void disconnected(void)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	const char *other;
	int fd;

	for (int d = 0; d < 2; d++)
		for (int unseen = 0; unseen < 2; unseen++) {
			CONTEXT("family %d, %s", FAMILIES[d], unseen ? "from elsewhere" : "its own");
			fd = unseen ? unseen_socket(FAMILIES[d], SOCK_DGRAM, 0) :
			     (int)WORKS(socket(FAMILIES[d], SOCK_DGRAM, 0));
			for (int again = 0; again < 2; again++) {
				WORKS(connect(fd, &nobody, sizeof(nobody)));
				STR(device_of(fd), expected_device());
			}
		}
	CONTEXT("on another device");
	other = other_device();
	fd = unseen_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, other) == 0);
	WORKS(connect(fd, &nobody, sizeof(nobody)));
	STR(device_of(fd), world == PRELOADED ? other : "");
}

/* The name of the device tells less than its number, but tells whether there is one. */
static void without_device_numbers(void)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	const char *other = other_device();
	int fd;

	forget_bindtoifindex();
	fd = unseen_socket(AF_INET, SOCK_DGRAM, 0);
	WORKS(bind(fd, wildcard(AF_INET), WILDCARD_LENGTH));
	STR(device_of(fd), expected_device());
	WORKS(connect(fd, &nobody, sizeof(nobody)));
	STR(device_of(fd), expected_device());
	CONTEXT("on another device");
	fd = unseen_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, other) == 0);
	WORKS(bind(fd, wildcard(AF_INET), WILDCARD_LENGTH));
	STR(device_of(fd), other);
}

/* -- A limit: the kernel takes the device, and then the library gives it back. */

static int disconnecting;
static bool seen_without, ended;

static void *looks_at_it(void *unused)
{
	while (!__atomic_load_n(&ended, __ATOMIC_RELAXED))
		if (*device_of(disconnecting) == '\0')
			__atomic_store_n(&seen_without, true, __ATOMIC_RELAXED);
	return unused;
}

static void moment_without(void)
{
	static const struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	enum { ROUNDS = 1000000 };
	pthread_t thread;

	disconnecting = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	if (world == BASELINE)
		NEED(set_device(disconnecting, setting("VRFBIND_TEST_DEVICE")) == 0);
	NEED(pthread_create(&thread, NULL, looks_at_it, NULL) == 0);
	for (int i = 0; i < ROUNDS && !__atomic_load_n(&seen_without, __ATOMIC_RELAXED); i++) {
		WORKS(connect(disconnecting, &nobody, sizeof(nobody)));
		STR(device_of(disconnecting), expected_device());
	}
	__atomic_store_n(&ended, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	TRUE(seen_without);
}

static void cancelled(void) { cancel_in(connect); }

#ifdef __GLIBC__
static const char *unwinds(void) { return NULL; }
#else
static const char *unwinds(void) { return "musl does not unwind a thread that is cancelled"; }
#endif

static void bad_addresses(void)
{
	long page = sysconf(_SC_PAGESIZE);
	struct sockaddr *nowhere = mmap(NULL, (size_t)page, PROT_NONE,
					MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd, created;

	NEED(nowhere != MAP_FAILED);
	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		created = (int)WORKS(socket(FAMILIES[d], SOCK_DGRAM, 0));
		fd = unseen_socket(FAMILIES[d], SOCK_DGRAM, 0);
		FAILS(bind(created, nowhere, WILDCARD_LENGTH), EFAULT);
		FAILS(bind(fd, nowhere, WILDCARD_LENGTH), EFAULT);
		FAILS(bind(fd, NULL, WILDCARD_LENGTH), EFAULT);
		FAILS(connect(created, nowhere, WILDCARD_LENGTH), EFAULT);
		FAILS(connect(fd, nowhere, WILDCARD_LENGTH), EFAULT);
		FAILS(connect(fd, NULL, WILDCARD_LENGTH), EFAULT);
		FAILS(bind(fd, wildcard(FAMILIES[d]), (socklen_t)-1), EINVAL);
		FAILS(bind(fd, nowhere, 0), EINVAL);
		STR(device_of(fd), expected_device());
	}
}

static const struct scenario SCENARIOS[] = {
	{ "bind() puts an IP socket that has no device on it", bind_gives_it, .vrf = "lo" },
	{ "listen() puts an IP socket that has no device on it", listen_gives_it },
	{ "connect() puts an IP socket that has no device on it", connect_gives_it, .vrf = "lo" },
	{ "what is accepted has the device of the listener", accepted, .vrf = "lo" },
	{ "it is the socket that has the device, whichever descriptor was used", duplicates },
	{ "a socket inherited over exec gets the device when it is bound", inherited },
	{ "a socket passed by a process in no VRF gets it when it is used", passed },
	{ "a socket that has another device keeps it", keeps_its_own },
	{ "connect() to AF_UNSPEC leaves a socket its device", disconnected },
	{ "for a moment another thread sees it without one", moment_without },
	{ "a kernel that does not know SO_BINDTOIFINDEX is asked for the name", without_device_numbers },
	{ "a thread that is cancelled in connect() unwinds its stack", cancelled,
	  .elsewhere = unwinds },
	{ "sockets of other families are left alone", other_families },
	{ "a descriptor that is bad or no socket gives the kernel's errno", no_sockets },
	{ "a bad address gives the kernel's errno", bad_addresses },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
