#pragma once
/* What sync asks PostgreSQL. Included by sync.c alone. COPY takes no parameters: what its queries depend
 * on is set by source_set() before. */
#include "server/links/row.h"
#include "server/links/source.h"

#define LOOK_ROWS    256   /* changed rows that a poll reads at once */
#define COMPARE_ROWS 20000 /* rows of one chunk */

/* Visible rows whose stamp the snapshot `since` had not seen. A stamp in the future is not this server's:
 * it came with a restored dump, and the comparison has read the row. */
#define CHANGED(since)                                       \
    " where changed >= pg_snapshot_xmin(" since ")"          \
    " and changed < pg_snapshot_xmax(pg_current_snapshot())" \
    " and not pg_visible_in_snapshot(changed, " since ")"
#define SINCE             "current_setting('kudos.since')::pg_snapshot"
#define TEXT_OF(macro)    TEXT_OF_TOKEN(macro)
#define TEXT_OF_TOKEN(it) #it
#define COPY(query)       "copy (" query ") to stdout (format binary)"

static const char COPY_CHANGED_LINKS[] =
    COPY("select " ROW_LINK_COLUMNS ROW_LINK_FROM CHANGED(SINCE));
static const char COPY_CHANGED_DOMAINS[] =
    COPY("select " ROW_DOMAIN_COLUMNS " from kudos.domains" CHANGED(SINCE));
static const char COPY_LINKS[] =
    COPY("select " ROW_LINK_COLUMNS ROW_LINK_FROM " order by l.domain_id, l.slug_key");
static const char COPY_OWN_LINKS[] =
    COPY("select " ROW_LINK_OWN_COLUMNS " from kudos.links l order by l.domain_id, l.slug_key");
static const char COPY_LINK_IDS[] =
    COPY("select " ROW_LINK_ID_COLUMNS " from kudos.links order by id");
static const char COPY_DOMAINS[] =
    COPY("select " ROW_DOMAIN_COLUMNS " from kudos.domains order by id");
static const char COPY_CHUNK[] = COPY("select " ROW_LINK_COLUMNS ROW_LINK_FROM
                                      " where l.id > current_setting('kudos.after')::bigint"
                                      " order by l.id limit " TEXT_OF(COMPARE_ROWS));

enum look { LOOK_DOMAINS, LOOK_LINKS };
#define LOOK(query, table) query table CHANGED("$1::pg_snapshot") " limit " TEXT_OF(LOOK_ROWS)
static const char *const sync_looks[SOURCE_LOOKS] = {
    [LOOK_DOMAINS] = LOOK("select " ROW_DOMAIN_COLUMNS, " from kudos.domains"),
    [LOOK_LINKS] = LOOK("select " ROW_LINK_COLUMNS, ROW_LINK_FROM),
};
