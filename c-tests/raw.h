/*
 * raw.h - socket(2) by a system call instruction of one's own, past every library
 *
 * syscall(2) would not do: it is a function, and one that the library exports. The sixth register,
 * which the kernel does not look at and a seal does, is 0.
 */
#ifndef RAW_H
#define RAW_H

#include <errno.h>
#include <sys/syscall.h>

static inline int raw_socket(int domain, int type, int protocol)
{
#if defined(__x86_64__)
	register long sixth __asm__("r9") = 0;
	long result = SYS_socket;

	__asm__ volatile("syscall" : "+a"(result)
			 : "D"((long)domain), "S"((long)type), "d"((long)protocol), "r"(sixth)
			 : "rcx", "r11", "memory");
#elif defined(__aarch64__)
	register long result __asm__("x0") = domain;
	register long second __asm__("x1") = type, third __asm__("x2") = protocol;
	register long sixth __asm__("x5") = 0, number __asm__("x8") = SYS_socket;

	__asm__ volatile("svc #0" : "+r"(result) : "r"(second), "r"(third), "r"(sixth), "r"(number)
			 : "memory");
#endif
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return (int)result;
}

#endif
