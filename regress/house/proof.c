/*
 * Tests only. A control process that lies: it wants a backup that it can
 * open, another identity in the store, a store that opens to a passphrase it
 * knows. Without the store's own passphrase it gets nothing, it cannot guess
 * faster than keyd lets it, and one proof is good for one request of who gave
 * it.
 *
 *	proof HERMESD CALLS.so FOLDER
 *
 * The last line is "N passed, N failed".
 */

#include <sys/ioctl.h>
#include <sys/stat.h>

#include <err.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>
#include <sodium.h>

#include "common/util/clock.h"
#include "regress/house/life.h"

#define RIGHT "a passphrase"
#define MINE  "known to the liar"

static struct life life;
static char path[600];
static unsigned passed, failed;

static void
verdict(int good, const char *what)
{
	if (good) {
		passed++;
		return;
	}
	printf("not ok %s: \"%s\"\n", what, life.a.result_text);
	failed++;
}

static int
says(const char *text)
{
	return (strstr(life.a.result_text, text) != NULL);
}

/* An empty file, as hermesctl makes one. */
static int
empty(void)
{
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd == -1)
		err(1, "%s", path);
	return (fd);
}

static off_t
size(void)
{
	struct stat st;

	return (stat(path, &st) == -1 ? -1 : st.st_size);
}

static int
backup(const char *store, const char *other)
{
	return (house_prove(&life.a, store, other, IPC_BACKUP, empty()));
}

static int
restore(const char *store, const char *other)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd == -1)
		err(1, "%s", path);
	return (house_prove(&life.a, store, other, IPC_RESTORE, fd));
}

static int
change(const char *store, const char *other)
{
	return (house_prove(&life.a, store, other, IPC_PASSPHRASE_CHANGE, -1));
}

/* Until guesses are tried again. */
static void
wait_out(void)
{
	struct timeval tv = { 0, 100000 };

	while (backup("a guess", MINE) == -1 && says("too many")) {
		(void)event_base_loopexit(life.b.base, &tv);
		(void)event_base_dispatch(life.b.base);
	}
}

/* Asked without proof, or with a wrong one. */
static void
nothing_without_proof(void)
{
	verdict(backup(NULL, MINE) == -1 && says("missing") && size() == 0,
	    "a backup without the store's passphrase");
	verdict(backup(RIGHT, NULL) == -1 && says("missing") && size() == 0,
	    "a backup without one of its own");
	verdict(change(NULL, MINE) == -1 && says("missing"),
	    "another passphrase without the store's");
	verdict(backup(MINE, MINE) == -1 && says("is wrong") && size() == 0,
	    "a backup with a wrong one");
	verdict(change(MINE, MINE) == -1 && says("is wrong"),
	    "another passphrase with a wrong one");
	/* The right one is right still, and guesses are forgiven. */
	verdict(backup(RIGHT, MINE) == 0 && size() > 0, "the right one");
	verdict(backup(NULL, MINE) == -1 && says("missing") && size() == 0,
	    "a proof is used up");
	verdict(backup(RIGHT, "") == -1 && says("empty") && size() == 0,
	    "an empty passphrase for a backup");
	verdict(backup(NULL, MINE) == -1 && says("missing") && size() == 0,
	    "a proof is used up by a request that fails");
}

/* What an operator gave to a control process that died since. */
static void
no_inheritance(void)
{
	verdict(house_give(&life.a, IPC_STORE_PASSPHRASE, RIGHT) == 0,
	    "a passphrase is taken");
	house_new_control(&life.a);
	verdict(backup(NULL, MINE) == -1 && says("missing") && size() == 0,
	    "the next control inherits a proof");
}

/* Its own backup put over the node's identity. */
static void
no_other_identity(void)
{
	struct ipc_identity before = life.a.identity;

	if (backup(RIGHT, MINE) == -1)
		verdict(0, "a backup to restore");
	verdict(restore(NULL, MINE) == -1 && says("missing"),
	    "a restore without the store's passphrase");
	verdict(restore(MINE, MINE) == -1 && says("is wrong"),
	    "a restore with a wrong one");
	verdict(
	    memcmp(before.node_key, life.a.identity.node_key, KEY_SIZE) == 0,
	    "the identity is the same");
}

/* It gives passphrases that it does not write: keyd waits for none that it does
 * not need, and not again and again for one that it does. */
static void
silence_is_not_waited_for(void)
{
	struct ipc_request request = { .id = life.a.result.id + 1000 };
	int fds[2], unread = 0, i;

	if (pipe2(fds, O_CLOEXEC) == -1 || write(fds[1], "x", 1) != 1)
		err(1, "pipe");
	ipc_send_fd(life.a.control, IPC_PASSPHRASE, &request,
	    fcntl(fds[0], F_DUPFD_CLOEXEC, 0));
	verdict(house_wait(&life.a, &life.a.result.id, request.id) == 0 &&
		    says("already unlocked"),
	    "an unlocked store");
	verdict(ioctl(fds[0], FIONREAD, &unread) == 0 && unread == 1,
	    "what is not needed is not read");
	(void)close(fds[0]);
	(void)close(fds[1]);
	for (i = 0; i < 8 && !says("too many"); i++)
		(void)backup("", MINE);
	verdict(says("too many"), "silence again and again");
	while (backup(RIGHT, MINE) == -1 && says("too many"))
		(void)house_settle(&life.a);
}

static void
guesses_wait(void)
{
	int64_t began = clock_monotonic();
	unsigned wrong = 0, refused = 0, i;

	for (i = 0; i < 40; i++) {
		if (backup("a guess", MINE) == 0 || size() != 0)
			verdict(0, "a guess");
		else if (says("is wrong"))
			wrong++;
		else if (says("too many"))
			refused++;
	}
	/* 3 at once, then after 1, 2, 4 ... seconds. */
	verdict(wrong + refused == 40 && refused > 0 &&
		    wrong <= 4 + (clock_monotonic() - began) / CLOCK_SECOND,
	    "guesses are tried as they come");
	printf("40 guesses: %u tried, %u refused untried\n", wrong, refused);
	verdict((backup(RIGHT, MINE) == -1 && says("too many")) || size() > 0,
	    "the right one too waits");
	wait_out();
	verdict(says("is wrong"), "it ends, and a wrong one is wrong");
}

/* A new passphrase: the old one proves nothing, keyd opens with the new. */
static void
changes(void)
{
	uint64_t number;

	/* One wrong one above, so one may have to wait. */
	while (change(RIGHT, MINE) == -1 && says("too many"))
		(void)house_settle(&life.a);
	verdict(life.a.result.ok != 0, "the passphrase changes");
	verdict(backup(RIGHT, MINE) == -1 && says("is wrong") && size() == 0,
	    "the old one proves nothing");
	verdict(backup(MINE, MINE) == 0 && size() > 0, "the new one does");
	number = life.a.identity.incarnation;
	verdict(house_stop(&life.a) == 0, "an orderly stop");
	life.a.passphrase = MINE;
	verdict(
	    house_start(&life.a) == 0 && life.a.identity.incarnation > number,
	    "keyd starts with the new one");
}

int
main(int argc, char **argv)
{
	if (argc != 4 || sodium_init() == -1) {
		fprintf(stderr, "usage: proof HERMESD CALLS.so FOLDER\n");
		return (2);
	}
	life_init(&life, argv[1], argv[2], argv[3]);
	life_begin(&life, 0, 0, 0);
	life.a.environment = NULL;
	(void)snprintf(path, sizeof(path), "%s/backup", argv[3]);
	if (house_start(&life.a) == -1 || house_mesh_create(&life.a) == -1)
		errx(1, "proof: keyd does not start, see %s", life.log);
	nothing_without_proof();
	no_inheritance();
	no_other_identity();
	silence_is_not_waited_for();
	guesses_wait();
	changes();
	life_end(&life);
	life_free(&life);
	printf("%u passed, %u failed\n", passed, failed);
	return (failed != 0);
}
