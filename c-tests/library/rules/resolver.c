/*
 * resolver.c - rules apply to the sockets that libc itself connects, or sends by: its resolver's
 *
 * A name server of our own, on a socket that the library does not see, answers for 127.0.0.53 on lo. When it
 * gets a query, it searches this process's descriptors for the socket whose peer it is: the resolver's, which
 * waits for the answer. The device of this socket is the verdict. musl's UDP socket has no peer: it is the one
 * that is not the server's.
 *
 * glibc's own `connect` is also called by its address, without any symbol of ours.
 */
#include "bypass.h"
#include "cancelled.h"
#include "library_info.h"
#include "places.h"
#include "raw_syscall.h"
#include "seccomp_filters.h"
#include "tmpfs_sandbox.h"
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <stddef.h>

/* -- The name server. */

static int udp_server, tcp_listener;
static bool answers_by_tcp;
static char udp_device[80], tcp_device[80];

#ifdef __GLIBC__
static bool has_peer(int type) { return type != 0; }
#else
static bool has_peer(int type) { return type == SOCK_STREAM; }
#endif

/* The device of the socket of this process, of this type, whose peer is our address. */
static void look(int server, int type, char *device)
{
	struct sockaddr_in ours, peer;
	socklen_t length = sizeof(ours), has_length = sizeof(int);
	int has_type;

	NEED(getsockname(server, (struct sockaddr *)&ours, &length) == 0);
	strcpy(device, "(there is none)");
	for (int fd = 0; fd < 64; fd++) {
		if (fd == server || getsockopt(fd, SOL_SOCKET, SO_TYPE, &has_type, &has_length) < 0 || has_type != type)
			continue;
		length = sizeof(peer);
		if (!has_peer(type))
			peer = ours;
		else if (getpeername(fd, (struct sockaddr *)&peer, &length) < 0)
			continue;
		if (peer.sin_port == ours.sin_port && peer.sin_addr.s_addr == ours.sin_addr.s_addr)
			strcpy(device, device_of(fd));
	}
}

/* Makes an answer of a query: 192.0.2.1, or only that it should be repeated by TCP. */
static size_t answer(unsigned char *message, size_t length, bool truncated)
{
	static const unsigned char RECORD[] = { 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1 };

	message[2] = (unsigned char)(0x84 | (truncated ? 2 : 0) | (message[2] & 1));
	message[3] = 0x80;
	/* One question; what may follow it (EDNS) is left out. */
	for (length = 12; message[length]; length += message[length] + 1u)
		;
	length += 5;
	memset(message + 6, 0, 6);
	if (truncated)
		return length;
	/* A, and no record for others. */
	if (message[length - 3] == 1) {
		message[7] = 1;
		memcpy(message + length, RECORD, sizeof(RECORD));
		length += sizeof(RECORD);
	}
	return length;
}

static void *serves_udp(void *unused)
{
	unsigned char message[1024];
	struct sockaddr_in from;

	for (;;) {
		socklen_t from_length = sizeof(from);
		ssize_t length = recvfrom(udp_server, message, sizeof(message) / 2, 0,
					  (struct sockaddr *)&from, &from_length);

		if (length < 17)
			return unused;
		look(udp_server, SOCK_DGRAM, udp_device);
		length = (ssize_t)answer(message, (size_t)length, answers_by_tcp);
		(void)sendto(udp_server, message, (size_t)length, 0, (struct sockaddr *)&from, from_length);
	}
}

static void *serves_tcp(void *unused)
{
	unsigned char message[1026];
	size_t length;
	int fd;

	for (;;) {
		fd = accept(tcp_listener, NULL, NULL);
		if (fd < 0)
			return unused;
		look(tcp_listener, SOCK_STREAM, tcp_device);
		while (recv(fd, message, 2, MSG_WAITALL) == 2) {
			length = (size_t)(message[0] << 8 | message[1]);
			NEED(length < 512 && recv(fd, message + 2, length, MSG_WAITALL) == (ssize_t)length);
			length = answer(message + 2, length, false);
			message[0] = (unsigned char)(length >> 8);
			message[1] = (unsigned char)length;
			NEED(send(fd, message, length + 2, 0) == (ssize_t)length + 2);
		}
		close(fd);
	}
}

/* A socket on a device, bound to port 53 of this address, created without the library. */
static int server_socket(int type, const char *device, const char *ip)
{
	struct place_address address = at(ip, 53);
	int fd = (int)raw_call(SYS_socket, AF_INET, type, 0, 0, 0, 0), on = 1;

	NEED(fd >= 0 && set_device(fd, device) == 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0);
	NEED(raw_call(SYS_bind, fd, (long)&address.storage, address.length, 0, 0, 0) == 0);
	return fd;
}

static void serve(const char *device, const char *ip)
{
	pthread_t thread;

	udp_server = server_socket(SOCK_DGRAM, device, ip);
	tcp_listener = server_socket(SOCK_STREAM, device, ip);
	NEED(raw_call(SYS_listen, tcp_listener, 8, 0, 0, 0, 0) == 0);
	NEED(pthread_create(&thread, NULL, serves_udp, NULL) == 0);
	NEED(pthread_create(&thread, NULL, serves_tcp, NULL) == 0);
}

/* -- Who asks it. */

static void set_name_server(const char *ip)
{
	own_mounts();
	mount_sandbox();
	command("cd " SANDBOX " && : >hosts && echo hosts: dns >nsswitch.conf && "
		"printf 'nameserver %%s\\noptions attempts:1\\n' %s >resolv.conf", ip);
	command("for file in hosts nsswitch.conf resolv.conf; do mount --bind " SANDBOX "/$file /etc/$file; done");
}

static void asks(const char *name)
{
	struct addrinfo *found = NULL, hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM };
	int error;

	error = getaddrinfo(name, "80", &hints, &found);
	if (EQ(error, 0) == 0) {
		EQ(((struct sockaddr_in *)found->ai_addr)->sin_addr.s_addr, htonl(0xc0000201));
		freeaddrinfo(found);
	}
}

static void resolves(void)
{
	own_places();
	set_name_server("127.0.0.53");
	serve("lo", "127.0.0.53");
	asks("one.example");
	STR(udp_device, if_ruled("lo"));
	STR(tcp_device, "");
}

static void resolves_by_tcp(void)
{
	own_places();
	set_name_server("127.0.0.53");
	serve("lo", "127.0.0.53");
	answers_by_tcp = true;
	asks("two.example");
	STR(udp_device, if_ruled("lo"));
	STR(tcp_device, if_ruled("lo"));
}

/*
 * By UDP the server is asked on lo; the rule for TCP has no device. musl's resolver would then call a connect() that no
 * rule reaches. glibc's connects its UDP socket too.
 */
static void refused_by_tcp(void)
{
	struct addrinfo *found = NULL;

	own_places();
	set_name_server("127.0.0.53");
	serve("lo", "127.0.0.53");
	answers_by_tcp = true;
	if (world == PRELOADED && !has_peer(SOCK_DGRAM))
		filter_out(SYS_connect, 0, WHATEVER, WHATEVER, SECCOMP_RET_KILL_PROCESS);
	EQ(getaddrinfo("three.example", "80", &(struct addrinfo){ .ai_family = AF_INET }, &found) == 0, world == BASELINE);
	STR(udp_device, if_ruled("lo"));
	STR(tcp_device, "");
}

/* Called without a symbol. */
static connect_function *libc_connect;

static void find_connect(void)
{
	libc_connect = (connect_function *)libc_own("connect");
}

static int libc_connect_at(int fd, const char *ip, int port)
{
	struct place_address address = at(ip, port);

	return libc_connect(fd, (struct sockaddr *)&address.storage, address.length);
}

static void connects(void)
{
	struct sockaddr nobody = { .sa_family = AF_UNSPEC };
	int fd, listener, served;

	own_places();
	find_connect();
	if (world == PRELOADED)
		EQ(info()->connect, PATCHED);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	WORKS(libc_connect_at(fd, "127.0.0.1", 53));
	STR(device_of(fd), if_ruled("lo"));
	if (world == PRELOADED)
		FAILS(libc_connect(fd, &nobody, sizeof(nobody)), EPERM);
	fd = socket_for("10.99.1.2", SOCK_DGRAM);
	WORKS(libc_connect_at(fd, "10.99.1.2", 53));
	STR(device_of(fd), if_ruled("mgmt"));
	fd = socket_for("10.1.1.2", SOCK_DGRAM);
	WORKS(libc_connect_at(fd, "10.1.1.2", 53));
	STR(device_of(fd), if_ruled("prod"));
	fd = socket_for("fd99::2", SOCK_DGRAM);
	WORKS(libc_connect_at(fd, "fd99::2", 53));
	STR(device_of(fd), if_ruled("mgmt"));

	listener = server_socket(SOCK_STREAM, "lo", "127.0.0.1");
	NEED(raw_call(SYS_listen, listener, 8, 0, 0, 0, 0) == 0);
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	WORKS(libc_connect_at(fd, "127.0.0.1", 53));
	STR(device_of(fd), if_ruled("lo"));
	served = accept(listener, NULL, NULL);
	EQ(write(served, "x", 1), 1);
	EQ(read(fd, (char[1]){ 0 }, 1), 1);
	fd = socket_for("127.0.0.1", SOCK_STREAM);
	FAILS(libc_connect_at(fd, "127.0.0.1", 54), ECONNREFUSED);
	FAILS(libc_connect_at(-1, "127.0.0.1", 54), EBADF);
	FAILS(libc_connect(fd, NULL, 16), EFAULT);
}

static void cancelled(void)
{
	find_connect();
	cancel_in(libc_connect);
}

/* -- libc's code is touched only where a rule can apply. */

static bool is_as_in_the_file(const char *name)
{
	const char *function = libc_own(name);
	Dl_info where;
	const ElfW(Phdr) *segment;
	const ElfW(Ehdr) *header;
	char original[32];
	ptrdiff_t offset;
	int fd;

	NEED(dladdr((void *)function, &where) != 0);
	header = where.dli_fbase;
	segment = (const ElfW(Phdr) *)((const char *)header + header->e_phoff);
	offset = function - (const char *)header;
	while (segment->p_type != PT_LOAD || (size_t)offset < segment->p_vaddr ||
	       (size_t)offset >= segment->p_vaddr + segment->p_memsz)
		segment++;
	fd = open(where.dli_fname, O_RDONLY | O_CLOEXEC);
	NEED(pread(fd, original, sizeof(original), (off_t)(offset - (ptrdiff_t)segment->p_vaddr) + (off_t)segment->p_offset) ==
	     sizeof(original));
	close(fd);
	return memcmp(original, function, sizeof(original)) == 0;
}

#ifdef __GLIBC__
static const char *const PREFIXED[] = { "connect", NULL };
static const char *never_by_tcp(void) { return NULL; }
#else
static const char *const PREFIXED[] = { "sendto", "sendmsg", NULL };

/* This libc, called as a program, says its version. */
static const char *never_by_tcp(void)
{
	char line[1000];
	int minor = 0, patch = 0;
	Dl_info libc;
	FILE *said;

	NEED(dladdr(libc_own("sendmsg"), &libc) != 0);
	snprintf(line, sizeof(line), "env -u LD_PRELOAD %s 2>&1", libc.dli_fname);
	said = popen(line, "r");
	NEED(said);
	while (fgets(line, sizeof(line), said))
		sscanf(line, "Version 1.%d.%d", &minor, &patch);
	pclose(said);
	NEED(minor > 0);
	return minor > 2 || patch >= 4 ? NULL : "the resolver of musl before 1.2.4 does not ask by TCP";
}
#endif

static void untouched(void)
{
	for (const char *const *name = PREFIXED; *name; name++)
		TRUE(is_as_in_the_file(*name));
	if (world == PRELOADED)
		EQ(info()->connect, NOT_TRIED);
}

static void touched(void)
{
	EQ(is_as_in_the_file(PREFIXED[0]), world == BASELINE);
	if (PREFIXED[1])
		EQ(is_as_in_the_file(PREFIXED[1]), world == BASELINE || never_by_tcp() != NULL);
}

/* What the program itself sends, and does not connect. */
static void sends(void)
{
	struct place_address address = at("127.0.0.53", 53);
	struct iovec byte = { "", 1 };
	struct mmsghdr messages = { .msg_hdr = {
		.msg_name = &address.storage, .msg_namelen = address.length, .msg_iov = &byte, .msg_iovlen = 1 } };
	int fd;

	own_places();
	serve("lo", "127.0.0.53");
	fd = socket_for("127.0.0.53", SOCK_DGRAM);
	(void)sendto(fd, "", 1, 0, (struct sockaddr *)&address.storage, address.length);
	(void)sendmsg(fd, &messages.msg_hdr, 0);
	(void)sendmmsg(fd, &messages, 1, 0);
	STR(device_of(fd), if_ruled("prod"));
	fd = socket_for("127.0.0.53", SOCK_STREAM);
	(void)sendmsg(fd, &messages.msg_hdr, MSG_FASTOPEN);
	STR(device_of(fd), if_ruled("prod"));
	FAILS(sendmsg(fd, NULL, MSG_FASTOPEN), EFAULT);
}

#ifdef __GLIBC__
static const char *connects_itself(void) { return NULL; }
#else
static const char *connects_itself(void) { return "musl's resolver does not call connect()"; }
#endif

#define RULED .vrf = "prod", \
	.also = "VRFBIND_RULES=connect 10.99.0.0/16 mgmt; connect [fd99::]/16 mgmt; loopback lo"

static const struct scenario SCENARIOS[] = {
	{ "getaddrinfo() asks a name server on loopback", resolves, RULED },
	{ "and by TCP, if it is told to", resolves_by_tcp, .elsewhere = never_by_tcp, RULED },
	{ "where TCP cannot go by its rule, it does not ask by TCP", refused_by_tcp, .elsewhere = never_by_tcp, .vrf = "prod",
	  .also = "VRFBIND_RULES=connect tcp 127.0.0.0/8 absent; loopback lo" },
	{ "libc's own connect() goes by the rules", connects, .elsewhere = connects_itself, RULED },
	{ "a thread that is cancelled in it unwinds its stack", cancelled, .elsewhere = connects_itself, RULED },
	{ "what the program sends without connect() stays in the VRF", sends, RULED },
	{ "where there are rules for connect(), libc's code is patched", touched, RULED },
	{ "without rules it is as in the file", untouched },
	{ "with rules for bind() alone too", untouched, .vrf = "prod",
	  .also = "VRFBIND_RULES=bind * mgmt" },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
