/*
 * libc_is_patchable.c - what patching libc's functions requires of libc and the kernel
 *
 * Without the library. A jump is written over libc's own socket() or execve(), as the library does it, but to
 * a function that reports its call: so it shows which callers reach the code.
 */
#include "seccomp_filters.h"
#include "bypass.h"
#include <netdb.h>
#include <pthread.h>
#include <spawn.h>

enum { ARRIVED = 33, JUMP_SIZE = 16 };

static int arrivals;

static int refuses(void)
{
	arrivals++;
	errno = EAFNOSUPPORT;
	return -1;
}

static void exits(void)
{
	_exit(ARRIVED);
}

/* A jump to `target`, by a register that is free at a call. */
static void make_jump(unsigned char jump[JUMP_SIZE], void (*target)(void))
{
#if defined(__x86_64__)
	static const unsigned char CODE[8] = { 0xff, 0x25, 2, 0, 0, 0 };	/* jmp *2(%rip) */
#elif defined(__aarch64__)
	/* ldr x16, 8; br x16 */
	static const unsigned char CODE[8] = { 0x50, 0, 0, 0x58, 0, 2, 0x1f, 0xd6 };
#endif
	memcpy(jump, CODE, sizeof(CODE));
	memcpy(jump + 8, &target, sizeof(target));
}

static ssize_t write_through_proc(void *to, const void *bytes, size_t size)
{
	int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ssize_t written = memory < 0 ? -1 : pwrite(memory, bytes, size, (off_t)to);

	if (memory >= 0)
		close(memory);
	return written;
}

static void patch(const char *name, void (*target)(void))
{
	unsigned char jump[JUMP_SIZE], *function = libc_own(name);

	make_jump(jump, target);
	NEED(write_through_proc(function, jump, sizeof(jump)) == sizeof(jump));
	NEED(memcmp(function, jump, sizeof(jump)) == 0);
}

/* Names are resolved over IP here: the name server is queried, even if none exists. */
static void resolver(void)
{
	struct addrinfo *found, hints = { .ai_family = AF_INET, .ai_socktype = SOCK_STREAM,
					  .ai_flags = AI_NUMERICSERV };

	patch("socket", (void (*)(void))refuses);
	EQ(socket(AF_UNIX, SOCK_STREAM, 0), -1);
	EQ(arrivals, 1);
	TRUE(getaddrinfo("name.invalid", "1", &hints, &found) != 0);
	TRUE(arrivals > 1);
#ifdef __GLIBC__
	NEED(dlsym(RTLD_DEFAULT, "__socket") == libc_own("socket"));
#endif
}

/* Every way to another program, each in a child. */
static void ways_to_exec(void)
{
	static char *arguments[] = { "true", NULL }, *environment[] = { NULL };
	static const char TRUE_PATH[] = "/bin/true";
	pid_t pid;

	patch("execve", exits);
	for (int way = 0; way < 6; way++) {
		pid = fork();
		if (pid == 0) {
			switch (way) {
			case 0: execve(TRUE_PATH, arguments, environment); break;
			case 1: execv(TRUE_PATH, arguments); break;
			case 2: execvp("true", arguments); break;
			case 3: execl(TRUE_PATH, "true", (char *)NULL); break;
			case 4: execle(TRUE_PATH, "true", (char *)NULL, environment); break;
			case 5: execvpe("true", arguments, environment); break;
			}
			_exit(1);
		}
		CONTEXT("way %d", way);
		EQ(wait_status(pid), ARRIVED);
	}
	CONTEXT("posix_spawn");
	NEED(posix_spawn(&pid, TRUE_PATH, NULL, NULL, arguments, environment) == 0);
	EQ(wait_status(pid), ARRIVED);
	CONTEXT("posix_spawnp");
	NEED(posix_spawnp(&pid, "true", NULL, NULL, arguments, environment) == 0);
	EQ(wait_status(pid), ARRIVED);
	CONTEXT("system");
	EQ(WEXITSTATUS(system("true")), ARRIVED);
	CONTEXT("popen");
	EQ(WEXITSTATUS(pclose(popen("true", "r"))), ARRIVED);
}

/* A page of code like libc's, from a file. */
static unsigned char *some_code(void)
{
	return libc_own("getppid");
}

/* The byte is inverted in a child; another process's getppid() still runs the original. */
static void written_privately(void)
{
	unsigned char *code = some_code(), was = *code, is = (unsigned char)~was;
	pid_t pid;

	if (phase) {
		NEED(getppid() > 0);
		return;
	}
	pid = fork();
	if (pid == 0) {
		NEED(write_through_proc(code, &is, 1) == 1);
		EQ(*code, is);
		tap_end(NULL);
	}
	EQ(wait_status(pid), 0);
	EQ(*code, was);
	NEED(getppid() > 0);
	EQ(reexec("from the file"), 0);
}

static unsigned char *page_of(unsigned char *code)
{
	return (unsigned char *)((unsigned long)code & ~(unsigned long)(sysconf(_SC_PAGESIZE) - 1));
}

static void under_mdwe(void)
{
	unsigned char *code = some_code(), *page = page_of(code), byte = *code;

	set_mdwe();
	FAILS(mprotect(page, 1, PROT_READ | PROT_WRITE | PROT_EXEC), EACCES);
	EQ(write_through_proc(code, &byte, 1), 1);
	EQ(getppid() > 0, 1);
	/* Execute permission can be taken away but not given back: libc's code would be lost. */
	page = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	NEED(page != MAP_FAILED);
	WORKS(mprotect(page, 1, PROT_READ | PROT_WRITE));
	FAILS(mprotect(page, 1, PROT_READ | PROT_EXEC), EACCES);
}

static void not_dumpable(void)
{
	unsigned char *code = some_code(), *page = page_of(code), byte = *code;

	NEED(geteuid() != 0 || become_nobody());
	NEED(prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0);
	EQ(open("/proc/self/mem", O_RDWR), -1);
	EQ(errno, EACCES);
	WORKS(mprotect(page, 1, PROT_READ | PROT_WRITE | PROT_EXEC));
	*(volatile unsigned char *)code = byte;
	WORKS(mprotect(page, 1, PROT_READ | PROT_EXEC));
	NEED(getppid() > 0);
}

/*
 * The address identifies the thread, and is the same in a child of vfork(2). The compiler takes it for the same in all of a
 * function, so it is asked for in another one.
 */
__attribute__((noipa)) static void *errno_of_thread(void *address)
{
	*(int **)address = &errno;
	return NULL;
}

static void thread_addresses(void)
{
	int *in_thread = NULL, *here, *in_child;
	pthread_t thread;
	pid_t pid;

	NEED(pthread_create(&thread, NULL, errno_of_thread, &in_thread) == 0);
	pthread_join(thread, NULL);
	errno_of_thread(&here);
	TRUE(in_thread != NULL && in_thread != here);
	pid = vfork();
	if (pid == 0) {
		errno_of_thread(&in_child);
		_exit(in_child == here ? 0 : 1);
	}
	EQ(wait_status(pid), 0);
}

static const struct scenario SCENARIOS[] = {
	{ "libc resolves names with sockets from its own socket()", resolver, .worlds = FACT },
	{ "libc's ways to another program all end in its own execve()", ways_to_exec,
	  .worlds = FACT },
	{ "what is written to code through /proc/self/mem is private to the process",
	  written_privately, .worlds = FACT },
	{ "PR_SET_MDWE allows that, and no other way", under_mdwe, .worlds = FACT,
	  .elsewhere = requires_mdwe },
	{ "a process that may not be dumped cannot use /proc/self/mem, but can use mprotect()", not_dumpable,
	  .worlds = FACT },
	{ "errno's address identifies a thread, and is the same in a child of vfork()", thread_addresses,
	  .worlds = FACT },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
