/*
 * The directory and rumours: numbering, gaps, moves, departures, expiry,
 * limits, memory.
 */

#include <check.h>
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "mesh/directory.h"
#include "mesh/rumour.h"
#include "regress/unit/suite.h"

#define SECOND  INT64_C(1000000000)
#define WALL    (INT64_C(1800000000) * SECOND)
#define HOUR    (3600 * SECOND)
#define SESSION "0123456789abcdef0123456789abcdef"

static struct directory directory;
static int changes, last_was, last_now;

static const uint8_t *
key_of(uint32_t i)
{
	static uint8_t keys[8][KEY_SIZE];
	static int turn;
	uint8_t *key = keys[turn++ % 8];

	memset(key, 0, KEY_SIZE);
	key[0] = (uint8_t)i;
	key[1] = (uint8_t)(i >> 8);
	key[2] = (uint8_t)(i >> 16);
	key[3] = 1;
	return (key);
}

static int
index_of(const uint8_t *key)
{
	return (key == NULL ? -1 : key[0] | key[1] << 8 | key[2] << 16);
}

static void
on_changed(
    void *arg, const uint8_t *app, const uint8_t *was, const uint8_t *now)
{
	ck_assert_ptr_eq(arg, &changes);
	ck_assert_ptr_nonnull(app);
	changes++;
	last_was = index_of(was);
	last_now = index_of(now);
}

/* A sync of one app; issued in ns after WALL. */
static enum directory_verdict
sync_one(uint32_t node, uint64_t sequence, int full, uint32_t app,
    int64_t issued, int departed)
{
	struct attestation attestation = { .kind = ATTESTATION_V2 };
	struct directory_claim claim = { .attestation = &attestation };

	memcpy(attestation.app_key, key_of(app), KEY_SIZE);
	attestation.issued_at = WALL + issued;
	attestation.expires_at = WALL + issued + HOUR;
	attestation.signature[0] = (uint8_t)issued;
	claim.session_id = SESSION;
	claim.sequence = sequence;
	claim.departed = departed;
	return (directory_sync(
	    &directory, key_of(node), sequence, full, &claim, 1, WALL));
}

static int
where(uint32_t app)
{
	const struct directory_app *found;

	found = directory_find(&directory, key_of(app), WALL);
	return (found == NULL ? -1 : index_of(found->node->key));
}

static void
setup(void)
{
	directory_init(&directory, 1000, 100, 10, on_changed, &changes);
	changes = 0;
}

static void
teardown(void)
{
	directory_free(&directory);
}

START_TEST(numbering)
{
	/* L37: what is not known is not anywhere. */
	ck_assert_int_eq(where(1), -1);
	ck_assert_int_eq(sync_one(1, 1, 0, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(1), 1);
	ck_assert_int_eq(sync_one(1, 1, 0, 2, 0, 0), DIRECTORY_STALE);
	ck_assert_int_eq(sync_one(1, 3, 0, 3, 0, 0), DIRECTORY_GAP);
	ck_assert_int_eq(where(2), -1);
	ck_assert_int_eq(where(3), -1);
	ck_assert_int_eq(sync_one(1, 2, 0, 2, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(2), 1);
	/* Full ones may jump, and replace all. */
	ck_assert_int_eq(sync_one(1, 9, 1, 3, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(1), -1);
	ck_assert_int_eq(where(2), -1);
	ck_assert_int_eq(where(3), 1);
	ck_assert_int_eq(sync_one(1, 9, 1, 4, 0, 0), DIRECTORY_STALE);
	ck_assert_int_eq(sync_one(1, 8, 1, 4, 0, 0), DIRECTORY_STALE);
	ck_assert_int_eq(sync_one(1, 10, 0, 4, 0, 0), DIRECTORY_APPLIED);
	/* A full one twice: what it names the second time only, stays. */
	ck_assert_int_eq(sync_one(1, 11, 1, 4, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(3), -1);
	ck_assert_int_eq(sync_one(1, 12, 1, 5, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(4), -1);
	ck_assert_int_eq(sync_one(2, 2, 0, 6, 0, 0), DIRECTORY_GAP);
}
END_TEST

START_TEST(missed)
{
	const struct directory_node *node;

	ck_assert_ptr_null(directory_behind(&directory, NULL));
	ck_assert_int_eq(sync_one(1, 1, 0, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 4, 0, 1, 0, 0), DIRECTORY_GAP);
	ck_assert_int_eq(sync_one(2, 7, 0, 1, 0, 0), DIRECTORY_GAP);
	directory_missed(&directory, key_of(1), 1); /* no news */
	node = directory_behind(&directory, NULL);
	ck_assert_int_eq(index_of(node->key), 1);
	node = directory_behind(&directory, node);
	ck_assert_int_eq(index_of(node->key), 2);
	ck_assert_ptr_null(directory_behind(&directory, node));
	/* The deltas came after all. */
	ck_assert_int_eq(sync_one(1, 2, 0, 2, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 3, 0, 3, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 4, 0, 4, 0, 0), DIRECTORY_APPLIED);
	node = directory_behind(&directory, NULL);
	ck_assert_int_eq(index_of(node->key), 2);
	/* A lie about a number ends with the node's own word. */
	directory_missed(&directory, key_of(2), UINT64_MAX);
	ck_assert_int_eq(sync_one(2, 9, 1, 9, 0, 0), DIRECTORY_APPLIED);
	ck_assert_ptr_null(directory_behind(&directory, NULL));
	directory_missed(&directory, key_of(2), UINT64_MAX);
	ck_assert_int_eq(sync_one(2, 9, 1, 9, 0, 0), DIRECTORY_STALE);
	ck_assert_ptr_null(directory_behind(&directory, NULL));
	/* Said in a digest, too, for it sends no sync to who has all. */
	directory_missed(&directory, key_of(2), UINT64_MAX);
	directory_current(&directory, key_of(2), 8);
	ck_assert_ptr_nonnull(directory_behind(&directory, NULL));
	directory_current(&directory, key_of(2), 9);
	ck_assert_ptr_null(directory_behind(&directory, NULL));
}
END_TEST

/* L36: departures travel, and an app that moved is where it is now. */
START_TEST(L36_moves)
{
	ck_assert_int_eq(sync_one(1, 1, 0, 7, 100, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(last_was, -1);
	ck_assert_int_eq(last_now, 1);
	ck_assert_int_eq(sync_one(2, 1, 0, 7, 200, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(7), 2);
	ck_assert_int_eq(last_was, 1);
	ck_assert_int_eq(last_now, 2);
	/* The old node's departure is not the app's. */
	ck_assert_int_eq(sync_one(1, 2, 0, 7, 100, 1), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(7), 2);
	/* An older attestation wins nowhere. */
	ck_assert_int_eq(sync_one(3, 1, 0, 7, 150, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(7), 2);
	ck_assert_int_eq(sync_one(2, 2, 0, 7, 200, 1), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(7), -1);
	ck_assert_int_eq(last_was, 2);
	ck_assert_int_eq(last_now, -1);
	ck_assert_int_eq(changes, 3);
	/* Nothing is told when nothing changed. */
	ck_assert_int_eq(sync_one(1, 3, 0, 8, 5, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 4, 1, 8, 5, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(changes, 4);
	ck_assert_int_eq(sync_one(1, 5, 0, 8, 6, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(changes, 5); /* connected anew */
	ck_assert_int_eq(last_was, 1);
	ck_assert_int_eq(last_now, 1);
}
END_TEST

/* Two claims of one moment: all orders end the same. */
START_TEST(ties)
{
	ck_assert_int_eq(sync_one(1, 1, 0, 7, 100, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(2, 1, 0, 7, 100, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(7), 2);
	ck_assert_int_eq(sync_one(4, 1, 0, 8, 100, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(3, 1, 0, 8, 100, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(8), 4);
}
END_TEST

START_TEST(nodes_go)
{
	ck_assert_int_eq(sync_one(1, 1, 0, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 2, 0, 2, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(2, 1, 0, 3, 0, 0), DIRECTORY_APPLIED);
	directory_drop_node(&directory, key_of(1), 0);
	directory_drop_node(&directory, key_of(9), 0);
	ck_assert_int_eq(where(1), -1);
	ck_assert_int_eq(where(2), -1);
	ck_assert_int_eq(where(3), 2);
	ck_assert_int_eq(changes, 5);
	/* It is back: a delta will not do, the same full one does. */
	ck_assert_uint_eq(
	    directory_digest(directory_node(&directory, key_of(1))), 0);
	ck_assert_int_eq(directory_compare(&directory, key_of(1), 2), 1);
	ck_assert_int_eq(sync_one(1, 3, 0, 1, 0, 0), DIRECTORY_GAP);
	ck_assert_int_eq(sync_one(1, 1, 1, 1, 0, 0), DIRECTORY_STALE);
	ck_assert_int_eq(sync_one(1, 2, 1, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(1), 1);
	ck_assert_uint_eq(
	    directory_digest(directory_node(&directory, key_of(1))), 2);
	ck_assert_int_eq(directory_compare(&directory, key_of(1), 2), 0);
	ck_assert_int_eq(directory_compare(&directory, key_of(1), 1), -1);
	ck_assert_int_eq(directory_compare(&directory, key_of(1), 3), 1);
	ck_assert_int_eq(directory_compare(&directory, key_of(8), 0), 0);
	ck_assert_int_eq(directory_compare(&directory, key_of(8), 1), 1);
	directory_drop_node(&directory, key_of(1), 1);
	ck_assert_ptr_null(directory_node(&directory, key_of(1)));
	ck_assert_int_eq(sync_one(1, 1, 0, 1, 0, 0), DIRECTORY_APPLIED);
}
END_TEST

/* The name of a session is as long as there is room for, and has an end. */
START_TEST(sessions_are_cut)
{
	struct attestation attestation = { .kind = ATTESTATION_V2 };
	struct directory_claim claim = { .attestation = &attestation,
		.sequence = 1 };
	const struct directory_app *app;
	char session[2 * SESSION_ID_SIZE];

	memset(session, 'x', sizeof(session) - 1);
	session[sizeof(session) - 1] = '\0';
	claim.session_id = session;
	memcpy(attestation.app_key, key_of(1), KEY_SIZE);
	attestation.expires_at = WALL + HOUR;
	ck_assert_int_eq(
	    directory_sync(&directory, key_of(1), 1, 0, &claim, 1, WALL),
	    DIRECTORY_APPLIED);
	app = directory_find(&directory, key_of(1), WALL);
	ck_assert_ptr_nonnull(app);
	ck_assert_uint_eq(
	    strnlen(app->session_id, SESSION_ID_SIZE), SESSION_ID_SIZE - 1);
}
END_TEST

START_TEST(expiry)
{
	uint32_t i;

	for (i = 0; i < 10; i++) /* app i: until i s after an hour */
		ck_assert_int_eq(
		    sync_one(1, i + 1, 0, i, i * SECOND, 0), DIRECTORY_APPLIED);
	/* Skew: a minute more. */
	ck_assert_ptr_nonnull(
	    directory_find(&directory, key_of(4), WALL + HOUR + 63 * SECOND));
	ck_assert_ptr_null(
	    directory_find(&directory, key_of(4), WALL + HOUR + 64 * SECOND));
	ck_assert_uint_eq(directory_expire(&directory, WALL, 100), 0);
	ck_assert_uint_eq(directory.apps.count, 10);
	/* In pieces of three, five apps (0 to 4) are found. */
	for (i = 0; i < 4; i++)
		(void)directory_expire(
		    &directory, WALL + HOUR + 64 * SECOND, 3);
	ck_assert_uint_eq(directory.apps.count, 5);
	ck_assert_int_eq(where(4), -1);
	ck_assert_int_eq(where(5), 1);
	ck_assert_int_eq(changes, 15);
	/* One that has expired is not taken, and holds nobody's place. */
	ck_assert_int_eq(
	    sync_one(1, 11, 0, 11, -2 * HOUR, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(11), -1);
	ck_assert_uint_eq(directory.refused, 1);
	/* With the minute of skew, to the last moment of it. */
	ck_assert_int_eq(
	    sync_one(1, 12, 0, 12, -HOUR - 60 * SECOND, 0), DIRECTORY_APPLIED);
	ck_assert_uint_eq(directory.refused, 2);
	ck_assert_int_eq(sync_one(1, 13, 0, 13, -HOUR - 60 * SECOND + 1, 0),
	    DIRECTORY_APPLIED);
	ck_assert_uint_eq(directory.refused, 2);
	ck_assert_int_eq(where(12), -1);
	ck_assert_int_eq(where(13), 1);
}
END_TEST

/* A clock that was days ahead and is right again: what it had us forget is
 * asked for anew, and the same full sync will do. */
START_TEST(clock_back)
{
	ck_assert_int_eq(sync_one(1, 1, 0, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(2, 1, 0, 2, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(directory_clock(&directory, WALL), 0);
	ck_assert_int_eq(directory_clock(&directory, WALL + 48 * HOUR), 0);
	ck_assert_uint_eq(
	    directory_expire(&directory, WALL + 48 * HOUR, 100), 2);
	ck_assert_int_eq(
	    directory_clock(&directory, WALL + 48 * HOUR - 60 * SECOND), 0);
	ck_assert_ptr_null(directory_behind(&directory, NULL));
	ck_assert_int_eq(directory_clock(&directory, WALL), 1);
	ck_assert_int_eq(directory_clock(&directory, WALL), 0);
	ck_assert_int_eq(index_of(directory_behind(&directory, NULL)->key), 1);
	ck_assert_int_eq(sync_one(1, 1, 1, 1, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(1), 1);
	ck_assert_int_eq(index_of(directory_behind(&directory, NULL)->key), 2);
	ck_assert_int_eq(sync_one(2, 2, 1, 2, 0, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(2), 2);
	ck_assert_ptr_null(directory_behind(&directory, NULL));
}
END_TEST

/* L27 */
START_TEST(L27_limits)
{
	struct attestation *attestations;
	struct directory_claim *claims;
	uint32_t i, node;

	attestations = calloc(150, sizeof(*attestations));
	claims = calloc(150, sizeof(*claims));
	ck_assert(attestations != NULL && claims != NULL);
	for (node = 0; node < 11; node++) {
		for (i = 0; i < 150; i++) {
			memcpy(attestations[i].app_key, key_of(node * 150 + i),
			    KEY_SIZE);
			attestations[i].expires_at = WALL + HOUR;
			claims[i].attestation = &attestations[i];
			claims[i].session_id = SESSION;
		}
		ck_assert_int_eq(directory_sync(&directory, key_of(node), 1, 1,
				     claims, 150, WALL),
		    node < 10 ? DIRECTORY_APPLIED : DIRECTORY_FULL);
		ck_assert_uint_eq(
		    directory.apps.count, node < 10 ? (node + 1) * 100 : 1000);
	}
	ck_assert_uint_eq(directory.refused, 500);
	/* An app may not move to a node that has its fill. */
	ck_assert_int_eq(sync_one(1, 2, 0, 0, HOUR, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(0), 0);
	/* What goes makes room. */
	ck_assert_int_eq(sync_one(1, 3, 0, 150, 0, 1), DIRECTORY_APPLIED);
	ck_assert_int_eq(sync_one(1, 4, 0, 0, HOUR, 0), DIRECTORY_APPLIED);
	ck_assert_int_eq(where(0), 1);
	free(attestations);
	free(claims);
}
END_TEST

/* Claims of a node for so many apps, from first on. */
static void
sync_many(uint32_t node, uint64_t sequence, uint32_t first, uint32_t count)
{
	struct attestation *attestations;
	struct directory_claim *claims;
	uint32_t i;

	attestations = calloc(count, sizeof(*attestations));
	claims = calloc(count, sizeof(*claims));
	ck_assert(attestations != NULL && claims != NULL);
	for (i = 0; i < count; i++) {
		memcpy(attestations[i].app_key, key_of(first + i), KEY_SIZE);
		attestations[i].expires_at = WALL + HOUR;
		claims[i].attestation = &attestations[i];
		claims[i].session_id = SESSION;
	}
	ck_assert_int_eq(directory_sync(&directory, key_of(node), sequence, 1,
			     claims, count, WALL),
	    DIRECTORY_APPLIED);
	free(attestations);
	free(claims);
}

/* A node that takes all the room, with apps that it made up, keeps out none of
 * the others', and least of all our own. */
START_TEST(L27_room_is_shared)
{
	directory_set_limits(&directory, 1000, 1000, 10);
	sync_many(0, 1, 5000, 1);
	directory_own(&directory, key_of(0));
	sync_many(1, 1, 0, 1500);
	ck_assert_uint_eq(directory.apps.count, 1000);
	sync_many(2, 1, 2000, 100);
	ck_assert_int_eq(where(2000), 2);
	ck_assert_int_eq(where(2099), 2);
	ck_assert_uint_eq(directory.apps.count, 1000);
	/* It does not get it back. */
	sync_many(1, 2, 0, 1500);
	ck_assert_int_eq(where(2000), 2);
	ck_assert_int_eq(where(5000), 0);
	/* Nobody has more than the others in the end. */
	sync_many(2, 2, 2000, 1500);
	ck_assert_uint_le(directory_node(&directory, key_of(1))->count, 501);
	ck_assert_uint_le(directory_node(&directory, key_of(2))->count, 501);
	sync_many(0, 2, 5000, 700);
	ck_assert_int_eq(where(5699), 0);
	ck_assert_uint_eq(directory.apps.count, 1000);
	sync_many(1, 3, 0, 1500);
	sync_many(2, 3, 2000, 1500);
	ck_assert_uint_eq(directory_node(&directory, key_of(0))->count, 700);
	ck_assert_uint_eq(directory.apps.count, 1000);
}
END_TEST

/* Bytes on the heap. A sanitizer's heap does not say: reckon them. */
static size_t
heap_used(const struct directory *of)
{
#ifdef __SANITIZE_ADDRESS__
	return (of->apps.count * (sizeof(struct directory_app) + 16) +
		of->apps.size * 2 * sizeof(void *));
#else
	(void)of;
	return (mallinfo2().uordblks + mallinfo2().hblkhd);
#endif
}

/* What an app costs beside its attestation, at its most. */
START_TEST(memory)
{
	struct directory large;
	struct attestation attestation = { .kind = ATTESTATION_V2 };
	struct directory_claim claim = { .attestation = &attestation };
	size_t before, cost, most = 0;
	uint32_t i;

	directory_init(&large, 1000000, 1000000, 10, on_changed, &changes);
	attestation.expires_at = WALL + HOUR;
	claim.session_id = SESSION;
	before = heap_used(&large);
	for (i = 0; i < 200000; i++) {
		memcpy(attestation.app_key, key_of(i), KEY_SIZE);
		ck_assert_int_eq(directory_sync(&large, key_of(1), i + 1, 0,
				     &claim, 1, WALL),
		    DIRECTORY_APPLIED);
		if (i < 1000 || i % 64 != 0)
			continue;
		cost = (heap_used(&large) - before) / (i + 1) -
		       sizeof(attestation);
		if (cost > most)
			most = cost;
	}
	ck_assert_msg(most > 50 && most <= 200, "%zu bytes", most);
	directory_free(&large);
}
END_TEST

/* --- rumours ------------------------------------------------------------- */

static struct rumours rumours;
static int told[512];
static size_t told_bytes;

static void
emit(void *arg, const struct rumour *rumour)
{
	ck_assert_ptr_eq(arg, told);
	told[rumour->bytes[0] | rumour->bytes[1] << 8]++;
	told_bytes += rumour->length;
}

static int
add(uint32_t node, int number, size_t length, int fresh)
{
	static uint8_t bytes[4096];

	bytes[0] = (uint8_t)number;
	bytes[1] = (uint8_t)(number >> 8);
	return (rumours_add(&rumours, key_of(node), bytes, length, fresh));
}

START_TEST(rumours_told)
{
	int i, rounds;

	rumours_init(&rumours, 100, 100000);
	memset(told, 0, sizeof(told));
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(add(1, i, 100, 0), 0);
	for (rounds = 0; rumours.count > 0 && rounds < 1000; rounds++) {
		told_bytes = 0;
		ck_assert_uint_le(
		    rumours_tell(&rumours, 5, 300, 3, emit, told), 3);
		ck_assert_uint_le(told_bytes, 300);
		if (rounds == 3) /* the new one goes first */
			ck_assert_int_eq(add(1, 77, 100, 0), 0);
		if (rounds == 4)
			ck_assert_int_eq(told[77], 1);
	}
	for (i = 0; i < 10; i++)
		ck_assert_int_eq(told[i], 3 + RUMOUR_EXTRA);
	ck_assert_int_eq(told[77], 3 + RUMOUR_EXTRA);
	ck_assert_uint_eq(rumours.bytes, 0);
	rumours_free(&rumours);
}
END_TEST

/* L33: bounded in number and bytes; a large one gets out all the same. */
START_TEST(L33_rumours)
{
	int i;

	rumours_init(&rumours, 50, 10000);
	memset(told, 0, sizeof(told));
	for (i = 0; i < 200; i++) {
		ck_assert_int_eq(add(1, i, 100, 0), 0);
		ck_assert_uint_le(rumours.count, 50);
	}
	ck_assert_uint_eq(rumours.dropped, 150);
	for (i = 0; i < 50; i++)
		ck_assert_int_eq(add(2, 300, 4000, 0), 0);
	ck_assert_uint_le(rumours.bytes, 10000);
	ck_assert_uint_eq(rumours_tell(&rumours, 5, 300, 3, emit, told), 1);
	ck_assert_int_eq(add(2, 1, 4000, 1), 0); /* fresh */
	ck_assert_uint_eq(rumours.count, 1);
	rumours_drop(&rumours, key_of(1));
	ck_assert_uint_eq(rumours.count, 1);
	rumours_drop(&rumours, key_of(2));
	ck_assert_uint_eq(rumours.count, 0);
	rumours_free(&rumours);
	rumours_init(&rumours, 50, 1000);
	ck_assert_int_eq(add(1, 1, 1001, 0), -1);
	ck_assert_int_eq(errno, EMSGSIZE);
	ck_assert_int_eq(add(1, 1, 1000, 0), 0);
	rumours_free(&rumours);
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("directory");
	TCase *tcase = tcase_create("directory");

	if (sodium_init() == -1)
		return (1);
	tcase_add_checked_fixture(tcase, setup, teardown);
	tcase_set_timeout(tcase, 60);
	tcase_add_test(tcase, numbering);
	tcase_add_test(tcase, missed);
	tcase_add_test(tcase, L36_moves);
	tcase_add_test(tcase, ties);
	tcase_add_test(tcase, nodes_go);
	tcase_add_test(tcase, sessions_are_cut);
	tcase_add_test(tcase, expiry);
	tcase_add_test(tcase, clock_back);
	tcase_add_test(tcase, L27_limits);
	tcase_add_test(tcase, L27_room_is_shared);
	tcase_add_test(tcase, memory);
	tcase_add_test(tcase, rumours_told);
	tcase_add_test(tcase, L33_rumours);
	suite_add_tcase(suite, tcase);
	return (suite_run(suite));
}
