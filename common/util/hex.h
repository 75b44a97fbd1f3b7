/* Any process. Lower-case hexadecimal. */
#ifndef COMMON_UTIL_HEX_H
#define COMMON_UTIL_HEX_H

#include <stddef.h>
#include <stdint.h>

/* Write 2 * length digits and a NUL to out, which has room for them. */
void hex_encode(char *out, const uint8_t *bytes, size_t length);

/*
 * Read exactly length bytes from exactly 2 * length lower-case digits.
 * 0, or -1 with errno EINVAL for any other text.
 */
int hex_decode(uint8_t *out, size_t length, const char *text);

/* The first 12 digits, for logs and tables. Returns out. */
#define HEX_SHORT_SIZE 13
const char *hex_short(
    char out[HEX_SHORT_SIZE], const uint8_t *bytes, size_t length);

#endif
