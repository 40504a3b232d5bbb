/* Loaded before everything else (LD_PRELOAD) it writes down what fsync and fdatasync have made
 * durable, so that a test can take away the rest, as a power cut does. To $POWERCUT_LOG:
 *   F <inode> <size>      this file holds at least so many bytes
 *   E <folder> <inode>    this folder has an entry for that inode
 * What is noted was there before the call, and is noted after it has succeeded. */
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOTES_MAX 65536

int fsync(int fd);
int fdatasync(int fd);

static void note(const char *notes, size_t length)
{
    const char *path = getenv("POWERCUT_LOG");
    int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;

    if (fd < 0)
        return;
    if (write(fd, notes, length) != (ssize_t)length)
        abort();
    close(fd);
}

static size_t list(int fd, unsigned long folder_inode, char notes[NOTES_MAX])
{
    int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy >= 0 ? fdopendir(copy) : NULL;
    struct dirent *entry;
    size_t used = 0;

    while (folder && (entry = readdir(folder)) && used + 64 < NOTES_MAX)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            used += (size_t)snprintf(notes + used, NOTES_MAX - used, "E %lu %lu\n", folder_inode,
                                     (unsigned long)entry->d_ino);
    if (folder)
        closedir(folder);
    return used;
}

static int sync_and_note(int fd, const char *name)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    static char notes[NOTES_MAX];
    struct stat status;
    size_t used = 0;
    int result;

    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode))
        used = list(fd, (unsigned long)status.st_ino, notes);
    else
        used = (size_t)snprintf(notes, sizeof notes, "F %lu %lld\n", (unsigned long)status.st_ino,
                                (long long)status.st_size);
    result = real(fd);
    if (result == 0)
        note(notes, used);
    return result;
}

int fsync(int fd)
{
    return sync_and_note(fd, "fsync");
}

int fdatasync(int fd)
{
    return sync_and_note(fd, "fdatasync");
}
