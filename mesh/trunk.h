/*
 * mesh, unprivileged; node bytes are hostile. A trunk is one TLS connection
 * to another node, either way. The certificate of the connection proves the
 * node's key (common/sign/certificate.h); what the other end says later is
 * judged by that.
 */
#ifndef MESH_TRUNK_H
#define MESH_TRUNK_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/rpc/rpc.h"
#include "common/sign/certificate.h"

struct peer;
struct trunk;

/*
 * Who dialled. up: connected, and the node's key is the one asked for.
 * down: over, or never came up (why says so); freed when it returns. One of
 * each at most, down always last.
 */
struct trunk_owner {
	void (*up)(struct trunk *trunk);
	void (*down)(struct trunk *trunk, const char *why);
};

struct trunk {
	TAILQ_ENTRY(trunk) entry;          /* in peer->trunks, when up */
	TAILQ_ENTRY(trunk) entry_dialled;  /* when it has an owner */
	struct rpc_connection *connection; /* NULL while resolving */
	struct peer *peer;                 /* NULL: not (yet) a member */
	const struct trunk_owner *owner;   /* NULL: accepted */
	void *arg;                         /* the owner's */
	void *lookup;                      /* of a name, in flight */
	void *addresses;                   /* what it found, owned */
	void *next;                        /* of them, not tried yet */
	uint8_t expected[KEY_SIZE];        /* dialled for */
	char host[ENDPOINT_SIZE];
	uint16_t port;
	uint32_t known; /* binding is proven */
	uint32_t up;
	uint32_t draining;
	uint32_t given_up; /* trunk_close() was called */
	struct binding binding;
	uint8_t spki[KEY_SIZE];
	struct rpc_stream *gossip; /* one we may send on */
	int64_t used;              /* monotonic ns */
};

/*
 * Dial endpoint ("host:port", names are looked up without blocking, each time
 * anew, and all their addresses tried) for the node of key. NULL with errno (EINVAL: no endpoint that can be read);
 * otherwise owner hears, never from inside this call.
 */
struct trunk *trunk_dial(const char *endpoint, const uint8_t key[KEY_SIZE],
    const struct trunk_owner *owner, void *arg);

/* Cut it; owner->down() or the server's closed follows later. expel: as for an
 * abuse. */
void trunk_close(struct trunk *trunk);
void trunk_expel(struct trunk *trunk);

/* Read from it, or not, as its peer's budget and trunk_pause_all() say. */
void trunk_read(struct trunk *trunk);

/* Accepted connections: the arg of rpc connections is their trunk. */
int trunk_accepted(struct rpc_connection *connection, void *arg);
void trunk_accept_closed(struct rpc_connection *connection, void *arg);

/*
 * Is the other end a member of this node's mesh, not revoked, certified and
 * in time? Its peer is made when it is new, and holds the trunk from then
 * on. 0 or -1. Cheap when already admitted.
 */
int trunk_admit(struct trunk *trunk);

/*
 * The same for a call that a member may make. RPC_OK, or the status that
 * refuses it, after its source was made to pay.
 */
enum rpc_status trunk_welcome(struct trunk *trunk);

/* The limits of connections between nodes. */
void trunk_limits(struct rpc_limits *limits);
/* After a reload, for the connections that are there. */
void trunk_configured(void);

/* Stop reading from all nodes (1), or go on (0). */
void trunk_pause_all(int pause);

#endif
