/*
 * Tests only. What keyd costs, doors and store included.
 *
 *	bench HERMESD CALLS.so FOLDER check
 *
 * The same message with 10 and with 10,000 chats makes the same number of
 * calls and writes the same number of bytes (L28). So many chats started at
 * once, here or there, are committed and synced together. The last line is
 * "N passed, N failed".
 *
 *	bench HERMESD CALLS.so FOLDER json [CHATS ...]
 *
 * One line of JSON: messages a second, sealed by one keyd and opened by
 * another, beside the bare ratchet step and AEAD of libsodium in the same
 * run; CPU time of the two. Spread: each message of another chat than the one
 * before; batches: BURST of a chat at once; each with the counters written to
 * the store and without (HERMESD is hermesd_bench). Memory of an idle chat;
 * time to unlock and load, and to resume, all of them. This process plays
 * both routers and both meshes and takes its share of the machine.
 */

#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "common/util/metrics.h"
#include "regress/house/life.h"

#define MESSAGE  256   /* bytes */
#define FLIGHT   512   /* messages on the way */
#define BATCH    32    /* chats set up at once; keyd's limit is 64 */
#define MESSAGES 50000 /* a measurement */
#define BARE     200000
#define SAMPLES  31
#define BURST    64 /* messages of a chat at once */

static struct life life;

/* --- chats --------------------------------------------------------------- */

/* Set up chats until there are count. */
static void
chats_make(size_t count)
{
	char chat_id[64];
	uint64_t goal;
	size_t n;

	while (life.a.chat_count < count) {
		goal = life.a.readies;
		for (n = 0; n < BATCH && life.a.chat_count < count; n++) {
			(void)snprintf(chat_id, sizeof(chat_id), "chat-%zu",
			    life.a.chat_count);
			(void)house_chat_start(&life.a, chat_id, 0, 0);
			goal++;
		}
		if (house_wait(&life.a, &life.a.readies, goal) == -1)
			errx(1, "bench: chats do not become ready, see %s",
			    life.log);
	}
	if (house_settle(&life.a) == -1 || house_settle(&life.b) == -1)
		errx(1, "bench: no answer");
}

/* --- L28 ------------------------------------------------------------------ */

struct sample {
	uint64_t calls;
	uint64_t bytes;
};

static int
compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y ? -1 : x > y);
}

/* One message at a time, one way; medians, as a checkpoint may come by. */
static struct sample
sample(void)
{
	struct house_chat *chat = &life.a.chats[life.a.chat_count / 2];
	uint64_t calls[SAMPLES], bytes[SAMPLES], before, written;
	struct sample out;
	int i;

	for (i = 0; i < SAMPLES; i++) {
		if (house_settle(&life.a) == -1)
			errx(1, "bench: no answer");
		before = life.calls->count;
		written = life.calls->written;
		if (house_talk(&life.a, chat, chat->accepted + 1, 1) == -1 ||
		    house_settle(&life.a) == -1)
			errx(1, "bench: a message does not arrive");
		calls[i] = life.calls->count - before;
		bytes[i] = life.calls->written - written;
	}
	qsort(calls, SAMPLES, sizeof(calls[0]), compare);
	qsort(bytes, SAMPLES, sizeof(bytes[0]), compare);
	out.calls = calls[SAMPLES / 2];
	out.bytes = bytes[SAMPLES / 2];
	return (out);
}

/* --- many starts at once -------------------------------------------------- */

/* Starts that keyd finds in its door, and what they may cost it altogether:
 * a tick, a checkpoint or a new log may come between. */
#define AT_ONCE     48
#define COMMITS_MAX 4
#define SYNCS_MAX   8

static void
signal_to(const struct house *house, int number)
{
	if (kill(house->pid, number) == -1)
		err(1, "bench: kill");
}

/* What was said to the house's keyd is in its doors, which have the room. */
static void
said_to(const struct house *house)
{
	int64_t deadline = clock_monotonic() + HOUSE_PATIENCE;

	ipc_flush(house->router);
	ipc_flush(house->mesh);
	while (ipc_queued(house->router) > 0 || ipc_queued(house->mesh) > 0) {
		if (clock_monotonic() > deadline)
			errx(1, "bench: doors are full");
		(void)event_base_loop(house->base, EVLOOP_NONBLOCK);
	}
}

static void
await(struct house *house, const uint64_t *flag, uint64_t value)
{
	if (house_wait(house, flag, value) == -1)
		errx(1, "bench: chats do not become ready, see %s", life.log);
}

/* AT_ONCE starts, which the keyd finds all together. */
static void
start_at_once(struct house *house, const char *name, uint32_t flags)
{
	char chat_id[64];
	int i;

	signal_to(house, SIGSTOP);
	for (i = 0; i < AT_ONCE; i++) {
		(void)snprintf(chat_id, sizeof(chat_id), "%s-%d", name, i);
		(void)house_chat_start(house, chat_id, 0, flags);
	}
	said_to(house);
	signal_to(house, SIGCONT);
}

/* We ask, and hear all answers together. */
static void
ask_at_once(void)
{
	uint64_t ours = life.a.setups + AT_ONCE;
	uint64_t theirs = life.b.setups + AT_ONCE;
	uint64_t readies = life.a.readies + AT_ONCE;

	signal_to(&life.b, SIGSTOP);
	start_at_once(&life.a, "asking", 0);
	await(&life.a, &life.a.setups, ours);
	signal_to(&life.a, SIGSTOP);
	signal_to(&life.b, SIGCONT);
	await(&life.b, &life.b.setups, theirs);
	said_to(&life.a);
	signal_to(&life.a, SIGCONT);
	await(&life.a, &life.a.readies, readies);
}

/* We are asked, and accept all together. */
static void
accept_at_once(void)
{
	uint64_t offers = life.a.offers + AT_ONCE;
	uint64_t readies = life.a.readies + AT_ONCE;

	life.a.hold = 1;
	start_at_once(&life.b, "asked", 0);
	await(&life.a, &life.a.offers, offers);
	start_at_once(&life.a, "asked", CHAT_AUTO);
	await(&life.a, &life.a.readies, readies);
	life.a.hold = 0;
}

static uint64_t
commits(void)
{
	if (house_settle(&life.a) == -1 || house_metrics(&life.a) == -1)
		errx(1, "bench: no answer");
	return (life.a.metrics[METRIC_STORE_TRANSACTIONS].value);
}

static int
check_at_once(const char *role, void (*run)(void))
{
	uint64_t committed = commits(), synced = life.calls->syncs;
	int bad;

	run();
	committed = commits() - committed;
	synced = life.calls->syncs - synced;
	printf("%d chats %s at once: %llu commits, %llu syncs\n", AT_ONCE, role,
	    (unsigned long long)committed, (unsigned long long)synced);
	bad = committed == 0 || committed > COMMITS_MAX || synced == 0 ||
	      synced > SYNCS_MAX;
	if (bad)
		printf("not ok: chats are not committed together\n");
	return (bad);
}

/* --- what must be so ------------------------------------------------------ */

static int
check(void)
{
	struct sample few, many;
	int bad;

	chats_make(10);
	few = sample();
	chats_make(10000);
	many = sample();
	printf(
	    "L28: a message with 10 chats: %llu calls, %llu bytes; with 10000: "
	    "%llu calls, %llu bytes\n",
	    (unsigned long long)few.calls, (unsigned long long)few.bytes,
	    (unsigned long long)many.calls, (unsigned long long)many.bytes);
	bad = few.calls == 0 || few.bytes == 0 || many.calls != few.calls ||
	      many.bytes != few.bytes;
	if (bad)
		printf("not ok: the cost of a message grows\n");
	bad += check_at_once("asked for", ask_at_once);
	bad += check_at_once("accepted", accept_at_once);
	printf("%d passed, %d failed\n", 3 - bad, bad);
	return (bad != 0);
}

/* --- figures ------------------------------------------------------------- */

/* ns of CPU time a process has had. */
static double
cpu_time(pid_t pid)
{
	struct timespec ts;
	clockid_t id;

	if (clock_getcpuclockid(pid, &id) != 0 || clock_gettime(id, &ts) == -1)
		err(1, "bench: clock");
	return ((double)ts.tv_sec * 1e9 + (double)ts.tv_nsec);
}

/* A line of /proc/PID/status, in bytes. */
static double
status(pid_t pid, const char *name)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	if ((file = fopen(path, "r")) == NULL)
		err(1, "%s", path);
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, name, strlen(name)) == 0)
			kib = strtoul(line + strlen(name), NULL, 10);
	(void)fclose(file);
	return ((double)kib * 1024);
}

/* ns of CPU time to step the ratchet twice, seal and open one message. */
static double
bare(void)
{
	uint8_t chain[2][32], key[32], next[32], nonce[12] = { 0 };
	uint8_t plain[MESSAGE] = { 0 }, sealed[MESSAGE + 16], aad[53] = { 0 };
	int aes = crypto_aead_aes256gcm_is_available(), i, side;
	double began;

	randombytes_buf(chain[0], 32);
	memcpy(chain[1], chain[0], 32);
	began = cpu_time(getpid());
	for (i = 0; i < BARE; i++) {
		for (side = 0; side < 2; side++) {
			(void)crypto_kdf_derive_from_key(
			    key, 32, 1, "hermes-t", chain[side]);
			(void)crypto_kdf_derive_from_key(
			    next, 32, 2, "hermes-t", chain[side]);
			memcpy(chain[side], next, 32);
			if (side == 0)
				(void)(aes ? crypto_aead_aes256gcm_encrypt
					   : crypto_aead_chacha20poly1305_ietf_encrypt)(
				    sealed, NULL, plain, sizeof(plain), aad,
				    sizeof(aad), NULL, nonce, key);
			else if (
			    (aes ? crypto_aead_aes256gcm_decrypt
				 : crypto_aead_chacha20poly1305_ietf_decrypt)(
				plain, NULL, NULL, sealed, sizeof(sealed), aad,
				sizeof(aad), nonce, key) != 0)
				errx(1, "bench: bare");
		}
		nonce[0]++;
	}
	return ((cpu_time(getpid()) - began) / BARE);
}

struct figures {
	double rate;             /* messages a second */
	double seal_ns, open_ns; /* CPU of the two keyds, a message */
};

/* burst: messages of one chat before the next one's turn. */
static struct figures
measure(unsigned burst)
{
	uint8_t payload[MESSAGE] = { 0 };
	uint64_t sent = 0, first = life.b.opened;
	double cpu_a = cpu_time(life.a.pid), cpu_b = cpu_time(life.b.pid);
	int64_t began = clock_monotonic();
	struct figures out;

	while (life.b.opened - first < MESSAGES) {
		uint64_t goal = life.b.opened - first + FLIGHT / 2;

		while (
		    sent < MESSAGES && sent < life.b.opened - first + FLIGHT) {
			house_send(&life.a,
			    &life.a.chats[sent / burst % life.a.chat_count],
			    payload, sizeof(payload));
			sent++;
		}
		if (goal > MESSAGES)
			goal = MESSAGES;
		if (house_wait(&life.a, &life.b.opened, first + goal) == -1)
			errx(1, "bench: messages do not arrive");
	}
	out.rate = MESSAGES / ((double)(clock_monotonic() - began) / 1e9);
	out.seal_ns = (cpu_time(life.a.pid) - cpu_a) / MESSAGES;
	out.open_ns = (cpu_time(life.b.pid) - cpu_b) / MESSAGES;
	return (out);
}

/* All chats resume with new keys after the restart. */
static void
resume(size_t chats)
{
	int64_t began = clock_monotonic();
	size_t at = 0, i;

	while (at < chats) {
		uint64_t goal = life.a.readies;

		for (i = 0; i < BATCH && at < chats; i++, at++, goal++)
			(void)house_chat_start(
			    &life.a, life.a.chats[at].chat_id, 0, CHAT_RESUME);
		if (house_wait(&life.a, &life.a.readies, goal) == -1)
			errx(1, "bench: chats do not resume");
	}
	printf(
	    "\"resume_s\": %.3f}\n", (double)(clock_monotonic() - began) / 1e9);
}

/* Counters of both in the store, or not. */
static void
counters_toggle(void)
{
	if (kill(life.a.pid, SIGWINCH) == -1 ||
	    kill(life.b.pid, SIGWINCH) == -1)
		err(1, "bench: SIGWINCH");
}

static void
measure_print(const char *name, unsigned burst)
{
	struct figures figures = measure(burst);

	printf("\"%s\": {\"rate\": %.0f, \"seal_ns\": %.0f, "
	       "\"open_ns\": %.0f}, ",
	    name, figures.rate, figures.seal_ns, figures.open_ns);
}

static void
json(int argc, char **argv)
{
	double bare_ns = bare(), locked, resident, set_up = 0;
	size_t chats = 0, had;
	int64_t began;
	int i;

	locked = status(life.a.pid, "VmLck:");
	resident = status(life.a.pid, "VmRSS:");
	printf("{\"bare_ns\": %.0f, \"message\": %d, \"batch\": %d, "
	       "\"runs\": [",
	    bare_ns, MESSAGE, BURST);
	for (i = 5; i < argc; i++) {
		had = chats;
		chats = strtoul(argv[i], NULL, 10);
		began = clock_monotonic();
		chats_make(chats);
		if (chats > had)
			set_up = (double)(clock_monotonic() - began) / 1e9 /
				 (double)(chats - had);
		/* What setting up left to be written is not theirs. */
		(void)measure(1);
		printf("%s{\"chats\": %zu, ", i == 5 ? "" : ", ", chats);
		measure_print("spread", 1);
		measure_print("batches", BURST);
		counters_toggle();
		measure_print("spread_volatile", 1);
		measure_print("batches_volatile", BURST);
		counters_toggle();
		printf("\"set_up_us\": %.0f, \"locked\": %.0f, "
		       "\"resident\": %.0f}",
		    set_up * 1e6,
		    (status(life.a.pid, "VmLck:") - locked) / (double)chats,
		    (status(life.a.pid, "VmRSS:") - resident) / (double)chats);
	}
	printf("], ");
	if (house_stop(&life.a) != 0)
		errx(1, "bench: no orderly stop");
	began = clock_monotonic();
	if (house_start(&life.a) == -1 || life.a.records != chats)
		errx(1, "bench: the chats are not there");
	printf("\"load_s\": %.3f, ", (double)(clock_monotonic() - began) / 1e9);
	resume(chats);
}

int
main(int argc, char **argv)
{
	int result = 0;

	if (argc < 5 || sodium_init() == -1) {
		fprintf(stderr, "usage: bench HERMESD CALLS.so FOLDER "
				"check | json CHATS ...\n");
		return (2);
	}
	life_init(&life, argv[1], argv[2], argv[3]);
	life_begin(&life, 0, 0, 0);
	life.calls->unkept = 1;
	life.a.watch = NULL;
	if (strcmp(argv[4], "check") != 0)
		life.a.environment = NULL;
	if (house_start(&life.a) == -1)
		errx(1, "bench: keyd does not start, see %s", life.log);
	if (strcmp(argv[4], "check") == 0)
		result = check();
	else
		json(argc, argv);
	life_end(&life);
	life_free(&life);
	return (result);
}
