/* See told.h. Pure but for jansson's memory. */
#include "server/conversions/told.h"

#include <assert.h>

static size_t dump(const json_t *report, char out[EVENT_TOLD_MAX])
{
    size_t length = json_dumpb(report, out, EVENT_TOLD_MAX, JSON_COMPACT);

    return length <= EVENT_TOLD_MAX ? length : 0;
}

size_t told_write(json_t *report, char out[EVENT_TOLD_MAX])
{
    static const char *const loses[] = {"items", "metadata"};
    size_t length = dump(report, out);

    assert(json_is_object(report));
    for (size_t i = 0; length == 0 && i < sizeof loses / sizeof loses[0]; i++) {
        json_t *metadata;

        if (json_object_del(report, loses[i]) < 0)
            continue; /* it has none */
        metadata = json_object_get(report, "metadata");
        if (!metadata) {
            metadata = json_object();
            json_object_set_new(report, "metadata", metadata);
        }
        json_object_set_new(metadata, "left_out", json_string(loses[i]));
        length = dump(report, out);
    }
    return length;
}
