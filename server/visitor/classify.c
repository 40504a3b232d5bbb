/* See classify.h: puts the parts of this room together, in the order in which a click is read. */
#include "server/visitor/classify.h"

#include <assert.h>
#include <stdlib.h>

#include "server/visitor/bot.h"
#include "server/visitor/geo.h"
#include "server/visitor/language.h"
#include "server/visitor/memo.h"
#include "server/visitor/referrer.h"
#include "shared/log.h"

struct classifier {
    struct lists *lists;
    struct memo *agents; /* struct agent by user agent and hints */
    struct geo *geo;
};

struct classifier *classifier_open(const struct settings *settings, struct error *error)
{
    struct classifier *classifier = calloc(1, sizeof *classifier);
    struct error geo_error;

    assert(classifier);
    classifier->lists = lists_open("", error);
    classifier->geo = geo_new();
    classifier->agents = memo_new(sizeof(struct agent));
    assert(classifier->agents);
    if (!classifier->lists || !classifier->geo) {
        classifier_close(classifier);
        return NULL;
    }
    if (!classifier_reload(classifier, settings, &geo_error))
        log_error("geoip_refused", "error=%s", geo_error.text); /* links redirect without it */
    return classifier;
}

void classifier_close(struct classifier *classifier)
{
    if (!classifier)
        return;
    lists_close(classifier->lists);
    memo_free(classifier->agents);
    geo_free(classifier->geo);
    free(classifier);
}

bool classifier_reload(struct classifier *classifier, const struct settings *settings,
                       struct error *error)
{
    return geo_load(classifier->geo, settings->geoip_city, settings->geoip_asn, settings->data_dir,
                    error);
}

static bool is_on(struct text header)
{
    return header.length == 1 && header.bytes[0] == '1';
}

/* Reads the user agent, unless it was met before. */
static void read_agent(struct classifier *classifier, const struct agent_request *request,
                       struct agent *out)
{
    const struct text texts[] = {request->user_agent, request->brands, request->mobile,
                                 request->platform,   request->model,  request->requested_with};
    struct memo_key key = memo_key(texts, sizeof texts / sizeof *texts);

    if (memo_find(classifier->agents, &key, out))
        return;
    agent_read(classifier->lists, request, out);
    memo_keep(classifier->agents, &key, out);
}

void classify(struct classifier *classifier, const struct visitor_request *request,
              struct classify_scratch *scratch, struct click *out)
{
    struct agent agent;

    read_agent(classifier, &(struct agent_request){.user_agent = request->user_agent}, &agent);
    out->device = agent.device;
    out->os = agent.os;
    out->browser = agent.browser;
    out->app = agent.app;
    bot_judge(request, &agent, out);
    out->referrer_host = referrer_host(request->referrer, scratch->referrer_host);
    out->language = language_preferred(request->accept_language, scratch->language);
    geo_look_up(classifier->geo, request->address, out);
    if (is_on(request->gpc) || is_on(request->dnt))
        out->flags |= CLICK_NO_VISITOR;
}
