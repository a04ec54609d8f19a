/*
 * seccomp.c - what the seal expects of seccomp(2) filters
 *
 * Without the library, and with filters of a few instructions that each show one thing.
 */
#include "seccomp_filters.h"
#include "bypass.h"
#include <pthread.h>

static const long NUMBER = 0x76726662;	/* the offset of the low half of the sixth register */

/* Runs a part of the scenario in a child, which may filter itself. */
static int in_child(void (*checks)(void))
{
	pid_t pid = fork();

	if (pid == 0) {
		checks();
		tap_end(NULL);
	}
	return wait_status(pid);
}

/* Hence the marker can be passed there. */
static void sixth(void)
{
	for (int bit = 0; bit < 64; bit += 7)
		STR(device_of((int)WORKS((int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 1L << bit,
						       -1L, 1L << bit))), "");
	filter_out(SYS_socket, 5, ~0U, (unsigned int)NUMBER, fails_with(EXDEV));
	FAILS((int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, NUMBER), EXDEV);
	WORKS((int)raw_call(SYS_socket, AF_INET, SOCK_STREAM, 0, 0, 0, NUMBER + 1));
}

/* Hence a seal can answer with an errno that no system call has. */
static void any_errno(void)
{
	FAILS(raw_socket(0x7672, 0, 0), EAFNOSUPPORT);
	filter_out(SYS_socket, 0, ~0U, 0x7672, fails_with(0xb1d));
	FAILS(raw_socket(0x7672, 0, 0), 0xb1d);
	filter_out(SYS_socket, 0, ~0U, 0x7673, fails_with(4095));
	FAILS(raw_socket(0x7673, 0, 0), 4095);
}

/* Hence a query in a sealed process gets the seal's answer, whatever other filters there are. */
static void the_last_of_equals(void)
{
	filter_out(SYS_socket, 0, ~0U, 0x7672, fails_with(EXDEV));
	filter_out(SYS_socket, 0, ~0U, 0x7672, fails_with(EDOM));
	FAILS(raw_socket(0x7672, 0, 0), EDOM);
}

static void *in_thread(void *unused)
{
	FAILS(raw_socket(AF_UNIX, SOCK_STREAM, 0), EXDEV);
	return unused;
}

static void a_child(void)
{
	FAILS(raw_socket(AF_UNIX, SOCK_STREAM, 0), EXDEV);
}

/* Hence one seal is enough for a process tree. */
static void inherited(void)
{
	pthread_t thread;

	if (phase) {
		a_child();
		return;
	}
	filter_out(SYS_socket, 0, ~0U, AF_UNIX, fails_with(EXDEV));
	NEED(pthread_create(&thread, NULL, in_thread, NULL) == 0);
	pthread_join(thread, NULL);
	EQ(in_child(a_child), 0);
	EQ(reexec("after exec"), 0);
	EQ(reexec_stripped("after another way of exec"), 0);
}

static void unprivileged(void)
{
	static const struct sock_filter ALLOW = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { 1, (struct sock_filter *)&ALLOW };

	NEED(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 0);
	FAILS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), EACCES);
	WORKS(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	WORKS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
}

/* Hence no_new_privs is set only if it is necessary. */
static void requires_no_new_privs(void)
{
	static const struct sock_filter ALLOW = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	const struct sock_fprog program = { 1, (struct sock_filter *)&ALLOW };

	if (geteuid() == 0)
		WORKS(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
	give_up_capabilities();
	unprivileged();
}

#ifdef __x86_64__
/* Hence a filter that looks at numbers has to look at the architecture first. */
static void other_architectures(void)
{
	enum { I386_SOCKET = 359 };

	WORKS((int)call_i386(I386_SOCKET, AF_UNIX, SOCK_STREAM, 0));
	filter_out(SYS_socket, 0, ~0U, AF_UNIX, fails_with(EXDEV));
	FAILS(raw_socket(AF_UNIX, SOCK_STREAM, 0), EXDEV);
	WORKS((int)call_i386(I386_SOCKET, AF_UNIX, SOCK_STREAM, 0));
}
#endif

static const struct scenario SCENARIOS[] = {
	{ "socket() has three arguments, and a filter sees six", sixth, .worlds = FACT },
	{ "a filter can answer with any errno up to 4095; family 0x7672 does not exist",
	  any_errno, .worlds = FACT },
	{ "of two filters that answer with an errno the last one counts", the_last_of_equals,
	  .worlds = FACT },
	{ "threads, children and the program after exec are filtered", inherited,
	  .worlds = FACT },
	{ "prctl(PR_SET_SECCOMP) fails with EACCES without CAP_SYS_ADMIN and no_new_privs",
	  requires_no_new_privs, .worlds = FACT },
#ifdef __x86_64__
	{ "a filter sees i386 system calls too, under their numbers", other_architectures,
	  .worlds = FACT, .elsewhere = requires_i386 },
#endif
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
