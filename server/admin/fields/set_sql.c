/* See set_sql.h. They are the statements of fields.c for sets: where those have a parameter for a
 * value, these have a column of r, the rows that were sent.
 *
 * An inserted row is told from others by its id, which is drawn beforehand: neither its slug nor its
 * place among the inserted would do, since rows that meet a taken slug are left out. */
#include "server/admin/fields/set_sql.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Writes SQL with @ and # replaced by the columns of field i. */
static void put_named(FILE *out, const char *sql, size_t i)
{
    for (; *sql; sql++) {
        if (*sql == '@')
            fprintf(out, "r.p_%zu", i);
        else if (*sql == '#')
            fprintf(out, "r.q_%zu", i);
        else
            fputc(*sql, out);
    }
}

static bool is_written(const struct field *field)
{
    return field_parameters(field) > 0 && field->column;
}

/* "r as (…)": the rows that were sent. */
static void put_rows(FILE *out, const struct resource *links)
{
    fputs("with r as (select * from json_to_recordset($2::json) as r(i int, m bigint, made "
          "timestamptz, k_id bigint,"
          " k_external text,"
          " k_slug text, k_host text",
          out);
    for (size_t i = 0; i < links->count; i++) {
        int count = field_parameters(&links->fields[i]);

        if (count > 0)
            fprintf(out, ", p_%zu text", i);
        if (count > 1)
            fprintf(out, ", q_%zu text, t_%zu bigint", i, i);
    }
    fputs(")), ", out);
}

/* The number of the field `name`. */
static size_t number_of(const struct resource *links, const char *name)
{
    size_t i = 0;

    while (strcmp(links->fields[i].name, name) != 0)
        assert(++i < links->count);
    return i;
}

/* "(…)": the value of field i. */
static void put_value(FILE *out, const struct field *field, size_t i)
{
    fputc('(', out);
    if (field->type == FIELD_REFERENCE)
        fprintf(out, "case when r.t_%zu is not null then r.t_%zu else ", i, i);
    put_named(out, field_value(field), i);
    fputs(field->type == FIELD_REFERENCE ? " end)" : ")", out);
}

/* ", (…)": what a field that is not given inherits. */
static void put_inherited(FILE *out, const struct resource *links, const struct field *field)
{
    size_t from = number_of(links, field->heir_of);

    fputs(", (", out);
    for (const char *sql = field->inherited; *sql; sql++) {
        if (*sql == '@')
            put_value(out, &links->fields[from], from);
        else
            fputc(*sql, out);
    }
    fputc(')', out);
}

/* ", (…) as v_3, …": every value. */
static void put_values(FILE *out, const struct resource *links, bool creating)
{
    for (size_t i = 0; i < links->count; i++) {
        const struct field *field = &links->fields[i];
        bool defaulted = creating && (field->missing || field->heir_of);

        if (!is_written(field))
            continue;
        fputs(defaulted ? ", coalesce(" : ", ", out);
        put_value(out, field, i);
        if (creating && field->heir_of)
            put_inherited(out, links, field);
        if (creating && field->missing)
            fprintf(out, ", %s", field->missing);
        fprintf(out, "%s as v_%zu", defaulted ? ")" : "", i);
    }
}

/* Whether the look-up of field i found what it was asked for. */
static void put_ok(FILE *out, const struct field *field, size_t i, bool creating)
{
    fprintf(out, "(v.v_%zu is not null", i);
    if (!creating || !(field->flags & FIELD_FOUND)) {
        fprintf(out, " or (v.p_%zu is null", i);
        if (field->type == FIELD_REFERENCE)
            fprintf(out, " and v.q_%zu is null", i);
        fputc(')', out);
    }
    fputc(')', out);
}

static void put_all_ok(FILE *out, const struct resource *links, bool creating)
{
    fputs("true", out);
    for (size_t i = 0; i < links->count; i++) {
        if (!(links->fields[i].flags & FIELD_LOOKUP))
            continue;
        fputs(" and ", out);
        put_ok(out, &links->fields[i], i, creating);
    }
}

static void put_oks(FILE *out, const struct resource *links, bool creating)
{
    for (size_t i = 0; i < links->count; i++) {
        if (!(links->fields[i].flags & FIELD_LOOKUP))
            continue;
        fputs(", ", out);
        put_ok(out, &links->fields[i], i, creating);
        fprintf(out, " as ok_%zu", i);
    }
}

static void put_insert(FILE *out, const struct resource *resource, const char *returning)
{
    put_rows(out, resource);
    fprintf(out, "v as materialized (select r.*, nextval('%s_id_seq') as id", resource->table);
    put_values(out, resource, true);
    fprintf(out, " from r), w as (insert into %s as t (id, workspace_id, created_at",
            resource->table);
    for (size_t i = 0; i < resource->count; i++) {
        if (is_written(&resource->fields[i]))
            fprintf(out, ", %s", resource->fields[i].column);
    }
    fputs(") overriding system value select v.id, $1::bigint, coalesce(v.made, now())", out);
    for (size_t i = 0; i < resource->count; i++) {
        if (is_written(&resource->fields[i]))
            fprintf(out, ", v.v_%zu", i);
    }
    fputs(" from v where ", out);
    put_all_ok(out, resource, true);
    fprintf(out, " order by v.i on conflict do nothing returning t.id%s%s) select v.i",
            returning ? ", " : "", returning ? returning : "");
    put_oks(out, resource, true);
    fputs(", w.* from v left join w on w.id = v.id order by v.i", out);
}

static void put_find(FILE *out, const struct resource *links)
{
    size_t slug = number_of(links, "slug"), domain = number_of(links, "domain");
    size_t external = number_of(links, "external_id");

    put_rows(out, links);
    fputs("v as materialized (select r.*", out);
    put_values(out, links, true);
    fprintf(out,
            " from r) select v.i, t.id, t.slug, " SET_LINK_HOST
            " as host, t.workspace_id = $1::bigint as own, t.external_id = v.v_%zu or (true",
            external);
    for (size_t i = 0; i < links->count; i++) {
        const struct field *field = &links->fields[i];

        if (is_written(field) && i != slug && i != domain)
            fprintf(out, " and (v.m & %" PRId64 " = 0 or t.%s is not distinct from v.v_%zu)",
                    (int64_t)1 << i, field->column, i);
    }
    /* A slug that was generated finds nothing: its row only wants another one. */
    fprintf(out,
            ") as same from v join lateral (select l.* from %s l where l.workspace_id = $1::bigint"
            " and l.external_id = v.v_%zu union all select l.* from kudos.domains d join %s l"
            " on l.domain_id = d.id and l.slug_key = case when d.case_sensitive then v.v_%zu"
            " else lower(v.v_%zu collate \"C\") end where d.id = v.v_%zu and v.m & %" PRId64
            " <> 0 limit 1) t on true order by v.i",
            links->table, external, links->table, slug, slug, domain, (int64_t)1 << slug);
}

static void put_find_external(FILE *out, const struct resource *resource)
{
    put_rows(out, resource);
    fprintf(out,
            "v as (select 1) select r.i, t.id, true as own, true as same from r join %s t"
            " on t.workspace_id = $1::bigint and t.external_id = r.p_%zu order by r.i",
            resource->table, number_of(resource, "external_id"));
}

/* The link that a row means, found by an index whatever the statistics of fresh tables say: the domain
 * first (offset 0 keeps it first), then its slug; "+ 0" keeps from reading the whole workspace. */
#define KEY                                                                                  \
    "(case when r.k_id is not null then"                                                     \
    " (select t.id from kudos.links t where t.workspace_id = $1::bigint and t.id = r.k_id)"  \
    " when r.k_external is not null then"                                                    \
    " (select t.id from kudos.links t where t.workspace_id = $1::bigint"                     \
    " and t.external_id = r.k_external)"                                                     \
    " else (select t.id from (select d.id, d.case_sensitive from kudos.domains d where case" \
    " when r.k_host is null then d.is_default else d.host = lower(r.k_host) end offset 0) d" \
    " join kudos.links t on t.domain_id = d.id"                                              \
    " and t.slug_key = case when d.case_sensitive then r.k_slug"                             \
    " else lower(r.k_slug collate \"C\") end where t.workspace_id + 0 = $1::bigint) end)"

static void put_update(FILE *out, const struct resource *links)
{
    const char *comma = "";

    put_rows(out, links);
    fputs("k as materialized (select r.*, " KEY " as id from r), "
          "v as materialized (select r.*, row_number() over (partition by r.id order by r.i) > 1"
          " or coalesce((select t.changed = pg_current_xact_id() from kudos.links t"
          " where t.id = r.id), false) as again",
          out);
    put_values(out, links, false);
    fprintf(out, " from k as r), w as (update %s as t set ", links->table);
    for (size_t i = 0; i < links->count; i++) {
        const struct field *field = &links->fields[i];

        if (!(field->flags & FIELD_UPDATE))
            continue;
        fprintf(out, "%s%s = case when v.m & %" PRId64 " <> 0 then v.v_%zu else t.%s end", comma,
                field->column, (int64_t)1 << i, i, field->column);
        comma = ", ";
    }
    fputs(" from v where t.id = v.id and not v.again and ", out);
    put_all_ok(out, links, false);
    fputs(" returning t.id, t.slug, " SET_LINK_HOST " as host, v.i as at)"
          " select v.i, v.id is not null as there, v.id is not null and v.again as again",
          out);
    put_oks(out, links, false);
    fputs(", w.id, w.slug, w.host from v left join w on w.at = v.i order by v.i", out);
}

/* --- from tables --- */

enum kind { KIND_INSERT, KIND_FIND_EXTERNAL, KIND_FIND, KIND_UPDATE };

static bool make(enum kind kind, const struct resource *resource, const char *returning,
                 struct statement *statement, struct error *error)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return error_set(error, "out of memory");
    switch (kind) {
    case KIND_INSERT: put_insert(out, resource, returning); break;
    case KIND_FIND_EXTERNAL: put_find_external(out, resource); break;
    case KIND_FIND: put_find(out, resource); break;
    case KIND_UPDATE: put_update(out, resource); break;
    }
    if (fclose(out) != 0)
        return error_set(error, "out of memory");
    statement->sql = text;
    return true;
}

bool set_sql_insert(const struct resource *resource, const char *returning,
                    struct statement *statement, struct error *error)
{
    return make(KIND_INSERT, resource, returning, statement, error);
}

bool set_sql_find_external(const struct resource *resource, struct statement *statement,
                           struct error *error)
{
    return make(KIND_FIND_EXTERNAL, resource, NULL, statement, error);
}

bool set_sql_find_links(const struct resource *links, struct statement *statement,
                        struct error *error)
{
    return make(KIND_FIND, links, NULL, statement, error);
}

bool set_sql_update_links(const struct resource *links, struct statement *statement,
                          struct error *error)
{
    return make(KIND_UPDATE, links, NULL, statement, error);
}

/* --- rows --- */

static void put_member(json_t *row, char letter, size_t i, const char *text)
{
    char name[16];

    snprintf(name, sizeof name, "%c_%zu", letter, i);
    if (text)
        json_object_set_new(row, name, json_string(text));
}

void set_sql_put(json_t *row, const struct resource *resource, const struct value *values)
{
    int64_t mask = 0;

    for (size_t i = 0; i < resource->count; i++) {
        mask |= (int64_t)values[i].given << i;
        put_member(row, 'p', i, values[i].text);
        put_member(row, 'q', i, values[i].name);
    }
    json_object_set_new(row, "m", json_integer(mask));
}

void set_sql_put_id(json_t *row, const struct resource *resource, const char *name, int64_t id)
{
    char member[16];

    snprintf(member, sizeof member, "t_%zu", number_of(resource, name));
    json_object_set_new(row, member, json_integer(id));
}

void set_sql_put_text(json_t *row, const struct resource *resource, const char *name,
                      const char *text)
{
    put_member(row, 'p', number_of(resource, name), text);
}
