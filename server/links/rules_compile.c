/* From rules as a marketer writes them to a program; see rules.h and rules_format.h. Nothing is
 * guessed: an unknown field, class or shape is refused with the place where it stands. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "server/links/rules_compiler.h"
#include "shared/utf8.h"

/* Escaped as RFC 6901 asks; what is too long ends with a whole character. */
void rules_enter(struct rules_compiler *compiler, const char *name)
{
    char *out = compiler->path[compiler->depth];
    size_t length = 0, size = sizeof compiler->path[0];
    uint32_t character;

    assert(compiler->depth < RULES_DEPTH_MAX);
    for (size_t step; *name; name += step) {
        step = utf8_decode(name, strlen(name), &character);
        if (step == 0 || length + step + 2 > size)
            break;
        if (*name == '~' || *name == '/') {
            out[length++] = '~';
            out[length++] = *name == '~' ? '0' : '1';
        } else {
            memcpy(out + length, name, step);
            length += step;
        }
    }
    out[length] = '\0';
    compiler->depth++;
}

void rules_enter_index(struct rules_compiler *compiler, size_t index)
{
    char name[24];

    snprintf(name, sizeof name, "%zu", index);
    rules_enter(compiler, name);
}

void rules_leave(struct rules_compiler *compiler)
{
    assert(compiler->depth > 0);
    compiler->depth--;
}

bool rules_refuse(struct rules_compiler *compiler, const char *format, ...)
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

bool rules_check_fields(struct rules_compiler *compiler, const json_t *object,
                        const char *const *known)
{
    const char *key;
    json_t *value;

    if (!json_is_object(object))
        return rules_refuse(compiler, "must be an object");
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        int i = 0;

        while (known[i] && strcmp(known[i], key) != 0)
            i++;
        if (!known[i]) {
            rules_enter(compiler, key);
            return rules_refuse(compiler, "unknown field");
        }
    }
    return true;
}

void rules_put(struct rules_compiler *compiler, const void *bytes, size_t length)
{
    if (compiler->full || length > RULES_BYTES_MAX - compiler->length) {
        compiler->full = true;
        return;
    }
    memcpy(compiler->out + compiler->length, bytes, length);
    compiler->length += length;
}

void rules_put_number(struct rules_compiler *compiler, uint64_t number, size_t size)
{
    rules_put(compiler, &number, size);
}

/* Leaves place for a length of two bytes; rules_end_length() fills it in. */
size_t rules_begin_length(struct rules_compiler *compiler)
{
    rules_put_number(compiler, 0, 2);
    return compiler->length;
}

void rules_end_length(struct rules_compiler *compiler, size_t began)
{
    uint64_t length = compiler->length - began;

    if (!compiler->full)
        memcpy(compiler->out + began - 2, &length, 2);
}

static bool compile_rule(struct rules_compiler *compiler, const json_t *rule)
{
    static const char *const known[] = {"if", "then", NULL};
    size_t began = rules_begin_length(compiler);

    if (!rules_check_fields(compiler, rule, known))
        return false;
    rules_enter(compiler, "if");
    if (!rules_compile_conditions(compiler, json_object_get(rule, "if")))
        return false;
    rules_leave(compiler);
    rules_enter(compiler, "then");
    if (!rules_compile_action(compiler, json_object_get(rule, "then")))
        return false;
    rules_leave(compiler);
    rules_end_length(compiler, began);
    return true;
}

static bool compile_rules(struct rules_compiler *compiler, const json_t *rules)
{
    if (!json_is_array(rules) || json_array_size(rules) > RULES_MAX)
        return rules_refuse(compiler, "must be an array of at most %d rules", RULES_MAX);
    for (size_t i = 0; i < json_array_size(rules); i++) {
        rules_enter_index(compiler, i);
        if (!compile_rule(compiler, json_array_get(rules, i)))
            return false;
        rules_leave(compiler);
    }
    return !compiler->full ||
           rules_refuse(compiler, "the rules are too long: %d bytes compiled at most",
                        RULES_BYTES_MAX);
}

int rules_compile(struct text json, const struct target_values *values,
                  bool (*is_own_host)(void *owner, struct text authority), void *owner,
                  unsigned char out[RULES_BYTES_MAX], struct rules_problem *problem)
{
    struct rules_compiler compiler = {.out = out,
                                      .values = values,
                                      .is_own_host = is_own_host,
                                      .owner = owner,
                                      .problem = problem};
    json_error_t reason;
    json_t *rules = json_loadb(json.bytes, json.length, JSON_REJECT_DUPLICATES, &reason);
    bool good;

    if (!rules) {
        rules_refuse(&compiler, "no JSON: %s", reason.text);
        return -1;
    }
    good = compile_rules(&compiler, rules);
    json_decref(rules);
    return good ? (int)compiler.length : -1;
}
