/*
 * getppid COUNT - calls getppid(2) COUNT times
 *
 * The cheapest system call there is: what a seccomp filter adds to each shows best here.
 */
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	for (long i = argc == 2 ? atol(argv[1]) : 0; i > 0; i--)
		syscall(SYS_getppid);
	return 0;
}
