/*
 * Any process of hermesd. What goes out at a door: queued as frames, written
 * when the turn of the event loop ends, all of them in one write where no
 * descriptor is among them.
 */

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "common/ipc/ipc.h"
#include "common/ipc/ipc_door.h"
#include "common/util/log.h"

/* Queue the frame but for the tail; where that goes. */
static uint8_t *
ipc_output_frame(struct ipc *ipc, enum ipc_type type, const void *payload,
    size_t tail_length, unsigned int descriptor)
{
	const struct ipc_row *row;
	struct ipc_header header;
	size_t length, size;
	uint8_t *at;

	if (type == IPC_NONE || (unsigned int)type >= IPC_TYPE_COUNT)
		fatal("ipc_misuse", "type=%d", (int)type);
	row = &ipc_rows[type];
	if (!(row->from & (unsigned int)ipc->self) ||
	    !(row->to & (unsigned int)ipc->peer) || tail_length > row->tail ||
	    row->descriptor != descriptor)
		fatal("ipc_misuse", "type=%s self=%s peer=%s tail=%zu fd=%u",
		    row->name, process_name(ipc->self), process_name(ipc->peer),
		    tail_length, descriptor);
	if (ipc->out_dead)
		buffer_consume(&ipc->out, buffer_length(&ipc->out));
	length = row->size + tail_length;
	size = ipc_frame_size(length);
	if ((at = buffer_reserve(&ipc->out, size)) == NULL)
		fatal("ipc", "error=memory");
	header.length = (uint32_t)length;
	header.type = (uint16_t)type;
	header.descriptor = (uint16_t)descriptor;
	memcpy(at, &header, sizeof(header));
	memcpy(at + sizeof(header), payload, row->size);
	memset(at + sizeof(header) + length, 0, size - sizeof(header) - length);
	buffer_commit(&ipc->out, size);
	if (ipc->out_dead)
		return (at + sizeof(header) + row->size);
	if (!ipc->corked)
		event_active(ipc->deferred, EV_TIMEOUT, 0);
	if (buffer_length(&ipc->out) >= IPC_HIGH_MARK)
		ipc->congested = 1;
	return (at + sizeof(header) + row->size);
}

uint8_t *
ipc_send_tail(struct ipc *ipc, enum ipc_type type, const void *payload,
    size_t tail_length)
{
	return (ipc_output_frame(ipc, type, payload, tail_length, 0));
}

void
ipc_send(struct ipc *ipc, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	uint8_t *to;

	to = ipc_output_frame(ipc, type, payload, tail_length, 0);
	if (tail_length > 0)
		memcpy(to, tail, tail_length);
}

void
ipc_send_fd(struct ipc *ipc, enum ipc_type type, const void *payload, int fd)
{
	struct ipc_fd *item;
	uint64_t position;

	position =
	    ipc->written + (ipc->out_dead ? 0 : buffer_length(&ipc->out));
	(void)ipc_output_frame(ipc, type, payload, 0, 1);
	if (ipc->out_dead) {
		(void)close(fd);
		return;
	}
	if ((item = calloc(1, sizeof(*item))) == NULL)
		fatal("ipc", "error=memory");
	item->fd = fd;
	item->position = position;
	TAILQ_INSERT_TAIL(&ipc->fds_out, item, entry);
}

/* One sendmsg(): up to the next descriptor, with the one that is due. */
static ssize_t
ipc_output_once(struct ipc *ipc)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct cmsghdr *cmsg;
	struct msghdr msg;
	struct iovec iov;
	struct ipc_fd *item, *next;
	ssize_t n;

	memset(&msg, 0, sizeof(msg));
	iov.iov_base = buffer_bytes(&ipc->out);
	iov.iov_len = ipc->released;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	next = item = TAILQ_FIRST(&ipc->fds_out);
	if (item != NULL && item->position == ipc->written) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &item->fd, sizeof(int));
		next = TAILQ_NEXT(item, entry);
	}
	if (next != NULL && next->position - ipc->written < iov.iov_len)
		iov.iov_len = (size_t)(next->position - ipc->written);
	n = sendmsg(ipc->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n > 0 && msg.msg_control != NULL) {
		TAILQ_REMOVE(&ipc->fds_out, item, entry);
		(void)close(item->fd);
		free(item);
	}
	return (n);
}

int
ipc_output_write(struct ipc *ipc)
{
	ssize_t n;

	while (ipc->released > 0 && !ipc->out_dead) {
		n = ipc_output_once(ipc);
		if (n == -1 && errno == EINTR)
			continue;
		if (n == -1 && (errno == EAGAIN || errno == ENOBUFS)) {
			if (event_add(ipc->writable, NULL) == -1)
				fatal("ipc", "error=event_add");
			break;
		}
		if (n == -1) {
			/* The input will end as well; what is in it counts. */
			ipc->out_dead = 1;
			ipc->released = 0;
			buffer_consume(&ipc->out, buffer_length(&ipc->out));
			ipc_fds_close(&ipc->fds_out);
			if (errno != EPIPE && errno != ECONNRESET)
				(void)shutdown(ipc->fd, SHUT_RDWR);
			if (ipc->paused)
				event_active(ipc->deferred, EV_TIMEOUT, 0);
			break;
		}
		buffer_consume(&ipc->out, (size_t)n);
		ipc->written += (uint64_t)n;
		ipc->released -= (size_t)n;
	}
	if (ipc->congested && buffer_length(&ipc->out) <= IPC_LOW_MARK) {
		ipc->congested = 0;
		ipc->relieved = 1;
		event_active(ipc->deferred, EV_TIMEOUT, 0);
	}
	if (buffer_length(&ipc->out) == 0 && ipc->out.size > IPC_KEEP_SIZE)
		buffer_free(&ipc->out);
	return (ipc->out_dead ? -1 : 0);
}
