/*
 * reach_matrix.c - how far the library reaches: every way to a socket, and what becomes of it
 *
 * A table, ROWS: per way to come by a socket what is expected of it
 *
 *   LD_PRELOAD       under LD_PRELOAD and VRFBIND_VRF
 *   vrfbind exec     sealed, with a supervisor
 *   --no-supervise   under `vrfbind exec --no-supervise`: sealed, without one
 *   ip vrf exec      without the library, by the kernel; on the VRF tier
 *
 *   BOUND         it is in the VRF
 *   ESCAPES       it is there, and in no VRF
 *   FAILS errno   there is none
 *
 * Each cell is a test point that holds if the socket's device is just this: a way that escapes is
 * tested to escape. So is each way with nothing around it, or the row would show nothing. `make
 * reach` (tests/reach.sh) prints the table from these points. `reach_matrix list` prints what is
 * expected and runs nothing: that is what the man page's table is compared with.
 *
 * The command is VRFBIND_TEST_COMMAND. `vrfbind status` is asked of each socket while it is open, and has to say the
 * same as the socket itself.
 *
 * A cell starts this program once more, in the cell's surroundings, as the program that comes by the
 * socket. It, or what it starts, answers (child_report.h). What comes from outside is made between fork
 * and exec, where neither the library nor a VRF is.
 */
#include "pass_fd.h"
#include "ways_to_exec.h"
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include "seccomp_filters.h"
#include <arpa/inet.h>
#include "traced.h"
#include <dlfcn.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/io_uring.h>
#include <netdb.h>
#include <resolv.h>

enum { KNOWN = 50, KNOWN_TOO, FIRST_PASSED = 3 };	/* descriptors on both sides of an exec */

enum column { BARE, PRELOAD, SUPERVISED, SEALED, IP_VRF_EXEC, COLUMNS };

static const char *const AROUND[] = { "nothing around it", "LD_PRELOAD", "vrfbind exec", "--no-supervise",
				      "ip vrf exec" };

static const char BOUND[] = "BOUND", ESCAPES[] = "ESCAPES", FAILS_EPERM[] = "FAILS EPERM",
		  FAILS_ENOSYS[] = "FAILS ENOSYS";

struct row {
	const char *name;
	void (*comes_by)(void);			/* runs in the program */
	const char *expected[COLUMNS];
	void (*outside)(void);			/* before that, outside */
	const char *(*elsewhere)(void);		/* as in tap.h */
};

static const struct row *row;
static enum column column;

/* -- By a function. */

static int by_syscall(int domain, int type, int protocol)
{
	return (int)syscall(SYS_socket, domain, type, protocol);
}

static void with_socket(void) { report_sockets(socket); }
static void with_syscall(void) { report_sockets(by_syscall); }
static void with_instruction(void) { report_sockets(raw_socket); }

#ifdef __x86_64__
static int by_32_bit_gate(int domain, int type, int protocol)
{
	long result = 359;	/* socket of i386, since Linux 4.3 */

	__asm__ volatile("int $0x80" : "+a"(result) : "b"(domain), "c"(type), "d"(protocol)
			 : "r8", "r9", "r10", "r11", "memory");
	errno = result < 0 ? (int)-result : errno;
	return result < 0 ? -1 : (int)result;
}

static const char *requires_32_bit_gate(void)
{
	/* If the kernel has no such gate, the instruction faults. */
	pid_t pid = fork();

	if (pid == 0)
		_exit(by_32_bit_gate(AF_INET, SOCK_DGRAM, 0) >= 0 ? 0 : 1);
	return wait_status(pid) == 0 ? NULL : "this kernel takes no 32-bit system calls";
}
#else
static int by_32_bit_gate(int domain, int type, int protocol)
{
	(void)domain;
	(void)type;
	(void)protocol;
	return -1;
}

static const char *requires_32_bit_gate(void)
{
	return "a 64-bit process of this machine makes no 32-bit system calls";
}
#endif

static void with_32_bit_gate(void) { report_sockets(by_32_bit_gate); }

/*
 * As code does that takes the function from libc itself: Python's CDLL("libc.so.6"), a plug-in with
 * RTLD_DEEPBIND.
 */
static int by_syscall_of_libc(int domain, int type, int protocol)
{
	return (int)((long (*)(long, ...))libc_own("syscall"))(SYS_socket, domain, type, protocol);
}

static void with_syscall_of_libc(void) { report_sockets(by_syscall_of_libc); }

static void accepted(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

	NEED(listen(listener, 1) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	/* Not every VRF has a 127.0.0.1, but the tier's has this (tests/topology.sh). */
	if (column != BARE && tier_is("vrf"))
		address.sin_addr.s_addr = htonl(0x0a0a0101);	/* 10.10.1.1 */
	else
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(connect(client, (struct sockaddr *)&address, length) == 0);
	report_socket(accept(listener, NULL, NULL));
}

static const char *requires_loop(void)
{
	return tier_is("netns") ? "a packet of a host to itself does not pass a veth" : NULL;
}

/* The kernel forgets the device of a datagram socket (facts/bindtodevice.c). */

static const struct sockaddr NO_PEER = { .sa_family = AF_UNSPEC };

static void disconnects(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(connect(fd, &NO_PEER, sizeof(NO_PEER)) == 0);
	report_socket(fd);
}

static void disconnects_past_us(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(syscall(SYS_connect, fd, &NO_PEER, sizeof(NO_PEER)) == 0);
	report_socket(fd);
}

/* A device of another network; all tiers but lo have one. */
static const char *elsewhere_device(void)
{
	const char *uplink = getenv("T_UPLINK");

	return uplink ? uplink : getenv("VRFBIND_TEST_OTHER");
}

static const char *requires_other_device(void)
{
	return elsewhere_device() ? NULL : "there is one device here";
}

/* A link-local address of that device, which the kernel takes the socket to, whatever bind() returns (LIMITATIONS). */
static struct sockaddr_in6 elsewhere_address(void)
{
	struct sockaddr_in6 address = { .sin6_family = AF_INET6 };

	NEED(inet_pton(AF_INET6, "fe80::1", &address.sin6_addr) == 1);
	address.sin6_scope_id = if_nametoindex(elsewhere_device());
	NEED(address.sin6_scope_id != 0);
	return address;
}

/* A socket on this device is in no VRF. */
static void report_unless_elsewhere(int fd)
{
	if (strcmp(device_of(fd), elsewhere_device()) == 0)
		NEED(dprintf(REPORT_FD, "none\n") > 0);
	else
		report_socket(fd);
}

static void binds_elsewhere(void)
{
	struct sockaddr_in6 address = elsewhere_address();
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	(void)bind(fd, (struct sockaddr *)&address, sizeof(address));
	report_unless_elsewhere(fd);
}

static void binds_elsewhere_past_us(void)
{
	struct sockaddr_in6 address = elsewhere_address();
	int fd = socket(AF_INET6, SOCK_DGRAM, 0);

	(void)syscall(SYS_bind, fd, &address, sizeof(address));
	report_unless_elsewhere(fd);
}

/* The socket has its device, but a datagram leaves by the device that is named with it. */
static void sends_elsewhere(void)
{
	static const char MARK[] = "a datagram of reach_matrix";
	char control[CMSG_SPACE(sizeof(struct in_pktinfo))] = { 0 }, frame[2000];
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_BROADCAST) };
	struct iovec data = { (void *)MARK, sizeof(MARK) };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof(to), .msg_iov = &data,
				  .msg_iovlen = 1, .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	struct in_pktinfo info = { .ipi_ifindex = (int)if_nametoindex(elsewhere_device()) };
	struct sockaddr_ll wire = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL),
				    .sll_ifindex = info.ipi_ifindex };
	int watcher = socket(AF_PACKET, SOCK_DGRAM, htons(ETH_P_ALL)), yes = 1;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd ready = { .fd = watcher, .events = POLLIN };
	ssize_t length;

	NEED(info.ipi_ifindex > 0);
	NEED(bind(watcher, (struct sockaddr *)&wire, sizeof(wire)) == 0);
	NEED(column == BARE || strcmp(device_of(fd), setting("VRFBIND_TEST_DEVICE")) == 0);
	NEED(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &yes, sizeof(yes)) == 0);
	header->cmsg_level = IPPROTO_IP;
	header->cmsg_type = IP_PKTINFO;
	header->cmsg_len = CMSG_LEN(sizeof(info));
	memcpy(CMSG_DATA(header), &info, sizeof(info));
	NEED(sendmsg(fd, &message, 0) == sizeof(MARK));
	/* Other frames may pass; if ours does not, the socket's device is the answer. */
	while (poll(&ready, 1, HUNG * 1000 / 2) == 1) {
		length = recv(watcher, frame, sizeof(frame), 0);
		if (length > 0 && memmem(frame, (size_t)length, MARK, sizeof(MARK))) {
			NEED(dprintf(REPORT_FD, "none\n") > 0);
			return;
		}
	}
	report_socket(fd);
}

/* Who may. */
static void unbound_by_program(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0) == 0);
	report_socket(fd);
}

static void unbound_past_us(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	NEED(syscall(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, "", 0) == 0);
	report_socket(fd);
}

/* -- By the resolver: the socket is there for a moment, and is looked at as it is about to be used. */

static bool is_ip(int fd)
{
	int domain = -1;
	socklen_t length = sizeof(domain);

	return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
	       (domain == AF_INET || domain == AF_INET6);
}

static bool sends(unsigned long number)
{
	return number == SYS_connect || number == SYS_sendto || number == SYS_sendmsg ||
	       number == SYS_sendmmsg;
}

/* Has `ask` run in a child until it sends, or asks in vain for a socket, and answers for it. */
static void report_for(void (*ask)(void))
{
	struct __ptrace_syscall_info info;
	unsigned long number = 0;
	bool heard = false;
	pid_t pid = fork();
	int status, pidfd, fd;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0)
			ask();
		_exit(0);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, NULL,
		    (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) == 0);
	while (!heard) {
		NEED(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status))
			return;
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		info = where_it_stands(pid);
		if (info.op == CALLS) {
			number = info.entry.nr;
			if (!sends(number))
				continue;
			fd = (int)syscall(SYS_pidfd_getfd, pidfd, (int)info.entry.args[0], 0);
			heard = is_ip(fd);
			if (heard)
				report_socket(fd);
		} else if (number == SYS_socket && info.exit.rval == -EPERM) {
			heard = true;
			errno = EPERM;
			report_socket(-1);
		}
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
}

#define SOMEBODY "somebody.vrfbind.test"

static void ask_getaddrinfo(void)
{
	struct addrinfo *found;

	(void)getaddrinfo(SOMEBODY, "53", NULL, &found);
}

static void ask_gethostbyname(void)
{
	(void)gethostbyname(SOMEBODY);
}

static void ask_res_query(void)
{
	unsigned char reply[512];

	(void)res_query(SOMEBODY, 1, 1, reply, sizeof(reply));	/* IN, A */
}

static void with_getaddrinfo(void) { report_for(ask_getaddrinfo); }
static void with_gethostbyname(void) { report_for(ask_gethostbyname); }
static void with_res_query(void) { report_for(ask_res_query); }

/* -- By other code in the process. */

static void needed_library(void)
{
	execl(beside("linked_with_dso"), "linked_with_dso", (char *)NULL);
}

static void plugin(void)
{
	NEED(dlopen(beside("dso_sockets.so"), RTLD_NOW) != NULL);
}

#ifdef __GLIBC__
static const char *requires_glibc(void) { return NULL; }

static void plugin_deep(void)
{
	NEED(dlopen(beside("dso_sockets.so"), RTLD_NOW | RTLD_DEEPBIND) != NULL);
}

static void plugin_apart(void)
{
	NEED(dlmopen(LM_ID_NEWLM, beside("dso_sockets.so"), RTLD_NOW) != NULL);
}
#else
static const char *requires_glibc(void) { return "musl has neither RTLD_DEEPBIND nor dlmopen()"; }
static void plugin_deep(void) { }
static void plugin_apart(void) { }
#endif

static void *in_thread(void *unused)
{
	with_socket();
	return unused;
}

static void with_thread(void)
{
	pthread_t thread;

	NEED(pthread_create(&thread, NULL, in_thread, NULL) == 0);
	pthread_join(thread, NULL);
}

static void with_fork(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		with_socket();
		_exit(0);
	}
	ended_well(pid);
}

static void with_vfork(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		with_socket();
		_exit(0);
	}
	ended_well(pid);
}

static int in_clone(void *unused)
{
	(void)unused;
	with_socket();
	_exit(0);
}

static void with_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	ended_well(clone(in_clone, stack + sizeof(stack), CLONE_VM | SIGCHLD, NULL));
}

/* -- By io_uring (io_uring_setup(2)): IORING_OP_SOCKET, since Linux 5.19. */

struct uring {
	struct io_uring_params of;
	int fd;
};

static int uring(struct uring *ring)
{
	memset(ring, 0, sizeof(*ring));
	ring->fd = (int)syscall(SYS_io_uring_setup, 4, &ring->of);
	return ring->fd;
}

static int socket_of(const struct uring *ring, int domain, int type, int protocol)
{
	enum { OP_SOCKET = 45 };
	const struct io_sqring_offsets *sq = &ring->of.sq_off;
	const struct io_cqring_offsets *cq = &ring->of.cq_off;
	unsigned char *submit = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
				     IORING_OFF_SQ_RING);
	unsigned char *complete = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
				       IORING_OFF_CQ_RING);
	struct io_uring_sqe *entry = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ring->fd,
					  IORING_OFF_SQES);
	unsigned int tail, head;
	int result;

	NEED(submit != MAP_FAILED && complete != MAP_FAILED && entry != MAP_FAILED);
	tail = *(unsigned int *)(submit + sq->tail);
	head = *(unsigned int *)(complete + cq->head);
	memset(entry, 0, sizeof(*entry));
	entry->opcode = OP_SOCKET;
	entry->fd = domain;
	entry->off = (unsigned int)type;
	entry->len = (unsigned int)protocol;
	((unsigned int *)(submit + sq->array))[tail % ring->of.sq_entries] = 0;
	__atomic_store_n((unsigned int *)(submit + sq->tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
		return -1;
	NEED(__atomic_load_n((unsigned int *)(complete + cq->tail), __ATOMIC_ACQUIRE) != head);
	result = ((struct io_uring_cqe *)(complete + cq->cqes))[head % ring->of.cq_entries].res;
	__atomic_store_n((unsigned int *)(complete + cq->head), head + 1, __ATOMIC_RELEASE);
	if (result < 0)
		errno = -result;
	return result < 0 ? -1 : result;
}

static struct uring the_uring;

static int by_the_uring(int domain, int type, int protocol)
{
	return the_uring.fd < 0 ? -1 : socket_of(&the_uring, domain, type, protocol);
}

static void with_io_uring(void)
{
	uring(&the_uring);
	report_sockets(by_the_uring);
}

static void uring_outside(void)
{
	int memory = memfd_create("what the ring is like", 0);

	NEED(uring(&the_uring) >= 0 && dup2(the_uring.fd, KNOWN) == KNOWN);
	the_uring.fd = KNOWN;
	NEED(pwrite(memory, &the_uring, sizeof(the_uring), 0) == sizeof(the_uring));
	NEED(dup2(memory, KNOWN_TOO) == KNOWN_TOO);
}

static void with_io_uring_of_others(void)
{
	NEED(pread(KNOWN_TOO, &the_uring, sizeof(the_uring), 0) == sizeof(the_uring));
	report_sockets(by_the_uring);
}

static const char *requires_io_uring(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(uring(&the_uring) >= 0 && by_the_uring(AF_INET, SOCK_DGRAM, 0) >= 0 ? 0 : 1);
	return wait_status(pid) == 0 ? NULL : "io_uring makes no sockets here (Linux 5.19)";
}

/* -- By other programs. */

static void static_program(void)
{
	execl(beside("reporting_child-static"), "reporting_child-static", (char *)NULL);
}

/* ld.so loads the library into it, and its sockets are made by the instruction. */
static void go_program(void)
{
	execl(beside("reporting_child-go"), "reporting_child-go", (char *)NULL);
}

static const char *takes_go(void)
{
	return access(beside("reporting_child-go"), X_OK) == 0 ? NULL : "there is no Go here";
}

static void by_execve_instruction(void)
{
	syscall(SYS_execve, child_path, child_argv, NOTHING);
}

/* Privileged programs, in a mount namespace of the process, where every user can reach the library too. */
static void stage_outside(void)
{
	const char *child = beside("reporting_child"), *const names[] = { "LD_PRELOAD", "VRFBIND_LIBRARY" };
	bool is_named[2];

	for (int i = 0; i < 2; i++) {
		is_named[i] = getenv(names[i]) != NULL;
		unsetenv(names[i]);
	}
	own_mounts();
	mount_sandbox();
	command("cp '%s-static' " SANDBOX "/closed && chmod 0711 " SANDBOX "/closed", child);
	command("cp '%s' " SANDBOX "/set-user-id && cp '%s' " SANDBOX "/capable", child, child);
	command("cp '%s' " SANDBOX "/libvrfbind.so", setting("VRFBIND_TEST_LIB"));
	NEED(chmod(SANDBOX "/set-user-id", 04755) == 0);
	give_capability(SANDBOX "/capable");
	for (int i = 0; i < 2; i++)
		if (is_named[i])
			setenv(names[i], SANDBOX "/libvrfbind.so", 1);
}

/* A seal that root installs does not set no_new_privs. */
static void nobody_runs(const char *program)
{
	NEED(become_nobody());
	execl(program, program, (char *)NULL);
}

static void without_new_privileges(const char *program)
{
	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	nobody_runs(program);
}

static void set_user_id(void) { nobody_runs(SANDBOX "/set-user-id"); }
static void set_user_id_in_vain(void) { without_new_privileges(SANDBOX "/set-user-id"); }
static void file_capability(void) { nobody_runs(SANDBOX "/capable"); }
static void file_capability_in_vain(void) { without_new_privileges(SANDBOX "/capable"); }

static void unreadable(void) { nobody_runs(SANDBOX "/closed"); }

static void other_ids(void)
{
	NEED(seteuid(NOBODY) == 0);
	execl(child_path, child_path, (char *)NULL);
}

static void static_scrubs(void)
{
	execl(beside("reporting_child-static"), "reporting_child-static", "scrubs", (char *)NULL);
}

static void static_nobody(void)
{
	execl(beside("reporting_child-static"), "reporting_child-static", "nobody", (char *)NULL);
}

static void without_setsockopt(void)
{
	filter_out(SYS_setsockopt, 2, ~0U, SO_BINDTODEVICE, fails_with(EPERM));
	with_socket();
}

static const char *requires_filters(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		filter_out(SYS_setsockopt, 2, ~0U, SO_BINDTODEVICE, fails_with(EPERM));
		_exit(all_well() ? 0 : 1);
	}
	return wait_status(pid) == 0 ? NULL : "there are no system call filters here";
}

static void root_outside(void)
{
	NEED(strncmp(setting("VRFBIND_TEST_LIB"), "/usr/", 5) != 0);
	own_mounts();
	mount_sandbox();
	command("cp '%s' " SANDBOX "/child", beside("reporting_child"));
	populate_root();
}

static void below_another_root(void)
{
	NEED(chroot(SANDBOX) == 0 && chdir("/") == 0);
	execl("/child", "child", (char *)NULL);
}

/* -- From outside. */

static struct sockaddr_in loopback(int port)
{
	return (struct sockaddr_in) { .sin_family = AF_INET, .sin_port = (in_port_t)port,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static void datagram_outside(void)
{
	NEED(dup2(socket(AF_INET, SOCK_DGRAM, 0), KNOWN) == KNOWN);
}

static void stream_outside(void)
{
	NEED(dup2(socket(AF_INET6, SOCK_STREAM, 0), KNOWN) == KNOWN);
}

static void inherited_bound(void)
{
	struct sockaddr_in any = { .sin_family = AF_INET };

	NEED(bind(KNOWN, (struct sockaddr *)&any, sizeof(any)) == 0);
	report_socket(KNOWN);
}

static void inherited_connected(void)
{
	struct sockaddr_in to = loopback(htons(9));

	/* In a VRF without that address there is no route; the device is what counts. */
	(void)connect(KNOWN, (struct sockaddr *)&to, sizeof(to));
	report_socket(KNOWN);
}

static void inherited_listening(void)
{
	NEED(listen(KNOWN, 1) == 0);
	report_socket(KNOWN);
}

/* A connection to ourselves. */
static void connection_outside(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);

	NEED(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 8) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	NEED(connect(client, (struct sockaddr *)&address, length) == 0);
	NEED(dup2(client, KNOWN) == KNOWN && dup2(listener, KNOWN_TOO) == KNOWN_TOO);
}

static void inherited_writes(void)
{
	NEED(write(KNOWN, "", 1) == 1);
	report_socket(KNOWN);
}

static void inherited_sends(void)
{
	struct sockaddr_in to = loopback(htons(9));

	NEED(sendto(KNOWN, "", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1);
	report_socket(KNOWN);
}

static void message_outside(void)
{
	int channel[2];

	NEED(socketpair(AF_UNIX, SOCK_DGRAM, 0, channel) == 0);
	send_fd(channel[0], socket(AF_INET, SOCK_DGRAM, 0));
	NEED(dup2(channel[1], KNOWN_TOO) == KNOWN_TOO);
}

static void take_passed(void)
{
	NEED(dup2(receive_fd(KNOWN_TOO), KNOWN) == KNOWN);
}

static void passed_bound(void) { take_passed(); inherited_bound(); }
static void passed_sends(void) { take_passed(); inherited_sends(); }

/* As systemd does for a .socket unit: sd_listen_fds(3). A client is waiting. */
static void activation_outside(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
	char pid[12];

	NEED(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 8) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&address, &length) == 0);
	NEED(connect(client, (struct sockaddr *)&address, length) == 0);
	NEED(dup2(client, KNOWN) == KNOWN);
	NEED(dup2(listener, KNOWN_TOO) == KNOWN_TOO && dup2(KNOWN_TOO, FIRST_PASSED) == FIRST_PASSED);
	snprintf(pid, sizeof(pid), "%d", getpid());
	setenv("LISTEN_PID", pid, 1);
	setenv("LISTEN_FDS", "1", 1);
}

static void activated(void)
{
	NEED(getenv("LISTEN_PID") && atoi(getenv("LISTEN_PID")) == getpid());
	NEED(getenv("LISTEN_FDS") && atoi(getenv("LISTEN_FDS")) == 1);
}

static void activated_as_it_is(void)
{
	activated();
	report_socket(FIRST_PASSED);
}

static void activated_accepts(void)
{
	activated();
	report_socket(accept(FIRST_PASSED, NULL, NULL));
}

/* -- The table. */

#define WAY_ROW(name_, title, elsewhere_) \
	{ title, start_##name_, { ESCAPES, BOUND, BOUND, BOUND, BOUND }, NULL, elsewhere_ },

static const struct row ROWS[] = {
	/* nothing, LD_PRELOAD, vrfbind exec, --no-supervise, ip vrf exec */
	{ "socket()", with_socket,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "accept() of a listener of its own", accepted,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND }, NULL, requires_loop },
	{ "syscall(SYS_socket)", with_syscall,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "syscall(SYS_socket) by libc's own handle", with_syscall_of_libc,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND } },
	{ "getaddrinfo()", with_getaddrinfo,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "gethostbyname()", with_gethostbyname,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "res_query()", with_res_query,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "the constructor of a needed library", needed_library,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "a plug-in, dlopen()", plugin,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "a plug-in, dlopen(RTLD_DEEPBIND)", plugin_deep,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND }, NULL, requires_glibc },
	{ "a plug-in, dlmopen(LM_ID_NEWLM)", plugin_apart,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, NULL, requires_glibc },
	{ "socket(), where a filter of the program's own refuses setsockopt()", without_setsockopt,
	  { ESCAPES, FAILS_EPERM, BOUND, FAILS_EPERM, BOUND }, NULL, requires_filters },
	{ "a thread", with_thread,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "a child of fork()", with_fork,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "a child of vfork()", with_vfork,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	{ "a child of clone(CLONE_VM)", with_clone,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND } },
	EVERY_WAY(WAY_ROW)
	{ "syscall(SYS_execve) with an empty list", by_execve_instruction,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND } },
	{ "a system call instruction", with_instruction,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND } },
	{ "a 32-bit system call", with_32_bit_gate,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, NULL, requires_32_bit_gate },
	{ "io_uring", with_io_uring,
	  { ESCAPES, ESCAPES, FAILS_ENOSYS, FAILS_ENOSYS, BOUND }, NULL, requires_io_uring },
	{ "io_uring, the ring made outside", with_io_uring_of_others,
	  { ESCAPES, ESCAPES, FAILS_ENOSYS, FAILS_ENOSYS, BOUND }, uring_outside, requires_io_uring },
	{ "a static program", static_program,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND } },
	{ "a Go program that is linked dynamically", go_program,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, NULL, takes_go },
	{ "a set-user-ID program", set_user_id,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, stage_outside, requires_root },
	{ "a set-user-ID program under no_new_privs", set_user_id_in_vain,
	  { ESCAPES, BOUND, BOUND, BOUND, BOUND }, stage_outside, requires_root },
	{ "a program with file capabilities", file_capability,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, stage_outside, requires_root },
	{ "a program with file capabilities under no_new_privs", file_capability_in_vain,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, stage_outside, requires_root },
	{ "a program that is started with other real than effective IDs", other_ids,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, NULL, requires_root },
	{ "a static program that may not be read", unreadable,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, stage_outside, requires_root },
	{ "a static program that has scrubbed its environment, and starts another", static_scrubs,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND } },
	{ "a static program that has given up its user", static_nobody,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, NULL, requires_root },
	{ "a program below another root, without the library", below_another_root,
	  { ESCAPES, ESCAPES, BOUND, FAILS_EPERM, BOUND }, root_outside, requires_root },
	{ "inherited, then bind()", inherited_bound,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, datagram_outside },
	{ "inherited, then connect()", inherited_connected,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, datagram_outside },
	{ "inherited, then listen()", inherited_listening,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, stream_outside },
	{ "inherited, only sends", inherited_sends,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, datagram_outside },
	{ "inherited, connected already", inherited_writes,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, connection_outside },
	{ "SCM_RIGHTS, then bind()", passed_bound,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, message_outside },
	{ "SCM_RIGHTS, only sends", passed_sends,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, message_outside },
	{ "LISTEN_FDS, a listener", activated_as_it_is,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, activation_outside },
	{ "LISTEN_FDS, accept() of a client that came before", activated_accepts,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, activation_outside },
	{ "socket(), then connect() to AF_UNSPEC", disconnects,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES } },
	{ "socket(), then syscall(SYS_connect) to AF_UNSPEC", disconnects_past_us,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES } },
	{ "socket(), then bind() to a link-local address of another device", binds_elsewhere,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, NULL, requires_other_device },
	{ "socket(), then syscall(SYS_bind) to one", binds_elsewhere_past_us,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, NULL, requires_other_device },
	{ "socket(), then sendmsg() with IP_PKTINFO of another device", sends_elsewhere,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, NULL, requires_other_device },
	{ "socket(), then setsockopt(SO_BINDTODEVICE) to none (CAP_NET_RAW)", unbound_by_program,
	  { ESCAPES, BOUND, BOUND, BOUND, ESCAPES }, NULL, requires_root },
	{ "socket(), then syscall(SYS_setsockopt) to none (CAP_NET_RAW)", unbound_past_us,
	  { ESCAPES, ESCAPES, ESCAPES, ESCAPES, ESCAPES }, NULL, requires_root },
};

enum { HEIGHT = sizeof(ROWS) / sizeof(*ROWS) };

/* The parts of the table in the manual, by their first rows. */
static const struct {
	const char *first, *heading;
} PARTS[] = {
	{ "socket()", "The program creates the socket" },
	{ "execve() with an empty list", "A program that it starts, without the variables" },
	{ "a system call instruction", "A system call without libc" },
	{ "a static program", "Static, Go and privileged programs, and another root" },
	{ "inherited, then bind()", "The socket was created outside" },
	{ "socket(), then connect() to AF_UNSPEC", "The program changes a bound socket" },
};

/* -- A cell. */

static bool is_under_exec(void)
{
	return column == SUPERVISED || column == SEALED;
}

/* Runs between fork and exec. */
static void start_program(void)
{
	const char *device = setting("VRFBIND_TEST_DEVICE"), *self = beside("reach_matrix");
	char *exec[12] = { 0 }, **word = exec;

	setenv("VRFBIND_VRF", device, 1);
	if (column == PRELOAD)
		setenv("LD_PRELOAD", setting("VRFBIND_TEST_LIB"), 1);
	if (is_under_exec()) {
		setenv("VRFBIND_LIBRARY", setting("VRFBIND_TEST_LIB"), 1);
		*word++ = (char *)setting("VRFBIND_TEST_COMMAND");
		*word++ = "exec";
		if (!tier_is("vrf"))
			*word++ = "--any-device";
		*word++ = column == SEALED ? "--no-supervise" : "--supervise";
	} else if (column == IP_VRF_EXEC) {
		*word++ = "ip";
		*word++ = "vrf";
		*word++ = "exec";
	}
	if (row->outside)
		row->outside();
	if (word > exec) {
		*word++ = (char *)device;
		*word++ = (char *)self;
		for (char **argument = phase_arguments("the program") + 1; *argument; argument++)
			*word++ = *argument;
		execvp(exec[0], exec);
	} else {
		exec_phase(NULL, "the program");
	}
	_exit(127);
}

/* -- The report of `vrfbind status` about a socket. */

/* The value of a member behind `from`, without its quotes: "null" is none. */
static const char *member(const char *from, const char *name, char *value)
{
	char key[20];

	snprintf(key, sizeof(key), "\"%s\": ", name);
	from = strstr(from, key);
	NEED(from != NULL && sscanf(from + strlen(key), "%*[\"]%39[^\"]", value) == 1);
	return value;
}

static void look_by_status(int pid, int fd, const char *device)
{
	static char line[PATH_MAX + 100], json[1 << 17];
	bool is_bound = strcmp(device, setting("VRFBIND_TEST_DEVICE")) == 0;
	char key[20], value[40];
	const char *socket;
	FILE *status;

	snprintf(line, sizeof(line), "'%s' status --json --vrf '%s' %d", getenv("VRFBIND_TEST_COMMAND"),
		 setting("VRFBIND_TEST_DEVICE"), pid);
	status = popen(line, "r");
	NEED(status != NULL);
	json[fread(json, 1, sizeof(json) - 1, status)] = '\0';
	pclose(status);
	snprintf(key, sizeof(key), "\"fd\": %d,", fd);
	socket = strstr(json, key);
	CONTEXT("vrfbind status of a socket on %s, descriptor %d", device, fd);
	STR(socket ? "it is shown" : json, "it is shown");
	if (!socket)
		return;
	STR(member(socket, "verdict", value), is_bound ? "ok" : strcmp(device, "none") == 0 ? "unbound" : "no-vrf");
	if (strcmp(device, "none") != 0)
		STR(member(socket, "device", value), device);
	else
		NEED(strncmp(strstr(socket, "\"device\": "), "\"device\": null", 14) == 0);
}

/* An answer in the words of the table. */
static void judge(char *said, char *verdict, size_t room)
{
	char first[40], *line = said;
	size_t length = strcspn(said, "\n");

	snprintf(first, sizeof(first), "%.*s\n", (int)length, said);
	/* All answers of a cell are the same, or there is no word for them. */
	while (strncmp(line, first, strlen(first)) == 0)
		line += strlen(first);
	first[length < sizeof(first) ? length : 0] = '\0';
	if (!*said)
		snprintf(verdict, room, "no answer");
	else if (*line)
		snprintf(verdict, room, "different answers: %s", said);
	else if (strcmp(first, "none") == 0)
		snprintf(verdict, room, "%s", ESCAPES);
	else if (strcmp(first, setting("VRFBIND_TEST_DEVICE")) == 0)
		snprintf(verdict, room, "%s", BOUND);
	else if (strncmp(first, "errno ", 6) == 0)
		snprintf(verdict, room, "FAILS %s", atoi(first + 6) == EPERM ? "EPERM" :
			 atoi(first + 6) == ENOSYS ? "ENOSYS" : strerror(atoi(first + 6)));
	else
		snprintf(verdict, room, "on %s", first);
}

static void cell(void)
{
	char said[400], verdict[500];

	if (phase) {
		NEED(is_loaded(getenv("LD_PRELOAD") ? getenv("LD_PRELOAD") : "(nothing)") ==
		     (column == PRELOAD || is_under_exec()));
		child_path = beside("reporting_child");
		row->comes_by();
		return;
	}
	look = getenv("VRFBIND_TEST_COMMAND") ? look_by_status : NULL;
	collect_reports(start_program, said, sizeof(said));
	judge(said, verdict, sizeof(verdict));
	STR(verdict, row->expected[column]);
}

/* The table: a line `= HEADING` before each part, and of the ways that this libc has a line for each column. */
static void list(void)
{
	const char *(*const not_in_musl[])(void) = { requires_glibc, requires_execveat, requires_shell };
	bool has;

	for (row = ROWS; row < ROWS + HEIGHT; row++) {
		for (size_t i = 0; i < sizeof(PARTS) / sizeof(*PARTS); i++)
			if (strcmp(row->name, PARTS[i].first) == 0)
				printf("= %s\n", PARTS[i].heading);
		has = true;
		for (int i = 0; i < 3; i++)
			has &= row->elsewhere != not_in_musl[i] || !not_in_musl[i]();
		for (column = PRELOAD; has && column < COLUMNS; column++)
			printf("%s; %s: %s\n", row->name, AROUND[column], row->expected[column]);
	}
}

static const char *requires_vrf(void)
{
	return "ip vrf exec takes a VRF";
}

static const char *requires_command(void)
{
	return "there is no vrfbind here";
}

int main(int argc, char **argv)
{
	static struct scenario cells[HEIGHT * COLUMNS + 1];
	static char sentences[HEIGHT * COLUMNS][160];
	int at;

	if (argc == 2 && strcmp(argv[1], "list") == 0) {
		list();
		return 0;
	}
	for (at = 0; at < HEIGHT * COLUMNS; at++) {
		row = &ROWS[at / COLUMNS];
		column = (enum column)(at % COLUMNS);
		snprintf(sentences[at], sizeof(sentences[at]), "%s; %s: %s", row->name,
			 AROUND[column], row->expected[column]);
		cells[at].sentence = sentences[at];
		cells[at].run = cell;
		cells[at].vrf = UNSET;
		cells[at].worlds = FACT;
		cells[at].elsewhere = row->elsewhere;
		if (!argv[1] && column == IP_VRF_EXEC && !tier_is("vrf"))
			cells[at].elsewhere = requires_vrf;
		if (!argv[1] && is_under_exec() && !getenv("VRFBIND_TEST_COMMAND"))
			cells[at].elsewhere = requires_command;
	}
	at = argv[1] ? atoi(argv[1]) : 0;
	row = &ROWS[at / COLUMNS];
	column = (enum column)(at % COLUMNS);
	return tap(argv, cells);
}
