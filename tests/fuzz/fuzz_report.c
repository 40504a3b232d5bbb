/* Reports of conversions: whatever JSON is sent, the outcome is a report or a reason, and a report has
 * what PostgreSQL relies on. */
#include <assert.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "server/conversions/click_id.h"
#include "server/conversions/report.h"

static void count_problem(void *owner, const char *pointer, const char *text)
{
    assert(pointer[0] == '/' && text[0]);
    ++*(int *)owner;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const unsigned char secret[CLICK_ID_SECRET_BYTES] = {1};
    const struct report_source source = {
        .path = "api", .verified = true, .secret = secret, .now_us = 1800000000000000};
    json_t *told = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, NULL);
    int problems = 0;

    if (json_is_object(told)) {
        json_t *report = report_make(told, &source, count_problem, &problems);
        assert(!report == (problems > 0));
        assert(!report || json_string_length(json_object_get(report, "key")) > 0);
        assert(!report || json_string_length(json_object_get(report, "event")) > 0);
        assert(!json_object_get(report, "amount_minor") == !json_object_get(report, "currency"));
        json_decref(report);
    }
    json_decref(told);
    return 0;
}
