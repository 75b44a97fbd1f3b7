/* Any process. Lower-case hexadecimal; see hex.h. */

#include <errno.h>
#include <string.h>

#include "common/util/hex.h"

static const char digits[] = "0123456789abcdef";

void
hex_encode(char *out, const uint8_t *bytes, size_t length)
{
	size_t i;

	for (i = 0; i < length; i++) {
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * length] = '\0';
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return (c - '0');
	if (c >= 'a' && c <= 'f')
		return (c - 'a' + 10);
	return (-1);
}

int
hex_decode(uint8_t *out, size_t length, const char *text)
{
	size_t i;
	int high, low;

	for (i = 0; i < length; i++) {
		high = hex_digit(text[2 * i]);
		low = high < 0 ? -1 : hex_digit(text[2 * i + 1]);
		if (low < 0) {
			errno = EINVAL;
			return (-1);
		}
		out[i] = (uint8_t)(high << 4 | low);
	}
	if (text[2 * length] != '\0') {
		errno = EINVAL;
		return (-1);
	}
	return (0);
}

const char *
hex_short(char out[HEX_SHORT_SIZE], const uint8_t *bytes, size_t length)
{
	hex_encode(out, bytes, length < 6 ? length : 6);
	return (out);
}
