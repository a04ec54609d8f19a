/*
 * vrfbind_log.c - VRFBIND_LOG: a line for each decision, and what logging must not cost or spoil
 *
 * A line is compared with the socket that it is about. The stderr on which lines are counted is a pipe that
 * keeps each write(2) apart from the others (O_DIRECT, pipe(2)).
 */
#include "seccomp_filters.h"
#include "stderr_capture.h"
#include "library_info.h"
#include "tmpfs_sandbox.h"
#include "bypass.h"
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TO_STDERR "VRFBIND_LOG=stderr"

/* The line that must have been written now, alone and by one write(2), or "": without the library. */
static const char *one_line(void)
{
	static char line[4096];
	ssize_t length = read(capture_end, line, sizeof(line) - 1);

	line[length > 0 ? length : 0] = '\0';
	EQ(lines_in(line), world == PRELOADED);
	if (world == PRELOADED && *line)
		TRUE(line[length - 1] == '\n');
	STR(captured_stderr(), "");
	return line;
}

/* The value behind ` word=` in a line, up to the next space. */
static const char *value_of(const char *line, const char *word)
{
	static char value[100];
	char pattern[40];
	const char *at;
	size_t length;

	snprintf(pattern, sizeof(pattern), " %s=", word);
	at = strstr(line, pattern);
	if (!at)
		return "(none)";
	at += strlen(pattern);
	length = strcspn(at, " \n");
	snprintf(value, sizeof(value), "%.*s", (int)length, at);
	return value;
}

/* The line about this call: of this family and type, by this way, with this result. */
static void line_says(const char *call, const char *via, int domain, int type, int fd, int error)
{
	const char *line = one_line();

	if (world == BASELINE)
		return;
	CONTEXT("%.150s", line);
	TRUE(strncmp(line, "vrfbind: ", 9) == 0);
	EQ(atoi(value_of(line, "pid")), getpid());
	STR(value_of(line, "call"), call);
	STR(value_of(line, "via"), via);
	EQ(atoi(value_of(line, "family")), domain);
	EQ(atoi(value_of(line, "type")), type);
	EQ(atoi(value_of(line, "fd")), fd);
	EQ(atoi(value_of(line, "errno")), error);
	STR(value_of(line, "device"), fd >= 0 ? device_of(fd) : getenv("VRFBIND_VRF"));
	CONTEXT("%s", "");
}

static void creations(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM };
	int fd;

	capture_stderr(O_DIRECT);
	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 2; t++) {
			fd = (int)WORKS(socket(FAMILIES[d], TYPES[t] | SOCK_CLOEXEC, 0));
			STR(device_of(fd), expected_device());
			line_says("socket", "export", FAMILIES[d], TYPES[t], fd, 0);
			fd = (int)WORKS(libc_socket(FAMILIES[d], TYPES[t] | SOCK_NONBLOCK, 0));
			STR(device_of(fd), expected_device());
			line_says("socket", "libc", FAMILIES[d], TYPES[t], fd, 0);
			fd = (int)WORKS(syscall(SYS_socket, FAMILIES[d], TYPES[t], 0));
			STR(device_of(fd), expected_device());
			line_says("socket", "syscall", FAMILIES[d], TYPES[t], fd, 0);
		}
	WORKS(socket(AF_UNIX, SOCK_STREAM, 0));
	STR(captured_stderr(), "");
}

/* As `ip netns exec` does to a program that has started in the VRF. */
static void another_namespace(void)
{
	const char *said;

	capture_stderr(0);
	FAILS(socket(AF_INET, SOCK_STREAM, 0), ENODEV);
	said = captured_stderr();
	CONTEXT("%.150s", said);
	TRUE(strstr(said, "errno=19 (no such device)\n") != NULL);
}

static void refused_creations(void)
{
	capture_stderr(O_DIRECT);
	for (int d = 0; d < 2; d++) {
		if (world == PRELOADED)
			FAILS(socket(FAMILIES[d], SOCK_STREAM, 0), ENODEV);
		line_says("socket", "export", FAMILIES[d], SOCK_STREAM, -1, ENODEV);
		if (world == PRELOADED)
			FAILS(libc_socket(FAMILIES[d], SOCK_STREAM, 0), ENODEV);
		line_says("socket", "libc", FAMILIES[d], SOCK_STREAM, -1, ENODEV);
	}
}

/* With another preload behind us, it is asked for the socket. */
static void by_the_next(void)
{
	int fd;

	if (!phase) {
		preload(NULL, beside("counts_calls.so"));
		EQ(reexec("before another preload"), 0);
		return;
	}
	capture_stderr(0);
	fd = (int)WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of(fd), expected_device());
	EQ(strstr(captured_stderr(), " via=next ") != NULL, world == PRELOADED);
}

static void existing_sockets(void)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int fd;

	capture_stderr(O_DIRECT);
	for (int d = 0; d < 2; d++) {
		any.ss_family = (sa_family_t)FAMILIES[d];
		fd = raw_socket(FAMILIES[d], SOCK_DGRAM, 0);
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		STR(device_of(fd), expected_device());
		line_says("bind", "export", FAMILIES[d], SOCK_DGRAM, fd, 0);
		fd = raw_socket(FAMILIES[d], SOCK_DGRAM, 0);
		connect(fd, (struct sockaddr *)&any, sizeof(any));
		STR(device_of(fd), expected_device());
		line_says("connect", "export", FAMILIES[d], SOCK_DGRAM, fd, 0);
		fd = raw_socket(FAMILIES[d], SOCK_STREAM, 0);
		WORKS(listen(fd, 1));
		STR(device_of(fd), expected_device());
		line_says("listen", "export", FAMILIES[d], SOCK_STREAM, fd, 0);
	}
}

static void refused_existing_sockets(void)
{
	int fd = raw_socket(AF_INET, SOCK_STREAM, 0);

	capture_stderr(O_DIRECT);
	if (world == PRELOADED) {
		FAILS(listen(fd, 1), ENODEV);
		STR(device_of(fd), "");
		TRUE(strstr(one_line(), " call=listen ") != NULL);
		FAILS(listen(fd, 1), ENODEV);
		EQ(atoi(value_of(one_line(), "errno")), ENODEV);
	} else {
		WORKS(listen(fd, 1));
	}
	STR(captured_stderr(), "");
}

static void silence(void)
{
	static const char *const VALUES[] = { NULL, "" };

	if (phase) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0));
		return;
	}
	capture_stderr(0);
	for (int i = 0; i < 2; i++) {
		if (VALUES[i])
			setenv("VRFBIND_LOG", VALUES[i], 1);
		EQ(reexec("without a log"), 0);
		STR(captured_stderr(), "");
	}
}

static void inert(void)
{
	capture_stderr(0);
	WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(captured_stderr(), "");
}

/* -- A path. */

#define LOG SANDBOX "/log"

static void stage(void)
{
	own_mounts();
	mount_sandbox();
}

/* The whole log; empty if it does not exist. */
static const char *log_text(void)
{
	static char text[8 << 20];
	int fd = open(LOG, O_RDONLY | O_CLOEXEC);
	ssize_t more, length = 0;

	while (fd >= 0 && (more = read(fd, text + length, sizeof(text) - 1 - (size_t)length)) > 0)
		length += more;
	text[length] = '\0';
	if (fd >= 0)
		close(fd);
	return text;
}

static void path(void)
{
	static const char BEFORE[] = "what was there before\n";
	const char *text;
	struct stat file;
	int fd, open_before;

	if (!phase) {
		stage();
		setenv("VRFBIND_LOG", LOG, 1);
		EQ(reexec("a new file"), 0);
		if (world == PRELOADED) {
			NEED(stat(LOG, &file) == 0);
			EQ(file.st_mode & 07777, 0600);
			EQ(lines_in(log_text()), 2);
			unlink(LOG);
		}
		fd = open(LOG, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		NEED(write(fd, BEFORE, sizeof(BEFORE) - 1) > 0);
		EQ(reexec("a file with something in it"), 0);
		text = log_text();
		TRUE(strncmp(text, BEFORE, sizeof(BEFORE) - 1) == 0);
		EQ(lines_in(text), world == PRELOADED ? 3 : 1);
		return;
	}
	capture_stderr(0);
	open_before = open_descriptors();
	fd = (int)WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of(fd), expected_device());
	WORKS(libc_socket(AF_INET, SOCK_STREAM, 0));
	EQ(open_descriptors(), open_before + 2);
	STR(captured_stderr(), "");
}

/* How often this process has called write(2) and its like (proc(5)), or -1. */
static long writes_so_far(void)
{
	char line[80];
	long writes = -1;
	FILE *counts = fopen("/proc/self/io", "re");

	if (!counts)
		return -1;
	while (fgets(line, sizeof(line), counts))
		sscanf(line, "syscw: %ld", &writes);
	fclose(counts);
	return writes;
}

static const char *counts_writes(void)
{
	return writes_so_far() < 0 ? "the kernel counts no write(2)s (TASK_IO_ACCOUNTING)" : NULL;
}

static void written_at_once(void)
{
	long before = writes_so_far();

	WORKS(socket(AF_INET, SOCK_STREAM, 0));
	EQ(writes_so_far() - before, world == PRELOADED);
	WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0));
	EQ(writes_so_far() - before, world == PRELOADED ? 2 : 0);
}

/* A descriptor without FD_CLOEXEC could be inherited by a program that is started at this moment. */
static void opened_with(unsigned int flag)
{
	if (!phase) {
		stage();
		setenv("VRFBIND_LOG", LOG, 1);
		EQ(reexec("as ever"), 0);
		EQ(lines_in(log_text()), world == PRELOADED);
		filter_out(SYS_openat, 2, flag | O_ACCMODE, O_WRONLY, fails_with(EACCES));
		EQ(reexec("where nothing may be opened otherwise"), 0);
		EQ(lines_in(log_text()), world == PRELOADED ? 2 : 0);
		return;
	}
	WORKS(socket(AF_INET, SOCK_STREAM, 0));
}

static void cloexec(void)
{
	opened_with(O_CLOEXEC);
}

static void append(void)
{
	opened_with(O_APPEND);
}

static void unwritable(void)
{
	static const char *const PATHS[] = {
		"/", "/no/such/directory/log", "/dev/full", "/proc/self/status",
	};

	if (phase) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
		STR(device_of((int)WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0))), expected_device());
		return;
	}
	for (size_t i = 0; i < sizeof(PATHS) / sizeof(*PATHS); i++) {
		CONTEXT("VRFBIND_LOG=%s", PATHS[i]);
		setenv("VRFBIND_LOG", PATHS[i], 1);
		EQ(reexec(PATHS[i]), 0);
	}
}

/* The library does not wait for the reader of a log. */
static void fifo(void)
{
	int reader;

	if (phase) {
		alarm(30);
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
		if (strcmp(phase, "nobody reads") == 0)
			return;
		for (int i = 0; i < 2000; i++)
			close(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	stage();
	NEED(mkfifo(LOG, 0600) == 0);
	setenv("VRFBIND_LOG", LOG, 1);
	EQ(reexec("nobody reads"), 0);
	NEED((reader = open(LOG, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) >= 0);
	EQ(reexec("somebody has stopped reading"), 0);
}

static void no_descriptor_left(void)
{
	struct rlimit limit = { 60, 60 };
	int fd, last = -1;

	capture_stderr(0);
	NEED(dup2(capture_end, 50) == 50);
	capture_end = 50;
	setenv("VRFBIND_LOG", "/dev/null", 1);
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0) {
		STR(device_of(fd), expected_device());
		last = fd;
	}
	EQ(errno, EMFILE);
	EQ(last, 59);
}

/* -- Lines of many. */

enum { THREADS = 64, PROCESSES = 8, EACH = 40 };

static void *many(void *unused)
{
	for (int i = 0; i < EACH; i++) {
		int fd = socket(FAMILIES[i % 2], SOCK_STREAM, 0);

		TRUE(fd >= 0);
		close(fd);
	}
	return unused;
}

/* Every line is whole, and of the process that it names. */
static void lines_are_whole(const char *text, const char *who)
{
	char device[64];

	snprintf(device, sizeof(device), "device=%s errno=0", expected_device());
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		int pid, family, type, fd, used = 0;

		NEED(strchr(line, '\n') != NULL);
		CONTEXT("%s: %.120s", who, line);
		sscanf(line, "vrfbind: pid=%d call=socket via=export family=%d type=%d fd=%d %n",
		       &pid, &family, &type, &fd, &used);
		TRUE(used > 0);
		TRUE(strncmp(line + used, device, strlen(device)) == 0);
		TRUE(line[used + (int)strlen(device)] == '\n');
	}
	CONTEXT("%s", "");
}

static void of_threads(void)
{
	pthread_t threads[THREADS];

	for (int i = 0; i < THREADS; i++)
		NEED(pthread_create(&threads[i], NULL, many, NULL) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
}

static void of_processes(void)
{
	pid_t pids[PROCESSES];

	for (int i = 0; i < PROCESSES; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			for (int j = 0; j < THREADS / PROCESSES; j++)
				many(NULL);
			tap_end(NULL);
		}
	}
	for (int i = 0; i < PROCESSES; i++)
		EQ(wait_status(pids[i]), 0);
}

static void many_writers(void)
{
	if (phase) {
		if (strcmp(phase, "threads") == 0)
			of_threads();
		else
			of_processes();
		return;
	}
	stage();
	setenv("VRFBIND_LOG", LOG, 1);
	EQ(reexec("threads"), 0);
	lines_are_whole(log_text(), "threads");
	EQ(lines_in(log_text()), world == PRELOADED ? THREADS * EACH : 0);
	if (world == PRELOADED)
		unlink(LOG);
	EQ(reexec("processes"), 0);
	lines_are_whole(log_text(), "processes");
	EQ(lines_in(log_text()), world == PRELOADED ? THREADS * EACH : 0);
}

/* -- Descriptor 2 may be anything. */

static void makes_sockets(void)
{
	alarm(30);
	for (int d = 0; d < 2; d++) {
		STR(device_of((int)WORKS(socket(FAMILIES[d], SOCK_STREAM, 0))), expected_device());
		STR(device_of((int)WORKS(libc_socket(FAMILIES[d], SOCK_DGRAM, 0))), expected_device());
	}
}

static void nowhere(void)
{
	int ends[2];

	if (phase) {
		makes_sockets();
		return;
	}
	reexec_with_useless_stderr();
	CONTEXT("a full pipe");
	NEED(pipe2(ends, O_CLOEXEC) == 0);
	fill(ends[1]);
	EQ(reexec_with_stderr(ends[1]), 0);
	CONTEXT("a pipe that nobody reads");
	close(ends[0]);
	EQ(reexec_with_stderr(ends[1]), 0);
}

/* A daemon closes descriptor 2, and its next socket takes that place: nothing is for its peer. */
static void not_into_sockets(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	socklen_t length = sizeof(address);
	int receiver, fd, pair[2];
	char byte;

	own_netns();
	receiver = raw_socket(AF_INET, SOCK_DGRAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	NEED(syscall(SYS_bind, receiver, &address, sizeof(address)) == 0);
	NEED(getsockname(receiver, (struct sockaddr *)&address, &length) == 0);

	CONTEXT("a UDP socket");
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(syscall(SYS_connect, fd, &address, sizeof(address)) == 0);
	NEED(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	WORKS(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(recv(receiver, &byte, 1, MSG_DONTWAIT), EAGAIN);

	/* A socket of openlog(3), or of a server that gets requests. */
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		CONTEXT("a UNIX socket of type %d", type);
		NEED(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
		NEED(dup2(pair[1], STDERR_FILENO) == STDERR_FILENO);
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		FAILS(recv(pair[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
	}
}

/* systemd passes a UNIX stream socket as stderr: the line is written there. */
static void into_the_journal(void)
{
	char line[1000] = "";
	int pair[2];

	if (phase) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	EQ(reexec_with_stderr(pair[1]), 0);
	EQ(recv(pair[0], line, sizeof(line) - 1, MSG_DONTWAIT) > 0, world == PRELOADED);
	EQ(lines_in(line), world == PRELOADED);
}

/* -- Children, and values. */

static void survives_a_scrubbing(void)
{
	if (phase) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	capture_stderr(0);
	unsetenv("VRFBIND_LOG");
	unsetenv("LD_PRELOAD");
	EQ(reexec("with a scrubbed environment"), 0);
	EQ(lines_in(captured_stderr()), world == PRELOADED);
}

static void names_a_static_program(void)
{
	const char *program = program_in_memory(write_static_program), *said;

	capture_stderr(0);
	EQ(run(program), CREATED);
	said = captured_stderr();
	EQ(lines_in(said), world == PRELOADED);
	if (world == PRELOADED) {
		TRUE(strstr(said, program) != NULL);
		TRUE(strstr(said, "statically linked") != NULL);
		TRUE(strstr(said, "not bound") != NULL);
	}
}

static void longest(void)
{
	char value[300] = LOG;

	if (phase) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), expected_device());
		return;
	}
	stage();
	memset(value, '/', 255 - 3);
	strcpy(value + 255 - 3, "log");
	memcpy(value, SANDBOX, strlen(SANDBOX));
	NEED(strlen(value) == 255);
	setenv("VRFBIND_LOG", value, 1);
	EQ(reexec("255 bytes"), 0);
	EQ(lines_in(log_text()), world == PRELOADED);
}

static void invalid(void)
{
	char longer[257];
	const char *const VALUES[] = { "log", "./log", "STDERR", "stderr ", "1", longer };
	const char *said;

	if (phase) {
		if (world == BASELINE) {
			WORKS(socket(AF_INET, SOCK_STREAM, 0));
			return;
		}
		FAILS(socket(AF_INET, SOCK_STREAM, 0), EINVAL);
		FAILS(socket(AF_INET6, SOCK_STREAM, 0), EINVAL);
		FAILS(libc_socket(AF_INET, SOCK_STREAM, 0), EINVAL);
		return;
	}
	memset(longer, '/', 256);
	longer[256] = '\0';
	/* If a value is used as a path after all, the file goes with this namespace. */
	stage();
	NEED(chdir(SANDBOX) == 0);
	capture_stderr(0);
	for (size_t i = 0; i < sizeof(VALUES) / sizeof(*VALUES); i++) {
		CONTEXT("VRFBIND_LOG=%.100s", VALUES[i]);
		setenv("VRFBIND_LOG", VALUES[i], 1);
		EQ(reexec("with that value"), 0);
		said = captured_stderr();
		EQ(lines_in(said), world == PRELOADED);
		EQ(strstr(said, "VRFBIND_LOG") != NULL, world == PRELOADED);
	}
}

static const struct scenario SCENARIOS[] = {
	{ "each new socket is a line with its result, written at once", creations,
	  .also = TO_STDERR },
	{ "a refused one has a line with its errno", refused_creations, .vrf = "no-such-device",
	  .also = TO_STDERR },
	{ "a device that is not in this network namespace is reported", another_namespace,
	  .vrf = "no-such-device", .also = TO_STDERR, .worlds = PRELOADED },
	{ "a socket that another preload is asked for has one too", by_the_next,
	  .also = TO_STDERR },
	{ "so has a socket that gets its device at bind(), connect() or listen()", existing_sockets,
	  .also = TO_STDERR },
	{ "or does not get it", refused_existing_sockets, .vrf = "no-such-device", .also = TO_STDERR },
	{ "there is no log if VRFBIND_LOG is unset or empty", silence },
	{ "nor without a VRF", inert, .vrf = "default", .also = TO_STDERR },
	{ "a path is created or appended to, for each line, and no descriptor is left", path },
	{ "a line to a path is one write(2)", written_at_once, .also = "VRFBIND_LOG=/dev/null",
	  .elsewhere = counts_writes },
	{ "a path is opened with O_CLOEXEC", cloexec },
	{ "a path is opened with O_APPEND", append },
	{ "a path that accepts nothing does no harm", unwritable },
	{ "a path that is a FIFO is not waited for", fifo },
	{ "nor is there harm in having no descriptor left for it", no_descriptor_left,
	  .also = "VRFBIND_LOG=/dev/null" },
	{ "lines of 64 threads and of 8 processes do not mix, and none is lost", many_writers },
	{ "a stderr that accepts nothing does no harm", nowhere, .also = TO_STDERR },
	{ "a descriptor 2 that is a socket of the program's is left alone", not_into_sockets,
	  .vrf = "lo", .also = TO_STDERR },
	{ "a UNIX socket, which journald reads, is written to", into_the_journal,
	  .also = TO_STDERR },
	{ "a child whose environment is scrubbed logs on", survives_a_scrubbing,
	  .also = TO_STDERR },
	{ "a program that is not preloaded is named", names_a_static_program, .also = TO_STDERR },
	{ "a path of 255 bytes is used whole", longest },
	{ "a value that is neither a path nor \"stderr\" refuses all IP sockets", invalid },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
