/*
 * keyd: the only process that holds keys. Its own user, its own folder, no
 * network; router, mesh and control reach it through their doors alone. It
 * trusts none of them: the table says who may send what, and what a message
 * claims is checked against signatures or its own records.
 *
 * All doors are corked. A batch of messages is worked through, what changed
 * is written in one transaction, and only then do the answers leave. One of
 * many chats' set-ups is written, and answered, in parts.
 */

#include <errno.h>
#include <string.h>

#include <event2/event.h>
#include <openssl/crypto.h>
#include <sodium.h>

#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/authority.h"
#include "keyd/chats.h"
#include "keyd/keyd.h"
#include "keyd/keyscan.h"
#include "keyd/secret.h"
#include "keyd/show.h"
#include "keyd/store.h"

#define ERASE_STEP 256 /* records re-sealed before others get a turn */
#define REKEY_STEP 64  /* chats rekeyed, likewise */
#define ERASE_FAILED                                                           \
	"the store failed, as the log says; what was erased may still open"
#define FAILING_MAX      (60 * CLOCK_SECOND)
#define TURN_MAX         (10 * CLOCK_MS) /* of one door */
#define CHECKPOINT_TICKS 10
#define EXPIRE_TICKS     600

struct keyd keyd;

static const enum process neighbours[] = { PROCESS_ROUTER, PROCESS_MESH,
	PROCESS_CONTROL };
#define NEIGHBOURS (sizeof(neighbours) / sizeof(neighbours[0]))

/* --- the batch ---------------------------------------------------------- */

static int
congested(enum process peer)
{
	const struct ipc *ipc = proc_ipc(peer);

	return (ipc != NULL && ipc_congested(ipc));
}

/*
 * Read from nobody while commits fail; from nobody who does not take his
 * answers; from the router (mesh) not while the mesh (router) does not take
 * what its messages become, nor from control, which asks for much; from nobody
 * whose turn is over.
 */
void
keyd_pause(void)
{
	int failing = keyd.failing_since != 0;
	int chats = congested(PROCESS_ROUTER) || congested(PROCESS_MESH);
	size_t i;

	for (i = 0; i < NEIGHBOURS; i++)
		if (proc_ipc(neighbours[i]) != NULL)
			ipc_pause(proc_ipc(neighbours[i]),
			    failing || chats || congested(neighbours[i]) ||
				(keyd.waiting & (unsigned)neighbours[i]) != 0);
}

/* Control must know why keyd says nothing. Answers that wait for the commit
 * stay where they are. */
static void
keyd_report(int failing)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);

	if (metrics[METRIC_STORE_FAILED].value == (uint64_t)failing ||
	    control == NULL || ipc_queued(control) > 0)
		return;
	metric_set(METRIC_STORE_FAILED, (uint64_t)failing);
	ratchet_show_metrics(control, 0);
	ipc_flush(control);
}

static void
store_gave_up(enum store_error why)
{
	fatal("store", "path=%s reason=\"%s\"", keyd.folder,
	    store_error_text(why));
}

/* Nothing leaves and nothing more comes in until it works. */
static void
commit_failed(int64_t now)
{
	enum store_error broken = store_broken(keyd.store);
	enum store_error why = store_error_of(errno);

	if (keyd.failing_since == 0) {
		keyd.failing_since = now;
		log_error("store_not_written", "path=%s reason=\"%s\"",
		    keyd.folder, store_error_text(why));
	}
	if (broken != STORE_OK)
		store_gave_up(broken);
	/* On a full disk all waits for room, however long. */
	if (why != STORE_NO_ROOM && now - keyd.failing_since > FAILING_MAX)
		store_gave_up(why);
	keyd_report(1);
	keyd_pause();
}

void
keyd_commit(void)
{
	int64_t now = clock_monotonic();
	size_t i;

	keyd.set_ups = 0;
	keyd.timed = 0;
	if (keyd.chats != NULL && chats_commit(keyd.chats) == -1) {
		commit_failed(now);
		return;
	}
	if (keyd.failing_since != 0)
		log_info("store_works_again", "after_ms=%lld",
		    (long long)((now - keyd.failing_since) / CLOCK_MS));
	keyd.failing_since = 0;
	for (i = 0; i < NEIGHBOURS; i++)
		if (proc_ipc(neighbours[i]) != NULL)
			ipc_flush(proc_ipc(neighbours[i]));
	keyd_report(0);
	keyd_pause();
}

void
keyd_costly(enum process peer)
{
	static const struct timeval next_turn = { 0, 0 };
	int64_t now = clock_monotonic();

	if (keyd.turn_at == 0)
		keyd.turn_at = now;
	if (now - keyd.turn_at < TURN_MAX || keyd.turn == NULL)
		return;
	if (event_add(keyd.turn, &next_turn) == -1)
		fatal("memory", "what=timer");
	keyd.waiting |= (unsigned)peer;
	keyd_pause();
}

static void
on_turn(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	keyd.waiting = 0;
	keyd_pause();
}

static void
on_batch(enum process peer)
{
	(void)peer;
	keyd.turn_at = 0;
	keyd_commit();
	secret_wipe_stack();
}

static void
on_uncongested(enum process peer)
{
	(void)peer;
	keyd_pause();
}

void
keyd_event(enum event_kind kind)
{
	struct ipc_event event = { .kind = kind };

	memcpy(event.node_id, keyd.identity.node_id, sizeof(event.node_id));
	memcpy(event.key, keyd.identity.node_key, KEY_SIZE);
	proc_event(&event);
}

/* --- new keys for all ---------------------------------------------------- */

void
keyd_rekey(void)
{
	static const struct timeval soon = { 0, 1000 };

	if (event_add(keyd.rekey, &soon) == -1)
		fatal("memory", "what=timer");
}

static void
on_rekey(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	if (keyd.chats == NULL)
		return;
	if (keyd.failing_since != 0 || congested(PROCESS_ROUTER) ||
	    congested(PROCESS_MESH)) {
		keyd_rekey();
		return;
	}
	chats_set_now(keyd.chats, clock_wall());
	if (chats_rekey_step(keyd.chats, REKEY_STEP))
		keyd_rekey();
	keyd_commit();
	secret_wipe_stack();
}

/* --- erasing ------------------------------------------------------------ */

void
keyd_erased(void)
{
	if (keyd.erase_at == 0)
		keyd.erase_at =
		    clock_monotonic() + proc_config()->keystore.erase_interval;
}

static void
erase_later(void)
{
	struct timeval soon = { .tv_usec = 1000 };

	(void)event_add(keyd.erase, &soon);
}

static int
rotate_begin(void)
{
	if (store_rotate_begin(keyd.store) == -1)
		return (-1);
	keyd.erase_at = 0;
	keyd.rotations++;
	return (0);
}

/* To those whom the rotation that is over was for. */
static void
erase_answer(int ok)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	size_t i;

	for (i = 0; i < ERASE_ASKED; i++) {
		if (keyd.asked[i].rotation == 0 ||
		    keyd.asked[i].rotation > keyd.rotations)
			continue;
		keyd.asked[i].rotation = 0;
		if (control != NULL)
			keyd_answer(control, keyd.asked[i].id, ok, 0,
			    ok ? "what was erased cannot be opened any more"
			       : ERASE_FAILED);
	}
	keyd_commit();
}

static void
on_erase(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	errno = 0;
	switch (store_rotate_step(keyd.store, ERASE_STEP)) {
	case 1:
		erase_later();
		break;
	case 0:
		log_info(
		    "store_key_rotated", "chats=%zu", chats_count(keyd.chats));
		keyd_event(EVENT_ERASURE);
		erase_answer(1);
		break;
	default:
		log_warn("store_rotation_failed", "what=step error=\"%s\"",
		    store_failed_text());
		if (store_broken(keyd.store) != STORE_OK)
			store_gave_up(store_broken(keyd.store));
		/* The next tick tries again. */
		erase_answer(0);
	}
	secret_wipe_stack();
}

/* Begin a rotation that is due, go on with one that failed. */
static void
erase_tick(int64_t now)
{
	if (chats_take_erased(keyd.chats))
		keyd_erased();
	if (store_rotating(keyd.store)) {
		if (!event_pending(keyd.erase, EV_TIMEOUT, NULL))
			erase_later();
		return;
	}
	if (keyd.erase_at == 0 || now < keyd.erase_at)
		return;
	if (rotate_begin() == 0)
		erase_later();
}

void
keyd_erase_asked(uint64_t id)
{
	struct ipc *control = proc_ipc(PROCESS_CONTROL);
	size_t i = 0;

	while (i < ERASE_ASKED && keyd.asked[i].rotation != 0)
		i++;
	if (i == ERASE_ASKED) {
		keyd_answer(control, id, 0, 0, "too many ask for it at once");
		return;
	}
	/* What is not out of the store yet would be sealed anew. */
	if (chats_commit(keyd.chats) == -1) {
		keyd_answer(control, id, 0, 0, ERASE_FAILED);
		return;
	}
	keyd.asked[i].id = id;
	/* One under way may have passed by what was erased since. */
	keyd.asked[i].rotation = keyd.rotations + 1;
	(void)chats_take_erased(keyd.chats);
	keyd.erase_at = clock_monotonic();
	erase_tick(keyd.erase_at);
}

static int
rotate_to_end(void)
{
	int more;

	while ((more = store_rotate_step(keyd.store, ERASE_STEP)) == 1)
		;
	return (more);
}

int
keyd_erase_now(void)
{
	if (chats_commit(keyd.chats) == -1)
		return (-1);
	/* One under way may have passed by what was erased since. */
	if (store_rotating(keyd.store) && rotate_to_end() == -1)
		return (-1);
	if (rotate_begin() == -1 || rotate_to_end() == -1)
		return (-1);
	(void)chats_take_erased(keyd.chats);
	keyd_event(EVENT_ERASURE);
	return (0);
}

/*
 * The last rotation, until then (monotonic): of a large store it may take
 * longer than there is. What is left is done after the next start. 0 when
 * there is nothing left.
 */
static int
erase_last(int64_t until)
{
	while (keyd.erase_at != 0 || store_rotating(keyd.store)) {
		if (clock_monotonic() >= until)
			return (-1);
		if (!store_rotating(keyd.store) && rotate_begin() == -1)
			return (-1);
		if (store_rotate_step(keyd.store, ERASE_STEP) == -1)
			return (-1);
	}
	return (0);
}

/* --- time --------------------------------------------------------------- */

static void
tick_membership(void)
{
	if (keyd.certificates_due && unlock_certificates() == 0)
		unlock_tell_all();
	if (identity_renew(&keyd.identity, keyd.store, clock_wall(),
		proc_config()->membership_lifetime) == 1 &&
	    unlock_certificates() == 0) {
		unlock_tell_all();
		keyd_event(EVENT_RENEWED);
	}
}

static void
keyd_tick(void)
{
	if (keyd.chats == NULL)
		return;
	if (keyd.failing_since == 0) {
		chats_set_now(keyd.chats, clock_wall());
		chats_tick(keyd.chats);
	}
	keyd_commit();
	if (keyd.failing_since != 0)
		return;
	erase_tick(clock_monotonic());
	keyd.ticks++;
	if (keyd.ticks % CHECKPOINT_TICKS == 0)
		store_checkpoint(keyd.store);
	if (keyd.ticks % EXPIRE_TICKS == 0)
		authority_expire(keyd.store, clock_wall());
	tick_membership();
	keyd_commit();
}

static void
on_tick(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	keyd_tick();
	secret_wipe_stack();
}

/* --- the frame's hooks -------------------------------------------------- */

/* OpenSSL would look for its configuration at the first certificate. */
static void
on_prepare(void)
{
	if (OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) != 1)
		fatal("openssl", "reason=\"does not start\"");
	/* It has another name when the folder is this process's root. */
	(void)strlcpy(
	    keyd.folder, proc_config()->keystore.path, sizeof(keyd.folder));
}

static void
on_configured(const struct config *config, int reload)
{
	enum store_error error;

	if (reload) {
		/* The operator took its certificate back. */
		if (!config->own_certificate && keyd.own_key != NULL) {
			secret_free(keyd.own_key, P256_SIZE);
			keyd.own_key = NULL;
		}
		/* Names of the listeners may have changed. */
		if (keyd.chats != NULL && unlock_certificates() == -1)
			log_warn("certificates_late", "hint=%s",
			    "\"those of before go on until then\"");
		else if (keyd.chats != NULL) {
			unlock_tell_all();
			keyd_commit();
		}
		return;
	}
	keyd.store = store_open(config->keystore.path, &error);
	if (keyd.store == NULL)
		store_gave_up(error);
	keyscan_open(config->keystore.path);
}

static void
on_tls_file(int fd)
{
	unlock_own_key(fd);
	keyd_commit();
}

static void
on_door_up(enum process peer, struct ipc *ipc)
{
	ipc_cork(ipc, 1);
	if (peer == PROCESS_MESH) {
		/* What the last mesh process signed must be outdone. */
		if (keyd.had_mesh && keyd.chats != NULL &&
		    identity_advance(&keyd.identity, keyd.store) == -1)
			log_warn("incarnation_not_stored", "peer=mesh");
		keyd.had_mesh = 1;
	}
	unlock_tell(peer);
	unlock_tell_more(peer);
	if (peer == PROCESS_MESH && keyd.chats != NULL) {
		chats_set_now(keyd.chats, clock_wall());
		chats_report_ended(keyd.chats);
	}
	keyd_commit();
}

static enum ipc_condition
on_condition(void)
{
	if (keyd.chats == NULL)
		return (CONDITION_LOCKED);
	return (keyd.failing_since != 0 || store_full(keyd.store)
		    ? CONDITION_STORE
		    : CONDITION_SERVES);
}

static void
on_door_down(enum process peer)
{
	if (peer == PROCESS_CONTROL)
		proved_forget();
	keyd_pause();
}

static void
on_go(void)
{
	struct timeval second = { .tv_sec = 1 };

	keyd.tick = event_new(proc_base(), -1, EV_PERSIST, on_tick, NULL);
	keyd.erase = evtimer_new(proc_base(), on_erase, NULL);
	keyd.turn = evtimer_new(proc_base(), on_turn, NULL);
	keyd.rekey = evtimer_new(proc_base(), on_rekey, NULL);
	if (keyd.tick == NULL || keyd.erase == NULL || keyd.turn == NULL ||
	    keyd.rekey == NULL || event_add(keyd.tick, &second) == -1)
		fatal("memory", "what=timer");
	if (keyd.chats == NULL)
		log_warn("store_locked", "hint=\"hermesctl unlock\"");
	keyd_commit();
}

static void
on_shutdown(int64_t grace)
{
	/* Closing the store needs some of it. */
	int64_t until = clock_monotonic() + grace / 3 * 2;

	if (keyd.chats != NULL)
		chats_settle(keyd.chats);
	keyd_commit();
	if (keyd.chats != NULL) {
		if (chats_take_erased(keyd.chats))
			keyd_erased();
		if (erase_last(until) == -1)
			log_error("erasure_incomplete", "hint=%s",
			    "\"finished after the next start\"");
	}
	chats_free(keyd.chats);
	keyd.chats = NULL;
	identity_wipe(&keyd.identity);
	store_close(keyd.store);
	keyd.store = NULL;
	secret_wipe_all();
	proc_done();
}

int
keyd_main(void)
{
	static const struct proc_hooks hooks = {
		.handlers = keyd_handlers,
		.prepare = on_prepare,
		.batch = on_batch,
		.uncongested = on_uncongested,
		.configured = on_configured,
		.tls_file = on_tls_file,
		.door_up = on_door_up,
		.door_down = on_door_down,
		.go = on_go,
		.condition = on_condition,
		.shutdown = on_shutdown,
		.wipe = secret_wipe_all,
	};

	if (sodium_init() == -1)
		fatal("sodium", "reason=\"does not start\"");
	secret_lock_stack();
	if (tls_lock_memory() == -1)
		fatal("memory", "what=\"locked heap\"");
	return (proc_run(PROCESS_KEYD, &hooks));
}
