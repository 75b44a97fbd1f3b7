/*
 * Tests only, of fuzz_peers.c. Who plays, what each has said, and the house:
 * keyd, router and control of the mesh process, which check what they hear
 * against that. Include once.
 */
#ifndef REGRESS_FUZZ_PEERS_HOUSE_H
#define REGRESS_FUZZ_PEERS_HOUSE_H

#include "mesh/mesh.h"

enum who { SELF, BETA, MALLORY, LATE, SHORT, FORGED, STRANGER, ACTORS };

#define APPS        4
#define SHORT_LIVED (60 * CLOCK_SECOND)

struct actor {
	const char *name;
	struct keys keys;
	EVP_PKEY *tls;
	uint8_t spki[KEY_SIZE];
	struct certificate certificate;
	uint8_t *der; /* of its TLS certificate */
	size_t der_length;
	/* What holds of what was said, whoever brought it. */
	int described;    /* a descriptor that it signed */
	int revoked;      /* by the authority */
	int setups;       /* it sent a set-up */
	int routed;       /* it may have a RouteChat stream */
	int claims[APPS]; /* presence that it and the app signed */
	int called[APPS]; /* our keyd set up a chat with that app there */
};

static struct actor actors[ACTORS] = { { .name = "alpha" }, { .name = "beta" },
	{ .name = "mallory" }, { .name = "late" }, { .name = "short" },
	{ .name = "forged" }, { .name = "stranger" } };
static struct keys authority, other_authority;
static struct keys apps[APPS];
static const uint8_t ticket_secret[TICKET_SECRET_SIZE] = { 4, 2 };
static struct input *feed;
static int speaking; /* SELF: the house, or time */
static struct {
	uint64_t floor[STATEMENT_KINDS];
	int refuses;       /* keyd signs nothing */
	uint64_t redeemed; /* its next answer to a Join */
	uint64_t serial;
	int asked;     /* a Join that holds waits for it */
	int elsewhere; /* the mesh key is */
} house;

/* --- actors -------------------------------------------------------------- */

static void
actors_make(void)
{
	struct binding binding;
	struct actor *actor;
	X509 *x509;
	int i;

	keys_make(&authority);
	keys_make(&other_authority);
	for (i = 0; i < APPS; i++)
		keys_make(&apps[i]);
	for (i = 0; i < ACTORS; i++) {
		actor = &actors[i];
		keys_make(&actor->keys);
		actor->tls = EVP_EC_gen("P-256");
		spki_hash(actor->tls, actor->spki);
		cast_certify(i >= FORGED ? &other_authority : &authority,
		    actor->name, actor->keys.public, (uint64_t)i + 1,
		    FUZZ_EPOCH + (i == SHORT ? SHORT_LIVED : YEAR),
		    &actor->certificate);
		cast_binding(actor->name, &actor->keys, actor->spki,
		    i == STRANGER ? NULL : &actor->certificate, &binding);
		x509 = x509_make(actor->tls, &binding);
		actor->der_length = (size_t)i2d_X509(x509, &actor->der);
		X509_free(x509);
	}
}

static void
line_is(struct rpc_connection *line, int who)
{
	line->who = who;
	line->der = actors[who].der;
	line->der_length = actors[who].der_length;
}

static int
who_is(const uint8_t key[KEY_SIZE])
{
	int i;

	for (i = 0; i < ACTORS; i++)
		if (memcmp(actors[i].keys.public, key, KEY_SIZE) == 0)
			return (i);
	return (-1);
}

static int
app_is(const uint8_t key[KEY_SIZE])
{
	int i;

	for (i = 0; i < APPS; i++)
		if (memcmp(apps[i].public, key, KEY_SIZE) == 0)
			return (i);
	return (-1);
}

/* Certified by the authority, some time, and not revoked. */
static int
may_be_member(int who)
{
	return (who > SELF && who < FORGED && !actors[who].revoked);
}

/* --- what the house hears ------------------------------------------------ */

/* The app of the other side of the key, of all pairs of apps. -1: none. */
static int
other_app(const struct chat_key *key, const char *chat_id)
{
	struct chat_key made;
	int x, y;

	for (x = 0; x < APPS; x++)
		for (y = 0; y < APPS; y++)
			if (x != y &&
			    chat_key_make(&made, chat_id, apps[x].public,
				apps[y].public) == 0 &&
			    memcmp(&made, key, sizeof(made)) == 0)
				return (y);
	return (-1);
}

/* Somebody who may have, set that chat up with us. */
static int
chat_is_known(const struct chat_key *key)
{
	int app = other_app(key, "chat"), who;

	for (who = 0; app != -1 && who < ACTORS; who++)
		if (actors[who].claims[app] || actors[who].called[app])
			return (1);
	return (0);
}

/* What is forwarded at once comes from whom it may come from. */
static void
hears_open(const struct chat_key *key)
{
	int app = other_app(key, "chat");

	FUZZ_CHECK(app != -1);
	FUZZ_CHECK(
	    actors[speaking].claims[app] || actors[speaking].called[app]);
}

static void
hears_teardown(const struct ipc_teardown *teardown)
{
	FUZZ_CHECK(who_is(teardown->node) == speaking);
	FUZZ_CHECK(
	    memchr(teardown->chat_id, '\0', sizeof(teardown->chat_id)) != NULL);
}

static void
hears_setup(const struct ipc_setup *setup)
{
	int who = who_is(setup->node), app;

	app = other_app(&setup->key, setup->chat_id);
	FUZZ_CHECK(
	    memchr(setup->chat_id, '\0', sizeof(setup->chat_id)) != NULL);
	FUZZ_CHECK(who != -1 && app != -1);
	if (who != SELF) {
		FUZZ_CHECK(who < FORGED && actors[who].setups);
		FUZZ_CHECK(actors[who].claims[app]);
	}
	FUZZ_CHECK(
	    memcmp(setup->peer.app_key, apps[app].public, KEY_SIZE) == 0);
	FUZZ_CHECK(
	    attestation_verify(&setup->peer, setup->peer.issued_at) == 0);
	FUZZ_CHECK(memcmp(setup->peer.node_key, setup->node, KEY_SIZE) == 0);
}

static void
hears_presence(const struct ipc_presence *presence)
{
	int app = app_is(presence->app);
	int who = who_is(presence->attestation.node_key);

	if (presence->status == PRESENCE_UNKNOWN)
		return;
	FUZZ_CHECK(app != -1 && who != -1);
	FUZZ_CHECK(attestation_verify(&presence->attestation,
		       presence->attestation.issued_at) == 0);
	FUZZ_CHECK((presence->status == PRESENCE_LOCAL) == (who == SELF));
	FUZZ_CHECK(who == SELF || actors[who].claims[app]);
}

static void
hears_revoked(const struct ipc_revocation *revocation)
{
	int who = who_is(revocation->node_key);

	FUZZ_CHECK(who != -1 && actors[who].revoked);
}

static void
hears_peer(const struct ipc_peer *peer)
{
	FUZZ_CHECK(memchr(peer->endpoint, '\0', ENDPOINT_SIZE) != NULL);
	FUZZ_CHECK(
	    certificate_verify(&peer->certificate, authority.public, 0) == 0);
}

static void
hears_node(const struct ipc_node_state *state)
{
	int who = who_is(state->node_key);

	FUZZ_CHECK(who > SELF && who < FORGED);
	FUZZ_CHECK(strcmp(state->node_id, actors[who].name) == 0);
	FUZZ_CHECK(!state->alive || actors[who].described);
}

static void
hears_tieline(const struct ipc_tieline *tieline)
{
	int who = who_is(tieline->node_key);

	FUZZ_CHECK(who == SELF || (who != -1 && actors[who].routed));
}

/* --- what it answers ----------------------------------------------------- */

static void
answer_statement(const struct ipc_statement *question)
{
	struct ipc_statement_signed answer = { .id = question->id };

	FUZZ_CHECK(question->kind > 0 && question->kind < STATEMENT_KINDS);
	FUZZ_CHECK(question->kind != STATEMENT_REVOCATION);
	if (!house.refuses && question->number >= house.floor[question->kind]) {
		house.floor[question->kind] = question->number;
		cast_state((enum statement_kind)question->kind,
		    actors[SELF].name, &actors[SELF].keys, question->number,
		    question->digest, answer.signature);
		answer.ok = 1;
	}
	from(PROCESS_KEYD, IPC_STATEMENT_SIGNED, &answer, NULL, 0);
}

static void
answer_join(uint64_t id, const char *name, const uint8_t key[KEY_SIZE])
{
	struct ipc_redeemed answer = { .id = id, .result = house.redeemed };

	FUZZ_CHECK(memchr(name, '\0', NODE_ID_SIZE) != NULL);
	FUZZ_CHECK(house.asked && who_is(key) != -1);
	cast_certify(&authority, name, key, 100 + ++house.serial,
	    FUZZ_EPOCH + YEAR, &answer.certificate);
	from(PROCESS_KEYD, IPC_REDEEMED, &answer, NULL, 0);
}

static void
identity_send(int in_mesh)
{
	struct ipc_tls_certificate role = { .role = TLS_MESH };
	struct ipc_identity identity = { .unlocked = 1 };

	identity.in_mesh = (uint32_t)in_mesh;
	identity.authority = (uint32_t)(in_mesh && !house.elsewhere);
	(void)strlcpy(identity.node_id, actors[SELF].name, NODE_ID_SIZE);
	memcpy(identity.node_key, actors[SELF].keys.public, KEY_SIZE);
	memcpy(identity.mesh_spki, actors[SELF].spki, KEY_SIZE);
	identity.incarnation = 1000;
	if (in_mesh) {
		memcpy(identity.authority_key, authority.public, KEY_SIZE);
		mesh_id_make(identity.mesh_id, authority.public);
		identity.certificate = actors[SELF].certificate;
	}
	from(PROCESS_KEYD, IPC_TLS_CERTIFICATE, &role, "pem", 3);
	from(PROCESS_KEYD, IPC_IDENTITY, &identity, NULL, 0);
}

/* A certificate came for us: it is ours, of the mesh that we asked. */
static void
hears_membership(const struct ipc_membership *membership)
{
	FUZZ_CHECK(
	    memcmp(membership->authority_key, authority.public, KEY_SIZE) == 0);
	FUZZ_CHECK(certificate_verify(
		       &membership->certificate, authority.public, 0) == 0);
	FUZZ_CHECK(memcmp(membership->certificate.node_key,
		       actors[SELF].keys.public, KEY_SIZE) == 0);
	identity_send(1);
}

/* A listed node vouched for its mesh: for the one that there is. */
static void
hears_voucher(const struct ipc_voucher *voucher)
{
	FUZZ_CHECK(
	    memcmp(voucher->authority_key, authority.public, KEY_SIZE) == 0);
}

static void
keyd_hears(const struct sent *sent)
{
	const void *payload = sent->payload;
	const struct ipc_redeem *redeem = payload;
	const struct ipc_renew *renew = payload;
	const struct ipc_admit *admit = payload;

	switch (sent->type) {
	case IPC_STATEMENT:
		answer_statement(payload);
		break;
	case IPC_REDEEM:
		answer_join(redeem->id, redeem->node_id, redeem->node_key);
		break;
	case IPC_RENEW:
		FUZZ_CHECK(certificate_verify(&renew->certificate,
			       authority.public, clock_wall()) == 0);
		answer_join(renew->id, renew->certificate.node_id,
		    renew->certificate.node_key);
		break;
	case IPC_ADMIT:
		answer_join(admit->id, admit->node_id, admit->node_key);
		break;
	case IPC_VOUCHER:
		hears_voucher(payload);
		break;
	case IPC_MEMBERSHIP:
		hears_membership(payload);
		break;
	case IPC_PEER_SAVE:
		hears_peer(payload);
		break;
	case IPC_REVOKED:
		hears_revoked(payload);
		break;
	case IPC_SETUP_IN:
		hears_setup(payload);
		break;
	case IPC_OPEN: /* the chat's key is the first of it */
		hears_open(payload);
		break;
	case IPC_TEARDOWN_IN:
		hears_teardown(payload);
		break;
	default:
		break;
	}
}

static void
router_hears(const struct sent *sent)
{
	const void *payload = sent->payload;

	switch (sent->type) {
	case IPC_PRESENCE:
		hears_presence(payload);
		break;
	case IPC_NODE_STATE:
		hears_node(payload);
		break;
	case IPC_TIELINE_UP:
		hears_tieline(payload);
		break;
	case IPC_RELAY_ACK:
	case IPC_CREDIT:
		FUZZ_CHECK(chat_is_known(payload));
		break;
	default:
		break;
	}
}

static void
house_answers(void)
{
	struct sent *sent;
	int many = 0;

	while ((sent = take()) != NULL) {
		FUZZ_CHECK(many++ < 10000); /* it comes to rest */
		if (sent->to == PROCESS_KEYD)
			keyd_hears(sent);
		else if (sent->to == PROCESS_ROUTER)
			router_hears(sent);
		sent_free(sent);
	}
}

/* --- set-up -------------------------------------------------------------- */

/* how: 1, in no mesh yet; 2, members are known from before. */
static void
house_begin(uint8_t how)
{
	struct config *config = &world.config;
	struct ipc_peer peer = { .endpoint = "127.0.0.1:2" };

	(void)strlcpy(config->node_id, "alpha", sizeof(config->node_id));
	(void)strlcpy(config->advertise_mesh, "127.0.0.1:1",
	    sizeof(config->advertise_mesh));
	config->limits.members = 8;
	config->limits.apps = 64;
	config->limits.message_size = 65536;
	config->mesh_connections = how & 4 ? 1 : 64;
	config->route_grace = 10 * CLOCK_SECOND;
	config->app_compat_v1 = how >> 3 & 1;
	house.redeemed = REDEEM_OK;
	/* Another has the mesh key, and our membership ends soon. */
	house.elsewhere = how >> 4 & 1;
	if (how & 0x20)
		cast_certify(&authority, "alpha", actors[SELF].keys.public, 1,
		    FUZZ_EPOCH + 3600 * CLOCK_SECOND,
		    &actors[SELF].certificate);
	world.hooks->configured(config, 0);
	world.hooks->go();
	identity_send(!(how & 1));
	if (!(how & 2))
		return;
	peer.certificate = actors[BETA].certificate;
	from(PROCESS_KEYD, IPC_PEER, &peer, NULL, 0);
	peer.certificate = actors[MALLORY].certificate;
	from(PROCESS_KEYD, IPC_PEER, &peer, NULL, 0);
}

#endif
