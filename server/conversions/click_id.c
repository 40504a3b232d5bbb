/* See click_id.h.
 *
 * The secret is read once, before forking. A file that cannot be read is an error and is never
 * replaced: a new secret would make every click id that is out there invalid. A crash while it is
 * made leaves either no file or a whole one, since it is written under a private name, synced, and
 * linked to its name only then. */
#include "server/conversions/click_id.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "shared/clock.h"

#define VERSION       1
#define SIGNED_BYTES  32
#define RAW_BYTES     48
#define SECRET_DIGITS (2 * CLICK_ID_SECRET_BYTES)
#define TIME_MS_MAX   ((1LL << 56) - 1)

static_assert(SIGNED_BYTES + crypto_shorthash_siphashx24_BYTES == RAW_BYTES, "128-bit signature");
static_assert(crypto_shorthash_siphashx24_KEYBYTES == CLICK_ID_SECRET_BYTES, "128-bit key");
static_assert(RAW_BYTES / 3 * 4 == CLICK_ID_LENGTH, "base64 without padding");

static void put64(unsigned char *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, sizeof value);
}

static uint64_t get64(const unsigned char *at)
{
    uint64_t value;

    memcpy(&value, at, sizeof value);
    return be64toh(value);
}

static void sign(const unsigned char raw[SIGNED_BYTES], const unsigned char *secret,
                 unsigned char out[crypto_shorthash_siphashx24_BYTES])
{
    /* Cannot fail: there is no allocation and no length that it refuses. */
    (void)crypto_shorthash_siphashx24(out, raw, SIGNED_BYTES, secret);
}

#define EACH(byte) (0x0101010101010101u * (byte))

/* In each of the 8 bytes, 1 if it is at least `limit` (all are below 64). */
static inline uint64_t at_least(uint64_t digits, unsigned limit)
{
    return (digits + EACH(128u - limit)) >> 7 & EACH(1u);
}

/* 48 bits as 8 characters, all at once: the digits are spread over the bytes of a word, and what is
 * to be added to each (A-Z, a-z, 0-9, '-' and '_' are five ranges) is put together by comparing. */
static void encode_group(uint64_t bits, char out[8])
{
    uint64_t digits = bits, add;

    digits = (digits & 0x0000ffffff000000u) << 8 | (digits & 0x0000000000ffffffu);
    digits = (digits & 0x00fff00000fff000u) << 4 | (digits & 0x00000fff00000fffu);
    digits = (digits & 0x0fc00fc00fc00fc0u) << 2 | (digits & 0x003f003f003f003fu);
    add = EACH('A') ^ at_least(digits, 26) * ('A' ^ ('a' - 26)) ^
          at_least(digits, 52) * (('a' - 26) ^ (unsigned char)('0' - 52)) ^
          at_least(digits, 62) * ((unsigned char)('0' - 52) ^ (unsigned char)('-' - 62)) ^
          at_least(digits, 63) * ((unsigned char)('-' - 62) ^ ('_' - 63));
    /* byte by byte modulo 256: the top bits are added without carry */
    digits = htobe64((digits + (add & EACH(0x7fu))) ^ (add & EACH(0x80u)));
    memcpy(out, &digits, 8);
}

static void encode_base64(const unsigned char raw[RAW_BYTES], char out[CLICK_ID_LENGTH])
{
    for (size_t i = 0; i < RAW_BYTES; i += 6, out += 8) {
        uint32_t high;
        uint16_t low;

        memcpy(&high, raw + i, sizeof high);
        memcpy(&low, raw + i + 4, sizeof low);
        encode_group((uint64_t)be32toh(high) << 16 | be16toh(low), out);
    }
}

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '-' ? 62 : c == '_' ? 63 : -1;
}

static bool decode_base64(const char text[CLICK_ID_LENGTH], unsigned char out[RAW_BYTES])
{
    for (size_t i = 0; i < CLICK_ID_LENGTH; i += 4, out += 3) {
        uint32_t bits = 0;

        for (size_t j = 0; j < 4; j++) {
            int digit = base64_digit(text[i + j]);

            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        out[0] = (unsigned char)(bits >> 16);
        out[1] = (unsigned char)(bits >> 8);
        out[2] = (unsigned char)bits;
    }
    return true;
}

void click_id_encode(const struct click_id *id, const unsigned char secret[CLICK_ID_SECRET_BYTES],
                     char out[CLICK_ID_LENGTH])
{
    unsigned char raw[RAW_BYTES];
    int64_t time_ms = id->time_us / US_PER_MS;

    assert(time_ms >= 0 && time_ms <= TIME_MS_MAX);
    put64(raw, (uint64_t)VERSION << 56 | (uint64_t)time_ms);
    put64(raw + 8, id->origin);
    put64(raw + 16, id->seq);
    put64(raw + 24, id->link);
    sign(raw, secret, raw + SIGNED_BYTES);
    encode_base64(raw, out);
}

static void take(const unsigned char raw[RAW_BYTES], struct click_id *out)
{
    out->time_us = (int64_t)(get64(raw) & (uint64_t)TIME_MS_MAX) * US_PER_MS;
    out->origin = get64(raw + 8);
    out->seq = get64(raw + 16);
    out->link = get64(raw + 24);
}

bool click_id_decode(const char *text, size_t length,
                     const unsigned char secret[CLICK_ID_SECRET_BYTES], struct click_id *out)
{
    unsigned char raw[RAW_BYTES], signature[crypto_shorthash_siphashx24_BYTES];

    if (length != CLICK_ID_LENGTH || !decode_base64(text, raw))
        return false;
    sign(raw, secret, signature);
    if (sodium_memcmp(signature, raw + SIGNED_BYTES, sizeof signature) != 0 || raw[0] != VERSION)
        return false;
    take(raw, out);
    return true;
}

bool click_id_read(const char *text, size_t length, struct click_id *out)
{
    unsigned char raw[RAW_BYTES];

    if (length != CLICK_ID_LENGTH || !decode_base64(text, raw) || raw[0] != VERSION)
        return false;
    take(raw, out);
    return true;
}

/* Reads exactly 32 hex digits, with or without a newline behind them. */
static bool read_secret(int fd, const char *path, unsigned char *out, struct error *error)
{
    char text[SECRET_DIGITS + 2];
    ssize_t got = read(fd, text, sizeof text);
    size_t length = 0;

    if (got < 0)
        return error_set(error, "cannot read %s: %s", path, strerror(errno));
    if (got == SECRET_DIGITS + 1 && text[SECRET_DIGITS] == '\n')
        got--;
    if (got != SECRET_DIGITS ||
        sodium_hex2bin(out, CLICK_ID_SECRET_BYTES, text, SECRET_DIGITS, NULL, &length, NULL) != 0 ||
        length != CLICK_ID_SECRET_BYTES)
        return error_set(error, "%s must hold %d hex digits", path, SECRET_DIGITS);
    return true;
}

static bool sync_folder(const char *path, struct error *error)
{
    char folder[4096];
    char *slash;
    bool done;
    int fd;

    snprintf(folder, sizeof folder, "%s", path);
    slash = strrchr(folder, '/');
    if (!slash)
        strcpy(folder, ".");
    else
        slash[slash == folder] = '\0';
    fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    done = fd >= 0 && fsync(fd) == 0;
    if (!done)
        error_set(error, "cannot sync %s: %s", folder, strerror(errno));
    if (fd >= 0)
        close(fd);
    return done;
}

static bool write_secret(int fd, const char *path, struct error *error)
{
    unsigned char secret[CLICK_ID_SECRET_BYTES];
    char text[SECRET_DIGITS + 1];
    bool done;

    randombytes_buf(secret, sizeof secret);
    sodium_bin2hex(text, sizeof text, secret, sizeof secret);
    text[SECRET_DIGITS] = '\n';
    done = write(fd, text, sizeof text) == (ssize_t)sizeof text && fsync(fd) == 0;
    if (!done)
        error_set(error, "cannot write %s: %s", path, strerror(errno));
    sodium_memzero(secret, sizeof secret);
    sodium_memzero(text, sizeof text);
    return done;
}

/* Makes the file; that another process was faster is as good. */
static bool make_secret(const char *path, struct error *error)
{
    char private[4096];
    bool done;
    int fd;

    snprintf(private, sizeof private, "%s.%ld", path, (long)getpid());
    (void)unlink(private); /* what a process of this number left half made */
    fd = open(private, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_set(error, "cannot make %s: %s", path, strerror(errno));
    done = write_secret(fd, private, error);
    if (done && link(private, path) != 0 && errno != EEXIST)
        done = error_set(error, "cannot make %s: %s", path, strerror(errno));
    close(fd);
    (void)unlink(private);
    return done && sync_folder(path, error);
}

bool click_id_load_secret(const char *path, unsigned char out[CLICK_ID_SECRET_BYTES],
                          struct error *error)
{
    bool done;
    int fd;

    if (sodium_init() < 0)
        return error_set(error, "libsodium cannot start");
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT) {
        if (!make_secret(path, error))
            return false;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    if (fd < 0)
        return error_set(error, "cannot open %s: %s", path, strerror(errno));
    done = read_secret(fd, path, out, error);
    close(fd);
    return done;
}
