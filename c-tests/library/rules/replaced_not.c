/*
 * replaced_not.c - state that a fresh socket cannot have is refused and not lost, if a socket would have to be replaced
 *
 * Without CAP_NET_RAW and with state that cannot be carried over, a socket stays where it was, as it was: the call fails
 * with EPERM, and the first time a line on stderr reports the reason. What can be replaced is in replaced.c. The VRF is
 * prod; rules name mgmt and lo (support/places.h).
 */
#include "places.h"
#include "seccomp_filters.h"
#include "stderr_capture.h"
#include "tmpfs_sandbox.h"
#include <linux/bpf.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/resource.h>

#define RULES \
	"VRFBIND_RULES=bind udp *:5353 lo; bind tcp *:5380 mgmt; connect 10.99.0.0/16 mgmt; loopback lo"

static void set(int fd, int level, int option, int value)
{
	NEED(setsockopt(fd, level, option, &value, sizeof(value)) == 0);
}

/* Each is a socket, as root makes it. */
static int with_membership(void)
{
	struct ip_mreqn group = { .imr_ifindex = (int)if_nametoindex("prod") };
	int fd = socket_for("10.1.1.1", SOCK_DGRAM);

	NEED(inet_pton(AF_INET, "224.0.0.99", &group.imr_multiaddr) == 1);
	NEED(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof(group)) == 0);
	return fd;
}

static int with_ipv6_membership(void)
{
	struct ipv6_mreq group = { .ipv6mr_interface = if_nametoindex("prod") };
	int fd = socket_for("fd01::1", SOCK_DGRAM);

	NEED(inet_pton(AF_INET6, "ff02::99", &group.ipv6mr_multiaddr) == 1);
	NEED(setsockopt(fd, IPPROTO_IPV6, IPV6_JOIN_GROUP, &group, sizeof(group)) == 0);
	return fd;
}

static int with_filter(void)
{
	struct sock_filter accept = BPF_STMT(BPF_RET | BPF_K, 0xffff);
	struct sock_fprog program = { 1, &accept };
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	NEED(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof(program)) == 0);
	return fd;
}

static int with_ebpf_filter(void)
{
	/* r0 = 1; exit */
	struct bpf_insn accept[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 }, { .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attributes = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insn_cnt = 2,
				      .insns = (unsigned long)accept, .license = (unsigned long)"GPL" };
	int fd = socket_for("10.1.1.1", SOCK_STREAM), program;

	program = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
	if (program < 0)
		return -1;
	set(fd, SOL_SOCKET, SO_ATTACH_BPF, program);
	return fd;
}

static int with_md5_key(void)
{
	struct tcp_md5sig key = { .tcpm_keylen = 3, .tcpm_key = "key" };
	struct place_address peer = at("127.0.0.1", 0);
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	memcpy(&key.tcpm_addr, &peer.storage, peer.length);
	return setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &key, sizeof(key)) == 0 ? fd : -1;
}

static int with_privileged_option(void)
{
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	set(fd, SOL_SOCKET, SO_PRIORITY, 7);
	return fd;
}

static int with_mark(void)
{
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	set(fd, SOL_SOCKET, SO_MARK, 7);
	return fd;
}

static int with_forced_buffer(void)
{
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	set(fd, SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20);
	return fd;
}

static int with_interface_for_multicast(void)
{
	int fd = socket_for("fd01::1", SOCK_DGRAM);

	set(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, (int)if_nametoindex("prod"));
	return fd;
}

static int with_privileged_port(void)
{
	int fd = socket_for("0.0.0.0", SOCK_STREAM);

	WORKS(bind_at(fd, "0.0.0.0", 700));
	return fd;
}

static int with_port_of_another(void)
{
	int fd = socket_for("0.0.0.0", SOCK_DGRAM);

	WORKS(bind_at(fd, "0.0.0.0", 7700));
	/* Without the library they would be in one place. */
	if (world == PRELOADED)
		WORKS(bind_at(socket_for("127.0.0.1", SOCK_DGRAM), "127.0.0.1", 7700));
	return fd;
}

static int of_mptcp(void)
{
	return has_mptcp() ? socket(AF_INET, SOCK_STREAM, IPPROTO_MPTCP) : -1;
}

static int of_raw(void)
{
	return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
}

static int disarmed(void)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLONESHOT };
	int fd = socket_for("10.1.1.1", SOCK_STREAM), epoll = epoll_create1(0);

	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0 && epoll_wait(epoll, &event, 1, -1) == 1);
	return fd;
}

static int in_five_epolls(void)
{
	int fd = socket_for("10.1.1.1", SOCK_STREAM);

	for (int i = 0; i < 5; i++) {
		struct epoll_event event = { .events = EPOLLIN };

		NEED(epoll_ctl(epoll_create1(0), EPOLL_CTL_ADD, fd, &event) == 0);
	}
	return fd;
}

/* Of the duplicate, which is found when the first descriptor has been replaced. */
/* A duplicate of the socket, if there is one. */
static int between = -1;

static int with_disarmed_duplicate(void)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLONESHOT };
	int fd = socket_for("10.1.1.1", SOCK_STREAM), epoll = epoll_create1(0);

	/* The one in between is replaced before the other is found to be disarmed. */
	between = dup(fd);
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, dup(fd), &event) == 0 && epoll_wait(epoll, &event, 1, -1) == 1);
	return fd;
}

static const struct {
	const char *what;
	int (*made)(void);
	const char *said;
} REFUSED[] = {
	{ "a membership", with_membership, "memberships, filters or keys" },
	{ "a membership of IPv6", with_ipv6_membership, "memberships, filters or keys" },
	{ "a filter", with_filter, "memberships, filters or keys" },
	{ "an eBPF filter", with_ebpf_filter, "memberships, filters or keys" },
	{ "a key for TCP MD5", with_md5_key, "memberships, filters or keys" },
	{ "SO_PRIORITY 7", with_privileged_option, "an option cannot" },
	{ "SO_MARK", with_mark, "an option cannot" },
	{ "SO_RCVBUFFORCE", with_forced_buffer, "an option cannot" },
	{ "IPV6_MULTICAST_IF", with_interface_for_multicast, "an option cannot" },
	{ "a privileged port", with_privileged_port, "its port is" },
	{ "a port that another one has there", with_port_of_another, "its port is" },
	{ "MPTCP", of_mptcp, "unsupported protocol" },
	{ "a raw socket", of_raw, "none can be" },
	{ "a disarmed one-shot registration", disarmed, "epoll registration" },
	{ "a duplicate's disarmed registration", with_disarmed_duplicate, "epoll registration" },
	{ "five registrations", in_five_epolls, "epoll registration" },
};

/* In a process of its own, which writes its first line. */
static void one_by_one(void)
{
	const char *text;
	struct stat before, after;
	int fd, domain;
	socklen_t length = sizeof(domain);
	pid_t pid;

	own_places();
	/* Of a namespace of its own it is not always there. */
	command("echo 212992 >/proc/sys/net/core/rmem_max || :");
	for (size_t i = 0; i < sizeof(REFUSED) / sizeof(*REFUSED); i++) {
		pid = fork();
		if (pid == 0) {
			CONTEXT("%s", REFUSED[i].what);
			fd = REFUSED[i].made();
			if (fd < 0) {
				NOTE("this kernel has no socket for: %s\n", REFUSED[i].what);
				_exit(0);
			}
			NEED(fstat(fd, &before) == 0);
			NEED(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0);
			capture_stderr(0);
			give_up_capabilities();
			if (world == PRELOADED)
				FAILS(connect_at(fd, domain == AF_INET ? "127.0.0.1" : "::1", 7), EPERM);
			STR(device_of(fd), if_ruled("prod"));
			NEED(fstat(fd, &after) == 0);
			EQ((long)after.st_ino, (long)before.st_ino);
			if (between >= 0) {
				NEED(fstat(between, &after) == 0);
				EQ((long)after.st_ino, (long)before.st_ino);
			}
			text = captured_stderr();
			CONTEXT("%s: %.120s", REFUSED[i].what, text);
			EQ(lines_in(text), world == PRELOADED);
			TRUE(world == BASELINE || (strstr(text, REFUSED[i].said) && strstr(text, " CAP_NET_RAW")));
			_exit(!all_well());
		}
		EQ(wait_status(pid), 0);
	}
}

/* On lo, since there is somebody to send something. Back it would have to go to the VRF. */
static void queued(void)
{
	struct pollfd arrived;
	char text[2] = "";
	int fd, sender;

	own_places();
	give_up_capabilities();
	for (int is_error = 0; is_error < 2; is_error++) {
		CONTEXT(is_error ? "an error" : "data");
		fd = socket_for("0.0.0.0", SOCK_DGRAM);
		WORKS(bind_at(fd, "0.0.0.0", 5353));
		STR(device_of(fd), if_ruled("lo"));
		if (is_error) {
			struct place_address nobody = at("127.0.0.1", 1);

			set(fd, IPPROTO_IP, IP_RECVERR, 1);
			EQ(sendto(fd, "x", 1, 0, (struct sockaddr *)&nobody.storage, nobody.length), 1);
		} else {
			sender = socket_for("127.0.0.1", SOCK_DGRAM);
			WORKS(connect_at(sender, "127.0.0.1", 5353));
			EQ(send(sender, "x", 1, 0), 1);
		}
		arrived = (struct pollfd){ .fd = fd, .events = POLLIN };
		NEED(poll(&arrived, 1, -1) == 1);
		if (world == PRELOADED)
			FAILS(connect_at(fd, "10.1.1.2", 7), EPERM);
		STR(device_of(fd), if_ruled("lo"));
		if (is_error) {
			int error;
			socklen_t length = sizeof(error);

			NEED(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0);
			EQ(error, ECONNREFUSED);
		} else {
			EQ(recv(fd, text, 1, MSG_DONTWAIT), 1);
			STR(text, "x");
			/* With nothing in it any more it goes. */
			WORKS(connect_at(fd, "10.1.1.2", 7));
			STR(device_of(fd), if_ruled("prod"));
			EQ(port_of(fd), 5353);
		}
		close(fd);
	}
}

static void bound_already(void)
{
	int fd;

	own_places();
	give_up_capabilities();
	fd = socket_for("0.0.0.0", SOCK_STREAM);
	WORKS(bind_at(fd, "0.0.0.0", 5381));
	FAILS(bind_at(fd, "0.0.0.0", 5380), world == PRELOADED ? EPERM : EINVAL);
	STR(device_of(fd), if_ruled("prod"));
	EQ(port_of(fd), 5381);
}

static void no_descriptors(void)
{
	struct rlimit few;
	int fd, open;

	own_places();
	give_up_capabilities();
	/* Each number of new descriptors that is too small. */
	for (int more = 0; more < 5; more++) {
		CONTEXT("%d more", more);
		fd = socket_for("127.0.0.1", SOCK_DGRAM);
		open = open_descriptors();
		few = (struct rlimit){ (rlim_t)fd + 1 + (rlim_t)more, 1024 };
		NEED(setrlimit(RLIMIT_NOFILE, &few) == 0);
		if (world == PRELOADED && more < 3) {
			FAILS(connect_at(fd, "127.0.0.1", 7), EPERM);
			STR(device_of(fd), "prod");
		} else {
			WORKS(connect_at(fd, "127.0.0.1", 7));
			STR(device_of(fd), if_ruled("lo"));
		}
		few.rlim_cur = 1024;
		NEED(setrlimit(RLIMIT_NOFILE, &few) == 0);
		EQ(open_descriptors(), open);
	}
}

static void no_proc(void)
{
	int fd;

	own_namespaces(CLONE_NEWNS);
	NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	own_places();
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	NEED(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
	give_up_capabilities();
	if (world == PRELOADED)
		FAILS(connect_at(fd, "127.0.0.1", 7), EPERM);
	STR(device_of(fd), if_ruled("prod"));
}

static void no_dup3(void)
{
	struct epoll_event event = { .events = EPOLLOUT, .data.u64 = 6 };
	int fd, epoll = epoll_create1(0), open;

	own_places();
	give_up_capabilities();
	forbid(SYS_dup3, EPERM);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	NEED(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) == 0);
	open = open_descriptors();
	if (world == PRELOADED)
		FAILS(connect_at(fd, "127.0.0.1", 7), EPERM);
	STR(device_of(fd), if_ruled("prod"));
	EQ(open_descriptors(), open);
	event.data.u64 = 0;
	EQ(epoll_wait(epoll, &event, 1, -1), 1);
	EQ((long)event.data.u64, 6);
}

static const char *requires_vrf(void)
{
	return tier_is("vrf") ? NULL : "ip vrf exec takes a VRF";
}

/* A BPF program puts each socket on the device when it is made: nobody has a fresh one to put elsewhere. */
static void inside_ip_vrf_exec(void)
{
	static const char *const WHO[] = { "root", "nobody" };
	bool moves;
	int fd;

	if (!phase) {
		set_up_sandbox();
		for (int i = 0; i < 2; i++) {
			pid_t pid = fork();

			if (pid == 0) {
				execlp("ip", "ip", "vrf", "exec", setting("VRFBIND_TEST_DEVICE"), SANDBOX "/program",
				       tap_arguments[1], tap_arguments[2], tap_arguments[3], WHO[i], (char *)NULL);
				_exit(127);
			}
			EQ(wait_status(pid), 0);
		}
		return;
	}
	moves = strcmp(phase, "root") == 0;
	if (!moves && geteuid() == 0) {
		NEED(become_nobody());
		exec_phase(SANDBOX "/program", phase);
	}
	CONTEXT("%s", phase);
	fd = socket_for("127.0.0.1", SOCK_DGRAM);
	STR(device_of(fd), setting("VRFBIND_TEST_DEVICE"));
	if (world == PRELOADED && !moves)
		FAILS(connect_at(fd, "127.0.0.1", 7), EPERM);
	else
		WORKS(connect_at(fd, "127.0.0.1", 7));
	STR(device_of(fd), world == PRELOADED && moves ? "lo" : setting("VRFBIND_TEST_DEVICE"));
}

#define RULED .vrf = "prod", .also = RULES

static const struct scenario SCENARIOS[] = {
	{ "memberships, filters, keys, privileged options, ports, protocols: EPERM, and a line that says why", one_by_one, RULED },
	{ "data and errors that nobody has read are not lost", queued, RULED },
	{ "a stream that is bound already is not bound elsewhere", bound_already, RULED },
	{ "no descriptor is free: EPERM, and no descriptor is left over", no_descriptors, RULED },
	{ "no /proc: EPERM", no_proc, RULED },
	{ "a filter that refuses dup3(): EPERM, and the registration is as it was", no_dup3, RULED },
	{ "inside ip vrf exec: EPERM for nobody, and root moves them", inside_ip_vrf_exec, .also = RULES, .elsewhere = requires_vrf },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
