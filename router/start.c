/*
 * router: the way of a StartChat from the app to keyd, and the asking again.
 * What an app sends is checked here down to its signature; keyd checks the
 * two attestations, the version and the throttles again.
 */

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/proc/proc.h"
#include "common/sign/statement.h"
#include "common/util/clock.h"
#include "common/util/hex.h"
#include "common/util/rate.h"
#include "router/chats.h"

#define TAIL_MAX     16384 /* of CHAT_START */
#define SIGNED_MAX   (TAIL_MAX + 512)
#define GIVE_UP      (10 * CLOCK_SECOND) /* for a first answer */
#define RESUME_FIRST (3 * CLOCK_SECOND)
#define RESUME_LAST  (30 * CLOCK_SECOND)

static struct side_list waiting = TAILQ_HEAD_INITIALIZER(waiting);

/* Have start_tick() look at the side: at a time, or (0) no more. */
void
start_schedule(struct side *side, int64_t at)
{
	side->resume_at = at;
	/* Whoever is in line stays there. */
	if (at == 0 && side->resuming)
		resume_over(side);
	if (at != 0 && !side->waiting) {
		side->waiting = 1;
		TAILQ_INSERT_TAIL(&waiting, side, waiting_entry);
	} else if (at == 0 && side->ask == NULL && side->waiting) {
		side->waiting = 0;
		TAILQ_REMOVE(&waiting, side, waiting_entry);
	}
}

/* Where the app stood in a chat that it had counts as long as it asks to go
 * on with that: what comes of the side then is another one. */
static void
start_unplace(struct side *side)
{
	if (side->ask == NULL || (side->ask->flags & CHAT_CONTINUE) == 0 ||
	    side_established(side))
		return;
	core_place(&side->core, 1, 1);
	side_account(side);
}

void
start_forget(struct side *side)
{
	start_unplace(side);
	free(side->ask);
	side->ask = NULL;
	core_rekeying(&side->core, 0);
	start_schedule(side, side->resume_at);
}

/* --- CHAT_START ---------------------------------------------------------- */

static void
start_send(
    struct side *side, uint32_t flags, uint32_t version, const struct ask *ask)
{
	struct ipc_chat_start start;
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);

	if (keyd == NULL)
		return;
	memset(&start, 0, sizeof(start));
	start.key = side->key;
	(void)strlcpy(start.chat_id, side->chat_id, sizeof(start.chat_id));
	start.local = side->app->session->attestation;
	start.peer = side->peer->presence.attestation;
	start.version = version;
	start.flags = flags;
	start.delivered = side->core.written;
	start.acked = side->core.acked;
	memcpy(start.instance, ask == NULL ? side->instance : ask->instance,
	    INSTANCE_SIZE);
	if (ask != NULL)
		memcpy(start.app_key, ask->app_key, KEY_SIZE);
	ipc_send(keyd, IPC_CHAT_START, &start, ask == NULL ? NULL : ask->tail,
	    ask == NULL ? 0 : ask->tail_length);
	side->known = 1;
}

static void
start_send_ask(struct side *side)
{
	struct ask *ask = side->ask;

	start_send(side, ask->flags, ask->version, ask);
	ask->sent = 1;
	if (ask->kind == ASK_FIRST)
		core_offered(&side->core, side->offer_version > 0);
	else if (ask->kind == ASK_REKEY)
		core_rekeying(&side->core, 1);
	else {
		core_suspend(&side->core);
		start_schedule(side, clock_monotonic() + RESUME_FIRST);
	}
}

void
start_resume(struct side *side)
{
	struct ask *ask = side->ask;
	int64_t delay;

	if (side->ending || side->app->session == NULL || !side->peer->present)
		return;
	core_suspend(&side->core);
	if (!resume_may(side))
		return;
	if (ask != NULL && ask->kind == ASK_RESUME)
		start_send_ask(side);
	else
		start_send(side, CHAT_RESUME, 0, NULL);
	delay = RESUME_FIRST << (side->tries < 4 ? side->tries : 4);
	if (side->tries < UINT8_MAX)
		side->tries++;
	start_schedule(side,
	    clock_monotonic() + (delay < RESUME_LAST ? delay : RESUME_LAST));
}

/* A new chat comes to nothing. The side may be gone afterwards. */
static void
start_fail(struct side *side, enum hermes_code code)
{
	struct ask *ask = side->ask;
	struct session *session = side->app->session;

	if (session != NULL && session->number == ask->session)
		session_error(session, correlation_span(&ask->correlation),
		    code, side, 0, 0);
	start_forget(side);
	if (!side->known)
		side_drop(side);
}

void
start_try(struct side *side)
{
	struct ask *ask = side->ask;
	struct peer *peer = side->peer;

	peer_watch(peer);
	if (side->app->session == NULL || !peer->answered)
		return;
	if (peer->present) {
		if (ask->kind == ASK_FIRST && ask->hint[0] != '\0' &&
		    strcmp(ask->hint, peer->presence.node_id) != 0)
			start_fail(side, CODE_TARGET_NOT_FOUND);
		else
			start_send_ask(side);
		return;
	}
	if (ask->kind != ASK_FIRST) {
		/* Any order, any delay: it goes on when the peer is back. */
		if (!side->told_away)
			side_tell(side, "peer_away",
			    correlation_span(&ask->correlation));
		side->told_away = 1;
		return;
	}
	/* Its offer may have overtaken the news of its presence. */
	if (peer->presence.status == PRESENCE_UNKNOWN &&
	    side->offer_version == 0)
		start_fail(side, ask->hint[0] != '\0' ? CODE_TARGET_NOT_FOUND
						      : CODE_UNKNOWN_APP);
}

/* --- from the app -------------------------------------------------------- */

static int
x25519_key_valid(const uint8_t key[KEY_SIZE])
{
	static const uint8_t scalar[KEY_SIZE] = { 8 };
	uint8_t out[KEY_SIZE];

	/* Fails for the points of small order, which agree on nothing. */
	return (crypto_scalarmult(out, scalar, key) == 0);
}

static enum hermes_code
check_signature(const struct session *session,
    const struct frame_start_chat *start, const char *chat_id)
{
	static uint8_t bytes[SIGNED_MAX];
	struct start_chat_fields fields;
	char source[APP_ID_LENGTH + 1];
	char target[APP_ID_LENGTH + 1];
	size_t length;

	if (start->key.length == 0)
		return (CODE_NONE);
	if (start->key.length != KEY_SIZE ||
	    !x25519_key_valid(start->key.bytes))
		return (CODE_INVALID_KEY);
	if (start->signature.length != SIGNATURE_SIZE)
		return (CODE_AUTH_FAILED);
	hex_encode(source, session->app->key, KEY_SIZE);
	memcpy(target, start->target.bytes, APP_ID_LENGTH);
	target[APP_ID_LENGTH] = '\0';
	memset(&fields, 0, sizeof(fields));
	fields.chat_id = chat_id;
	fields.source_app_id = source;
	fields.target_app_id = target;
	fields.public_key = start->key.bytes;
	fields.salt = start->salt.bytes;
	fields.salt_length = start->salt.length;
	fields.info = start->info.bytes;
	fields.info_length = start->info.length;
	fields.version = start->version;
	fields.rekey = start->rekey;
	length = start_chat_signed_bytes(&fields, bytes, sizeof(bytes));
	if (length == 0)
		return (CODE_INVALID_FRAME);
	return (crypto_sign_verify_detached(start->signature.bytes, bytes,
		    length, session->app->key) == 0
		    ? CODE_NONE
		    : CODE_AUTH_FAILED);
}

/* What is wrong with the form of a StartChat, or NULL. target is read. */
static const char *
start_wrong(const struct session *session, const struct frame_start_chat *start,
    uint8_t target[KEY_SIZE])
{
	char own[APP_ID_LENGTH + 1];

	if (!chat_id_valid(
		(const char *)start->chat_id.bytes, start->chat_id.length))
		return ("chat_id is not 1 to 128 bytes of UTF-8 without "
			"control characters");
	if (app_id_read(target, start->target) == -1)
		return (SESSION_BAD_TARGET);
	if (memcmp(target, session->app->key, KEY_SIZE) == 0)
		return ("target_app_id is the app's own");
	if (start->hint.length > 0 &&
	    !node_id_valid((const char *)start->hint.bytes, start->hint.length))
		return (SESSION_BAD_HINT);
	hex_encode(own, session->app->key, KEY_SIZE);
	if (start->source.length > 0 &&
	    (start->source.length != APP_ID_LENGTH ||
		memcmp(start->source.bytes, own, APP_ID_LENGTH) != 0))
		return ("source_app_id is not the app's own");
	if (start->instance.length > 0 &&
	    start->instance.length != INSTANCE_SIZE)
		return ("instance is not 16 bytes");
	if (start->key.length == 0 && start->signature.length > 0)
		return ("a signature without local_ephemeral_public_key");
	return (NULL);
}

/* Form, sizes, signature. target and chat_id are read when it is good; *wrong
 * is what INVALID_FRAME means. */
static enum hermes_code
check_start(const struct session *session, const struct frame_start_chat *start,
    uint8_t target[KEY_SIZE], char chat_id[CHAT_ID_SIZE], const char **wrong)
{
	if ((*wrong = start_wrong(session, start, target)) != NULL)
		return (CODE_INVALID_FRAME);
	memcpy(chat_id, start->chat_id.bytes, start->chat_id.length);
	chat_id[start->chat_id.length] = '\0';
	if (start->metadata_bytes > proc_config()->limits.metadata_size)
		return (CODE_LIMIT_REACHED);
	return (check_signature(session, start, chat_id));
}

static struct ask *
ask_new(const struct frame_start_chat *start, const char *source)
{
	struct frame_body *body = &session_body;
	struct ask *ask;

	frame_begin(body, FRAME_START_CHAT);
	if (start != NULL)
		frame_put_start_chat(body, start, source);
	if (body->failed || body->length > TAIL_MAX ||
	    (ask = calloc(1, sizeof(*ask) + body->length)) == NULL)
		return (NULL);
	ask->tail_length = body->length;
	memcpy(ask->tail, body->bytes, body->length);
	if (start == NULL)
		return (ask);
	ask->version = start->version;
	if (start->version != 0 && start->next_send != 0 &&
	    start->next_receive != 0) {
		ask->flags |= CHAT_CONTINUE;
		ask->next_send = start->next_send;
		ask->next_receive = start->next_receive;
	}
	if (start->key.length == KEY_SIZE) {
		ask->flags |= CHAT_HAS_KEY;
		memcpy(ask->app_key, start->key.bytes, KEY_SIZE);
	}
	if (start->instance.length == INSTANCE_SIZE)
		memcpy(ask->instance, start->instance.bytes, INSTANCE_SIZE);
	if (start->hint.length > 0)
		memcpy(ask->hint, start->hint.bytes, start->hint.length);
	return (ask);
}

/* Has accept=auto said it, and keyd heard? */
static int
ask_is_auto(const struct ask *ask)
{
	return (ask != NULL && ask->sent && (ask->flags & CHAT_AUTO) != 0);
}

/* Put the ask in place of an older one, which the app asked again. */
static void
ask_put(struct side *side, struct ask *ask)
{
	int accepted = ask_is_auto(side->ask);

	start_unplace(side);
	free(side->ask);
	side->ask = ask;
	ask->from_version = side->core.version;
	if (!side_established(side)) {
		ask->kind = ASK_FIRST;
		ask->flags &= ~(uint32_t)CHAT_RESUME;
		/* What it had elsewhere goes on where it says; what this
		 * node has just accepted for it may be another chat. */
		if (ask->flags & CHAT_CONTINUE)
			ask->sent = accepted;
		if (!ask->sent && (ask->flags & CHAT_CONTINUE))
			core_place(
			    &side->core, ask->next_send, ask->next_receive);
	} else if ((ask->flags & CHAT_REKEY) != 0) {
		ask->kind = ASK_REKEY;
		ask->flags |= CHAT_RESUME;
	} else {
		ask->kind = ASK_RESUME;
		/*
		 * That a lower version was named is keyd's to refuse, unless
		 * the app said that it resumes what it left.
		 */
		if (ask->version == 0 || ask->version >= side->core.version)
			ask->flags |= CHAT_RESUME;
	}
	if (!side->waiting) {
		side->waiting = 1;
		TAILQ_INSERT_TAIL(&waiting, side, waiting_entry);
	}
}

/*
 * The app says what accept=auto had said for it: keyd knows, or (established)
 * both ends agreed since and nothing came between. What it names besides
 * is for keyd to judge.
 */
static int
start_is_known(const struct side *side, const struct ask *ask)
{
	uint32_t version = side->core.version;
	int known = side->accepted && side->core.state == CHAT_STATE_READY;

	if (!side_established(side)) {
		known = ask_is_auto(side->ask);
		version = side->offer_version;
	}
	return (
	    known && !instance_differs(ask->instance, side->instance) &&
	    (ask->flags & (CHAT_HAS_KEY | CHAT_REKEY | CHAT_CONTINUE)) == 0 &&
	    ask->hint[0] == '\0' &&
	    (ask->version == 0 || ask->version == version));
}

/* What was checked becomes an ask. CODE_NONE or why not. */
static enum hermes_code
start_accept(struct session *session, const struct frame_start_chat *start,
    const uint8_t target[KEY_SIZE], const char *chat_id,
    struct span correlation, int64_t now)
{
	struct chat_key key;
	struct side *side;
	struct ask *ask;
	char own[APP_ID_LENGTH + 1];
	int known;

	if (chat_key_make(&key, chat_id, session->app->key, target) == -1)
		return (CODE_INVALID_FRAME);
	side = side_find(&key);
	if (side == NULL && router.no_new_chats)
		return (CODE_LIMIT_REACHED);
	if (side == NULL &&
	    session->app->taken >= proc_config()->limits.chats_per_app)
		return (CODE_LIMIT_REACHED);
	if (side != NULL && side->ending && !side->left)
		return (CODE_CHAT_NOT_READY);
	hex_encode(own, session->app->key, KEY_SIZE);
	if ((ask = ask_new(start, own)) == NULL)
		return (CODE_INVALID_FRAME);
	if (side == NULL &&
	    (side = side_make(session->app->key, target, chat_id)) == NULL) {
		free(ask);
		return (CODE_LIMIT_REACHED);
	}
	if (side_take(side) == -1) {
		free(ask);
		return (CODE_LIMIT_REACHED);
	}
	ask->session = session->number;
	ask->asked_at = now;
	correlation_set(&ask->correlation, correlation);
	if (start->rekey)
		ask->flags |= CHAT_REKEY;
	if (start->resume)
		ask->flags |= CHAT_RESUME;
	side->tries = 0;
	if (side->left) {
		free(side->ask);
		side->ask = ask;
		return (CODE_NONE);
	}
	known = start_is_known(side, ask);
	ask_put(side, ask);
	ask->sent |= known;
	if (!ask->sent)
		start_try(side);
	else if (known && side_established(side))
		ready_repeat(side);
	return (CODE_NONE);
}

void
start_again(struct side *side)
{
	struct ask *ask = side->ask;

	if (ask == NULL) {
		side_drop(side);
		return;
	}
	side_renew(side);
	side->ask = NULL;
	ask_put(side, ask);
	start_try(side);
}

void
start_skip(struct side *side)
{
	struct ask *ask = side->ask;

	core_skip(&side->core, ask->next_send);
	side_account(side);
	/* The peer is to know, or it waits for what will not come. */
	ask->kind = ASK_RESUME;
	ask->flags |= CHAT_RESUME;
	ask->sent = 0;
	start_try(side);
}

void
start_from_app(struct session *session, struct frame_start_chat *start,
    struct span correlation, int64_t now)
{
	const struct config_limits *limits = &proc_config()->limits;
	const struct chat_name name = { start->chat_id, start->target };
	const char *wrong = NULL;
	enum hermes_code code;
	uint8_t target[KEY_SIZE];
	char chat_id[CHAT_ID_SIZE];
	int64_t early;

	early = rate_take(&session->app->starts_due, now,
	    limits->starts_per_minute, 60 * CLOCK_SECOND, 0);
	if (early > 0)
		code = CODE_RATE_LIMITED;
	else if ((code = check_start(
		      session, start, target, chat_id, &wrong)) == CODE_NONE)
		code = start_accept(
		    session, start, target, chat_id, correlation, now);
	if (code == CODE_INVALID_FRAME)
		session_bad_frame(session, correlation, &name,
		    wrong != NULL ? wrong : "fields are too large");
	else if (code != CODE_NONE)
		session_error_name(session, correlation, code, &name,
		    code == CODE_CHAT_NOT_READY ? CLOCK_SECOND
		    : code == CODE_LIMIT_REACHED && router.no_new_chats
			? CHATS_RETRY
			: early);
}

void
start_auto(struct side *side)
{
	struct ask *ask;

	if (side->ask != NULL || side_take(side) == -1 ||
	    (ask = ask_new(NULL, NULL)) == NULL)
		return; /* the offer stays, for the app to accept */
	/* Whatever version is due: the app names none, and hears no refusal. */
	ask->flags = CHAT_AUTO;
	ask->asked_at = clock_monotonic();
	core_attach(&side->core, 1);
	core_offered(&side->core, 1);
	ask_put(side, ask);
	start_try(side);
}

/* --- what happens meanwhile ---------------------------------------------- */

void
start_tieline_up(struct side *side)
{
	if (side->ending || side->app->session == NULL)
		return;
	if (side_established(side))
		start_resume(side);
	else if (side->ask != NULL)
		start_try(side);
}

void
start_presence(struct side *side, int was_present, int moved)
{
	struct ask *ask = side->ask;

	if (side->ending)
		return;
	if (!side->peer->present) {
		core_suspend(&side->core);
		if (ask != NULL && !ask->sent)
			start_try(side);
		else if (side->core.attached && side_established(side) &&
			 !side->told_away) {
			side->told_away = 1;
			side_tell(side, "peer_away", SPAN_NONE);
		}
		return;
	}
	if (side->told_away) {
		side->told_away = 0;
		side_tell(side, "peer_back", SPAN_NONE);
	}
	/* What was offered where the peer is no more is offered again. */
	if (ask != NULL &&
	    (!ask->sent || (ask->kind == ASK_FIRST && (moved || !was_present))))
		start_try(side);
	else if (side_established(side) &&
		 (!was_present || moved ||
		     (side->core.state == CHAT_STATE_SUSPENDED &&
			 side->resume_at == 0))) {
		side->tries = 0;
		start_resume(side);
	}
}

static void
start_tick_side(struct side *side, int64_t now)
{
	struct ask *ask = side->ask;

	if (ask != NULL && ask->kind == ASK_FIRST && !ask->sent &&
	    now - ask->asked_at > GIVE_UP) {
		start_fail(side,
		    side->peer->answered &&
			    side->peer->presence.status == PRESENCE_UNKNOWN
			? CODE_UNKNOWN_APP
			: CODE_ROUTE_UNAVAILABLE);
		return;
	}
	if (side->resume_at == 0 || now < side->resume_at)
		return;
	start_schedule(side, 0);
	/* An offer that nobody took up; keyd has forgotten it as well. */
	if (!side->taken && !side_established(side)) {
		side_drop(side);
		return;
	}
	if (side->core.state == CHAT_STATE_SUSPENDED || side->core.missing)
		start_resume(side);
}

void
start_tick(int64_t now)
{
	struct side *side, *next;

	for (side = TAILQ_FIRST(&waiting); side != NULL; side = next) {
		next = TAILQ_NEXT(side, waiting_entry);
		start_tick_side(side, now);
	}
}
