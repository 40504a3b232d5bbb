/* See relations.h. A hash table by open addressing for each kind, of ids and of where in one long
 * piece of memory the texts are: each its length and its bytes. */
#include "server/links/relations.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "server/links/row.h"
#include "server/links/source.h"

#define SLOTS_MIN 1024
#define BYTES_MIN (64 * 1024)
#define NO_TEXT   UINT32_MAX

struct slot {
    uint64_t id; /* 0: free */
    size_t at;
};

struct table {
    struct slot *slots;
    size_t size, used; /* size is a power of two, or 0 */
};

struct relations {
    struct table tables[RELATION_KINDS];
    char *bytes;
    size_t length, room;
};

struct relations *relations_new(void)
{
    struct relations *relations = calloc(1, sizeof *relations);

    assert(relations);
    return relations;
}

void relations_free(struct relations *relations)
{
    if (!relations)
        return;
    for (int kind = 0; kind < RELATION_KINDS; kind++)
        free(relations->tables[kind].slots);
    free(relations->bytes);
    free(relations);
}

/* The slot of an id, or the free one where it belongs. */
static struct slot *slot_of(const struct table *table, uint64_t id)
{
    size_t mask = table->size - 1;

    assert(table->used < table->size);
    for (size_t i = (id * 0x9e3779b97f4a7c15u >> 20) & mask;; i = (i + 1) & mask)
        if (table->slots[i].id == 0 || table->slots[i].id == id)
            return &table->slots[i];
}

static void grow(struct table *table)
{
    struct table larger = {.size = table->size ? 2 * table->size : SLOTS_MIN};

    larger.slots = calloc(larger.size, sizeof *larger.slots);
    assert(larger.slots);
    for (size_t i = 0; i < table->size; i++) {
        if (table->slots[i].id == 0)
            continue;
        *slot_of(&larger, table->slots[i].id) = table->slots[i];
        larger.used++;
    }
    free(table->slots);
    *table = larger;
}

/* Makes place for so many bytes more. */
static bool reserve(struct relations *relations, size_t length)
{
    size_t room = relations->room ? relations->room : BYTES_MIN;

    if (length > RELATIONS_BYTES_MAX - relations->length)
        return false;
    while (room < relations->length + length)
        room *= 2;
    if (room == relations->room)
        return true;
    relations->bytes = realloc(relations->bytes, room);
    assert(relations->bytes);
    relations->room = room;
    return true;
}

static void put_text(struct relations *relations, struct text text)
{
    uint32_t length = text.bytes ? (uint32_t)text.length : NO_TEXT;

    memcpy(relations->bytes + relations->length, &length, sizeof length);
    relations->length += sizeof length;
    if (text.bytes && text.length > 0)
        memcpy(relations->bytes + relations->length, text.bytes, text.length);
    relations->length += text.bytes ? text.length : 0;
}

bool relations_add(struct relations *relations, enum relation_kind kind, uint64_t id,
                   const struct relation *relation)
{
    struct table *table = &relations->tables[kind];
    struct slot *slot;
    size_t length = 0;

    assert(id != 0);
    for (int i = 0; i < RELATION_TEXTS; i++)
        length += sizeof(uint32_t) + relation->of[i].length;
    if (!reserve(relations, length))
        return false;
    if (2 * (table->used + 1) > table->size)
        grow(table);
    slot = slot_of(table, id);
    assert(slot->id == 0);
    *slot = (struct slot){id, relations->length};
    table->used++;
    for (int i = 0; i < RELATION_TEXTS; i++)
        put_text(relations, relation->of[i]);
    return true;
}

bool relations_find(const struct relations *relations, enum relation_kind kind, uint64_t id,
                    struct relation *out)
{
    const struct table *table = &relations->tables[kind];
    const struct slot *slot = table->size && id ? slot_of(table, id) : NULL;
    const char *at;

    *out = (struct relation){.of = {{NULL, 0}}};
    if (!slot || slot->id == 0)
        return false;
    at = relations->bytes + slot->at;
    for (int i = 0; i < RELATION_TEXTS; i++) {
        uint32_t length;

        memcpy(&length, at, sizeof length);
        at += sizeof length;
        if (length == NO_TEXT)
            continue;
        out->of[i] = (struct text){at, length};
        at += length;
    }
    return true;
}

/* Reading them ----------------------------------------------------------------------------------- */

static const char COPY_CAMPAIGNS[] =
    "copy (select id, utm::text, slug, name from kudos.campaigns) to stdout (format binary)";
static const char COPY_INFLUENCERS[] =
    "copy (select i.id, i.handle, i.name, p.url from kudos.influencers i"
    " left join (select distinct on (influencer_id) influencer_id, url"
    "   from kudos.influencer_profiles"
    "   order by influencer_id, followers desc nulls last, id) p on p.influencer_id = i.id)"
    " to stdout (format binary)";

struct loading {
    struct relations *relations;
    enum relation_kind kind;
    bool fits;
};

static bool on_relation(struct text tuple, void *argument, struct error *error)
{
    struct loading *loading = argument;
    struct relation relation;
    uint64_t id;

    if (!row_relation(tuple, &id, &relation, error))
        return false;
    if (loading->fits && (int64_t)id > 0)
        loading->fits = relations_add(loading->relations, loading->kind, id, &relation);
    return true;
}

bool relations_load(struct relations *relations, struct source *source, bool *fits,
                    struct error *error)
{
    struct loading loading = {relations, RELATION_CAMPAIGN, true};
    bool good = source_copy(source, COPY_CAMPAIGNS, on_relation, &loading, error);

    loading.kind = RELATION_INFLUENCER;
    good = good && source_copy(source, COPY_INFLUENCERS, on_relation, &loading, error);
    *fits = loading.fits;
    return good;
}
