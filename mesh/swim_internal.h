/*
 * mesh, unprivileged. What the files of the membership core share; nobody
 * else includes it. See swim.h.
 */
#ifndef MESH_SWIM_INTERNAL_H
#define MESH_SWIM_INTERNAL_H

#include "common/util/table.h"
#include "mesh/swim.h"

#define SWIM_TRANSMITS_MAX     64
#define SWIM_CONFIRMATIONS_MAX 4
#define SWIM_INDIRECT_MAX      8
#define SWIM_RELAYS            128    /* probes made for others, at once */
#define SWIM_RELAYS_ONE        32     /* of those for one member */
#define SWIM_OWN_PROBE         255    /* low byte of an own sequence */
#define SWIM_SYNC_BYTES        262144 /* of statements in a push-pull */
#define SWIM_ANSWERS           32     /* push-pulls answered, in ANSWERS_IN */
#define SWIM_ANSWERS_ONE       8      /* of those to one member */
#define SWIM_ANSWERS_IN        (2 * INT64_C(1000000000))

/* swim_member.flags */
#define MEMBER_QUEUED          0x1 /* among updates to send */
#define MEMBER_CHANGED         0x2 /* among changes to report */
#define MEMBER_FORGOTTEN       0x4 /* free once reported */

struct swim_suspicion {
	struct swim_member *member;
	int64_t start;
	int64_t deadline;
	int64_t wake;       /* next thing to do */
	uint32_t heap;      /* index in swim.suspicions */
	uint32_t confirmed; /* accusers but the first */
	uint32_t needed;    /* to come to the shortest */
	uint32_t reminded;  /* it was told once more */
	int64_t shortest;
	int64_t longest;
	uint8_t accusers[SWIM_CONFIRMATIONS_MAX + 1][KEY_SIZE];
};

struct swim_probe {
	int active;
	int indirect; /* relays were asked */
	uint8_t target[KEY_SIZE];
	uint64_t incarnation; /* of target, when it began */
	uint64_t sequence;
	int64_t sent_at;
	int64_t timeout_at;
	uint32_t relays;
	uint32_t nacked; /* a bit a relay */
	uint8_t relay[SWIM_INDIRECT_MAX][KEY_SIZE];
};

/* A probe that another node asked for. */
struct swim_relay {
	uint64_t sequence; /* ours; 0 unused */
	uint64_t asked;    /* theirs */
	int64_t nack_at;
	uint8_t from[KEY_SIZE];
	uint8_t target[KEY_SIZE];
};

struct swim_pending {
	enum swim_action_type type;
	uint8_t node[KEY_SIZE];
	struct swim_message message;
	uint32_t cursor; /* PUSH_PULL */
	int has_first;
	uint8_t first[KEY_SIZE]; /* whose update goes first */
	uint64_t incarnation;    /* REFUTE */
};

struct swim {
	struct swim_config config;
	uint64_t (*random)(void *);
	void *arg;
	struct table members; /* key to swim_member */
	struct swim_member *self;
	struct swim_member **live; /* alive or suspect, not self */
	struct swim_member **dead; /* failed, left, revoked */
	struct swim_member **connected;
	struct swim_suspicion **suspicions; /* heap by wake */
	uint32_t live_count;
	uint32_t live_size;
	uint32_t dead_count;
	uint32_t dead_size;
	uint32_t connected_count;
	uint32_t connected_size;
	uint32_t suspicion_count;
	uint32_t suspicion_size;
	uint32_t cursor;      /* live before it were probed */
	uint32_t dead_cursor; /* next to be looked at */
	/* updates to send, by times sent */
	struct swim_member *queue_head[SWIM_TRANSMITS_MAX];
	struct swim_member *queue_tail[SWIM_TRANSMITS_MAX];
	/* changes to report */
	struct swim_member *changed_head;
	struct swim_member *changed_tail;
	struct swim_member *gone; /* reported, to be freed */
	/* actions to take out */
	struct swim_pending *pending;
	uint32_t pending_first;
	uint32_t pending_count;
	uint32_t pending_size;
	struct swim_update updates[SWIM_SYNC];
	struct swim_probe probe;
	struct swim_relay relays[SWIM_RELAYS];
	uint32_t relay_oldest; /* waiting ones, a ring */
	uint32_t relay_waiting;
	uint64_t sequence;
	int64_t next_probe;
	int64_t next_gossip;
	int64_t next_sync;
	int64_t sync_wait; /* doubles, to the interval */
	int64_t next_reconnect;
	int64_t next_contact;  /* of an unknown sender */
	int64_t answers_due;   /* see rate.h: push-pulls */
	int64_t strangers_due; /* of those who are no members */
	int want_gossip;
	int answered; /* a push-pull, ever */
	/* whoever sent what is being received is wrong about this one */
	int correct_set;
	uint8_t correct[KEY_SIZE];
	/* refutation */
	int refuted;    /* since the last probe began */
	int refuting;   /* REFUTE is out */
	int refute_due; /* REFUTE must go out */
	int refute_to_set;
	int64_t next_refute;
	uint64_t accused; /* highest incarnation heard */
	uint8_t refute_to[KEY_SIZE];
	struct swim_counts counts;
};

/* swim.c: between two push-pulls of a node that has been here for long */
int64_t swim_sync_interval(const struct swim *swim);

/* swim_queue.c */
void swim_queue_put(struct swim *swim, struct swim_member *member, int synced);
void swim_queue_drop(struct swim *swim, struct swim_member *member);
int swim_queue_empty(const struct swim *swim);
void swim_changed(struct swim *swim, struct swim_member *member);
struct swim_pending *swim_pend(struct swim *swim, enum swim_action_type type);
/* Send a message to node; NULL target: this node itself. */
void swim_send(struct swim *swim, const uint8_t node[KEY_SIZE],
    enum swim_message_type type, uint64_t sequence, const uint8_t *target);
/* The same, because asker said something, who may say it without end: what
 * waits to be told is told a bounded number of times, and is for all. */
void swim_answer(struct swim *swim, const uint8_t node[KEY_SIZE],
    enum swim_message_type type, uint64_t sequence, const uint8_t *target,
    const uint8_t asker[KEY_SIZE], int64_t now);
void swim_send_sync(struct swim *swim, const uint8_t node[KEY_SIZE], int reply);
/* Gossip to node, in answer, with what is known of about first. */
void swim_send_news(struct swim *swim, const uint8_t node[KEY_SIZE],
    const uint8_t about[KEY_SIZE], int64_t now);

/* swim_suspicion.c */
int swim_suspect(struct swim *swim, struct swim_member *member,
    const uint8_t accuser[KEY_SIZE], int shortest, int64_t now);
int swim_confirm(struct swim *swim, struct swim_member *member,
    const uint8_t accuser[KEY_SIZE], int shortest, int64_t now);
void swim_absolve(struct swim *swim, struct swim_member *member);
void swim_suspicions_tick(struct swim *swim, int64_t now);

/* swim_probe.c */
void swim_health(struct swim *swim, int delta);
void swim_probe_tick(struct swim *swim, int64_t now);
void swim_probe_timeout(struct swim *swim, int64_t now);
void swim_relays_tick(struct swim *swim, int64_t now);

/* swim_member.c */
uint64_t swim_incarnation(const struct swim_member *member);
int swim_is_live(const struct swim_member *member);
struct swim_member *swim_member_add(
    struct swim *swim, struct swim_statement *statement, int64_t now);
int swim_member_state(struct swim *swim, struct swim_member *member,
    enum node_state state, int64_t now);
void swim_member_forget(struct swim *swim, struct swim_member *member);
void swim_member_free(struct swim_member *member);
void swim_forget_tick(struct swim *swim, int64_t now);
/* A random live member that is none of the keys, or NULL after some tries. */
struct swim_member *swim_pick(
    struct swim *swim, uint8_t (*not )[KEY_SIZE], size_t count);
uint32_t swim_below(struct swim *swim, uint32_t bound);
void *swim_grow(void *array, uint32_t count, uint32_t *size, size_t width);

#endif
