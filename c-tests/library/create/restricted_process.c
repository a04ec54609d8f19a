/*
 * restricted_process.c - the library in a process that may do little
 *
 * Two actions of the library depend on what a process may do: writing a jump into libc's code, for which there are two
 * ways, and binding. For the first each scenario takes away what a service manager, a container or a mode takes away,
 * reexecutes itself, and checks a socket that libc's own function has created: it is on the device as long as one way is
 * left, and otherwise a line reports it. For the second there is no choice: a socket that cannot be bound is not
 * returned.
 */
#include "seccomp_filters.h"
#include "stderr_capture.h"
#include "library_info.h"
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include <sys/resource.h>

static void sockets_are_bound_to(const char *device, const char *by_libc)
{
	for (int d = 0; d < 2; d++) {
		CONTEXT("%s, family %d", phase ? phase : "at once", FAMILIES[d]);
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), device);
		STR(device_of((int)WORKS(syscall(SYS_socket, FAMILIES[d], SOCK_STREAM, 0))), device);
		STR(device_of((int)WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0))), by_libc);
	}
}

/* Exported symbols lead to the library whatever happens; libc's own functions if they can be patched. */
static void sockets_are_bound(const char *by_libc)
{
	sockets_are_bound_to(expected_device(), by_libc);
}

/* Patched by this copy of the library, or by one that was there before (unreadable_program()). */
static bool is_patched(unsigned int result)
{
	return result == PATCHED || result == PATCHED_BY_OTHER_COPY;
}

static void all_are_bound(void)
{
	sockets_are_bound(expected_device());
	if (world == PRELOADED) {
		TRUE(is_patched(info()->socket));
		TRUE(is_patched(info()->execve));
	}
}

static void reexec_restricted(void (*restrict_it)(void), const char *how)
{
	if (phase) {
		all_are_bound();
		return;
	}
	restrict_it();
	EQ(reexec(how), 0);
}

/* -- Writing libc's code. */

static void mdwe(void)
{
	reexec_restricted(set_mdwe, "under PR_SET_MDWE");
}

static void no_new_code(void)
{
	reexec_restricted(forbid_new_code, "under MemoryDenyWriteExecute=");
}

/* The program is executed by its path, since /proc/self/exe will not do. */
static int reexec_without_proc(const char *as_phase)
{
	char self[4096];
	ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pid_t pid;

	NEED(length > 0);
	self[length] = '\0';
	/* A user namespace may not uncover what is mounted over, and another /proc may be below. */
	NEED(mount("none", "/proc", "tmpfs", 0, NULL) == 0);
	NEED(access("/proc/self/mem", F_OK) < 0);
	pid = fork();
	if (pid == 0)
		exec_phase(self, as_phase);
	return wait_status(pid);
}

static void no_proc(void)
{
	if (phase) {
		all_are_bound();
		return;
	}
	own_mounts();
	EQ(reexec_without_proc("without /proc"), 0);
}

/* Read-only by a mount option, as with ProtectProc= and in containers. */
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
	reexec_restricted(make_proc_read_only, "with /proc read-only");
}

/* A program that may be executed and not read cannot be dumped, so /proc cannot write to it either. */
static void unreadable_program(void)
{
	pid_t pid;

	if (phase) {
		int memory = open("/proc/self/mem", O_RDWR | O_CLOEXEC);

		EQ(memory, -1);
		all_are_bound();
		return;
	}
	set_up_sandbox();
	command("chmod 711 " SANDBOX "/program");
	pid = fork();
	if (pid == 0) {
		NEED(become_nobody());
		exec_phase(SANDBOX "/program", "a program of mode 0711");
	}
	EQ(wait_status(pid), 0);
}

static const char *requires_vrf(void)
{
	return tier_is("vrf") ? NULL : "ip vrf exec takes a VRF";
}

#define IN_THE_SAME "in the same VRF"
#define IN_ANOTHER "in another VRF"

/* As nobody, who may not bind a socket again that the kernel has bound at its creation. */
static void inside_ip_vrf_exec(void)
{
	static const char *const WHERE[] = { IN_THE_SAME, IN_ANOTHER };

	if (!phase) {
		set_up_sandbox();
		for (int i = 0; i < 2; i++) {
			pid_t pid = fork();

			if (pid == 0) {
				execlp("ip", "ip", "vrf", "exec",
				       setting(i ? "VRFBIND_TEST_OTHER" : "VRFBIND_TEST_DEVICE"),
				       SANDBOX "/program", tap_arguments[1], tap_arguments[2],
				       tap_arguments[3], WHERE[i], (char *)NULL);
				_exit(127);
			}
			EQ(wait_status(pid), 0);
		}
		return;
	}
	if (geteuid() == 0) {
		NEED(become_nobody());
		exec_phase(SANDBOX "/program", phase);
	}
	CONTEXT("%s", phase);
	if (strcmp(phase, IN_THE_SAME) == 0) {
		sockets_are_bound_to(setting("VRFBIND_TEST_DEVICE"), setting("VRFBIND_TEST_DEVICE"));
	} else if (world == BASELINE) {
		sockets_are_bound_to(setting("VRFBIND_TEST_OTHER"), setting("VRFBIND_TEST_OTHER"));
	} else {
		for (int d = 0; d < 2; d++) {
			FAILS(socket(FAMILIES[d], SOCK_STREAM, 0), EPERM);
			FAILS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0), EPERM);
		}
	}
}

/* Both ways are barred: sockets that libc opens for itself escape, which is reported. */
static void both_barred(void)
{
	const char *said;

	if (phase) {
		if (world == PRELOADED) {
			EQ(info()->socket, NOT_WRITABLE);
			EQ(info()->execve, NOT_WRITABLE);
			EQ(info()->state, STATE_DEVICE);
			STR(info()->device, expected_device());
		}
		sockets_are_bound("");
		return;
	}
	setenv("VRFBIND_LOG", "stderr", 1);
	setenv("VRFBIND_RULES", "loopback lo", 1);
	capture_stderr(0);
	forbid_new_code();
	own_mounts();
	EQ(reexec_without_proc("with both ways barred"), 0);
	said = captured_stderr();
	CONTEXT("%.150s", said);
	EQ(strstr(said, "socket is not patched") != NULL, world == PRELOADED);
	EQ(strstr(said, "execve is not patched") != NULL, world == PRELOADED);
	EQ(strstr(said, "(resolver) is not patched, vrfbind and rules do not see libc's calls") != NULL, world == PRELOADED);
	EQ(strstr(said, "MemoryDenyWriteExecute") != NULL, world == PRELOADED);
	EQ(strstr(said, "ProtectProc") != NULL, world == PRELOADED);
}

#if defined(__GLIBC__) && defined(__x86_64__)
static const char *requires_glibc_of_x86_64(void) { return NULL; }

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

/* A libc of its own for the program, whose code does the same by other instructions. */
static void other_libc(void)
{
	Dl_info libc;
	int file;

	NEED(dladdr(libc_own("socket"), &libc) != 0);
	mount_sandbox();
	command("cp '%s' " SANDBOX "/libc.so.6", libc.dli_fname);
	file = open(SANDBOX "/libc.so.6", O_RDWR | O_CLOEXEC);
	NEED(file >= 0);
	reword(file, libc_own("socket"), SYS_socket);
	reword(file, libc_own("execve"), SYS_execve);
	close(file);
	setenv("LD_LIBRARY_PATH", SANDBOX, 1);
}
#else
static const char *requires_glibc_of_x86_64(void) { return "the test knows the code of glibc's x86_64 only"; }
static void other_libc(void) { }
#endif

/* The library does not write its jump into code that it does not recognise. */
static void unknown_code(void)
{
	const char *said;

	if (phase) {
		if (world == PRELOADED) {
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
		exec_phase(NULL, NULL);
	}
	other_libc();
	setenv("VRFBIND_VRF", setting("VRFBIND_TEST_DEVICE"), 1);
	setenv("VRFBIND_LOG", "stderr", 1);
	capture_stderr(0);
	EQ(reexec("with another libc"), 0);
	said = captured_stderr();
	CONTEXT("%.150s", said);
	EQ(strstr(said, "socket is not patched") != NULL, world == PRELOADED);
	EQ(strstr(said, "execve is not patched") != NULL, world == PRELOADED);
	EQ(strstr(said, "its code is unknown") != NULL, world == PRELOADED);
}

/* Under a seal it does not escape. */
static void both_barred_and_sealed(void)
{
	if (phase) {
		for (int d = 0; d < 2; d++) {
			STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
			if (world == PRELOADED)
				FAILS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0), EPERM);
			else
				STR(device_of((int)WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0))), "");
		}
		return;
	}
	setenv("VRFBIND_SEAL", "1", 1);
	forbid_new_code();
	own_mounts();
	EQ(reexec_without_proc("with both ways barred"), 0);
}

/* What execve() does under the exported symbol alone: a scrubbed environment is still repaired. */
static void both_barred_and_exec(void)
{
	if (!phase) {
		forbid_new_code();
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		EQ(reexec("with both ways barred"), 0);
		return;
	}
	sockets_are_bound("");
	if (strcmp(phase, "the next") == 0)
		return;
	execve("/proc/self/exe", phase_arguments("the next"), stripped_environment());
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
		CONTEXT("%.150s", line);
		TRUE(!strstr(line, " rwx") || (all_data && !strchr(line, '/')));
	}
	fclose(maps);
	CONTEXT("%s", "");
	STR(permissions_at(libc_own("socket")), "r-xp");
	STR(permissions_at(libc_own("execve")), "r-xp");
	STR(permissions_at(libc_own("getppid")), "r-xp");
}

static void code_stays_code(void)
{
	if (!phase) {
		no_writable_code();
		/* The same without /proc/self/mem: by mprotect(2). */
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		EQ(reexec("by mprotect"), 0);
		return;
	}
	all_are_bound();
	no_writable_code();
}

/* While code may be written, it is never without execute permission, or libc would crash. */
static void never_only_writable(void)
{
	if (!phase) {
		filter_out(SYS_openat, 2, O_ACCMODE, O_RDWR, fails_with(EACCES));
		/* The way back from PROT_READ | PROT_WRITE. */
		filter_out(SYS_mprotect, 2, PROT_WRITE | PROT_EXEC, PROT_EXEC,
			   fails_with(EACCES));
		EQ(reexec("with no way back"), 0);
		return;
	}
	/* The code has been written, and the pages stay as they are. */
	sockets_are_bound(expected_device());
	WORKS(raw_socket(AF_INET, SOCK_STREAM, 0));
	EQ(run("/bin/true"), 0);
}

static void data_is_read_only(void)
{
	STR(permissions_at(info()), "r--p");
}

static const char *requires_glibc(void)
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

	if (phase) {
		sockets_are_bound(expected_device());
		if (world == PRELOADED) {
			EQ(info()->seal, SEAL_MADE);
			FAILS(raw_socket(AF_INET, SOCK_STREAM, 0), EPERM);
		}
		return;
	}
	setenv("VRFBIND_SEAL", "1", 1);
	for (size_t i = 0; i < sizeof(KILLED) / sizeof(*KILLED); i++)
		filter_out(KILLED[i], 0, WHATEVER, WHATEVER, SECCOMP_RET_KILL_PROCESS);
	EQ(reexec("under @system-service"), 0);
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
				CONTEXT("%s, family %d", strerror(ERRORS[i]), FAMILIES[d]);
				if (world == BASELINE) {
					close((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0)));
					continue;
				}
				FAILS(socket(FAMILIES[d], SOCK_STREAM, 0), ERRORS[i]);
				FAILS(libc_socket(FAMILIES[d], SOCK_STREAM, 0), ERRORS[i]);
				FAILS(syscall(SYS_socket, FAMILIES[d], SOCK_STREAM, 0), ERRORS[i]);
			}
			EQ(open_descriptors(), before);
			if (world == PRELOADED)
				FAILS(bind(fd, (struct sockaddr *)&any, sizeof(any)), ERRORS[i]);
			else
				WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
			tap_end(NULL);
		}
		EQ(wait_status(pid), 0);
	}
}

/*
 * socket() does not ask. bind() may not use an inherited socket that may not be queried. The devices are read
 * by a process that shares the descriptors and not the filter.
 */
static void getsockopt_refused(void)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int inherited = raw_socket(AF_INET, SOCK_STREAM, 0), created[2], ends[2];
	long watcher;

	NEED(pipe2(ends, O_CLOEXEC) == 0);
	watcher = syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0);
	if (watcher == 0) {
		NEED(read(ends[0], created, sizeof(created)) == sizeof(created));
		for (int d = 0; d < 2; d++)
			STR(device_of(created[d]), expected_device());
		tap_end(NULL);
	}
	filter_out(SYS_getsockopt, 0, WHATEVER, WHATEVER, fails_with(EACCES));
	for (int d = 0; d < 2; d++)
		created[d] = (int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0));
	if (world == PRELOADED)
		FAILS(bind(inherited, (struct sockaddr *)&any, sizeof(any)), EACCES);
	else
		WORKS(bind(inherited, (struct sockaddr *)&any, sizeof(any)));
	NEED(write(ends[1], created, sizeof(created)) == sizeof(created));
	EQ(wait_status((pid_t)watcher), 0);
}

static void close_refused(void)
{
	int fd;

	/* Nothing can be done about that; but the program must not get the fd. */
	forbid(SYS_close, EIO);
	for (int d = 0; d < 2; d++) {
		fd = socket(FAMILIES[d], SOCK_STREAM, 0);
		EQ(fd, world == PRELOADED ? -1 : fd);
		if (world == PRELOADED)
			EQ(errno, ENODEV);
	}
}

/* Without access to its own environment or files, the library must not let a socket escape. */
static void little_else(void)
{
	static const long FORBIDDEN[] = {
		SYS_getuid, SYS_getgid, SYS_getpid, SYS_getcwd, SYS_fgetxattr, SYS_faccessat,
		SYS_ppoll, SYS_pwrite64,
	};

	if (phase) {
		all_are_bound();
		return;
	}
	for (size_t i = 0; i < sizeof(FORBIDDEN) / sizeof(*FORBIDDEN); i++) {
		pid_t pid = fork();

		if (pid == 0) {
			CONTEXT("system call %ld", FORBIDDEN[i]);
			forbid(FORBIDDEN[i], EPERM);
			exec_phase(NULL, "with little else");
		}
		CONTEXT("system call %ld", FORBIDDEN[i]);
		EQ(wait_status(pid), 0);
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

	if (phase) {
		if (world == PRELOADED && !is_loaded(setting("VRFBIND_TEST_LIB"))) {
			tap_fail(__FILE__, __LINE__, "ld.so went on without the library");
			return;
		}
		for (int d = 0; d < 2; d++)
			STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
		_exit(all_well() ? 50 : 51);
	}
	NEED(dup2(open("/dev/null", O_WRONLY), STDERR_FILENO) == STDERR_FILENO);
	for (rlim_t size = 1 << 20; size < 8 << 20; size += 128 << 10) {
		pid_t pid = fork();
		int ending;

		if (pid == 0) {
			struct rlimit limit = { size, size };

			NEED(setrlimit(RLIMIT_AS, &limit) == 0);
			exec_phase(NULL, "with little memory");
		}
		ending = wait_status(pid);
		CONTEXT("%lu bytes: %d", (unsigned long)size, ending);
		TRUE(ending != 51);
		started += ending == 50;
		failed += ending != 50;
	}
	CONTEXT("%s", "");
	TRUE(started > 0);
	TRUE(failed > 0);
}

static void bare_descriptors(void)
{
	pid_t pid;

	if (phase) {
		sockets_are_bound(expected_device());
		if (strstr(phase, "sealed") && world == PRELOADED)
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
			exec_phase(NULL, sealed ? "sealed, 0 to 2 closed" : "0 to 2 closed");
		}
		EQ(wait_status(pid), 0);
	}
}

static void no_descriptors(void)
{
	struct rlimit limit;
	pid_t pid;

	if (phase) {
		NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
		limit.rlim_cur = limit.rlim_max;
		NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		sockets_are_bound(expected_device());
		return;
	}
	/* ld.so needs one descriptor for each library it loads, and closes it. One is left, 3 or so. */
	pid = fork();
	if (pid == 0) {
		for (int fd = 3; fd < 100; fd++)
			fcntl(fd, F_SETFD, FD_CLOEXEC);
		NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
		limit.rlim_cur = 4;
		NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		exec_phase(NULL, "one descriptor");
	}
	EQ(wait_status(pid), 0);
}

/* -- A new root, in which the library's file is not. */

static void new_root(void)
{
	const char *said;
	pid_t pid;

	if (phase) {
		NEED(!is_loaded(setting("VRFBIND_TEST_LIB")));
		if (strcmp(phase, "sealed") == 0 && world == PRELOADED)
			FAILS(socket(AF_INET, SOCK_STREAM, 0), EPERM);
		else
			STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), "");
		return;
	}
	own_mounts();
	mount_sandbox();
	command("cd " SANDBOX " && mkdir proc usr && cp /proc/%d/exe program && "
		"for d in bin lib lib64; do [ ! -e /$d ] || { mkdir $d && mount --bind /$d $d; }; "
		"done && mount --bind /usr usr && mount --rbind /proc proc", getpid());
	NEED(strncmp(setting("VRFBIND_TEST_LIB"), "/usr/", 5) != 0);
	capture_stderr(0);
	pid = fork();
	if (pid == 0) {
		NEED(chroot(SANDBOX) == 0 && chdir("/") == 0);
		sockets_are_bound(expected_device());
		if (strcmp(scenario->also, "VRFBIND_SEAL=1") == 0)
			exec_phase("/program", "sealed");
		exec_phase("/program", "unsealed");
	}
	EQ(wait_status(pid), 0);
	said = captured_stderr();
	CONTEXT("%.150s", said);
	EQ(strstr(said, "vrfbind: /program is not preloaded: ") != NULL, world == PRELOADED);
	EQ(strstr(said, "not to be found") != NULL, world == PRELOADED);
}

static const char *requires_chroot(void)
{
	return geteuid() == 0 ? NULL : "chroot(2) takes root";
}

static const struct scenario SCENARIOS[] = {
	{ "under PR_SET_MDWE libc's own sockets are bound", mdwe, .elsewhere = requires_mdwe },
	{ "under MemoryDenyWriteExecute= of older systemds too", no_new_code },
	{ "without /proc too", no_proc },
	{ "with /proc read-only too", read_only_proc },
	{ "in a program that its user may not read too", unreadable_program,
	  .elsewhere = requires_root },
	{ "inside ip vrf exec nobody has sockets in the same VRF, and none in another",
	  inside_ip_vrf_exec, .elsewhere = requires_vrf },
	{ "where neither way is left they escape, and the library reports it", both_barred },
	{ "or are refused, under a seal", both_barred_and_sealed },
	{ "they escape too, reported, where the library does not recognise libc's code", unknown_code,
	  .elsewhere = requires_glibc_of_x86_64 },
	{ "the exported execve() still works then", both_barred_and_exec },
	{ "code that has been written is executable again, and not writable", code_stays_code },
	{ "and never is only writable", never_only_writable },
	{ "the library's own data is read-only", data_is_read_only, .worlds = PRELOADED,
	  .elsewhere = requires_glibc },
	{ "under @system-service a process can be sealed", system_service },
	{ "a refused setsockopt() is a refused socket, with the same errno", setsockopt_refused },
	{ "a refused getsockopt() refuses bind(), not socket()", getsockopt_refused },
	{ "a close() that fails is not a socket handed out", close_refused,
	  .vrf = "no-such-device" },
	{ "nothing else that may be refused lets a socket escape", little_else },
	{ "with little memory sockets are bound, or the program does not start", little_memory },
	{ "with descriptors 0 to 2 closed too, sealed or not", bare_descriptors },
	{ "with one descriptor to spare at load too", no_descriptors },
	{ "in a new root sockets are bound; a program there that loses the library is named",
	  new_root, .also = "VRFBIND_LOG=stderr", .elsewhere = requires_chroot },
	{ "and gets no sockets, under a seal", new_root, .also = "VRFBIND_SEAL=1",
	  .elsewhere = requires_chroot },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
