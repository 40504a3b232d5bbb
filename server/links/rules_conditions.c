/* From "if" to conditions; see rules.h and rules_format.h. */
#include <string.h>

#include "server/links/rules_compiler.h"
#include "server/links/rules_format.h"
#include "server/visitor/classes.h"
#include "shared/timestamp.h"

/* Values of conditions -------------------------------------------------------------------------- */

static bool put_short_text(struct rules_compiler *compiler, struct text text)
{
    if (text.length == 0 || text.length > UINT8_MAX)
        return rules_refuse(compiler, "must have 1 to 255 bytes");
    rules_put_number(compiler, text.length, 1);
    rules_put(compiler, text.bytes, text.length);
    return true;
}

static uint8_t verdict_number(struct text name)
{
    for (int i = 0; i < VERDICT_COUNT; i++)
        if (text_equals_nocase(name, verdict_name((enum verdict)i)))
            return (uint8_t)i;
    return VERDICT_COUNT;
}

static bool put_class(struct rules_compiler *compiler, uint8_t (*number_of)(struct text),
                      struct text name)
{
    uint8_t number = number_of(name);
    bool is_unknown = text_equals_nocase(name, "unknown");

    if (number_of == verdict_number ? number == VERDICT_COUNT
                                    : number == CLASS_UNKNOWN && !is_unknown)
        return rules_refuse(compiler, "\"%.*s\" is no known name here", (int)name.length,
                            name.bytes);
    rules_put_number(compiler, number, 1);
    return true;
}

static bool put_device(struct rules_compiler *compiler, struct text name)
{
    return put_class(compiler, device_number, name);
}

static bool put_os(struct rules_compiler *compiler, struct text name)
{
    return put_class(compiler, os_number, name);
}

static bool put_app(struct rules_compiler *compiler, struct text name)
{
    return put_class(compiler, app_number, name);
}

static bool put_platform(struct rules_compiler *compiler, struct text name)
{
    return put_class(compiler, platform_number, name);
}

static bool put_verdict(struct rules_compiler *compiler, struct text name)
{
    return put_class(compiler, verdict_number, name);
}

static bool is_letters(struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        if (!ascii_is_alnum(text.bytes[i]) || ascii_is_digit(text.bytes[i]))
            return false;
    return true;
}

/* Two letters, in upper case. */
static bool put_country(struct rules_compiler *compiler, struct text code)
{
    if (code.length != 2 || !is_letters(code))
        return rules_refuse(compiler, "\"%.*s\" is no country: two letters (ISO 3166-1)",
                            (int)code.length, code.bytes);
    for (size_t i = 0; i < 2; i++)
        rules_put_number(compiler, (unsigned char)(ascii_lower(code.bytes[i]) - 32), 1);
    return true;
}

static bool put_region(struct rules_compiler *compiler, struct text code)
{
    struct text country = {code.bytes, 2};

    if (code.length < 4 || code.length > 2 + 1 + EVENT_REGION_MAX || code.bytes[2] != '-' ||
        !is_letters(country))
        return rules_refuse(compiler, "\"%.*s\" is no region: write US-CA (ISO 3166-2)",
                            (int)code.length, code.bytes);
    rules_put_number(compiler, code.length, 1);
    return put_country(compiler, country) &&
           (rules_put(compiler, code.bytes + 2, code.length - 2), true);
}

static bool put_city(struct rules_compiler *compiler, struct text name)
{
    return put_short_text(compiler, name);
}

static bool put_language(struct rules_compiler *compiler, struct text tag)
{
    for (size_t i = 0; i < tag.length; i++)
        if (!ascii_is_alnum(tag.bytes[i]) && tag.bytes[i] != '-')
            return rules_refuse(compiler, "\"%.*s\" is no language tag: write de or pt-BR",
                                (int)tag.length, tag.bytes);
    return put_short_text(compiler, tag);
}

static bool put_values(struct rules_compiler *compiler, const json_t *array,
                       bool (*put_value)(struct rules_compiler *, struct text))
{
    size_t count = json_array_size(array);

    if (!json_is_array(array) || count == 0 || count > RULE_VALUES_MAX)
        return rules_refuse(compiler, "must be an array of 1 to %d names", RULE_VALUES_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);

        rules_enter_index(compiler, i);
        if (!json_is_string(value))
            return rules_refuse(compiler, "must be a string");
        if (!put_value(compiler,
                       (struct text){json_string_value(value), json_string_length(value)}))
            return false;
        rules_leave(compiler);
    }
    return true;
}

/* Conditions ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum condition kind;
    bool (*put_value)(struct rules_compiler *, struct text);
} conditions[] = {
    {"device", CONDITION_DEVICE, put_device},
    {"os", CONDITION_OS, put_os},
    {"app", CONDITION_APP, put_app},
    {"platform", CONDITION_PLATFORM, put_platform},
    {"verdict", CONDITION_VERDICT, put_verdict},
    {"country", CONDITION_COUNTRY, put_country},
    {"region", CONDITION_REGION, put_region},
    {"city", CONDITION_CITY, put_city},
    {"language", CONDITION_LANGUAGE, put_language},
};
#define CONDITION_COUNT (sizeof conditions / sizeof conditions[0])

static size_t begin_condition(struct rules_compiler *compiler, enum condition kind)
{
    rules_put_number(compiler, kind, 1);
    return rules_begin_length(compiler);
}

/* One condition for each parameter: all of them must be there. Adds their number to `count`. */
static bool compile_query(struct rules_compiler *compiler, const json_t *object, unsigned *count)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object) || json_object_size(object) == 0 || json_object_size(object) > 10)
        return rules_refuse(compiler, "must be an object of 1 to 10 parameters");
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t began = begin_condition(compiler, CONDITION_QUERY);

        rules_enter(compiler, name);
        if (!json_is_string(value) && !json_is_null(value))
            return rules_refuse(compiler, "must be a string, or null if any value will do");
        if (!put_short_text(compiler, (struct text){name, strlen(name)}))
            return false;
        rules_put_number(compiler, json_is_string(value), 1);
        rules_put(compiler, json_is_string(value) ? json_string_value(value) : "",
                  json_string_length(value));
        rules_end_length(compiler, began);
        rules_leave(compiler);
        ++*count;
    }
    return true;
}

static bool take_time(struct rules_compiler *compiler, const json_t *object, const char *name,
                      int64_t *out)
{
    const json_t *value = json_object_get(object, name);

    if (!value)
        return true;
    rules_enter(compiler, name);
    if (!json_is_string(value) ||
        !timestamp_parse((struct text){json_string_value(value), json_string_length(value)}, out))
        return rules_refuse(compiler, "must be a time such as 2026-06-01T00:00:00Z");
    rules_leave(compiler);
    return true;
}

static bool compile_time(struct rules_compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"from", "until", NULL};
    int64_t from_us = INT64_MIN, until_us = INT64_MAX;
    size_t began = begin_condition(compiler, CONDITION_TIME);

    if (!rules_check_fields(compiler, object, known) ||
        !take_time(compiler, object, "from", &from_us) ||
        !take_time(compiler, object, "until", &until_us))
        return false;
    if (from_us >= until_us)
        return rules_refuse(compiler, "\"from\" must be before \"until\"");
    rules_put_number(compiler, (uint64_t)from_us, 8);
    rules_put_number(compiler, (uint64_t)until_us, 8);
    rules_end_length(compiler, began);
    return true;
}

bool rules_compile_conditions(struct rules_compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"device",   "os",      "app",    "platform",
                                        "verdict",  "country", "region", "city",
                                        "language", "query",   "time",   NULL};
    size_t at = compiler->length;
    unsigned count = 0;
    const json_t *value;

    rules_put_number(compiler, 0, 1);
    if (!rules_check_fields(compiler, object, known))
        return false;
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        size_t began;

        if (!(value = json_object_get(object, conditions[i].name)))
            continue;
        rules_enter(compiler, conditions[i].name);
        began = begin_condition(compiler, conditions[i].kind);
        if (!put_values(compiler, value, conditions[i].put_value))
            return false;
        rules_end_length(compiler, began);
        rules_leave(compiler);
        count++;
    }
    if ((value = json_object_get(object, "query"))) {
        rules_enter(compiler, "query");
        if (!compile_query(compiler, value, &count))
            return false;
        rules_leave(compiler);
    }
    if ((value = json_object_get(object, "time"))) {
        rules_enter(compiler, "time");
        if (!compile_time(compiler, value))
            return false;
        rules_leave(compiler);
        count++;
    }
    if (!compiler->full)
        compiler->out[at] = (unsigned char)count;
    return true;
}
