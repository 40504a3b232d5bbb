/* From rules as a marketer writes them to a program; see rules.h and rules_format.h. Nothing is
 * guessed: an unknown field, class or shape is refused with the place where it stands. */
#include <assert.h>
#include <jansson.h>
#include <string.h>

#include "server/links/rules.h"
#include "server/links/rules_format.h"
#include "server/visitor/classes.h"
#include "shared/timestamp.h"

#define PACKAGE_MAX 200
#define DEPTH_MAX   8

struct compiler {
    unsigned char *out;
    size_t length;
    bool full;
    const struct target_values *values;
    bool (*is_own_host)(void *owner, struct text host);
    void *owner;
    struct rules_problem *problem;
    char path[DEPTH_MAX][24]; /* of the JSON pointer to what is looked at */
    int depth;
};

/* Problems -------------------------------------------------------------------------------------- */

static void enter(struct compiler *compiler, const char *name)
{
    assert(compiler->depth < DEPTH_MAX);
    snprintf(compiler->path[compiler->depth++], sizeof compiler->path[0], "%s", name);
}

static void enter_index(struct compiler *compiler, size_t index)
{
    char name[24];

    snprintf(name, sizeof name, "%zu", index);
    enter(compiler, name);
}

static void leave(struct compiler *compiler)
{
    assert(compiler->depth > 0);
    compiler->depth--;
}

static bool refuse(struct compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool refuse(struct compiler *compiler, const char *format, ...)
{
    struct rules_problem *problem = compiler->problem;
    size_t length = 0;
    va_list arguments;

    problem->pointer[0] = '\0';
    for (int i = 0; i < compiler->depth && length < sizeof problem->pointer; i++)
        length += (size_t)snprintf(problem->pointer + length, sizeof problem->pointer - length,
                                   "/%s", compiler->path[i]);
    va_start(arguments, format);
    vsnprintf(problem->error.text, sizeof problem->error.text, format, arguments);
    va_end(arguments);
    return false;
}

/* Refuses a field that is not in the list (which ends with NULL). */
static bool check_fields(struct compiler *compiler, const json_t *object, const char *const *known)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return refuse(compiler, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        int i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i]) {
            enter(compiler, key);
            return refuse(compiler, "unknown field");
        }
    }
    return true;
}

/* Output ---------------------------------------------------------------------------------------- */

static void put(struct compiler *compiler, const void *bytes, size_t length)
{
    if (compiler->full || length > RULES_BYTES_MAX - compiler->length) {
        compiler->full = true;
        return;
    }
    memcpy(compiler->out + compiler->length, bytes, length);
    compiler->length += length;
}

static void put_number(struct compiler *compiler, uint64_t number, size_t size)
{
    put(compiler, &number, size);
}

/* Leaves place for a length of two bytes; end_length() fills it in. */
static size_t begin_length(struct compiler *compiler)
{
    put_number(compiler, 0, 2);
    return compiler->length;
}

static void end_length(struct compiler *compiler, size_t began)
{
    uint64_t length = compiler->length - began;

    if (!compiler->full)
        memcpy(compiler->out + began - 2, &length, 2);
}

/* Values of conditions -------------------------------------------------------------------------- */

static bool put_short_text(struct compiler *compiler, struct text text)
{
    if (text.length == 0 || text.length > UINT8_MAX)
        return refuse(compiler, "must have 1 to 255 bytes");
    put_number(compiler, text.length, 1);
    put(compiler, text.bytes, text.length);
    return true;
}

static uint8_t verdict_number(struct text name)
{
    for (int i = 0; i < VERDICT_COUNT; i++)
        if (text_equals_nocase(name, verdict_name((enum verdict)i)))
            return (uint8_t)i;
    return VERDICT_COUNT;
}

static bool put_class(struct compiler *compiler, uint8_t (*number_of)(struct text),
                      struct text name)
{
    uint8_t number = number_of(name);
    bool is_unknown = text_equals_nocase(name, "unknown");

    if (number_of == verdict_number ? number == VERDICT_COUNT
                                    : number == CLASS_UNKNOWN && !is_unknown)
        return refuse(compiler, "\"%.*s\" is no known name here", (int)name.length, name.bytes);
    put_number(compiler, number, 1);
    return true;
}

static bool put_device(struct compiler *compiler, struct text name)
{
    return put_class(compiler, device_number, name);
}

static bool put_os(struct compiler *compiler, struct text name)
{
    return put_class(compiler, os_number, name);
}

static bool put_app(struct compiler *compiler, struct text name)
{
    return put_class(compiler, app_number, name);
}

static bool put_platform(struct compiler *compiler, struct text name)
{
    return put_class(compiler, platform_number, name);
}

static bool put_verdict(struct compiler *compiler, struct text name)
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
static bool put_country(struct compiler *compiler, struct text code)
{
    if (code.length != 2 || !is_letters(code))
        return refuse(compiler, "\"%.*s\" is no country: two letters (ISO 3166-1)",
                      (int)code.length, code.bytes);
    for (size_t i = 0; i < 2; i++)
        put_number(compiler, (unsigned char)(ascii_lower(code.bytes[i]) - 32), 1);
    return true;
}

static bool put_region(struct compiler *compiler, struct text code)
{
    struct text country = {code.bytes, 2};

    if (code.length < 4 || code.length > 2 + 1 + EVENT_REGION_MAX || code.bytes[2] != '-' ||
        !is_letters(country))
        return refuse(compiler, "\"%.*s\" is no region: write US-CA (ISO 3166-2)", (int)code.length,
                      code.bytes);
    put_number(compiler, code.length, 1);
    return put_country(compiler, country) && (put(compiler, code.bytes + 2, code.length - 2), true);
}

static bool put_city(struct compiler *compiler, struct text name)
{
    return put_short_text(compiler, name);
}

static bool put_language(struct compiler *compiler, struct text tag)
{
    for (size_t i = 0; i < tag.length; i++)
        if (!ascii_is_alnum(tag.bytes[i]) && tag.bytes[i] != '-')
            return refuse(compiler, "\"%.*s\" is no language tag: write de or pt-BR",
                          (int)tag.length, tag.bytes);
    return put_short_text(compiler, tag);
}

static bool put_values(struct compiler *compiler, const json_t *array,
                       bool (*put_value)(struct compiler *, struct text))
{
    size_t count = json_array_size(array);

    if (!json_is_array(array) || count == 0 || count > RULE_VALUES_MAX)
        return refuse(compiler, "must be an array of 1 to %d names", RULE_VALUES_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(array, i);

        enter_index(compiler, i);
        if (!json_is_string(value))
            return refuse(compiler, "must be a string");
        if (!put_value(compiler,
                       (struct text){json_string_value(value), json_string_length(value)}))
            return false;
        leave(compiler);
    }
    return true;
}

/* Conditions ------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum condition kind;
    bool (*put_value)(struct compiler *, struct text);
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

static size_t begin_condition(struct compiler *compiler, enum condition kind)
{
    put_number(compiler, kind, 1);
    return begin_length(compiler);
}

/* One condition for each parameter: all of them must be there. Adds their number to `count`. */
static bool compile_query(struct compiler *compiler, const json_t *object, unsigned *count)
{
    const char *name;
    json_t *value;

    if (!json_is_object(object) || json_object_size(object) == 0 || json_object_size(object) > 10)
        return refuse(compiler, "must be an object of 1 to 10 parameters");
    json_object_foreach((json_t *)(uintptr_t)object, name, value)
    {
        size_t began = begin_condition(compiler, CONDITION_QUERY);

        enter(compiler, name);
        if (!json_is_string(value) && !json_is_null(value))
            return refuse(compiler, "must be a string, or null if any value will do");
        if (!put_short_text(compiler, (struct text){name, strlen(name)}))
            return false;
        put_number(compiler, json_is_string(value), 1);
        put(compiler, json_is_string(value) ? json_string_value(value) : "",
            json_string_length(value));
        end_length(compiler, began);
        leave(compiler);
        ++*count;
    }
    return true;
}

static bool take_time(struct compiler *compiler, const json_t *object, const char *name,
                      int64_t *out)
{
    const json_t *value = json_object_get(object, name);

    if (!value)
        return true;
    enter(compiler, name);
    if (!json_is_string(value) ||
        !timestamp_parse((struct text){json_string_value(value), json_string_length(value)}, out))
        return refuse(compiler, "must be a time such as 2026-06-01T00:00:00Z");
    leave(compiler);
    return true;
}

static bool compile_time(struct compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"from", "until", NULL};
    int64_t from_us = INT64_MIN, until_us = INT64_MAX;
    size_t began = begin_condition(compiler, CONDITION_TIME);

    if (!check_fields(compiler, object, known) || !take_time(compiler, object, "from", &from_us) ||
        !take_time(compiler, object, "until", &until_us))
        return false;
    if (from_us >= until_us)
        return refuse(compiler, "\"from\" must be before \"until\"");
    put_number(compiler, (uint64_t)from_us, 8);
    put_number(compiler, (uint64_t)until_us, 8);
    end_length(compiler, began);
    return true;
}

static bool compile_conditions(struct compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"device",   "os",      "app",    "platform",
                                        "verdict",  "country", "region", "city",
                                        "language", "query",   "time",   NULL};
    size_t at = compiler->length;
    unsigned count = 0;
    const json_t *value;

    put_number(compiler, 0, 1);
    if (!check_fields(compiler, object, known))
        return false;
    for (size_t i = 0; i < CONDITION_COUNT; i++) {
        size_t began;

        if (!(value = json_object_get(object, conditions[i].name)))
            continue;
        enter(compiler, conditions[i].name);
        began = begin_condition(compiler, conditions[i].kind);
        if (!put_values(compiler, value, conditions[i].put_value))
            return false;
        end_length(compiler, began);
        leave(compiler);
        count++;
    }
    if ((value = json_object_get(object, "query"))) {
        enter(compiler, "query");
        if (!compile_query(compiler, value, &count))
            return false;
        leave(compiler);
    }
    if ((value = json_object_get(object, "time"))) {
        enter(compiler, "time");
        if (!compile_time(compiler, value))
            return false;
        leave(compiler);
        count++;
    }
    if (!compiler->full)
        compiler->out[at] = (unsigned char)count;
    return true;
}

/* Actions --------------------------------------------------------------------------------------- */

static void put_target(struct compiler *compiler, const struct target *target)
{
    put_number(compiler,
               (target->has_query ? TARGET_HAS_QUERY : 0) |
                   (target->is_template ? TARGET_IS_TEMPLATE : 0),
               1);
    put_number(compiler, target->length, 2);
    put_number(compiler, target->fragment_offset, 2);
    put(compiler, target->url, target->length);
}

static bool make_target(struct compiler *compiler, const json_t *url, struct target *out)
{
    struct error error;

    if (!json_is_string(url))
        return refuse(compiler, "must be a string");
    if (!target_compile((struct text){json_string_value(url), json_string_length(url)},
                        compiler->values, out, &error))
        return refuse(compiler, "%s", error.text);
    if (compiler->is_own_host &&
        compiler->is_own_host(compiler->owner,
                              (struct text){out->url + out->host_offset, out->host_length}))
        return refuse(compiler, "leads back to a short domain of this service");
    return true;
}

static bool compile_destination(struct compiler *compiler, const json_t *url)
{
    static struct target target; /* large; one thread */

    enter(compiler, "destination");
    if (!make_target(compiler, url, &target))
        return false;
    put_target(compiler, &target);
    leave(compiler);
    return true;
}

static bool compile_variant(struct compiler *compiler, const json_t *variant, json_int_t *total)
{
    static const char *const known[] = {"weight", "destination", NULL};
    const json_t *weight = json_object_get(variant, "weight");

    if (!check_fields(compiler, variant, known))
        return false;
    if (!json_is_integer(weight) || json_integer_value(weight) < 1 ||
        json_integer_value(weight) >= SPLIT_TOTAL) {
        enter(compiler, "weight");
        return refuse(compiler, "must be an integer from 1 to %d", SPLIT_TOTAL - 1);
    }
    *total += json_integer_value(weight);
    put_number(compiler, *total < UINT8_MAX ? (uint64_t)*total : UINT8_MAX, 1);
    return compile_destination(compiler, json_object_get(variant, "destination"));
}

static bool compile_split(struct compiler *compiler, const json_t *array)
{
    size_t count = json_array_size(array);
    json_int_t total = 0;

    if (!json_is_array(array) || count < 2 || count > RULE_VARIANTS_MAX)
        return refuse(compiler, "must be an array of 2 to %d variants", RULE_VARIANTS_MAX);
    put_number(compiler, count, 1);
    for (size_t i = 0; i < count; i++) {
        enter_index(compiler, i);
        if (!compile_variant(compiler, json_array_get(array, i), &total))
            return false;
        leave(compiler);
    }
    if (total != SPLIT_TOTAL)
        return refuse(compiler, "the weights add up to %lld, not to %d", (long long)total,
                      SPLIT_TOTAL);
    return true;
}

/* "intent://host/path#Intent;scheme=https;package=p;S.browser_fallback_url=…;end": the link without
 * its scheme and fragment, then what Android's browsers ask for. */
static bool make_intent(struct compiler *compiler, const struct target *link, const char *package,
                        const struct target *store, struct target *out)
{
    const char *scheme_end = strstr(link->url, "://");
    char escaped[3 * LINK_DESTINATION_MAX + 1];
    size_t length = 0;
    int written;

    assert(scheme_end);
    for (size_t i = 0; i < store->length; i++) {
        char c = store->url[i];

        length += (size_t)snprintf(escaped + length, sizeof escaped - length,
                                   ascii_is_alnum(c) || strchr("-._~", c) ? "%c" : "%%%02X",
                                   (unsigned char)c);
    }
    *out = (struct target){.has_query = link->has_query, .is_template = link->is_template};
    out->fragment_offset =
        link->fragment_offset - (size_t)(scheme_end - link->url) + strlen("intent");
    written = snprintf(out->url, sizeof out->url,
                       "intent%.*s#Intent;scheme=%.*s;package=%s;S.browser_fallback_url=%s;end",
                       (int)(link->fragment_offset - (size_t)(scheme_end - link->url)), scheme_end,
                       (int)(scheme_end - link->url), link->url, package, escaped);
    if (written < 0 || (size_t)written >= sizeof out->url)
        return refuse(compiler, "link and store together are too long");
    out->length = (size_t)written;
    return true;
}

static bool check_package(struct compiler *compiler, const json_t *package)
{
    const char *name = json_string_value(package);

    enter(compiler, "package");
    if (!name || strlen(name) > PACKAGE_MAX || !strchr(name, '.'))
        return refuse(compiler, "must be an Android package name such as com.example.app");
    for (const char *c = name; *c; c++)
        if (!ascii_is_alnum(*c) && *c != '.' && *c != '_')
            return refuse(compiler, "must be an Android package name such as com.example.app");
    leave(compiler);
    return true;
}

static bool make_named_target(struct compiler *compiler, const json_t *object, const char *name,
                              struct target *out)
{
    enter(compiler, name);
    if (!make_target(compiler, json_object_get(object, name), out))
        return false;
    leave(compiler);
    return true;
}

static bool compile_ios(struct compiler *compiler, const json_t *ios)
{
    static const char *const known[] = {"link", "store", NULL};
    static struct target target;

    enter(compiler, "ios");
    if (!check_fields(compiler, ios, known) ||
        (json_object_get(ios, "store") && !make_named_target(compiler, ios, "store", &target)) ||
        (json_object_get(ios, "link") && !make_named_target(compiler, ios, "link", &target)))
        return false;
    if (json_object_size(ios) == 0)
        return refuse(compiler, "needs \"link\", \"store\" or both");
    put_target(compiler, &target); /* the link, where there is one: it was made last */
    leave(compiler);
    return true;
}

static bool compile_android(struct compiler *compiler, const json_t *android)
{
    static const char *const known[] = {"package", "link", "store", NULL};
    static struct target link, store, intent;

    enter(compiler, "android");
    if (!check_fields(compiler, android, known) ||
        !check_package(compiler, json_object_get(android, "package")) ||
        !make_named_target(compiler, android, "link", &link) ||
        !make_named_target(compiler, android, "store", &store) ||
        !make_intent(compiler, &link, json_string_value(json_object_get(android, "package")),
                     &store, &intent))
        return false;
    put_target(compiler, &intent);
    put_target(compiler, &store);
    leave(compiler);
    return true;
}

static bool compile_app(struct compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"ios", "android", NULL};
    const json_t *ios = json_object_get(object, "ios");
    const json_t *android = json_object_get(object, "android");

    if (!check_fields(compiler, object, known))
        return false;
    if (!ios && !android)
        return refuse(compiler, "needs \"ios\", \"android\" or both");
    put_number(compiler, (ios ? APP_IOS : 0) | (android ? APP_ANDROID | APP_ANDROID_STORE : 0), 1);
    return (!ios || compile_ios(compiler, ios)) && (!android || compile_android(compiler, android));
}

static bool compile_block(struct compiler *compiler, const json_t *status)
{
    json_int_t number = json_integer_value(status);

    if (number != 404 && number != 410)
        return refuse(compiler, "must be 404 or 410");
    put_number(compiler, (uint64_t)number, 2);
    return true;
}

static bool compile_action(struct compiler *compiler, const json_t *object)
{
    static const struct {
        const char *name;
        enum action action;
        bool (*compile)(struct compiler *, const json_t *);
    } actions[] = {{"split", ACTION_SPLIT, compile_split},
                   {"app", ACTION_APP, compile_app},
                   {"block", ACTION_BLOCK, compile_block}};
    static const char *const known[] = {"destination", "split", "app", "block", NULL};
    const json_t *value;

    if (!check_fields(compiler, object, known))
        return false;
    if (json_object_size(object) != 1)
        return refuse(compiler, "needs one of \"destination\", \"split\", \"app\", \"block\"");
    if ((value = json_object_get(object, "destination"))) {
        put_number(compiler, ACTION_GO, 1);
        return compile_destination(compiler, value);
    }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (!(value = json_object_get(object, actions[i].name)))
            continue;
        put_number(compiler, actions[i].action, 1);
        enter(compiler, actions[i].name);
        if (!actions[i].compile(compiler, value))
            return false;
        leave(compiler);
    }
    return true;
}

/* Rules ----------------------------------------------------------------------------------------- */

static bool compile_rule(struct compiler *compiler, const json_t *rule)
{
    static const char *const known[] = {"if", "then", NULL};
    size_t began = begin_length(compiler);

    if (!check_fields(compiler, rule, known))
        return false;
    enter(compiler, "if");
    if (!compile_conditions(compiler, json_object_get(rule, "if")))
        return false;
    leave(compiler);
    enter(compiler, "then");
    if (!compile_action(compiler, json_object_get(rule, "then")))
        return false;
    leave(compiler);
    end_length(compiler, began);
    return true;
}

static bool compile_rules(struct compiler *compiler, const json_t *rules)
{
    if (!json_is_array(rules) || json_array_size(rules) > RULES_MAX)
        return refuse(compiler, "must be an array of at most %d rules", RULES_MAX);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        enter_index(compiler, i);
        if (!compile_rule(compiler, json_array_get(rules, i)))
            return false;
        leave(compiler);
    }
    return !compiler->full ||
           refuse(compiler, "the rules are too long: %d bytes compiled at most", RULES_BYTES_MAX);
}

int rules_compile(struct text json, const struct target_values *values,
                  bool (*is_own_host)(void *owner, struct text host), void *owner,
                  unsigned char out[RULES_BYTES_MAX], struct rules_problem *problem)
{
    struct compiler compiler = {.out = out,
                                .values = values,
                                .is_own_host = is_own_host,
                                .owner = owner,
                                .problem = problem};
    json_error_t reason;
    json_t *rules = json_loadb(json.bytes, json.length, JSON_REJECT_DUPLICATES, &reason);
    bool good;

    if (!rules) {
        refuse(&compiler, "no JSON: %s", reason.text);
        return -1;
    }
    good = compile_rules(&compiler, rules);
    json_decref(rules);
    return good ? (int)compiler.length : -1;
}
