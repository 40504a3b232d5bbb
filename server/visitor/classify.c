/* See classify.h: puts the parts of this room together, in the order in which a click is read. */
#include "server/visitor/classify.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/visitor/bot.h"
#include "server/visitor/classes.h"
#include "server/visitor/datacenters.h"
#include "server/visitor/geo.h"
#include "server/visitor/language.h"
#include "server/visitor/memo.h"
#include "server/visitor/networks.h"
#include "server/visitor/parameters.h"
#include "server/visitor/referrer.h"
#include "shared/clock.h"
#include "shared/log.h"

#define MAINTAIN_US (5 * US_PER_SECOND)

struct classifier {
    struct lists *lists;
    struct memo *agents;  /* struct agent by user agent and hints */
    struct memo *senders; /* struct sender by referrer */
    struct referrers *referrers;
    struct parameters *parameters;
    struct geo *geo;
    struct networks untracked;
    struct datacenters datacenters;
    char own_host[256]; /* of base_url */
    int64_t maintained_us;
};

/* What is remembered of a referrer: where in it its host stands, and whose that is. */
struct sender {
    struct origin origin;
    uint16_t at, length;
};

/* ---- settings -------------------------------------------------------------------------------- */

static bool load_lists(struct classifier *classifier, const struct settings *settings,
                       struct error *error)
{
    struct lists *lists = lists_open(settings->bot_patterns, error);
    bool complete = lists != NULL;

    if (!lists && classifier->lists)
        return false;
    if (!lists) { /* at the start there is nothing to stay with but the lists that are built in */
        lists = lists_open("", NULL);
        assert(lists);
    }
    memo_free(classifier->agents); /* its rules belong to the old lists */
    classifier->agents = memo_new(sizeof(struct agent));
    assert(classifier->agents);
    lists_close(classifier->lists);
    classifier->lists = lists;
    return complete;
}

static bool load_untracked(struct classifier *classifier, const struct settings *settings,
                           struct error *error)
{
    struct networks networks;

    if (!networks_parse(settings->untracked_networks, &networks, error))
        return error_prefix(error, "untracked_networks");
    classifier->untracked = networks;
    return true;
}

static bool load_datacenters(struct classifier *classifier, const struct settings *settings,
                             struct error *error)
{
    struct datacenters datacenters;

    if (!datacenters_parse(settings->datacenter_asns, &datacenters, error))
        return error_prefix(error, "datacenter_asns");
    classifier->datacenters = datacenters;
    return true;
}

static bool load_geo(struct classifier *classifier, const struct settings *settings,
                     struct error *error)
{
    return geo_load(classifier->geo, settings->geoip_city, settings->geoip_asn, settings->data_dir,
                    error);
}

/* Does all of it, whatever fails; tells the first failure. */
bool classifier_reload(struct classifier *classifier, const struct settings *settings,
                       struct error *error)
{
    static bool (*const steps[])(struct classifier *, const struct settings *, struct error *) = {
        load_lists, load_untracked, load_datacenters, load_geo};
    struct error reason;
    bool done = true;

    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        if (steps[i](classifier, settings, &reason))
            continue;
        if (done && error)
            *error = reason;
        done = false;
    }
    return done;
}

static void learn_own_host(struct classifier *classifier, const char *base_url)
{
    char host[EVENT_REFERRER_MAX];
    struct text found = referrer_host((struct text){base_url, strlen(base_url)}, host);

    assert(found.length < sizeof classifier->own_host);
    memcpy(classifier->own_host, host, found.length);
    classifier->own_host[found.length] = '\0';
}

struct classifier *classifier_open(const struct settings *settings, struct error *error)
{
    struct classifier *classifier = calloc(1, sizeof *classifier);
    struct error reason;

    assert(classifier);
    classifier->agents = memo_new(sizeof(struct agent));
    assert(classifier->agents);
    classifier->senders = memo_new(sizeof(struct sender));
    assert(classifier->senders);
    classifier->referrers = referrers_open(error);
    classifier->parameters = classifier->referrers ? parameters_open(error) : NULL;
    classifier->geo = geo_new();
    if (!classifier->parameters || !classifier->geo) {
        classifier_close(classifier);
        return NULL;
    }
    learn_own_host(classifier, settings->base_url);
    if (!classifier_reload(classifier, settings, &reason))
        log_error("classifier_incomplete", "error=%s", reason.text); /* links redirect without it */
    return classifier;
}

void classifier_close(struct classifier *classifier)
{
    if (!classifier)
        return;
    memo_free(classifier->agents);
    memo_free(classifier->senders);
    lists_close(classifier->lists);
    referrers_close(classifier->referrers);
    parameters_close(classifier->parameters);
    geo_free(classifier->geo);
    free(classifier);
}

void classifier_maintain(struct classifier *classifier, const struct settings *settings,
                         int64_t now_us)
{
    struct error error;

    if (now_us - classifier->maintained_us < MAINTAIN_US)
        return;
    classifier->maintained_us = now_us;
    if (!geo_renew(classifier->geo, settings->geoip_city, settings->geoip_asn, settings->data_dir,
                   &error))
        log_error("geoip_refused", "error=%s", error.text);
}

/* ---- a request ------------------------------------------------------------------------------- */

static bool is_on(struct text header)
{
    return header.length == 1 && header.bytes[0] == '1';
}

static bool is_own(const struct classifier *classifier, struct text host, struct text asked)
{
    return text_same(asked, host) || text_equals_nocase(host, classifier->own_host);
}

/* The host of a referrer, and whose it is if it is not ours. */
static struct text read_sender(const struct classifier *classifier, struct text referrer,
                               struct classify_scratch *scratch, struct origin *origin)
{
    struct memo_key key = memo_key(classifier->senders, &referrer, 1);
    struct sender sender;
    struct text host;
    const char *at;

    if (memo_find(classifier->senders, &key, &sender)) {
        *origin = sender.origin;
        return (struct text){referrer.bytes + sender.at, sender.length};
    }
    host = referrer_host(referrer, scratch->referrer_host);
    *origin = host.length ? referrer_origin(classifier->referrers, host)
                          : (struct origin){MEDIUM_DIRECT, CLASS_UNKNOWN};
    at = host.length ? memmem(referrer.bytes, referrer.length, host.bytes, host.length) : NULL;
    if (at && key.fits) { /* it was in lower case already */
        sender = (struct sender){*origin, (uint16_t)(at - referrer.bytes), (uint16_t)host.length};
        memo_keep(classifier->senders, &key, &sender);
    }
    return host;
}

/* What the link's own query adds: an advertisement, wherever it stood; else the kind of platform that
 * the link was followed on, where nothing better is known. */
static void read_parameters(const struct classifier *classifier, struct text query,
                            struct origin *origin)
{
    struct origin named = parameters_origin(classifier->parameters, query);

    if (named.medium == CLASS_UNKNOWN ||
        (named.medium != MEDIUM_PAID && origin->medium != MEDIUM_DIRECT))
        return;
    origin->medium = named.medium;
    if (named.platform != CLASS_UNKNOWN)
        origin->platform = named.platform;
}

/* An app's browser without a referrer comes from its app. */
static void read_origin(const struct classifier *classifier, const struct visitor_request *request,
                        struct classify_scratch *scratch, struct click *out)
{
    struct origin origin = {MEDIUM_DIRECT, CLASS_UNKNOWN};
    struct text host = {NULL, 0};

    if (request->referrer.length)
        host = read_sender(classifier, request->referrer, scratch, &origin);
    out->referrer_host = host;
    if (host.length && is_own(classifier, host, request->host))
        origin = (struct origin){MEDIUM_INTERNAL, CLASS_UNKNOWN};
    else if (!host.length && out->app != CLASS_UNKNOWN)
        origin = (struct origin){referrer_medium_of(classifier->referrers, out->app), out->app};
    if (request->query.length && origin.medium != MEDIUM_INTERNAL)
        read_parameters(classifier, request->query, &origin);
    out->medium = origin.medium;
    out->platform = origin.platform;
}

/* Reads the user agent and its hints, unless they were met before. */
static void read_agent(struct classifier *classifier, const struct visitor_request *request,
                       struct agent *out)
{
    const struct agent_request agent = {
        .user_agent = request->user_agent,
        .brands = request->brands,
        .mobile = request->mobile,
        .platform = request->platform,
        .model = request->model,
        .requested_with = request->requested_with,
    };
    const struct text texts[] = {agent.user_agent, agent.brands, agent.mobile,
                                 agent.platform,   agent.model,  agent.requested_with};
    struct memo_key key = memo_key(classifier->agents, texts, sizeof texts / sizeof *texts);

    if (memo_find(classifier->agents, &key, out))
        return;
    agent_read(classifier->lists, &agent, out);
    memo_keep(classifier->agents, &key, out);
}

void classify(struct classifier *classifier, const struct visitor_request *request,
              struct classify_scratch *scratch, struct click *out)
{
    struct bot_evidence evidence = {.untracked = false};

    read_agent(classifier, request, &evidence.agent);
    out->device = evidence.agent.device;
    out->os = evidence.agent.os;
    out->browser = evidence.agent.browser;
    out->app = evidence.agent.app;
    read_origin(classifier, request, scratch, out);
    out->language = language_preferred(request->accept_language, scratch->language);
    geo_look_up(classifier->geo, request->address, out);
    evidence.untracked =
        request->address && networks_contain(&classifier->untracked, request->address);
    evidence.datacenter = datacenters_contain(&classifier->datacenters, out->asn);
    bot_judge(request, &evidence, out);
    if (is_on(request->gpc) || is_on(request->dnt))
        out->flags |= CLICK_NO_VISITOR;
}
