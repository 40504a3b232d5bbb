/* See mix.h. The header lines of each entry are put together once, so that a request costs a few
 * memcpy. A line that would break a request (control characters) is refused. */
#include "loadtest/mix.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "shared/embed.h"
#include "shared/text.h"

EMBED(agents_txt, "loadtest/agents.txt");
EMBED(referrers_txt, "loadtest/referrers.txt");
EMBED(countries_txt, "loadtest/countries.txt");

/* A line being read; `fields` gathers what the entry sends. */
struct line {
    struct text rest;
    char fields[MIX_LINE_MAX];
    size_t length;
    struct error *error;
};

typedef bool add_line(struct mix *mix, double weight, struct line *line);

static struct text next_cell(struct line *line)
{
    return line->rest.bytes ? text_cut(&line->rest, '\t') : (struct text){NULL, 0};
}

static bool is(struct text text, const char *word)
{
    return text.length == strlen(word) && memcmp(text.bytes, word, text.length) == 0;
}

/* Adds "name: value CRLF"; with an empty name the value is a whole line. */
static void put_field(struct line *line, const char *name, struct text value)
{
    int room = (int)(sizeof line->fields - line->length);
    int wrote = snprintf(line->fields + line->length, (size_t)room, "%s%s%.*s\r\n", name,
                         *name ? ": " : "", (int)value.length, value.bytes);

    assert(wrote > 0 &&
           wrote < room); /* no longer than the line it comes from, and that is shorter */
    line->length += (size_t)wrote;
}

static struct mix_entry *add(struct mix_list *list, double weight, const struct line *line)
{
    struct mix_entry *entry;

    list->entries = reallocarray(list->entries, list->count + 1, sizeof *list->entries);
    assert(list->entries);
    entry = &list->entries[list->count];
    memset(entry, 0, sizeof *entry);
    entry->up_to = weight + (list->count ? list->entries[list->count - 1].up_to : 0);
    entry->fields = strndup(line->fields, line->length);
    assert(entry->fields);
    entry->length = line->length;
    list->count++;
    return entry;
}

static bool add_agent(struct mix *mix, double weight, struct line *line)
{
    struct text kind = next_cell(line), name = next_cell(line), agent = next_cell(line);
    bool person = is(kind, "person"), referrer = false;
    struct mix_entry *entry;

    if ((!person && !is(kind, "bot")) || name.length == 0 || agent.length == 0)
        return error_set(line->error, "wanted: weight, person or bot, name, user agent");
    if (!is(agent, "-"))
        put_field(line, "User-Agent", agent);
    while (line->rest.bytes) {
        struct text field = next_cell(line);

        if (!memchr(field.bytes, ':', field.length))
            return error_set(line->error, "\"%.*s\" is no header line", (int)field.length,
                             field.bytes);
        referrer = referrer || (field.length > 8 && strncasecmp(field.bytes, "Referer:", 8) == 0);
        put_field(line, "", field);
    }
    put_field(line, "Accept",
              person ? TEXT("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
                     : TEXT("*/*"));
    if (person)
        put_field(line, "",
                  TEXT("Accept-Encoding: gzip, deflate, br\r\nSec-Fetch-Dest: document\r\n"
                       "Sec-Fetch-Mode: navigate\r\nSec-Fetch-Site: cross-site\r\n"
                       "Upgrade-Insecure-Requests: 1"));
    entry = add(person ? &mix->people : &mix->bots, weight, line);
    entry->has_referrer = referrer;
    return true;
}

static bool add_referrer(struct mix *mix, double weight, struct line *line)
{
    struct text address = next_cell(line);

    if (address.length == 0)
        return error_set(line->error, "wanted: weight, address");
    if (!is(address, "-"))
        put_field(line, "Referer", address);
    add(&mix->referrers, weight, line);
    return true;
}

static bool add_country(struct mix *mix, double weight, struct line *line)
{
    struct text code = next_cell(line), language = next_cell(line), network = next_cell(line);
    struct text address = text_cut(&network, '/');
    char text[INET_ADDRSTRLEN] = "";
    struct in_addr parsed;
    struct mix_entry *entry;
    int bits = network.length == 1 || network.length == 2 ? atoi(network.bytes) : 0;

    if (address.length < sizeof text)
        memcpy(text, address.bytes, address.length);
    if (code.length != 2 || language.length == 0 || bits < 8 || bits > 30 ||
        inet_pton(AF_INET, text, &parsed) != 1)
        return error_set(line->error,
                         "wanted: weight, country, languages, network (IPv4, /8 to /30)");
    put_field(line, "Accept-Language", language);
    entry = add(&mix->countries, weight, line);
    entry->mask = UINT32_MAX << (32 - bits);
    entry->network = ntohl(parsed.s_addr) & entry->mask;
    return true;
}

static bool is_clean(struct text text)
{
    for (size_t i = 0; i < text.length; i++)
        if ((text.bytes[i] >= 0 && text.bytes[i] < ' ' && text.bytes[i] != '\t') ||
            text.bytes[i] == 0x7f)
            return false;
    return true;
}

static bool read_line(struct mix *mix, struct text text, add_line *add_it, struct error *error)
{
    struct line line = {.rest = text, .error = error};
    struct text weight = next_cell(&line);
    char number[16] = "", *end;
    double value;

    if (weight.length < sizeof number)
        memcpy(number, weight.bytes, weight.length);
    value = strtod(number, &end);
    /* the fixed fields take less than a quarter of an entry's room */
    if (!is_clean(text) || text.length > MIX_LINE_MAX / 2)
        return error_set(error, "control characters, or more than %d bytes", MIX_LINE_MAX / 2);
    if (end == number || *end != '\0' || !(value >= 0 && value <= 1e9))
        return error_set(error, "a line begins with a weight");
    return add_it(mix, value, &line);
}

static bool read_text(struct mix *mix, const char *path, struct text text, add_line *add_it,
                      struct error *error)
{
    for (int number = 1; text.bytes; number++) {
        struct text line = text_cut(&text, '\n');

        if (number > MIX_LINES_MAX)
            return error_set(error, "%s: more than %d lines", path, MIX_LINES_MAX);
        if (line.length == 0 || line.bytes[0] == '#')
            continue;
        if (!read_line(mix, line, add_it, error))
            return error_prefix(error, "%s:%d", path, number);
    }
    return true;
}

static bool read_list(struct mix *mix, const char *path, struct text built_in, add_line *add_it,
                      struct error *error)
{
    char *bytes;
    size_t length;
    FILE *file;
    bool good;

    if (*path == '\0')
        return read_text(mix, "built-in list", built_in, add_it, error);
    file = fopen(path, "re");
    if (!file)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    bytes = malloc(MIX_BYTES_MAX);
    assert(bytes);
    length = fread(bytes, 1, MIX_BYTES_MAX, file);
    fclose(file);
    good = length < MIX_BYTES_MAX
               ? read_text(mix, path, (struct text){bytes, length}, add_it, error)
               : error_set(error, "%s has more than %d bytes", path, MIX_BYTES_MAX);
    free(bytes);
    return good;
}

static bool has_weight(const struct mix_list *list, const char *what, struct error *error)
{
    return (list->count > 0 && list->entries[list->count - 1].up_to > 0) ||
           error_set(error, "the list of %s is empty, or all its weights are 0", what);
}

bool mix_open(struct mix *mix, const char *agents, const char *referrers, const char *countries,
              struct error *error)
{
    memset(mix, 0, sizeof *mix);
    if (read_list(mix, agents, (struct text){agents_txt, EMBED_SIZE(agents_txt)}, add_agent,
                  error) &&
        read_list(mix, referrers, (struct text){referrers_txt, EMBED_SIZE(referrers_txt)},
                  add_referrer, error) &&
        read_list(mix, countries, (struct text){countries_txt, EMBED_SIZE(countries_txt)},
                  add_country, error) &&
        has_weight(&mix->people, "persons", error) && has_weight(&mix->bots, "bots", error) &&
        has_weight(&mix->referrers, "referrers", error) &&
        has_weight(&mix->countries, "countries", error))
        return true;
    mix_close(mix);
    return false;
}

static void free_list(struct mix_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->entries[i].fields);
    free(list->entries);
}

void mix_close(struct mix *mix)
{
    free_list(&mix->people);
    free_list(&mix->bots);
    free_list(&mix->referrers);
    free_list(&mix->countries);
    memset(mix, 0, sizeof *mix);
}

const struct mix_entry *mix_pick(const struct mix_list *list, double point)
{
    size_t low = 0, high = list->count - 1;
    double wanted;

    assert(list->count > 0 && point >= 0 && point < 1);
    wanted = point * list->entries[high].up_to;
    while (low < high) {
        size_t middle = (low + high) / 2;

        if (wanted < list->entries[middle].up_to)
            high = middle;
        else
            low = middle + 1;
    }
    return &list->entries[low];
}

bool mix_show(const char *name, FILE *out)
{
    const char *text = strcmp(name, "agents") == 0      ? agents_txt
                       : strcmp(name, "referrers") == 0 ? referrers_txt
                       : strcmp(name, "countries") == 0 ? countries_txt
                                                        : NULL;

    return text && fputs(text, out) >= 0;
}
