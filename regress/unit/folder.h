/*
 * Test. Folders that go with the test that made them.
 */
#ifndef REGRESS_UNIT_FOLDER_H
#define REGRESS_UNIT_FOLDER_H

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

/* Remove the files in path that are not hidden; nothing when it is not there.
 */
static inline void
folder_empty(const char *path)
{
	char file[PATH_MAX + 256];
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		(void)snprintf(
		    file, sizeof(file), "%s/%s", path, entry->d_name);
		(void)unlink(file);
	}
	(void)closedir(dir);
}

/* The same, and path itself. */
static inline void
folder_remove(const char *path)
{
	folder_empty(path);
	(void)rmdir(path);
}

#endif
