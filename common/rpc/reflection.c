/*
 * Router and mesh. Server reflection, v1 and v1alpha (the same on the wire),
 * so that generic tools can list and call what is served. Trusts no byte of
 * a request; the descriptors are compiled in.
 */

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/descriptor.h"
#include "common/rpc/internal.h"
#include "proto/reflection_v1.pb-c.h"

#define SERVICES_MAX 64
#define ANSWER_FILES 32 /* a file and all it needs */

typedef Grpc__Reflection__V1__ServerReflectionRequest Request;
typedef Grpc__Reflection__V1__ServerReflectionResponse Response;
typedef Grpc__Reflection__V1__ServiceResponse Service;

#define ASKS(what)                                                             \
	GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##what
#define ANSWERS(what)                                                          \
	GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##what

struct rpc_reflection {
	struct descriptor_span *files; /* owned; FileDescriptorProto */
	size_t count;
};

static void reflection_message(
    struct rpc_stream *, const uint8_t *, size_t, void *);
static void reflection_finished(struct rpc_stream *, void *);
static void reflection_closed(
    struct rpc_stream *, enum rpc_status, const char *, void *);

#define CALLBACKS                                                              \
	{                                                                      \
		reflection_message, reflection_finished, NULL,                 \
		    reflection_closed                                          \
	}

const struct rpc_method rpc_reflection_methods[2] = {
	{ "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", 0, NULL,
	    CALLBACKS },
	{ "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", 0,
	    NULL, CALLBACKS },
};

static int
reflection_add_set(
    struct rpc_reflection *reflection, const struct rpc_descriptor *set)
{
	struct descriptor_span rest, file, *files;
	uint32_t field;
	int rv;

	rest.bytes = set->set;
	rest.length = set->length;
	while ((rv = descriptor_next(&rest, &field, &file)) == 1) {
		if (field != DESCRIPTOR_SET_FILE)
			continue;
		files = reallocarray(
		    reflection->files, reflection->count + 1, sizeof(*files));
		if (files == NULL)
			return (-1);
		reflection->files = files;
		files[reflection->count++] = file;
	}
	if (rv == -1)
		errno = EINVAL;
	return (rv);
}

int
rpc_server_enable_reflection(struct rpc_server *server,
    const struct rpc_descriptor *descriptors, size_t count)
{
	struct rpc_reflection *reflection;
	size_t i;

	if ((reflection = calloc(1, sizeof(*reflection))) == NULL)
		return (-1);
	for (i = 0; i < count; i++)
		if (reflection_add_set(reflection, &descriptors[i]) == -1) {
			free(reflection->files);
			free(reflection);
			return (-1);
		}
	rpc_reflection_free(server);
	server->reflection = reflection;
	return (0);
}

void
rpc_reflection_free(struct rpc_server *server)
{
	if (server->reflection == NULL)
		return;
	free(server->reflection->files);
	free(server->reflection);
	server->reflection = NULL;
}

static const struct descriptor_span *
reflection_by_name(
    const struct rpc_reflection *reflection, const char *name, size_t length)
{
	size_t i;

	for (i = 0; i < reflection->count; i++)
		if (descriptor_equal(descriptor_get(reflection->files[i],
					 DESCRIPTOR_FILE_NAME),
			name, length))
			return (&reflection->files[i]);
	return (NULL);
}

static const struct descriptor_span *
reflection_by_symbol(
    const struct rpc_reflection *reflection, const char *symbol)
{
	size_t i;

	for (i = 0; i < reflection->count; i++)
		if (descriptor_defines(reflection->files[i], symbol))
			return (&reflection->files[i]);
	return (NULL);
}

/* file and all that it imports, each once. */
static size_t
reflection_closure(const struct rpc_reflection *reflection,
    const struct descriptor_span *file,
    const struct descriptor_span *list[ANSWER_FILES])
{
	struct descriptor_span rest, value;
	size_t i, seen, count = 0;
	uint32_t field;

	list[count++] = file;
	for (i = 0; i < count; i++) {
		rest = *list[i];
		while (count < ANSWER_FILES &&
		       descriptor_next(&rest, &field, &value) == 1) {
			if (field != DESCRIPTOR_FILE_DEPENDENCY)
				continue;
			file = reflection_by_name(reflection,
			    (const char *)value.bytes, value.length);
			for (seen = 0; seen < count; seen++)
				if (list[seen] == file)
					break;
			if (file != NULL && seen == count)
				list[count++] = file;
		}
	}
	return (count);
}

static void
reflection_send(struct rpc_stream *stream, Response *response, Request *request)
{
	size_t length;
	uint8_t *to;

	response->valid_host = request->host;
	response->original_request = request;
	length =
	    grpc__reflection__v1__server_reflection_response__get_packed_size(
		response);
	if ((to = rpc_stream_reserve(stream, length)) == NULL) {
		rpc_stream_finish(
		    stream, RPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	rpc_stream_commit(
	    stream, grpc__reflection__v1__server_reflection_response__pack(
			response, to));
}

static void
reflection_error(struct rpc_stream *stream, Request *request,
    enum rpc_status status, const char *text)
{
	Response response =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ErrorResponse error =
	    GRPC__REFLECTION__V1__ERROR_RESPONSE__INIT;

	error.error_code = (int32_t)status;
	error.error_message = (char *)(uintptr_t)text; /* only read */
	response.message_response_case = ANSWERS(ERROR_RESPONSE);
	response.error_response = &error;
	reflection_send(stream, &response, request);
}

static void
reflection_file(struct rpc_stream *stream, Request *request,
    const struct descriptor_span *file)
{
	const struct rpc_reflection *reflection;
	const struct descriptor_span *list[ANSWER_FILES];
	Response response =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__FileDescriptorResponse answer =
	    GRPC__REFLECTION__V1__FILE_DESCRIPTOR_RESPONSE__INIT;
	ProtobufCBinaryData bytes[ANSWER_FILES];
	size_t i;

	if (file == NULL) {
		reflection_error(stream, request, RPC_NOT_FOUND, "not found");
		return;
	}
	reflection = rpc_stream_connection(stream)->server->reflection;
	answer.n_file_descriptor_proto =
	    reflection_closure(reflection, file, list);
	for (i = 0; i < answer.n_file_descriptor_proto; i++) {
		bytes[i].data = (uint8_t *)(uintptr_t)list[i]->bytes;
		bytes[i].len = list[i]->length;
	}
	answer.file_descriptor_proto = bytes;
	response.message_response_case = ANSWERS(FILE_DESCRIPTOR_RESPONSE);
	response.file_descriptor_response = &answer;
	reflection_send(stream, &response, request);
}

/* Add the service of a method's path, once. */
static void
reflection_add_service(
    char names[SERVICES_MAX][128], size_t *count, const char *path)
{
	size_t i, length = strcspn(path + 1, "/");

	if (*count == SERVICES_MAX || length >= 128)
		return;
	for (i = 0; i < *count; i++)
		if (strncmp(names[i], path + 1, length) == 0 &&
		    names[i][length] == '\0')
			return;
	memcpy(names[*count], path + 1, length);
	names[(*count)++][length] = '\0';
}

static void
reflection_list(struct rpc_stream *stream, Request *request)
{
	const struct rpc_server *server;
	char names[SERVICES_MAX][128];
	Service services[SERVICES_MAX];
	Service *pointers[SERVICES_MAX];
	Response response =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ListServiceResponse list =
	    GRPC__REFLECTION__V1__LIST_SERVICE_RESPONSE__INIT;
	size_t i, count = 0;

	server = rpc_stream_connection(stream)->server;
	for (i = 0; i < server->method_count; i++)
		reflection_add_service(names, &count, server->methods[i].path);
	reflection_add_service(names, &count, rpc_health_methods[0].path);
	for (i = 0; i < 2; i++)
		reflection_add_service(
		    names, &count, rpc_reflection_methods[i].path);
	for (i = 0; i < count; i++) {
		grpc__reflection__v1__service_response__init(&services[i]);
		services[i].name = names[i];
		pointers[i] = &services[i];
	}
	list.n_service = count;
	list.service = pointers;
	response.message_response_case = ANSWERS(LIST_SERVICES_RESPONSE);
	response.list_services_response = &list;
	reflection_send(stream, &response, request);
}

/* No file of ours has extensions: none for what exists. */
static void
reflection_extensions(struct rpc_stream *stream, Request *request,
    const struct rpc_reflection *reflection)
{
	Response response =
	    GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
	Grpc__Reflection__V1__ExtensionNumberResponse numbers =
	    GRPC__REFLECTION__V1__EXTENSION_NUMBER_RESPONSE__INIT;

	if (reflection_by_symbol(
		reflection, request->all_extension_numbers_of_type) == NULL) {
		reflection_error(stream, request, RPC_NOT_FOUND, "not found");
		return;
	}
	numbers.base_type_name = request->all_extension_numbers_of_type;
	response.message_response_case =
	    ANSWERS(ALL_EXTENSION_NUMBERS_RESPONSE);
	response.all_extension_numbers_response = &numbers;
	reflection_send(stream, &response, request);
}

static void
reflection_answer(struct rpc_stream *stream, Request *request)
{
	const struct rpc_reflection *reflection;

	reflection = rpc_stream_connection(stream)->server->reflection;
	switch (request->message_request_case) {
	case ASKS(FILE_BY_FILENAME):
		reflection_file(stream, request,
		    reflection_by_name(reflection, request->file_by_filename,
			strlen(request->file_by_filename)));
		break;
	case ASKS(FILE_CONTAINING_SYMBOL):
		reflection_file(stream, request,
		    reflection_by_symbol(
			reflection, request->file_containing_symbol));
		break;
	case ASKS(FILE_CONTAINING_EXTENSION):
		reflection_error(stream, request, RPC_NOT_FOUND, "not found");
		break;
	case ASKS(ALL_EXTENSION_NUMBERS_OF_TYPE):
		reflection_extensions(stream, request, reflection);
		break;
	case ASKS(LIST_SERVICES):
		reflection_list(stream, request);
		break;
	default:
		reflection_error(
		    stream, request, RPC_INVALID_ARGUMENT, "no request");
		break;
	}
}

static void
reflection_message(
    struct rpc_stream *stream, const uint8_t *message, size_t length, void *arg)
{
	Request *request;

	(void)arg;
	rpc_stream_consume(stream, length);
	/* Who asks without reading the answers gets none. */
	if (rpc_stream_congested(stream)) {
		rpc_stream_finish(
		    stream, RPC_RESOURCE_EXHAUSTED, "answers are not read");
		return;
	}
	request = grpc__reflection__v1__server_reflection_request__unpack(
	    NULL, length, message);
	if (request == NULL) {
		rpc_stream_finish(
		    stream, RPC_INTERNAL, "bad ServerReflectionRequest");
		return;
	}
	reflection_answer(stream, request);
	grpc__reflection__v1__server_reflection_request__free_unpacked(
	    request, NULL);
}

static void
reflection_finished(struct rpc_stream *stream, void *arg)
{
	(void)arg;
	rpc_stream_finish(stream, RPC_OK, NULL);
}

static void
reflection_closed(struct rpc_stream *stream, enum rpc_status status,
    const char *message, void *arg)
{
	(void)stream;
	(void)status;
	(void)message;
	(void)arg;
}
