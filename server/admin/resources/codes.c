/* /v1/codes. See fields.h for how the table below becomes SQL, README.md for the API.
 *
 * A code exists in the shop; here it says whose it is. It is unique in its workspace whatever the
 * case, for good: a sale may name it long after. */
#include "server/admin/resources/codes.h"

#include <string.h>

#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"

static bool check_percent(struct value *value, struct error *error)
{
    const char *point = strchr(value->text, '.');

    if (*value->text == '-' || strcmp(value->text, "0") == 0 || strchr(value->text, 'e'))
        return error_set(error, "must be more than 0 and at most 100");
    return !point || strlen(point + 1) <= 2 ||
           error_set(error, "must have at most two digits behind the point");
}

/* What can be typed without doubt: no spaces. */
static bool check_code(struct value *value, struct error *error)
{
    for (const char *c = value->text; *c; c++) {
        if ((unsigned char)*c <= 0x20 || *c == 0x7f)
            return error_set(error, "must not contain spaces or control characters");
    }
    return true;
}

#define MONEY(field, text)                                                            \
    {                                                                                 \
        .name = field, .type = FIELD_MONEY, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .column = field, .what = text                                                 \
    }
#define LIMIT(field, text)                                                              \
    {                                                                                   \
        .name = field, .type = FIELD_INTEGER, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .lowest = 1, .highest = INT64_MAX, .column = field, .what = text                \
    }

static const struct field code_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the code"},
    {.name = "code",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE | FIELD_REQUIRED | FIELD_FILTER,
     .longest = 64,
     .check = check_code,
     .column = "code",
     .filter = "lower(t.code) = lower(@::text)",
     .what = "What buyers type; unique in the workspace whatever the case"},
    {.name = "campaign",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "campaign_id",
     .value = NAMED_CAMPAIGN,
     .what = "Campaign that it belongs to: its id or slug"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "influencer_id",
     .value = NAMED_INFLUENCER,
     .what = "Influencer who gives it out: their id or handle"},
    {.name = "percent",
     .type = FIELD_NUMBER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .lowest = 0,
     .highest = 100,
     .check = check_percent,
     .column = "percent",
     .what = "Discount in percent; at most one of percent, amount and free_shipping"},
    MONEY("amount", "Discount in money"),
    {.name = "free_shipping",
     .type = FIELD_BOOL,
     .flags = FIELD_WRITABLE,
     .column = "free_shipping",
     .missing = "false",
     .what = "Whether the discount is free shipping"},
    {.name = "starts_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "starts_at",
     .what = "Before this it is not honoured"},
    {.name = "ends_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "ends_at",
     .what = "From then on it is not honoured"},
    LIMIT("max_uses", "How often it may be used in all"),
    LIMIT("max_uses_per_customer", "How often one customer may use it"),
    MONEY("minimum_order", "Least value of an order"),
    {.name = "status",
     .type = FIELD_TEXT,
     .flags = FIELD_WRITABLE,
     .choices = "active disabled archived",
     .column = "status",
     .value = "@::kudos.code_status",
     .missing = "'active'",
     .what = "active, disabled or archived"},
    EXTERNAL_ID("code"),
    TAGS,
    NOTES,
    CREATED_AND_UPDATED,
};

static void check(struct request *request, struct change *change, unsigned use)
{
    const struct value *free_shipping = change_value(change, "free_shipping");
    const struct value *from = change_value(change, "starts_at");
    const struct value *until = change_value(change, "ends_at");
    int kinds = !!change_value(change, "percent")->text + !!change_value(change, "amount")->text +
                (free_shipping->text && *free_shipping->text == 't');

    (void)use;
    if (kinds > 1)
        request_bad_field(request, "/percent",
                          "there is at most one of percent, amount and free_shipping");
    if (from->text && until->text && until->us <= from->us)
        request_bad_field(request, "/ends_at", "must be later than starts_at");
}

struct resource codes_resource = {
    .name = "code",
    .path = "/v1/codes",
    .table = "kudos.codes",
    .fields = code_fields,
    .count = sizeof code_fields / sizeof code_fields[0],
    .status = "status",
    .external = "external_id",
    .filters = {FILTER_TAG},
    .uniques = {{"codes_code", "/code", "code-taken",
                 "is taken in this workspace, whatever the case (archived codes stay taken)"},
                {"codes_external", "/external_id", "external-id-taken", "another code has it"}},
    .example = "{\"code\": \"ANNA20\", \"campaign\": \"spring-launch\", \"influencer\": \"anna\","
               " \"percent\": 20}",
    .example_change = "{\"max_uses\": 1000}",
    .check = check,
};
