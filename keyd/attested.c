/*
 * keyd only. Attestations come from router and mesh and are hostile until
 * verified. See attested.h.
 */

#include <string.h>

#include <sodium.h>

#include "keyd/attested.h"

int
attested_verify(struct attested *attested,
    const struct attestation *attestation, int64_t now)
{
	uint8_t bytes[ATTESTATION_ENCODED], hash[KEY_SIZE];
	uint8_t(*good)[KEY_SIZE];
	int i;

	attestation_encode(attestation, bytes);
	(void)crypto_generichash(hash, sizeof(hash), bytes, sizeof(bytes),
	    attested->key, sizeof(attested->key));
	good = attested->good[(hash[0] | hash[1] << 8) & (ATTESTED_SETS - 1)];
	for (i = 0; i < ATTESTED_WAYS; i++)
		if (memcmp(good[i], hash, sizeof(hash)) == 0)
			return (attestation_valid(attestation, now));
	attested->checked++;
	if (attestation_verify(attestation, now) == -1)
		return (-1);
	memmove(good[1], good[0], (ATTESTED_WAYS - 1) * sizeof(*good));
	memcpy(good[0], hash, sizeof(hash));
	return (0);
}
