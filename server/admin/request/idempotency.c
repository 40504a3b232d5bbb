/* See idempotency.h. */
#include "server/admin/request/idempotency.h"

#include <assert.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <sodium.h>
#include <string.h>

const struct statement idempotency_lock = {
    .sql = "select pg_advisory_xact_lock(hashtextextended($2::text, $1::bigint))"};

const struct statement idempotency_find = {
    .sql = "select k.fingerprint = $3::bytea as same, k.answer::text as answer"
           " from kudos.idempotency_keys k where k.workspace_id = $1::bigint and k.key = $2::text"
           " and k.created_at > now() - interval '24 hours'"};

const struct statement idempotency_keep = {
    .sql = "insert into kudos.idempotency_keys (workspace_id, key, fingerprint, answer)"
           " values ($1::bigint, $2::text, $3::bytea, $4::json)"
           " on conflict (workspace_id, key) do update set fingerprint = excluded.fingerprint,"
           " answer = excluded.answer, created_at = now()"};

const struct statement idempotency_forget = {
    .sql = "delete from kudos.idempotency_keys where ctid = any (array(select ctid from"
           " kudos.idempotency_keys where created_at < now() - interval '24 hours'"
           " limit $1::bigint for update skip locked))"};

/* Visible ASCII. */
static bool is_key(const char *text)
{
    size_t length = strlen(text);

    for (const char *c = text; *c; c++) {
        if (*c < 0x21 || *c > 0x7e)
            return false;
    }
    return length >= 1 && length <= IDEMPOTENCY_KEY_MAX;
}

/* Piece by piece: making one piece of a body of 32 MiB would double it. */
static void hash_body(crypto_hash_sha256_state *state, struct evbuffer *body)
{
    size_t length = evbuffer_get_length(body), done = 0;
    struct evbuffer_iovec piece;
    struct evbuffer_ptr at;

    evbuffer_ptr_set(body, &at, 0, EVBUFFER_PTR_SET);
    while (done < length && evbuffer_peek(body, -1, &at, &piece, 1) > 0) {
        crypto_hash_sha256_update(state, piece.iov_base, piece.iov_len);
        done += piece.iov_len;
        if (done < length)
            evbuffer_ptr_set(body, &at, piece.iov_len, EVBUFFER_PTR_ADD);
    }
    assert(done == length);
}

static void put_fingerprint(struct request *request)
{
    struct evbuffer *body = evhttp_request_get_input_buffer(request->http);
    const char *target = evhttp_request_get_uri(request->http);
    crypto_hash_sha256_state state;
    unsigned char hash[crypto_hash_sha256_BYTES];

    static_assert(sizeof request->fingerprint == 2 + 2 * sizeof hash + 1, "room for it in hex");
    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, (const unsigned char *)target, strlen(target) + 1);
    hash_body(&state, body);
    crypto_hash_sha256_final(&state, hash);
    memcpy(request->fingerprint, "\\x", 2);
    sodium_bin2hex(request->fingerprint + 2, sizeof request->fingerprint - 2, hash, sizeof hash);
}

bool idempotency_read(struct request *request)
{
    const char *key =
        evhttp_find_header(evhttp_request_get_input_headers(request->http), "Idempotency-Key");

    if (!key || evhttp_request_get_command(request->http) != EVHTTP_REQ_POST)
        return true;
    if (!is_key(key)) {
        request_problem(request, 400, "idempotency-key",
                        "Idempotency-Key must have 1 to %d visible characters of ASCII",
                        IDEMPOTENCY_KEY_MAX);
        return false;
    }
    request->idempotency_key = key;
    put_fingerprint(request);
    return true;
}

void idempotency_misused(struct request *request)
{
    request_problem(request, 422, "idempotency-key-reused",
                    "this Idempotency-Key was used for another call within the last 24 hours");
}
