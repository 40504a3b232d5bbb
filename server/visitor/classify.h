#pragma once
/* Who clicked: from the parts of a request to the classes that are stored with the click.
 *
 * Pure but for the files it has open: no socket, no clock, no allocation per request. The address
 * is looked up and forgotten; it is in no output. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "server/clicks/event.h"
#include "server/settings.h"
#include "shared/error.h"

struct classifier;

/* What a request says about its sender. Texts are raw header values, empty when absent. */
struct visitor_request {
    const struct sockaddr *address; /* the visitor's, as far as known; NULL: unknown */
    struct text host;               /* the domain that was asked, lower-case, without port */
    struct text query;              /* of the request, raw, without '?' */
    struct text user_agent;
    struct text accept_language;
    struct text referrer;
    struct text sec_purpose;
    struct text purpose; /* Purpose, X-Purpose or X-Moz */
    struct text gpc;     /* Sec-GPC */
    struct text dnt;
    struct text brands;         /* Sec-CH-UA */
    struct text mobile;         /* Sec-CH-UA-Mobile */
    struct text platform;       /* Sec-CH-UA-Platform */
    struct text model;          /* Sec-CH-UA-Model */
    struct text requested_with; /* X-Requested-With */
};

/* Builds the pattern automaton and opens the files that the settings name. One that cannot be used
 * is logged and does without: a link never fails for want of a country. */
struct classifier *classifier_open(const struct settings *settings, struct error *error) MUST_CHECK;
void classifier_close(struct classifier *classifier);

/* Renews lists and files after SIGHUP; what cannot be renewed stays as it was, with the reason. */
bool classifier_reload(struct classifier *classifier, const struct settings *settings,
                       struct error *error) MUST_CHECK;

/* Upkeep, between rounds and as often as one likes: every few seconds it looks whether a GeoIP file
 * was replaced, and takes the new one. `now_us` is monotonic. */
void classifier_maintain(struct classifier *classifier, const struct settings *settings,
                         int64_t now_us);

/* Fills the class fields of `out` (verdict, rule, device … city, country, asn, language, referrer,
 * medium, platform, flags) and leaves the others alone. Texts point into the request, into the
 * classifier or into `scratch`; they live as long as these, and until the next reload or upkeep. */
struct classify_scratch {
    char referrer_host[EVENT_REFERRER_MAX];
    char language[EVENT_LANGUAGE_MAX];
};
void classify(struct classifier *classifier, const struct visitor_request *request,
              struct classify_scratch *scratch, struct click *out);
