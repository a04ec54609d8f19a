/*
 * tracers.c - a debugger or a tracer has its breakpoint in libc's own socket() and execve()
 *
 * The library patches these functions. A tracer's breakpoint is at their beginning, before the start or after
 * it. When it is hit, the tracer runs the instruction that it replaces, as it was in memory (a debugger) or
 * as it is in the file (a uprobe), and goes on behind it. libc's own callers have to be served all the same,
 * and nothing may crash. This program is the debugger, by ptrace(2); a uprobe is the kernel's
 * (perf_event_open(2), for this process only).
 *
 * The tracee lets libc's own socket() create a socket, and libc's own execve() start a program without its
 * variables.
 */
#include "traced.h"
#include "bypass.h"
#include "library_info.h"
#include "pass_fd.h"
#include <elf.h>
#include <limits.h>
#include <linux/perf_event.h>
#include <sys/uio.h>
#include <sys/user.h>

static const char *const TRACED[] = { "socket", "execve" };

enum { FUNCTIONS = 2 };

/* Where libc's own function is in its file; the first bytes of all libcs seen lie there as in memory. */
static unsigned long offset_in_file(const char *function, char file[PATH_MAX])
{
	unsigned char *code = libc_own(function);
	Dl_info libc;

	NEED(dladdr(code, &libc) != 0);
	NEED(realpath(libc.dli_fname, file) != NULL);
	return (unsigned long)(code - (unsigned char *)libc.dli_fbase);
}

/* -- The tracee, in another exec of this program. It stops first, for a tracer that attaches late. */

static void makes_a_socket_and_starts_a_program(void)
{
	int (*starts)(const char *, char **, char **) =
		(int (*)(const char *, char **, char **))libc_own("execve");
	char *library = getenv("LD_PRELOAD"), **to = environ;

	for (int d = 0; d < 2; d++) {
		int fd = libc_socket(FAMILIES[d], SOCK_DGRAM, 0);

		NEED(fd >= 0);
		STR(device_of(fd), expected_device());
	}
	TRUE((library != NULL) == (world == PRELOADED));
	for (char **from = environ; *from; from++)
		if (strncmp(*from, "LD_PRELOAD=", 11) != 0 && strncmp(*from, "VRFBIND_VRF=", 12) != 0)
			*to++ = *from;
	*to = NULL;
	NEED(all_well());
	starts("/proc/self/exe", phase_arguments("the program"), environ);
	NEED(!"execve() came back");
}

static void is_the_program(void)
{
	int fd = libc_socket(AF_INET, SOCK_DGRAM, 0);

	TRUE(is_loaded(setting("VRFBIND_TEST_LIB")) == (world == PRELOADED));
	STR(device_of(fd), expected_device());
}

/* The exports still work. */
static void finds_them_as_they_were(void)
{
	EQ(info()->socket, UNKNOWN_CODE);
	EQ(info()->execve, UNKNOWN_CODE);
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_DGRAM, 0))), expected_device());
}

static bool is_a_phase(void)
{
	if (!phase)
		return false;
	if (strcmp(phase, "traced twice") == 0) {
		finds_them_as_they_were();
		return true;
	}
	if (strcmp(phase, "the program") == 0) {
		is_the_program();
		return true;
	}
	raise(SIGSTOP);
	makes_a_socket_and_starts_a_program();
	return true;
}

/* -- A debugger. */

struct breakpoint {
	unsigned long offset;		/* in libc's file */
	unsigned long address;		/* 0: it is not set now */
	unsigned char was[4];
	int hits;
};

static struct breakpoint breakpoints[FUNCTIONS];
static unsigned long second;		/* the distance of another breakpoint behind each; 0: there is none */
static char libc_file[PATH_MAX];

#if defined(__x86_64__)
static const unsigned char BREAK[] = { 0xcc };
enum { BEHIND = 1 };			/* the distance of the program counter from a breakpoint that was hit */
#define PC(registers) ((registers).rip)
/* user-mode Linux has no PTRACE_GETREGSET. */
#define REGISTERS(request, pid, all) ptrace(PTRACE_##request##REGS, pid, NULL, (all)->iov_base)
#elif defined(__aarch64__)
static const unsigned char BREAK[] = { 0, 0, 0x20, 0xd4 };
enum { BEHIND = 0 };
#define PC(registers) ((registers).pc)
#define REGISTERS(request, pid, all) ptrace(PTRACE_##request##REGSET, pid, (void *)NT_PRSTATUS, all)
#endif

/* A debugger's `break` is put behind the `push %rbp` with which musl's socket() begins. */
static void find_breakpoints(void)
{
	for (int i = 0; i < FUNCTIONS; i++) {
		unsigned char *code = libc_own(TRACED[i]);

		breakpoints[i].offset = offset_in_file(TRACED[i], libc_file);
		breakpoints[i].offset += BEHIND == 1 && *code == 0x55;
	}
}

static void poke(pid_t pid, unsigned long address, const unsigned char *bytes, unsigned char *was)
{
	char path[40];
	int memory;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	memory = open(path, O_RDWR | O_CLOEXEC);
	NEED(memory >= 0);
	if (was)
		NEED(pread(memory, was, sizeof(BREAK), (off_t)address) == sizeof(BREAK));
	NEED(pwrite(memory, bytes, sizeof(BREAK), (off_t)address) == sizeof(BREAK));
	close(memory);
}

/* Where libc's code begins in a process, less its offset in the file; 0: it is not mapped yet. */
static unsigned long libc_base(pid_t pid)
{
	char path[40], line[PATH_MAX + 100], file[PATH_MAX];
	unsigned long start, offset, base = 0;
	FILE *maps;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	maps = fopen(path, "re");
	NEED(maps != NULL);
	while (!base && fgets(line, sizeof(line), maps))
		if (sscanf(line, "%lx-%*x r-xp %lx %*s %*s %4095s", &start, &offset, file) == 3 &&
		    strcmp(file, libc_file) == 0)
			base = start - offset;
	fclose(maps);
	return base;
}

static void insert(pid_t pid)
{
	unsigned long base = libc_base(pid);

	for (int i = 0; i < FUNCTIONS && base; i++) {
		struct breakpoint *it = &breakpoints[i];

		if (it->address)
			continue;
		it->address = base + it->offset;
		poke(pid, it->address, BREAK, it->was);
		if (second)
			poke(pid, it->address + second, BREAK, NULL);
	}
}

static void step_over(pid_t pid)
{
	struct user_regs_struct registers;
	struct iovec all = { &registers, sizeof(registers) };
	int status;

	NEED(REGISTERS(GET, pid, &all) == 0);
	for (int i = 0; i < FUNCTIONS; i++) {
		struct breakpoint *it = &breakpoints[i];

		if (!it->address || PC(registers) != it->address + BEHIND)
			continue;
		it->hits++;
		PC(registers) = it->address;
		NEED(REGISTERS(SET, pid, &all) == 0);
		poke(pid, it->address, it->was, NULL);
		NEED(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
		/* execve() may have been that step. */
		if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP && status >> 16 == 0)
			poke(pid, it->address, BREAK, NULL);
		return;
	}
	NEED(!"it is one of ours");
}

static void debugs(bool from_the_start)
{
	pid_t pid = fork();
	bool is_late = true;
	int status, events;

	if (pid == 0) {
		NEED(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
		exec_phase(NULL, second ? "traced twice" : "traced");
	}
	find_breakpoints();
	/* Stands behind its execve(). */
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, NULL,
		    (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC)) == 0);
	for (;;) {
		NEED(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid);
		if (!WIFSTOPPED(status))
			break;
		events = status >> 16;
		if (events == PTRACE_EVENT_EXEC) {
			for (int i = 0; i < FUNCTIONS; i++)
				breakpoints[i].address = 0;
			is_late = false;
		} else if (WSTOPSIG(status) == SIGSTOP) {
			is_late = false;
		} else if (WSTOPSIG(status) == SIGTRAP) {
			step_over(pid);
		} else if (WSTOPSIG(status) != (SIGTRAP | 0x80)) {
			CONTEXT("signal %d", WSTOPSIG(status));
			NEED(!"it goes on");
		}
		if (from_the_start || !is_late)
			insert(pid);
	}
	EQ(status, 0);
	for (int i = 0; i < FUNCTIONS && !second; i++) {
		CONTEXT("%s", TRACED[i]);
		TRUE(breakpoints[i].hits > 0);
	}
}

static void breakpoints_before(void)
{
	if (!is_a_phase())
		debugs(true);
}

static void breakpoints_after(void)
{
	if (!is_a_phase())
		debugs(false);
}

/* Another one lies where the library would write its jump. */
static void breakpoints_in_the_way(void)
{
	second = 20;
	if (!is_a_phase())
		debugs(true);
}

/* -- Uprobes. */

/* The kernel's number for uprobes, or 0 where it has none. */
static unsigned int uprobe_type(void)
{
	FILE *file = fopen("/sys/bus/event_source/devices/uprobe/type", "re");
	unsigned int type = 0;

	if (file && fscanf(file, "%u", &type) != 1)
		type = 0;
	if (file)
		fclose(file);
	return type;
}

/* On a function of libc's in this process, and in what it executes. The descriptor counts. */
static int uprobe_on(const char *function)
{
	struct perf_event_attr attributes = { .size = sizeof(attributes), .type = uprobe_type() };
	static char file[PATH_MAX];

	attributes.config2 = offset_in_file(function, file);
	attributes.config1 = (unsigned long)file;
	return (int)syscall(SYS_perf_event_open, &attributes, 0, -1, -1, 0UL);
}

static const char *requires_uprobes(void)
{
	int fd = uprobe_type() ? uprobe_on("getppid") : -1;

	if (fd >= 0)
		close(fd);
	return fd >= 0 ? NULL : "this kernel has no uprobes, or not for us";
}

enum { COUNTERS = 60 };

static void probe(int fds[FUNCTIONS])
{
	for (int i = 0; i < FUNCTIONS; i++) {
		CONTEXT("%s", TRACED[i]);
		fds[i] = uprobe_on(TRACED[i]);
		NEED(fds[i] >= 0);
	}
	CONTEXT("%s", "");
}

static void probed(const int fds[FUNCTIONS])
{
	unsigned long count = 0;

	for (int i = 0; i < FUNCTIONS; i++) {
		CONTEXT("%s", TRACED[i]);
		TRUE(read(fds[i], &count, sizeof(count)) == sizeof(count) && count > 0);
	}
}

/* The counters are the child's, and are read here when it has gone. */
static void probes(bool from_the_start)
{
	int channel[2], fds[FUNCTIONS];
	pid_t pid;

	NEED(socketpair(AF_UNIX, SOCK_STREAM, 0, channel) == 0);
	pid = fork();
	if (pid == 0) {
		NEED(dup2(channel[1], COUNTERS) == COUNTERS);
		if (from_the_start) {
			probe(fds);
			for (int i = 0; i < FUNCTIONS; i++)
				send_fd(COUNTERS, fds[i]);
		}
		exec_phase(NULL, from_the_start ? "probed already" : "to be probed");
	}
	for (int i = 0; i < FUNCTIONS; i++)
		fds[i] = receive_fd(channel[0]);
	EQ(wait_status(pid), 0);
	probed(fds);
}

static void probed_phase(void)
{
	int fds[FUNCTIONS];

	if (strcmp(phase, "to be probed") == 0) {
		probe(fds);
		for (int i = 0; i < FUNCTIONS; i++)
			send_fd(COUNTERS, fds[i]);
	}
	if (strcmp(phase, "the program") == 0)
		is_the_program();
	else
		makes_a_socket_and_starts_a_program();
}

static void uprobes_before(void)
{
	if (phase)
		probed_phase();
	else
		probes(true);
}

static void uprobes_after(void)
{
	if (phase)
		probed_phase();
	else
		probes(false);
}

static const struct scenario SCENARIOS[] = {
	{ "breakpoints on libc's socket() and execve() that are there before the start",
	  breakpoints_before },
	{ "breakpoints that come after the start", breakpoints_after },
	{ "where another one is in the way of the jump, the function is left alone", breakpoints_in_the_way,
	  .worlds = PRELOADED },
	{ "uprobes that are there before the start", uprobes_before, .elsewhere = requires_uprobes },
	{ "uprobes that come after the start", uprobes_after, .elsewhere = requires_uprobes },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
