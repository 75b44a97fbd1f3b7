/*
 * Tests only. A whole life of a keyd in a house, to be cut off anywhere: a
 * first start, a mesh and a ticket redeemed, chats, messages both ways, a
 * rekey, a deletion, a rotation of the store key, an orderly stop, a second
 * start. And the look at what is left of it afterwards.
 */
#ifndef REGRESS_LIFE_H
#define REGRESS_LIFE_H

#include "regress/house/calls.h"
#include "regress/house/house.h"
#include "regress/house/watch.h"

/* What keyd had told us before it died: this must be so for ever. */
struct told {
	struct ipc_identity identity;
	int ticket;             /* house.ticket is one */
	uint64_t serial;        /* redeemed; 0: not yet */
	uint32_t main_version;  /* of "main"; 0: not ready */
	uint32_t other_version; /* of "other" */
	int ending;             /* keyd was asked to end it */
	int deleted;            /* "other" has ended */
	int erased;             /* with that, for good */
	int changing;           /* keyd was asked for another passphrase */
	int changed;            /* and said that it is so */
	uint64_t presence;      /* number signed */
};

struct life {
	struct house a; /* whose life it is */
	struct house b; /* the other node; lives on */
	struct told told;
	struct watch watch;
	struct calls *calls; /* of a; mapped */
	char calls_path[512];
	char preload[600], journal[600];
	char *environment[3];
	char folder[512], folder_b[512], log[512];
	char main_id[64], other_id[64];
	unsigned long number;
	unsigned messages; /* each way */
	unsigned burst;
	const char *failure; /* the first one */
};

/* b runs, calls is mapped. library is calls.so. */
void life_init(struct life *life, const char *program, const char *library,
    const char *folder);
void life_free(struct life *life);

/* A new a with an empty folder and names of its own; dies at call die_at
 * (0: not). */
void life_begin(
    struct life *life, unsigned long number, unsigned long die_at, int torn);
/* Live, until the end (0) or until keyd dies in it (-1). */
int life_live(struct life *life);
/* After death and without preload: everything told must be so, and what was
 * not finished goes on to its end. counters: also look that no version and
 * counter was used twice. Sets failure. */
void life_again(struct life *life);
/* Stop a and forget it. */
void life_end(struct life *life);

void life_fail(struct life *life, const char *why);

/* Empty a folder or make it. Ends the program when it cannot. */
void life_folder(const char *path);

#endif
