/*
 * own_entry.c - a dynamic program that does not begin in libc's start code, like those of Go's linker
 *
 * With musl, nobody runs the constructors of a library that is preloaded into it. It creates a socket by
 * libc's function and one by an instruction, and prints "libc DEVICE" and "raw DEVICE", "unbound" or "none".
 * Linked with -nostartfiles.
 */
#include "bound_device.h"
#include "raw_syscall.h"
#include <unistd.h>

static void say(const char *how, int fd)
{
	char name[IFNAMSIZ], line[IFNAMSIZ + 8];

	stpcpy(line, how);
	strcat(line, fd < 0 || bound_device(fd, name) < 0 ? "none" : *name ? name : "unbound");
	strcat(line, "\n");
	raw_call(SYS_write, STDOUT_FILENO, (long)line, (long)strlen(line), 0, 0, 0);
}

__attribute__((used)) static void begin(void)
{
	say("libc ", socket(AF_INET, SOCK_STREAM, 0));
	say("raw ", raw_socket(AF_INET, SOCK_STREAM, 0));
	raw_call(SYS_exit_group, 0, 0, 0, 0, 0, 0);
}

#ifdef __x86_64__
__asm__(".globl _start\n_start: xor %ebp, %ebp\nand $-16, %rsp\ncall begin");
#else
__asm__(".globl _start\n_start: mov x29, #0\nbl begin");
#endif
