/*
 * Any process. Prefixes of addresses, as an operator writes them; see
 * penalty.h.
 */

#include <sys/socket.h>

#include <arpa/inet.h>

#include <stdlib.h>
#include <string.h>

#include "common/rpc/penalty.h"

/* One word. 0 or -1. */
static int
prefix_read(const char *text, size_t length, struct rpc_prefix *out)
{
	char word[64], *slash;
	const char *error = NULL;
	int most;

	if (length >= sizeof(word))
		return (-1);
	memcpy(word, text, length);
	word[length] = '\0';
	if ((slash = strchr(word, '/')) != NULL)
		*slash++ = '\0';
	memset(out, 0, sizeof(*out));
	out->family = strchr(word, ':') != NULL ? AF_INET6 : AF_INET;
	most = out->family == AF_INET6 ? 128 : 32;
	if (inet_pton(out->family, word, out->address) != 1)
		return (-1);
	out->bits = (uint8_t)most;
	if (slash != NULL)
		out->bits = (uint8_t)strtonum(slash, 0, most, &error);
	return (error == NULL ? 0 : -1);
}

int
rpc_prefixes_read(const char *text, struct rpc_prefix *out)
{
	int count = 0;
	size_t length;

	for (;;) {
		text += strspn(text, " \t,");
		if (*text == '\0')
			return (count);
		length = strcspn(text, " \t,");
		if (count == RPC_PREFIXES ||
		    prefix_read(text, length, &out[count]) == -1)
			return (-1);
		count++;
		text += length;
	}
}

int
rpc_prefix_has(
    const struct rpc_prefix *prefix, int family, const uint8_t *address)
{
	size_t bytes = prefix->bits / 8;
	unsigned rest = prefix->bits % 8;

	if (prefix->family != family ||
	    memcmp(prefix->address, address, bytes) != 0)
		return (0);
	return (rest == 0 ||
		((prefix->address[bytes] ^ address[bytes]) >> (8 - rest)) == 0);
}
