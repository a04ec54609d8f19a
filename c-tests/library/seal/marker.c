/*
 * marker.c - the seal's marker never leaves the library
 *
 * The kernel preserves the sixth argument register, in which the library passes the marker to the seal with
 * its socket(2). A marker that stayed there would let the seal allow the next socket(2) that an instruction
 * makes with only three registers set, as rustix, musl and sanitizers do. So every entry point of the library
 * is called, and then two things are checked: all registers that a function may change, and the 8 KiB of
 * stack below it; and what the kernel returns to such a socket(2). Written for the architectures that have
 * the seal.
 */
#include "bypass.h"
#include <linux/if_packet.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <netdb.h>
#include <sys/resource.h>
#include <sys/time.h>

#define SEALED "VRFBIND_SEAL=1"

static const unsigned long MARKER = 0x76726662696e6421;

enum { REGISTERS = 18, RAW_RESULT = REGISTERS };

/*
 * void call_and_look(function, arguments[6], found[19]): calls `function`, saves the registers that it may have changed, and
 * makes socket(AF_INET, SOCK_DGRAM, 0) by an instruction that sets the number and three arguments.
 */
#if defined(__x86_64__)
__asm__(".pushsection .text\n"
	"call_and_look:\n"
	"	push %rbx\n"
	"	push %r12\n"
	"	push %r13\n"
	"	mov %rdx, %r12\n"
	"	mov %rdi, %rbx\n"
	"	mov %rsi, %rax\n"
	"	mov (%rax), %rdi\n"
	"	mov 8(%rax), %rsi\n"
	"	mov 16(%rax), %rdx\n"
	"	mov 24(%rax), %rcx\n"
	"	mov 32(%rax), %r8\n"
	"	mov 40(%rax), %r9\n"
	"	xor %eax, %eax\n"
	"	call *%rbx\n"
	"	mov %rax, (%r12)\n"
	"	mov %rcx, 8(%r12)\n"
	"	mov %rdx, 16(%r12)\n"
	"	mov %rsi, 24(%r12)\n"
	"	mov %rdi, 32(%r12)\n"
	"	mov %r8, 40(%r12)\n"
	"	mov %r9, 48(%r12)\n"
	"	mov %r10, 56(%r12)\n"
	"	mov %r11, 64(%r12)\n"
	"	mov $41, %eax\n"
	"	mov $2, %edi\n"
	"	mov $2, %esi\n"
	"	xor %edx, %edx\n"
	"	syscall\n"
	"	mov %rax, 144(%r12)\n"
	"	pop %r13\n"
	"	pop %r12\n"
	"	pop %rbx\n"
	"	ret\n"
	"	.popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .text\n"
	"	.balign 4\n"
	"call_and_look:\n"
	"	stp x29, x30, [sp, #-32]!\n"
	"	str x19, [sp, #16]\n"
	"	mov x19, x2\n"
	"	mov x9, x0\n"
	"	mov x10, x1\n"
	"	ldp x0, x1, [x10]\n"
	"	ldp x2, x3, [x10, #16]\n"
	"	ldp x4, x5, [x10, #32]\n"
	"	blr x9\n"
	"	stp x0, x1, [x19]\n"
	"	stp x2, x3, [x19, #16]\n"
	"	stp x4, x5, [x19, #32]\n"
	"	stp x6, x7, [x19, #48]\n"
	"	stp x8, x9, [x19, #64]\n"
	"	stp x10, x11, [x19, #80]\n"
	"	stp x12, x13, [x19, #96]\n"
	"	stp x14, x15, [x19, #112]\n"
	"	stp x16, x17, [x19, #128]\n"
	"	mov x8, #198\n"
	"	mov x0, #2\n"
	"	mov x1, #2\n"
	"	mov x2, #0\n"
	"	svc #0\n"
	"	str x0, [x19, #144]\n"
	"	ldr x19, [sp, #16]\n"
	"	ldp x29, x30, [sp], #32\n"
	"	ret\n"
	"	.popsection\n");
#endif
__attribute__((visibility("hidden")))
extern void call_and_look(void *function, const long arguments[6], long found[REGISTERS + 1]);

/* The stack of the called function was below our frame. */
__attribute__((noinline)) static bool is_on_the_stack(void)
{
	const volatile unsigned long *frame = __builtin_frame_address(0);

	for (int i = 1; i <= 1024; i++)
		if (frame[-i] == MARKER)
			return true;
	return false;
}

static bool is_interrupted;

/* Calls it, and returns what it returned. The raw socket that follows is refused under the library, and unbound without. */
static long leaves_nothing(const char *what, void *function, const long arguments[6])
{
	long found[REGISTERS + 1] = { 0 };
	bool on_the_stack;

	call_and_look(function, arguments, found);
	/* A signal's frame holds the registers that it interrupted. */
	on_the_stack = !is_interrupted && is_on_the_stack();
	CONTEXT("%s", what);
	for (int i = 0; i < REGISTERS; i++)
		TRUE((unsigned long)found[i] != MARKER);
	TRUE(!on_the_stack);
	if (world == PRELOADED)
		EQ(found[RAW_RESULT], -EPERM);
	else
		STR(device_of((int)found[RAW_RESULT]), "");
	if (found[RAW_RESULT] >= 0)
		close((int)found[RAW_RESULT]);
	return found[0];
}

#define LEAVES_NOTHING(function, ...) \
	leaves_nothing(#function "(" #__VA_ARGS__ ")", (void *)(function), \
		       (const long[6]){ __VA_ARGS__ })

static const int MANY_FAMILIES[] = { AF_INET, AF_INET6, AF_UNIX, AF_NETLINK, AF_PACKET, 0x7fff };

static void after_sockets(void)
{
	void *const own = libc_own("socket");

	for (size_t i = 0; i < sizeof(MANY_FAMILIES) / sizeof(*MANY_FAMILIES); i++) {
		int family = MANY_FAMILIES[i], fds[3];

		fds[0] = (int)LEAVES_NOTHING(socket, family, SOCK_DGRAM);
		fds[1] = (int)LEAVES_NOTHING(syscall, SYS_socket, family, SOCK_DGRAM);
		fds[2] = (int)LEAVES_NOTHING(own, family, SOCK_DGRAM);
		for (int f = 0; f < 3; f++) {
			if (fds[f] < 0)
				continue;
			STR(device_of(fds[f]), family == AF_INET || family == AF_INET6 ? expected_device() : "");
			close(fds[f]);
		}
	}
}

static void after_failures(void)
{
	struct rlimit limit, none;

	LEAVES_NOTHING(socket, AF_INET, SOCK_STREAM, 99);
	LEAVES_NOTHING(socket, AF_INET6, 15, 0);
	NEED(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = limit;
	none.rlim_cur = 0;
	for (int family = AF_INET; family <= AF_INET6; family += AF_INET6 - AF_INET) {
		long found[REGISTERS + 1] = { 0 };

		NEED(setrlimit(RLIMIT_NOFILE, &none) == 0);
		call_and_look((void *)socket, (const long[6]){ family, SOCK_DGRAM }, found);
		NEED(setrlimit(RLIMIT_NOFILE, &limit) == 0);
		CONTEXT("EMFILE, family %d", family);
		for (int i = 0; i < REGISTERS; i++)
			TRUE((unsigned long)found[i] != MARKER);
		EQ((int)found[0], -1);
		/* The filter is asked first. */
		EQ(found[RAW_RESULT], world == PRELOADED ? -EPERM : -EMFILE);
	}
}

static void after_libcs_own(void)
{
	struct addrinfo hints = { .ai_flags = AI_NUMERICSERV }, *list;
	char name[IF_NAMESIZE];

	LEAVES_NOTHING(if_nametoindex, (long)"lo");
	LEAVES_NOTHING(if_indextoname, 1, (long)name);
	/* 127.0.0.1 and ::1 are sorted by sockets of libc's own. */
	LEAVES_NOTHING(getaddrinfo, (long)"localhost", (long)"53", (long)&hints, (long)&list);
}

static void after_use(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int inherited = raw_socket(AF_UNIX, SOCK_STREAM, 0);
	int udp = socket(AF_INET, SOCK_DGRAM, 0), tcp = socket(AF_INET, SOCK_STREAM, 0);

	NEED(inherited >= 0 && udp >= 0 && tcp >= 0);
	LEAVES_NOTHING(bind, udp, (long)&address, sizeof(address));
	LEAVES_NOTHING(connect, udp, (long)&none, sizeof(none));
	LEAVES_NOTHING(listen, tcp, 1);
	LEAVES_NOTHING(listen, inherited, 1);
	LEAVES_NOTHING(execve, (long)"/", 0, 0);
}


/* In a sealed process that left its VRF on purpose. */
static void in_the_default_vrf(void)
{
	if (phase) {
		TRUE(is_loaded(setting("VRFBIND_TEST_LIB")));
		for (int i = 0; i < 2; i++) {
			long fd = LEAVES_NOTHING(socket, FAMILIES[i], SOCK_DGRAM);

			STR(device_of((int)fd), "");
			close((int)fd);
		}
		LEAVES_NOTHING(socket, AF_UNIX, SOCK_DGRAM);
		return;
	}
	setenv("VRFBIND_VRF", "default", 1);
	EQ(reexec("in the default VRF"), 0);
}

/* -- In a signal handler that interrupts the library's own call the register holds what it held there. */

static volatile sig_atomic_t passed, refused, unbound;

/* The first thing that the handler does, before a register is used. */
static void raw_in_handler(int signal)
{
#if defined(__x86_64__)
	long fd;

	__asm__ volatile("syscall" : "=a"(fd)
			 : "a"(SYS_socket), "D"(AF_INET), "S"(SOCK_DGRAM), "d"(0)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long fd __asm__("x0") = AF_INET, type __asm__("x1") = SOCK_DGRAM;
	register long protocol __asm__("x2") = 0, number __asm__("x8") = SYS_socket;

	__asm__ volatile("svc #0" : "+r"(fd) : "r"(type), "r"(protocol), "r"(number) : "memory");
#endif
	(void)signal;
	if (fd < 0) {
		refused++;
		return;
	}
	passed++;
	unbound += *device_of((int)fd) == '\0';
	close((int)fd);
}

static void once_a_handler_has_returned(void)
{
	const struct itimerval often = { { 0, 200 }, { 0, 200 } }, never = { { 0, 0 }, { 0, 0 } };
	const struct sigaction action = { .sa_handler = raw_in_handler, .sa_flags = SA_RESTART };

	is_interrupted = true;
	NEED(sigaction(SIGALRM, &action, NULL) == 0);
	NEED(setitimer(ITIMER_REAL, &often, NULL) == 0);
	while (passed + refused < 500) {
		int fd = (int)LEAVES_NOTHING(socket, AF_INET, SOCK_DGRAM);

		STR(device_of(fd), expected_device());
		close(fd);
	}
	NEED(setitimer(ITIMER_REAL, &never, NULL) == 0);
	if (world == PRELOADED)
		NOTE("in a signal handler: %d of %d raw sockets passed the seal, %d of them unbound\n",
		     (int)passed, (int)(passed + refused), (int)unbound);
	else
		EQ(refused, 0);
}

static const struct scenario TABLE[] = {
	{ "a raw socket(2) after a socket() of any family, by any function, is refused, and nothing of the marker is left",
	  after_sockets, .also = SEALED },
	{ "the same after a socket() that failed", after_failures, .also = SEALED },
	{ "the same after libc's functions that make sockets themselves", after_libcs_own, .also = SEALED },
	{ "the same after the other functions that the library has", after_use, .also = SEALED },
	{ "the same in the default VRF of a sealed process", in_the_default_vrf, .also = SEALED,
	  .worlds = PRELOADED },
	{ "the same when a signal handler has interrupted the socket()", once_a_handler_has_returned,
	  .also = SEALED },
	{ NULL }
};

int main(int argc, char **argv)
{
	(void)argc;
	return tap(argv, TABLE);
}
