/* /v1/erasures. See erasures.h. */
#include "server/admin/resources/erasures.h"

#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"

static const struct field erasure_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the erasure"},
    {.name = "kind", .column = "kind", .what = "customer or influencer"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_CREATE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "influencer_id",
     .value = NAMED_INFLUENCER,
     .what = "Whose contact data are to go: their id or handle"},
    {.name = "customer",
     .flags = FIELD_CREATE | FIELD_NULLABLE | FIELD_HIDDEN,
     .longest = 320,
     .column = "subject",
     .read = "null::text",
     .what = "Reference of the customer that is to go, as it was told with conversions"},
    {.name = "erased",
     .type = FIELD_JSON,
     .column = "erased",
     .what = "How many rows were changed or deleted, by table"},
    {.name = "remaining",
     .type = FIELD_JSON,
     .column = "remaining",
     .what = "How many rows still hold it, counted afterwards: all 0"},
    {.name = "created_at", .type = FIELD_TIME, .column = "created_at", .what = "When"},
};

static void check(struct request *request, struct change *change, unsigned use)
{
    const struct value *influencer = change_value(change, "influencer");
    const struct value *customer = change_value(change, "customer");

    (void)use;
    if (!(influencer->text || influencer->name) == !customer->text && !request_is_bad(request))
        request_bad_field(request, "", "needs exactly one of influencer and customer");
}

struct resource erasures_resource = {
    .name = "erasure",
    .path = "/v1/erasures",
    .table = "kudos.erasures",
    .fields = erasure_fields,
    .count = sizeof erasure_fields / sizeof erasure_fields[0],
    .example = "{\"customer\": \"maria@example.com\"}",
    .check = check,
};
