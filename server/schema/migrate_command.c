/* `kudos migrate`: brings the database to this binary's version and makes the workspace `default` and
 * the default domain, which is base_url's host. Can be repeated, and run by several machines at
 * once. Running services go on: migrations of a release work with the release before. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "server/commands.h"
#include "server/links/link.h"
#include "server/schema/migrate.h"
#include "server/stores/postgres.h"

#define DEFAULT_WORKSPACE "default"

/* One statement each, so that two at once cannot fail each other. The domain of a changed base_url
 * keeps its links: the default domain is renamed. */
static const char MAKE_WORKSPACE[] =
    "insert into kudos.workspaces (name) values ($1) on conflict (name) do nothing";
static const char RENAME_DOMAIN[] =
    "update kudos.domains set host = $1 where is_default and host <> $1"
    " and not exists (select from kudos.domains where host = $1)";
static const char MAKE_DOMAIN[] =
    "insert into kudos.domains (workspace_id, host, is_default)"
    " select id, $1, true from kudos.workspaces where name = $2"
    " and not exists (select from kudos.domains where is_default) on conflict do nothing";
static const char FIND_DOMAIN[] = "select host from kudos.domains where is_default";

static void print_applied(const char *name, void *count)
{
    printf("applied %s\n", name);
    ++*(int *)count;
}

/* The host of an http(s) URL in lower case, without port and trailing dot. */
static bool host_of(const char *url, char out[LINK_HOST_MAX + 1], struct error *error)
{
    const char *start = strstr(url, "://");
    size_t length;

    start = start ? start + 3 : url;
    length = *start == '[' ? strcspn(start, "]") + 1 : strcspn(start, ":/?#");
    if (length > 1 && start[length - 1] == '.')
        length--;
    if (length == 0 || length > LINK_HOST_MAX || length > strlen(start))
        return error_set(error, "base_url \"%s\" has no usable host", url);
    for (size_t i = 0; i < length; i++)
        out[i] = (char)tolower((unsigned char)start[i]);
    out[length] = '\0';
    return true;
}

static bool make_defaults(PGconn *connection, const char *base_url, struct error *error)
{
    char host[LINK_HOST_MAX + 1];
    const char *values[] = {host, DEFAULT_WORKSPACE};
    const char *workspace = DEFAULT_WORKSPACE;
    PGresult *row;

    if (!host_of(base_url, host, error) ||
        !postgres_execute(connection, MAKE_WORKSPACE, 1, &workspace, error) ||
        !postgres_execute(connection, RENAME_DOMAIN, 1, values, error) ||
        !postgres_execute(connection, MAKE_DOMAIN, 2, values, error))
        return false;
    row = postgres_query(connection, FIND_DOMAIN, 0, NULL, error);
    if (!row)
        return false;
    if (PQntuples(row) != 1 || strcmp(PQgetvalue(row, 0, 0), host) != 0)
        fprintf(stderr,
                "kudos migrate: base_url's host %s is a domain of its own, not the default\n",
                host);
    printf("default domain is %s\n", PQntuples(row) == 1 ? PQgetvalue(row, 0, 0) : "missing");
    PQclear(row);
    return true;
}

int migrate_command(int argc, char **argv, const struct settings *settings)
{
    struct error error;
    PGconn *connection;
    int applied = 0;
    bool good;

    (void)argv;
    if (argc > 1) {
        fprintf(stderr, "usage: kudos migrate\n");
        return 2;
    }
    connection = postgres_connect(settings->database_url, "kudos-migrate", &error);
    if (!connection) {
        fprintf(stderr, "kudos migrate: cannot connect to PostgreSQL: %s\n", error.text);
        return 2;
    }
    good = migrate_apply(connection, print_applied, &applied, &error) &&
           make_defaults(connection, settings->base_url, &error);
    PQfinish(connection);
    if (!good) {
        fprintf(stderr, "kudos migrate: %s\n", error.text);
        return 1;
    }
    printf("schema is at %s (%d applied now)\n", migrate_newest(), applied);
    return 0;
}
