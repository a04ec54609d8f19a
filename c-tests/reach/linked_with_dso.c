/*
 * linked_with_dso.c - a program that does nothing, but needs dso_sockets.so: it is linked with that
 */
int main(void)
{
	return 0;
}
