/* libhermes. The app's identity: an Ed25519 seed in a file of its own. */
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <string.h>
#include <unistd.h>

#include "client/hermes.h"
#include "common/util/hex.h"

#define KEY_TEXT (2 * HERMES_KEY_SIZE)

int
hermes_key_create(const char *path, uint8_t seed[HERMES_KEY_SIZE])
{
	char text[KEY_TEXT + 1];
	int fd, saved, result = -1;

	if (sodium_init() == -1)
		return (-1);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd == -1)
		return (-1);
	randombytes_buf(seed, HERMES_KEY_SIZE);
	hex_encode(text, seed, HERMES_KEY_SIZE);
	text[KEY_TEXT] = '\n';
	/* The mode of open() is only a wish when there is an ACL. */
	if (fchmod(fd, 0600) == -1)
		goto done;
	if (write(fd, text, sizeof(text)) != (ssize_t)sizeof(text) ||
	    fsync(fd) == -1)
		goto done;
	result = 0;
done:
	saved = errno;
	sodium_memzero(text, sizeof(text));
	if (close(fd) == -1 && result == 0) {
		saved = errno;
		result = -1;
	}
	if (result == -1) {
		(void)unlink(path); /* half a key is worth nothing */
		errno = saved;
	}
	return (result);
}

int
hermes_key_load(const char *path, uint8_t seed[HERMES_KEY_SIZE])
{
	struct stat st;
	char text[KEY_TEXT + 2];
	ssize_t length;
	int fd, saved, result = -1;

	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return (-1);
	if (fstat(fd, &st) == -1)
		goto done;
	if (!S_ISREG(st.st_mode) || (st.st_mode & 0177) != 0 ||
	    st.st_uid != geteuid()) {
		errno = EPERM;
		goto done;
	}
	if ((length = read(fd, text, sizeof(text))) == -1)
		goto done;
	if (length == KEY_TEXT + 1 && text[KEY_TEXT] == '\n')
		length--;
	if (length != KEY_TEXT) {
		errno = EINVAL;
		goto done;
	}
	text[KEY_TEXT] = '\0';
	result = hex_decode(seed, HERMES_KEY_SIZE, text);
done:
	saved = errno;
	sodium_memzero(text, sizeof(text));
	(void)close(fd); /* read only */
	errno = saved;
	return (result);
}

void
hermes_key_app_id(
    const uint8_t seed[HERMES_KEY_SIZE], char app_id[HERMES_APP_ID_SIZE])
{
	uint8_t public_key[crypto_sign_PUBLICKEYBYTES];
	uint8_t secret[crypto_sign_SECRETKEYBYTES];

	(void)crypto_sign_seed_keypair(public_key, secret, seed);
	sodium_memzero(secret, sizeof(secret));
	hex_encode(app_id, public_key, sizeof(public_key));
}
