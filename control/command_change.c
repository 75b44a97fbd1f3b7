/* control: the commands that change something, but rekey. */

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "common/util/hex.h"
#include "control/command.h"
#include "control/control.h"
#include "control/report.h"

#define TICKET_TTL_MAX  (366LL * 24 * 3600) /* seconds */
#define TICKET_USES_MAX 1000000

/* Ask one process one thing that ends with RESULT. */
static void
command_request(struct command *command, enum process process,
    enum ipc_type type, const void *payload, ask_done done)
{
	int fd = command->fds[0];

	if (command_ask(command, ASK_LONG, done) == NULL)
		return;
	command->fds[0] = -1;
	ask_send(command->ask, process, type, payload, fd);
	ask_start(command->ask);
}

static const struct ipc_request plain = { 0, 0 };

static void
command_mesh_created(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;

	/* keyd says who it is now before it says that all is done. */
	if (answer->results == 0 || !control.identity.in_mesh) {
		command_result(arg, answer);
		return;
	}
	command_answered(command);
	command_ok(command,
	    json_pack("{s:o}", "mesh_id",
		report_id(control.identity.mesh_id, KEY_SIZE, 1)),
	    answer);
}

void
command_mesh_create(struct command *command)
{
	command_request(command, PROCESS_KEYD, IPC_MESH_CREATE, &plain,
	    command_mesh_created);
}

void
command_mesh_revoke(struct command *command)
{
	const char *node = command_string(command, "node");
	struct ipc_revoke revoke;

	if (node == NULL || !node_id_valid(node, strlen(node))) {
		command_fail(command, ERROR_USAGE,
		    "not a node's name: 1 to %d of a-z, 0-9 and -",
		    NODE_ID_SIZE - 1);
		return;
	}
	memset(&revoke, 0, sizeof(revoke));
	memcpy(revoke.node_id, node, strlen(node));
	command_request(
	    command, PROCESS_KEYD, IPC_REVOKE, &revoke, command_result);
}

static void
command_ticket_made(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	char text[TICKET_TEXT_MAX];

	if (!answer->have_ticket) {
		command_result(arg, answer);
		return;
	}
	command_answered(command);
	ticket_to_text(&answer->ticket.ticket, text);
	command_ok(command,
	    json_pack("{s:s s:o}", "ticket", text, "expires_at",
		report_time(answer->ticket.ticket.expires_at)),
	    answer);
}

static void
command_ticket_members(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	const struct ipc_row_node *nodes;
	struct ipc_ticket_make make;
	size_t i, count;

	command_answered(command);
	memset(&make, 0, sizeof(make));
	make.lifetime = CLOCK_SECOND * command_integer(command, "ttl", 3600);
	make.uses = (uint64_t)command_integer(command, "uses", 1);
	/* Without mesh it names this node alone. */
	nodes = ask_rows(answer, SHOW_NODES, &count);
	for (i = 0; i < count && make.alive_count < TICKET_ENDPOINTS - 1; i++)
		if (!nodes[i].self && nodes[i].state == NODE_ALIVE)
			memcpy(make.alive[make.alive_count++],
			    nodes[i].node_key, KEY_SIZE);
	command_request(
	    command, PROCESS_KEYD, IPC_TICKET_MAKE, &make, command_ticket_made);
}

void
command_ticket(struct command *command)
{
	json_int_t ttl = command_integer(command, "ttl", 3600);
	json_int_t uses = command_integer(command, "uses", 1);

	if (ttl < 1 || ttl > TICKET_TTL_MAX || uses < 1 ||
	    uses > TICKET_USES_MAX) {
		command_fail(command, ERROR_USAGE,
		    "ttl is 1 to %lld seconds, "
		    "uses 1 to %d",
		    TICKET_TTL_MAX, TICKET_USES_MAX);
		return;
	}
	/* A ticket names members that answer: mesh knows which. */
	if (command_ask(command, ASK_SHORT, command_ticket_members) == NULL)
		return;
	ask_show(command->ask, SHOW_NODES);
	ask_start(command->ask);
}

void
command_ticket_revoke(struct command *command)
{
	const char *name = command_string(command, "ticket_id");
	struct ipc_ticket_revoke revoke;

	memset(&revoke, 0, sizeof(revoke));
	if (name == NULL ||
	    hex_decode(revoke.ticket, TICKET_ID_SIZE, name) == -1) {
		command_fail(command, ERROR_USAGE,
		    "not the id of a ticket: %d hex digits",
		    2 * TICKET_ID_SIZE);
		return;
	}
	command_request(
	    command, PROCESS_KEYD, IPC_TICKET_REVOKE, &revoke, command_result);
}

/* The ticket of the request. 0 or -1. */
static int
join_ticket(const struct command *command, struct ipc_ticket *join)
{
	const char *text = command_string(command, "ticket");

	memset(join, 0, sizeof(*join));
	return (text == NULL ? -1 : ticket_from_text(&join->ticket, text));
}

static void
command_join_allowed(void *arg, const struct ask_answer *answer)
{
	struct command *command = arg;
	struct ipc_ticket join;

	command_answered(command);
	if (command_refused(command, answer) ||
	    join_ticket(command, &join) == -1)
		return;
	command_request(command, PROCESS_MESH, IPC_JOIN, &join, command_result);
}

/* keyd must know the mesh from the operator, not from the mesh process. */
void
command_join(struct command *command)
{
	struct ipc_ticket join;

	if (join_ticket(command, &join) == -1) {
		command_fail(command, ERROR_USAGE,
		    "not a ticket: one begins with hermes1, as hermesctl "
		    "ticket prints it");
		return;
	}
	if (ticket_verify(&join.ticket, clock_wall()) == -1) {
		command_fail(command, ERROR_FAILED, "%s",
		    errno == ETIME ? "the ticket has expired: have another made"
				   : "the ticket is damaged or forged");
		return;
	}
	command_request(
	    command, PROCESS_KEYD, IPC_JOIN_ALLOW, &join, command_join_allowed);
}

void
command_rekey_tls(struct command *command)
{
	command_request(
	    command, PROCESS_KEYD, IPC_REKEY_TLS, &plain, command_result);
}

void
command_erase(struct command *command)
{
	command_request(
	    command, PROCESS_KEYD, IPC_ERASE, &plain, command_result);
}

int
command_check_fd(int fd, int write, int pipe_too)
{
	struct stat st;
	int flags;

	if (fd == -1 || fstat(fd, &st) == -1 ||
	    !(S_ISREG(st.st_mode) || (pipe_too && S_ISFIFO(st.st_mode))) ||
	    (flags = fcntl(fd, F_GETFL)) == -1 ||
	    (flags & O_ACCMODE) == (write ? O_RDONLY : O_WRONLY) ||
	    fcntl(fd, F_SETFL, flags | O_NONBLOCK) == -1)
		return (-1);
	return (0);
}

/*
 * The passphrase itself never enters this process: keyd reads the descriptor.
 * It must be one that cannot make keyd wait for somebody.
 */
void
command_unlock(struct command *command)
{
	if (control.identity.unlocked) {
		command_ok(command,
		    json_pack("{s:s}", "message", "already unlocked"), NULL);
		return;
	}
	if (command_check_fd(command->fds[0], 0, 1) == -1) {
		command_fail(command, ERROR_USAGE,
		    "unlock wants a pipe or file to read with it");
		return;
	}
	command_request(
	    command, PROCESS_KEYD, IPC_PASSPHRASE, &plain, command_result);
}

void
command_stop(struct command *command)
{
	command_request(
	    command, PROCESS_PARENT, IPC_STOP, &plain, command_result);
}

void
command_reload(struct command *command)
{
	command_request(
	    command, PROCESS_PARENT, IPC_RELOAD, &plain, command_result);
}

void
command_log(struct command *command)
{
	struct ipc_request request = { .value = command_boolean(
					   command, "verbose") };

	command_request(
	    command, PROCESS_PARENT, IPC_LOG_VERBOSE, &request, command_result);
}
