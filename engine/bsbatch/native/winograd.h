/*
 * Convolutions for one vector width, included once for each. The includer defines LANES (floats in a vector), TILES
 * (tiles whose sums fit into the registers), CASES (a CASE for each number up to TILES), and the functions' NAME and
 * TARGET.
 *
 * Winograd's F(4 x 4, 3 x 3), Lavin and Gray, CVPR 2016, section 4: each 4 x 4 tile of an output channel is computed
 * from 6 x 6 inputs with 36 products in place of 144. The input transform is shared by all output channels. Images are
 * (channels / LANES, rows + 2, columns + 2, LANES) with a border of zeros, so that tiles at the edge need no special
 * case.
 */
#define VEC NAME(vector)
#define MASK NAME(mask)
#define FUNCTION static inline __attribute__((always_inline)) TARGET

typedef float VEC __attribute__((vector_size(LANES * sizeof(float))));
typedef int32_t MASK __attribute__((vector_size(LANES * sizeof(int32_t))));

FUNCTION VEC NAME(load)(const float *from)
{
    return *(const VEC *)__builtin_assume_aligned(from, LANES * sizeof(float));
}

FUNCTION void NAME(store)(float *to, VEC values)
{
    *(VEC *)__builtin_assume_aligned(to, LANES * sizeof(float)) = values;
}

FUNCTION VEC NAME(larger)(VEC a, VEC b)
{
    MASK is_first = a > b;
    return (VEC)((is_first & (MASK)a) | (~is_first & (MASK)b));
}

/* A column of B^T d. */
FUNCTION void NAME(forward)(const VEC d[6], VEC points[6])
{
    VEC a = d[4] - 4.0f * d[2], b = d[3] - 4.0f * d[1], c = d[4] - d[2], e = 2.0f * (d[3] - d[1]);
    points[0] = 4.0f * d[0] - 5.0f * d[2] + d[4];
    points[1] = a + b;
    points[2] = a - b;
    points[3] = c + e;
    points[4] = c - e;
    points[5] = 4.0f * d[1] - 5.0f * d[3] + d[5];
}

/* A column of A^T m. */
FUNCTION void NAME(backward)(const VEC m[6], VEC values[4])
{
    VEC a = m[1] + m[2], b = m[1] - m[2], c = m[3] + m[4], d = m[3] - m[4];
    values[0] = m[0] + a + c;
    values[1] = b + 2.0f * d;
    values[2] = a + 4.0f * c;
    values[3] = b + 8.0f * d + m[5];
}

FUNCTION void NAME(load_tile)(const float *image, size_t row, float *points, size_t point)
{
    VEC half[6][6];
    for (size_t j = 0; j < 6; j++) {
        VEC d[6], t[6];
        for (size_t i = 0; i < 6; i++)
            d[i] = NAME(load)(image + i * row + j * LANES);
        NAME(forward)(d, t);
        for (size_t i = 0; i < 6; i++)
            half[i][j] = t[i];
    }
    for (size_t i = 0; i < 6; i++) {
        VEC t[6];
        NAME(forward)(half[i], t);
        for (size_t j = 0; j < 6; j++)
            NAME(store)(points + (6 * i + j) * point, t[j]);
    }
}

FUNCTION void NAME(store_tile)(const float *points, size_t point, VEC bias, float *image, size_t row,
                               uint64_t is_pooled)
{
    VEC half[4][6], values[4][4];
    const VEC zero = {0};
    for (size_t j = 0; j < 6; j++) {
        VEC m[6], t[4];
        for (size_t i = 0; i < 6; i++)
            m[i] = NAME(load)(points + (6 * i + j) * point);
        NAME(backward)(m, t);
        for (size_t i = 0; i < 4; i++)
            half[i][j] = t[i];
    }
    for (size_t i = 0; i < 4; i++) {
        NAME(backward)(half[i], values[i]);
        for (size_t j = 0; j < 4; j++)
            values[i][j] = NAME(larger)(values[i][j] + bias, zero);
    }
    if (!is_pooled) {
        for (size_t i = 0; i < 4; i++)
            for (size_t j = 0; j < 4; j++)
                NAME(store)(image + i * row + j * LANES, values[i][j]);
        return;
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < 2; j++)
            NAME(store)(image + i * row + j * LANES,
                        NAME(larger)(NAME(larger)(values[2 * i][2 * j], values[2 * i][2 * j + 1]),
                                     NAME(larger)(values[2 * i + 1][2 * j], values[2 * i + 1][2 * j + 1])));
}

/* (tiles, depth) times (depth, 2 LANES). All sums stay in registers; `next` is prefetched. */
FUNCTION void NAME(multiply)(const float *left, size_t left_row, const float *right, const float *next, size_t depth,
                             float *product, size_t product_row, const size_t tiles)
{
    VEC sums[TILES][2];
    for (size_t t = 0; t < tiles; t++)
        sums[t][0] = sums[t][1] = (VEC){0};
    for (size_t c = 0; c < depth; c++, right += 2 * LANES) {
        VEC first = NAME(load)(right), second = NAME(load)(right + LANES);
        if (next != NULL) {
            __builtin_prefetch(next + 2 * LANES * c, 0, 2);
            __builtin_prefetch(next + 2 * LANES * c + LANES, 0, 2);
        }
        for (size_t t = 0; t < tiles; t++) {
            float value = left[t * left_row + c];
            sums[t][0] += value * first;
            sums[t][1] += value * second;
        }
    }
    for (size_t t = 0; t < tiles; t++) {
        NAME(store)(product + t * product_row, sums[t][0]);
        NAME(store)(product + t * product_row + LANES, sums[t][1]);
    }
}

static TARGET void NAME(multiply_some)(const float *left, size_t left_row, const float *right, const float *next,
                                       size_t depth, float *product, size_t product_row, size_t tiles)
{
#define CASE(number)                                                                                                  \
    case number:                                                                                                      \
        NAME(multiply)(left, left_row, right, next, depth, product, product_row, number);                             \
        break;
    switch (tiles) {
        CASES
    }
#undef CASE
}

static TARGET void NAME(convolve)(const struct convolution *layer, const float *in, float *out, float *workspace)
{
    size_t depth = layer->in, width = layer->out, across = layer->columns / 4, total = layer->rows / 4 * across;
    size_t most = tiles_at_once(layer), left_row = depth + GAP, product_row = width + GAP;
    size_t in_row = (layer->columns + 2) * LANES, in_plane = (layer->rows + 2) * in_row;
    size_t side = layer->is_pooled ? 2 : 4;
    size_t out_row = (across * side + 2) * LANES, out_plane = (layer->rows / 4 * side + 2) * out_row;
    float *left = workspace, *product = workspace + POINTS * most * left_row;
    for (size_t first = 0; first < total; first += most) {
        size_t tiles = total - first < most ? total - first : most;
        for (size_t group = 0; group < depth / LANES; group++)
            for (size_t t = 0; t < tiles; t++) {
                size_t y = 4 * ((first + t) / across), x = 4 * ((first + t) % across);
                NAME(load_tile)(in + group * in_plane + y * in_row + x * LANES, in_row,
                                left + t * left_row + group * LANES, most * left_row);
            }
        for (size_t point = 0; point < POINTS; point++)
            for (size_t k = 0; k < width; k += 2 * LANES) {
                const float *right = layer->kernels + (point * width + k) * depth, *next = right + 2 * LANES * depth;
                for (size_t t = 0; t < tiles; t += TILES) /* prefetch the next panel once */
                    NAME(multiply_some)(left + (point * most + t) * left_row, left_row, right,
                                        t == 0 && next < layer->kernels + POINTS * width * depth ? next : NULL, depth,
                                        product + (point * most + t) * product_row + k, product_row,
                                        tiles - t < TILES ? tiles - t : TILES);
            }
        for (size_t group = 0; group < width / LANES; group++) {
            VEC bias = NAME(load)(layer->bias + group * LANES);
            for (size_t t = 0; t < tiles; t++) {
                size_t y = side * ((first + t) / across) + 1, x = side * ((first + t) % across) + 1;
                NAME(store_tile)(product + t * product_row + group * LANES, most * product_row, bias,
                                out + group * out_plane + y * out_row + x * LANES, out_row, layer->is_pooled);
            }
        }
    }
}

/* First layer, of one channel, without Winograd: `in` is (rows + 2, columns + 2) with a border of zeros. */
static TARGET void NAME(convolve_first)(const struct convolution *layer, const float *in, float *out)
{
    size_t in_row = layer->columns + 2, out_row = in_row * LANES, out_plane = (layer->rows + 2) * out_row;
    const VEC zero = {0};
    for (size_t group = 0; group < layer->out / LANES; group++) {
        VEC kernel[9], bias = NAME(load)(layer->bias + group * LANES);
        for (size_t i = 0; i < 9; i++)
            kernel[i] = NAME(load)(layer->kernels + i * layer->out + group * LANES);
        for (size_t y = 0; y < layer->rows; y++) {
            const float *from = in + y * in_row;
            float *to = out + group * out_plane + (y + 1) * out_row + LANES;
            for (size_t x = 0; x < layer->columns; x++, from++, to += LANES) {
                VEC sum = bias;
                for (size_t i = 0; i < 9; i++)
                    sum += from[i / 3 * in_row + i % 3] * kernel[i];
                NAME(store)(to, NAME(larger)(sum, zero));
            }
        }
    }
}

#undef VEC
#undef MASK
#undef FUNCTION
#undef LANES
#undef TILES
#undef CASES
#undef NAME
#undef TARGET
