/* See decision.h. */
#include "server/redirect/decision.h"

#include <assert.h>
#include <string.h>

#include "server/links/rules.h"

int answer_status(enum answer answer)
{
    static const short statuses[ANSWER_COUNT] = {
        200, 200, 200, 200, 204, 301, 302, 307, 308, 400, 404, 405, 408, 410, 414, 431, 503,
        503, 200, 200, 200, 304, 204, 204, 400, 400, 405, 405, 405, 411, 413, 415, 503};

    assert((unsigned)answer < ANSWER_COUNT);
    return statuses[answer];
}

enum answer answer_to_bad_head(int status)
{
    return status == 414 ? ANSWER_TARGET_LONG : status == 431 ? ANSWER_HEAD_LARGE : ANSWER_BAD;
}

/* Redirects -------------------------------------------------------------------------------------- */

static enum answer answer_of(uint16_t status)
{
    switch (status) {
    case 301: return ANSWER_MOVED;
    case 307: return ANSWER_TEMPORARY;
    case 308: return ANSWER_PERMANENT;
    default: return ANSWER_FOUND;
    }
}

static bool wants_id(const struct link *link, const struct domain *domain)
{
    return link->flags & LINK_CLICK_ID_INHERITED ? domain->click_id
                                                 : !(link->flags & LINK_NO_CLICK_ID);
}

/* A placeholder stands where the marketer wants the id; it needs no leave and replaces the
 * parameter. */
static enum decision_id place_of_id(const struct decision *decision)
{
    static const char placeholder[] = "{click_id}";
    const struct text *destination = &decision->destination;

    if (!decision->click)
        return ID_NONE;
    if (decision->is_template &&
        memmem(destination->bytes, destination->length, placeholder, sizeof placeholder - 1))
        return ID_IN_PLACE;
    return decision->wants_id ? ID_PARAMETER : ID_NONE;
}

/* The whole destination, with what the link says is to be added. */
static void decide_redirect(const struct request *request, const struct domain *domain,
                            const struct link *link, struct decision *out)
{
    assert(link->fragment_offset <= link->destination.length);
    out->answer =
        answer_of(link->redirect_status ? link->redirect_status : domain->redirect_status);
    out->destination = link->destination;
    out->fragment_offset = link->fragment_offset;
    out->has_query = link->flags & LINK_HAS_QUERY;
    out->is_template = link->flags & LINK_TEMPLATE;
    out->wants_id = wants_id(link, domain);
    if (link->flags & LINK_PASS_QUERY)
        out->query = request->query;
}

/* Without anything added, and never to be remembered by a browser. */
static void redirect_plainly(const struct text *destination, struct decision *out)
{
    out->answer = ANSWER_FOUND;
    out->destination = *destination;
    out->fragment_offset = destination->length;
}

/* The fallback carries no click id: whoever comes too late is nobody's sale. */
static void decide_late(const struct domain *domain, const struct link *link,
                        enum decision_late late, struct decision *out)
{
    const struct text *fallback = link->fallback.length ? &link->fallback : &domain->fallback;

    out->answer = ANSWER_GONE;
    if (fallback->length == 0)
        return;
    redirect_plainly(fallback, out);
    out->is_template = fallback == &link->fallback && link->flags & LINK_FALLBACK_TEMPLATE;
    out->late = late;
}

static enum decision_late lateness_of(const struct link *link, int64_t now_us)
{
    if (link->expires_at_us != 0 && link->expires_at_us <= now_us)
        return LATE_EXPIRED;
    return link->flags & LINK_USED_UP ? LATE_USED_UP : LATE_NOT;
}

static void begin_click(const struct link *link, int64_t now_us, const struct decision *decision,
                        struct click *click)
{
    memset(click, 0, sizeof *click);
    click->time_us = now_us;
    click->link = link->id;
    click->domain = link->domain;
    click->workspace = link->workspace;
    click->campaign = link->campaign;
    click->influencer = link->influencer;
    click->status = (uint16_t)answer_status(decision->answer);
    click->flags = decision->id == ID_NONE ? CLICK_NO_ID : 0;
}

static bool is_redirect(const struct decision *decision)
{
    return decision->destination.length > 0;
}

/* Unknown, disabled and not yet started are the same to visitors. */
static void decide_missing(const struct request *request, const struct domain *domain,
                           struct decision *out)
{
    if (domain->not_found_destination.length > 0 && !request->preview)
        redirect_plainly(&domain->not_found_destination, out);
}

void decide_link(const struct request *request, const struct domain *domain,
                 const struct link *link, int64_t now_us, struct decision *out, struct click *click)
{
    enum decision_late late;

    memset(out, 0, sizeof *out);
    out->answer = ANSWER_NOT_FOUND;
    if (!link || link->state != LINK_ACTIVE || link->starts_at_us > now_us) {
        decide_missing(request, domain, out);
        return;
    }
    late = lateness_of(link, now_us);
    if (late)
        decide_late(domain, link, late, out);
    else
        decide_redirect(request, domain, link, out);
    if (!is_redirect(out))
        return;
    out->click = request->method == HTTP_GET && !request->preview;
    out->id = late ? ID_NONE : place_of_id(out);
    out->needs_visitor = out->click || out->is_template || (!late && link->rules.length > 0);
    if (out->needs_visitor)
        begin_click(link, now_us, out, click);
}

/* Who asks ---------------------------------------------------------------------------------------- */

static void set_invalid(struct click *click, struct text reason)
{
    click->verdict = VERDICT_INVALID;
    click->rule = reason;
}

/* Leaves the decision as one that leads nowhere. */
static void refuse(enum answer answer, struct decision *out, struct click *click)
{
    out->answer = answer;
    out->destination = out->query = (struct text){NULL, 0};
    out->fragment_offset = 0;
    out->id = ID_NONE;
    click->status = (uint16_t)answer_status(answer);
    click->flags |= CLICK_NO_ID;
}

static void take_choice(const struct rules_choice *choice, struct decision *out,
                        struct click *click)
{
    click->route = choice->route;
    click->variant = choice->variant;
    if (choice->action == RULES_BLOCK) {
        refuse(choice->status == 410 ? ANSWER_GONE : ANSWER_NOT_FOUND, out, click);
        if (click->verdict == VERDICT_HUMAN)
            set_invalid(click, TEXT("blocked_by_rule"));
        return;
    }
    out->destination = choice->destination;
    out->fragment_offset = choice->fragment_offset;
    out->has_query = choice->has_query;
    out->is_template = choice->is_template;
    out->id = place_of_id(out);
    click->flags =
        (click->flags & ~(uint32_t)CLICK_NO_ID) | (out->id == ID_NONE ? (uint32_t)CLICK_NO_ID : 0);
}

static void follow_rules(const struct request *request, const struct link *link, uint64_t draw,
                         struct decision *out, struct click *click)
{
    const struct rules_visitor visitor = {
        .click = click, .query = request->query, .now_us = click->time_us, .draw = draw};
    struct rules_choice choice;

    rules_choose(link->rules, &visitor, &choice);
    if (choice.action != RULES_NOTHING)
        take_choice(&choice, out, click);
}

void decide_visitor(const struct request *request, const struct link *link,
                    const struct decision_policy *policy, struct decision *out, struct click *click)
{
    assert(out->needs_visitor && is_redirect(out));
    memcpy(out->country, click->country, sizeof out->country);
    if (out->click && policy->refuse_prefetch && click->verdict == VERDICT_PREFETCH)
        refuse(ANSWER_PREFETCH, out, click);
    else if (out->late)
        set_invalid(click, out->late == LATE_EXPIRED ? TEXT("link_expired") : TEXT("link_used_up"));
    else if (link->rules.length > 0)
        follow_rules(request, link, policy->draw, out, click);
}

/* Without a link ---------------------------------------------------------------------------------- */

void decide_domain(enum route route, const struct domain *domain, struct decision *out)
{
    const struct text *body =
        route == ROUTE_ASSOCIATION ? &domain->app_site_association : &domain->assetlinks;

    assert(route >= ROUTE_ROOT && route <= ROUTE_ASSETLINKS);
    memset(out, 0, sizeof *out);
    out->answer = ANSWER_NOT_FOUND;
    if (route == ROUTE_ROOT) {
        if (domain->root_destination.length > 0)
            redirect_plainly(&domain->root_destination, out);
    } else if (body->length > 0) {
        out->answer = ANSWER_JSON;
        out->body = *body;
    }
}

void decide_other(enum route route, struct decision *out)
{
    static const enum answer answers[] = {
        [ROUTE_HEALTH] = ANSWER_HEALTH,   [ROUTE_ROBOTS] = ANSWER_ROBOTS,
        [ROUTE_FAVICON] = ANSWER_FAVICON, [ROUTE_NOTHING] = ANSWER_NOT_FOUND,
        [ROUTE_METHOD] = ANSWER_METHOD,   [ROUTE_POSTBACK] = ANSWER_TOLD,
        [ROUTE_PIXEL] = ANSWER_PIXEL,     [ROUTE_BEACON] = ANSWER_BEACON,
        [ROUTE_SCRIPT] = ANSWER_SCRIPT,
    };

    assert(route >= ROUTE_HEALTH && route <= ROUTE_SCRIPT);
    memset(out, 0, sizeof *out);
    out->answer = answers[route];
}
