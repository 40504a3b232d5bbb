/* See traffic.h. */
#include "loadtest/traffic.h"

#include <assert.h>
#include <string.h>

/* How many of the last new visitors may come again. */
#define REMEMBERED 100000

void traffic_open(struct traffic *traffic, const struct traffic_plan *plan,
                  const struct links *links, const struct mix *mix, uint64_t seed, unsigned number)
{
    assert(links->count > 0 && links->count <= UINT32_MAX);
    *traffic = (struct traffic){.plan = plan, .links = links, .mix = mix};
    zipf_open(&traffic->zipf, links->count, plan->zipf);
    /* not the sequence that arrivals are drawn from */
    traffic->draw = draw_open(seed ^ 0x74726166666963u, number);
    traffic->first_visitor = draw_next(&traffic->draw);
}

static char *put(char *at, const char *bytes, size_t length)
{
    memcpy(at, bytes, length);
    return at + length;
}

static char *put_entry(char *at, const struct mix_entry *entry)
{
    return put(at, entry->fields, entry->length);
}

static char *put_number(char *at, unsigned number)
{
    if (number >= 100)
        *at++ = (char)('0' + number / 100);
    if (number >= 10)
        *at++ = (char)('0' + number / 10 % 10);
    *at++ = (char)('0' + number % 10);
    return at;
}

static char *put_address(char *at, uint32_t address)
{
    static const char name[] = "X-Forwarded-For: ";

    at = put(at, name, sizeof name - 1);
    for (int shift = 24; shift >= 0; shift -= 8) {
        at = put_number(at, address >> shift & 255);
        if (shift)
            *at++ = '.';
    }
    return put(at, "\r\n", 2);
}

/* Fields that follow from who the visitor is, and a referrer, which does not. */
static char *put_visitor(struct traffic *traffic, char *at, uint64_t number, bool *person)
{
    const struct mix *mix = traffic->mix;
    struct draw visitor = draw_open(traffic->first_visitor, number);
    bool bot = draw_chance(&visitor, traffic->plan->bots);
    const struct mix_entry *agent = mix_pick(bot ? &mix->bots : &mix->people, draw_unit(&visitor));
    const struct mix_entry *country = mix_pick(&mix->countries, draw_unit(&visitor));
    uint32_t host = (uint32_t)draw_next(&visitor) & ~country->mask;
    double referrer = draw_unit(&traffic->draw);

    *person = !bot;
    at = put_entry(at, agent);
    if (!bot && !agent->has_referrer)
        at = put_entry(at, mix_pick(&mix->referrers, referrer));
    if (!bot)
        at = put_entry(at, country);
    if (traffic->plan->forwarded)
        at = put_address(at, country->network | host);
    return at;
}

static uint64_t choose_visitor(struct traffic *traffic)
{
    uint64_t known = traffic->visitors < REMEMBERED ? traffic->visitors : REMEMBERED;

    if (draw_chance(&traffic->draw, traffic->plan->repeats) && known > 0)
        return traffic->visitors - 1 - draw_below(&traffic->draw, known);
    return traffic->visitors++;
}

void traffic_next(struct traffic *traffic, char *out, struct traffic_request *request)
{
    static const char close[] = "Connection: close\r\n";
    const struct target_link *link;
    char *at = out;
    bool person;

    request->link = (uint32_t)zipf_draw(&traffic->zipf, &traffic->draw);
    request->fresh = draw_chance(&traffic->draw, traffic->plan->new_connection);
    request->last = !draw_chance(&traffic->draw, traffic->plan->keepalive);
    link = &traffic->links->list[request->link];
    at = put(at, link->start, link->length);
    at = put_visitor(traffic, at, choose_visitor(traffic), &person);
    request->sells =
        traffic->plan->sales > 0 && person && draw_chance(&traffic->draw, traffic->plan->sales);
    if (request->last)
        at = put(at, close, sizeof close - 1);
    at = put(at, "\r\n", 2);
    request->length = (size_t)(at - out);
    assert(request->length <= TRAFFIC_REQUEST_MAX);
}
