/*
 * Any process, any privileges; the names checked may be anybody's. What is a
 * name here, and the handle of a chat; see ids.h.
 */

#include <errno.h>
#include <string.h>

#include <sodium.h>

#include "common/sign/encode.h"
#include "common/sign/ids.h"

#define HANDLE_DOMAIN "hermes-chat-handle-v1"

int
node_id_valid(const char *text, size_t length)
{
	size_t i;

	if (length < 1 || length >= NODE_ID_SIZE)
		return (0);
	for (i = 0; i < length; i++)
		if (!((text[i] >= 'a' && text[i] <= 'z') ||
			(text[i] >= '0' && text[i] <= '9') || text[i] == '-'))
			return (0);
	return (1);
}

/*
 * The length of the UTF-8 sequence at text (left bytes are there), its
 * character in *character; 0 when it is none (RFC 3629: shortest form, no
 * surrogates, at most U+10FFFF).
 */
static size_t
utf8_next(const uint8_t *text, size_t left, uint32_t *character)
{
	static const uint32_t least[5] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t length, i;

	if (text[0] < 0x80) {
		*character = text[0];
		return (1);
	}
	if (text[0] >= 0xc2 && text[0] < 0xe0)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] < 0xf0)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] < 0xf5)
		length = 4;
	else
		return (0);
	if (length > left)
		return (0);
	*character = text[0] & (0xffU >> (length + 1));
	for (i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return (0);
		*character = *character << 6 | (text[i] & 0x3f);
	}
	if (*character < least[length] || *character > 0x10ffff ||
	    (*character >= 0xd800 && *character <= 0xdfff))
		return (0);
	return (length);
}

int
chat_id_valid(const char *text, size_t length)
{
	const uint8_t *bytes = (const uint8_t *)text;
	uint32_t character;
	size_t i, step;

	if (length < 1 || length >= CHAT_ID_SIZE)
		return (0);
	for (i = 0; i < length; i += step) {
		step = utf8_next(bytes + i, length - i, &character);
		if (step == 0 || character < 0x20 ||
		    (character >= 0x7f && character <= 0x9f))
			return (0);
	}
	return (1);
}

int
chat_key_make(struct chat_key *key, const char *chat_id,
    const uint8_t local[KEY_SIZE], const uint8_t peer[KEY_SIZE])
{
	uint8_t bytes[sizeof(HANDLE_DOMAIN) + 4 + CHAT_ID_SIZE + 2 * KEY_SIZE];
	struct encoder encoder = { bytes, sizeof(bytes), 0, 0 };
	int order = memcmp(local, peer, KEY_SIZE);
	size_t length = strlen(chat_id);

	if (order == 0 || length >= CHAT_ID_SIZE) {
		errno = EINVAL;
		return (-1);
	}
	memset(key, 0, sizeof(*key));
	key->side = order < 0 ? CHAT_LO : CHAT_HI;
	encode_text(&encoder, HANDLE_DOMAIN);
	encode_lp(&encoder, chat_id, length);
	encode_bytes(&encoder, order < 0 ? local : peer, KEY_SIZE);
	encode_bytes(&encoder, order < 0 ? peer : local, KEY_SIZE);
	(void)crypto_generichash(key->handle, KEY_SIZE, bytes, encoder.length,
	    NULL, 0); /* fails on wrong sizes only */
	return (0);
}

int
instance_is_known(const uint8_t instance[INSTANCE_SIZE])
{
	static const uint8_t none[INSTANCE_SIZE];

	return (memcmp(instance, none, INSTANCE_SIZE) != 0);
}

int
instance_differs(const uint8_t a[INSTANCE_SIZE], const uint8_t b[INSTANCE_SIZE])
{
	return (instance_is_known(a) && instance_is_known(b) &&
		memcmp(a, b, INSTANCE_SIZE) != 0);
}

int
instance_is_same(const uint8_t a[INSTANCE_SIZE], const uint8_t b[INSTANCE_SIZE])
{
	return (instance_is_known(a) && memcmp(a, b, INSTANCE_SIZE) == 0);
}

void
mesh_id_make(uint8_t mesh_id[KEY_SIZE], const uint8_t authority[KEY_SIZE])
{
	(void)crypto_hash_sha256(mesh_id, authority, KEY_SIZE);
}
