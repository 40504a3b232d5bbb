/* See code_names.h. */
#include "server/admin/bulk/code_names.h"

#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "server/links/slug.h"
#include "shared/text.h"
#include "shared/utf8.h"

#define RANDOM_LENGTH 4
#define SUFFIX_MAX    8 /* "-" and what follows */
#define PLAIN_TRIES   9 /* names before random ones: the bare one and -2 … -9 */

/* Letters U+00C0 to U+017F without their accents; "." for what is no letter. */
static const char folded[] = "AAAAAA.CEEEEIIII" /* Æ is AE, as in special[] */
                             "DNOOOOO.OUUUUY.."
                             "AAAAAA.CEEEEIIII"
                             "DNOOOOO.OUUUUY.Y"
                             "AAAAAACCCCCCCCDD"
                             "DDEEEEEEEEEEGGGG"
                             "GGGGHHHHIIIIIIII"
                             "II..JJKKKLLLLLLL"
                             "LLLNNNNNNNNNOOOO"
                             "OO..RRRRRRSSSSSS"
                             "SSTTTTTTUUUUUUUU"
                             "UUUUWWYYYZZZZZZS";

static const struct {
    uint32_t character;
    const char *text;
} special[] = {{0xC6, "AE"},  {0xE6, "AE"},  {0xDE, "TH"},  {0xFE, "TH"}, {0xDF, "SS"},
               {0x132, "IJ"}, {0x133, "IJ"}, {0x152, "OE"}, {0x153, "OE"}};

struct name {
    char *out;
    size_t used, room;
};

static void put(struct name *name, const char *text, size_t length)
{
    for (size_t i = 0; i < length && name->used < name->room; i++)
        name->out[name->used++] = text[i];
}

static void put_letter(struct name *name, uint32_t character)
{
    char c = (char)character;

    if (character < 0x80) {
        if (ascii_is_alnum(c)) {
            c = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
            put(name, &c, 1);
        }
        return;
    }
    for (size_t i = 0; i < sizeof special / sizeof special[0]; i++) {
        if (special[i].character == character) {
            put(name, special[i].text, 2);
            return;
        }
    }
    if (character < 0xC0 || character >= 0xC0 + sizeof folded - 1)
        return;
    c = folded[character - 0xC0];
    if (c != '.')
        put(name, &c, 1);
}

/* Capitals and digits of a text; nothing of other scripts. */
static void put_folded(struct name *name, const char *text)
{
    size_t length = strlen(text), step;
    uint32_t character;

    for (; length > 0; text += step, length -= step) {
        step = utf8_decode(text, length, &character);
        if (step == 0)
            step = 1;
        else
            put_letter(name, character);
    }
}

static void put_random(struct name *name)
{
    static const char alphabet[] = "ABCDEFGHJKMNPQRSTUVWXYZ23456789";
    char text[RANDOM_LENGTH];

    do {
        for (int i = 0; i < RANDOM_LENGTH; i++)
            text[i] = alphabet[randombytes_uniform(sizeof alphabet - 1)];
    } while (slug_has_blocked_word(text, RANDOM_LENGTH));
    put(name, text, RANDOM_LENGTH);
}

/* The dot of a percentage is none that all shops take; zeros behind it say nothing. */
static void put_percent(struct name *name, const char *percent)
{
    size_t length = strlen(percent);

    if (strchr(percent, '.')) {
        assert(length > 0);
        while (length > 1 && percent[length - 1] == '0')
            length--;
        length -= percent[length - 1] == '.';
    }
    for (size_t i = 0; i < length; i++)
        put(name, percent[i] == '.' ? "-" : &percent[i], 1);
}

/* Placeholders in the order of put_placeholder(). */
static const char *const placeholders[] = {"{HANDLE}", "{PERCENT}", "{CAMPAIGN}", "{RANDOM}"};
#define PLACEHOLDERS (sizeof placeholders / sizeof placeholders[0])

/* The number of the placeholder at `text`, or PLACEHOLDERS. */
static size_t placeholder_at(const char *text)
{
    size_t i = 0;

    while (i < PLACEHOLDERS && strncmp(text, placeholders[i], strlen(placeholders[i])) != 0)
        i++;
    return i;
}

static void put_placeholder(struct name *name, size_t which, const struct code_parts *parts)
{
    size_t before = name->used;

    switch (which) {
    case 0:
        put_folded(name, parts->handle);
        if (name->used == before) /* a handle in another script */
            put_random(name);
        break;
    case 1: put_percent(name, parts->percent ? parts->percent : ""); break;
    case 2: put_folded(name, parts->campaign); break;
    default: put_random(name); break;
    }
}

bool code_template_check(const char *code_template, bool has_percent, struct error *error)
{
    bool distinct = false;

    if (strlen(code_template) > CODE_TEMPLATE_MAX || !*code_template)
        return error_set(error, "must have 1 to %d characters", CODE_TEMPLATE_MAX);
    for (const char *at = code_template; *at;) {
        size_t which = placeholder_at(at);

        if (which == 1 && !has_percent)
            return error_set(error, "holds {PERCENT}, but there is no percent");
        distinct |= which == 0 || which == 3;
        if (which < PLACEHOLDERS)
            at += strlen(placeholders[which]);
        else if ((*at >= 'A' && *at <= 'Z') || ascii_is_digit(*at) || *at == '-' || *at == '_')
            at++;
        else
            return error_set(error, "may hold A-Z, 0-9, -, _, {HANDLE}, {PERCENT}, {CAMPAIGN} and "
                                    "{RANDOM}");
    }
    return distinct || error_set(error, "must hold {HANDLE} or {RANDOM}: codes are unique");
}

void code_name_make(const char *code_template, const struct code_parts *parts, unsigned attempt,
                    char out[CODE_NAME_MAX + 1])
{
    struct name name = {out, 0, CODE_NAME_MAX - SUFFIX_MAX};
    char suffix[12];

    assert(attempt >= 1);
    while (*code_template) {
        size_t which = placeholder_at(code_template);

        if (which < PLACEHOLDERS) {
            put_placeholder(&name, which, parts);
            code_template += strlen(placeholders[which]);
        } else {
            put(&name, code_template++, 1);
        }
    }
    name.room = CODE_NAME_MAX;
    if (attempt > PLAIN_TRIES) {
        put(&name, "-", 1);
        put_random(&name);
    } else if (attempt > 1) {
        put(&name, suffix, (size_t)snprintf(suffix, sizeof suffix, "-%u", attempt));
    }
    assert(name.used > 0 && name.used <= CODE_NAME_MAX);
    out[name.used] = '\0';
}
