/*
 * A chain of 3 x 3 convolutions, each followed by bias and ReLU, some by 2 x 2 max pooling: from an image of one
 * channel to features. One call computes one image on one thread; threads may call it in parallel. See winograd.h.
 */
#include "native.h"

#include <stddef.h>
#include <string.h>

enum { POINTS = 36, GAP = 16, FEWEST_TILES = 24, MOST_TILES = 64, MOST_LANES = 16, ALIGNED = 16 };

/* Rows of products are padded by GAP floats: a stride of a power of two would map them to the same cache sets. */
static size_t tiles_at_once(const struct convolution *layer)
{
    size_t tiles = (layer->in + layer->out) / 8;
    return tiles < FEWEST_TILES ? FEWEST_TILES : tiles > MOST_TILES ? MOST_TILES : tiles;
}

#define CASES_TO_4 CASE(1) CASE(2) CASE(3) CASE(4)
#define CASES_TO_12 CASES_TO_4 CASE(5) CASE(6) CASE(7) CASE(8) CASE(9) CASE(10) CASE(11) CASE(12)

#if defined(__x86_64__)
#define LANES 16
#define TILES 12
#define CASES CASES_TO_12
#define NAME(function) function##_of_16
#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,fma")))
#include "winograd.h"

#define LANES 8
#define TILES 6
#define CASES CASES_TO_4 CASE(5) CASE(6)
#define NAME(function) function##_of_8
#define TARGET __attribute__((target("avx2,fma")))
#include "winograd.h"
#endif

#define LANES 4
#if defined(__aarch64__) /* 32 registers */
#define TILES 12
#define CASES CASES_TO_12
#else
#define TILES 4
#define CASES CASES_TO_4
#endif
#define NAME(function) function##_of_4
#define TARGET
#include "winograd.h"

OFFERED uint32_t bsbatch_lanes(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 16;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 8;
#endif
    return 4;
}

/* Kernels (out, in, 3, 3), transformed to (36, out / 2 lanes, in, 2 lanes), or to (9, out) if in is 1. */
OFFERED void bsbatch_arrange(const float *kernels, uint64_t in, uint64_t out, uint32_t lanes, float *arranged)
{
    static const double g[6][3] = {{1.0 / 4, 0, 0},
                                   {-1.0 / 6, -1.0 / 6, -1.0 / 6},
                                   {-1.0 / 6, 1.0 / 6, -1.0 / 6},
                                   {1.0 / 24, 1.0 / 12, 1.0 / 6},
                                   {1.0 / 24, -1.0 / 12, 1.0 / 6},
                                   {0, 0, 1}};
    size_t panel = 2 * (size_t)lanes;
    if (in == 1) {
        for (size_t k = 0; k < out; k++)
            for (size_t i = 0; i < 9; i++)
                arranged[i * out + k] = kernels[9 * k + i];
        return;
    }
    float points[POINTS][2 * MOST_LANES]; /* collected first: the destinations are a power of two apart */
    for (size_t first = 0; first < out; first += panel)
        for (size_t c = 0; c < in; c++) {
            for (size_t k = 0; k < panel; k++) {
                const float *kernel = kernels + 9 * ((first + k) * in + c);
                for (size_t i = 0; i < 6; i++) {
                    double half[3];
                    for (size_t j = 0; j < 3; j++)
                        half[j] = g[i][0] * kernel[j] + g[i][1] * kernel[3 + j] + g[i][2] * kernel[6 + j];
                    for (size_t j = 0; j < 6; j++)
                        points[6 * i + j][k] = (float)(g[j][0] * half[0] + g[j][1] * half[1] + g[j][2] * half[2]);
                }
            }
            for (size_t point = 0; point < POINTS; point++)
                memcpy(arranged + point * in * out + (first * in + c * panel), points[point], panel * sizeof **points);
        }
}

static size_t rows_of(const struct convolution *layer)
{
    return layer->is_pooled ? layer->rows / 2 : layer->rows;
}

static size_t columns_of(const struct convolution *layer)
{
    return layer->is_pooled ? layer->columns / 2 : layer->columns;
}

static size_t round_up(size_t floats)
{
    return (floats + ALIGNED - 1) / ALIGNED * ALIGNED;
}

static size_t size_with_border(size_t channels, size_t rows, size_t columns)
{
    return round_up(channels * (rows + 2) * (columns + 2));
}

/* Floats for the image, the outputs of layers 0, 2, ..., those of layers 1, 3, ..., and points and products. */
static void measure_workspace(const struct convolution *layers, uint64_t number, size_t workspace[4])
{
    memset(workspace, 0, 4 * sizeof *workspace);
    workspace[0] = size_with_border(1, layers[0].rows, layers[0].columns);
    for (size_t i = 0; i < number; i++) {
        size_t given = size_with_border(layers[i].out, rows_of(layers + i), columns_of(layers + i));
        size_t used = POINTS * tiles_at_once(layers + i) * (layers[i].in + layers[i].out + 2 * GAP);
        workspace[1 + i % 2] = given > workspace[1 + i % 2] ? given : workspace[1 + i % 2];
        workspace[3] = i > 0 && used > workspace[3] ? used : workspace[3];
    }
}

/* Size of the workspace of `bsbatch_convolve` in floats; 0 if it cannot compute these layers with these lanes. */
OFFERED uint64_t bsbatch_room(const struct convolution *layers, uint64_t number, uint32_t lanes)
{
    size_t workspace[4];
    if (number == 0 || layers[0].in != 1 || layers[0].is_pooled)
        return 0;
    for (size_t i = 0; i < number; i++) {
        const struct convolution *layer = layers + i, *before = layer - 1;
        if (layer->out % (2 * lanes) || layer->rows % 4 || layer->columns % 4)
            return 0;
        if (layer->rows == 0 || layer->columns == 0)
            return 0;
        if (i > 0 && (layer->in != before->out || layer->rows != rows_of(before)))
            return 0;
        if (i > 0 && layer->columns != columns_of(before))
            return 0;
    }
    measure_workspace(layers, number, workspace);
    return workspace[0] + workspace[1] + workspace[2] + workspace[3];
}

static void clear_border(float *image, size_t groups, size_t rows, size_t columns, size_t lanes)
{
    size_t row = (columns + 2) * lanes;
    for (size_t group = 0; group < groups; group++, image += (rows + 2) * row) {
        memset(image, 0, (row + lanes) * sizeof *image);
        for (size_t y = 1; y <= rows; y++) /* end of a row and start of the next */
            memset(image + (y + 1) * row - lanes, 0, 2 * lanes * sizeof *image);
        memset(image + (rows + 1) * row, 0, row * sizeof *image);
    }
}

static void convolve_with(const struct convolution *layer, size_t lanes, const float *in, float *out, float *workspace)
{
#if defined(__x86_64__)
    if (lanes == 16)
        layer->in == 1 ? convolve_first_of_16(layer, in, out) : convolve_of_16(layer, in, out, workspace);
    if (lanes == 8)
        layer->in == 1 ? convolve_first_of_8(layer, in, out) : convolve_of_8(layer, in, out, workspace);
#endif
    if (lanes == 4)
        layer->in == 1 ? convolve_first_of_4(layer, in, out) : convolve_of_4(layer, in, out, workspace);
}

/*
 * Features (out, rows, columns) of the last layer, of an image (rows, columns). Kernels are those of `bsbatch_arrange`;
 * the workspace has `bsbatch_room` floats. Kernels, biases and workspace are aligned to 64 bytes.
 */
OFFERED void bsbatch_convolve(const struct convolution *layers, uint64_t number, uint32_t lanes, const float *image,
                              float *workspace, float *features)
{
    size_t parts[4], rows = layers[0].rows, columns = layers[0].columns;
    measure_workspace(layers, number, parts);
    float *given[2] = {workspace + parts[0], workspace + parts[0] + parts[1]}, *points = given[1] + parts[2];
    clear_border(workspace, 1, rows, columns, 1);
    for (size_t y = 0; y < rows; y++)
        memcpy(workspace + (y + 1) * (columns + 2) + 1, image + y * columns, columns * sizeof *image);
    const float *in = workspace;
    for (size_t i = 0; i < number; i++) {
        rows = rows_of(layers + i), columns = columns_of(layers + i);
        clear_border(given[i % 2], layers[i].out / lanes, rows, columns, lanes);
        convolve_with(layers + i, lanes, in, given[i % 2], points);
        in = given[i % 2];
    }
    size_t channels = layers[number - 1].out;
    for (size_t k = 0; k < channels; k++)
        for (size_t y = 0; y < rows; y++)
            for (size_t x = 0; x < columns; x++)
                *features++ = in[((k / lanes * (rows + 2) + y + 1) * (columns + 2) + x + 1) * lanes + k % lanes];
}
