/* Routing rules. The first line is a query, the second numbers of classes; the rest is JSON, which is
 * compiled and asked, and then also taken for a compiled program as it is. What is refused says where;
 * what is chosen is a target that stands within the program; damage is never read past its end. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/links/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct text next(struct text *rest)
{
    return rest->bytes ? text_cut(rest, '\n') : *rest;
}

static struct click click_of(struct text numbers)
{
    unsigned char of[8] = {0};

    if (numbers.length > 0)
        memcpy(of, numbers.bytes, numbers.length < sizeof of ? numbers.length : sizeof of);
    return (struct click){.device = of[0] % 10,
                          .os = of[1] % 20,
                          .app = of[2] % 100,
                          .platform = of[3] % 100,
                          .verdict = of[4] % VERDICT_COUNT,
                          .visitor = of[5],
                          .country = {'D', 'E'},
                          .region = TEXT("BE"),
                          .city = TEXT("Berlin"),
                          .language = TEXT("de-AT")};
}

static void ask(struct text program, const struct click *click, struct text query, bool is_sound)
{
    for (uint64_t draw = 0; draw < 100; draw += 33) {
        struct rules_visitor visitor = {
            .click = click, .query = query, .now_us = 1795600000000000, .draw = draw};
        struct rules_choice choice;

        rules_choose(program, &visitor, &choice);
        if (choice.action == RULES_NOTHING)
            continue;
        assert(choice.route >= 1 && choice.route <= RULES_MAX);
        if (choice.action == RULES_BLOCK) {
            assert(!is_sound || choice.status == 404 || choice.status == 410);
            continue;
        }
        assert(choice.fragment_offset <= choice.destination.length);
        assert(choice.destination.length <= program.length);
        for (size_t i = 0; is_sound && i < choice.destination.length; i++)
            assert(choice.destination.bytes[i] > ' ' && choice.destination.bytes[i] < 0x7F);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned char program[RULES_BYTES_MAX];
    struct text rest = {(const char *)data, size}, query = next(&rest);
    struct click click = click_of(next(&rest));
    struct target_values values = {.handle = TEXT("anna/b"), .code = TEXT("A 1")};
    struct rules_problem problem = {.pointer = "unset"};
    int length;

    if (!rest.bytes)
        return 0;
    ask(rest, &click, query, false);
    length = rules_compile(rest, &values, NULL, NULL, program, &problem);
    if (length < 0) {
        assert(problem.error.text[0] != '\0' && strcmp(problem.pointer, "unset") != 0);
        assert(strlen(problem.pointer) < sizeof problem.pointer);
    } else if (length > 0) {
        unsigned char *copy = malloc((size_t)length); /* so that the sanitizer sees its end */

        assert(copy);
        memcpy(copy, program, (size_t)length);
        ask((struct text){(const char *)copy, (size_t)length}, &click, query, true);
        free(copy);
    }
    return 0;
}
