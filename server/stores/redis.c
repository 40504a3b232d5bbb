/* See redis.h.
 *
 * URLs: redis://[[user]:password@]host[:port][/db], unix:/path[?db=n]. User and password may be
 * percent-encoded; an IPv6 host stands in brackets. TLS is left to a tunnel.
 *
 * Scripts are called by the digest that SCRIPT LOAD answered; it depends on their text alone, so it
 * stays valid over reconnects, and a server that does not know it says NOSCRIPT. */
#include "server/stores/redis.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/retry.h"

#define PART_MAX        512
#define PORT            6379
#define RETRY_FIRST_MS  100
#define RETRY_MOST_MS   2000
#define SCRIPTS_MAX     8
#define DIGEST_LENGTH   40
#define SCRIPT_ARGS_MAX 100000

struct address {
    char host[PART_MAX]; /* or the socket's path */
    char user[PART_MAX];
    char password[PART_MAX];
    int port; /* 0: a unix socket */
    long database;
};

struct script {
    const char *source;
    char digest[DIGEST_LENGTH + 1];
};

struct redis {
    struct address address;
    int64_t timeout_ms;
    redisContext *context; /* NULL: not connected */
    int64_t retry_us;      /* monotonic; no attempt before */
    unsigned failures;     /* in a row */
    struct error last;     /* why it is not connected */
    size_t script_count;
    struct script scripts[SCRIPTS_MAX];
};

/* Parses a whole number in [low, high]. */
static bool parse_number(const char *text, long low, long high, long *out)
{
    char *end;

    errno = 0;
    *out = strtol(text, &end, 10);
    return *text >= '0' && *text <= '9' && *end == '\0' && errno == 0 && *out >= low &&
           *out <= high;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies `length` bytes and undoes percent-encoding; false for a bad or overlong one, or a NUL. */
static bool decode_part(const char *text, size_t length, char out[PART_MAX])
{
    size_t used = 0;

    for (size_t i = 0; i < length; i++) {
        char c = text[i];

        if (c == '%') {
            if (i + 2 >= length || hex_digit(text[i + 1]) < 0 || hex_digit(text[i + 2]) < 0)
                return false;
            c = (char)(hex_digit(text[i + 1]) * 16 + hex_digit(text[i + 2]));
            i += 2;
        }
        if (c == '\0' || used + 1 >= PART_MAX)
            return false;
        out[used++] = c;
    }
    out[used] = '\0';
    return true;
}

static bool parse_unix(const char *rest, struct address *out, struct error *error)
{
    const char *query = strchr(rest, '?');
    size_t length = query ? (size_t)(query - rest) : strlen(rest);

    if (rest[0] != '/' || !decode_part(rest, length, out->host))
        return error_set(error, "redis_url: unix: needs an absolute path");
    if (query &&
        (strncmp(query, "?db=", 4) != 0 || !parse_number(query + 4, 0, INT_MAX, &out->database)))
        return error_set(error, "redis_url: only ?db=NUMBER may follow the path");
    return true;
}

/* [user][:password] before the @. */
static bool parse_user(const char *text, size_t length, struct address *out, struct error *error)
{
    const char *colon = memchr(text, ':', length);
    size_t user = colon ? (size_t)(colon - text) : length;

    if (!decode_part(text, user, out->user) ||
        (colon && !decode_part(colon + 1, length - user - 1, out->password)))
        return error_set(error, "redis_url: bad user or password");
    return true;
}

/* host[:port], [IPv6][:port]. */
static bool parse_host(const char *text, size_t length, struct address *out, struct error *error)
{
    char copy[PART_MAX], *colon, *host = copy;
    long port = PORT;

    if (length == 0 || length >= sizeof copy)
        return error_set(error, "redis_url: no host");
    memcpy(copy, text, length);
    copy[length] = '\0';
    colon = strrchr(copy, ':');
    if (copy[0] == '[') {
        char *bracket = strchr(copy, ']');

        if (!bracket || (bracket[1] != '\0' && bracket[1] != ':'))
            return error_set(error, "redis_url: bad IPv6 address");
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
        *bracket = '\0';
        host++;
    }
    if (colon) {
        *colon = '\0';
        if (!parse_number(colon + 1, 1, 65535, &port))
            return error_set(error, "redis_url: bad port");
    }
    if (*host == '\0')
        return error_set(error, "redis_url: no host");
    snprintf(out->host, sizeof out->host, "%s", host);
    out->port = (int)port;
    return true;
}

static bool parse_url(const char *url, struct address *out, struct error *error)
{
    const char *rest, *at, *slash;

    memset(out, 0, sizeof *out);
    if (strncmp(url, "unix:", 5) == 0)
        return parse_unix(url + 5, out, error);
    if (strncmp(url, "redis://", 8) != 0)
        return error_set(error, "redis_url: must begin with redis:// or unix:/");
    rest = url + 8;
    at = strrchr(rest, '@');
    if (at) {
        if (!parse_user(rest, (size_t)(at - rest), out, error))
            return false;
        rest = at + 1;
    }
    slash = strchr(rest, '/');
    if (slash && slash[1] && !parse_number(slash + 1, 0, INT_MAX, &out->database))
        return error_set(error, "redis_url: bad database number");
    return parse_host(rest, slash ? (size_t)(slash - rest) : strlen(rest), out, error);
}

bool redis_url_check(const char *url, struct error *error)
{
    struct address address;

    return parse_url(url, &address, error);
}

/* Queues AUTH and SELECT; returns how many commands that were. */
static unsigned append_greetings(redisContext *context, const struct address *address)
{
    unsigned count = 0;

    if (address->user[0])
        count +=
            redisAppendCommand(context, "AUTH %s %s", address->user, address->password) == REDIS_OK;
    else if (address->password[0])
        count += redisAppendCommand(context, "AUTH %s", address->password) == REDIS_OK;
    if (address->database)
        count += redisAppendCommand(context, "SELECT %ld", address->database) == REDIS_OK;
    return count;
}

redisContext *redis_connect_nonblocking(const char *url, unsigned *greetings, struct error *error)
{
    struct address address;
    redisContext *context;

    if (!parse_url(url, &address, error))
        return NULL;
    context = address.port ? redisConnectNonBlock(address.host, address.port)
                           : redisConnectUnixNonBlock(address.host);
    if (!context || context->err) {
        error_set(error, "cannot connect to Redis: %s", context ? context->errstr : "no memory");
        if (context)
            redisFree(context);
        return NULL;
    }
    fcntl(context->fd, F_SETFD, FD_CLOEXEC);
    *greetings = append_greetings(context, &address);
    return context;
}

struct redis *redis_open(const char *url, int64_t timeout_ms, struct error *error)
{
    struct redis *redis = calloc(1, sizeof *redis);

    assert(timeout_ms > 0);
    if (!redis) {
        error_set(error, "out of memory");
        return NULL;
    }
    if (!parse_url(url, &redis->address, error)) {
        free(redis);
        return NULL;
    }
    redis->timeout_ms = timeout_ms;
    redis->retry_us = INT64_MIN;
    return redis;
}

static void disconnect(struct redis *redis)
{
    if (redis->context)
        redisFree(redis->context);
    redis->context = NULL;
    metrics->redis_up = 0;
}

void redis_close(struct redis *redis)
{
    if (!redis)
        return;
    disconnect(redis);
    free(redis);
}

/* Drops the connection and remembers why. Always false. */
static bool fail(struct redis *redis, const char *reason)
{
    error_set(&redis->last, "Redis: %s", reason);
    disconnect(redis);
    redis->retry_us = clock_mono_us() +
                      retry_wait_ms(++redis->failures, RETRY_FIRST_MS, RETRY_MOST_MS) * US_PER_MS;
    return false;
}

static bool greet(struct redis *redis)
{
    unsigned count = append_greetings(redis->context, &redis->address);

    for (; count > 0; count--) {
        redisReply *reply = NULL;

        if (redisGetReply(redis->context, (void **)&reply) != REDIS_OK)
            return fail(redis, redis->context->errstr);
        if (reply->type == REDIS_REPLY_ERROR) {
            char reason[256];

            snprintf(reason, sizeof reason, "%s", reply->str);
            freeReplyObject(reply);
            return fail(redis, reason);
        }
        freeReplyObject(reply);
    }
    return true;
}

static bool ensure_connected(struct redis *redis, struct error *error)
{
    const struct address *address = &redis->address;
    struct timeval timeout = {.tv_sec = redis->timeout_ms / 1000,
                              .tv_usec = redis->timeout_ms % 1000 * 1000};

    if (redis->context)
        return true;
    if (clock_mono_us() < redis->retry_us)
        return error_set(error, "%s", redis->last.text);
    redis->context = address->port ? redisConnectWithTimeout(address->host, address->port, timeout)
                                   : redisConnectUnixWithTimeout(address->host, timeout);
    if (!redis->context || redis->context->err)
        fail(redis, redis->context ? redis->context->errstr : "out of memory");
    else if (redisSetTimeout(redis->context, timeout) != REDIS_OK)
        fail(redis, redis->context->errstr);
    else if (greet(redis)) {
        fcntl(redis->context->fd, F_SETFD, FD_CLOEXEC);
        if (address->port && redisEnableKeepAlive(redis->context) != REDIS_OK)
            redis->context->err = 0; /* a help, not a need */
        redis->failures = 0;
        metrics->redis_up = 1;
        metrics->redis_reconnects_total++;
        return true;
    }
    return error_set(error, "%s", redis->last.text);
}

redisReply *redis_call(struct redis *redis, int argc, const char **argv, const size_t *lengths,
                       struct error *error)
{
    redisReply *reply = NULL;

    assert(argc > 0);
    if (!ensure_connected(redis, error))
        return NULL;
    reply = redisCommandArgv(redis->context, argc, argv, lengths);
    if (!reply) {
        bool late = redis->context->err == REDIS_ERR_IO && errno == EAGAIN;

        fail(redis, late ? "no answer in time" : redis->context->errstr);
        error_set(error, "%s", redis->last.text);
    } else if (reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "READONLY", 8) == 0) {
        disconnect(redis);
    }
    return reply;
}

/* Has Redis learn the script; its digest goes to `script`. An error reply is handed out. */
static bool load_script(struct redis *redis, struct script *script, redisReply **refused,
                        struct error *error)
{
    const char *argv[] = {"SCRIPT", "LOAD", script->source};
    const size_t lengths[] = {6, 4, strlen(script->source)};
    redisReply *reply = redis_call(redis, 3, argv, lengths, error);

    *refused = NULL;
    if (!reply)
        return false;
    if (reply->type != REDIS_REPLY_STRING || reply->len != DIGEST_LENGTH) {
        *refused = reply;
        return false;
    }
    memcpy(script->digest, reply->str, DIGEST_LENGTH + 1);
    freeReplyObject(reply);
    return true;
}

static struct script *find_script(struct redis *redis, const char *source)
{
    struct script *script;

    for (size_t i = 0; i < redis->script_count; i++)
        if (redis->scripts[i].source == source)
            return &redis->scripts[i];
    assert(redis->script_count < SCRIPTS_MAX);
    script = &redis->scripts[redis->script_count++];
    script->source = source;
    return script;
}

static bool is_noscript(const redisReply *reply)
{
    return reply && reply->type == REDIS_REPLY_ERROR && strncmp(reply->str, "NOSCRIPT", 8) == 0;
}

redisReply *redis_script(struct redis *redis, const char *source, int numkeys, int argc,
                         const char **argv, const size_t *lengths, struct error *error)
{
    struct script *script = find_script(redis, source);
    char count[16];
    redisReply *reply = NULL;
    const char **all;
    size_t *all_lengths;

    assert(argc >= numkeys && argc <= SCRIPT_ARGS_MAX);
    all = calloc((size_t)argc + 3, sizeof *all);
    all_lengths = calloc((size_t)argc + 3, sizeof *all_lengths);
    if (!all || !all_lengths) {
        error_set(error, "out of memory");
        goto done;
    }
    snprintf(count, sizeof count, "%d", numkeys);
    all[0] = "EVALSHA";
    all[1] = script->digest;
    all[2] = count;
    all_lengths[0] = 7;
    all_lengths[1] = DIGEST_LENGTH;
    all_lengths[2] = strlen(count);
    for (int i = 0; i < argc; i++) {
        all[i + 3] = argv[i];
        all_lengths[i + 3] = lengths ? lengths[i] : strlen(argv[i]);
    }
    if (script->digest[0])
        reply = redis_call(redis, argc + 3, all, all_lengths, error);
    if (!script->digest[0] || is_noscript(reply)) {
        if (reply)
            freeReplyObject(reply);
        if (load_script(redis, script, &reply, error))
            reply = redis_call(redis, argc + 3, all, all_lengths, error);
    }
done:
    free(all);
    free(all_lengths);
    return reply;
}
