/* See statements.h. The arithmetic is PostgreSQL's (report.earning_lines): here is the period, what
 * a line shows, and sums by currency, which are taken over all lines. An answer holds up to
 * STATEMENT_LINES_MAX; JSON is sent on as PostgreSQL made it. */
#include "server/admin/resources/statements.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/csv.h"
#include "server/admin/request/input.h"
#include "server/admin/request/stream.h"

#define STATEMENT_LINES_MAX 10000
#define PARAMETERS          5

/* Types of PostgreSQL whose text no spreadsheet takes for a formula. */
enum { TYPE_BOOL = 16, TYPE_INT8 = 20, TYPE_INT4 = 23, TYPE_DATE = 1082, TYPE_NUMERIC = 1700 };

/* $1 workspace, $2 influencer, $3 first day, $4 day behind the last, $5 campaign; the last three may be
 * null. "lines" are those of the influencer, "period" those asked for. */
#define LINES                                                                                     \
    "with lines as materialized (select l.* from report.earning_lines l"                          \
    "  where l.workspace_id = $1::bigint and l.influencer_id = $2::bigint"                        \
    "  and ($5::text is null or l.campaign = $5::text or l.campaign_id::text = $5::text)),"       \
    " period as (select l.day, l.campaign, l.contract, l.kind, l.event, l.order_id,"              \
    "  l.conversion_id, l.quantity, l.unidentified, l.base_minor, l.share_percent,"               \
    "  l.rate_minor, l.rate_percent, l.rule, l.reason, l.amount_minor, l.capped_minor,"           \
    "  l.currency, case when l.held_minor <> 0 then 'held'"                                       \
    "   when l.amount_minor <> l.in_payouts_minor then 'due'"                                     \
    "   when l.amount_minor <> l.paid_minor then 'in_payout'"                                     \
    "   when l.payouts <> '{}' then 'paid' else 'nothing' end as status,"                         \
    "  l.payable_on, l.due_on, l.held_minor, l.due_minor, l.paid_minor,"                          \
    "  l.amount_minor > l.in_payouts_minor and l.due_on < (now() at time zone w.time_zone)::date" \
    "   and l.held_minor = 0 as overdue, l.corrected,"                                            \
    "  array_to_string(l.payouts, ' ') as payouts"                                                \
    "  from lines l join kudos.workspaces w on w.id = l.workspace_id"                             \
    "  where ($3::date is null or l.day >= $3::date)"                                             \
    "  and ($4::date is null or l.day < $4::date)"                                                \
    "  order by l.day, l.contract_id, l.kind, l.conversion_id, l.key)"
#define SUMS(rows)                                                                           \
    "(select coalesce(json_agg(s order by s.currency), '[]') from (select currency,"         \
    " sum(amount_minor)::bigint as earned_minor, sum(held_minor)::bigint as held_minor,"     \
    " sum(due_minor)::bigint as due_minor, sum(paid_minor)::bigint as paid_minor from " rows \
    " group by currency) s)"

static const struct statement as_json = {
    .sql = LINES
    " select json_build_object('influencer', i.handle, 'campaign', $5::text,"
    " 'from', $3::date, 'until', $4::date, 'items', (select coalesce(json_agg(p), '[]')"
    " from period p), 'totals', " SUMS("period") ", 'balance', " SUMS(
        "lines") ", 'payouts', (select coalesce(json_agg(json_build_object('id', p.id,"
                 " 'contract', p.contract_id, 'status', p.status, 'total_minor', p.total_minor,"
                 " 'currency', p.currency, 'period_from', p.period_from, 'period_to', p.period_to,"
                 " 'due_on', p.due_on, 'paid_at', to_char(p.paid_at, "
                 "'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
                 " 'reference', p.reference, 'overdue', p.status in ('open', 'approved')"
                 "  and p.due_on < (now() at time zone w.time_zone)::date) order by p.id), '[]')"
                 "  from kudos.payouts p where p.workspace_id = $1::bigint"
                 "  and p.influencer_id = $2::bigint and p.status <> 'archived'))::text,"
                 " (select count(*) from period)"
                 " from kudos.influencers i join kudos.workspaces w on w.id = i.workspace_id"
                 " where i.workspace_id = $1::bigint and i.id = $2::bigint",
    .once = true};

/* A row of nulls where there is nobody, so that this differs from nothing being earned. */
static const struct statement as_csv = {
    .sql =
        LINES " select i.id is not null as \"?\", p.* from (select 1) one"
              " left join kudos.influencers i on i.workspace_id = $1::bigint and i.id = $2::bigint"
              " left join period p on i.id is not null",
    .once = true};

struct statement_request {
    char workspace[24], influencer[24];
    bool csv;
};

/* --- answers --- */

static void refuse_length(struct request *request)
{
    request_problem(request, 422, "too-much",
                    "the statement has more than %d lines: ask for a shorter period, or read"
                    " /v1/reports/earning_lines page by page",
                    STATEMENT_LINES_MAX);
}

static void answer_csv(struct request *request, const PGresult *rows)
{
    struct evbuffer *body = evbuffer_new();
    int columns = PQnfields(rows), day = PQfnumber(rows, "day");
    int count = PQgetisnull(rows, 0, day) ? 0 : PQntuples(rows);

    assert(body && day > 0);
    for (int row = -1; row < count; row++) {
        for (int i = 1; i < columns; i++) {
            const char *text = row < 0 ? PQfname(rows, i) : PQgetvalue(rows, row, i);
            struct text cell = {(char *)(uintptr_t)text, strlen(text)};
            Oid type = PQftype(rows, i);
            bool plain = type == TYPE_BOOL || type == TYPE_INT8 || type == TYPE_INT4 ||
                         type == TYPE_DATE || type == TYPE_NUMERIC;

            evbuffer_add(body, ",", i > 1);
            (row < 0 || plain ? csv_put : csv_put_text)(body, cell);
        }
        evbuffer_add(body, "\r\n", 2);
    }
    stream_all(request, 200, "text/csv; charset=utf-8", body);
}

static void answer_json(struct request *request, const PGresult *rows)
{
    struct evbuffer *body = evbuffer_new();

    assert(body);
    evbuffer_add(body, PQgetvalue(rows, 0, 0), (size_t)PQgetlength(rows, 0, 0));
    stream_all(request, 200, "application/json", body);
}

static void on_lines(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    const struct statement_request *state = request->state;
    const PGresult *rows = answer->result;

    if (answer->outcome == POOL_REFUSED && strcmp(answer->sqlstate, "57014") == 0)
        refuse_length(request);
    else if (answer->outcome != POOL_DONE)
        request_store_problem(request, answer);
    else if (PQntuples(rows) == 0 || (state->csv && *PQgetvalue(rows, 0, 0) != 't'))
        request_problem(request, 404, "not-found", "there is no such influencer");
    else if (state->csv ? PQntuples(rows) > STATEMENT_LINES_MAX
                        : strtoll(PQgetvalue(rows, 0, 1), NULL, 10) > STATEMENT_LINES_MAX)
        refuse_length(request);
    else
        (state->csv ? answer_csv : answer_json)(request, rows);
}

/* --- what is asked for --- */

static const char *read_day(struct request *request, const char *name)
{
    const char *text = query_get(&request->query, name);

    if (text && !input_to_date(text))
        request_bad_parameter(request, name, "must be a day such as \"2027-03-01\"");
    return text;
}

static void refuse_unknown(struct request *request)
{
    static const char *const known[] = {"from", "until", "campaign", "format"};

    for (size_t i = 0; i < request->query.count; i++) {
        bool good = false;

        for (size_t k = 0; k < sizeof known / sizeof known[0]; k++)
            good = good || strcmp(known[k], request->query.names[i]) == 0;
        if (!good)
            request_bad_parameter(request, request->query.names[i], "there is no such parameter");
    }
}

void statements_on_get(struct request *request)
{
    struct statement_request *state = calloc(1, sizeof *state);
    const char *format = query_get(&request->query, "format");
    const char *parameters[PARAMETERS];

    assert(state && !request->state);
    request->state = state;
    parameters[0] = state->workspace;
    parameters[1] = state->influencer;
    refuse_unknown(request);
    parameters[2] = read_day(request, "from");
    parameters[3] = read_day(request, "until");
    parameters[4] = query_get(&request->query, "campaign");
    state->csv = format && strcmp(format, "csv") == 0;
    if (format && !state->csv && strcmp(format, "json") != 0)
        request_bad_parameter(request, "format", "must be json or csv");
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the statement cannot be made as asked for");
        return;
    }
    snprintf(state->workspace, sizeof state->workspace, "%" PRId64, request->key.workspace);
    snprintf(state->influencer, sizeof state->influencer, "%" PRIu64, request->id);
    request_query(request, state->csv ? &as_csv : &as_json, PARAMETERS, parameters, on_lines);
}
