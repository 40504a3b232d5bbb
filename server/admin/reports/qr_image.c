/* See qr_image.h. The PNG is written here, on zlib, which is linked anyway: one bit a pixel and a
 * palette of two colours is all it needs, and libpng would be a library more to keep up. */
#include "server/admin/reports/qr_image.h"

#include <assert.h>
#include <event2/buffer.h>
#include <qrencode.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

static QRcode *encode(const char *text, const struct qr_look *look, struct error *error)
{
    static const QRecLevel levels[] = {QR_ECLEVEL_L, QR_ECLEVEL_M, QR_ECLEVEL_Q, QR_ECLEVEL_H};
    QRcode *code =
        QRcode_encodeData((int)strlen(text), (const unsigned char *)text, 0, levels[look->level]);

    if (!code)
        error_set(error, "is too long for a QR code");
    return code;
}

static bool is_dark(const QRcode *code, int x, int y)
{
    return code->data[y * code->width + x] & 1;
}

/* --- SVG --- */

/* Dark modules of a line, as rectangles of the path: one for each run. */
static void put_line(const QRcode *code, int y, unsigned margin, struct evbuffer *out)
{
    for (int x = 0, run; x < code->width; x += run) {
        run = 1;
        if (!is_dark(code, x, y))
            continue;
        while (x + run < code->width && is_dark(code, x + run, y))
            run++;
        evbuffer_add_printf(out, "M%u %uh%dv1h-%dz", (unsigned)x + margin, (unsigned)y + margin,
                            run, run);
    }
}

bool qr_image_svg(const char *text, const struct qr_look *look, struct evbuffer *out,
                  struct error *error)
{
    QRcode *code = encode(text, look, error);
    unsigned total;

    if (!code)
        return false;
    total = (unsigned)code->width + 2 * look->margin;
    evbuffer_add_printf(out,
                        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" "
                        "viewBox=\"0 0 %u %u\" shape-rendering=\"crispEdges\">\n",
                        look->size, look->size, total, total);
    if (!look->transparent)
        evbuffer_add_printf(out, "<path fill=\"#%06x\" d=\"M0 0h%uv%uH0z\"/>\n",
                            (unsigned)look->background, total, total);
    evbuffer_add_printf(out, "<path fill=\"#%06x\" d=\"", (unsigned)look->colour);
    for (int y = 0; y < code->width; y++)
        put_line(code, y, look->margin, out);
    evbuffer_add_printf(out, "\"/>\n</svg>\n");
    QRcode_free(code);
    return true;
}

/* --- PNG --- */

static void put_number(unsigned char *at, uint32_t value)
{
    at[0] = (unsigned char)(value >> 24);
    at[1] = (unsigned char)(value >> 16);
    at[2] = (unsigned char)(value >> 8);
    at[3] = (unsigned char)value;
}

static void put_chunk(struct evbuffer *out, const char type[4], const unsigned char *data,
                      size_t length)
{
    unsigned char number[4];
    uLong crc = crc32(crc32(0, NULL, 0), (const unsigned char *)type, 4);

    if (length > 0)
        crc = crc32(crc, data, (uInt)length);
    put_number(number, (uint32_t)length);
    evbuffer_add(out, number, 4);
    evbuffer_add(out, type, 4);
    evbuffer_add(out, data, length);
    put_number(number, (uint32_t)crc);
    evbuffer_add(out, number, 4);
}

static void put_head(struct evbuffer *out, const struct qr_look *look)
{
    static const unsigned char see_through[] = {0};
    unsigned char head[13] = {[8] = 1 /* bit a pixel */, [9] = 3 /* palette */};
    unsigned char palette[6], number[4];

    put_number(head, look->size);
    put_number(head + 4, look->size);
    put_number(number, look->background);
    memcpy(palette, number + 1, 3);
    put_number(number, look->colour);
    memcpy(palette + 3, number + 1, 3);
    evbuffer_add(out, "\x89PNG\r\n\x1a\n", 8);
    put_chunk(out, "IHDR", head, sizeof head);
    put_chunk(out, "PLTE", palette, sizeof palette);
    if (look->transparent)
        put_chunk(out, "tRNS", see_through, sizeof see_through);
}

/* A line of pixels: a byte that says "as it is", then the bits. */
static void draw_line(const QRcode *code, int y, unsigned scale, unsigned left, unsigned char *line)
{
    for (int x = 0; x < code->width; x++) {
        if (!is_dark(code, x, y))
            continue;
        for (unsigned i = 0; i < scale; i++) {
            unsigned at = left + (unsigned)x * scale + i;

            line[1 + at / 8] |= (unsigned char)(0x80 >> at % 8);
        }
    }
}

static bool put_pixels(struct evbuffer *out, const QRcode *code, const struct qr_look *look,
                       struct error *error)
{
    size_t stride = 1 + (look->size + 7) / 8, length = stride * look->size;
    unsigned total = (unsigned)code->width + 2 * look->margin, scale = look->size / total;
    unsigned edge;
    uLongf room = compressBound(length);
    unsigned char *pixels, *packed;

    if (scale == 0)
        return error_set(error, "must be at least %u for this link", total);
    edge = (look->size - (unsigned)code->width * scale) / 2;
    pixels = calloc(1, length);
    packed = malloc(room);
    assert(pixels && packed);
    for (unsigned y = 0; y < (unsigned)code->width * scale; y++)
        draw_line(code, (int)(y / scale), scale, edge, pixels + (edge + y) * stride);
    if (compress2(packed, &room, pixels, length, 6) != Z_OK)
        abort();
    put_chunk(out, "IDAT", packed, room);
    free(packed);
    free(pixels);
    return true;
}

bool qr_image_png(const char *text, const struct qr_look *look, struct evbuffer *out,
                  struct error *error)
{
    QRcode *code = encode(text, look, error);
    bool good;

    if (!code)
        return false;
    put_head(out, look);
    good = put_pixels(out, code, look, error);
    put_chunk(out, "IEND", NULL, 0);
    QRcode_free(code);
    return good;
}
