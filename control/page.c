/*
 * control: the status page, one document with everything in it. What is in
 * control/page/ was made part of the program; the policy names the page's
 * own style and script by their hashes, so a browser runs nothing else, and
 * asks nobody but this node.
 */

#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "common/util/buffer.h"
#include "control/http.h"
#include "control/page_text.h"
#include "control/vitals.h"

#define TYPE_PAGE "text/html; charset=utf-8"

static char policy[512];

/* 'sha256-...' of a text, as a policy names it. */
static const char *
page_hash(char *name, size_t size, const char *text)
{
	unsigned char hash[crypto_hash_sha256_BYTES];
	char base64[sodium_base64_ENCODED_LEN(
	    crypto_hash_sha256_BYTES, sodium_base64_VARIANT_ORIGINAL)];

	(void)crypto_hash_sha256(
	    hash, (const unsigned char *)text, strlen(text));
	(void)snprintf(name, size, "'sha256-%s'",
	    sodium_bin2base64(base64, sizeof(base64), hash, sizeof(hash),
		sodium_base64_VARIANT_ORIGINAL));
	return (name);
}

static const char *
page_policy(void)
{
	char style[80], script[80];

	if (policy[0] == '\0')
		(void)snprintf(policy, sizeof(policy),
		    "default-src 'none'; style-src %s; script-src %s; "
		    "connect-src 'self'; img-src data:; base-uri 'none'; "
		    "form-action 'none'; frame-ancestors 'none'",
		    page_hash(style, sizeof(style), page_style),
		    page_hash(script, sizeof(script), page_script));
	return (policy);
}

static int
page_add(struct buffer *page, const char *text)
{
	return (buffer_append(page, text, strlen(text)));
}

void
page_status(struct http *http)
{
	struct buffer page;

	buffer_init(&page);
	if (page_add(&page, page_head) == -1 ||
	    page_add(&page, page_style) == -1 ||
	    page_add(&page, page_body) == -1 || vitals_print(&page) == -1 ||
	    page_add(&page, page_before_script) == -1 ||
	    page_add(&page, page_script) == -1 ||
	    page_add(&page, page_end) == -1)
		http_answer(http, 503, TYPE_PAGE, "", 0);
	else {
		http_policy(http, page_policy());
		http_answer(http, 200, TYPE_PAGE, buffer_bytes(&page),
		    buffer_length(&page));
	}
	buffer_free(&page);
}
