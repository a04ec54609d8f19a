/*
 * hook-restricted.c - the library where the program may do little
 *
 * Two things of the library's depend on what a process is allowed to do: writing a jump into
 * libc's code, for which there are two ways, and binding. For the first each scenario takes away
 * what a service manager, a container or a mode takes away, lives again, and looks at a socket
 * that libc's own function has made: on the device as long as one way is left, and not without
 * that being said. For the second nothing is left to choose: what cannot be bound is not handed out.
 */
#include "filters.h"
#include "heard.h"
#include "info.h"
#include "scene.h"
#include "strangers.h"
#include <sys/resource.h>

#ifndef PR_SET_MDWE
#define PR_SET_MDWE 65			/* Linux 6.3 */
#define PR_MDWE_REFUSE_EXEC_GAIN 1
#endif

static const int IP[] = { AF_INET, AF_INET6 };

static void sockets_are_bound_to(const char *device, const char *by_libc)
{
	for (int d = 0; d < 2; d++) {
		ABOUT("%s, family %d", part ? part : "at once", IP[d]);
		STR(device_of((int)WORKS(socket(IP[d], SOCK_STREAM, 0))), device);
		STR(device_of((int)WORKS(syscall(SYS_socket, IP[d], SOCK_STREAM, 0))), device);
		STR(device_of((int)WORKS(libc_socket(IP[d], SOCK_DGRAM, 0))), by_libc);
	}
}

/* Exported symbols lead to the library whatever happens; libc's own functions if they can be led. */
static void sockets_are_bound(const char *by_libc)
{
	sockets_are_bound_to(born_on(), by_libc);
}

/* By this copy of the library, or by one that was there before (unreadable_program()). */
static bool is_led(unsigned int result)
{
	return result == LED || result == LED_BY_ANOTHER;
}

static void all_are_bound(void)
{
	sockets_are_bound(born_on());
	if (world == UNDER) {
		TRUE(is_led(info()->socket));
		TRUE(is_led(info()->execve));
	}
}

static void lives_restricted(void (*restrict_it)(void), const char *how)
{
	if (part) {
		all_are_bound();
		return;
	}
	restrict_it();
	EQ(live_again(how), 0);
}

/* -- Writing libc's code. */

static void set_mdwe(void)
{
	NEED(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0);
}

static const char *takes_mdwe(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0 ? 0 : 1);
	return ending_of(pid) == 0 ? NULL : "PR_SET_MDWE is of Linux 6.3";
}

static void mdwe(void)
{
	lives_restricted(set_mdwe, "under PR_SET_MDWE");
}

static void no_new_code(void)
{
	lives_restricted(forbid_new_code, "under MemoryDenyWriteExecute=");
}

/* The program is executed by its path, since /proc/self/exe will not do. */
static int live_without_proc(const char *as_part)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pid_t pid;

	NEED(length > 0);
	self[length] = '\0';
	/* A user namespace may not uncover what is below, and below there may be another /proc. */
	NEED(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
	NEED(access("/proc/self/mem", F_OK) < 0);
	pid = fork();
	if (pid == 0)
		become(self, as_part);
	return ending_of(pid);
}

static void no_proc(void)
{
	if (part) {
		all_are_bound();
		return;
	}
	own_mounts();
	EQ(live_without_proc("without /proc"), 0);
}

/* Read-only by a mount that says so, as ProtectProc= and containers have it. */
static void make_proc_read_only(void)
{
	own_mounts();
	NEED(mount("/proc", "/proc", NULL, MS_BIND | MS_REC, NULL) == 0);
	if (mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0)
		NEED(mount(NULL, "/proc", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID |
			   MS_NODEV | MS_NOEXEC, NULL) == 0);
	NEED(open("/proc/self/mem", O_RDWR) < 0 && errno == EROFS);
}

static void read_only_proc(void)
{
	lives_restricted(make_proc_read_only, "with /proc read-only");
}

/* What may be executed and not read cannot be dumped either, and so not be written to by /proc. */
static void unreadable_program(void)
{
	pid_t pid;

	if (part) {
		int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

		EQ(memory, -1);
		all_are_bound();
		return;
	}
	set_scene();
	command("chmod 711 " SCENE "/program");
	pid = fork();
	if (pid == 0) {
		NEED(become_nobody());
		become(SCENE "/program", "a program of mode 0711");
	}
	EQ(ending_of(pid), 0);
}

static const char *takes_vrf(void)
{
	return tier_is("vrf") ? NULL : "ip vrf exec takes a VRF";
}

#define IN_THE_SAME "in the same VRF"
#define IN_ANOTHER "in another VRF"

/* As nobody, who may not bind a socket again that the kernel has bound at its birth. */
static void inside_ip_vrf_exec(void)
{
	static const char *const WHERE[] = { IN_THE_SAME, IN_ANOTHER };

	if (!part) {
		set_scene();
		for (int i = 0; i < 2; i++) {
			pid_t pid = fork();

			if (pid == 0) {
				execlp("ip", "ip", "vrf", "exec",
				       setting(i ? "VRFBIND_TEST_OTHER" : "VRFBIND_TEST_DEVICE"),
				       SCENE "/program", tap_arguments[1], tap_arguments[2],
				       tap_arguments[3], WHERE[i], (char *)NULL);
				_exit(127);
			}
			EQ(ending_of(pid), 0);
		}
		return;
	}
	if (geteuid() == 0) {
		NEED(become_nobody());
		become(SCENE "/program", part);
	}
	ABOUT("%s", part);
	if (strcmp(part, IN_THE_SAME) == 0) {
		sockets_are_bound_to(setting("VRFBIND_TEST_DEVICE"), setting("VRFBIND_TEST_DEVICE"));
	} else if (world == WITHOUT) {
		sockets_are_bound_to(setting("VRFBIND_TEST_OTHER"), setting("VRFBIND_TEST_OTHER"));
	} else {
		for (int d = 0; d < 2; d++) {
			FAILS(socket(IP[d], SOCK_STREAM, 0), EPERM);
			FAILS(libc_socket(IP[d], SOCK_DGRAM, 0), EPERM);
		}
	}
}

/* Both ways are barred: what libc opens for itself escapes, which is said. */
static void both_barred(void)
{
	const char *said;

	if (part) {
		if (world == UNDER) {
			EQ(info()->socket, REFUSED);
			EQ(info()->execve, REFUSED);
			EQ(info()->state, STATE_DEVICE);
			STR(info()->device, born_on());
		}
		sockets_are_bound("");
		return;
	}
	setenv("VRFBIND_LOG", "stderr", 1);
	hear(0);
	forbid_new_code();
	own_mounts();
	EQ(live_without_proc("with both ways barred"), 0);
	said = heard();
	ABOUT("%.150s", said);
	EQ(strstr(said, "socket is not led") != NULL, world == UNDER);
	EQ(strstr(said, "execve is not led") != NULL, world == UNDER);
	EQ(strstr(said, "MemoryDenyWriteExecute") != NULL, world == UNDER);
	EQ(strstr(said, "ProtectProc") != NULL, world == UNDER);
}

#if defined(__GLIBC__) && defined(__x86_64__)
static const char *takes_glibc_of_x86_64(void) { return NULL; }

/* In the file that is mapped at `code`: `mov $number, %eax` becomes the same in other words. */
static void reword(int file, void *code, unsigned char number)
{
	const unsigned char known[] = { 0xb8, number, 0, 0, 0 };
	/* push, pop, and two bytes that do nothing */
	const unsigned char reworded[] = { 0x6a, number, 0x58, 0x66, 0x90 };
	unsigned long start, end, offset, at = (unsigned long)code;
	char line[600];
	FILE *maps = fopen("/proc/self/maps", "re");
	bool found = false;

	NEED(maps != NULL && memcmp(code, known, sizeof(known)) == 0);
	while (!found && fgets(line, sizeof(line), maps))
		found = sscanf(line, "%lx-%lx %*s %lx", &start, &end, &offset) == 3 &&
			start <= at && at < end;
	fclose(maps);
	NEED(found && pwrite(file, reworded, sizeof(reworded), (off_t)(at - start + offset)) ==
		      sizeof(reworded));
}

/* A libc of its own for the program, whose code does the same and looks otherwise. */
static void other_libc(void)
{
	Dl_info libc;
	int file;

	NEED(dladdr(libc_own("socket"), &libc) != 0);
	NEED(mount("none", SCENE, "tmpfs", 0, "mode=0755") == 0);
	command("cp '%s' " SCENE "/libc.so.6", libc.dli_fname);
	file = open(SCENE "/libc.so.6", O_RDWR | O_CLOEXEC);
	NEED(file >= 0);
	reword(file, libc_own("socket"), SYS_socket);
	reword(file, libc_own("execve"), SYS_execve);
	close(file);
	setenv("LD_LIBRARY_PATH", SCENE, 1);
}
#else
static const char *takes_glibc_of_x86_64(void) { return "the test knows the code of glibc's x86_64 only"; }
static void other_libc(void) { }
#endif

/* The library's jump would be written into something that it does not understand: it is not. */
static void unknown_code(void)
{
	const char *said;

	if (part) {
		if (world == UNDER) {
			EQ(info()->socket, UNKNOWN_CODE);
			EQ(info()->execve, UNKNOWN_CODE);
		}
		sockets_are_bound("");
		return;
	}
	own_mounts();
	/* libc's code is as it was here: we are outside while it is looked at. */
	if (!getenv("OUTSIDE")) {
		setenv("OUTSIDE", "1", 1);
		setenv("VRFBIND_VRF", "default", 1);
		become(NULL, NULL);
	}
	other_libc();
	setenv("VRFBIND_VRF", setting("VRFBIND_TEST_DEVICE"), 1);
	setenv("VRFBIND_LOG", "stderr", 1);
	hear(0);
	EQ(live_again("with another libc"), 0);
	said = heard();
	ABOUT("%.150s", said);
	EQ(strstr(said, "socket is not led") != NULL, world == UNDER);
	EQ(strstr(said, "execve is not led") != NULL, world == UNDER);
	EQ(strstr(said, "none that vrfbind knows") != NULL, world == UNDER);
}

/* Under a seal it does not escape. */
static void both_barred_and_sealed(void)
{
	if (part) {
		for (int d = 0; d < 2; d++) {
			STR(device_of((int)WORKS(socket(IP[d], SOCK_STREAM, 0))), born_on());
			if (world == UNDER)
				FAILS(libc_socket(IP[d], SOCK_DGRAM, 0), EPERM);
			else
				STR(device_of((int)WORKS(libc_socket(IP[d], SOCK_DGRAM, 0))), "");
		}
		return;
	}
	setenv("VRFBIND_SEAL", "1", 1);
	forbid_new_code();
	own_mounts();
	EQ(live_without_proc("with both ways barred"), 0);
}

/* What execve() does under the exported symbol alone: a scrubbed environment is still repaired. */
static void both_barred_and_exec(void)
{
	char *arguments[] = { tap_arguments[0], tap_arguments[1], tap_arguments[2],
			      tap_arguments[3], (char *)"the next", NULL };
	char *kept[100] = { NULL };
	size_t count = 0;

	if (!part) {
		forbid_new_code();
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		EQ(live_again("with both ways barred"), 0);
		return;
	}
	sockets_are_bound("");
	if (strcmp(part, "the next") == 0)
		return;
	for (char **entry = environ; *entry && count < 99; entry++)
		if (strncmp(*entry, "VRFBIND_TEST_", 13) == 0)
			kept[count++] = *entry;
	execve("/proc/self/exe", arguments, kept);
	NEED(!"execve failed");
}

/* The permissions of the mapping that an address is in, e.g. "r-xp". */
static const char *permissions_at(const void *address)
{
	static char permissions[5];
	unsigned long start, end;
	char line[500];
	FILE *maps = fopen("/proc/self/maps", "re");

	NEED(maps != NULL);
	strcpy(permissions, "none");
	while (fgets(line, sizeof(line), maps)) {
		char found[5];

		if (sscanf(line, "%lx-%lx %4s", &start, &end, found) == 3 &&
		    start <= (unsigned long)address && (unsigned long)address < end)
			strcpy(permissions, found);
	}
	fclose(maps);
	return permissions;
}

/*
 * Every mapping that may be executed may not be written to, whichever way the jump was written. Where
 * all data may be executed, as in user-mode Linux, that is said of files.
 */
static void no_writable_code(void)
{
	void *data = malloc(1);
	bool all_data = strcmp(permissions_at(data), "rwxp") == 0;
	char line[500];
	FILE *maps = fopen("/proc/self/maps", "re");

	NEED(maps != NULL);
	free(data);
	while (fgets(line, sizeof(line), maps)) {
		ABOUT("%.150s", line);
		TRUE(!strstr(line, " rwx") || (all_data && !strchr(line, '/')));
	}
	fclose(maps);
	ABOUT("%s", "");
	STR(permissions_at(libc_own("socket")), "r-xp");
	STR(permissions_at(libc_own("execve")), "r-xp");
	STR(permissions_at(libc_own("getppid")), "r-xp");
}

static void code_stays_code(void)
{
	if (!part) {
		no_writable_code();
		/* Now without /proc/self/mem: by mprotect(2). */
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		EQ(live_again("by mprotect"), 0);
		return;
	}
	all_are_bound();
	no_writable_code();
}

/* Where code may be written at all, it is never seen without being executable, or libc were gone. */
static void never_only_writable(void)
{
	if (!part) {
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		/* The way back from PROT_READ | PROT_WRITE. */
		filter_out(SYS_mprotect, 2, PROT_WRITE | PROT_EXEC, PROT_EXEC,
			   fails_with(EACCES));
		EQ(live_again("with no way back"), 0);
		return;
	}
	/* The code has been written, and the pages stay as they are. */
	sockets_are_bound(born_on());
	WORKS(raw_socket(AF_INET, SOCK_STREAM, 0));
	EQ(run("/bin/true"), 0);
}

static void data_is_read_only(void)
{
	STR(permissions_at(info()), "r--p");
}

static const char *takes_glibc(void)
{
#ifdef __GLIBC__
	return NULL;
#else
	return "musl's malloc uses what is left of the library's pages";
#endif
}

/* -- Other filters. */

/*
 * systemd's SystemCallFilter=@system-service (systemd 252) is a list of what is allowed; whatever is
 * not, kills. Of the calls that a library like ours could think of these are not on it.
 */
static void system_service(void)
{
	static const long KILLED[] = {
		SYS_seccomp, SYS_ptrace, SYS_process_vm_writev, SYS_bpf, SYS_userfaultfd,
		SYS_unshare, SYS_setns, SYS_mount, SYS_perf_event_open, SYS_kcmp,
	};

	if (part) {
		sockets_are_bound(born_on());
		if (world == UNDER) {
			EQ(info()->seal, SEAL_MADE);
			FAILS(raw_socket(AF_INET, SOCK_STREAM, 0), EPERM);
		}
		return;
	}
	setenv("VRFBIND_SEAL", "1", 1);
	for (size_t i = 0; i < sizeof(KILLED) / sizeof(*KILLED); i++)
		filter_out(KILLED[i], 0, WHATEVER, WHATEVER, SECCOMP_RET_KILL_PROCESS);
	EQ(live_again("under @system-service"), 0);
}

/* The kernel's no, whatever it is, is passed on, and no socket is handed out. */
static void setsockopt_refused(void)
{
	static const int ERRORS[] = { EPERM, ENOPROTOOPT, EACCES, ENOSYS };

	for (size_t i = 0; i < sizeof(ERRORS) / sizeof(*ERRORS); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			struct sockaddr_storage any = { .ss_family = AF_INET };
			int fd = raw_socket(AF_INET, SOCK_STREAM, 0), before;

			filter_out(SYS_setsockopt, 2, ~0U, SO_BINDTODEVICE,
				   fails_with(ERRORS[i]));
			before = open_descriptors();
			for (int d = 0; d < 2; d++) {
				ABOUT("%s, family %d", strerror(ERRORS[i]), IP[d]);
				if (world == WITHOUT) {
					close((int)WORKS(socket(IP[d], SOCK_STREAM, 0)));
					continue;
				}
				FAILS(socket(IP[d], SOCK_STREAM, 0), ERRORS[i]);
				FAILS(libc_socket(IP[d], SOCK_STREAM, 0), ERRORS[i]);
				FAILS(syscall(SYS_socket, IP[d], SOCK_STREAM, 0), ERRORS[i]);
			}
			EQ(open_descriptors(), before);
			if (world == UNDER)
				FAILS(bind(fd, (struct sockaddr *)&any, sizeof(any)), ERRORS[i]);
			else
				WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
			tap_end(NULL);
		}
		EQ(ending_of(pid), 0);
	}
}

/*
 * A birth does not ask. An inherited socket that may not be asked about is not bind()'s to use. The
 * devices are asked for by a process that shares the descriptors and not the filter.
 */
static void getsockopt_refused(void)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int inherited = raw_socket(AF_INET, SOCK_STREAM, 0), born[2], ends[2];
	long watcher;

	NEED(pipe2(ends, O_CLOEXEC) == 0);
	watcher = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (watcher == 0) {
		NEED(read(ends[0], born, sizeof(born)) == sizeof(born));
		for (int d = 0; d < 2; d++)
			STR(device_of(born[d]), born_on());
		tap_end(NULL);
	}
	filter_out(SYS_getsockopt, 0, WHATEVER, WHATEVER, fails_with(EACCES));
	for (int d = 0; d < 2; d++)
		born[d] = (int)WORKS(socket(IP[d], SOCK_STREAM, 0));
	if (world == UNDER)
		FAILS(bind(inherited, (struct sockaddr *)&any, sizeof(any)), EACCES);
	else
		WORKS(bind(inherited, (struct sockaddr *)&any, sizeof(any)));
	NEED(write(ends[1], born, sizeof(born)) == sizeof(born));
	EQ(ending_of((pid_t)watcher), 0);
}

static void close_refused(void)
{
	int fd;

	/* Nothing can be done about that; what counts is that the program is not told the number. */
	forbid(SYS_close, EIO);
	for (int d = 0; d < 2; d++) {
		fd = socket(IP[d], SOCK_STREAM, 0);
		EQ(fd, world == UNDER ? -1 : fd);
		if (world == UNDER)
			EQ(errno, ENODEV);
	}
}

/* A refused look at one's own environment or files is no reason to escape. */
static void little_else(void)
{
	static const long FORBIDDEN[] = {
		SYS_getuid, SYS_getgid, SYS_getpid, SYS_getcwd, SYS_fgetxattr, SYS_faccessat,
		SYS_ppoll, SYS_pwrite64,
	};

	if (part) {
		all_are_bound();
		return;
	}
	for (size_t i = 0; i < sizeof(FORBIDDEN) / sizeof(*FORBIDDEN); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			ABOUT("system call %ld", FORBIDDEN[i]);
			forbid(FORBIDDEN[i], EPERM);
			become(NULL, "with little else");
		}
		ABOUT("system call %ld", FORBIDDEN[i]);
		EQ(ending_of(pid), 0);
	}
}

/* -- Limits. */

/*
 * From a limit under which the program does not start up to one that does nothing. Where it starts,
 * the sockets are bound.
 */
static void little_memory(void)
{
	int started = 0, failed = 0;

	if (part) {
		if (world == UNDER && !is_loaded(setting("VRFBIND_TEST_LIB"))) {
			tap_fail(__FILE__, __LINE__, "ld.so went on without the library");
			return;
		}
		for (int d = 0; d < 2; d++)
			STR(device_of((int)WORKS(socket(IP[d], SOCK_STREAM, 0))), born_on());
		_exit(all_well() ? 50 : 51);
	}
	NEED(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
	for (rlim_t size = 1 << 20; size < 8 << 20; size += 128 << 10) {
		pid_t pid = fork();
		int ending;

		if (pid == 0) {
			struct rlimit limit = { size, size };

			NEED(setrlimit(RLIMIT_AS, &limit) == 0);
			become(NULL, "with little memory");
		}
		ending = ending_of(pid);
		ABOUT("%lu bytes: %d", (unsigned long)size, ending);
		TRUE(ending != 51);
		started += ending == 50;
		failed += ending != 50;
	}
	ABOUT("%s", "");
	TRUE(started > 0);
	TRUE(failed > 0);
}

static void bare_descriptors(void)
{
	pid_t pid;

	if (part) {
		sockets_are_bound(born_on());
		if (strstr(part, "sealed") && world == UNDER)
			FAILS(raw_socket(AF_INET, SOCK_STREAM, 0), EPERM);
		return;
	}
	for (int sealed = 0; sealed < 2; sealed++) {
		pid = fork();
		if (pid == 0) {
			for (int fd = 0; fd < 3; fd++)
				close(fd);
			if (sealed)
				setenv("VRFBIND_SEAL", "1", 1);
			become(NULL, sealed ? "sealed, 0 to 2 closed" : "0 to 2 closed");
		}
		EQ(ending_of(pid), 0);
	}
}

static void no_descriptors(void)
{
	struct rlimit limit;
	pid_t pid;

	if (part) {
		NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
		limit.rlim_cur = limit.rlim_max;
		NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		sockets_are_bound(born_on());
		return;
	}
	/* ld.so needs one for each library it loads, and closes it. There is one, 3 or so. */
	pid = fork();
	if (pid == 0) {
		for (int fd = 3; fd < 100; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
		NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
		limit.rlim_cur = 4;
		NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		become(NULL, "one descriptor");
	}
	EQ(ending_of(pid), 0);
}

/* -- A new root, in which the library's file is not. */

static void new_root(void)
{
	const char *said;
	pid_t pid;

	if (part) {
		NEED(!is_loaded(setting("VRFBIND_TEST_LIB")));
		if (strcmp(part, "sealed") == 0 && world == UNDER)
			FAILS(socket(AF_INET, SOCK_STREAM, 0), EPERM);
		else
			STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), "");
		return;
	}
	own_mounts();
	NEED(mount("none", SCENE, "tmpfs", 0, "mode=0755") == 0);
	command("cd " SCENE " && mkdir proc usr && cp /proc/%d/exe program && "
		"for d in bin lib lib64; do [ ! -e /$d ] || { mkdir $d && mount --bind /$d $d; }; "
		"done && mount --bind /usr usr && mount --rbind /proc proc", getpid());
	NEED(strncmp(setting("VRFBIND_TEST_LIB"), "/usr/", 5) != 0);
	hear(0);
	pid = fork();
	if (pid == 0) {
		NEED(chroot(SCENE) == 0 && chdir("/") == 0);
		sockets_are_bound(born_on());
		if (strcmp(scenario->also, "VRFBIND_SEAL=1") == 0)
			become("/program", "sealed");
		become("/program", "unsealed");
	}
	EQ(ending_of(pid), 0);
	said = heard();
	ABOUT("%.150s", said);
	EQ(strstr(said, "vrfbind: /program is not preloaded: ") != NULL, world == UNDER);
	EQ(strstr(said, "not to be found") != NULL, world == UNDER);
}

static const char *takes_chroot(void)
{
	return geteuid() == 0 ? NULL : "chroot(2) takes root";
}

static const struct scenario SCENARIOS[] = {
	{ "under PR_SET_MDWE libc's own sockets are bound", mdwe, .elsewhere = takes_mdwe },
	{ "under MemoryDenyWriteExecute= of older systemds too", no_new_code },
	{ "without /proc too", no_proc },
	{ "with /proc read-only too", read_only_proc },
	{ "in a program that its user may not read too", unreadable_program,
	  .elsewhere = takes_root },
	{ "inside ip vrf exec nobody has sockets in the same VRF, and none in another",
	  inside_ip_vrf_exec, .elsewhere = takes_vrf },
	{ "where neither way is left they escape, and the library says so", both_barred },
	{ "or are refused, under a seal", both_barred_and_sealed },
	{ "so do they, and it says so, where libc's code is not what the library knows", unknown_code,
	  .elsewhere = takes_glibc_of_x86_64 },
	{ "the exported execve() is still there then", both_barred_and_exec },
	{ "code that has been written is code again, and not writable", code_stays_code },
	{ "and never is only writable", never_only_writable },
	{ "the library's own data is read-only", data_is_read_only, .worlds = UNDER,
	  .elsewhere = takes_glibc },
	{ "under @system-service a process can be sealed", system_service },
	{ "a refused setsockopt() is a refused socket, with the same errno", setsockopt_refused },
	{ "a refused getsockopt() refuses bind(), not birth", getsockopt_refused },
	{ "a close() that fails is not a socket handed out", close_refused,
	  .vrf = "no-such-device" },
	{ "nothing else that may be refused lets a socket escape", little_else },
	{ "with little memory sockets are bound, or the program does not start", little_memory },
	{ "with descriptors 0 to 2 closed too, sealed or not", bare_descriptors },
	{ "with one descriptor to spare at load too", no_descriptors },
	{ "in a new root sockets are bound; a program there that loses the library is named",
	  new_root, .also = "VRFBIND_LOG=stderr", .elsewhere = takes_chroot },
	{ "and gets no sockets, under a seal", new_root, .also = "VRFBIND_SEAL=1",
	  .elsewhere = takes_chroot },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
