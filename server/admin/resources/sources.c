/* /v1/sources. See sources.h.
 *
 * Rotating replaces the token, or the secrets, of a source and keeps its id, so that the address that
 * a shop calls stays. What was before is good until the overlap is over. PATCH of `secrets` replaces
 * them at once. */
#include "server/admin/resources/sources.h"

#include <assert.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/resource.h"
#include "server/admin/hooks/hooks.h"
#include "server/admin/request/auth.h"
#include "server/admin/request/idempotency.h"
#include "server/admin/request/input.h"
#include "server/admin/server.h"
#include "server/role.h"

#define OVERLAP_MAX_S    2592000
#define SECRETS_MAX      8
#define SECRET_LONGEST   255
#define RANDOM_BYTES     32
#define KIND_LENGTH      5 /* "ksrc_", "ksec_" */
#define PREFIX_LENGTH    (KIND_LENGTH + AUTH_PREFIX_LENGTH)
#define MADE_LENGTH      (PREFIX_LENGTH + 1 + 43)
#define HEX_HASH_BYTES   (2 + 2 * crypto_hash_sha256_BYTES + 1)
#define SECRETS_TO_ARRAY "select array(select jsonb_array_elements_text(@::jsonb))"

static bool check_secrets(struct value *value, struct error *error)
{
    json_t *list = json_loads(value->text, 0, NULL), *secret;
    bool good = json_is_array(list) && json_array_size(list) <= SECRETS_MAX;
    size_t i;

    if (!good)
        error_set(error, "must be an array of at most %d texts", SECRETS_MAX);
    json_array_foreach(list, i, secret)
    {
        size_t length = json_string_length(secret);

        if (good && (!json_is_string(secret) || length == 0 || length > SECRET_LONGEST ||
                     input_has_control(json_string_value(secret), length)))
            good = error_set(error, "must hold texts of 1 to %d bytes without control characters",
                             SECRET_LONGEST);
    }
    json_decref(list);
    return good;
}

static const struct field source_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the source"},
    {.name = "kind",
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_FILTER,
     .choices = "postback shopify stripe woocommerce",
     .column = "kind",
     .value = "@::kudos.source_kind",
     .what = "What tells the conversions"},
    {.name = "name",
     .flags = FIELD_WRITABLE | FIELD_REQUIRED,
     .longest = 200,
     .column = "name",
     .what = "What the source is for"},
    {.name = "secrets",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE | FIELD_HIDDEN,
     .column = "secrets",
     .value = SECRETS_TO_ARRAY,
     .missing = "'{}'::text[]",
     .read = "null::text",
     .check = check_secrets,
     .schema = "{\"type\": \"array\", \"items\": {\"type\": \"string\"}, \"maxItems\": 8}",
     .what = "What it signs with: several are good side by side; never shown again"},
    {.name = "secret_fingerprints",
     .type = FIELD_TAGS,
     .read = "to_json(kudos.secret_fingerprints(t.secrets, t.salt))::text",
     .what = "A name for each secret, to tell them apart by"},
    {.name = "prefix",
     .flags = FIELD_CREATE | FIELD_INTERNAL,
     .column = "prefix",
     .what = "How the token or secret begins that was made here; null: none was"},
    {.name = "token_hash",
     .flags = FIELD_CREATE | FIELD_INTERNAL | FIELD_HIDDEN,
     .column = "token_hash",
     .value = "@::bytea",
     .read = "null::text"},
    {.name = "path",
     .read = "case when t.kind = 'postback' then '/-/postback'"
             " else '/-/hooks/' || t.kind || '/' || t.id end",
     .what = "Where it is to be called"},
    {.name = "previous_until",
     .type = FIELD_TIME,
     .read = "case when t.previous_until > now() then to_char(t.previous_until,"
             " 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') end",
     .flags = FIELD_VOLATILE,
     .what = "Until when the token or secrets before these are good; null: they are not"},
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
     .what = "When something it told last became a conversion, to within some minutes"},
    {.name = "created_at", .type = FIELD_TIME, .column = "created_at", .what = "When it was made"},
    {.name = "updated_at",
     .type = FIELD_TIME,
     .column = "updated_at",
     .what = "When it last changed"},
};

/* --- what is made for a source --- */

/* A token or a secret: what it is, a visible part, and what cannot be guessed. */
struct made {
    char text[MADE_LENGTH + 1];
    char prefix[PREFIX_LENGTH + 1];
    char hex[HEX_HASH_BYTES]; /* SHA-256 of the text, for PostgreSQL */
};

/* From the service's secret and what the call was: the same for the same call. */
static void derive(const struct request *request, const char *prefix,
                   unsigned char bytes[RANDOM_BYTES])
{
    crypto_generichash_state state;
    const char *parts[] = {"source", request->idempotency_key, request->fingerprint, prefix};

    crypto_generichash_init(&state, request->admin->context->secret,
                            sizeof request->admin->context->secret, RANDOM_BYTES);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        crypto_generichash_update(&state, (const unsigned char *)parts[i], strlen(parts[i]) + 1);
    crypto_generichash_final(&state, bytes, RANDOM_BYTES);
}

/* `shown`: the prefix of what an earlier call made, or NULL for a new one. */
static void make(const struct request *request, const char *shown, bool is_token, struct made *out)
{
    unsigned char bytes[RANDOM_BYTES], hash[crypto_hash_sha256_BYTES];
    char prefix[AUTH_PREFIX_LENGTH + 1];

    auth_make_prefix(prefix);
    if (shown && strlen(shown) == PREFIX_LENGTH)
        snprintf(out->prefix, sizeof out->prefix, "%s", shown);
    else
        snprintf(out->prefix, sizeof out->prefix, "%s%s", is_token ? "ksrc_" : "ksec_", prefix);
    if (request->idempotency_key)
        derive(request, out->prefix, bytes);
    else
        randombytes_buf(bytes, sizeof bytes);
    snprintf(out->text, sizeof out->text, "%s_", out->prefix);
    sodium_bin2base64(out->text + PREFIX_LENGTH + 1, sizeof out->text - PREFIX_LENGTH - 1, bytes,
                      sizeof bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(hash, (const unsigned char *)out->text, strlen(out->text));
    memcpy(out->hex, "\\x", 2);
    sodium_bin2hex(out->hex + 2, sizeof out->hex - 2, hash, sizeof hash);
    sodium_memzero(bytes, sizeof bytes);
}

/* [text] as JSON, owned by the caller. */
static char *array_of(const char *text)
{
    char *json = NULL;

    return asprintf(&json, "[\"%s\"]", text) < 0 ? NULL : json;
}

/* "postback", "woocommerce" without secrets of its own: what is made for them has this name. */
static const char *made_for(const char *kind, bool has_secrets)
{
    if (strcmp(kind, "postback") == 0)
        return "token";
    return strcmp(kind, "woocommerce") == 0 && !has_secrets ? "secret" : NULL;
}

/* --- POST, DELETE --- */

static bool attempt(struct request *request, struct change *change)
{
    const char *kind = change_value(change, "kind")->text;
    const char *name = made_for(kind, change_value(change, "secrets")->given);
    struct made made;

    if (change->attempts > 0)
        return false;
    if (!name)
        return true;
    make(request, NULL, strcmp(name, "token") == 0, &made);
    change->secret = strdup(made.text);
    change->secret_name = name;
    change_set(change, "prefix", strdup(made.prefix));
    if (strcmp(name, "token") == 0)
        change_set(change, "token_hash", strdup(made.hex));
    else
        change_set(change, "secrets", array_of(made.text));
    sodium_memzero(&made, sizeof made);
    return true;
}

/* It was made, changed or revoked. A repeated call found the row of the first: what was made is that
 * one's. */
static void committed(struct request *request, struct change *change, const PGresult *row)
{
    struct made made;

    if (change->replayed && change->secret) {
        make(request, PQgetvalue(row, 0, PQfnumber(row, "prefix")),
             strcmp(change->secret_name, "token") == 0, &made);
        sodium_memzero(change->secret, strlen(change->secret));
        free(change->secret);
        change->secret = strdup(made.text);
        sodium_memzero(&made, sizeof made);
    }
    hooks_on_source(request->admin->hooks);
    change_answer(request, change, row);
}

struct resource sources_resource = {
    .name = "source",
    .path = "/v1/sources",
    .table = "kudos.sources",
    .fields = source_fields,
    .count = sizeof source_fields / sizeof source_fields[0],
    .uniques = {{"sources_token_hash_key", "/name", "try-again", "could not be made; try again"}},
    .example = "{\"kind\": \"postback\", \"name\": \"checkout page\"}",
    .example_change = "{\"name\": \"checkout\"}",
    .attempt = attempt,
    .committed = committed,
};

void sources_on_revoke(struct request *request)
{
    resource_set(request, "revoked_at", NULL, "revoke");
}

/* --- rotate --- */

static struct statement rotate;

/* $1 workspace, $2 calling key, $3 Idempotency-Key, $4 fingerprint, $5 id, $6 seconds of overlap,
 * $7 secrets given (jsonb), $8 prefix and $9 hash of a new token, $10 prefix and $11 text of a new
 * secret: whichever is meant. Nothing is done for a shop that makes its secrets itself (b, without
 * w). */
static const char rotate_sql[] =
    "with s as (select k.fingerprint = $4::bytea as same, k.answer from kudos.idempotency_keys k"
    " where k.workspace_id = $1::bigint and k.key = $3::text"
    " and k.created_at > now() - interval '24 hours'),"
    " b as (select * from kudos.sources where workspace_id = $1::bigint and id = $5::bigint"
    " and revoked_at is null and not exists (select from s) for no key update),"
    " n as (select case when kind = 'postback' then $9::bytea end as token_hash,"
    " case when $7::jsonb is not null then array(select jsonb_array_elements_text($7::jsonb))"
    " when kind = 'woocommerce' then array[$11::text] else secrets end as secrets,"
    " case when kind = 'postback' then $8::text when kind = 'woocommerce' and $7::jsonb is null"
    " then $10::text else prefix end as prefix from b"
    " where kind in ('postback', 'woocommerce') or $7::jsonb is not null),"
    " w as (update kudos.sources t set token_hash = n.token_hash, secrets = n.secrets,"
    " prefix = n.prefix,"
    " previous_token_hash = case when $6::bigint > 0 then b.token_hash end,"
    " previous_secrets = case when $6::bigint > 0 then b.secrets else '{}' end,"
    " previous_until = case when $6::bigint > 0 then now() + $6::bigint * interval '1 second' end"
    " from b, n where t.id = b.id returning %s),"
    " a as (insert into kudos.audit_log (workspace_id, key_id, action, resource, resource_id,"
    " before, after) select $1::bigint, $2::bigint, 'rotate', 'source', b.id,"
    " jsonb_build_object('prefix', b.prefix, 'secret_fingerprints',"
    " kudos.secret_fingerprints(b.secrets, b.salt)), jsonb_build_object('prefix', w.\"prefix\","
    " 'secret_fingerprints', w.\"secret_fingerprints\"::jsonb, 'overlap_s', $6::bigint) from b, w),"
    " i as (insert into kudos.idempotency_keys (workspace_id, key, fingerprint, answer)"
    " select $1::bigint, $3::text, $4::bytea, to_json(w) from w where $3::text is not null"
    " on conflict (workspace_id, key) do update set fingerprint = excluded.fingerprint,"
    " answer = excluded.answer, created_at = now()),"
    " r as (select false as replayed, %s from w x union all select true, %s"
    " from s, json_to_record(s.answer) as x (%s) where s.same)"
    " select exists (select from s where not s.same) as misused, exists (select from b) as there,"
    " r.* from (select) one left join r on true";

static char *names(const char *before, const char *after)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    if (!out)
        return NULL;
    for (size_t i = 0; i < sources_resource.count; i++)
        fprintf(out, "%s%s\"%s\"%s", i ? ", " : "", before, source_fields[i].name, after);
    fclose(out);
    return text;
}

bool sources_prepare(struct error *error)
{
    char *shown = names("x.", ""), *types = names("", " text"), *sql = NULL;

    if (shown && types &&
        asprintf(&sql, rotate_sql, sources_resource.shown, shown, shown, types) < 0)
        sql = NULL;
    free(shown);
    free(types);
    rotate.sql = sql;
    return sql || error_set(error, "out of memory");
}

/* What a rotation was asked for, and what was made for it. */
struct rotation {
    char overlap_s[24];
    char *secrets; /* JSON; NULL: none were given */
    struct made token, secret;
};

static void rotation_free(void *state)
{
    struct rotation *rotation = state;

    free(rotation->secrets);
    sodium_memzero(rotation, sizeof *rotation);
    free(rotation);
}

static bool take_overlap(struct rotation *rotation, const json_t *member, struct error *error)
{
    if (!json_is_integer(member) || json_integer_value(member) < 0 ||
        json_integer_value(member) > OVERLAP_MAX_S)
        return error_set(error, "must be from 0 to %d seconds", OVERLAP_MAX_S);
    snprintf(rotation->overlap_s, sizeof rotation->overlap_s, "%" JSON_INTEGER_FORMAT,
             json_integer_value(member));
    return true;
}

static bool take_secrets(struct rotation *rotation, const json_t *member, struct error *error)
{
    struct value value = {.text = json_dumps(member, JSON_COMPACT | JSON_ENCODE_ANY)};

    if (value.text && check_secrets(&value, error)) {
        rotation->secrets = value.text;
        return true;
    }
    free(value.text);
    return false;
}

/* The members of the body; false after answering 422. */
static bool read_rotation(struct request *request, struct rotation *rotation)
{
    const char *name;
    json_t *member;

    snprintf(rotation->overlap_s, sizeof rotation->overlap_s, "0");
    json_object_foreach(request->body, name, member)
    {
        bool is_overlap = strcmp(name, "overlap_s") == 0;
        struct error error = {"there is no such field"};
        char pointer[80];

        snprintf(pointer, sizeof pointer, "/%.64s", name);
        if (is_overlap ? !take_overlap(rotation, member, &error)
                       : strcmp(name, "secrets") != 0 || !take_secrets(rotation, member, &error))
            request_bad_field(request, pointer, "%s", error.text);
    }
    if (!request_is_bad(request))
        return true;
    request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
    return false;
}

static void show_made(struct request *request, struct rotation *rotation, const PGresult *row,
                      json_t *shown)
{
    const char *kind = json_string_value(json_object_get(shown, "kind"));
    const char *name = made_for(kind, rotation->secrets != NULL);
    bool is_token = name && strcmp(name, "token") == 0;
    struct made *made = is_token ? &rotation->token : &rotation->secret;

    if (!name)
        return;
    if (*PQgetvalue(row, 0, PQfnumber(row, "replayed")) == 't')
        make(request, PQgetvalue(row, 0, PQfnumber(row, "prefix")), is_token, made);
    json_object_set_new(shown, name, json_string(made->text));
}

static void on_rotated(const struct pool_answer *answer, void *argument)
{
    struct request *request = argument;
    const PGresult *row = answer->result;
    json_t *shown;

    if (answer->outcome != POOL_DONE) {
        resource_refused(request, &sources_resource, answer);
    } else if (*PQgetvalue(row, 0, 0) == 't') {
        idempotency_misused(request);
    } else if (!PQgetisnull(row, 0, 2)) {
        hooks_on_source(request->admin->hooks);
        shown = resource_show(&sources_resource, request->admin, row, 0);
        show_made(request, request->state, row, shown);
        request_answer(request, 200, shown);
    } else if (*PQgetvalue(row, 0, 1) == 't') {
        request_bad_field(request, "/secrets", "is required: this shop makes its secrets itself");
        request_bad_answer(request, 422, "invalid", "the request cannot be accepted; see errors");
    } else {
        request_problem(request, 404, "not-found", "there is no such source, or it is over");
    }
}

void sources_on_rotate(struct request *request)
{
    struct rotation *rotation = calloc(1, sizeof *rotation);
    char workspace[24], caller[24], id[24];
    const char *lock[] = {workspace, request->idempotency_key};
    int skip = request->idempotency_key ? 0 : 1;

    assert(rotation);
    request->state = rotation;
    request->free_state = rotation_free;
    if (!read_rotation(request, rotation))
        return;
    make(request, NULL, true, &rotation->token);
    make(request, NULL, false, &rotation->secret);
    snprintf(workspace, sizeof workspace, "%" PRId64, request->key.workspace);
    snprintf(caller, sizeof caller, "%" PRId64, request->key.id);
    snprintf(id, sizeof id, "%" PRIu64, request->id);
    {
        const char *parameters[] = {workspace,
                                    caller,
                                    request->idempotency_key,
                                    request->fingerprint,
                                    id,
                                    rotation->overlap_s,
                                    rotation->secrets,
                                    rotation->token.prefix,
                                    rotation->token.hex,
                                    rotation->secret.prefix,
                                    rotation->secret.text};
        struct pool_step steps[] = {{&idempotency_lock, 2, lock}, {&rotate, 11, parameters}};

        request_run(request, steps + skip, 2 - skip, on_rotated);
    }
}
