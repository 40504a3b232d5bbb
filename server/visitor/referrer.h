#pragma once
/* Where the visitor came from: host, medium and platform of the referrer. The list of hosts is
 * server/visitor/referrers.json, built in; general rules know mail and search hosts beyond it. */
#include "server/clicks/event.h"
#include "shared/error.h"

struct referrers;

/* Builds the table of hosts; to be closed by the caller. Immutable. */
struct referrers *referrers_open(struct error *error) MUST_CHECK;
void referrers_close(struct referrers *referrers);

/* The host of a Referer value, lower-case, without port, userinfo or trailing dot, in `out`. Empty
 * for anything that is no http, https or android-app URL, and for hosts with bytes no host has. */
struct text referrer_host(struct text referrer, char out[EVENT_REFERRER_MAX]);

/* Medium (enum medium) and platform of a host that referrer_host() made; platform 0 if it is none
 * of ours. A host that nothing is known of is MEDIUM_OTHER. */
struct origin {
    uint8_t medium, platform;
};
struct origin referrer_origin(const struct referrers *referrers, struct text host);

/* The medium that a platform is on the list for first; MEDIUM_SOCIAL for others. */
uint8_t referrer_medium_of(const struct referrers *referrers, uint8_t platform);
