/*
 * What a member may have of a node's time: statements that cost signatures,
 * large ones, set-ups, as many as it likes. It waits, nobody else does, and
 * nothing of it is lost; what is forged has it cut. Honest members who say
 * much at once do not notice.
 */
#include <sys/mman.h>

#include <pthread.h>

#include "mesh/budget.h"
#include "mesh/presence.h"
#include "mesh/unpack.h"
#include "regress/unit/mesh_liar.h"
#include "regress/unit/suite.h"

/* Set-ups: more than a share of keyd's time, and 4 MiB; a few of them. */
#define MANY       15000
#define FEW        100
/* FRAME_PAIRS in frames.h, which goes with no wire_frame.h. */
#define PAIRS_MOST 64

/* --- time ---------------------------------------------------------------- */

static volatile int64_t *stands_at; /* shared with the nodes; 0: it goes on */
static int in_node;

int64_t __real_clock_monotonic(void);
int64_t __wrap_clock_monotonic(void);

/* What this program calls (ld --wrap): for the test itself time goes on. */
int64_t
__wrap_clock_monotonic(void)
{
	int64_t at = in_node ? *stands_at : 0;

	return (at != 0 ? at : __real_clock_monotonic());
}

static void
node_begins(void)
{
	in_node = 1;
}

/* --- who there is -------------------------------------------------------- */

/* a's row of other. */
static const struct ipc_row_node *
row_of(struct node *a, const struct node *other)
{
	unsigned i;

	(void)node_state_of(a, other);
	for (i = 0; i < a->row_count; i++)
		if (memcmp(a->rows[i].node_key, other->keys.public, KEY_SIZE) ==
		    0)
			return (&a->rows[i]);
	ck_abort_msg("a does not know %s", other->name);
}

/* Mallory is a member that a knows, with a stream of gossip. */
static struct node *
begin(void)
{
	struct Nodemesh__V1__NodeDescriptor *node;
	struct node *a;

	stands_at = mmap(NULL, sizeof(*stands_at), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne((void *)(uintptr_t)stands_at, MAP_FAILED);
	ck_assert_int_eq(pthread_atfork(NULL, NULL, node_begins), 0);
	a = victim_make(0, "alpha");
	UNTIL(node_state_of(a, a) == NODE_ALIVE);
	liar_connect(a, 1);
	liar_call("Gossip");
	node = liar_descriptor(5);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 5);
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	UNTIL(node_state_of(a, &liar.node) != 0);
	return (a);
}

/* Beta, whom a's keyd knows, with a stream to it that is up. */
static struct node *
neighbour(struct node *a, const struct keys *x)
{
	struct node *b = victim_make(1, "beta");
	struct ipc_setup early;
	struct keys y;

	a->saved_count = 1;
	(void)strlcpy(a->saved[0].endpoint, b->endpoint, ENDPOINT_SIZE);
	a->saved[0].certificate = b->certificate;
	keyd_identify(a);
	UNTIL(node_state_of(b, a) == NODE_ALIVE);
	app_up(a, x);
	app_watch(a, x);
	UNTIL(a->presence.status == PRESENCE_LOCAL);
	keys_make(&y);
	setup_make(&early, "early", &y, b, x, a);
	ipc_send(b->keyd, IPC_SETUP_OUT, &early, NULL, 0);
	UNTIL(b->errors == 1);
	return (b);
}

/* An app of mallory's, or one it made up: with a signature of nobody. */
static struct Nodemesh__V1__AppRegistration *
registration(const struct keys *app, const struct node *at, int forged)
{
	struct attestation attestation;

	cast_attest(app, at->name, at->keys.public, &attestation);
	attestation.signature[8] ^= (uint8_t)forged;
	return (wire_registration_make(
	    &attestation, at->name, "s", 1, 1, 0, NULL, 0));
}

/* A sync of at, that mallory brings: full, of those apps. */
static void
liar_sync(const struct node *at, uint64_t sequence,
    struct Nodemesh__V1__AppRegistration **apps, size_t count)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	uint8_t signature[SIGNATURE_SIZE];

	sync.node_id = (char *)(uintptr_t)at->name;
	sync.sequence = sequence;
	sync.full = 1;
	sync.apps = apps;
	sync.n_apps = count;
	cast_sync(&sync, at->name, &at->keys, signature);
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC;
	message.app_sync = &sync;
	liar_gossip(&message);
}

static struct Nodemesh__V1__AppRegistration **
apps_make(const struct node *at, size_t count, int forged)
{
	struct Nodemesh__V1__AppRegistration **apps;
	struct keys app;
	size_t i;

	apps = calloc(count, sizeof(*apps));
	ck_assert_ptr_nonnull(apps);
	for (i = 0; i < count; i++) {
		keys_make(&app);
		apps[i] = registration(&app, at, forged);
		ck_assert_ptr_nonnull(apps[i]);
	}
	return (apps);
}

static void
apps_free(struct Nodemesh__V1__AppRegistration **apps, size_t count)
{
	while (count > 0)
		nodemesh__v1__app_registration__free_unpacked(
		    apps[--count], NULL);
	free(apps);
}

/* A statement that mallory did not sign; the stream ends for it. */
static void
liar_forges(void)
{
	struct Nodemesh__V1__NodeDescriptor *node = liar_descriptor(100);

	node->signature.data[8] ^= 1;
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, node, 100);
	nodemesh__v1__node_descriptor__free_unpacked(node, NULL);
	UNTIL(liar.closed);
}

/* So many that mallory has used up most of its time, and is not yet cut. */
static void
liar_forges_most(void)
{
	unsigned i;

	for (i = 0; i < BUDGET_BAD_MOST; i++) {
		ck_assert_ptr_nonnull(liar.connection);
		liar_forges();
		liar_call("Gossip");
	}
}

/* A few are an error; after many it is cut, and cut again. */
START_TEST(test_forged_statements)
{
	struct node *a = begin();
	unsigned i = 0;

	liar_forges_most();
	ck_assert_uint_eq(row_of(a, &liar.node)->bad, BUDGET_BAD_MOST);
	while (liar.connection != NULL) {
		ck_assert_uint_lt(i++, 4 * BUDGET_BAD_MOST);
		liar_forges();
		if (liar.connection != NULL)
			liar_call("Gossip");
	}
	ck_assert_uint_eq(row_of(a, &liar.node)->connected, 0);
	ck_assert_uint_eq(node_state_of(a, a), NODE_ALIVE);
	liar_close();
}
END_TEST

/* Whose app did not sign is the node's lie, not of him who passes it on. */
START_TEST(test_forged_presence)
{
	struct Nodemesh__V1__AppRegistration **apps;
	struct Nodemesh__V1__NodeDescriptor *other;
	struct node *a = begin(), *trent = node_new(2, "trent");

	node_certify(trent, 0);
	other = cast_descriptor(
	    trent->name, &trent->keys, trent->spki, &trent->certificate, 3, 0);
	liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE, other, 3);
	nodemesh__v1__node_descriptor__free_unpacked(other, NULL);
	UNTIL(node_state_of(a, trent) != 0);
	apps = apps_make(trent, 500, 1);
	liar_sync(trent, 7, apps, 500);
	UNTIL(row_of(a, trent)->bad > 0);
	ck_assert_uint_eq(row_of(a, trent)->bad, BUDGET_BAD_MOST);
	ck_assert_uint_eq(row_of(a, trent)->apps, 0);
	ck_assert_uint_eq(row_of(a, &liar.node)->bad, 0);
	ck_assert_uint_ne(row_of(a, &liar.node)->connected, 0);
	apps_free(apps, 500);
	liar_close();
}
END_TEST

/* Statements that hold, each of which costs two signatures, and large ones
 * that are no news: mallory waits, beta does not, and all is read. Of the time
 * that all this takes on a slow machine a share would be mallory's; so it takes
 * none. */
START_TEST(test_statements_wait)
{
	struct Nodemesh__V1__AppRegistration **apps;
	struct Nodemesh__V1__NodeDescriptor *node;
	struct ipc_setup setup;
	struct node *a = begin(), *b;
	uint64_t incarnation = 5;
	struct keys x, y;
	unsigned i, before;

	keys_make(&x);
	keys_make(&y);
	b = neighbour(a, &x);
	app_up(b, &y);
	app_watch(a, &y);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	apps = apps_make(&liar.node, 1000, 0);
	*stands_at = clock_monotonic();
	liar_forges_most();
	while (row_of(a, &liar.node)->held == 0) {
		ck_assert_uint_lt(incarnation, 100000);
		for (i = 0; i < 8; i++)
			liar_sync(&liar.node, 7, apps, 1000);
		for (i = 0; i < 200; i++) {
			node = liar_descriptor(++incarnation);
			liar_event(NODEMESH__V1__MEMBERSHIP_EVENT__TYPE__ALIVE,
			    node, incarnation);
			nodemesh__v1__node_descriptor__free_unpacked(
			    node, NULL);
		}
		UNTIL(rpc_stream_queued(liar.stream) == 0 ||
		      row_of(a, &liar.node)->held > 0);
	}
	before = a->setups;
	setup_make(&setup, "chat", &y, b, &x, a);
	ipc_send(b->keyd, IPC_SETUP_OUT, &setup, NULL, 0);
	UNTIL(a->setups > before);
	ck_assert_uint_lt(row_of(a, &liar.node)->incarnation, incarnation);
	*stands_at = 0;
	UNTIL(row_of(a, &liar.node)->incarnation == incarnation);
	ck_assert_uint_eq(row_of(a, b)->held, 0);
	ck_assert_uint_eq(row_of(a, &liar.node)->bad, BUDGET_BAD_MOST);
	apps_free(apps, 1000);
	liar_close();
}
END_TEST

/* A Join of mallory's, who is a member already, that is granted. */
static void
liar_joins(const struct node *a)
{
	struct Nodemesh__V1__JoinRequest request =
	    NODEMESH__V1__JOIN_REQUEST__INIT;
	uint8_t nonce[KEY_SIZE] = { 1 }, signature[SIGNATURE_SIZE], *packed;
	uint8_t digest[KEY_SIZE];
	size_t length;

	wire_join_digest(world.secret, nonce, a->keys.public, digest);
	cast_state(STATEMENT_JOIN, liar.node.name, &liar.node.keys, 0, digest,
	    signature);
	request.node = liar_descriptor(5);
	request.nonce.data = nonce;
	request.nonce.len = sizeof(nonce);
	request.signature.data = signature;
	request.signature.len = sizeof(signature);
	request.ticket_secret.data = world.secret;
	request.ticket_secret.len = TICKET_SECRET_SIZE;
	length = nodemesh__v1__join_request__get_packed_size(&request);
	packed = malloc(length);
	nodemesh__v1__join_request__pack(&request, packed);
	liar_call("Join");
	ck_assert_int_eq(rpc_stream_send(liar.stream, packed, length), 0);
	rpc_stream_half_close(liar.stream);
	UNTIL(liar.closed);
	ck_assert_int_eq(liar.status, RPC_OK);
	free(packed);
	nodemesh__v1__node_descriptor__free_unpacked(request.node, NULL);
}

/* They cost signatures and a write to the disk. */
START_TEST(test_joins_wait)
{
	struct node *a = begin();
	unsigned i = 0;

	*stands_at = clock_monotonic();
	liar_forges_most();
	while (row_of(a, &liar.node)->held == 0) {
		ck_assert_uint_lt(i++, 200);
		liar_joins(a);
	}
	*stands_at = 0;
	liar_joins(a);
	liar_close();
}
END_TEST

/* Time stands still, and mallory has less than a tenth of a second left. */
static void
liar_spends_most(const struct node *a)
{
	unsigned i;

	*stands_at = clock_monotonic();
	liar_forges_most();
	for (i = 0; i < 70; i++)
		liar_joins(a);
}

/* The shortest messages there are, each of which is answered. */
START_TEST(test_pings_wait)
{
	struct Nodemesh__V1__GossipMessage message =
	    NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__Ping body = NODEMESH__V1__PING__INIT;
	struct node *a = begin();
	const unsigned *acks =
	    &liar.heard[NODEMESH__V1__GOSSIP_MESSAGE__BODY_ACK];
	unsigned sent = 0, i;

	liar_spends_most(a);
	liar_call("Gossip");
	body.target = a->name;
	message.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_PING;
	message.ping = &body;
	while (row_of(a, &liar.node)->held == 0) {
		ck_assert_uint_lt(sent, 60000);
		for (i = 0; i < 1000; i++, sent++)
			liar_gossip(&message);
		UNTIL(rpc_stream_queued(liar.stream) == 0 ||
		      row_of(a, &liar.node)->held > 0);
	}
	*stands_at = 0;
	UNTIL(*acks == sent);
	liar_close();
}
END_TEST

/* Frames of no chat that there is, and those that a chat has few of. */
START_TEST(test_frames_wait)
{
	static const enum frame_body bodies[] = { FRAME_NONE, FRAME_RELAY,
		FRAME_ERROR, FRAME_RELAY_ACK, FRAME_CREDIT };
	static const uint8_t handle[KEY_SIZE] = { 7 };
	struct frame frame = { .body = bodies[_i], .handle = handle };
	struct node *a = begin();
	unsigned sent = 0, i;

	frame.word.bytes = (const uint8_t *)"CHAT_NOT_READY";
	frame.word.length = 14;
	frame.sequence = frame.messages = 1;
	liar_spends_most(a);
	liar_call("RouteChat");
	while (row_of(a, &liar.node)->held == 0) {
		ck_assert_uint_lt(sent, 120000);
		for (i = 0; i < 1000; i++, sent++)
			liar_frame(&frame);
		UNTIL(rpc_stream_queued(liar.stream) == 0 ||
		      row_of(a, &liar.node)->held > 0);
	}
	*stands_at = 0;
	UNTIL(rpc_stream_queued(liar.stream) == 0);
	liar_close();
}
END_TEST

/* Streams that end as they begin, each of which has the router look at all the
 * chats with mallory. */
START_TEST(test_streams_wait)
{
	struct node *a = begin();
	unsigned i = 0;

	liar_spends_most(a);
	while (row_of(a, &liar.node)->held == 0) {
		ck_assert_uint_lt(i++, 2000);
		liar_call("RouteChat");
		rpc_stream_half_close(liar.stream);
		UNTIL(liar.closed);
	}
	*stands_at = 0;
	liar_call("RouteChat");
	rpc_stream_half_close(liar.stream);
	UNTIL(liar.closed);
	liar_close();
}
END_TEST

/* What is known costs nothing again, and much at once is no abuse: so many
 * apps come back, and are told of again and again. */
START_TEST(test_many_apps_come_back)
{
	struct Nodemesh__V1__AppRegistration **apps;
	struct node *a = begin();
	unsigned i;

	apps = apps_make(&liar.node, PRESENCE_APPS_MAX, 0);
	liar_sync(&liar.node, 7, apps, PRESENCE_APPS_MAX);
	/* As many as this directory takes. */
	UNTIL(row_of(a, &liar.node)->apps == 1000);
	for (i = 0; i < 40; i++)
		liar_sync(&liar.node, 8 + i, apps, 1000);
	liar_sync(&liar.node, 8 + i, apps, 999);
	UNTIL(row_of(a, &liar.node)->apps == 999);
	ck_assert_uint_eq(row_of(a, &liar.node)->held, 0);
	ck_assert_uint_eq(row_of(a, &liar.node)->bad, 0);
	apps_free(apps, PRESENCE_APPS_MAX);
	liar_close();
}
END_TEST

/* a's keyd has refused set-ups of mallory's: 8 s of 4 are gone. */
static void
keyd_refuses(struct node *a, const struct ipc_setup *setup)
{
	struct ipc_setup_refused refused = { .key = setup->key,
		.code = CODE_AUTH_FAILED };
	unsigned i;

	memcpy(refused.node, liar.node.keys.public, KEY_SIZE);
	for (i = 0; i < 8000000 / BUDGET_REFUSED; i++)
		ipc_send(a->keyd, IPC_SETUP_REFUSED, &refused, NULL, 0);
	(void)node_state_of(a, a);
}

/* Mallory's set-up of a chat that there was before. */
static void
liar_resumes(struct ipc_setup *setup, unsigned count)
{
	struct frame frame = { .body = FRAME_SETUP };
	struct ipc_identity identity = { .unlocked = 1 };
	uint8_t *packed;
	unsigned i;

	memcpy(identity.node_id, liar.node.name, NODE_ID_SIZE);
	memcpy(identity.node_key, liar.node.keys.public, KEY_SIZE);
	packed =
	    frame_setup_pack(setup, NULL, 0, &identity, &frame.setup.length);
	ck_assert_ptr_nonnull(packed);
	frame.setup.bytes = packed;
	for (i = 0; i < count; i++)
		liar_frame(&frame);
	free(packed);
}

/* Mallory's set-up, of an app of its own with x, who is at a. */
static void
mallorys_make(struct ipc_setup *setup, struct node *a, const struct keys *x)
{
	struct Nodemesh__V1__AppRegistration *app;
	struct keys z;

	keys_make(&z);
	app = registration(&z, &liar.node, 0);
	liar_sync(&liar.node, 7, &app, 1);
	nodemesh__v1__app_registration__free_unpacked(app, NULL);
	UNTIL(row_of(a, &liar.node)->apps == 1);
	liar_call("RouteChat");
	setup_make(setup, "mallory's", &z, &liar.node, x, a);
	setup->flags |= CHAT_RESUME;
}

/* Mallory and beta, which is returned, have each a set-up for an app of a,
 * whose keyd stands still. */
static struct node *
rivals_make(struct node *a, struct ipc_setup *mallorys, struct ipc_setup *betas)
{
	static struct keys x, y;
	struct node *b;

	keys_make(&x);
	keys_make(&y);
	b = neighbour(a, &x);
	app_up(b, &y);
	app_watch(a, &y);
	UNTIL(a->presence.status == PRESENCE_FOUND);
	mallorys_make(mallorys, a, &x);
	setup_make(betas, "beta's", &y, b, &x, a);
	keyd_refuses(a, mallorys);
	ipc_pause(a->keyd, 1);
	return (b);
}

/* Set-ups that go on to keyd, which is behind with them: mallory, whose share
 * is used up, waits, beta does not, and all of them come in the end. */
START_TEST(test_set_ups_wait)
{
	struct ipc_setup mallorys, betas;
	struct node *a = begin(), *b = rivals_make(a, &mallorys, &betas);
	struct keys z;
	unsigned before = a->setups;

	keys_make(&z);
	a->wanted = betas.chat_id;
	liar_resumes(&mallorys, MANY);
	UNTIL(row_of(a, &liar.node)->held > 0);
	ipc_send(b->keyd, IPC_SETUP_OUT, &betas, NULL, 0);
	/* What beta says after it has come to a. */
	app_up(b, &z);
	UNTIL(row_of(a, b)->apps == 2);
	ipc_pause(a->keyd, 0);
	UNTIL(a->wanted_at != 0);
	ck_assert_uint_lt(a->wanted_at - before, MANY);
	UNTIL(a->setups - before == MANY + 1);
	ck_assert_uint_eq(row_of(a, b)->held, 0);
	ck_assert_uint_eq(row_of(a, &liar.node)->bad, 0);
	liar_close();
}
END_TEST

/* As long as keyd keeps up, a member has more than its share. */
START_TEST(test_set_ups_alone)
{
	struct ipc_setup mallorys;
	struct node *a = begin(), *b;
	struct keys x;
	unsigned before, done;

	keys_make(&x);
	b = neighbour(a, &x);
	mallorys_make(&mallorys, a, &x);
	keyd_refuses(a, &mallorys);
	before = a->setups;
	for (done = 0; done < MANY; done += FEW) {
		liar_resumes(&mallorys, FEW);
		UNTIL(a->setups - before == done + FEW);
	}
	ck_assert_uint_eq(row_of(a, &liar.node)->held, 0);
	ck_assert_uint_eq(row_of(a, b)->held, 0);
	liar_close();
}
END_TEST

/* Mallory ends so many chats that there are not. */
static void
liar_ends(unsigned count)
{
	static const uint8_t handle[KEY_SIZE] = { 7 };
	struct frame frame = { .body = FRAME_TEARDOWN, .handle = handle };

	frame.word.bytes = (const uint8_t *)"deleted";
	frame.word.length = 7;
	while (count-- > 0)
		liar_frame(&frame);
}

/* They cost keyd time as well: nobody is kept from it with them. */
START_TEST(test_ends_wait)
{
	struct ipc_setup mallorys, betas;
	struct node *a = begin(), *b = rivals_make(a, &mallorys, &betas);
	unsigned before = a->setups;

	liar_ends(MANY);
	UNTIL(row_of(a, &liar.node)->held > 0);
	ipc_pause(a->keyd, 0);
	ipc_send(b->keyd, IPC_SETUP_OUT, &betas, NULL, 0);
	UNTIL(a->setups > before);
	UNTIL(a->teardowns == 2 * MANY);
	ck_assert_uint_eq(row_of(a, b)->held, 0);
	liar_close();
}
END_TEST

/* The most memory that a node's process had. */
static size_t
peak_of(const struct node *node)
{
	char path[64], line[256];
	unsigned long kib = 0;
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/status", (int)node->pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof(line), file) != NULL)
		if (strncmp(line, "VmHWM:", 6) == 0)
			kib = strtoul(line + 6, NULL, 10);
	(void)fclose(file);
	ck_assert_uint_ne(kib, 0);
	return (kib * 1024);
}

/* A message makes little more memory than it is long. */
START_TEST(test_parts_of_two_bytes)
{
	struct node *a = begin();
	const size_t length = 4000000;
	uint8_t *bytes;
	size_t before = peak_of(a), i;

	bytes = calloc(1, length + 16);
	ck_assert_ptr_nonnull(bytes);
	/* An AppSync (3) of that many bytes, in which apps (2) of none. */
	bytes[0] = 3 << 3 | 2;
	for (i = 0; i < 4; i++)
		bytes[1 + i] =
		    (uint8_t)((length >> (7 * i) & 0x7f) | (i < 3) << 7);
	for (i = 0; i < length; i += 2)
		bytes[5 + i] = 2 << 3 | 2;
	ck_assert_int_eq(rpc_stream_send(liar.stream, bytes, length + 5), 0);
	free(bytes);
	liar_forges();
	ck_assert_uint_lt(peak_of(a), before + 64 * 1024 * 1024);
	ck_assert_uint_eq(node_state_of(a, a), NODE_ALIVE);
	liar_close();
}
END_TEST

/* Nor does what an honest node says of its apps count as more: these have as
 * many pairs of metadata as they may, each as short as it can be. */
START_TEST(test_parts_of_apps)
{
	struct Nodemesh__V1__AppRegistration__MetadataEntry pairs[PAIRS_MOST];
	struct Nodemesh__V1__AppRegistration__MetadataEntry *list[PAIRS_MOST];
	struct Nodemesh__V1__AppRegistration *apps[1000];
	struct Nodemesh__V1__GossipMessage *message,
	    whole = NODEMESH__V1__GOSSIP_MESSAGE__INIT;
	struct Nodemesh__V1__AppSync sync = NODEMESH__V1__APP_SYNC__INIT;
	struct attestation attestation;
	char names[PAIRS_MOST][2] = { "" }, node[] = "n";
	struct keys app;
	uint8_t *bytes;
	size_t length, i;

	for (i = 0; i < PAIRS_MOST; i++) {
		names[i][0] = (char)('!' + i);
		nodemesh__v1__app_registration__metadata_entry__init(&pairs[i]);
		pairs[i].key = names[i];
		list[i] = &pairs[i];
	}
	keys_make(&app);
	cast_attest(&app, node, app.public, &attestation);
	for (i = 0; i < 1000; i++)
		apps[i] = wire_registration_make(
		    &attestation, node, "s", 1, 1, 0, list, PAIRS_MOST);
	sync.node_id = node;
	sync.apps = apps;
	sync.n_apps = 1000;
	whole.body_case = NODEMESH__V1__GOSSIP_MESSAGE__BODY_APP_SYNC;
	whole.app_sync = &sync;
	length = nodemesh__v1__gossip_message__get_packed_size(&whole);
	bytes = malloc(length);
	ck_assert_ptr_nonnull(bytes);
	nodemesh__v1__gossip_message__pack(&whole, bytes);
	message = unpack_bounded(
	    &nodemesh__v1__gossip_message__descriptor, bytes, length);
	ck_assert_ptr_nonnull(message);
	nodemesh__v1__gossip_message__free_unpacked(message, NULL);
	for (i = 0; i < 1000; i++)
		nodemesh__v1__app_registration__free_unpacked(apps[i], NULL);
	free(bytes);
}
END_TEST

static Suite *
budget_suite(void)
{
	Suite *suite = suite_create("mesh_budget");
	TCase *tcase = tcase_create("budget");

	tcase_set_timeout(tcase, 180);
	tcase_add_checked_fixture(tcase, world_open, world_close);
	tcase_add_test(tcase, test_forged_statements);
	tcase_add_test(tcase, test_forged_presence);
	tcase_add_test(tcase, test_statements_wait);
	tcase_add_test(tcase, test_joins_wait);
	tcase_add_test(tcase, test_pings_wait);
	tcase_add_loop_test(tcase, test_frames_wait, 0, 5);
	tcase_add_test(tcase, test_streams_wait);
	tcase_add_test(tcase, test_many_apps_come_back);
	tcase_add_test(tcase, test_set_ups_wait);
	tcase_add_test(tcase, test_set_ups_alone);
	tcase_add_test(tcase, test_ends_wait);
	tcase_add_test(tcase, test_parts_of_two_bytes);
	tcase_add_test(tcase, test_parts_of_apps);
	suite_add_tcase(suite, tcase);
	return (suite);
}

int
main(void)
{
	if (sodium_init() == -1)
		return (1);
	return (suite_run(budget_suite()));
}
