/* See bulk_row.h. */
#include "server/admin/bulk/bulk_row.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/admin/fields/fields.h"
#include "server/admin/fields/set_row.h"
#include "server/admin/fields/set_sql.h"
#include "server/admin/resources/links.h"
#include "server/links/slug.h"

const char *bulk_status_name(enum bulk_status status)
{
    static const char *const names[BULK_STATUSES] = {"pending", "taken",    "created", "existed",
                                                     "updated", "archived", "error"};

    return names[status];
}

void bulk_row_clear(struct bulk_row *row)
{
    json_decref(row->sent);
    json_decref(row->errors);
    free(row->link);
    *row = (struct bulk_row){0};
}

void bulk_row_refuse(struct bulk_row *row, const char *pointer, const char *detail)
{
    set_row_refuse(&row->errors, pointer, detail);
    row->status = BULK_ERROR;
}

/* --- which link --- */

/* Takes member `name` out of the row into `sent` as `key`, if it is of the right type. */
static bool take_key(struct bulk_row *row, json_t *json, const char *name, const char *key,
                     bool number)
{
    json_t *value = json_object_get(json, name);

    if (!value)
        return false;
    if (number ? !json_is_integer(value) || json_integer_value(value) <= 0
               : json_string_length(value) == 0) {
        char pointer[16];

        snprintf(pointer, sizeof pointer, "/%s", name);
        bulk_row_refuse(row, pointer, number ? "must be the id of a link" : "must be a string");
    }
    json_object_set(row->sent, key, value);
    json_object_del(json, name);
    return true;
}

/* A link that exists is named by its id, its external_id, or its slug and, but for the default one,
 * domain. */
static void read_key(struct bulk_row *row, json_t *json)
{
    bool id = take_key(row, json, "id", "k_id", true);
    bool slug = take_key(row, json, "slug", "k_slug", false);
    bool external = !id && !slug && take_key(row, json, "external_id", "k_external", false);
    bool domain = take_key(row, json, "domain", "k_host", false);

    if ((id || external) && (slug || domain))
        bulk_row_refuse(row, slug ? "/slug" : "/domain", "name the link by its id or by its slug");
    if (!id && !slug && !external)
        bulk_row_refuse(row, "",
                        "name the link by its id, its external_id, or its slug and domain");
}

/* --- the rest --- */

void bulk_row_make_slug(struct bulk_row *row)
{
    char slug[SLUG_GENERATED_LENGTH + 1];

    slug_generate(slug);
    set_sql_put_text(row->sent, &links_resource, "slug", slug);
    row->attempts++;
}

void bulk_row_read(struct bulk_row *row, struct request *request, const struct resource *resource,
                   enum bulk_action action, enum rows_format format, json_t *json)
{
    static struct change change; /* large; one thread */
    unsigned use = action == BULK_CREATE ? FIELD_CREATE : FIELD_UPDATE;
    json_t *errors;

    row->status = BULK_PENDING;
    row->clicks = -1;
    row->sent = json_pack("{s:I}", "i", (json_int_t)row->number);
    if (format == ROWS_CSV)
        set_row_type(resource, json);
    if (action != BULK_CREATE)
        read_key(row, json);
    if (action == BULK_ARCHIVE && json_object_size(json) > 0)
        bulk_row_refuse(row, "", "a row to archive only names its link");
    if (action == BULK_ARCHIVE)
        json_object_set_new(json, "state", json_string("archived"));
    errors = set_row_read(request, resource, use, json, &change);
    if (errors) {
        row->status = BULK_ERROR;
        row->errors = row->errors ? row->errors : json_array();
        json_array_extend(row->errors, errors);
        json_decref(errors);
    }
    set_sql_put(row->sent, resource, change.values);
    row->external = change_value(&change, "external_id")->text != NULL;
    row->make_slug =
        resource == &links_resource && action == BULK_CREATE && !json_object_get(json, "slug");
    if (row->make_slug)
        bulk_row_make_slug(row);
    values_free(change.values, resource->count);
    json_decref(json);
}

/* --- the answer --- */

void bulk_row_set_id(struct bulk_row *row, int64_t id)
{
    row->id = id;
    free(row->link);
    row->link = NULL;
    if (id == 0 || asprintf(&row->link, "{\"id\":%" PRId64 "}", id) > 0)
        return;
    abort();
}

void bulk_row_set_link(struct bulk_row *row, const struct admin *admin, int64_t id,
                       const char *host, const char *slug)
{
    char url[LINKS_URL_MAX];
    json_t *link;

    links_short_url(admin, host, slug, url);
    link = json_pack("{s:I, s:s, s:s}", "id", (json_int_t)id, "slug", slug, "short_url", url);
    assert(link);
    if (id == 0)
        json_object_del(link, "id");
    row->id = id;
    free(row->link);
    row->link = json_dumps(link, JSON_COMPACT);
    assert(row->link);
    json_decref(link);
}

/* Pointers of a row's errors begin with its place in the body. */
static void put_errors(const struct bulk_row *row, struct evbuffer *items)
{
    char prefix[24], *text;

    snprintf(prefix, sizeof prefix, "/%zu", row->number);
    set_row_prefix(row->errors, prefix);
    text = json_dumps(row->errors, JSON_COMPACT);
    assert(text);
    evbuffer_add_printf(items, ",\"errors\":%s", text);
    free(text);
}

void bulk_row_put(const struct bulk_row *row, struct evbuffer *items)
{
    evbuffer_add_printf(items, "%s\n{\"row\":%zu", row->number > 0 ? "," : "", row->number);
    if (row->line > 0)
        evbuffer_add_printf(items, ",\"line\":%zu", row->line);
    evbuffer_add_printf(items, ",\"status\":\"%s\"", bulk_status_name(row->status));
    if (row->link) /* without its braces */
        evbuffer_add_printf(items, ",%.*s", (int)strlen(row->link) - 2, row->link + 1);
    if (row->errors)
        put_errors(row, items);
    evbuffer_add(items, "}", 1);
}
