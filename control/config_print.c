/*
 * Parent of hermesd, with -n, and control, for hermesctl. The effective
 * configuration in its own grammar, or as JSON. Nothing in it is secret:
 * secrets are named by their files.
 */

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "common/util/buffer.h"
#include "control/config_parse.h"

/* The statement of a knob with its value number index, without the first
 * block characters of its pattern. As knob_print. */
static int
config_print_statement(const struct knob *knob, size_t block,
    const struct config *config, size_t index, struct buffer *out)
{
	const char *pattern = knob->pattern + block;
	const char *percent = strchr(pattern, '%');
	size_t head = strcspn(pattern, "%");
	struct buffer value;
	int result;

	buffer_init(&value);
	result = knob->print(knob, config, index, &value);
	if (result == 1 &&
	    (config_put(out, block > 0 ? "\t" : "") == -1 ||
		buffer_append(out, pattern, head) == -1 ||
		buffer_append(
		    out, buffer_bytes(&value), buffer_length(&value)) == -1 ||
		(percent != NULL && strchr(percent + 1, '%') == NULL &&
		    config_put(out, percent + 1) == -1) ||
		config_put(out, "\n") == -1))
		result = -1;
	buffer_free(&value);
	return (result);
}

/* The statements of the knobs from first on with the same first word; *count
 * is how many knobs that are. 0, or -1 with errno. */
static int
config_print_block(const struct knob *first, const struct config *config,
    size_t *count, struct buffer *out)
{
	const struct knob *end = config_knobs + config_knob_count, *knob;
	size_t length = strcspn(first->pattern, " ") + 1, index;
	size_t block = config_is_block(first->pattern, length - 1) ? length : 0;
	int result = 0;

	for (knob = first; knob < end && result != -1 &&
			   strncmp(knob->pattern, first->pattern, length) == 0;
	     knob++)
		for (index = 0, result = 1; result == 1; index++)
			result = config_print_statement(
			    knob, block, config, index, out);
	*count = (size_t)(knob - first);
	return (result);
}

int
config_print(const struct config *config, struct buffer *out)
{
	struct buffer body;
	const char *word;
	size_t i, length, count;
	int block, result = 0;

	for (i = 0; i < config_knob_count && result == 0; i += count) {
		word = config_knobs[i].pattern;
		length = strcspn(word, " ");
		block = config_is_block(word, length);
		buffer_init(&body);
		result =
		    config_print_block(&config_knobs[i], config, &count, &body);
		if (result == 0 && buffer_length(&body) > 0 &&
		    ((block && (buffer_append(out, word, length) == -1 ||
				   config_put(out, " {\n") == -1)) ||
			buffer_append(out, buffer_bytes(&body),
			    buffer_length(&body)) == -1 ||
			(block && config_put(out, "}\n") == -1)))
			result = -1;
		buffer_free(&body);
	}
	return (result);
}

/* The value of a knob as -o takes it: a plain text without its quotes. NULL
 * when it has none, or with ENOMEM. */
static json_t *
config_json_value(const struct knob *knob, const struct config *config)
{
	const char *text = (const char *)config + knob->offset;
	struct buffer out;
	json_t *value = NULL;
	size_t index;
	int result;

	errno = 0;
	if (knob->type == KNOB_TEXT || knob->type == KNOB_PATH)
		return (*text == '\0' ? NULL : json_string(text));
	buffer_init(&out);
	for (index = 0;; index++) {
		if (index > 0 && config_put(&out, ", ") == -1)
			break;
		result = knob->print(knob, config, index, &out);
		if (result == 0 && index > 0)
			value = strchr(knob->pattern, '%') == NULL
				    ? json_string("yes")
				    : json_stringn((char *)buffer_bytes(&out),
					  buffer_length(&out) - 2);
		if (result != 1)
			break;
	}
	buffer_free(&out);
	return (value);
}

json_t *
config_print_json(const struct config *config)
{
	json_t *object = json_object(), *value;
	char key[KNOB_KEY_SIZE];
	size_t i;

	for (i = 0; i < config_knob_count; i++) {
		value = config_json_value(&config_knobs[i], config);
		if (value == NULL && errno != ENOMEM)
			continue;
		if (json_object_set_new(object,
			config_knob_key(&config_knobs[i], key), value) == -1) {
			json_decref(object);
			return (NULL);
		}
	}
	return (object);
}
