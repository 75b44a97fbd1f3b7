/*
 * Tests only. What a disk may hold after the power went: made from the
 * journal of calls (calls.h). What was synced is there. Of what was not, any
 * sector of any file is as any of the writes since the last sync left it, or
 * as it was before; a name made, changed or taken away may be so or not.
 */
#ifndef REGRESS_IMAGE_H
#define REGRESS_IMAGE_H

#include <stdint.h>

#include "regress/house/calls.h"

enum image_loss {
	IMAGE_KEEP, /* nothing is lost */
	IMAGE_DROP, /* all that was not synced */
	IMAGE_ANY   /* by chance, differing from file to file */
};

enum image_names {
	IMAGE_JOURNALLED, /* names change in order; a file's fsync
				 * makes its name durable (ext4, XFS, FFS) */
	IMAGE_LOOSE       /* each by chance until the folder is synced */
};

/* Write into the empty folder what is left of the journal's files. chance
 * comes from random(3). Ends the program when it cannot. */
void image_make(const struct calls *calls, const char *folder,
    enum image_loss loss, enum image_names names);

#endif
