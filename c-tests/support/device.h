/*
 * device.h - the device of a socket, and a network namespace to create devices in
 *
 * The verdict of a test comes from the socket: device_of() asks the kernel. Devices besides the tier's own (a
 * second one, one with a long name, one that can be deleted) are created in a network namespace of the
 * process, which ends with it. An ordinary user gets one inside a user namespace. To the library this makes
 * no difference: it has a name, and the kernel looks the name up in the namespace of the socket, each time.
 */
#ifndef DEVICE_H
#define DEVICE_H

#include "tap.h"
#include "bound_device.h"
#include "raw_syscall.h"
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262	/* Linux 5.6; glibc 2.32 */
#endif

/* The families of IP sockets. */
static const int FAMILIES[] = { AF_INET, AF_INET6 };

/* The wildcard address of any family, WILDCARD_LENGTH bytes of it; valid until the next call. */
static inline struct sockaddr *wildcard(int domain)
{
	static struct sockaddr_storage address;

	memset(&address, 0, sizeof(address));
	address.ss_family = (sa_family_t)domain;
	return (struct sockaddr *)&address;
}

enum { WILDCARD_LENGTH = sizeof(struct sockaddr_storage) };

/* The device of a socket, "" if it has none, or the error of the query, e.g. "(ENODEV)". */
static inline const char *device_of(int fd)
{
	static _Thread_local char name[80];
	int had = errno;

	if (bound_device(fd, name) < 0)
		snprintf(name, sizeof(name), "(%s)",
			 errno == ENODEV ? "ENODEV" : strerror(errno));
	errno = had;
	return name;
}

/* The device that an IP socket of this process must have: that of the settings, or none. */
static inline const char *expected_device(void)
{
	const char *vrf = scenario->vrf ? scenario->vrf : setting("VRFBIND_TEST_DEVICE");
	bool inert = vrf == UNSET || !*vrf || strcmp(vrf, "default") == 0;

	return world == PRELOADED && !inert ? vrf : "";
}

/* By an instruction: the library hooks setsockopt(). */
static inline int set_device(int fd, const char *name)
{
	return (int)raw_call(SYS_setsockopt, fd, SOL_SOCKET, SO_BINDTODEVICE, (long)name,
			     (long)strlen(name), 0);
}

/* Whether this kernel was built with MPTCP: Debian's 5.10 was not. */
static inline bool has_mptcp(void)
{
	return access("/proc/sys/net/mptcp", F_OK) == 0;
}

/* How many of the first hundred descriptors are open; needs no /proc. */
static inline int open_descriptors(void)
{
	int open = 0, had = errno;

	for (int fd = 0; fd < 100; fd++)
		open += fcntl(fd, F_GETFD) >= 0;
	errno = had;
	return open;
}

/*
 * Drops every capability, for good: capset(2), _LINUX_CAPABILITY_VERSION_3. The process can then do what an
 * ordinary user may do, except that it still owns its files.
 */
static inline void give_up_capabilities(void)
{
	struct { unsigned int version; int pid; } header = { 0x20080522, 0 };
	struct { unsigned int effective, permitted, inheritable; } none[2] = { { 0 } };

	NEED(syscall(SYS_capset, &header, none) == 0);
}

static inline bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/* Runs a shell command, which must succeed, without the library and with a superuser's PATH. */
__attribute__((format(printf, 1, 2)))
static inline void command(const char *format, ...)
{
	char line[400];
	va_list arguments;
	pid_t pid;

	va_start(arguments, format);
	vsnprintf(line, sizeof(line), format, arguments);
	va_end(arguments);
	pid = fork();
	if (pid == 0) {
		unsetenv("LD_PRELOAD");
		setenv("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", 1);
		dup2(TAP_FD, STDOUT_FILENO);
		dup2(TAP_FD, STDERR_FILENO);
		execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	CONTEXT("%.150s", line);
	NEED(wait_status(pid) == 0);
	CONTEXT("%s", "");
}

enum { NOBODY = 65534 };

static inline bool become_nobody(void)
{
	return setresgid(NOBODY, NOBODY, NOBODY) == 0 && setresuid(NOBODY, NOBODY, NOBODY) == 0;
}

/* Why a scenario is not listed that makes and runs set-user-ID programs, or NULL. */
static inline const char *requires_root(void)
{
	pid_t pid = fork();

	/* Root of a user namespace can only be its own user. */
	if (pid == 0)
		_exit(geteuid() == 0 && become_nobody() ? 0 : 1);
	return wait_status(pid) == 0 ? NULL : "making a privileged program takes root";
}

/*
 * Moves the process, which still has one thread, into new namespaces (CLONE_NEWNET, CLONE_NEWNS), in which it
 * has all privileges.
 */
static inline void own_namespaces(int which)
{
	char map[40];
	unsigned int uid = geteuid(), gid = getegid();

	if (unshare(which) == 0)
		return;
	if (unshare(CLONE_NEWUSER | which) < 0)
		skip("neither root nor user namespaces are to be had");
	snprintf(map, sizeof(map), "0 %u 1", uid);
	NEED(write_text("/proc/self/uid_map", map));
	NEED(write_text("/proc/self/setgroups", "deny"));
	snprintf(map, sizeof(map), "0 %u 1", gid);
	NEED(write_text("/proc/self/gid_map", map));
}

/* A new network namespace has one device, lo, which is up. */
static inline void own_netns(void)
{
	own_namespaces(CLONE_NEWNET);
	command("ip link set lo up");
	/* The route to ::1 can come a little later; ten seconds, for where there is no IPv6. */
	command("n=0; until ip -6 route get ::1 >/dev/null 2>&1 || [ $((n += 1)) -gt 200 ]; "
		"do sleep 0.05; done");
}

/* In a namespace of the process: a device of this name, and another one, `other`. */
static inline void add_devices(const char *name, const char *other)
{
	command("ip link add '%s' type veth peer name '%s'", name, other);
	command("ip link set '%s' up && ip link set '%s' up", name, other);
}

/* In a namespace of the process: a device that can be deleted; in the VRF tier a VRF. */
static inline void add_deletable_device(const char *name)
{
	if (tier_is("vrf"))
		command("ip link add '%s' type vrf table 4242 && ip link set '%s' up", name, name);
	else
		add_devices(name, "deletable-peer");
}

/*
 * A device besides the tier's own. If the tier has none, the process moves into a namespace of its own; the
 * tier's device has to be lo then.
 */
static inline const char *other_device(void)
{
	const char *other = getenv("VRFBIND_TEST_OTHER");

	if (other && *other)
		return other;
	NEED(tier_is("lo"));
	own_netns();
	add_devices("other0", "other1");
	return "other0";
}

#endif
