#pragma once
/* The bytes of a compiled program, shared by rules_compile.c and rules_choose.c. Little-endian, not
 * aligned:
 *
 *   rule:       u16 length of what follows, u8 conditions, condition…, u8 action, its data
 *   condition:  u8 kind, u16 length, data
 *   names:      of CONDITION_DEVICE … CONDITION_VERDICT: u8 class numbers
 *   country:    two letters each
 *   texts:      of region, city, language: u8 length, bytes; each
 *   query:      u8 name length, name, u8 whether a value is wanted, the value
 *   time:       i64 from, i64 until, in microseconds
 *   target:     u8 flags, u16 length, u16 fragment offset, bytes
 *   ACTION_GO:     target          ACTION_BLOCK: u16 status
 *   ACTION_SPLIT:  u8 variants, then for each: u8 weights up to and with it, target
 *   ACTION_APP:    u8 which (bits APP_…), then the targets that are there, in the order of the bits
 */

enum condition {
    CONDITION_DEVICE = 1,
    CONDITION_OS,
    CONDITION_APP,
    CONDITION_PLATFORM,
    CONDITION_VERDICT,
    CONDITION_COUNTRY,
    CONDITION_REGION,
    CONDITION_CITY,
    CONDITION_LANGUAGE,
    CONDITION_QUERY,
    CONDITION_TIME,
};

enum action { ACTION_GO = 1, ACTION_SPLIT, ACTION_APP, ACTION_BLOCK };

enum target_flag { TARGET_HAS_QUERY = 1, TARGET_IS_TEMPLATE = 2 };

/* The targets of ACTION_APP: the Android store is for browsers inside other apps, which follow no
 * intent. */
enum app_target { APP_IOS = 1, APP_ANDROID = 2, APP_ANDROID_STORE = 4 };

#define SPLIT_TOTAL 100
