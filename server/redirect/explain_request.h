#pragma once
/* A request as `kudos explain` reads it from JSON, made into what the redirect process has of one
 * that was sent. Request line and Host go through the same parser; other header values are taken as
 * they are, so that what no server would let through can be asked about too. */
#include <jansson.h>
#include <sys/socket.h>

#include "server/redirect/request.h"
#include "shared/error.h"
#include "shared/http_head.h"

#define EXPLAIN_LISTS_MAX (64 * 1024) /* bytes of headers that came on several lines */
#define EXPLAIN_HEAD_MAX  (96 * 1024) /* bytes of method, target and Host */

struct explain_request {
    struct request request; /* texts point into the JSON value, or into the buffers below */
    int status;      /* 400 or 414: no server answers such a request line otherwise; else 0 */
    bool has_target; /* else only its sender can be explained */
    struct sockaddr_storage peer; /* AF_UNSPEC: unknown */
    int64_t time_us;              /* wall time of "time"; 0: now */
    char head[EXPLAIN_HEAD_MAX];
    char joined[EXPLAIN_LISTS_MAX];
    size_t joined_used;
};

/* Reads {"ip": …, "method": …, "target": …, "time": …, "headers": …}. False with the reason if it is
 * none. `out` is large: it is not meant for the stack. */
bool explain_read(json_t *json, const struct http_limits *limits, struct explain_request *out,
                  struct error *error) MUST_CHECK;
