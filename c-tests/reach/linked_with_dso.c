/* linked_with_dso.c - a program that does nothing, but is linked with dso_sockets.so */
int main(void)
{
	return 0;
}
