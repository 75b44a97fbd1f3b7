/*
 * Tests only. A router, or a mesh process, that has keyd make signatures as
 * fast as it can: who is at the other door gets his turn all the same, and so
 * he does while an operator has all chats rekeyed.
 *
 *	turns HERMESD CALLS.so FOLDER
 *
 * The last line is "N passed, N failed".
 */

#include <err.h>
#include <stdio.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "regress/house/life.h"

#define FLOOD 4000 /* more than is read at once, and seconds of keyd */
#define TURNS 10   /* of the other one meanwhile; of some dozens */
#define CHATS 900
#define BATCH 30 /* begun at once */

static struct life life;
static unsigned passed, failed;
static uint64_t asked; /* statements */

static void
verdict(int good, const char *what)
{
	passed += good != 0;
	failed += !good;
	if (!good)
		printf("not ok %s\n", what);
}

/* Mesh wants a presence signed, and waits for it. */
static void
mesh_turn(void)
{
	static struct ipc_statement statement = { .kind = STATEMENT_PRESENCE };

	statement.number = statement.id = ++asked;
	ipc_send(life.a.mesh, IPC_STATEMENT, &statement, NULL, 0);
	if (house_wait(&life.a, &life.a.statement.id, statement.id) == -1)
		errx(1, "turns: keyd does not answer, see %s", life.log);
}

static void
router_floods(void)
{
	struct ipc_sign_digest digest = { .length = 32 };
	uint64_t last = life.a.signed_digests + FLOOD;
	unsigned turns = 0;
	int i;

	for (i = 0; i < FLOOD; i++)
		ipc_send(life.a.router, IPC_SIGN_DIGEST, &digest, NULL, 0);
	for (; life.a.signed_digests < last; turns++)
		mesh_turn();
	printf("mesh had %u turns\n", turns);
	verdict(turns >= TURNS, "mesh waits for a router that floods");
}

static void
mesh_floods(void)
{
	struct ipc_statement statement = { .kind = STATEMENT_LEAVE };
	struct ipc_sign_digest digest = { .length = 32 };
	uint64_t number = life.a.identity.incarnation;
	unsigned turns = 0;
	int i;

	/* Each is written to disk. */
	for (i = 1; i <= FLOOD / 2; i++) {
		statement.id = ++asked;
		statement.number = number + (uint64_t)i;
		ipc_send(life.a.mesh, IPC_STATEMENT, &statement, NULL, 0);
	}
	for (; life.a.statement.id != asked; turns++) {
		ipc_send(life.a.router, IPC_SIGN_DIGEST, &digest, NULL, 0);
		if (house_wait(&life.a, &life.a.signed_digests,
			life.a.signed_digests + 1) == -1)
			errx(
			    1, "turns: keyd does not answer, see %s", life.log);
	}
	printf("router had %u turns\n", turns);
	verdict(turns >= TURNS, "router waits for a mesh that floods");
}

static void
operator_rekeys(void)
{
	struct ipc_rekey rekey = { .id = 1, .all = 1 };
	char chat_id[32];
	uint64_t goal = life.a.readies;
	unsigned turns = 0;
	int i;

	for (i = 0; i < CHATS; i++) {
		(void)snprintf(chat_id, sizeof(chat_id), "chat-%d", i);
		(void)house_chat_start(&life.a, chat_id, 0, 0);
		goal++;
		if (i % BATCH == BATCH - 1 &&
		    house_wait(&life.a, &life.a.readies, goal) == -1)
			errx(1, "turns: no chats, see %s", life.log);
	}
	if (house_settle(&life.a) == -1)
		errx(1, "turns: keyd does not answer, see %s", life.log);
	goal = life.a.setups + CHATS;
	ipc_send(life.a.control, IPC_REKEY, &rekey, NULL, 0);
	for (; life.a.setups < goal; turns++)
		mesh_turn();
	printf("mesh had %u turns\n", turns);
	verdict(turns >= TURNS, "mesh waits for an operator's rekey");
	verdict(house_settle(&life.a) == 0 && life.a.result.ok &&
		    life.a.result.count == CHATS,
	    "all are rekeyed");
}

int
main(int argc, char **argv)
{
	if (argc != 4 || sodium_init() == -1) {
		fprintf(stderr, "usage: turns HERMESD CALLS.so FOLDER\n");
		return (2);
	}
	life_init(&life, argv[1], argv[2], argv[3]);
	life_begin(&life, 0, 0, 0);
	life.a.environment = NULL;
	if (house_start(&life.a) == -1)
		errx(1, "turns: keyd does not start, see %s", life.log);
	router_floods();
	mesh_floods();
	operator_rekeys();
	life_end(&life);
	life_free(&life);
	printf("%u passed, %u failed\n", passed, failed);
	return (failed != 0);
}
