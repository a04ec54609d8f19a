/*
 * errno_left.c - what a call leaves in errno, row by row
 *
 *   success                                          errno is unchanged
 *   no device of this name                           ENODEV
 *   VRFBIND_VRF is not the name of a device          EINVAL
 *   somebody else has bound the socket elsewhere,
 *   and we may not change that (no CAP_NET_RAW)      EPERM
 *   somebody else has bound it to the same device    success
 *   setsockopt(2) fails in any other way             its errno
 *   the kernel refuses the call itself               the kernel's errno
 *   the library was not preloaded                    ENOSYS
 *
 * "The call" is socket(), which then leaves no descriptor behind, or bind(), connect() or listen() of a
 * socket that has no device. These then leave the socket as it was: open, and not bound, not connected, not
 * listening. Other families always work.
 *
 * preload/binds_sockets.c plays "somebody else": it comes next after the library, and binds each socket
 * before the library sees it, as BPF does inside `ip vrf exec`.
 */
#include "device.h"
#include <dlfcn.h>
#include <sys/resource.h>
#include <sys/un.h>

#define FOR_BOTH(domain) \
	for (int domain##_at = 0, domain = AF_INET; \
	     domain##_at < 2 && (domain = FAMILIES[domain##_at], true); domain##_at++)

/* Some port of the host itself, which is what a wildcard means to connect(). */
static struct sockaddr *some_port(int domain)
{
	struct sockaddr *address = wildcard(domain);

	/* The port is at the same place in both families. */
	((struct sockaddr_in *)address)->sin_port = htons(9);
	return address;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t length = sizeof(value);

	NEED(getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0);
	return value;
}

static bool has_port(int fd)
{
	struct sockaddr_in6 address = { .sin6_port = 0 };
	socklen_t length = sizeof(address);

	NEED(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
	return address.sin6_port != 0;
}

static bool has_peer(int fd)
{
	struct sockaddr_storage address;
	socklen_t length = sizeof(address);

	return getpeername(fd, (struct sockaddr *)&address, &length) == 0;
}

static void other_families_work(void)
{
	struct sockaddr_un nowhere = { .sun_family = AF_UNIX, .sun_path = "/nonexistent/socket" };
	int fd = (int)WORKS(socket(AF_UNIX, SOCK_STREAM, 0));

	FAILS(connect(fd, (struct sockaddr *)&nowhere, sizeof(nowhere)), ENOENT);
	/* An address of the family alone: the kernel chooses a name (unix(7), autobind). */
	WORKS(bind(fd, wildcard(AF_UNIX), sizeof(sa_family_t)));
	WORKS(listen(fd, 1));
	STR(device_of(fd), "");
	close(fd);
}

/* Every call of an IP socket fails, and has no effect. */
static void all_fail_with(int error)
{
	int open = open_descriptors(), stream, datagram;

	FOR_BOTH(domain) {
		CONTEXT("family %d", domain);
		FAILS(socket(domain, SOCK_STREAM, 0), error);
		FAILS(socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0), error);
		FAILS(socket(domain, SOCK_DGRAM | SOCK_NONBLOCK, IPPROTO_UDP), error);
		FAILS(socket(domain, SOCK_STREAM, IPPROTO_TCP), error);
		EQ(open_descriptors(), open);

		stream = raw_socket(domain, SOCK_STREAM, 0);
		datagram = raw_socket(domain, SOCK_DGRAM, 0);
		NEED(stream >= 0 && datagram >= 0);
		FAILS(bind(stream, wildcard(domain), WILDCARD_LENGTH), error);
		TRUE(!has_port(stream));
		FAILS(listen(stream, 1), error);
		TRUE(!is_listening(stream));
		FAILS(connect(datagram, some_port(domain), WILDCARD_LENGTH), error);
		TRUE(!has_peer(datagram));
		EQ(open_descriptors(), open + 2);
		STR(device_of(stream), "");
		STR(device_of(datagram), "");
		close(stream);
		close(datagram);
	}
	other_families_work();
}

/* Every call of an IP socket works, and errno stays; connect() has a scenario of its own. */
static void all_work(void)
{
	int stream, datagram;

	FOR_BOTH(domain) {
		CONTEXT("family %d", domain);
		stream = (int)WORKS(socket(domain, SOCK_STREAM, 0));
		STR(device_of(stream), expected_device());
		WORKS(bind(stream, wildcard(domain), WILDCARD_LENGTH));
		TRUE(has_port(stream));
		WORKS(listen(stream, 1));
		TRUE(is_listening(stream));
		datagram = (int)WORKS(socket(domain, SOCK_DGRAM, 0));
		STR(device_of(datagram), expected_device());
		close(stream);
		close(datagram);
	}
	other_families_work();
}

static void success(void)
{
	all_work();
}

/* lo has an address in every namespace, a VRF only where it was given one: hence .vrf = "lo". */
static void success_of_connect(void)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(9),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(9),
				    .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int fd;

	own_netns();
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	WORKS(connect(fd, (struct sockaddr *)&in4, sizeof(in4)));
	TRUE(has_peer(fd));
	STR(device_of(fd), expected_device());
	fd = (int)WORKS(socket(AF_INET6, SOCK_DGRAM, 0));
	WORKS(connect(fd, (struct sockaddr *)&in6, sizeof(in6)));
	TRUE(has_peer(fd));
	STR(device_of(fd), expected_device());
	/* Nobody listens: the kernel's own refusal. */
	FAILS(connect((int)WORKS(socket(AF_INET, SOCK_STREAM, 0)), (struct sockaddr *)&in4,
		      sizeof(in4)), ECONNREFUSED);
}

static void missing_device(void)
{
	if (world == PRELOADED)
		all_fail_with(ENODEV);
	else
		all_work();
}

static void not_a_name(void)
{
	static const char *const NAMES[] = {
		"sixteen-letters-", "a-name-of-twenty-four-by", ".", "..", "/", "a/b", "lo/",
		" ", "lo ", " lo", "l o", "lo\t", "\tlo", "lo\n", "lo\v", "lo\f", "lo\r",
	};

	if (phase) {
		CONTEXT("VRFBIND_VRF=\"%s\"", getenv("VRFBIND_VRF"));
		if (world == PRELOADED)
			all_fail_with(EINVAL);
		else
			all_work();
		return;
	}
	for (size_t i = 0; i < sizeof(NAMES) / sizeof(*NAMES); i++) {
		setenv("VRFBIND_VRF", NAMES[i], 1);
		EQ(reexec("with such a name"), 0);
	}
}

/*
 * The kernel would cut the name to its first 15 bytes, and a device of this name exists: the device that a
 * raw socket bound by hand gets in this scenario is the one that the program must not get.
 */
static void cut_name(void)
{
	int fd;

	own_netns();
	add_devices("fifteen-letters", "peer");
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(set_device(fd, scenario->vrf) == 0);
	STR(device_of(fd), "fifteen-letters");
	close(fd);
	if (world == PRELOADED)
		all_fail_with(EINVAL);
	else
		all_work();
}

/* Once more, with binds_sockets.so after the library, which binds each socket to `device`. */
static void after_somebody_bound(const char *device, const char *as_phase)
{
	preload(NULL, beside("binds_sockets.so"));
	setenv("VRFBIND_TEST_BINDS_TO", device, 1);
	EQ(reexec(as_phase), 0);
}

static void bound_to_the_same(void)
{
	int fd;

	if (!phase) {
		after_somebody_bound(setting("VRFBIND_TEST_DEVICE"), "without capabilities");
		return;
	}
	give_up_capabilities();
	FOR_BOTH(domain) {
		CONTEXT("family %d", domain);
		fd = (int)WORKS(socket(domain, SOCK_STREAM, 0));
		STR(device_of(fd), setting("VRFBIND_TEST_DEVICE"));
		/* Somebody else has bound it; we could not do it again. */
		FAILS(set_device(fd, setting("VRFBIND_TEST_DEVICE")), EPERM);
		WORKS(bind(fd, wildcard(domain), WILDCARD_LENGTH));
		WORKS(listen(fd, 1));
		STR(device_of(fd), setting("VRFBIND_TEST_DEVICE"));
	}
}

static void bound_elsewhere(void)
{
	int open, fd;

	if (!phase) {
		after_somebody_bound(other_device(), "without capabilities");
		return;
	}
	give_up_capabilities();
	open = open_descriptors();
	FOR_BOTH(domain) {
		CONTEXT("family %d", domain);
		if (world == PRELOADED) {
			FAILS(socket(domain, SOCK_STREAM, 0), EPERM);
			FAILS(socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0), EPERM);
			EQ(open_descriptors(), open);
		} else {
			fd = (int)WORKS(socket(domain, SOCK_STREAM, 0));
			STR(device_of(fd), setting("VRFBIND_TEST_BINDS_TO"));
		}
	}
	other_families_work();
}

static void bound_elsewhere_by_the_weaker(void)
{
	int fd;

	if (!phase) {
		own_netns();
		add_devices("elsewhere", "peer");
		after_somebody_bound("elsewhere", "with CAP_NET_RAW");
		return;
	}
	FOR_BOTH(domain) {
		CONTEXT("family %d", domain);
		fd = (int)WORKS(socket(domain, SOCK_STREAM, 0));
		STR(device_of(fd), world == PRELOADED ? "lo" : "elsewhere");
	}
}

/* From here on the system call fails: a seccomp filter (seccomp(2)), written out. */
static void refuse(long call, int error)
{
	/* struct sock_filter and sock_fprog: load the number, compare it, return. */
	struct {
		unsigned short code;
		unsigned char if_so, if_not;
		unsigned int value;
	} filter[] = {
		{ 0x20, 0, 0, 0 }, { 0x15, 0, 1, (unsigned int)call },
		{ 0x06, 0, 0, 0x00050000 | (unsigned int)error }, { 0x06, 0, 0, 0x7fff0000 },
	};
	struct { unsigned short length; void *filter; } program = { 4, filter };

	NEED(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	NEED(prctl(PR_SET_SECCOMP, 2, &program) == 0);
}

static void refused_option(int error)
{
	refuse(SYS_setsockopt, error);
	if (world == PRELOADED)
		all_fail_with(error);
	else
		all_work();
}

/* As every kernel before 5.7 does without CAP_NET_RAW. */
static void refused_with_eperm(void)
{
	refused_option(EPERM);
}

static void refused_otherwise(void)
{
	refused_option(EACCES);
	refused_option(ENOPROTOOPT);
}

/* Not preloaded, it comes last, and no socket() follows its own. */
static void not_preloaded(void)
{
	void *library = dlopen(setting("VRFBIND_TEST_LIB"), RTLD_NOW);
	int (*its_socket)(int, int, int);

	NEED(library);
	its_socket = (int (*)(int, int, int))dlsym(library, "socket");
	NEED(its_socket && its_socket != socket);
	FAILS(its_socket(AF_INET, SOCK_DGRAM, 0), ENOSYS);
	FAILS(its_socket(AF_UNIX, SOCK_DGRAM, 0), ENOSYS);
}

static void kernels_own(void)
{
	struct rlimit few = { 0, 0 };
	int fd;

	FAILS(socket(AF_INET, 9, 0), ESOCKTNOSUPPORT);
	FAILS(socket(AF_INET6, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	FAILS(socket(AF_INET, SOCK_STREAM | 0x40000000, 0), EINVAL);
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	FAILS(bind(fd, wildcard(AF_INET), 1), EINVAL);
	FAILS(bind(fd, wildcard(AF_INET6), WILDCARD_LENGTH), EAFNOSUPPORT);
	FAILS(listen(fd, 1), EOPNOTSUPP);
	STR(device_of(fd), expected_device());
	give_up_capabilities();
	FAILS(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP), EPERM);
	few.rlim_cur = (rlim_t)fd;
	NEED(setrlimit(RLIMIT_NOFILE, &few) == 0 || errno == EINVAL);
	few.rlim_max = few.rlim_cur;
	NEED(setrlimit(RLIMIT_NOFILE, &few) == 0);
	FAILS(socket(AF_INET, SOCK_DGRAM, 0), EMFILE);
}

static const struct scenario SCENARIOS[] = {
	{ "success leaves errno alone", success },
	{ "success of connect() leaves errno alone", success_of_connect, .vrf = "lo" },
	{ "there is no such device: ENODEV from every call, without effect", missing_device,
	  .vrf = "no-such-device" },
	{ "a name that no device can have: EINVAL from every call, without effect", not_a_name },
	{ "a name of 18 letters whose first 15 are a device's: EINVAL, and not that device",
	  cut_name, .vrf = "fifteen-letters-18" },
	{ "the socket was bound to the same device by somebody else: success", bound_to_the_same },
	{ "the socket was bound elsewhere by somebody else: EPERM, without effect",
	  bound_elsewhere },
	{ "the socket was bound elsewhere, but we may change that: success, and our device",
	  bound_elsewhere_by_the_weaker, .vrf = "lo" },
	{ "setsockopt() is refused, and the socket has no device: EPERM, without effect",
	  refused_with_eperm },
	{ "setsockopt() fails for another reason: its errno, without effect", refused_otherwise },
	{ "what the kernel refuses is refused with the kernel's errno", kernels_own },
	{ "the socket() of a library that was not preloaded but opened: ENOSYS", not_preloaded,
	  .worlds = BASELINE },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
