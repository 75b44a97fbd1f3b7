/* Any process of hermesd. messages.def as a table, and names. */

#include <stddef.h>

#include "common/ipc/ipc.h"
#include "common/ipc/ipc_door.h"
#include "common/ipc/messages.h"

const struct ipc_row ipc_rows[IPC_TYPE_COUNT] = {
	[IPC_NONE] = { "NONE", 0, 0, 0, 0, 0 },
#define IPC_MESSAGE(name, from, to, type, tail, fd)                            \
	[IPC_##name] = { #name, from, to, sizeof(struct type), tail, fd },
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
};

const char *
process_name(enum process process)
{
	switch (process) {
	case PROCESS_PARENT:
		return ("parent");
	case PROCESS_ROUTER:
		return ("router");
	case PROCESS_KEYD:
		return ("keyd");
	case PROCESS_MESH:
		return ("mesh");
	case PROCESS_CONTROL:
		return ("control");
	}
	return ("unknown");
}

size_t
ipc_payload_size(enum ipc_type type)
{
	return ((unsigned int)type < IPC_TYPE_COUNT ? ipc_rows[type].size : 0);
}

const char *
ipc_type_name(enum ipc_type type)
{
	return ((unsigned int)type < IPC_TYPE_COUNT ? ipc_rows[type].name
						    : "unknown");
}
