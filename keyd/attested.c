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
	uint8_t *good;

	attestation_encode(attestation, bytes);
	(void)crypto_generichash(hash, sizeof(hash), bytes, sizeof(bytes),
	    attested->key, sizeof(attested->key));
	good = attested->good[(hash[0] | hash[1] << 8) & (ATTESTED_SLOTS - 1)];
	if (memcmp(good, hash, sizeof(hash)) == 0)
		return (attestation_valid(attestation, now));
	attested->checked++;
	if (attestation_verify(attestation, now) == -1)
		return (-1);
	memcpy(good, hash, sizeof(hash));
	return (0);
}
