/* See export.h.
 *
 * A page of EXPORT_PAGE_ROWS rows at a time, newest first, by id: the next one is asked for when the
 * one before has left, so memory is bounded however long the list and however slow its reader. Rows
 * that are added meanwhile move nothing: each row that was there all the time stands there once. The
 * first page is fetched before the answer begins; when PostgreSQL goes away later, the connection is
 * cut, so that nobody takes a part for the whole. */
#include "server/admin/reports/export.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/bulk/csv.h"
#include "server/admin/fields/fields.h"
#include "server/admin/fields/list.h"
#include "server/admin/request/stream.h"
#include "server/admin/resources/links.h"
#include "server/admin/routes.h"
#include "server/admin/server.h"
#include "shared/money.h"

struct export;

/* A file of fixed columns: each is one of the statement's, in their order, after id. */
struct sheet {
    const char *name;
    const char *const *columns;
    size_t count;
    const char
        *sql; /* $1 workspace, $2 campaign, $3 the last id shown; one row more than is shown */
    /* Writes one cell; NULL: as text. */
    void (*put)(struct export *export, const PGresult *rows, int row, int column);
};

/* Owned by the request. */
struct export
{
    struct request *request;
    const struct resource *resource; /* of a list */
    const struct sheet *sheet;       /* of another file */
    bool csv;
    struct stream *stream; /* NULL until the first page is there */
    struct evbuffer *piece;
    struct statement statement;
    char *sql;
    bool more;
    char workspace[24], after[24], id[24];
    const char *parameters[POOL_PARAMETERS_MAX];
    int count;
};

static void export_free(void *state)
{
    struct export *export = state;

    if (export->piece)
        evbuffer_free(export->piece);
    free(export->sql);
    free(export);
}

/* --- cells --- */

static void put_text(struct evbuffer *out, const char *text)
{
    csv_put_text(out, (struct text){text, strlen(text)});
}

/* Words of an array of texts, with commas in between, as set_row.c reads them. */
static void put_words(struct evbuffer *out, const json_t *array)
{
    struct evbuffer *words = evbuffer_new();
    const json_t *word;
    size_t index;

    assert(words);
    json_array_foreach(array, index, word)
    {
        if (index > 0)
            evbuffer_add(words, ",", 1);
        evbuffer_add(words, json_string_value(word), json_string_length(word));
    }
    evbuffer_add(words, "", 1);
    put_text(out, (const char *)evbuffer_pullup(words, -1));
    evbuffer_free(words);
}

static void put_value(struct evbuffer *out, const struct field *field, const json_t *value)
{
    char *text;

    if (json_is_null(value))
        return;
    if (json_is_string(value)) {
        put_text(out, json_string_value(value));
    } else if (field->type == FIELD_TAGS) {
        put_words(out, value);
    } else {
        text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        assert(text);
        csv_put(out, (struct text){text, strlen(text)});
        free(text);
    }
}

/* --- rows --- */

static void put_header(struct export *export)
{
    size_t count = export->sheet ? export->sheet->count : export->resource->count;

    if (!export->csv)
        return;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            evbuffer_add(export->piece, ",", 1);
        put_text(export->piece,
                 export->sheet ? export->sheet->columns[i] : export->resource->fields[i].name);
    }
    evbuffer_add(export->piece, "\r\n", 2);
}

static void put_listed(struct export *export, const PGresult *rows, int row)
{
    const struct resource *resource = export->resource;
    json_t *object = resource_show(resource, export->request->admin, rows, row);
    char *text;

    if (!export->csv) {
        text = json_dumps(object, JSON_COMPACT);
        assert(text);
        evbuffer_add_printf(export->piece, "%s\n", text);
        free(text);
    }
    for (size_t i = 0; export->csv && i < resource->count; i++) {
        if (i > 0)
            evbuffer_add(export->piece, ",", 1);
        put_value(export->piece, &resource->fields[i],
                  json_object_get(object, resource->fields[i].name));
    }
    if (export->csv)
        evbuffer_add(export->piece, "\r\n", 2);
    json_decref(object);
}

static void put_sheet(struct export *export, const PGresult *rows, int row)
{
    for (size_t i = 0; i < export->sheet->count; i++) {
        if (i > 0)
            evbuffer_add(export->piece, ",", 1);
        if (export->sheet->put)
            export->sheet->put(export, rows, row, (int)i + 1);
        else
            put_text(export->piece, PQgetvalue(rows, row, (int)i + 1));
    }
    evbuffer_add(export->piece, "\r\n", 2);
}

static void put_page(struct export *export, const PGresult *rows)
{
    int count = PQntuples(rows);

    export->more = count > EXPORT_PAGE_ROWS;
    if (export->more)
        count = EXPORT_PAGE_ROWS;
    for (int row = 0; row < count; row++) {
        if (export->sheet)
            put_sheet(export, rows, row);
        else
            put_listed(export, rows, row);
    }
    if (count > 0)
        snprintf(export->after, sizeof export->after, "%s",
                 PQgetvalue(rows, count - 1, PQfnumber(rows, "id")));
}

/* --- pages --- */

static void on_sent(struct stream *stream, void *argument);

/* Sends what there is; what follows comes when it has left. */
static void send_piece(struct export *export)
{
    if (evbuffer_get_length(export->piece) == 0)
        stream_end(export->stream); /* NDJSON of nothing */
    else
        stream_put(export->stream, export->piece, on_sent, export);
}

static void on_page(const struct pool_answer *answer, void *argument)
{
    struct export *export = argument;

    if (answer->outcome != POOL_DONE) {
        stream_cut(export->stream);
        return;
    }
    put_page(export, answer->result);
    send_piece(export);
}

static void on_sent(struct stream *stream, void *argument)
{
    struct export *export = argument;

    if (!export->more || stream_gone(stream))
        stream_end(stream);
    else
        pool_query(export->request->admin->pool, &export->statement, export->count,
                   export->parameters, on_page, export);
}

static void begin(struct export *export)
{
    struct request *request = export->request;
    const char *slash = strrchr(request->route->path, '/');
    char name[80];

    snprintf(name, sizeof name, "attachment; filename=\"%.60s\"", slash + 1);
    request_header(request, "Content-Disposition", name);
    export->stream = stream_begin(request, 200,
                                  export->csv ? "text/csv; charset=utf-8" : "application/x-ndjson");
    if (stream_gone(export->stream))
        stream_end(export->stream);
    else
        send_piece(export);
}

static void on_first(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct export *export = request->state;

    if (answer->outcome != POOL_DONE) {
        request_store_problem(request, answer);
        return;
    }
    put_header(export);
    put_page(export, answer->result);
    begin(export);
}

static struct export *export_new(struct request *request)
{
    struct export *export = calloc(1, sizeof *export);

    assert(export && !request->state);
    request->state = export;
    request->free_state = export_free;
    export->request = request;
    export->piece = evbuffer_new();
    assert(export->piece);
    snprintf(export->workspace, sizeof export->workspace, "%" PRId64, request->key.workspace);
    snprintf(export->id, sizeof export->id, "%" PRIu64, request->id);
    snprintf(export->after, sizeof export->after, "%" PRId64, INT64_MAX);
    return export;
}

/* --- lists --- */

static void put_list(FILE *out, struct export *export)
{
    const struct resource *resource = export->resource;

    fprintf(out, "select %s from %s as t where ", resource->shown, resource->table);
    export->parameters[export->count++] = export->after;
    list_put_where(out, export->request, resource, "", export->parameters, &export->count);
    fprintf(out, " order by t.id desc limit %d", EXPORT_PAGE_ROWS + 1);
    assert(export->count <= POOL_PARAMETERS_MAX);
}

void export_on_list(struct request *request)
{
    struct export *export = export_new(request);
    const char *end = strrchr(request->route->path, '.');
    size_t size;
    FILE *out;

    assert(end && !request->route->resource->tenant);
    export->csv = strcmp(end, ".csv") == 0;
    export->resource = request->route->resource;
    export->parameters[export->count++] = export->workspace;
    out = open_memstream(&export->sql, &size);
    assert(out);
    put_list(out, export);
    fclose(out);
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the list cannot be made as it was asked for");
        return;
    }
    export->statement = (struct statement){.sql = export->sql, .once = true};
    pool_query(request->admin->pool, &export->statement, export->count, export->parameters,
               on_first, request);
}

/* --- codes for shops, QR codes --- */

/* "@500" and EUR as shops write it: "5.00". Other texts stay as they are. */
static void put_code_cell(struct export *export, const PGresult *rows, int row, int column)
{
    const char *text = PQgetvalue(rows, row, column);
    int digits = money_digits(PQgetvalue(rows, row, PQnfields(rows) - 1));
    long long minor, unit = 1;

    if (strcmp(PQfname(rows, column), "minor") != 0 || *text != '@' || digits < 0) {
        put_text(export->piece, text);
        return;
    }
    minor = strtoll(text + 1, NULL, 10);
    for (int i = 0; i < digits; i++)
        unit *= 10;
    evbuffer_add_printf(export->piece, "%lld", minor / unit);
    if (digits > 0)
        evbuffer_add_printf(export->piece, ".%0*lld", digits, minor % unit);
}

#define CODES                                                            \
    " from kudos.codes t join kudos.campaigns c on c.id = t.campaign_id" \
    " left join kudos.influencers f on f.id = t.influencer_id"           \
    " where t.workspace_id = $1::bigint and t.campaign_id = $2::bigint"  \
    " and t.status <> 'archived' and t.id < $3::bigint order by t.id desc limit 501"
#define DAY(column)  "coalesce(to_char(t." column ", 'YYYY-MM-DD'), '')"
#define TIME(column) "coalesce(to_char(t." column ", 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"'), '')"
#define TIMES        TIME("starts_at") ", " TIME("ends_at") ","
#define DAYS         DAY("ends_at") ", " DAY("ends_at") ","
static_assert(EXPORT_PAGE_ROWS + 1 == 501, "as the statements have it");

static const char *const shopify_columns[] = {"Title",
                                              "Command",
                                              "Code",
                                              "Discount Type",
                                              "Discount Value",
                                              "Discount Value Type",
                                              "Minimum Requirement",
                                              "Minimum Value",
                                              "Starts At",
                                              "Ends At",
                                              "Limit Total Times",
                                              "Limit Once Per Customer",
                                              "Status"};
static const struct sheet shopify = {
    .name = "shopify",
    .columns = shopify_columns,
    .count = sizeof shopify_columns / sizeof shopify_columns[0],
    .put = put_code_cell,
    .sql = "select t.id, t.code, 'MERGE', t.code,"
           " case when t.free_shipping then 'Free Shipping' when t.amount is not null"
           " then 'Fixed Amount' else 'Percentage' end,"
           " coalesce('@' || t.amount_minor, trim_scale(t.percent)::text, '') as minor,"
           " case when t.free_shipping then '' when t.amount is not null then 'Fixed Amount'"
           " else 'Percentage' end,"
           " case when t.minimum_order is null then '' else 'Amount' end,"
           " coalesce('@' || (t.minimum_order ->> 'amount_minor'), '') as minor, " TIMES
           " coalesce(t.max_uses::text, ''),"
           " case when t.max_uses_per_customer = 1 then 'TRUE' else 'FALSE' end,"
           " case t.status when 'active' then 'Active' else 'Expired' end,"
           " coalesce(t.amount_currency, t.minimum_order ->> 'currency', '')" CODES};

/* The end stands there twice: WooCommerce calls it date_expires, most importers expiry_date. */
static const char *const woocommerce_columns[] = {
    "post_title",     "post_excerpt",  "post_status",         "discount_type",
    "coupon_amount",  "free_shipping", "date_expires",        "expiry_date",
    "minimum_amount", "usage_limit",   "usage_limit_per_user"};
static const struct sheet woocommerce = {
    .name = "woocommerce",
    .columns = woocommerce_columns,
    .count = sizeof woocommerce_columns / sizeof woocommerce_columns[0],
    .put = put_code_cell,
    .sql = "select t.id, t.code, concat_ws(', ', c.name, f.handle),"
           " case t.status when 'active' then 'publish' else 'draft' end,"
           " case when t.amount is not null then 'fixed_cart' else 'percent' end,"
           " coalesce('@' || t.amount_minor, trim_scale(t.percent)::text, '0') as minor,"
           " case when t.free_shipping then 'yes' else 'no' end, " DAYS
           " coalesce('@' || (t.minimum_order ->> 'amount_minor'), '') as minor,"
           " coalesce(t.max_uses::text, ''), coalesce(t.max_uses_per_customer::text, ''),"
           " coalesce(t.amount_currency, t.minimum_order ->> 'currency', '')" CODES};

/* The addresses of a link and of its QR codes on the admin plane. */
static void put_qr_cell(struct export *export, const PGresult *rows, int row, int column)
{
    const char *name = PQfname(rows, column), *id = PQgetvalue(rows, row, 0);
    char url[LINKS_URL_MAX];

    if (strcmp(name, "host") == 0) {
        links_short_url(export->request->admin, PQgetvalue(rows, row, column),
                        PQgetvalue(rows, row, column - 1), url);
        put_text(export->piece, url);
    } else if (strcmp(name, "svg") == 0 || strcmp(name, "png") == 0) {
        evbuffer_add_printf(export->piece, "/v1/links/%s/qr.%s", id, name);
    } else {
        put_text(export->piece, PQgetvalue(rows, row, column));
    }
}

static const char *const qr_columns[] = {"link", "influencer", "slug", "short_url", "svg", "png"};
static const struct sheet qr = {
    .name = "qr",
    .columns = qr_columns,
    .count = sizeof qr_columns / sizeof qr_columns[0],
    .put = put_qr_cell,
    .sql = "select t.id, t.id, coalesce(f.handle, ''), t.slug,"
           " (select case when h.is_default then '' else h.host end from kudos.domains h"
           " where h.id = t.domain_id) as host, '' as svg, '' as png from kudos.links t"
           " left join kudos.influencers f on f.id = t.influencer_id"
           " where t.workspace_id = $1::bigint and t.campaign_id = $2::bigint"
           " and t.state <> 'archived' and t.id < $3::bigint order by t.id desc limit 501"};

/* --- the files of a campaign --- */

static const struct statement find_campaign = {
    .sql = "select from kudos.campaigns where workspace_id = $1::bigint and id = $2::bigint"};

static void on_campaign(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct export *export = request->state;

    if (answer->outcome != POOL_DONE)
        request_store_problem(request, answer);
    else if (PQntuples(answer->result) == 0)
        request_problem(request, 404, "not-found", "there is no such campaign");
    else
        pool_query(request->admin->pool, &export->statement, export->count, export->parameters,
                   on_first, request);
}

static void on_sheet(struct request *request, const struct sheet *sheet)
{
    struct export *export = export_new(request);

    for (size_t i = 0; i < request->query.count; i++)
        request_bad_parameter(request, request->query.names[i], "there is no such parameter");
    if (request_is_bad(request)) {
        request_bad_answer(request, 422, "invalid", "the file cannot be made as it was asked for");
        return;
    }
    export->csv = true;
    export->sheet = sheet;
    export->statement = (struct statement){.sql = sheet->sql, .once = true};
    export->parameters[0] = export->workspace;
    export->parameters[1] = export->id;
    export->parameters[2] = export->after;
    export->count = 3;
    pool_query(request->admin->pool, &find_campaign, 2, export->parameters, on_campaign, request);
}

void export_on_shopify(struct request *request)
{
    on_sheet(request, &shopify);
}

void export_on_woocommerce(struct request *request)
{
    on_sheet(request, &woocommerce);
}

void export_on_qr(struct request *request)
{
    on_sheet(request, &qr);
}
