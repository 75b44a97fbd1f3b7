/* Test. Apps that chat, outside of all nodes; see house.h. */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/attestation.h"
#include "regress/fuzz/fuzz_store.h"
#include "regress/sim/house.h"

void
sim_talks_make(struct sim *sim, uint32_t count)
{
	struct sim_end *end;
	uint32_t i, k;

	sim->talks = calloc(count, sizeof(*sim->talks));
	if (sim->talks == NULL)
		err(1, "calloc");
	sim->talk_count = count;
	for (i = 0; i < count; i++) {
		(void)snprintf(sim->talks[i].chat_id,
		    sizeof(sim->talks[i].chat_id), "talk-%u", i);
		for (k = 0; k < 2; k++) {
			end = &sim->talks[i].ends[k];
			(void)crypto_sign_keypair(end->key, end->secret);
			end->app = 2 * i + k;
			end->node = UINT32_MAX;
		}
	}
}

void
sim_talks_free(struct sim *sim)
{
	if (sim->talks == NULL)
		return;
	fuzz_store_reset();
	free(sim->talks);
	sim->talks = NULL;
}

void
sim_end_move(struct sim *sim, struct sim_end *end, uint32_t node)
{
	if (end->node != UINT32_MAX && sim->nodes[end->node].up)
		sim_app_disconnect(&sim->nodes[end->node], end->app);
	end->node = node;
	if (node == UINT32_MAX)
		return;
	end->issued = sim_wall(&sim->nodes[node]);
	sim_app_connect(&sim->nodes[node], end->app);
}

void
sim_end_attest(
    const struct sim *sim, const struct sim_end *end, struct attestation *out)
{
	const struct sim_house *house = sim->nodes[end->node].house;
	uint8_t bytes[ATTESTATION_SIGNED_MAX];
	size_t length;

	memset(out, 0, sizeof(*out));
	out->kind = ATTESTATION_V2;
	memcpy(out->app_key, end->key, KEY_SIZE);
	memcpy(out->node_key, house->key, KEY_SIZE);
	memcpy(out->node_id, house->node_id, NODE_ID_SIZE);
	out->issued_at = end->issued;
	out->expires_at = end->issued + ATTESTATION_MAX_AGE;
	length = attestation_signed_bytes(out, bytes);
	(void)crypto_sign_detached(
	    out->signature, NULL, bytes, length, end->secret);
}

/* The payload of a message: who says it, and which it is. */
size_t
sim_end_payload(const struct sim_end *end, uint64_t sequence, uint8_t out[128])
{
	size_t length = 48 + sequence * 7 % 64;

	memset(out, (int)(sequence & 0xff), 128);
	memcpy(out, end->key, KEY_SIZE);
	memcpy(out + KEY_SIZE, &sequence, sizeof(sequence));
	return (length);
}
