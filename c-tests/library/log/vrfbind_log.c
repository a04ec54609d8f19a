/*
 * vrfbind_log.c - VRFBIND_LOG: a line for each decision, and what it must not cost or spoil
 *
 * What a line says is compared with the socket it is about. The stderr that lines are counted on is
 * a pipe that keeps each write(2) apart from the others (O_DIRECT, pipe(2)).
 */
#include "seccomp_filters.h"
#include "stderr_capture.h"
#include "library_info.h"
#include "bypass.h"
#include <pthread.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define TO_STDERR "VRFBIND_LOG=stderr"

static const int IP[] = { AF_INET, AF_INET6 };

/* The line that there must be now, alone and from one write(2), or "": without the library. */
static const char *one_line(void)
{
	static char line[4096];
	ssize_t length = read(heard_end, line, sizeof(line) - 1);

	line[length > 0 ? length : 0] = '\0';
	EQ(lines_in(line), world == UNDER);
	if (world == UNDER && *line)
		TRUE(line[length - 1] == '\n');
	STR(heard(), "");
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

/* The line about this call: of that family and type, by this way, with this result. */
static void line_says(const char *call, const char *via, int domain, int type, int fd, int error)
{
	const char *line = one_line();

	if (world == WITHOUT)
		return;
	ABOUT("%.150s", line);
	TRUE(strncmp(line, "vrfbind: ", 9) == 0);
	EQ(atoi(value_of(line, "pid")), getpid());
	STR(value_of(line, "call"), call);
	STR(value_of(line, "via"), via);
	EQ(atoi(value_of(line, "family")), domain);
	EQ(atoi(value_of(line, "type")), type);
	EQ(atoi(value_of(line, "fd")), fd);
	EQ(atoi(value_of(line, "errno")), error);
	STR(value_of(line, "device"), fd >= 0 ? device_of(fd) : getenv("VRFBIND_VRF"));
	ABOUT("%s", "");
}

static void births(void)
{
	static const int TYPES[] = { SOCK_STREAM, SOCK_DGRAM };
	int fd;

	hear(O_DIRECT);
	for (int d = 0; d < 2; d++)
		for (int t = 0; t < 2; t++) {
			fd = (int)WORKS(socket(IP[d], TYPES[t] | SOCK_CLOEXEC, 0));
			STR(device_of(fd), born_on());
			line_says("socket", "export", IP[d], TYPES[t], fd, 0);
			fd = (int)WORKS(libc_socket(IP[d], TYPES[t] | SOCK_NONBLOCK, 0));
			STR(device_of(fd), born_on());
			line_says("socket", "libc", IP[d], TYPES[t], fd, 0);
			fd = (int)WORKS(syscall(SYS_socket, IP[d], TYPES[t], 0));
			STR(device_of(fd), born_on());
			line_says("socket", "syscall", IP[d], TYPES[t], fd, 0);
		}
	WORKS(socket(AF_UNIX, SOCK_STREAM, 0));
	STR(heard(), "");
}

static void refused_births(void)
{
	hear(O_DIRECT);
	for (int d = 0; d < 2; d++) {
		if (world == UNDER)
			FAILS(socket(IP[d], SOCK_STREAM, 0), ENODEV);
		line_says("socket", "export", IP[d], SOCK_STREAM, -1, ENODEV);
		if (world == UNDER)
			FAILS(libc_socket(IP[d], SOCK_STREAM, 0), ENODEV);
		line_says("socket", "libc", IP[d], SOCK_STREAM, -1, ENODEV);
	}
}

/* With another preload behind us, it is asked for the socket. */
static void by_the_next(void)
{
	int fd;

	if (!part) {
		preload(NULL, beside("counts_calls.so"));
		EQ(live_again("before another preload"), 0);
		return;
	}
	hear(0);
	fd = (int)WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of(fd), born_on());
	EQ(strstr(heard(), " via=next ") != NULL, world == UNDER);
}

static void adoptions(void)
{
	struct sockaddr_storage any = { .ss_family = AF_INET };
	int fd;

	hear(O_DIRECT);
	for (int d = 0; d < 2; d++) {
		any.ss_family = (sa_family_t)IP[d];
		fd = raw_socket(IP[d], SOCK_DGRAM, 0);
		WORKS(bind(fd, (struct sockaddr *)&any, sizeof(any)));
		STR(device_of(fd), born_on());
		line_says("bind", "export", IP[d], SOCK_DGRAM, fd, 0);
		fd = raw_socket(IP[d], SOCK_DGRAM, 0);
		connect(fd, (struct sockaddr *)&any, sizeof(any));
		STR(device_of(fd), born_on());
		line_says("connect", "export", IP[d], SOCK_DGRAM, fd, 0);
		fd = raw_socket(IP[d], SOCK_STREAM, 0);
		WORKS(listen(fd, 1));
		STR(device_of(fd), born_on());
		line_says("listen", "export", IP[d], SOCK_STREAM, fd, 0);
	}
}

static void refused_adoptions(void)
{
	int fd = raw_socket(AF_INET, SOCK_STREAM, 0);

	hear(O_DIRECT);
	if (world == UNDER) {
		FAILS(listen(fd, 1), ENODEV);
		STR(device_of(fd), "");
		TRUE(strstr(one_line(), " call=listen ") != NULL);
		FAILS(listen(fd, 1), ENODEV);
		EQ(atoi(value_of(one_line(), "errno")), ENODEV);
	} else {
		WORKS(listen(fd, 1));
	}
	STR(heard(), "");
}

static void silence(void)
{
	static const char *const VALUES[] = { NULL, "" };

	if (part) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0));
		return;
	}
	hear(0);
	for (int i = 0; i < 2; i++) {
		if (VALUES[i])
			setenv("VRFBIND_LOG", VALUES[i], 1);
		EQ(live_again("without a log"), 0);
		STR(heard(), "");
	}
}

static void inert(void)
{
	hear(0);
	WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(heard(), "");
}

/* -- A path. */

#define SCENE "/mnt"
#define LOG SCENE "/log"

static void stage(void)
{
	own_namespaces(CLONE_NEWNS);
	NEED(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
	NEED(mount("none", SCENE, "tmpfs", 0, "mode=0755") == 0);
}

/* The whole log; what there is not, is empty. */
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

	if (!part) {
		stage();
		setenv("VRFBIND_LOG", LOG, 1);
		EQ(live_again("a new file"), 0);
		if (world == UNDER) {
			NEED(stat(LOG, &file) == 0);
			EQ(file.st_mode & 07777, 0600);
			EQ(lines_in(log_text()), 2);
			unlink(LOG);
		}
		fd = open(LOG, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
		NEED(write(fd, BEFORE, sizeof(BEFORE) - 1) > 0);
		EQ(live_again("a file with something in it"), 0);
		text = log_text();
		TRUE(strncmp(text, BEFORE, sizeof(BEFORE) - 1) == 0);
		EQ(lines_in(text), world == UNDER ? 3 : 1);
		return;
	}
	hear(0);
	open_before = open_descriptors();
	fd = (int)WORKS(socket(AF_INET, SOCK_STREAM, 0));
	STR(device_of(fd), born_on());
	WORKS(libc_socket(AF_INET, SOCK_STREAM, 0));
	EQ(open_descriptors(), open_before + 2);
	STR(heard(), "");
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
	EQ(writes_so_far() - before, world == UNDER);
	WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0));
	EQ(writes_so_far() - before, world == UNDER ? 2 : 0);
}

/* A descriptor without FD_CLOEXEC could end in a program that is started at that moment. */
static void opened_with(unsigned int flag)
{
	if (!part) {
		stage();
		setenv("VRFBIND_LOG", LOG, 1);
		EQ(live_again("as ever"), 0);
		EQ(lines_in(log_text()), world == UNDER);
		filter_out(SYS_openat, 2, flag | O_ACCMODE, O_WRONLY, fails_with(EACCES));
		EQ(live_again("where nothing may be opened otherwise"), 0);
		EQ(lines_in(log_text()), world == UNDER ? 2 : 0);
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
		"/", "/no/such/folder/log", "/dev/full", "/proc/self/status",
	};

	if (part) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), born_on());
		STR(device_of((int)WORKS(libc_socket(AF_INET6, SOCK_STREAM, 0))), born_on());
		return;
	}
	for (size_t i = 0; i < sizeof(PATHS) / sizeof(*PATHS); i++) {
		ABOUT("VRFBIND_LOG=%s", PATHS[i]);
		setenv("VRFBIND_LOG", PATHS[i], 1);
		EQ(live_again(PATHS[i]), 0);
	}
}

/* A log that would wait for its reader is not waited for. */
static void fifo(void)
{
	int reader;

	if (part) {
		alarm(30);
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), born_on());
		if (strcmp(part, "nobody reads") == 0)
			return;
		for (int i = 0; i < 2000; i++)
			close(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	stage();
	NEED(mkfifo(LOG, 0600) == 0);
	setenv("VRFBIND_LOG", LOG, 1);
	EQ(live_again("nobody reads"), 0);
	NEED((reader = open(LOG, O_RDONLY | O_NONBLOCK | O_CLOEXEC)) >= 0);
	EQ(live_again("somebody has stopped reading"), 0);
}

static void no_descriptor_left(void)
{
	struct rlimit limit = { 60, 60 };
	int fd, last = -1;

	hear(0);
	NEED(dup2(heard_end, 50) == 50);
	heard_end = 50;
	setenv("VRFBIND_LOG", "/dev/null", 1);
	NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0) {
		STR(device_of(fd), born_on());
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
		int fd = socket(IP[i % 2], SOCK_STREAM, 0);

		TRUE(fd >= 0);
		close(fd);
	}
	return unused;
}

/* Every line is whole, and of the process that it names. */
static void lines_are_whole(const char *text, const char *who)
{
	char device[64];

	snprintf(device, sizeof(device), "device=%s errno=0", born_on());
	for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
		int pid, family, type, fd, used = 0;

		NEED(strchr(line, '\n') != NULL);
		ABOUT("%s: %.120s", who, line);
		sscanf(line, "vrfbind: pid=%d call=socket via=export family=%d type=%d fd=%d %n",
		       &pid, &family, &type, &fd, &used);
		TRUE(used > 0);
		TRUE(strncmp(line + used, device, strlen(device)) == 0);
		TRUE(line[used + (int)strlen(device)] == '\n');
	}
	ABOUT("%s", "");
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
		EQ(ending_of(pids[i]), 0);
}

static void many_writers(void)
{
	if (part) {
		if (strcmp(part, "threads") == 0)
			of_threads();
		else
			of_processes();
		return;
	}
	stage();
	setenv("VRFBIND_LOG", LOG, 1);
	EQ(live_again("threads"), 0);
	lines_are_whole(log_text(), "threads");
	EQ(lines_in(log_text()), world == UNDER ? THREADS * EACH : 0);
	if (world == UNDER)
		unlink(LOG);
	EQ(live_again("processes"), 0);
	lines_are_whole(log_text(), "processes");
	EQ(lines_in(log_text()), world == UNDER ? THREADS * EACH : 0);
}

/* -- Descriptor 2 may be anything. */

static void makes_sockets(void)
{
	alarm(30);
	for (int d = 0; d < 2; d++) {
		STR(device_of((int)WORKS(socket(IP[d], SOCK_STREAM, 0))), born_on());
		STR(device_of((int)WORKS(libc_socket(IP[d], SOCK_DGRAM, 0))), born_on());
	}
}

static void nowhere(void)
{
	static const char bytes[4096];
	int ends[2];

	if (part) {
		makes_sockets();
		return;
	}
	ABOUT("closed");
	EQ(with_stderr(-1), 0);
	ABOUT("/dev/full");
	EQ(with_stderr(open("/dev/full", O_WRONLY | O_CLOEXEC)), 0);
	ABOUT("read-only");
	EQ(with_stderr(open("/dev/null", O_RDONLY | O_CLOEXEC)), 0);
	ABOUT("a full pipe");
	NEED(pipe2(ends, O_CLOEXEC) == 0 && fcntl(ends[1], F_SETFL, O_NONBLOCK) == 0);
	while (write(ends[1], bytes, sizeof(bytes)) > 0)
		;
	NEED(errno == EAGAIN && fcntl(ends[1], F_SETFL, 0) == 0);
	EQ(with_stderr(ends[1]), 0);
	ABOUT("a pipe that nobody reads");
	close(ends[0]);
	EQ(with_stderr(ends[1]), 0);
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

	ABOUT("a UDP socket");
	fd = raw_socket(AF_INET, SOCK_DGRAM, 0);
	NEED(syscall(SYS_connect, fd, &address, sizeof(address)) == 0);
	NEED(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	WORKS(socket(AF_INET, SOCK_STREAM, 0));
	FAILS(recv(receiver, &byte, 1, MSG_DONTWAIT), EAGAIN);

	/* As of openlog(3), or of a server that is asked for something. */
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		ABOUT("a UNIX socket of type %d", type);
		NEED(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) == 0);
		NEED(dup2(pair[1], STDERR_FILENO) == STDERR_FILENO);
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		FAILS(recv(pair[0], &byte, 1, MSG_DONTWAIT), EAGAIN);
	}
}

/* systemd hands out a UNIX stream socket as stderr: that is for us. */
static void into_the_journal(void)
{
	char line[1000] = "";
	int pair[2];

	if (part) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	NEED(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	EQ(with_stderr(pair[1]), 0);
	EQ(recv(pair[0], line, sizeof(line) - 1, MSG_DONTWAIT) > 0, world == UNDER);
	EQ(lines_in(line), world == UNDER);
}

/* -- Children, and values. */

static void survives_a_scrubbing(void)
{
	if (part) {
		WORKS(socket(AF_INET, SOCK_STREAM, 0));
		return;
	}
	hear(0);
	unsetenv("VRFBIND_LOG");
	unsetenv("LD_PRELOAD");
	EQ(live_again("with a scrubbed environment"), 0);
	EQ(lines_in(heard()), world == UNDER);
}

static void names_a_static_program(void)
{
	const char *program = program_in_memory(write_static_program), *said;

	hear(0);
	EQ(run(program), BORN);
	said = heard();
	EQ(lines_in(said), world == UNDER);
	if (world == UNDER) {
		TRUE(strstr(said, program) != NULL);
		TRUE(strstr(said, "statically linked") != NULL);
		TRUE(strstr(said, "not bound") != NULL);
	}
}

static void longest(void)
{
	char value[300] = LOG;

	if (part) {
		STR(device_of((int)WORKS(socket(AF_INET, SOCK_STREAM, 0))), born_on());
		return;
	}
	stage();
	memset(value, '/', 255 - 3);
	strcpy(value + 255 - 3, "log");
	memcpy(value, SCENE, strlen(SCENE));
	NEED(strlen(value) == 255);
	setenv("VRFBIND_LOG", value, 1);
	EQ(live_again("255 bytes"), 0);
	EQ(lines_in(log_text()), world == UNDER);
}

static void invalid(void)
{
	char longer[257];
	const char *const VALUES[] = { "log", "./log", "STDERR", "stderr ", "1", longer };
	const char *said;

	if (part) {
		if (world == WITHOUT) {
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
	/* If one is taken for a path after all, the file goes with this namespace. */
	stage();
	NEED(chdir(SCENE) == 0);
	hear(0);
	for (size_t i = 0; i < sizeof(VALUES) / sizeof(*VALUES); i++) {
		ABOUT("VRFBIND_LOG=%.100s", VALUES[i]);
		setenv("VRFBIND_LOG", VALUES[i], 1);
		EQ(live_again("with that value"), 0);
		said = heard();
		EQ(lines_in(said), world == UNDER);
		EQ(strstr(said, "VRFBIND_LOG") != NULL, world == UNDER);
	}
}

static const struct scenario SCENARIOS[] = {
	{ "each birth is a line that says what became of it, written at once", births,
	  .also = TO_STDERR },
	{ "a refused one has a line with its errno", refused_births, .vrf = "no-such-device",
	  .also = TO_STDERR },
	{ "a socket that another preload is asked for has one too", by_the_next,
	  .also = TO_STDERR },
	{ "so has a socket that gets its device at bind(), connect() or listen()", adoptions,
	  .also = TO_STDERR },
	{ "or does not get it", refused_adoptions, .vrf = "no-such-device", .also = TO_STDERR },
	{ "there is no log if VRFBIND_LOG is unset or empty", silence },
	{ "nor without a VRF", inert, .vrf = "default", .also = TO_STDERR },
	{ "a path is made or added to, for each line, and no descriptor is left", path },
	{ "a line to a path is one write(2)", written_at_once, .also = "VRFBIND_LOG=/dev/null",
	  .elsewhere = counts_writes },
	{ "a path is opened with O_CLOEXEC", cloexec },
	{ "a path is opened with O_APPEND", append },
	{ "a path that takes nothing does no harm", unwritable },
	{ "a path that is a FIFO is not waited for", fifo },
	{ "nor is there harm in having no descriptor left for it", no_descriptor_left,
	  .also = "VRFBIND_LOG=/dev/null" },
	{ "lines of 64 threads and of 8 processes do not mix, and none is lost", many_writers },
	{ "a stderr that takes nothing does no harm", nowhere, .also = TO_STDERR },
	{ "a descriptor 2 that is a socket of the program's is left alone", not_into_sockets,
	  .vrf = "lo", .also = TO_STDERR },
	{ "a UNIX socket, which journald reads, is written to", into_the_journal,
	  .also = TO_STDERR },
	{ "a child whose environment is scrubbed logs on", survives_a_scrubbing,
	  .also = TO_STDERR },
	{ "a program that is not preloaded is named", names_a_static_program, .also = TO_STDERR },
	{ "a path of 255 bytes is taken whole", longest },
	{ "a value that is no path and not \"stderr\" refuses all IP sockets", invalid },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, SCENARIOS);
}
