/* Destinations: whatever comes in, nothing is read or written past an end, and what is accepted is
 * safe in a Location header, points to its parts, and parses to itself. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "server/links/destination.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct destination first, second;
    struct error error;

    if (!destination_parse((const char *)data, size, &first, &error)) {
        assert(error.text[0] != '\0');
        return 0;
    }
    assert(first.length == strlen(first.url) && first.length <= LINK_DESTINATION_MAX);
    assert(strncmp(first.url, "http://", 7) == 0 || strncmp(first.url, "https://", 8) == 0);
    assert(first.host_length > 0 && first.host_length <= LINK_HOST_MAX);
    assert(strcspn(first.url, "#") == first.fragment_offset);
    assert((memchr(first.url, '?', first.fragment_offset) != NULL) == first.has_query);
    for (size_t i = 0; i < first.length; i++)
        assert(first.url[i] > ' ' && first.url[i] < 0x7F);
    assert(destination_parse(first.url, first.length, &second, &error));
    assert(strcmp(first.url, second.url) == 0);
    assert(first.host_offset == second.host_offset && first.host_length == second.host_length);
    return 0;
}
