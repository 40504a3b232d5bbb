/* See money.h. */
#include "server/admin/fields/money.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/fields/fields.h"

static bool read_minor(const json_t *json, int64_t *minor, struct error *error)
{
    *minor = json_integer_value(json);
    if (!json_is_integer(json))
        return error_set(error, "must be a whole number of minor units (cents)");
    return (*minor <= MONEY_MINOR_MAX && *minor >= -MONEY_MINOR_MAX) ||
           error_set(error, "is too large");
}

static bool read_decimal(const json_t *json, const char *currency, int64_t *minor,
                         struct error *error)
{
    int digits = money_digits(currency);

    if (!json_is_string(json))
        return error_set(error, "must be a decimal number in a string, such as \"12.50\"");
    return money_from_decimal(json_string_value(json), digits, minor) ||
           error_set(error, "must be a decimal number with at most %d digits behind the point",
                     digits);
}

bool money_parse(const json_t *object, struct money *out, const char **member, struct error *error)
{
    const json_t *minor = json_object_get(object, "amount_minor");
    const json_t *amount = json_object_get(object, "amount");
    const char *currency = json_string_value(json_object_get(object, "currency")), *name;
    json_t *each;

    *member = "";
    if (!json_is_object(object))
        return error_set(error, "must be an object with amount_minor or amount, and currency");
    json_object_foreach((json_t *)(uintptr_t)object, name, each)
    {
        if (strcmp(name, "amount_minor") != 0 && strcmp(name, "amount") != 0 &&
            strcmp(name, "currency") != 0)
            return error_set(error, "takes amount_minor or amount, and currency, nothing else");
    }
    if (!minor == !amount)
        return error_set(error, "needs exactly one of amount_minor and amount");
    *member = "currency";
    if (!currency || money_digits(currency) < 0)
        return error_set(error, "must be a currency (ISO 4217) such as \"EUR\"");
    memcpy(out->currency, currency, sizeof out->currency);
    *member = minor ? "amount_minor" : "amount";
    return minor ? read_minor(minor, &out->minor, error)
                 : read_decimal(amount, currency, &out->minor, error);
}

bool money_read(const json_t *json, struct value *value, struct error *error)
{
    const char *member;
    struct money money = {0};
    bool good = money_parse(json, &money, &member, error);

    if (good && money.minor < 0)
        good = error_set(error, "must not be negative");
    if (!good) {
        if (*member)
            value_at(value, member);
        return false;
    }
    if (asprintf(&value->text, "{\"amount_minor\":%" PRId64 ",\"currency\":\"%s\"}", money.minor,
                 money.currency) < 0)
        return error_set(error, "cannot be read: out of memory");
    return true;
}
