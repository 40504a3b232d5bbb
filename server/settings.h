#pragma once
/* Settings: one table (server/settings_table.h) with name, type, unit, range, default and doc text;
 * the struct below, the file parser, the environment, `kudos settings` and the sample file are all
 * made from it.
 *
 * Order: default, then the file given with -c, then the environment (KUDOS_<NAME>). An unknown name
 * or a bad value refuses to start and says file and line, or the variable. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "shared/error.h"
#include "shared/log.h"

#define SETTING_TEXT_MAX 1024

/* Types: text; integer with a unit that is part of the name or the doc; on/off; address as
 * "IP:PORT" or "[IPv6]:PORT". */
#define SETTING_FIELD_TEXT(name)    char name[SETTING_TEXT_MAX];
#define SETTING_FIELD_ADDRESS(name) char name[SETTING_TEXT_MAX];
#define SETTING_FIELD_INTEGER(name) int64_t name;
#define SETTING_FIELD_BOOL(name)    bool name;

struct settings {
#define SETTING(type, name, low, high, unit, value, reload, doc) SETTING_FIELD_##type(name)
#include "server/settings_table.h"
#undef SETTING
};

/* Fills `out` from defaults, `path` (NULL: none) and the environment. */
bool settings_load(const char *path, struct settings *out, struct error *error) MUST_CHECK;

/* The file of the last settings_load(), NULL if none: what SIGHUP reads again. */
const char *settings_path(void);

/* Names, separated by ", ", of settings that differ and take effect only after a restart. Returns
 * how many. For SIGHUP. */
int settings_restart_needed(const struct settings *old, const struct settings *new, char *names,
                            size_t size);

/* The setting log_level as a level. */
enum log_level settings_log_level(const struct settings *settings);

/* Prints every setting with its doc text, range and value, as a file that settings_load() reads. */
void settings_print(const struct settings *settings, FILE *out);
