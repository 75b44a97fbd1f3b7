/*
 * keyd only. Attestations whose signature was found good of late. Every
 * set-up of a chat shows those of its two apps again, byte for byte; what a
 * signature says of the same bytes does not change, what a clock says does.
 */
#ifndef KEYD_ATTESTED_H
#define KEYD_ATTESTED_H

#include <stdint.h>

#include "common/sign/attestation.h"

#define ATTESTED_SETS 1024 /* a power of two */
#define ATTESTED_WAYS 4    /* of each, the latest first */

/* All zero but for key, which nobody else knows: random. */
struct attested {
	uint8_t key[KEY_SIZE];
	/* Keyed BLAKE2b-256 of all of an attestation, signature and all, in
	 * the set that its first bytes name; zero: none. */
	uint8_t good[ATTESTED_SETS][ATTESTED_WAYS][KEY_SIZE];
	uint64_t checked; /* signatures, ever */
};

/* attestation_verify(), which looks at a signature only when the very same
 * attestation is not remembered. Form and times are always looked at. */
int attested_verify(struct attested *attested,
    const struct attestation *attestation, int64_t now);

#endif
