/* The sources as a table: see hook_sources.h. Pure. The table owns the JSON that it was read from, and
 * its texts point into it. */
#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/hooks/hook_sources.h"

struct hook_table {
    json_t *json;
    const char *version;
    size_t count;
    struct hook_source list[]; /* by id */
};

/* Adds texts behind those that are there. False if one is no text, or they are too many. */
static bool read_secrets(const json_t *list, struct hook_source *out)
{
    const json_t *secret;
    size_t i;

    json_array_foreach(list, i, secret)
    {
        if (!json_is_string(secret) || out->all_secrets == HOOK_SOURCES_SECRETS)
            return false;
        out->list[out->all_secrets++] =
            (struct text){json_string_value(secret), json_string_length(secret)};
    }
    return json_is_array(list);
}

static bool read_source(const json_t *json, struct hook_source *out)
{
    const char *kind = json_string_value(json_object_get(json, "kind"));
    int shop = 0;

    while (shop < HOOK_SHOPS && (!kind || strcmp(kind, hook_shop_names[shop]) != 0))
        shop++;
    if (shop == HOOK_SHOPS)
        return false;
    *out = (struct hook_source){.shop = (enum hook_shop)shop};
    out->id = (uint64_t)json_integer_value(json_object_get(json, "id"));
    out->workspace = (uint64_t)json_integer_value(json_object_get(json, "workspace"));
    out->previous_until_us = json_integer_value(json_object_get(json, "until_us"));
    if (!read_secrets(json_object_get(json, "secrets"), out))
        return false;
    out->secrets = out->all_secrets;
    return read_secrets(json_object_get(json, "previous"), out) && out->id && out->workspace;
}

static struct hook_table *make(json_t *json, const json_t *list, const char *version)
{
    size_t count = json_array_size(list);
    struct hook_table *table = calloc(1, sizeof *table + count * sizeof table->list[0]);
    uint64_t before = 0;

    assert(table);
    table->json = json;
    table->version = version;
    for (; table->count < count; table->count++) {
        struct hook_source *source = &table->list[table->count];

        if (!read_source(json_array_get(list, table->count), source) || source->id <= before) {
            hook_table_free(table);
            return NULL;
        }
        before = source->id;
    }
    return table;
}

struct hook_table *hook_table_read(const char *text)
{
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    const json_t *list = json_object_get(json, "sources");
    const char *version = json_string_value(json_object_get(json, "version"));

    if (version && json_is_array(list) && json_array_size(list) <= HOOK_SOURCES_MAX)
        return make(json, list, version);
    json_decref(json);
    return NULL;
}

void hook_table_free(struct hook_table *table)
{
    if (table)
        json_decref(table->json);
    free(table);
}

const char *hook_table_version(const struct hook_table *table)
{
    return table->version;
}

const struct hook_source *hook_table_find(const struct hook_table *table, uint64_t id)
{
    size_t from = 0, until = table->count;

    while (from < until) {
        size_t middle = from + (until - from) / 2;

        if (table->list[middle].id == id)
            return &table->list[middle];
        if (table->list[middle].id < id)
            from = middle + 1;
        else
            until = middle;
    }
    return NULL;
}

struct hook_secrets hook_source_secrets(const struct hook_source *source, int64_t now_us)
{
    bool both = now_us < source->previous_until_us;

    return (struct hook_secrets){source->list, both ? source->all_secrets : source->secrets};
}
