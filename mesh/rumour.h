/*
 * mesh, unprivileged. Signed messages on their way to everybody (AppSync,
 * Revocation): each is told a bounded number of times to random nodes, the
 * least told first, riding on SWIM's GOSSIP. A core: no I/O, no clock.
 * Bounded in number and bytes: what does not fit pushes out what was told
 * most; push-pull repairs.
 */
#ifndef MESH_RUMOUR_H
#define MESH_RUMOUR_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/sign/ids.h"

#define RUMOUR_TOLD_MAX 64 /* most times one is told */
#define RUMOUR_EXTRA    4

struct rumour {
	TAILQ_ENTRY(rumour) entry;
	uint8_t node[KEY_SIZE]; /* whose */
	uint32_t told;
	uint32_t length;
	uint8_t bytes[];
};

TAILQ_HEAD(rumour_list, rumour);

struct rumours {
	struct rumour_list told[RUMOUR_TOLD_MAX]; /* by times told */
	size_t count;
	size_t bytes;
	size_t max_count;
	size_t max_bytes;
	uint64_t dropped; /* pushed out or too long */
};

void rumours_init(struct rumours *rumours, size_t max_count, size_t max_bytes);
void rumours_free(struct rumours *rumours);

/* Tell a copy of bytes, which node made. fresh 1: it replaces node's others
 * (a full sync). 0, or -1 with errno EMSGSIZE or ENOMEM. */
int rumours_add(struct rumours *rumours, const uint8_t node[KEY_SIZE],
    const void *bytes, size_t length, int fresh);

/* Forget what is told of node. */
void rumours_drop(struct rumours *rumours, const uint8_t node[KEY_SIZE]);

/*
 * Up to count rumours, together at most bytes long (but always one, when
 * there is one), least told first; each is then told once more, and gone
 * after limit (swim_retransmits()) + RUMOUR_EXTRA times: of k tellings each,
 * about exp(-k) of all nodes hear nothing, and only a push-pull helps them.
 * emit is called with each. The number emitted.
 */
size_t rumours_tell(struct rumours *rumours, size_t count, size_t bytes,
    uint32_t limit, void (*emit)(void *, const struct rumour *), void *arg);

#endif
