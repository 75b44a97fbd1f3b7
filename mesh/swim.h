/*
 * mesh, unprivileged; node bytes are hostile. Membership: SWIM (Das, Gupta,
 * Motivala 2002) with Lifeguard (Dadgar, Phillips, Currey 2017). A protocol
 * core: no I/O, no clock, no signatures. Events go in with the time, actions
 * come out of swim_next(). Each call is O(1) or O(log n).
 *
 * The caller owns what the core cannot: it authenticates who sent a message
 * (by TLS), maps node ids to node keys, and verifies every statement before
 * it hands it in. What it hands in as hearsay (SUSPECT, FAIL) needs no
 * signature: it is believed only of the incarnation known here, and never
 * before the accused had its time to refute.
 */
#ifndef MESH_SWIM_H
#define MESH_SWIM_H

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/messages.h" /* enum node_state */
#include "common/sign/ids.h"
#include "mesh/swim_message.h"

/* A node that is known; read only for callers but for user. */
struct swim_member {
	struct swim_statement *alive;     /* its latest descriptor */
	struct swim_statement *leave;     /* NODE_LEFT: its signature */
	void *user;                       /* the caller's */
	struct swim_suspicion *suspicion; /* NODE_SUSPECT */
	struct swim_member *queue_next;   /* among updates to send */
	struct swim_member *queue_previous;
	struct swim_member *changed_next; /* among changes to report */
	int64_t last_seen;                /* own clock; 0 never */
	int64_t since;                    /* own clock, of state */
	int64_t rtt;                      /* ns; 0 not measured */
	int64_t answers_due;              /* see rate.h: push-pulls */
	int64_t told_due;                 /* see rate.h: news in answers */
	uint32_t slot;                    /* in live or dead */
	uint32_t connection;              /* in connected + 1; 0 none */
	uint8_t state;                    /* enum node_state */
	uint8_t reported;                 /* enum node_state; 0 none */
	uint8_t transmits;
	uint8_t flags;
};

/* All times in ns. swim_config_default() fills in design section 8. */
struct swim_config {
	int64_t probe_interval;
	int64_t probe_timeout;
	int64_t gossip_interval;
	int64_t sync_interval;      /* push-pull; log-scaled */
	int64_t reconnect_interval; /* try a failed node */
	int64_t forget_after;       /* failed, left, revoked */
	int64_t refute_interval;    /* at most one in it */
	int64_t suspicion_unit;
	uint32_t suspicion_factor;  /* x log10(n) x unit */
	uint32_t suspicion_stretch; /* longest = x shortest */
	uint32_t confirmations;     /* to the shortest; <= 4 */
	uint32_t indirect;          /* relays of a probe; <= 8 */
	uint32_t gossip_fanout;
	uint32_t retransmit; /* x log10(n + 1) */
	uint32_t health_max; /* Lifeguard's S */
	uint32_t members;    /* most that are kept */
	uint32_t queue;      /* updates waiting, at most */
};

enum swim_action_type {
	SWIM_DO_SEND = 1, /* message with updates to node */
	SWIM_DO_CHANGED,  /* member's state or descriptor changed */
	SWIM_DO_REFUTE    /* sign a descriptor of incarnation and call
				 * swim_own() */
};

/*
 * Valid until the next call of any swim function. CHANGED: member may have
 * gone from state was (0: new) to now (0: forgotten, freed at the next call;
 * let go of user). was == now: only the descriptor is another. Changes of
 * one member between two drains are one.
 */
struct swim_action {
	enum swim_action_type type;
	uint8_t node[KEY_SIZE]; /* SEND */
	struct swim_message message;
	const struct swim_update *updates;
	size_t update_count;
	struct swim_member *member; /* CHANGED */
	int was;
	int now;
	uint64_t incarnation; /* REFUTE */
};

/* What metrics want. */
struct swim_counts {
	uint32_t states[NODE_REVOKED + 1]; /* members, not self */
	uint32_t health;                   /* local health multiplier, 0 best */
	uint32_t queued;                   /* updates */
	uint64_t probes;                   /* sent */
	uint64_t probes_failed;            /* no ack, direct or indirect */
	uint64_t evicted;                  /* members declared failed */
	uint64_t refuted;                  /* of this node */
	uint64_t dropped; /* updates: queue full, out of range */
};

struct swim;

void swim_config_default(struct swim_config *config);

/*
 * A member list with only this node in it. own is its first descriptor (a
 * reference is taken); random gives 64 bits. NULL with errno EINVAL (config
 * out of its bounds) or ENOMEM.
 */
struct swim *swim_new(const struct swim_config *config,
    struct swim_statement *own, uint64_t (*random)(void *), void *arg,
    int64_t now);

/* Another limit of members, at least 1; those beyond it stay. */
void swim_set_members(struct swim *swim, uint32_t members);
void swim_free(struct swim *swim);

/* The time at which swim_tick() has something to do. */
int64_t swim_deadline(const struct swim *swim);
void swim_tick(struct swim *swim, int64_t now);

/* Take one action out; 1, or 0 when there is none. Drain after each event. */
int swim_next(struct swim *swim, struct swim_action *action);

/*
 * A message came from node from (as TLS says). The updates in it are handed
 * in with swim_update(), before this. Also of a lone MembershipEvent, as
 * SWIM_GOSSIP: whoever accused this node, or another by an incarnation that
 * is no more, is answered. An unknown sender is asked for its state.
 */
void swim_receive(struct swim *swim, const uint8_t from[KEY_SIZE],
    const struct swim_message *message, int64_t now);

/*
 * Would this update change anything? Ask before verifying a signature. For
 * SUSPECT and FAIL with a statement, ask of SWIM_ALIVE and its incarnation
 * whether the statement is worth verifying.
 */
int swim_wants(const struct swim *swim, enum swim_update_type type,
    const uint8_t key[KEY_SIZE], uint64_t incarnation);

/*
 * An update arrived, piggy-backed, gossiped or in a push-pull, or the caller
 * made it: an ALIVE of a node that joined, a LEAVE of this node itself. Its
 * statement is verified. 1 when it changed something, 0 when not; -1 with
 * errno ENOSPC (members), EINVAL or ENOMEM.
 */
int swim_update(
    struct swim *swim, const struct swim_update *update, int64_t now);

/* This node's new descriptor: incarnation higher than before. 0, or -1 with
 * errno EINVAL. */
int swim_own(struct swim *swim, struct swim_statement *own, int64_t now);

/* The authority revoked this node: never alive again while it is known. The
 * caller refuses statements of revoked nodes for good. */
void swim_revoke(struct swim *swim, const uint8_t key[KEY_SIZE], int64_t now);

/* Exchange states with a node, known here or not (a bootstrap endpoint). The
 * caller does so with those it was told or saved while swim_live() is 1. */
void swim_contact(struct swim *swim, const uint8_t key[KEY_SIZE], int64_t now);

/* There is (not) a connection to this member: rumours rather go that way. */
void swim_connected(
    struct swim *swim, const uint8_t key[KEY_SIZE], int connected);

/* While wanted is not 0, GOSSIP is sent even without updates, so that the
 * caller's own rumours ride along (mesh/rumour.h). */
void swim_want_gossip(struct swim *swim, int wanted, int64_t now);

/* The member of this key, this node itself too; or NULL. */
struct swim_member *swim_find(
    const struct swim *swim, const uint8_t key[KEY_SIZE]);
const struct swim_member *swim_self(const struct swim *swim);

/* Walk all members but self, in no order: *cursor 0 to start, NULL ends. */
struct swim_member *swim_walk(const struct swim *swim, size_t *cursor);

/* A member that is alive, at random, not self; NULL when there is none. */
struct swim_member *swim_random(struct swim *swim);

/* Members alive or suspect, with self. */
uint32_t swim_live(const struct swim *swim);
void swim_count(const struct swim *swim, struct swim_counts *counts);

/* How often a rumour is sent in a mesh of this size. */
uint32_t swim_retransmits(const struct swim *swim);

/* 1 once this node has told its LEAVE as often as rumours are told, or there
 * is nobody to tell. */
int swim_left(const struct swim *swim);

#endif
