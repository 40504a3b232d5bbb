#pragma once
/* The folder of the link replica: which snapshot is served, and the files of those that are not.
 * `folder` is <data_dir>/replica. */
#include "server/links/replica_format.h"

/* The name that `current` leads to; "" if there is none. */
void folder_current(const char *folder, char out[REPLICA_NAME_MAX]);

/* Makes `current` lead to `name`, durably: 0 or errno. */
int folder_set_current(const char *folder, const char *name);

/* Makes the folder of a new snapshot, with room for its lock file: 0 or errno. LMDB maps that file for
 * writing, so on a full disk a process that touches a page without room would die of SIGBUS. */
int folder_make(const char *folder, const char *name);

/* Removes a snapshot; readers that have it open keep it until they close. */
void folder_remove(const char *folder, const char *name);

/* Removes every snapshot that `current` does not name. */
void folder_remove_leftovers(const char *folder);

/* fsync of a file or folder: 0 or errno. */
int folder_sync(const char *path);
