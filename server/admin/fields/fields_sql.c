/* The statements of a resource, made from its table of fields (fields.h) once, at start.
 *
 * Each is one round trip and one transaction: it checks what the request refers to, writes, notes
 * the change in kudos.audit_log, remembers the Idempotency-Key and reads back. For a resource with
 * fields a (plain) and r (a look-up) an insert is
 *
 *   with s as (what was answered under this Idempotency-Key),
 *        v as (select $5::text as v_1, (select …) as v_2),           -- the values
 *        o as (select true as ok, v_2 is not null as ok_2 from v),   -- look-ups that found a row
 *        e as (the row that has this external_id),
 *        w as (insert into kudos.things as t (workspace_id, a, r_id)
 *              select … from v, o where all found and not exists s, e
 *              on conflict do nothing returning changed, t.id::text as "id", …),
 *        a as (insert into kudos.audit_log … from w),
 *        i as (insert into kudos.idempotency_keys … from w),
 *        r as (w, or e, or s)
 *   select o.*, misused, r.* from o left join r on true
 *
 * and always gives one row: flags that say which look-up failed, and the row of `r` with its outcome
 * (created, found, replayed), or nulls where a look-up failed or (all flags being true) a unique key
 * was taken. s and i are there only under an Idempotency-Key, e only for resources that have an
 * external_id.
 *
 * Parameters. Insert: $1 workspace, $2 API key; under an Idempotency-Key $3 that, $4 fingerprint;
 * then the fields. Update: $1 workspace, $2 id, $3 mask of the fields given, $4 API key, $5 ETags
 * that fit (text[], or null), $6 action for the audit log, then the fields. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/fields.h"

#define INSERT_FIELDS 3
#define ONCE_FIELDS   5
#define UPDATE_FIELDS 7
#define LOOKUP_FIELDS 2

/* Where columns are shown: from the table, or from the row that was just written, whose children
 * the statement itself cannot see yet. */
enum showing { SHOW_STORED, SHOW_INSERTED, SHOW_UPDATED };

const char *field_value(const struct field *field)
{
    if (field->value)
        return field->value;
    switch (field->type) {
    case FIELD_INTEGER: return "@::bigint";
    case FIELD_NUMBER: return "@::numeric";
    case FIELD_BOOL: return "@::boolean";
    case FIELD_TIME: return "@::timestamptz";
    case FIELD_DATE: return "@::date";
    case FIELD_JSON:
    case FIELD_MONEY: return "@::jsonb";
    case FIELD_TAGS:
        return "select coalesce(array_agg(x), '{}') from jsonb_array_elements_text(@::jsonb) x";
    default: return "@::text";
    }
}

int field_parameters(const struct field *field)
{
    if (!(field->flags & FIELD_WRITABLE))
        return 0;
    return field->type == FIELD_REFERENCE ? 2 : 1;
}

/* Writes SQL with @ and # replaced by the parameters, or in a set by members of its `row`. */
static void put_sql(FILE *out, const char *sql, int parameter, const char *row)
{
    for (; *sql; sql++) {
        int number = parameter + (*sql == '#');

        if (*sql != '@' && *sql != '#')
            fputc(*sql, out);
        else if (row)
            fprintf(out, "(%s.p ->> %d)", row, number);
        else
            fprintf(out, "$%d", number);
    }
}

/* Writes SQL with @ replaced by `text`. */
static void put_replaced(FILE *out, const char *sql, const char *text)
{
    for (; *sql; sql++) {
        if (*sql == '@')
            fputs(text, out);
        else
            fputc(*sql, out);
    }
}

/* ", (…)": what a field that is not given inherits; `first` is the parameter of the first field. */
static void put_inherited(FILE *out, const struct resource *resource, const struct field *field,
                          int first, const char *row)
{
    size_t from = resource_field(resource, field->heir_of);

    assert(from < resource->count);
    for (size_t i = 0; i < from; i++)
        first += field_parameters(&resource->fields[i]);
    fputs(", (", out);
    for (const char *sql = field->inherited; *sql; sql++) {
        if (*sql == '@')
            put_sql(out, field_value(&resource->fields[from]), first, row);
        else
            fputc(*sql, out);
    }
    fputc(')', out);
}

/* ", "-separated: every value, as v_N. */
static void put_values(FILE *out, const struct resource *resource, int parameter, bool creating,
                       const char *row)
{
    const char *comma = "";
    int first = parameter;

    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        bool defaulted = creating && (field->missing || field->heir_of);

        if (field_parameters(field) == 0)
            continue;
        fprintf(out, "%s%s(", comma, defaulted ? "coalesce(" : "");
        put_sql(out, field_value(field), parameter, row);
        fputc(')', out);
        if (creating && field->heir_of)
            put_inherited(out, resource, field, first, row);
        if (creating && field->missing)
            fprintf(out, ", %s", field->missing);
        fprintf(out, "%s as v_%zu", defaulted ? ")" : "", i);
        parameter += field_parameters(field);
        comma = ", ";
    }
}

/* "o as (select … as ok_3, …)": which look-ups found what they were asked for. */
static void put_found(FILE *out, const struct resource *resource, int parameter, bool creating,
                      const char *row)
{
    fprintf(out, "o as (select %strue as ok", row ? "v.i, " : "");
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        if (field->flags & FIELD_LOOKUP) {
            fprintf(out, ", (v_%zu is not null", i);
            if (!creating || !(field->flags & FIELD_FOUND))
                put_sql(out,
                        field->type == FIELD_REFERENCE
                            ? " or (@::bigint is null and #::text is null)"
                            : " or @::text is null",
                        parameter, row);
            fprintf(out, ") as ok_%zu", i);
        }
        parameter += field_parameters(field);
    }
    fputs(" from v)", out);
}

static void put_all_found(FILE *out, const struct resource *resource)
{
    fputs("o.ok", out);
    for (size_t i = 0; i < resource->count; i++) {
        if (resource->fields[i].flags & FIELD_LOOKUP)
            fprintf(out, " and o.ok_%zu", i);
    }
}

/* The columns as text, in the order of the fields. */
static void put_shown(FILE *out, const struct resource *resource, enum showing showing)
{
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        fputs(i ? ", " : "", out);
        if (field->put_children && showing == SHOW_INSERTED)
            fprintf(out, "(select coalesce(v.v_%zu, '[]')::text from v)", i);
        else if (field->put_children && showing == SHOW_UPDATED)
            fprintf(out,
                    "case when $3::bigint & %" PRId64
                    " <> 0 then (select coalesce(v.v_%zu, '[]')::text from v) else %s end",
                    (int64_t)1 << i, i, field->read);
        else if (field->read)
            fputs(field->read, out);
        else if (field->type == FIELD_TIME)
            fprintf(out, "to_char(t.%s, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')", field->column);
        else if (field->type == FIELD_TAGS)
            fprintf(out, "to_json(t.%s)::text", field->column);
        else if (field->type == FIELD_NUMBER)
            fprintf(out, "trim_scale(t.%s)::text", field->column);
        else
            fprintf(out, "t.%s::text", field->column);
        fprintf(out, " as \"%s\"", field->name);
    }
}

/* What changes whenever anything that is shown does. */
static void put_etag(FILE *out, const struct resource *resource, const char *from)
{
    const char *comma = "";

    fputs("md5(row(", out);
    for (size_t i = 0; i < resource->count; i++) {
        if (resource->fields[i].flags & FIELD_VOLATILE)
            continue;
        fprintf(out, "%s%s.\"%s\"", comma, from, resource->fields[i].name);
        comma = ", ";
    }
    fputs(")::text)", out);
}

/* The row `from` as jsonb, with the types that HTTP shows. */
static void put_object(FILE *out, const struct resource *resource, const char *from)
{
    const char *comma = "";

    fputs("jsonb_build_object(", out);
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        const char *cast = "";

        if ((field->show && !field->column) || (field->flags & (FIELD_HIDDEN | FIELD_VOLATILE)))
            continue;
        switch (field->type) {
        case FIELD_INTEGER:
        case FIELD_REFERENCE: cast = "::bigint"; break;
        case FIELD_NUMBER: cast = "::numeric"; break;
        case FIELD_BOOL: cast = "::boolean"; break;
        case FIELD_JSON:
        case FIELD_TAGS:
        case FIELD_MONEY: cast = "::jsonb"; break;
        default: break;
        }
        fprintf(out, "%s'%s', %s.\"%s\"%s", comma, field->name, from, field->name, cast);
        comma = ", ";
    }
    fputc(')', out);
}

/* Rows of other tables that are values of fields; `mask`: only of the fields given. */
static void put_children(FILE *out, const struct resource *resource, bool mask)
{
    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];
        char given[96];

        if (!field->put_children)
            continue;
        snprintf(given, sizeof given,
                 mask ? "(select v_%zu from v where $3::bigint & %" PRId64 " <> 0)"
                      : "(select v_%zu from v)",
                 i, (int64_t)1 << i);
        if (mask) {
            fprintf(out, ", d_%zu as (", i);
            put_replaced(out, field->drop_children, given);
            fputc(')', out);
        }
        fprintf(out, ", c_%zu as (", i);
        put_replaced(out, field->put_children, given);
        fputc(')', out);
    }
}

/* --- insert --- */

/* The column that must be the key's workspace. A workspace itself has none: it is one. */
static const char *tenant_of(const struct resource *resource)
{
    return resource->tenant ? resource->tenant : "workspace_id";
}

static const char *changed_of(const struct resource *resource)
{
    return resource->replicated ? "t.changed::text as changed" : "null::text as changed";
}

static void put_written(FILE *out, const struct resource *resource, int way)
{
    const char *comma = resource->tenant ? "" : ", ";

    fprintf(out, ", w as (insert into %s as t (%s", resource->table,
            resource->tenant ? "" : "workspace_id");
    for (size_t i = 0; i < resource->count; i++) {
        if (!(resource->fields[i].flags & FIELD_CREATE) || !resource->fields[i].column)
            continue;
        fprintf(out, "%s%s", comma, resource->fields[i].column);
        comma = ", ";
    }
    comma = resource->tenant ? "" : ", ";
    fprintf(out, ") select %s", resource->tenant ? "" : "$1::bigint");
    for (size_t i = 0; i < resource->count; i++) {
        if (!(resource->fields[i].flags & FIELD_CREATE) || !resource->fields[i].column)
            continue;
        fprintf(out, "%sv.v_%zu", comma, i);
        comma = ", ";
    }
    fputs(" from v, o where ", out);
    put_all_found(out, resource);
    fputs(way & INSERT_ONCE ? " and not exists (select from s)" : "", out);
    fputs(way & INSERT_FIND ? " and not exists (select from e)" : "", out);
    fprintf(out, " on conflict do nothing returning %s, ", changed_of(resource));
    put_shown(out, resource, SHOW_INSERTED);
    fputc(')', out);
}

static void put_existing(FILE *out, const struct resource *resource, int way)
{
    size_t external = resource_field(resource, resource->external);

    fprintf(out, ", e as (select %s, ", changed_of(resource));
    put_shown(out, resource, SHOW_STORED);
    fprintf(out,
            " from %s as t where t.workspace_id = $1::bigint and t.%s = (select v_%zu from v)%s)",
            resource->table, resource->fields[external].column, external,
            way & INSERT_ONCE ? " and not exists (select from s)" : "");
}

/* "r as (…)": what is answered, and why. */
static void put_outcome(FILE *out, const struct resource *resource, int way)
{
    fputs(", r as (select 'created' as outcome, ", out);
    put_etag(out, resource, "w");
    fputs(" as etag, w.* from w", out);
    if (way & INSERT_FIND) {
        fputs(" union all select 'found', ", out);
        put_etag(out, resource, "e");
        fputs(", e.* from e", out);
    }
    if (way & INSERT_ONCE) {
        fputs(" union all select 'replayed', ", out);
        put_etag(out, resource, "x");
        fputs(", x.* from s, json_to_record(s.answer) as x (changed text", out);
        for (size_t i = 0; i < resource->count; i++)
            fprintf(out, ", \"%s\" text", resource->fields[i].name);
        fputs(") where s.same", out);
    }
    fputc(')', out);
}

static void put_audit(FILE *out, const struct resource *resource)
{
    fprintf(out,
            ", a as (insert into kudos.audit_log (workspace_id, key_id, action, resource,"
            " resource_id, after) select $1::bigint, $2::bigint, 'create', '%s',"
            " w.\"id\"::bigint, jsonb_strip_nulls(",
            resource->name);
    put_object(out, resource, "w");
    fputs(") from w)", out);
}

static void put_insert(FILE *out, const struct resource *resource, int way)
{
    int fields = way & INSERT_ONCE ? ONCE_FIELDS : INSERT_FIELDS;

    fputs("with ", out);
    if (way & INSERT_ONCE)
        fputs("s as (select k.fingerprint = $4::bytea as same, k.answer from kudos.idempotency_keys"
              " k where k.workspace_id = $1::bigint and k.key = $3::text"
              " and k.created_at > now() - interval '24 hours'), ",
              out);
    fputs("v as (select ", out);
    put_values(out, resource, fields, true, NULL);
    fputs("), ", out);
    put_found(out, resource, fields, true, NULL);
    if (way & INSERT_FIND)
        put_existing(out, resource, way);
    put_written(out, resource, way);
    put_children(out, resource, false);
    put_audit(out, resource);
    if (way & INSERT_ONCE)
        fputs(", i as (insert into kudos.idempotency_keys (workspace_id, key, fingerprint, answer)"
              " select $1::bigint, $3::text, $4::bytea, to_json(w) from w"
              " on conflict (workspace_id, key) do update set fingerprint = excluded.fingerprint,"
              " answer = excluded.answer, created_at = now())",
              out);
    put_outcome(out, resource, way);
    fprintf(out, " select o.*, %s as misused, r.* from o left join r on true",
            way & INSERT_ONCE ? "exists (select from s where not s.same)" : "false");
}

/* The same for a set: $3 is an array of the rows, each an array of its parameters. A row is told from
 * the others by its id, which is drawn beforehand. */
static void put_insert_set(FILE *out, const struct resource *resource, int way)
{
    (void)way;
    fprintf(out, "with v as materialized (select x.i, x.p, nextval('%s_id_seq') as id, ",
            resource->table);
    put_values(out, resource, 0, true, "x");
    fputs(" from jsonb_array_elements($3::jsonb) with ordinality as x (p, i)), ", out);
    put_found(out, resource, 0, true, "v");
    fprintf(out, ", w as (insert into %s as t (id, workspace_id", resource->table);
    for (size_t i = 0; i < resource->count; i++) {
        if ((resource->fields[i].flags & FIELD_CREATE) && resource->fields[i].column)
            fprintf(out, ", %s", resource->fields[i].column);
    }
    fputs(") overriding system value select v.id, $1::bigint", out);
    for (size_t i = 0; i < resource->count; i++) {
        if ((resource->fields[i].flags & FIELD_CREATE) && resource->fields[i].column)
            fprintf(out, ", v.v_%zu", i);
    }
    fputs(" from v join o on o.i = v.i where ", out);
    put_all_found(out, resource);
    fprintf(out, " order by v.i on conflict do nothing returning %s, ", changed_of(resource));
    put_shown(out, resource, SHOW_STORED);
    fputc(')', out);
    put_audit(out, resource);
    put_outcome(out, resource, INSERT_PLAIN);
    fputs(" select o.*, false as misused, r.* from v join o on o.i = v.i"
          " left join r on r.\"id\" = v.id::text order by v.i",
          out);
}

/* --- update --- */

static void put_assignments(FILE *out, const struct resource *resource)
{
    const char *comma = "";

    for (size_t i = 0; i < resource->count; i++) {
        const struct field *field = &resource->fields[i];

        if (!(field->flags & FIELD_UPDATE) || !field->column)
            continue;
        fprintf(out, "%s%s = case when $3::bigint & %" PRId64 " <> 0 then v.v_%zu else t.%s end",
                comma, field->column, (int64_t)1 << i, i, field->column);
        comma = ", ";
    }
}

/* Only the members that differ; nothing if none does. */
static void put_difference(FILE *out, const struct resource *resource)
{
    fprintf(out,
            ", a as (insert into kudos.audit_log (workspace_id, key_id, action, resource,"
            " resource_id, before, after) select $1::bigint, $4::bigint, $6::text, '%s',"
            " $2::bigint, d.before, d.after from w, b, lateral (select"
            " jsonb_object_agg(n.key, p.value) as before, jsonb_object_agg(n.key, n.value) as after"
            " from jsonb_each(",
            resource->name);
    put_object(out, resource, "w");
    fputs(") n join jsonb_each(", out);
    put_object(out, resource, "b");
    fputs(") p on p.key = n.key where n.value <> p.value and n.key <> 'updated_at') d"
          " where d.after is not null)",
          out);
}

static void put_update(FILE *out, const struct resource *resource, int way)
{
    (void)way;
    fputs("with ", out);
    fputs("v as (select ", out);
    put_values(out, resource, UPDATE_FIELDS, false, NULL);
    fputs("), ", out);
    put_found(out, resource, UPDATE_FIELDS, false, NULL);
    fputs(", b as (select ", out);
    put_shown(out, resource, SHOW_STORED);
    fprintf(out,
            " from %s as t where t.%s = $1::bigint and t.id = $2::bigint"
            " for no key update), f as (select $5::text[] is null or ",
            resource->table, tenant_of(resource));
    put_etag(out, resource, "b");
    fprintf(out, " = any ($5::text[]) as fits from b), w as (update %s as t set ", resource->table);
    put_assignments(out, resource);
    fprintf(out, " from v, o, f where t.%s = $1::bigint and t.id = $2::bigint and f.fits and ",
            tenant_of(resource));
    put_all_found(out, resource);
    fprintf(out, " returning %s, ", changed_of(resource));
    put_shown(out, resource, SHOW_UPDATED);
    fputc(')', out);
    put_children(out, resource, true);
    put_difference(out, resource);
    fputs(" select exists (select from b) as there, (select fits from f) as fits, o.*, ", out);
    put_etag(out, resource, "w");
    fputs(" as etag, w.* from o left join w on true", out);
}

/* --- read --- */

static void put_lookup(FILE *out, const struct resource *resource, int way)
{
    (void)way;
    fputs("with ", out);
    fputs("v as (select ", out);
    put_values(out, resource, LOOKUP_FIELDS, false, NULL);
    fputs("), ", out);
    put_found(out, resource, LOOKUP_FIELDS, false, NULL);
    fputs(", w as (select $1::bigint) select o.* from o", out);
}

static void put_get(FILE *out, const struct resource *resource, int way)
{
    (void)way;
    fputs("select ", out);
    put_etag(out, resource, "x");
    fputs(" as etag, x.* from (select ", out);
    put_shown(out, resource, SHOW_STORED);
    fprintf(out, " from %s as t where t.%s = $1::bigint and t.id = $2::bigint) as x",
            resource->table, tenant_of(resource));
}

static void put_columns(FILE *out, const struct resource *resource, int way)
{
    (void)way;
    put_shown(out, resource, SHOW_STORED);
}

/* What `put` writes, as a string of its own; NULL when memory is out. */
static char *sql_of(void (*put)(FILE *, const struct resource *, int),
                    const struct resource *resource, int way)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    put(out, resource, way);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

bool resource_prepare(struct resource *resource, struct error *error)
{
    bool good = true;

    assert(resource->count <= FIELDS_MAX);
    if (resource->shown)
        return true;
    for (int way = 0; way < INSERT_WAYS; way++) {
        if ((way & INSERT_FIND) && !resource->external)
            continue;
        resource->insert[way].sql = sql_of(put_insert, resource, way);
        good = good && resource->insert[way].sql;
    }
    if (resource->gathered) {
        resource->insert_set.sql = sql_of(put_insert_set, resource, 0);
        good = good && resource->insert_set.sql;
    }
    resource->update.sql = sql_of(put_update, resource, 0);
    resource->lookup.sql = sql_of(put_lookup, resource, 0);
    resource->get.sql = sql_of(put_get, resource, 0);
    resource->shown = sql_of(put_columns, resource, 0);
    good = good && resource->update.sql && resource->lookup.sql && resource->get.sql &&
           resource->shown;
    return good || error_set(error, "out of memory");
}
