/* Any process. The sizes of names and keys, and the handle of a chat. */
#ifndef COMMON_SIGN_IDS_H
#define COMMON_SIGN_IDS_H

#include <stddef.h>
#include <stdint.h>

#define KEY_SIZE        32  /* Ed25519 or X25519 public key; any hash */
#define SIGNATURE_SIZE  64  /* Ed25519 */
#define APP_ID_LENGTH   64  /* hex digits of the app's key */
#define NODE_ID_SIZE    64  /* [a-z0-9-]{1,63} and a NUL */
#define CHAT_ID_SIZE    129 /* 1 to 128 bytes of text and a NUL */
#define ENDPOINT_SIZE   128 /* "host:port", "[v6]:port" and a NUL */
#define SESSION_ID_SIZE 33  /* 32 hex digits and a NUL */
#define INSTANCE_SIZE   16  /* which of the chats of a name; 0: not known */

/* The two sides of a chat, by the order of the app keys (memcmp). */
enum chat_side { CHAT_LO = 0, CHAT_HI = 1 };

/* One side of one chat; the key under which every process finds it. */
struct chat_key {
	uint8_t handle[KEY_SIZE];
	uint8_t side; /* enum chat_side of the local app */
	uint8_t zero[7];
};

/* 1 when text[length] is a node id, else 0. */
int node_id_valid(const char *text, size_t length);

/* 1 when text[length] is a chat id: 1 to 128 bytes of UTF-8, no control
 * characters; else 0. */
int chat_id_valid(const char *text, size_t length);

/*
 * The handle of the chat that local and peer (app keys) call chat_id, and
 * which side local is:
 * BLAKE2b-256("hermes-chat-handle-v1" || LP(chat_id) || smaller || larger).
 * 0, or -1 with errno EINVAL when the two apps are one.
 */
int chat_key_make(struct chat_key *key, const char *chat_id,
    const uint8_t local[KEY_SIZE], const uint8_t peer[KEY_SIZE]);

/* 1 when instance names a chat, 0 when it is zero. */
int instance_is_known(const uint8_t instance[INSTANCE_SIZE]);

/* 1 when both are known and name two chats, else 0. */
int instance_differs(
    const uint8_t a[INSTANCE_SIZE], const uint8_t b[INSTANCE_SIZE]);

/* 1 when both are known and name one chat, else 0. */
int instance_is_same(
    const uint8_t a[INSTANCE_SIZE], const uint8_t b[INSTANCE_SIZE]);

/* SHA-256(key): the name of a mesh, from its authority's public key. */
void mesh_id_make(uint8_t mesh_id[KEY_SIZE], const uint8_t authority[KEY_SIZE]);

#endif
