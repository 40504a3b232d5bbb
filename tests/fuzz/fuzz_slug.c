/* Slugs: a slug that may be made is found again when a browser asks for it percent-encoded; what a
 * path decodes to would be a valid slug but for the reserved names. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "server/links/slug.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char out[LINK_SLUG_MAX], encoded[3 * LINK_SLUG_MAX];
    const char *slug = (const char *)data;
    struct error error = {""};
    size_t length;

    if (size <= LINK_SLUG_MAX)
        (void)slug_has_blocked_word(slug, size);
    if (slug_check(slug, size, &error)) {
        for (size_t i = 0; i < size; i++) {
            encoded[3 * i] = '%';
            encoded[3 * i + 1] = digits[data[i] >> 4];
            encoded[3 * i + 2] = digits[data[i] & 15];
        }
        length = slug_from_path(encoded, 3 * size, false, out);
        assert(length == size && memcmp(out, slug, size) == 0);
    } else {
        assert(error.text[0] != '\0');
    }
    length = slug_from_path(slug, size, true, out);
    assert(length <= LINK_SLUG_MAX);
    if (length > 0 && !slug_check(out, length, &error))
        assert(strstr(error.text, "reserved"));
    return 0;
}
