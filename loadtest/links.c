/* See links.h. What starts each request is put together here, once. A link that would break the
 * request line is refused. */
#include "loadtest/links.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "shared/text.h"

void links_open(struct links *links, const char *host, const char *force_host, size_t most)
{
    assert(most > 0);
    memset(links, 0, sizeof *links);
    links->host = host;
    links->force_host = *force_host ? force_host : NULL;
    links->most = most;
}

void links_close(struct links *links)
{
    for (size_t i = 0; i < links->count; i++)
        free((void *)(uintptr_t)links->list[i].start);
    free(links->list);
    free(links->ids);
    memset(links, 0, sizeof *links);
}

static struct target_link *grow(struct links *links)
{
    if ((links->count & (links->count - 1)) == 0) {
        size_t room = links->count ? 2 * links->count : 1;

        links->list = reallocarray(links->list, room, sizeof *links->list);
        assert(links->list);
    }
    return &links->list[links->count++];
}

/* What can stand in a request line: visible ASCII, and the bytes of UTF-8. */
static bool is_plain(const char *text)
{
    for (; *text; text++)
        if (*text >= 0 && (*text <= ' ' || *text == 0x7f || *text == '#'))
            return false;
    return true;
}

bool links_add(struct links *links, const char *text, struct error *error)
{
    const char *host = links->host, *path = text;
    size_t host_length = strlen(host);
    char *start;
    int length;

    if (strncmp(text, "http://", 7) == 0 || strncmp(text, "https://", 8) == 0) {
        host = strchr(text, ':') + 3;
        host_length = strcspn(host, "/?");
        path = host + host_length;
    }
    if (links->force_host) {
        host = links->force_host;
        host_length = strlen(host);
    }
    if (!is_plain(text) || strlen(path) > TARGET_PATH_MAX || host_length > TARGET_HOST_MAX ||
        host_length == 0 || *path == '\0')
        return error_set(error, "\"%.80s\" is no link: SLUG, /PATH or http://HOST/PATH", text);
    if (links->count == links->most)
        return true;
    length = asprintf(&start, "GET %s%s HTTP/1.1\r\nHost: %.*s\r\n", *path == '/' ? "" : "/", path,
                      (int)host_length, host);
    assert(length > 0);
    *grow(links) = (struct target_link){start, (uint32_t)length};
    return true;
}

static bool read_lines(struct links *links, FILE *file, struct error *error)
{
    char line[TARGET_PATH_MAX + TARGET_HOST_MAX + 16];

    for (int number = 1; links->count < links->most && fgets(line, sizeof line, file); number++) {
        size_t length = strcspn(line, "\r\n");

        if (line[length] == '\0' && !feof(file))
            return error_set(error, "line %d is too long", number);
        line[length] = '\0';
        if (length == 0 || line[0] == '#')
            continue;
        if (!links_add(links, line, error))
            return error_prefix(error, "line %d", number);
    }
    return !ferror(file) || error_set(error, "%s", strerror(errno));
}

bool links_read(struct links *links, const char *path, struct error *error)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");
    bool good;

    if (!file)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    good = read_lines(links, file, error) || error_prefix(error, "%s", path);
    if (file != stdin)
        fclose(file);
    return good && (links->count > 0 || error_set(error, "%s holds no link", path));
}
