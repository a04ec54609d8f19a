/*
 * moves.c - a socket is on the device of its address's rule, by VRFBIND_RULES
 *
 * The VRF is prod; rules name mgmt and lo (support/places.h). The verdict is the socket's device, before and after the
 * call; for a moment in between, the device that a second thread sees.
 */
#include "places.h"
#include "raw_syscall.h"
#include "seccomp_filters.h"
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/un.h>

#define RULES \
	"VRFBIND_RULES=bind tcp *:5380 mgmt; bind 10.99.0.0/16 mgmt; bind udp *:5353-5354 lo\n" \
	"connect 10.99.0.0/16 mgmt # and nothing else\n" \
	"connect [fd99::]/16 mgmt; bind tcp *:22 default; connect 10.22.0.0/16 default; loopback lo"

struct use {
	const char *ip;
	int type, port;
	const char *device;
};

static void bind_moves(void)
{
	static const struct use USES[] = {
		{ "0.0.0.0", SOCK_STREAM, 5380, "mgmt" },
		{ "::", SOCK_STREAM, 5380, "mgmt" },
		{ "0.0.0.0", SOCK_STREAM, 5381, "prod" },
		{ "0.0.0.0", SOCK_DGRAM, 5380, "prod" },
		{ "::", SOCK_DGRAM, 5353, "lo" },
		{ "0.0.0.0", SOCK_DGRAM, 5354, "lo" },
		{ "0.0.0.0", SOCK_DGRAM, 5355, "prod" },
		{ "127.0.0.53", SOCK_DGRAM, 53, "lo" },
		{ "127.0.0.1", SOCK_STREAM, 0, "lo" },
		{ "::1", SOCK_STREAM, 0, "lo" },
		{ "::ffff:127.0.0.1", SOCK_DGRAM, 0, "lo" },
		{ "10.99.1.1", SOCK_STREAM, 0, "mgmt" },
		{ "::ffff:10.99.1.1", SOCK_STREAM, 1, "mgmt" },
		{ "10.1.1.1", SOCK_DGRAM, 0, "prod" },
		{ "fd01::1", SOCK_DGRAM, 0, "prod" },
		{ "0.0.0.0", SOCK_STREAM, 22, "" },
		{ "0.0.0.0", SOCK_DGRAM, 22, "prod" },
	};
	int fd, served, client, port;

	own_places();
	for (size_t i = 0; i < sizeof(USES) / sizeof(*USES); i++) {
		const struct use *use = &USES[i];

		CONTEXT("type %d, %s port %d", use->type, use->ip, use->port);
		fd = socket_for(use->ip, use->type);
		STR(device_of(fd), if_ruled("prod"));
		WORKS(bind_at(fd, use->ip, use->port));
		STR(device_of(fd), if_ruled(use->device));
		if (use->type == SOCK_STREAM) {
			WORKS(listen(fd, 1));
			STR(device_of(fd), if_ruled(use->device));
		}
		close(fd);
	}
	CONTEXT("accepted on lo");
	fd = listener_at("127.0.0.1");
	port = port_of(fd);
	client = socket_for("127.0.0.1", SOCK_STREAM);
	WORKS(connect_at(client, "127.0.0.1", port));
	served = accept(fd, NULL, NULL);
	NEED(served >= 0);
	STR(device_of(served), if_ruled("lo"));
	STR(device_of(client), if_ruled("lo"));
	EQ(write(client, "x", 1), 1);
	EQ(read(served, (char[1]){ 0 }, 1), 1);
}

static void connect_moves(void)
{
	static const struct use USES[] = {
		{ "10.99.1.2", SOCK_DGRAM, 53, "mgmt" },
		{ "::ffff:10.99.1.2", SOCK_DGRAM, 53, "mgmt" },
		{ "fd99::2", SOCK_DGRAM, 53, "mgmt" },
		{ "10.1.1.2", SOCK_DGRAM, 53, "prod" },
		{ "fd01::2", SOCK_DGRAM, 53, "prod" },
		{ "127.0.0.53", SOCK_DGRAM, 53, "lo" },
		{ "::1", SOCK_DGRAM, 53, "lo" },
		{ "10.22.1.2", SOCK_DGRAM, 53, "" },
		{ "10.99.1.2", SOCK_STREAM, 53, "mgmt" },
		{ "fd99::2", SOCK_STREAM, 53, "mgmt" },
		{ "10.1.1.2", SOCK_STREAM, 53, "prod" },
		{ "10.22.1.2", SOCK_STREAM, 53, "" },
	};

	own_places();
	for (size_t i = 0; i < sizeof(USES) / sizeof(*USES); i++)
		for (int is_bound = 0; is_bound < 2; is_bound++) {
			const struct use *use = &USES[i];
			int fd = socket_for(use->ip, use->type | SOCK_NONBLOCK);

			CONTEXT("type %d, %s port %d%s", use->type, use->ip, use->port,
				is_bound ? ", bound to the wildcard" : "");
			if (is_bound)
				WORKS(bind_at(fd, strchr(use->ip, ':') ? "::" : "0.0.0.0", 0));
			STR(device_of(fd), if_ruled("prod"));
			if (use->type == SOCK_DGRAM)
				WORKS(connect_at(fd, use->ip, use->port));
			else
				FAILS(connect_at(fd, use->ip, use->port), EINPROGRESS);
			STR(device_of(fd), if_ruled(use->device));
			close(fd);
		}
}

static void other_types(void)
{
	int fd;

	own_places();
	CONTEXT("raw");
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	NEED(fd >= 0);
	WORKS(connect_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	close(fd);
	fd = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	WORKS(bind_at(fd, "10.99.1.1", 0));
	STR(device_of(fd), if_ruled("mgmt"));
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	CONTEXT("ping");
	command("sysctl -q net.ipv4.ping_group_range='0 0'");
	fd = socket(AF_INET, SOCK_DGRAM, IPPROTO_ICMP);
	NEED(fd >= 0);
	WORKS(connect_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
	if (!has_mptcp())
		return;
	CONTEXT("MPTCP");
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP);
	NEED(fd >= 0);
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("lo"));
}

/* One descriptor, whose connections are refused at once: here because nobody listens, there because it is multicast. */
static void there_and_back(void)
{
	int port, fd;

	own_places();
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	for (int i = 0; i < 100; i++) {
		CONTEXT("time %d", i);
		FAILS(connect_at(fd, "127.0.0.1", 1), ECONNREFUSED);
		STR(device_of(fd), if_ruled("prod"));
		FAILS(connect_at(fd, "224.0.0.9", 1), ENETUNREACH);
		STR(device_of(fd), if_ruled("prod"));
	}
	port = port_of(listener_at("127.0.0.1"));
	WORKS(connect_at(fd, "127.0.0.1", port));
	STR(device_of(fd), if_ruled("lo"));
}

static int watched;
static atomic_bool is_over;
static atomic_ulong strange, on_lo;

static void *watches(void *unused)
{
	while (!is_over) {
		const char *device = device_of(watched);

		if (strcmp(device, "lo") == 0)
			on_lo++;
		else if (strcmp(device, "prod") != 0)
			strange++;
	}
	return unused;
}

static void never_without(void)
{
	pthread_t thread;

	own_places();
	watched = socket_for("127.0.0.1", SOCK_STREAM);
	NEED(pthread_create(&thread, NULL, watches, NULL) == 0);
	for (int i = 0; i < 20000; i++) {
		FAILS(connect_at(watched, "127.0.0.1", 1), ECONNREFUSED);
		FAILS(connect_at(watched, "224.0.0.9", 1), ENETUNREACH);
	}
	/* Until the other thread has seen what it should. */
	while ((world == PRELOADED ? on_lo : strange) == 0)
		(void)connect_at(watched, "127.0.0.1", 1);
	is_over = true;
	NEED(pthread_join(thread, NULL) == 0);
	if (world == PRELOADED)
		EQ((long)strange, 0);
	else
		TRUE(strange > 0);
}

static void one_port_twice(void)
{
	int lo, vrf, client;
	char text[2] = "";

	own_places();
	CONTEXT("UDP");
	lo = socket_for("127.0.0.1", SOCK_DGRAM);
	vrf = socket_for("0.0.0.0", SOCK_DGRAM);
	WORKS(bind_at(lo, "127.0.0.1", 5300));
	if (world == BASELINE) {
		FAILS(bind_at(vrf, "0.0.0.0", 5300), EADDRINUSE);
		return;
	}
	WORKS(bind_at(vrf, "0.0.0.0", 5300));
	STR(device_of(lo), "lo");
	STR(device_of(vrf), "prod");
	client = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(connect_at(client, "127.0.0.1", 5300));
	EQ(send(client, "l", 1, 0), 1);
	EQ(recv(lo, text, 1, 0), 1);
	STR(text, "l");
}

static void without_device(void)
{
	int fd;

	own_places();
	for (int connects = 0; connects < 2; connects++) {
		CONTEXT("unseen, %s", connects ? "connected" : "bound");
		fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
		STR(device_of(fd), "");
		WORKS((connects ? connect_at : bind_at)(fd, "127.0.0.1", 7));
		STR(device_of(fd), if_ruled("lo"));
		close(fd);
	}
	CONTEXT("on another device");
	add_devices("other", "other-peer");
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, "other") == 0);
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), "other");
}

/* As systemd-resolved does for 127.0.0.53. */
static void asks_for_lo(void)
{
	int fd;

	own_places();
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
	STR(device_of(fd), "lo");
	WORKS(bind_at(fd, "127.0.0.53", 53));
	STR(device_of(fd), "lo");
	if (world == PRELOADED) {
		fd = socket_for("127.0.0.1", SOCK_DGRAM);
		FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "home", 4), ENODEV);
		STR(device_of(fd), "prod");
		/* A rule for some of its addresses is none for all that can be sent by it. */
		FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "mgmt", 4), ENODEV);
		STR(device_of(fd), "prod");
	}
}

static void asks_for_lo_without_rule(void)
{
	int fd;

	own_places();
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	if (world == PRELOADED) {
		FAILS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2), ENODEV);
		STR(device_of(fd), "prod");
	} else {
		WORKS(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2));
	}
}

/* Listened on without an address, and inherited with one. */
static void listeners(void)
{
	struct place_address address = at("0.0.0.0", 5380);
	int fd;

	own_places();
	CONTEXT("no address");
	fd = socket_for("0.0.0.0", SOCK_STREAM);
	WORKS(listen(fd, 1));
	STR(device_of(fd), if_ruled("prod"));
	CONTEXT("no device");
	fd = raw_socket(AF_INET, SOCK_STREAM, 0);
	NEED(syscall(SYS_bind, fd, &address.storage, address.length) == 0);
	NEED(syscall(SYS_listen, fd, 1) == 0);
	WORKS(listen(fd, 1));
	STR(device_of(fd), if_ruled("mgmt"));
}

/* The local table comes first, as booted, or behind the VRFs: then the VRF's 127.0.0.1 is reached too. */
static void automatic(void)
{
	int fd, listener;

	for (int order = 0; order < 4; order++) {
		bool has = order & 1, last = order & 2;

		own_places();
		if (has)
			command("ip addr add 127.0.0.1/8 dev prod");
		if (last)
			command("for v in 4 6; do ip -$v rule add pref 32765 table local && ip -$v rule del pref 0; done");
		CONTEXT("the VRF has 127.0.0.1: %d, the local table comes last: %d", has, last);
		fd = socket_for("127.0.0.1", SOCK_DGRAM);
		WORKS(connect_at(fd, "127.0.0.1", 53));
		STR(device_of(fd), if_ruled(has ? "prod" : "lo"));
		fd = socket_for("127.0.0.1", SOCK_DGRAM);
		WORKS(bind_at(fd, "127.0.0.53", 53));
		STR(device_of(fd), if_ruled("lo"));
		close(fd);
		fd = socket_for("::1", SOCK_DGRAM);
		WORKS(connect_at(fd, "::1", 53));
		STR(device_of(fd), if_ruled("lo"));
		if (has && !last)
			continue;
		listener = listener_at("127.0.0.1");
		STR(device_of(listener), if_ruled(has ? "prod" : "lo"));
		fd = socket_for("127.0.0.1", SOCK_STREAM);
		WORKS(connect_at(fd, "127.0.0.1", port_of(listener)));
	}
}

static const char *takes_vrfs(void)
{
	return tier_is("vrf") ? NULL : "only a VRF has addresses of its own";
}

static void scopes(void)
{
	struct place_address address;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&address.storage;
	int fd;

	own_places();
	command("ip addr add fe80::7/64 dev mgmt nodad && ip addr add fe80::8/64 dev prod nodad");
	address = at("fe80::7", 7);
	v6->sin6_scope_id = if_nametoindex("mgmt");
	fd = socket_for("::", SOCK_DGRAM);
	WORKS(bind(fd, (struct sockaddr *)v6, sizeof(*v6)));
	STR(device_of(fd), "mgmt");
	CONTEXT("of a device that no rule names");
	address = at("fe80::8", 7);
	v6->sin6_scope_id = if_nametoindex("prod");
	fd = socket_for("::", SOCK_DGRAM);
	if (world == PRELOADED)
		FAILS(bind(fd, (struct sockaddr *)v6, sizeof(*v6)), EADDRNOTAVAIL);
	else
		WORKS(bind(fd, (struct sockaddr *)v6, sizeof(*v6)));
	STR(device_of(fd), "prod");
}

static void renamed(void)
{
	int fd;

	own_places();
	command("ip link set lo down && ip link set lo name loop && ip link set loop up");
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(bind_at(fd, "127.0.0.1", 0));
	STR(device_of(fd), if_ruled("loop"));
	WORKS(connect_at(fd, "127.0.0.2", 7));
	STR(device_of(fd), if_ruled("loop"));
}

static void others(void)
{
	struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket" };
	long page = sysconf(_SC_PAGESIZE);
	char *end = mmap(NULL, 2 * (size_t)page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct place_address address = at("127.0.0.1", 0);
	struct sockaddr *last = (struct sockaddr *)(end + page - address.length);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	own_places();
	FAILS(connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)), ENOENT);
	FAILS(bind_at(fd, "127.0.0.1", 1), EINVAL);
	FAILS(listen(fd, 1), EINVAL);
	STR(device_of(fd), "");
	FAILS(bind_at(-1, "127.0.0.1", 1), EBADF);
	FAILS(connect_at(99, "127.0.0.1", 1), EBADF);
	FAILS(listen(-1, 1), EBADF);
	FAILS(bind_at(open("/dev/null", O_RDONLY), "127.0.0.1", 1), ENOTSOCK);
	NEED(end != MAP_FAILED && mprotect(end + page, (size_t)page, PROT_NONE) == 0);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	FAILS(bind(fd, (struct sockaddr *)(end + page), address.length), EFAULT);
	FAILS(connect(fd, (struct sockaddr *)(end + page - 4), address.length), EFAULT);
	FAILS(connect(fd, NULL, address.length), EFAULT);
	FAILS(bind(fd, (struct sockaddr *)&address.storage, 4), EINVAL);
	STR(device_of(fd), if_ruled("prod"));
	FAILS(bind(socket_for("::1", SOCK_DGRAM), (struct sockaddr *)(end + page - 4), sizeof(struct sockaddr_in6)), EFAULT);
	/* At the very end of what can be read. */
	memcpy(last, &address.storage, address.length);
	WORKS(bind(fd, last, address.length));
	STR(device_of(fd), if_ruled("lo"));
}

/* -- SCTP. */

enum { BINDX_ADD = 100, CONNECTX = 110 };	/* linux/sctp.h */

static const char *has_no_sctp(void)
{
	int fd = (int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_SCTP, 0, 0, 0);

	if (fd < 0)
		return "this kernel has no SCTP";
	close(fd);
	return NULL;
}

static int sctp_socket(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, IPPROTO_SCTP);

	NEED(fd >= 0);
	return fd;
}

static void sctp(void)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int listener, fd, served;
	char byte;

	own_places();
	listener = sctp_socket();
	WORKS(bind_at(listener, "127.0.0.1", 7));
	STR(device_of(listener), if_ruled("lo"));
	WORKS(listen(listener, 1));
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
	WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), if_ruled("lo"));
	served = accept(listener, NULL, NULL);
	STR(device_of(served), if_ruled("lo"));
	EQ(write(served, "x", 1), 1);
	EQ(read(fd, &byte, 1), 1);
	fd = sctp_socket();
	FAILS(connect_at(fd, "10.99.1.2", 7), EINPROGRESS);
	STR(device_of(fd), if_ruled("mgmt"));
	CONTEXT("an address of no rule");
	fd = sctp_socket();
	FAILS(connect_at(fd, "10.1.1.2", 7), EINPROGRESS);
	STR(device_of(fd), if_ruled("prod"));
	CONTEXT("one that was refused");
	fd = socket(AF_INET, SOCK_STREAM, IPPROTO_SCTP);
	FAILS(connect_at(fd, "127.0.0.1", 8), ECONNREFUSED);
	STR(device_of(fd), if_ruled("prod"));
	if (world == PRELOADED)
		FAILS(connect_at(fd, "127.0.0.1", 7), EPERM);
	(void)connect(fd, &nobody, sizeof(nobody));
	STR(device_of(fd), if_ruled("prod"));
	CONTEXT("another protocol");
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), if_ruled("prod"));
}

static void sctp_without_cap_net_raw(void)
{
	int fd;

	own_places();
	give_up_capabilities();
	fd = sctp_socket();
	if (world == PRELOADED) {
		FAILS(bind_at(fd, "127.0.0.1", 7777), EPERM);
		FAILS(connect_at(fd, "10.99.1.2", 7), EPERM);
	}
	FAILS(connect_at(fd, "10.1.1.2", 7), EINPROGRESS);
	STR(device_of(fd), if_ruled("prod"));
}

/* They name addresses by setsockopt(2), and sendto(2) connects. */
static void sctp_otherwise(void)
{
	struct place_address address = at("127.0.0.1", 7);
	int fd;

	own_places();
	fd = sctp_socket();
	(void)setsockopt(fd, IPPROTO_SCTP, BINDX_ADD, &address.storage, address.length);
	STR(device_of(fd), if_ruled("prod"));
	fd = sctp_socket();
	(void)setsockopt(fd, IPPROTO_SCTP, CONNECTX, &address.storage, address.length);
	STR(device_of(fd), if_ruled("prod"));
	fd = socket(AF_INET, SOCK_SEQPACKET, IPPROTO_SCTP);
	NEED(fd >= 0);
	(void)sendto(fd, "x", 1, MSG_DONTWAIT, (struct sockaddr *)&address.storage, address.length);
	STR(device_of(fd), if_ruled("prod"));
}

#define SCTP_RULED .vrf = "prod", .elsewhere = has_no_sctp, \
	.also = "VRFBIND_RULES=bind sctp 127.0.0.0/8 lo; connect sctp 127.0.0.0/8 lo; connect sctp 10.99.0.0/16 mgmt"

/* By which the library asks whether an address can be read. */
static void probe_refused(void)
{
	/* Static: what is on the stack is not asked for. */
	static struct place_address inside, outside;
	int fd;

	own_places();
	inside = at("127.0.0.1", 0);
	outside = at("10.99.1.2", 53);
	filter_out(SYS_rt_sigprocmask, 0, ~0U, ~0U, fails_with(EPERM));
	FAILS(raw_call(SYS_rt_sigprocmask, -1, (long)&inside, 0, 8, 0, 0), EPERM);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(bind(fd, (struct sockaddr *)&inside.storage, inside.length));
	STR(device_of(fd), if_ruled("lo"));
	fd = socket_for("10.99.1.2", SOCK_DGRAM);
	WORKS(connect(fd, (struct sockaddr *)&outside.storage, outside.length));
	STR(device_of(fd), if_ruled("mgmt"));
}

/* Then no pointer but one to the first page is known to be bad. */
static void probe_refused_for_null(void)
{
	forbid(SYS_rt_sigprocmask, EPERM);
	for (size_t bad = 0; bad <= 4095; bad += 4095) {
		struct sockaddr *address = (struct sockaddr *)bad;

		CONTEXT("%zu", bad);
		FAILS(bind(socket_for("::1", SOCK_DGRAM), address, sizeof(struct sockaddr_in6)), EFAULT);
		FAILS(connect(socket_for("::1", SOCK_DGRAM), address, sizeof(struct sockaddr_in6)), EFAULT);
	}
}

#define RULED .vrf = "prod", .also = RULES

static const struct scenario SCENARIOS[] = {
	{ "bind() puts a socket on the device of its address's rule", bind_moves, RULED },
	{ "connect() does, whether or not it is bound to the wildcard", connect_moves, RULED },
	{ "raw, ping and MPTCP sockets are moved too", other_types, RULED },
	{ "refused on loopback, then in the VRF, 100 times on one descriptor", there_and_back, RULED },
	{ "another thread sees it on one of the two devices, never on none", never_without, RULED },
	{ "one UDP port on loopback and in the VRF", one_port_twice, RULED },
	{ "one that has no device gets its rule's, one on a device of its own stays", without_device, .vrf = "prod",
	  .also = "VRFBIND_RULES=loopback lo" },
	{ "setsockopt() may ask for lo, where a rule puts sockets there, and for no other device outside", asks_for_lo, RULED },
	{ "and for lo neither, where none does", asks_for_lo_without_rule, .vrf = "prod",
	  .also = "VRFBIND_RULES=bind * mgmt" },
	{ "listen() goes by the socket's own address", listeners, .vrf = "prod",
	  .also = "VRFBIND_RULES=bind tcp *:5380 mgmt" },
	{ "loopback auto: the VRF's where the VRF has the address, whatever comes first", automatic, .vrf = "prod",
	  .also = "VRFBIND_RULES=loopback auto", .elsewhere = takes_vrfs },
	{ "the scope of an address is judged by its rule's device", scopes, .vrf = "prod",
	  .also = "VRFBIND_RULES=bind [fe80::]/10 mgmt" },
	{ "lo is the loopback device, whatever it is called", renamed, RULED },
	{ "other families, other files and bad addresses are the kernel's", others, RULED },
	{ "SCTP sockets go by a rule for sctp, and others do not", sctp, SCTP_RULED },
	{ "without CAP_NET_RAW SCTP sockets stay in the VRF, and the call fails", sctp_without_cap_net_raw, SCTP_RULED },
	{ "those of which bindx, connectx or sendto() names an address stay in the VRF", sctp_otherwise, SCTP_RULED },
	{ "an address is looked at although a filter refuses rt_sigprocmask", probe_refused, RULED },
	{ "and one in the first page is the kernel's to refuse", probe_refused_for_null, .also = RULES },
	{ "without rules too", probe_refused_for_null },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
