/*
 * Any process of hermesd. What comes in at a door: read, checked against
 * messages.def frame by frame, then handed over. A frame is looked at only
 * when it is whole and everything about it is right; descriptors that do not
 * belong to a frame are closed, and so is the door.
 */

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/ipc/ipc.h"
#include "common/ipc/ipc_door.h"
#include "common/util/log.h"

#define IPC_CMSG_FDS 16 /* more than any honest neighbour sends */

void
ipc_fds_close(struct ipc_fds *fds)
{
	struct ipc_fd *item;

	while ((item = TAILQ_FIRST(fds)) != NULL) {
		TAILQ_REMOVE(fds, item, entry);
		(void)close(item->fd);
		free(item);
	}
}

/* Keep the descriptors of one recvmsg(). 0, or -1: the neighbour is broken. */
static int
ipc_input_descriptors(struct ipc *ipc, struct msghdr *msg)
{
	struct cmsghdr *cmsg;
	struct ipc_fd *item;
	unsigned int count = 0;
	size_t i, n;
	int fd;

	for (cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL;
	     cmsg = CMSG_NXTHDR(msg, cmsg)) {
		if (cmsg->cmsg_level != SOL_SOCKET ||
		    cmsg->cmsg_type != SCM_RIGHTS ||
		    cmsg->cmsg_len < CMSG_LEN(0))
			continue;
		n = (cmsg->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(
			    &fd, CMSG_DATA(cmsg) + i * sizeof(fd), sizeof(fd));
			if ((item = calloc(1, sizeof(*item))) == NULL)
				fatal("ipc", "error=memory");
			item->fd = fd;
			TAILQ_INSERT_TAIL(&ipc->fds_in, item, entry);
			count++;
		}
	}
	ipc->arrived += count;
	/* Each descriptor has a sendmsg() of its own. */
	if (count > 1 || (msg->msg_flags & MSG_CTRUNC)) {
		ipc->gone = "more than one descriptor";
		return (-1);
	}
	return (0);
}

/* What is wrong with a header from this neighbour, or NULL. */
static const char *
ipc_input_header(const struct ipc *ipc, const struct ipc_header *header)
{
	const struct ipc_row *row;

	if (header->type == IPC_NONE || header->type >= IPC_TYPE_COUNT)
		return ("unknown type");
	row = &ipc_rows[header->type];
	if (!(row->from & (unsigned int)ipc->peer))
		return ("not its message to send");
	if (!(row->to & (unsigned int)ipc->self))
		return ("message for another process");
	if (header->length < row->size ||
	    header->length - row->size > row->tail)
		return ("wrong length");
	if (header->descriptor != row->descriptor)
		return ("wrong descriptor flag");
	if (ipc->callbacks.handlers[header->type] == NULL &&
	    row->tail + row->descriptor > 0)
		return ("message nobody handles");
	return (NULL);
}

/*
 * Check the frames that are whole by now, and whether the descriptors fit
 * them. 0, or -1 and ipc->gone.
 */
static int
ipc_input_check(struct ipc *ipc)
{
	const uint8_t *at;
	struct ipc_header header;
	size_t have, size, i;
	unsigned int least, most;

	for (;;) {
		at = buffer_bytes(&ipc->in) + ipc->checked;
		have = buffer_length(&ipc->in) - ipc->checked;
		least = 0;
		most = have > 0;
		if (have < sizeof(header))
			break;
		memcpy(&header, at, sizeof(header));
		ipc->gone = ipc_input_header(ipc, &header);
		if (ipc->gone != NULL)
			return (-1);
		least = most = header.descriptor;
		size = ipc_frame_size(header.length);
		if (have < size)
			break;
		for (i = sizeof(header) + header.length; i < size; i++)
			if (at[i] != 0) {
				ipc->gone = "padding is not zero";
				return (-1);
			}
		ipc->checked += size;
		ipc->expected += header.descriptor;
	}
	/* A descriptor arrives with the first byte of its frame. */
	if (ipc->arrived < ipc->expected + least) {
		ipc->gone = "missing descriptor";
		return (-1);
	}
	if (ipc->arrived > ipc->expected + most) {
		ipc->gone = "surplus descriptor";
		return (-1);
	}
	return (0);
}

/* How much to read: all of a long frame that has begun. */
static size_t
ipc_input_want(const struct ipc *ipc)
{
	struct ipc_header header;
	size_t have, size;

	have = buffer_length(&ipc->in) - ipc->checked;
	if (have < sizeof(header))
		return (IPC_READ_SIZE);
	memcpy(&header, buffer_bytes(&ipc->in) + ipc->checked, sizeof(header));
	size = ipc_frame_size(header.length) - have;
	return (size > IPC_READ_SIZE ? size : IPC_READ_SIZE);
}

int
ipc_input_read(struct ipc *ipc)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * IPC_CMSG_FDS)];
	} control;
	struct msghdr msg;
	struct iovec iov;
	ssize_t n;

	iov.iov_len = ipc_input_want(ipc);
	if ((iov.iov_base = buffer_reserve(&ipc->in, iov.iov_len)) == NULL)
		fatal("ipc", "error=memory");
	memset(&msg, 0, sizeof(msg));
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = &control;
	msg.msg_controllen = sizeof(control);
	n = recvmsg(ipc->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	if (n == -1) {
		if (errno == EAGAIN || errno == EINTR)
			return (0);
		ipc->gone = ipc_reason_closed;
		return (-1);
	}
	if (ipc_input_descriptors(ipc, &msg) == -1)
		return (-1);
	if (n == 0) {
		ipc->gone = ipc_reason_closed;
		return (-1);
	}
	buffer_commit(&ipc->in, (size_t)n);
	ipc->taken += (uint64_t)n;
	return (ipc_input_check(ipc) == -1 ? -1 : 1);
}

/* Take the first checked frame out of the input. */
static void
ipc_input_next(struct ipc *ipc, struct ipc_message *message)
{
	const uint8_t *at = buffer_bytes(&ipc->in);
	const struct ipc_row *row;
	struct ipc_header header;
	struct ipc_fd *item;

	memcpy(&header, at, sizeof(header));
	row = &ipc_rows[header.type];
	message->type = (enum ipc_type)header.type;
	message->payload = at + sizeof(header);
	message->tail = at + sizeof(header) + row->size;
	/* A frame that ipc_input_find() struck out has no row. */
	message->tail_length =
	    header.type == IPC_NONE ? 0 : header.length - row->size;
	message->fd = -1;
	if (header.descriptor) {
		item = TAILQ_FIRST(&ipc->fds_in);
		TAILQ_REMOVE(&ipc->fds_in, item, entry);
		message->fd = item->fd;
		free(item);
		ipc->arrived--;
		ipc->expected--;
	}
	buffer_consume(&ipc->in, ipc_frame_size(header.length));
	ipc->checked -= ipc_frame_size(header.length);
}

void
ipc_input_dispatch(struct ipc *ipc)
{
	struct ipc_message message;
	ipc_handler handler;

	while (ipc->checked > 0 && !ipc->paused && !ipc->freed &&
	       (ipc->gone == NULL || ipc->gone == ipc_reason_closed)) {
		ipc_input_next(ipc, &message);
		if (message.type == IPC_NONE)
			continue;
		if (ipc->late[message.type] > 0) {
			ipc->late[message.type]--;
			continue;
		}
		handler = ipc->callbacks.handlers[message.type];
		if (handler == NULL) {
			ipc->gone = "message nobody handles";
			return;
		}
		handler(ipc->arg, &message);
		free(ipc->held);
		ipc->held = NULL;
	}
	if (buffer_length(&ipc->in) == 0 && ipc->in.size > IPC_KEEP_SIZE)
		buffer_free(&ipc->in);
}

int
ipc_input_find(
    struct ipc *ipc, size_t *scan, enum ipc_type reply, void *payload)
{
	struct ipc_header header;
	uint8_t *at;

	if (ipc->gone != NULL && ipc->gone != ipc_reason_closed)
		return (0);
	while (*scan < ipc->checked) {
		at = buffer_bytes(&ipc->in) + *scan;
		memcpy(&header, at, sizeof(header));
		*scan += ipc_frame_size(header.length);
		if (header.type != reply)
			continue;
		header.type = IPC_NONE;
		memcpy(at, &header, sizeof(header));
		if (ipc->late[reply] > 0) {
			ipc->late[reply]--;
			continue;
		}
		memcpy(payload, at + sizeof(header), ipc_rows[reply].size);
		return (1);
	}
	return (0);
}

void
ipc_input_hold(struct ipc *ipc)
{
	struct buffer fresh;

	if (ipc->dispatching == 0 || ipc->held != NULL)
		return;
	buffer_init(&fresh);
	if (buffer_append(
		&fresh, buffer_bytes(&ipc->in), buffer_length(&ipc->in)) == -1)
		fatal("ipc", "error=memory");
	ipc->held = ipc->in.data;
	ipc->in = fresh;
}
