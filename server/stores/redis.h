#pragma once
/* A blocking session with Redis, with a limit on every wait: connect, each call, and back-off with
 * jitter between attempts to connect. Used by flush, verify, check and admin's stats helper; ship
 * brings its own loop around redis_connect_nonblocking()'s socket since it must keep its disk clock.
 *
 * An answer that did not come in time closes the connection: a late answer can never be taken for
 * the answer to the next question. Until the next attempt to connect is due, calls fail at once, so
 * that the caller may go on with something else. After a READONLY reply the connection is made anew,
 * since the name may lead to another server by now. */
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

/* Begins to connect and returns at once, for loops of their own (only a host name that must be
 * looked up can hold it up). The socket is non-blocking; AUTH and SELECT, where the URL asks for
 * them, are in the output buffer: the first `*greetings` replies answer them, and an error among
 * these means that the connection is of no use. redisFree() it. NULL with the reason. */
redisContext *redis_connect_nonblocking(const char *url, unsigned *greetings,
                                        struct error *error) MUST_CHECK;

/* Checks `url` without connecting. */
bool redis_url_check(const char *url, struct error *error) MUST_CHECK;
