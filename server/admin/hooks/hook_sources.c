/* See hook_sources.h. One question at a time is under way, on a connection of its own: marketers who
 * queue for the others hold up no revocation. The answer is the whole list, or nothing
 * where it is what is known already; so an older state of PostgreSQL (a restored backup) is followed,
 * too.
 *
 * The file is written beside and renamed, after fsync: a crash leaves the old or the new one. What
 * could not be written (a full disk) is tried again with the next answer; until then it is known in
 * memory alone. */
#include "server/admin/hooks/hook_sources.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/admin/server.h"
#include "server/admin/stores/pool.h"
#include "server/metrics.h"
#include "shared/clock.h"
#include "shared/log.h"

#define FILE_NAME "hook-sources"
#define FILE_MAX  (256 * 1024 * 1024)
#define PATH_LONG (SETTING_TEXT_MAX + 32)

struct hook_sources {
    struct admin *admin;
    struct pool *pool;
    struct event *timer;
    struct hook_table *table; /* NULL: nothing is known yet */
    char *unsaved;            /* JSON that the file does not have yet; NULL: it has it */
    bool asking, again;
};

/* $1: the version that is known. */
static const struct statement ask_sql = {
    .sql =
        "select case when v.version is distinct from $1::text then json_build_object("
        "'version', v.version, 'sources', (select coalesce(json_agg(json_build_object("
        "'id', s.id, 'workspace', s.workspace_id, 'kind', s.kind, 'secrets', s.secrets,"
        " 'previous', s.previous_secrets, 'until_us', coalesce((extract(epoch from"
        " s.previous_until) * 1000000)::bigint, 0)) order by s.id), '[]')"
        " from kudos.sources s where s.kind <> 'postback' and s.revoked_at is null))::text end"
        " from (select md5(coalesce(string_agg(id || ':' || changed::text, ',' order by id), ''))"
        " as version from kudos.sources where kind <> 'postback' and revoked_at is null) v"};

static void path_of(const struct hook_sources *sources, const char *end, char out[PATH_LONG])
{
    snprintf(out, PATH_LONG, "%s/" FILE_NAME "%s", sources->admin->settings->data_dir, end);
}

/* --- the file --- */

static char *read_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    char *text = NULL;

    if (fd < 0)
        return NULL;
    if (fstat(fd, &stat) == 0 && stat.st_size < FILE_MAX)
        text = calloc(1, (size_t)stat.st_size + 1);
    if (text && read(fd, text, (size_t)stat.st_size) != stat.st_size) {
        free(text);
        text = NULL;
    }
    close(fd);
    return text;
}

static void load(struct hook_sources *sources)
{
    char path[PATH_LONG], *text;

    path_of(sources, "", path);
    text = read_file(path);
    if (text)
        sources->table = hook_table_read(text);
    if (text && !sources->table)
        log_warn("hook_sources_unreadable", "path=%s", path);
    free(text);
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    bool good = fd >= 0 && fchmod(fd, 0600) == 0;

    for (size_t left = strlen(text); good && left > 0;) {
        ssize_t written = write(fd, text, left);

        good = written > 0;
        text += good ? written : 0;
        left -= good ? (size_t)written : 0;
    }
    good = good && fsync(fd) == 0;
    return (fd < 0 || close(fd) == 0) && good;
}

static void save(struct hook_sources *sources)
{
    char path[PATH_LONG], beside[PATH_LONG];

    if (!sources->unsaved)
        return;
    path_of(sources, "", path);
    path_of(sources, ".new", beside);
    if (!write_file(beside, sources->unsaved) || rename(beside, path) < 0) {
        log_warn("hook_sources_not_kept", "path=%s error=%s", path, strerror(errno));
        return;
    }
    free(sources->unsaved);
    sources->unsaved = NULL;
}

/* --- asking --- */

static void learn(struct hook_sources *sources, const char *text)
{
    struct hook_table *table = hook_table_read(text);

    if (!table) {
        log_error("hook_sources_unreadable", "path=postgresql");
        return;
    }
    hook_table_free(sources->table);
    sources->table = table;
    free(sources->unsaved);
    sources->unsaved = strdup(text);
    log_debug("hook_sources_learned", "version=%s", hook_table_version(table));
}

static void on_answer(const struct pool_answer *answer, void *argument)
{
    struct hook_sources *sources = argument;

    sources->asking = false;
    if (answer->outcome == POOL_DONE && !PQgetisnull(answer->result, 0, 0))
        learn(sources, PQgetvalue(answer->result, 0, 0));
    save(sources);
    if (sources->again)
        hook_sources_refresh(sources);
}

void hook_sources_refresh(struct hook_sources *sources)
{
    const char *known = sources->table ? hook_table_version(sources->table) : NULL;

    sources->again = sources->asking;
    if (sources->asking || !pool_up(sources->pool))
        return;
    sources->asking = true;
    pool_query(sources->pool, &ask_sql, 1, &known, on_answer, sources);
}

static void on_time(evutil_socket_t fd, short what, void *argument)
{
    struct hook_sources *sources = argument;

    (void)fd;
    (void)what;
    if (!sources->asking)
        hook_sources_refresh(sources);
}

struct hook_sources *hook_sources_new(struct admin *admin)
{
    const struct timeval every = {.tv_usec = HOOK_SOURCES_EVERY_MS * 1000};
    struct hook_sources *sources = calloc(1, sizeof *sources);

    if (!sources)
        return NULL;
    sources->admin = admin;
    load(sources);
    sources->pool = pool_new(admin->base, admin->settings->database_url, "kudos-admin-hooks", 1);
    sources->timer = event_new(admin->base, -1, EV_PERSIST, on_time, sources);
    assert(sources->pool && sources->timer);
    event_add(sources->timer, &every);
    return sources;
}

void hook_sources_free(struct hook_sources *sources)
{
    if (!sources)
        return;
    pool_free(sources->pool);
    event_free(sources->timer);
    hook_table_free(sources->table);
    free(sources->unsaved);
    free(sources);
}

bool hook_sources_known(const struct hook_sources *sources)
{
    return sources->table != NULL;
}

const struct hook_source *hook_sources_find(const struct hook_sources *sources, uint64_t id)
{
    return sources->table ? hook_table_find(sources->table, id) : NULL;
}
