/* From "then" to an action with its targets; see rules.h and rules_format.h. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "server/links/rules_compiler.h"
#include "server/links/rules_format.h"
#include "shared/percent.h"

#define PACKAGE_MAX 200

static void put_target(struct rules_compiler *compiler, const struct target *target)
{
    rules_put_number(compiler,
                     (target->has_query ? TARGET_HAS_QUERY : 0) |
                         (target->is_template ? TARGET_IS_TEMPLATE : 0),
                     1);
    rules_put_number(compiler, target->length, 2);
    rules_put_number(compiler, target->fragment_offset, 2);
    rules_put(compiler, target->url, target->length);
}

static bool make_target(struct rules_compiler *compiler, const json_t *url, struct target *out)
{
    struct error error;

    if (!json_is_string(url))
        return rules_refuse(compiler, "must be a string");
    if (!target_compile((struct text){json_string_value(url), json_string_length(url)},
                        compiler->values, out, &error))
        return rules_refuse(compiler, "%s", error.text);
    if (compiler->is_own_host && compiler->is_own_host(compiler->owner, target_authority(out)))
        return rules_refuse(compiler, "leads back to a short domain of this service");
    return true;
}

static bool compile_destination(struct rules_compiler *compiler, const json_t *url)
{
    static struct target target; /* large; one thread */

    rules_enter(compiler, "destination");
    if (!make_target(compiler, url, &target))
        return false;
    put_target(compiler, &target);
    rules_leave(compiler);
    return true;
}

static bool compile_variant(struct rules_compiler *compiler, const json_t *variant,
                            json_int_t *total)
{
    static const char *const known[] = {"weight", "destination", NULL};
    const json_t *weight = json_object_get(variant, "weight");

    if (!rules_check_fields(compiler, variant, known))
        return false;
    if (!json_is_integer(weight) || json_integer_value(weight) < 1 ||
        json_integer_value(weight) >= SPLIT_TOTAL) {
        rules_enter(compiler, "weight");
        return rules_refuse(compiler, "must be an integer from 1 to %d", SPLIT_TOTAL - 1);
    }
    *total += json_integer_value(weight);
    rules_put_number(compiler, *total < UINT8_MAX ? (uint64_t)*total : UINT8_MAX, 1);
    return compile_destination(compiler, json_object_get(variant, "destination"));
}

static bool compile_split(struct rules_compiler *compiler, const json_t *array)
{
    size_t count = json_array_size(array);
    json_int_t total = 0;

    if (!json_is_array(array) || count < 2 || count > RULE_VARIANTS_MAX)
        return rules_refuse(compiler, "must be an array of 2 to %d variants", RULE_VARIANTS_MAX);
    rules_put_number(compiler, count, 1);
    for (size_t i = 0; i < count; i++) {
        rules_enter_index(compiler, i);
        if (!compile_variant(compiler, json_array_get(array, i), &total))
            return false;
        rules_leave(compiler);
    }
    if (total != SPLIT_TOTAL)
        return rules_refuse(compiler, "the weights add up to %lld, not to %d", (long long)total,
                            SPLIT_TOTAL);
    return true;
}

/* A store's address as a value of its own within another: encoded, but for the placeholders, which
 * the redirect fills in with what needs no encoding. */
static void escape_store(const struct target *store, char out[3 * LINK_DESTINATION_MAX + 1])
{
    char *at = out;

    for (size_t i = 0; i < store->length;) {
        size_t length = target_placeholder(store, i);

        if (length == 0) {
            at = percent_put(at, store->url[i++], percent_unreserved);
            continue;
        }
        memcpy(at, store->url + i, length);
        at += length;
        i += length;
    }
    *at = '\0';
}

/* "intent://host/path#Intent;scheme=https;package=p;S.browser_fallback_url=…;end": the link without
 * its scheme and fragment, then what Android's browsers ask for. */
static bool make_intent(struct rules_compiler *compiler, const struct target *link,
                        const char *package, const struct target *store, struct target *out)
{
    const char *scheme_end = strstr(link->url, "://");
    char escaped[3 * LINK_DESTINATION_MAX + 1];
    int written;

    assert(scheme_end);
    escape_store(store, escaped);
    *out = (struct target){.has_query = link->has_query,
                           .is_template = link->is_template || store->is_template};
    out->fragment_offset =
        link->fragment_offset - (size_t)(scheme_end - link->url) + strlen("intent");
    written = snprintf(out->url, sizeof out->url,
                       "intent%.*s#Intent;scheme=%.*s;package=%s;S.browser_fallback_url=%s;end",
                       (int)(link->fragment_offset - (size_t)(scheme_end - link->url)), scheme_end,
                       (int)(scheme_end - link->url), link->url, package, escaped);
    if (written < 0 || (size_t)written >= sizeof out->url)
        return rules_refuse(compiler, "link and store together are too long");
    out->length = (size_t)written;
    return true;
}

static bool check_package(struct rules_compiler *compiler, const json_t *package)
{
    const char *name = json_string_value(package);

    rules_enter(compiler, "package");
    if (!name || strlen(name) > PACKAGE_MAX || !strchr(name, '.'))
        return rules_refuse(compiler, "must be an Android package name such as com.example.app");
    for (const char *c = name; *c; c++)
        if (!ascii_is_alnum(*c) && *c != '.' && *c != '_')
            return rules_refuse(compiler,
                                "must be an Android package name such as com.example.app");
    rules_leave(compiler);
    return true;
}

static bool make_named_target(struct rules_compiler *compiler, const json_t *object,
                              const char *name, struct target *out)
{
    rules_enter(compiler, name);
    if (!make_target(compiler, json_object_get(object, name), out))
        return false;
    rules_leave(compiler);
    return true;
}

static bool compile_ios(struct rules_compiler *compiler, const json_t *ios)
{
    static const char *const known[] = {"link", "store", NULL};
    static struct target target;

    rules_enter(compiler, "ios");
    if (!rules_check_fields(compiler, ios, known) ||
        (json_object_get(ios, "store") && !make_named_target(compiler, ios, "store", &target)) ||
        (json_object_get(ios, "link") && !make_named_target(compiler, ios, "link", &target)))
        return false;
    if (json_object_size(ios) == 0)
        return rules_refuse(compiler, "needs \"link\", \"store\" or both");
    put_target(compiler, &target); /* the link, where there is one: it was made last */
    rules_leave(compiler);
    return true;
}

static bool compile_android(struct rules_compiler *compiler, const json_t *android)
{
    static const char *const known[] = {"package", "link", "store", NULL};
    static struct target link, store, intent;

    rules_enter(compiler, "android");
    if (!rules_check_fields(compiler, android, known) ||
        !check_package(compiler, json_object_get(android, "package")) ||
        !make_named_target(compiler, android, "link", &link) ||
        !make_named_target(compiler, android, "store", &store) ||
        !make_intent(compiler, &link, json_string_value(json_object_get(android, "package")),
                     &store, &intent))
        return false;
    put_target(compiler, &intent);
    put_target(compiler, &store);
    rules_leave(compiler);
    return true;
}

static bool compile_app(struct rules_compiler *compiler, const json_t *object)
{
    static const char *const known[] = {"ios", "android", NULL};
    const json_t *ios = json_object_get(object, "ios");
    const json_t *android = json_object_get(object, "android");

    if (!rules_check_fields(compiler, object, known))
        return false;
    if (!ios && !android)
        return rules_refuse(compiler, "needs \"ios\", \"android\" or both");
    rules_put_number(compiler,
                     (ios ? APP_IOS : 0) | (android ? APP_ANDROID | APP_ANDROID_STORE : 0), 1);
    return (!ios || compile_ios(compiler, ios)) && (!android || compile_android(compiler, android));
}

static bool compile_block(struct rules_compiler *compiler, const json_t *status)
{
    json_int_t number = json_integer_value(status);

    if (number != 404 && number != 410)
        return rules_refuse(compiler, "must be 404 or 410");
    rules_put_number(compiler, (uint64_t)number, 2);
    return true;
}

bool rules_compile_action(struct rules_compiler *compiler, const json_t *object)
{
    static const struct {
        const char *name;
        enum action action;
        bool (*compile)(struct rules_compiler *, const json_t *);
    } actions[] = {{"split", ACTION_SPLIT, compile_split},
                   {"app", ACTION_APP, compile_app},
                   {"block", ACTION_BLOCK, compile_block}};
    static const char *const known[] = {"destination", "split", "app", "block", NULL};
    const json_t *value;

    if (!rules_check_fields(compiler, object, known))
        return false;
    if (json_object_size(object) != 1)
        return rules_refuse(compiler,
                            "needs one of \"destination\", \"split\", \"app\", \"block\"");
    if ((value = json_object_get(object, "destination"))) {
        rules_put_number(compiler, ACTION_GO, 1);
        return compile_destination(compiler, value);
    }
    for (size_t i = 0; i < sizeof actions / sizeof actions[0]; i++) {
        if (!(value = json_object_get(object, actions[i].name)))
            continue;
        rules_put_number(compiler, actions[i].action, 1);
        rules_enter(compiler, actions[i].name);
        if (!actions[i].compile(compiler, value))
            return false;
        rules_leave(compiler);
    }
    return true;
}
