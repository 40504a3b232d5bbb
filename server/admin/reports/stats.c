/* See stats.h.
 *
 * Both stores are asked at once and each half of the answer stands on its own: one that does not
 * answer is shown as not available, with the reason, and the other is told all the same. While
 * PostgreSQL is away, whose link it is comes from this machine's replica. Nothing can be told when
 * neither answers whose link it is: 503. */
#include "server/admin/reports/stats.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/server.h"
#include "server/admin/stores/totals.h"
#include "server/links/replica.h"
#include "shared/clock.h"

#define PARTITIONS_MAX 64 /* all that ever were: the setting may have been larger once */

/* A count and how old it is. */
struct half {
    bool there, available;
    const char *reason;
    int64_t clicks, human;
    int64_t as_of_us; /* wall; 0: nothing yet */
};

/* Owned by the request; ends when both halves are there. */
struct stats {
    struct half live, stored;
    bool found; /* the link exists in this workspace */
    bool known; /* … or does not: somebody could say */
    char slug[LINK_SLUG_MAX + 1];
    char workspace[24], id[24];
};

static const struct statement stored_clicks = {
    .sql = "select t.slug, coalesce(s.clicks, 0), coalesce(s.human, 0),"
           " coalesce((extract(epoch from w.as_of) * 1000000)::bigint, 0)"
           " from kudos.links as t"
           " left join lateral (select sum(clicks) as clicks, sum(human) as human"
           " from kudos.clicks_hourly where link_id = t.id and partition = any ($3::smallint[])) s "
           "on true"
           " left join lateral (select max(updated_at) as as_of from kudos.watermarks) w on true"
           " where t.workspace_id = $1::bigint and t.id = $2::bigint"};

static json_t *half_json(const struct half *half)
{
    int64_t now_us = clock_wall_us(), age_us = now_us - half->as_of_us;
    json_t *json = json_pack("{s:b}", "available", half->available);
    time_t seconds = half->as_of_us / US_PER_SECOND;
    char as_of[40], day[24];
    struct tm tm;

    if (!half->available) {
        json_object_update_new(json, json_pack("{s:n, s:n, s:n, s:n, s:s}", "clicks", "human",
                                               "as_of", "age_ms", "reason", half->reason));
        return json;
    }
    json_object_update_new(json, json_pack("{s:I, s:I}", "clicks", (json_int_t)half->clicks,
                                           "human", (json_int_t)half->human));
    if (half->as_of_us == 0) {
        json_object_update_new(json, json_pack("{s:n, s:n}", "as_of", "age_ms"));
        return json;
    }
    gmtime_r(&seconds, &tm);
    strftime(day, sizeof day, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(as_of, sizeof as_of, "%s.%06" PRId64 "Z", day,
             (int64_t)(half->as_of_us % US_PER_SECOND));
    json_object_update_new(json, json_pack("{s:s, s:I}", "as_of", as_of, "age_ms",
                                           (json_int_t)(age_us > 0 ? age_us / US_PER_MS : 0)));
    return json;
}

/* Answers once both halves are there. */
static void answer_when_complete(struct request *request)
{
    struct stats *stats = request->state;
    json_t *link;

    if (!stats->live.there || !stats->stored.there)
        return;
    if (!stats->known) {
        request_header(request, "Retry-After", "1");
        request_problem(request, 503, "store-away", "PostgreSQL is not reachable");
        return;
    }
    if (!stats->found) {
        request_problem(request, 404, "not-found", "there is no such link");
        return;
    }
    link = json_pack("{s:I, s:s}", "id", (json_int_t)request->id, "slug", stats->slug);
    request_answer(request, 200,
                   json_pack("{s:o, s:o, s:o}", "link", link, "live", half_json(&stats->live),
                             "stored", half_json(&stats->stored)));
}

/* PostgreSQL is away: the replica knows whose link it is. */
static void ask_replica(struct request *request)
{
    struct stats *stats = request->state;
    struct replica *replica = request->admin->replica;
    struct link link;

    if (!replica)
        return;
    replica_begin(replica);
    if (replica_complete(replica)) {
        stats->known = true;
        stats->found = replica_find_link_by_id(replica, request->id, &link) &&
                       link.workspace == (uint64_t)request->key.workspace;
        if (stats->found) {
            assert(link.slug.length <= LINK_SLUG_MAX);
            memcpy(stats->slug, link.slug.bytes, link.slug.length);
        }
    }
    replica_end(replica);
}

static void on_stored(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct stats *stats = request->state;
    const PGresult *row = answer->result;

    stats->stored.there = true;
    if (answer->outcome != POOL_DONE) {
        stats->stored.reason = "PostgreSQL is not reachable";
        ask_replica(request);
    } else if (PQntuples(row) == 0) {
        stats->known = true;
    } else {
        stats->known = stats->found = stats->stored.available = true;
        snprintf(stats->slug, sizeof stats->slug, "%s", PQgetvalue(row, 0, 0));
        stats->stored.clicks = atoll(PQgetvalue(row, 0, 1));
        stats->stored.human = atoll(PQgetvalue(row, 0, 2));
        stats->stored.as_of_us = atoll(PQgetvalue(row, 0, 3));
    }
    answer_when_complete(request);
}

static void on_live_total(const struct total *total, void *argument)
{
    struct request *request = argument;
    struct stats *stats = request->state;

    stats->live = (struct half){.there = true,
                                .available = total->available,
                                .reason = total->reason,
                                .clicks = total->clicks,
                                .human = total->human,
                                .as_of_us = clock_wall_us()};
    answer_when_complete(request);
}

/* "{0,1,…}": lets PostgreSQL use the primary key, which begins with the partition. */
static void put_partitions(int64_t count, char *out, size_t size)
{
    size_t used = 0;

    for (int64_t p = 0; p < count && used + 8 < size; p++)
        used += (size_t)snprintf(out + used, size - used, "%s%d", p ? "," : "{", (int)p);
    snprintf(out + used, size - used, "}");
}

void stats_on_link(struct request *request)
{
    struct stats *stats = calloc(1, sizeof *stats);
    char partitions[512];
    const char *parameters[3];

    assert(stats && !request->state);
    request->state = stats;
    snprintf(stats->workspace, sizeof stats->workspace, "%" PRId64, request->key.workspace);
    snprintf(stats->id, sizeof stats->id, "%" PRIu64, request->id);
    put_partitions(PARTITIONS_MAX, partitions, sizeof partitions);
    parameters[0] = stats->workspace;
    parameters[1] = stats->id;
    parameters[2] = partitions;
    /* The request cannot end before the second answer, and stats stays until then. */
    totals_read(request->admin->totals, request->id, on_live_total, request);
    pool_query(request->admin->pool, &stored_clicks, 3, parameters, on_stored, request);
}
