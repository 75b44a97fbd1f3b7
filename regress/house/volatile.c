/*
 * Tests only, in keyd's place for a benchmark: after SIGWINCH counters are not
 * written to the store any more, after the next one they are again. What is
 * then left of the cost is the ratchet, the AEAD and the doors.
 */

#include <signal.h>
#include <string.h>

#include "keyd/store.h"

static volatile sig_atomic_t off;

int __real_store_put(struct store *store, enum store_table table,
    const void *name, size_t name_length, const void *data, size_t length);
int __wrap_store_put(struct store *store, enum store_table table,
    const void *name, size_t name_length, const void *data, size_t length);

static void
on_signal(int number)
{
	(void)number;
	off = !off;
}

__attribute__((constructor)) static void
volatile_init(void)
{
	struct sigaction action;

	memset(&action, 0, sizeof(action));
	action.sa_handler = on_signal;
	action.sa_flags = SA_RESTART;
	(void)sigaction(SIGWINCH, &action, NULL);
}

int
__wrap_store_put(struct store *store, enum store_table table, const void *name,
    size_t name_length, const void *data, size_t length)
{
	if (off && table == STORE_HOT)
		return (0);
	return (
	    __real_store_put(store, table, name, name_length, data, length));
}
