/*
 * keyd only, and tests: a store as text, unsealed, one record a line: table,
 * name and data in hexadecimal ("-" when empty). See store.h.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "common/util/hex.h"
#include "keyd/store.h"

struct dump {
	FILE *file;
	enum store_table table;
};

static int
dump_record(void *arg, const uint8_t *name, size_t name_length,
    const uint8_t *data, size_t length)
{
	struct dump *dump = arg;
	char text[2 * STORE_RECORD_MAX + 2];
	int n;

	hex_encode(text, name, name_length);
	hex_encode(text + 2 * name_length + 1, data, length);
	n = fprintf(dump->file, "%d %s %s\n", (int)dump->table,
	    name_length > 0 ? text : "-",
	    length > 0 ? text + 2 * name_length + 1 : "-");
	sodium_memzero(text, sizeof(text));
	return (n < 0 ? -1 : 0);
}

int
store_dump(struct store *store, FILE *file)
{
	struct dump dump = { .file = file };

	for (dump.table = STORE_NODE; dump.table <= STORE_REVOKED; dump.table++)
		if (store_walk(store, dump.table, dump_record, &dump) == -1)
			return (-1);
	return (fflush(file) == 0 ? 0 : -1);
}

static int
load_field(const char *text, uint8_t *out, size_t *length)
{
	if (strcmp(text, "-") == 0) {
		*length = 0;
		return (0);
	}
	*length = strlen(text) / 2;
	return (*length <= STORE_RECORD_MAX && strlen(text) % 2 == 0
		    ? hex_decode(out, *length, text)
		    : -1);
}

static int
load_line(struct store *store, char *line)
{
	uint8_t name[STORE_RECORD_MAX], data[STORE_RECORD_MAX];
	size_t name_length, length;
	char *rest = line;
	const char *table = strsep(&rest, " ");
	const char *first = rest == NULL ? NULL : strsep(&rest, " ");
	int result = -1;

	if (rest != NULL && strlen(table) == 1 &&
	    table[0] - '0' >= STORE_NODE && table[0] - '0' <= STORE_REVOKED &&
	    load_field(first, name, &name_length) == 0 &&
	    load_field(rest, data, &length) == 0)
		result = store_put(store, (enum store_table)(table[0] - '0'),
		    name, name_length, data, length);
	else
		errno = EINVAL;
	sodium_memzero(data, sizeof(data));
	return (result);
}

int
store_load(struct store *store, FILE *file)
{
	char *line = NULL;
	size_t size = 0;
	ssize_t n;
	int result = 0;

	while (result == 0 && (n = getline(&line, &size, file)) > 0) {
		if (line[n - 1] == '\n')
			line[n - 1] = '\0';
		result = load_line(store, line);
		sodium_memzero(line, size);
	}
	free(line);
	if (result == -1 || ferror(file)) {
		store_abort(store);
		return (-1);
	}
	return (store_commit(store, 1));
}
