/*
 * mesh, unprivileged; node bytes are hostile. A peer is another node that
 * the mesh authority certified: what is known of it, the trunks to it, and
 * how hard we try to have one.
 */
#ifndef MESH_PEER_H
#define MESH_PEER_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/ipc/ipc.h"
#include "common/ipc/messages.h"
#include "common/util/buffer.h"
#include "mesh/budget.h"
#include "mesh/route.h"
#include "mesh/trunk.h"
#include "mesh/wire.h"

struct event;

/* Why a trunk is wanted; bits. */
#define WANT_GOSSIP 0x1 /* once; gone when the dial fails */
#define WANT_ROUTE  0x2 /* until there is one, with back-off */
#define WANT_SEED   0x4 /* known from before; until it is alive */
#define WANT_RENEW  0x8 /* as gossip, to renew our membership */

struct peer {
	uint8_t node_key[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	char endpoint[ENDPOINT_SIZE]; /* "" unknown */
	char app_endpoint[ENDPOINT_SIZE];
	struct certificate certificate;
	enum node_state state;
	TAILQ_HEAD(, trunk) trunks; /* up ones, both ways */
	struct trunk *dialling;
	struct event *redial;
	int64_t backoff;      /* ns; 0: at once */
	int64_t not_before;   /* monotonic, of a dial */
	unsigned want;        /* WANT_* */
	struct buffer outbox; /* gossip for when it is up */
	struct route route;
	uint32_t authority;  /* it holds the mesh key, it says */
	uint32_t known;      /* it was a member before this start */
	struct event *grace; /* route grace runs */
	uint32_t ended;      /* and is over */
	uint32_t left;       /* it said so, or is revoked */
	int64_t ended_at;    /* monotonic */
	uint32_t owes_sync;  /* it has presence to tell */
	int64_t asked;       /* monotonic, for a full one */
	int64_t asks_due;    /* see rate.h: questions to it */
	int64_t answers_due; /* long answers that it gets */
	uint32_t ask_owed;   /* a question that was too early */
	uint32_t parked;     /* set-ups that wait, tieline_setup.c */
	struct budget budget;
};

struct peer *peer_find(const uint8_t node_key[KEY_SIZE]);
struct peer *peer_by_name(const char *node_id);
struct peer *peer_next(size_t *cursor); /* all; start with 0 */

/*
 * The peer of a certificate that was verified: made when new, and the
 * certificate kept when it is a newer one. NULL when config limits.members is
 * reached, and nobody of them is gone, or memory is short.
 */
struct peer *peer_certified(const struct certificate *certificate);

/* An alive node that says that it holds the mesh key, any may: the next one, in
 * turn. *cursor begins with 0. NULL when none is known. */
struct peer *peer_authority(size_t *cursor);

/* Take over what a verified descriptor says; persists, tells the router. */
void peer_described(struct peer *peer, const struct descriptor *read);

/* The believed state changed: route grace, router's hints, metrics. */
void peer_set_state(struct peer *peer, enum node_state state);

/* Revocations, kept as long as the process lives. */
int peer_is_revoked(const uint8_t node_key[KEY_SIZE]);
/* 1: new, 0: known before, -1: memory. Cuts every trunk of the node. */
int peer_revoke(const struct ipc_revocation *revocation);
const struct ipc_revocation *peer_revocation(const uint8_t node_key[KEY_SIZE]);
const struct ipc_revocation *peer_revocation_next(size_t *cursor);

/* The timer of a dial that was put off. NULL when memory is short. */
struct event *peer_redial_new(struct peer *peer);

/* Have a trunk that we dialled, for one of WANT_*. */
void peer_want(struct peer *peer, unsigned want);
void peer_unwant(struct peer *peer, unsigned want);

/* A trunk that we may open streams on; NULL. */
struct trunk *peer_dialled_trunk(struct peer *peer);

/* From trunk.c: an admitted trunk came or went. */
void peer_trunk_came(struct peer *peer, struct trunk *trunk);
void peer_trunk_gone(struct peer *peer, struct trunk *trunk);

/* The next dial need not wait: it answered, or is alive after all. */
void peer_hopeful(struct peer *peer);

/* This node is a member now: dial whom we know. */
void peer_start_all(void);

/*
 * Forget peer if it is gone for good: revoked, or a member no more, or one that
 * left, and that the core has forgotten; and no chat, stream or connection is
 * left with it. 1, or 0: it stays.
 */
int peer_forget_gone(struct peer *peer);

/* What is due of each peer: its streams, questions to it, whether it is a
 * member still. */
void peer_tick(int64_t now);

/* Cut every trunk; or as for an abuse, for which its sources pay. */
void peer_cut(struct peer *peer);
void peer_expel(struct peer *peer);

/* Read of it, or not, as budget_holds() says now. */
void peer_read(struct peer *peer);

/* keyd remembers this member. */
void peer_on_peer(void *arg, const struct ipc_message *message);

/* The configuration was read again: its peer lines may say another address
 * of nodes that are not alive. */
void peer_configured(void);

/* Write the metrics of connections. */
void peer_metrics(void);

/* A new router: tell it of every member. */
void peer_tell_router(void);

#endif
