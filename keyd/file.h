/*
 * keyd only. Reads and writes at a place in a file, all of it or an error.
 */
#ifndef KEYD_FILE_H
#define KEYD_FILE_H

#include <sys/types.h>

#include <stddef.h>

/* length bytes of fd at that offset. 0, or -1 with errno; EINVAL when the
 * file ends before. */
int file_read(int fd, off_t at, void *bytes, size_t length);
/* 0, or -1 with errno. */
int file_write(int fd, off_t at, const void *bytes, size_t length);

#endif
