/* See agent.h. One pass over the user agent, and one over the model if that was sent, ask all
 * questions of lists.h; what is left is to weigh the answers. */
#include "server/visitor/agent.h"

#include <string.h>

#include "server/clicks/event.h"
#include "server/visitor/classes.h"
#include "server/visitor/structured.h"

#define BRANDS_MAX         8  /* brands that are looked at */
#define MODEL_MAX          64 /* bytes of a model hint */
#define REQUESTED_WITH_MAX 128

static uint8_t class_of(const struct list_hits *hits, enum list_group group)
{
    return hits->of[group] ? hits->of[group]->class : CLASS_UNKNOWN;
}

static void judge(const struct list_entry *entry, struct agent *out)
{
    out->verdict = entry->class;
    out->rule = entry->rule;
}

/* A phone, tablet or television with a real browser: its model may bear any name. */
static bool is_handheld(const struct list_hits *hits)
{
    uint8_t os = class_of(hits, LIST_OS);

    return hits->of[LIST_ENGINE] && os != CLASS_UNKNOWN && os != OS_WINDOWS && os != OS_MACOS &&
           os != OS_LINUX && os != OS_UNIX && os != OS_CHROME && os != OS_OTHER;
}

/* The verdict. An app's own browser is a person even where the app's name also names a fetcher. */
static void decide_verdict(const struct list_hits *hits, struct agent *out)
{
    const struct list_entry *crawler = hits->of[LIST_CRAWLER];
    bool in_app = hits->of[LIST_APP] && hits->of[LIST_ENGINE];

    out->verdict = VERDICT_HUMAN;
    out->rule = "";
    if (hits->of[LIST_OPERATOR])
        judge(hits->of[LIST_OPERATOR], out);
    else if (hits->of[LIST_PREVIEW])
        judge(hits->of[LIST_PREVIEW], out);
    else if (hits->of[LIST_PERSON])
        return;
    else if (crawler && !(in_app && crawler->class == VERDICT_PREVIEW))
        judge(crawler, out);
    else if (hits->of[LIST_BOT])
        judge(hits->of[LIST_BOT], out);
    else if (hits->of[LIST_MAYBE] && !is_handheld(hits))
        judge(hits->of[LIST_MAYBE], out);
    else if (!hits->of[LIST_ENGINE] && !hits->of[LIST_APP] && !hits->of[LIST_OS] &&
             !hits->of[LIST_DEVICE]) {
        out->verdict = VERDICT_BOT;
        out->rule = "no browser";
    }
}

/* "Android 11; 43SA701 Build/…": what stands behind the system, up to the next bracket or "Build".
 * */
static struct text model_of(struct text user_agent)
{
    const char *at =
        user_agent.length ? memmem(user_agent.bytes, user_agent.length, "Android ", 8) : NULL;
    struct text rest, model;

    if (!at)
        return (struct text){NULL, 0};
    rest = (struct text){at, user_agent.length - (size_t)(at - user_agent.bytes)};
    rest = text_cut(&rest, ')');
    text_cut(&rest, ';');
    do {
        model = text_trim(text_cut(&rest, ';'));
    } while (rest.bytes && model.length <= 5); /* "U", "en-us" */
    if ((at = model.length ? memmem(model.bytes, model.length, " Build", 6) : NULL))
        model.length = (size_t)(at - model.bytes);
    return model;
}

/* A usual size of a television, in inches. */
static bool is_screen_size(unsigned inches)
{
    static const uint8_t sizes[] = {19, 20, 22, 24, 28, 32, 39, 40, 42, 43, 48, 49,
                                    50, 55, 58, 60, 65, 70, 75, 77, 82, 85, 86, 98};

    return memchr(sizes, (int)inches, sizeof sizes) != NULL;
}

static bool is_capital(char c)
{
    return c >= 'A' && c <= 'Z';
}

/* How televisions are numbered: at most five letters, the size in inches, letters, and digits
 * ("43SA701", "H32F8000CG", "39LEX-7289", "VHIX-32F199MSA"). Phones put no letters in there. */
static bool is_television(struct text word)
{
    size_t at = 0, letters = 0, digits = 0;
    unsigned inches;

    while (at < word.length && is_capital(word.bytes[at]))
        at++;
    if (at > 5 || at + 2 >= word.length || !ascii_is_digit(word.bytes[at]) ||
        !ascii_is_digit(word.bytes[at + 1]))
        return false;
    inches = (unsigned)(word.bytes[at] - '0') * 10 + (unsigned)(word.bytes[at + 1] - '0');
    for (at += 2; at < word.length && is_capital(word.bytes[at]); at++)
        letters++;
    if (letters > 1 && at < word.length && (word.bytes[at] == '-' || word.bytes[at] == '_'))
        at++;
    for (; at < word.length && ascii_is_digit(word.bytes[at]); at++)
        digits++;
    return is_screen_size(inches) && letters >= 1 && letters <= 6 &&
           (digits >= 2 || (digits == 1 && word.length >= 9));
}

static bool is_separator(char c)
{
    return c == ' ' || c == '_' || c == '-' || c == '/';
}

static bool names_television(struct text model)
{
    for (size_t i = 0; i < model.length; i++) {
        struct text word = {model.bytes + i, model.length - i};

        if ((i == 0 || is_separator(model.bytes[i - 1])) && is_television(word))
            return true;
    }
    return false;
}

/* A size in inches that only tablets have, as it is or before the network ("Platina 7.1",
 * "Tesla L7.1", "Compaq 7", "Deimos 7"); Nokia numbers its phones like that. */
static bool names_tablet(struct text model)
{
    const char *end;

    if (model.length == 0 || text_contains_nocase(model, "nokia") ||
        text_contains_nocase(model, "phone"))
        return false;
    end = model.bytes + model.length;
    for (const char *at = model.bytes; at < end; at++) {
        bool starts = at > model.bytes && (at[-1] == ' ' || at[-1] == '_' || at[-1] == 'L');
        const char *behind = at + (end - at > 1 && at[0] == '1' && at[1] == '0' ? 2 : 1);

        if (!starts || !ascii_is_digit(*at) || (behind == at + 1 && *at < '7'))
            continue;
        if (end - behind >= 2 && behind[0] == '.' && ascii_is_digit(behind[1]) &&
            (end - behind == 2 || !ascii_is_digit(behind[2]) || memcmp(behind, ".85", 3) == 0))
            return true;
    }
    return false;
}

/* The device where nothing names it: by what the system is used on. */
static uint8_t usual_device(uint8_t os, uint8_t said)
{
    switch (os) {
    case OS_ANDROID: return said ? said : DEVICE_TABLET;
    case OS_HARMONY:
    case OS_IOS:
    case OS_KAIOS:
    case OS_WINDOWS_PHONE:
    case OS_BLACKBERRY:
    case OS_SYMBIAN:
    case OS_PHONE: return said ? said : DEVICE_SMARTPHONE;
    case OS_TIZEN:
    case OS_WEBOS: return said ? said : DEVICE_TV;
    case OS_PLAYSTATION:
    case OS_NINTENDO: return DEVICE_CONSOLE;
    case OS_WINDOWS:
    case OS_MACOS:
    case OS_LINUX:
    case OS_CHROME:
    case OS_UNIX:
    case OS_OTHER: return DEVICE_DESKTOP;
    default: return said;
    }
}

/* ---- client hints ---------------------------------------------------------------------------- */

/* The text of an item; empty if it is missing or malformed. */
static struct text hint(struct text field, enum sf_type type)
{
    struct sf_item item;

    return field.length && sf_item(field, &item) && item.type == type ? item.text
                                                                      : (struct text){NULL, 0};
}

/* A browser by the name in its brand: "Brave", "Google Chrome", "Microsoft Edge". */
static uint8_t brand_number(struct text brand)
{
    static const char *const makers[] = {"Google ", "Microsoft "};

    if (text_equals_nocase(brand, "Chromium"))
        return CLASS_UNKNOWN; /* what all of them are made of */
    for (size_t i = 0; i < sizeof makers / sizeof makers[0]; i++) {
        size_t length = strlen(makers[i]);

        if (brand.length > length && memcmp(brand.bytes, makers[i], length) == 0)
            return browser_number((struct text){brand.bytes + length, brand.length - length});
    }
    return browser_number(brand);
}

/* Brands refine the browser, and own up to being headless. */
static void read_brands(struct text field, struct agent *out)
{
    struct sf_item brand;

    for (int i = 0; i < BRANDS_MAX && sf_next_in_list(&field, &brand); i++) {
        uint8_t browser = brand_number(brand.text);

        if (text_contains_nocase(brand.text, "headless") && out->verdict == VERDICT_HUMAN) {
            out->verdict = VERDICT_BOT;
            out->rule = "headless brand";
        }
        if (browser != CLASS_UNKNOWN && out->browser != CLASS_UNKNOWN &&
            browser != browser_number(TEXT("Chrome")))
            out->browser = browser;
    }
}

/* A browser tells the same system in its user agent and in its hint; who forges the one often
 * forgets the other. Systems that pose as others on purpose (Linux for "desktop page") are left. */
static bool is_contradiction(uint8_t os, uint8_t hinted)
{
    return (os == OS_WINDOWS && hinted != OS_WINDOWS) ||
           (os == OS_MACOS && hinted != OS_MACOS && hinted != OS_IOS);
}

static void read_platform(struct text field, struct agent *out)
{
    struct text name = hint(field, SF_STRING);
    uint8_t os = text_equals_nocase(name, "Chromium OS") ? OS_CHROME : os_number(name);

    if (os == CLASS_UNKNOWN)
        return;
    if (is_contradiction(out->os, os) && out->verdict == VERDICT_HUMAN) {
        out->verdict = VERDICT_INVALID;
        out->rule = "platform hint contradicts user agent";
    }
    if (out->os == CLASS_UNKNOWN || out->os == OS_LINUX)
        out->os = os;
}

static void read_requested_with(const struct lists *lists, struct text name, struct agent *out)
{
    struct list_hits hits;

    if (name.length == 0 || name.length > REQUESTED_WITH_MAX ||
        !memchr(name.bytes, '.', name.length))
        return;
    lists_match(lists, name, &hits);
    if (out->app == CLASS_UNKNOWN)
        out->app = class_of(&hits, LIST_APP);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static uint8_t device_by_model(const struct lists *lists, struct text model)
{
    struct list_hits hits;

    if (model.length == 0 || model.length > MODEL_MAX)
        return CLASS_UNKNOWN;
    if (names_television(model))
        return DEVICE_TV;
    lists_match(lists, model, &hits);
    return class_of(&hits, LIST_DEVICE);
}

static void decide_device(const struct lists *lists, const struct list_hits *hits,
                          const struct agent_request *request, struct text user_agent,
                          struct agent *out)
{
    struct text mobile = hint(request->mobile, SF_BOOLEAN);
    uint8_t said = class_of(hits, LIST_MOBILE);

    out->device = class_of(hits, LIST_DEVICE);
    if ((out->device == CLASS_UNKNOWN || out->device == DEVICE_TABLET) && out->os == OS_ANDROID &&
        names_television(model_of(user_agent)))
        out->device = DEVICE_TV;
    if (out->device == CLASS_UNKNOWN && out->os == OS_ANDROID && names_tablet(model_of(user_agent)))
        out->device = DEVICE_TABLET;
    if (out->device == CLASS_UNKNOWN)
        out->device = device_by_model(lists, hint(request->model, SF_STRING));
    if (out->device != CLASS_UNKNOWN)
        return;
    if (mobile.length && mobile.bytes[0] == '1')
        said = DEVICE_SMARTPHONE;
    out->device = usual_device(out->os, said);
}

void agent_read(const struct lists *lists, const struct agent_request *request, struct agent *out)
{
    struct text user_agent = request->user_agent;
    struct list_hits hits;

    *out = (struct agent){.verdict = VERDICT_INVALID, .rule = "no user agent"};
    if (user_agent.length > AGENT_MAX)
        user_agent.length = AGENT_MAX;
    if (text_trim(user_agent).length == 0)
        return;
    lists_match(lists, user_agent, &hits);
    decide_verdict(&hits, out);
    out->os = class_of(&hits, LIST_OS);
    out->app = class_of(&hits, LIST_APP);
    out->browser = class_of(&hits, LIST_BROWSER);
    read_brands(request->brands, out);
    read_platform(request->platform, out);
    read_requested_with(lists, request->requested_with, out);
    decide_device(lists, &hits, request, user_agent, out);
    if (out->verdict == VERDICT_BOT || out->verdict == VERDICT_PREVIEW)
        out->device = DEVICE_BOT;
}
