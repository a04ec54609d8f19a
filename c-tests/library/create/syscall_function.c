/*
 * syscall_function.c - syscall(2): sockets are bound, and every other call is as without the library
 *
 * The calls that are passed on are those that a hook could spoil: six arguments of 64 bits, results of 64
 * bits, errno, and a return that happens twice, or on another stack.
 */
#include "bypass.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <time.h>

static void creations(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM | SOCK_CLOEXEC };

	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 2; t++) {
			CONTEXT("family %d, type %#x", FAMILIES[d], TYPES[t]);
			STR(device_of((int)WORKS(syscall(SYS_socket, FAMILIES[d], TYPES[t], 0))), expected_device());
		}
	CONTEXT("with a protocol");
	STR(device_of((int)WORKS(syscall(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_TCP))),
	    expected_device());
	FAILS(syscall(SYS_socket, AF_INET, SOCK_STREAM, IPPROTO_UDP), EPROTONOSUPPORT);
	/* The kernel takes ints, whatever is in the upper halves of the registers. */
	CONTEXT("more than 32 bits");
	STR(device_of((int)WORKS(syscall(SYS_socket, 0x500000000L | AF_INET,
					 0x600000000L | SOCK_STREAM, 0x700000000L))), expected_device());
	/* In the number's register only since Linux 5.14 (x86); the library never looks at them. */
	if (world == PRELOADED || raw_call(0x800000000L | SYS_getpid, 0, 0, 0, 0, 0, 0) == getpid())
		STR(device_of((int)WORKS(syscall(0x800000000L | SYS_socket, AF_INET, SOCK_STREAM, 0))),
		    expected_device());
	else
		FAILS(syscall(0x800000000L | SYS_socket, AF_INET, SOCK_STREAM, 0), ENOSYS);
	CONTEXT("other families");
	STR(device_of((int)WORKS(syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0))), "");
	STR(device_of((int)WORKS(syscall(SYS_socket, AF_NETLINK, SOCK_RAW, 0))), "");
	FAILS(syscall(SYS_socket, 0x7fff, SOCK_STREAM, 0), EAFNOSUPPORT);
}

static void refused_creations(void)
{
	int before = open_descriptors();

	for (int d = 0; d < 2; d++) {
		CONTEXT("family %d", FAMILIES[d]);
		if (world == PRELOADED)
			FAILS(syscall(SYS_socket, FAMILIES[d], SOCK_STREAM, 0), ENODEV);
		else
			STR(device_of((int)WORKS(syscall(SYS_socket, FAMILIES[d], SOCK_STREAM, 0))), "");
	}
	EQ(open_descriptors(), world == PRELOADED ? before : before + 2);
}

static void comes_in(int number)
{
	(void)number;
}

static void six_arguments(void)
{
	enum { PAGE = 65536 };		/* a whole number of pages, on every architecture */
	struct timespec now = { 0, 1000 };
	sigset_t none, usr1;
	struct { const sigset_t *mask; size_t size; } sixth = { &none, 8 };
	fd_set never;
	char *page;
	int fd = memfd_create("two pages", MFD_CLOEXEC);

	CONTEXT("mmap: the sixth is an offset");
	NEED(fd >= 0 && ftruncate(fd, 2 * PAGE) == 0);
	NEED(pwrite(fd, "first", 6, 0) == 6 && pwrite(fd, "second", 7, PAGE) == 7);
	page = (char *)WORKS(syscall(SYS_mmap, NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE));
	STR(page, "second");
	WORKS(syscall(SYS_munmap, page, PAGE));
	CONTEXT("mmap: a result of more than 32 bits");
	page = (char *)WORKS(syscall(SYS_mmap, (void *)0x1234500000, PAGE, PROT_READ,
				     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	TRUE((unsigned long)page > 0xffffffff);
	FAILS(syscall(SYS_mmap, NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), EINVAL);

	CONTEXT("pselect6: the sixth is a signal mask, which lets a signal in");
	sigemptyset(&none);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	NEED(signal(SIGUSR1, comes_in) != SIG_ERR);
	NEED(sigprocmask(SIG_BLOCK, &usr1, NULL) == 0);
	FD_ZERO(&never);
	EQ(syscall(SYS_pselect6, 0, &never, NULL, NULL, &now, NULL), 0);
	raise(SIGUSR1);
	now.tv_sec = HUNG;
	FAILS(syscall(SYS_pselect6, 0, &never, NULL, NULL, &now, &sixth), EINTR);

	CONTEXT("copy of a range: six arguments, and a count for a result");
	int to = memfd_create("another", MFD_CLOEXEC);
	off_t from = PAGE, at = 3;

	EQ(WORKS(syscall(SYS_copy_file_range, fd, &from, to, &at, 7, 0)), 7);
	FAILS(syscall(SYS_copy_file_range, fd, &from, to, &at, 7, 1), EINVAL);
	EQ(at, 10);
}

static int word;

static void *waits(void *unused)
{
	while (__atomic_load_n(&word, __ATOMIC_ACQUIRE) == 0)
		syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
	return unused;
}

static void futexes(void)
{
	struct timespec soon = { 0, 1000000 };
	pthread_t thread;

	CONTEXT("a value that is not there");
	FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0), EAGAIN);
	CONTEXT("a time limit");
	FAILS(syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, 0, &soon, NULL, 0), ETIMEDOUT);
	CONTEXT("the sixth is compared");
	FAILS(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0L, &word + 1, 5), EAGAIN);
	EQ(WORKS(syscall(SYS_futex, &word, FUTEX_CMP_REQUEUE_PRIVATE, 0, 0L, &word + 1, 0)), 0);
	CONTEXT("a thread that waits");
	NEED(pthread_create(&thread, NULL, waits, NULL) == 0);
	__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
	WORKS(syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
	NEED(pthread_join(thread, NULL) == 0);
}

static void results(void)
{
	EQ(WORKS(syscall(SYS_getpid)), getpid());
	EQ(WORKS(syscall(SYS_getppid)), getppid());
	FAILS(syscall(SYS_close, -1), EBADF);
	FAILS(syscall(100000), ENOSYS);
	FAILS(syscall(-1), ENOSYS);
	/* Only the lower half is a number to the kernel; the library must not interpret the rest. */
	EQ(syscall(SYS_getpid, -1L, -2L, -3L, -4L, -5L, -6L), getpid());
}

/* -- Calls that return twice. */

static void forks(void)
{
	/* The order of the arguments after the flags depends on the architecture, and all are 0. */
	long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (pid == 0) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
		STR(device_of((int)WORKS(syscall(SYS_socket, AF_INET6, SOCK_STREAM, 0))), expected_device());
		_exit(all_well() ? 7 : 1);
	}
	NEED(pid > 0);
	EQ(wait_status((pid_t)pid), 7);
}

/*
 * As vfork(2): the child has its parent's memory, and so its stack. That works if the child's next call is
 * the one from which its parent will return, with no other frame between the two.
 */
static void vforks(void)
{
	enum { FLAGS = 0x00004000 | 0x00000100 | SIGCHLD };	/* CLONE_VFORK, CLONE_VM */
	volatile long number = SYS_clone, first = FLAGS, result;
	volatile int shared = 0;

	for (;;) {
		result = syscall(number, first, 0L, 0L, 0L, 0L);
		if (result != 0 || number != SYS_clone)
			break;
		shared = 1;
		number = SYS_exit;
		first = 7;
	}
	NEED(result > 0);
	EQ(shared, 1);
	EQ(wait_status((pid_t)result), 7);
}

#ifdef __x86_64__
static long device_was_right;

/* Where the child below returns to, on its own stack. Aligned as if it had been called. */
__attribute__((used))
static void landed(void)
{
	int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);

	device_was_right = fd >= 0 && strcmp(device_of(fd), expected_device()) == 0;
	raw_call(SYS_exit, 7, 0, 0, 0, 0, 0);
}

/* The first word of the new stack is where syscall() returns to in the child. */
static void other_stack(void)
{
	enum { WORDS = 8192 };
	void **stack = mmap(NULL, WORDS * sizeof(*stack), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	void **top = stack + WORDS - 16;
	long pid;

	NEED(stack != MAP_FAILED);
	*top = (void *)landed;
	/* CLONE_VM: the child's results are seen here. */
	pid = syscall(SYS_clone, CLONE_VM | SIGCHLD, top, NULL, NULL, NULL);
	NEED(pid > 0);
	EQ(wait_status((pid_t)pid), 7);
	EQ(device_was_right, 1);
}

static const char *requires_glibc(void)
{
#ifdef __GLIBC__
	return NULL;
#else
	return "musl's syscall() has things of its own on the stack, which the child would miss";
#endif
}
#endif

/* -- Before the library is ready. */

static void early(void)
{
	const char *caller = beside("constructor_syscalls.so");
	char *caller_and_copy;

	if (phase) {
		CONTEXT("%s", phase);
		EQ(*(long *)dlsym(RTLD_DEFAULT, "early_process"), getpid());
		STR(device_of(*(int *)dlsym(RTLD_DEFAULT, "early_syscall_socket")), expected_device());
		EQ(*(int *)dlsym(RTLD_DEFAULT, "early_syscall_errno"), 0);
		return;
	}
	preload(caller, NULL);
	EQ(reexec("before the library"), 0);
	preload(NULL, caller);
	EQ(reexec("after the library"), 0);
	if (world == BASELINE)
		return;
	/* glibc runs one library's constructor first: that of the last library with -z initfirst. */
	NEED(asprintf(&caller_and_copy, "%s:%s", caller, copy_of_the_library()) > 0);
	preload(NULL, caller_and_copy);
	EQ(reexec("after the library, whose constructor comes late"), 0);
}

static const struct scenario SCENARIOS[] = {
	{ "syscall(SYS_socket) makes a socket on the device", creations },
	{ "or none", refused_creations, .vrf = "no-such-device" },
	{ "an inert library leaves it alone", creations, .vrf = "default" },
	{ "all six arguments arrive, and results of 64 bits", six_arguments },
	{ "futexes wait and wake", futexes },
	{ "results and errno are the kernel's", results },
	{ "a child of clone(2) returns as one of fork(2) does", forks },
	{ "a child that has its parent's stack returns, and its parent after it", vforks },
#ifdef __x86_64__
	{ "a child with a stack of its own returns on that stack", other_stack,
	  .elsewhere = requires_glibc },
#endif
	{ "it works in the constructor of another library", early },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
