/*
 * Tests only. The router's side of a chat (router/chat.c): whatever apps,
 * keyd and mesh say, its numbers stay in order, what it delivers has no gap
 * and no repeat, and what it keeps is bounded.
 */

#include <stdlib.h>
#include <string.h>

#include "regress/fuzz/fuzz.h"
#include "router/chat.h"

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	fuzz_quiet();
	return (0);
}

static void
check(const struct chat_core *chat)
{
	FUZZ_CHECK(chat->acked <= chat->sent);
	FUZZ_CHECK(chat->sent <= chat->accepted);
	FUZZ_CHECK(chat->told <= chat->acked);
	FUZZ_CHECK(chat->delivered <= chat->received);
	FUZZ_CHECK(core_memory(chat) <= 64 * 1024 * 1024);
	FUZZ_CHECK(core_parked(chat) == chat->accepted - chat->sent);
}

static uint64_t
number(struct input *input, uint64_t near)
{
	uint8_t how = input_u8(input);

	if (how == 0xff)
		return (input_u64(input));
	return (near + how % 8 - 3);
}

/* Do all that is to be done. */
static void
drain(struct chat_core *chat)
{
	struct chat_kept *kept;
	uint64_t sequence, last = 0;

	while ((kept = core_next_seal(chat, &sequence)) != NULL) {
		FUZZ_CHECK(sequence > last && sequence == chat->sent);
		last = sequence;
	}
	while (core_next_ack(chat, &sequence, &kept)) {
		FUZZ_CHECK(sequence == chat->told + 1);
		core_told(chat);
	}
	while ((kept = core_next_delivery(chat, &sequence)) != NULL) {
		FUZZ_CHECK(sequence == chat->delivered + 1);
		core_delivered(chat);
	}
	(void)core_take_relay(chat, &sequence);
	(void)core_take_progress(chat);
}

static void
ready(struct chat_core *chat, struct input *input)
{
	struct ipc_chat_ready message = { .version = input_u8(input) };
	uint8_t how = input_u8(input);

	message.resumed = how & 1;
	message.first = how >> 1 & 1;
	message.reset = how >> 2 & 1;
	message.peer_delivered = number(input, chat->acked + 2);
	message.peer_acked = number(input, chat->delivered + 2);
	core_ready(chat, &message);
}

static void
opened(struct chat_core *chat, struct input *input)
{
	uint8_t how = input_u8(input), payload[64] = { 0 };
	uint64_t sequence = number(input, chat->received + 3);
	uint64_t before = chat->delivered;
	enum chat_verdict verdict;

	verdict = core_opened(chat, sequence, payload, how & 63, how & 0x80);
	if (verdict != CHAT_DELIVER)
		return;
	FUZZ_CHECK(sequence == before + 1 && (how & 0x80));
	if (how & 0x40)
		(void)core_hold(chat, sequence, payload, how & 63);
	else
		core_delivered(chat);
}

static void
step(struct chat_core *chat, struct input *input)
{
	struct chat_kept about = { .session = 1 };
	uint8_t payload[64] = { 0 }, how;

	switch (input_u8(input) % 14) {
	case 0:
	case 1:
	case 2:
		how = input_u8(input);
		(void)core_accept(chat, number(input, chat->accepted + 3),
		    payload, how & 63, payload, how >> 4, &about);
		break;
	case 3:
		core_acknowledged(chat, number(input, chat->acked + 3));
		break;
	case 4:
	case 5:
		opened(chat, input);
		break;
	case 6:
		ready(chat, input);
		break;
	case 7:
		core_suspend(chat);
		break;
	case 8:
		core_attach(chat, input_u8(input) & 1);
		break;
	case 9:
		core_credit(chat, input_u32(input) >> (input_u8(input) & 31),
		    input_u32(input));
		break;
	case 10:
		core_rekeying(chat, input_u8(input) & 1);
		break;
	case 11:
		core_offered(chat, input_u8(input) & 1);
		break;
	default:
		drain(chat);
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct chat_core chat;
	uint8_t how = input_u8(&input);

	core_init(&chat, 1 + (how & 15), 64 + (uint32_t)(how & 0xf0) * 16);
	if (how & 1)
		core_restore(&chat, 3, 10, 5 + (how >> 1 & 7) % 6, 7);
	core_attach(&chat, 1);
	core_credit(&chat, 8, 4096);
	while (input.left > 0) {
		step(&chat, &input);
		check(&chat);
	}
	drain(&chat);
	check(&chat);
	core_gone(&chat);
	core_free(&chat);
	return (0);
}
