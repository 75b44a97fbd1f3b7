/*
 * Tests only. An old copy of keyd's folder is put back, of one end, of both,
 * or one end is empty: noticed, a reset that both ends are told of, no key
 * and counter used twice, messages flow again; too often, and the chat ends
 * for both (L13). A reset that the node did not sign is refused (lesson
 * 12). A message sent again is delivered once (L40), a clean stop keeps
 * what a crash keeps (L42), in order (L43).
 *
 *	rollback HERMESD CALLS.so FOLDER
 *
 * The last line is "N passed, N failed".
 */

#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "regress/house/life.h"

/* Two nodes with one chat, anew for each test. */
static struct {
	struct event_base *base;
	const char *program;
	const char *folder;
	char path[2][300], copy[2][300], log[300];
	struct house a, b;
	struct watch watch_a, watch_b;
	struct house_chat *chat, *other; /* at a, at b */
	uint32_t highest;                /* version seen */
	const char *failure;
} t;

static unsigned passed, failed;

static void
fail(const char *why)
{
	if (t.failure == NULL)
		t.failure = why;
}

static void
copy_folder(const char *from, const char *to)
{
	char command[1000];

	(void)snprintf(command, sizeof(command),
	    "rm -rf '%s' && cp -a '%s' '%s'", to, from, to);
	if (system(command) != 0)
		errx(1, "rollback: %s", command);
}

static void
node(struct house *house, int i, const char *name, struct watch *watch)
{
	(void)snprintf(t.path[i], sizeof(t.path[i]), "%s/%s", t.folder, name);
	(void)snprintf(
	    t.copy[i], sizeof(t.copy[i]), "%s/%s.copy", t.folder, name);
	life_folder(t.path[i]);
	house_init(
	    house, t.base, t.program, name, t.path[i], "a passphrase", name);
	house->log = t.log;
	watch_init(watch);
	house->watch = watch;
}

/* The chat in one epoch at both ends. 0 or -1. */
static int
ready(void)
{
	if ((t.chat = house_chat_ready(&t.a, "chat", 0, 0)) == NULL)
		return (-1);
	t.other = house_chat_other(&t.a, t.chat);
	if (t.chat->version > t.highest)
		t.highest = t.chat->version;
	return (0);
}

/* Both ways up to number last. */
static void
talk(uint64_t last)
{
	if (house_talk(&t.a, t.chat, last, 20) == -1 ||
	    house_talk(&t.b, t.other, last, 20) == -1)
		fail("messages do not arrive");
}

static void
rekeys(unsigned count)
{
	for (; count > 0; count--) {
		(void)house_chat_start(&t.a, "chat", 0, CHAT_REKEY);
		if (house_wait(&t.a, &t.chat->version, t.highest + 1) == -1)
			fail("no rekey");
		t.highest = t.chat->version;
	}
}

static void
begin(void)
{
	t.failure = NULL;
	t.highest = 0;
	node(&t.a, 0, "a", &t.watch_a);
	node(&t.b, 1, "b", &t.watch_b);
	house_link(&t.a, &t.b);
	if (house_start(&t.a) == -1 || house_start(&t.b) == -1 || ready() == -1)
		errx(1, "rollback: no start, see %s", t.log);
	talk(20);
}

static void
end(const char *name, unsigned number)
{
	if (t.chat->twice + t.other->twice != 0)
		fail("an app was given a message twice");
	if (t.chat->wrong + t.other->wrong != 0)
		fail("another message than was said");
	if (t.watch_a.streams_twice + t.watch_b.streams_twice != 0)
		fail("a key was used twice for one counter");
	house_free(&t.a);
	house_free(&t.b);
	watch_free(&t.watch_a);
	watch_free(&t.watch_b);
	if (t.failure == NULL)
		passed++;
	else {
		printf("not ok %s %u: %s\n", name, number, t.failure);
		failed++;
	}
}

/* --- L13 ----------------------------------------------------------- */

/* a goes on from a copy that is some rekeys behind. */
static void
test_one_end(unsigned behind, int clean)
{
	begin();
	if (house_stop(&t.a) != 0)
		fail("no orderly stop");
	copy_folder(t.path[0], t.copy[0]);
	if (house_start(&t.a) == -1 || ready() == -1)
		fail("no resume after a stop");
	talk(40);
	rekeys(behind);
	talk(60);
	if (clean)
		(void)house_stop(&t.a);
	else
		house_kill(&t.a);
	copy_folder(t.copy[0], t.path[0]);
	if (t.chat->resets + t.other->resets != 0)
		fail("a reset before anything went back");
	if (house_start(&t.a) == -1 || ready() == -1)
		fail("no resume from an old copy");
	if (t.chat->resets != 1 || t.other->resets != 1)
		fail("both were not told of one reset");
	if (t.chat->version <= t.highest - 1)
		fail("the version went back");
	talk(100);
	if (t.watch_a.counters_twice + t.watch_b.counters_twice != 0)
		fail("a version and counter were used twice");
	end("one end went back, rekeys", behind);
}

/* The copy has an offer that nobody had answered: that it is answered now as
 * it was then must not bring the same keys into use again. */
static void
test_offer_out(unsigned behind, int both)
{
	begin();
	t.a.cut = t.b.cut = 1;
	(void)house_chat_start(&t.a, "chat", 0, CHAT_REKEY);
	if (both)
		(void)house_chat_start(&t.b, "chat", 0, CHAT_REKEY);
	if (house_settle(&t.a) == -1 || house_settle(&t.b) == -1 ||
	    house_stop(&t.a) != 0 || (both && house_stop(&t.b) != 0))
		fail("no orderly stop");
	t.a.cut = t.b.cut = 0;
	copy_folder(t.path[0], t.copy[0]);
	if (both)
		copy_folder(t.path[1], t.copy[1]);
	if (house_start(&t.a) == -1 || (both && house_start(&t.b) == -1) ||
	    ready() == -1)
		fail("no resume after a stop");
	talk(40);
	rekeys(behind);
	talk(60);
	house_kill(&t.a);
	copy_folder(t.copy[0], t.path[0]);
	if (both) {
		house_kill(&t.b);
		copy_folder(t.copy[1], t.path[1]);
		t.chat->seen = t.other->seen = 20;
	}
	if (house_start(&t.a) == -1 || (both && house_start(&t.b) == -1) ||
	    ready() == -1)
		fail("no resume from an old copy");
	talk(100);
	if (!both && t.watch_a.counters_twice + t.watch_b.counters_twice != 0)
		fail("a version and counter were used twice");
	end(both ? "offers out at both ends, rekeys" : "an offer out, rekeys",
	    behind);
}

static void
test_both_ends(unsigned behind)
{
	begin();
	if (house_stop(&t.a) != 0 || house_stop(&t.b) != 0)
		fail("no orderly stop");
	copy_folder(t.path[0], t.copy[0]);
	copy_folder(t.path[1], t.copy[1]);
	if (house_start(&t.a) == -1 || house_start(&t.b) == -1 || ready() == -1)
		fail("no resume after a stop");
	talk(40);
	rekeys(behind);
	talk(60);
	house_kill(&t.a);
	house_kill(&t.b);
	copy_folder(t.copy[0], t.path[0]);
	copy_folder(t.copy[1], t.path[1]);
	/* The apps know no better: they go on from where the nodes stand. */
	t.chat->seen = t.other->seen = 20;
	if (house_start(&t.a) == -1 || house_start(&t.b) == -1 || ready() == -1)
		fail("no resume from old copies");
	talk(100);
	end("both ends went back, rekeys", behind);
}

/* a has nothing left, not even its identity. */
static void
test_wiped(void)
{
	uint8_t before[KEY_SIZE];

	begin();
	rekeys(2);
	talk(40);
	memcpy(before, t.a.identity.node_key, KEY_SIZE);
	house_kill(&t.a);
	life_folder(t.path[0]);
	if (house_start(&t.a) == -1)
		fail("no start from nothing");
	if (memcmp(before, t.a.identity.node_key, KEY_SIZE) == 0)
		fail("an identity from nowhere");
	if (ready() == -1)
		fail("no chat with a new node");
	if (t.other->resets != 1)
		fail("the peer was not told of the reset");
	if (t.chat->version <= 3)
		fail("the version went back");
	talk(80);
	if (t.watch_a.counters_twice + t.watch_b.counters_twice != 0)
		fail("a version and counter were used twice");
	end("one end has nothing", 0);
}

/* Old copies again and again: the recovery limit ends it, for both. */
static void
test_again_and_again(unsigned behind)
{
	unsigned i;

	begin();
	if (house_stop(&t.a) != 0)
		fail("no orderly stop");
	copy_folder(t.path[0], t.copy[0]);
	if (house_start(&t.a) == -1 || ready() == -1)
		fail("no resume after a stop");
	rekeys(behind);
	for (i = 0; i < t.a.config.rekey.limit; i++) {
		house_kill(&t.a);
		copy_folder(t.copy[0], t.path[0]);
		if (house_start(&t.a) == -1 || ready() == -1)
			fail("no resume from an old copy");
		talk(40 + 20 * i);
	}
	if (t.chat->resets != i || t.other->resets != i)
		fail("not every reset was told to both");
	house_kill(&t.a);
	copy_folder(t.copy[0], t.path[0]);
	if (house_start(&t.a) == -1)
		fail("no start from an old copy");
	(void)house_chat_start(&t.a, "chat", 0, 0);
	if (house_wait(&t.b, &t.other->ended, 1) == -1 ||
	    t.other->ended != STATUS_RATCHET_DESYNC ||
	    house_wait(&t.a, &t.chat->ended, 1) == -1 ||
	    t.chat->ended != STATUS_RATCHET_DESYNC)
		fail("both were not told of the end");
	/* Erased, and old versions stay refused. */
	if (house_stop(&t.a) != 0 || house_stop(&t.b) != 0 ||
	    house_start(&t.a) == -1 || house_start(&t.b) == -1)
		fail("no start after the end");
	if (t.a.records + t.b.records != 0)
		fail("the chat is not erased");
	(void)house_chat_start(&t.b, "chat", t.highest, 0);
	if (house_wait(&t.b, &t.other->code, 1) == -1 ||
	    t.other->code != CODE_REPLAYED_KEY)
		fail("an old version is good again");
	end("again and again, rekeys", behind);
}

/* --- L12 ----------------------------------------------------------- */

static void
sign(struct offer *offer, const uint8_t secret[64])
{
	uint8_t bytes[OFFER_SIGNED];

	offer_signed_bytes(offer, bytes);
	(void)crypto_sign_detached(
	    offer->signature, NULL, bytes, sizeof(bytes), secret);
}

/* a gets it from its mesh and must refuse it, unmoved. */
static void
forged(const struct ipc_setup *setup, uint32_t code, const char *what)
{
	uint64_t refusals = t.a.refusals;
	uint32_t version = t.chat->version;

	ipc_send(t.a.mesh, IPC_SETUP_IN, setup, NULL, 0);
	if (house_wait(&t.a, &t.a.refusals, refusals + 1) == -1 ||
	    t.a.refused.code != code)
		fail(what);
	talk(t.chat->delivered + 10);
	if (t.chat->version != version || t.chat->resets != 0)
		fail("a forged reset had an effect");
}

static void
test_forged(void)
{
	uint8_t key[KEY_SIZE], secret[64];
	struct ipc_setup genuine, setup;
	uint8_t *node_key;

	begin();
	(void)crypto_sign_keypair(key, secret);
	/* b's own offer, as a's mesh got it. */
	genuine = t.b.setup;
	genuine.key.side ^= 1;
	memcpy(genuine.node, t.b.identity.node_key, KEY_SIZE);
	house_attest(&t.b, &genuine.peer);
	genuine.answer = 0;

	setup = genuine;
	setup.offer.flags |= OFFER_RESET;
	setup.offer.version = t.highest + 1;
	forged(&setup, CODE_AUTH_FAILED, "an offer changed to a reset is good");
	sign(&setup.offer, secret);
	forged(
	    &setup, CODE_AUTH_FAILED, "a reset signed by a stranger is good");
	sign(&setup.offer, t.b.app_secret);
	forged(&setup, CODE_AUTH_FAILED, "a reset signed by the app is good");
	/* A stranger's node, that says so, without the app. */
	node_key = setup.offer.side == CHAT_LO ? setup.offer.node_lo
					       : setup.offer.node_hi;
	memcpy(node_key, key, KEY_SIZE);
	memcpy(setup.node, key, KEY_SIZE);
	sign(&setup.offer, secret);
	/* As if the app had moved there: but it has not said so. */
	forged(
	    &setup, CODE_ROUTE_UNAVAILABLE, "a reset of another node is good");
	memcpy(setup.peer.node_key, key, KEY_SIZE);
	forged(
	    &setup, CODE_AUTH_FAILED, "a reset with a forged presence is good");
	if (house_metrics(&t.a) == -1 ||
	    t.a.metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value != 0)
		fail("a forgery was taken for divergence");
	end("forged resets", 0);
}

/* --- divergence ---------------------------------------------------------- */

/* What does not open: so many recoveries, then the end for both. */
static void
test_garbage(void)
{
	struct ipc_sealed sealed = { .sequence = 21 };
	uint8_t tail[HOUSE_PAYLOAD + 16];
	uint32_t i;

	begin();
	sealed.key = t.chat->key;
	for (i = 0; i <= t.a.config.rekey.limit; i++) {
		randombytes_buf(tail, sizeof(tail));
		sealed.version = t.chat->version;
		sealed.counter = 500;
		ipc_send(t.a.mesh, IPC_OPEN, &sealed, tail, sizeof(tail));
		if (i == t.a.config.rekey.limit)
			break;
		if (house_wait(&t.a, &t.chat->version, t.highest + 1) == -1 ||
		    house_wait(&t.b, &t.other->version, t.highest + 1) == -1)
			fail("no recovery");
		t.highest = t.chat->version;
		talk(40 + 20 * i);
	}
	if (house_wait(&t.a, &t.chat->ended, 1) == -1 ||
	    t.chat->ended != STATUS_RATCHET_DESYNC ||
	    house_wait(&t.b, &t.other->ended, 1) == -1 ||
	    t.other->ended != STATUS_RATCHET_DESYNC)
		fail("both were not told of the end");
	end("what does not open", 0);
}

/* --- L40, L42, L43 -------------------------------------------------- */

static void
test_retries(void)
{
	uint8_t payload[HOUSE_PAYLOAD];
	uint64_t i, repeats;
	uint32_t version;

	begin();
	version = t.chat->version;
	/* The acknowledgement got lost: all of it once more. */
	for (i = 1; i <= 20; i++) {
		house_payload(&t.a, t.chat, i, payload);
		house_retry(&t.a, t.chat, i, payload, sizeof(payload));
	}
	if (house_wait(&t.a, &t.other->repeats, 20) == -1)
		fail("a retry is not opened");
	talk(40);
	/* And after a death, what was not delivered and what was. */
	t.b.cut = 1;
	for (i = 41; i <= 50; i++) {
		house_payload(&t.a, t.chat, i, payload);
		house_send(&t.a, t.chat, payload, sizeof(payload));
	}
	if (house_settle(&t.a) == -1)
		fail("no answer");
	house_kill(&t.a);
	t.b.cut = 0;
	if (house_start(&t.a) == -1 || ready() == -1)
		fail("no resume after a death");
	repeats = t.other->repeats;
	house_payload(&t.a, t.chat, 40, payload);
	house_retry(&t.a, t.chat, 40, payload, sizeof(payload));
	talk(60);
	if (t.other->repeats != repeats + 1)
		fail("a retry after a death is not opened");
	if (t.chat->version != version + 1 || t.chat->resets != 0)
		fail("a retry was taken for divergence");
	if (t.chat->out_of_order + t.other->out_of_order != 0)
		fail("out of order");
	if (house_metrics(&t.b) == -1 ||
	    t.b.metrics[METRIC_RATCHET_RECOVERIES_ATTEMPT].value != 0)
		fail("a retry led to a recovery");
	end("retries", 0);
}

/* The records after an end that is clean, and after one that is not. */
static void
test_stop(int clean)
{
	struct ipc_identity identity;
	uint64_t accepted, delivered, acked;

	begin();
	talk(60);
	if (house_settle(&t.a) == -1)
		fail("no answer");
	identity = t.a.identity;
	if (clean) {
		if (house_stop(&t.a) != 0)
			fail("exit was not 0");
		if (!t.a.shut)
			fail("no SHUT before the end");
	} else
		house_kill(&t.a);
	if (house_start(&t.a) == -1)
		fail("no start");
	accepted = t.chat->accepted;
	delivered = t.chat->delivered;
	acked = t.chat->acked;
	if (t.a.records != 1 || t.chat->version != 1 || accepted != 60 ||
	    delivered != 60 || acked != 60)
		fail("the record is not what it was");
	if (memcmp(identity.node_key, t.a.identity.node_key, KEY_SIZE) != 0 ||
	    memcmp(identity.app_spki, t.a.identity.app_spki, KEY_SIZE) != 0)
		fail("the identity is not what it was");
	if (ready() == -1)
		fail("no resume");
	talk(80);
	if (t.chat->resets + t.other->resets != 0)
		fail("a reset for nothing");
	end(clean ? "a clean stop" : "a death", 0);
}

/* A stop erases what is due: afterwards nothing opens with the old key. */
static void
test_stop_erases(void)
{
	uint8_t before[2][8], after[2][8];
	char path[600];
	FILE *file;
	int i, j;

	begin();
	(void)snprintf(path, sizeof(path), "%s/keyring", t.path[0]);
	for (j = 0; j < 2; j++) {
		if ((file = fopen(path, "r")) == NULL)
			err(1, "%s", path);
		for (i = 0; i < 2; i++)
			if (fseek(file, (1 + i) * 512L, SEEK_SET) == -1 ||
			    fread(j == 0 ? before[i] : after[i], 8, 1, file) !=
				1)
				err(1, "%s", path);
		(void)fclose(file);
		if (j == 0) {
			house_chat_end(&t.a, t.chat, STATUS_DELETED);
			if (house_wait(&t.a, &t.chat->ended, 1) == -1)
				fail("the chat does not end");
			if (house_stop(&t.a) != 0)
				fail("exit was not 0");
		}
	}
	for (i = 0; i < 2; i++)
		if (memcmp(before[i], "\0\0\0\0\0\0\0", 8) != 0 &&
		    (memcmp(before[i], after[0], 8) == 0 ||
			memcmp(before[i], after[1], 8) == 0))
			fail("the store key lives on");
	if (house_start(&t.a) == -1 || t.a.records != 0)
		fail("the chat is back");
	end("a stop erases", 0);
}

int
main(int argc, char **argv)
{
	unsigned behind;

	if (argc < 4 || sodium_init() == -1) {
		fprintf(stderr, "usage: rollback HERMESD CALLS.so FOLDER\n");
		return (2);
	}
	t.program = argv[1];
	t.folder = argv[3];
	t.base = event_base_new();
	if (t.base == NULL || (mkdir(t.folder, 0755) == -1 && errno != EEXIST))
		err(1, "%s", t.folder);
	(void)snprintf(t.log, sizeof(t.log), "%s/keyd.log", t.folder);
	(void)unlink(t.log);
	for (behind = 0; behind <= 3; behind++) {
		test_one_end(behind, (int)behind % 2);
		test_both_ends(behind);
		test_offer_out(behind, 0);
		test_offer_out(behind, 1);
	}
	test_wiped();
	test_again_and_again(0);
	test_again_and_again(2);
	test_forged();
	test_garbage();
	test_retries();
	test_stop(1);
	test_stop(0);
	test_stop_erases();
	event_base_free(t.base);
	printf("%u passed, %u failed\n", passed, failed);
	return (failed != 0);
}
