#pragma once
/* GET of a collection: filters and pages, for any resource.
 *
 * Newest first, by id. A cursor names the last row shown, so rows that are added meanwhile move
 * nothing: every row that was there at the first page is shown exactly once. Archived rows are shown
 * only when the resource's status is asked for. */
#include "server/admin/fields/fields.h"

#define LIST_LIMIT_DEFAULT 100
#define LIST_LIMIT_MAX     1000

/* The handler: answers {"items": […], "next_cursor": …}. Ends the request. */
void resource_on_list(struct request *request);

/* A piece of a statement, from "select … where t.workspace_id = $1::bigint and t.id < $2::bigint" on,
 * with the filters of the request's query, for a resource; parameters are added from *count on (the
 * caller has filled workspace and id). Notes bad parameters; `others` are names that the caller reads
 * itself ("limit cursor"). What was sent travels as parameters only. */
void list_put_where(FILE *out, struct request *request, const struct resource *resource,
                    const char *others, const char **parameters, int *count);

/* A cursor for "after id" and back; false for anything that cursor_make() did not make. */
#define CURSOR_MAX 48
void cursor_make(uint64_t id, char out[CURSOR_MAX]);
bool cursor_read(const char *cursor, uint64_t *id);
