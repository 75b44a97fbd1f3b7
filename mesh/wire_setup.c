/*
 * mesh, unprivileged; node bytes are hostile. SetupTieline: keyd's set-up
 * with the app's StartChat folded in, and back. See wire_frame.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/util/hex.h"
#include "mesh/unpack.h"
#include "mesh/wire.h"
#include "mesh/wire_frame.h"
#include "proto/approuter.pb-c.h"

#define SETUP_TAIL_MAX 16384 /* messages.def, SETUP_IN */

/* The two maps have entries of the same make under two names. */
_Static_assert(sizeof(struct Nodemesh__V1__SetupTieline__MetadataEntry) ==
		   sizeof(struct Approuter__V1__StartChat__MetadataEntry),
    "metadata entries differ");

static void
offer_apps(const struct offer *offer, uint8_t source[KEY_SIZE],
    uint8_t target[KEY_SIZE])
{
	const uint8_t *mine, *theirs;

	mine = offer->side == CHAT_LO ? offer->app_lo : offer->app_hi;
	theirs = offer->side == CHAT_LO ? offer->app_hi : offer->app_lo;
	memcpy(source, mine, KEY_SIZE);
	memcpy(target, theirs, KEY_SIZE);
}

/* Entries for count pairs, one block; the caller frees it. */
static struct Nodemesh__V1__SetupTieline__MetadataEntry **
setup_metadata(const struct Approuter__V1__StartChat *start)
{
	struct Nodemesh__V1__SetupTieline__MetadataEntry **list, *entries;
	size_t i, count = start->n_metadata;

	list = calloc(count + 1, sizeof(void *) + sizeof(*entries));
	if (list == NULL)
		return (NULL);
	entries = (void *)(list + count + 1);
	for (i = 0; i < count; i++) {
		nodemesh__v1__setup_tieline__metadata_entry__init(&entries[i]);
		entries[i].key = start->metadata[i]->key;
		entries[i].value = start->metadata[i]->value;
		list[i] = &entries[i];
	}
	return (list);
}

static struct Approuter__V1__StartChat__MetadataEntry **
start_metadata(const struct Nodemesh__V1__SetupTieline *wire)
{
	struct Approuter__V1__StartChat__MetadataEntry **list, *entries;
	size_t i, count = wire->n_metadata;

	list = calloc(count + 1, sizeof(void *) + sizeof(*entries));
	if (list == NULL)
		return (NULL);
	entries = (void *)(list + count + 1);
	for (i = 0; i < count; i++) {
		approuter__v1__start_chat__metadata_entry__init(&entries[i]);
		entries[i].key = wire->metadata[i]->key;
		entries[i].value = wire->metadata[i]->value;
		list[i] = &entries[i];
	}
	return (list);
}

static uint8_t *
setup_pack(const struct Nodemesh__V1__SetupTieline *wire, size_t *length)
{
	uint8_t *out;

	*length = nodemesh__v1__setup_tieline__get_packed_size(wire);
	if ((out = malloc(*length + 1)) == NULL)
		return (NULL);
	nodemesh__v1__setup_tieline__pack(wire, out);
	return (out);
}

uint8_t *
frame_setup_pack(const struct ipc_setup *setup, const uint8_t *tail,
    size_t tail_length, const struct ipc_identity *identity, size_t *length)
{
	struct Nodemesh__V1__SetupTieline wire =
	    NODEMESH__V1__SETUP_TIELINE__INIT;
	struct Nodemesh__V1__Resume resume = NODEMESH__V1__RESUME__INIT;
	struct Approuter__V1__StartChat *start = NULL;
	uint8_t offer[OFFER_ENCODED], app[KEY_SIZE], peer[KEY_SIZE], *out;
	char source[APP_ID_LENGTH + 1], target[APP_ID_LENGTH + 1];
	struct ipc_identity me = *identity;
	struct ipc_setup copy = *setup;

	if (tail_length > 0 && (start = approuter__v1__start_chat__unpack(
				    NULL, tail_length, tail)) == NULL) {
		errno = EINVAL;
		return (NULL);
	}
	offer_apps(&setup->offer, app, peer);
	hex_encode(source, app, KEY_SIZE);
	hex_encode(target, peer, KEY_SIZE);
	offer_encode(&setup->offer, offer);
	wire.chat_id = copy.chat_id;
	wire.source_app_id = source;
	wire.target_app_id = target;
	wire.source_node_id = me.node_id;
	wire.source_public_key.data = me.node_key;
	wire.source_public_key.len = KEY_SIZE;
	wire.key_version = setup->offer.version;
	wire.rekey = (setup->flags & CHAT_REKEY) != 0;
	wire.offer.data = offer;
	wire.offer.len = sizeof(offer);
	if (setup->answer || setup->delivered > 0 || setup->acked > 0 ||
	    (setup->flags & CHAT_RESUME) != 0 || setup->cause != CAUSE_NONE ||
	    instance_is_known(setup->instance)) {
		resume.delivered = setup->delivered;
		resume.acked = setup->acked;
		resume.answer = setup->answer != 0;
		resume.resume = (setup->flags & CHAT_RESUME) != 0;
		resume.cause = setup->cause;
		if (instance_is_known(setup->instance)) {
			resume.instance.data = copy.instance;
			resume.instance.len = INSTANCE_SIZE;
		}
		wire.resume = &resume;
	}
	if (start != NULL) {
		wire.source_ephemeral_key = start->local_ephemeral_public_key;
		wire.signature = start->signature;
		wire.hkdf_salt = start->hkdf_salt;
		wire.hkdf_info = start->hkdf_info;
		/* As the app signed them. */
		wire.key_version = start->key_version;
		wire.rekey = start->rekey;
		wire.metadata = setup_metadata(start);
		wire.n_metadata = start->n_metadata;
		if (wire.metadata == NULL) {
			approuter__v1__start_chat__free_unpacked(start, NULL);
			errno = ENOMEM;
			return (NULL);
		}
	}
	out = setup_pack(&wire, length);
	free(wire.metadata);
	if (start != NULL)
		approuter__v1__start_chat__free_unpacked(start, NULL);
	return (out);
}

/* The StartChat that the target app gets; NULL with errno. */
static uint8_t *
start_pack(const struct Nodemesh__V1__SetupTieline *wire, size_t *length)
{
	struct Approuter__V1__StartChat start = APPROUTER__V1__START_CHAT__INIT;
	uint8_t *out = NULL;

	start.chat_id = wire->chat_id;
	start.local_ephemeral_public_key = wire->source_ephemeral_key;
	start.signature = wire->signature;
	start.target_app_id = wire->target_app_id;
	start.source_app_id = wire->source_app_id;
	start.key_version = wire->key_version;
	start.hkdf_salt = wire->hkdf_salt;
	start.hkdf_info = wire->hkdf_info;
	start.rekey = wire->rekey;
	start.n_metadata = wire->n_metadata;
	if ((start.metadata = start_metadata(wire)) == NULL)
		return (NULL);
	*length = approuter__v1__start_chat__get_packed_size(&start);
	if (*length > SETUP_TAIL_MAX)
		errno = EINVAL;
	else if ((out = malloc(*length + 1)) != NULL)
		approuter__v1__start_chat__pack(&start, out);
	free(start.metadata);
	return (out);
}

/* Everything in wire names what its offer says. */
static int
setup_agrees(const struct Nodemesh__V1__SetupTieline *wire,
    const struct ipc_setup *setup, const uint8_t source[KEY_SIZE],
    const uint8_t target[KEY_SIZE])
{
	uint8_t key[KEY_SIZE];

	if (wire_app_key(wire->source_app_id, key) == -1 ||
	    memcmp(key, source, KEY_SIZE) != 0 ||
	    wire_app_key(wire->target_app_id, key) == -1 ||
	    memcmp(key, target, KEY_SIZE) != 0)
		return (0);
	return (memcmp(setup->key.handle, setup->offer.handle, KEY_SIZE) == 0 &&
		setup->key.side != setup->offer.side);
}

/* And it names who sent it. */
static int
setup_is_from(const struct Nodemesh__V1__SetupTieline *wire,
    const struct ipc_setup *setup, const char *node_id,
    const uint8_t node_key[KEY_SIZE])
{
	const uint8_t *node;

	node = setup->offer.side == CHAT_LO ? setup->offer.node_lo
					    : setup->offer.node_hi;
	return (strcmp(wire->source_node_id, node_id) == 0 &&
		wire->source_public_key.len == KEY_SIZE &&
		memcmp(wire->source_public_key.data, node_key, KEY_SIZE) == 0 &&
		memcmp(node, node_key, KEY_SIZE) == 0);
}

static int
setup_fill(const struct Nodemesh__V1__SetupTieline *wire,
    struct ipc_setup *setup, uint8_t source[KEY_SIZE], uint8_t target[KEY_SIZE])
{
	size_t length = strlen(wire->chat_id);

	if (!chat_id_valid(wire->chat_id, length) ||
	    offer_decode(&setup->offer, wire->offer.data, wire->offer.len) ==
		-1 ||
	    setup->offer.side > CHAT_HI)
		return (-1);
	memcpy(setup->chat_id, wire->chat_id, length);
	offer_apps(&setup->offer, source, target);
	if (chat_key_make(&setup->key, setup->chat_id, target, source) == -1)
		return (-1);
	if (wire->rekey)
		setup->flags |= CHAT_REKEY;
	if (wire->resume != NULL) {
		if (wire->resume->instance.len == INSTANCE_SIZE)
			memcpy(setup->instance, wire->resume->instance.data,
			    INSTANCE_SIZE);
		setup->delivered = wire->resume->delivered;
		setup->acked = wire->resume->acked;
		setup->answer = wire->resume->answer != 0;
		if (wire->resume->resume)
			setup->flags |= CHAT_RESUME;
		if (wire->resume->cause < CAUSE_COUNT_OF)
			setup->cause = wire->resume->cause;
	}
	return (0);
}

int
frame_setup_read(const struct frame_text *packed, const char *node_id,
    const uint8_t node_key[KEY_SIZE], struct ipc_setup *setup,
    uint8_t source[KEY_SIZE], uint8_t target[KEY_SIZE], uint8_t **tail,
    size_t *tail_length)
{
	struct Nodemesh__V1__SetupTieline *wire;
	int bare, error = EINVAL, result = -1;

	memset(setup, 0, sizeof(*setup));
	*tail = NULL;
	*tail_length = 0;
	wire = unpack_bounded(&nodemesh__v1__setup_tieline__descriptor,
	    packed->bytes, packed->length);
	if (wire == NULL)
		goto done;
	if (setup_fill(wire, setup, source, target) == -1 ||
	    !setup_agrees(wire, setup, source, target))
		goto done;
	if (!setup_is_from(wire, setup, node_id, node_key)) {
		error = EACCES;
		goto done;
	}
	memcpy(setup->node, node_key, KEY_SIZE);
	/* What the other router or keyd made by itself has no StartChat. */
	bare = wire->resume != NULL && wire->source_ephemeral_key.len == 0 &&
	       wire->signature.len == 0 && wire->n_metadata == 0 &&
	       wire->hkdf_salt.len == 0 && wire->hkdf_info.len == 0;
	if (!bare && (*tail = start_pack(wire, tail_length)) == NULL)
		goto done;
	result = 0;
done:
	if (wire != NULL)
		nodemesh__v1__setup_tieline__free_unpacked(wire, NULL);
	if (result == -1)
		errno = error;
	return (result);
}
