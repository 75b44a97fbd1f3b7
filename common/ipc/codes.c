/* Any process. The code words of the wire contract; see codes.def. */

#include <string.h>

#include "common/ipc/codes.h"
#include "common/ipc/messages.h"

static const struct {
	const char *word;
	int ends;
	const char *text;
} codes[CODE_COUNT] = {
	[CODE_NONE] = { "", 0, "" },
#define HERMES_CODE(name, ends, text) [CODE_##name] = { #name, ends, text },
#define HERMES_STATUS(name, word)
#include "common/ipc/codes.def"
#undef HERMES_CODE
#undef HERMES_STATUS
};

static const char *const statuses[STATUS_COUNT] = {
	[STATUS_NONE] = "",
#define HERMES_CODE(name, ends, text)
#define HERMES_STATUS(name, word) [STATUS_##name] = word,
#include "common/ipc/codes.def"
#undef HERMES_CODE
#undef HERMES_STATUS
};

const char *
code_word(enum hermes_code code)
{
	return (codes[code < CODE_COUNT ? code : CODE_NONE].word);
}

const char *
code_text(enum hermes_code code)
{
	return (codes[code < CODE_COUNT ? code : CODE_NONE].text);
}

int
code_ends_chat(enum hermes_code code)
{
	return (codes[code < CODE_COUNT ? code : CODE_NONE].ends);
}

const char *
status_word(enum hermes_status status)
{
	return (statuses[status < STATUS_COUNT ? status : STATUS_NONE]);
}

const char *
node_state_word(unsigned int state)
{
	static const char *const words[] = {
		[NODE_ALIVE] = "alive",
		[NODE_SUSPECT] = "suspect",
		[NODE_FAILED] = "failed",
		[NODE_LEFT] = "left",
		[NODE_REVOKED] = "revoked",
		[NODE_EXPIRED] = "expired",
	};

	return (
	    state >= NODE_ALIVE && state <= NODE_EXPIRED ? words[state] : "?");
}

enum hermes_code
code_find(const char *word, size_t length)
{
	size_t i;

	for (i = 1; i < CODE_COUNT; i++)
		if (strlen(codes[i].word) == length &&
		    memcmp(codes[i].word, word, length) == 0)
			return ((enum hermes_code)i);
	return (CODE_NONE);
}

enum hermes_status
status_find(const char *word, size_t length)
{
	size_t i;

	for (i = 1; i < STATUS_COUNT; i++)
		if (strlen(statuses[i]) == length &&
		    memcmp(statuses[i], word, length) == 0)
			return ((enum hermes_status)i);
	return (STATUS_NONE);
}
