/*
 * mesh, unprivileged. Own presence on its way out: each change is one AppSync
 * with the next sequence. keyd signs in the order it is asked, so a full sync
 * and the changes after it arrive in order. See publish.h.
 */
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/rate.h"
#include "common/util/table.h"
#include "mesh/gossip.h"
#include "mesh/members.h"
#include "mesh/mesh.h"
#include "mesh/peer.h"
#include "mesh/presence.h"
#include "mesh/publish.h"
#include "mesh/wire.h"
#include "proto/approuter.pb-c.h"

#define PENDING_MAX       512 /* changes keyd has yet to sign */
/* Of all apps in one message; the least that a trunk takes is 4 MiB. */
#define SYNC_BYTES        (4U * 1024 * 1024 - 1024)
#define REGISTRATION_HEAD 5 /* bytes, at most, before each */
/* That far, in us, the clock may have been ahead: 203 days. */
#define SEQUENCE_STEP     (UINT64_C(1) << 44)
#define SEQUENCE_MAX      (UINT64_C(1) << 62)
#define CLAIMS            4 /* believed in CLAIMS_IN */
#define CLAIMS_IN         (20 * CLOCK_SECOND)

/* An app of this node, as it is told to others. */
struct own_app {
	uint8_t app[KEY_SIZE];
	struct attestation attestation;
	int64_t connected_at;
	uint64_t sequence;
	char session_id[SESSION_ID_SIZE];
	/* Contract v1: others check the signature over the metadata. */
	struct Approuter__V1__Connect *connect; /* or NULL */
};

/* Waits for its signature. */
struct unsigned_sync {
	struct Nodemesh__V1__AppSync *sync;
	struct peer *peer; /* NULL: for all */
	int orphan;        /* the peer is gone */
	TAILQ_ENTRY(unsigned_sync) entry;
};

static struct {
	struct table own; /* struct own_app by key */
	uint64_t sequence;
	unsigned pending;
	int full_due; /* when pending has gone down */
	TAILQ_HEAD(, unsigned_sync) waiting;
} publish = { .waiting = TAILQ_HEAD_INITIALIZER(publish.waiting) };

static void
publish_init(struct directory *directory)
{
	if (publish.own.key_size != 0)
		return;
	table_init(&publish.own, KEY_SIZE);
	/* Later than any of an earlier life, even if the clock went back. */
	publish.sequence = (uint64_t)clock_wall() / 1000;
	if (publish.sequence <= mesh.identity.presence)
		publish.sequence = mesh.identity.presence + 1;
	(void)directory_sync(directory, mesh.identity.node_key,
	    publish.sequence, 1, NULL, 0, clock_wall());
	directory_own(directory, mesh.identity.node_key);
}

static void
own_free(struct own_app *own)
{
	if (own->connect != NULL)
		approuter__v1__connect__free_unpacked(own->connect, NULL);
	free(own);
}

/* --- messages ------------------------------------------------------------ */

static struct Nodemesh__V1__AppRegistration__MetadataEntry **
registration_metadata(const struct Approuter__V1__Connect *connect)
{
	struct Nodemesh__V1__AppRegistration__MetadataEntry **list, *entries;
	size_t i, count = connect->n_metadata;

	list = calloc(count + 1, sizeof(void *) + sizeof(*entries));
	if (list == NULL)
		return (NULL);
	entries = (void *)(list + count + 1);
	for (i = 0; i < count; i++) {
		nodemesh__v1__app_registration__metadata_entry__init(
		    &entries[i]);
		entries[i].key = connect->metadata[i]->key;
		entries[i].value = connect->metadata[i]->value;
		list[i] = &entries[i];
	}
	return (list);
}

static struct Nodemesh__V1__AppRegistration *
registration_make(const struct own_app *own, int departed)
{
	struct Nodemesh__V1__AppRegistration__MetadataEntry **metadata = NULL;
	struct Nodemesh__V1__AppRegistration *app;

	if (own->connect != NULL)
		metadata = registration_metadata(own->connect);
	app = wire_registration_make(&own->attestation, mesh.identity.node_id,
	    own->session_id, own->connected_at, own->sequence, departed,
	    metadata, metadata == NULL ? 0 : own->connect->n_metadata);
	free(metadata);
	return (app);
}

/* An AppSync with room for count registrations. */
static struct Nodemesh__V1__AppSync *
sync_make(int full, size_t count)
{
	struct Nodemesh__V1__AppSync *sync;

	if ((sync = malloc(sizeof(*sync))) == NULL)
		return (NULL);
	nodemesh__v1__app_sync__init(sync);
	sync->sequence = publish.sequence;
	sync->full = full;
	sync->node_id = strdup(mesh.identity.node_id);
	sync->apps = calloc(count + 1, sizeof(void *));
	if (sync->node_id == NULL || sync->apps == NULL) {
		free(sync->node_id);
		free(sync->apps);
		free(sync);
		return (NULL);
	}
	return (sync);
}

/* Add own apps to a full sync: those that carry metadata, or the others. *room
 * is what a message has left, in bytes. 0, or -1: they are too many. */
static int
sync_add(struct Nodemesh__V1__AppSync *sync, int wordy, size_t *room)
{
	struct Nodemesh__V1__AppRegistration *app;
	struct own_app *own;
	size_t cursor = 0, size;

	while ((own = table_next(&publish.own, &cursor)) != NULL) {
		if ((own->connect != NULL) != wordy ||
		    (app = registration_make(own, 0)) == NULL)
			continue;
		size = nodemesh__v1__app_registration__get_packed_size(app) +
		       REGISTRATION_HEAD;
		if (sync->n_apps == PRESENCE_APPS_MAX || size > *room) {
			nodemesh__v1__app_registration__free_unpacked(
			    app, NULL);
			return (-1);
		}
		*room -= size;
		sync->apps[sync->n_apps++] = app;
	}
	return (0);
}

/* Those of contract v1 last: whoever sends much metadata is left out first. */
static struct Nodemesh__V1__AppSync *
sync_full(void)
{
	struct Nodemesh__V1__AppSync *sync;
	size_t room = SYNC_BYTES;

	if ((sync = sync_make(1, publish.own.count)) == NULL)
		return (NULL);
	if (sync_add(sync, 0, &room) == -1 || sync_add(sync, 1, &room) == -1)
		log_warn("presence_too_large", "apps=%zu told=%zu",
		    publish.own.count, sync->n_apps);
	return (sync);
}

static void
sync_send(struct Nodemesh__V1__AppSync *sync, struct peer *peer)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;

	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC;
	message.app_sync = sync;
	gossip_say(peer, mesh.identity.node_key, &message, sync->full);
}

/* --- signing ------------------------------------------------------------- */

static void
on_signed(const uint8_t *signature, void *arg)
{
	struct unsigned_sync *wait = arg;
	struct Nodemesh__V1__AppSync *sync = wait->sync;

	TAILQ_REMOVE(&publish.waiting, wait, entry);
	publish.pending--;
	if (signature == NULL) {
		/* keyd cannot store the number. Told again, whole. */
		publish.full_due = 1;
	} else if ((sync->signature.data = malloc(SIGNATURE_SIZE)) != NULL) {
		memcpy(sync->signature.data, signature, SIGNATURE_SIZE);
		sync->signature.len = SIGNATURE_SIZE;
		if (!wait->orphan)
			sync_send(sync, wait->peer);
	}
	nodemesh__v1__app_sync__free_unpacked(sync, NULL);
	free(wait);
}

/* Takes over sync, which may be NULL (no memory: told whole later). */
static void
sync_sign(struct Nodemesh__V1__AppSync *sync, struct peer *peer)
{
	struct unsigned_sync *wait;
	uint8_t digest[KEY_SIZE];

	if (sync == NULL || (wait = calloc(1, sizeof(*wait))) == NULL) {
		if (sync != NULL)
			nodemesh__v1__app_sync__free_unpacked(sync, NULL);
		publish.full_due = 1;
		return;
	}
	wait->sync = sync;
	wait->peer = peer;
	TAILQ_INSERT_TAIL(&publish.waiting, wait, entry);
	publish.pending++;
	wire_presence_digest(sync, digest);
	sign_statement(
	    STATEMENT_PRESENCE, sync->sequence, digest, on_signed, wait);
}

void
publish_full(struct directory *directory, struct peer *peer)
{
	struct unsigned_sync *wait;

	publish_init(directory);
	if (members_swim() == NULL)
		return;
	/* Already on its way, and nothing changed since. */
	for (wait = TAILQ_FIRST(&publish.waiting); wait != NULL;
	     wait = TAILQ_NEXT(wait, entry))
		if (wait->peer == peer && !wait->orphan && wait->sync->full &&
		    wait->sync->sequence == publish.sequence)
			return;
	sync_sign(sync_full(), peer);
}

void
publish_again(void)
{
	publish.full_due = 1;
}

/* Tell all under the number after sequence. */
static void
publish_beyond(struct directory *directory, uint64_t sequence)
{
	struct directory_claim *claims;
	struct own_app *own;
	size_t cursor = 0, count = 0;

	publish_init(directory);
	if (sequence < publish.sequence || sequence >= SEQUENCE_MAX)
		return;
	if ((claims = calloc(publish.own.count + 1, sizeof(*claims))) == NULL)
		return;
	publish.sequence = sequence + 1;
	while ((own = table_next(&publish.own, &cursor)) != NULL) {
		claims[count].attestation = &own->attestation;
		claims[count].session_id = own->session_id;
		claims[count].sequence = own->sequence;
		claims[count].connected_at = own->connected_at;
		count++;
	}
	(void)directory_sync(directory, mesh.identity.node_key,
	    publish.sequence, 1, claims, count, clock_wall());
	free(claims);
	publish_full(directory, NULL);
}

void
publish_claimed(struct directory *directory, uint64_t sequence)
{
	static int64_t due;
	uint64_t clock = (uint64_t)clock_wall() / 1000;

	if (sequence <= clock + SEQUENCE_STEP &&
	    rate_take(&due, clock_monotonic(), CLAIMS, CLAIMS_IN, 0) == 0)
		publish_beyond(directory, sequence);
}

void
publish_tick(struct directory *directory)
{
	if (!publish.full_due || publish.pending > 0)
		return;
	publish.full_due = 0;
	publish_init(directory);
	/* Under the next number, to which the directory's count goes along. */
	publish_beyond(directory, publish.sequence);
}

void
publish_forget(const struct peer *peer)
{
	struct unsigned_sync *wait;

	for (wait = TAILQ_FIRST(&publish.waiting); wait != NULL;
	     wait = TAILQ_NEXT(wait, entry))
		if (wait->peer == peer)
			wait->orphan = 1;
}

/* --- changes ------------------------------------------------------------- */

/* One change: into the directory now, to the mesh when signed. */
static void
publish_change(
    struct directory *directory, const struct own_app *own, int departed)
{
	struct Nodemesh__V1__AppSync *sync;
	struct directory_claim claim = { 0 };

	claim.attestation = &own->attestation;
	claim.session_id = own->session_id;
	claim.sequence = own->sequence;
	claim.connected_at = own->connected_at;
	claim.departed = departed;
	(void)directory_sync(directory, mesh.identity.node_key,
	    publish.sequence, 0, &claim, 1, clock_wall());
	if (members_swim() == NULL)
		return;
	if (publish.pending >= PENDING_MAX || publish.full_due) {
		/* Too many at once: one full sync says it all. */
		publish.full_due = 1;
		return;
	}
	if ((sync = sync_make(0, 1)) != NULL &&
	    (sync->apps[0] = registration_make(own, departed)) != NULL)
		sync->n_apps = 1;
	sync_sign(sync, NULL);
}

void
publish_up(struct directory *directory, const struct ipc_app_up *up,
    const uint8_t *tail, size_t tail_length)
{
	struct own_app *own, *old;

	publish_init(directory);
	if ((own = calloc(1, sizeof(*own))) == NULL)
		return;
	own->attestation = up->attestation;
	memcpy(own->app, up->attestation.app_key, KEY_SIZE);
	own->connected_at = up->connected_at;
	(void)strlcpy(own->session_id, up->session_id, sizeof(own->session_id));
	if (up->attestation.kind == ATTESTATION_V1)
		own->connect =
		    approuter__v1__connect__unpack(NULL, tail_length, tail);
	own->sequence = ++publish.sequence;
	old = table_remove(&publish.own, own->app);
	if (table_put(&publish.own, own->app, own) == -1) {
		own_free(own);
		if (old != NULL)
			own_free(old);
		return;
	}
	publish_change(directory, own, 0);
	if (old != NULL)
		own_free(old);
}

void
publish_down(struct directory *directory, const uint8_t app[KEY_SIZE])
{
	struct own_app *own;

	publish_init(directory);
	if ((own = table_remove(&publish.own, app)) == NULL)
		return;
	own->sequence = ++publish.sequence;
	publish_change(directory, own, 1);
	own_free(own);
}

void
publish_none(struct directory *directory)
{
	struct own_app *own;
	size_t cursor = 0;

	if (publish.own.key_size == 0 || publish.own.count == 0)
		return;
	while ((own = table_next(&publish.own, &cursor)) != NULL) {
		(void)table_remove(&publish.own, own->app);
		own_free(own);
	}
	publish_beyond(directory, publish.sequence);
}
