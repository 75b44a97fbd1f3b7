/* hermesctl(8): options and arguments after the keywords. */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/ctl.h"

/* The option that arg names, wholly or as "--name=value"; NULL for none. */
static const struct ctl_option *
ctl_option_find(const struct ctl_option *options, const char *arg)
{
	const struct ctl_option *option;
	size_t length = strcspn(arg, "=");

	for (option = options; option->name != NULL; option++)
		if (strlen(option->name) == length &&
		    strncmp(option->name, arg, length) == 0)
			return (option);
	return (NULL);
}

/* Complain about arg and list what it may be. */
static void
ctl_option_error(const struct ctl_option *options,
    const struct ctl_option *common, const char *arg)
{
	char list[256] = "";

	for (; options->name != NULL; options++) {
		(void)strlcat(list, " ", sizeof(list));
		(void)strlcat(list, options->name, sizeof(list));
	}
	for (; common->name != NULL; common++) {
		(void)strlcat(list, " ", sizeof(list));
		(void)strlcat(list, common->name, sizeof(list));
	}
	ctl_warn("%s: unknown option; known are:%s", arg, list);
}

/* Take the option at argv[*i], and its value. 0, or -1 after a complaint. */
static int
ctl_option_take(struct ctl *ctl, const struct ctl_option *options, int argc,
    char *argv[], int *i)
{
	const struct ctl_option common[] = {
		{ "-j", NULL, &ctl->json },
		{ "--json", NULL, &ctl->json },
		{ "--full", NULL, &ctl->full },
		{ NULL, NULL, NULL },
	};
	const struct ctl_option *option;
	const char *arg = argv[*i];
	const char *equal = strchr(arg, '=');

	if ((option = ctl_option_find(common, arg)) == NULL)
		option = ctl_option_find(options, arg);
	if (option == NULL) {
		ctl_option_error(options, common, arg);
		return (-1);
	}
	if (equal != NULL && option->value == NULL) {
		ctl_warn("%s: it takes no value", arg);
		return (-1);
	}
	if (option->flag != NULL)
		*option->flag = 1;
	if (option->value == NULL)
		return (0);
	if (equal != NULL)
		*option->value = equal + 1;
	else if (*i + 1 < argc)
		*option->value = argv[++*i];
	else {
		ctl_warn("%s: a value is missing", arg);
		return (-1);
	}
	return (0);
}

int
ctl_options(struct ctl *ctl, const struct ctl_option *options, int argc,
    char *argv[], int least, int most)
{
	static const struct ctl_option none[] = {
		{ NULL, NULL, NULL },
	};
	int i, count = 0, only = 0;

	for (i = 0; i < argc; i++) {
		if (only || argv[i][0] != '-' || argv[i][1] == '\0')
			argv[count++] = argv[i];
		else if (strcmp(argv[i], "--") == 0)
			only = 1;
		else if (ctl_option_take(ctl, options == NULL ? none : options,
			     argc, argv, &i) == -1)
			return (-1);
	}
	if (count < least) {
		ctl_warn("an argument is missing%s%s",
		    ctl->word != NULL ? ": " : "",
		    ctl->word != NULL ? ctl->word->arguments : "");
		return (-1);
	}
	if (count > most) {
		ctl_warn("%s: one argument too many", argv[most]);
		return (-1);
	}
	return (count);
}

int64_t
ctl_duration(const char *text)
{
	static const struct {
		char unit;
		int64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 },
		{ 'w', 7 * 86400 } };
	char digits[16];
	const char *error;
	int64_t number, factor = 1;
	size_t i, length = strspn(text, "0123456789");

	if (length == 0 || length >= sizeof(digits))
		return (-1);
	memcpy(digits, text, length);
	digits[length] = '\0';
	if (text[length] != '\0') {
		factor = 0;
		for (i = 0; i < sizeof(units) / sizeof(units[0]); i++)
			if (units[i].unit == text[length])
				factor = units[i].seconds;
		if (factor == 0 || text[length + 1] != '\0')
			return (-1);
	}
	number = strtonum(digits, 1, INT64_MAX / factor, &error);
	return (error == NULL ? number * factor : -1);
}

int
ctl_address(const char *text, char *address, size_t size, int *port)
{
	const char *colon = strrchr(text, ':'), *error, *end = colon;
	size_t i, length;

	if (colon == NULL || colon == text)
		return (-1);
	*port = (int)strtonum(colon + 1, 1, 65535, &error);
	if (error != NULL)
		return (-1);
	if (*text == '[') {
		if (colon[-1] != ']')
			return (-1);
		text++;
		end--;
	}
	length = (size_t)(end - text);
	if (length == 0 || length >= size)
		return (-1);
	/* It goes into a file between quotes or bare: addresses and names. */
	for (i = 0; i < length; i++)
		if (strchr("0123456789abcdefghijklmnopqrstuvwxyz"
			   "ABCDEFGHIJKLMNOPQRSTUVWXYZ.:-%_*",
			text[i]) == NULL)
			return (-1);
	memcpy(address, text, length);
	address[length] = '\0';
	return (0);
}
