/*
 * daemon.h - real daemons in two VRFs, and clients that query them from outside
 *
 * A program of daemons/ runs as the command of tests/topology.sh: in the network namespace of an edge device
 * that has two VRFs with the same subnet behind them, with a client in each, and with all names in T_...
 * variables. It starts one daemon per network in one of three worlds:
 *
 *   BASELINE     as any program is started: its sockets have no device, or the test proves nothing
 *   PRELOADED    LD_PRELOAD=$VRFBIND_TEST_LIB VRFBIND_VRF=<the network's VRF, or its bridge>
 *   IP_VRF_EXEC  ip vrf exec <the network's VRF>
 *
 * It judges a daemon in two ways that do not depend on its exit status or its log: process_sockets.h
 * duplicates its sockets and reads their device, and the clients query it. The log only tells when a daemon
 * is ready, or why it is not, and is shown when a check fails.
 *
 * This process and all that it starts besides the daemons have neither a preload nor a VRF. A client's
 * command enters the client's namespace by setns() before its exec. A client's socket is created there and
 * used from here, since a socket stays in the namespace in which it was created.
 *
 * Daemons end with this process: by stop() in order, by the exit handler when a check gives up, and by
 * PR_SET_PDEATHSIG if this process is killed (unless they have changed their user).
 *
 * Output is TAP: a line per check() and the plan at the end. The exit status is 0 only if every check was ok
 * and the program ran to its end.
 */
#ifndef DAEMON_H
#define DAEMON_H

#include "process_sockets.h"

#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

/* Nothing here needs a tenth of it, but an emulated machine is twenty times slower than a real one. */
enum { PATIENCE = 120 };

enum world { BASELINE, PRELOADED, IP_VRF_EXEC };
static const char *const world_name[] = { "without", "under the library", "under ip vrf exec" };

struct network {
	const char *name, *vrf, *bridge, *client, *upstream;
	int number;		/* what differs in its addresses: 1 for blue, 2 for red */
	pid_t daemon;		/* 0: none runs */
	char log[PATH_MAX];
};

static struct network networks[2] = {
	{ .name = "blue", .number = 1 },
	{ .name = "red", .number = 2 },
};
#define EACH_NETWORK(net) (struct network *net = networks; net < networks + 2; net++)

static const char *scratch;	/* a directory that topology.sh removes */
static int checks, failures;

/* -- TAP */

__attribute__((format(printf, 2, 3)))
static inline bool check(bool ok, const char *format, ...)
{
	va_list arguments;

	checks++;
	failures += !ok;
	printf("%s %d - ", ok ? "ok" : "not ok", checks);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	puts("");
	return ok;
}

/* Text of any number of lines, as a diagnostic. */
static inline void note(const char *title, const char *text)
{
	size_t line;

	printf("# %s:%s\n", title, *text ? "" : " (nothing)");
	for (; *text; text += line + (text[line] == '\n')) {
		line = strcspn(text, "\n");
		printf("#   %.*s\n", (int)line, text);
	}
}

/* What the network's daemon has written; valid until the next call. */
static inline const char *log_of(const struct network *net)
{
	static char text[65536];
	FILE *f = fopen(net->log, "re");

	text[f ? fread(text, 1, sizeof(text) - 1, f) : 0] = '\0';
	if (f)
		fclose(f);
	return text;
}

_Noreturn __attribute__((format(printf, 1, 2)))
static inline void bail_out(const char *format, ...)
{
	va_list arguments;

	printf("Bail out! ");
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	puts("");
	exit(2);
}

static inline int report(void)
{
	printf("1..%d\n", checks);
	return failures || !checks;
}

/* -- Processes */

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Whether the condition came true within so many seconds; it is checked every 50 ms. */
#define AWAIT(seconds, condition) ({					\
	double await_end = now() + (seconds);				\
	bool await_so;							\
	while (!(await_so = (condition)) && now() < await_end)		\
		poll(NULL, 0, 50);					\
	await_so;							\
})

static inline bool enter_netns(const char *netns)
{
	char path[PATH_MAX];
	bool entered;
	int fd;

	snprintf(path, sizeof(path), "/run/netns/%s", netns);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	entered = fd >= 0 && !setns(fd, CLONE_NEWNET);
	close(fd);
	return entered;
}

/*
 * Runs a shell command in a network namespace (NULL: this one) and returns what it printed, standard
 * error included; valid until the next call. It is ended after PATIENCE seconds.
 */
__attribute__((format(printf, 2, 3)))
static inline const char *in_netns(const char *netns, const char *format, ...)
{
	static char output[16384];
	char command[2048], limit[12];
	va_list arguments;
	size_t length = 0;
	ssize_t got;
	int ends[2];
	pid_t pid;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	snprintf(limit, sizeof(limit), "%d", PATIENCE);
	fflush(stdout);
	if (pipe2(ends, O_CLOEXEC) || (pid = fork()) < 0)
		bail_out("cannot run '%s': %s", command, strerror(errno));
	if (pid == 0) {
		dup2(ends[1], 1);
		dup2(ends[1], 2);
		if (!netns || enter_netns(netns))
			execlp("timeout", "timeout", limit, "sh", "-c", command, NULL);
		fprintf(stderr, "cannot run this in %s: %s\n", netns, strerror(errno));
		_exit(127);
	}
	close(ends[1]);
	while ((got = read(ends[0], output + length, sizeof(output) - 1 - length)) > 0)
		length += got;
	output[length] = '\0';
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return output;
}

/* An IPv4 socket in the namespace `netns`, which waits PATIENCE seconds for an answer. */
static inline int socket_in_netns(const char *netns, int type)
{
	struct timeval patience = { .tv_sec = PATIENCE };
	int home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), sk;

	sk = enter_netns(netns) ? socket(AF_INET, type | SOCK_CLOEXEC, 0) : -1;
	if (sk < 0 || setsockopt(sk, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		bail_out("cannot make a socket in %s: %s", netns, strerror(errno));
	if (home < 0 || setns(home, CLONE_NEWNET))
		bail_out("cannot leave the network namespace %s: %s", netns, strerror(errno));
	close(home);
	return sk;
}

static inline struct sockaddr_in ipv4(const char *address, int port)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	inet_pton(AF_INET, address, &to.sin_addr);
	return to;
}

/* -- Daemons */

static inline bool has_ended(struct network *net)
{
	if (net->daemon > 0 && waitpid(net->daemon, NULL, WNOHANG) == net->daemon)
		net->daemon = 0;
	return net->daemon == 0;
}

static inline void stop(struct network *net)
{
	if (has_ended(net))
		return;
	kill(net->daemon, SIGTERM);
	if (!AWAIT(PATIENCE, has_ended(net))) {
		kill(net->daemon, SIGKILL);
		waitpid(net->daemon, NULL, 0);
		net->daemon = 0;
	}
}

/* Starts a program that writes to `log`, under the library if there is a device. */
static inline pid_t spawn(const char *log, const char *device, const char *const argv[])
{
	int fd = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
	pid_t us = getpid(), pid;

	fflush(stdout);
	pid = fd < 0 ? -1 : fork();
	if (pid < 0)
		bail_out("cannot start %s: %s", argv[0], strerror(errno));
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != us)
			_exit(127);
		dup2(fd, 1);
		dup2(fd, 2);
		if (device) {
			setenv("LD_PRELOAD", getenv("VRFBIND_TEST_LIB"), 1);
			setenv("VRFBIND_VRF", device, 1);
		}
		execvp(argv[0], (char *const *)argv);
		fprintf(stderr, "cannot execute %s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	close(fd);
	return pid;
}

/* Starts the network's daemon; in the world PRELOADED the library binds it to `device`, the VRF as a rule. */
static inline void start(struct network *net, enum world world, const char *device,
			 const char *const argv[])
{
	const char *yardstick[32] = { "ip", "vrf", "exec", net->vrf };
	int i;

	for (i = 0; argv[i] && i < 27; i++)
		yardstick[4 + i] = argv[i];
	net->daemon = spawn(net->log, world == PRELOADED ? device : NULL,
			    world == IP_VRF_EXEC ? yardstick : argv);
}

/* Waits until the daemon has logged this, or has ended. */
static inline void await_log(struct network *net, const char *text)
{
	AWAIT(PATIENCE, has_ended(net) || strstr(log_of(net), text));
}

/*
 * Looks at the daemon's sockets. False: not all sockets that `complete` expects are there, or, except in the
 * world BASELINE, a socket is not in the VRF. It may just have been created: a socket gets its device by a
 * second system call.
 */
static inline bool are_there(struct probe *p, struct network *net, enum world world,
			     bool (*complete)(const struct probe *))
{
	p->count = 0;
	*p->error = '\0';
	return !probe_tree(p, net->daemon) && complete(p) && (world == BASELINE || probe_ok(p) == p->count);
}

/*
 * The verdict on the daemon's sockets, once all are there that `complete` looks for (within PATIENCE,
 * or it is `not ok`). In the world BASELINE some must have no device, in the others all be in the VRF.
 */
static inline bool check_sockets(struct network *net, enum world world, const char *what,
				 bool (*complete)(const struct probe *))
{
	struct probe p = { .vrf = net->vrf };
	size_t i, unbound = 0;
	bool ok = AWAIT(PATIENCE, has_ended(net) || are_there(&p, net, world, complete));

	for (i = 0; i < p.count; i++)
		unbound += p.socket[i].verdict == UNBOUND;
	if (*p.error)
		note("probe", p.error);
	ok = ok && !has_ended(net) && (world != BASELINE || unbound > 0);
	if (world == BASELINE)
		check(ok, "%s: %s: INET sockets of %s's daemon have no device (%zu of %zu)",
		      world_name[world], what, net->name, unbound, p.count);
	else
		check(ok, "%s: %s: every INET socket of %s's daemon is in its VRF (%zu of %zu)",
		      world_name[world], what, net->name, probe_ok(&p), p.count);
	if (!ok) {
		probe_print(&p, stdout, "#   ");
		note(net->log, log_of(net));
	}
	free(p.socket);
	return ok;
}

/* -- The surroundings of the daemons */

/* Packets that this device itself has sent by the default VRF's uplink, so far. */
static inline long uplink_packets(void)
{
	return atol(in_netns(NULL, "%s", getenv("T_UPLINK_COUNT")));
}

/* The counter counts: a packet of a socket without a device leaves there. */
static inline void check_counter(void)
{
	struct sockaddr_in discard = ipv4("192.0.2.53", 9);
	int sk = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	long before = uplink_packets();

	sendto(sk, "?", 1, 0, (struct sockaddr *)&discard, sizeof(discard));
	close(sk);
	check(AWAIT(PATIENCE, uplink_packets() > before),
	      "the counter on the default VRF's uplink counts a packet that is sent there");
}

/*
 * The client forgets its addresses and asks for a router, as a machine does that was just plugged in. Its
 * link stays up: the bridge has no other port, and would lose its carrier too.
 */
static inline void plug_in(const struct network *net)
{
	in_netns(net->client, "ip -4 addr flush dev eth0; cd /proc/sys/net/ipv6/conf/eth0 && "
		 "echo 1 >disable_ipv6 && echo 0 >disable_ipv6");
}

/* The client's addresses that it got from another machine, one a line. */
static inline const char *addresses(const struct network *net)
{
	return in_netns(net->client, "ip -o addr show dev eth0 scope global");
}

static inline bool has_prefix(const struct network *net, int number)
{
	char prefix[32];

	snprintf(prefix, sizeof(prefix), " 2001:db8:%d:", number);
	return strstr(addresses(net), prefix);
}

/* The client has an address of the prefix that its own daemon advertises, and none of the other's. */
static inline bool check_advertisement(const struct network *net, enum world world, const char *what)
{
	bool own = AWAIT(PATIENCE, has_prefix(net, net->number));
	bool ok = own && !has_prefix(net, 3 - net->number);

	check(ok, "%s: %s: %s's client takes its prefix from the advertisement of its own network",
	      world_name[world], what, net->name);
	if (!ok)
		note("its addresses", addresses(net));
	return ok;
}

static inline void stop_all(void)
{
	for EACH_NETWORK(net)
		stop(net);
}

static inline void on_signal(int number)
{
	(void)number;
	exit(1);
}

static inline const char *setting(const char *network, const char *suffix)
{
	const char *value;
	char name[64];
	int i;

	snprintf(name, sizeof(name), "%s%s%s", network ? "T_" : "", network ? network : "", suffix);
	for (i = 0; network && name[i]; i++)
		if (name[i] >= 'a' && name[i] <= 'z')
			name[i] -= 'a' - 'A';
	value = getenv(name);
	if (!value || !*value)
		bail_out("%s is not set; this program is run by tests/topology.sh", name);
	return value;
}

/* Reads the topology, and gives each bridge an address of its network's own prefix, 2001:db8:N::/64. */
static inline void set_up(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	scratch = setting(NULL, "T_DIR");
	setting(NULL, "T_UPLINK_COUNT");
	setting(NULL, "VRFBIND_TEST_LIB");
	unsetenv("LD_PRELOAD");
	for EACH_NETWORK(net) {
		net->vrf = setting(net->name, "_VRF");
		net->bridge = setting(net->name, "_BRIDGE");
		net->client = setting(net->name, "_CLIENT");
		net->upstream = setting(net->name, "_UPSTREAM");
		snprintf(net->log, sizeof(net->log), "%s/%s.log", scratch, net->name);
		in_netns(NULL, "ip addr add 2001:db8:%d::1/64 dev %s nodad", net->number, net->bridge);
	}
	if (chmod(scratch, 0755))	/* a daemon that has become another user reads there */
		bail_out("cannot open %s to others: %s", scratch, strerror(errno));
	atexit(stop_all);
	signal(SIGINT, on_signal);
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
}

#endif
