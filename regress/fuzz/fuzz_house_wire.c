/* Tests only. What goes through keyd's doors, both ways; see fuzz_house.h. */

#include <sys/socket.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <event2/event.h>

#include "keyd/keyd.h"
#include "regress/fuzz/fuzz.h"
#include "regress/fuzz/fuzz_clock.h"
#include "regress/fuzz/fuzz_house_internal.h"

struct wire house_wire;
struct ipc_ticket house_ticket;
struct ipc_redeemed house_redeemed;
struct ipc_revocation house_revocation;
struct route house_routes[NODE_CHATS + 1];

/* --- what keyd says ----------------------------------------------------- */

static void
said_to_router(enum ipc_type type, const void *payload, const uint8_t *tail,
    size_t tail_length)
{
	const struct ipc_opened *opened = payload;
	const struct ipc_chat_ready *ready = payload;
	struct route *route;

	if (ipc_payload_size(type) < sizeof(struct chat_key))
		return;
	route = house_find(payload);
	if (type == IPC_OPENED)
		truth_opened(&opened->key, opened->sequence, tail, tail_length);
	if (type == IPC_CHAT_ENDED)
		attempts_forget(payload);
	if (route == NULL)
		return;
	if (type == IPC_CHAT_ENDED)
		route->ready = 0;
	if (type == IPC_OPENED && opened->sequence == route->delivered + 1)
		route->delivered++;
	if (type != IPC_CHAT_READY)
		return;
	route->ready = 1;
	route->version = ready->version;
	if (ready->first) {
		route->delivered = route->acked = 0;
		route->next = 1;
	}
	if (ready->resumed && ready->peer_acked > route->delivered)
		route->delivered = ready->peer_acked;
}

static void
said(enum house_door door, enum ipc_type type, const void *payload,
    const uint8_t *tail, size_t tail_length)
{
	const struct ipc_ticket *ticket = payload;
	const struct ipc_redeemed *redeemed = payload;

	house.answers[type]++;
	switch (type) {
	case IPC_SETUP_OUT:
	case IPC_SEALED:
	case IPC_TEARDOWN_OUT:
	case IPC_SETUP_REFUSED:
		/* Very large ones get lost. */
		if (tail_length <= NODE_TAIL_MAX)
			wire_push(
			    &house_wire, type, payload, tail, tail_length);
		break;
	case IPC_TICKET:
		FUZZ_CHECK(ticket_verify(&ticket->ticket, fuzz_wall) == 0 ||
			   errno == ETIME);
		house_ticket = *ticket;
		break;
	case IPC_REVOCATION:
		memcpy(&house_revocation, payload, sizeof(house_revocation));
		break;
	case IPC_REDEEMED:
		FUZZ_CHECK(
		    keyd.identity.authority || redeemed->result != REDEEM_OK);
		if (redeemed->result != REDEEM_OK)
			break;
		house_redeemed = *redeemed;
		FUZZ_CHECK(certificate_verify(&redeemed->certificate,
			       keyd.identity.authority_key, 0) == 0);
		/* Nobody else is certified under our name. */
		FUZZ_CHECK(
		    strcmp(redeemed->certificate.node_id, HOUSE_NAME) != 0);
		break;
	default:
		if (door == DOOR_ROUTER)
			said_to_router(type, payload, tail, tail_length);
		break;
	}
}

/* Take whole frames out and check them by the table. */
static void
said_frames(enum house_door index, struct door *door)
{
	const struct ipc_row *row;
	struct ipc_header header;
	uint8_t *bytes;
	size_t size;

	while (buffer_length(&door->said) >= sizeof(header)) {
		memcpy(&header, buffer_bytes(&door->said), sizeof(header));
		FUZZ_CHECK(header.type > 0 && header.type < IPC_TYPE_COUNT);
		row = &ipc_rows[header.type];
		FUZZ_CHECK(row->from & PROCESS_KEYD);
		FUZZ_CHECK(row->to & (unsigned int)processes[index]);
		FUZZ_CHECK(header.length >= row->size &&
			   header.length - row->size <= row->tail);
		size = ipc_frame_size(header.length);
		if (buffer_length(&door->said) < size)
			break;
		FUZZ_CHECK((bytes = malloc(size)) != NULL);
		memcpy(bytes, buffer_bytes(&door->said), size);
		buffer_consume(&door->said, size);
		said(index, (enum ipc_type)header.type, bytes + sizeof(header),
		    bytes + sizeof(header) + row->size,
		    header.length - row->size);
		free(bytes);
	}
}

/* The bytes that came. */
static size_t
listen_to(enum house_door index, const struct secrets *before,
    const struct secrets *after)
{
	static uint8_t room[256 * 1024];
	struct door *door = &house.doors[index];
	size_t heard = 0;
	ssize_t n;

	if (door->fd == -1)
		return (0);
	while ((n = recv(door->fd, room, sizeof(room), MSG_DONTWAIT)) > 0) {
		heard += (size_t)n;
		FUZZ_CHECK((size_t)n <= house.budget);
		house.budget -= (size_t)n;
		secrets_absent(before, room, (size_t)n);
		secrets_absent(after, room, (size_t)n);
		/* Payload goes to the router and nowhere else. */
		FUZZ_CHECK(index == DOOR_ROUTER || find_quietly(room, (size_t)n,
						       NODE_MARKER, 8) == NULL);
		FUZZ_CHECK(buffer_append(&door->said, room, (size_t)n) == 0);
		said_frames(index, door);
	}
	return (heard);
}

void
house_settle(const struct secrets *before)
{
	static struct secrets after;
	int i, idle = 0;
	size_t heard;

	while (idle < 2) {
		(void)event_base_loop(house.base, EVLOOP_NONBLOCK);
		house_broken_close();
		after.count = heard = 0;
		secrets_collect(&after);
		for (i = 0; i < DOOR_COUNT; i++)
			heard += listen_to((enum house_door)i, before, &after);
		idle = heard > 0 ? 0 : idle + 1;
	}
}

/* --- what is written to it ------------------------------------------------ */

/* What the table says of the bytes written so far. */
static void
shadow_read(enum house_door index, struct door *door)
{
	const struct ipc_row *row;
	const struct ipc_seal *seal;
	struct ipc_header header;
	const uint8_t *at;
	size_t size, i;

	while (
	    !door->broken && buffer_length(&door->shadow) >= sizeof(header)) {
		at = buffer_bytes(&door->shadow);
		memcpy(&header, at, sizeof(header));
		door->broken = 1;
		if (header.type == IPC_NONE || header.type >= IPC_TYPE_COUNT)
			return;
		row = &ipc_rows[header.type];
		if (!(row->from & (unsigned int)processes[index]) ||
		    !(row->to & PROCESS_KEYD) || header.length < row->size ||
		    header.length - row->size > row->tail ||
		    header.descriptor != row->descriptor ||
		    header.descriptor > door->given ||
		    house.handlers[header.type] == NULL)
			return;
		size = ipc_frame_size(header.length);
		if (buffer_length(&door->shadow) < size) {
			door->broken = 0;
			return;
		}
		for (i = sizeof(header) + header.length; i < size; i++)
			if (at[i] != 0)
				return;
		door->broken = 0;
		seal = (const void *)(at + sizeof(header));
		if (header.type == IPC_SEAL)
			truth_sealed(&seal->key, seal->sequence,
			    at + sizeof(header) + row->size,
			    header.length - row->size);
		buffer_consume(&door->shadow, size);
		door->given -= header.descriptor;
	}
}

static ssize_t
send_some(int fd, const uint8_t *bytes, size_t length, int with)
{
	union {
		struct cmsghdr header;
		uint8_t bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *cmsg;

	if (with != -1) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		cmsg = CMSG_FIRSTHDR(&msg);
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(cmsg), &with, sizeof(int));
	}
	return (sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT));
}

static void
write_all(enum house_door index, const uint8_t *bytes, size_t length, int with)
{
	static struct secrets before;
	struct door *door = &house.doors[index];
	int paused, stuck = 0;
	ssize_t n;

	if (!door->up || length == 0)
		return;
	before.count = 0;
	secrets_collect(&before);
	house.budget = 64 * 1024 * (keyd.failing_since != 0 ? 1024 : 1);
	FUZZ_CHECK(buffer_append(&door->shadow, bytes, length) == 0);
	shadow_read(index, door);
	while (length > 0 && door->up && stuck < 8) {
		if ((n = send_some(door->fd, bytes, length, with)) > 0) {
			bytes += n;
			length -= (size_t)n;
			with = -1;
			stuck = 0;
		} else
			stuck++;
		house_settle(&before);
	}
	house_settle(&before);
	/* Not all of it fit while keyd does not read. */
	if (length > 0)
		door->unsure = 1;
	paused = door->up && door->proc.ipc->paused;
	/* Whoever breaks the table loses the door; nobody else does. */
	if (!paused && keyd.failing_since == 0 && !door->unsure)
		FUZZ_CHECK(door->up == !door->broken);
}

void
house_write(enum house_door door, const void *bytes, size_t length)
{
	write_all(door, bytes, length, -1);
}

void
house_write_fd(enum house_door door, const void *bytes, size_t length, int fd)
{
	/* Whether it is the end depends on where the frames lie. */
	house.doors[door].unsure = 1;
	write_all(door, bytes, length, fd);
	(void)close(fd);
	house_reopen(door);
}

static size_t
frame_make(uint8_t **out, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	struct ipc_header header = { .type = (uint16_t)type };
	size_t size = ipc_payload_size(type);
	size_t whole = ipc_frame_size(size + tail_length);

	header.length = (uint32_t)(size + tail_length);
	header.descriptor = (uint16_t)ipc_rows[type].descriptor;
	FUZZ_CHECK((*out = calloc(1, whole)) != NULL);
	memcpy(*out, &header, sizeof(header));
	memcpy(*out + sizeof(header), payload, size);
	if (tail_length > 0)
		memcpy(*out + sizeof(header) + size, tail, tail_length);
	return (whole);
}

void
house_send(enum house_door door, enum ipc_type type, const void *payload,
    const void *tail, size_t tail_length)
{
	uint8_t *frame;
	size_t length = frame_make(&frame, type, payload, tail, tail_length);

	write_all(door, frame, length, -1);
	free(frame);
}

void
house_send_fd(
    enum house_door door, enum ipc_type type, const void *payload, int fd)
{
	uint8_t *frame;
	size_t length = frame_make(&frame, type, payload, NULL, 0);

	house.doors[door].given++;
	if (buffer_length(&house.doors[door].shadow) > 0)
		house.doors[door].unsure = 1; /* in the middle of a frame */
	write_all(door, frame, length, fd);
	free(frame);
	(void)close(fd);
}

struct route *
house_find(const struct chat_key *key)
{
	size_t i;

	for (i = 0; i < NODE_CHATS + 1; i++)
		if (house_routes[i].local != NULL &&
		    memcmp(&house_routes[i].key, key, sizeof(*key)) == 0)
			return (&house_routes[i]);
	return (NULL);
}
