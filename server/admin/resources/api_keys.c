/* /v1/api-keys. See api_keys.h.
 *
 * Rotating makes a new key with the name, scope and limits of an old one, and ends the old one: at
 * once, or after an overlap in which both are good. It is one statement, so there is never none. */
#include "server/admin/resources/api_keys.h"

#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/request/auth.h"
#include "server/admin/request/idempotency.h"
#include "server/admin/server.h"
#include "server/role.h"

#define OVERLAP_MAX_S  2592000
#define SECRET_BYTES   32
#define PREFIX_SHOWN   (6 + AUTH_PREFIX_LENGTH) /* "kudos_" and the visible part */
#define HEX_HASH_BYTES (2 + 2 * AUTH_HASH_BYTES + 1)

static const struct field key_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the key"},
    {.name = "name",
     .flags = FIELD_WRITABLE | FIELD_REQUIRED,
     .longest = 200,
     .column = "name",
     .what = "What the key is for"},
    {.name = "scope",
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_FILTER,
     .choices = "admin write read conversions",
     .column = "scope",
     .value = "@::kudos.key_scope",
     .what = "What it may do"},
    {.name = "workspace",
     .type = FIELD_INTEGER,
     .flags = FIELD_CREATE,
     .lowest = 1,
     .highest = INT64_MAX,
     .read = "t.workspace_id::text",
     .what = "Whose it is; only keys of the service's own workspace may name another one"},
    {.name = "prefix",
     .flags = FIELD_CREATE | FIELD_INTERNAL,
     .column = "prefix",
     .what = "How it begins, to recognise it by"},
    {.name = "hash",
     .flags = FIELD_CREATE | FIELD_INTERNAL | FIELD_HIDDEN,
     .column = "hash",
     .value = "@::bytea",
     .read = "null::text"},
    {.name = "per_minute",
     .type = FIELD_INTEGER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .lowest = 1,
     .highest = 1000000,
     .column = "per_minute",
     .what = "How many requests it may make in a minute; null: as the service is set"},
    {.name = "expires_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "expires_at",
     .what = "From then on it is refused; null: never"},
    {.name = "revoked_at",
     .type = FIELD_TIME,
     .flags = FIELD_UPDATE | FIELD_INTERNAL,
     .column = "revoked_at",
     .value = "coalesce(now(), @::timestamptz)",
     .what = "When it was revoked; null: it was not"},
    {.name = "last_used_at",
     .type = FIELD_TIME,
     .flags = FIELD_VOLATILE,
     .column = "last_used_at",
     .what = "When it was last used, to within a minute or two"},
    {.name = "created_at", .type = FIELD_TIME, .column = "created_at", .what = "When it was made"},
};

/* --- the key itself --- */

/* From the service's secret and what the call was: the same for the same call. */
static void derive(const struct request *request, const char *prefix,
                   unsigned char secret[SECRET_BYTES])
{
    crypto_generichash_state state;
    const char *parts[] = {"api key", request->idempotency_key, request->fingerprint, prefix};

    crypto_generichash_init(&state, request->admin->context->secret,
                            sizeof request->admin->context->secret, SECRET_BYTES);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        crypto_generichash_update(&state, (const unsigned char *)parts[i], strlen(parts[i]) + 1);
    crypto_generichash_final(&state, secret, SECRET_BYTES);
}

/* A key with a prefix of its own, or with that of an earlier call. `hex`: its hash for PostgreSQL. */
static void make_key(const struct request *request, const char *shown, char **key,
                     char hex[HEX_HASH_BYTES])
{
    char text[AUTH_KEY_LENGTH + 1], prefix[AUTH_PREFIX_LENGTH + 1];
    unsigned char secret[SECRET_BYTES], hash[AUTH_HASH_BYTES];

    if (shown)
        snprintf(prefix, sizeof prefix, "%s", shown + PREFIX_SHOWN - AUTH_PREFIX_LENGTH);
    else
        auth_make_prefix(prefix);
    if (request->idempotency_key)
        derive(request, prefix, secret);
    else
        randombytes_buf(secret, sizeof secret);
    auth_build_key(prefix, secret, text, hash);
    sodium_memzero(secret, sizeof secret);
    memcpy(hex, "\\x", 2);
    sodium_bin2hex(hex + 2, HEX_HASH_BYTES - 2, hash, sizeof hash);
    *key = strdup(text);
    sodium_memzero(text, sizeof text);
}

static bool attempt(struct request *request, struct change *change)
{
    char hex[HEX_HASH_BYTES];

    if (change->attempts > 0)
        return false;
    make_key(request, NULL, &change->secret, hex);
    change_set(change, "prefix", strndup(change->secret, PREFIX_SHOWN));
    change_set(change, "hash", strdup(hex));
    return true;
}

/* A repeated call found the row of the first: its key is that one's. */
static void committed(struct request *request, struct change *change, const PGresult *row)
{
    char hex[HEX_HASH_BYTES];

    if (change->replayed) {
        free(change->secret);
        make_key(request, PQgetvalue(row, 0, PQfnumber(row, "prefix")), &change->secret, hex);
    }
    change_answer(request, change, row);
}

static void check(struct request *request, struct change *change, unsigned use)
{
    const char *workspace = change_value(change, "workspace")->text;

    (void)use;
    if (!workspace || strcmp(workspace, change->workspace) == 0)
        return;
    if (request->key.is_operator)
        snprintf(change->workspace, sizeof change->workspace, "%s", workspace);
    else
        request_bad_field(request, "/workspace", "is not that of your key");
}

struct resource api_keys_resource = {
    .name = "api_key",
    .path = "/v1/api-keys",
    .table = "kudos.api_keys",
    .fields = key_fields,
    .count = sizeof key_fields / sizeof key_fields[0],
    .uniques = {{"api_keys_hash_key", "/name", "try-again", "could not be made; try again"},
                {"api_keys_workspace_id_fkey", "/workspace", "invalid",
                 "there is no such workspace"}},
    .example = "{\"name\": \"shop\", \"scope\": \"conversions\"}",
    .example_change = "{\"per_minute\": 600}",
    .check = check,
    .attempt = attempt,
    .committed = committed,
};

/* --- rotate, revoke --- */

void api_keys_on_revoke(struct request *request)
{
    resource_set(request, "revoked_at", NULL, "revoke");
}

static struct statement rotate;

/* $1 workspace, $2 calling key, $3 Idempotency-Key, $4 fingerprint, $5 id, $6 prefix, $7 hash,
 * $8 seconds of overlap */
static const char rotate_sql[] =
    "with s as (select k.fingerprint = $4::bytea as same, k.answer from kudos.idempotency_keys k"
    " where k.workspace_id = $1::bigint and k.key = $3::text"
    " and k.created_at > now() - interval '24 hours'),"
    " b as (select * from kudos.api_keys where workspace_id = $1::bigint and id = $5::bigint"
    " and revoked_at is null and (expires_at is null or expires_at > now())"
    " and not exists (select from s) for no key update),"
    " w as (insert into kudos.api_keys as t (workspace_id, name, scope, prefix, hash, per_minute,"
    " expires_at) select b.workspace_id, b.name, b.scope, $6::text, $7::bytea, b.per_minute,"
    " b.expires_at from b returning %s),"
    " u as (update kudos.api_keys k set"
    " revoked_at = case when $8::bigint = 0 then now() end,"
    " expires_at = case when $8::bigint = 0 then k.expires_at"
    " else least(k.expires_at, now() + $8::bigint * interval '1 second') end"
    " from b, w where k.id = b.id),"
    " a as (insert into kudos.audit_log (workspace_id, key_id, action, resource, resource_id,"
    " before, after) select $1::bigint, $2::bigint, 'rotate', 'api_key', b.id,"
    " jsonb_build_object('prefix', b.prefix), jsonb_build_object('id', w.\"id\"::bigint,"
    " 'prefix', w.\"prefix\", 'overlap_s', $8::bigint) from b, w),"
    " i as (insert into kudos.idempotency_keys (workspace_id, key, fingerprint, answer)"
    " select $1::bigint, $3::text, $4::bytea, to_json(w) from w where $3::text is not null"
    " on conflict (workspace_id, key) do update set fingerprint = excluded.fingerprint,"
    " answer = excluded.answer, created_at = now()),"
    " r as (select false as replayed, %s from w x union all select true, %s"
    " from s, json_to_record(s.answer) as x (%s) where s.same)"
    " select exists (select from s where not s.same) as misused, r.* from (select) one"
    " left join r on true";

static void put_names(FILE *out, const char *before, const char *after)
{
    for (size_t i = 0; i < api_keys_resource.count; i++)
        fprintf(out, "%s%s\"%s\"%s", i ? ", " : "", before, key_fields[i].name, after);
}

static char *names(const char *before, const char *after)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    put_names(out, before, after);
    fclose(out);
    return text;
}

bool api_keys_prepare(struct error *error)
{
    char *shown = names("x.", ""), *types = names("", " text"), *sql = NULL;

    if (shown && types &&
        asprintf(&sql, rotate_sql, api_keys_resource.shown, shown, shown, types) < 0)
        sql = NULL;
    free(shown);
    free(types);
    rotate.sql = sql;
    return sql || error_set(error, "out of memory");
}

/* What waits for the new key to be stored. */
struct rotation {
    char *key;
};

static void rotation_free(void *state)
{
    struct rotation *rotation = state;

    if (rotation->key)
        sodium_memzero(rotation->key, strlen(rotation->key));
    free(rotation->key);
    free(rotation);
}

static void on_rotated(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    struct rotation *rotation = request->state;
    const PGresult *row = answer->result;
    char hex[HEX_HASH_BYTES];
    json_t *shown;

    if (answer->outcome != POOL_DONE) {
        resource_refused(request, &api_keys_resource, answer);
        return;
    }
    if (*PQgetvalue(row, 0, 0) == 't') {
        idempotency_misused(request);
        return;
    }
    if (PQgetisnull(row, 0, 1)) {
        request_problem(request, 404, "not-found", "there is no such api_key, or it is over");
        return;
    }
    if (*PQgetvalue(row, 0, 1) == 't') {
        free(rotation->key);
        make_key(request, PQgetvalue(row, 0, PQfnumber(row, "prefix")), &rotation->key, hex);
    }
    shown = resource_show(&api_keys_resource, request->admin, row, 0);
    json_object_set_new(shown, "key", json_string(rotation->key));
    request_answer(request, 201, shown);
}

/* The one member of the body; false after answering 422. */
static bool read_overlap(struct request *request, json_int_t *seconds)
{
    const char *name;
    json_t *member;

    json_object_foreach(request->body, name, member)
    {
        char pointer[80];

        snprintf(pointer, sizeof pointer, "/%.64s", name);
        if (strcmp(name, "overlap_s") != 0)
            request_bad_field(request, pointer, "there is no such field");
        else if (!json_is_integer(member) || json_integer_value(member) < 0 ||
                 json_integer_value(member) > OVERLAP_MAX_S)
            request_bad_field(request, pointer, "must be from 0 to %d seconds", OVERLAP_MAX_S);
        else
            *seconds = json_integer_value(member);
    }
    if (!request_is_bad(request))
        return true;
    request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
    return false;
}

void api_keys_on_rotate(struct request *request)
{
    struct rotation *rotation = calloc(1, sizeof *rotation);
    char workspace[24], caller[24], id[24], seconds[24], hex[HEX_HASH_BYTES];
    char prefix[PREFIX_SHOWN + 1];
    const char *lock[] = {workspace, request->idempotency_key};
    const char *parameters[] = {
        workspace, caller, request->idempotency_key, request->fingerprint, id, prefix,
        hex,       seconds};
    struct pool_step steps[] = {{&idempotency_lock, 2, lock}, {&rotate, 8, parameters}};
    int skip = request->idempotency_key ? 0 : 1;
    json_int_t overlap = 0;

    request->state = rotation;
    request->free_state = rotation_free;
    if (!read_overlap(request, &overlap))
        return;
    make_key(request, NULL, &rotation->key, hex);
    snprintf(prefix, sizeof prefix, "%s", rotation->key);
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(caller, sizeof caller, "%" PRId64, request->key.id);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    snprintf(seconds, sizeof seconds, "%" JSON_INTEGER_FORMAT, overlap);
    request_run(request, steps + skip, 2 - skip, on_rotated);
}
