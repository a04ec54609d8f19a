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
#include "single_step.h"
#include "stderr_capture.h"
#include <pthread.h>

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

static volatile long moment;		/* a word: the tracer reads it */
static long *arrived;			/* the moment when the signal came; shared with the parent */
static void (*call)(void);		/* what it interrupts */

static void open_first(void)
{
	int fd;

	errno = ERRNO_SENTINEL;
	moment = DURING;
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	moment = AFTER;
	TRUE(fd >= 0);
	EQ(errno, ERRNO_SENTINEL);
	STR(device_of(fd), expected_device());
	open_each_kind();
}

static void handler_opens(int signal)
{
	int had = errno;

	(void)signal;
	*arrived = moment;
	open_each_kind();
	errno = had;
}

/* The library refuses to move a socket that is on the device to another one. */
static int move(int fd)
{
	return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "outside", sizeof("outside"));
}

static void move_first(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0), result;

	NEED(fd >= 0);
	moment = DURING;
	result = move(fd);
	moment = AFTER;
	EQ(result, world == BASELINE ? 0 : -1);
	STR(device_of(fd), world == BASELINE ? "outside" : expected_device());
}

static void handler_moves(int signal)
{
	int had = errno, fd;

	(void)signal;
	*arrived = moment;
	fd = (int)WORKS(socket(AF_INET, SOCK_DGRAM, 0));
	EQ(move(fd), world == BASELINE ? 0 : -1);
	STR(device_of(fd), world == BASELINE ? "outside" : expected_device());
	close(fd);
	errno = had;
}

/* A child that is stopped before the call. */
static pid_t stopped_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		kill(getpid(), SIGSTOP);
		call();
		_exit(all_well() ? 0 : 1);
	}
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	return pid;
}

/* The instructions that a child executes from its stop on, and the first of them that belongs to the call. */
static struct { unsigned long pc[4096]; int first, count; } way;

static void record_way(void)
{
	pid_t pid = stopped_child();
	long now;

	way.first = way.count = 0;
	while ((now = ptrace(PTRACE_PEEKDATA, pid, (void *)&moment, NULL)) != AFTER) {
		NEED(way.count < (int)(sizeof(way.pc) / sizeof(*way.pc)));
		way.pc[way.count++] = pc_of(pid);
		if (now == BEFORE)
			way.first = way.count;
		NEED(step(pid));
	}
	NEED(way.first < way.count);
	kill(pid, SIGKILL);
	EQ(wait_status(pid), 128 + SIGKILL);
}

/* A child gets to that instruction as it did when the way was recorded, and is sent the signal there. */
static void interrupt_at(int instruction)
{
	unsigned long pc = way.pc[instruction];
	pid_t pid = stopped_child();
	bool there = true;

	*arrived = -1;
	for (int i = 0; there && i < instruction; i++)
		if (way.pc[i] == pc)
			there = run_to(pid, pc) && step(pid);
	NEED(there && run_to(pid, pc));
	NEED(ptrace(PTRACE_DETACH, pid, NULL, (void *)(long)SIGALRM) == 0);
	ends_well(pid, instruction);
	EQ(*arrived, DURING);
}

/*
 * The signal arrives before the first instruction of the call, before the second, and so on up to its last, and again from
 * the start, until there were enough trials. Where a call has more instructions than that, some are left out. The program
 * is linked with -z now, so that the instructions are those of the call, and not of ld.so. Each trial writes so many lines
 * on stderr.
 */
static void interrupt_everywhere(void (*interrupted)(void), void (*handler)(int), int wanted, int lines)
{
	struct sigaction action = { .sa_handler = handler };
	int number = 0, stride;

	call = interrupted;
	arrived = mmap(NULL, sizeof(*arrived), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	NEED(arrived != MAP_FAILED);
	NEED(sigaction(SIGALRM, &action, NULL) == 0);
	capture_stderr(0);
	record_way();
	captured_stderr();
	stride = (way.count - way.first) / wanted;
	stride += !stride;
	NOTE("%d instructions\n", way.count - way.first);
	while (number < wanted && all_well())
		for (int i = way.first; i < way.count && all_well(); i += stride, number++) {
			interrupt_at(i);
			EQ(lines_in(captured_stderr()), lines);
		}
}

static void signal_handler(void)
{
	interrupt_everywhere(open_first, handler_opens, trials(), 0);
}

/*
 * The first such refusal of a process is a line on stderr, which one of the two writes. A tenth of the trials: it has loops, and
 * each turn is a stop.
 */
static void refused_in_signal_handler(void)
{
	own_netns();
	add_devices("inside", "outside");
	interrupt_everywhere(move_first, handler_moves, trials() / 10 + 1, world == BASELINE ? 0 : 1);
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
 * on our stack. That it may call no more than exec and _exit is POSIX; programs do more. musl 1.2.3 on aarch64 has a fork
 * in its place: what the child says is in shared memory.
 */
static void vforked(void)
{
	struct said { int fd, left; };
	volatile struct said *said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int number = trials();

	NEED(said != MAP_FAILED);
	for (int i = 0; i < number && all_well(); i++) {
		pid_t pid;

		said->fd = -1;
		errno = ERRNO_SENTINEL;
		pid = vfork();
		if (pid == 0) {
			said->fd = socket(i % 2 ? AF_INET : AF_INET6, SOCK_STREAM, 0);
			said->left = errno;
			if (said->fd < 0 || strcmp(device_of(said->fd), expected_device()) != 0)
				_exit(1);
			_exit(0);
		}
		ends_well(pid, i);
		TRUE(said->fd >= 0);
		EQ(said->left, ERRNO_SENTINEL);
		/* The descriptors were the child's own. */
		FAILS(close(said->fd), EBADF);
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
	{ "a signal handler is refused a device while that is refused for the first time: one line says so",
	  refused_in_signal_handler, .vrf = "inside" },
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
