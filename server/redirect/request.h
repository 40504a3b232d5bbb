#pragma once
/* What the redirect needs to know of a request, taken from its parsed head. Texts point into the
 * head's bytes and live as long as these. Pure: no socket, no clock, no allocation. */
#include <stddef.h>

#include "server/links/link.h"
#include "server/visitor/classify.h"
#include "shared/http_head.h"

/* Longest X-Forwarded-For or Forwarded, all lines joined; of a longer one the end is kept, which is what the
 * proxies nearest to us wrote. */
#define REQUEST_FORWARDED_MAX 1024

struct request {
    enum http_method method;
    struct text path;  /* without its leading slash, and without the '+' of a preview */
    bool preview;      /* /{slug}+: somebody wants to see where the link leads */
    struct text query; /* without '?' */
    size_t host_length;
    char host[LINK_HOST_MAX];           /* lower-case, no port, no trailing dot; none if too long */
    struct text forwarded_for;          /* X-Forwarded-For; empty if there is none */
    struct text forwarded;              /* Forwarded, if there is no X-Forwarded-For */
    struct visitor_request visitor;     /* all but the address */
    char joined[REQUEST_FORWARDED_MAX]; /* where the lines are joined, if there are several */
};

/* What a request is for, as far as its method and path tell. */
enum route {
    ROUTE_LINK,        /* GET or HEAD on what may be a slug */
    ROUTE_PREVIEW,     /* the same with a '+' behind it */
    ROUTE_ROOT,        /* GET or HEAD on "/" */
    ROUTE_ASSOCIATION, /* /.well-known/apple-app-site-association */
    ROUTE_ASSETLINKS,  /* /.well-known/assetlinks.json */
    ROUTE_HEALTH,
    ROUTE_ROBOTS,
    ROUTE_FAVICON,
    ROUTE_NOTHING, /* GET or HEAD on what cannot be a slug */
    ROUTE_METHOD,  /* neither GET nor HEAD, where nothing else may be */
    /* Conversions (tell.c), whatever the method. */
    ROUTE_POSTBACK,
    ROUTE_PIXEL,
    ROUTE_BEACON,
    ROUTE_SCRIPT,
};

void request_read(const struct http_head *head, struct request *out);

enum route request_route(const struct request *request);
