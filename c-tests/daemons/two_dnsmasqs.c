/*
 * two_dnsmasqs.c - two real dnsmasqs, one for each of two VRFs with the same addresses
 *
 * Both serve 10.10.1.0/24 at 10.10.1.1, and each does all that dnsmasq can do for a network. Whatever
 * a client asks is answered differently in blue (N = 1) and in red (N = 2):
 *
 *   app.test          10.10.1.N1, from the configuration
 *   who.test          198.51.100.N, forwarded to 192.0.2.53, which is a different server behind the
 *                     uplink of each VRF (198.51.100.99 behind that of the default VRF)
 *   DHCPv4            the domain blue.test or red.test
 *   DHCPv6, RA        2001:db8:N::/64
 *   TFTP, file who    the network's name
 *
 * BASELINE comes first, one daemon at a time, for two would want the same ports. Then every
 * configuration PRELOADED, with both daemons and all questions; then every configuration on the
 * IP_VRF_EXEC, for the sockets, and one of them with all questions.
 *
 * dnsmasq drops root (to nobody) in all of them. What it opens for a question is therefore bound
 * without a capability (Linux 5.7), and is looked at while it lives: the sockets of a query that
 * upstream does not answer, of a file that the client does not acknowledge, and of the process that
 * dnsmasq forks for a TCP connection.
 *
 * Its own router advertisement does not work on a VRF, whoever binds the socket, for the two reasons
 * that two_radvds.c shows. On a device enslaved to the VRF it does; but from there dnsmasq reaches
 * no upstream behind another device. So the last configuration has no DNS.
 */
#include "daemon.h"

#include <fnmatch.h>

struct configuration {
	const char *name;
	const char *lines;	/* %s: the bridge */
	bool bound;		/* insists on 10.10.1.1, which is no address of the default VRF */
	bool loopback;		/* insists on 127.0.0.1 and ::1, which are no addresses of a VRF */
	bool on_bridge;		/* VRFBIND_VRF is the bridge: with router advertisement, without DNS */
};

enum { WILDCARD = 3 };
static const struct configuration configurations[] = {
	{ .name = "bind-interfaces, except-interface=lo", .bound = true,
	  .lines = "interface=%s\nbind-interfaces\nexcept-interface=lo\n" },
	{ .name = "bind-interfaces", .bound = true, .loopback = true,
	  .lines = "interface=%s\nbind-interfaces\n" },
	{ .name = "bind-dynamic", .lines = "interface=%s\nbind-dynamic\n" },
	{ .name = "wildcard", .lines = "interface=%s\n" },
	{ .name = "listen-address", .lines = "listen-address=10.10.1.1,fd00:10:1::1\n" },
	{ .name = "on the bridge", .on_bridge = true, .lines = "interface=%s\nbind-dynamic\nport=0\n" },
};
#define EACH_CONFIGURATION(c) (const struct configuration *c = configurations; \
	c < configurations + sizeof(configurations) / sizeof(*configurations); c++)

static void write_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "we");

	if (!f || fputs(text, f) < 0 || fclose(f))
		bail_out("cannot write %s: %s", path, strerror(errno));
}

static void start_dnsmasq(struct network *net, enum world world, const struct configuration *c)
{
	char path[PATH_MAX], text[4096];
	int n = net->number, used;

	used = snprintf(text, sizeof(text),
		"no-resolv\nno-hosts\npid-file=\nlog-facility=-\nlog-dhcp\n"
		"user=nobody\n"
		"dhcp-leasefile=%s/%s.leases\n"
		"server=192.0.2.53\nserver=/silent.test/192.0.2.54\n"	/* .54 is nobody */
		"host-record=app.test,10.10.1.%d1\n"
		"no-ping\n"			/* before an offer: two seconds */
		"domain=%s.test\ndhcp-range=10.10.1.100,10.10.1.199,1h\n"
		"enable-ra\ndhcp-range=2001:db8:%d::100,2001:db8:%d::1ff,slaac,64,1h\n"
		"enable-tftp\ntftp-root=%s/%s\n",
		scratch, net->name, n, net->name, n, n, scratch, net->name);
	snprintf(text + used, sizeof(text) - used, c->lines, net->bridge);
	snprintf(path, sizeof(path), "%s/%s.leases", scratch, net->name);
	unlink(path);
	snprintf(path, sizeof(path), "%s/%s.conf", scratch, net->name);
	write_file(path, text);
	start(net, world, c->on_bridge ? net->bridge : net->vrf,
	      (const char *const[]){ "dnsmasq", "--keep-in-foreground", "-C", path, NULL });
}

/* -- What a client can ask for */

/* The IPv4 address that the server returns for a name; "" if it returns none. */
static const char *resolve(const char *netns, const char *name, const char *server)
{
	static char address[64];
	const char *at = in_netns(netns, "busybox nslookup -type=a %s %s", name, server);

	at = strstr(at, "Name:");
	at = at ? strstr(at, "Address: ") : NULL;
	*address = '\0';
	if (at)
		sscanf(at, "Address: %63s", address);
	return address;
}

/* A name server at 192.0.2.53 behind an uplink, until this process ends. */
static void start_upstream(const char *netns, int answer)
{
	char log[PATH_MAX], address[64];

	snprintf(log, sizeof(log), "%s/%s.log", scratch, netns);
	snprintf(address, sizeof(address), "--address=/who.test/198.51.100.%d", answer);
	spawn(log, NULL, (const char *const[]){ "ip", "netns", "exec", netns, "dnsmasq", "--keep-in-foreground",
	      "--conf-file=/dev/null", "--user=root", "--pid-file=", "--log-facility=-", "--no-resolv",
	      "--no-hosts", address, NULL });
	if (!AWAIT(PATIENCE, *resolve(netns, "who.test", "192.0.2.53")))
		bail_out("the name server in %s does not answer; see %s", netns, log);
}

/* The result of DHCPv4: "SERVER DOMAIN ADDRESS", or what went wrong. The client sets the address. */
static const char *lease4(const char *netns, int tries)
{
	static char lease[200];
	const char *log = in_netns(netns, "busybox udhcpc -f -q -n -t %d -T 3 -i eth0 -s %s/udhcpc",
				   tries, scratch);
	const char *said = strstr(log, "LEASE ");

	if (!said || sscanf(said, "LEASE %199[^\n]", lease) != 1)
		return log;
	return lease;
}

/* The address that a DHCPv6 server leases. The client does not set it, and forgets the lease. */
static const char *lease6(const char *netns)
{
	static char address[64];
	char dhclient[3 * PATH_MAX];
	const char *at;

	snprintf(dhclient, sizeof(dhclient), "dhclient -6 -1 -sf /bin/true -lf %s/lease6 -pf %s/dhclient6",
		 scratch, scratch);
	at = in_netns(netns, "rm -f %s/lease6; %s eth0 2>&1; cat %s/lease6; %s -x",
		      scratch, dhclient, scratch, dhclient);
	*address = '\0';
	at = strstr(at, "iaaddr ");
	if (at)
		sscanf(at, "iaaddr %63s", address);
	return address;
}

/* The answer is as expected, which may have wildcards in it (fnmatch(3)). */
__attribute__((format(printf, 6, 7)))
static void check_answer(const struct network *net, enum world world, const struct configuration *c,
			 const char *question, const char *answer, const char *format, ...)
{
	char expected[80];
	va_list arguments;
	bool ok;

	va_start(arguments, format);
	vsnprintf(expected, sizeof(expected), format, arguments);
	va_end(arguments);
	ok = check(!fnmatch(expected, answer, 0), "%s: %s: %s's client is answered: %s %s",
		   world_name[world], c->name, net->name, question, expected);
	if (!ok) {
		note("answered", answer);
		note(net->log, log_of(net));
	}
}

/* -- Sockets */

/* The first sockets that dnsmasq makes, for DHCP, and the last, for TFTP. */
static bool listens(const struct probe *p)
{
	size_t i, dhcp = 0, tftp = 0;

	for (i = 0; i < p->count; i++) {
		const char *port = strrchr(p->socket[i].local, ':');

		dhcp += !strcmp(port, ":67");
		tftp += !strcmp(port, ":69");
	}
	return dhcp && tftp;
}

/* A file is on its way, a query waits for upstream, another process has a TCP connection if need be. */
static bool is_at_work(const struct probe *p, bool connection)
{
	size_t i, passing = 0;

	for (i = 0; i < p->count; i++) {
		const struct inet_socket *s = &p->socket[i];

		passing += !strcmp(s->protocol, "udp") && atoi(strrchr(s->local, ':') + 1) > 1023;
		if (!strcmp(s->protocol, "tcp") && s->pid != p->socket[0].pid)
			connection = false;
	}
	return passing >= 2 && !connection;
}

static bool is_busy(const struct probe *p)
{
	return is_at_work(p, true);
}

static bool is_busy_without_tcp(const struct probe *p)
{
	return is_at_work(p, false);
}

/*
 * Leaves dnsmasq with a silent TCP connection, with a file whose first block is not
 * acknowledged, and with a query that upstream does not answer (it waits 10 s); looks at its sockets.
 *
 * TCP is answered only with bind-interfaces. Otherwise dnsmasq asks the kernel for the interface of a
 * connection (IP_PKTOPTIONS), is told the VRF, which it does not serve, and hangs up.
 */
static void check_busy(struct network *net, enum world world, const struct configuration *c)
{
	static const char silent[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0" "\6silent\4test\0" "\0\1\0\1";
	static const char over_tcp[] = "\0\32" "\x12\x34\1\0\0\1\0\0\0\0\0\0" "\3app\4test\0" "\0\1\0\1";
	static const char read_request[] = "\0\1who\0octet", acknowledge[] = "\0\4\0\1";
	const char address[] = { 10, 10, 1, 10 * net->number + 1 };
	struct sockaddr_in dns = ipv4("10.10.1.1", 53), tftp = ipv4("10.10.1.1", 69);
	int udp = socket_in_netns(net->client, SOCK_DGRAM);
	int tcp = socket_in_netns(net->client, SOCK_STREAM);
	int file = socket_in_netns(net->client, SOCK_DGRAM);
	socklen_t len = sizeof(tftp);
	char block[600] = "", what[80];
	ssize_t got;

	if (connect(tcp, (struct sockaddr *)&dns, sizeof(dns)))
		note("TCP", strerror(errno));
	sendto(file, read_request, sizeof(read_request), 0, (struct sockaddr *)&tftp, len);
	if (recvfrom(file, block, sizeof(block) - 1, 0, (struct sockaddr *)&tftp, &len) < 0)
		note("TFTP", strerror(errno));
	sendto(udp, silent, sizeof(silent) - 1, 0, (struct sockaddr *)&dns, sizeof(dns));

	snprintf(what, sizeof(what), "%s, busy", c->name);
	check_sockets(net, world, what, c->bound ? is_busy : is_busy_without_tcp);
	check_answer(net, world, c, "TFTP", block + 4, "%s", net->name);

	sendto(file, acknowledge, sizeof(acknowledge) - 1, 0, (struct sockaddr *)&tftp, len);
	send(tcp, over_tcp, sizeof(over_tcp) - 1, MSG_NOSIGNAL);
	got = recv(tcp, block, sizeof(block), 0);
	if (c->bound)
		check(got > 28 && !memcmp(block + got - 4, address, 4),
		      "%s: %s: %s's client is answered over TCP: app.test 10.10.1.%d1",
		      world_name[world], c->name, net->name, net->number);
	else
		check(got == 0 || (got < 0 && errno == ECONNRESET),
		      "%s: %s: %s's client is not answered over TCP, dnsmasq hangs up",
		      world_name[world], c->name, net->name);
	close(file);
	close(udp);
	close(tcp);
}

/* -- The parts */

/* Starts both and judges their sockets. False: it makes no sense to query them. */
static bool start_both(enum world world, const struct configuration *c)
{
	bool ok = true;

	for EACH_NETWORK(net)
		start_dnsmasq(net, world, c);
	for EACH_NETWORK(net) {
		await_log(net, "started");
		ok &= check_sockets(net, world, c->name, listens);
	}
	return ok;
}

/* dnsmasq reports that it cannot listen on the address, and ends. */
static void check_refusal(struct network *net, enum world world, const struct configuration *c,
			  const char *address)
{
	/* EADDRNOTAVAIL in the words of glibc, and in those of musl. */
	static const char *const words[] = { "Cannot assign requested address", "Address not available" };
	char message[120];
	bool said = false;

	AWAIT(PATIENCE, has_ended(net) || strstr(log_of(net), "started"));
	for (int i = 0; i < 2 && !said; i++) {
		snprintf(message, sizeof(message), "failed to create listening socket for %s: %s", address, words[i]);
		said = strstr(log_of(net), message);
	}
	if (!check(has_ended(net) && said, "%s: %s: %s's dnsmasq does not start: %s",
		   world_name[world], c->name, net->name, message))
		note(net->log, log_of(net));
}

/* 127.0.0.1 and ::1 are addresses of the device's own lo, not of a VRF, until they are given to it. */
static void give_loopback(enum world world, const struct configuration *c)
{
	static const char *const address[] = { "127.0.0.1", "::1" };
	int i;

	for (i = 0; i < 2; i++) {
		for EACH_NETWORK(net) {
			start_dnsmasq(net, world, c);
			check_refusal(net, world, c, address[i]);
			in_netns(NULL, "ip addr add %s/%d dev %s", address[i], i ? 128 : 8, net->vrf);
		}
		stop_all();
	}
}

static void take_loopback(void)
{
	for EACH_NETWORK(net)
		in_netns(NULL, "ip addr del 127.0.0.1/8 dev %s; ip addr del ::1/128 dev %s", net->vrf, net->vrf);
}

static void without_the_library(const struct configuration *c)
{
	for EACH_NETWORK(net) {
		start_dnsmasq(net, BASELINE, c);
		if (c->bound) {
			check_refusal(net, BASELINE, c, "10.10.1.1");
		} else {
			await_log(net, "started");
			check_sockets(net, BASELINE, c->name, listens);
		}
		stop(net);
	}
}

/* The answers that blue's client gets from a dnsmasq without a VRF; and where its queries go. */
static void record_without_the_library(const struct configuration *c)
{
	struct network *blue = &networks[0];
	long before = uplink_packets();

	start_dnsmasq(blue, BASELINE, c);
	await_log(blue, "started");
	plug_in(blue);
	note("without: who.test, asked on the device itself", resolve(NULL, "who.test", "127.0.0.1"));
	check(uplink_packets() > before, "without: %s: a forwarded query leaves by the default VRF's uplink",
	      c->name);
	note("without: blue's client: lease", lease4(blue->client, 2));
	note("without: blue's client: app.test", resolve(blue->client, "app.test", "10.10.1.1"));
	note("without: blue's client: its addresses", addresses(blue));
	stop(blue);
}

static void check_clients(struct network *net, enum world world, const struct configuration *c)
{
	int n = net->number;

	check_answer(net, world, c, "DHCPv4", lease4(net->client, 20), "10.10.1.1 %s.test 10.10.1.1??",
		     net->name);
	if (!c->on_bridge) {
		check_answer(net, world, c, "app.test", resolve(net->client, "app.test", "10.10.1.1"),
			     "10.10.1.%d1", n);
		check_answer(net, world, c, "who.test", resolve(net->client, "who.test", "10.10.1.1"),
			     "198.51.100.%d", n);
		check_busy(net, world, c);
	}
	check_answer(net, world, c, "DHCPv6", lease6(net->client), "2001:db8:%d::1??", n);
	if (c->on_bridge)
		check_advertisement(net, world, c->name);
	else
		check(!has_prefix(net, n), "%s: %s: %s's client hears no advertisement of dnsmasq's own",
		      world_name[world], c->name, net->name);
}

static bool under_the_library(const struct configuration *c)
{
	long before = uplink_packets();

	if (c->loopback)
		give_loopback(PRELOADED, c);
	if (!start_both(PRELOADED, c))
		return false;
	for EACH_NETWORK(net)
		plug_in(net);
	for EACH_NETWORK(net)
		check_clients(net, PRELOADED, c);
	check(uplink_packets() == before, "%s: %s: no packet left by the default VRF's uplink",
	      world_name[PRELOADED], c->name);
	return true;
}

/* Blue's daemon has ended, red's has not: nobody answers in blue. Red is answered as before. */
static void check_silence(const struct configuration *c)
{
	struct network *blue = &networks[0], *red = &networks[1];
	bool leased, named;

	stop(blue);
	plug_in(blue);
	plug_in(red);
	leased = !strncmp(lease4(blue->client, 2), "10.", 3);
	in_netns(blue->client, "ip addr add 10.10.1.50/24 dev eth0");
	named = *resolve(blue->client, "app.test", "10.10.1.1");
	check(!leased && !named, "%s: %s: once blue's dnsmasq has ended, nobody answers blue's client",
	      world_name[PRELOADED], c->name);
	check_answer(red, PRELOADED, c, "DHCPv4", lease4(red->client, 20), "10.10.1.1 red.test *");
	check_answer(red, PRELOADED, c, "app.test", resolve(red->client, "app.test", "10.10.1.1"), "10.10.1.21");
}

static void under_the_yardstick(const struct configuration *c)
{
	if (c->loopback)
		give_loopback(IP_VRF_EXEC, c);
	if (!start_both(IP_VRF_EXEC, c) || c != &configurations[WILDCARD])
		return;
	for EACH_NETWORK(net) {
		plug_in(net);
		check_clients(net, IP_VRF_EXEC, c);
	}
}

/* The sources of the answers: files, servers upstream, a script that prints what udhcpc got. */
static void set_up_answers(void)
{
	char path[PATH_MAX];

	for EACH_NETWORK(net) {
		snprintf(path, sizeof(path), "%s/%s", scratch, net->name);
		mkdir(path, 0755);
		snprintf(path, sizeof(path), "%s/%s/who", scratch, net->name);
		write_file(path, net->name);
		start_upstream(net->upstream, net->number);
	}
	start_upstream(setting(NULL, "T_UPSTREAM"), 99);
	snprintf(path, sizeof(path), "%s/udhcpc", scratch);
	write_file(path, "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n"
		   "ip addr replace \"$ip/$mask\" dev \"$interface\"\necho \"LEASE $serverid $domain $ip\"\n");
	chmod(path, 0755);
	in_netns(NULL, "ip link set lo up");
}

int main(void)
{
	set_up();
	set_up_answers();
	check_counter();

	for EACH_CONFIGURATION(c)
		if (!c->on_bridge)
			without_the_library(c);
	record_without_the_library(&configurations[WILDCARD]);

	for EACH_CONFIGURATION(c) {
		if (under_the_library(c) && c == configurations)
			check_silence(c);
		stop_all();
		if (c->loopback)
			take_loopback();
	}
	for EACH_CONFIGURATION(c) {
		if (!c->on_bridge)	/* ip vrf exec takes a VRF and no other device */
			under_the_yardstick(c);
		stop_all();
		if (c->loopback)
			take_loopback();
	}
	return report();
}
