/* See money.h. */
#include "shared/money.h"

#include <string.h>

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
