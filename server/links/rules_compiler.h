#pragma once
/* What the files that compile rules share: where the compiler stands, how it refuses, what it writes.
 * Inside server/links only; others use rules.h. */
#include <jansson.h>

#include "server/links/rules.h"

#define RULES_DEPTH_MAX 8

struct rules_compiler {
    unsigned char *out;
    size_t length;
    bool full;
    const struct target_values *values;
    bool (*is_own_host)(void *owner, struct text authority);
    void *owner;
    struct rules_problem *problem;
    char path[RULES_DEPTH_MAX][24]; /* of the JSON pointer to what is looked at */
    int depth;
};

/* Steps into a field or element and out again. After a refusal nobody steps out. */
void rules_enter(struct rules_compiler *compiler, const char *name);
void rules_enter_index(struct rules_compiler *compiler, size_t index);
void rules_leave(struct rules_compiler *compiler);

/* Notes the problem and where it is; returns false. */
bool rules_refuse(struct rules_compiler *compiler, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Refuses what is no object, or has a field that is not in the list (which ends with NULL). */
bool rules_check_fields(struct rules_compiler *compiler, const json_t *object,
                        const char *const *known) MUST_CHECK;

/* Appends to the program; what does not fit sets `full`. */
void rules_put(struct rules_compiler *compiler, const void *bytes, size_t length);
void rules_put_number(struct rules_compiler *compiler, uint64_t number, size_t size);

/* Leaves place for a length of two bytes; rules_end_length() fills it in. */
size_t rules_begin_length(struct rules_compiler *compiler);
void rules_end_length(struct rules_compiler *compiler, size_t began);

/* What is behind "if", and what is behind "then". */
bool rules_compile_conditions(struct rules_compiler *compiler, const json_t *object) MUST_CHECK;
bool rules_compile_action(struct rules_compiler *compiler, const json_t *object) MUST_CHECK;
