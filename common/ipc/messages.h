/*
 * Any process of hermesd. The payload structs of messages.def. Fixed width,
 * no pointer, no padding that is not named (zero). Times are ns since the
 * epoch unless said; texts end in NUL within their array; app, node and
 * other keys are raw bytes. A receiver checks every field it uses.
 *
 * A chat is named by struct chat_key everywhere: handle and local side. Two
 * apps of one node have one chat of two sides there, both of which exist at
 * router, keyd and mesh.
 */
#ifndef COMMON_IPC_MESSAGES_H
#define COMMON_IPC_MESSAGES_H

#include <stdint.h>

#include "common/proc/config.h"
#include "common/sign/attestation.h"
#include "common/sign/certificate.h"
#include "common/sign/ids.h"
#include "common/sign/offer.h"
#include "common/sign/ticket.h"

struct ipc_empty {
	uint64_t zero;
};

/* A question that control numbers and gets back with the answer. */
struct ipc_request {
	uint64_t id;
	uint64_t value; /* METRICS, SHOW_END: entries; PONG: ipc_condition */
};

/* The value of NAMES_FILE. */
enum ipc_names { NAMES_RESOLVER, NAMES_HOSTS };

/* How a child that answers the parent is. */
enum ipc_condition {
	CONDITION_SERVES,
	CONDITION_LOCKED, /* keyd: no passphrase yet */
	CONDITION_STORE,  /* keyd: the store cannot be written */
	CONDITION_COUNT
};

/* --- start and stop ------------------------------------------------------ */

/*
 * The parent's order to a new child: CONFIG, DOOR for each neighbour,
 * LISTENERs, TLS_FILE and PASSPHRASE where due, GO; the child answers READY.
 * A later DOOR to the same peer replaces a dead one. A later CONFIG is a
 * reload; LISTENERS_CLOSE before new LISTENERs.
 */
struct ipc_door {
	uint64_t peer; /* enum process; BROKEN: kill it */
};

struct ipc_listener {
	uint32_t kind;  /* enum listener_kind */
	uint32_t index; /* in config.listen[kind] */
};

/* Stop in order: router drains first, then mesh, then keyd closes. */
struct ipc_shutdown {
	int64_t grace; /* ns to finish in */
};

struct ipc_process_state {
	uint16_t process;   /* enum process */
	uint16_t condition; /* enum ipc_condition, as it last said */
	uint32_t pid;       /* 0: down */
	uint64_t restarts;
	int64_t since;
};

/* --- identity and signatures --------------------------------------------- */

/*
 * Sent to each neighbour when a door opens and whenever it changes. Before
 * unlock only node_id (from the config) is set. TLS_CERTIFICATE comes before.
 */
struct ipc_identity {
	uint32_t unlocked;
	uint32_t in_mesh;   /* certificate is set */
	uint32_t authority; /* this node holds the mesh key */
	uint32_t zero;
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint8_t mesh_id[KEY_SIZE];
	uint8_t authority_key[KEY_SIZE];
	struct certificate certificate;
	uint8_t app_spki[KEY_SIZE]; /* SHA-256 */
	uint8_t mesh_spki[KEY_SIZE];
	uint64_t incarnation; /* higher at each start */
	uint64_t presence;    /* highest number signed */
};

enum tls_role {
	TLS_APP = 1, /* router's listener */
	TLS_MESH = 2 /* mesh, both directions */
};

/* tail: the certificate chain as PEM. Control gets TLS_APP's, to show. */
struct ipc_tls_certificate {
	uint64_t role; /* enum tls_role */
};

/* ECDSA over a digest with the sender's own TLS key: router TLS_APP, mesh
 * TLS_MESH. length 0 in the answer: refused. */
struct ipc_sign_digest {
	uint64_t length; /* 20 to 64 */
	uint8_t digest[64];
};

struct ipc_signed_digest {
	uint64_t length;
	uint8_t signature[80]; /* DER */
};

struct ipc_challenge {
	uint64_t id; /* the router's, echoed */
	uint8_t nonce[KEY_SIZE];
};

struct ipc_challenge_signed {
	uint64_t id;
	uint8_t signature[SIGNATURE_SIZE];
};

/* Sign a statement of this node (common/sign/statement.h). keyd fills in
 * node_id and key, refuses (ok 0) revocations and numbers that go back. */
struct ipc_statement {
	uint64_t id;
	uint32_t kind; /* enum statement_kind */
	uint32_t zero;
	uint64_t number;
	uint8_t digest[KEY_SIZE];
};

struct ipc_statement_signed {
	uint64_t id;
	uint64_t ok;
	uint8_t signature[SIGNATURE_SIZE];
};

/* A joining node shows a ticket's secret; keyd of the authority counts the
 * use and certifies name and key, in one transaction. */
struct ipc_redeem {
	uint64_t id;
	uint8_t secret[TICKET_SECRET_SIZE];
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
};

enum redeem_result {
	REDEEM_OK = 1,
	REDEEM_UNKNOWN,    /* no such ticket, or used up, or expired */
	REDEEM_NAME_TAKEN, /* another key has that node_id */
	REDEEM_NOT_AUTHORITY,
	REDEEM_REVOKED
};

/* A node without a ticket proved that name and key; keyd of the authority
 * certifies them if a peer line names both. Answered by REDEEMED. */
struct ipc_admit {
	uint64_t id;
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
};

/* A member shows its certificate, still good, to have a later one. Answered
 * by REDEEMED. */
struct ipc_renew {
	uint64_t id;
	struct certificate certificate;
};

struct ipc_redeemed {
	uint64_t id;
	uint64_t result; /* enum redeem_result */
	struct certificate certificate;
};

/* mesh: this node was certified. keyd checks, stores, sends IDENTITY. */
struct ipc_membership {
	struct certificate certificate;
	uint8_t authority_key[KEY_SIZE];
};

/*
 * A node that a peer line names signed a descriptor with its certificate, whose
 * authority is this one. The tail is what it signed: the body of the statement
 * DESCRIPTOR, as mesh/wire.h has it.
 */
#define VOUCHER_BODY_MAX 8192
struct ipc_voucher {
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint64_t incarnation;
	uint8_t signature[SIGNATURE_SIZE];
	uint8_t authority_key[KEY_SIZE];
};

/* A member to be remembered across restarts. keyd sends all at start. */
struct ipc_peer {
	char endpoint[ENDPOINT_SIZE];
	struct certificate certificate;
};

/* keyd -> mesh: of this authority, or remembered; at start and when new.
 * mesh -> keyd (REVOKED): heard of; keyd checks it, remembers it and ends the
 * chats with that node. */
struct ipc_revocation {
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	uint64_t serial;
	int64_t revoked_at;
	uint8_t signature[SIGNATURE_SIZE];
};

/* --- presence and routes ------------------------------------------------- */

/* An app connected. tail: Connect.metadata as a packed approuter.v1.Connect
 * with only metadata set. A second APP_UP of the app replaces the first. */
struct ipc_app_up {
	struct attestation attestation;
	char session_id[40];
	int64_t connected_at;
};

struct ipc_app {
	uint8_t app[KEY_SIZE];
};

/* mesh -> router: the app signed itself in at another node, later than the
 * session here that it was told of (issued_at of that attestation, ns). */
struct ipc_app_moved {
	uint8_t app[KEY_SIZE];
	int64_t issued_at;
};

struct ipc_find {
	uint64_t id;
	uint8_t app[KEY_SIZE];
	char node_hint[NODE_ID_SIZE]; /* "" none */
};

enum presence_status {
	PRESENCE_UNKNOWN = 0,
	PRESENCE_LOCAL = 1,
	PRESENCE_FOUND = 2
};

struct ipc_found {
	uint64_t id;
	uint8_t app[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	uint64_t status; /* enum presence_status */
};

/*
 * WATCH: tell me where this app is, now and at every change, until UNWATCH.
 * The first PRESENCE after a WATCH comes when the mesh was asked, so UNKNOWN
 * is an answer. attestation is set unless UNKNOWN. reachable: the app's node
 * is believed alive.
 */
struct ipc_presence {
	uint8_t app[KEY_SIZE];
	uint32_t status; /* enum presence_status */
	uint32_t reachable;
	char node_id[NODE_ID_SIZE];
	struct attestation attestation;
};

/* What NodeHint tells apps; sent for each other member at start and at each
 * change. */
struct ipc_node_state {
	char node_id[NODE_ID_SIZE];
	char app_endpoint[ENDPOINT_SIZE]; /* "" not known */
	uint8_t node_key[KEY_SIZE];
	uint32_t alive; /* 0: failed, left or revoked */
	uint32_t zero;
};

/*
 * The RouteChat stream with a node came up (again) or broke. At UP the router
 * starts every chat with that node again (CHAT_START, resume), because frames
 * may have been lost. ended 1 at DOWN: the node failed or left for good
 * (route grace is over): its chats end with route_unavailable; 2: it was
 * revoked, and they end with that word.
 */
struct ipc_tieline {
	uint8_t node_key[KEY_SIZE];
	uint64_t ended;
};

/*
 * router -> mesh: the local app of key was given the peer's messages up to
 * sequence (all before it too). mesh -> router: the same of the peer, for
 * key's local app.
 */
struct ipc_relay_ack {
	struct chat_key key;
	uint64_t sequence;
};

/* How much the peer may have unacknowledged in the chat: router -> mesh
 * grants, mesh -> router is granted. */
struct ipc_credit {
	struct chat_key key;
	uint32_t messages;
	uint32_t bytes;
};

/* --- chats --------------------------------------------------------------- */

enum rekey_cause {
	CAUSE_NONE = 0, /* first epoch */
	CAUSE_APP,
	CAUSE_OPERATOR,
	CAUSE_AGE,
	CAUSE_COUNT,
	CAUSE_RESUME,
	CAUSE_RECOVERY,
	CAUSE_COUNT_OF
};

/* An answer with a code word; also RouteError. expected: a version, with
 * REPLAYED_KEY and INVALID_FRAME. */
struct ipc_chat_code {
	struct chat_key key;
	uint32_t code; /* enum hermes_code */
	uint32_t expected;
	int64_t retry_after; /* ns */
};

/*
 * keyd -> router, after unlock and after each new door: every chat in the
 * store, then CHAT_RECORDS_END. The router knows no chat before.
 */
struct ipc_chat_record {
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint8_t peer_node[KEY_SIZE];
	uint32_t version;
	uint32_t reset;     /* the app has yet to hear of one (CHAT_READY) */
	uint64_t accepted;  /* last sequence sealed from local */
	uint64_t acked;     /* last one acknowledged by the peer */
	uint64_t delivered; /* last peer sequence given to local */
	int64_t created_at;
	uint8_t instance[INSTANCE_SIZE]; /* 0: no epoch yet */
};

#define CHAT_REKEY    0x1  /* the app asks for a new epoch */
#define CHAT_RESUME   0x2  /* the chat exists; make both ends agree */
#define CHAT_HAS_KEY  0x4  /* app_key is set */
#define CHAT_AUTO     0x8  /* accepted for the app (accept=auto) */
#define CHAT_CONTINUE 0x10 /* the app had it elsewhere, at version */

/*
 * The local app starts, accepts, rekeys or resumes a chat, and its peer is
 * where peer says. version 0: the next one (or, to resume, the present one).
 * tail: the app's StartChat as packed protobuf (source_app_id filled in),
 * opaque to keyd, relayed to the peer app with the offer; empty on a resume
 * that the router makes by itself. Answered by CHAT_READY or CHAT_ERROR,
 * when the peer has answered; the router asks again at TIELINE_UP. With
 * CHAT_RESUME, of a chat that is over: by nothing, as CHAT_ENDED is on its way.
 */
struct ipc_chat_start {
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	struct attestation local;
	struct attestation peer;
	uint32_t version;
	uint32_t flags;            /* CHAT_* */
	uint8_t app_key[KEY_SIZE]; /* X25519, the app's */
	uint64_t delivered;        /* as CHAT_PROGRESS */
	uint64_t acked;
	uint8_t instance[INSTANCE_SIZE]; /* which it had; 0: not said */
};

/*
 * The peer app wants this chat (its offer verified): the router tells the
 * local app with the StartChat in tail. The chat is ready when the router
 * sends CHAT_START for it. Sent again if the offer is renewed.
 */
struct ipc_chat_offer {
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint8_t peer_node[KEY_SIZE];
	uint32_t version;
	uint32_t flags; /* CHAT_REKEY, CHAT_HAS_KEY */
};

/*
 * An epoch is in force. resumed 1: a set-up or resume finished; the router
 * takes delivered up to at least peer_acked, drops unacknowledged messages up
 * to peer_delivered and sends the rest again, in order. resumed 0: only the
 * key changed (a rekey of a running chat); nothing is sent again.
 * first: the chat is new. sealing may start.
 */
struct ipc_chat_ready {
	struct chat_key key;
	uint32_t version;
	uint32_t cause; /* enum rekey_cause */
	uint32_t resumed;
	uint32_t first;
	uint32_t reset; /* the link was started again */
	uint32_t zero;
	uint64_t peer_delivered;
	uint64_t peer_acked;
	uint8_t instance[INSTANCE_SIZE];
};

/*
 * keyd -> router: the local app should renew its own key (StartChat.rekey):
 * the nodes' key below it changed, but not because an app asked; or the chat
 * will end soon if nobody renews anything.
 */
struct ipc_chat_wanted {
	struct chat_key key;
	uint32_t version; /* in force */
	uint32_t zero;
};

/* Recorded with keyd's next transaction. May lag, never leads. */
struct ipc_chat_progress {
	struct chat_key key;
	uint64_t delivered;  /* to the local app's stream */
	uint64_t acked;      /* by the peer's node */
	uint64_t reset_told; /* 1: the app heard of the reset in CHAT_READY */
};

/*
 * router -> keyd: end the chat; keyd erases, leaves a tombstone, tells the
 * peer. keyd -> router: it is erased, for this reason (also when the peer
 * or a timer ended it). Without a status: the app had the chat at another
 * node since, and goes on from there; nobody else is told. keyd says that
 * unasked, too, of a chat (instance) in whose place the app has another.
 */
struct ipc_chat_end {
	struct chat_key key;
	uint64_t status; /* enum hermes_status */
	uint8_t instance[INSTANCE_SIZE];
};

/*
 * A signed offer on its way between the keyds. OUT: for node. IN: from node,
 * as TLS named it; peer is the presence of the peer app as the directory has
 * it (keyd checks it). delivered, acked, answer, rekey: as in
 * nodemesh.v1.Resume; delivered counts the receiver's app's sequences.
 * acked: the sender's own messages that the receiver acknowledged.
 * tail: StartChat as packed protobuf, may be empty.
 */
struct ipc_setup {
	struct chat_key key; /* of the local side */
	uint8_t node[KEY_SIZE];
	char chat_id[CHAT_ID_SIZE + 7];
	struct offer offer;
	struct attestation peer; /* IN only */
	uint64_t delivered;
	uint64_t acked;
	uint32_t answer;
	uint32_t flags; /* CHAT_REKEY, CHAT_RESUME */
	uint32_t cause; /* enum rekey_cause; a peer may lie */
	uint32_t zero;
	/* Which chat the sender has; 0: none yet. In the offer, too, but for
	 * that of the first epoch, which was made before it. */
	uint8_t instance[INSTANCE_SIZE];
	/* IN only: when the local app signed that it is here; 0: it is away. */
	int64_t local_issued;
};

/* keyd will not take a SETUP_IN: RouteError to node. */
struct ipc_setup_refused {
	struct chat_key key;
	uint8_t node[KEY_SIZE];
	uint32_t code; /* enum hermes_code */
	uint32_t expected;
	int64_t retry_after;
};

/* TEARDOWN_OUT without a status: what came was the end, nobody is told. */
struct ipc_teardown {
	struct chat_key key;
	uint8_t node[KEY_SIZE];
	char chat_id[CHAT_ID_SIZE + 7];
	uint32_t status;                 /* enum hermes_status, sender's word */
	uint32_t version;                /* floor */
	uint8_t instance[INSTANCE_SIZE]; /* which ended; 0: not said */
};

/* --- the road of a message ----------------------------------------------- */

/* tail: the payload. */
struct ipc_seal {
	struct chat_key key;
	uint64_t sequence;
};

/* tail: ciphertext and 16 bytes of tag. SEALED: key is the sender's side.
 * OPEN: key is the receiver's side. */
struct ipc_sealed {
	struct chat_key key;
	uint64_t sequence; /* the app's */
	uint64_t counter;  /* the ratchet's, in its epoch */
	uint32_t version;
	uint32_t zero;
};

/* tail: the payload, to the router of key's local app. */
struct ipc_opened {
	struct chat_key key;
	uint64_t sequence;
};

/* --- operators ----------------------------------------------------------- */

enum show_what {
	SHOW_SESSIONS = 1, /* router */
	SHOW_CHATS,        /* router */
	SHOW_RATCHETS,     /* keyd */
	SHOW_NODES,        /* mesh */
	SHOW_APPS,         /* mesh */
	SHOW_TIELINES,     /* mesh */
	SHOW_TICKETS,      /* keyd */
	SHOW_PENALTIES,    /* router and mesh */
	SHOW_KINDS
};

struct ipc_show {
	uint64_t id;
	uint64_t what;
};

struct ipc_row_session {
	uint64_t id;
	uint8_t app[KEY_SIZE];
	char session_id[40];
	char address[72];
	int64_t connected_at;
	uint64_t messages_in; /* from the app */
	uint64_t messages_out;
	uint64_t kept; /* bytes of messages that wait */
	uint32_t chats;
	uint32_t v1;
};

enum chat_state {
	CHAT_STATE_NONE = 0,
	CHAT_STATE_OFFERED, /* one side has said StartChat */
	CHAT_STATE_READY,
	CHAT_STATE_REKEYING,
	CHAT_STATE_SUSPENDED,
	CHAT_STATE_GONE
};

struct ipc_row_chat {
	uint64_t id;
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t instance[INSTANCE_SIZE]; /* 0: no epoch yet */
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	char peer_node_id[NODE_ID_SIZE]; /* "" not known */
	uint32_t state;                  /* enum chat_state */
	uint32_t version;
	uint64_t accepted;
	uint64_t acked;
	uint64_t delivered;
	uint64_t parked; /* messages beyond the window */
};

struct ipc_row_ratchet {
	uint64_t id;
	struct chat_key key;
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint8_t peer_node[KEY_SIZE];
	uint32_t version;
	uint32_t rekeys;
	uint64_t send_count;
	uint64_t receive_count;
	int64_t last_ratchet_at;
	int64_t next_rekey_by; /* 0: none due */
	uint32_t derived;      /* an epoch is in force */
	uint32_t resumed;      /* the chat is older than this keyd */
	uint32_t expired;
	uint32_t previous_epoch_open;
	uint32_t confirmed; /* the peer has shown version too */
	uint32_t offered;   /* version not yet answered; 0: none */
	uint32_t sha512;    /* of the epoch in force */
	uint32_t aes;
	int64_t throttled_until; /* 0: the app may rekey */
};

enum node_state {
	NODE_ALIVE = 1,
	NODE_SUSPECT,
	NODE_FAILED,
	NODE_LEFT,
	NODE_REVOKED,
	NODE_EXPIRED /* only in rows: its membership ran out */
};

struct ipc_row_node {
	uint64_t id;
	char node_id[NODE_ID_SIZE];
	uint8_t node_key[KEY_SIZE];
	char endpoint[ENDPOINT_SIZE];
	uint32_t state; /* enum node_state */
	uint32_t self;
	uint64_t incarnation;
	int64_t rtt;       /* ns; 0 not measured */
	int64_t not_after; /* of its certificate */
	int64_t last_seen; /* ns ago, own clock; -1 never */
	uint64_t apps;
	uint64_t held; /* how often it was not read for a while */
	uint64_t bad;  /* signatures that did not hold */
	uint32_t connected;
	uint32_t zero;
};

struct ipc_row_app {
	uint64_t id;
	uint8_t app[KEY_SIZE];
	char node_id[NODE_ID_SIZE];
	int64_t connected_at;
	uint64_t local;
};

struct ipc_row_penalty {
	uint64_t id;
	char source[56]; /* "192.0.2.1/32" */
	int64_t left;    /* ns of penalty */
	uint64_t offences;
	uint64_t refused;  /* connections */
	uint32_t kept_out; /* it is not served */
	uint32_t apps;     /* by the listener of apps; or of nodes */
};

struct ipc_row_tieline {
	uint64_t id;
	struct chat_key key;
	char node_id[NODE_ID_SIZE];
	uint32_t up;
	uint32_t zero;
	uint64_t sent;
	uint64_t received;
};

enum event_kind {
	EVENT_JOIN = 1, /* mesh: a node, node_id and key */
	EVENT_ALIVE,
	EVENT_SUSPECT,
	EVENT_FAIL,
	EVENT_LEAVE,
	EVENT_REVOKE,
	EVENT_CHAT_READY, /* router: a chat of local_app and peer_app */
	EVENT_CHAT_RESUMED,
	EVENT_CHAT_ENDED, /* detail: enum hermes_status */
	EVENT_REKEY,      /* detail: enum rekey_cause */
	EVENT_ERASURE,    /* keyd: the store key was replaced */
	EVENT_RENEWED,    /* keyd: this node's membership */
	EVENT_KINDS
};

/* NEW_CHATS: value 0, they are taken; else why not, bits of enum readiness.
 * Old ones go on either way. Who is refused may ask again after CHATS_RETRY
 * ns. */
#define CHATS_RETRY INT64_C(5000000000)

/* EVENTS_WANTED: value 1 from now on, 0 no more. EVENT: something happened,
 * for who watches; proc_event() sends it. lost: so many
 * of the sender's were not sent before it. */
struct ipc_event {
	uint32_t kind; /* enum event_kind */
	uint32_t detail;
	int64_t at; /* ns since the epoch */
	uint64_t lost;
	char node_id[NODE_ID_SIZE];
	uint8_t key[KEY_SIZE]; /* of the node; or chat handle */
	char chat_id[CHAT_ID_SIZE + 7];
	uint8_t local_app[KEY_SIZE];
	uint8_t peer_app[KEY_SIZE];
	uint64_t version;
};

/* A ticket is named by the start of a hash of its secret, which tells
 * nothing of the secret. */
#define TICKET_ID_SIZE 6

struct ipc_row_ticket {
	uint64_t id;
	uint8_t ticket[TICKET_ID_SIZE];
	uint8_t zero[2];
	int64_t created_at;
	int64_t expires_at;
	uint64_t uses;
	uint64_t uses_left;
};

/* alive: members that mesh believes alive; keyd names those that it has an
 * endpoint of in the ticket, after itself. */
struct ipc_ticket_make {
	uint64_t id;
	int64_t lifetime; /* ns */
	uint64_t uses;
	uint64_t alive_count;
	uint8_t alive[TICKET_ENDPOINTS - 1][KEY_SIZE];
};

struct ipc_ticket_revoke {
	uint64_t id;
	uint8_t ticket[TICKET_ID_SIZE];
	uint8_t zero[2];
};

struct ipc_ticket {
	uint64_t id;
	struct ticket ticket;
};

struct ipc_revoke {
	uint64_t id;
	char node_id[NODE_ID_SIZE];
};

struct ipc_rekey {
	uint64_t id;
	struct chat_key key;
	uint64_t all; /* 1: every chat, key unused */
};

/*
 * BACKUP, RESTORE and PASSPHRASE_CHANGE take two passphrases, each a pipe or
 * file that keyd reads, given before and used up by the request:
 * STORE_PASSPHRASE proves who asks, OTHER_PASSPHRASE is the backup's or the
 * store's next one. The file of BACKUP and RESTORE must be a regular one,
 * empty and writable, or readable. Each message ends with a RESULT.
 */
struct ipc_restore {
	uint64_t id;
	uint64_t force; /* 1: replace what is there */
};

/* The end of a request; tail: one line for the operator. */
struct ipc_result {
	uint64_t id;
	uint64_t ok;
	uint64_t count; /* REKEY: chats rekeyed */
};

#endif
