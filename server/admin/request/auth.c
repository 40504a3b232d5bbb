/* See auth.h. */
#include "server/admin/request/auth.h"

#include <assert.h>
#include <event2/keyvalq_struct.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "server/admin/request/limit.h"
#include "server/admin/routes.h"
#include "server/admin/server.h"
#include "shared/clock.h"

#define KEY_START "kudos_"
#define HEX_HASH  REQUEST_FINGERPRINT_MAX /* "\x…" and NUL: PostgreSQL's text form of bytea */

static_assert(HEX_HASH == 2 + 2 * AUTH_HASH_BYTES + 1, "room for a hash in hex");

/* A key that PostgreSQL confirmed. A slot is found by the first bytes of its hash; a newer key may
 * take it, which costs the older one only its service while PostgreSQL is away. */
struct memory {
    unsigned char hash[AUTH_HASH_BYTES];
    struct key key;
    int64_t confirmed_us; /* monotonic; 0: empty */
    int64_t touched_us;
    int64_t expires_us; /* wall; 0: never */
};

struct auth {
    struct memory memories[AUTH_MEMORY_KEYS];
};

/* What waits for PostgreSQL's answer. */
struct question {
    struct request *request;
    void (*next)(struct request *request);
    unsigned char hash[AUTH_HASH_BYTES];
    char hex[HEX_HASH];
};

static const struct statement find_key = {
    .sql = "select k.id, k.workspace_id, k.scope, encode(k.hash, 'hex'),"
           " coalesce((extract(epoch from k.expires_at) * 1000000)::bigint, 0),"
           " exists (select from kudos.domains d where d.is_default"
           " and d.workspace_id = k.workspace_id), coalesce(k.per_minute, 0)"
           " from kudos.api_keys k where k.hash = $1::bytea and k.revoked_at is null"
           " and (k.expires_at is null or k.expires_at > now())"};

/* It must fail, for what follows it not to be done: by dividing by the number of good keys. */
const struct statement auth_guard = {
    .sql = "select 1 / count(*) from kudos.api_keys where hash = $1::bytea and revoked_at is null"
           " and (expires_at is null or expires_at > now())"};

static const struct statement touch_key = {
    .sql = "update kudos.api_keys set last_used_at = now() where id = $1::bigint"
           " and (last_used_at is null or last_used_at < now() - interval '50 seconds')"};

struct auth *auth_new(void)
{
    return calloc(1, sizeof(struct auth));
}

void auth_free(struct auth *auth)
{
    free(auth);
}

void auth_make_prefix(char prefix[AUTH_PREFIX_LENGTH + 1])
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789"; /* no look-alikes */

    static_assert(sizeof letters == 33, "five bits a letter");
    for (int i = 0; i < AUTH_PREFIX_LENGTH; i++)
        prefix[i] = letters[randombytes_uniform(32)];
    prefix[AUTH_PREFIX_LENGTH] = '\0';
}

void auth_build_key(const char prefix[AUTH_PREFIX_LENGTH + 1], const unsigned char secret[32],
                    char key[AUTH_KEY_LENGTH + 1], unsigned char hash[AUTH_HASH_BYTES])
{
    char *at = stpcpy(stpcpy(key, KEY_START), prefix);

    assert(at == key + strlen(KEY_START) + AUTH_PREFIX_LENGTH);
    *at++ = '_';
    sodium_bin2base64(at, 44, secret, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    assert(strlen(key) == AUTH_KEY_LENGTH);
    crypto_hash_sha256(hash, (const unsigned char *)key, AUTH_KEY_LENGTH);
}

void auth_make_key(char key[AUTH_KEY_LENGTH + 1], unsigned char hash[AUTH_HASH_BYTES])
{
    char prefix[AUTH_PREFIX_LENGTH + 1];
    unsigned char secret[32];

    auth_make_prefix(prefix);
    randombytes_buf(secret, sizeof secret);
    auth_build_key(prefix, secret, key, hash);
    sodium_memzero(secret, sizeof secret);
}

bool auth_hash_key(const char *key, size_t length, unsigned char hash[AUTH_HASH_BYTES])
{
    if (length != AUTH_KEY_LENGTH || strncmp(key, KEY_START, strlen(KEY_START)) != 0)
        return false;
    crypto_hash_sha256(hash, (const unsigned char *)key, length);
    return true;
}

static const char *const scope_names[] = {"", "conversions", "read", "write", "admin"};

enum scope auth_scope(const char *name)
{
    for (int i = SCOPE_CONVERSIONS; i <= SCOPE_ADMIN; i++) {
        if (strcmp(scope_names[i], name) == 0)
            return (enum scope)i;
    }
    return SCOPE_NONE;
}

static void refuse(struct request *request, const char *detail)
{
    request_header(request, "WWW-Authenticate", "Bearer realm=\"kudos\"");
    request_problem(request, 401, "unauthorized", "%s", detail);
}

static void question_end(struct question *question)
{
    sodium_memzero(question->hash, sizeof question->hash);
    free(question);
}

static struct memory *memory_of(struct auth *auth, const unsigned char hash[AUTH_HASH_BYTES])
{
    return &auth->memories[((unsigned)hash[0] << 8 | hash[1]) % AUTH_MEMORY_KEYS];
}

/* True if the route's scope is within the key's. */
static bool scope_suffices(enum scope has, enum scope needs)
{
    if (needs == SCOPE_CONVERSIONS)
        return has == SCOPE_CONVERSIONS || has >= SCOPE_WRITE;
    return has >= needs;
}

static void proceed(struct question *question, const struct key *key)
{
    struct request *request = question->request;
    void (*next)(struct request *) = question->next;

    question_end(question);
    request->key = *key;
    if (!scope_suffices(key->scope, request->route->scope))
        request_problem(request, 403, "forbidden", "this takes a key of scope %s; this one's is %s",
                        scope_names[request->route->scope], scope_names[key->scope]);
    else if (limit_allows(request))
        next(request);
}

static void on_touched(const struct pool_answer *answer, void *argument)
{
    (void)answer; /* a note of use that could not be made is made by the next request */
    (void)argument;
}

static void touch(struct admin *admin, struct memory *memory, int64_t now_us)
{
    char id[24];
    const char *parameters[] = {id};

    if (memory->touched_us && now_us - memory->touched_us < AUTH_TOUCH_MS * US_PER_MS)
        return;
    memory->touched_us = now_us;
    snprintf(id, sizeof id, "%lld", (long long)memory->key.id);
    pool_query(admin->pool, &touch_key, 1, parameters, on_touched, NULL);
}

/* Takes PostgreSQL's row over into the memory. */
static struct memory *remember(struct auth *auth, const struct question *question,
                               const PGresult *row, int64_t now_us)
{
    struct memory *memory = memory_of(auth, question->hash);

    if (sodium_memcmp(memory->hash, question->hash, AUTH_HASH_BYTES) != 0)
        memory->touched_us = 0;
    memcpy(memory->hash, question->hash, AUTH_HASH_BYTES);
    memory->key.id = atoll(PQgetvalue(row, 0, 0));
    memory->key.workspace = atoll(PQgetvalue(row, 0, 1));
    memory->key.scope = auth_scope(PQgetvalue(row, 0, 2));
    memory->key.is_operator = *PQgetvalue(row, 0, 5) == 't' && memory->key.scope == SCOPE_ADMIN;
    memory->key.per_minute = atoll(PQgetvalue(row, 0, 6));
    memory->expires_us = atoll(PQgetvalue(row, 0, 4));
    memory->confirmed_us = now_us;
    return memory;
}

static void forget(struct auth *auth, const unsigned char hash[AUTH_HASH_BYTES])
{
    struct memory *memory = memory_of(auth, hash);

    if (sodium_memcmp(memory->hash, hash, AUTH_HASH_BYTES) == 0)
        memory->confirmed_us = 0;
}

/* What PostgreSQL said of the key lately; NULL if that is nothing or too long ago. */
static struct memory *recall(struct auth *auth, const unsigned char hash[AUTH_HASH_BYTES])
{
    struct memory *memory = memory_of(auth, hash);

    if (memory->confirmed_us && sodium_memcmp(memory->hash, hash, AUTH_HASH_BYTES) == 0 &&
        clock_mono_us() - memory->confirmed_us < AUTH_MEMORY_MS * US_PER_MS &&
        (!memory->expires_us || clock_wall_us() < memory->expires_us))
        return memory;
    return NULL;
}

/* PostgreSQL cannot say now: what did it say lately? */
static void on_no_answer(struct question *question, const struct pool_answer *answer)
{
    struct request *request = question->request;
    struct memory *memory = recall(request->admin->auth, question->hash);

    if ((request->route->flags & ROUTE_STORE_AWAY) && memory) {
        proceed(question, &memory->key);
        return;
    }
    question_end(question);
    request_store_problem(request, answer);
}

static void on_key(const struct pool_answer *answer, void *argument)
{
    struct question *question = argument;
    struct request *request = question->request;
    struct memory *memory;

    if (answer->outcome != POOL_DONE) {
        on_no_answer(question, answer);
        return;
    }
    if (PQntuples(answer->result) != 1 ||
        strlen(PQgetvalue(answer->result, 0, 3)) != 2 * AUTH_HASH_BYTES ||
        sodium_memcmp(PQgetvalue(answer->result, 0, 3), question->hex + 2, 2 * AUTH_HASH_BYTES)) {
        forget(request->admin->auth, question->hash);
        question_end(question);
        refuse(request, "the key is unknown, expired or revoked");
        return;
    }
    memory = remember(request->admin->auth, question, answer->result, clock_mono_us());
    touch(request->admin, memory, memory->confirmed_us);
    proceed(question, &memory->key);
}

/* The key was confirmed lately, and the handler's own transaction will do it again. */
static bool proceed_guarded(struct question *question)
{
    struct request *request = question->request;
    struct memory *memory = recall(request->admin->auth, question->hash);

    if (!(request->route->flags & ROUTE_GUARDED) || !memory ||
        !scope_suffices(memory->key.scope, request->route->scope))
        return false;
    touch(request->admin, memory, clock_mono_us());
    memcpy(request->guard, question->hex, sizeof request->guard);
    proceed(question, &memory->key);
    return true;
}

void auth_refuse_guarded(struct request *request)
{
    unsigned char hash[AUTH_HASH_BYTES];
    size_t length;

    if (sodium_hex2bin(hash, sizeof hash, request->guard + 2, 2 * AUTH_HASH_BYTES, NULL, &length,
                       NULL) == 0)
        forget(request->admin->auth, hash);
    refuse(request, "the key is unknown, expired or revoked");
}

void auth_request(struct request *request, void (*next)(struct request *request))
{
    const char *header =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "Authorization");
    struct question *question;
    const char *parameters[1];

    if (!header || strncasecmp(header, "Bearer ", 7) != 0) {
        refuse(request, "send the key as \"Authorization: Bearer kudos_…\"");
        return;
    }
    header += 7 + strspn(header + 7, " ");
    question = calloc(1, sizeof *question);
    if (!question || !auth_hash_key(header, strlen(header), question->hash)) {
        free(question);
        refuse(request, "the key is unknown, expired or revoked");
        return;
    }
    question->request = request;
    question->next = next;
    memcpy(question->hex, "\\x", 2);
    sodium_bin2hex(question->hex + 2, sizeof question->hex - 2, question->hash, AUTH_HASH_BYTES);
    if (proceed_guarded(question))
        return;
    parameters[0] = question->hex;
    pool_query(request->admin->pool, &find_key, 1, parameters, on_key, question);
}
