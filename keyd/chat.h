/*
 * keyd only. One side of one chat, as the files chats*.c share it.
 */
#ifndef KEYD_CHAT_H
#define KEYD_CHAT_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/codes.h"
#include "common/util/table.h"
#include "keyd/attested.h"
#include "keyd/chats.h"
#include "keyd/policy.h"
#include "keyd/ratchet.h"

#define CHATS_MAX        1000000 /* sides of chats */
#define TOMBSTONES_MAX   1000000
#define KEYS_REMEMBERED  16   /* key material of so many versions */
#define WAITING_MAX      4096 /* offers that wait for an app */
#define WAITING_APP_MAX  64   /* of them for one app */
#define ENDED_MAX        1024
#define ENDED_LIFETIME   (300 * INT64_C(1000000000))
#define WAITING_LIFETIME (600 * INT64_C(1000000000))

/* What must be written of a chat. */
#define DIRTY_COLD       0x1 /* who, offers, link: with sync */
#define DIRTY_HOT        0x2 /* sequences, counts */
#define DIRTY_ERASED     0x4 /* take it out, leave a tombstone */
#define DIRTY_COUNTS     0x8 /* as HOT, but may wait for another commit */

/*
 * What a chat needs only while it is set up, resumed or rekeyed. Afterwards
 * it is in the store alone, from where chat_wake() gets it.
 */
struct change {
	TAILQ_ENTRY(change) entry; /* in chats->awake */
	struct chat *chat;
	struct offer own;             /* of version, to answer repeats */
	struct offer pending;         /* of a later version; 0: none */
	uint32_t pending_cause;       /* enum rekey_cause */
	uint8_t peer_offer[KEY_SIZE]; /* hash of that of version */
	/* First bytes of what the last versions were made of, by version
	 * modulo; 0: nothing. None of it may be offered again. */
	uint64_t app_keys[KEYS_REMEMBERED];  /* hashes of the local app's */
	uint64_t peer_keys[KEYS_REMEMBERED]; /* the peer's ephemerals */
	uint64_t peer_generation;

	/* Not in the store. */
	int64_t previous_until;
	int64_t offered_at; /* pending was last sent */
	struct throttle rekey_throttle;
	struct throttle recovery_throttle;
	struct bucket epoch_bucket;
};

struct chat_tail {
	size_t length;
	uint8_t bytes[];
};

/* Most chats are idle: what is here, there is of each of them. */
struct chat {
	struct chat_key key;
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint8_t peer_node[KEY_SIZE];
	/* Of its first epoch, wherever that was; 0: it begins, or the app that
	 * came from elsewhere did not say. */
	uint8_t instance[INSTANCE_SIZE];
	int64_t peer_issued; /* attestation naming peer_node */
	struct ratchet ratchet;
	uint32_t version; /* of the last epoch; 0: none yet */
	uint32_t rekeys;
	struct change *change;  /* owned; NULL: in the store only */
	struct chat_tail *tail; /* StartChat of pending; owned; or NULL */
	struct chat *dirty_next;
	int64_t created_at;
	int64_t last_ratchet_at;
	int64_t last_active;

	uint64_t accepted;
	uint64_t delivered;
	uint64_t acked;
	uint64_t sent; /* messages sealed, ever */
	uint64_t received;

	uint32_t floor; /* DIRTY_ERASED: the tombstone's */
	/* Of the attestation with which the app said to this process that it
	 * has this chat: chat_claim(); 0: it did not. */
	uint32_t claim;
	uint8_t confirmed; /* the peer is at version too */
	uint8_t resuming;  /* a resume waits for its answer */
	uint8_t dirty;     /* DIRTY_ bits */
	uint8_t listed;    /* in chats->dirty */
	uint8_t restored;  /* read from the store */
	/* The pending offer is, too. Should the store be an old copy, its
	 * epoch was in use before: it may be derived but not used. */
	uint8_t pending_restored;
	uint8_t reset_untold;  /* the next READY is of a reset */
	uint8_t reset_unheard; /* the app has yet to be told of one */
	uint8_t next_due;      /* the peer holds an epoch that is not used */
	uint8_t wanted;        /* the app was told to renew its key */
	uint8_t rekey_due;     /* as an operator wants of all */
	char chat_id[];        /* CHAT_ID_SIZE at most */
};

struct tombstone {
	uint8_t id[KEY_SIZE]; /* hash of the chat_key */
	uint32_t floor;
	uint32_t status; /* enum hermes_status: how it ended here */
	uint32_t ended;  /* the highest version that did not just leave */
	uint8_t instance[INSTANCE_SIZE]; /* the last that did not; 0: none */
	int64_t until;
};

/* A verified offer of a peer that waits for the local app. */
struct waiting {
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint8_t node[KEY_SIZE];
	int64_t issued;
	struct offer offer;
	uint64_t delivered;
	uint64_t acked;
	uint32_t flags;
	int64_t until;
	uint8_t *tail; /* owned */
	size_t tail_length;
};

/* How many of them wait for an app, or are a node's. */
struct waiting_share {
	uint8_t key[KEY_SIZE];
	size_t count; /* > 0 */
};

/* The end of a chat that the peer was told, or should have been. */
struct ended {
	struct ipc_teardown teardown;
	int64_t at; /* 0: none */
};

struct chats {
	struct chats_io io;
	struct store *store;
	const struct config *config;
	uint8_t node_key[KEY_SIZE];
	uint64_t generation;
	int64_t now;
	int erased;
	int no_new;
	struct table table;         /* chat_key: struct chat */
	struct table tombstones;    /* id: struct tombstone */
	struct table waiting;       /* chat_key: struct waiting */
	struct table waiting_apps;  /* local app: struct waiting_share */
	struct table waiting_nodes; /* node: struct waiting_share */
	struct table shunned;       /* keys of revoked nodes; owned */
	int out;                    /* this one is: so are all others, for it */
	/* Offered last: at its end. */
	TAILQ_HEAD(awake, change) awake;
	size_t tick_at;    /* where in the table the next tick goes on */
	size_t rekeys_due; /* chats with rekey_due */
	size_t rekey_at;   /* where in the table they go on */
	int64_t counted_at;
	struct chat *dirty; /* first to write */
	struct chat *dirty_last;
	int due;             /* not only DIRTY_COUNTS among them */
	int64_t purge_at;    /* of tombstones, next */
	struct ended *ended; /* ENDED_MAX of late, a ring */
	size_t ended_next;
	uint8_t *scratch; /* opened payload */
	size_t scratch_size;
	struct attested attested;
};

/* --- chats.c: the table ------------------------------------------------- */

/* NULL when there is none, or key is not one. */
struct chat *chat_find(const struct chats *chats, const struct chat_key *key);

/* A chat with an empty ratchet, in the table, not yet written. NULL with
 * errno ENOMEM or ENOSPC (too many). */
struct chat *chat_new(struct chats *chats, const struct chat_key *key,
    const char *chat_id, const uint8_t local_app[KEY_SIZE],
    const uint8_t peer_app[KEY_SIZE]);
void chat_free(struct chats *chats, struct chat *chat);

/* Have chat->change there. 0, or -1 with errno: out of memory, or the store
 * cannot be read. A chat without an epoch, or with an offer out, always has
 * it. */
int chat_wake(struct chats *chats, struct chat *chat);

/* Forget chat->change, unless something of it is needed soon. */
void chat_rest(struct chats *chats, struct chat *chat);

/* What chat->claim is for an app in the session that it signed at the time
 * issued_at; 0: never. */
uint32_t chat_claim(int64_t issued_at);

/* 1 when no version is left for a rekey, else 0. The last but one is left to
 * the peer, which may not know. */
int chat_is_last(const struct chat *chat);

/* Version of the own offer that waits for its answer; 0: none. */
uint32_t chat_offered(const struct chat *chat);

/* Write these DIRTY_ bits at the next commit. */
void chat_touch(struct chats *chats, struct chat *chat, uint8_t bits);

/* Wipe the chat's keys, take it out of the table, leave a tombstone of at
 * least floor that says how it ended (STATUS_NONE: it goes on elsewhere). It
 * is freed at the next commit. Tells nobody. */
void chat_erase(struct chats *chats, struct chat *chat, uint32_t floor,
    enum hermes_status status);

/* The same, telling router and peer. */
void chat_finish(struct chats *chats, struct chat *chat, uint32_t floor,
    enum hermes_status status, int tell_peer);

/* There is no such chat here, with an app on node: mesh need not keep a tieline
 * for it. */
void chat_untie(struct chats *chats, const struct chat_key *key,
    const uint8_t node[KEY_SIZE]);

/* --- chats_tombstone.c: what is left of chats ---------------------------- */

/* The highest version that a predecessor had which was deleted, or was left
 * for another node; and of those that were deleted. 0: none. */
uint32_t tombstone_floor(const struct chats *chats, const struct chat_key *key);
uint32_t tombstone_ended(const struct chats *chats, const struct chat_key *key);
/* Did the last chat that was deleted have this instance? That of one which had
 * none, as of another one than this, is not known to be over: 0. */
int tombstone_is(const struct chats *chats, const struct chat_key *key,
    const uint8_t instance[INSTANCE_SIZE]);
/* Is its instance known? */
int tombstone_has_instance(
    const struct chats *chats, const struct chat_key *key);
struct tombstone *tombstone_find(
    const struct chats *chats, const struct chat_key *key);
void tombstone_raise(struct chats *chats, const struct chat_key *key,
    uint32_t floor, enum hermes_status status,
    const uint8_t instance[INSTANCE_SIZE]);
/* Is there room for that of one more chat? Where there is none, some that end
 * soon end now, but for those that never do. 0, or -1: limit reached. */
int tombstone_room(struct chats *chats);

/* --- chats_store.c: records --------------------------------------------- */

int chats_load(struct chats *chats);

/* What the store has of chat->change, to change. 0, or -1 with errno. */
int chat_read_change(
    struct chats *chats, const struct chat *chat, struct change *change);

/* --- chats_waiting.c: offers that wait for an app ----------------------- */

struct waiting *waiting_find(
    const struct chats *chats, const struct chat_key *key);
/*
 * Keep a verified offer and tell the router. Where there is no room, the
 * oldest of those who have taken most of it goes, and who offered that is
 * told. 0, or -1: limit reached.
 */
int waiting_add(struct chats *chats, const struct ipc_setup *setup,
    const uint8_t local_app[KEY_SIZE], const uint8_t peer_app[KEY_SIZE],
    const uint8_t *tail, size_t tail_length);
void waiting_remove(struct chats *chats, struct waiting *waiting);
/* The app will not have it: tell who offered it, and forget it. */
void waiting_end(
    struct chats *chats, struct waiting *waiting, enum hermes_status status);
void waiting_tell(struct chats *chats, const struct waiting *waiting);
void waiting_report(struct chats *chats); /* all, to the router */
void waiting_expire(struct chats *chats);
void waiting_free_all(struct chats *chats);

/* --- chats_revoked.c: nodes that are out of the mesh --------------------- */

/* 1 when nothing is set up with that node, else 0. */
int chat_is_shunned(
    const struct chats *chats, const uint8_t node_key[KEY_SIZE]);
void shunned_free_all(struct chats *chats);

/* --- chats_offer.c: own offers, epochs ---------------------------------- */

/* All that follows, but confirm, send_ready, send_error, count_rekey,
 * is_recovering and recover, is for chats that are awake. */

/* What policy.h needs to know of the chat. */
void chat_policy(const struct chat *chat, struct policy_chat *state);

/*
 * Make the own offer for version, replacing one that waits. app_key_hash
 * NULL: as in the last offer. chat_offer() begins a rekey, and counts it;
 * chat_offer_back() goes with a peer's offer.
 */
void chat_offer(struct chats *chats, struct chat *chat, uint32_t version,
    uint32_t reset, enum rekey_cause cause, const uint8_t *app_key_hash);
void chat_offer_back(struct chats *chats, struct chat *chat, uint32_t version,
    uint32_t reset, enum rekey_cause cause);

/* What an offer is known again by: BLAKE2b-256 of offer_encode(). */
void chat_offer_hash(const struct offer *offer, uint8_t hash[KEY_SIZE]);

/* Forget the pending offer, if there is one; its ephemeral stays until the
 * next is made. */
void chat_offer_drop(struct chat *chat);

/* Keep the StartChat that goes with the pending offer, until the peer is
 * known to have it. */
void chat_keep_tail(struct chat *chat, const uint8_t *tail, size_t length);
void chat_drop_tail(struct chat *chat);

/* The peer has shown that it derived the present epoch too. */
void chat_confirm(struct chats *chats, struct chat *chat);

/* Send the own offer of the present epoch as an answer; send the pending
 * one (after the present one, if the peer may lack that). */
void chat_send_present(
    struct chats *chats, struct chat *chat, uint32_t answer, uint32_t flags);
void chat_send_pending(struct chats *chats, struct chat *chat);

/*
 * Derive the epoch of the pending offer and the peer's, which is of the same
 * version. CODE_NONE, or the code word and nothing changed. Of an offer that
 * was in the store at start, only the link is kept: another epoch is due.
 */
enum hermes_code chat_derive(struct chats *chats, struct chat *chat,
    const struct offer *peer, int confirmed);

/* Does key material begin as that of one of the versions remembered? */
int chat_key_used(
    const uint64_t used[KEYS_REMEMBERED], const uint8_t key[KEY_SIZE]);

/* Tell the router that the epoch in force is agreed. */
void chat_send_ready(struct chats *chats, struct chat *chat,
    enum rekey_cause cause, int resumed, int first, int reset,
    uint64_t peer_delivered, uint64_t peer_acked);
/* Tell the router that the app should renew its key: after an epoch of that
 * cause, if the app has a key; or (CAUSE_NONE) in any case. */
void chat_send_wanted(
    struct chats *chats, struct chat *chat, enum rekey_cause cause);
void chat_send_error(struct chats *chats, const struct chat_key *key,
    enum hermes_code code, uint32_t expected, int64_t retry_after);

/*
 * The ratchets diverged: begin a rekey, or give the chat up when there were
 * too many. reset_above: 0 to keep the link, else offer a reset above that
 * version. 0, or -1 when the chat is gone.
 */
int chat_recover(struct chats *chats, struct chat *chat, uint32_t reset_above);

/* The peer app is at another node now, as its attestation, which was verified,
 * says: what we had with the last one is of no use any more. */
void chat_leave_node(struct chat *chat, const struct attestation *peer);

/* So it is: begin anew with that one, above the version that it named. */
void chat_move(struct chats *chats, struct chat *chat,
    const struct attestation *peer, uint32_t above);

/* 1 while an offer of chat_recover() waits for its answer, else 0. */
int chat_is_recovering(const struct chat *chat);

/* Count a recovery, whichever end began it. 0, or -1: one too many, the chat
 * is gone and both are told. */
int chat_recovery_count(struct chats *chats, struct chat *chat);

/* Count a rekey's result; base is METRIC_REKEYS_..._APP. */
void chat_count_rekey(int base, uint32_t cause);

#endif
