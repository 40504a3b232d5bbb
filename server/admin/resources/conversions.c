/* See conversions.h. What a report may hold is checked by report_make(), as on every other path; what
 * becomes of it is decided by kudos.record_conversion(), in one transaction with the Idempotency-Key.
 * A conversion is its own idempotency: telling it again without a key does no harm either. */
#include "server/admin/resources/conversions.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/conversions_bulk.h"
#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/request/idempotency.h"
#include "server/admin/request/intake.h"
#include "server/admin/server.h"
#include "server/conversions/reason.h"
#include "server/conversions/report.h"
#include "server/role.h"
#include "shared/clock.h"

#define GIVEN(field, is, longest_bytes, text)                              \
    {                                                                      \
        .name = field, .type = is, .flags = FIELD_CREATE | FIELD_NULLABLE, \
        .longest = longest_bytes, .column = field, .what = text            \
    }
#define SHOWN(field, is, sql, text)                          \
    {                                                        \
        .name = field, .type = is, .read = sql, .what = text \
    }

static const struct field conversion_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the conversion"},
    {.name = "event",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_FILTER,
     .longest = 32,
     .column = "event",
     .what = "sale, lead, signup, install, refund or a word of your own"},
    {.name = "order_id",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_NULLABLE | FIELD_FILTER,
     .longest = REPORT_ID_MAX,
     .column = "order_id",
     .what = "The shop's order: what a sale is known by; of a refund, what it takes back"},
    {.name = "refund_id",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_NULLABLE,
     .longest = REPORT_ID_MAX,
     .read = "case when t.event = 'refund' then t.key end",
     .what = "What a refund is known by: an order may have several"},
    GIVEN("external_id", FIELD_TEXT, REPORT_ID_MAX, "What it is known by where there is no order"),
    {.name = "amount",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_NULLABLE,
     .read = "null::text",
     .what = "Decimal number in major units (\"49.90\"); this or amount_minor"},
    GIVEN("amount_minor", FIELD_INTEGER, 0, "Minor units (cents); refunds are shown below zero"),
    GIVEN("currency", FIELD_TEXT, 3, "ISO 4217"),
    GIVEN("click_id", FIELD_TEXT, REPORT_CLICK_MAX, "The click id that came with the visitor"),
    {.name = "click_ids",
     .type = FIELD_JSON,
     .flags = FIELD_CREATE | FIELD_NULLABLE,
     .read = "(select json_agg(n.click_id order by n.time, n.origin, n.seq) from"
             " kudos.conversion_touches n where n.conversion_id = t.id)::text",
     .what =
         "All click ids that the page has kept, oldest first, up to 20 (in CSV between spaces); "
         "the last one is click_id, if that is absent",
     .schema = "{\"type\": \"array\", \"items\": {\"type\": \"string\"}}"},
    {.name = "code",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_NULLABLE | FIELD_FILTER,
     .longest = REPORT_CODE_MAX,
     .column = "code",
     .filter = "lower(t.code) = lower(@::text)",
     .what = "The discount code that was used"},
    {.name = "customer",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_NULLABLE,
     .longest = REPORT_CUSTOMER_MAX,
     .read = "null::text",
     .what = "Your reference of the customer; only a hash of it is kept, and nothing shown"},
    GIVEN("occurred_at", FIELD_TIME, 0, "When it happened; now if absent"),
    GIVEN("items", FIELD_JSON, REPORT_JSON_MAX, "What was bought; an array"),
    GIVEN("metadata", FIELD_JSON, REPORT_JSON_MAX, "Anything else; an object"),
    {.name = "status",
     .type = FIELD_TEXT,
     .flags = FIELD_FILTER,
     .choices = "credited unattributed unverified",
     .column = "status",
     .value = "@::kudos.conversion_status",
     .what = "credited, unattributed, or unverified: told by nobody who proved who they are"},
    SHOWN("influencer", FIELD_TEXT,
          "(select i.handle from kudos.influencers i where i.id = t.influencer_id)",
          "Handle of who earned it"),
    SHOWN("campaign", FIELD_TEXT,
          "(select a.slug from kudos.campaigns a where a.id = t.campaign_id)",
          "Slug of the campaign it counts for"),
    {.name = "via",
     .type = FIELD_TEXT,
     .flags = FIELD_NULLABLE | FIELD_FILTER,
     .choices = "link code",
     .column = "via",
     .value = "@::kudos.touch_kind",
     .what = "What the winner won by: link or code"},
    {.name = "reason",
     .type = FIELD_TEXT,
     .flags = FIELD_NULLABLE | FIELD_FILTER,
     .column = "reason",
     .what = "Why: see …/why"},
    SHOWN("path", FIELD_TEXT, "t.path::text", "How it was first told"),
    {.name = "verified",
     .type = FIELD_BOOL,
     .column = "verified",
     .what = "Whether somebody told it who proved who they are"},
    SHOWN("conflicts", FIELD_INTEGER,
          "(select count(*) from kudos.conversion_conflicts f where f.conversion_id = t.id)::text",
          "How often it was told again with another amount"),
    {.name = "received_at",
     .type = FIELD_TIME,
     .column = "received_at",
     .what = "When it was first told"},
    {.name = "updated_at",
     .type = FIELD_TIME,
     .column = "updated_at",
     .what = "When it last changed"},
};

struct resource conversions_resource = {
    .name = "conversion",
    .path = "/v1/conversions",
    .table = "kudos.conversions",
    .fields = conversion_fields,
    .count = sizeof conversion_fields / sizeof conversion_fields[0],
    .filters = {{"campaign",
                 "t.campaign_id = (select id from kudos.campaigns where workspace_id = $1::bigint"
                 " and slug = @::text)",
                 "Only those of the campaign with this slug", FIELD_TEXT},
                {"influencer",
                 "t.influencer_id = (select id from kudos.influencers where workspace_id ="
                 " $1::bigint and lower(handle) = lower(@::text))",
                 "Only those that the influencer with this handle earned", FIELD_TEXT},
                {"from", "t.occurred_at >= @::timestamptz", "Only from this time on", FIELD_TIME},
                {"until", "t.occurred_at < @::timestamptz", "Only before this time", FIELD_TIME}},
    .example = CONVERSIONS_EXAMPLE,
};

/* --- POST --- */

#define TAKEN "outcome, id, status, influencer, campaign, via, reason from kudos.record_conversion("
static const struct statement record = {
    .sql = "select to_json(r)::text as answer, false as misused from (select " TAKEN
           "$1::bigint, $2::jsonb)) r"};

/* The report is taken only if the key was not used: the function gets its argument from g. */
static const struct statement record_once = {
    .sql =
        "with s as (select k.fingerprint = $4::bytea as same, k.answer"
        " from kudos.idempotency_keys k where k.workspace_id = $1::bigint and k.key = $3::text"
        " and k.created_at > now() - interval '24 hours'),"
        " g as (select $1::bigint as workspace where not exists (select from s)),"
        " r as (select f.* from g, lateral kudos.record_conversion(g.workspace, $2::jsonb) f),"
        " i as (insert into kudos.idempotency_keys (workspace_id, key, fingerprint, answer)"
        "       select $1::bigint, $3::text, $4::bytea, to_json(r) from r"
        "       on conflict (workspace_id, key) do update set fingerprint ="
        "       excluded.fingerprint, answer = excluded.answer, created_at = now())"
        " select coalesce((select to_json(r) from r), (select s.answer from s where s.same))::text"
        " as answer, exists (select from s where not s.same) as misused"};

static void note_problem(void *owner, const char *pointer, const char *text)
{
    request_bad_field(owner, pointer, "%s", text);
}

static void refuse_conflict(struct request *request, const json_t *answer)
{
    request_bad_field(request, "/amount", "is not what conversion %" JSON_INTEGER_FORMAT " has",
                      json_integer_value(json_object_get(answer, "id")));
    request_bad_answer(request, 409, "conflict",
                       "it is known with another amount or currency; nothing was changed, and the "
                       "other amount is noted with it");
}

static void on_recorded(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    const char *outcome;
    json_t *taken;

    if (answer->outcome != POOL_DONE) {
        resource_refused(request, &conversions_resource, answer);
        return;
    }
    if (*PQgetvalue(answer->result, 0, 1) == 't') {
        idempotency_misused(request);
        return;
    }
    taken = json_loads(PQgetvalue(answer->result, 0, 0), 0, NULL);
    assert(taken);
    outcome = json_string_value(json_object_get(taken, "outcome"));
    if (strcmp(outcome, "conflict") == 0) {
        refuse_conflict(request, taken);
        json_decref(taken);
        return;
    }
    request_answer(request, strcmp(outcome, "created") == 0 ? 201 : 200, taken);
}

static void on_key_confirmed(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;

    if (answer->outcome != POOL_DONE)
        request_store_problem(request, answer);
    else
        request_bad_answer(request, 422, "invalid", "the report cannot be accepted; see errors");
}

static void take_one(struct request *request)
{
    static const struct statement nothing = {.sql = "select 1"};
    struct report_source source = {.path = "api",
                                   .verified = true,
                                   .secret = request->admin->context->secret,
                                   .now_us = clock_wall_us()};
    json_t *report = report_make(request->body, &source, note_problem, request);
    char workspace[24], *text = report ? json_dumps(report, JSON_COMPACT) : NULL;
    const char *once[] = {workspace, request->idempotency_key};
    const char *parameters[] = {workspace, text, request->idempotency_key, request->fingerprint};
    const struct pool_step steps[] = {{&idempotency_lock, 2, once}, {&record_once, 4, parameters}};

    json_decref(report);
    if (!text) {
        request_query(request, &nothing, 0, NULL, on_key_confirmed);
        return;
    }
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    if (request->idempotency_key)
        request_run(request, steps, 2, on_recorded);
    else
        request_query(request, &record, 2, parameters, on_recorded);
    free(text);
}

/* True if the body is JSON that begins as an object does. */
static bool is_one(struct request *request)
{
    const char *type =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "Content-Type");
    struct evbuffer *body = evhttp_request_get_input_buffer(request->http);
    char begin[64];
    ev_ssize_t length = evbuffer_copyout(body, begin, sizeof begin);

    if (!intake_is_type(type, "application/json"))
        return false;
    for (ev_ssize_t i = 0; i < length; i++) {
        if (!strchr(" \t\r\n", begin[i]))
            return begin[i] == '{';
    }
    return false;
}

void conversions_on_post(struct request *request)
{
    if (!is_one(request))
        conversions_on_bulk(request);
    else if (intake_body(request))
        take_one(request);
}

/* --- GET …/why --- */

static const struct statement why = {
    .sql = "select json_build_object('id', c.id, 'event', c.event, 'order_id', c.order_id,"
           " 'status', c.status, 'via', c.via, 'reason', c.reason, 'influencer', i.handle,"
           " 'campaign', a.slug, 'amount_minor', c.amount_minor, 'currency', c.currency,"
           " 'occurred_at', to_char(c.occurred_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'),"
           " 'click_awaited', c.click_awaited, 'touches', coalesce((select json_agg("
           "   json_build_object('via', r.via, 'influencer', r.influencer, 'campaign', r.campaign,"
           "   'won', r.won, 'share_percent', r.share_percent, 'amount_minor', r.amount_minor,"
           "   'reason', r.reason, 'link', r.slug, 'code', r.code, 'touched_at',"
           "   to_char(r.touched_at, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"'))"
           "   order by r.won desc, r.share_percent desc, r.via)"
           "  from report.attributions r where r.conversion_id = c.id), '[]'))::text"
           " from kudos.conversions c left join kudos.influencers i on i.id = c.influencer_id"
           " left join kudos.campaigns a on a.id = c.campaign_id"
           " where c.workspace_id = $1::bigint and c.id = $2::bigint"};

static void explain(json_t *object)
{
    const char *reason = json_string_value(json_object_get(object, "reason"));
    const char *sentence = reason ? reason_sentence(reason) : NULL;

    json_object_set_new(object, "sentence", sentence ? json_string(sentence) : json_null());
}

static void on_why(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    json_t *told, *touch;
    size_t i;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    if (PQntuples(answer->result) == 0) {
        resource_missing(request, &conversions_resource);
        return;
    }
    told = json_loads(PQgetvalue(answer->result, 0, 0), 0, NULL);
    assert(told);
    explain(told);
    json_array_foreach(json_object_get(told, "touches"), i, touch)
    {
        explain(touch);
    }
    request_answer(request, 200, told);
}

void conversions_on_why(struct request *request)
{
    char workspace[24], id[24];
    const char *parameters[] = {workspace, id};

    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    request_query(request, &why, 2, parameters, on_why);
}
