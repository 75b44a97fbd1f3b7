/* Any process. The code words of the wire contract; see codes.def. */
#ifndef COMMON_IPC_CODES_H
#define COMMON_IPC_CODES_H

#include <stddef.h>

enum hermes_code {
	CODE_NONE = 0,
#define HERMES_CODE(name, ends, text) CODE_##name,
#define HERMES_STATUS(name, word)
#include "common/ipc/codes.def"
#undef HERMES_CODE
#undef HERMES_STATUS
	CODE_COUNT
};

enum hermes_status {
	STATUS_NONE = 0,
#define HERMES_CODE(name, ends, text)
#define HERMES_STATUS(name, word) STATUS_##name,
#include "common/ipc/codes.def"
#undef HERMES_CODE
#undef HERMES_STATUS
	STATUS_COUNT
};

/* The word on the wire, what it means, whether the chat ends with it. */
const char *code_word(enum hermes_code code);
const char *code_text(enum hermes_code code);
int code_ends_chat(enum hermes_code code);
const char *status_word(enum hermes_status status);

/* The word of an enum node_state (messages.h), for operators; "?" for none. */
const char *node_state_word(unsigned int state);

/* The code or status of a word of length bytes; 0 when it is none. */
enum hermes_code code_find(const char *word, size_t length);
enum hermes_status status_find(const char *word, size_t length);

#endif
