#pragma once
/* Who clicks what: makes one request after the other, as bytes. Has no socket and no clock: the
 * same seed gives the same requests in the same order.
 *
 * A visitor is a number, and all that is known of one follows from it: person or bot, agent,
 * country, address. So repeats of any visitor cost no memory. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loadtest/links.h"
#include "loadtest/mix.h"
#include "loadtest/zipf.h"

#define TRAFFIC_REQUEST_MAX (2 * MIX_LINE_MAX + TARGET_PATH_MAX + TARGET_HOST_MAX + 512)

struct traffic_plan {
    double zipf;           /* exponent of the links' popularity */
    double bots;           /* share of visitors that are none */
    double repeats;        /* share of clicks by somebody who has clicked before */
    double keepalive;      /* share of requests after which the connection stays */
    double new_connection; /* share of requests that come on a connection of their own */
    double sales;          /* share of people's clicks that a sale follows */
    bool forwarded;        /* say the visitor's address in X-Forwarded-For */
};

struct traffic {
    const struct traffic_plan *plan;
    const struct links *links;
    const struct mix *mix;
    struct zipf zipf;
    struct draw draw;
    uint64_t first_visitor, visitors;
};

/* One request. */
struct traffic_request {
    uint32_t link; /* index in links */
    bool fresh;    /* wants a new connection */
    bool last;     /* asks for the connection to be closed */
    bool sells;    /* a sale follows, if the click is answered */
    size_t length;
};

/* Traffic of process `number`. What it points to stays the caller's. */
void traffic_open(struct traffic *traffic, const struct traffic_plan *plan,
                  const struct links *links, const struct mix *mix, uint64_t seed, unsigned number);

/* Writes the next request into `out` (TRAFFIC_REQUEST_MAX bytes). */
void traffic_next(struct traffic *traffic, char *out, struct traffic_request *request);
