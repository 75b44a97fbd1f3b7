/*
 * keyd only. One SETUP_IN under way, as chats_setup.c and chats_first.c share
 * it.
 */
#ifndef KEYD_SETUP_H
#define KEYD_SETUP_H

#include "keyd/chat.h"

struct arriving {
	struct chats *chats;
	const struct ipc_setup *setup;
	const uint8_t *tail;
	size_t tail_length;
	const uint8_t *local_app;
	const uint8_t *peer_app;
	const uint8_t *instance; /* which chat the peer has; 0: none yet */
};

/* --- chats_first.c: is it good, and for a chat that there is? ------------- */

/* Is the offer what it says, by whom the mesh says, for this node? CODE_NONE,
 * or why not. */
enum hermes_code setup_check(const struct arriving *a);

/* The peer's node hears why its offer is not taken. */
void setup_refuse(struct arriving *a, enum hermes_code code, uint32_t expected,
    int64_t retry_after);

/* Does the peer go on with a chat? One that begins has no link yet. */
int setup_goes_on(const struct arriving *a);

/* An offer for which there is no chat here. */
void setup_first(struct arriving *a);

/*
 * Is it of another chat of the name than ours, before or after it? Where both
 * ends say which they have, that is all that counts.
 */
int setup_is_of_another(const struct arriving *a, const struct chat *chat);

/* So it is. 1: it is over, as the peer hears; 0: ours may be. */
int setup_refuse_another(struct arriving *a, const struct chat *chat);

#endif
