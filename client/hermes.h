/*
 * libhermes: what an app links to chat through its own Hermes node. One
 * struct hermes is one app identity on one node; one struct hermes_chat is
 * one chat with one peer app. It trusts its node only as far as the node's
 * identity key, which the app may pin.
 *
 * Everything runs on the caller's event_base, in one thread, and never
 * blocks. Callbacks come from the event loop, or from inside hermes_send()
 * never. Link with libhermes.a and the libraries that `hermes` links.
 *
 * By itself the library proves the node's key, connects again with back-off
 * and jitter, goes on with every chat at the sequences the node names, sends
 * again what was not acknowledged and drops what was received before. An app
 * sees each message once and in order.
 */
#ifndef CLIENT_HERMES_H
#define CLIENT_HERMES_H

#include <stddef.h>
#include <stdint.h>

#define HERMES_KEY_SIZE    32
#define HERMES_APP_ID_SIZE 65 /* 64 hex digits and a NUL */

struct event_base;
struct hermes;
struct hermes_chat;

struct hermes_pair {
	const char *key;
	const char *value;
};

/* Where else an app may connect; see hermes_callbacks.go_away. */
struct hermes_node {
	const char *node_id;
	const char *endpoint;    /* "host:port" */
	const uint8_t *node_key; /* 32 bytes, or NULL */
};

/* All times in nanoseconds. hermes_options_default() fills in the rest. */
struct hermes_options {
	const char *node;    /* "host:port", "[v6]:port" */
	const uint8_t *seed; /* 32 bytes, Ed25519 */
	/*
	 * The node's identity key, 32 bytes. NULL: the one it shows first is
	 * believed and held to as long as the struct hermes lives.
	 */
	const uint8_t *node_key;
	const char *ca_pem; /* also verify X.509; NULL no */
	size_t ca_length;
	const struct hermes_pair *metadata;
	size_t metadata_count;
	int accept_auto; /* take every chat offered */
	int reconnect;   /* 0: the first end is final */
	/*
	 * With reconnect: go on at another node of the mesh when this one
	 * stops or cannot be reached. The nodes, and their keys, are those
	 * that the node named which proved itself; each names others.
	 */
	int follow;
	int64_t start_timeout; /* how long to ask for a peer
						   that no node knows; 0 once */
	int64_t heartbeat;     /* 0: none */
	int64_t backoff_min;
	int64_t backoff_max;
	size_t window; /* messages a chat in flight;
						   0: as the node says */
	/*
	 * Seal every message from app to app with a Double Ratchet, under
	 * what the nodes do; both apps must. Needs no public_key anywhere.
	 * state_folder: where the ratchets are kept, sealed under the seed,
	 * so that messages on their way survive this program; yours, mode
	 * 0700. NULL: in memory only.
	 */
	int end_to_end;
	const char *state_folder;
};

struct hermes_error {
	const char *code; /* a word of hermes-proto(5) */
	const char *message;
	uint64_t expected_sequence;
	int64_t retry_after; /* ns; 0 unknown */
};

/*
 * Any may be NULL. arg is what hermes_new() got. Texts and bytes are valid
 * during the call only. No callback may call hermes_free().
 */
struct hermes_callbacks {
	/* The node took us in (each time). */
	void (*connected)(struct hermes *, const char *session, void *arg);
	/* It is gone; again: the library will try to connect again. */
	void (*disconnected)(
	    struct hermes *, const char *why, int again, void *arg);
	/* The node asks us to leave; reasons `replaced`, and `moved` (the app
	 * is connected to another node) are final. */
	void (*go_away)(struct hermes *, const char *reason,
	    const struct hermes_node *nodes, size_t count, void *arg);
	/*
	 * A peer wants a chat. With accept_auto it is taken already, else
	 * hermes_chat_accept() takes it. peer_key: the peer's own X25519 key
	 * for a layer of the apps' own, its signature verified, or NULL. Of
	 * more than 64 that are not taken the oldest is gone, `expired`.
	 */
	void (*offered)(struct hermes *, struct hermes_chat *,
	    const uint8_t *peer_key, void *arg);
	/* Messages flow. resumed: the chat existed before. With end_to_end
	 * the peer's key is known and good by then. */
	void (*ready)(struct hermes_chat *, int resumed, void *arg);
	/* After ready, but for what is more than a window. */
	void (*message)(struct hermes_chat *, uint64_t sequence,
	    const void *payload, size_t length, void *arg);
	/* The peer's node wrote it to the peer; after rtt ns. */
	void (*acked)(
	    struct hermes_chat *, uint64_t sequence, int64_t rtt, void *arg);
	/* hermes_send() said EAGAIN, and has room again. */
	void (*writable)(struct hermes_chat *, void *arg);
	/* peer_away, peer_back, rekeyed, rekey_wanted, reset. */
	void (*status)(struct hermes_chat *, const char *status, void *arg);
	/*
	 * chat is NULL when it is not of one, which lives on till gone. Codes
	 * are words of hermes-proto(5), and of end_to_end: E2E_UNAVAILABLE
	 * (the peer has no key for it; nothing is sent), E2E_LOST and
	 * E2E_BROKEN (the message expected_sequence does not open).
	 */
	void (*error)(struct hermes *, struct hermes_chat *,
	    const struct hermes_error *, void *arg);
	/* The chat ended, with this word; it is freed afterwards. */
	void (*gone)(struct hermes_chat *, const char *status, void *arg);
	/* local, found or unknown. */
	void (*found)(struct hermes *, const char *app_id, const char *node_id,
	    const char *status, void *arg);
};

/* Defaults; node and seed still to be set. */
void hermes_options_default(struct hermes_options *options);

/*
 * An app on a node; it starts to connect at once. Copies options and
 * callbacks. NULL with errno, and the reason in error (size bytes).
 */
struct hermes *hermes_new(struct event_base *base,
    const struct hermes_options *options,
    const struct hermes_callbacks *callbacks, void *arg, char *error,
    size_t size);

/*
 * Disconnect (chats are suspended, not ended) and free all. Not from inside
 * a callback. The connection itself is closed and freed in the next turn of
 * the event loop, for which event_base_loop(base, EVLOOP_NONBLOCK) is enough.
 */
void hermes_free(struct hermes *hermes);

/* Go to another node from the next connect on, and reconnect now. node_key
 * may be NULL. 0, or -1 with errno EINVAL. Chats go on there, with new keys;
 * nothing is lost or doubled. */
int hermes_set_node(
    struct hermes *hermes, const char *node, const uint8_t *node_key);

/* Own id; the node's name and key (empty, NULL before the first connect);
 * message size limit of the node. */
const char *hermes_app_id(const struct hermes *hermes);
const char *hermes_node_id(const struct hermes *hermes);
const uint8_t *hermes_node_key(const struct hermes *hermes);
size_t hermes_max_message(const struct hermes *hermes);

/*
 * Ask for a chat with peer (64 hex digits), or go on with it if it exists.
 * public_key: this app's X25519 key for the apps' own layer, NULL for none.
 * The one with that id and peer is returned if there is one already. NULL
 * with errno EINVAL (ids) or ENOMEM.
 */
struct hermes_chat *hermes_chat_start(struct hermes *hermes,
    const char *chat_id, const char *peer, const uint8_t *public_key);

/* Take an offered chat. 0, or -1 with errno. */
int hermes_chat_accept(struct hermes_chat *chat, const uint8_t *public_key);

/*
 * Send a message. 0 with its sequence (may be NULL), kept until it is
 * acknowledged. -1 with errno EAGAIN: the window is full or the chat was
 * never ready; ready or writable will be called. EMSGSIZE: over the node's
 * limit. EPIPE: the chat is over. ENOMEM.
 */
int hermes_send(struct hermes_chat *chat, const void *payload, size_t length,
    uint64_t *sequence);

/* New keys; status `rekeyed` follows. 0, or -1 with errno ENOTCONN. */
int hermes_chat_rekey(struct hermes_chat *chat, const uint8_t *public_key);

/* End the chat for both sides; gone follows. 0, or -1 with errno. */
int hermes_chat_delete(struct hermes_chat *chat, const char *reason);

/* found follows. node_hint may be NULL. 0, or -1 with errno ENOTCONN. */
int hermes_find(
    struct hermes *hermes, const char *app_id, const char *node_hint);

const char *hermes_chat_id(const struct hermes_chat *chat);
const char *hermes_chat_peer(const struct hermes_chat *chat);
uint32_t hermes_chat_version(const struct hermes_chat *chat);
int hermes_chat_is_ready(const struct hermes_chat *chat);
struct hermes *hermes_chat_app(const struct hermes_chat *chat);
void hermes_chat_set_arg(struct hermes_chat *chat, void *arg);
void *hermes_chat_arg(const struct hermes_chat *chat);

struct hermes_progress {
	uint64_t next_send; /* sequence of the next message */
	uint64_t next_receive;
	uint64_t acked;      /* highest acknowledged */
	uint64_t kept;       /* messages not acknowledged */
	uint64_t duplicates; /* received again, and dropped */
	uint64_t gaps;       /* received never */
	uint64_t resent;
};

void hermes_chat_progress(
    const struct hermes_chat *chat, struct hermes_progress *progress);

/*
 * Identity keys. A key file holds the seed as 64 hex digits, mode 0600, and
 * is refused with EPERM when others may read it. create: EEXIST when the file
 * is there. 0, or -1 with errno.
 */
int hermes_key_create(const char *path, uint8_t seed[HERMES_KEY_SIZE]);
int hermes_key_load(const char *path, uint8_t seed[HERMES_KEY_SIZE]);
void hermes_key_app_id(
    const uint8_t seed[HERMES_KEY_SIZE], char app_id[HERMES_APP_ID_SIZE]);

#endif
