/* keyd only. Reads and writes at a place in a file; see file.h. */

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

#include "keyd/file.h"

int
file_read(int fd, off_t at, void *bytes, size_t length)
{
	uint8_t *p = bytes;
	ssize_t n;

	while (length > 0) {
		n = pread(fd, p, length, at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EINVAL;
			return (-1);
		}
		p += n;
		at += n;
		length -= (size_t)n;
	}
	return (0);
}

int
file_write(int fd, off_t at, const void *bytes, size_t length)
{
	const uint8_t *p = bytes;
	ssize_t n;

	while (length > 0) {
		n = pwrite(fd, p, length, at);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			return (-1);
		p += n;
		at += n;
		length -= (size_t)n;
	}
	return (0);
}
