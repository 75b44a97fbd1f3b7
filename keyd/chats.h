/*
 * keyd only. The chats of this node: one engine that router's and mesh's
 * messages drive. It keeps ratchets (ratchet.h) as the rules say (policy.h)
 * and remembers them in the store. Sending, signing and randomness are given
 * to it, so two engines can talk to each other in one process (tests).
 *
 * Nothing it sends may leave before chats_commit() has returned 0.
 */
#ifndef KEYD_CHATS_H
#define KEYD_CHATS_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"

struct store;
struct chats;

struct chats_io {
	/* Queue a message to router, mesh or control; lost when the door is
	 * down. */
	void (*send)(void *arg, enum process to, enum ipc_type type,
	    const void *payload, const void *tail, size_t tail_length);
	/* The same, returning where the tail goes; NULL when it is down. */
	uint8_t *(*send_tail)(void *arg, enum process to, enum ipc_type type,
	    const void *payload, size_t tail_length);
	/* Sign with the node's identity. */
	void (*sign)(void *arg, const uint8_t *bytes, size_t length,
	    uint8_t signature[SIGNATURE_SIZE]);
	void (*random)(void *arg, void *bytes, size_t length);
	void *arg;
};

/*
 * Read all chats from the unlocked store. config must stay valid and may
 * change. node_key is the node's identity, generation goes up at each start.
 * NULL with errno.
 */
struct chats *chats_new(const struct chats_io *io, struct store *store,
    const struct config *config, const uint8_t node_key[KEY_SIZE],
    uint64_t generation, int64_t now);
void chats_free(struct chats *chats);

/* The time (ns since the epoch) of the events that follow. */
void chats_set_now(struct chats *chats, int64_t now);

/* From now on new chats are refused (1), or taken again. Those that there
 * are, and offers that wait already, go on. */
void chats_no_new(struct chats *chats, int refuse);

/* From the router. */
void chats_start(struct chats *chats, const struct ipc_chat_start *start,
    const uint8_t *tail, size_t tail_length);
void chats_end(struct chats *chats, const struct ipc_chat_end *end);
void chats_progress(
    struct chats *chats, const struct ipc_chat_progress *progress);
void chats_seal(struct chats *chats, const struct ipc_seal *seal,
    const uint8_t *tail, size_t tail_length);

/* From the mesh. */
void chats_setup_in(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t *tail, size_t tail_length);
void chats_teardown_in(
    struct chats *chats, const struct ipc_teardown *teardown);
void chats_open(struct chats *chats, const struct ipc_sealed *sealed,
    const uint8_t *tail, size_t tail_length);

/* A new router: tell it every chat and every offer that waits for an app. */
void chats_report(struct chats *chats);

/* A new mesh: tell it of chats that ended of late, for the last one may have
 * died before it told their peers. */
void chats_report_ended(struct chats *chats);

/* Operators. Rekey one chat (key), or have chats_rekey_step() rekey all (NULL):
 * how many. */
size_t chats_rekey(struct chats *chats, const struct chat_key *key);
/* Begin at most count of these. 1: there are more; else 0. */
int chats_rekey_step(struct chats *chats, size_t count);
void chats_show(struct chats *chats, uint64_t id); /* ROW_RATCHETs */
void chats_metrics(struct chats *chats); /* count what these rows say */
/*
 * A node is out of the mesh: from now on nothing is set up with it, or, if it
 * is this one, with any other (shun); end all chats with such nodes and refuse
 * what they offered (`revoked`); or both. Out of memory is fatal.
 */
void chats_shun(struct chats *chats, const uint8_t node_key[KEY_SIZE]);
void chats_end_shunned(struct chats *chats);
void chats_revoke(struct chats *chats, const uint8_t node_key[KEY_SIZE]);
size_t chats_count(const struct chats *chats);

/* Ages, counts, graces, lifetimes: call about once a second. */
void chats_tick(struct chats *chats);

/*
 * Write what changed since the last time in one transaction. 0, or -1: what
 * was queued must not be sent; nothing is forgotten, call again. Where
 * messages were opened and nothing else changed, their count waits for the
 * next transaction, at most until chats_settle() and a commit.
 */
int chats_commit(struct chats *chats);
void chats_settle(struct chats *chats);

/* 1 when keys were erased or replaced since the last call: the store key
 * should be rotated. */
int chats_take_erased(struct chats *chats);

#endif
