/*
 * ways_to_exec.h - receives the reports of programs about their sockets (child_report.h), and lists the ways
 * to start them
 *
 * The ways are a list, EVERY_WAY, of which library/exec/started_programs.c makes scenarios and
 * reach/reach_matrix.c rows of its table. Each starts reporting_child with an environment that has neither
 * LD_PRELOAD nor VRFBIND_VRF.
 */
#ifndef WAYS_TO_EXEC_H
#define WAYS_TO_EXEC_H

#include "child_report.h"
#include "device.h"
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <sys/stat.h>

static const char *child_path;
static char *child_argv[] = { "reporting_child", NULL, NULL };
static char *NOTHING[] = { NULL };

/* -- The report of a child. */

/* If set, is called for each reported socket while it is open (child_report.h). */
static void (*look)(int pid, int fd, const char *device);

/* Takes "PID FD" off the end of the line, looks at the socket, and lets the reporting process go on. */
static size_t look_at_last(int reporter, char *said, size_t length)
{
	char *line = memrchr(said, '\n', length - 1), device[40];
	int pid, fd;

	line = line ? line + 1 : said;
	if (said[length - 1] != '\n' || sscanf(line, "%39s %d %d", device, &pid, &fd) != 3)
		return length;
	look(pid, fd, device);
	NEED(write(reporter, "", 1) == 1);
	return (size_t)(stpcpy(stpcpy(line, device), "\n") - said);
}

/*
 * Runs `start` in a child, which has the writing end of the pipe, and reads the reports of the child and of all processes
 * that it starts. The child ends with status 0, or that of the program that it has executed.
 */
static size_t collect_reports(void (*start)(void), char *said, size_t room)
{
	struct pollfd ready = { .events = POLLIN };
	size_t length = 0;
	int pipes[2];
	ssize_t more;
	pid_t pid;

	NEED((look ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pipes)
		   : pipe2(pipes, O_CLOEXEC)) == 0);
	child_path = beside("reporting_child");
	pid = fork();
	if (pid == 0) {
		dup2(pipes[1], REPORT_FD);
		start();
		_exit(all_well() ? 0 : 1);
	}
	close(pipes[1]);
	ready.fd = pipes[0];
	do {
		NEED(poll(&ready, 1, HUNG * 1000) == 1);
		more = read(pipes[0], said + length, room - 1 - length);
		NEED(more >= 0);
		length += (size_t)more;
		said[length] = '\0';
		if (look && more > 0)
			length = look_at_last(pipes[0], said, length);
	} while (more > 0);
	close(pipes[0]);
	said[length] = '\0';
	EQ(wait_status(pid), 0);
	return length;
}

/* -- Ways to start a program, each with an environment that was scrubbed. */

static int fd_of_child(void)
{
	int fd = open(child_path, O_PATH);

	NEED(fd >= 0);
	return fd;
}

/* "exec '.../reporting_child'", for a shell. */
static const char *shell_line(void)
{
	static char line[PATH_MAX + 10];

	snprintf(line, sizeof(line), "exec '%s'", child_path);
	return line;
}

/* A program is found in PATH, which is the parent's; glibc and musl look in environ, not in envp. */
static void set_path(void)
{
	char directory[PATH_MAX];

	clearenv();
	snprintf(directory, sizeof(directory), "%.*s", (int)(strrchr(child_path, '/') - child_path),
		 child_path);
	setenv("PATH", directory, 1);
}

static void ended_well(pid_t pid)
{
	NEED(pid > 0);
	EQ(wait_status(pid), 0);
}

static void start_execve(void) { execve(child_path, child_argv, NOTHING); }
static void start_execve_null(void) { execve(child_path, child_argv, NULL); }
static void start_execv(void) { clearenv(); execv(child_path, child_argv); }
static void start_execvp(void) { set_path(); execvp("reporting_child", child_argv); }
static void start_execvpe(void) { set_path(); execvpe("reporting_child", child_argv, NOTHING); }
static void start_execl(void) { clearenv(); execl(child_path, "reporting_child", (char *)NULL); }
static void start_execlp(void) { set_path(); execlp("reporting_child", "reporting_child", (char *)NULL); }
static void start_fexecve(void) { fexecve(fd_of_child(), child_argv, NOTHING); }

static void start_execle(void)
{
	execle(child_path, "reporting_child", (char *)NULL, NOTHING);
}

#ifdef __GLIBC__
static const char *requires_execveat(void) { return NULL; }

static void start_execveat(void)
{
	execveat(open("/", O_PATH | O_DIRECTORY), child_path + 1, child_argv, NOTHING, 0);
}

static void start_execveat_open(void)
{
	execveat(fd_of_child(), "", child_argv, NOTHING, AT_EMPTY_PATH);
}
#else
static const char *requires_execveat(void) { return "musl has no execveat()"; }
static void start_execveat(void) { }
static void start_execveat_open(void) { }
#endif

static void start_posix_spawn(void)
{
	pid_t pid = 0;

	EQ(posix_spawn(&pid, child_path, NULL, NULL, child_argv, NOTHING), 0);
	ended_well(pid);
}

static void start_posix_spawnp(void)
{
	pid_t pid = 0;

	set_path();
	EQ(posix_spawnp(&pid, "reporting_child", NULL, NULL, child_argv, NOTHING), 0);
	ended_well(pid);
}

static void start_system(void)
{
	clearenv();
	EQ(system(shell_line()), 0);
}

static void start_popen(void)
{
	FILE *stream;

	clearenv();
	stream = popen(shell_line(), "r");
	NEED(stream != NULL);
	EQ(pclose(stream), 0);
}

/* How the child ended; with its errno, if it could not become the program. */
static int status_after_vfork(const char *path, char **envp)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execve(path, child_argv, envp);
		_exit(errno);
	}
	return wait_status(pid);
}

static void by_vfork(char **envp)
{
	EQ(status_after_vfork(child_path, envp), 0);
}

static void start_vfork(void)
{
	by_vfork(NOTHING);
}

static int become_child(void *envp)
{
	execve(child_path, child_argv, envp);
	_exit(127);
}

static void start_clone(void)
{
	static char stack[65536] __attribute__((aligned(16)));

	ended_well(clone(become_child, stack + sizeof(stack), CLONE_VM | CLONE_VFORK | SIGCHLD,
			 NOTHING));
}

/* An executable file of one command, which exists while this runs. */
static void start_script_with(const char *first_line)
{
	char path[] = "/tmp/reach.XXXXXX", *argv[] = { path, NULL };
	int fd = mkstemp(path), status;
	pid_t pid;

	NEED(fd >= 0 && dprintf(fd, "%s\n%s\n", first_line, shell_line()) > 0);
	NEED(fchmod(fd, 0755) == 0);
	close(fd);
	pid = fork();
	if (pid == 0) {
		clearenv();
		/* Without `#!` the kernel fails with ENOEXEC, and execvp() starts a shell. */
		execvp(path, argv);
		_exit(127);
	}
	status = wait_status(pid);
	unlink(path);
	EQ(status, 0);
}

static void start_script(void) { start_script_with("#!/bin/sh"); }
static void start_script_by_shell(void) { start_script_with("# no interpreter is named"); }

#ifdef __GLIBC__
static const char *requires_shell(void) { return NULL; }
#else
static const char *requires_shell(void) { return "musl's execvp() does not ask a shell"; }
#endif

static void start_env(void)
{
	execlp("env", "env", "-i", child_path, (char *)NULL);
}

static void start_generations(void)
{
	char line[2 * PATH_MAX];

	snprintf(line, sizeof(line), "exec env -i sh -c \"env -i sh -c 'env -i %s'; :\"", child_path);
	EQ(system(line), 0);
}

static void *thread_becomes_child(void *envp)
{
	become_child(envp);
	return NULL;
}

static void start_in_thread(void)
{
	pthread_t thread;

	NEED(pthread_create(&thread, NULL, thread_becomes_child, NOTHING) == 0);
	pthread_join(thread, NULL);
}

/* X(name of start_NAME, title, function that tells why it is not listed, or NULL) */
#define EVERY_WAY(X) \
	X(execve, "execve() with an empty list", NULL) \
	X(execve_null, "execve() with no list at all", NULL) \
	X(execv, "execv() after clearenv()", NULL) \
	X(execvp, "execvp() after clearenv()", NULL) \
	X(execvpe, "execvpe() with an empty list", NULL) \
	X(execl, "execl() after clearenv()", NULL) \
	X(execle, "execle() with an empty list", NULL) \
	X(execlp, "execlp() after clearenv()", NULL) \
	X(fexecve, "fexecve() with an empty list", NULL) \
	X(execveat, "execveat() of a path with an empty list", requires_execveat) \
	X(execveat_open, "execveat() of a descriptor with an empty list", requires_execveat) \
	X(posix_spawn, "posix_spawn() with an empty list", NULL) \
	X(posix_spawnp, "posix_spawnp() with an empty list", NULL) \
	X(system, "system() after clearenv()", NULL) \
	X(popen, "popen() after clearenv()", NULL) \
	X(vfork, "vfork() and execve() with an empty list", NULL) \
	X(clone, "clone(CLONE_VM | CLONE_VFORK) and execve() with an empty list", NULL) \
	X(in_thread, "execve() in a thread with an empty list", NULL) \
	X(script, "a script, execvp() after clearenv()", NULL) \
	X(script_by_shell, "a script that names no interpreter, likewise", requires_shell) \
	X(env, "env -i", NULL) \
	X(generations, "env -i in env -i in env -i", NULL)

#endif
