/*
 * Which way up the body lies in two views, and whether a part of it lies outside; position.py does the same with numpy
 * and is the reference. All sums are of integers, and the few real numbers are rounded alike, see view_pairs.c.
 */
#include "native.h"

#include <math.h>

enum { SAMPLES = 32, EIGHTHS = 8, LARGEST = 16383, UNIT = 4096, MOST_WIDTH = 4095 }; /* see position.py */

/* First value above zero, and the one behind the last; of all if there is none. */
static void find_span(const uint32_t *values, uint32_t number, uint32_t span[2])
{
    span[0] = 0;
    span[1] = number;
    while (span[0] < number && values[span[0]] == 0)
        span[0]++;
    if (span[0] == number) {
        span[0] = 0;
        return;
    }
    while (values[span[1] - 1] == 0)
        span[1]--;
}

/* Sums over `parts` equal parts of a span, each value counted as often as there are parts. */
static void add_parts(const uint32_t *values, const uint32_t span[2], uint32_t scale, uint32_t parts, uint32_t *sums)
{
    uint32_t size = span[1] - span[0], room = size, *sum = sums;
    *sum = 0;
    for (const uint32_t *value = values + span[0]; value < values + span[1]; value++) {
        uint32_t scaled = *value / scale;
        for (uint32_t left = parts; left > 0;) {
            if (room == 0) {
                room = size;
                *++sum = 0;
            }
            uint32_t here = left < room ? left : room;
            *sum += here * scaled;
            left -= here;
            room -= here;
        }
    }
}

static uint32_t largest_of(const uint32_t *values, uint32_t number)
{
    uint32_t found = 0;
    for (uint32_t i = 0; i < number; i++)
        found = values[i] > found ? values[i] : found;
    return found;
}

/* At most 2^29: a piece has the norm UNIT, the samples at most LARGEST times the root of 32. */
static int32_t product(const int16_t *one, const int16_t *other)
{
    int32_t sum = 0;
    for (int i = 0; i < SAMPLES; i++)
        sum += (int32_t)one[i] * other[i];
    return sum;
}

/* Best products with the pieces of a whole body, and with all. */
static void find_best(const int16_t *samples, const struct body_pieces *pieces, uint32_t number, int32_t best[2])
{
    best[0] = INT32_MIN;
    best[1] = number < pieces->number ? 0 : INT32_MIN; /* the reverse of a trunk resembles nothing */
    for (uint32_t piece = 0; piece < number; piece++) {
        int32_t found = product(samples, pieces->samples + (uint64_t)SAMPLES * piece);
        best[1] = found > best[1] ? found : best[1];
        if (piece < pieces->whole)
            best[0] = found > best[0] ? found : best[0];
    }
}

static uint32_t judge_view(const uint32_t *profile, const struct body_pieces *pieces, double squareness)
{
    uint32_t height[2], width[2], sums[SAMPLES], eighths[EIGHTHS];
    find_span(profile, CELL_ROWS, height);
    add_parts(profile, height, largest_of(profile, CELL_ROWS) / MOST_WIDTH + 1, SAMPLES, sums);
    uint32_t most = largest_of(sums, SAMPLES);
    int16_t samples[SAMPLES], reversed[SAMPLES];
    int64_t total = 0, square = 0, mirrored = 0; /* 32 squares of 14 bits need more than 32 bits */
    for (int i = 0; i < SAMPLES; i++) {
        samples[i] = reversed[SAMPLES - 1 - i] = (int16_t)((uint64_t)sums[i] * LARGEST / (most ? most : 1));
        total += samples[i];
        square += (int64_t)samples[i] * samples[i];
    }
    for (int i = 0; i < SAMPLES; i++)
        mirrored += (int64_t)samples[i] * reversed[i];
    int64_t spread = SAMPLES * square - total * total;
    if (100 * spread <= SAMPLES * square)
        return 0;
    int32_t upright[2], reverse[2];
    find_best(samples, pieces, pieces->number, upright);
    find_best(reversed, pieces, pieces->ends, reverse);
    double norm = UNIT * sqrt((double)spread / SAMPLES), gain = (double)reverse[1] - upright[1];
    double best = upright[1] > reverse[1] ? upright[1] : reverse[1];
    if (best < 0.7 * norm)
        return 0;
    find_span(profile + CELL_ROWS, CELL_COLUMNS, width);
    int64_t symmetry = SAMPLES * mirrored - total * total;
    double slimness = (double)(height[1] - height[0]) / (width[1] - width[0]) * squareness;
    if (100 * symmetry > 92 * spread || slimness < 0.8)
        return IS_TURNED;
    add_parts(profile + CELL_ROWS, width, 1, EIGHTHS, eighths);
    uint64_t edge = eighths[0] > eighths[EIGHTHS - 1] ? eighths[0] : eighths[EIGHTHS - 1];
    uint32_t is_half = slimness > 4.2 && 100 * edge > 65 * (uint64_t)largest_of(eighths, EIGHTHS);
    uint32_t is_piece = (gain > 0 ? reverse[0] : upright[0]) + 0.02 * norm < best;
    return (gain > 0.01 * norm ? IS_TURNED : 0) | (is_half || is_piece ? IS_CUT : 0);
}

/* IS_TURNED and IS_CUT of each view, from the profiles that bsbatch_measure has found. */
OFFERED void bsbatch_judge(const struct pair_statistics *statistics, const struct body_pieces *pieces,
                           double squareness, uint32_t found[2])
{
    for (int side = 0; side < 2; side++)
        found[side] = judge_view(statistics->profiles[side], pieces, squareness);
}
