/* See keys.h; and the commands `kudos workspace create` and `kudos key create`.
 *
 * A key is printed once, alone on the last line of standard output, and nowhere else: what is stored
 * is its hash. */
#include "server/admin/commands/keys.h"

#include <getopt.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/request/input.h"
#include "server/commands.h"
#include "server/stores/postgres.h"

int64_t keys_find_workspace(PGconn *connection, const char *name, struct error *error)
{
    PGresult *rows = postgres_query(connection, "select id from kudos.workspaces where name = $1",
                                    1, &name, error);
    int64_t id = 0;

    if (!rows)
        return 0;
    if (PQntuples(rows) == 1)
        id = atoll(PQgetvalue(rows, 0, 0));
    else
        error_set(error, "there is no workspace \"%s\"", name);
    PQclear(rows);
    return id;
}

bool keys_create(PGconn *connection, int64_t workspace, const char *scope, const char *name,
                 char key[AUTH_KEY_LENGTH + 1], struct error *error)
{
    unsigned char hash[AUTH_HASH_BYTES];
    char id[24], prefix[AUTH_PREFIX_LENGTH + 7], hex[2 + 2 * AUTH_HASH_BYTES + 1] = "\\x";
    const char *parameters[] = {id, name, scope, prefix, hex};

    auth_make_key(key, hash);
    snprintf(id, sizeof id, "%" PRId64, workspace);
    snprintf(prefix, sizeof prefix, "%s", key); /* "kudos_" and the visible part */
    sodium_bin2hex(hex + 2, sizeof hex - 2, hash, sizeof hash);
    return postgres_execute(connection,
                            "insert into kudos.api_keys (workspace_id, name, scope, prefix, hash)"
                            " values ($1, $2, $3::kudos.key_scope, $4, $5::bytea)",
                            5, parameters, error);
}

/* --- commands --- */

static int fail(const char *command, const char *what, int status)
{
    fprintf(stderr, "kudos %s: %s\n", command, what);
    return status;
}

static PGconn *connect_for(const char *command, const struct settings *settings)
{
    struct error error;
    PGconn *connection = postgres_connect(settings->database_url, "kudos", &error);

    if (!connection)
        fprintf(stderr, "kudos %s: PostgreSQL: %s\n", command, error.text);
    return connection;
}

static bool is_good_name(const char *name, size_t longest)
{
    size_t length = strlen(name);

    return length > 0 && length <= longest && input_is_utf8(name, length) &&
           !input_has_control(name, length);
}

int workspace_command(int argc, char **argv, const struct settings *settings)
{
    struct error error;
    PGconn *connection;
    PGresult *rows;
    int status = 0;

    if (argc != 3 || strcmp(argv[1], "create") != 0)
        return fail("workspace", "use: kudos workspace create NAME", 2);
    if (!is_good_name(argv[2], 100))
        return fail("workspace", "a name has 1 to 100 bytes of UTF-8 without control characters",
                    2);
    connection = connect_for("workspace", settings);
    if (!connection)
        return 2;
    rows =
        postgres_query(connection, "insert into kudos.workspaces (name) values ($1) returning id",
                       1, (const char *const *)&argv[2], &error);
    if (rows)
        printf("workspace %s has id %s\n", argv[2], PQgetvalue(rows, 0, 0));
    else if (strcmp(postgres_sqlstate(), "23505") == 0)
        status = fail("workspace", "there is a workspace of that name", 1);
    else
        status = fail("workspace", error.text, 1);
    PQclear(rows);
    PQfinish(connection);
    return status;
}

struct key_options {
    const char *workspace, *scope, *name;
};

static bool read_options(int argc, char **argv, struct key_options *out)
{
    static const struct option options[] = {{"workspace", required_argument, NULL, 'w'},
                                            {"scope", required_argument, NULL, 's'},
                                            {"name", required_argument, NULL, 'n'},
                                            {NULL, 0, NULL, 0}};
    int c;

    if (argc < 2 || strcmp(argv[1], "create") != 0)
        return false;
    optind = 1;
    while ((c = getopt_long(argc - 1, argv + 1, "", options, NULL)) != -1) {
        if (c == 'w')
            out->workspace = optarg;
        else if (c == 's')
            out->scope = optarg;
        else if (c == 'n')
            out->name = optarg;
        else
            return false;
    }
    return optind == argc - 1 && out->workspace && out->scope && out->name;
}

int key_command(int argc, char **argv, const struct settings *settings)
{
    struct key_options options = {0};
    char key[AUTH_KEY_LENGTH + 1];
    struct error error;
    PGconn *connection;
    int64_t workspace;
    int status = 1;

    if (!read_options(argc, argv, &options))
        return fail("key", "use: kudos key create --workspace W --scope S --name N", 2);
    if (auth_scope(options.scope) == SCOPE_NONE)
        return fail("key", "--scope is one of admin, write, read, conversions", 2);
    if (!is_good_name(options.name, 200))
        return fail("key", "--name has 1 to 200 bytes of UTF-8 without control characters", 2);
    if (sodium_init() < 0)
        return fail("key", "libsodium cannot start", 2);
    connection = connect_for("key", settings);
    if (!connection)
        return 2;
    workspace = keys_find_workspace(connection, options.workspace, &error);
    if (workspace && keys_create(connection, workspace, options.scope, options.name, key, &error)) {
        printf("key for workspace %s, scope %s; it is not shown again:\n%s\n", options.workspace,
               options.scope, key);
        status = 0;
    } else {
        fail("key", error.text, 1);
    }
    sodium_memzero(key, sizeof key);
    PQfinish(connection);
    return status;
}
