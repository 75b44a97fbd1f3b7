/* Any process; pure but for backoff_random(). See backoff.h. */
#include <sodium.h>

#include "mesh/backoff.h"

int64_t
backoff_after(int64_t delay, int64_t first, int64_t most)
{
	if (delay < first)
		return (first < most ? first : most);
	return (delay > most / 2 ? most : delay * 2);
}

int64_t
backoff_jitter(int64_t delay, uint64_t random)
{
	if (delay <= 0)
		return (0);
	return (delay / 2 + (int64_t)(random % (uint64_t)delay));
}

uint64_t
backoff_random(void)
{
	uint64_t bits;

	randombytes_buf(&bits, sizeof(bits));
	return (bits);
}
