/* Tests only. See watch.h. */

#include <err.h>
#include <stdlib.h>
#include <string.h>

#include "regress/house/house.h"
#include "regress/house/watch.h"

#define STREAM_SIZE 16

struct used {
	struct {
		struct chat_key key;
		uint64_t version;
		uint64_t counter;
	} at;
	uint8_t stream[STREAM_SIZE];
};

void
watch_init(struct watch *watch)
{
	memset(watch, 0, sizeof(*watch));
	table_init(&watch->counters, sizeof(((struct used *)NULL)->at));
	table_init(&watch->streams, STREAM_SIZE);
}

void
watch_free(struct watch *watch)
{
	size_t cursor = 0;
	void *used;

	/* Every entry is in streams, not all are in counters. */
	while ((used = table_next(&watch->streams, &cursor)) != NULL)
		free(used);
	table_free(&watch->counters);
	table_free(&watch->streams);
}

void
watch_sealed(struct watch *watch, struct house *house,
    const struct ipc_sealed *sealed, const uint8_t *tail, size_t length)
{
	struct house_chat *chat = house_chat_find(house, &sealed->key);
	struct used *used = calloc(1, sizeof(*used));
	uint8_t said[HOUSE_PAYLOAD];
	size_t i;

	if (used == NULL)
		err(1, "watch");
	if (chat == NULL || length != HOUSE_PAYLOAD + 16)
		errx(1, "watch: not a message of house_talk()");
	house_payload(house, chat, sealed->sequence, said);
	used->at.key = sealed->key;
	used->at.version = sealed->version;
	used->at.counter = sealed->counter;
	for (i = 0; i < STREAM_SIZE; i++)
		used->stream[i] = tail[i] ^ said[i];
	if (table_get(&watch->streams, used->stream) != NULL) {
		watch->streams_twice++;
		free(used);
		return;
	}
	if (table_put(&watch->streams, used->stream, used) == -1)
		err(1, "watch");
	if (table_get(&watch->counters, &used->at) != NULL)
		watch->counters_twice++;
	else if (table_put(&watch->counters, &used->at, used) == -1)
		err(1, "watch");
}
