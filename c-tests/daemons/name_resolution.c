/*
 * name_resolution.c - names are resolved inside the VRF: getent, curl, python3 and git, with a decoy outside
 *
 * The edge's resolv.conf names 10.10.1.1, and which server answers there depends on the VRF of the client:
 *
 *   VRF blue       a dnsmasq under the library, on br-blue; app.test is 192.0.2.11, behind blue's uplink
 *   default VRF    the decoy, a dnsmasq behind uplink0; app.test is 192.0.2.12, behind uplink0 as well
 *
 * 10.10.1.1 is the bridge's own address, and so in the VRF's table alone; from the default VRF it is reached
 * by the default route. Behind both names is an HTTP server, whose page and whose git repository's only
 * branch have the server's address as their name: the client's answer shows which server it has reached.
 *
 * No client creates the socket of the DNS query itself: libc does, without an exported symbol. The clients of
 * the world BASELINE get the decoy's answer, and the counter on the other end of uplink0 counts their
 * packets. In the other two worlds it does not change.
 *
 * A client's mount namespace has an /etc of its own with only the sources of names and ld.so's cache, so that
 * the machine's own /etc has no influence. `hosts: files dns` excludes resolution by another process
 * (nss-resolve, sssd); nscd's socket is not in /etc and has to be absent.
 */
#include "daemon.h"

static const char *const resolver = "10.10.1.1";
static const char *const answer_in_vrf = "192.0.2.11", *const answer_of_decoy = "192.0.2.12";

static const struct {
	const char *name, *command;
} clients[] = {
	{ "getent hosts", "getent hosts app.test" },
	{ "curl", "curl --silent --show-error http://app.test/" },
	{ "python3", "python3 -c 'import urllib.request as r; print(r.urlopen(\"http://app.test/\").read())'" },
	{ "git ls-remote", "git ls-remote http://app.test/repository" },
};
enum { CLIENTS = sizeof(clients) / sizeof(*clients) };

/* A shell command that has to succeed without output. */
#define DO(...) ({							\
	const char *do_said = in_netns(__VA_ARGS__);			\
	if (*do_said)							\
		bail_out("cannot set this up: %s", do_said);		\
})

/* Starts a daemon in another network namespace; it ends with this process. */
static void spawn_there(const char *netns, const char *name, const char *const argv[])
{
	const char *there[16] = { "ip", "netns", "exec", netns };
	char log[PATH_MAX];
	int i;

	for (i = 0; argv[i] && i < 11; i++)
		there[4 + i] = argv[i];
	snprintf(log, sizeof(log), "%s/%s.%s.log", scratch, netns, name);
	spawn(log, NULL, there);
}

static void start_http(const char *netns, const char *address)
{
	char directory[PATH_MAX];

	snprintf(directory, sizeof(directory), "%s/%s", scratch, address);
	DO(netns, "set -e; ip address add %s/24 dev eth0; mkdir -p %s/repository/info; cd %s; "
	   "echo %s >index.html; printf '%%040d\\trefs/heads/%s\\n' 1 >repository/info/refs; "
	   "echo ref: refs/heads/%s >repository/HEAD",
	   address, directory, directory, address, address, address);
	spawn_there(netns, "http",
		    (const char *const[]){ "busybox", "httpd", "-f", "-p", address, "-h", directory, NULL });
	if (!AWAIT(PATIENCE, strstr(in_netns(netns, "busybox wget -q -O - http://%s/ 2>&1", address), address)))
		bail_out("the HTTP server at %s does not answer: %s", address,
			 in_netns(netns, "cat %s/%s.http.log", scratch, netns));
}

/* The arguments of a dnsmasq that knows one name. */
#define DNSMASQ(user, record) { "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", user, "--pid-file=", \
	"--log-facility=-", "--no-resolv", "--no-hosts", "--local=/test/", record, "--bind-interfaces", \
	"--except-interface=lo", "--listen-address=10.10.1.1", NULL }

static void start_decoy(const char *netns)
{
	/* As root it keeps the signal that ends it with us. */
	const char *const argv[] = DNSMASQ("--user=root", "--host-record=app.test,192.0.2.12");

	DO(netns, "ip address add %s/32 dev eth0", resolver);
	spawn_there(netns, "dns", argv);
	if (!AWAIT(PATIENCE, strstr(in_netns(netns, "busybox nslookup -type=a app.test %s", resolver),
				    answer_of_decoy)))
		bail_out("the decoy does not answer: %s", in_netns(netns, "cat %s/%s.dns.log", scratch, netns));
}

static bool has_udp_and_tcp(const struct probe *p)
{
	return p->count >= 2;
}

static void start_resolver(struct network *net)
{
	const char *const argv[] = DNSMASQ("--user=nobody", "--host-record=app.test,192.0.2.11");

	start(net, PRELOADED, net->vrf, argv);
	await_log(net, "started");
	check_sockets(net, PRELOADED, "the resolver", has_udp_and_tcp);
}

/* The clients' /etc, and how to run a command that sees it. */
static void write_etc(void)
{
	DO(NULL, "set -e; cd %s; mkdir etc; cp /etc/ld.so.cache etc; echo nameserver %s >etc/resolv.conf; "
	   "echo hosts: files dns >etc/nsswitch.conf; "
	   "echo 'mount --bind %s/etc /etc && cd / && no_proxy=\"*\" exec \"$@\"' >with-etc", scratch, resolver, scratch);
}

static const char *run_client(enum world world, const char *vrf, const char *command)
{
	char prefix[PATH_MAX + 64] = "";

	if (world == PRELOADED)
		snprintf(prefix, sizeof(prefix), "env LD_PRELOAD='%s' VRFBIND_VRF=%s",
			 getenv("VRFBIND_TEST_LIB"), vrf);
	else if (world == IP_VRF_EXEC)
		snprintf(prefix, sizeof(prefix), "ip vrf exec %s", vrf);
	return in_netns(NULL, "unshare --mount sh %s/with-etc %s %s", scratch, prefix, command);
}

static void check_client(enum world world, const char *vrf, int client)
{
	const char *expected = world == BASELINE ? answer_of_decoy : answer_in_vrf;
	const char *other = world == BASELINE ? answer_in_vrf : answer_of_decoy;
	long before = uplink_packets(), sent;
	char said[4096];
	bool ok;

	snprintf(said, sizeof(said), "%s", run_client(world, vrf, clients[client].command));
	sent = uplink_packets() - before;
	ok = strstr(said, expected) && !strstr(said, other);
	if (!check(ok, "%s: %s gets the answer of %s", world_name[world], clients[client].name,
		   world == BASELINE ? "the decoy" : "the VRF's resolver"))
		note(clients[client].command, said);
	check(world == BASELINE ? sent > 0 : sent == 0, "%s: %s: %s (%ld)",
	      world_name[world], clients[client].name,
	      world == BASELINE ? "its packets to the decoy are counted" : "no packet reaches the decoy", sent);
}

int main(void)
{
	struct network *blue = &networks[0];
	const char *outside;

	set_up();
	outside = setting(NULL, "T_UPSTREAM");
	write_etc();
	start_http(blue->upstream, answer_in_vrf);
	start_http(outside, answer_of_decoy);
	start_decoy(outside);
	start_resolver(blue);
	for (enum world world = BASELINE; world <= IP_VRF_EXEC; world++)
		for (int i = 0; i < CLIENTS; i++)
			check_client(world, blue->vrf, i);
	return report();
}
