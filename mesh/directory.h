/*
 * mesh, unprivileged; node bytes are hostile. Where apps are: app key to the
 * node it is connected to, with the app's own attestation. A core: no I/O, no
 * clock, no signatures; the caller has verified the node's signature over a
 * sync and every attestation in it (that it is the app's, in force and of
 * this node: wire_registration_verify()).
 *
 * Each node numbers its syncs. A delta counts only right after the one
 * before; a full one replaces all. When an app is claimed by two nodes, the
 * newer attestation wins, everywhere alike; the node that lost a local app
 * (it sees the change) closes that session and publishes the departure.
 */
#ifndef MESH_DIRECTORY_H
#define MESH_DIRECTORY_H

#include <sys/queue.h>

#include <stddef.h>
#include <stdint.h>

#include "common/sign/attestation.h"
#include "common/util/table.h"

struct directory_node;

/* An app. Read only for callers; gone when the directory says so. */
struct directory_app {
	struct attestation attestation; /* app_key is the key */
	struct directory_node *node;
	TAILQ_ENTRY(directory_app) of_node;
	TAILQ_ENTRY(directory_app) of_all;
	uint64_t sequence; /* AppRegistration's */
	int64_t connected_at;
	char session_id[SESSION_ID_SIZE];
	uint8_t mark;
};

TAILQ_HEAD(directory_apps, directory_app);

struct directory_node {
	uint8_t key[KEY_SIZE];
	uint64_t sequence; /* of its last sync */
	uint64_t missed;   /* a later one exists */
	struct directory_apps apps;
	uint32_t count;
	uint32_t own;  /* it is this node */
	uint32_t lost; /* its apps were dropped: only
						 * a full sync will do */
	TAILQ_ENTRY(directory_node) entry;
};

/* One AppRegistration, read and checked. */
struct directory_claim {
	const struct attestation *attestation; /* also of a departure,
							 * with app_key set */
	const char *session_id;
	uint64_t sequence;
	int64_t connected_at;
	int departed;
};

/* An app came, moved or went: was and now are the nodes' keys, NULL none;
 * both the same: another session or attestation. Called from inside the
 * directory, which must not be called from there, but for lookups. */
typedef void (*directory_changed)(void *, const uint8_t app[KEY_SIZE],
    const uint8_t *was, const uint8_t *now);

struct directory {
	struct table apps;  /* app key */
	struct table nodes; /* node key */
	TAILQ_HEAD(directory_nodes, directory_node) node_list;
	struct directory_apps app_list; /* sweep order */
	uint32_t max_apps;
	uint32_t max_per_node;
	uint32_t max_nodes;
	uint32_t zero;
	uint64_t refused; /* over a limit */
	int64_t wall;     /* the latest time of day */
	directory_changed changed;
	void *arg;
};

enum directory_verdict {
	DIRECTORY_APPLIED, /* new: pass it on */
	DIRECTORY_STALE,   /* known, or older than what is known */
	DIRECTORY_GAP,     /* something was missed: ask the node itself
				 * (push-pull with our digest) for a full one */
	DIRECTORY_FULL     /* too many nodes: nothing was done */
};

void directory_init(struct directory *directory, uint32_t max_apps,
    uint32_t max_per_node, uint32_t max_nodes, directory_changed changed,
    void *arg);
void directory_free(struct directory *directory);

/* Other limits; what is there beyond them stays. */
void directory_set_limits(struct directory *directory, uint32_t max_apps,
    uint32_t max_per_node, uint32_t max_nodes);

/* The node, of which there was a sync, is this one: its apps are never those
 * that make room. */
void directory_own(struct directory *directory, const uint8_t node[KEY_SIZE]);

/* What would become of a sync? Ask before verifying signatures. */
enum directory_verdict directory_wants(const struct directory *directory,
    const uint8_t node[KEY_SIZE], uint64_t sequence, int full);

/*
 * A sync of a node, also of this one. wall is the time of day. Claims beyond
 * a limit are left out and counted in refused, as are expired ones. When all
 * the room is taken, the node with the most apps gives some to those that
 * have fewer.
 */
enum directory_verdict directory_sync(struct directory *directory,
    const uint8_t node[KEY_SIZE], uint64_t sequence, int full,
    const struct directory_claim *claims, size_t count, int64_t wall);

/* The app, or NULL when unknown or its attestation has expired. */
const struct directory_app *directory_find(const struct directory *directory,
    const uint8_t app[KEY_SIZE], int64_t wall);

/* A node failed, left or was revoked: all its apps are gone, until a full
 * sync not older than its last comes. Its syncs are not handed in while it is
 * so. forget also its sequence (when the membership forgot it). */
void directory_drop_node(
    struct directory *directory, const uint8_t node[KEY_SIZE], int forget);

/* Take out apps whose attestation has expired, looking at no more than budget
 * of them; a whole round in count / budget calls. The number taken out. */
size_t directory_expire(
    struct directory *directory, int64_t wall, size_t budget);

/*
 * The time of day, now and then. 1 when it went back by more than clocks may
 * differ: apps that were taken out or refused as expired may be in force, so
 * every node is behind until a full sync of it comes. The caller hands in
 * one of this node itself.
 */
int directory_clock(struct directory *directory, int64_t wall);

/* The record of a node with its apps, or NULL. Walk all with TAILQ_FOREACH
 * over node_list and apps. */
const struct directory_node *directory_node(
    const struct directory *directory, const uint8_t key[KEY_SIZE]);

/* What a push-pull tells of a node: the sequence of its apps as they are
 * known here, 0 when they are not. */
uint64_t directory_digest(const struct directory_node *node);

/*
 * A sync up to sequence was missed (GAP, or a digest says so). The node is
 * asked at once and, because questions and answers get lost, again every few
 * seconds while directory_behind() names it: the first that is behind, after
 * the node given or from the start (NULL).
 */
void directory_missed(struct directory *directory, const uint8_t node[KEY_SIZE],
    uint64_t sequence);
/* The node itself says that sequence is its last: what was said of a later
 * one is not so, and nothing was missed. */
void directory_current(struct directory *directory,
    const uint8_t node[KEY_SIZE], uint64_t sequence);
const struct directory_node *directory_behind(
    const struct directory *directory, const struct directory_node *after);

/*
 * The digest of another node came. -1: it knows less of node than we (when
 * node is this one: send it a full sync), 0: the same, 1: it knows more (ask
 * node itself).
 */
int directory_compare(const struct directory *directory,
    const uint8_t node[KEY_SIZE], uint64_t sequence);

#endif
