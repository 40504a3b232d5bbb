#pragma once
/* POST /v1/links/bulk/create, …/update, …/archive: up to BULK_ROWS_MAX links in one call. See bulk.c
 * for how, README.md for the API. */
#include "server/admin/request/request.h"
#include "shared/error.h"

#define BULK_ROWS_MAX   100000
#define BULK_BATCH_ROWS 1000 /* in one statement */
#define BULK_SLICE_ROWS 100  /* checked in one round of the loop */

/* Makes the statements; once, at start, after links_prepare(). */
bool bulk_prepare(struct error *error) MUST_CHECK;

/* POST /v1/links/import: links out of another service's export (import_map.h). */
void bulk_on_import(struct request *request);

/* POST /v1/posts/bulk/create, /v1/post-metrics/bulk/create */
void bulk_on_posts(struct request *request);
void bulk_on_post_metrics(struct request *request);

void bulk_on_create(struct request *request);
void bulk_on_update(struct request *request);
void bulk_on_archive(struct request *request);
