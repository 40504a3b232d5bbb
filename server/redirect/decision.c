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

static enum answer answer_of_status(uint16_t status)
{
    switch (status) {
    case 301: return ANSWER_MOVED;
    case 307: return ANSWER_TEMPORARY;
    case 308: return ANSWER_PERMANENT;
    default: return ANSWER_FOUND;
    }
}

/* Leads to a URL as it is; always with 302, since it is nothing to remember. */
static void decide_detour(struct text url, struct decision *out)
{
    out->answer = ANSWER_FOUND;
    out->destination = url;
    out->fragment_offset = url.length;
}

static void decide_missing(struct text url, struct decision *out)
{
    out->answer = ANSWER_NOT_FOUND;
    if (url.length > 0)
        decide_detour(url, out);
}

/* The whole destination, with what the link, or its domain, says is to be added. */
static void decide_redirect(const struct request *request, const struct domain *domain,
                            const struct link *link, struct decision *out)
{
    assert(link->fragment_offset <= link->destination.length);
    out->answer =
        answer_of_status(link->redirect_status ? link->redirect_status : domain->redirect_status);
    out->destination = link->destination;
    out->fragment_offset = link->fragment_offset;
    out->has_query = link->flags & LINK_HAS_QUERY;
    out->click = request->method == HTTP_GET;
    out->click_id =
        out->click && (link->flags & LINK_CLICK_ID_INHERITED ? domain->click_id
                                                             : !(link->flags & LINK_NO_CLICK_ID));
    if (link->flags & LINK_PASS_QUERY)
        out->query = request->query;
}

/* The fallback is sent as it is: whoever comes too late is nobody's sale. */
static void decide_expired(const struct request *request, const struct domain *domain,
                           const struct link *link, struct decision *out)
{
    out->answer = ANSWER_GONE;
    if (link->fallback.length > 0)
        decide_detour(link->fallback, out);
    else if (domain->fallback.length > 0)
        decide_detour(domain->fallback, out);
    out->click = out->answer == ANSWER_FOUND && request->method == HTTP_GET;
    out->expired = true;
}

static void begin_click(const struct link *link, const struct decision *decision, int64_t now_us,
                        struct click *out)
{
    memset(out, 0, sizeof *out);
    out->time_us = now_us;
    out->link = link->id;
    out->domain = link->domain;
    out->workspace = link->workspace;
    out->campaign = link->campaign;
    out->influencer = link->influencer;
    out->status = (uint16_t)answer_status(decision->answer);
    out->flags = decision->click_id ? 0 : CLICK_NO_ID;
}

void decide_link(const struct request *request, const struct domain *domain,
                 const struct link *link, int64_t now_us, struct decision *out, struct click *click)
{
    memset(out, 0, sizeof *out);
    assert(domain || !link);
    if (!link || link->state != LINK_ACTIVE || link->starts_at_us > now_us)
        decide_missing(domain ? domain->not_found_destination : (struct text){NULL, 0}, out);
    else if ((link->flags & LINK_USED_UP) ||
             (link->expires_at_us != 0 && link->expires_at_us <= now_us))
        decide_expired(request, domain, link, out);
    else
        decide_redirect(request, domain, link, out);
    if (out->click)
        begin_click(link, out, now_us, click);
}

void decide_root(const struct domain *domain, struct decision *out)
{
    memset(out, 0, sizeof *out);
    decide_missing(domain ? domain->root_destination : (struct text){NULL, 0}, out);
}

void decide_other(enum route route, struct decision *out)
{
    static const enum answer answers[] = {
        [ROUTE_HEALTH] = ANSWER_HEALTH,   [ROUTE_ROBOTS] = ANSWER_ROBOTS,
        [ROUTE_FAVICON] = ANSWER_FAVICON, [ROUTE_NOTHING] = ANSWER_NOT_FOUND,
        [ROUTE_METHOD] = ANSWER_METHOD,
    };

    assert(route > ROUTE_ROOT && route <= ROUTE_METHOD);
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
