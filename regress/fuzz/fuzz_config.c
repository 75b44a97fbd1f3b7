/*
 * Tests only. hermesd.conf: any bytes are a configuration or errors with file
 * and line; one that is right is printed, read again, and is the same. There
 * is one file, which may include itself, and no name service.
 */

#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <string.h>

#include "common/util/buffer.h"
#include "control/config.h"
#include "regress/fuzz/fuzz.h"

static const uint8_t *text;
static size_t text_length;
static int loading; /* else fopen(3) is what it always is */

FILE *__real_fopen(const char *path, const char *mode);
FILE *__wrap_fopen(const char *path, const char *mode);

FILE *
__wrap_fopen(const char *path, const char *mode)
{
	if (!loading)
		return (__real_fopen(path, mode));
	if (strcmp(path, "/fuzz.conf") != 0) {
		errno = ENOENT;
		return (NULL);
	}
	(void)mode;
	return (fmemopen((void *)(uintptr_t)text, text_length, "r"));
}

int __real_getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **list);

int
__wrap_getaddrinfo(const char *name, const char *service,
    const struct addrinfo *hints, struct addrinfo **list)
{
	struct addrinfo numeric = *hints;

	numeric.ai_flags |= AI_NUMERICHOST;
	return (__real_getaddrinfo(name, service, &numeric, list));
}

static void
report(void *arg, const char *message)
{
	(void)arg;
	/* Each says where. */
	FUZZ_CHECK(strchr(message, ':') != NULL);
	FUZZ_CHECK(strchr(message, '\n') == NULL);
	++*(unsigned int *)arg;
}

static int
load(struct config_file *file, unsigned int *errors)
{
	int result;

	loading = 1;
	result = config_load("/fuzz.conf", NULL, file, report, errors);
	loading = 0;
	return (result);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return (0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config_file file, again;
	struct buffer printed;
	unsigned int errors = 0;

	if (size == 0)
		return (0);
	text = data;
	text_length = size;
	if (load(&file, &errors) == -1) {
		FUZZ_CHECK(errors > 0);
		return (0);
	}
	FUZZ_CHECK(errors == 0);
	buffer_init(&printed);
	FUZZ_CHECK(config_print(&file.config, &printed) == 0);
	text = buffer_bytes(&printed);
	text_length = buffer_length(&printed);
	FUZZ_CHECK(load(&again, &errors) == 0);
	FUZZ_CHECK(
	    memcmp(&file.config, &again.config, sizeof(file.config)) == 0);
	buffer_free(&printed);
	return (0);
}
