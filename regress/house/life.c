/* Tests only. See life.h. */

#include <sys/mman.h>
#include <sys/stat.h>

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "keyd/seal.h"
#include "regress/house/life.h"

#define SECTOR 512 /* of the keyring, keyd/seal.c */
#define FIRST  "a passphrase"
#define SECOND "another passphrase"

void
life_fail(struct life *life, const char *why)
{
	if (life->failure == NULL)
		life->failure = why;
}

void
life_folder(const char *path)
{
	struct dirent *entry;
	DIR *folder;

	if (mkdir(path, 0700) == -1 && errno != EEXIST)
		err(1, "%s", path);
	if ((folder = opendir(path)) == NULL)
		err(1, "%s", path);
	while ((entry = readdir(folder)) != NULL)
		if (entry->d_name[0] != '.')
			(void)unlinkat(dirfd(folder), entry->d_name, 0);
	(void)closedir(folder);
}

/* The journal must be keyd's to write. */
static struct calls *
calls_map(const char *path)
{
	const struct passwd *user = getpwnam("_hermes_keyd");
	struct calls *calls;
	int fd;

	if ((fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) ==
		-1 ||
	    ftruncate(fd, CALLS_SIZE) == -1)
		err(1, "%s", path);
	if (geteuid() == 0 &&
	    (user == NULL || fchown(fd, user->pw_uid, user->pw_gid) == -1))
		err(1, "%s: _hermes_keyd", path);
	calls =
	    mmap(NULL, CALLS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (calls == MAP_FAILED)
		err(1, "%s", path);
	(void)close(fd);
	return (calls);
}

void
life_init(struct life *life, const char *program, const char *library,
    const char *folder)
{
	memset(life, 0, sizeof(*life));
	life->messages = 510;
	life->burst = 170;
	if (mkdir(folder, 0755) == -1 && errno != EEXIST)
		err(1, "%s", folder);
	(void)snprintf(life->folder, sizeof(life->folder), "%s/a", folder);
	(void)snprintf(life->folder_b, sizeof(life->folder_b), "%s/b", folder);
	(void)snprintf(life->log, sizeof(life->log), "%s/keyd.log", folder);
	(void)snprintf(
	    life->calls_path, sizeof(life->calls_path), "%s/calls", folder);
	(void)unlink(life->log);
	life->calls = calls_map(life->calls_path);
	(void)snprintf(
	    life->preload, sizeof(life->preload), "LD_PRELOAD=%s", library);
	(void)snprintf(life->journal, sizeof(life->journal), "HERMES_CALLS=%s",
	    life->calls_path);
	life->environment[0] = life->preload;
	life->environment[1] = life->journal;
	life_folder(life->folder_b);
	house_init(&life->b, event_base_new(), program, "b", life->folder_b,
	    "b passphrase", "life-app-b");
	life->b.log = life->log;
	if (house_start(&life->b) == -1)
		errx(1, "the other keyd does not start, see %s", life->log);
}

void
life_free(struct life *life)
{
	house_free(&life->b);
	(void)munmap(life->calls, CALLS_SIZE);
	(void)unlink(life->calls_path);
}

void
life_begin(
    struct life *life, unsigned long number, unsigned long die_at, int torn)
{
	/* What an earlier life did there must not be seen as ours. */
	memset(life->calls, 0, sizeof(*life->calls));
	life->calls->die_at = die_at;
	life->calls->torn = torn != 0;
	life_folder(life->folder);
	memset(&life->told, 0, sizeof(life->told));
	life->failure = NULL;
	life->number = number;
	(void)snprintf(
	    life->main_id, sizeof(life->main_id), "main-%lu", number);
	(void)snprintf(
	    life->other_id, sizeof(life->other_id), "other-%lu", number);
	house_init(&life->a, life->b.base, life->b.program, "a", life->folder,
	    FIRST, "life-app-a");
	house_link(&life->a, &life->b);
	watch_init(&life->watch);
	life->a.watch = &life->watch;
	life->a.log = life->log;
	life->a.environment = life->environment;
	life->a.config.rekey.limit = life->b.config.rekey.limit = 1000;
}

void
life_end(struct life *life)
{
	house_free(&life->a);
	watch_free(&life->watch);
}

/* --- living -------------------------------------------------------------- */

static int
start(struct life *life)
{
	if (house_start(&life->a) == -1)
		return (-1);
	life->told.identity = life->a.identity;
	return (0);
}

static void
redeem_fill(
    struct life *life, struct ipc_redeem *redeem, uint64_t id, const char *name)
{
	memset(redeem, 0, sizeof(*redeem));
	redeem->id = id;
	memcpy(redeem->secret, life->a.ticket.ticket.secret,
	    sizeof(redeem->secret));
	(void)snprintf(redeem->node_id, sizeof(redeem->node_id), "%s", name);
	(void)crypto_generichash(redeem->node_key, KEY_SIZE,
	    (const uint8_t *)name, strlen(name), NULL, 0);
}

static int
redeem(struct life *life, uint64_t id, const char *name)
{
	struct house *a = &life->a;
	struct ipc_redeem redeem;

	redeem_fill(life, &redeem, id, name);
	a->redeemed.id = 0;
	ipc_send(a->mesh, IPC_REDEEM, &redeem, NULL, 0);
	return (house_wait(a, &a->redeemed.id, id));
}

static int
live_mesh(struct life *life)
{
	struct ipc_ticket_make make = {
		.id = 5, .uses = 1, .lifetime = 3600 * CLOCK_SECOND
	};
	struct house *a = &life->a;
	struct ipc_statement statement = {
		.id = 9, .kind = STATEMENT_PRESENCE, .number = 1000
	};

	if (house_mesh_create(a) == -1)
		return (-1);
	life->told.identity = a->identity;
	a->ticket.id = 0;
	if (house_ask(a, IPC_TICKET_MAKE, &make, &a->ticket.id, 5) == -1)
		return (-1);
	life->told.ticket = 1;
	if (redeem(life, 6, "node-x") == -1)
		return (-1);
	if (a->redeemed.result != REDEEM_OK)
		life_fail(life, "the ticket was refused");
	life->told.serial = a->redeemed.certificate.serial;
	a->statement.id = 0;
	ipc_send(a->mesh, IPC_STATEMENT, &statement, NULL, 0);
	if (house_wait(a, &a->statement.id, 9) == -1)
		return (-1);
	if (!a->statement.ok)
		life_fail(life, "no statement was signed");
	life->told.presence = statement.number;
	return (0);
}

/* Both ways up to number last. */
static int
talk(struct life *life, struct house_chat *chat, uint64_t last)
{
	struct house_chat *other = house_chat_other(&life->a, chat);
	uint64_t goal;

	while (chat->delivered < last || other->delivered < last) {
		goal = (chat->delivered < other->delivered ? chat->delivered
							   : other->delivered) +
		       life->burst;
		if (goal > last)
			goal = last;
		if (house_talk(&life->a, chat, goal, life->burst) == -1 ||
		    house_talk(&life->b, other, goal, life->burst) == -1 ||
		    life->a.parent == NULL)
			return (-1);
	}
	return (0);
}

static struct house_chat *
live_chat(struct life *life, const char *chat_id, uint32_t *version)
{
	struct house_chat *chat;

	chat = house_chat_ready(&life->a, chat_id, 0, 0);
	if (chat != NULL)
		*version = chat->version;
	return (chat);
}

/* "other" is there and then it is not; what it was is destroyed. */
static int
live_other(struct life *life)
{
	struct house_chat *other;

	other = live_chat(life, life->other_id, &life->told.other_version);
	if (other == NULL || talk(life, other, life->burst) == -1)
		return (-1);
	life->told.ending = 1;
	house_chat_end(&life->a, other, STATUS_DELETED);
	if (house_wait(&life->a, &other->ended, STATUS_DELETED) == -1)
		return (-1);
	life->told.deleted = 1;
	return (0);
}

int
life_live(struct life *life)
{
	struct house *a = &life->a;
	struct house_chat *chat;

	if (start(life) == -1 || live_mesh(life) == -1 ||
	    (chat = live_chat(life, life->main_id, &life->told.main_version)) ==
		NULL ||
	    talk(life, chat, life->messages / 3) == -1 ||
	    live_other(life) == -1)
		return (-1);
	(void)house_chat_start(a, life->main_id, 0, CHAT_REKEY);
	if (house_wait(a, &chat->version, 2) == -1)
		return (-1);
	life->told.main_version = 2;
	if (talk(life, chat, life->messages / 3 * 2) == -1 ||
	    house_erase(a) == -1)
		return (-1);
	life->told.erased = 1;
	life->told.changing = 1;
	if (house_prove(a, FIRST, SECOND, IPC_PASSPHRASE_CHANGE, -1) == -1)
		return (-1);
	life->told.changed = 1;
	a->passphrase = SECOND;
	/* An orderly stop keeps the same, and the next start resumes it. */
	if (house_stop(a) != 0 || start(life) == -1 ||
	    live_chat(life, life->main_id, &life->told.main_version) == NULL ||
	    talk(life, chat, life->messages) == -1)
		return (-1);
	return (house_stop(a) == 0 ? 0 : -1);
}

/* --- looking at it again ------------------------------------------------- */

static int
keyring_opens(int folder, const char *passphrase)
{
	struct seal *seal = seal_open(folder, passphrase, strlen(passphrase));

	seal_close(seal);
	return (seal != NULL);
}

/* The slots of the keyring: the first store key must be gone. */
static void
again_keyring(struct life *life)
{
	uint8_t bytes[3 * SECTOR];
	char path[600];
	int fd, i;

	(void)snprintf(path, sizeof(path), "%s/keyring", life->folder);
	/* Between its two names while the passphrase changes. */
	if (access(path, F_OK) == -1)
		(void)strlcat(path, ".old", sizeof(path));
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1 ||
	    read(fd, bytes, sizeof(bytes)) != (ssize_t)sizeof(bytes)) {
		life_fail(life, "the keyring is gone");
		return;
	}
	(void)close(fd);
	for (i = 1; i <= 2; i++)
		if (memcmp(bytes + i * SECTOR, "\0\0\0\0\0\0\0\1", 8) == 0)
			life_fail(life, "an erased store key is back");
}

/* Which passphrase is it? One, and it only. */
static void
again_passphrase(struct life *life)
{
	int folder = open(life->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int first, second;

	if (folder == -1)
		err(1, "%s", life->folder);
	/* Without one keyd takes the old one back. */
	if (life->told.changing && seal_exists(folder) == 1) {
		first = keyring_opens(folder, FIRST);
		second = keyring_opens(folder, SECOND);
		if (first == second || (life->told.changed && first))
			life_fail(life, "not one passphrase opens the keyring");
		life->a.passphrase = first ? FIRST : SECOND;
	} else if (life->told.changed)
		life_fail(life, "the keyring is gone");
	else
		life->a.passphrase = FIRST;
	if (life->told.changed &&
	    (faccessat(folder, "keyring.old", F_OK, 0) == 0 ||
		faccessat(folder, "keyring.new", F_OK, 0) == 0))
		life_fail(life, "the old passphrase's keyring is left");
	(void)close(folder);
}

/* And nothing is left that the other one opens. */
static void
again_one_keyring(struct life *life)
{
	static const char *const names[] = { "keyring.old", "keyring.new" };
	char path[600];
	size_t i;

	for (i = 0; i < 2; i++) {
		(void)snprintf(
		    path, sizeof(path), "%s/%s", life->folder, names[i]);
		if (access(path, F_OK) == 0)
			life_fail(life, "a second keyring is left");
	}
}

static void
again_identity(struct life *life)
{
	const struct ipc_identity *told = &life->told.identity;
	const struct ipc_identity *now = &life->a.identity;

	if (!told->unlocked)
		return;
	if (memcmp(told->node_key, now->node_key, KEY_SIZE) != 0 ||
	    memcmp(told->app_spki, now->app_spki, KEY_SIZE) != 0)
		life_fail(life, "the identity is lost");
	if (now->incarnation <= told->incarnation)
		life_fail(life, "the incarnation does not go up");
	if (told->in_mesh &&
	    (!now->in_mesh || !now->authority ||
		memcmp(told->mesh_id, now->mesh_id, KEY_SIZE) != 0))
		life_fail(life, "the mesh is lost");
}

static void
again_ticket(struct life *life)
{
	struct house *a = &life->a;

	if (!life->told.ticket)
		return;
	/* It may have been used by the one whose answer got lost. */
	if (redeem(life, 16, "node-x") == -1 ||
	    a->redeemed.result != REDEEM_OK ||
	    a->redeemed.certificate.serial <= life->told.serial)
		life_fail(life, "a ticket is lost");
	if (redeem(life, 17, "node-y") == -1 ||
	    a->redeemed.result != REDEEM_UNKNOWN)
		life_fail(life, "a ticket was good for twice its uses");
}

static void
again_records(struct life *life)
{
	struct house *a = &life->a;
	uint32_t main_version = 0, other_version = 0;
	size_t i;

	for (i = 0; i < a->chat_count; i++) {
		if (strcmp(a->chats[i].chat_id, life->main_id) == 0)
			main_version = a->chats[i].version;
		if (strcmp(a->chats[i].chat_id, life->other_id) == 0)
			other_version = a->chats[i].version;
	}
	if (main_version < life->told.main_version)
		life_fail(life, "a chat that was ready is lost or old");
	if (life->told.deleted && other_version != 0)
		life_fail(life, "a deleted chat is back");
	if (!life->told.ending && other_version < life->told.other_version)
		life_fail(life, "the other chat is lost");
}

/* A deleted chat's versions are used up. */
static void
again_tombstone(struct life *life)
{
	struct house_chat *other;
	uint32_t floor = life->told.other_version;

	if (!life->told.deleted)
		return;
	other = house_chat_start(&life->a, life->other_id, floor, 0);
	other->code = 0;
	if (house_wait(&life->a, &other->code, 1) == -1 ||
	    other->code != CODE_REPLAYED_KEY)
		life_fail(life, "an old version of a deleted chat is good");
	other = house_chat_ready(&life->a, life->other_id, 0, 0);
	if (other == NULL || other->version <= floor)
		life_fail(life, "no new chat of a deleted one's name");
	else if (talk(life, other, 10) == -1)
		life_fail(life, "the new chat does not work");
}

static void
again_chat(struct life *life)
{
	struct house_chat *chat, *other;
	uint32_t before = life->told.main_version;

	/* Whichever end hears first that the tieline is up again. */
	if (life->told.main_version != 0 && life->number % 2 == 0)
		(void)house_chat_start(&life->b, life->main_id, 0, CHAT_RESUME);
	chat = house_chat_ready(&life->a, life->main_id, 0, 0);
	if (life->told.main_version != 0 && life->number % 2 == 1)
		(void)house_chat_start(&life->b, life->main_id, 0, CHAT_RESUME);
	if (chat == NULL) {
		life_fail(life, "the chat does not resume");
		return;
	}
	if (chat->version <= before)
		life_fail(life, "no new epoch after the crash");
	other = house_chat_other(&life->a, chat);
	if (talk(life, chat, life->messages + 10) == -1)
		life_fail(life, "messages do not arrive after the crash");
	if (chat->out_of_order + other->out_of_order != 0)
		life_fail(life, "out of order");
	if (chat->twice + other->twice != 0)
		life_fail(life, "an app was given a message twice");
	if (chat->wrong + other->wrong != 0)
		life_fail(life, "another message than was said");
	if (chat->resets + other->resets != 0)
		life_fail(life, "a reset where nothing went back");
}

void
life_again(struct life *life)
{
	if (life->told.erased)
		again_keyring(life);
	again_passphrase(life);
	life->a.environment = NULL;
	if (house_start(&life->a) == -1) {
		life_fail(life, "keyd does not open its store again");
		return;
	}
	again_one_keyring(life);
	again_identity(life);
	again_ticket(life);
	again_records(life);
	if (life->failure != NULL)
		return;
	again_chat(life);
	again_tombstone(life);
	if (life->watch.counters_twice != 0)
		life_fail(life, "a counter of an epoch was used twice");
	if (life->watch.streams_twice != 0)
		life_fail(life, "a key was used twice for one counter");
}
