/* The folder of the link replica; see replica_folder.h and replica_format.h. */
#include "server/links/replica_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/log.h"

#define FOLDER_PATH_MAX (REPLICA_PATH_MAX + 64)

void folder_current(const char *folder, char out[REPLICA_NAME_MAX])
{
    char path[FOLDER_PATH_MAX];
    ssize_t length;

    snprintf(path, sizeof path, "%s/%s", folder, REPLICA_CURRENT);
    length = readlink(path, out, REPLICA_NAME_MAX);
    out[length > 0 && length < REPLICA_NAME_MAX ? length : 0] = '\0';
}

void folder_remove(const char *folder, const char *name)
{
    static const char *const files[] = {"data.mdb", "lock.mdb"};
    char path[FOLDER_PATH_MAX], file[FOLDER_PATH_MAX + 16];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(file, sizeof file, "%s/%s", path, files[i]);
        unlink(file);
    }
    if (rmdir(path) != 0 && errno != ENOENT)
        log_warn("replica_leftover", "folder=%s error=%s", path, strerror(errno));
}

void folder_remove_leftovers(const char *folder)
{
    char current[REPLICA_NAME_MAX], name[REPLICA_NAME_MAX];
    DIR *listing = opendir(folder);
    struct dirent *entry;

    if (!listing)
        return;
    folder_current(folder, current);
    while ((entry = readdir(listing))) {
        if (strncmp(entry->d_name, "s-", 2) != 0 || strcmp(entry->d_name, current) == 0 ||
            strlen(entry->d_name) >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.63s", entry->d_name);
        folder_remove(folder, name);
    }
    closedir(listing);
}

int folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int rc = fd < 0 || fsync(fd) != 0 ? errno : 0;

    if (fd >= 0)
        close(fd);
    return rc;
}

int folder_make(const char *folder, const char *name)
{
    const off_t lock_bytes =
        (REPLICA_READERS_MAX + 64) * 64; /* a cache line per reader, a header */
    char path[FOLDER_PATH_MAX], lock[FOLDER_PATH_MAX + 16];
    int fd, rc;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    snprintf(lock, sizeof lock, "%s/lock.mdb", path);
    if (mkdir(path, 0700) != 0)
        return errno;
    fd = open(lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    rc = posix_fallocate(fd, 0, lock_bytes);
    close(fd);
    return rc;
}

int folder_set_current(const char *folder, const char *name)
{
    char current[FOLDER_PATH_MAX], beside[FOLDER_PATH_MAX];

    snprintf(current, sizeof current, "%s/%s", folder, REPLICA_CURRENT);
    snprintf(beside, sizeof beside, "%s/%s", folder, REPLICA_CURRENT ".new");
    unlink(beside);
    if (symlink(name, beside) != 0 || rename(beside, current) != 0)
        return errno;
    return folder_sync(folder);
}
