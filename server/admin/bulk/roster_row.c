/* See roster_row.h. */
#include "server/admin/bulk/roster_row.h"

#include <assert.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/set_row.h"
#include "server/admin/fields/set_sql.h"
#include "server/admin/resources/influencers.h"
#include "server/admin/resources/links.h"

void roster_row_clear(struct roster_row *row)
{
    free(row->handle);
    json_decref(row->sent);
    json_decref(row->errors);
    free(row->link.name);
    free(row->link.host);
    free(row->code.name);
    *row = (struct roster_row){0};
}

void roster_row_refuse(struct roster_row *row, const char *pointer, const char *detail)
{
    set_row_refuse(&row->errors, pointer, detail);
}

/* What is kept in a table of its own cannot be made with many. */
static void refuse_children(struct roster_row *row, const struct resource *resource,
                            const struct value *values)
{
    for (size_t i = 0; i < resource->count; i++) {
        char pointer[64];

        snprintf(pointer, sizeof pointer, "/%s", resource->fields[i].name);
        if (values[i].given && resource->fields[i].put_children)
            roster_row_refuse(row, pointer, "cannot be given in a roster; change the influencer");
    }
}

void roster_row_read(struct roster_row *row, struct request *request, bool cells, json_t *json)
{
    static struct change change; /* large; one thread */
    const struct resource *resource = &influencers_resource;
    const char *handle;

    row->sent = json_pack("{s:I}", "i", (json_int_t)row->number);
    if (!json_is_object(json)) {
        roster_row_refuse(row, "", "must be an object");
        json_decref(json);
        return;
    }
    if (cells)
        set_row_type(resource, json);
    handle = json_string_value(json_object_get(json, "handle"));
    row->handle = strdup(handle ? handle : "");
    assert(row->handle);
    row->errors = set_row_read(request, resource, FIELD_CREATE, json, &change);
    refuse_children(row, resource, change.values);
    set_sql_put(row->sent, resource, change.values);
    json_object_set_new(row->sent, "handle", json_string(row->handle));
    values_free(change.values, resource->count);
    json_decref(json);
}

/* --- the answer --- */

static json_t *show_link(const struct roster_thing *link, const struct admin *admin)
{
    char url[LINKS_URL_MAX];

    if (!link->name)
        return json_null();
    links_short_url(admin, link->host, link->name, url);
    return json_pack("{s:I, s:s, s:s}", "id", (json_int_t)link->id, "slug", link->name, "short_url",
                     url);
}

static json_t *show_code(const struct roster_thing *code)
{
    if (!code->name)
        return json_null();
    return json_pack("{s:I, s:s}", "id", (json_int_t)code->id, "code", code->name);
}

/* What a dry run would make has no number. */
static void hide_numbers(const struct roster_row *row, json_t *item)
{
    const struct roster_row *first = row->twin ? row->twin : row;

    if (first->entered)
        json_object_del(item, "influencer");
    if (first->link.made)
        json_object_del(json_object_get(item, "link"), "id");
    if (first->code.made)
        json_object_del(json_object_get(item, "code"), "id");
}

const char *roster_row_put(const struct roster_row *row, const struct admin *admin, bool dry_run,
                           struct evbuffer *items)
{
    const char *status = row->errors                        ? "error"
                         : row->link.made || row->code.made ? "created"
                                                            : "existed";
    json_t *item = json_pack("{s:I, s:s, s:s}", "row", (json_int_t)row->number, "handle",
                             row->handle ? row->handle : "", "status", status);
    char prefix[48], *text;

    assert(item);
    if (row->line > 0)
        json_object_set_new(item, "line", json_integer((json_int_t)row->line));
    if (row->errors) {
        snprintf(prefix, sizeof prefix, "%s/%zu", row->line > 0 ? "" : "/influencers", row->number);
        set_row_prefix(row->errors, prefix);
        json_object_set(item, "errors", row->errors);
    } else {
        json_object_set_new(item, "influencer", json_integer(row->influencer));
        json_object_set_new(item, "link", show_link(&row->link, admin));
        json_object_set_new(item, "code", show_code(&row->code));
    }
    if (dry_run)
        hide_numbers(row, item);
    text = json_dumps(item, JSON_COMPACT);
    assert(text);
    evbuffer_add_printf(items, "%s\n%s", row->number > 0 ? "," : "", text);
    free(text);
    json_decref(item);
    return status;
}
