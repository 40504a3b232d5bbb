#pragma once
/* What records of the replica have in common: texts one after the other behind a header that holds
 * their lengths. Inlined, since a link is decoded for each click. */
#include <assert.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "shared/text.h"

/* Writes the texts behind `at`; their lengths go into `lengths`. Returns where the record ends. */
static inline size_t record_put_texts(unsigned char *out, size_t at, struct text *const *texts,
                                      const size_t *maxima, int count, uint16_t *lengths)
{
    for (int i = 0; i < count; i++) {
        assert(texts[i]->length <= maxima[i]);
        lengths[i] = (uint16_t)texts[i]->length;
        if (texts[i]->length > 0)
            memcpy(out + at, texts[i]->bytes, texts[i]->length);
        at += texts[i]->length;
    }
    return at;
}

/* Points the texts into the record. False if they do not fill it exactly. */
static inline bool record_take_texts(const unsigned char *bytes, size_t length, size_t at,
                                     const uint16_t *lengths, const size_t *maxima, int count,
                                     struct text *const *texts)
{
    for (int i = 0; i < count; i++) {
        if (lengths[i] > maxima[i] || lengths[i] > length - at)
            return false;
        *texts[i] = (struct text){(const char *)bytes + at, lengths[i]};
        at += lengths[i];
    }
    return at == length;
}
