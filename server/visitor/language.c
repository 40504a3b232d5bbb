/* See language.h. At most LANGUAGES_MAX tags are looked at. */
#include "server/visitor/language.h"

#define LANGUAGES_MAX 32

int language_quality(struct text parameters)
{
    while (parameters.bytes) {
        struct text parameter = text_trim(text_cut(&parameters, ';'));
        int quality = 0, scale = 1000;

        if (parameter.length < 3 || ascii_lower(parameter.bytes[0]) != 'q' ||
            parameter.bytes[1] != '=')
            continue;
        for (size_t i = 2; i < parameter.length && scale > 0; i++) {
            if (parameter.bytes[i] == '.')
                continue;
            if (!ascii_is_digit(parameter.bytes[i]))
                return 1000;
            quality += (parameter.bytes[i] - '0') * scale;
            scale /= 10;
        }
        return quality > 1000 ? 1000 : quality;
    }
    return 1000;
}

/* Letters, digits and '-', subtags of 1 to 8: "en", "en-US". */
static bool is_tag(struct text tag)
{
    size_t run = 0;

    if (tag.length < 2 || tag.length > EVENT_LANGUAGE_MAX)
        return false;
    for (size_t i = 0; i < tag.length; i++) {
        run = tag.bytes[i] == '-' ? 0 : run + 1;
        if ((!ascii_is_alnum(tag.bytes[i]) && tag.bytes[i] != '-') || run > 8 ||
            (run == 0 && (i == 0 || tag.bytes[i - 1] == '-')))
            return false;
    }
    return run > 0;
}

/* "EN-us" → "en-US", "zh-hant" → "zh-Hant". */
static struct text in_usual_case(struct text tag, char out[EVENT_LANGUAGE_MAX])
{
    for (size_t start = 0, end; start < tag.length; start = end + 1) {
        size_t length;

        for (end = start; end < tag.length && tag.bytes[end] != '-'; end++)
            out[end] = ascii_lower(tag.bytes[end]);
        length = end - start;
        if (start > 0 && length == 2) {
            for (size_t i = start; i < end; i++)
                out[i] = out[i] >= 'a' ? (char)(out[i] - 32) : out[i];
        } else if (start > 0 && length == 4 && out[start] >= 'a') {
            out[start] = (char)(out[start] - 32);
        }
        if (end < tag.length)
            out[end] = '-';
    }
    return (struct text){out, tag.length};
}

struct text language_preferred(struct text accept_language, char out[EVENT_LANGUAGE_MAX])
{
    struct text best = {NULL, 0};
    int best_quality = 0;

    for (int i = 0; i < LANGUAGES_MAX && accept_language.bytes && best_quality < 1000; i++) {
        struct text item = text_cut(&accept_language, ',');
        struct text tag = text_trim(text_cut(&item, ';'));
        int quality = item.bytes ? language_quality(item) : 1000;

        if (quality > best_quality && is_tag(tag)) {
            best = tag;
            best_quality = quality;
        }
    }
    return best.length ? in_usual_case(best, out) : best;
}
