/* See once.h. */
#include "server/admin/request/once.h"

#include <assert.h>
#include <event2/buffer.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/idempotency.h"
#include "server/admin/request/stream.h"
#include "server/admin/server.h"

/* $1 workspace, $2 key */
static const struct statement drop_pieces = {
    .sql =
        "delete from kudos.idempotency_pieces where workspace_id = $1::bigint and key = $2::text"};

/* $1 workspace, $2 key, $3 number, $4 text */
static const struct statement keep_piece = {
    .sql = "insert into kudos.idempotency_pieces (workspace_id, key, piece, body)"
           " values ($1::bigint, $2::text, $3::int, $4::text)"};

/* $1 workspace, $2 key, $3 number */
static const struct statement read_piece = {
    .sql = "select body from kudos.idempotency_pieces where workspace_id = $1::bigint"
           " and key = $2::text and piece = $3::int"};

/* $1 workspace, $2 API key, $3 action, $4 resource, $5 its id or 0, $6 numbers */
static const struct statement note = {
    .sql =
        "insert into kudos.audit_log (workspace_id, key_id, action, resource, resource_id, after)"
        " values ($1::bigint, $2::bigint, $3::text, $4::text, nullif($5::bigint, 0), $6::jsonb)"};

void once_clear(struct once *once)
{
    if (once->owned)
        evbuffer_free(once->answer);
    *once = (struct once){0};
}

static bool is_done(struct once *once, const struct pool_answer *answer)
{
    if (answer->outcome != POOL_DONE)
        request_store_problem(once->request, answer);
    return answer->outcome == POOL_DONE;
}

/* Runs a statement whose parameters begin with workspace and key. */
static void ask(struct once *once, const struct statement *statement, int count, const char *third,
                const char *fourth, pool_callback *callback)
{
    const char *parameters[] = {once->workspace, once->request->idempotency_key, third, fourth};

    transaction_query(once->transaction, statement, count, parameters, callback, once);
}

/* --- at the beginning --- */

static void replay(struct once *once);

static void on_piece_read(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;

    if (!is_done(once, answer))
        return;
    if (PQntuples(answer->result) > 0) {
        evbuffer_add(once->answer, PQgetvalue(answer->result, 0, 0),
                     (size_t)PQgetlength(answer->result, 0, 0));
        once->piece++;
        replay(once);
        return;
    }
    once->owned = false;
    stream_all(once->request, 200, "application/json", once->answer);
}

static void replay(struct once *once)
{
    snprintf(once->number, sizeof once->number, "%u", once->piece);
    ask(once, &read_piece, 3, once->number, NULL, on_piece_read);
}

static void on_sought(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;

    if (!is_done(once, answer))
        return;
    if (PQntuples(answer->result) == 0) {
        once->next(once->argument);
    } else if (*PQgetvalue(answer->result, 0, PQfnumber(answer->result, "same")) != 't') {
        idempotency_misused(once->request);
    } else {
        once->answer = evbuffer_new();
        assert(once->answer);
        once->owned = true;
        replay(once);
    }
}

static void on_locked(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;

    if (is_done(once, answer))
        ask(once, &idempotency_find, 3, once->request->fingerprint, NULL, on_sought);
}

void once_begin(struct once *once, struct request *request, struct transaction *transaction,
                void (*next)(void *argument), void *argument)
{
    once->request = request;
    once->transaction = transaction;
    once->next = next;
    once->argument = argument;
    snprintf(once->workspace, sizeof once->workspace, "%" PRId64, request->key.workspace);
    if (request->idempotency_key)
        ask(once, &idempotency_lock, 2, NULL, NULL, on_locked);
    else
        next(argument);
}

/* --- at the end --- */

/* The next piece, which ends with a line; its length. */
static size_t next_piece(struct once *once, char *out)
{
    struct evbuffer_ptr from;
    ev_ssize_t length;

    if (evbuffer_ptr_set(once->answer, &from, once->at, EVBUFFER_PTR_SET) < 0)
        return 0;
    length = evbuffer_copyout_from(once->answer, &from, out, ONCE_PIECE_BYTES);
    while (length > 0 && out[length - 1] != '\n')
        length--;
    return length > 0 ? (size_t)length : 0;
}

static void on_piece_kept(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;
    char *text;
    size_t length;

    if (!is_done(once, answer))
        return;
    if (once->at == evbuffer_get_length(once->answer)) {
        once->next(once->argument);
        return;
    }
    text = malloc(ONCE_PIECE_BYTES + 1);
    assert(text);
    length = next_piece(once, text);
    assert(length > 0);
    text[length] = '\0';
    once->at += length;
    snprintf(once->number, sizeof once->number, "%u", once->piece++);
    ask(once, &keep_piece, 4, once->number, text, on_piece_kept);
    free(text);
}

static void on_dropped(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;

    if (is_done(once, answer))
        ask(once, &idempotency_keep, 4, once->request->fingerprint, "{\"pieces\": true}",
            on_piece_kept);
}

static void on_noted(const struct pool_answer *answer, void *argument)
{
    struct once *once = argument;

    if (!is_done(once, answer))
        return;
    if (once->request->idempotency_key)
        ask(once, &drop_pieces, 2, NULL, NULL, on_dropped);
    else
        once->next(once->argument);
}

/* The numbers at the beginning of the answer, as an object of their own. */
static char *numbers_of(struct evbuffer *answer)
{
    static const char items[] = ",\"items\":[";
    size_t length;
    char *line = evbuffer_readln(answer, &length, EVBUFFER_EOL_LF), *end;

    assert(line);
    evbuffer_prepend(answer, "\n", 1);
    evbuffer_prepend(answer, line, length);
    end = strstr(line, items);
    assert(end);
    end[0] = '}';
    end[1] = '\0';
    return line;
}

void once_keep(struct once *once, struct evbuffer *answer, const char *action, const char *resource,
               void (*next)(void *argument), void *argument)
{
    char key[24], *numbers = numbers_of(answer);
    const char *parameters[] = {once->workspace, key, action, resource, once->number, numbers};

    once->next = next;
    once->argument = argument;
    once->answer = answer;
    once->at = 0;
    once->piece = 0;
    snprintf(key, sizeof key, "%" PRId64, once->request->key.id);
    snprintf(once->number, sizeof once->number, "%" PRIu64, once->request->id);
    transaction_query(once->transaction, &note, 6, parameters, on_noted, once);
    free(numbers);
}
