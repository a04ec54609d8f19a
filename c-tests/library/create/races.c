/*
 * races.c - sockets opened at bad moments: by threads, signal handlers and forked children
 *
 * What a preload does at its first call (looking up symbols, reading the environment) is where such
 * libraries hang or let a socket out unbound, so most trials are made in a process that has never
 * called socket(): the scenario itself does not, and forks one child for each trial, as a zygote.
 *
 * Each race is tried TRIALS times, or VRFBIND_TRIALS times if that is set (`make races`); FEWER times
 * without the library, where it only shows that the trial itself is sound, and in the VRF tier, which
 * may be an emulated machine. A trial that hangs is found by wait_status(), and every socket's device is
 * read back.
 */
#include "device.h"
#include <pthread.h>
#include <sys/ptrace.h>

enum { TRIALS = 10000, FEWER = 200, THREADS = 64 };

static int trials(void)
{
	const char *asked = getenv("VRFBIND_TRIALS");
	int number = asked ? atoi(asked) : TRIALS;

	if (world == BASELINE || tier_is("vrf"))
		number = FEWER;

	NOTE("%d trials\n", number);
	return number;
}

static void open_and_close(int domain, int type)
{
	int fd = (int)WORKS(socket(domain, type, 0));

	STR(device_of(fd), expected_device());
	EQ(close(fd), 0);
}

static void open_each_kind(void)
{
	open_and_close(AF_INET, SOCK_STREAM);
	open_and_close(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC);
}

/* What the child finds wrong is counted already; here is how it ends. */
static void ends_well(pid_t pid, int number)
{
	CONTEXT("trial %d", number);
	EQ(wait_status(pid), 0);
	CONTEXT("%s", "");
}

/* -- Threads. */

static pthread_barrier_t start;
static int rounds;

static void *thread_opens_and_closes(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&start);
	for (int i = 0; i < rounds && all_well(); i++)
		open_each_kind();
	return NULL;
}

static void threads(void)
{
	pthread_t thread[THREADS];
	int open = open_descriptors();

	rounds = trials() / THREADS + 1;
	NEED(pthread_barrier_init(&start, NULL, THREADS) == 0);
	for (int i = 0; i < THREADS; i++)
		NEED(pthread_create(&thread[i], NULL, thread_opens_and_closes, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	EQ(open_descriptors(), open);
}

static void *thread_is_refused(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&start);
	for (int i = 0; i < rounds && all_well(); i++) {
		if (world == BASELINE) {
			open_each_kind();
			continue;
		}
		FAILS(socket(AF_INET, SOCK_STREAM, 0), ENODEV);
		FAILS(socket(AF_INET6, SOCK_DGRAM, 0), ENODEV);
	}
	return NULL;
}

static void refused_threads(void)
{
	pthread_t thread[THREADS];
	int open = open_descriptors();

	rounds = trials() / THREADS + 1;
	NEED(pthread_barrier_init(&start, NULL, THREADS) == 0);
	for (int i = 0; i < THREADS; i++)
		NEED(pthread_create(&thread[i], NULL, thread_is_refused, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	EQ(open_descriptors(), open);
}

/* -- A signal handler. */

enum moment { BEFORE, DURING, AFTER };

static volatile sig_atomic_t moment;
static enum moment *arrived;		/* when the signal did; shared with the parent */

static void handler_opens(int signal)
{
	int had = errno;

	(void)signal;
	*arrived = (enum moment)moment;
	open_each_kind();
	errno = had;
}

_Noreturn static void first_socket(void)
{
	int fd;

	NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
	kill(getpid(), SIGSTOP);
	errno = ERRNO_SENTINEL;
	moment = DURING;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	moment = AFTER;
	TRUE(fd >= 0);
	EQ(errno, ERRNO_SENTINEL);
	STR(device_of(fd), expected_device());
	open_each_kind();
	_exit(0);
}

/*
 * The process is stopped before its first socket(), goes on for so many instructions, and is sent
 * the signal there.
 */
static enum moment interrupt_after(int steps, int number)
{
	pid_t pid = fork();
	int status;

	if (pid == 0)
		first_socket();
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	for (int i = 0; i < steps; i++) {
		NEED(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	}
	NEED(ptrace(PTRACE_DETACH, pid, NULL, (void *)(long)SIGALRM) == 0);
	ends_well(pid, number);
	return *arrived;
}

/*
 * The signal arrives after the first instruction of the call, after the second, and so on up to its
 * last, and again from the start, until there were so many trials, and all instructions at least once. Symbols are bound beforehand
 * (LD_BIND_NOW), so that the instructions are those of the call, and not of ld.so.
 */
static void signal_handler(void)
{
	struct sigaction action = { .sa_handler = handler_opens };
	int number = 0, steps = 0, first = 0, sweeps = 0, wanted = phase ? atoi(phase) : trials();

	if (!phase) {
		setenv("LD_BIND_NOW", "1", 1);
		/* No more at a time than end before the limit of a child. */
		for (; wanted > 0 && all_well(); wanted -= TRIALS) {
			char batch[12];

			snprintf(batch, sizeof(batch), "%d", wanted < TRIALS ? wanted : TRIALS);
			EQ(reexec(batch), 0);
		}
		return;
	}
	arrived = mmap(NULL, sizeof(*arrived), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	NEED(arrived != MAP_FAILED);
	NEED(sigaction(SIGALRM, &action, NULL) == 0);
	/* Every instruction has its turn. */
	for (; (number < wanted || sweeps == 0) && all_well(); steps++) {
		switch (interrupt_after(steps, number)) {
		case BEFORE:
			first = steps + 1;
			break;
		case DURING:
			number++;
			break;
		case AFTER:
			NEED(number > 0);
			sweeps++;
			steps = first - 1;
			break;
		}
	}
}

/* -- Children. */

static void forked(void)
{
	int number = trials();

	for (int i = 0; i < number && all_well(); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			open_each_kind();
			_exit(0);
		}
		ends_well(pid, i);
	}
	open_each_kind();
}

/*
 * The child of vfork() runs in our memory until it ends: its errno is ours, and its calls are made
 * on our stack. That it may call no more than exec and _exit is POSIX; programs do more.
 */
static void vforked(void)
{
	int number = trials();

	for (int i = 0; i < number && all_well(); i++) {
		volatile int fd = -1, left = 0;
		pid_t pid;

		errno = ERRNO_SENTINEL;
		pid = vfork();
		if (pid == 0) {
			fd = socket(i % 2 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
			left = errno;
			if (fd < 0 || strcmp(device_of(fd), expected_device()) != 0)
				_exit(1);
			_exit(0);
		}
		ends_well(pid, i);
		TRUE(fd >= 0);
		EQ(left, ERRNO_SENTINEL);
		/* The descriptors were the child's own. */
		FAILS(close(fd), EBADF);
	}
	open_each_kind();
}

/* -- A child forked while other threads are in socket(). */

static void *thread_opens_its_first(void *unused)
{
	(void)unused;
	pthread_barrier_wait(&start);
	open_each_kind();
	return NULL;
}

/* In a process new for each trial: two threads' first sockets, and a fork at that moment. */
static void fork_among_threads(void)
{
	pthread_t thread[2];
	pid_t pid;

	NEED(pthread_barrier_init(&start, NULL, 3) == 0);
	for (int i = 0; i < 2; i++)
		NEED(pthread_create(&thread[i], NULL, thread_opens_its_first, NULL) == 0);
	pthread_barrier_wait(&start);
	pid = fork();
	if (pid == 0) {
		open_each_kind();
		_exit(0);
	}
	open_each_kind();
	EQ(wait_status(pid), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
}

static void forked_among_threads(void)
{
	int number = trials();

	for (int i = 0; i < number && all_well(); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			fork_among_threads();
			_exit(0);
		}
		ends_well(pid, i);
	}
}

static const struct scenario SCENARIOS[] = {
	{ "64 threads open and close sockets: each socket has the device, none is leaked",
	  threads },
	{ "64 threads ask for sockets on a missing device: each is refused, none is leaked",
	  refused_threads, .vrf = "no-such-device" },
	{ "a signal handler opens a socket while the first one is being opened", signal_handler },
	{ "a forked child opens the first socket", forked },
	{ "a vforked child opens a socket, in the memory of its parent", vforked },
	{ "a child is forked while two threads open their first sockets", forked_among_threads },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
