/*
 * Calls every function on buffers of exactly the right size, under sanitizers, with random and extreme counts, and with
 * the inputs of a fuzzer. Arguments: a path to write to, and files with inputs.
 */
#include "fuzz_views.c"
#include "winograd.c"

static uint16_t *fill(size_t number, uint32_t kind)
{
    uint16_t *counts = malloc(number * sizeof *counts);
    uint32_t state = 12345 + kind;
    for (size_t i = 0; counts != NULL && i < number; i++) {
        state = state * 1664525u + 1013904223u;
        counts[i] = kind == 0 ? 0 : kind == 1 ? UINT16_MAX : (uint16_t)(state >> (kind == 2 ? 16 : 28));
    }
    return counts;
}

static int measure_all(uint64_t rows, uint64_t columns)
{
    static const uint32_t limits[2] = {UINT16_MAX, UINT32_MAX};
    static const int16_t samples[2 * SAMPLES] = {UNIT, [SAMPLES] = -UNIT};
    static const struct body_pieces pieces = {samples, 1, 1, 2};
    int failures = 0;
    for (uint32_t kind = 0; kind < 4; kind++) {
        uint32_t found[2] = {0};
        uint16_t *front = fill(rows * columns, kind), *back = fill(rows * columns, 3 - kind);
        struct pair_statistics statistics;
        failures += bsbatch_measure(front, back, rows, columns, limits, &statistics) != DONE;
        failures += kind == 1 && statistics.views[0].total != UINT16_MAX * rows * columns;
        failures += kind == 1 && statistics.views[0].saturated != rows * columns;
        bsbatch_judge(&statistics, &pieces, (double)rows / (4.0 * columns), found);
        failures += found[0] > (IS_TURNED | IS_CUT) || found[1] > (IS_TURNED | IS_CUT);
        free(front);
        free(back);
    }
    return failures;
}

/* Two contiguous views in a file; then an offset one byte too large, and the largest. */
static int load_all(const uint16_t *views, const char *path)
{
    static const struct body_pieces pieces = {NULL, 0, 0, 0};
    struct load_request request = {.files = {path, path}, .sizes = {-1, -1}, .lengths = {-1, -1}};
    request.offsets[0] = 4;
    request.offsets[1] = 4 + 2 * PIXELS;
    request.is_measured = 1;
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return 1;
    int failures = fwrite("name", 1, 4, file) != 4 || fwrite(views, 4, PIXELS, file) != PIXELS || fclose(file) != 0;
    request.pixels = malloc(4 * PIXELS);
    request.image = malloc(512 * 512 * sizeof *request.image);
    uint16_t *pixels = request.pixels;
    bsbatch_take_in(&request, 1, &pieces);
    failures += request.result != DONE || memcmp(pixels, views, 4 * PIXELS) != 0;
    struct load_request several[3] = {request, request, request};
    several[0].pixels = several[2].pixels = NULL;
    several[1].offsets[1] += 1;
    several[2].offsets[0] = INT64_MAX; /* the end of the first view does not fit into 64 bits */
    bsbatch_take_in(several, 3, &pieces);
    failures += several[0].result != DONE || several[1].result != NOT_HERE || several[2].result != NOT_HERE;
    failures += several[0].pixels != NULL || memcmp(several[0].hash, request.hash, sizeof request.hash) != 0;
    const char *const paths[] = {path, "/", ""};
    int64_t done[3];
    char *bytes = malloc(3 * 8);
    bsbatch_read(paths, 3, 8, bytes, done);
    failures += done[0] != 8 || done[1] != -EISDIR || done[2] != -ENOENT || memcmp(bytes, "name", 4) != 0;
    int64_t found[12];
    bsbatch_status(paths, 3, found);
    failures += found[1] != 4 + 4 * (int64_t)PIXELS || !S_ISDIR((mode_t)found[4]) || found[8] != -ENOENT;
    free(bytes);
    free(request.pixels);
    free(request.image);
    return failures;
}

static float *floats(size_t number)
{
    float *values = aligned_alloc(64, (number * sizeof *values + 63) / 64 * 64);
    for (size_t i = 0; values != NULL && i < number; i++)
        values[i] = (float)(i % 7) - 3;
    return values;
}

/* Three layers, the second with max pooling, for each vector width that this processor has. */
static int convolve_all(void)
{
    int failures = 0;
    for (uint32_t lanes = bsbatch_lanes(); lanes >= 4; lanes /= 2) {
        struct convolution layers[3] = {
            {1, 32, 16, 24, 0, NULL, NULL}, {32, 64, 16, 24, 1, NULL, NULL}, {64, 32, 8, 12, 0, NULL, NULL}};
        float *kernels[3], *biases[3];
        for (int i = 0; i < 3; i++) {
            float *plain = floats(9 * layers[i].in * layers[i].out);
            layers[i].kernels = kernels[i] = floats((i ? POINTS : 9) * layers[i].in * layers[i].out);
            layers[i].bias = biases[i] = floats(layers[i].out);
            bsbatch_arrange(plain, layers[i].in, layers[i].out, lanes, kernels[i]);
            free(plain);
        }
        uint64_t size = bsbatch_room(layers, 3, lanes);
        float *image = floats(16 * 24), *workspace = floats(size), *features = floats(32 * 8 * 12);
        bsbatch_convolve(layers, 3, lanes, image, workspace, features);
        failures += size == 0 || !(features[0] >= 0);
        layers[2].rows = 4;
        failures += bsbatch_room(layers, 3, lanes) != 0 || bsbatch_room(layers, 0, lanes) != 0;
        for (int i = 0; i < 3; i++) {
            free(kernels[i]);
            free(biases[i]);
        }
        free(image);
        free(workspace);
        free(features);
    }
    return failures;
}

static void try_input(const char *path)
{
    FILE *file = fopen(path, "rb");
    REQUIRE(file != NULL && fseek(file, 0, SEEK_END) == 0);
    size_t size = (size_t)ftell(file);
    uint8_t *data = allocate(size);
    rewind(file);
    REQUIRE(fread(data, 1, size, file) == size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    fclose(file);
}

int main(int number, char **arguments)
{
    uint32_t ranges[4];
    uint16_t *front = fill(1024 * 256, 2), *back = fill(1024 * 256, 3), *counts = fill(512 * 512, 0);
    float *image = malloc(512 * 512 * sizeof *image);
    int failures = bsbatch_compose(front, back, ranges, image) != DONE;
    failures += bsbatch_compact(front, back, ranges, counts) != NOT_HERE;
    failures += bsbatch_compact(back, back, ranges, counts) != DONE;
    uint16_t *views = fill(2 * PIXELS, 3);
    failures += convolve_all();
    failures += number < 2 || load_all(views, arguments[1]);
    for (int i = 2; i < number; i++)
        try_input(arguments[i]);
    free(views);
    free(front);
    free(back);
    free(counts);
    free(image);
    failures += measure_all(2, 16) + measure_all(1024, 256);
    failures += measure_all(4, MOST_COLUMNS) + measure_all(512, MOST_COLUMNS);
    failures += bsbatch_measure(NULL, NULL, 514, MOST_COLUMNS, NULL, NULL) != NOT_HERE;
    failures += bsbatch_measure(NULL, NULL, UINT64_MAX - 1, 16, NULL, NULL) != NOT_HERE;
    return failures;
}
