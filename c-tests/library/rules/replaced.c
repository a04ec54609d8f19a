/*
 * replaced.c - without CAP_NET_RAW a socket that has a device is moved by a fresh one that takes its place
 *
 * The program must not notice: the descriptor has the same options and flags, is registered in the same epoll
 * instances, and its duplicates are the same socket. What cannot be carried over is refused (replaced_not.c).
 * The VRF is prod; rules name mgmt and lo (support/places.h).
 */
#include "places.h"
#include "pass_fd.h"
#include "seccomp_filters.h"
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/stat.h>

#define RULES \
	"VRFBIND_RULES=bind tcp *:5380 mgmt; connect 10.99.0.0/16 mgmt; loopback lo"

static void own_places_without_capabilities(void)
{
	own_places();
	/* For the ping socket. */
	command("sysctl -q net.ipv4.ping_group_range='0 65534'");
	give_up_capabilities();
}

static void moves_alike(void)
{
	int fd, served, open, port = port_of(listener_at("127.0.0.1"));
	char byte = 0;

	open = open_descriptors();
	CONTEXT("bind()");
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	STR(device_of(fd), if_ruled("prod"));
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	WORKS(listen(fd, 1));
	CONTEXT("connect(), and data");
	served = socket_for("127.0.0.1", SOCK_STREAM);
	WORKS(connect_at(served, "127.0.0.1", port_of(fd)));
	STR(device_of(served), if_ruled("lo"));
	EQ(write(served, "x", 1), 1);
	EQ(read(accept(fd, NULL, NULL), &byte, 1), 1);
	EQ(byte, 'x');
	CONTEXT("of IPv6, of datagrams, of ping");
	fd = socket_for("::1", SOCK_STREAM);
	WORKS(bind_at(fd, "::1", 0));
	STR(device_of(fd), if_ruled("lo"));
	fd = socket_for("::", SOCK_STREAM);
	WORKS(connect_at(fd, "::ffff:127.0.0.1", port));
	STR(device_of(fd), if_ruled("lo"));
	fd = socket_for("::", SOCK_DGRAM);
	WORKS(connect_at(fd, "::1", 7));
	STR(device_of(fd), if_ruled("lo"));
	fd = socket_for("10.99.1.2", SOCK_DGRAM);
	WORKS(connect_at(fd, "10.99.1.2", 7));
	STR(device_of(fd), if_ruled("mgmt"));
	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	NEED(fd >= 0);
	WORKS(connect_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	CONTEXT("descriptors");
	/* Those of above: the accepted one too. */
	EQ(open_descriptors(), open + 8);
}

static void without_capabilities(void)
{
	own_places_without_capabilities();
	moves_alike();
}

/* The same file, which other processes may have too. */
static void needs_no_replacement(void)
{
	struct stat before, after;
	int fd, lo;

	own_places();
	lo = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(bind_at(lo, "127.0.0.1", 0));
	give_up_capabilities();
	NEED(fstat(lo, &before) == 0);
	WORKS(connect_at(lo, "127.0.0.2", 7));
	NEED(fstat(lo, &after) == 0);
	STR(device_of(lo), if_ruled("lo"));
	EQ((long)after.st_ino, (long)before.st_ino);
	CONTEXT("what has no device yet");
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(fstat(fd, &before) == 0);
	WORKS(connect_at(fd, "127.0.0.1", 7));
	NEED(fstat(fd, &after) == 0);
	STR(device_of(fd), if_ruled("lo"));
	EQ((long)after.st_ino, (long)before.st_ino);
}

static void as_an_ordinary_user(void)
{
	own_places();
	command("sysctl -q net.ipv4.ping_group_range='0 65534'");
	NEED(become_nobody());
	moves_alike();
}

/* One descriptor, of a process without privileges. */
static void there_and_back(void)
{
	int fd, port;

	own_places_without_capabilities();
	port = port_of(listener_at("127.0.0.1"));
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	for (int i = 0; i < 100; i++) {
		CONTEXT("time %d", i);
		FAILS(connect_at(fd, "127.0.0.1", 1), ECONNREFUSED);
		FAILS(connect_at(fd, "224.0.0.9", 1), ENETUNREACH);
		TRUE(world == BASELINE || strcmp(device_of(fd), "lo") == 0 || strcmp(device_of(fd), "prod") == 0);
	}
	WORKS(connect_at(fd, "127.0.0.1", port));
	STR(device_of(fd), if_ruled("lo"));
}

static int watched;
static atomic_bool is_over;
static atomic_ulong strange, on_lo;

static void *watches(void *unused)
{
	while (!is_over) {
		int index = -1;
		socklen_t length = sizeof(index);

		getsockopt(watched, SOL_SOCKET, 62 /* SO_BINDTOIFINDEX */, &index, &length);
		on_lo += index == 1;
		strange += index <= 0;
	}
	return unused;
}

static void never_without(void)
{
	pthread_t thread;

	own_places_without_capabilities();
	watched = socket_for("127.0.0.1", SOCK_STREAM);
	NEED(pthread_create(&thread, NULL, watches, NULL) == 0);
	/* Waits until the other thread has seen the expected devices. */
	for (int i = 0; i < 500 || (world == PRELOADED ? on_lo : strange) == 0; i++) {
		FAILS(connect_at(watched, "127.0.0.1", 1), ECONNREFUSED);
		FAILS(connect_at(watched, "224.0.0.9", 1), ENETUNREACH);
	}
	is_over = true;
	NEED(pthread_join(thread, NULL) == 0);
	if (world == PRELOADED)
		EQ((long)strange, 0);
	else
		TRUE(strange > 0);
}

struct option {
	int type, domain, level, name, value;
};

/* As many bytes as the kernel returns. */
static int value_of(int fd, const struct option *option, char value[40])
{
	socklen_t length = 40;

	memset(value, 0, 40);
	return getsockopt(fd, option->level, option->name, value, &length) < 0 ? -1 : (int)length;
}

static void options(void)
{
	static const struct option OPTIONS[] = {
		{ 0, 0, SOL_SOCKET, SO_REUSEADDR, 1 }, { 0, 0, SOL_SOCKET, SO_REUSEPORT, 1 },
		{ 0, 0, SOL_SOCKET, SO_KEEPALIVE, 1 }, { 0, 0, SOL_SOCKET, SO_BROADCAST, 1 },
		{ 0, 0, SOL_SOCKET, SO_DONTROUTE, 1 }, { 0, 0, SOL_SOCKET, SO_OOBINLINE, 1 },
		{ 0, 0, SOL_SOCKET, SO_SNDBUF, 30000 }, { 0, 0, SOL_SOCKET, SO_RCVBUF, 40000 },
		{ 0, 0, SOL_SOCKET, SO_RCVLOWAT, 2 }, { 0, 0, SOL_SOCKET, SO_PRIORITY, 3 },
		{ 0, 0, SOL_SOCKET, SO_TIMESTAMP, 1 }, { 0, 0, SOL_SOCKET, SO_TIMESTAMPNS, 1 },
		{ 0, 0, SOL_SOCKET, SO_RXQ_OVFL, 1 },
		{ 0, 0, IPPROTO_IP, IP_TOS, 0x10 }, { 0, 0, IPPROTO_IP, IP_TTL, 5 },
		{ 0, 0, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO }, { 0, 0, IPPROTO_IP, IP_RECVERR, 1 },
		{ 0, 0, IPPROTO_IP, IP_FREEBIND, 1 }, { 0, 0, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1 },
		{ 0, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, 1 }, { 0, AF_INET6, IPPROTO_IPV6, IPV6_TCLASS, 8 },
		{ 0, AF_INET6, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 5 },
		{ 0, AF_INET6, IPPROTO_IPV6, IPV6_RECVERR, 1 },
		{ 0, AF_INET6, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IP_PMTUDISC_DO },
		{ SOCK_DGRAM, 0, IPPROTO_IP, IP_PKTINFO, 1 }, { SOCK_DGRAM, 0, IPPROTO_IP, IP_RECVTOS, 1 },
		{ SOCK_DGRAM, 0, IPPROTO_IP, IP_MULTICAST_TTL, 3 }, { SOCK_DGRAM, 0, IPPROTO_IP, IP_MULTICAST_LOOP, 0 },
		{ SOCK_DGRAM, 0, SOL_SOCKET, SO_PEEK_OFF, 0 }, { SOCK_DGRAM, 0, SOL_SOCKET, SO_NO_CHECK, 1 },
		{ SOCK_DGRAM, AF_INET6, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1 },
		{ SOCK_DGRAM, AF_INET6, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, 7 },
		{ SOCK_DGRAM, 0, IPPROTO_UDP, 103 /* UDP_SEGMENT */, 1000 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_NODELAY, 1 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_MAXSEG, 900 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_CORK, 1 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_KEEPIDLE, 11 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_KEEPINTVL, 12 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_KEEPCNT, 4 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_SYNCNT, 2 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_LINGER2, 9 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_DEFER_ACCEPT, 3 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_QUICKACK, 0 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 4000 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_FASTOPEN, 5 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1 },
		{ SOCK_STREAM, 0, IPPROTO_TCP, TCP_SAVE_SYN, 1 }, { SOCK_STREAM, 0, IPPROTO_TCP, TCP_INQ, 1 },
	};
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM };

	own_places_without_capabilities();
	for (int i = 0; i < 4; i++)
		for (size_t o = 0; o < sizeof(OPTIONS) / sizeof(*OPTIONS); o++) {
			const struct option *option = &OPTIONS[o];
			int domain = FAMILIES[i / 2], type = TYPES[i % 2], length, fd;
			char before[40], after[40];

			if ((option->type && option->type != type) || (option->domain && option->domain != domain))
				continue;
			fd = socket(domain, type, 0);
			CONTEXT("family %d, type %d, level %d option %d", domain, type, option->level, option->name);
			/* Not every kernel has each of each. */
			if (setsockopt(fd, option->level, option->name, &option->value, sizeof(int)) == 0) {
				length = value_of(fd, option, before);
				WORKS(bind_at(fd, domain == AF_INET ? "127.0.0.1" : "::1", 0));
				STR(device_of(fd), if_ruled("lo"));
				EQ(value_of(fd, option, after), length);
				/* The kernel's own, of a bound socket. */
				TRUE(memcmp(before, after, 40) == 0);
			} else {
				TRUE(errno == ENOPROTOOPT || errno == EOPNOTSUPP || errno == EINVAL);
			}
			close(fd);
		}
}

static void structured_options(void)
{
	const struct timeval three = { 3, 0 }, four = { 4, 0 };
	const struct linger linger = { 1, 17 };
	struct option option = { .level = SOL_SOCKET };
	char value[40];
	int fd;

	own_places_without_capabilities();
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	NEED(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &three, sizeof(three)) == 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &four, sizeof(four)) == 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0);
	NEED(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	option.name = SO_RCVTIMEO, value_of(fd, &option, value);
	TRUE(memcmp(value, &three, sizeof(three)) == 0);
	option.name = SO_SNDTIMEO, value_of(fd, &option, value);
	TRUE(memcmp(value, &four, sizeof(four)) == 0);
	option.name = SO_LINGER, value_of(fd, &option, value);
	TRUE(memcmp(value, &linger, sizeof(linger)) == 0);
	option = (struct option){ .level = IPPROTO_TCP, .name = TCP_CONGESTION };
	value_of(fd, &option, value);
	STR(value, "reno");
}

static void flags(void)
{
	struct f_owner_ex owner = { F_OWNER_PID, 0 }, had = { F_OWNER_PID, getpid() };
	int fd;

	own_places_without_capabilities();
	signal(SIGUSR1, SIG_IGN);
	for (int is_set = 0; is_set < 2; is_set++) {
		CONTEXT("set: %d", is_set);
		fd = socket_for("127.0.0.1", SOCK_STREAM | (is_set ? SOCK_CLOEXEC : 0));
		if (is_set) {
			NEED(fcntl(fd, F_SETSIG, SIGUSR1) == 0 && fcntl(fd, F_SETOWN_EX, &had) == 0);
			NEED(fcntl(fd, F_SETFL, O_NONBLOCK | O_ASYNC) == 0);
		}
		WORKS(bind_at(fd, "127.0.0.1", 0));
		STR(device_of(fd), if_ruled("lo"));
		EQ(fcntl(fd, F_GETFD), is_set ? FD_CLOEXEC : 0);
		EQ(fcntl(fd, F_GETFL) & (O_NONBLOCK | O_ASYNC), is_set ? O_NONBLOCK | O_ASYNC : 0);
		EQ(fcntl(fd, F_GETSIG), is_set ? SIGUSR1 : 0);
		WORKS(fcntl(fd, F_GETOWN_EX, &owner));
		EQ(owner.pid, is_set ? getpid() : 0);
	}
}

static int epoll_with(int fd, unsigned int events, unsigned long long data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };
	int epoll = epoll_create1(0);

	NEED(epoll >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	return epoll;
}

/* Registered before connect(), as nginx does. */
static void registrations(void)
{
	static const unsigned int KINDS[] = { 0, EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLEXCLUSIVE | EPOLLET };
	const unsigned long long data = 0x1234567890abcdefULL;
	int fd, epoll, epolls[3], listener;
	struct epoll_event event;

	own_places_without_capabilities();
	listener = listener_at("127.0.0.1");
	for (size_t i = 0; i < sizeof(KINDS) / sizeof(*KINDS); i++) {
		bool is_exclusive = KINDS[i] & EPOLLEXCLUSIVE;

		CONTEXT("events %#x", KINDS[i]);
		fd = socket_for("127.0.0.1", SOCK_STREAM | SOCK_NONBLOCK);
		epoll = epoll_with(fd, EPOLLOUT | KINDS[i], data + i);
		FAILS(connect_at(fd, "127.0.0.1", port_of(listener)), EINPROGRESS);
		STR(device_of(fd), if_ruled("lo"));
		EQ(epoll_wait(epoll, &event, 1, -1), 1);
		EQ((long)event.events, EPOLLOUT);
		TRUE(event.data.u64 == data + i);
		EQ(epoll_wait(epoll, &event, 1, 0), !(KINDS[i] & (EPOLLET | EPOLLONESHOT)));
		event = (struct epoll_event){ .events = EPOLLOUT, .data.u64 = 7 };
		if (is_exclusive) {
			FAILS(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event), EINVAL);
		} else {
			WORKS(epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event));
			EQ(epoll_wait(epoll, &event, 1, 0), 1);
			TRUE(event.data.u64 == 7);
		}
		WORKS(epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL));
		EQ(epoll_wait(epoll, &event, 1, 0), 0);
		close(fd), close(epoll);
	}
	CONTEXT("in several, beside others");
	for (int i = 0; i < 300; i++)
		NEED(epoll_with(socket_for("127.0.0.1", SOCK_DGRAM), EPOLLIN, 1) >= 0 && dup(listener) >= 0);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	for (int i = 0; i < 3; i++)
		epolls[i] = epoll_with(fd, EPOLLOUT, 40 + (unsigned int)i);
	WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), if_ruled("lo"));
	for (int i = 0; i < 3; i++) {
		EQ(epoll_wait(epolls[i], &event, 1, -1), 1);
		EQ((long)event.data.u64, 40 + i);
	}
}

static bool is_same_file(int a, int b)
{
	struct stat first, second;

	NEED(fstat(a, &first) == 0 && fstat(b, &second) == 0);
	return first.st_ino == second.st_ino && first.st_dev == second.st_dev;
}

static void duplicates(void)
{
	struct epoll_event event;
	int fd, second, far, epoll, other;

	own_places_without_capabilities();
	fd = socket_for("127.0.0.1", SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC);
	other = socket_for("127.0.0.1", SOCK_STREAM);
	second = dup(fd);
	far = fcntl(fd, F_DUPFD_CLOEXEC, 900);
	NEED(second >= 0 && far >= 900);
	epoll = epoll_with(second, EPOLLOUT, 22);
	FAILS(connect_at(fd, "127.0.0.1", port_of(listener_at("127.0.0.1"))), EINPROGRESS);
	TRUE(is_same_file(fd, second) && is_same_file(fd, far) && !is_same_file(fd, other));
	STR(device_of(second), if_ruled("lo"));
	STR(device_of(other), if_ruled("prod"));
	EQ(fcntl(fd, F_GETFD), FD_CLOEXEC);
	EQ(fcntl(second, F_GETFD), 0);
	EQ(fcntl(far, F_GETFD), FD_CLOEXEC);
	EQ(epoll_wait(epoll, &event, 1, -1), 1);
	EQ((long)event.data.u64, 22);
}

/* Copies that cannot be seen stay where they are. */
static void copies(void)
{
	int fd, kept, ends[2], go[2];
	char byte;
	pid_t pid;

	own_places_without_capabilities();
	NEED(pipe(go) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
	fd = socket_for("10.1.1.1", SOCK_DGRAM);
	send_fd(ends[0], fd);
	pid = fork();
	if (pid == 0) {
		close(go[1]);
		NEED(read(go[0], &byte, 1) == 0);
		STR(device_of(fd), if_ruled("prod"));
		_exit(!all_well());
	}
	WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), if_ruled("lo"));
	close(go[1]);
	EQ(wait_status(pid), 0);
	CONTEXT("in a message");
	kept = receive_fd(ends[1]);
	STR(device_of(kept), if_ruled("prod"));
	TRUE(is_same_file(fd, kept) == (world == BASELINE));
}

static void ports(void)
{
	int fd, port;

	own_places_without_capabilities();
	for (int i = 0; i < 4; i++) {
		int type = i % 2 ? SOCK_STREAM : SOCK_DGRAM;
		const char *wildcard = i < 2 ? "0.0.0.0" : "::", *peer = i < 2 ? "127.0.0.1" : "::1";

		CONTEXT("type %d, %s", type, wildcard);
		fd = socket_for(wildcard, type);
		WORKS(bind_at(fd, wildcard, 0));
		port = port_of(fd);
		WORKS(connect_at(fd, peer, type == SOCK_STREAM ? port_of(listener_at(peer)) : 7));
		STR(device_of(fd), if_ruled("lo"));
		EQ(port_of(fd), port);
	}
}

/* A program in a system call filter that has no kcmp(2), as Docker's. */
static void without_kcmp(void)
{
	struct epoll_event event;
	int fd, epoll;

	own_places_without_capabilities();
	forbid(SYS_kcmp, EPERM);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	epoll = epoll_with(fd, EPOLLOUT, 5);
	WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), if_ruled("lo"));
	EQ(epoll_wait(epoll, &event, 1, -1), 1);
	EQ((long)event.data.u64, 5);
}

static atomic_int target = -1, taken = -1;

/* Closes the descriptor at some time during connect(), and opens a file, which gets its number. */
static void *takes_the_number(void *unused)
{
	unsigned int delay = 1;

	while (!is_over) {
		int fd = target;

		if (fd < 0) {
			sched_yield();
			continue;
		}
		delay = delay * 1103515245 + 12345;
		for (atomic_uint spin = 0; spin < delay % 16384; spin++)
			;
		close(fd);
		taken = open("/dev/null", O_RDONLY | O_CLOEXEC);
		target = -1;
	}
	return unused;
}

/*
 * Linux cannot compare and replace in one step. How often it goes wrong if somebody tries is in the manual.
 */
static void races_with_close(void)
{
	enum { ROUNDS = 2000 };
	int overwritten = 0, lost = 0;
	pthread_t thread;
	struct stat file;

	own_places_without_capabilities();
	NEED(pthread_create(&thread, NULL, takes_the_number, NULL) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		int fd = socket_for("127.0.0.1", SOCK_DGRAM);

		target = fd;
		(void)connect_at(fd, "127.0.0.1", 7);
		while (target >= 0)
			sched_yield();
		NEED(fstat(taken, &file) == 0);
		if (!S_ISCHR(file.st_mode)) {
			overwritten++;
			STR(device_of(taken), "lo");
		}
		lost += taken != fd;
		close(taken);
		if (lost && taken != fd)
			close(fd);
	}
	is_over = true;
	NEED(pthread_join(thread, NULL) == 0);
	NOTE("%d of %d files were overwritten, %d had another number\n", overwritten, ROUNDS, lost);
	TRUE(overwritten == 0 || world == PRELOADED);
}

#define RULED .vrf = "prod", .also = RULES

static const struct scenario SCENARIOS[] = {
	{ "without capabilities bind() and connect() move a socket all the same", without_capabilities, RULED },
	{ "they do for an ordinary user", as_an_ordinary_user, RULED, .elsewhere = requires_root },
	{ "what is in its place, or has no device yet, stays the same file", needs_no_replacement, RULED },
	{ "refused on loopback, then in the VRF, 100 times on one descriptor", there_and_back, RULED },
	{ "another thread sees it on one of the two devices, never on none", never_without, RULED },
	{ "each option goes with it", options, RULED },
	{ "timeouts, SO_LINGER and TCP_CONGESTION do", structured_options, RULED },
	{ "the flags of the file and the descriptor do, and who gets its signals", flags, RULED },
	{ "registrations in epoll do: level, edge, one-shot, exclusive", registrations, RULED },
	{ "duplicates do, each with its own flags and registrations", duplicates, RULED },
	{ "copies in another process or in a message stay in the VRF", copies, RULED },
	{ "a port that it is bound to does", ports, RULED },
	{ "a descriptor that another thread closes meanwhile is not lost, but in a moment before dup3()", races_with_close, RULED },
	{ "a filter that refuses kcmp() changes nothing", without_kcmp, RULED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
