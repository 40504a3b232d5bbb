#pragma once
/* The links that are clicked, most popular first: from a file, or asked of the admin API. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shared/address.h"
#include "shared/error.h"

#define TARGET_PATH_MAX 1024
#define TARGET_HOST_MAX 255

/* `start` holds the request line and the Host field: "GET /x HTTP/1.1\r\nHost: y\r\n". */
struct target_link {
    const char *start;
    uint32_t length;
};

struct links {
    struct target_link *list;
    uint64_t *ids; /* as the admin API knows them; NULL when they come from a file */
    size_t count, most;
    const char *host;       /* for links that name none */
    const char *force_host; /* for all links; NULL: none */
};

/* Where links go that name no host: `host`; where all go: `force_host`, if not empty. Both stay the
 * caller's. At most `most` links are kept: the first. */
void links_open(struct links *links, const char *host, const char *force_host, size_t most);
void links_close(struct links *links);

/* Adds one: "slug", "/path?query" or "http://host/path". False with the reason. */
bool links_add(struct links *links, const char *text, struct error *error) MUST_CHECK;

/* Adds those of a file, one a line; empty lines and # lines are skipped. */
bool links_read(struct links *links, const char *path, struct error *error) MUST_CHECK;

/* Adds those that a key may read, newest first (blocking; GET /v1/links page by page). `key_file`
 * holds the key alone. */
bool links_fetch(struct links *links, const struct address *admin, const char *host,
                 const char *key_file, struct error *error) MUST_CHECK;
