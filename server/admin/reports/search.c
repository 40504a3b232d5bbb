/* See search.h. Links are looked for in ways that an index serves (there may be ten million): by the
 * beginning of their slug on each domain, by tag, by external id. Of each kind SEARCH_EACH_MAX are
 * found at most. */
#include "server/admin/reports/search.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/fields.h"
#include "server/admin/request/input.h"

#define SEARCH_MAX      100
#define SEARCH_DEFAULT  20
#define SEARCH_EACH_MAX "100"
#define SEARCH_LONGEST  100 /* bytes */

/* $1 workspace, $2 text, $3 pattern for "like", $4 limit */
static const struct statement search = {
    .sql =
        "with found as ("
        "(select 'influencer' as kind, t.id, t.handle as name, t.name as text,"
        " lower(t.handle) = lower($2::text) as exact, t.status = 'archived' as archived"
        " from kudos.influencers t where t.workspace_id = $1::bigint and"
        " (lower(t.handle) like lower($3::text) or lower(t.name) like lower($3::text)"
        " or t.external_id = $2::text or (t.tags <> '{}' and t.tags @> array[$2::text]))"
        " limit " SEARCH_EACH_MAX ") union all "
        "(select 'campaign', t.id, t.slug, t.name, t.slug = lower($2::text),"
        " t.status = 'archived' from kudos.campaigns t where t.workspace_id = $1::bigint and"
        " (t.slug like lower($3::text) or lower(t.name) like lower($3::text) or lower(t.hashtag) "
        "like lower($3::text)"
        " or t.external_id = $2::text or (t.tags <> '{}' and t.tags @> array[$2::text]))"
        " limit " SEARCH_EACH_MAX ") union all "
        "(select 'code', t.id, t.code, null, lower(t.code) = lower($2::text),"
        " t.status = 'archived' from kudos.codes t where t.workspace_id = $1::bigint and"
        " (lower(t.code) like lower($3::text) or t.external_id = $2::text"
        " or (t.tags <> '{}' and t.tags @> array[$2::text])) limit " SEARCH_EACH_MAX ") union all "
        "(select distinct on (l.id) 'link', l.id, l.slug, l.title, l.exact, l.archived from ("
        " (select t.id, t.slug, t.title, t.slug_key = q.key as exact,"
        "  t.state = 'archived' as archived from kudos.domains d,"
        "  lateral (select case when d.case_sensitive then $2::text else lower($2::text) end"
        "  collate \"C\" as key) q,"
        "  lateral (select * from kudos.links x where x.domain_id = d.id and x.slug_key >= q.key"
        "  and x.slug_key < q.key || U&'\\+10FFFF' and x.workspace_id = $1::bigint"
        "  order by x.slug_key limit " SEARCH_EACH_MAX ") t"
        "  where d.workspace_id = $1::bigint or d.is_default)"
        " union all (select t.id, t.slug, t.title, false, t.state = 'archived'"
        "  from kudos.link_tags x join kudos.links t on t.id = x.link_id"
        "  where x.workspace_id = $1::bigint and x.tag = $2::text"
        "  order by x.link_id desc limit " SEARCH_EACH_MAX ")"
        " union all (select t.id, t.slug, t.title, true, t.state = 'archived' from kudos.links t"
        "  where t.workspace_id = $1::bigint and t.external_id = $2::text)) l"
        " order by l.id, l.exact desc limit " SEARCH_EACH_MAX "))"
        " select kind, id::text, name, text, archived from found"
        " order by exact desc, archived, kind, name, id limit $4::bigint"};

/* "%…%", with what "like" reads escaped. */
static void put_pattern(const char *text, char out[2 * SEARCH_LONGEST + 3])
{
    assert(text && strlen(text) <= SEARCH_LONGEST);
    *out++ = '%';
    for (; *text; text++) {
        if (strchr("%_\\", *text))
            *out++ = '\\';
        *out++ = *text;
    }
    *out++ = '%';
    *out = '\0';
}

static void on_found(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    json_t *items;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    items = json_array();
    for (int row = 0; row < PQntuples(answer->result); row++) {
        const PGresult *rows = answer->result;
        bool text = !PQgetisnull(rows, row, 3);

        json_array_append_new(
            items,
            json_pack("{s:s, s:I, s:s, s:o, s:b}", "kind", PQgetvalue(rows, row, 0), "id",
                      (json_int_t)atoll(PQgetvalue(rows, row, 1)), "name", PQgetvalue(rows, row, 2),
                      "text", text ? json_string(PQgetvalue(rows, row, 3)) : json_null(),
                      "archived", *PQgetvalue(rows, row, 4) == 't'));
    }
    request_answer(request, 200, json_pack("{s:o, s:n}", "items", items, "next_cursor"));
}

void search_on_get(struct request *request)
{
    const char *text = query_get(&request->query, "q"),
               *limit = query_get(&request->query, "limit");
    char workspace[24], pattern[2 * SEARCH_LONGEST + 3], most[24];
    const char *parameters[] = {workspace, text, pattern, most};
    uint64_t number = SEARCH_DEFAULT;

    for (size_t i = 0; i < request->query.count; i++) {
        const char *name = request->query.names[i];

        if (strcmp(name, "q") != 0 && strcmp(name, "limit") != 0)
            request_bad_parameter(request, name, "there is no such parameter");
    }
    if (!text || !*text || strlen(text) > SEARCH_LONGEST)
        request_bad_parameter(request, "q", "must be a text of 1 to %d bytes", SEARCH_LONGEST);
    if (limit && (!input_to_id(limit, &number) || number > SEARCH_MAX))
        request_bad_parameter(request, "limit", "must be a number from 1 to %d", SEARCH_MAX);
    if (request_is_bad(request) || !text) {
        request_bad_answer(request, 422, "invalid", "nothing can be searched for in this way");
        return;
    }
    put_pattern(text, pattern);
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(most, sizeof most, "%" PRIu64, number);
    request_query(request, &search, 4, parameters, on_found);
}
