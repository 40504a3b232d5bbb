/* `kudos migrate`: brings the database to this binary's version. Can be repeated, and run by several
 * machines at once. Running services go on: migrations of a release work with the release before. */
#include <stdio.h>

#include "server/commands.h"
#include "server/schema/migrate.h"
#include "server/stores/postgres.h"

static void print_applied(const char *name, void *count)
{
    printf("applied %s\n", name);
    ++*(int *)count;
}

int migrate_command(int argc, char **argv, const struct settings *settings)
{
    struct error error;
    PGconn *connection;
    int applied = 0;
    bool good;

    (void)argv;
    if (argc > 0) {
        fprintf(stderr, "usage: kudos migrate\n");
        return 2;
    }
    connection = postgres_connect(settings->database_url, "kudos-migrate", &error);
    if (!connection) {
        fprintf(stderr, "kudos migrate: cannot connect to PostgreSQL: %s\n", error.text);
        return 2;
    }
    good = migrate_apply(connection, print_applied, &applied, &error);
    PQfinish(connection);
    if (!good) {
        fprintf(stderr, "kudos migrate: %s\n", error.text);
        return 1;
    }
    printf("schema is at %s (%d applied now)\n", migrate_newest(), applied);
    return 0;
}
