/* `kudos verify`: runs the oracle of verify.h over all partitions and the database, or looks up click
 * ids, and prints what it found.
 *
 * Exit status: 0 everything adds up (a backlog is fine, and so is a partition that waits to be
 * recovered: nothing is lost), 1 it does not, 2 it could not look. */
#include "server/clicks/verify.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/commands.h"
#include "server/conversions/click_id.h"
#include "server/stores/postgres.h"

#define ORIGINS_SHOWN    20
#define PARTITIONS_MAX   64
#define REDIS_TIMEOUT_MS 30000 /* a whole hash of totals may come in one answer */

/* Printing ----------------------------------------------------------------------------------------- */

static int64_t number(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static void print_problems(const json_t *of)
{
    const json_t *problems = json_object_get(of, "problems"), *problem;
    size_t i;

    json_array_foreach(problems, i, problem)
    {
        printf("  problem: %s\n", json_string_value(problem));
    }
}

static void print_origins(const json_t *origins)
{
    size_t count = json_array_size(origins);

    if (count == 0)
        return;
    printf("  %-20s %12s = %12s + %8s + %12s\n", "origin", "last seq", "applied", "gaps",
           "backlog");
    for (size_t i = 0; i < count && i < ORIGINS_SHOWN; i++) {
        const json_t *origin = json_array_get(origins, i);
        const char *why = json_string_value(json_object_get(origin, "recovering"));
        printf("  %-20s %12" PRId64 " = %12" PRId64 " + %8" PRId64 " + %12" PRId64 "%s%s\n",
               json_string_value(json_object_get(origin, "origin")), number(origin, "last_seq"),
               number(origin, "applied"), number(origin, "gaps"), number(origin, "backlog"),
               why ? "  " : "", why ? why : "");
    }
    if (count > ORIGINS_SHOWN)
        printf("  and %zu more\n", count - ORIGINS_SHOWN);
}

static void print_partition(const json_t *partition)
{
    const char *why = json_string_value(json_object_get(partition, "recovering"));

    printf("partition %" PRId64 ": %s%s%s, backlog %" PRId64 "\n", number(partition, "partition"),
           json_string_value(json_object_get(partition, "state")), why ? ": " : "", why ? why : "",
           number(partition, "backlog"));
    print_origins(json_object_get(partition, "origins"));
    print_problems(partition);
}

static void print_database(const json_t *database)
{
    const char *kept_from = json_string_value(json_object_get(database, "kept_from"));
    bool good = json_array_size(json_object_get(database, "problems")) == 0;

    printf("clicks: %" PRId64 " rows, %s; in quarantine %" PRId64 ", in gaps %" PRId64
           ", lost %" PRId64 "\n",
           number(database, "rows"), good ? "each once, rollups equal rows" : "which do not add up",
           number(database, "quarantined"), number(database, "gaps"), number(database, "lost"));
    printf("daily figures: %" PRId64 " days looked at\n", number(database, "days"));
    printf("conversions: %" PRId64 " reports, %" PRId64 " not recorded yet, %" PRId64
           " of them failed\n",
           number(database, "conversions"), number(database, "conversions_waiting"),
           number(database, "conversions_failed"));
    if (kept_from)
        printf("  rows are kept from %s on\n", kept_from);
    print_problems(database);
}

static void print_ids(const json_t *found)
{
    static const char *const lists[] = {"missing", "twice", "quarantined", "invalid"};

    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        const json_t *list = json_object_get(found, lists[i]), *id;
        size_t at;
        json_array_foreach(list, at, id)
        {
            printf("%s %s\n", lists[i], json_string_value(id));
        }
    }
    printf("ids %" PRId64 ", found once %" PRId64 ", missing %zu, twice %zu, quarantined %zu, "
           "invalid %zu\n",
           number(found, "ids"), number(found, "found"),
           json_array_size(json_object_get(found, "missing")),
           json_array_size(json_object_get(found, "twice")),
           json_array_size(json_object_get(found, "quarantined")),
           json_array_size(json_object_get(found, "invalid")));
}

static void print_json(const json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
    putchar('\n');
}

/* Looking ------------------------------------------------------------------------------------------ */

/* Partitions to look at: those of the settings, and those that the database knows besides. */
static bool count_partitions(PGconn *connection, unsigned *count, struct error *error)
{
    PGresult *row = postgres_query(
        connection, "select coalesce(max(partition) + 1, 0) from kudos.watermarks", 0, NULL, error);
    unsigned known = row ? (unsigned)strtoul(PQgetvalue(row, 0, 0), NULL, 10) : 0;

    PQclear(row);
    if (known > *count)
        *count = known < PARTITIONS_MAX ? known : PARTITIONS_MAX;
    return row != NULL;
}

static bool is_bad(const json_t *of)
{
    return json_array_size(json_object_get(of, "problems")) > 0;
}

static json_t *look_at_all(PGconn *connection, struct redis *redis, unsigned partitions,
                           struct error *error)
{
    json_t *partition, *database, *list = json_array();
    json_t *document = json_pack("{s:b, s:o}", "consistent", 1, "partitions", list);
    bool bad = false;

    assert(document);
    for (unsigned i = 0; i < partitions; i++) {
        partition = verify_partition(connection, redis, i, error);
        if (!partition)
            goto fail;
        bad = bad || is_bad(partition);
        json_array_append_new(list, partition);
    }
    database = verify_database(connection, error);
    if (!database)
        goto fail;
    bad = bad || is_bad(database);
    json_object_set_new(document, "clicks", database);
    json_object_set_new(document, "consistent", json_boolean(!bad));
    return document;
fail:
    json_decref(document);
    return NULL;
}

/* The usual run. Returns the exit status. */
static int verify_all(PGconn *connection, const struct settings *settings, bool json,
                      struct error *error)
{
    struct redis *redis = redis_open(settings->redis_url, REDIS_TIMEOUT_MS, error);
    unsigned partitions = (unsigned)settings->partitions;
    json_t *document = NULL, *partition;
    size_t i;
    bool consistent;

    if (redis && count_partitions(connection, &partitions, error))
        document = look_at_all(connection, redis, partitions, error);
    redis_close(redis);
    if (!document)
        return 2;
    consistent = json_is_true(json_object_get(document, "consistent"));
    if (json) {
        print_json(document);
    } else {
        json_array_foreach(json_object_get(document, "partitions"), i, partition)
        {
            print_partition(partition);
        }
        print_database(json_object_get(document, "clicks"));
        printf("%s\n", consistent ? "consistent" : "NOT consistent");
    }
    json_decref(document);
    return consistent ? 0 : 1;
}

static int verify_file(PGconn *connection, const struct settings *settings, const char *path,
                       bool json, struct error *error)
{
    unsigned char secret[CLICK_ID_SECRET_BYTES];
    char secret_path[SETTING_TEXT_MAX + 16];
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "r");
    json_t *found = NULL;
    bool good;

    snprintf(secret_path, sizeof secret_path, "%s/secret", settings->data_dir);
    if (settings->secret_file[0])
        snprintf(secret_path, sizeof secret_path, "%s", settings->secret_file);
    if (!file)
        error_set(error, "cannot open %s", path);
    else if (access(secret_path, R_OK) != 0) /* loading would make one */
        error_set(error, "cannot read the secret %s", secret_path);
    else if (click_id_load_secret(secret_path, secret, error))
        found = verify_clicks(connection, file, secret, error);
    if (file && file != stdin)
        fclose(file);
    if (!found)
        return 2;
    good = json_array_size(json_object_get(found, "missing")) == 0 &&
           json_array_size(json_object_get(found, "twice")) == 0 &&
           json_array_size(json_object_get(found, "invalid")) == 0;
    if (json)
        print_json(found);
    else
        print_ids(found);
    json_decref(found);
    return good ? 0 : 1;
}

static int usage(void)
{
    fprintf(stderr, "usage: kudos verify [--clicks FILE] [--json]\n");
    return 2;
}

int verify_command(int argc, char **argv, const struct settings *settings)
{
    struct error error = {""};
    const char *path = NULL;
    bool json = false;
    PGconn *connection;
    int status = 2;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = true;
        else if (strcmp(argv[i], "--clicks") == 0 && i + 1 < argc)
            path = argv[++i];
        else
            return usage();
    }
    connection = postgres_connect(settings->database_url, "kudos-verify", &error);
    if (connection)
        status = path ? verify_file(connection, settings, path, json, &error)
                      : verify_all(connection, settings, json, &error);
    if (status == 2)
        fprintf(stderr, "kudos verify: could not look: %s\n", error.text);
    PQfinish(connection);
    return status;
}
