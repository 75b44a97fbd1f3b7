/* hermesctl(8): monitor, what happens on the node as it happens. */

#include <string.h>

#include "control/ctl.h"

#define MONITOR_CELL 256

/* One event as a line: time, event, then key=value; what has blanks is put in
 * quotes. */
static void
ctl_monitor_text(const json_t *row)
{
	char cell[MONITOR_CELL];
	const char *quote;
	const char *key;
	json_t *value;

	ctl_cell(cell, sizeof(cell), json_object_get(row, "time"), CTL_TEXT);
	(void)printf("%s", cell);
	ctl_cell(cell, sizeof(cell), json_object_get(row, "event"), CTL_TEXT);
	(void)printf(" %s", cell);
	json_object_foreach((json_t *)(uintptr_t)row, key, value)
	{
		if (strcmp(key, "time") == 0 || strcmp(key, "event") == 0)
			continue;
		ctl_cell(cell, sizeof(cell), value, CTL_TEXT);
		quote = strchr(cell, ' ') != NULL ? "\"" : "";
		(void)printf(" %s=%s%s%s", key, quote, cell, quote);
	}
	(void)printf("\n");
}

static void
ctl_monitor_row(void *arg, json_t *row)
{
	const struct ctl *ctl = arg;

	if (ctl->json) {
		(void)json_dumpf(row, stdout,
		    JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_ENSURE_ASCII);
		(void)putchar('\n');
	} else
		ctl_monitor_text(row);
	(void)fflush(stdout);
}

int
ctl_monitor(struct ctl *ctl, int argc, char *argv[])
{
	json_t *last;
	int status;

	if (ctl_options(ctl, NULL, argc, argv, 0, 0) == -1)
		return (CTL_USAGE);
	ctl->timeout = 0;
	status = ctl_request(ctl, json_pack("{s:s}", "command", "monitor"), -1,
	    ctl_monitor_row, ctl, &last);
	json_decref(last);
	return (status);
}
