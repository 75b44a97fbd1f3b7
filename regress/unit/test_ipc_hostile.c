/*
 * Test. A door against a neighbour that breaks every rule: each time the
 * door closes, says why, has handled nothing and keeps no descriptor.
 */

#include "regress/unit/door.h"
#include "regress/unit/suite.h"

/*
 * L23: what a sender says of itself counts for nothing; the door decides.
 * Each of these is a message that some neighbour may send to keyd, on the
 * door of one that may not.
 */
START_TEST(test_L23_sender_that_lies)
{
	static const struct {
		enum process peer;
		enum ipc_type type;
	} lies[] = { { PROCESS_ROUTER, IPC_OPEN },
		{ PROCESS_ROUTER, IPC_SETUP_IN },
		{ PROCESS_ROUTER, IPC_MEMBERSHIP },
		{ PROCESS_ROUTER, IPC_PASSPHRASE },
		{ PROCESS_ROUTER, IPC_ERASE }, { PROCESS_ROUTER, IPC_SHUTDOWN },
		{ PROCESS_ROUTER, IPC_CONFIG }, { PROCESS_MESH, IPC_SEAL },
		{ PROCESS_MESH, IPC_CHAT_START },
		{ PROCESS_MESH, IPC_CHALLENGE }, { PROCESS_MESH, IPC_DOOR },
		{ PROCESS_CONTROL, IPC_SEAL },
		{ PROCESS_CONTROL, IPC_SIGN_DIGEST },
		{ PROCESS_CONTROL, IPC_GO }, { PROCESS_PARENT, IPC_SEAL },
		{ PROCESS_PARENT, IPC_MESH_CREATE } };
	uint8_t bytes[65536];
	size_t size, i;

	for (i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		open_raw(lies[i].peer);
		size = frame(bytes, lies[i].type,
		    ipc_payload_size(lies[i].type), 0,
		    lies[i].type == IPC_PASSPHRASE || lies[i].type == IPC_DOOR);
		ck_assert_uint_le(size, sizeof(bytes));
		put(bytes, size);
		expect_broken("not its message to send");
		close_all();
	}
	/* And on the right door it is taken. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, size, 1);
	run_until(&t.seen, 1);
	close_all();
}
END_TEST

/* Every type on every door: taken, or refused, as the table says. */
START_TEST(test_table_is_kept)
{
	static const enum process peers[] = { PROCESS_PARENT, PROCESS_ROUTER,
		PROCESS_MESH, PROCESS_CONTROL };
	static const struct {
		unsigned int from, to;
	} rows[IPC_TYPE_COUNT] = {
#define IPC_MESSAGE(name, from, to, type, tail, fd) [IPC_##name] = { from, to },
#include "common/ipc/messages.def"
#undef IPC_MESSAGE
	};
	uint8_t bytes[65536];
	size_t i, type, size;

	for (i = 0; i < 4; i++) {
		for (type = 1; type < IPC_TYPE_COUNT; type++) {
			if ((rows[type].from & (unsigned int)peers[i]) &&
			    (rows[type].to & PROCESS_KEYD))
				continue;
			open_raw(peers[i]);
			size = frame(bytes, (enum ipc_type)type,
			    ipc_payload_size((enum ipc_type)type), 0, 0);
			put(bytes, size);
			expect_broken(rows[type].from & (unsigned int)peers[i]
					  ? "message for another "
					    "process"
					  : "not its message to send");
			close_all();
		}
	}
}
END_TEST

START_TEST(test_wrong_receiver)
{
	uint8_t bytes[8192];
	size_t size;

	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_FIND, sizeof(struct ipc_find), 0, 0);
	put(bytes, size);
	expect_broken("message for another process");
	close_all();
}
END_TEST

START_TEST(test_unknown_type)
{
	static const uint16_t types[] = { 0, IPC_TYPE_COUNT, 999, 65535 };
	uint8_t bytes[64];
	size_t i, size;

	for (i = 0; i < 4; i++) {
		open_raw(PROCESS_ROUTER);
		size = frame(bytes, (enum ipc_type)types[i], 8, 0, 0);
		put(bytes, size);
		expect_broken("unknown type");
		close_all();
	}
}
END_TEST

START_TEST(test_unhandled)
{
	uint8_t bytes[8192];
	size_t size;

	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_CHALLENGE, sizeof(struct ipc_challenge), 0, 0);
	put(bytes, size);
	expect_broken("message nobody handles");
	close_all();
}
END_TEST

START_TEST(test_length_off_by_one)
{
	static const size_t exact = sizeof(struct ipc_sign_digest);
	static const size_t seal = sizeof(struct ipc_seal);
	struct ipc_header header;
	uint8_t bytes[8192];
	size_t size;
	int d;

	for (d = -1; d <= 1; d += 2) {
		open_raw(PROCESS_ROUTER);
		size = frame(bytes, IPC_SIGN_DIGEST, exact + (size_t)d, 0, 0);
		put(bytes, size);
		expect_broken("wrong length");
		close_all();
	}
	open_raw(PROCESS_ROUTER);
	size = frame(bytes, IPC_SEAL, seal - 1, 0, 0);
	put(bytes, size);
	expect_broken("wrong length");
	close_all();
	/* Too long a tail is refused at its header. */
	open_raw(PROCESS_ROUTER);
	(void)frame(bytes, IPC_SEAL, seal, 0, 0);
	memcpy(&header, bytes, sizeof(header));
	header.length = (uint32_t)seal + IPC_TAIL_PAYLOAD + 1;
	put(&header, sizeof(header));
	expect_broken("wrong length");
	close_all();
	open_raw(PROCESS_ROUTER);
	header.length = UINT32_MAX;
	put(&header, sizeof(header));
	expect_broken("wrong length");
	close_all();
}
END_TEST

START_TEST(test_padding_must_be_zero)
{
	uint8_t bytes[8192];
	size_t size;

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 3);
	bytes[size - 1] = 1;
	put(bytes, size);
	expect_broken("padding is not zero");
	close_all();
}
END_TEST

START_TEST(test_descriptor_flag_must_fit)
{
	uint8_t bytes[8192];
	size_t size;

	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 0);
	put(bytes, size);
	expect_broken("wrong descriptor flag");
	close_all();
	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 0);
	bytes[6] = 1;
	put(bytes, size);
	expect_broken("wrong descriptor flag");
	close_all();
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 2);
	put_fds(bytes, size, 1);
	expect_broken("wrong descriptor flag");
	close_all();
}
END_TEST

START_TEST(test_missing_descriptor)
{
	uint8_t bytes[8192];
	size_t size;

	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put(bytes, size);
	expect_broken("missing descriptor");
	close_all();
	/* Nor with the header: it would have come with the first byte. */
	open_raw(PROCESS_CONTROL);
	put(bytes, sizeof(struct ipc_header));
	expect_broken("missing descriptor");
	close_all();
}
END_TEST

START_TEST(test_surplus_descriptor)
{
	uint8_t bytes[8192];
	size_t size;
	int before = fd_count();

	open_raw(PROCESS_ROUTER);
	size = seal_frame(bytes, 1, 100);
	put_fds(bytes, size, 1);
	expect_broken("surplus descriptor");
	close_all();
	/* With a frame that has begun. */
	open_raw(PROCESS_ROUTER);
	put_fds(bytes, size / 2, 1);
	expect_broken("surplus descriptor");
	close_all();
	/* A second one with the middle of a frame that has one. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, 9, 1);
	run_now();
	put_fds(bytes + 9, size - 9, 1);
	expect_broken("surplus descriptor");
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_descriptor_flood)
{
	uint8_t bytes[8192];
	size_t size;
	int before = fd_count(), i;

	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	for (i = 2; i <= 64; i = i < 32 ? i + 1 : i + 16) {
		open_raw(PROCESS_CONTROL);
		put_fds(bytes, size, i);
		expect_broken("more than one descriptor");
		close_all();
		ck_assert_int_eq(fd_count(), before);
	}
	/* One byte at a time with a descriptor each. */
	open_raw(PROCESS_CONTROL);
	for (i = 0; i < 12; i++)
		put_fds(bytes + i, 1, 1);
	expect_broken("surplus descriptor");
	close_all();
	ck_assert_int_eq(fd_count(), before);
}
END_TEST

START_TEST(test_no_room_for_descriptor)
{
	struct rlimit limit, none;
	uint8_t bytes[8192];
	size_t size;

	/* The table of descriptors is full: truncated, so the door closes. */
	open_raw(PROCESS_CONTROL);
	size = frame(bytes, IPC_PASSPHRASE, sizeof(struct ipc_request), 0, 1);
	put_fds(bytes, size, 1);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	none = limit;
	none.rlim_cur = 0;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
	run_until_closed();
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_str_eq(t.reason, "more than one descriptor");
	close_all();
}
END_TEST

int
main(void)
{
	Suite *suite = suite_create("ipc_hostile");
	TCase *tc = tcase_create("door");

	log_init("test_ipc_hostile", LOG_LEVEL_ERROR, 1);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, test_L23_sender_that_lies);
	tcase_add_test(tc, test_table_is_kept);
	tcase_add_test(tc, test_wrong_receiver);
	tcase_add_test(tc, test_unknown_type);
	tcase_add_test(tc, test_unhandled);
	tcase_add_test(tc, test_length_off_by_one);
	tcase_add_test(tc, test_padding_must_be_zero);
	tcase_add_test(tc, test_descriptor_flag_must_fit);
	tcase_add_test(tc, test_missing_descriptor);
	tcase_add_test(tc, test_surplus_descriptor);
	tcase_add_test(tc, test_descriptor_flood);
	tcase_add_test(tc, test_no_room_for_descriptor);
	suite_add_tcase(suite, tc);
	return (suite_run(suite));
}
