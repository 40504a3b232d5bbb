/* See money.h. */
#include "server/admin/money.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/admin/fields.h"
#include "shared/text.h"

#define DIGITS_USUAL 2

/* ISO 4217: the currencies with another number of digits than two, then all others. */
static const char *const odd[] = {
    "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    "",
    "",
    "BHD IQD JOD KWD LYD OMR TND",
    "CLF UYW",
};
static const char usual[] =
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN "
    "BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP "
    "GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP "
    "LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR "
    "NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN "
    "SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XCD XCG YER ZAR "
    "ZMW ZWG";

/* True if `list` ("AAA BBB") has the code; it has only capitals. */
static bool lists(const char *list, const char *code)
{
    const char *at = strstr(list, code);

    return at && (at - list) % 4 == 0;
}

int money_digits(const char *currency)
{
    if (strlen(currency) != 3 || strspn(currency, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3)
        return -1;
    for (int digits = 0; digits < (int)(sizeof odd / sizeof odd[0]); digits++) {
        if (lists(odd[digits], currency))
            return digits;
    }
    return lists(usual, currency) ? DIGITS_USUAL : -1;
}

bool money_from_decimal(const char *text, int digits, int64_t *minor)
{
    bool negative = *text == '-', point = false;
    int64_t value = 0;
    int behind = 0;

    text += negative;
    if (!ascii_is_digit(*text))
        return false;
    for (; *text; text++) {
        if (*text == '.' && !point && digits > 0 && ascii_is_digit(text[1])) {
            point = true;
            continue;
        }
        if (!ascii_is_digit(*text) || (point && ++behind > digits))
            return false;
        value = value * 10 + (*text - '0');
        if (value > MONEY_MINOR_MAX)
            return false;
    }
    for (; behind < digits && value <= MONEY_MINOR_MAX; behind++)
        value *= 10;
    if (value > MONEY_MINOR_MAX)
        return false;
    *minor = negative ? -value : value;
    return true;
}

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
