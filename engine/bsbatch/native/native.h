/* What is offered to bsbatch, which calls it through ctypes and never while it holds Python's lock. */
#ifndef BSBATCH_NATIVE_H
#define BSBATCH_NATIVE_H

#include <stdint.h>

#define OFFERED __attribute__((visibility("default")))

enum { VERSION = 3, DONE = 0, NOT_HERE = 1 };

/* Mirrored by `ViewFigures`, `PairFigures` and `Order` in views.py. */
struct view_figures {
    uint64_t total;
    uint64_t positive;
    uint64_t root_total;
    uint64_t root_squares;
    uint32_t low;
    uint32_t high;
    uint32_t lower;
    uint32_t higher;
    uint32_t saturated;
    uint32_t is_cut;
};

struct pair_figures {
    struct view_figures views[2];
    int64_t antisymmetry;
};

/* Two views of 1024 x 256, the anterior one first: where they lie, and where what is made of them shall go. */
struct order {
    const char *paths[2]; /* one pointer twice where both lie in one file */
    int64_t offsets[2];
    uint32_t limits[2];
    uint16_t *pixels;             /* both views, one behind the other */
    struct pair_figures *figures; /* NULL where nobody asks */
    float *image;                 /* NULL where counts are wanted */
    uint16_t *counts;
    uint32_t ranges[4];
    double seconds[3]; /* of reading, measuring, composing */
};

/* Mirrored by `Layer` in winograd.py. */
struct convolution {
    uint64_t in;
    uint64_t out;
    uint64_t rows;
    uint64_t columns;
    uint64_t is_pooled; /* 2 x 2 maxima are what it gives */
    const float *kernels;
    const float *bias;
};

OFFERED int32_t bsbatch_views_version(void);
OFFERED int32_t bsbatch_measure(const uint16_t *front, const uint16_t *back, uint64_t rows, uint64_t columns,
                                const uint32_t *limits, struct pair_figures *figures);
OFFERED int32_t bsbatch_compose(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], float *image);
OFFERED int32_t bsbatch_compact(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], uint16_t *counts);
OFFERED int64_t bsbatch_read(const char *path, int64_t offset, int64_t count, void *bytes);
OFFERED int32_t bsbatch_take_in(struct order *order);
OFFERED uint32_t bsbatch_lanes(void);
OFFERED void bsbatch_arrange(const float *kernels, uint64_t in, uint64_t out, uint32_t lanes, float *arranged);
OFFERED uint64_t bsbatch_room(const struct convolution *layers, uint64_t number, uint32_t lanes);
OFFERED void bsbatch_convolve(const struct convolution *layers, uint64_t number, uint32_t lanes, const float *image,
                              float *room, float *features);

#endif
