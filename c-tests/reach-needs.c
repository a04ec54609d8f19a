/*
 * reach-needs.c - a program that does nothing, but needs preload-reach.so: it is linked with that
 */
int main(void)
{
	return 0;
}
