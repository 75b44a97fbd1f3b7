/*
 * libhermes. The end-to-end layer of one chat: makes and announces keys,
 * keeps the ratchet in a file if asked to, seals what goes to the node and
 * opens what comes. The ratchet itself is lib_e2e.c.
 */
#ifndef CLIENT_LIB_SECURE_H
#define CLIENT_LIB_SECURE_H

#include <stddef.h>
#include <stdint.h>

#include "client/lib_e2e.h"

struct hermes;
struct hermes_chat;

struct secure {
	struct e2e *e2e;     /* sodium_malloc */
	struct event *again; /* announce once more */
	int64_t delay;       /* ns */
	int fd;              /* of its file, or -1 */
	int announce_due;    /* a key the peer has not been sent */
	int keyless;         /* StartChat without a key, then a rekey */
	int ready_due;       /* the node is, the session not yet */
	int resumed;
	int told; /* that the peer has no such layer */
};

/* Is this a folder for states: ours and closed to others? 0 or -1, errno. */
int secure_folder_check(const char *path);

/* For a chat of hermes with end_to_end: load or begin. 0, or -1 with errno. */
int secure_new(struct hermes_chat *chat);
/* gone: the chat is over; its file goes too. */
void secure_free(struct hermes_chat *chat, int gone);

/* What StartChat says: our key (NULL: none), and as its salt the peer's that
 * it goes with (length 0: none). */
const uint8_t *secure_key(const struct hermes_chat *chat);
const uint8_t *secure_salt(const struct hermes_chat *chat, size_t *length);

/* The peer's StartChat: key NULL when it has none that it signed. */
void secure_on_key(struct hermes_chat *chat, const uint8_t *key,
    const uint8_t *salt, size_t salt_length);
/* The node is ready for the chat. 1 when the app may be told so now. */
int secure_on_ready(struct hermes_chat *chat, int resumed);
/* The node knows the chat with another key, from before this program. */
void secure_on_mismatch(struct hermes_chat *chat);
/* Announce a new key for a new session. 0, or -1 with errno. */
int secure_renew(struct hermes_chat *chat);

/* May messages be sealed? */
int secure_can_send(const struct hermes_chat *chat);
/* payload sealed as message sequence; length updated. NULL without memory;
 * valid until the next call for this struct hermes. */
const uint8_t *secure_seal(struct hermes_chat *chat, uint64_t sequence,
    const uint8_t *payload, size_t *length);
/* The same the other way; NULL when it does not open, which the app was
 * told of. */
const uint8_t *secure_open(struct hermes_chat *chat, uint64_t sequence,
    const uint8_t *sealed, size_t *length);

#endif
