/* hermesctl(8): keywords that may be shortened, the bgpctl way. */

#include <string.h>

#include "control/ctl.h"

const struct ctl_word *
ctl_word_find(const struct ctl_word *words, const char *arg, size_t *matches)
{
	const struct ctl_word *found = NULL;
	size_t length = strlen(arg);

	*matches = 0;
	for (; words->word != NULL; words++) {
		if (strncmp(words->word, arg, length) != 0)
			continue;
		if (words->word[length] == '\0') {
			*matches = 1;
			return (words);
		}
		found = words;
		(*matches)++;
	}
	return (*matches == 1 ? found : NULL);
}

int
ctl_word_error(const struct ctl_word *words, const char *arg, FILE *out)
{
	size_t matches, length = strlen(arg);

	(void)ctl_word_find(words, arg, &matches);
	if (length == 0)
		(void)fprintf(out, "hermesctl: one of these is missing:\n");
	else
		(void)fprintf(out, "hermesctl: %s: %s; %s:\n", arg,
		    matches > 1 ? "ambiguous" : "unknown",
		    matches > 1 ? "it begins" : "known are");
	for (; words->word != NULL; words++)
		if (matches <= 1 || strncmp(words->word, arg, length) == 0)
			(void)fprintf(out, "  %s%s%s\n", words->word,
			    words->arguments[0] != '\0' ? " " : "",
			    words->arguments);
	return (CTL_USAGE);
}
