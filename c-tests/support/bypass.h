/*
 * bypass.h - ways to a socket that bypass the library's exports
 *
 * What other code does, done here so that nothing of the library or of libc is in between: a system call by
 * the instruction itself (raw_syscall.h), a system call by the 32-bit gate of x86, libc's own function found
 * in libc rather than in the first object that exports the name, and whole programs that have no libc.
 */
#ifndef BYPASS_H
#define BYPASS_H

#include "device.h"
#include <dlfcn.h>
#include <elf.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

/*
 * libc's own function of this name, which libc's own callers reach. In musl, libc.so is the object that knows
 * itself.
 */
static inline void *libc_own(const char *name)
{
#ifdef __GLIBC__
	static const char *const LIBC = "libc.so.6";
#else
	static const char *const LIBC = "libc.so";
#endif
	void *libc = dlopen(LIBC, RTLD_LAZY), *function;

	NEED(libc != NULL);
	function = dlsym(libc, name);
	NEED(function != NULL);
	return function;
}

static inline int libc_socket(int domain, int type, int protocol)
{
	return ((int (*)(int, int, int))libc_own("socket"))(domain, type, protocol);
}

#ifdef __x86_64__
/* A system call of i386, which a 64-bit process may make too: the result, or -1 and errno. */
static inline long call_i386(long number, long a, long b, long c)
{
	long result = number;

	__asm__ volatile("int $0x80" : "+a"(result) : "b"(a), "c"(b), "d"(c)
			 : "r8", "r9", "r10", "r11", "memory");
	if (result < 0 && result >= -4095) {
		errno = (int)-result;
		return -1;
	}
	return result;
}

/* Why a scenario about i386 is not listed, or NULL. */
static inline const char *requires_i386(void)
{
	static const long GETPID = 20;
	pid_t pid = fork();

	/* If the kernel has no such gate, the instruction faults. */
	if (pid == 0)
		_exit(call_i386(GETPID, 0, 0, 0) == getpid() ? 0 : 1);
	return wait_status(pid) == 0 ? NULL : "this kernel runs no 32-bit programs";
}
#else
static inline const char *requires_i386(void)
{
	return "this machine has no i386 system calls";
}
#endif

/* Programs of one page without libc. Each asks for a TCP socket and exits with the errno, or with CREATED. */
enum { CREATED = 200 };

/*
 * Hidden, since they are local to the object file: a linker for aarch64 gives labels of one section that are asked for
 * through the GOT one entry, and the code would be empty.
 */
#pragma GCC visibility push(hidden)
extern const unsigned char static_code[], static_code_end[];
extern const unsigned char i386_code[], i386_code_end[];
#pragma GCC visibility pop

#if defined(__x86_64__)
__asm__(".pushsection .rodata\n"
	"static_code:\n"
	"	mov $41, %eax\n"		/* socket(AF_INET, SOCK_STREAM, 0) */
	"	mov $2, %edi\n"
	"	mov $1, %esi\n"
	"	xor %edx, %edx\n"
	"	xor %r9d, %r9d\n"
	"	syscall\n"
	"	mov $200, %edi\n"
	"	test %eax, %eax\n"
	"	jns 1f\n"
	"	neg %eax\n"
	"	mov %eax, %edi\n"
	"1:	mov $231, %eax\n"		/* exit_group */
	"	syscall\n"
	"static_code_end:\n"
	"	.code32\n"
	"i386_code:\n"
	"	mov $359, %eax\n"		/* socket, Linux 4.3 */
	"	mov $2, %ebx\n"
	"	mov $1, %ecx\n"
	"	xor %edx, %edx\n"
	"	int $0x80\n"
	"	mov $200, %ebx\n"
	"	test %eax, %eax\n"
	"	jns 1f\n"
	"	neg %eax\n"
	"	mov %eax, %ebx\n"
	"1:	mov $252, %eax\n"		/* exit_group */
	"	int $0x80\n"
	"i386_code_end:\n"
	"	.code64\n"
	"	.popsection\n");
#elif defined(__aarch64__)
__asm__(".pushsection .rodata\n"
	"	.balign 4\n"
	"static_code:\n"
	"	mov x0, #2\n"			/* socket(AF_INET, SOCK_STREAM, 0) */
	"	mov x1, #1\n"
	"	mov x2, #0\n"
	"	mov x5, #0\n"
	"	mov x8, #198\n"
	"	svc #0\n"
	"	mov x1, #200\n"
	"	cmp x0, #0\n"
	"	csneg x0, x1, x0, ge\n"
	"	mov x8, #94\n"			/* exit_group */
	"	svc #0\n"
	"static_code_end:\n"
	"	.popsection\n");
#endif

/* The address at which the kernel shall load such a program. */
enum { PROGRAM_BASE = 0x400000 };

static inline void write_static_program(int fd)
{
	static const size_t HEADERS = sizeof(Elf64_Ehdr) + sizeof(Elf64_Phdr);
	size_t code = (size_t)(static_code_end - static_code);
	Elf64_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC,
#if defined(__x86_64__)
		.e_machine = EM_X86_64,
#elif defined(__aarch64__)
		.e_machine = EM_AARCH64,
#endif
		.e_version = EV_CURRENT, .e_entry = PROGRAM_BASE + HEADERS,
		.e_phoff = sizeof(header), .e_ehsize = sizeof(header),
		.e_phentsize = sizeof(Elf64_Phdr), .e_phnum = 1,
	};
	Elf64_Phdr segment = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = PROGRAM_BASE,
		.p_paddr = PROGRAM_BASE, .p_filesz = HEADERS + code, .p_memsz = HEADERS + code,
		.p_align = 0x1000,
	};

	NEED(write(fd, &header, sizeof(header)) == sizeof(header));
	NEED(write(fd, &segment, sizeof(segment)) == sizeof(segment));
	NEED(write(fd, static_code, code) == (ssize_t)code);
}

#ifdef __x86_64__
static inline void write_i386_program(int fd)
{
	static const size_t HEADERS = sizeof(Elf32_Ehdr) + sizeof(Elf32_Phdr);
	size_t code = (size_t)(i386_code_end - i386_code);
	Elf32_Ehdr header = {
		.e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS32, ELFDATA2LSB, EV_CURRENT },
		.e_type = ET_EXEC, .e_machine = EM_386, .e_version = EV_CURRENT,
		.e_entry = PROGRAM_BASE + HEADERS, .e_phoff = sizeof(header),
		.e_ehsize = sizeof(header), .e_phentsize = sizeof(Elf32_Phdr), .e_phnum = 1,
	};
	Elf32_Phdr segment = {
		.p_type = PT_LOAD, .p_flags = PF_R | PF_X, .p_vaddr = PROGRAM_BASE,
		.p_paddr = PROGRAM_BASE, .p_filesz = HEADERS + code, .p_memsz = HEADERS + code,
		.p_align = 0x1000,
	};

	NEED(write(fd, &header, sizeof(header)) == sizeof(header));
	NEED(write(fd, &segment, sizeof(segment)) == sizeof(segment));
	NEED(write(fd, i386_code, code) == (ssize_t)code);
}
#endif

/* The path of a program that exists only in memory, and stays there. */
static inline const char *program_in_memory(void (*write_program)(int))
{
	int writer = memfd_create("bypass", MFD_CLOEXEC);
	char *path;

	NEED(writer >= 0);
	write_program(writer);
	/* What is open for writing cannot be executed (ETXTBSY): a second, read-only descriptor. */
	NEED(asprintf(&path, "/proc/self/fd/%d", writer) > 0);
	NEED(fchmod(writer, 0755) == 0);
	int reader = open(path, O_RDONLY | O_CLOEXEC);

	NEED(reader >= 0);
	close(writer);
	NEED(asprintf(&path, "/proc/self/fd/%d", reader) > 0);
	return path;
}

/* Runs a program in a child by libc's execv(), and returns its ending. */
static inline int run(const char *path)
{
	char *arguments[] = { (char *)path, NULL };
	pid_t pid = fork();

	if (pid == 0) {
		execv(path, arguments);
		_exit(127);
	}
	return wait_status(pid);
}

/* The variables of the environment that the harness set: neither LD_PRELOAD nor a variable of the library. */
static inline char **stripped_environment(void)
{
	static char *environment[100];
	size_t count = 0;

	for (char **entry = environ; *entry && count < 99; entry++)
		if (strncmp(*entry, "VRFBIND_TEST_", 13) == 0)
			environment[count++] = *entry;
	environment[count] = NULL;
	return environment;
}

/* As exec_phase() does, but by the instruction itself, and with that environment. */
_Noreturn static inline void exec_stripped(const char *as_phase)
{
	raw_call(SYS_execve, (long)"/proc/self/exe", (long)phase_arguments(as_phase),
		 (long)stripped_environment(), 0, 0, 0);
	_exit(127);
}

static inline int reexec_stripped(const char *as_phase)
{
	pid_t pid = fork();

	if (pid == 0)
		exec_stripped(as_phase);
	return wait_status(pid);
}

/* Another file with the same contents, which ld.so treats as another library. */
static inline const char *copy_of_the_library(void)
{
	static char path[40];
	int from = open(setting("VRFBIND_TEST_LIB"), O_RDONLY | O_CLOEXEC);
	int to = memfd_create("copy of the library", 0);
	struct stat file;

	NEED(from >= 0 && to >= 0 && fstat(from, &file) == 0);
	NEED(sendfile(to, from, NULL, (size_t)file.st_size) == file.st_size);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
	return path;
}

#endif
