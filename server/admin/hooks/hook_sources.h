#pragma once
/* The sources of webhooks as the process that checks their signatures knows them.
 *
 * They are asked of PostgreSQL HOOK_SOURCES_EVERY_MS apart, and at once when this process changed one:
 * a new or rotated secret works, and a revoked source stops, within that time. What was learned last is
 * kept in <data_dir>/hook-sources (mode 0600), so that hooks are taken while PostgreSQL is away, also
 * after a restart.
 *
 * Not through the link replica, as salts go: edges would then hold the secrets of all shops although
 * they check none, and a machine that runs admin without sync could take no hooks. */
#include <stdbool.h>
#include <stdint.h>

#include "server/conversions/hook.h"
#include "server/conversions/hook_signature.h"

#define HOOK_SOURCES_EVERY_MS 250
#define HOOK_SOURCES_MAX      100000
#define HOOK_SOURCES_SECRETS  16 /* eight, and eight before them */

struct admin;
struct hook_sources;

struct hook_source {
    uint64_t id;
    uint64_t workspace;
    enum hook_shop shop;
    size_t secrets;     /* that are good now … */
    size_t all_secrets; /* … and those that are until previous_until_us */
    int64_t previous_until_us;
    struct text list[HOOK_SOURCES_SECRETS];
};

/* Reads what was kept, and begins to ask. */
struct hook_sources *hook_sources_new(struct admin *admin);
void hook_sources_free(struct hook_sources *sources);

/* Asks now: something was changed. */
void hook_sources_refresh(struct hook_sources *sources);

/* False until they have once been learned, from PostgreSQL or from the file. */
bool hook_sources_known(const struct hook_sources *sources);

/* NULL: there is none, or it was revoked. Valid until the loop's next round. */
const struct hook_source *hook_sources_find(const struct hook_sources *sources, uint64_t id);

/* What it may sign with at a time. */
struct hook_secrets hook_source_secrets(const struct hook_source *source, int64_t now_us);

/* Reads what PostgreSQL or the file says ({"version", "sources"}) into a new table; NULL if it is
 * something else. */
struct hook_table;
struct hook_table *hook_table_read(const char *json);
void hook_table_free(struct hook_table *table);
const struct hook_source *hook_table_find(const struct hook_table *table, uint64_t id);
const char *hook_table_version(const struct hook_table *table);
