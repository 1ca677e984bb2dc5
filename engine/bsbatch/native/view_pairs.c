/*
 * Statistics and model input of two views of uint16 counts, in few passes over the pixels and without the GIL.
 *
 * quality.py and preprocess.py do the same with numpy and are the reference: results are equal to the last bit. So all
 * sums are of integers, and square root, division and conversion are rounded as IEEE 754 specifies. -ffast-math would
 * break that; -ffp-contract=off keeps the compiler from fusing operations that numpy does not fuse.
 *
 * Views are (rows, columns) uint16, row-major, both of one shape; rows are a multiple of 2, columns of 16.
 */
#include "native.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define INLINED static inline __attribute__((always_inline))

/*
 * One library for every processor: `name_for_any` is compiled again for AVX2 and AVX-512. AVX-512 pays off only for
 * functions that compute little per pixel; `measure` is 5 to 15 % slower with it.
 */
#if defined(__x86_64__)
#define VARIANT(name, wide, features, parameters, arguments)                                                          \
    __attribute__((target(features))) static int32_t name##_for_##wide parameters { return name##_for_any arguments; }
#define FOR_EACH(name, parameters, arguments)                                                                         \
    VARIANT(name, avx2, "avx2", parameters, arguments)                                                                \
    static int32_t name parameters                                                                                    \
    {                                                                                                                 \
        return __builtin_cpu_supports("avx2") ? name##_for_avx2 arguments : name##_for_any arguments;                 \
    }
#define FOR_EACH_AND_WIDEST(name, parameters, arguments)                                                              \
    VARIANT(name, avx512, "avx512f,avx512bw,avx512dq,avx512vl", parameters, arguments)                                \
    VARIANT(name, avx2, "avx2", parameters, arguments)                                                                \
    static int32_t name parameters                                                                                    \
    {                                                                                                                 \
        if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&                               \
            __builtin_cpu_supports("avx512vl"))                                                                       \
            return name##_for_avx512 arguments;                                                                       \
        return __builtin_cpu_supports("avx2") ? name##_for_avx2 arguments : name##_for_any arguments;                 \
    }
#else
#define FOR_EACH(name, parameters, arguments)                                                                         \
    static int32_t name parameters { return name##_for_any arguments; }
#define FOR_EACH_AND_WIDEST FOR_EACH
#endif

enum { BLOCK = 32, MOST_COLUMNS = 4096, MOST_PIXELS = 1 << 21 };
enum { FEWEST_COUNTS = 128, ROOT_STEPS = 16, FAINT = 387, BRIGHT = 1732, ABSENT = 10 }; /* see profiles.py */
enum { VIEW_ROWS = 512, VIEW_COLUMNS = 256, IMAGE_COLUMNS = 512, SATURATED = 0xFFFF };

OFFERED int32_t bsbatch_views_version(void)
{
    return VERSION;
}

INLINED uint16_t least(const uint16_t *counts, size_t number)
{
    uint16_t found = UINT16_MAX;
    for (size_t i = 0; i < number; i++)
        found = counts[i] < found ? counts[i] : found;
    return found;
}

INLINED uint16_t least_beyond(const uint16_t *counts, size_t number, uint16_t limit)
{
    uint16_t found = UINT16_MAX;
    for (size_t i = 0; i < number; i++)
        found = counts[i] > limit && counts[i] < found ? counts[i] : found;
    return found;
}

INLINED uint16_t largest(const uint16_t *counts, size_t number)
{
    uint16_t found = 0;
    for (size_t i = 0; i < number; i++)
        found = counts[i] > found ? counts[i] : found;
    return found;
}

INLINED size_t at_least(const uint16_t *counts, size_t number, uint16_t limit)
{
    enum { PIECE = 1 << 15 }; /* a 16-bit counter must not overflow */
    size_t found = 0;
    for (size_t start = 0; start < number; start += PIECE) {
        size_t end = number - start < PIECE ? number : start + PIECE;
        uint16_t here = 0;
        for (size_t i = start; i < end; i++)
            here = (uint16_t)(here + (counts[i] >= limit));
        found += here;
    }
    return found;
}

/*
 * The count of a given rank, where the largest has rank 1, and the number of larger counts. It lies in [low, high],
 * mostly near low, so the search doubles its steps first and halves them then.
 */
INLINED uint16_t count_of_rank(const uint16_t *counts, size_t number, size_t rank, uint16_t low, uint16_t high,
                               size_t *beyond)
{
    uint32_t least = low, most = high, step = 1, is_near = 1;
    *beyond = 0;
    while (least < most) {
        uint32_t middle = is_near && least + step <= most ? least + step : (least + most + 1) / 2;
        size_t found = at_least(counts, number, (uint16_t)middle);
        if (found >= rank) {
            least = middle;
            step *= 2;
        } else {
            most = middle - 1;
            *beyond = found;
            is_near = 0;
        }
    }
    return (uint16_t)least;
}

/*
 * The maximum over the 99th percentile of the positive counts, interpolated linearly, from the nearer end, in floats as
 * quality.py does. If n blocks have a maximum of at least
 * c, at least n counts are c or more. So the largest n counts all lie in blocks whose maximum reaches the n-th largest
 * maximum, and only those blocks are searched.
 */
INLINED void hotspot_ratio(const uint16_t *view, size_t pixels, const uint16_t *maxima, uint32_t *indices,
                           struct view_statistics *statistics)
{
    uint16_t *chosen = (uint16_t *)(indices + pixels / BLOCK);
    size_t blocks = pixels / BLOCK, number = 0, beyond;
    if (statistics->positive == 0)
        return;
    uint64_t last = statistics->positive - 1;
    double rank = (double)last * 0.99, share = rank - (double)(uint64_t)rank;
    size_t above = (size_t)(last - (uint64_t)rank);
    uint16_t low = (uint16_t)statistics->low, high = (uint16_t)statistics->high;
    if (above + 1 <= blocks)
        low = count_of_rank(maxima, blocks, above + 1, low, high, &beyond);
    for (size_t block = 0; block < blocks; block++) { /* without a branch, which would be mispredicted */
        indices[number] = (uint32_t)block;
        number += maxima[block] >= low;
    }
    for (size_t i = 0; i < number; i++)
        memcpy(chosen + i * BLOCK, view + indices[i] * BLOCK, BLOCK * sizeof *view);
    number *= BLOCK;
    uint16_t lower = count_of_rank(chosen, number, above + 1, low, high, &beyond), higher = lower;
    if (above > 0 && beyond == above)
        higher = least_beyond(chosen, number, lower);
    float step = (float)(higher - lower);
    float between = share < 0.5 ? lower + step * (float)share : higher - step * (float)(1 - share);
    statistics->hotspot_ratio = high / between;
}

/* Sum of the counts of a row, and the number of its positive counts. */
struct row {
    uint32_t counts, width;
};

/*
 * Square roots of the sums of 2 x 2 counts, rounded to steps of 1/256; the sums are added to those of their columns.
 * Stores the sum of each row.
 */
INLINED void roots_of(const uint16_t *upper, const uint16_t *below, size_t number, int32_t *roots, uint32_t *columns,
                      struct row two_rows[2])
{
    uint32_t total = 0, first = 0; /* of at most 2 * MOST_COLUMNS counts */
    for (size_t i = 0; i < number; i++) {
        uint32_t two, others; /* two counts each, in either order */
        memcpy(&two, upper + 2 * i, sizeof two);
        memcpy(&others, below + 2 * i, sizeof others);
        uint32_t row = (two & 0xFFFF) + (two >> 16);
        int32_t counts = (int32_t)(row + (others & 0xFFFF) + (others >> 16));
        roots[i] = (int32_t)(sqrtf((float)counts) * 256.0f + 0.5f);
        columns[i] += (uint32_t)counts;
        total += (uint32_t)counts;
        first += row;
    }
    two_rows[0].counts = first;
    two_rows[1].counts = total - first;
}

/* Add the sums of the columns of a band of rows to its cells, and clear them. */
INLINED void add_cells(uint32_t *columns, size_t number, uint32_t *cells)
{
    const uint32_t *from = columns;
    size_t left = number;
    for (; left > CELL_COLUMNS && left % (2 * CELL_COLUMNS) == 0; left /= 2) { /* two by two: fast, for most widths */
        uint32_t *to = columns + 2 * number - left;
        for (size_t i = 0; i < left / 2; i++)
            to[i] = from[2 * i] + from[2 * i + 1];
        from = to;
    }
    for (size_t cell = 0, i = 0; cell < CELL_COLUMNS; cell++)
        for (; CELL_COLUMNS * i < (cell + 1) * left; i++)
            cells[cell] += from[i];
    memset(columns, 0, number * sizeof *columns);
}

INLINED struct row larger(struct row one, struct row other)
{
    return (struct row){one.counts > other.counts ? one.counts : other.counts,
                        one.width > other.width ? one.width : other.width};
}

/* Rows without the counts that the rows above and below promise; see profiles.py. */
INLINED uint32_t missing_rows(const struct row *rows, size_t number, uint64_t total, struct row *promised)
{
    uint32_t found = 0;
    struct row most = {0, 0}, behind = {0, 0};
    for (size_t row = 0; row < number; row++)
        promised[row] = most = larger(rows[row], most);
    for (size_t row = number; row-- > 0;) {
        behind = larger(rows[row], behind);
        uint32_t counts = promised[row].counts < behind.counts ? promised[row].counts : behind.counts;
        uint32_t width = promised[row].width < behind.width ? promised[row].width : behind.width;
        found += counts >= FEWEST_COUNTS && 2 * (uint64_t)counts * number > total && 3 * width >= most.width &&
                 4 * (uint64_t)rows[row].counts < counts && 5 * rows[row].width < 3 * width;
    }
    return found;
}

/* Sum and number of the roots above a limit; a root is below 2^19, so sums fit into 32 bits. */
INLINED void keep_above(const uint32_t *roots, uint64_t limit, uint64_t *total, uint64_t *number)
{
    uint32_t sum = 0, found = 0, above = limit < UINT32_MAX ? (uint32_t)limit : UINT32_MAX;
    for (size_t cell = 0; cell < CELLS; cell++) {
        uint32_t is_above = roots[cell] > above;
        sum += is_above ? roots[cell] : 0;
        found += is_above;
    }
    *total = sum;
    *number = found;
}

/* Roots of the counts of cells, 0 where the body is not, and limited at hot spots; see profiles.py. */
INLINED void cover(const uint32_t *cells, uint32_t *roots)
{
    for (size_t cell = 0; cell < CELLS; cell++)
        roots[cell] = (uint32_t)(int32_t)(sqrt((double)(int32_t)cells[cell]) * ROOT_STEPS + 0.5);
    uint64_t total, number = CELLS;
    keep_above(roots, 0, &total, &number);
    keep_above(roots, total / CELLS, &total, &number);
    keep_above(roots, number ? total / (2 * number) : UINT32_MAX, &total, &number);
    number += number == 0;
    uint32_t most = (uint32_t)(BRIGHT * total / (1000 * number));
    uint32_t faint = (uint32_t)((FAINT * total + 1000 * number - 1) / (1000 * number)); /* least root of the body */
    for (size_t cell = 0; cell < CELLS; cell++) {
        uint32_t limited = roots[cell] < most ? roots[cell] : most;
        roots[cell] = roots[cell] < faint ? 0 : limited;
    }
}

INLINED void add_profile(const uint32_t *roots, uint32_t *profile)
{
    uint32_t columns[CELL_COLUMNS] = {0};
    for (size_t row = 0; row < CELL_ROWS; row++, roots += CELL_COLUMNS) {
        uint32_t width = 0;
        for (size_t column = 0; column < CELL_COLUMNS; column++) {
            width += roots[column];
            columns[column] += roots[column];
        }
        profile[row] = width;
    }
    memcpy(profile + CELL_ROWS, columns, sizeof columns);
}

/* Profiles of both views, and the cells of the body that one view lacks. Compiled apart, which is 5 % faster. */
INLINED int32_t compare_for_any(uint32_t cells[2][CELLS], struct pair_statistics *statistics)
{
    uint32_t roots[2][CELLS];
    for (int side = 0; side < 2; side++) {
        cover(cells[side], roots[side]);
        add_profile(roots[side], statistics->profiles[side]);
    }
    uint32_t body = 0, absent = 0;
    for (size_t start = 0; start < CELLS; start += CELL_COLUMNS) {
        for (size_t column = 0; column < CELL_COLUMNS; column++) {
            size_t cell = start + column, mirrored = start + CELL_COLUMNS - 1 - column;
            uint32_t front = cells[0][cell], back = cells[1][mirrored];
            uint32_t less = front < back ? front : back, more = front < back ? back : front;
            uint32_t is_body = (roots[0][cell] | roots[1][mirrored]) != 0;
            body += is_body;
            absent += is_body & (ABSENT * less < more);
        }
    }
    statistics->body_cells = body;
    statistics->absent_cells = absent;
    return DONE;
}

FOR_EACH(compare, (uint32_t cells[2][CELLS], struct pair_statistics *statistics), (cells, statistics))

INLINED void add_roots(const int32_t *roots, size_t number, struct view_statistics *statistics)
{
    uint32_t total = 0; /* of at most MOST_COLUMNS / 2 roots up to 2^17 */
    int64_t squares = 0;
    for (size_t i = 0; i < number; i++) {
        total += (uint32_t)roots[i];
        squares += (int64_t)roots[i] * roots[i];
    }
    statistics->root_total += total;
    statistics->root_squares += (uint64_t)squares;
}

/* Sum of products: left-right difference of the front, times right-left difference of the back. */
INLINED int64_t antisymmetry(const int32_t *front, const int32_t *back, size_t number)
{
    int64_t found = 0;
    for (size_t i = 0, j = number - 1; i < number / 2; i++, j--)
        found += (int64_t)(front[i] - front[j]) * (back[j] - back[i]);
    return found;
}

/* Add the number of positive counts of two adjacent rows, and the least count. */
INLINED void add_widths(const uint16_t *upper, const uint16_t *below, size_t number, struct row two_rows[2],
                        struct view_statistics *statistics)
{
    uint16_t first = 0, second = 0;
    for (size_t i = 0; i < number; i++) {
        first = (uint16_t)(first + (upper[i] > 0));
        second = (uint16_t)(second + (below[i] > 0));
    }
    two_rows[0].width = first;
    two_rows[1].width = second;
    uint32_t positive = (uint32_t)first + second;
    uint16_t low = positive < 2 * number ? 0 : least(upper, 2 * number);
    statistics->positive += positive;
    statistics->low = low < statistics->low ? low : statistics->low;
}

/* Scratch memory of one view. Addresses 4096 bytes apart are slow together: processors compare their low bits only. */
struct view_scratch {
    uint16_t *maxima;                                   /* of each block */
    struct row *rows, *promised;                        /* of each row */
    _Alignas(64) int32_t roots[MOST_COLUMNS / 2 + 128]; /* of two rows */
    _Alignas(64) uint32_t columns[MOST_COLUMNS];        /* sums of two columns in a band, and room to add them up */
};

/* Add two adjacent rows, the first of number `row`, to the statistics; store the maximum of each block. */
INLINED void add_rows(const uint16_t *view, size_t row, size_t columns, struct view_scratch *scratch,
                      struct view_statistics *statistics)
{
    const uint16_t *upper = view + row * columns, *below = upper + columns;
    uint16_t *maxima = scratch->maxima + row * columns / BLOCK;
    for (size_t block = 0; block < 2 * columns / BLOCK; block++)
        maxima[block] = largest(upper + block * BLOCK, BLOCK);
    struct row *two = scratch->rows + row;
    add_widths(upper, below, columns, two, statistics);
    roots_of(upper, below, columns / 2, scratch->roots, scratch->columns, two);
    statistics->total += (uint64_t)two[0].counts + two[1].counts;
    add_roots(scratch->roots, columns / 2, statistics);
}

INLINED int32_t measure_for_any(const uint16_t *const views[2], size_t rows, size_t columns, const uint32_t limits[2],
                                uint32_t *memory, struct pair_statistics *statistics)
{
    size_t pixels = rows * columns, blocks = pixels / BLOCK, half = columns / 2, pairs = rows / 2;
    struct row *by_row = (struct row *)(memory + blocks);
    struct view_scratch scratch[2];
    uint32_t cells[2][CELLS] = {{0}};
    for (int side = 0; side < 2; side++) {
        scratch[side].maxima = (uint16_t *)memory + (size_t)side * blocks;
        scratch[side].rows = by_row + (size_t)side * rows;
        scratch[side].promised = by_row + 2 * rows;
        memset(scratch[side].columns, 0, half * sizeof *scratch[side].columns);
    }
    for (size_t pair = 0; pair < pairs; pair++) {
        size_t band = pair * CELL_ROWS / pairs;
        for (int side = 0; side < 2; side++) {
            struct view_statistics *view = &statistics->views[side];
            add_rows(views[side], 2 * pair, columns, &scratch[side], view);
            if (pair + 1 == pairs || (pair + 1) * CELL_ROWS / pairs > band)
                add_cells(scratch[side].columns, half, cells[side] + band * CELL_COLUMNS);
        }
        statistics->antisymmetry += antisymmetry(scratch[0].roots, scratch[1].roots, half);
    }
    for (int side = 0; side < 2; side++) {
        struct view_statistics *view = &statistics->views[side];
        view->high = largest(scratch[side].maxima, blocks);
        if (view->high >= limits[side])
            view->saturated = (uint32_t)at_least(views[side], pixels, (uint16_t)limits[side]);
        view->missing_rows = missing_rows(scratch[side].rows, rows, view->total, scratch[side].promised);
        hotspot_ratio(views[side], pixels, scratch[side].maxima, memory + blocks + 6 * rows, view);
    }
    compare(cells, statistics);
    return DONE;
}

FOR_EACH(measure,
         (const uint16_t *const views[2], size_t rows, size_t columns, const uint32_t limits[2], uint32_t *memory,
          struct pair_statistics *statistics),
         (views, rows, columns, limits, memory, statistics))

/* Statistics of two views; a count that reaches its view's limit is saturated. */
OFFERED int32_t bsbatch_measure(const uint16_t *front, const uint16_t *back, uint64_t rows, uint64_t columns,
                                const uint32_t *limits, struct pair_statistics *statistics)
{
    if (rows == 0 || columns == 0 || columns > MOST_COLUMNS || rows > MOST_PIXELS / columns || rows % 2 || columns % 16)
        return NOT_HERE;
    const uint16_t *const views[2] = {front, back};
    size_t pixels = (size_t)(rows * columns), blocks = pixels / BLOCK;
    uint32_t *memory = malloc((2 * blocks + 6 * (size_t)rows) * sizeof *memory + pixels * sizeof *front);
    if (memory == NULL)
        return NOT_HERE;
    memset(statistics, 0, sizeof *statistics);
    statistics->views[0].low = statistics->views[1].low = UINT16_MAX;
    int32_t result = measure(views, (size_t)rows, (size_t)columns, limits, memory, statistics);
    free(memory);
    return result;
}

/* Minimum and maximum of the sums of two rows, any counts. */
INLINED void find_wide_range(const uint16_t *view, uint32_t range[2])
{
    int32_t low = INT32_MAX, high = 0;
    for (size_t row = 0; row < VIEW_ROWS; row++, view += 2 * VIEW_COLUMNS) {
        for (size_t i = 0; i < VIEW_COLUMNS; i++) {
            int32_t both = view[i] + view[i + VIEW_COLUMNS];
            low = both < low ? both : low;
            high = both > high ? both : high;
        }
    }
    range[0] = (uint32_t)low;
    range[1] = (uint32_t)high;
}

/* The same in half of the time where no sum exceeds 16 bits, as in nearly every scan. */
INLINED void find_range(const uint16_t *view, uint32_t range[2])
{
    uint16_t low = UINT16_MAX, high = 0, used = 0;
    for (size_t row = 0; row < VIEW_ROWS; row++) {
        const uint16_t *upper = view + 2 * row * VIEW_COLUMNS, *below = upper + VIEW_COLUMNS;
        for (size_t i = 0; i < VIEW_COLUMNS; i++) {
            uint16_t both = (uint16_t)(upper[i] + below[i]);
            low = both < low ? both : low;
            high = both > high ? both : high;
            used |= upper[i] | below[i];
        }
    }
    range[0] = low;
    range[1] = high;
    if (used > UINT16_MAX / 2)
        find_wide_range(view, range);
}

INLINED void scale(const uint16_t *view, const uint32_t range[2], float *image)
{
    int32_t low = (int32_t)range[0];
    float span = (float)((int32_t)range[1] - low);
    for (size_t row = 0; row < VIEW_ROWS; row++, view += 2 * VIEW_COLUMNS, image += IMAGE_COLUMNS)
        for (size_t i = 0; i < VIEW_COLUMNS; i++)
            image[i] = (float)(view[i] + view[i + VIEW_COLUMNS] - low) / span;
}

INLINED void add_up(const uint16_t *view, uint16_t *counts)
{
    for (size_t row = 0; row < VIEW_ROWS; row++, view += 2 * VIEW_COLUMNS, counts += IMAGE_COLUMNS)
        for (size_t i = 0; i < VIEW_COLUMNS; i++)
            counts[i] = (uint16_t)(view[i] + view[i + VIEW_COLUMNS]);
}

INLINED int32_t compose_for_any(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], float *image)
{
    find_range(front, ranges);
    find_range(back, ranges + 2);
    if (ranges[0] < ranges[1] && ranges[2] < ranges[3]) {
        scale(front, ranges, image);
        scale(back, ranges + 2, image + VIEW_COLUMNS);
    }
    return DONE;
}

INLINED int32_t compact_for_any(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], uint16_t *counts)
{
    find_range(front, ranges);
    find_range(back, ranges + 2);
    if (ranges[1] >= SATURATED || ranges[3] >= SATURATED)
        return NOT_HERE;
    add_up(front, counts);
    add_up(back, counts + VIEW_COLUMNS);
    return DONE;
}

FOR_EACH_AND_WIDEST(compose, (const uint16_t *front, const uint16_t *back, uint32_t ranges[4], float *image),
         (front, back, ranges, image))

FOR_EACH_AND_WIDEST(compact, (const uint16_t *front, const uint16_t *back, uint32_t ranges[4], uint16_t *counts),
         (front, back, ranges, counts))

/* Ranges of two 1024 x 256 views, and the image of both unless one of them is constant. */
OFFERED int32_t bsbatch_compose(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], float *image)
{
    return compose(front, back, ranges, image);
}

/* Sums of two rows, for a GPU to scale; NOT_HERE if 16 bits do not hold them. */
OFFERED int32_t bsbatch_compact(const uint16_t *front, const uint16_t *back, uint32_t ranges[4], uint16_t *counts)
{
    return compact(front, back, ranges, counts);
}
