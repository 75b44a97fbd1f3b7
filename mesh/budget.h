/*
 * mesh, unprivileged; node bytes are hostile. What a member may have of this
 * node's time, over all its connections. What it sends beyond that is not
 * lost: none of its connections is read until it is in time again, and it
 * waits at the sender. Signatures that do not hold are worth no waiting:
 * whoever goes on sending them is cut, and pays.
 */
#ifndef MESH_BUDGET_H
#define MESH_BUDGET_H

#include <stdint.h>

struct peer;

/*
 * Costs in us of CPU time, measured on the machine of `make bench` (2.6 GHz,
 * 2 cores, gcc -O2), system calls included. A verification is libsodium's
 * Ed25519: 49 us, 54 us when it fails. Gossip costs 6 ns a byte to unpack and
 * hash where it carries apps, and 10 ns where it is made of as many parts as
 * unpack.h allows; a message of a few bytes 0.4 us, 1.5 us where it is answered.
 * A set-up costs keyd a verification, and one more where the app's attestation
 * is not known; answering it 150 us: X25519, a signature, a record. (Of 10,000
 * chats that begin, two nodes have 35,000 set-ups each, and keyd 2.6 s; of
 * 10,000 that resume, 20,000 and 2.8 s.)
 */
#define BUDGET_VERIFY   50
#define BUDGET_BYTES    64 /* of gossip and set-ups, for one us */
#define BUDGET_MESSAGE  2  /* of gossip, however short */
#define BUDGET_SETUP    10 /* for mesh, besides */
#define BUDGET_SETUP_IN 100
#define BUDGET_ANSWER   150
/* A frame of no chat, or of a kind of which a chat has few: 0.2 to 0.5 us. One
 * of a message costs as much, and keyd 0.7 us; it has a window. */
#define BUDGET_FRAME    1
/* A stream: 45 us in all processes. With one of chats the router takes up all
 * chats with the node again, 64 at a time: 570 us where there are 300. */
#define BUDGET_STREAM   50
#define BUDGET_CHAT     2
/* The end of a chat: 7 us of keyd, 0.5 us where there is no such chat. */
#define BUDGET_END      7
/* A Join that keyd certifies: 0.2 ms, and then it waits for the disk, 1 ms to
 * some 10, and so does all else. */
#define BUDGET_JOIN     10000
/* One that keyd refuses as not signed, besides: an attestation may have ended
 * on the way, but not many. */
#define BUDGET_REFUSED  1000
/* A signature that does not hold, besides. Honest members send none. */
#define BUDGET_BAD      100000
/* So many of those at once, and one more a second, may be somebody's error;
 * more are not. */
#define BUDGET_BAD_MOST 32

/* Whose time: each has a budget of its own. */
enum budget_of { BUDGET_MESH, BUDGET_KEYD, BUDGETS };

/* A member's. */
struct budget {
	int64_t due[BUDGETS]; /* see rate.h */
	int64_t bad_due;
	/* Monotonic: not read before; 0: it is read. */
	int64_t until[BUDGETS];
	uint64_t held; /* how often that was */
	uint64_t bad;  /* signatures that did not hold */
};

/* peer (NULL: one whom we asked) has cost us so many us. It may be held. */
void budget_spend(struct peer *peer, enum budget_of of, uint32_t us);

/* count signatures of peer (or NULL) did not hold. It may be cut. */
void budget_blame(struct peer *peer, uint32_t count);

/* Is peer not read at present? */
int budget_holds(const struct peer *peer);

/* Is it to be read again? */
void budget_tick(struct peer *peer, int64_t now);

#endif
