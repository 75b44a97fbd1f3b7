/*
 * keyd only. One function a message: unpack, hand on, answer. Which process
 * may send what was checked from the table (common/ipc/messages.def); that
 * the store is open is checked here.
 */

#include <netinet/in.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/proc/event.h"
#include "common/proc/proc.h"
#include "common/util/clock.h"
#include "common/util/log.h"
#include "common/util/metrics.h"
#include "keyd/allow.h"
#include "keyd/authority.h"
#include "keyd/chats.h"
#include "keyd/keyd.h"
#include "keyd/show.h"
#include "keyd/store.h"

static struct ipc *
door(void *arg)
{
	return (((struct proc_door *)arg)->ipc);
}

void
keyd_answer(
    struct ipc *ipc, uint64_t id, int ok, uint64_t count, const char *text)
{
	struct ipc_result result = {
		.id = id, .ok = (uint64_t)ok, .count = count
	};

	ipc_send(ipc, IPC_RESULT, &result, text, strlen(text));
}

/* --- the parent and operators ------------------------------------------- */

static void
handle_passphrase(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	const struct proc_door *from = arg;
	const char *file = proc_config()->keystore.passphrase;
	enum store_error why;
	const char *error = unlock_with(message->fd, &why);

	if (error != NULL && from->peer == PROCESS_PARENT)
		log_error("unlock_failed", "file=\"%s\" reason=\"%s\"",
		    file[0] != '\0' ? file : "hermes-passphrase of systemd",
		    error);
	else if (error != NULL)
		log_error("unlock_failed", "reason=\"%s\"", error);
	/* Nobody would come to try again when there is room. */
	if (why == STORE_NO_ROOM && from->peer == PROCESS_PARENT)
		fatal("store", "path=%s reason=\"%s\"", keyd.folder, error);
	/* The parent reads it in the log. */
	if (from->peer == PROCESS_CONTROL)
		keyd_answer(from->ipc, request->id, error == NULL, 0,
		    error == NULL ? "unlocked" : error);
}

static void
tell_ticket(const struct ipc_row_ticket *row)
{
	ipc_send(proc_ipc(PROCESS_CONTROL), IPC_ROW_TICKET, row, NULL, 0);
}

static void
handle_show(void *arg, const struct ipc_message *message)
{
	const struct ipc_show *show = message->payload;
	struct ipc_request end = { .id = show->id };

	if (keyd.chats != NULL && show->what == SHOW_TICKETS) {
		authority_expire(keyd.store, clock_wall());
		if (authority_tickets(keyd.store, show->id, tell_ticket) == -1)
			log_warn(
			    "tickets_unread", "error=\"%s\"", strerror(errno));
	}
	if (keyd.chats != NULL && show->what == SHOW_RATCHETS) {
		chats_set_now(keyd.chats, clock_wall());
		chats_show(keyd.chats, show->id);
		end.value = chats_count(keyd.chats);
	}
	ipc_send(door(arg), IPC_SHOW_END, &end, NULL, 0);
	keyd_pause();
}

static void
count_ticket(const struct ipc_row_ticket *row)
{
	if (row->expires_at <= clock_wall())
		return;
	metric_add(METRIC_MESH_TICKETS, 1);
	metric_add(METRIC_MESH_TICKET_USES, row->uses_left);
}

static void
handle_new_chats(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	(void)arg;
	keyd.no_new_chats = request->value != 0;
	if (keyd.chats != NULL)
		chats_no_new(keyd.chats, keyd.no_new_chats);
}

static void
handle_metrics_get(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	if (keyd.chats != NULL) {
		chats_set_now(keyd.chats, clock_wall());
		chats_metrics(keyd.chats);
	}
	metric_set(METRIC_MESH_TICKETS, 0);
	metric_set(METRIC_MESH_TICKET_USES, 0);
	if (keyd.chats != NULL && keyd.identity.authority &&
	    authority_tickets(keyd.store, 0, count_ticket) == -1)
		log_warn("tickets_unread", "error=\"%s\"", strerror(errno));
	ratchet_show_metrics(door(arg), request->id);
	keyd_pause();
}

/* Why this node does not do what only the authority does. */
static const char *
no_authority(const char *who_may)
{
	return (keyd.identity.in_mesh ? who_may
				      : "this node is in no mesh: hermesctl "
					"mesh create, or mesh join");
}

static void
handle_mesh_create(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	const char *error = NULL;

	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (identity_found(&keyd.identity, keyd.store, clock_wall(),
		     proc_config()->membership_lifetime) == -1)
		error = errno == EEXIST ? "this node is in a mesh already: "
					  "hermesctl show"
					: store_failed_text();
	else if (unlock_certificates() == -1)
		error = "the certificate could not be made";
	else
		unlock_tell_all();
	keyd_answer(door(arg), request->id, error == NULL, 0,
	    error == NULL ? "mesh created" : error);
}

/* 0.0.0.0 or :: is nowhere to be joined at. */
static int
listens_everywhere(const struct config_listener *listener)
{
	const struct sockaddr_in *v4 =
	    (const struct sockaddr_in *)&listener->address;
	const struct sockaddr_in6 *v6 =
	    (const struct sockaddr_in6 *)&listener->address;

	if (listener->address.ss_family == AF_INET6)
		return (IN6_IS_ADDR_UNSPECIFIED(&v6->sin6_addr));
	return (listener->address.ss_family == AF_INET &&
		v4->sin_addr.s_addr == htonl(INADDR_ANY));
}

/* Where other nodes find this one. */
static const char *
own_endpoint(void)
{
	const struct config *config = proc_config();
	int i;

	if (config->advertise_mesh[0] != '\0')
		return (config->advertise_mesh);
	for (i = 0; i < CONFIG_LISTENERS; i++)
		if (config->listen[LISTEN_MESH][i].address_length != 0 &&
		    !listens_everywhere(&config->listen[LISTEN_MESH][i]))
			return (config->listen[LISTEN_MESH][i].name);
	return (NULL);
}

static void
handle_ticket_make(void *arg, const struct ipc_message *message)
{
	const struct ipc_ticket_make *make = message->payload;
	static struct ipc_ticket answer;
	const char *error;

	memset(&answer, 0, sizeof(answer));
	answer.id = make->id;
	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (authority_make_ticket(&keyd.identity, keyd.store, make,
		     own_endpoint(), clock_wall(), &answer.ticket) == 0) {
		ipc_send(door(arg), IPC_TICKET, &answer, NULL, 0);
		return;
	} else if (errno == EPERM)
		error = no_authority(
		    "only the node that created the mesh makes tickets");
	else if (errno == EINVAL)
		error = "no address to be joined at (advertise mesh), or a "
			"lifetime or number of uses that makes no sense";
	else
		error = store_failed_text();
	keyd_answer(door(arg), make->id, 0, 0, error);
}

static void
handle_ticket_revoke(void *arg, const struct ipc_message *message)
{
	const struct ipc_ticket_revoke *revoke = message->payload;
	const char *error = NULL;

	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (authority_revoke_ticket(keyd.store, revoke->ticket) == -1)
		error = errno == ENOENT
			    ? "no such ticket: hermesctl ticket list"
			    : store_failed_text();
	keyd_answer(door(arg), revoke->id, error == NULL, 0,
	    error == NULL ? "ticket revoked" : error);
}

static void
handle_revoke(void *arg, const struct ipc_message *message)
{
	const struct ipc_revoke *revoke = message->payload;
	struct ipc_revocation revocation;
	struct ipc *mesh = proc_ipc(PROCESS_MESH);
	const char *error = NULL;

	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (memchr(revoke->node_id, '\0', NODE_ID_SIZE) == NULL)
		error = "not a node id";
	else if (authority_revoke(&keyd.identity, keyd.store, revoke->node_id,
		     clock_wall(), &revocation) == -1)
		error = errno == EPERM
			    ? no_authority(
				  "only the node that created the mesh revokes")
			: errno == ENOENT ? "no node of that name was "
					    "admitted: hermesctl show nodes"
			: errno == EINVAL ? "the authority cannot revoke itself"
					  : store_failed_text();
	else {
		chats_set_now(keyd.chats, clock_wall());
		chats_revoke(keyd.chats, revocation.node_key);
		if (mesh != NULL)
			ipc_send(mesh, IPC_REVOCATION, &revocation, NULL, 0);
	}
	keyd_answer(door(arg), revoke->id, error == NULL, 0,
	    error == NULL ? "revoked" : error);
}

static void
handle_rekey(void *arg, const struct ipc_message *message)
{
	const struct ipc_rekey *rekey = message->payload;
	char text[64];
	size_t count;

	if (keyd.chats == NULL) {
		keyd_answer(door(arg), rekey->id, 0, 0, KEYD_LOCKED);
		return;
	}
	chats_set_now(keyd.chats, clock_wall());
	count = chats_rekey(keyd.chats, rekey->all ? NULL : &rekey->key);
	if (rekey->all)
		keyd_rekey();
	(void)snprintf(text, sizeof(text), "%zu chats rekeyed", count);
	if (count == 0 && !rekey->all)
		keyd_answer(door(arg), rekey->id, 0, 0,
		    "no such chat, or its peer has not accepted it yet");
	else
		keyd_answer(door(arg), rekey->id, 1, count, text);
}

static void
handle_rekey_tls(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;
	const char *error = NULL;

	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (identity_rekey_tls(&keyd.identity, keyd.store) == -1)
		error = store_failed_text();
	else {
		/* A key without its certificate cannot go on. */
		if (unlock_certificates() == -1)
			fatal("certificates",
			    "reason=\"cannot make or store them\"");
		keyd_erased();
		unlock_tell_all();
		log_info("tls_rekeyed", "node=%s", keyd.identity.node_id);
	}
	keyd_answer(door(arg), request->id, error == NULL, 0,
	    error == NULL ? "new TLS keys are in use" : error);
}

static void
handle_erase(void *arg, const struct ipc_message *message)
{
	const struct ipc_request *request = message->payload;

	if (keyd.chats == NULL)
		keyd_answer(door(arg), request->id, 0, 0, KEYD_LOCKED);
	else
		keyd_erase_asked(request->id);
}

/* --- identity ----------------------------------------------------------- */

static void
handle_sign_digest(void *arg, const struct ipc_message *message)
{
	const struct proc_door *from = arg;
	const struct ipc_sign_digest *digest = message->payload;
	struct ipc_signed_digest answer = { .length = 0 };
	const uint8_t *key = NULL;

	/* Each door has one key, whatever it asks for. */
	if (keyd.chats != NULL && from->peer == PROCESS_MESH)
		key = keyd.identity.secrets->tls_mesh;
	else if (keyd.chats != NULL && from->peer == PROCESS_ROUTER)
		key = keyd.own_key != NULL ? keyd.own_key
					   : keyd.identity.secrets->tls_app;
	if (key != NULL)
		tls_sign_digest(key, digest, &answer);
	ipc_send(from->ipc, IPC_SIGNED_DIGEST, &answer, NULL, 0);
	keyd_costly(from->peer);
}

static void
handle_challenge(void *arg, const struct ipc_message *message)
{
	struct ipc_challenge_signed answer = { .id = 0 };

	if (keyd.chats == NULL)
		return; /* the router was told that it is locked */
	identity_challenge(
	    &keyd.identity, message->payload, keyd.app_spki, &answer);
	ipc_send(door(arg), IPC_CHALLENGE_SIGNED, &answer, NULL, 0);
	keyd_costly(PROCESS_ROUTER);
}

static void
handle_statement(void *arg, const struct ipc_message *message)
{
	const struct ipc_statement *statement = message->payload;
	struct ipc_statement_signed answer = { .id = statement->id };

	if (keyd.chats != NULL)
		identity_state(&keyd.identity, keyd.store, statement,
		    clock_wall(), &answer);
	ipc_send(door(arg), IPC_STATEMENT_SIGNED, &answer, NULL, 0);
	keyd_costly(PROCESS_MESH);
}

static void
handle_redeem(void *arg, const struct ipc_message *message)
{
	const struct ipc_redeem *redeem = message->payload;
	struct ipc_redeemed answer = { .id = redeem->id,
		.result = REDEEM_NOT_AUTHORITY };

	if (keyd.chats != NULL)
		authority_redeem(&keyd.identity, keyd.store, redeem,
		    clock_wall(), proc_config()->membership_lifetime, &answer);
	ipc_send(door(arg), IPC_REDEEMED, &answer, NULL, 0);
	keyd_costly(PROCESS_MESH);
}

static void
handle_admit(void *arg, const struct ipc_message *message)
{
	const struct ipc_admit *admit = message->payload;
	struct ipc_redeemed answer = { .id = admit->id,
		.result = REDEEM_NOT_AUTHORITY };

	if (keyd.chats != NULL)
		authority_admit(&keyd.identity, keyd.store, admit,
		    proc_config(), clock_wall(), &answer);
	ipc_send(door(arg), IPC_REDEEMED, &answer, NULL, 0);
	keyd_costly(PROCESS_MESH);
}

static void
handle_renew(void *arg, const struct ipc_message *message)
{
	const struct ipc_renew *renew = message->payload;
	struct ipc_redeemed answer = { .id = renew->id,
		.result = REDEEM_NOT_AUTHORITY };

	if (keyd.chats != NULL)
		authority_renew(&keyd.identity, keyd.store, renew, clock_wall(),
		    proc_config()->membership_lifetime, &answer);
	ipc_send(door(arg), IPC_REDEEMED, &answer, NULL, 0);
	keyd_costly(PROCESS_MESH);
}

/* Before mesh hears of the ticket. Who is in a mesh stays there anyway. */
static void
handle_join_allow(void *arg, const struct ipc_message *message)
{
	const struct ipc_ticket *order = message->payload;
	const char *error = NULL;

	if (keyd.chats == NULL)
		error = KEYD_LOCKED;
	else if (!keyd.identity.in_mesh &&
		 allow_ticket(&keyd.identity, &order->ticket, clock_wall()) ==
		     -1)
		error = "the ticket is broken or expired";
	keyd_answer(door(arg), order->id, error == NULL, 0,
	    error == NULL ? "allowed" : error);
}

static void
handle_voucher(void *arg, const struct ipc_message *message)
{
	(void)arg;
	if (keyd.chats != NULL && !keyd.identity.in_mesh &&
	    allow_voucher(&keyd.identity, proc_config(), message->payload,
		message->tail, message->tail_length, clock_wall()) == -1)
		log_warn("voucher_refused", "error=\"%s\"", strerror(errno));
	keyd_costly(PROCESS_MESH);
}

static void
handle_membership(void *arg, const struct ipc_message *message)
{
	const struct ipc_membership *membership = message->payload;
	uint32_t renewed = keyd.identity.in_mesh;

	(void)arg;
	keyd_costly(PROCESS_MESH);
	if (keyd.chats == NULL)
		return;
	if (identity_join(&keyd.identity, keyd.store, &membership->certificate,
		membership->authority_key, clock_wall()) == -1) {
		log_warn("membership_refused", "error=\"%s\"", strerror(errno));
		return;
	}
	if (unlock_certificates() == -1)
		fatal("certificates", "reason=\"cannot make or store them\"");
	if (renewed)
		keyd_event(EVENT_RENEWED);
	log_info("mesh_joined", "node=%s serial=%llu", keyd.identity.node_id,
	    (unsigned long long)keyd.identity.certificate.serial);
	unlock_tell_all();
}

static void
handle_peer_save(void *arg, const struct ipc_message *message)
{
	const struct ipc_peer *peer = message->payload;

	(void)arg;
	if (keyd.chats != NULL &&
	    (peers_save(&keyd.identity, keyd.store, peer,
		 proc_config()->limits.members, clock_wall()) == -1 ||
		authority_learn(
		    &keyd.identity, keyd.store, &peer->certificate) == -1))
		log_warn("peer_not_saved", "error=\"%s\"", strerror(errno));
	keyd_costly(PROCESS_MESH);
}

static void
handle_peer_forget(void *arg, const struct ipc_message *message)
{
	(void)arg;
	if (keyd.chats != NULL &&
	    peers_forget(keyd.store, message->payload) == -1)
		log_warn("peer_not_forgotten", "error=\"%s\"", strerror(errno));
	keyd_costly(PROCESS_MESH);
}

static void
handle_revoked(void *arg, const struct ipc_message *message)
{
	const struct ipc_revocation *revocation = message->payload;
	int fresh;

	(void)arg;
	keyd_costly(PROCESS_MESH);
	if (keyd.chats == NULL)
		return;
	fresh = keyd.identity.authority
		    ? authority_learn_revocation(
			  &keyd.identity, keyd.store, revocation)
		    : revoked_save(&keyd.identity, keyd.store, revocation);
	if (fresh == -1)
		log_warn(
		    "revocation_not_saved", "error=\"%s\"", strerror(errno));
	if (fresh != 1)
		return;
	chats_set_now(keyd.chats, clock_wall());
	chats_revoke(keyd.chats, revocation->node_key);
}

/* --- chats -------------------------------------------------------------- */

/*
 * Signatures and keys of a set-up take far longer than anything else. Others,
 * and the node at the other end, have something to do meanwhile: so many are
 * committed together, not all that are there.
 */
#define SET_UPS_MAX 64

static void
chat_set_up_done(enum process peer)
{
	if (++keyd.set_ups == SET_UPS_MAX)
		keyd_commit();
	keyd_costly(peer);
}

static void
chat_start(const struct ipc_message *message)
{
	chats_start(
	    keyd.chats, message->payload, message->tail, message->tail_length);
	chat_set_up_done(PROCESS_ROUTER);
}

static void
chat_setup_in(const struct ipc_message *message)
{
	chats_setup_in(
	    keyd.chats, message->payload, message->tail, message->tail_length);
	chat_set_up_done(PROCESS_MESH);
}

/* One time for a batch. */
static void
keyd_set_now(void)
{
	if (keyd.timed)
		return;
	keyd.timed = 1;
	chats_set_now(keyd.chats, clock_wall());
}

#define CHATS_HANDLER(name, call)                                              \
	static void name(void *arg, const struct ipc_message *message)         \
	{                                                                      \
		(void)arg;                                                     \
		if (keyd.chats == NULL)                                        \
			return;                                                \
		keyd_set_now();                                                \
		call;                                                          \
	}                                                                      \
	struct swallow_semicolon

CHATS_HANDLER(handle_chat_start, chat_start(message));
CHATS_HANDLER(handle_chat_end, chats_end(keyd.chats, message->payload));
CHATS_HANDLER(
    handle_chat_progress, chats_progress(keyd.chats, message->payload));
CHATS_HANDLER(handle_setup_in, chat_setup_in(message));
CHATS_HANDLER(
    handle_teardown_in, chats_teardown_in(keyd.chats, message->payload));
CHATS_HANDLER(handle_seal, chats_seal(keyd.chats, message->payload,
			       message->tail, message->tail_length));
CHATS_HANDLER(handle_open, chats_open(keyd.chats, message->payload,
			       message->tail, message->tail_length));

const ipc_handler keyd_handlers[IPC_TYPE_COUNT] = {
	[IPC_PASSPHRASE] = handle_passphrase,
	[IPC_SIGN_DIGEST] = handle_sign_digest,
	[IPC_CHALLENGE] = handle_challenge,
	[IPC_STATEMENT] = handle_statement,
	[IPC_REDEEM] = handle_redeem,
	[IPC_ADMIT] = handle_admit,
	[IPC_RENEW] = handle_renew,
	[IPC_JOIN_ALLOW] = handle_join_allow,
	[IPC_VOUCHER] = handle_voucher,
	[IPC_MEMBERSHIP] = handle_membership,
	[IPC_PEER_SAVE] = handle_peer_save,
	[IPC_PEER_FORGET] = handle_peer_forget,
	[IPC_REVOKED] = handle_revoked,
	[IPC_CHAT_START] = handle_chat_start,
	[IPC_CHAT_PROGRESS] = handle_chat_progress,
	[IPC_CHAT_END] = handle_chat_end,
	[IPC_SETUP_IN] = handle_setup_in,
	[IPC_TEARDOWN_IN] = handle_teardown_in,
	[IPC_SEAL] = handle_seal,
	[IPC_OPEN] = handle_open,
	[IPC_SHOW] = handle_show,
	[IPC_METRICS_GET] = handle_metrics_get,
	[IPC_NEW_CHATS] = handle_new_chats,
	[IPC_EVENTS_WANTED] = proc_events_wanted,
	[IPC_MESH_CREATE] = handle_mesh_create,
	[IPC_TICKET_MAKE] = handle_ticket_make,
	[IPC_TICKET_REVOKE] = handle_ticket_revoke,
	[IPC_REVOKE] = handle_revoke,
	[IPC_REKEY] = handle_rekey,
	[IPC_REKEY_TLS] = handle_rekey_tls,
	[IPC_ERASE] = handle_erase,
	[IPC_STORE_PASSPHRASE] = proved_store_passphrase,
	[IPC_OTHER_PASSPHRASE] = proved_other_passphrase,
	[IPC_BACKUP] = proved_backup,
	[IPC_RESTORE] = proved_restore,
	[IPC_PASSPHRASE_CHANGE] = proved_passphrase_change,
};
