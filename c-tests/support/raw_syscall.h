/*
 * raw_syscall.h - system calls by an instruction of the test's own, bypassing every library
 *
 * syscall(2) would not do: it is a function, and the library exports it.
 */
#ifndef RAW_SYSCALL_H
#define RAW_SYSCALL_H

#include <errno.h>
#include <sys/syscall.h>

/* The result, or -1 and errno. */
static inline long raw_call(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	register long fourth __asm__("r10") = d, fifth __asm__("r8") = e, sixth __asm__("r9") = f;
	long result = number;

	__asm__ volatile("syscall" : "+a"(result)
			 : "D"(a), "S"(b), "d"(c), "r"(fourth), "r"(fifth), "r"(sixth)
			 : "rcx", "r11", "memory");
#elif defined(__i386__)
	long result = number;

	/* The sixth goes to %ebp, which the compiler may need for itself. */
	__asm__ volatile("push %6; push %%ebp; mov 4(%%esp), %%ebp; int $0x80; pop %%ebp; add $4, %%esp"
			 : "+a"(result) : "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), "g"(f) : "memory");
#elif defined(__aarch64__)
	register long result __asm__("x0") = a, second __asm__("x1") = b, third __asm__("x2") = c;
	register long fourth __asm__("x3") = d, fifth __asm__("x4") = e, sixth __asm__("x5") = f;
	register long call __asm__("x8") = number;

	__asm__ volatile("svc #0" : "+r"(result) : "r"(second), "r"(third), "r"(fourth),
			 "r"(fifth), "r"(sixth), "r"(call) : "memory");
#elif defined(__riscv)
	register long result __asm__("a0") = a, second __asm__("a1") = b, third __asm__("a2") = c;
	register long fourth __asm__("a3") = d, fifth __asm__("a4") = e, sixth __asm__("a5") = f;
	register long call __asm__("a7") = number;

	__asm__ volatile("ecall" : "+r"(result) : "r"(second), "r"(third), "r"(fourth),
			 "r"(fifth), "r"(sixth), "r"(call) : "memory");
#endif
	if (result < 0 && result >= -4095) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

/* socket(2). The sixth register, which the kernel does not look at and a seal does, is 0. */
static inline int raw_socket(int domain, int type, int protocol)
{
	return (int)raw_call(SYS_socket, domain, type, protocol, 0, 0, 0);
}

#endif
