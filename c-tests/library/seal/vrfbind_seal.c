/*
 * vrfbind_seal.c - VRFBIND_SEAL=1: an IP socket is created by the library or not at all
 *
 * Every scenario runs in a process that is sealed when it begins (except those about seals that are not asked
 * for, or cannot be installed). Sockets that the library creates have its device. All other ways to a socket,
 * which create an unbound one without the library, are refused under it: the system call by its instruction,
 * by the gates of other ABIs, by io_uring, in programs without libc, of another architecture, or into which
 * ld.so preloads nothing.
 */
#include "seccomp_filters.h"
#include "stderr_capture.h"
#include "library_info.h"
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include <linux/netlink.h>
#include <netinet/if_ether.h>
#include <pthread.h>

#ifndef IPPROTO_SMC
#define IPPROTO_SMC 256		/* Linux 6.11 */
#endif
#ifndef AF_SMC
#define AF_SMC 43		/* Linux 4.11 */
#endif
#ifndef SYS_io_uring_setup
#define SYS_io_uring_setup 425	/* Linux 5.1 */
#define SYS_io_uring_enter 426
#define SYS_io_uring_register 427
#endif
#define SEALED "VRFBIND_SEAL=1"

/* The constants of rules/filter.rs. */
static const unsigned long MARKER = 0x76726662696e6421;
enum { ASK_FAMILY = 0x7672, ASK_ERRNO = 0xb1d };

static int socket_with(int domain, int type, unsigned long sixth)
{
	return (int)raw_call(SYS_socket, domain, type, 0, 0, 0, (long)sixth);
}

/* An unmarked socket: refused under the library, and without it created on no device. */
#define BYPASS(call) do { \
	if (world == PRELOADED) \
		FAILS(call, EPERM); \
	else \
		STR(device_of((int)WORKS(call)), ""); \
} while (0)

/* As BYPASS() for a socket, for the exit status of a program of bypass.h. */
static int bypass_outcome(void)
{
	return world == PRELOADED ? EPERM : CREATED;
}

static void ours_are_bound(void)
{
	static const int FLAGS[] = { 0, SOCK_CLOEXEC, SOCK_CLOEXEC | SOCK_NONBLOCK };

	for (int d = 0; d < 2; d++)
		for (int f = 0; f < 3; f++) {
			CONTEXT("family %d, flags %#x", FAMILIES[d], FLAGS[f]);
			STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM | FLAGS[f], 0))), expected_device());
			STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_DGRAM | FLAGS[f], 0))), expected_device());
			if (geteuid() == 0)
				STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_RAW | FLAGS[f], 89))),
				    expected_device());
			STR(device_of((int)WORKS(syscall(SYS_socket, FAMILIES[d], SOCK_DGRAM | FLAGS[f], 0))),
			    expected_device());
			STR(device_of((int)WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM | FLAGS[f], 0))),
			    expected_device());
		}
}

static void bypasses_are_refused(void)
{
	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		BYPASS(raw_socket(FAMILIES[d], SOCK_STREAM, 0));
		BYPASS(raw_socket(FAMILIES[d], SOCK_DGRAM | SOCK_CLOEXEC, 0));
		if (world == BASELINE)
			continue;
		/* Every type, and those that are none. */
		for (int type = 0; type < 16; type++)
			FAILS(raw_socket(FAMILIES[d], type | SOCK_NONBLOCK, 0), EPERM);
	}
	/* The kernel takes the lower half of the register for the family. */
	CONTEXT("more than 32 bits");
	BYPASS((int)raw_call(SYS_socket, 0x100000000L | AF_INET, SOCK_DGRAM, 0, 0, 0, 0));
}

static void disguises(void)
{
	static const struct { int domain, type, protocol; } DISGUISES[] = {
		{ AF_SMC, SOCK_STREAM, 0 }, { AF_RDS, SOCK_SEQPACKET, 0 },
		{ AF_RXRPC, SOCK_DGRAM, 0 }, { AF_INET, SOCK_STREAM, IPPROTO_SMC },
		{ AF_INET6, SOCK_STREAM, IPPROTO_SMC },
	};

	for (size_t i = 0; i < sizeof(DISGUISES) / sizeof(*DISGUISES); i++) {
		int domain = DISGUISES[i].domain, type = DISGUISES[i].type;
		int protocol = DISGUISES[i].protocol;

		CONTEXT("family %d, protocol %d", domain, protocol);
		if (world == PRELOADED) {
			FAILS(socket(domain, type, protocol), EPERM);
			FAILS(raw_socket(domain, type, protocol), EPERM);
			FAILS((int)raw_call(SYS_socket, domain, type, protocol, 0, 0, MARKER), EPERM);
		} else {
			TRUE(raw_socket(domain, type, protocol) >= 0 || errno != EPERM);
		}
	}
}

static void others_are_untouched(void)
{
	static const struct { int domain, type, protocol; bool requires_privilege; } OTHERS[] = {
		{ AF_UNIX, SOCK_STREAM, 0, false }, { AF_UNIX, SOCK_SEQPACKET, 0, false },
		{ AF_NETLINK, SOCK_RAW, NETLINK_ROUTE, false },
		{ AF_PACKET, SOCK_DGRAM, 0, true },
	};
	int pair[2];

	for (int i = 0; i < 4; i++) {
		CONTEXT("family %d", OTHERS[i].domain);
		if (OTHERS[i].requires_privilege && geteuid() != 0) {
			FAILS(socket(OTHERS[i].domain, OTHERS[i].type, OTHERS[i].protocol), EPERM);
			continue;
		}
		STR(device_of((int)WORKS(socket(OTHERS[i].domain, OTHERS[i].type,
						OTHERS[i].protocol))), "");
		WORKS(raw_socket(OTHERS[i].domain, OTHERS[i].type, OTHERS[i].protocol));
	}
	CONTEXT("%s", "");
	WORKS(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	FAILS(socket(0x7fff, SOCK_STREAM, 0), EAFNOSUPPORT);
	/* AF_PACKET in disguise. */
	if (geteuid() == 0)
		WORKS(socket(AF_INET, SOCK_PACKET, htons(ETH_P_ALL)));
}

static void marker(void)
{
	for (int d = 0; d < 2; d++) {
		STR(device_of((int)WORKS(socket_with(FAMILIES[d], SOCK_STREAM, MARKER))), "");
		for (int bit = 0; bit < 64; bit++)
			FAILS(socket_with(FAMILIES[d], SOCK_STREAM, MARKER ^ 1UL << bit), EPERM);
	}
}

static void question(void)
{
	FAILS(raw_socket(ASK_FAMILY, 0, 0), world == PRELOADED ? ASK_ERRNO : EAFNOSUPPORT);
}

static void io_uring(void)
{
	if (raw_call(SYS_io_uring_setup, 1, 0, 0, 0, 0, 0) == -1 && errno == ENOSYS &&
	    world == BASELINE)
		skip("this kernel has no io_uring");
	FAILS(syscall(SYS_io_uring_setup, 1, NULL), world == PRELOADED ? ENOSYS : EFAULT);
	/* A ring may come from outside. */
	FAILS(syscall(SYS_io_uring_enter, 0x7fffffff, 0, 0, 0, NULL, 0), world == PRELOADED ? ENOSYS : EBADF);
	FAILS(syscall(SYS_io_uring_register, 0x7fffffff, 0, NULL, 0), world == PRELOADED ? ENOSYS : EBADF);
}

#ifdef __x86_64__
/* Numbers of arch/x86/entry/syscalls/syscall_32.tbl. */
enum { I386_SOCKETCALL = 102, I386_SOCKET = 359, I386_IO_URING_SETUP = 425 };

static void i386(void)
{
	/* The arguments of socketcall(2) lie where 32 bits reach. */
	unsigned int *arguments = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	NEED(arguments != MAP_FAILED);
	arguments[1] = SOCK_STREAM;
	for (int d = 0; d < 2; d++) {
		arguments[0] = (unsigned int)FAMILIES[d];
		CONTEXT("family %d, socketcall", FAMILIES[d]);
		BYPASS((int)call_i386(I386_SOCKETCALL, 1, (long)arguments, 0));
		CONTEXT("family %d, socket", FAMILIES[d]);
		BYPASS((int)call_i386(I386_SOCKET, FAMILIES[d], SOCK_STREAM, 0));
	}
	CONTEXT("socket of another family");
	WORKS((int)call_i386(I386_SOCKET, AF_UNIX, SOCK_STREAM, 0));
	/* Its fourth call, listen(), on no socket. */
	CONTEXT("socketcall that makes no socket");
	arguments[0] = (unsigned int)-1;
	FAILS((int)call_i386(I386_SOCKETCALL, 4, (long)arguments, 0), EBADF);
	CONTEXT("io_uring");
	if (world == PRELOADED)
		FAILS((int)call_i386(I386_IO_URING_SETUP, 1, 0, 0), ENOSYS);
}

static void i386_program(void)
{
	EQ(run(program_in_memory(write_i386_program)), bypass_outcome());
}

/* x32's numbers have bit 30 set; many kernels are built or booted without it. */
static void x32(void)
{
	enum { X32 = 0x40000000 };

	for (int d = 0; d < 2; d++) {
		if (world == PRELOADED)
			FAILS((int)raw_call(X32 | SYS_socket, FAMILIES[d], SOCK_STREAM, 0, 0, 0, 0), EPERM);
		else if (raw_call(X32 | SYS_socket, FAMILIES[d], SOCK_STREAM, 0, 0, 0, 0) < 0)
			EQ(errno, ENOSYS);
	}
	if (world == PRELOADED)
		FAILS((int)raw_call(X32 | SYS_io_uring_setup, 1, 0, 0, 0, 0, 0), ENOSYS);
}
#endif

/* -- Which processes are sealed. */

static void *in_a_thread(void *unused)
{
	BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
	return unused;
}

static void children(void)
{
	pthread_t thread;
	pid_t pid;

	if (phase) {
		CONTEXT("%s", phase);
		BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
		STR(device_of((int)WORKS(socket(AF_INET6, SOCK_STREAM, 0))), expected_device());
		return;
	}
	CONTEXT("a thread");
	NEED(pthread_create(&thread, NULL, in_a_thread, NULL) == 0);
	pthread_join(thread, NULL);
	pid = fork();
	if (pid == 0) {
		CONTEXT("a child");
		in_a_thread(NULL);
		tap_end(NULL);
	}
	EQ(wait_status(pid), 0);
	EQ(reexec("after exec"), 0);
}

static void stripped(void)
{
	if (!phase) {
		EQ(reexec_stripped("without the preload"), 0);
		return;
	}
	NEED(!is_loaded(setting("VRFBIND_TEST_LIB")));
	for (int d = 0; d < 2; d++) {
		BYPASS(socket(FAMILIES[d], SOCK_STREAM, 0));
		BYPASS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0));
		BYPASS((int)syscall(SYS_socket, FAMILIES[d], SOCK_DGRAM, 0));
	}
	WORKS(socket(AF_UNIX, SOCK_STREAM, 0));
}

static void static_program(void)
{
	EQ(run(program_in_memory(write_static_program)), bypass_outcome());
}

/* How many filters are around a process (Linux 5.9). */
static long filters_of(pid_t pid)
{
	return status_of(pid, "Seccomp_filters");
}

static const char *counts_filters(void)
{
	return filters_of(getpid()) < 0 ? "the kernel counts filters since Linux 5.9" : NULL;
}

/* The parent of the scenario's process is the harness, which is not sealed. */
static void one_seal(void)
{
	long expected = phase ? atol(phase) : filters_of(getppid()) + (world == PRELOADED);
	static char number[20];
	const char *step = phase ? strchr(phase, ' ') + 1 : "5";

	CONTEXT("%s more lives", step);
	EQ(filters_of(getpid()), expected);
	if (world == PRELOADED)
		EQ(info()->seal, phase ? SEAL_FOUND : SEAL_MADE);
	if (*step == '0')
		return;
	snprintf(number, sizeof(number), "%ld %d", expected, atoi(step) - 1);
	if (*step == '3' && world == PRELOADED)
		preload(copy_of_the_library(), NULL);
	if (*step == '2' && world == PRELOADED)
		preload(NULL, copy_of_the_library());
	EQ(reexec(number), 0);
}

/*
 * systemd's RestrictAddressFamilies= refuses families that it does not know, the one for the query among
 * them.
 */
static void asks_through_others(void)
{
	if (!phase) {
		filter_out(SYS_socket, 0, ~0U, ASK_FAMILY, fails_with(EAFNOSUPPORT));
		EQ(reexec("within another filter"), 0);
		return;
	}
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
	BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
}

static void leaves(void)
{
	if (!phase) {
		setenv("VRFBIND_VRF", "default", 1);
		EQ(reexec("left"), 0);
		return;
	}
	CONTEXT("%s", phase);
	for (int d = 0; d < 2; d++) {
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), "");
		STR(device_of((int)WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0))), "");
		STR(device_of((int)WORKS(syscall(SYS_socket, FAMILIES[d], SOCK_DGRAM, 0))), "");
		BYPASS(raw_socket(FAMILIES[d], SOCK_STREAM, 0));
	}
	if (strcmp(phase, "left") != 0)
		return;
	/* What it starts has left the VRF too, whatever the environment is. */
	unsetenv("VRFBIND_VRF");
	unsetenv("LD_PRELOAD");
	EQ(reexec("with a scrubbed environment"), 0);
}

static void enters_another(void)
{
	const char *other;

	if (phase) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))),
		    world == PRELOADED ? getenv("VRFBIND_VRF") : "");
		BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	other = other_device();
	setenv("VRFBIND_VRF", other, 1);
	EQ(reexec("in another VRF"), 0);
}

/* -- Seals that are not asked for, or cannot be installed. */

static void not_sealed(void)
{
	STR(device_of((int)WORKS(raw_socket(AF_INET, SOCK_STREAM, 0))), "");
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
	FAILS(raw_socket(ASK_FAMILY, 0, 0), EAFNOSUPPORT);
	EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
}

static void zero_and_empty(void)
{
	not_sealed();
	if (phase)
		return;
	setenv("VRFBIND_SEAL", "", 1);
	EQ(reexec("empty"), 0);
}

static void sockets_are_refused(void)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };

	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		if (world == BASELINE) {
			WORKS(socket(FAMILIES[d], SOCK_STREAM, 0));
			WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0));
			continue;
		}
		FAILS(socket(FAMILIES[d], SOCK_STREAM, 0), EINVAL);
		FAILS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0), EINVAL);
		FAILS(syscall(SYS_socket, FAMILIES[d], SOCK_DGRAM, 0), EINVAL);
	}
	CONTEXT("inherited");
	if (world == PRELOADED)
		FAILS(bind(atoi(getenv("INHERITED")), (struct sockaddr *)&any, sizeof(any)), EINVAL);
	WORKS(socket(AF_UNIX, SOCK_STREAM, 0));
}

/* The phase, with an IP socket that exists already, and what the library reports. */
static const char *refused_life(const char *as_phase)
{
	char number[12];
	int inherited = raw_socket(AF_INET, SOCK_STREAM, 0);
	const char *said;

	NEED(inherited >= 0);
	snprintf(number, sizeof(number), "%d", inherited);
	setenv("INHERITED", number, 1);
	capture_stderr(0);
	EQ(reexec(as_phase), 0);
	said = captured_stderr();
	EQ(lines_in(said), world == PRELOADED);
	if (world == PRELOADED) {
		TRUE(strncmp(said, "vrfbind: ", 9) == 0);
		TRUE(strstr(said, "VRFBIND_SEAL") != NULL);
		TRUE(strstr(said, "EINVAL") != NULL);
	} else {
		STR(said, "");
	}
	return said;
}

static char *no_arguments[] = { "a static program", NULL };

static void not_to_be_had(void)
{
	static const struct { const char *how; int error; } REFUSALS[] = {
		{ "refused", EPERM }, { "unknown to the kernel", EINVAL },
		{ "without an effect", 0 },
	};

	if (phase) {
		sockets_are_refused();
		if (world == PRELOADED) {
			EQ(info()->seal, SEAL_REFUSED);
			/* A static child would have had unbound ones. */
			FAILS(execv(program_in_memory(write_static_program), no_arguments),
			      EINVAL);
		} else {
			EQ(run(program_in_memory(write_static_program)), bypass_outcome());
		}
		return;
	}
	/* This process is not sealed, its children would be. */
	setenv("VRFBIND_SEAL", "1", 1);
	for (int i = 0; i < 3; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			CONTEXT("prctl(PR_SET_SECCOMP) is %s", REFUSALS[i].how);
			filter_out(SYS_prctl, 0, ~0U, PR_SET_SECCOMP, fails_with(REFUSALS[i].error));
			refused_life(REFUSALS[i].how);
			tap_end(NULL);
		}
		EQ(wait_status(pid), 0);
	}
}

/* Without privileges the filter needs no_new_privs, which can be refused too. */
static void no_new_privs_not_to_be_had(void)
{
	if (phase) {
		sockets_are_refused();
		return;
	}
	setenv("VRFBIND_SEAL", "1", 1);
	filter_out(SYS_prctl, 0, ~0U, PR_SET_NO_NEW_PRIVS, fails_with(EPERM));
	NEED(become_nobody());
	refused_life("as nobody");
}

static void neither_0_nor_1(void)
{
	static const char *const VALUES[] = { "2", "yes", "11", "1 ", "-1", "true", "01" };

	if (phase) {
		sockets_are_refused();
		return;
	}
	for (size_t i = 0; i < sizeof(VALUES) / sizeof(*VALUES); i++) {
		CONTEXT("VRFBIND_SEAL=%s", VALUES[i]);
		setenv("VRFBIND_SEAL", VALUES[i], 1);
		refused_life(VALUES[i]);
	}
}

/* A child must not forget a setting that is invalid here. */
static void neither_for_a_child(void)
{
	if (phase) {
		if (world == PRELOADED)
			FAILS(socket(AF_INET, SOCK_STREAM, 0), EINVAL);
		else
			STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), "");
		return;
	}
	unsetenv("LD_PRELOAD");
	unsetenv("VRFBIND_VRF");
	unsetenv("VRFBIND_SEAL");
	EQ(reexec("with a scrubbed environment"), 0);
}

/* -- Privileges. */

static void privileges_stay(void)
{
	EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), 0);
	BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
}

static void privileges_go(void)
{
	if (!phase) {
		setenv("VRFBIND_SEAL", "1", 1);
		NEED(become_nobody());
		EQ(reexec("as nobody"), 0);
		return;
	}
	NEED(geteuid() == NOBODY);
	EQ(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), world == PRELOADED);
	BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
}

/* Whether there is exactly the line that reports this. */
static void is_said(const char *program, const char *why)
{
	const char *said = captured_stderr();

	if (world == BASELINE || !why) {
		STR(said, "");
		return;
	}
	CONTEXT("%.40s: %.110s", program, said);
	EQ(lines_in(said), 1);
	TRUE(strncmp(said, "vrfbind: ", 9) == 0);
	TRUE(strstr(said, program) != NULL);
	TRUE(strstr(said, why) != NULL);
	TRUE(strstr(said, "EPERM") != NULL);
	CONTEXT("%s", "");
}

/* In a program that ld.so may or may not have preloaded the library into. */
static void with_or_without_us(void)
{
	bool loaded = is_loaded(SANDBOX "/libvrfbind.so");

	CONTEXT("%s", phase);
	EQ(loaded, world == PRELOADED && strstr(phase, "(ours)") != NULL);
	if (loaded)
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
	else
		BYPASS(socket(AF_INET, SOCK_STREAM, 0));
	BYPASS(raw_socket(AF_INET, SOCK_STREAM, 0));
}

static void privileged_children(void)
{
	if (phase) {
		with_or_without_us();
		return;
	}
	set_up_sandbox();
	capture_stderr(0);
	EQ(as_nobody("an ordinary program (ours)"), 0);
	is_said("program", NULL);
	NEED(chmod(SANDBOX "/program", 04755) == 0);
	EQ(as_nobody("a set-user-ID program"), 0);
	is_said("program", "set-user-ID");
	NEED(chmod(SANDBOX "/program", 02755) == 0);
	EQ(as_nobody("a set-group-ID program"), 0);
	is_said("program", "set-group-ID");
	NEED(chmod(SANDBOX "/program", 0755) == 0);
	give_capability(SANDBOX "/program");
	EQ(as_nobody("a program with a file capability"), 0);
	is_said("program", "file capabilities");
}

/* Where the seal has set no_new_privs, the bits on a file give nothing, and ld.so knows. */
static void privileged_children_of_nobody(void)
{
	pid_t pid;

	if (phase && strcmp(phase, "nobody") != 0) {
		with_or_without_us();
		return;
	}
	if (!phase) {
		set_up_sandbox();
		setenv("VRFBIND_SEAL", "1", 1);
		/* Without the library nothing sets no_new_privs: the bits have their usual effect. */
		NEED(chmod(SANDBOX "/program", 04755) == 0);
		command("cp " SANDBOX "/program " SANDBOX "/capable && chmod 755 " SANDBOX "/capable");
		give_capability(SANDBOX "/capable");
		pid = fork();
		if (pid == 0) {
			NEED(become_nobody());
			exec_phase(NULL, "nobody");
		}
		EQ(wait_status(pid), 0);
		return;
	}
	capture_stderr(0);
	pid = fork();
	if (pid == 0)
		exec_phase(SANDBOX "/program", "a set-user-ID program (ours)");
	EQ(wait_status(pid), 0);
	is_said("program", NULL);
	pid = fork();
	if (pid == 0)
		exec_phase(SANDBOX "/capable", "a program with a file capability");
	EQ(wait_status(pid), 0);
	is_said("capable", "file capabilities");
}

/* -- The line about a program that is not preloaded. */

static const char *interpreter;

static void write_script(int fd)
{
	NEED(dprintf(fd, "#! %s -an-argument\n", interpreter) > 0);
}

static void line_about_static(void)
{
	const char *script;

	capture_stderr(0);
	interpreter = program_in_memory(write_static_program);
	EQ(run(interpreter), bypass_outcome());
	is_said(interpreter, "statically linked");
	script = program_in_memory(write_script);
	EQ(run(script), bypass_outcome());
	is_said(script, "statically linked");
}

/* In a program that has VRFBIND_SEAL from the library alone. */
static void line_after_scrubbing(void)
{
	if (!phase) {
		unsetenv("VRFBIND_SEAL");
		EQ(reexec("after VRFBIND_SEAL was scrubbed"), 0);
		return;
	}
	capture_stderr(0);
	interpreter = program_in_memory(write_static_program);
	EQ(run(interpreter), bypass_outcome());
	is_said(interpreter, "statically linked");
}

/* A root that has what a program needs, but not the library. ld.so may have a line of its own. */
static void line_about_root(void)
{
	const char *said, *ours;
	pid_t pid;

	if (phase) {
		NEED(!is_loaded(setting("VRFBIND_TEST_LIB")));
		BYPASS(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	NEED(strncmp(setting("VRFBIND_TEST_LIB"), "/usr/", 5) != 0);
	set_up_sandbox();
	if (world == PRELOADED)
		setenv("LD_PRELOAD", setting("VRFBIND_TEST_LIB"), 1);
	command("rm " SANDBOX "/libvrfbind.so");
	populate_root();
	capture_stderr(0);
	pid = fork();
	if (pid == 0) {
		NEED(chroot(SANDBOX) == 0 && chdir("/") == 0);
		exec_phase("/program", "below another root");
	}
	EQ(wait_status(pid), 0);
	said = captured_stderr();
	CONTEXT("%.150s", said);
	ours = strstr(said, "vrfbind: /program is not preloaded: libvrfbind.so is not to be found");
	EQ(ours != NULL, world == PRELOADED);
}

#ifdef __x86_64__
static void line_about_class(void)
{
	const char *program = program_in_memory(write_i386_program);

	capture_stderr(0);
	EQ(run(program), bypass_outcome());
	is_said(program, "ELF class");
}
#endif

/* One line, though the log goes to stderr too. */
static void line_and_log(void)
{
	if (!phase) {
		capture_stderr(0);
		setenv("VRFBIND_LOG", "stderr", 1);
		EQ(reexec("with a log"), 0);
		is_said("/proc/self/fd/", "statically linked");
		return;
	}
	EQ(run(program_in_memory(write_static_program)), bypass_outcome());
}

static int interpreter_of(struct dl_phdr_info *object, size_t size, void *found)
{
	(void)size;
	for (int i = 0; i < object->dlpi_phnum; i++)
		if (object->dlpi_phdr[i].p_type == PT_INTERP)
			*(const char **)found = (const char *)(object->dlpi_addr +
							       object->dlpi_phdr[i].p_vaddr);
	/* The first object is the program. */
	return 1;
}

static const char *program_interpreter(void)
{
	const char *found = NULL;

	dl_iterate_phdr(interpreter_of, &found);
	NEED(found != NULL);
	return found;
}

static void no_line(void)
{
	if (phase)
		return;
	capture_stderr(0);
	EQ(reexec("an ordinary program"), 0);
	EQ(run("/no/such/program"), 127);
	EQ(run("/"), 127);
	STR(captured_stderr(), "");
	/* ld.so is linked statically, too, and preloads into what it is told to start. */
	(void)run(program_interpreter());
	TRUE(strstr(captured_stderr(), "vrfbind: ") == NULL);
}

/* -- Other preloads. */

static void others_in_the_chain(void)
{
	const unsigned int *calls;

	if (!phase) {
		preload(beside("counts_calls.so"), NULL);
		EQ(reexec("before the library"), 0);
		preload(NULL, beside("counts_calls.so"));
		EQ(reexec("after the library"), 0);
		return;
	}
	CONTEXT("%s", phase);
	calls = dlsym(RTLD_DEFAULT, "counted_calls");
	NEED(calls != NULL);
	for (int d = 0; d < 2; d++)
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
	EQ(calls[0], 2);
}

/* Where libc's functions cannot be patched, the next hook could only make an unmarked call. */
static void others_past_the_chain(void)
{
	const unsigned int *calls;

	if (!phase) {
		setenv("VRFBIND_SEAL", "1", 1);
		preload(NULL, beside("counts_calls.so"));
		forbid_new_code();
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		EQ(reexec("after the library"), 0);
		return;
	}
	calls = dlsym(RTLD_DEFAULT, "counted_calls");
	NEED(calls != NULL);
	if (world == PRELOADED)
		EQ(info()->socket, NOT_WRITABLE);
	for (int d = 0; d < 2; d++) {
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
		BYPASS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0));
	}
	EQ(calls[0], world == PRELOADED ? 0 : 2);
}

static const char *requires_privilege(void)
{
	return geteuid() == 0 ? NULL : "only root has privileges that can stay";
}

static const struct scenario SCENARIOS[] = {
	{ "sockets made by the library are bound", ours_are_bound, .also = SEALED },
	{ "IP sockets that bypass it are refused with EPERM", bypasses_are_refused, .also = SEALED },
	{ "families that carry IP under another name are refused to everybody", disguises,
	  .also = SEALED },
	{ "other families are untouched", others_are_untouched, .also = SEALED },
	{ "the marker, each bit of it, is what makes a call the library's", marker, .also = SEALED,
	  .worlds = PRELOADED },
	{ "a sealed process is recognised by its answer to a query", question,
	  .also = SEALED },
	{ "io_uring is not available", io_uring, .also = SEALED },
#ifdef __x86_64__
	{ "i386 system calls make no IP sockets", i386, .also = SEALED, .elsewhere = requires_i386 },
	{ "an i386 program makes none", i386_program, .also = SEALED, .elsewhere = requires_i386 },
	{ "x32 system calls make none", x32, .also = SEALED },
#endif
	{ "threads, children and the program after exec are sealed", children, .also = SEALED },
	{ "a program that lost the preload and its variables gets no IP socket", stripped,
	  .also = SEALED },
	{ "a static program gets none", static_program, .also = SEALED },
	{ "a tree has one seal, however many programs and copies of the library are in it",
	  one_seal, .also = SEALED, .elsewhere = counts_filters },
	{ "a filter around the seal that refuses unknown families is no obstacle",
	  asks_through_others, .also = SEALED },
	{ "VRFBIND_VRF=default leaves the VRF and still gets sockets, of the library",
	  leaves, .also = SEALED },
	{ "another VRFBIND_VRF goes from VRF to VRF", enters_another, .also = SEALED },
	{ "VRFBIND_SEAL=0 and an empty one seal nothing", zero_and_empty,
	  .also = "VRFBIND_SEAL=0" },
	{ "without a VRF there is no seal", not_sealed, .vrf = UNSET, .also = SEALED },
	{ "with an empty one neither", not_sealed, .vrf = "", .also = SEALED },
	{ "with the default one neither", not_sealed, .vrf = "default", .also = SEALED },
	{ "where a seal cannot be installed, every IP socket fails, and a line reports it", not_to_be_had },
	{ "so it is where no_new_privs cannot be set", no_new_privs_not_to_be_had, .elsewhere = requires_root },
	{ "a VRFBIND_SEAL that is neither 0 nor 1 refuses all IP sockets", neither_0_nor_1 },
	{ "and those of a child whose environment is scrubbed", neither_for_a_child,
	  .also = "VRFBIND_SEAL=2" },
	{ "sealing takes no privileges from a process with CAP_SYS_ADMIN", privileges_stay,
	  .also = SEALED, .elsewhere = requires_privilege },
	{ "and sets no_new_privs for a process without it", privileges_go, .elsewhere = requires_root },
	{ "set-user-ID, set-group-ID and file-capability programs get no sockets, and a line reports it",
	  privileged_children, .also = SEALED, .elsewhere = requires_root },
	{ "below no_new_privs a set-user-ID program is an ordinary one; one with file capabilities is not",
	  privileged_children_of_nobody, .elsewhere = requires_root },
	{ "a line on stderr names a static program, also as an interpreter", line_about_static,
	  .also = SEALED },
	{ "also in a program whose environment was scrubbed", line_after_scrubbing,
	  .also = SEALED },
	{ "a line on stderr names a program below a root that has no library", line_about_root,
	  .also = SEALED, .elsewhere = requires_root },
#ifdef __x86_64__
	{ "a line on stderr names a program of another ELF class", line_about_class,
	  .also = SEALED, .elsewhere = requires_i386 },
#endif
	{ "it is one line though the log goes to stderr as well", line_and_log, .also = SEALED },
	{ "there is no line about a program that is preloaded, or is none", no_line,
	  .also = SEALED },
	{ "other preloads stay in the chain", others_in_the_chain, .also = SEALED },
	{ "they are bypassed where libc cannot be patched", others_past_the_chain },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
