/* See input.h. */
#include "server/admin/request/input.h"

#include <assert.h>
#include <ctype.h>

#include "shared/utf8.h"

bool input_is_utf8(const char *text, size_t length)
{
    uint32_t character;

    for (size_t at = 0, step; at < length; at += step) {
        step = utf8_decode(text + at, length - at, &character);
        if (step == 0)
            return false;
    }
    return true;
}

bool input_has_control(const char *text, size_t length)
{
    uint32_t character;

    for (size_t at = 0, step; at < length; at += step) {
        step = utf8_decode(text + at, length - at, &character);
        assert(step > 0);
        if (character < 0x20 || (character >= 0x7f && character < 0xa0))
            return true;
    }
    return false;
}

bool input_to_id(const char *text, uint64_t *out)
{
    uint64_t value = 0;

    if (*text < '1' || *text > '9')
        return false;
    for (; *text; text++) {
        unsigned digit = (unsigned)(*text - '0');

        if (digit > 9 || value > ((uint64_t)INT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* Reads exactly `digits` digits and then `end` (0: nothing more is looked at). */
static bool number(const char **text, int digits, char end, int lowest, int highest, int *out)
{
    *out = 0;
    for (int i = 0; i < digits; i++) {
        if (!isdigit((unsigned char)(*text)[0]))
            return false;
        *out = *out * 10 + (*(*text)++ - '0');
    }
    if (end && *(*text)++ != end)
        return false;
    return *out >= lowest && *out <= highest;
}

static int days_in(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of a date in the Gregorian calendar. */
static int64_t days_since_1970(int year, int month, int day)
{
    int64_t days = 0;

    for (int y = 1970; y < year; y++)
        days += 337 + days_in(y, 2);
    for (int m = 1; m < month; m++)
        days += days_in(year, m);
    return days + day - 1;
}

static bool fraction(const char **text, int64_t *us)
{
    int64_t unit = 100000;

    *us = 0;
    if (**text != '.')
        return true;
    (*text)++;
    if (!isdigit((unsigned char)**text))
        return false;
    for (int i = 0; isdigit((unsigned char)**text); (*text)++, i++, unit /= 10) {
        if (i == 9)
            return false;
        *us += (**text - '0') * unit;
    }
    return true;
}

static bool offset(const char **text, int64_t *seconds)
{
    int hour, minute, sign;

    *seconds = 0;
    if (**text == 'Z' || **text == 'z') {
        (*text)++;
        return true;
    }
    if (**text != '+' && **text != '-')
        return false;
    sign = *(*text)++ == '-' ? -1 : 1;
    if (!number(text, 2, ':', 0, 15, &hour) || !number(text, 2, 0, 0, 59, &minute))
        return false;
    *seconds = sign * (hour * 3600 + minute * 60);
    return true;
}

bool input_to_time(const char *text, int64_t *us)
{
    int year, month, day, hour, minute, second;
    int64_t part, east;

    if (!number(&text, 4, '-', 1970, 9999, &year) || !number(&text, 2, '-', 1, 12, &month) ||
        !number(&text, 2, 0, 1, days_in(year, month), &day))
        return false;
    if (*text != 'T' && *text != 't')
        return false;
    text++;
    if (!number(&text, 2, ':', 0, 23, &hour) || !number(&text, 2, ':', 0, 59, &minute) ||
        !number(&text, 2, 0, 0, 59, &second) || !fraction(&text, &part) || !offset(&text, &east))
        return false;
    *us =
        ((days_since_1970(year, month, day) * 86400) + hour * 3600 + minute * 60 + second - east) *
            1000000 +
        part;
    return *text == '\0';
}

bool input_to_date(const char *text)
{
    int year, month, day;

    return number(&text, 4, '-', 1970, 9999, &year) && number(&text, 2, '-', 1, 12, &month) &&
           number(&text, 2, 0, 1, days_in(year, month), &day) && *text == '\0';
}
