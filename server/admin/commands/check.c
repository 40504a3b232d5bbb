/* `kudos check`: are the settings good, do the stores answer, and are they as Kudos needs them? One
 * line for each question, "ok" or "BAD" first. Exit status 0 if all is well, 1 if not. Changes
 * nothing but a file that it makes in data_dir and removes again. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/schema/migrate.h"
#include "server/stores/postgres.h"
#include "server/stores/redis.h"

#define REDIS_LOWEST_MAJOR 6

static bool report(bool good, const char *what, const char *detail)
{
    printf("%-3s %s%s%s\n", good ? "ok" : "BAD", what, *detail ? ": " : "", detail);
    return good;
}

static bool check_postgres(const struct settings *settings)
{
    struct error error;
    PGconn *connection = postgres_connect(settings->database_url, "kudos-check", &error);
    char version[64];
    bool good;

    if (!connection)
        return report(false, "PostgreSQL", error.text);
    snprintf(version, sizeof version, "version %d.%d", PQserverVersion(connection) / 10000,
             PQserverVersion(connection) % 10000);
    good = report(PQserverVersion(connection) >= 150000, "PostgreSQL answers", version);
    if (migrate_check(connection, &error))
        report(true, "PostgreSQL is migrated", migrate_newest());
    else
        good = report(false, "PostgreSQL is not at this version's schema; run kudos migrate",
                      error.text);
    PQfinish(connection);
    return good;
}

/* Text of a reply: of a string, or of the second element of a CONFIG GET. */
static const char *text_of(const redisReply *reply)
{
    if (reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2)
        reply = reply->element[1];
    return reply && reply->str ? reply->str : "";
}

static bool check_redis_version(struct redis *redis)
{
    const char *command[] = {"INFO", "server"};
    struct error error;
    redisReply *reply = redis_call(redis, 2, command, NULL, &error);
    const char *found;
    char version[32] = "unknown version";
    bool good;

    if (!reply)
        return report(false, "Redis", error.text);
    found = strstr(text_of(reply), "redis_version:");
    if (found)
        sscanf(found, "redis_version:%31[0-9.]", version);
    good = report(reply->type != REDIS_REPLY_ERROR && atoi(version) >= REDIS_LOWEST_MAJOR,
                  "Redis answers", reply->type == REDIS_REPLY_ERROR ? reply->str : version);
    freeReplyObject(reply);
    return good;
}

/* With any other policy Redis would throw counts away when its memory is full. */
static bool check_redis_policy(struct redis *redis)
{
    const char *command[] = {"CONFIG", "GET", "maxmemory-policy"};
    struct error error;
    redisReply *reply = redis_call(redis, 3, command, NULL, &error);
    bool good;

    if (!reply)
        return report(false, "Redis", error.text);
    if (reply->type == REDIS_REPLY_ERROR) /* a managed Redis may forbid CONFIG */
        good = report(true, "Redis does not tell its maxmemory-policy; it must be noeviction",
                      reply->str);
    else
        good = report(strcmp(text_of(reply), "noeviction") == 0,
                      "Redis maxmemory-policy must be noeviction", text_of(reply));
    freeReplyObject(reply);
    return good;
}

static bool check_redis(const struct settings *settings)
{
    struct error error;
    struct redis *redis = redis_open(settings->redis_url, settings->redis_timeout_ms, &error);
    bool good;

    if (!redis)
        return report(false, "Redis", error.text);
    good = check_redis_version(redis) && check_redis_policy(redis);
    redis_close(redis);
    return good;
}

static bool check_data_dir(const struct settings *settings)
{
    char path[SETTING_TEXT_MAX + 32];
    int fd;

    snprintf(path, sizeof path, "%s/.check-XXXXXX", settings->data_dir);
    fd = mkstemp(path);
    if (fd < 0)
        return report(false, "data_dir is not writable", strerror(errno));
    close(fd);
    unlink(path);
    return report(true, "data_dir is writable", settings->data_dir);
}

int check_command(int argc, char **argv, const struct settings *settings)
{
    bool good = true;

    (void)argv;
    if (argc != 1) {
        fputs("kudos check: use: kudos check\n", stderr);
        return 2;
    }
    report(true, "settings", ""); /* else main() had refused them */
    good &= check_postgres(settings);
    good &= check_redis(settings);
    good &= check_data_dir(settings);
    return good ? 0 : 1;
}
