/*
 * started_programs.c - a program that this one executes, or starts, is in the VRF too
 *
 * All ways to start a program end in execve(2), and the environment that they pass may have lost LD_PRELOAD
 * and VRFBIND_VRF: `env -i`, clearenv(3), an explicit list. The library puts back what is missing, and
 * changes nothing else. The verdict is the child's report (reach/reporting_child.c): the device of its
 * sockets, or its environment to the byte. Without the library each child is in no VRF, and has just what it
 * was passed.
 *
 * The library must not leave anything behind in a process that starts programs: a child of vfork(2) or
 * posix_spawn(3) works in its parent's memory, on a stack that may be small.
 */
#include "ways_to_exec.h"
#include "seccomp_filters.h"
#include "traced.h"
#include <sys/time.h>

enum { MANY = 10000 };			/* variables */

/* All programs that `start` starts are on this device: `times` programs with a socket of each family. */
static void are_on(const char *device, int times, void (*start)(void))
{
	static char said[8192], expected[8192];
	size_t length = 0;

	for (int i = 0; i < 2 * times; i++)
		length += (size_t)snprintf(expected + length, sizeof(expected) - length, "%s\n",
					   *device ? device : "none");
	collect_reports(start, said, sizeof(said));
	STR(said, expected);
}

static void stays(void (*start)(void))
{
	are_on(expected_device(), 1, start);
}

#define RUN_OF(name, title, elsewhere) static void way_##name(void) { stays(start_##name); }
EVERY_WAY(RUN_OF)

/* -- What the environment is then. */

static char **passed;			/* what start_with_passed() passes */

static void start_with_passed(void)
{
	execve(child_path, child_argv, passed);
}

/* The environment that a child reports when it was passed `list` is `expected`, to the byte. */
static void becomes(char **list, char **expected)
{
	static char said[1 << 20], text[1 << 20];
	size_t length = 0, heard;

	passed = list;
	child_argv[1] = "environ";
	heard = collect_reports(start_with_passed, said, sizeof(said));
	child_argv[1] = NULL;
	for (; *expected; expected++)
		length += (size_t)snprintf(text + length, sizeof(text) - length, "%s", *expected) + 1;
	if (EQ((long)heard, (long)length) == (long)length && TRUE(!memcmp(said, text, length)))
		return;
	for (char *entry = said; entry < said + heard; entry += strlen(entry) + 1)
		NOTE("the child has %.200s\n", entry);
}

/* A child that is passed `list` is on this device. */
static void is_on(const char *device, char **list)
{
	passed = list;
	are_on(device, 1, start_with_passed);
}

/* NAME=VALUE. */
__attribute__((format(printf, 1, 2)))
static char *entry(const char *format, ...)
{
	va_list arguments;
	char *text;

	va_start(arguments, format);
	NEED(vasprintf(&text, format, arguments) > 0);
	va_end(arguments);
	return text;
}

#define LIST(...) ((char *[]){ __VA_ARGS__, NULL })
#define LIBRARY setting("VRFBIND_TEST_LIB")
#define DEVICE setting("VRFBIND_TEST_DEVICE")

static void passes(char **list, char **expected)
{
	becomes(list, world == PRELOADED ? expected : list);
	is_on(expected_device(), list);
}

/* The list has everything needed, so this holds without the library in the parent as well. */
static void passes_untouched(char **list)
{
	becomes(list, list);
	is_on(DEVICE, list);
}

static void complete(void)
{
	char *preload_it = entry("LD_PRELOAD=%s", LIBRARY);
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE), **many;

	passes_untouched(LIST("A=1", preload_it, "A=2", "no equals sign", "", "=", "B=", vrf,
			      "C=\x01\xff\n"));
	passes_untouched(LIST(vrf, "VRFBIND_VR=x", "VRFBIND_VRF2=x", "LD_PRELOADED=x", preload_it));

	many = calloc(MANY + 1, sizeof(*many));
	for (int i = 0; i < MANY - 2; i++)
		many[i] = entry("VARIABLE_%d=%d", i, i);
	many[MANY - 2] = vrf;
	many[MANY - 1] = preload_it;
	passes_untouched(many);
}

/* The list that the kernel is passed for `list`, looked at before execve(2) begins. */
static char **list_at_execve(char **list)
{
	struct __ptrace_syscall_info info;
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0)
			execve(child_path, child_argv, list);
		_exit(127);
	}
	NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	NEED(ptrace(PTRACE_SETOPTIONS, pid, NULL,
		    (void *)(PTRACE_O_EXITKILL | PTRACE_O_TRACESYSGOOD)) == 0);
	do {
		NEED(ptrace(PTRACE_SYSCALL, pid, NULL, NULL) == 0);
		NEED(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
		info = where_it_stands(pid);
	} while (info.op != CALLS || info.entry.nr != SYS_execve);
	kill(pid, SIGKILL);
	NEED(waitpid(pid, &status, 0) == pid);
	return (char **)info.entry.args[2];
}

static void own_list(void)
{
	char *preload_it = entry("LD_PRELOAD=%s", LIBRARY);
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE);
	char **complete_list = LIST("A=1", preload_it, vrf), **scrubbed = LIST("A=1", vrf);

	child_path = beside("reporting_child");
	TRUE(list_at_execve(complete_list) == complete_list);
	/* The program's own list never changes. */
	EQ(list_at_execve(scrubbed) == scrubbed, world == BASELINE);
}

static void put_back(void)
{
	char *preload_it = entry("LD_PRELOAD=%s", LIBRARY);
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE);

	passes(LIST("A=1", "B=2"), LIST("A=1", "B=2", preload_it, vrf));
	passes(NOTHING, LIST(preload_it, vrf));
	passes(LIST("A=1", vrf, "B=2"), LIST("A=1", vrf, "B=2", preload_it));
	passes(LIST(preload_it, "A=1"), LIST(preload_it, "A=1", vrf));
	CONTEXT("empty is scrubbed");
	passes(LIST("LD_PRELOAD=", "VRFBIND_VRF=", "A=1"), LIST("A=1", preload_it, vrf));
	passes(LIST(preload_it, "VRFBIND_VRF="), LIST(preload_it, vrf));
}

static void other_preloads(void)
{
	const char *other = beside("counts_calls.so"), *third = beside("clobbers_errno.so");
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE);
	char *const HOLD[] = {
		entry("LD_PRELOAD=%s:%s", LIBRARY, other),
		entry("LD_PRELOAD=%s:%s", other, LIBRARY),
		entry("LD_PRELOAD=%s %s", other, LIBRARY),
		entry("LD_PRELOAD=:%s::%s:", other, LIBRARY),
	};

	passes(LIST(entry("LD_PRELOAD=%s", other), vrf),
	       LIST(vrf, entry("LD_PRELOAD=%s:%s", LIBRARY, other)));
	passes(LIST(entry("LD_PRELOAD=%s:%s", other, third), vrf),
	       LIST(vrf, entry("LD_PRELOAD=%s:%s:%s", LIBRARY, other, third)));
	passes(LIST(entry("LD_PRELOAD=%s %s", other, third), vrf),
	       LIST(vrf, entry("LD_PRELOAD=%s:%s %s", LIBRARY, other, third)));
	if (world == BASELINE)
		return;
	/* A list that has the library in it, at whatever place, is left as it is. */
	for (int i = 0; i < 4; i++) {
		CONTEXT("%s", HOLD[i]);
		passes_untouched(LIST("A=1", HOLD[i], vrf));
	}
}

/* A program may pass a name twice. glibc's ld.so takes the last LD_PRELOAD, musl's the first. */
static void twice(void)
{
	char *preload_it = entry("LD_PRELOAD=%s", LIBRARY);
	char *preload_other = entry("LD_PRELOAD=%s", beside("counts_calls.so"));
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE);

	if (world == BASELINE) {
		is_on(expected_device(), LIST("LD_PRELOAD=", vrf));
		return;
	}
	CONTEXT("LD_PRELOAD: the library first");
	is_on(expected_device(), LIST(preload_it, preload_other, vrf));
	CONTEXT("LD_PRELOAD: the library last");
	is_on(expected_device(), LIST(preload_other, preload_it, vrf));
	CONTEXT("LD_PRELOAD: the first is empty");
	is_on(expected_device(), LIST("LD_PRELOAD=", preload_it, vrf));
	CONTEXT("VRFBIND_VRF: the first is empty");
	is_on(expected_device(), LIST(preload_it, "VRFBIND_VRF=", vrf));
	CONTEXT("VRFBIND_VRF: the first is empty, and then it says default");
	is_on(expected_device(), LIST(preload_it, "VRFBIND_VRF=", "VRFBIND_VRF=default"));
	CONTEXT("VRFBIND_VRF: default, and then something else");
	is_on("", LIST(preload_it, "VRFBIND_VRF=default", vrf));
}

/*
 * A name under which ld.so does not find the library: it would print a warning, and start the program
 * unbound.
 */
static void misleading_name(void)
{
	static const char *const NOWHERE[] = {
		"/nonexistent/libvrfbind.so", "libvrfbind.so", "/nonexistent/$LIB/libvrfbind.so",
		"./libvrfbind.so", "../libvrfbind.so",
	};
	char *vrf = entry("VRFBIND_VRF=%s", DEVICE);

	NEED(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
	for (size_t i = 0; i < sizeof(NOWHERE) / sizeof(*NOWHERE); i++) {
		CONTEXT("LD_PRELOAD=%s", NOWHERE[i]);
		is_on(expected_device(), LIST(entry("LD_PRELOAD=%s", NOWHERE[i]), vrf));
	}
}

/* -- A child may choose its VRF. */

static void has_spoken(void)
{
	const char *other = other_device();
	char *preload_it = entry("LD_PRELOAD=%s", LIBRARY);
	char *vrf = entry("VRFBIND_VRF=%s", other);

	CONTEXT("%s", vrf);
	is_on(world == PRELOADED ? other : "", LIST(vrf));
	if (world == PRELOADED)
		becomes(LIST("A=1", vrf), LIST("A=1", vrf, preload_it));
	CONTEXT("VRFBIND_VRF=default");
	is_on("", LIST("VRFBIND_VRF=default"));
	is_on("", LIST(preload_it, "VRFBIND_VRF=default"));
}

static void start_env_default(void)
{
	execlp("env", "env", "VRFBIND_VRF=default", child_path, (char *)NULL);
}

static void start_env_empty(void)
{
	execlp("env", "env", "VRFBIND_VRF=", child_path, (char *)NULL);
}

static void leaves(void)
{
	are_on("", 1, start_env_default);
	CONTEXT("and empty is no word");
	stays(start_env_empty);
}

/* -- What it costs a process that starts programs. */

/* Of /proc/self/statm: the size of the address space, in pages. */
static long pages(void)
{
	long number = 0;
	FILE *statm = fopen("/proc/self/statm", "re");

	NEED(statm && fscanf(statm, "%ld", &number) == 1);
	fclose(statm);
	return number;
}

static char **many_variables(int count)
{
	char **list = calloc((size_t)count + 1, sizeof(*list));

	NEED(list != NULL);
	for (int i = 0; i < count; i++)
		list[i] = entry("VARIABLE_%d=%d", i, i);
	return list;
}

static void by_spawn(char **envp)
{
	pid_t pid = 0;

	EQ(posix_spawn(&pid, child_path, NULL, NULL, child_argv, envp), 0);
	ended_well(pid);
}


/* The program's own memory: the list, and all of its strings. */
static unsigned long sum_of(char **list)
{
	unsigned long sum = 0;

	for (char **at = list; *at; at++) {
		sum = sum * 31 + (unsigned long)*at;
		for (const char *c = *at; *c; c++)
			sum = sum * 31 + (unsigned char)*c;
	}
	return sum;
}

/* Without the library there is nothing to test, and on an emulated machine no time for it. */
static int times(int number)
{
	return world == BASELINE || tier_is("vrf") ? number / 10 : number;
}

enum { TIMES = 300 };

static void start_often(void)
{
	static void (*const HOW[])(char **) = { by_spawn, by_vfork };
	char **list = many_variables(MANY);
	unsigned long sum = sum_of(list), own_sum = sum_of(environ);
	char **own = environ;
	long before = 0;

	for (int i = 0; i < times(TIMES); i++) {
		/* Memory that is kept for reuse is allocated by the first few calls. */
		if (i == 10)
			before = pages();
		HOW[i % 2](list);
	}
	EQ(pages(), before);
	TRUE(sum_of(list) == sum);
	TRUE(environ == own && sum_of(environ) == own_sum);
}

static void often(void)
{
	are_on(expected_device(), times(TIMES), start_often);
}

static void fails_cleanly(int error)
{
	char **list = many_variables(1000);
	int open = open_descriptors();
	long before = 0;
	pid_t pid;

	for (int i = 0; i < times(5000); i++) {
		if (i == 10)
			before = pages();
		FAILS(execve("/nonexistent/program", child_argv, list), error);
		FAILS(execv("/nonexistent/program", child_argv), error);
	}
	for (int i = 0; i < times(1000); i++) {
		EQ(posix_spawn(&pid, "/nonexistent/program", NULL, NULL, child_argv, list), error);
		EQ(status_after_vfork("/nonexistent/program", list), error);
	}
	EQ(pages(), before);
	EQ(open_descriptors(), open);
}

static void start_after_failures(void)
{
	fails_cleanly(ENOENT);
	by_spawn(NOTHING);
	start_execve();
}

static void failing(void)
{
	are_on(expected_device(), 2, start_after_failures);
}

/*
 * execve(2) is async-signal-safe, and vfork(2) is called in handlers too. The handler finds the
 * program in the midst of an execve of its own, and its child has a larger environment each time.
 */
enum { SIGNALS = 2000 };

static char **growing;			/* twice SIGNALS variables; its end is what is passed */
static volatile sig_atomic_t handled;

static void exec_in_handler(int signal)
{
	int had = errno;
	char **list = growing + SIGNALS - handled;

	(void)signal;
	if (handled < SIGNALS) {
		handled++;
		execve("/nonexistent/program", child_argv, list);
		EQ(status_after_vfork("/nonexistent/program", list), ENOENT);
	}
	errno = had;
}

static void start_in_handler(void)
{
	struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = exec_in_handler, .sa_flags = SA_RESTART };
	char **list = many_variables(SIGNALS);

	growing = many_variables(2 * SIGNALS);
	NEED(sigaction(SIGALRM, &action, NULL) == 0 && setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (handled < times(SIGNALS))
		FAILS(execve("/nonexistent/program", child_argv, list), ENOENT);
	NEED(setitimer(ITIMER_REAL, &never, NULL) == 0);
	by_vfork(list);
}

static void in_handler(void)
{
	stays(start_in_handler);
}

enum { THREADS = 64, EACH = 5 };

static void *spawns(void *list)
{
	for (int i = 0; i < EACH; i++)
		by_spawn(list);
	return NULL;
}

static void start_threads(void)
{
	pthread_t threads[THREADS];
	char **list = many_variables(100);

	for (int i = 0; i < THREADS; i++)
		NEED(pthread_create(&threads[i], NULL, spawns, i % 2 ? list : NOTHING) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void threads_at_once(void)
{
	are_on(expected_device(), THREADS * EACH, start_threads);
}

enum { STACK = 131072 };		/* the least that glibc lets a thread have on aarch64 */
enum { SUCCESSION = 1500 };		/* more than a table of the library has slots (src/exec/memory.rs) */

static void *spawns_silent(void *program)
{
	char *argv[] = { program, "silent", NULL };
	pid_t pid = 0;

	EQ(posix_spawn(&pid, program, NULL, NULL, argv, NOTHING), 0);
	if (pid > 0)
		EQ(wait_status(pid), 0);
	return NULL;
}

/* Each thread has its stack, and so its errno, elsewhere. */
static void start_after_threads(void)
{
	static char stacks[SUCCESSION][STACK] __attribute__((aligned(4096)));
	char *program = (char *)beside("reporting_child-static");
	pthread_attr_t attributes;
	pthread_t thread;

	NEED(pthread_attr_init(&attributes) == 0);
	for (int i = 0; i < times(SUCCESSION); i++) {
		NEED(pthread_attr_setstack(&attributes, stacks[i], sizeof(stacks[i])) == 0);
		NEED(pthread_create(&thread, &attributes, spawns_silent, program) == 0);
		pthread_join(thread, NULL);
	}
	by_spawn(NOTHING);
}

static void threads_in_turn(void)
{
	stays(start_after_threads);
}

/* More than the library's bound (LARGEST, src/exec.rs), which is more than the kernel takes. */
static void too_large(void)
{
	static char *list[(9 << 20) / sizeof(char *)];
	pid_t pid;

	for (size_t i = 0; i < sizeof(list) / sizeof(*list) - 1; i++)
		list[i] = "";
	child_path = beside("reporting_child");
	FAILS(execve(child_path, child_argv, list), E2BIG);
	EQ(posix_spawn(&pid, child_path, NULL, NULL, child_argv, list), E2BIG);
	/* Afterwards everything still works. */
	stays(start_vfork);
}

/* The kernel fails with EFAULT (execve(2)); the library, which has to read the array, crashes. */
static void list_nowhere(void)
{
	char **nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();

	if (pid == 0) {
		NEED(nowhere != MAP_FAILED);
		execve(beside("reporting_child"), child_argv, nowhere);
		_exit(errno);
	}
	EQ(wait_status(pid), world == PRELOADED ? 128 + SIGSEGV : EFAULT);
}

/* The kernel takes strings of up to 128 KiB (MAX_ARG_STRLEN, execve(2)). */
static void long_preload(void)
{
	char *list = malloc(131072);

	NEED(list != NULL);
	memset(list, ':', 131071);
	list[131071] = '\0';
	memcpy(list, "LD_PRELOAD=", 11);
	child_path = beside("reporting_child");
	if (world == BASELINE)
		is_on("", LIST(list));
	else
		FAILS(execve(child_path, child_argv, LIST(list)), E2BIG);
	list[131071 - PATH_MAX] = '\0';
	is_on(expected_device(), LIST(list));
}

/*
 * musl's child of posix_spawnp() has a stack of 5 KiB, and puts PATH and the name on it. The file is in the
 * last directory of the longest possible PATH, and has the longest name.
 */
static void start_from_longest_path(void)
{
	char directory[] = "/tmp/reach.XXXXXX", name[NAME_MAX + 1], file[PATH_MAX + NAME_MAX];
	static char path[PATH_MAX];
	size_t length = 0;
	pid_t pid = 0;

	NEED(mkdtemp(directory) != NULL);
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	snprintf(file, sizeof(file), "%s/%s", directory, name);
	NEED(symlink(child_path, file) == 0);
	/* As many directories that do not exist as fit before it. */
	while (length + sizeof("/x:") + sizeof(directory) < sizeof(path))
		length += (size_t)snprintf(path + length, sizeof(path) - length, "/x:");
	snprintf(path + length, sizeof(path) - length, "%s", directory);
	setenv("PATH", path, 1);
	EQ(posix_spawnp(&pid, name, NULL, NULL, child_argv, NOTHING), 0);
	if (pid > 0)
		EQ(wait_status(pid), 0);
	unlink(file);
	rmdir(directory);
}

static void longest_path(void)
{
	stays(start_from_longest_path);
}

/*
 * How much of the stack a failing execve(2) needs. The program is static, so that it causes a warning, and
 * may be read but not executed. musl's posix_spawnp() leaves some 700 bytes.
 */
enum { ROOM = 640 };

static unsigned char stack[STACK] __attribute__((aligned(4096)));
static char not_executable[] = "/tmp/reach.XXXXXX";

static void *fails_to_exec(void *unused)
{
	unsigned char here, *lowest = stack;

	/* Once before, since symbols that are bound at the first call need stack of their own. */
	for (int again = 0; again < 2; again++) {
		memset(stack, 0xa5, (size_t)(&here - stack) - 200);
		execve(not_executable, child_argv, NOTHING);
		EQ(errno, EACCES);
	}
	while (*lowest == 0xa5)
		lowest++;
	NOTE("%ld bytes\n", (long)(&here - lowest));
	TRUE(&here - lowest <= ROOM);
	return unused;
}

static void little_stack(void)
{
	pthread_attr_t attributes;
	pthread_t thread;
	int fd = mkstemp(not_executable);

	NEED(fd >= 0 && close(fd) == 0);
	command("cat '%s' >%s", beside("reporting_child-static"), not_executable);
	NEED(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
	NEED(pthread_attr_init(&attributes) == 0);
	NEED(pthread_attr_setstack(&attributes, stack, sizeof(stack)) == 0);
	NEED(pthread_create(&thread, &attributes, fails_to_exec, NULL) == 0);
	NEED(pthread_join(thread, NULL) == 0);
	unlink(not_executable);
}

#ifndef __GLIBC__
extern int execveat(int, const char *, char *const [], char *const [], int) __attribute__((weak));

static void start_execveat_if_there(void)
{
	if (execveat)
		execveat(AT_FDCWD, child_path, child_argv, NOTHING, 0);
	else
		syscall(SYS_execveat, AT_FDCWD, child_path, child_argv, NOTHING, 0);
}

static void execveat_of_ours(void)
{
	stays(start_execveat_if_there);
}
#endif

/* -- How the library was named when we were started. */

static void start_execve_or_report(void)
{
	start_execve();
	report_socket(-1);
}

/* LD_PRELOAD is a list with spaces in it: there is no way to name the library to the child. */
static void are_not_outside(void (*start)(void))
{
	char said[200];

	collect_reports(start, said, sizeof(said));
	NOTE("%.*s\n", (int)strcspn(said, "\n"), said);
	EQ(strstr(said, "none") != NULL, world == BASELINE);
}

#define IN_DIRECTORY "started in the directory of the library"

/*
 * LD_PRELOAD=./libvrfbind.so, in a directory of this name with a copy. To keep it as it is, we leave the VRF
 * first: a program in the VRF would be given the library by its other name too.
 */
static void named_from(char *directory)
{
	if (!phase) {
		NEED(mkdtemp(directory) && chdir(directory) == 0);
		command("cp '%s' libvrfbind.so", LIBRARY);
		setenv("VRFBIND_VRF", "default", 1);
		EQ(reexec("in no VRF"), 0);
		command("rm -r '%s'", directory);
		return;
	}
	if (strcmp(phase, IN_DIRECTORY) != 0) {
		setenv("VRFBIND_VRF", DEVICE, 1);
		if (world == PRELOADED)
			setenv("LD_PRELOAD", "./libvrfbind.so", 1);
		exec_phase(NULL, IN_DIRECTORY);
	}
	NEED(!is_loaded(LIBRARY) && is_loaded("./libvrfbind.so") == (world == PRELOADED));
	NEED(chdir("/") == 0);
	if (strchr(directory, ' '))
		are_not_outside(start_execve_or_report);
	else
		stays(start_execve);
}

static void relative(void)
{
	named_from((char []){ "/tmp/reach.XXXXXX" });
}

static void relative_with_space(void)
{
	named_from((char []){ "/tmp/reach one.XXXXXX" });
}

/* mmap(2) of 64 to 4,095 bytes, which only the library asks for: ENOMEM. */
static void forbid_small_maps(void)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mmap, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 4096, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 64, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, fails_with(ENOMEM)),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	NEED(install_filter(code, sizeof(code) / sizeof(*code)) == 0);
}

#define NO_MEMORY "loaded by a long path, without memory for it"

/* As in named_from(), we leave the VRF first, so that the library's path is the long one. */
static void no_memory_at_load(void)
{
	char dots[2 * 200 + 1] = "";

	if (!phase) {
		setenv("VRFBIND_VRF", "default", 1);
		EQ(reexec("in no VRF"), 0);
		return;
	}
	if (strcmp(phase, NO_MEMORY) != 0) {
		for (int i = 0; i < 200; i++)
			memcpy(dots + 2 * i, "./", 3);
		setenv("VRFBIND_VRF", DEVICE, 1);
		setenv("LD_PRELOAD", entry("/%s%s", dots, LIBRARY + 1), 1);
		forbid_small_maps();
		exec_phase(NULL, NO_MEMORY);
	}
	NEED(!is_loaded(LIBRARY) && strlen(getenv("LD_PRELOAD")) > 400);
	FAILS(execve(child_path, child_argv, NOTHING), E2BIG);
	FAILS(execve(child_path, child_argv, environ), E2BIG);
	STR(device_of((int)WORKS(socket(AF_INET, SOCK_DGRAM, 0))), DEVICE);
}

static const struct scenario SCENARIOS[] = {
#define ENTRY_OF(name, title, elsewhere_) \
	 { title ": in the VRF", way_##name, .elsewhere = elsewhere_ },
	EVERY_WAY(ENTRY_OF)
	{ "an environment in which nothing is missing is passed on to the byte", complete },
	{ "it is the program's own list then, and another one if something is missing", own_list },
	{ "what is missing is put back, and the rest stays", put_back },
	{ "other preloads are kept behind the library, a list that has it as it is", other_preloads },
	{ "a variable that occurs twice is no way out", twice },
	{ "a name under which ld.so does not find the library is no way out", misleading_name },
	{ "a child that sets VRFBIND_VRF=something gets that VRF", has_spoken },
	{ "env VRFBIND_VRF=default is how to leave, and VRFBIND_VRF= is not", leaves },
	{ "children by the hundred, 10,000 variables: the parent's memory is as it was", often },
	{ "an exec that fails, thousands of times, leaves everything usable", failing },
	{ "signal handlers exec, and start children, in the midst of an exec", in_handler },
	{ "64 threads start children at once", threads_at_once },
	{ "threads start children one after the other, more than the library knows at once", threads_in_turn },
	{ "a child from the end of the longest PATH: in the VRF, and its parent goes on", longest_path },
	{ "so with a log", longest_path, .also = "VRFBIND_LOG=/dev/null" },
	{ "so under a seal", longest_path, .also = "VRFBIND_SEAL=1" },
	{ "execve() takes at most 640 bytes of the stack", little_stack },
	{ "so with a log", little_stack, .also = "VRFBIND_LOG=/dev/null" },
	{ "so under a seal", little_stack, .also = "VRFBIND_SEAL=1" },
#ifndef __GLIBC__
	{ "execveat() works where libc has none, by our export", execveat_of_ours },
#endif
	{ "an array of variables that points nowhere: SIGSEGV, and without the library EFAULT", list_nowhere },
	{ "an environment beyond all bounds: E2BIG", too_large },
	{ "LD_PRELOAD that grows beyond what the kernel takes: E2BIG", long_preload },
	{ "no memory at load for what has to be put back: E2BIG", no_memory_at_load, .worlds = PRELOADED },
	{ "LD_PRELOAD was a relative path, and the program changes its directory: in the VRF", relative },
	{ "where that path has a space in it, no child is outside the VRF: it is not started, or is inside", relative_with_space },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
