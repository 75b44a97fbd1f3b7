/*
 * mesh, unprivileged. Signed messages on their way to everybody; see
 * rumour.h.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mesh/rumour.h"

void
rumours_init(struct rumours *rumours, size_t max_count, size_t max_bytes)
{
	int i;

	memset(rumours, 0, sizeof(*rumours));
	rumours->max_count = max_count;
	rumours->max_bytes = max_bytes;
	for (i = 0; i < RUMOUR_TOLD_MAX; i++)
		TAILQ_INIT(&rumours->told[i]);
}

static void
rumour_take(struct rumours *rumours, struct rumour *rumour)
{
	TAILQ_REMOVE(&rumours->told[rumour->told], rumour, entry);
	rumours->count--;
	rumours->bytes -= rumour->length;
}

static void
rumour_put(struct rumours *rumours, struct rumour *rumour)
{
	TAILQ_INSERT_TAIL(&rumours->told[rumour->told], rumour, entry);
	rumours->count++;
	rumours->bytes += rumour->length;
}

void
rumours_free(struct rumours *rumours)
{
	struct rumour *rumour, *next;
	int i;

	for (i = 0; i < RUMOUR_TOLD_MAX; i++)
		for (rumour = TAILQ_FIRST(&rumours->told[i]); rumour != NULL;
		     rumour = next) {
			next = TAILQ_NEXT(rumour, entry);
			rumour_take(rumours, rumour);
			free(rumour);
		}
}

void
rumours_drop(struct rumours *rumours, const uint8_t node[KEY_SIZE])
{
	struct rumour *rumour, *next;
	int i;

	for (i = 0; i < RUMOUR_TOLD_MAX; i++)
		for (rumour = TAILQ_FIRST(&rumours->told[i]); rumour != NULL;
		     rumour = next) {
			next = TAILQ_NEXT(rumour, entry);
			if (memcmp(rumour->node, node, KEY_SIZE) != 0)
				continue;
			rumour_take(rumours, rumour);
			free(rumour);
		}
}

/* Push out what was told most, of those the oldest. */
static void
rumours_shorten(struct rumours *rumours)
{
	struct rumour *rumour;
	int i;

	for (i = RUMOUR_TOLD_MAX - 1; i >= 0; i--) {
		rumour = TAILQ_FIRST(&rumours->told[i]);
		if (rumour == NULL)
			continue;
		rumour_take(rumours, rumour);
		free(rumour);
		rumours->dropped++;
		return;
	}
}

int
rumours_add(struct rumours *rumours, const uint8_t node[KEY_SIZE],
    const void *bytes, size_t length, int fresh)
{
	struct rumour *rumour;

	if (length > rumours->max_bytes || length > UINT32_MAX ||
	    rumours->max_count == 0) {
		rumours->dropped++;
		errno = EMSGSIZE;
		return (-1);
	}
	rumour = malloc(sizeof(*rumour) + length);
	if (rumour == NULL)
		return (-1);
	if (fresh)
		rumours_drop(rumours, node);
	memset(rumour, 0, sizeof(*rumour));
	memcpy(rumour->node, node, KEY_SIZE);
	rumour->length = (uint32_t)length;
	if (length > 0)
		memcpy(rumour->bytes, bytes, length);
	while (rumours->count + 1 > rumours->max_count ||
	       rumours->bytes + length > rumours->max_bytes)
		rumours_shorten(rumours);
	rumour_put(rumours, rumour);
	return (0);
}

size_t
rumours_tell(struct rumours *rumours, size_t count, size_t bytes,
    uint32_t limit, void (*emit)(void *, const struct rumour *), void *arg)
{
	struct rumour_list told;
	struct rumour *rumour;
	size_t taken = 0, used = 0;
	int i;

	TAILQ_INIT(&told);
	for (i = 0; i < RUMOUR_TOLD_MAX && taken < count; i++) {
		while (taken < count &&
		       (rumour = TAILQ_FIRST(&rumours->told[i])) != NULL) {
			if (taken > 0 && used + rumour->length > bytes)
				goto full;
			used += rumour->length;
			taken++;
			rumour_take(rumours, rumour);
			TAILQ_INSERT_TAIL(&told, rumour, entry);
			emit(arg, rumour);
		}
	}
full:
	while ((rumour = TAILQ_FIRST(&told)) != NULL) {
		TAILQ_REMOVE(&told, rumour, entry);
		rumour->told++;
		if (rumour->told >= limit + RUMOUR_EXTRA ||
		    rumour->told >= RUMOUR_TOLD_MAX)
			free(rumour);
		else
			rumour_put(rumours, rumour);
	}
	return (taken);
}
