/* hermes(1). Lines from stdin, a terminal, a pipe or a file. */
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cmd.h"
#include "common/util/buffer.h"

#define INPUT_CHUNK 16384

struct input {
	struct event *readable;
	const struct input_callbacks *callbacks;
	void *arg;
	struct buffer buffer;
	int eof;
	int ended;
};

/* Hand out whole lines, and at the end what is left. */
static void
input_give(struct input *input)
{
	const char *bytes, *newline;
	size_t length;

	while ((length = buffer_length(&input->buffer)) > 0) {
		bytes = (const char *)buffer_bytes(&input->buffer);
		newline = memchr(bytes, '\n', length);
		if (newline == NULL && !input->eof)
			break;
		if (newline != NULL)
			length = (size_t)(newline - bytes);
		if (input->callbacks->line(bytes, length, input->arg) == -1) {
			(void)event_del(input->readable);
			return;
		}
		buffer_consume(
		    &input->buffer, length + (newline != NULL ? 1 : 0));
	}
	if (input->eof) {
		(void)event_del(input->readable);
		if (!input->ended) {
			input->ended = 1;
			input->callbacks->end(input->arg);
		}
		return;
	}
	(void)event_add(input->readable, NULL); /* is added already or once
						   was */
}

static void
input_readable(evutil_socket_t fd, short what, void *arg)
{
	struct input *input = arg;
	uint8_t *space;
	ssize_t got;

	(void)what;
	if ((space = buffer_reserve(&input->buffer, INPUT_CHUNK)) == NULL) {
		print_error("out of memory");
		exit(EXIT_LOCAL);
	}
	got = read(fd, space, INPUT_CHUNK);
	if (got == -1 && (errno == EINTR || errno == EAGAIN))
		return;
	if (got <= 0)
		input->eof = 1;
	else
		buffer_commit(&input->buffer, (size_t)got);
	input_give(input);
}

struct input *
input_new(
    struct event_base *base, const struct input_callbacks *callbacks, void *arg)
{
	struct input *input;

	if ((input = calloc(1, sizeof(*input))) == NULL)
		return (NULL);
	buffer_init(&input->buffer);
	input->callbacks = callbacks;
	input->arg = arg;
	input->readable = event_new(
	    base, STDIN_FILENO, EV_READ | EV_PERSIST, input_readable, input);
	if (input->readable == NULL || event_add(input->readable, NULL) == -1) {
		input_free(input);
		return (NULL);
	}
	return (input);
}

void
input_resume(struct input *input)
{
	input_give(input);
}

void
input_free(struct input *input)
{
	if (input == NULL)
		return;
	if (input->readable != NULL)
		event_free(input->readable);
	buffer_free(&input->buffer);
	free(input);
}
