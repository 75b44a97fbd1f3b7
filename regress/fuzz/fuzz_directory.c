/*
 * Tests only. Where apps are, told by nodes that lie: an app is at one node
 * at most, with an attestation for that node; limits hold; numbers count.
 */

#include <stdlib.h>
#include <string.h>

#include "mesh/directory.h"
#include "mesh/rumour.h"
#include "regress/fuzz/fuzz.h"

#define SECOND INT64_C(1000000000)
#define CLAIMS 6

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	fuzz_seed(8);
	return (0);
}

static void
key_of(uint8_t i, uint8_t key[KEY_SIZE])
{
	memset(key, 0, KEY_SIZE);
	key[0] = i % 10;
	key[1] = 1;
}

static void
on_changed(
    void *arg, const uint8_t *app, const uint8_t *was, const uint8_t *now)
{
	const struct directory *directory = arg;
	const struct directory_app *found;

	found = directory_find(directory, app, INT64_MIN / 2);
	FUZZ_CHECK(was != NULL || now != NULL);
	if (found != NULL && now != NULL)
		FUZZ_CHECK(memcmp(found->node->key, now, KEY_SIZE) == 0);
}

static void
check(const struct directory *directory, int64_t wall)
{
	const struct directory_node *node;
	const struct directory_app *app;
	size_t apps = 0, nodes = 0, of_node;

	TAILQ_FOREACH(node, &directory->node_list, entry)
	{
		nodes++;
		of_node = 0;
		TAILQ_FOREACH(app, &node->apps, of_node)
		{
			of_node++;
			FUZZ_CHECK(app->node == node);
			FUZZ_CHECK(memcmp(app->attestation.node_key, node->key,
				       KEY_SIZE) == 0);
			if (app->attestation.expires_at > wall + 120 * SECOND)
				FUZZ_CHECK(
				    directory_find(directory,
					app->attestation.app_key, wall) == app);
		}
		FUZZ_CHECK(of_node == node->count);
		FUZZ_CHECK(of_node <= directory->max_per_node);
		apps += of_node;
		(void)directory_digest(node);
	}
	FUZZ_CHECK(nodes <= directory->max_nodes);
	FUZZ_CHECK(apps <= directory->max_apps);
	FUZZ_CHECK(apps == directory->apps.count);
}

static void
sync_some(struct directory *directory, struct input *input, int64_t wall)
{
	struct directory_claim claims[CLAIMS];
	struct attestation attestations[CLAIMS];
	uint8_t node[KEY_SIZE], how = input_u8(input);
	size_t i, count = input_u8(input) % (CLAIMS + 1);
	uint64_t sequence;

	key_of(input_u8(input), node);
	sequence = input_u8(input);
	if (sequence > 0xf0)
		sequence = input_u64(input);
	memset(attestations, 0, sizeof(attestations));
	for (i = 0; i < count; i++) {
		uint8_t bits = input_u8(input);

		attestations[i].kind = ATTESTATION_V2;
		key_of(bits, attestations[i].app_key);
		memcpy(attestations[i].node_key, node, KEY_SIZE);
		attestations[i].issued_at =
		    wall - (int64_t)input_u8(input) * SECOND;
		attestations[i].expires_at =
		    attestations[i].issued_at + 600 * SECOND;
		claims[i].attestation = &attestations[i];
		claims[i].session_id = "0123456789abcdef0123456789abcdef";
		claims[i].sequence = input_u8(input);
		claims[i].connected_at = attestations[i].issued_at;
		claims[i].departed = bits >> 7;
	}
	(void)directory_wants(directory, node, sequence, how & 1);
	(void)directory_sync(
	    directory, node, sequence, how & 1, claims, count, wall);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct directory directory;
	int64_t wall = INT64_C(1800000000) * SECOND;
	uint8_t node[KEY_SIZE], what;

	fuzz_seed(8);
	directory_init(&directory, 12, 5, 6, on_changed, &directory);
	while (input.left > 0) {
		what = input_u8(&input);
		key_of(what >> 3, node);
		switch (what & 7) {
		case 0:
		case 1:
		case 2:
		case 3:
			sync_some(&directory, &input, wall);
			break;
		case 4:
			directory_drop_node(
			    &directory, node, input_u8(&input) & 1);
			break;
		case 5:
			wall += (int64_t)input_u8(&input) * SECOND;
			(void)directory_expire(&directory, wall, 100);
			break;
		case 6:
			directory_missed(&directory, node, input_u8(&input));
			break;
		case 7:
			(void)directory_compare(
			    &directory, node, input_u8(&input));
			(void)directory_behind(&directory, NULL);
			break;
		}
		check(&directory, wall);
	}
	directory_free(&directory);
	return (0);
}
