/* verify_daily(): see verify_daily.h. A day is looked at by itself, so that memory is that of a day and only
 * the partitions of that day are read. */
#include "server/clicks/verify_daily.h"

#include <stdlib.h>

#include "server/clicks/verify_problem.h"
#include "server/stores/postgres.h"

/* Days that are built and of which all rows are kept, without those that wait to be built again: of
 * their time zone or of one of their hours there is a note, or the builder has taken it over. */
static const char DAYS[] =
    "select d.time_zone, d.day, (d.day)::timestamp at time zone d.time_zone,"
    "       (d.day + 1)::timestamp at time zone d.time_zone"
    "  from kudos.days d cross join kudos.clicks_kept k"
    " where not d.dirty and d.built_at is not null"
    "   and d.day::timestamp at time zone d.time_zone >= k.kept_from"
    "   and not exists (select from kudos.days_touched n where n.time_zone = d.time_zone"
    "     or n.hour > d.day::timestamp at time zone d.time_zone - interval '1 hour'"
    "        and n.hour < (d.day + 1)::timestamp at time zone d.time_zone)"
    " order by d.day, d.time_zone";

/* Totals and different people of each grain that are not those of the rows. $1 zone, $2 day, from $3
 * to $4. */
static const char UNIQUES[] =
    "with owners as materialized (select id from kudos.workspaces where time_zone = $1),"
    " counted as ("
    "   select true as built, u.workspace_id, u.grain, u.campaign_id, u.influencer_id, u.link_id,"
    "     array[u.clicks, u.human, u.visitors, u.unidentified, u.bot, u.preview, u.prefetch,"
    "           u.datacenter, u.invalid, u.internal] as figures"
    "     from kudos.uniques_daily u"
    "    where u.day = $2::date and u.workspace_id in (select id from owners)"
    "   union all"
    "   select false, workspace_id,"
    "     (case when grouping(link_id) = 0 then 'link'"
    "           when grouping(campaign_id, influencer_id) = 0 then 'pair'"
    "           when grouping(campaign_id) = 0 then 'campaign'"
    "           when grouping(influencer_id) = 0 then 'influencer' else 'workspace' end)"
    "     ::kudos.grain, campaign_id, influencer_id, link_id,"
    "     array[count(*), count(*) filter (where verdict = 'human'),"
    "           count(distinct visitor) filter (where verdict = 'human'),"
    "           count(*) filter (where verdict = 'human' and visitor is null),"
    "           count(*) filter (where verdict = 'bot'),"
    "           count(*) filter (where verdict = 'preview'),"
    "           count(*) filter (where verdict = 'prefetch'),"
    "           count(*) filter (where verdict = 'datacenter'),"
    "           count(*) filter (where verdict = 'invalid'),"
    "           count(*) filter (where verdict = 'internal')]"
    "     from kudos.clicks where time >= $3::timestamptz and time < $4::timestamptz"
    "      and workspace_id in (select id from owners)"
    "    group by workspace_id, grouping sets ((), (campaign_id), (influencer_id),"
    "                                          (campaign_id, influencer_id), (link_id)))"
    " select concat_ws(' ', 'workspace', workspace_id, 'campaign ' || campaign_id,"
    "                  'influencer ' || influencer_id, 'link ' || link_id), grain,"
    "        coalesce(max(figures) filter (where built)::text, 'nothing'),"
    "        coalesce(max(figures) filter (where not built)::text, 'nothing')"
    "   from counted group by workspace_id, grain, campaign_id, influencer_id, link_id"
    " having max(figures) filter (where built) is distinct from"
    "        max(figures) filter (where not built)"
    " order by grain, 1";

/* Rows by class that are not as many clicks as the rows, or whose documents do not add up to them. */
static const char CLASSES[] =
    "with owners as materialized (select id from kudos.workspaces where time_zone = $1),"
    " built as ("
    "   select d.workspace_id, d.link_id, d.campaign_id, d.influencer_id, d.clicks, d.human,"
    "     (select string_agg(c.name, ', ') from (values ('reason', d.reason),"
    "        ('country', d.country), ('device', d.device), ('os', d.os), ('browser', d.browser),"
    "        ('app', d.app), ('platform', d.platform), ('medium', d.medium),"
    "        ('referrer', d.referrer), ('route', d.route), ('variant', d.variant)) c (name, counts)"
    "       where (select array[coalesce(sum((e.value ->> 0)::bigint), 0),"
    "                           coalesce(sum((e.value ->> 1)::bigint), 0)]::bigint[]"
    "                from jsonb_each(c.counts) e)"
    "          <> case when c.name = 'reason' then array[d.clicks - d.human, 0]"
    "                  else array[d.clicks, d.human] end)"
    "       as uneven"
    "     from kudos.clicks_daily d"
    "    where d.day = $2::date and d.workspace_id in (select id from owners)),"
    " counted as ("
    "   select workspace_id, link_id, campaign_id, influencer_id, clicks, human, 0 as n, 0 as "
    "people,"
    "     uneven from built"
    "   union all"
    "   select workspace_id, link_id, campaign_id, influencer_id, 0, 0, count(*),"
    "     count(*) filter (where verdict = 'human'), null"
    "     from kudos.clicks where time >= $3::timestamptz and time < $4::timestamptz"
    "      and workspace_id in (select id from owners) group by 1, 2, 3, 4)"
    " select concat_ws(' ', 'workspace', workspace_id, 'campaign ' || campaign_id,"
    "                  'influencer ' || influencer_id, 'link ' || link_id),"
    "        coalesce('classes that do not add up: ' || max(uneven), 'by class'),"
    "        format('{%s,%s}', sum(clicks), sum(human)), format('{%s,%s}', sum(n), sum(people))"
    "   from counted group by workspace_id, link_id, campaign_id, influencer_id"
    " having sum(clicks) <> sum(n) or sum(human) <> sum(people) or max(uneven) is not null order "
    "by 1";

static bool compare(PGconn *connection, const char *sql, const char *const *day, json_t *problems,
                    struct error *error)
{
    PGresult *rows = postgres_query(connection, sql, 4, day, error);

    for (int i = 0; i < PQntuples(rows); i++)
        verify_problem(problems, "day %s (%s), %s, %s: daily figures %s, rows %s", day[1], day[0],
                       PQgetvalue(rows, i, 0), PQgetvalue(rows, i, 1), PQgetvalue(rows, i, 2),
                       PQgetvalue(rows, i, 3));
    PQclear(rows);
    return rows != NULL;
}

bool verify_daily(PGconn *connection, json_t *result, json_t *problems, struct error *error)
{
    PGresult *days = postgres_query(connection, DAYS, 0, NULL, error);
    bool good = days != NULL;

    for (int i = 0; good && i < PQntuples(days); i++) {
        const char *const day[] = {PQgetvalue(days, i, 0), PQgetvalue(days, i, 1),
                                   PQgetvalue(days, i, 2), PQgetvalue(days, i, 3)};
        good = compare(connection, UNIQUES, day, problems, error) &&
               compare(connection, CLASSES, day, problems, error);
    }
    if (good)
        json_object_set_new(result, "days", json_integer(PQntuples(days)));
    PQclear(days);
    return good;
}
