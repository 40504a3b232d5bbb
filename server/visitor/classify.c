/* See classify.h: puts the parts of this room together, in the order in which a click is read. */
#include "server/visitor/classify.h"

#include <assert.h>
#include <stdlib.h>

#include "server/visitor/bot.h"
#include "server/visitor/geo.h"
#include "server/visitor/language.h"
#include "server/visitor/referrer.h"
#include "shared/log.h"

struct classifier {
    struct lists *lists;
    struct geo *geo;
};

struct classifier *classifier_open(const struct settings *settings, struct error *error)
{
    struct classifier *classifier = calloc(1, sizeof *classifier);
    struct error geo_error;

    assert(classifier);
    classifier->lists = lists_open("", error);
    classifier->geo = geo_new();
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

void classify(struct classifier *classifier, const struct visitor_request *request,
              struct classify_scratch *scratch, struct click *out)
{
    struct agent agent;

    agent_read(classifier->lists, &(struct agent_request){.user_agent = request->user_agent},
               &agent);
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
