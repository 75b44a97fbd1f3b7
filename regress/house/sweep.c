/*
 * Tests only. The crash sweep: keyd is killed at each call that changes its
 * files, one after another, through first start, unlock, a chat's start, a
 * thousand messages, a rekey, a deletion, a rotation of the store key. Each
 * time it must open again, know what it had said was so, forget what it had
 * said was erased, use no counter of an epoch twice, and carry on with the
 * chat: no message lost, none delivered twice. (Lesson 38.)
 *
 *	sweep HERMESD CRASH_AT.so FOLDER [FIRST [STEP [LAST]]]
 *
 * The last line is "N passed, N failed", a crash point each.
 */

#include <sys/types.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/ipc/codes.h"
#include "common/util/table.h"
#include "regress/house/house.h"

#define MESSAGES	1000
#define BURST		50

/* What keyd had told us before it died. */
struct told {
	uint8_t		node_key[KEY_SIZE];
	int		unlocked;
	int		chat;		/* "main" is ready */
	int		other;		/* "other" is ready */
	int		deleted;	/* "other" has ended */
};

static struct {
	struct house	a, b;
	struct told	told;
	struct table	used;		/* (version, counter) sealed by a */
	const char	*failure;
	char		main_id[64], other_id[64];
} sweep;

struct used {
	struct chat_key	key;
	uint64_t	version;
	uint64_t	counter;
};

static void
fail(const char *why)
{
	if (sweep.failure == NULL)
		sweep.failure = why;
}

static void
watch(struct house *house, const struct ipc_sealed *sealed)
{
	struct used	*used = calloc(1, sizeof(*used));

	(void)house;
	if (used == NULL)
		err(1, "sweep");
	used->key = sealed->key;
	used->version = sealed->version;
	used->counter = sealed->counter;
	if (table_get(&sweep.used, used) != NULL)
		fail("a counter of an epoch was used twice");
	if (table_put(&sweep.used, used, used) == -1)
		err(1, "sweep");
}

static void
forget_used(void)
{
	size_t	cursor = 0;
	void	*used;

	while ((used = table_next(&sweep.used, &cursor)) != NULL)
		free(used);
	table_free(&sweep.used);
	table_init(&sweep.used, sizeof(struct used));
}

/* Send what is left of the messages, in bursts, until all are delivered. */
static int
send_all(struct house_chat *from, struct house_chat *to, uint64_t last)
{
	uint64_t	goal;

	while (to->delivered < last) {
		goal = to->delivered + BURST < last ? to->delivered + BURST :
		    last;
		while (from->accepted < goal)
			house_send(&sweep.a, from, "a message", 9);
		if (house_wait(&sweep.a, &to->delivered, goal) == -1)
			return (-1);
	}
	return (0);
}

static struct house_chat *
start(const char *chat_id, struct house_chat **other)
{
	struct house_chat	*chat;
	uint32_t		 ready;

	chat = house_chat_start(&sweep.a, chat_id, 0, 0);
	ready = chat->ready;
	if (house_wait32(&sweep.a, &chat->ready, ready + 1) == -1)
		return (NULL);
	/* b's side, same handle. */
	if (other != NULL) {
		struct chat_key	key = chat->key;

		key.side ^= 1;
		*other = house_chat_find(&sweep.b, &key);
		if (*other == NULL ||
		    house_wait32(&sweep.a, &(*other)->ready, 1) == -1)
			return (NULL);
	}
	return (chat);
}

/* The whole life, until its end (0) or until keyd dies in it (-1). */
static int
life(void)
{
	struct ipc_request	 request = { .id = 7 };
	struct ipc_chat_end	 end;
	struct house_chat	*chat, *peer, *other;

	if (house_start(&sweep.a) == -1)
		return (-1);
	memcpy(sweep.told.node_key, sweep.a.identity.node_key, KEY_SIZE);
	sweep.told.unlocked = 1;
	if ((chat = start(sweep.main_id, &peer)) == NULL)
		return (-1);
	sweep.told.chat = 1;
	if (send_all(chat, peer, MESSAGES / 2) == -1)
		return (-1);
	if ((other = start(sweep.other_id, NULL)) == NULL)
		return (-1);
	sweep.told.other = 1;
	(void)house_chat_start(&sweep.a, sweep.main_id, 0, CHAT_REKEY);
	if (house_wait32(&sweep.a, &chat->version, 2) == -1 ||
	    send_all(chat, peer, MESSAGES) == -1)
		return (-1);
	memset(&end, 0, sizeof(end));
	end.key = other->key;
	end.status = STATUS_DELETED;
	ipc_send(sweep.a.router, IPC_CHAT_END, &end, NULL, 0);
	if (house_wait32(&sweep.a, &other->ended, STATUS_DELETED) == -1)
		return (-1);
	sweep.told.deleted = 1;
	sweep.a.result.id = 0;
	ipc_send(sweep.a.control, IPC_ERASE, &request, NULL, 0);
	if (house_wait(&sweep.a, &sweep.a.result.id, 7) == -1)
		return (-1);
	if (!sweep.a.result.ok)
		fail("erase was refused");
	if (house_stop(&sweep.a) != 0)
		return (-1);
	return (0);
}

/* After the crash: everything that had been said must be so. */
static void
again(void)
{
	struct house_chat	*chat = NULL, *peer = NULL;
	size_t			 i;
	uint32_t		 before = 0;
	int			 found_main = 0, found_other = 0;

	sweep.a.environment = NULL;
	for (i = 0; i < sweep.a.chat_count; i++) {
		if (strcmp(sweep.a.chats[i].chat_id, sweep.main_id) == 0)
			before = sweep.a.chats[i].version;
		sweep.a.chats[i].version = 0;
	}
	if (house_start(&sweep.a) == -1) {
		fail("keyd does not open its store again");
		return;
	}
	if (sweep.told.unlocked && memcmp(sweep.told.node_key,
	    sweep.a.identity.node_key, KEY_SIZE) != 0)
		fail("the identity is lost");
	for (i = 0; i < sweep.a.chat_count; i++) {
		if (sweep.a.chats[i].version == 0)
			continue;
		if (strcmp(sweep.a.chats[i].chat_id, sweep.main_id) == 0)
			found_main = 1;
		if (strcmp(sweep.a.chats[i].chat_id, sweep.other_id) == 0)
			found_other = 1;
	}
	if (sweep.told.chat && !found_main)
		fail("a chat that was ready is lost");
	if (sweep.told.deleted && found_other)
		fail("a deleted chat is back");
	if (sweep.failure != NULL || !sweep.told.chat)
		return;
	if ((chat = start(sweep.main_id, &peer)) == NULL) {
		fail("the chat does not resume");
		return;
	}
	if (chat->version <= before)
		fail("no new epoch after the crash");
	/* As the router does: what the peer has not got is sent again. */
	chat->accepted = peer->delivered;
	if (send_all(chat, peer, MESSAGES + 10) == -1)
		fail("messages do not arrive after the crash");
	if (peer->out_of_order != 0)
		fail("out of order");
}

static void
point(unsigned long at, const char *library, const char *folder, int *died)
{
	char	 preload[600], crash[64], torn[32], command[1200];
	char	*environment[4] = { preload, crash, torn, NULL };

	(void)snprintf(command, sizeof(command), "rm -rf '%s' && mkdir -m 700 -p '%s'",
	    folder, folder);
	if (system(command) != 0)
		errx(1, "sweep: %s", command);
	(void)snprintf(preload, sizeof(preload), "LD_PRELOAD=%s", library);
	(void)snprintf(crash, sizeof(crash), "HERMES_CRASH_AT=%lu", at);
	(void)snprintf(torn, sizeof(torn), "HERMES_CRASH_TORN=%lu", at % 2);
	memset(&sweep.told, 0, sizeof(sweep.told));
	sweep.failure = NULL;
	(void)snprintf(sweep.main_id, sizeof(sweep.main_id), "main-%lu", at);
	(void)snprintf(sweep.other_id, sizeof(sweep.other_id), "other-%lu",
	    at);
	house_init(&sweep.a, sweep.b.base, sweep.b.program, "a", folder,
	    "a passphrase", "sweep-app-a");
	house_link(&sweep.a, &sweep.b);
	sweep.a.watch_sealed = watch;
	sweep.a.environment = environment;
	if (life() == 0)
		*died = 0;
	else {
		house_kill(&sweep.a);
		*died = WIFSIGNALED(sweep.a.status) &&
		    WTERMSIG(sweep.a.status) == SIGKILL;
		if (!*died)
			fail("keyd ended by itself");
		again();
		house_kill(&sweep.a);
	}
	house_free(&sweep.a);
	forget_used();
}

int
main(int argc, char **argv)
{
	char		 folder_a[512], folder_b[512];
	unsigned long	 at, first, step, last, passed = 0, failed = 0;
	int		 died = 1;

	if (argc < 4 || sodium_init() == -1) {
		fprintf(stderr, "usage: sweep HERMESD CRASH_AT.so FOLDER "
		    "[FIRST [STEP [LAST]]]\n");
		return (2);
	}
	first = argc > 4 ? strtoul(argv[4], NULL, 10) : 1;
	step = argc > 5 ? strtoul(argv[5], NULL, 10) : 1;
	last = argc > 6 ? strtoul(argv[6], NULL, 10) : 100000;
	(void)snprintf(folder_a, sizeof(folder_a), "%s/a", argv[3]);
	(void)snprintf(folder_b, sizeof(folder_b), "%s/b", argv[3]);
	table_init(&sweep.used, sizeof(struct used));
	(void)mkdir(argv[3], 0755);
	(void)mkdir(folder_b, 0700);
	house_init(&sweep.b, event_base_new(), argv[1], "b", folder_b,
	    "b passphrase", "sweep-app-b");
	if (house_start(&sweep.b) == -1)
		errx(1, "sweep: the other keyd does not start");
	for (at = first; died && at <= last; at += step) {
		point(at, argv[2], folder_a, &died);
		if (sweep.failure == NULL)
			passed++;
		else {
			printf("not ok death at call %lu: %s\n", at,
			    sweep.failure);
			failed++;
		}
	}
	printf("calls swept: %lu to %lu by %lu%s\n", first, at - step, step,
	    died ? "" : ", to the end of the scenario");
	house_free(&sweep.b);
	printf("%lu passed, %lu failed\n", passed, failed);
	return (failed != 0);
}
