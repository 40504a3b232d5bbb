/* See plot.h. The x axis is how many answers of how many were slower: 1 in 2, 1 in 10, … */
#include "loadtest/plot.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define WIDTH  860
#define HEIGHT 460
#define LEFT   80
#define RIGHT  30
#define TOP    50
#define BOTTOM 60

struct plot {
    FILE *out;
    double nines;        /* decades of the x axis */
    double lowest, tall; /* log10 µs at the bottom, decades of the y axis */
};

static double x_of(const struct plot *plot, double fraction)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * fmin(1, -log10(1 - fraction) / plot->nines);
}

static double y_of(const struct plot *plot, int64_t us)
{
    double up = (log10((double)(us < 1 ? 1 : us)) - plot->lowest) / plot->tall;

    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * fmin(1, fmax(0, up));
}

static void set_axes(struct plot *plot, const struct latency *a, const struct latency *b)
{
    int64_t count = a->count > b->count ? a->count : b->count;
    int64_t most = a->most_us > b->most_us ? a->most_us : b->most_us;
    int64_t least = latency_quantile_us(b, 0);

    plot->nines = fmin(6, fmax(2, ceil(log10((double)count + 1))));
    plot->lowest = floor(log10((double)(least < 1 ? 1 : least)));
    plot->tall = fmax(1, ceil(log10((double)most + 1)) - plot->lowest);
}

static void draw_grid(const struct plot *plot)
{
    static const char *const names[] = {"50 %",    "90 %",     "99 %",     "99.9 %",
                                        "99.99 %", "99.999 %", "99.9999 %"};

    for (int i = 0; i <= (int)plot->nines; i++) {
        double x = x_of(plot, i == 0 ? 0.5 : 1 - pow(10, -i));
        fprintf(plot->out,
                "<line x1='%.1f' y1='%d' x2='%.1f' y2='%d' class='g'/>"
                "<text x='%.1f' y='%d' text-anchor='middle'>%s</text>\n",
                x, TOP, x, HEIGHT - BOTTOM, x, HEIGHT - BOTTOM + 20, names[i]);
    }
    for (int i = 0; i <= (int)plot->tall; i++) {
        double us = pow(10, plot->lowest + i), y = y_of(plot, (int64_t)us);
        fprintf(plot->out,
                "<line x1='%d' y1='%.1f' x2='%d' y2='%.1f' class='g'/>"
                "<text x='%d' y='%.1f' text-anchor='end'>%g %s</text>\n",
                LEFT, y, WIDTH - RIGHT, y, LEFT - 8, y + 4, us < 1000 ? us : us / 1000,
                us < 1000 ? "µs" : "ms");
    }
}

/* A line through every bucket: so many answers took no longer. */
static void draw_line(const struct plot *plot, const struct latency *latency, const char *style,
                      const char *name, int row)
{
    double limit = 1 - pow(10, -plot->nines);
    int64_t seen = 0;

    if (latency->count == 0)
        return;
    fprintf(plot->out, "<polyline class='%s' points='%d,%.1f", style, LEFT,
            y_of(plot, latency_quantile_us(latency, 0)));
    for (int i = 0; i < LATENCY_BUCKETS; i++) {
        double fraction;

        if (!latency->counts[i])
            continue;
        seen += latency->counts[i];
        fraction = fmin(limit, (double)seen / (double)latency->count);
        fprintf(plot->out, " %.1f,%.1f", x_of(plot, fraction),
                y_of(plot, latency_bucket_us(latency, i)));
    }
    fprintf(
        plot->out,
        "'/>\n<line class='%s' x1='%d' y1='%d' x2='%d' y2='%d'/><text x='%d' y='%d'>%s</text>\n",
        style, LEFT + 10, TOP + 14 + 18 * row, LEFT + 40, TOP + 14 + 18 * row, LEFT + 48,
        TOP + 18 + 18 * row, name);
}

bool plot_write(const struct figures *figures, bool closed_loop, const char *path,
                struct error *error)
{
    struct plot plot = {.out = fopen(path, "we")};
    bool good;

    if (!plot.out)
        return error_set(error, "cannot write %s: %s", path, strerror(errno));
    set_axes(&plot, &figures->intended, &figures->sent_at);
    fprintf(plot.out,
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 %d %d' font-family='sans-serif' "
            "font-size='12'>\n<style>.g{stroke:#ddd}.i,.s{fill:none;stroke-width:2}"
            ".i{stroke:#c0392b}.s{stroke:#2471a3}</style>\n"
            "<rect width='%d' height='%d' fill='white'/>\n"
            "<text x='%d' y='28' font-size='16'>Latency by percentile, %lld answers</text>\n",
            WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, (long long)figures->answered);
    draw_grid(&plot);
    if (!closed_loop)
        draw_line(&plot, &figures->intended, "i", "from the intended time", 0);
    draw_line(&plot, &figures->sent_at, "s", "from the actual send", closed_loop ? 0 : 1);
    fprintf(plot.out,
            "<text x='%d' y='%d' text-anchor='middle'>answers that took no longer</text>\n</svg>\n",
            (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14);
    good = !ferror(plot.out);
    good = fclose(plot.out) == 0 && good;
    return good || error_set(error, "cannot write %s: %s", path, strerror(errno));
}
