/*
 * Tests only. What calls.so, preloaded into keyd, writes down of each call
 * that changes keyd's folder, in a file mapped by it and by the harness. The
 * mapping outlives SIGKILL. One after another, of several runs of keyd too.
 */
#ifndef REGRESS_CALLS_H
#define REGRESS_CALLS_H

#include <stdint.h>

#define CALLS_SIZE (64 * 1024 * 1024)
#define CALLS_NAME 64

enum call_kind {
	CALL_CREATE = 1, /* name */
	CALL_OPEN,       /* name of an old file */
	CALL_WRITE,      /* offset, bytes */
	CALL_TRUNCATE,   /* offset: new size */
	CALL_SYNC,
	CALL_SYNC_FOLDER,
	CALL_RENAME, /* name, then bytes: new name */
	CALL_UNLINK  /* name */
};

struct call {
	uint32_t kind; /* enum call_kind */
	uint32_t file; /* number given at CREATE or OPEN */
	uint64_t offset;
	uint64_t length; /* bytes that follow, padded to 8 */
	char name[CALLS_NAME];
};

struct calls {
	uint64_t count;   /* calls begun */
	uint64_t die_at;  /* 0: never */
	uint64_t torn;    /* half of that write gets through */
	uint32_t died_in; /* enum call_kind */
	uint32_t files;   /* numbers given */
	uint64_t written; /* bytes of all CALL_WRITE */
	uint64_t syncs;   /* CALL_SYNCs begun */
	uint64_t unkept;  /* 1: counted only, nothing below */
	uint64_t used;    /* bytes of calls */
	uint8_t bytes[];
};

#endif
