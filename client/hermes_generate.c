/*
 * hermes(1). Test messages: the sequence in decimal and a blank, as far as
 * they fit, then letters that depend on sequence and place.
 */
#include <stdio.h>
#include <string.h>

#include "client/cmd.h"

static size_t
generate_head(uint64_t sequence, char head[24])
{
	return (
	    (size_t)snprintf(head, 24, "%llu ", (unsigned long long)sequence));
}

static char
generate_letter(uint64_t sequence, size_t i)
{
	return ((char)('a' + (sequence + i) % 26));
}

void
generate_message(uint64_t sequence, char *out, size_t length)
{
	char head[24];
	size_t i, head_length = generate_head(sequence, head);

	for (i = 0; i < length; i++)
		out[i] =
		    i < head_length ? head[i] : generate_letter(sequence, i);
}

int
generate_matches(uint64_t sequence, const char *bytes, size_t length)
{
	char head[24];
	size_t i, head_length = generate_head(sequence, head);

	for (i = 0; i < length; i++)
		if (bytes[i] !=
		    (i < head_length ? head[i] : generate_letter(sequence, i)))
			return (0);
	return (1);
}
