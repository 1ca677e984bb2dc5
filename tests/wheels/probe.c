/*
 * Calls the library of a wheel and prints the bits of its results. It needs no Python, so that an emulator can run it.
 * Arguments: a file for the features, one after another for each width of vectors, the widest first; how often to compute
 * them, for a time that can be measured.
 */
#include "native.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROWS = 1024, COLUMNS = 256, PIXELS = ROWS * COLUMNS, SIDE = 64, LAYERS = 4 };
static const uint64_t WIDTHS[LAYERS + 1] = {1, 64, 64, 128, 128};
static const uint64_t POOLED[LAYERS] = {0, 1, 0, 1};

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (memory == NULL)
        exit(2);
    return memset(memory, 0, bytes);
}

static void print_bits(const char *name, const void *bytes, size_t size)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 1099511628211u;
    printf("%s %016" PRIx64 "\n", name, hash);
}

/* Mirrored by `values` in installed.py. */
static float *values(size_t number, double scale)
{
    float *made = allocate(number * sizeof *made);
    for (size_t i = 0; i < number; i++)
        made[i] = (float)(((double)(i * 7919 % 2003) / 2003 - 0.5) * scale);
    return made;
}

static void measure_pair(void)
{
    static const uint32_t limits[2] = {UINT16_MAX, 900};
    uint16_t *views = allocate(4 * PIXELS), *counts = allocate(2 * 512 * 512);
    float *image = allocate(512 * 512 * sizeof *image);
    struct pair_statistics statistics = {0};
    uint32_t state = 1, ranges[4] = {0};
    for (size_t i = 0; i < 2 * PIXELS; i++) {
        state = state * 1664525u + 1013904223u;
        size_t row = i / COLUMNS % ROWS, column = i % COLUMNS;
        views[i] = row > 100 && row < 950 && column > 60 && column < 190 ? (uint16_t)((state >> 24) * (state >> 28)) : 0;
    }
    int failed = bsbatch_measure(views, views + PIXELS, ROWS, COLUMNS, limits, &statistics) != DONE;
    failed += bsbatch_compose(views, views + PIXELS, ranges, image) != DONE;
    failed += bsbatch_compact(views, views + PIXELS, ranges, counts) != DONE;
    if (failed)
        exit(3);
    print_bits("statistics", &statistics, sizeof statistics);
    print_bits("image", image, 512 * 512 * sizeof *image);
    print_bits("counts", counts, 2 * 512 * 512);
    print_bits("ranges", ranges, sizeof ranges);
}

static void convolve(uint32_t lanes, int turns, FILE *file)
{
    struct convolution layers[LAYERS];
    uint64_t side = SIDE;
    for (size_t i = 0; i < LAYERS; i++) {
        uint64_t in = WIDTHS[i], out = WIDTHS[i + 1];
        float *arranged = allocate((in == 1 ? 9 : 36) * in * out * sizeof *arranged);
        bsbatch_arrange(values(9 * in * out, 1.0 / (double)(in + 2)), in, out, lanes, arranged);
        layers[i] = (struct convolution){in, out, side, side, POOLED[i], arranged, values(out, 0.2)};
        side = POOLED[i] ? side / 2 : side;
    }
    size_t number = WIDTHS[LAYERS] * side * side;
    float *image = values(SIDE * SIDE, 2), *features = allocate(number * sizeof *features);
    float *workspace = allocate(bsbatch_room(layers, LAYERS, lanes) * sizeof *workspace);
    clock_t begin = clock();
    for (int turn = 0; turn < turns; turn++)
        bsbatch_convolve(layers, LAYERS, lanes, image, workspace, features);
    printf("seconds%" PRIu32 " %.6f\n", lanes, (double)(clock() - begin) / CLOCKS_PER_SEC);
    char name[32];
    snprintf(name, sizeof name, "features%" PRIu32, lanes);
    print_bits(name, features, number * sizeof *features);
    if (fwrite(features, sizeof *features, number, file) != number)
        exit(4);
}

int main(int count, char **arguments)
{
    FILE *file = count == 3 ? fopen(arguments[1], "wb") : NULL;
    char first[2][4] = {{0}};
    if (file == NULL)
        return 1;
    printf("version %" PRId32 "\nlanes %" PRIu32 "\n", bsbatch_views_version(), bsbatch_lanes());
    const char *const paths[] = {"/", arguments[0]};
    int64_t done[2];
    bsbatch_read(paths, 2, sizeof first[0], first[0], done);
    printf("folder %" PRId64 "\nmagic %" PRId64 "%.3s\n", done[0], done[1], first[1] + 1);
    measure_pair();
    for (uint32_t lanes = bsbatch_lanes(); lanes >= 4; lanes /= 2)
        convolve(lanes, atoi(arguments[2]), file);
    return fclose(file);
}
