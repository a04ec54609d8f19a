/*
 * ask.c - asks for sockets, and prints what it gets
 *
 * For the tests of the command, which start it in many ways. It knows nothing of the library. Each
 * argument is an action, in order; each socket stays open and is a line:
 *
 *   tcp udp tcp6 udp6 raw ping ping6 packet unix     NAME DEVICE, or NAME and the name of the errno
 *   libc             a TCP socket by libc's own function, which getaddrinfo() and the like call
 *   bind IP          a UDP socket that is bound to the address; connect IP: one that is connected to it
 *   owner            the user and the group that own a new socket
 *   flags            which of close-on-exec and non-blocking a socket has that asked for both, and for none
 *   many T N         N sockets in each of T threads, each closed again: how many were bound to each device
 *   signals N        N sockets, while a signal with a handler comes each millisecond
 *   full             opens sockets up to a limit of 20 descriptors, and prints how it ends
 *   close            closes all descriptors but standard output
 *   i386             a TCP socket by the 32-bit socket(), and by socketcall()
 *   unshare          a new network namespace, with lo up
 *   nobody           gives up root, and all capabilities with it
 *   group N          becomes a member of group N and no other
 *   stdio            which of the descriptors 0 to 2 are open
 *   ignored          the signals that are ignored
 *   pid              the PIDs of this process and of its parent
 *   wait             waits for its children until there is none, and prints how many there were
 *   subreaper        orphans of its children become its children
 *   scrub            empties the environment of the program that it executes
 *   set NAME=VALUE   puts this into that environment
 *   title            writes over its arguments and its environment, as setproctitle(3) does
 *   pause            prints "paused", and waits for a line on standard input
 *   refuse CALL ARGUMENT VALUE ERRNO
 *                    from now on, this system call fails if this argument (from 0) has this value; errno 0:
 *                    it does nothing and succeeds
 *   kill CALL        from now on, it ends the process
 *   families         from now on, sockets of other families than AF_UNIX, AF_INET and AF_INET6 fail
 *   listen           from now on, somebody listens to this process's calls of acct(), which nobody calls
 *   exit N           ends with this status
 *   signal N         ends by this signal
 *   run CMD...       executes CMD
 *   thread CMD...    a second thread asks for TCP three times, and executes CMD
 *   vfork CMD...     a child that shares its memory executes CMD; when CMD has ended, so does this
 *
 * Built as it is, and once more as a static program, ask-static.
 */
#include "seccomp_filters.h"
#include "bypass.h"
#include "words.h"
#include <arpa/inet.h>
#include <grp.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/time.h>

static const struct { const char *name; int family, type, protocol; } KINDS[] = {
	{ "tcp", AF_INET, SOCK_STREAM, 0 },	  { "tcp6", AF_INET6, SOCK_STREAM, 0 },
	{ "udp", AF_INET, SOCK_DGRAM, 0 },	  { "udp6", AF_INET6, SOCK_DGRAM, 0 },
	{ "raw", AF_INET, SOCK_RAW, IPPROTO_ICMP },
	{ "ping", AF_INET, SOCK_DGRAM, IPPROTO_ICMP },
	{ "ping6", AF_INET6, SOCK_DGRAM, IPPROTO_ICMPV6 },
	{ "packet", AF_INET, SOCK_PACKET, 0 },	  { "unix", AF_UNIX, SOCK_STREAM, 0 },
};

/* strerrorname_np() is glibc's, since 2.32. */
static const char *name_of_errno(void)
{
	switch (errno) {
	case EPERM: return "EPERM";
	case EACCES: return "EACCES";
	case EFAULT: return "EFAULT";
	case EMFILE: return "EMFILE";
	case ENODEV: return "ENODEV";
	case ENOSYS: return "ENOSYS";
	}
	return strerror(errno);
}

static void say(const char *name, int fd)
{
	char device[IFNAMSIZ];

	if (fd < 0)
		printf("%s %s\n", name, name_of_errno());
	else if (bound_device(fd, device) < 0)
		printf("%s getsockopt: %s\n", name, name_of_errno());
	else
		printf("%s %s\n", name, device[0] ? device : "unbound");
}

static void say_addressed(const char *call, const char *ip)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(4000) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	MUST(inet_pton(AF_INET, ip, &address.sin_addr) == 1);
	if (fd >= 0 && (strcmp(call, "bind") == 0 ? bind : connect)(fd, (struct sockaddr *)&address,
								    sizeof(address)) < 0)
		fd = -1;
	say(call, fd);
}

static long per_thread, bound, unbound, failed;
static char first_device[16];

static void *many(void *nothing)
{
	for (long i = 0; i < per_thread; i++) {
		char device[16] = "";
		socklen_t length = sizeof(device);
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, &length) < 0)
			__atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
		else if (strcmp(device, first_device) == 0)
			__atomic_add_fetch(&bound, 1, __ATOMIC_RELAXED);
		else
			__atomic_add_fetch(&unbound, 1, __ATOMIC_RELAXED);
		if (fd >= 0)
			close(fd);
	}
	return nothing;
}

/* Prints "many: ALL of ALL as the first one, on DEVICE", and to standard error how long it took. */
static void say_many(const char *name, long threads)
{
	socklen_t length = sizeof(first_device);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	static pthread_t thread[2000];
	struct timespec from, to;

	MUST(threads <= (long)(sizeof(thread) / sizeof(*thread)));
	bound = unbound = failed = 0;
	first_device[0] = '\0';
	if (fd >= 0)
		getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, first_device, &length);
	clock_gettime(CLOCK_MONOTONIC, &from);
	for (long i = 0; i < threads; i++)
		MUST(pthread_create(&thread[i], NULL, many, NULL) == 0);
	for (long i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	clock_gettime(CLOCK_MONOTONIC, &to);
	printf("%s %ld on %s, %ld elsewhere, %ld failed\n", name, bound,
	       first_device[0] ? first_device : "unbound", unbound, failed);
	fprintf(stderr, "%.1f us each\n",
		((double)(to.tv_sec - from.tv_sec) * 1e6 + (double)(to.tv_nsec - from.tv_nsec) / 1e3) /
		(double)(threads * per_thread));
}

static volatile sig_atomic_t signals;

static void count(int signal)
{
	(void)signal;
	signals++;
}

static void say_signals(void)
{
	struct sigaction action = { .sa_handler = count, .sa_flags = SA_RESTART };
	struct itimerval each_millisecond = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &each_millisecond, NULL);
	say_many("signals", 1);
	while (signals == 0)
		pause();
	setitimer(ITIMER_REAL, &never, NULL);
}

static void say_full(void)
{
	const struct rlimit limit = { 20, 20 };
	int fd, last = -1;

	MUST(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	while ((fd = socket(AF_INET, SOCK_STREAM, 0)) >= 0)
		last = fd;
	printf("full %d %s\n", last, name_of_errno());
	/* A call that was refused for this is not refused for ever. */
	close(last);
	say("again", socket(AF_INET, SOCK_STREAM, 0));
}

static void say_flags(void)
{
	for (int flags = SOCK_CLOEXEC | SOCK_NONBLOCK;; flags = 0) {
		int fd = socket(AF_INET6, SOCK_STREAM | flags, 0);

		printf("flags %s%s\n", fcntl(fd, F_GETFD) & FD_CLOEXEC ? "cloexec " : "",
		       fcntl(fd, F_GETFL) & O_NONBLOCK ? "nonblock" : "");
		if (!flags)
			return;
	}
}

static void new_network(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	MUST(unshare(CLONE_NEWNET) == 0);
	fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	MUST(ioctl(fd, SIOCSIFFLAGS, &lo) == 0);
	close(fd);
}

#ifdef __x86_64__
static void say_i386(void)
{
	say("i386-socket", (int)call_i386(359, AF_INET, SOCK_STREAM, 0));
	/* socketcall(SYS_SOCKET, NULL): past a filter it is EFAULT. */
	say("i386-socketcall", (int)call_i386(102, 1, 0, 0));
}
#endif

static void refuse(char **words)
{
	unsigned long argument[4];

	for (int i = 0; i < 4; i++)
		argument[i] = strtoul(words[i], NULL, 0);
	filter_out((long)argument[0], (int)argument[1], ~0U, (unsigned int)argument[2],
		   fails_with((int)argument[3]));
}

static void refuse_families(void)
{
	const struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_UNIX, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_INET6, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EAFNOSUPPORT),
	};

	MUST(install_filter(code, sizeof(code) / sizeof(*code)) == 0);
}

/* The descriptor is inherited by what this process becomes. */
static void listen_to_acct(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_acct, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(*code), code };
	int fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
			      SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);

	MUST(fd >= 0 && fcntl(fd, F_SETFD, 0) == 0);
}

static void say_waited(void)
{
	int count = 0;

	while (wait(NULL) > 0)
		count++;
	MUST(errno == ECHILD);
	printf("waited %d\n", count);
}

/* Three times: at the third, a supervisor remembers the caller. */
static void say_thrice(void)
{
	for (int i = 0; i < 3; i++)
		say("tcp", socket(AF_INET, SOCK_STREAM, 0));
}

static void *ask_and_become(void *command)
{
	char **words = command;

	say_thrice();
	execvp(words[0], words);
	_exit(127);
}

static void become_by_thread(char **command)
{
	pthread_t thread;

	MUST(pthread_create(&thread, NULL, ask_and_become, command) == 0);
	pthread_join(thread, NULL);
}

static void share_memory(char **command)
{
	pid_t child = vfork();

	if (child == 0)
		ask_and_become(command);
	MUST(child > 0 && waitpid(child, NULL, 0) == child);
	say_thrice();
}

static void say_ignored(void)
{
	printf("ignored");
	for (int signal = 1; signal < NSIG; signal++) {
		struct sigaction action;

		if (sigaction(signal, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
			printf(" %d", signal);
	}
	printf("\n");
}

int main(int argc, char **argv)
{
	struct stat status;
	gid_t group;

	(void)argc;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (char **word = argv + 1; *word; word++) {
		for (size_t i = 0; i < sizeof(KINDS) / sizeof(*KINDS); i++)
			if (strcmp(*word, KINDS[i].name) == 0)
				say(*word, socket(KINDS[i].family, KINDS[i].type, KINDS[i].protocol));
		if (strcmp(*word, "bind") == 0 || strcmp(*word, "connect") == 0) {
			say_addressed(word[0], word[1]);
			word++;
		} else if (strcmp(*word, "owner") == 0) {
			MUST(fstat(socket(AF_INET, SOCK_STREAM, 0), &status) == 0);
			printf("owner %u %u\n", status.st_uid, status.st_gid);
		} else if (strcmp(*word, "libc") == 0) {
			say(*word, libc_socket(AF_INET, SOCK_STREAM, 0));
		} else if (strcmp(*word, "flags") == 0) {
			say_flags();
		} else if (strcmp(*word, "many") == 0) {
			per_thread = atol(word[2]);
			say_many("many", atol(word[1]));
			word += 2;
		} else if (strcmp(*word, "signals") == 0) {
			per_thread = atol(*++word);
			say_signals();
		} else if (strcmp(*word, "full") == 0) {
			say_full();
		} else if (strcmp(*word, "close") == 0) {
			for (int fd = 0; fd < 1024; fd++)
				if (fd != STDOUT_FILENO)
					close(fd);
#ifdef __x86_64__
		} else if (strcmp(*word, "i386") == 0) {
			say_i386();
#endif
		} else if (strcmp(*word, "unshare") == 0) {
			new_network();
		} else if (strcmp(*word, "nobody") == 0) {
			MUST(setgroups(0, NULL) == 0 && setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
		} else if (strcmp(*word, "group") == 0) {
			group = (gid_t)atol(*++word);
			MUST(setgroups(1, &group) == 0);
		} else if (strcmp(*word, "stdio") == 0) {
			int open[3];

			/* They may be where this is going. */
			for (int fd = 0; fd < 3; fd++)
				open[fd] = fcntl(fd, F_GETFD) >= 0;
			dprintf(9, "stdio %d %d %d\n", open[0], open[1], open[2]);
		} else if (strcmp(*word, "ignored") == 0) {
			say_ignored();
		} else if (strcmp(*word, "pid") == 0) {
			printf("pid %d %d\n", getpid(), getppid());
		} else if (strcmp(*word, "wait") == 0) {
			say_waited();
		} else if (strcmp(*word, "subreaper") == 0) {
			MUST(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0);
		} else if (strcmp(*word, "scrub") == 0) {
			clearenv();
		} else if (strcmp(*word, "set") == 0) {
			MUST(putenv(*++word) == 0);
		} else if (strcmp(*word, "title") == 0) {
			overwrite(argv[0], word + 1);
		} else if (strcmp(*word, "families") == 0) {
			refuse_families();
		} else if (strcmp(*word, "pause") == 0) {
			printf("paused\n");
			MUST(getchar() != EOF);
		} else if (strcmp(*word, "refuse") == 0) {
			refuse(word + 1);
			word += 4;
		} else if (strcmp(*word, "kill") == 0) {
			filter_out(atol(*++word), 0, WHATEVER, WHATEVER, SECCOMP_RET_KILL_PROCESS);
		} else if (strcmp(*word, "listen") == 0) {
			listen_to_acct();
		} else if (strcmp(*word, "exit") == 0) {
			exit(atoi(word[1]));
		} else if (strcmp(*word, "signal") == 0) {
			raise(atoi(word[1]));
		} else if (strcmp(*word, "run") == 0) {
			execvp(word[1], word + 1);
			return 127;
		} else if (strcmp(*word, "thread") == 0) {
			become_by_thread(word + 1);
			return 127;
		} else if (strcmp(*word, "vfork") == 0) {
			share_memory(word + 1);
			return 0;
		}
	}
	return 0;
}
