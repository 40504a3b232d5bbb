/* Runs a compiled program; see rules.h and rules_format.h. Every read is checked against the end of
 * what it belongs to, and a rule that does not add up ends the search. */
#include <string.h>

#include "server/links/rules.h"
#include "server/links/rules_format.h"
#include "server/visitor/classes.h"

/* What is left of a piece of the program. */
struct cursor {
    const unsigned char *at, *end;
    bool bad;
};

static struct cursor cursor_of(struct text text)
{
    const unsigned char *bytes = (const unsigned char *)text.bytes;

    return (struct cursor){bytes, text.length ? bytes + text.length : bytes, false};
}

/* Inlined, so that reading a number of known size is one load: rules are walked for each click. */
static inline __attribute__((always_inline)) struct text take(struct cursor *cursor, size_t length)
{
    struct text text = {(const char *)cursor->at, length};

    if (cursor->bad || (size_t)(cursor->end - cursor->at) < length) {
        cursor->bad = true;
        return (struct text){NULL, 0};
    }
    cursor->at += length;
    return text;
}

static inline __attribute__((always_inline)) uint64_t take_number(struct cursor *cursor,
                                                                  size_t size)
{
    uint64_t number = 0;
    struct text bytes = take(cursor, size);

    if (bytes.bytes)
        memcpy(&number, bytes.bytes, size);
    return number;
}

/* Conditions ------------------------------------------------------------------------------------ */

static bool is_country(const struct click *click, struct text data)
{
    for (size_t i = 0; i + 2 <= data.length; i += 2)
        if (memcmp(data.bytes + i, click->country, 2) == 0)
            return true;
    return false;
}

/* "de" takes "de" and "de-AT", "pt-BR" only itself. */
static bool is_language(struct text language, struct text wanted)
{
    if (language.length > wanted.length && language.bytes[wanted.length] == '-')
        language.length = wanted.length;
    return text_same_nocase(language, wanted);
}

/* "US-CA" is region CA of country US. */
static bool is_region(const struct click *click, struct text wanted)
{
    return wanted.length > 3 && memcmp(wanted.bytes, click->country, 2) == 0 &&
           text_same_nocase(click->region, (struct text){wanted.bytes + 3, wanted.length - 3});
}

static bool is_text(enum condition kind, const struct click *click, struct text wanted)
{
    switch (kind) {
    case CONDITION_REGION: return is_region(click, wanted);
    case CONDITION_CITY: return text_same_nocase(click->city, wanted);
    default: return is_language(click->language, wanted);
    }
}

static bool is_any_text(enum condition kind, const struct click *click, struct text data)
{
    struct cursor cursor = cursor_of(data);

    while (cursor.at < cursor.end) {
        struct text wanted = take(&cursor, take_number(&cursor, 1));

        if (cursor.bad)
            return false;
        if (is_text(kind, click, wanted))
            return true;
    }
    return false;
}

/* Compares spellings as they are: a parameter is what its sender wrote. */
static bool has_parameter(struct text query, struct text data)
{
    struct cursor cursor = cursor_of(data);
    struct text name = take(&cursor, take_number(&cursor, 1));
    bool wants_value = take_number(&cursor, 1) != 0;
    struct text value = {(const char *)cursor.at, (size_t)(cursor.end - cursor.at)};

    while (!cursor.bad && query.length) {
        struct text parameter = text_cut(&query, '&');
        struct text key = text_cut(&parameter, '=');

        if (text_same(key, name) && (!wants_value || text_same(parameter, value)))
            return true;
    }
    return false;
}

static bool is_time(int64_t now_us, struct text data)
{
    struct cursor cursor = cursor_of(data);
    int64_t from_us = (int64_t)take_number(&cursor, 8), until_us = (int64_t)take_number(&cursor, 8);

    return !cursor.bad && now_us >= from_us && now_us < until_us;
}

static bool is_class(uint8_t class, struct text data)
{
    for (size_t i = 0; i < data.length; i++)
        if ((unsigned char)data.bytes[i] == class)
            return true;
    return false;
}

static bool holds(enum condition kind, struct text data, const struct rules_visitor *visitor)
{
    const struct click *click = visitor->click;

    switch (kind) {
    case CONDITION_DEVICE: return is_class(click->device, data);
    case CONDITION_OS: return is_class(click->os, data);
    case CONDITION_APP: return is_class(click->app, data);
    case CONDITION_PLATFORM: return is_class(click->platform, data);
    case CONDITION_VERDICT: return is_class(click->verdict, data);
    case CONDITION_COUNTRY: return is_country(click, data);
    case CONDITION_REGION:
    case CONDITION_CITY:
    case CONDITION_LANGUAGE: return is_any_text(kind, click, data);
    case CONDITION_QUERY: return has_parameter(visitor->query, data);
    case CONDITION_TIME: return is_time(visitor->now_us, data);
    }
    return false;
}

/* Whether all conditions hold; leaves `rule` behind them if so. */
static bool matches(struct cursor *rule, const struct rules_visitor *visitor)
{
    uint64_t count = take_number(rule, 1);

    for (uint64_t i = 0; i < count; i++) {
        enum condition kind = (enum condition)take_number(rule, 1);
        struct text data = take(rule, take_number(rule, 2));

        if (rule->bad || !holds(kind, data, visitor))
            return false;
    }
    return !rule->bad;
}

/* Actions --------------------------------------------------------------------------------------- */

static void take_target(struct cursor *cursor, struct rules_choice *out)
{
    uint64_t flags = take_number(cursor, 1), length = take_number(cursor, 2);

    out->fragment_offset = take_number(cursor, 2);
    out->destination = take(cursor, length);
    out->has_query = flags & TARGET_HAS_QUERY;
    out->is_template = flags & TARGET_IS_TEMPLATE;
    out->action = RULES_REDIRECT;
    if (out->fragment_offset > out->destination.length)
        cursor->bad = true;
}

static void take_split(struct cursor *cursor, uint64_t draw, struct rules_choice *out)
{
    uint64_t variants = take_number(cursor, 1);

    for (uint64_t i = 0; i < variants && !cursor->bad; i++) {
        uint64_t up_to = take_number(cursor, 1);

        take_target(cursor, out);
        out->variant = (uint8_t)(i + 1);
        if (draw % SPLIT_TOTAL < up_to)
            return;
    }
    cursor->bad = true;
}

/* The target for this system; RULES_NOTHING if there is none. */
static void take_app(struct cursor *cursor, const struct click *click, struct rules_choice *out)
{
    uint64_t there = take_number(cursor, 1), wanted = 0;

    if (click->os == OS_IOS)
        wanted = APP_IOS;
    else if (click->os == OS_ANDROID)
        wanted = click->app == CLASS_UNKNOWN ? APP_ANDROID : APP_ANDROID_STORE;
    if (!(there & wanted))
        return;
    for (uint64_t bit = APP_IOS; bit <= wanted; bit <<= 1)
        if (there & bit)
            take_target(cursor, out);
}

static void act(struct cursor *rule, const struct rules_visitor *visitor, struct rules_choice *out)
{
    switch ((enum action)take_number(rule, 1)) {
    case ACTION_GO: take_target(rule, out); break;
    case ACTION_SPLIT: take_split(rule, visitor->draw, out); break;
    case ACTION_APP: take_app(rule, visitor->click, out); break;
    case ACTION_BLOCK:
        out->status = (uint16_t)take_number(rule, 2);
        out->action = RULES_BLOCK;
        break;
    default: rule->bad = true;
    }
}

void rules_choose(struct text program, const struct rules_visitor *visitor,
                  struct rules_choice *out)
{
    struct cursor cursor = cursor_of(program);

    *out = (struct rules_choice){.action = RULES_NOTHING};
    for (uint16_t route = 1; cursor.at < cursor.end && route <= RULES_MAX; route++) {
        struct cursor rule = cursor_of(take(&cursor, take_number(&cursor, 2)));

        if (cursor.bad)
            return;
        if (!matches(&rule, visitor))
            continue;
        act(&rule, visitor, out);
        if (!rule.bad && out->action != RULES_NOTHING) {
            out->route = route;
            return;
        }
        *out = (struct rules_choice){.action = RULES_NOTHING};
        if (rule.bad)
            return;
    }
}
