/* See decision.h. */
#include "server/redirect/decision.h"

#include <assert.h>
#include <string.h>

#define RULE_EXPIRED "link_expired"

int answer_status(enum answer answer)
{
    static const short statuses[ANSWER_COUNT] = {200, 200, 204, 301, 302, 307, 308, 400,
                                                 404, 405, 408, 410, 414, 431, 503};

    assert((unsigned)answer < ANSWER_COUNT);
    return statuses[answer];
}

enum answer answer_to_bad_head(int status)
{
    return status == 414 ? ANSWER_TARGET_LONG : status == 431 ? ANSWER_HEAD_LARGE : ANSWER_BAD;
}

static enum answer answer_of_link(const struct link *link)
{
    switch (link->redirect_status) {
    case 301: return ANSWER_MOVED;
    case 307: return ANSWER_TEMPORARY;
    case 308: return ANSWER_PERMANENT;
    default: return ANSWER_FOUND;
    }
}

/* The whole destination, with what the link says is to be added. */
static void decide_redirect(const struct request *request, const struct link *link,
                            struct decision *out)
{
    assert(link->fragment_offset <= link->destination.length);
    out->answer = answer_of_link(link);
    out->destination = link->destination;
    out->fragment_offset = link->fragment_offset;
    out->has_query = link->flags & LINK_HAS_QUERY;
    out->click = request->method == HTTP_GET;
    out->click_id = out->click && !(link->flags & LINK_NO_CLICK_ID);
    if (link->flags & LINK_PASS_QUERY)
        out->query = request->query;
}

/* The fallback is sent as it is: whoever comes too late is nobody's sale. */
static void decide_expired(const struct request *request, const struct link *link,
                           struct decision *out)
{
    if (link->fallback.length == 0) {
        out->answer = ANSWER_GONE;
        return;
    }
    out->answer = ANSWER_FOUND; /* whatever the link's status: it must not be remembered */
    out->destination = link->fallback;
    out->fragment_offset = link->fallback.length;
    out->click = request->method == HTTP_GET;
    out->expired = true;
}

void decide_link(const struct request *request, const struct link *link, int64_t now_us,
                 struct decision *out, struct click *click)
{
    memset(out, 0, sizeof *out);
    out->answer = ANSWER_NOT_FOUND;
    if (!link || link->state != LINK_ACTIVE || link->starts_at_us > now_us)
        return;
    if (link->expires_at_us != 0 && link->expires_at_us <= now_us)
        decide_expired(request, link, out);
    else
        decide_redirect(request, link, out);
    if (!out->click)
        return;
    memset(click, 0, sizeof *click);
    click->time_us = now_us;
    click->link = link->id;
    click->domain = link->domain;
    click->workspace = link->workspace;
    click->campaign = link->campaign;
    click->influencer = link->influencer;
    click->status = (uint16_t)answer_status(out->answer);
    click->flags = out->click_id ? 0 : CLICK_NO_ID;
}

void decide_other(enum route route, struct decision *out)
{
    static const enum answer answers[] = {
        [ROUTE_HEALTH] = ANSWER_HEALTH,   [ROUTE_ROBOTS] = ANSWER_ROBOTS,
        [ROUTE_FAVICON] = ANSWER_FAVICON, [ROUTE_NOTHING] = ANSWER_NOT_FOUND,
        [ROUTE_METHOD] = ANSWER_METHOD,
    };

    assert(route > ROUTE_LINK && route <= ROUTE_METHOD);
    memset(out, 0, sizeof *out);
    out->answer = answers[route];
}

void decide_verdict(const struct decision *decision, struct click *click)
{
    if (!decision->expired)
        return;
    click->verdict = VERDICT_INVALID;
    click->rule = (struct text){RULE_EXPIRED, sizeof RULE_EXPIRED - 1};
}
