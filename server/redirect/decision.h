#pragma once
/* The decision: from a request, the domain and link that it names and the time, to the answer and
 * the click. Pure: no socket, no clock, no allocation; everything that the public plane promises
 * about links can be tested here alone.
 *
 * In two steps, since where a link leads can depend on who asks:
 *   decide_link()      what the link's state says, and whether the visitor has to be known
 *   (classify())       who it is (server/visitor/classify.h)
 *   decide_visitor()   prefetches, late visitors, the link's rules
 * A click that no one is to be paid for is marked as invalid here, with the reason. */
#include "server/clicks/event.h"
#include "server/links/link.h"
#include "server/redirect/request.h"

/* What is answered. Each but the redirects has one fixed body (server/redirect/reply.c). */
enum answer {
    ANSWER_HEALTH,      /* 200 */
    ANSWER_ROBOTS,      /* 200 */
    ANSWER_JSON,        /* 200, with decision.body */
    ANSWER_PREVIEW,     /* 200, with decision.body */
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
    ANSWER_PREFETCH,    /* 503 */
    ANSWER_UNAVAILABLE, /* 503 */
    /* of tell.c: */
    ANSWER_TOLD,          /* 200, with decision.body */
    ANSWER_PIXEL,         /* 200, with decision.body */
    ANSWER_SCRIPT,        /* 200, with decision.body */
    ANSWER_SCRIPT_KNOWN,  /* 304 */
    ANSWER_BEACON,        /* 204 */
    ANSWER_BEACON_MAY,    /* 204 to OPTIONS */
    ANSWER_TOLD_BAD,      /* 400, with decision.body */
    ANSWER_BEACON_BAD,    /* 400, with decision.body */
    ANSWER_TOLD_METHOD,   /* 405 */
    ANSWER_PIXEL_METHOD,  /* 405 */
    ANSWER_BEACON_METHOD, /* 405 */
    ANSWER_TOLD_LENGTH,   /* 411 */
    ANSWER_TOLD_LARGE,    /* 413 */
    ANSWER_TOLD_TYPE,     /* 415 */
    ANSWER_TOLD_LOST,     /* 503; not longer than any answer that it may have to replace */
};
#define ANSWER_COUNT (ANSWER_TOLD_LOST + 1)

/* The HTTP status of an answer. */
int answer_status(enum answer answer);

/* The answer to a head that http_head_parse() refused. */
enum answer answer_to_bad_head(int status);

/* Where the destination carries the click's id. */
enum decision_id {
    ID_NONE,
    ID_PARAMETER, /* in a parameter that is appended */
    ID_IN_PLACE,  /* where the destination says {click_id} */
};

/* Why a redirect comes too late. */
enum decision_late { LATE_NOT, LATE_EXPIRED, LATE_USED_UP };

struct decision {
    enum answer answer;
    bool click;         /* is to be journalled */
    bool needs_visitor; /* classify(), then decide_visitor() */
    enum decision_id id;
    enum decision_late late;
    /* of a redirect: */
    struct text destination;
    size_t fragment_offset; /* the destination's length if it has no fragment */
    bool has_query;         /* the destination has a query */
    bool is_template;       /* it holds {country} or {click_id} */
    bool wants_id;          /* the link says that a click id is to be appended */
    char country[2];        /* for {country}; NULs: unknown */
    struct text query;      /* parameters to pass on; empty: none */
    /* of the answers that have their own: */
    struct text body;
};

/* What else decide_visitor() goes by. */
struct decision_policy {
    bool refuse_prefetch; /* so that the browser asks again when somebody really goes there */
    uint64_t draw;        /* chooses the variant of a split */
};

/* Decides a request that request_route() calls ROUTE_LINK or ROUTE_PREVIEW. `link` is NULL if there
 * is none on the domain. If it is a click or the visitor has to be known, fills the fields of
 * `click` that do not depend on the visitor, and zeroes the others. */
void decide_link(const struct request *request, const struct domain *domain,
                 const struct link *link, int64_t now_us, struct decision *out,
                 struct click *click);

/* Goes on where decide_link() says needs_visitor; `click` has been through classify(). */
void decide_visitor(const struct request *request, const struct link *link,
                    const struct decision_policy *policy, struct decision *out,
                    struct click *click);

/* Decides what a domain answers itself: ROUTE_ROOT, ROUTE_ASSOCIATION, ROUTE_ASSETLINKS. */
void decide_domain(enum route route, const struct domain *domain, struct decision *out);

/* Decides what needs nothing but the route. */
void decide_other(enum route route, struct decision *out);
