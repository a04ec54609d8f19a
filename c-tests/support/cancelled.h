/*
 * cancelled.h - a thread is cancelled while it waits in connect(), and its cleanup handlers run
 *
 * The program is built with -fexceptions (programs.txt).
 */
#ifndef CANCELLED_H
#define CANCELLED_H

#include "device.h"
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/un.h>

typedef int connect_function(int, const struct sockaddr *, socklen_t);

static bool cleaned_up;

static void clean_up(int *unused)
{
	(void)unused;
	cleaned_up = true;
}

static struct sockaddr_un full;
static socklen_t full_length = sizeof(full);

static connect_function *cancelled_connect;

static void *waits_in_connect(void *unused)
{
	/* Runs as the stack is unwound, frame by frame. */
	__attribute__((cleanup(clean_up))) int here = 0;
	int fd;

	for (;;) {
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		if (cancelled_connect(fd, (struct sockaddr *)&full, full_length) < 0)
			return unused + here;
	}
}

static bool read_of(pid_t thread, const char *name, char *line, size_t size)
{
	char path[60];
	ssize_t length;
	int fd;

	snprintf(path, sizeof(path), "/proc/self/task/%d/%s", thread, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, line, size - 1);
	close(fd);
	NEED(length > 0);
	line[length] = '\0';
	return true;
}

/*
 * Judged by its state: a thread that sleeps in the system call. If the kernel does not show the call
 * (user-mode Linux), any thread that sleeps: it sleeps nowhere else.
 */
static bool is_in_connect(pid_t thread)
{
	char line[400];
	int number = -1;

	if (read_of(thread, "syscall", line, sizeof(line)))
		return sscanf(line, "%d", &number) == 1 && number == SYS_connect;
	NEED(read_of(thread, "stat", line, sizeof(line)));
	return strstr(line, ") S ") != NULL;
}

static pid_t first_thread_but_this(void)
{
	DIR *tasks = opendir("/proc/self/task");
	struct dirent *entry;
	pid_t found = 0;

	NEED(tasks != NULL);
	while (!found && (entry = readdir(tasks)))
		if (atoi(entry->d_name) != getpid())
			found = atoi(entry->d_name);
	closedir(tasks);
	return found;
}

static void cancel_in(connect_function *function)
{
	int listener = socket(AF_UNIX, SOCK_STREAM, 0);
	pthread_t thread;
	void *result;
	pid_t id;

	cancelled_connect = function;
	/* The kernel chooses the name. A connect() to a full queue waits. */
	full.sun_family = AF_UNIX;
	NEED(bind(listener, (struct sockaddr *)&full, sizeof(sa_family_t)) == 0);
	NEED(getsockname(listener, (struct sockaddr *)&full, &full_length) == 0);
	NEED(listen(listener, 0) == 0);
	NEED(pthread_create(&thread, NULL, waits_in_connect, NULL) == 0);
	id = first_thread_but_this();
	NEED(id > 0);
	while (!is_in_connect(id))
		sched_yield();
	NEED(pthread_cancel(thread) == 0 && pthread_join(thread, &result) == 0);
	TRUE(result == PTHREAD_CANCELED);
	TRUE(cleaned_up);
}

#endif
