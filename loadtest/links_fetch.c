/* links_fetch(): see links.h. A small blocking HTTP/1.1 client, a connection for each page: it is
 * used before the load, and only with an admin plane, which frames its answers with Content-Length
 * or with the connection's end (HTTP/1.0 is asked for). */
#include <assert.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "loadtest/links.h"
#include "loadtest/response.h"

#define PAGE         1000
#define ANSWER_MAX   (16 << 20)
#define KEY_MAX      256
#define TIMEOUT_S    30
#define CURSOR_MAX   512
#define REQUEST_SIZE (CURSOR_MAX + KEY_MAX + TARGET_HOST_MAX + 256)

static bool read_key(const char *path, char out[KEY_MAX], struct error *error)
{
    FILE *file = fopen(path, "re");
    bool got;

    if (!file)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    got = fgets(out, KEY_MAX, file) != NULL;
    fclose(file);
    out[got ? strcspn(out, "\r\n") : 0] = '\0';
    return *out != '\0' || error_set(error, "%s holds no key", path);
}

static int dial(const struct address *address, struct error *error)
{
    struct timeval limit = {TIMEOUT_S, 0};
    int fd = socket(address->storage.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) == 0 &&
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) == 0 &&
        connect(fd, (const struct sockaddr *)&address->storage, address->length) == 0)
        return fd;
    error_set(error, "cannot reach the admin plane: %s", strerror(errno));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Sends `request` and reads to the end of the connection; the length, or -1. */
static ssize_t ask(const struct address *address, const char *request, char *out,
                   struct error *error)
{
    size_t length = strlen(request), got = 0;
    ssize_t part = -1;
    int fd = dial(address, error);

    if (fd < 0)
        return -1;
    if (send(fd, request, length, MSG_NOSIGNAL) == (ssize_t)length) {
        while (got < ANSWER_MAX && (part = recv(fd, out + got, ANSWER_MAX - got, 0)) > 0)
            got += (size_t)part;
        if (got == ANSWER_MAX)
            errno = EMSGSIZE;
    }
    if (part != 0)
        error_set(error, "the admin plane gave no whole answer: %s", strerror(errno));
    close(fd);
    return part == 0 ? (ssize_t)got : -1;
}

static bool add_page(struct links *links, const json_t *items, struct error *error)
{
    const json_t *item;
    size_t i;

    json_array_foreach(items, i, item)
    {
        const char *url = json_string_value(json_object_get(item, "short_url"));
        size_t before = links->count;

        if (!url || !links_add(links, url, error))
            return url || error_set(error, "the admin plane listed a link without short_url");
        if (links->count == before)
            return true;
        if ((before & (before - 1)) == 0) {
            links->ids = reallocarray(links->ids, before ? 2 * before : 1, sizeof *links->ids);
            assert(links->ids);
        }
        links->ids[before] = (uint64_t)json_integer_value(json_object_get(item, "id"));
    }
    return true;
}

/* Takes one answer; `cursor` becomes that of the next page, "" after the last. */
static bool take_answer(struct links *links, const char *bytes, size_t length, char *cursor,
                        struct error *error)
{
    struct response head;
    json_t *page = NULL;
    const char *next;
    bool good = false;

    if (response_parse(bytes, length, &head) <= 0)
        return error_set(error, "the admin plane answered no HTTP");
    if (head.status == 200)
        page = json_loadb(bytes + head.head_length, length - head.head_length, 0, NULL);
    if (!page) {
        error_set(error, "GET /v1/links: the admin plane answered %d%s", head.status,
                  head.status == 401 ? ": is the key right?" : "");
    } else {
        next = json_string_value(json_object_get(page, "next_cursor"));
        good = add_page(links, json_object_get(page, "items"), error);
        snprintf(cursor, CURSOR_MAX, "%s", next ? next : "");
    }
    json_decref(page);
    return good;
}

bool links_fetch(struct links *links, const struct address *admin, const char *host,
                 const char *key_file, struct error *error)
{
    char key[KEY_MAX], cursor[CURSOR_MAX] = "", request[REQUEST_SIZE];
    char *answer = malloc(ANSWER_MAX);
    bool good = read_key(key_file, key, error);

    assert(answer);
    do {
        ssize_t length;

        if (!good)
            break;
        snprintf(request, sizeof request,
                 "GET /v1/links?state=active&limit=%d%s%s HTTP/1.0\r\nHost: %s\r\n"
                 "Authorization: Bearer %s\r\n\r\n",
                 PAGE, *cursor ? "&cursor=" : "", cursor, host, key);
        length = ask(admin, request, answer, error);
        good = length >= 0 && take_answer(links, answer, (size_t)length, cursor, error);
    } while (good && *cursor && links->count < links->most);
    free(answer);
    return good && (links->count > 0 || error_set(error, "that key sees no active link"));
}
