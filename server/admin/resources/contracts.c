/* /v1/contracts and /v1/payouts. See fields.h for how the tables below become SQL. What is kept here
 * are terms and statements; what was earned by them is counted elsewhere. */
#include "server/admin/resources/contracts.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/admin/fields/money.h"
#include "server/admin/fields/named.h"
#include "server/admin/fields/resource.h"
#include "server/admin/request/input.h"

#define ENTRIES_MAX  50   /* tiers, bonuses */
#define LINES_MAX    1000 /* of a statement */
#define LINE_LONGEST 400

/* --- arrays of terms --- */

/* Reads one entry into its normal form; NULL with the reason. */
typedef json_t *entry_reader(json_t *entry, struct error *error);

static bool check_entries(struct value *value, entry_reader *read, struct error *error)
{
    json_t *given = json_loads(value->text, 0, NULL), *list = json_array(), *entry = NULL;
    bool good = json_is_array(given) && json_array_size(given) <= ENTRIES_MAX;
    char index[24];

    if (!good)
        error_set(error, "must be an array of at most %d entries", ENTRIES_MAX);
    for (size_t i = 0; good && i < json_array_size(given); i++) {
        entry = read(json_array_get(given, i), error);
        good = entry && json_array_append_new(list, entry) == 0;
        snprintf(index, sizeof index, "%zu", i);
        if (!good)
            value_at(value, index);
    }
    if (good) {
        free(value->text);
        value->text = json_dumps(list, JSON_COMPACT);
        good = value->text || error_set(error, "cannot be read: out of memory");
    }
    json_decref(given);
    json_decref(list);
    return good;
}

static bool has_only(json_t *entry, const char *names, struct error *error)
{
    const struct field members = {.choices = names};
    const char *name;
    json_t *member;

    if (!json_is_object(entry))
        return error_set(error, "must be an object");
    json_object_foreach(entry, name, member)
    {
        if (!field_is_choice(&members, name, error))
            return error_set(error, "takes only: %s", names);
    }
    return true;
}

/* Money of 0 or more in its normal form; NULL with the reason. */
static json_t *read_money(const json_t *json, const char *name, struct error *error)
{
    struct value value = {0};
    struct error reason;
    json_t *money;

    if (!money_read(json, &value, &reason)) {
        error_set(error, "%s: %s %s", name, value.below[0] ? value.below + 1 : "", reason.text);
        return NULL;
    }
    money = json_loads(value.text, 0, NULL);
    free(value.text);
    return money;
}

/* {"from", "per_sale" or "revenue_share"} */
static json_t *read_tier(json_t *entry, struct error *error)
{
    json_t *from = json_object_get(entry, "from"), *share = json_object_get(entry, "revenue_share");
    json_t *per_sale = json_object_get(entry, "per_sale"), *money;

    if (!has_only(entry, "from per_sale revenue_share", error))
        return NULL;
    if (!json_is_integer(from) || json_integer_value(from) < 0 || !per_sale == !share) {
        error_set(error, "needs from (a number of sales) and one of per_sale and revenue_share");
        return NULL;
    }
    if (share) {
        double percent = json_number_value(share);

        if (json_is_number(share) && percent > 0 && percent <= 100)
            return json_pack("{s:O, s:O}", "from", from, "revenue_share", share);
        error_set(error, "revenue_share must be a percentage, more than 0 and at most 100");
        return NULL;
    }
    money = read_money(per_sale, "per_sale", error);
    return money ? json_pack("{s:O, s:o}", "from", from, "per_sale", money) : NULL;
}

/* {"target", "from", "amount"} */
static json_t *read_bonus(json_t *entry, struct error *error)
{
    const char *target = json_string_value(json_object_get(entry, "target"));
    json_t *from = json_object_get(entry, "from"), *amount = json_object_get(entry, "amount");
    json_t *money;

    if (!has_only(entry, "target from amount", error))
        return NULL;
    if (!target || (strcmp(target, "clicks") != 0 && strcmp(target, "leads") != 0 &&
                    strcmp(target, "sales") != 0 && strcmp(target, "reach") != 0)) {
        error_set(error, "target must be clicks, leads, sales or reach");
        return NULL;
    }
    if (!json_is_integer(from) || json_integer_value(from) < 1) {
        error_set(error, "from must be a whole number, 1 or more");
        return NULL;
    }
    money = read_money(amount, "amount", error);
    return money ? json_pack("{s:s, s:O, s:o}", "target", target, "from", from, "amount", money)
                 : NULL;
}

static bool check_tiers(struct value *value, struct error *error)
{
    return check_entries(value, read_tier, error);
}

static bool check_bonuses(struct value *value, struct error *error)
{
    return check_entries(value, read_bonus, error);
}

#define ENTRIES "{\"type\": \"array\", \"items\": {\"type\": \"object\"}}"

/* --- contracts --- */

#define MONEY(field, text)                                                            \
    {                                                                                 \
        .name = field, .type = FIELD_MONEY, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .column = field, .what = text                                                 \
    }
#define DATE(field, text)                                                            \
    {                                                                                \
        .name = field, .type = FIELD_DATE, .flags = FIELD_WRITABLE | FIELD_NULLABLE, \
        .column = field, .what = text                                                \
    }
#define LONG_TEXT(field, text)                                                                   \
    {                                                                                            \
        .name = field, .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LINES, .longest = 65536, \
        .column = field, .what = text                                                            \
    }
#define DAYS(field, usual, text)                                                    \
    {                                                                               \
        .name = field, .type = FIELD_INTEGER, .flags = FIELD_WRITABLE, .lowest = 0, \
        .highest = 366, .column = field, .missing = usual, .what = text             \
    }
#define INFLUENCER                                                                      \
    {                                                                                   \
        .name = "influencer", .type = FIELD_REFERENCE,                                  \
        .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_LOOKUP | FIELD_FILTER,           \
        .longest = NAMED_LONGEST, .column = "influencer_id", .value = NAMED_INFLUENCER, \
        .what = "With whom: their id or handle"                                         \
    }
#define CAMPAIGN                                                                    \
    {                                                                               \
        .name = "campaign", .type = FIELD_REFERENCE,                                \
        .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,     \
        .longest = NAMED_LONGEST, .column = "campaign_id", .value = NAMED_CAMPAIGN, \
        .what = "For which campaign: its id or slug"                                \
    }

static const struct field contract_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the contract"},
    INFLUENCER,
    CAMPAIGN,
    MONEY("flat_fee", "Paid once whatever comes"),
    MONEY("per_click", "Paid for each billable click"),
    MONEY("per_lead", "Paid for each lead"),
    MONEY("per_sale", "Paid for each sale"),
    {.name = "revenue_share",
     .type = FIELD_NUMBER,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .lowest = 0,
     .highest = 100,
     .column = "revenue_share",
     .what = "Percent of the revenue"},
    {.name = "tiers",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 16384,
     .check = check_tiers,
     .column = "tiers",
     .missing = "'[]'",
     .what = "Other terms from a number of sales on: from, and per_sale or revenue_share",
     .schema = ENTRIES},
    {.name = "bonuses",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 16384,
     .check = check_bonuses,
     .column = "bonuses",
     .missing = "'[]'",
     .what = "Paid once a target is reached: target (clicks, leads, sales, reach), from, amount",
     .schema = ENTRIES},
    MONEY("cap", "The most that is paid in all"),
    LONG_TEXT("deliverables", "What the influencer does"),
    LONG_TEXT("otherwise", "What happens if they do not"),
    DAYS("payment_days", "30", "Days from a statement to its due date"),
    DAYS("holding_days", "0", "Days that earnings are held back for refunds"),
    DATE("starts_on", "First day"),
    DATE("ends_on", "Last day"),
    DATE("signed_on", "Day of signature"),
    {.name = "status",
     .flags = FIELD_WRITABLE,
     .choices = "draft active ended archived",
     .column = "status",
     .value = "@::kudos.contract_status",
     .missing = "'draft'",
     .what = "draft, active, ended or archived"},
    EXTERNAL_ID("contract"),
    NOTES,
    CREATED_AND_UPDATED,
};

struct resource contracts_resource = {
    .name = "contract",
    .path = "/v1/contracts",
    .table = "kudos.contracts",
    .fields = contract_fields,
    .count = sizeof contract_fields / sizeof contract_fields[0],
    .status = "status",
    .external = "external_id",
    .uniques = {{"contracts_external", "/external_id", "external-id-taken",
                 "another contract has it"},
                {"contracts_dates", "/ends_on", "invalid", "must not be before starts_on"},
                {"contracts_revenue_share_check", "/revenue_share", "invalid",
                 "must be more than 0 and at most 100"}},
    .example = "{\"influencer\": \"anna\", \"campaign\": \"spring-launch\","
               " \"flat_fee\": {\"amount\": \"500.00\", \"currency\": \"EUR\"},"
               " \"revenue_share\": 8, \"tiers\": [{\"from\": 100, \"revenue_share\": 10}],"
               " \"cap\": {\"amount\": \"5000\", \"currency\": \"EUR\"},"
               " \"deliverables\": \"2 reels, 3 stories\", \"payment_days\": 14,"
               " \"holding_days\": 30}",
    .example_change = "{\"status\": \"active\", \"signed_on\": \"2027-02-20\"}",
};

/* --- payouts --- */

static bool check_currency(struct value *value, struct error *error)
{
    return money_digits(value->text) >= 0 ||
           error_set(error, "must be a currency (ISO 4217) such as \"EUR\"");
}

/* {"text", "amount_minor" or "amount"} in the payout's currency, which must be known for the latter. */
static json_t *read_line(json_t *line, const char *currency, struct error *error)
{
    const char *text = json_string_value(json_object_get(line, "text")), *member;
    struct money money = {0};
    json_t *copy;
    bool good;

    if (!has_only(line, "text amount_minor amount", error))
        return NULL;
    if (!text || !*text || strlen(text) > LINE_LONGEST || input_has_control(text, strlen(text))) {
        error_set(error, "text must have 1 to %d bytes", LINE_LONGEST);
        return NULL;
    }
    if (!currency && json_object_get(line, "amount")) {
        error_set(error, "amount needs the currency to be given with it; or give amount_minor");
        return NULL;
    }
    copy = json_copy(line);
    json_object_del(copy, "text");
    json_object_set_new(copy, "currency", json_string(currency ? currency : "EUR"));
    good = money_parse(copy, &money, &member, error);
    json_decref(copy);
    return good ? json_pack("{s:s, s:I}", "text", text, "amount_minor", (json_int_t)money.minor)
                : NULL;
}

/* Of a payout that is made: from a contract's statement, or for somebody by hand. */
static void check_payee(struct request *request, struct change *change, bool has_lines)
{
    const struct value *influencer = change_value(change, "influencer");
    const struct value *contract = change_value(change, "contract");
    const char *from_statement = change_value(change, "from_statement")->text;

    if (!from_statement || strcmp(from_statement, "true") != 0) {
        if (!influencer->given)
            request_bad_field(request, "/influencer", "is required");
        return;
    }
    if (!contract->text && !contract->name)
        request_bad_field(request, "/contract", "is required: whose statement");
    if (has_lines)
        request_bad_field(request, "/lines", "are made from the statement");
}

static void check_payout(struct request *request, struct change *change, unsigned use)
{
    const struct value *lines = change_value(change, "lines");
    json_t *given = lines->text ? json_loads(lines->text, 0, NULL) : NULL, *list = json_array();
    struct error error;
    char pointer[48];

    if (use == FIELD_CREATE)
        check_payee(request, change, lines->text != NULL);
    if (lines->text && (!json_is_array(given) || json_array_size(given) > LINES_MAX))
        request_bad_field(request, "/lines", "must be an array of at most %d lines", LINES_MAX);
    for (size_t i = 0; i < json_array_size(given) && i < LINES_MAX; i++) {
        json_t *line =
            read_line(json_array_get(given, i), change_value(change, "currency")->text, &error);

        snprintf(pointer, sizeof pointer, "/lines/%zu", i);
        if (line)
            json_array_append_new(list, line);
        else
            request_bad_field(request, pointer, "%s", error.text);
    }
    if (lines->text)
        change_set(change, "lines", json_dumps(list, JSON_COMPACT));
    json_decref(given);
    json_decref(list);
}

static const struct field payout_fields[] = {
    {.name = "id", .type = FIELD_INTEGER, .column = "id", .what = "Number of the payout"},
    {.name = "influencer",
     .type = FIELD_REFERENCE,
     .flags = FIELD_CREATE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "influencer_id",
     .value = NAMED_INFLUENCER,
     .what = "Who is paid: their id or handle; with from_statement as the contract says"},
    {.name = "contract",
     .type = FIELD_REFERENCE,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE | FIELD_LOOKUP | FIELD_FILTER,
     .longest = NAMED_LONGEST,
     .column = "contract_id",
     .value = NAMED("kudos.contracts", "external_id = #::text"),
     .what = "By which contract: its id or external_id"},
    CAMPAIGN,
    {.name = "from_statement",
     .type = FIELD_BOOL,
     .flags = FIELD_CREATE | FIELD_FILTER,
     .column = "from_statement",
     .missing = "false",
     .what = "Take what the contract has earned up to period_to (today) and no payout has yet: its "
             "lines are made, and stay as they are"},
    {.name = "currency",
     .flags = FIELD_CREATE | FIELD_REQUIRED | FIELD_FILTER,
     .check = check_currency,
     .column = "currency",
     .what = "Currency of all lines (ISO 4217)"},
    {.name = "lines",
     .type = FIELD_JSON,
     .flags = FIELD_WRITABLE,
     .longest = 524288,
     .column = "lines",
     .missing = "'[]'",
     .what = "What it is made of: text, and amount_minor or amount; below zero is taken back",
     .schema = ENTRIES},
    {.name = "total",
     .type = FIELD_MONEY,
     .read = "jsonb_build_object('amount_minor', t.total_minor, 'currency', t.currency)::text",
     .what = "Sum of the lines"},
    DATE("period_from", "First day that it is for"),
    DATE("period_to", "Last day that it is for"),
    DATE("due_on", "When it must be paid"),
    {.name = "paid_at",
     .type = FIELD_TIME,
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .column = "paid_at",
     .what = "When it was paid"},
    {.name = "reference",
     .flags = FIELD_WRITABLE | FIELD_NULLABLE,
     .longest = 400,
     .column = "reference",
     .what = "What the bank transfer says"},
    {.name = "status",
     .flags = FIELD_WRITABLE,
     .choices = "open approved paid cancelled archived",
     .column = "status",
     .value = "@::kudos.payout_status",
     .missing = "'open'",
     .what = "open, approved, paid, cancelled or archived"},
    EXTERNAL_ID("payout"),
    NOTES,
    CREATED_AND_UPDATED,
};

struct resource payouts_resource = {
    .name = "payout",
    .path = "/v1/payouts",
    .table = "kudos.payouts",
    .fields = payout_fields,
    .count = sizeof payout_fields / sizeof payout_fields[0],
    .status = "status",
    .external = "external_id",
    .filters = {{"due_before", "t.due_on < @::date", "Only those due before this day", FIELD_DATE}},
    .uniques = {{"payouts_external", "/external_id", "external-id-taken", "another payout has it"},
                {"payouts_paid", "/paid_at", "invalid", "is needed for what is paid"},
                {"payouts_nothing_due", "/period_to", "nothing-due",
                 "nothing is due that is in no payout yet"},
                {"payouts_of_its_contract", "/contract", "invalid",
                 "is another influencer's or for another campaign"},
                {"payouts_frozen", "/lines", "frozen",
                 "it was made from a statement: what has changed since goes into the next payout"},
                {"payouts_over", "/status", "over",
                 "what is paid stays paid, and what is cancelled is made anew"},
                {"payouts_period", "/period_to", "invalid", "must not be before period_from"}},
    .example = "{\"influencer\": \"anna\", \"campaign\": \"spring-launch\", \"currency\": \"EUR\","
               " \"lines\": [{\"text\": \"Flat fee\", \"amount\": \"500.00\"},"
               " {\"text\": \"Refunds\", \"amount_minor\": -1250}], \"due_on\": \"2027-04-01\"}",
    .example_change = "{\"status\": \"paid\", \"paid_at\": \"2027-03-30T09:00:00Z\","
                      " \"reference\": \"KUDOS 17\"}",
    .check = check_payout,
};
