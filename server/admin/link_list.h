#pragma once
/* GET /v1/links: filters and pages.
 *
 * Newest first, by id. A cursor names the last link shown, so links that are added meanwhile move
 * nothing: every link that was there at the first page is shown exactly once. */
#include "server/admin/fields.h"

#define LIST_LIMIT_DEFAULT 100
#define LIST_LIMIT_MAX     1000

/* Answers {"items": […], "next_cursor": …}. Ends the request. */
void link_list(struct request *request, const struct resource *links);

/* A cursor for "after id" and back; false for anything that cursor_make() did not make. */
#define CURSOR_MAX 48
void cursor_make(uint64_t id, char out[CURSOR_MAX]);
bool cursor_read(const char *cursor, uint64_t *id);
