#pragma once
/* A blocking session with Redis, with a limit on every wait: connect, each call, and back-off with
 * jitter between attempts. Used by flush, verify, check and admin's stats helper; ship brings its
 * own loop around redis_connect_nonblocking()'s socket since it must keep its disk clock.
 *
 * An answer that did not come in time closes the connection: a late answer can never be taken for
 * the answer to the next question. */
#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stdint.h>

#include "shared/error.h"

struct redis;

/* `url` as in settings (redis_url); parsed here, connected at first use. */
struct redis *redis_open(const char *url, int64_t timeout_ms, struct error *error) MUST_CHECK;
void redis_close(struct redis *redis);

/* One command (binary-safe argv), connecting first if need be. NULL with the reason when Redis is
 * away or answered with a protocol error; error replies (NOSCRIPT, OOM, READONLY, LOADING, MISCONF
 * …) are returned as replies of type REDIS_REPLY_ERROR. Free with freeReplyObject(). */
redisReply *redis_call(struct redis *redis, int argc, const char **argv, const size_t *lengths,
                       struct error *error) MUST_CHECK;

/* EVALSHA of an embedded script, loading it and trying again once on NOSCRIPT. argv are the keys
 * and arguments after numkeys. */
redisReply *redis_script(struct redis *redis, const char *source, int numkeys, int argc,
                         const char **argv, const size_t *lengths, struct error *error) MUST_CHECK;

/* A connected hiredis context with non-blocking socket, authenticated and with its database
 * selected, for loops of their own. NULL with the reason. */
redisContext *redis_connect_nonblocking(const char *url, int64_t timeout_ms,
                                        struct error *error) MUST_CHECK;
