/*
 * Any process. No event of one peer, and no event at all, fills the log; see
 * log_set_limit(). A table of fixed size, so that peers without number cost
 * no memory: the oldest entry makes room.
 */

#include <stdio.h>
#include <string.h>

#include "common/util/clock.h"
#include "common/util/log.h"

#define WINDOW (10 * CLOCK_SECOND)
#define SLOTS  256
#define EVERY  10 /* peers' worth for an event as a whole */

struct slot {
	char key[96]; /* "event peer", or "event"; "" free */
	int64_t since;
	unsigned int lines;
	unsigned int suppressed;
};

static struct slot slots[SLOTS];

/* The slot of a key, made if there is none. */
static struct slot *
limit_slot(const char *key, int64_t now)
{
	struct slot *oldest = &slots[0];
	size_t i;

	for (i = 0; i < SLOTS; i++) {
		if (strcmp(slots[i].key, key) == 0)
			return (&slots[i]);
		if (slots[i].since < oldest->since)
			oldest = &slots[i];
	}
	memset(oldest, 0, sizeof(*oldest));
	(void)strlcpy(oldest->key, key, sizeof(oldest->key));
	oldest->since = now;
	return (oldest);
}

static int
limit_slot_take(struct slot *slot, unsigned int lines, int64_t now)
{
	if (now - slot->since >= WINDOW) {
		slot->since = now;
		slot->lines = 0;
	}
	if (slot->lines < lines) {
		slot->lines++;
		return (1);
	}
	slot->suppressed++;
	return (0);
}

/* Whom a line is about: the first field that names somebody. */
static int
limit_peer(const char *fields, struct log_field *field)
{
	static const char *const names[] = { "peer", "node", "app", "address",
		"from", "endpoint", "process" };
	size_t i;

	while (log_field_next(&fields, field))
		for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
			if (strlen(names[i]) == field->key_length &&
			    memcmp(names[i], field->key, field->key_length) ==
				0)
				return (1);
	return (0);
}

int
log_limit_take(unsigned int lines, int64_t now, const char *event,
    const char *fields, unsigned int *suppressed)
{
	struct slot *whole, *one;
	struct log_field peer;
	char key[96];

	*suppressed = 0;
	if (lines == 0)
		return (1);
	/* The peer first: one who floods does not use up the event. */
	one = NULL;
	if (limit_peer(fields, &peer)) {
		(void)snprintf(key, sizeof(key), "%.40s %.*s", event,
		    peer.value_length > 50 ? 50 : (int)peer.value_length,
		    peer.value);
		one = limit_slot(key, now);
		if (!limit_slot_take(one, lines, now))
			return (0);
	}
	(void)snprintf(key, sizeof(key), "%.40s", event);
	whole = limit_slot(key, now);
	if (!limit_slot_take(whole, one != NULL ? EVERY * lines : lines, now))
		return (0);
	if (one != NULL) {
		*suppressed = one->suppressed;
		one->suppressed = 0;
	}
	*suppressed += whole->suppressed;
	whole->suppressed = 0;
	return (1);
}
