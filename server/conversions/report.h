#pragma once
/* A report of a conversion: from the members that somebody sent to the form that
 * kudos.record_conversion() takes. The same for all paths, so that a rule holds on all of them.
 *
 * Members: event (required), order_id, refund_id, external_id, amount (decimal text in major units)
 * or amount_minor (whole number), currency, click_id, click_ids (several, oldest first; the last one
 * is click_id, if that is absent), code, customer, occurred_at, items, metadata.
 * There is always something to know it by again, its key: a refund's refund_id; else the order_id,
 * the external_id or the click_id, the first that is there. */
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define REPORT_ID_MAX       255
#define REPORT_CLICK_MAX    128
#define REPORT_CLICKS_MAX   20
#define REPORT_CODE_MAX     64
#define REPORT_CUSTOMER_MAX 320
#define REPORT_JSON_MAX     16384 /* bytes of items, and of metadata */
#define REPORT_AHEAD_MAX_US (3600LL * 1000 * 1000)

/* Who tells it, and when. */
struct report_source {
    const char *path; /* of kudos.conversion_path: "api" … */
    bool verified;    /* they proved who they are */
    const unsigned char *secret;
    int64_t now_us;
};

/* Gets each thing that is wrong: a JSON pointer to the member, and what is allowed. */
typedef void report_problem(void *owner, const char *pointer, const char *text);

/* A new object with members named as the columns of kudos.conversions, `customer` as it was sent
 * (PostgreSQL hashes it), and `touches`, of each click id what its columns are called there without
 * "click_"; NULL if anything is wrong. A click id that is none of this service's is no
 * error: the sale happened; it is kept with its problem. */
json_t *report_make(const json_t *told, const struct report_source *source, report_problem *problem,
                    void *owner);
