/*
 * Parent of hermesd, root. Files it prepares or opens for its children: the
 * folder of keyd, the passphrase, the operator's certificate. Their contents
 * are not read here, but for the certificate, which is public.
 */

#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/obj_mac.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "control/parent.h"

static int __attribute__((format(printf, 3, 4)))
parent_file_error(struct parent_error *error, const struct config_place *place,
    const char *format, ...)
{
	char where[CONFIG_PATH_SIZE + 16], what[384], line[800];
	va_list ap;

	va_start(ap, format);
	(void)vsnprintf(what, sizeof(what), format, ap);
	va_end(ap);
	(void)snprintf(line, sizeof(line), "%s: %s",
	    config_place_text(where, place), what);
	parent_report(error, line);
	return (-1);
}

/* Make the folders above path, open to all: keyd must come through. */
static int
parent_make_above(const char *path)
{
	char above[CONFIG_PATH_SIZE], *slash;
	mode_t mask = umask(022);
	int failed = 0;

	(void)strlcpy(above, path, sizeof(above));
	for (slash = strchr(above + 1, '/'); slash != NULL && !failed;
	     slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		failed = mkdir(above, 0755) == -1 && errno != EEXIST;
		*slash = '/';
	}
	(void)umask(mask);
	return (failed ? -1 : 0);
}

int
parent_keystore(struct parent *parent, struct parent_error *error)
{
	const struct config_place *place = &parent->file.keystore_path;
	const struct child *keyd = &parent->children[CHILD_KEYD];
	const char *path = parent->file.config.keystore.path;
	uid_t owner = parent->root ? keyd->uid : geteuid();
	struct stat st;
	int fd, saved;

	/* As it must be: then no privilege is needed for it. */
	if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
	    st.st_uid == owner && (st.st_mode & 07777) == 0700)
		return (0);
	if (parent_make_above(path) == -1 ||
	    (mkdir(path, 0700) == -1 && errno != EEXIST))
		return (parent_file_error(error, place,
		    "keystore path %s: %s; name a folder that can be made",
		    path, strerror(errno)));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd == -1)
		return (parent_file_error(error, place,
		    "keystore path %s: %s; name a folder that can be made",
		    path, strerror(errno)));
	if (fstat(fd, &st) == -1 || (st.st_uid != owner && st.st_uid != 0)) {
		(void)close(fd);
		return (parent_file_error(error, place,
		    "keystore path %s "
		    "belongs to another user (uid %u); chown it to %s, or "
		    "name another",
		    path, (unsigned int)st.st_uid,
		    parent->root ? keyd->user : "yourself"));
	}
	if (fchmod(fd, 0700) == -1 ||
	    (parent->root && fchown(fd, keyd->uid, keyd->gid) == -1)) {
		saved = errno;
		(void)close(fd);
		return (parent_file_error(error, place,
		    "keystore path %s: %s; chown it to %s, with mode 700", path,
		    strerror(saved), parent->root ? keyd->user : "yourself"));
	}
	(void)close(fd);
	return (0);
}

/* Open a file with a secret: of root or ourselves, closed to others. */
static int
parent_open_secret(const char *path, const char *what,
    const struct config_place *place, struct parent_error *error, int *out)
{
	struct stat st;
	int fd;

	fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd == -1 || fstat(fd, &st) == -1) {
		(void)parent_file_error(error, place, "%s %s: %s", what, path,
		    errno == ELOOP ? "is a symbolic link; name the file itself"
		    : errno == ENOENT
			? "is not there; make it, with mode 600, or take the "
			  "line away"
			: strerror(errno));
		goto fail;
	}
	if (!S_ISREG(st.st_mode)) {
		(void)parent_file_error(
		    error, place, "%s %s: not a file; name one", what, path);
		goto fail;
	}
	if (st.st_uid != 0 && st.st_uid != geteuid()) {
		(void)parent_file_error(error, place,
		    "%s %s: must belong to "
		    "root or to the user that starts hermesd; chown it",
		    what, path);
		goto fail;
	}
	if (st.st_mode & (S_IRWXG | S_IRWXO)) {
		(void)parent_file_error(error, place,
		    "%s %s: mode %04o lets "
		    "others at it; chmod 600",
		    what, path, (unsigned int)(st.st_mode & 07777));
		goto fail;
	}
	*out = fd;
	return (0);
fail:
	if (fd != -1)
		(void)close(fd);
	return (-1);
}

int
parent_passphrase(struct parent *parent, struct parent_error *error, int *fd)
{
	struct config *config = &parent->file.config;
	const char *folder = getenv("CREDENTIALS_DIRECTORY");
	char path[CONFIG_PATH_SIZE];

	*fd = -1;
	if (config->keystore.passphrase[0] == '\0' && folder != NULL &&
	    (size_t)snprintf(path, sizeof(path), "%s/hermes-passphrase",
		folder) < sizeof(path) &&
	    access(path, F_OK) == 0)
		(void)strlcpy(config->keystore.passphrase, path,
		    sizeof(config->keystore.passphrase));
	if (config->keystore.passphrase[0] == '\0')
		return (0);
	return (parent_open_secret(config->keystore.passphrase,
	    "passphrase file", &parent->file.passphrase, error, fd));
}

/* What is wrong with the first certificate of a PEM file, or NULL. */
static const char *
parent_certificate_wrong(FILE *stream)
{
	const char *wrong = NULL;
	EVP_PKEY *key;
	X509 *x509;
	char group[64] = "";

	if ((x509 = PEM_read_X509(stream, NULL, NULL, NULL)) == NULL)
		return ("not a certificate in PEM");
	key = X509_get0_pubkey(x509);
	if (X509_cmp_current_time(X509_get0_notBefore(x509)) > 0)
		wrong = "the certificate is not valid yet";
	else if (X509_cmp_current_time(X509_get0_notAfter(x509)) < 0)
		wrong = "the certificate has expired";
	else if (key == NULL || EVP_PKEY_base_id(key) != EVP_PKEY_EC ||
		 EVP_PKEY_get_group_name(key, group, sizeof(group), NULL) !=
		     1 ||
		 OBJ_txt2nid(group) != NID_X9_62_prime256v1)
		wrong = "the key must be ECDSA P-256";
	X509_free(x509);
	return (wrong);
}

int
parent_certificate(const struct config_file *file, struct parent_error *error,
    int *certificate, int *key)
{
	const char *path = file->config.certificate, *wrong;
	FILE *stream = NULL;
	int fd;

	*certificate = *key = -1;
	if (!file->config.own_certificate)
		return (0);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) == -1)
		return (parent_file_error(error, &file->certificate,
		    "certificate %s: %s", path, strerror(errno)));
	if ((*certificate = fcntl(fd, F_DUPFD_CLOEXEC, 0)) == -1 ||
	    (stream = fdopen(fd, "r")) == NULL) {
		(void)parent_file_error(error, &file->certificate,
		    "certificate %s: %s", path, strerror(errno));
		(void)close(fd);
		goto fail;
	}
	wrong = parent_certificate_wrong(stream);
	(void)fclose(stream);
	if (wrong != NULL) {
		(void)parent_file_error(error, &file->certificate,
		    "certificate %s: %s", path, wrong);
		goto fail;
	}
	if (parent_open_secret(file->config.certificate_key, "key",
		&file->certificate, error, key) == -1)
		goto fail;
	return (0);
fail:
	if (*certificate != -1)
		(void)close(*certificate);
	*certificate = -1;
	return (-1);
}
