/*
 * tap.h - a test program is a table of sentences, each with a function that proves it
 *
 * Run without arguments, the program prints a plan and runs every scenario of its table, each in a fresh exec
 * of itself and in a process group of its own, so that a crash, a hang or a leftover process does not affect
 * the next one. A scenario is run once in each of its worlds:
 *
 *   BASELINE   the same program and the same environment, but no LD_PRELOAD. The effect of the library
 *              must be missing here, or the scenario proves nothing about the library.
 *   PRELOADED  LD_PRELOAD=$VRFBIND_TEST_LIB. That it is really loaded (and in BASELINE, that it is not) is
 *              checked, because ld.so only warns about a preload that it cannot load.
 *   FACT       a statement about the kernel or libc, without the library.
 *
 * The scenario's process prints its own verdict, one TAP line, and ends with a status that stands for it. Any
 * other end (a signal, an exit(0) in the wrong place, none within the time limit) is a failure, which the
 * parent reports. All output goes to TAP_FD, a copy of stdout, so that a scenario may close, fill or replace
 * descriptors 0 to 2.
 *
 * A check that fails prints its place, the value and the expected value, and the scenario goes on. The count
 * of failures is shared with threads and forked children. A scenario can have further phases, each in another
 * exec of the program (reexec()): then `phase` is set, and the exit status tells how the checks went.
 */
#ifndef TAP_H
#define TAP_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Members that a table leaves out have these defaults. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

enum world { BASELINE = 1, PRELOADED = 2, FACT = 4 };

struct scenario {
	const char *sentence;
	void (*run)(void);
	const char *vrf;		/* VRFBIND_VRF, or UNSET; NULL: the tier's device */
	const char *also;		/* another of the library's variables, NAME=VALUE */
	unsigned int worlds;		/* 0: BASELINE, and then PRELOADED */
	const char *(*elsewhere)(void);	/* why this tier does not list it, or NULL: it does */
};

static const char UNSET[] = "(unset)";

enum {
	/* Limits of time, in seconds. An emulated machine is twenty times slower than this one. */
	HUNG = 180,			/* for a child of a scenario */
	TOO_LONG = 600,			/* for a scenario */
	TAP_FD = 198,			/* the descriptor */
	SAID_OK = 40, SAID_NOT_OK = 41,	/* exit statuses of a scenario */
	ERRNO_SENTINEL = 12321,		/* an errno that no call sets: the kernel's errnos end at 4095 */
};

static const struct scenario *scenario;
static enum world world;
static const char *phase;		/* in another exec of the program; else NULL */

static char **tap_arguments;		/* program, index, world, number of the point [, phase] */
static pid_t tap_process;		/* the process that prints the verdict */
static int *tap_failures;
static _Thread_local char tap_context[160];

/* A setting that the harness must have made. */
static inline const char *setting(const char *name)
{
	const char *value = getenv(name);

	if (value && *value)
		return value;
	dprintf(TAP_FD, "Bail out! %s is not set.\n", name);
	exit(2);
}

static inline bool tier_is(const char *name)
{
	return strcmp(setting("VRFBIND_TEST_TIER"), name) == 0;
}

/* -- Checks. Each returns its value. Of those that fail, the first twenty are shown. */

#define TRUE(condition)		tap_true(__FILE__, __LINE__, #condition, (condition))
#define EQ(got, expected)	tap_eq(__FILE__, __LINE__, #got, (got), (expected))
#define STR(got, expected)	tap_str(__FILE__, __LINE__, #got, (got), (expected))

/* The call returns something else than -1, and errno is what it was. */
#define WORKS(call) \
	({ errno = ERRNO_SENTINEL; tap_works(__FILE__, __LINE__, #call, (call)); })

/* The call returns -1 and leaves this errno. */
#define FAILS(call, error) \
	({ errno = ERRNO_SENTINEL; tap_fails(__FILE__, __LINE__, #call, (call), (error)); })

/* Without this nothing can be tested: ends the process. */
#define NEED(condition) \
	((condition) ? (void)0 : tap_give_up(__FILE__, __LINE__, #condition))

/* The subject of the checks that follow in this thread. */
#define CONTEXT(...) ((void)snprintf(tap_context, sizeof(tap_context), __VA_ARGS__))

/* A line of information. */
#define NOTE(...) ((void)dprintf(TAP_FD, "# " __VA_ARGS__))

__attribute__((format(printf, 3, 4)))
static inline void tap_fail(const char *file, int line, const char *format, ...)
{
	char text[600];
	va_list arguments;

	/* A race that is lost is lost thousands of times. */
	if (__atomic_add_fetch(tap_failures, 1, __ATOMIC_RELAXED) > 20)
		return;
	va_start(arguments, format);
	vsnprintf(text, sizeof(text), format, arguments);
	va_end(arguments);
	NOTE("%s:%d: %s%s%s\n", file, line, tap_context, *tap_context ? ": " : "", text);
}

static inline bool tap_true(const char *file, int line, const char *what, bool value)
{
	if (!value)
		tap_fail(file, line, "not so: %s", what);
	return value;
}

static inline long tap_eq(const char *file, int line, const char *what, long got, long expected)
{
	if (got != expected)
		tap_fail(file, line, "%s: got %ld, expected %ld", what, got, expected);
	return got;
}

static inline const char *tap_str(const char *file, int line, const char *what,
				  const char *got, const char *expected)
{
	if (strcmp(got, expected) != 0)
		tap_fail(file, line, "%s: got \"%s\", expected \"%s\"", what, got, expected);
	return got;
}

static inline long tap_works(const char *file, int line, const char *what, long got)
{
	int left = errno;

	if (got == -1)
		tap_fail(file, line, "%s: failed with %s", what, strerror(left));
	else if (left != ERRNO_SENTINEL)
		tap_fail(file, line, "%s: returned %ld, but left errno %s", what, got,
			 strerror(left));
	return got;
}

static inline long tap_fails(const char *file, int line, const char *what, long got, int error)
{
	int left = errno;
	char expected[80];

	snprintf(expected, sizeof(expected), "%s", strerror(error));
	if (got != -1)
		tap_fail(file, line, "%s: returned %ld, expected %s", what, got, expected);
	else if (left != error)
		tap_fail(file, line, "%s: failed with %s, expected %s", what, strerror(left),
			 expected);
	errno = left;
	return got;
}

static inline const char *tap_prefix(enum world w)
{
	return w == BASELINE ? "without: " : w == PRELOADED ? "under the library: " : "";
}

/* Whether no check has failed so far. */
static inline bool all_well(void)
{
	return *tap_failures == 0;
}

/* Ends the process: that of a scenario with its verdict, a child or a phase with 0 or 1. */
_Noreturn static inline void tap_end(const char *skipped)
{
	bool ok = all_well();

	if (phase || getpid() != tap_process)
		_exit(ok ? 0 : 1);
	dprintf(TAP_FD, "%s %s - %s%s%s%s\n", ok ? "ok" : "not ok", tap_arguments[3],
		tap_prefix(world), scenario->sentence, skipped ? " # SKIP " : "",
		skipped ? skipped : "");
	_exit(ok ? SAID_OK : SAID_NOT_OK);
}

_Noreturn static inline void tap_give_up(const char *file, int line, const char *what)
{
	tap_fail(file, line, "cannot go on without: %s (%s)", what, strerror(errno));
	tap_end(NULL);
}

/* Ends the scenario, because it cannot run here: a failure if VRFBIND_MUST_RUN=1. */
_Noreturn static inline void skip(const char *reason)
{
	const char *must_run = getenv("VRFBIND_MUST_RUN");

	if (phase || getpid() != tap_process || (must_run && strcmp(must_run, "1") == 0)) {
		tap_fail(__FILE__, __LINE__, "must run, but cannot: %s", reason);
		tap_end(NULL);
	}
	tap_end(reason);
}

/* -- Processes. */

/* Waits until a child has ended, and leaves it a zombie. pidfd_open(2) is of Linux 5.3. */
static inline bool tap_ended(pid_t pid, int seconds)
{
	struct pollfd end = { .fd = (int)syscall(SYS_pidfd_open, pid, 0), .events = POLLIN };
	int ready;

	do
		ready = poll(&end, 1, seconds * 1000);
	while (ready < 0 && errno == EINTR);
	close(end.fd);
	return ready == 1;
}

/* The exit status of a child, 128 + the signal that ended it, or -1: it hung. */
static inline int wait_status(pid_t pid)
{
	bool ended = tap_ended(pid, HUNG);
	int status;

	if (!ended)
		kill(pid, SIGKILL);
	if (waitpid(pid, &status, 0) != pid || !ended)
		return -1;
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* The arguments that run the scenario again in this program, with `phase` set. */
static inline char **phase_arguments(const char *as_phase)
{
	static char *arguments[6];

	memcpy(arguments, tap_arguments, 4 * sizeof(*arguments));
	arguments[4] = (char *)as_phase;
	return arguments;
}

/* Runs the phase, in a child. `program` is a copy of this program, or NULL: this one. */
_Noreturn static inline void exec_phase(const char *program, const char *as_phase)
{
	execv(program ? program : "/proc/self/exe", phase_arguments(as_phase));
	_exit(127);
}

/* Runs the phase in a new child, and returns its exit status: 0 if it ran to its end and all checks held. */
static inline int reexec(const char *as_phase)
{
	pid_t pid = fork();

	if (pid == 0)
		exec_phase(NULL, as_phase);
	return wait_status(pid);
}

/* The path of a file that lies beside the program. */
static inline const char *beside(const char *name)
{
	char self[4096], *path;
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

	NEED(length > 0);
	self[length] = '\0';
	*strrchr(self, '/') = '\0';
	NEED(asprintf(&path, "%s/%s", self, name) > 0);
	return path;
}

/* LD_PRELOAD for the next phase: `before`, the library if this world has it, `after`, or NULL. */
static inline void preload(const char *before, const char *after)
{
	const char *library = world == PRELOADED ? setting("VRFBIND_TEST_LIB") : "";
	char *list;

	/* ld.so skips what is empty. */
	NEED(asprintf(&list, "%s:%s:%s", before ? before : "", library, after ? after : "") > 0);
	setenv("LD_PRELOAD", list, 1);
}

static inline int tap_same_name(struct dl_phdr_info *object, size_t size, void *name)
{
	(void)size;
	return object->dlpi_name && strcmp(object->dlpi_name, name) == 0;
}

/* Whether the shared object of this path is part of the process. */
static inline bool is_loaded(const char *path)
{
	return dl_iterate_phdr(tap_same_name, (void *)path) != 0;
}

/* -- What a test program's main() returns. */

static inline void tap_environment(const struct scenario *s, enum world w)
{
	if (w == PRELOADED)
		setenv("LD_PRELOAD", setting("VRFBIND_TEST_LIB"), 1);
	else
		unsetenv("LD_PRELOAD");
	if (s->vrf == UNSET)
		unsetenv("VRFBIND_VRF");
	else
		setenv("VRFBIND_VRF", s->vrf ? s->vrf : setting("VRFBIND_TEST_DEVICE"), 1);
	unsetenv("VRFBIND_SEAL");
	unsetenv("VRFBIND_LOG");
	if (s->also)
		putenv((char *)s->also);
}

/* Runs one scenario in one world; true if its process printed "ok". */
static inline bool tap_point(char *program, const struct scenario *s, int index, enum world w,
			     int number)
{
	char index_is[12], world_is[12], number_is[12];
	char *arguments[] = { program, index_is, world_is, number_is, NULL };
	pid_t pid;
	bool ended;
	int status;

	snprintf(index_is, sizeof(index_is), "%d", index);
	snprintf(world_is, sizeof(world_is), "%d", w);
	snprintf(number_is, sizeof(number_is), "%d", number);
	pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		tap_environment(s, w);
		execv("/proc/self/exe", arguments);
		_exit(127);
	}
	setpgid(pid, pid);
	ended = tap_ended(pid, TOO_LONG);
	kill(-pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (ended && WIFEXITED(status) &&
	    (WEXITSTATUS(status) == SAID_OK || WEXITSTATUS(status) == SAID_NOT_OK))
		return WEXITSTATUS(status) == SAID_OK;
	if (!ended)
		NOTE("it had not ended after %d seconds\n", TOO_LONG);
	else if (WIFSIGNALED(status))
		NOTE("it was ended by signal %d (%s)\n", WTERMSIG(status),
		     strsignal(WTERMSIG(status)));
	else
		NOTE("it ended with status %d, without a verdict\n", WEXITSTATUS(status));
	dprintf(TAP_FD, "not ok %d - %s%s\n", number, tap_prefix(w), s->sentence);
	return false;
}

/* Runs every scenario in each of its worlds, or, with `run` false, only counts them. */
static inline int tap_all(char *program, const struct scenario *table, bool run, bool *all_ok)
{
	int points = 0;

	for (const struct scenario *s = table; s->sentence; s++) {
		unsigned int worlds = s->worlds ? s->worlds : BASELINE | PRELOADED;
		const char *elsewhere = s->elsewhere ? s->elsewhere() : NULL;

		if (elsewhere && run)
			NOTE("not in this tier: %s (%s)\n", s->sentence, elsewhere);
		for (unsigned int w = BASELINE; w <= FACT && !elsewhere; w <<= 1) {
			if (!(worlds & w))
				continue;
			points++;
			if (run && !tap_point(program, s, (int)(s - table), w, points))
				*all_ok = false;
		}
	}
	return points;
}

/* `table` ends with an empty entry. */
static inline int tap(char **argv, const struct scenario *table)
{
	bool all_ok = true;

	if (!argv[1]) {
		if (dup2(STDOUT_FILENO, TAP_FD) < 0)
			return 2;
		dprintf(TAP_FD, "1..%d\n", tap_all(argv[0], table, false, NULL));
		tap_all(argv[0], table, true, &all_ok);
		return all_ok ? 0 : 1;
	}
	tap_arguments = argv;
	tap_process = getpid();
	scenario = &table[atoi(argv[1])];
	world = (enum world)atoi(argv[2]);
	phase = argv[4];
	tap_failures = mmap(NULL, sizeof(*tap_failures), PROT_READ | PROT_WRITE,
			    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (tap_failures == MAP_FAILED)
		return 2;
	if (!phase)
		NEED(is_loaded(setting("VRFBIND_TEST_LIB")) == (world == PRELOADED));
	scenario->run();
	tap_end(NULL);
}

#endif
