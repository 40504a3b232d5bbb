#pragma once
/* Lists as files: every list as CSV or NDJSON, the codes of a campaign as shops take them, its QR
 * codes. See export.c for how, README.md for the API. */
#include "server/admin/request/request.h"

#define EXPORT_PAGE_ROWS 500

/* GET of a list with ".csv" or ".ndjson" behind it, with the list's filters. */
void export_on_list(struct request *request);

/* GET /v1/campaigns/{id}/codes/shopify.csv, …/codes/woocommerce.csv, …/qr.csv */
void export_on_shopify(struct request *request);
void export_on_woocommerce(struct request *request);
void export_on_qr(struct request *request);
