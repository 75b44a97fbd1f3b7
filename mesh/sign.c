/*
 * mesh, unprivileged. Signatures are keyd's to make: statements by message
 * and answer, TLS digests by a bounded call inside the handshake.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/sign/statement.h"
#include "common/util/log.h"
#include "common/util/table.h"
#include "mesh/mesh.h"

#define SIGN_TIMEOUT_MS 2000

struct sign_request {
	uint64_t id;
	sign_done done;
	void *arg;
};

static struct table requests = { .key_size = 0 };
static uint64_t last_id;

void
sign_statement(enum statement_kind kind, uint64_t number,
    const uint8_t digest[KEY_SIZE], sign_done done, void *arg)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_statement message = { 0 };
	struct sign_request *request;

	if (requests.key_size == 0)
		table_init(&requests, sizeof(uint64_t));
	request = calloc(1, sizeof(*request));
	if (keyd == NULL || request == NULL) {
		free(request);
		done(NULL, arg);
		return;
	}
	request->id = ++last_id;
	request->done = done;
	request->arg = arg;
	if (table_put(&requests, &request->id, request) == -1) {
		free(request);
		done(NULL, arg);
		return;
	}
	message.id = request->id;
	message.kind = kind;
	message.number = number;
	memcpy(message.digest, digest, KEY_SIZE);
	ipc_send(keyd, IPC_STATEMENT, &message, NULL, 0);
}

void
sign_on_signed(void *arg, const struct ipc_message *message)
{
	const struct ipc_statement_signed *answer = message->payload;
	struct sign_request *request;

	(void)arg;
	if (requests.key_size == 0 ||
	    (request = table_remove(&requests, &answer->id)) == NULL) {
		log_warn("signature_unasked", "from=keyd");
		return;
	}
	request->done(answer->ok ? answer->signature : NULL, request->arg);
	free(request);
}

void
sign_on_late_digest(void *arg, const struct ipc_message *message)
{
	(void)arg;
	(void)message;
	log_debug("tls_sign_late", "from=keyd");
}

int
sign_tls_digest(void *arg, const uint8_t *digest, size_t length,
    uint8_t *signature, size_t *signature_length)
{
	struct ipc *keyd = proc_ipc(PROCESS_KEYD);
	struct ipc_sign_digest question = { 0 };
	struct ipc_signed_digest answer;

	(void)arg;
	if (keyd == NULL || length > sizeof(question.digest))
		return (-1);
	question.length = length;
	memcpy(question.digest, digest, length);
	if (ipc_call(keyd, IPC_SIGN_DIGEST, &question, IPC_SIGNED_DIGEST,
		&answer, SIGN_TIMEOUT_MS) == -1) {
		log_warn("tls_sign_failed", "error=\"%s\"", strerror(errno));
		return (-1);
	}
	if (answer.length == 0 || answer.length > sizeof(answer.signature))
		return (-1);
	memcpy(signature, answer.signature, answer.length);
	*signature_length = answer.length;
	return (0);
}
