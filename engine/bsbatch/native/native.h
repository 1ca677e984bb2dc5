/* Functions exported to bsbatch. It calls them through ctypes, which releases the GIL. */
#ifndef BSBATCH_NATIVE_H
#define BSBATCH_NATIVE_H

#include <stdint.h>

#define OFFERED __attribute__((visibility("default")))

enum { VERSION = 11, DONE = 0, NOT_HERE = 1 };
enum { CELL_ROWS = 64, CELL_COLUMNS = 16, CELLS = CELL_ROWS * CELL_COLUMNS }; /* of whole pairs of rows and columns */

/* Mirrored by `_TWO_VIEWS`, `ViewStatistics` and `PairStatistics` in view_pairs.py. */
struct view_statistics {
    uint64_t total;
    uint64_t positive;
    uint64_t root_total;
    uint64_t root_squares;
    double hotspot_ratio;
    uint32_t low;
    uint32_t high;
    uint32_t saturated;
    uint32_t missing_rows;
};

struct pair_statistics {
    struct view_statistics views[2];
    int64_t antisymmetry;
    uint32_t profiles[2][CELL_ROWS + CELL_COLUMNS]; /* of each view: widths of the body */
    uint32_t body_cells;
    uint32_t absent_cells;
};

/* Pieces of a body from one height to another: those with head and legs, those with one of them, and trunks. */
struct body_pieces {
    const int16_t *samples; /* 32 of each piece */
    uint32_t whole, ends, number; /* with head and legs; with one of them at least; all */
};

enum { IS_TURNED = 1, IS_CUT = 2 };

/* Two 1024 x 256 views to take in, the anterior one first. Mirrored by `_FILES`, `_INPUTS` and `_OUTPUTS`. */
struct load_request {
    const char *files[2]; /* paths, or contents in memory; the same pointer twice if one file holds both */
    int64_t sizes[2];     /* of contents, bytes; negative for paths */
    int64_t offsets[2];
    int64_t begins[2];    /* of the objects in files that have a checksum */
    int64_t lengths[2];   /* of these objects, bytes; negative without a checksum */
    uint32_t crcs[2];
    uint32_t limits[2];
    uint16_t *pixels;     /* both views, contiguous; NULL if not wanted */
    float *image;         /* NULL if counts are wanted */
    uint16_t *counts;
    int64_t is_measured;  /* 0 if neither statistics, the hash nor faults are wanted */
    struct view_statistics views[2];
    int64_t antisymmetry;
    uint32_t cells[2];    /* of the body, and those of them that one view lacks */
    uint64_t hash[2];     /* XXH3, 128 bits, the upper ones first */
    uint32_t faults[2];   /* bits of `bsbatch_judge` */
    uint32_t ranges[4];
    double seconds[3];    /* reading, measuring, composing */
    int32_t result;       /* DONE, or NOT_HERE: the other outputs are then undefined */
};

/* Mirrored by `Layer` in winograd.py. */
struct convolution {
    uint64_t in;
    uint64_t out;
    uint64_t rows;
    uint64_t columns;
    uint64_t is_pooled; /* output is followed by 2 x 2 max pooling */
    const float *kernels;
    const float *bias;
};

OFFERED int32_t bsbatch_views_version(void);
OFFERED int32_t bsbatch_measure(const uint16_t *front, const uint16_t *back, uint64_t rows, uint64_t columns,
                                const uint32_t *limits, struct pair_statistics *statistics);
OFFERED int32_t bsbatch_compose(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], float *image);
OFFERED int32_t bsbatch_compact(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], uint16_t *counts);
OFFERED void bsbatch_hash(const uint16_t *front, const uint16_t *back, uint64_t hash[2]);
OFFERED void bsbatch_judge(const struct pair_statistics *statistics, const struct body_pieces *pieces,
                           double squareness, uint32_t found[2]);
OFFERED void bsbatch_read(const char *const *paths, uint64_t number, int64_t count, char *bytes, int64_t *done);
OFFERED void bsbatch_status(const char *const *paths, uint64_t number, int64_t *found);
OFFERED int32_t bsbatch_checksum(const uint8_t *bytes, uint64_t size, uint32_t *crc); /* NOT_HERE on other processors */
OFFERED void bsbatch_take_in(struct load_request *requests, uint64_t number, const struct body_pieces *pieces);
OFFERED uint32_t bsbatch_lanes(void);
OFFERED void bsbatch_arrange(const float *kernels, uint64_t in, uint64_t out, uint32_t lanes, float *arranged);
OFFERED uint64_t bsbatch_room(const struct convolution *layers, uint64_t number, uint32_t lanes);
OFFERED void bsbatch_convolve(const struct convolution *layers, uint64_t number, uint32_t lanes, const float *image,
                              float *workspace, float *features);

#endif
