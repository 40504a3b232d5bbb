#pragma once
/* The decision: from a request, the link behind its slug and the time, to the answer and the click.
 * Pure: no socket, no clock, no allocation; everything that the public plane promises about links
 * can be tested here alone.
 *
 * Who clicked is not decided here (server/visitor/classify.h), but a click that no one is to be
 * paid for since the link had expired is marked as invalid here. */
#include "server/clicks/event.h"
#include "server/links/link.h"
#include "server/redirect/request.h"

/* What is answered. Each but the redirects has one fixed body (server/redirect/reply.c). */
enum answer {
    ANSWER_HEALTH,      /* 200 */
    ANSWER_ROBOTS,      /* 200 */
    ANSWER_FAVICON,     /* 204 */
    ANSWER_MOVED,       /* 301 */
    ANSWER_FOUND,       /* 302 */
    ANSWER_TEMPORARY,   /* 307 */
    ANSWER_PERMANENT,   /* 308 */
    ANSWER_BAD,         /* 400 */
    ANSWER_NOT_FOUND,   /* 404 */
    ANSWER_METHOD,      /* 405 */
    ANSWER_TIMEOUT,     /* 408 */
    ANSWER_GONE,        /* 410 */
    ANSWER_TARGET_LONG, /* 414 */
    ANSWER_HEAD_LARGE,  /* 431 */
    ANSWER_UNAVAILABLE, /* 503 */
};
#define ANSWER_COUNT (ANSWER_UNAVAILABLE + 1)

/* The HTTP status of an answer. */
int answer_status(enum answer answer);

/* The answer to a head that http_head_parse() refused. */
enum answer answer_to_bad_head(int status);

struct decision {
    enum answer answer;
    bool click;    /* is to be journalled */
    bool click_id; /* may carry a click id */
    bool expired;  /* the click is invalid: the link was over */
    /* of a redirect: */
    struct text destination;
    size_t fragment_offset; /* the destination's length if it has no fragment */
    bool has_query;         /* the destination has a query */
    struct text query;      /* parameters to pass on; empty: none */
};

/* Decides a request that request_route() calls ROUTE_LINK. `link` is NULL if there is none, and
 * `domain` if there is not even one of these. If it is a click, fills the fields of `click` that do
 * not depend on the visitor, and zeroes the others. */
void decide_link(const struct request *request, const struct domain *domain,
                 const struct link *link, int64_t now_us, struct decision *out,
                 struct click *click);

/* Decides ROUTE_ROOT: where the domain says that "/" leads. */
void decide_root(const struct domain *domain, struct decision *out);

/* Decides all other requests. */
void decide_other(enum route route, struct decision *out);

/* After classify(): a click on an expired link is invalid, whoever it was. */
void decide_verdict(const struct decision *decision, struct click *click);
