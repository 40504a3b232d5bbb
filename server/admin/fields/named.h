#pragma once
/* What several tables of fields have in common. */

#define NAMED_LONGEST 200   /* bytes of a handle, a name in another system … */
#define NOTES_LONGEST 16384 /* bytes */

/* SQL that finds another resource of the workspace by its id @ or its name #. "+ 0" keeps PostgreSQL,
 * while it has no statistics of a table that has just been filled, from reading all of the workspace
 * for one id. */
#define NAMED(table, name)                                                                       \
    "(select id from " table " where workspace_id + 0 = $1::bigint and id = coalesce(@::bigint," \
    " (select id from " table " where workspace_id = $1::bigint and " name ")))"
#define NAMED_CAMPAIGN   NAMED("kudos.campaigns", "slug = #::text")
#define NAMED_INFLUENCER NAMED("kudos.influencers", "lower(handle) = lower(#::text)")

/* Rows of many tables. */
#define CREATED_AND_UPDATED                                               \
    {.name = "created_at",                                                \
     .type = FIELD_TIME,                                                  \
     .column = "created_at",                                              \
     .what = "When it was made"},                                         \
    {                                                                     \
        .name = "updated_at", .type = FIELD_TIME, .column = "updated_at", \
        .what = "When it last changed"                                    \
    }
#define EXTERNAL_ID(thing)                                                                    \
    {                                                                                         \
        .name = "external_id", .type = FIELD_TEXT,                                            \
        .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_FILTER, .longest = NAMED_LONGEST,    \
        .column = "external_id",                                                              \
        .what = "Identity in another system: a POST with one that exists answers that " thing \
    }
#define TAGS                                                                           \
    {                                                                                  \
        .name = "tags", .type = FIELD_TAGS, .flags = FIELD_WRITABLE, .column = "tags", \
        .what = "Words to find it by"                                                  \
    }
#define NOTES                                                                             \
    {                                                                                     \
        .name = "notes", .type = FIELD_TEXT,                                              \
        .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LINES, .longest = NOTES_LONGEST, \
        .column = "notes", .what = "For people"                                           \
    }

#define FILTER_TAG                                                                \
    {                                                                             \
        .parameter = "tag", .sql = "t.tags <> '{}' and t.tags @> array[@::text]", \
        .what = "Only those that have this tag"                                   \
    }
