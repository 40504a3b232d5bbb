/* A resource as a table of fields: what is taken from a body, what is refused, and the SQL. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "server/admin/fields/fields.h"
#include "server/admin/fields/money.h"
#include "server/admin/request/auth.h"

static bool check_even(struct value *value, struct error *error)
{
    return atoll(value->text) % 2 == 0 || error_set(error, "must be even");
}

static const struct field fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id"},
    {.name = "name",
     .type = FIELD_TEXT,
     .flags = FIELD_CREATE | FIELD_REQUIRED,
     .longest = 8,
     .column = "name"},
    {.name = "size",
     .type = FIELD_INTEGER,
     .flags = FIELD_WRITABLE,
     .check = check_even,
     .column = "size",
     .missing = "2"},
    {.name = "shown", .type = FIELD_BOOL, .flags = FIELD_WRITABLE, .column = "shown"},
    {.name = "owner",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP,
     .longest = 20,
     .column = "owner_id",
     .value = "(select id from owners where id = @::bigint or name = #::text)"},
    {.name = "until",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "until"},
};
#define FIELDS (sizeof fields / sizeof fields[0])

static struct resource things = {
    .name = "thing", .table = "things", .fields = fields, .count = FIELDS};

/* Reads `text` into `values`; returns the errors as "pointer detail;…" (static). */
static const char *errors_of(const char *text, unsigned use, struct value values[FIELDS])
{
    static char out[2048];
    struct request request = {.body = json_loads(text, 0, NULL)};
    json_t *error;
    size_t i;

    assert_non_null(request.body);
    memset(values, 0, FIELDS * sizeof values[0]);
    resource_read(&things, &request, use, values);
    out[0] = '\0';
    json_array_foreach(request.errors, i, error)
    {
        strcat(out, json_string_value(json_object_get(error, "pointer")));
        strcat(out, " ");
        strcat(out, json_string_value(json_object_get(error, "detail")));
        strcat(out, ";");
    }
    json_decref(request.body);
    json_decref(request.errors);
    return out;
}

static void test_takes(void **state)
{
    struct value values[FIELDS];
    const char *parameters[POOL_PARAMETERS_MAX] = {"7"};

    (void)state;
    assert_string_equal(errors_of("{\"name\":\"Anna\",\"size\":4,\"shown\":false,\"owner\":\"Bea\","
                                  "\"until\":\"2026-11-21T20:00:00Z\"}",
                                  FIELD_CREATE, values),
                        "");
    assert_int_equal(resource_bind(&things, values, parameters, 1), 7);
    assert_string_equal(parameters[1], "Anna");
    assert_string_equal(parameters[2], "4");
    assert_string_equal(parameters[3], "false");
    assert_null(parameters[4]);
    assert_string_equal(parameters[5], "Bea");
    assert_string_equal(parameters[6], "2026-11-21T20:00:00Z");
    values_free(values, FIELDS);

    assert_string_equal(errors_of("{\"owner\":12}", FIELD_UPDATE, values), "");
    assert_int_equal(resource_bind(&things, values, parameters, 1), 7);
    assert_string_equal(parameters[4], "12");
    assert_null(parameters[5]);
    assert_false(values[1].given);
    assert_true(values[4].given);
    values_free(values, FIELDS);

    assert_string_equal(errors_of("{\"owner\":null}", FIELD_UPDATE, values), "");
    assert_true(values[4].given);
    assert_null(values[4].text);
    values_free(values, FIELDS);
}

static void test_refuses_all_at_once(void **state)
{
    struct value values[FIELDS];

    (void)state;
    assert_string_equal(errors_of("{\"id\":1,\"size\":3,\"shown\":1,\"owner\":true,\"until\":\"x\","
                                  "\"a/b~c\":0}",
                                  FIELD_CREATE, values),
                        "/id is set by the server;"
                        "/size must be even;"
                        "/shown must be true or false;"
                        "/owner must be an id (a whole number) or a name (a string);"
                        "/until must be a time such as \"2026-11-21T20:00:00Z\";"
                        "/a~1b~0c there is no such field;"
                        "/name is required;");
    values_free(values, FIELDS);
    assert_string_equal(
        errors_of("{\"name\":\"other\",\"size\":null,\"owner\":\"\"}", FIELD_UPDATE, values),
        "/name cannot be changed;/size must not be null;/owner must not be empty;");
    values_free(values, FIELDS);
    assert_string_equal(errors_of("{\"name\":\"nine byte\",\"size\":2.0}", FIELD_CREATE, values),
                        "/name is longer than 8 bytes;/size must be a whole number;");
    values_free(values, FIELDS);
    assert_string_equal(errors_of("{\"name\":\"a\\nb\"}", FIELD_CREATE, values),
                        "/name must not contain control characters;");
    values_free(values, FIELDS);
}

static void test_sql(void **state)
{
    struct error error;

    (void)state;
    assert_true(resource_prepare(&things, &error));
    assert_string_equal(
        things.insert[INSERT_PLAIN].sql,
        "with v as (select ($3::text) as v_1, coalesce(($4::bigint), 2) as v_2, ($5::boolean) as "
        "v_3,"
        " ((select id from owners where id = $6::bigint or name = $7::text)) as v_4,"
        " ($8::timestamptz) as v_5),"
        " o as (select true as ok,"
        " (v_4 is not null or ($6::bigint is null and $7::text is null)) as ok_4 from v),"
        " w as (insert into things as t (workspace_id, name, size, shown, owner_id, until)"
        " select $1::bigint, v.v_1, v.v_2, v.v_3, v.v_4, v.v_5 from v, o where o.ok and o.ok_4"
        " on conflict do nothing returning null::text as changed,"
        " t.id::text as \"id\", t.name::text as \"name\", t.size::text as \"size\","
        " t.shown::text as \"shown\", t.owner_id::text as \"owner\","
        " to_char(t.until, 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') as \"until\"),"
        " a as (insert into kudos.audit_log (workspace_id, key_id, action, resource,"
        " resource_id, after) select $1::bigint, $2::bigint, 'create', 'thing', w.\"id\"::bigint,"
        " jsonb_strip_nulls(jsonb_build_object('id', w.\"id\"::bigint, 'name', w.\"name\","
        " 'size', w.\"size\"::bigint, 'shown', w.\"shown\"::boolean,"
        " 'owner', w.\"owner\"::bigint, 'until', w.\"until\")) from w),"
        " r as (select 'created' as outcome, md5(row(w.\"id\", w.\"name\", w.\"size\","
        " w.\"shown\", w.\"owner\", w.\"until\")::text) as etag, w.* from w)"
        " select o.*, false as misused, r.* from o left join r on true");
    assert_null(things.insert[INSERT_FIND].sql); /* it has no external_id */
    assert_non_null(strstr(things.insert[INSERT_ONCE].sql, "and not exists (select from s)"));
    assert_non_null(strstr(things.update.sql,
                           "size = case when $3::bigint & 4 <> 0 then v.v_2 else t.size end"));
    assert_null(strstr(things.update.sql, "name = case")); /* fixed once made */
}

static const char *money(const char *text)
{
    static char out[128];
    struct value value = {0};
    struct error error;
    json_t *json = json_loads(text, 0, NULL);

    assert_non_null(json);
    if (money_read(json, &value, &error))
        snprintf(out, sizeof out, "%s", value.text);
    else
        snprintf(out, sizeof out, "%s: %s", value.below, error.text);
    free(value.text);
    json_decref(json);
    return out;
}

static void test_money(void **state)
{
    (void)state;
    assert_string_equal(money("{\"amount_minor\":500000,\"currency\":\"EUR\"}"),
                        "{\"amount_minor\":500000,\"currency\":\"EUR\"}");
    assert_string_equal(money("{\"amount\":\"12.5\",\"currency\":\"EUR\"}"),
                        "{\"amount_minor\":1250,\"currency\":\"EUR\"}");
    assert_string_equal(money("{\"amount\":\"12\",\"currency\":\"JPY\"}"),
                        "{\"amount_minor\":12,\"currency\":\"JPY\"}");
    assert_string_equal(money("{\"amount\":\"0.001\",\"currency\":\"KWD\"}"),
                        "{\"amount_minor\":1,\"currency\":\"KWD\"}");
    for (int i = 0; i < 12; i++) {
        static const char *const bad[] = {
            "{\"amount\":12.5,\"currency\":\"EUR\"}",
            "{\"amount_minor\":12.0,\"currency\":\"EUR\"}",
            "{\"amount\":\"12.345\",\"currency\":\"EUR\"}",
            "{\"amount\":\"1.5\",\"currency\":\"JPY\"}",
            "{\"amount\":\"1e3\",\"currency\":\"EUR\"}",
            "{\"amount\":\".5\",\"currency\":\"EUR\"}",
            "{\"amount\":\"99999999999999999999\",\"currency\":\"EUR\"}",
            "{\"amount\":\"1\",\"amount_minor\":100,\"currency\":\"EUR\"}",
            "{\"currency\":\"EUR\"}",
            "{\"amount_minor\":1}",
            "{\"amount_minor\":1,\"currency\":\"EUX\"}",
            "{\"amount_minor\":-1,\"currency\":\"EUR\"}",
        };
        assert_int_not_equal(money(bad[i])[0], '{');
    }
    assert_int_equal(money_digits("URA"), -1); /* across two codes of the list */
    assert_int_equal(money_digits("AED AFN"), -1);
    assert_int_equal(money_digits("CLF"), 4);
}

static void test_keys(void **state)
{
    unsigned char hash[AUTH_HASH_BYTES], again[AUTH_HASH_BYTES];
    char key[AUTH_KEY_LENGTH + 1], other[AUTH_KEY_LENGTH + 1];

    (void)state;
    auth_make_key(key, hash);
    auth_make_key(other, again);
    assert_int_equal(strlen(key), AUTH_KEY_LENGTH);
    assert_int_equal(strncmp(key, "kudos_", 6), 0);
    assert_int_equal(key[14], '_');
    assert_string_not_equal(key, other);
    assert_memory_not_equal(hash, again, AUTH_HASH_BYTES);
    assert_true(auth_hash_key(key, strlen(key), again));
    assert_memory_equal(hash, again, AUTH_HASH_BYTES);
    assert_false(auth_hash_key(key, strlen(key) - 1, again));
    assert_false(auth_hash_key("", 0, again));
    key[0] = 'K';
    assert_false(auth_hash_key(key, strlen(key), again));
    assert_int_equal(auth_scope("admin"), SCOPE_ADMIN);
    assert_int_equal(auth_scope("conversions"), SCOPE_CONVERSIONS);
    assert_int_equal(auth_scope(""), SCOPE_NONE);
    assert_int_equal(auth_scope("Admin"), SCOPE_NONE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_takes), cmocka_unit_test(test_refuses_all_at_once),
        cmocka_unit_test(test_sql),   cmocka_unit_test(test_money),
        cmocka_unit_test(test_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
