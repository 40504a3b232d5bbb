/* See timestamp.h. */
#include "shared/timestamp.h"

#include <time.h>

#include "shared/clock.h"

/* Takes `count` digits off the front. -1 if they are not there. */
static int take_digits(struct text *text, size_t count)
{
    int number = 0;

    if (text->length < count)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (!ascii_is_digit(text->bytes[i]))
            return -1;
        number = number * 10 + (text->bytes[i] - '0');
    }
    text->bytes += count;
    text->length -= count;
    return number;
}

static bool take_char(struct text *text, char wanted)
{
    if (text->length == 0 || ascii_lower(text->bytes[0]) != ascii_lower(wanted))
        return false;
    text->bytes++;
    text->length--;
    return true;
}

/* ".123456" and longer; what is finer than a microsecond is cut off. */
static bool take_fraction(struct text *text, int64_t *us)
{
    int64_t unit = US_PER_SECOND;

    *us = 0;
    if (!take_char(text, '.'))
        return true;
    if (text->length == 0 || !ascii_is_digit(text->bytes[0]))
        return false;
    while (text->length && ascii_is_digit(text->bytes[0])) {
        unit /= 10;
        *us += take_digits(text, 1) * unit;
    }
    return true;
}

static bool take_offset(struct text *text, int64_t *us)
{
    int sign, hours, minutes;

    *us = 0;
    if (take_char(text, 'Z'))
        return true;
    sign = take_char(text, '+') ? 1 : take_char(text, '-') ? -1 : 0;
    hours = take_digits(text, 2);
    if (sign == 0 || hours < 0 || hours > 23 || !take_char(text, ':'))
        return false;
    minutes = take_digits(text, 2);
    *us = sign * (hours * US_PER_HOUR + minutes * 60 * US_PER_SECOND);
    return minutes >= 0 && minutes <= 59;
}

static bool take_date(struct text *text, struct tm *tm)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year = take_digits(text, 4), month, day;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (year < 1970 || !take_char(text, '-') || (month = take_digits(text, 2)) < 1 || month > 12 ||
        !take_char(text, '-') || (day = take_digits(text, 2)) < 1 ||
        day > days[month - 1] + (leap && month == 2))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    return true;
}

static bool take_clock(struct text *text, struct tm *tm)
{
    tm->tm_hour = take_digits(text, 2);
    if (tm->tm_hour < 0 || tm->tm_hour > 23 || !take_char(text, ':'))
        return false;
    tm->tm_min = take_digits(text, 2);
    if (tm->tm_min < 0 || tm->tm_min > 59 || !take_char(text, ':'))
        return false;
    tm->tm_sec = take_digits(text, 2);
    return tm->tm_sec >= 0 && tm->tm_sec <= 59;
}

bool timestamp_parse(struct text text, int64_t *wall_us)
{
    struct tm tm = {.tm_isdst = 0};
    int64_t fraction_us, offset_us;

    if (!take_date(&text, &tm) || !(take_char(&text, 'T') || take_char(&text, ' ')) ||
        !take_clock(&text, &tm) || !take_fraction(&text, &fraction_us) ||
        !take_offset(&text, &offset_us) || text.length != 0)
        return false;
    *wall_us = timegm(&tm) * US_PER_SECOND + fraction_us - offset_us;
    return true;
}
