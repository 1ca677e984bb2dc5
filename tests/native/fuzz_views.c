/*
 * Calls the functions on views and files with the input of a fuzzer: that of clang's libFuzzer in `make fuzz`, the corpus
 * in `make test`. Buffers have exactly the right size; results are compared with plain sums and among processors.
 *
 * An input is little-endian. Its first byte selects a function, the next ones are its arguments, 0 behind the end.
 * test_corpus.py reads the same form.
 */
#include "files.c"
#include "checksum.c"
#include "pixel_hash.c"
#include "position.c"
#include "view_pairs.c"

#include <stdio.h>

enum { MOST_RECTANGLES = 16, MOST_PIECES = 4, LARGEST_SAMPLE = 724, MOST_PROFILE = (1 << 26) - 1 };
enum { MEASURE, FILL, JUDGE, READ, FUNCTIONS };

#define REQUIRE(condition)                                                                                            \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                                   \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

struct input {
    const uint8_t *data;
    size_t left;
};

static uint64_t take(struct input *input, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes && input->left > 0; i++, input->data++, input->left--)
        value |= (uint64_t)*input->data << 8 * i;
    return value;
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes);
    REQUIRE(memory != NULL);
    return memory;
}

/* Two views of a background and of rectangles, with noise. */
static void paint(struct input *input, size_t rows, size_t columns, uint16_t *views[2])
{
    for (int side = 0; side < 2; side++) {
        uint16_t background = (uint16_t)take(input, 2);
        views[side] = allocate(rows * columns * sizeof *views[side]);
        for (size_t i = 0; i < rows * columns; i++)
            views[side][i] = background;
    }
    for (int i = 0; i < MOST_RECTANGLES && input->left > 0; i++) {
        uint16_t *view = views[take(input, 1) % 2];
        size_t top = take(input, 2) % rows, bottom = top + take(input, 2);
        size_t left = take(input, 2) % columns, right = left + take(input, 2);
        uint32_t value = (uint32_t)take(input, 2), noise = (uint32_t)take(input, 2);
        for (size_t row = top; row < bottom && row < rows; row++)
            for (size_t column = left; column < right && column < columns; column++) {
                uint32_t pixel = (uint32_t)(row * columns + column);
                view[pixel] = (uint16_t)(value + (pixel * 2654435761u >> 16 & noise));
            }
    }
}

static void check_sums(const uint16_t *view, size_t pixels, uint32_t limit, const struct view_statistics *found)
{
    uint64_t total = 0, positive = 0, saturated = 0;
    uint32_t low = UINT16_MAX, high = 0;
    for (size_t i = 0; i < pixels; i++) {
        total += view[i];
        positive += view[i] > 0;
        saturated += view[i] >= limit;
        low = view[i] < low ? view[i] : low;
        high = view[i] > high ? view[i] : high;
    }
    REQUIRE(found->total == total && found->positive == positive && found->low == low && found->high == high);
    REQUIRE(found->saturated == saturated);
    REQUIRE(positive == 0 ? found->hotspot_ratio == 0 : found->hotspot_ratio >= 1 && found->hotspot_ratio <= UINT16_MAX);
}

static void try_judge(struct input *input, const struct pair_statistics *statistics, double squareness)
{
    struct body_pieces pieces = {.number = (uint32_t)take(input, 1) % (MOST_PIECES + 1)};
    pieces.ends = (uint32_t)take(input, 1) % (pieces.number + 1);
    pieces.whole = (uint32_t)take(input, 1) % (pieces.ends + 1);
    int16_t *samples = allocate(pieces.number * SAMPLES * sizeof *samples);
    for (uint32_t i = 0; i < pieces.number * SAMPLES; i++) /* of a norm of at most UNIT */
        samples[i] = (int16_t)((int32_t)(take(input, 2) % (2 * LARGEST_SAMPLE + 1)) - LARGEST_SAMPLE);
    pieces.samples = samples;
    uint32_t found[2] = {UINT32_MAX, UINT32_MAX};
    bsbatch_judge(statistics, &pieces, squareness, found);
    REQUIRE(found[0] <= (IS_TURNED | IS_CUT) && found[1] <= (IS_TURNED | IS_CUT));
    free(samples);
}

static void measure_plainly(uint16_t *views[2], size_t rows, size_t columns, const uint32_t limits[2],
                            struct pair_statistics *statistics)
{
    size_t pixels = rows * columns;
    uint32_t *memory = allocate((2 * (pixels / BLOCK) + 6 * rows) * sizeof *memory + pixels * sizeof *views[0]);
    memset(statistics, 0, sizeof *statistics);
    statistics->views[0].low = statistics->views[1].low = UINT16_MAX;
    measure_for_any((const uint16_t *const *)views, rows, columns, limits, memory, statistics);
    free(memory);
}

static void try_measure(struct input *input)
{
    uint64_t rows = take(input, 8), columns = take(input, 8);
    const uint32_t limits[2] = {(uint32_t)take(input, 4), (uint32_t)take(input, 4)};
    if (rows == 0 || columns == 0 || columns > MOST_COLUMNS || rows > MOST_PIXELS / columns || rows % 2 || columns % 16) {
        REQUIRE(bsbatch_measure(NULL, NULL, rows, columns, NULL, NULL) == NOT_HERE);
        return;
    }
    uint16_t *views[2];
    paint(input, rows, columns, views);
    struct pair_statistics *found = allocate(sizeof *found), plain;
    REQUIRE(bsbatch_measure(views[0], views[1], rows, columns, limits, found) == DONE);
    measure_plainly(views, rows, columns, limits, &plain);
    REQUIRE(memcmp(found, &plain, sizeof plain) == 0);
    for (int side = 0; side < 2; side++)
        check_sums(views[side], rows * columns, limits[side], &found->views[side]);
    try_judge(input, found, (double)(rows * CELL_COLUMNS) / (double)(columns * CELL_ROWS));
    free(found);
    free(views[0]);
    free(views[1]);
}

static void check_image(const uint16_t *const views[2], const uint32_t ranges[4], const float *image)
{
    if (ranges[0] == ranges[1] || ranges[2] == ranges[3])
        return;
    for (size_t i = 0; i < VIEW_ROWS * IMAGE_COLUMNS; i++) {
        size_t row = i / IMAGE_COLUMNS, column = i % IMAGE_COLUMNS, side = column / VIEW_COLUMNS;
        const uint16_t *pixel = views[side] + 2 * row * VIEW_COLUMNS + column % VIEW_COLUMNS;
        float low = (float)ranges[2 * side], span = (float)(ranges[2 * side + 1] - ranges[2 * side]);
        REQUIRE(image[i] == ((float)(pixel[0] + pixel[VIEW_COLUMNS]) - low) / span);
        REQUIRE(image[i] >= 0 && image[i] <= 1);
    }
}

static void check_counts(const uint16_t *const views[2], const uint16_t *counts)
{
    for (size_t i = 0; i < VIEW_ROWS * IMAGE_COLUMNS; i++) {
        size_t row = i / IMAGE_COLUMNS, column = i % IMAGE_COLUMNS;
        const uint16_t *pixel = views[column / VIEW_COLUMNS] + 2 * row * VIEW_COLUMNS + column % VIEW_COLUMNS;
        REQUIRE(counts[i] == pixel[0] + pixel[VIEW_COLUMNS]);
    }
}

static void try_fill(struct input *input)
{
    uint16_t *painted[2];
    paint(input, 2 * VIEW_ROWS, VIEW_COLUMNS, painted);
    const uint16_t *const views[2] = {painted[0], painted[1]};
    uint32_t ranges[4], same[4];
    float *image = allocate(VIEW_ROWS * IMAGE_COLUMNS * sizeof *image);
    REQUIRE(bsbatch_compose(views[0], views[1], ranges, image) == DONE);
    check_image(views, ranges, image);
    free(image);
    uint16_t *counts = allocate(VIEW_ROWS * IMAGE_COLUMNS * sizeof *counts);
    int32_t is_refused = ranges[1] >= SATURATED || ranges[3] >= SATURATED ? NOT_HERE : DONE;
    REQUIRE(bsbatch_compact(views[0], views[1], same, counts) == is_refused);
    REQUIRE(memcmp(ranges, same, sizeof same) == 0);
    if (is_refused == DONE)
        check_counts(views, counts);
    free(counts);
    free(painted[0]);
    free(painted[1]);
}

/* Profiles of any widths that cells can have. */
static void try_profiles(struct input *input)
{
    struct pair_statistics statistics = {.body_cells = (uint32_t)take(input, 2)};
    for (int side = 0; side < 2; side++)
        for (int i = 0; i < CELL_ROWS + CELL_COLUMNS; i++)
            statistics.profiles[side][i] = (uint32_t)take(input, 4) & MOST_PROFILE;
    double rows = (double)(take(input, 2) + 1), columns = (double)(take(input, 2) + 1);
    try_judge(input, &statistics, rows * CELL_COLUMNS / (columns * CELL_ROWS));
}

/* The content of a file. */
struct content {
    uint8_t *bytes;
    int64_t size;
};

static int64_t whole_views(const struct content *content, int64_t offset)
{
    return offset >= 0 && content->size >= VIEW_BYTES && offset <= content->size - VIEW_BYTES;
}

static void check_read(const struct content *content, const char *path, int64_t offset, int64_t count)
{
    uint8_t *bytes = allocate((size_t)count);
    int64_t left = offset >= 0 && offset < content->size ? content->size - offset : 0;
    int64_t done = read_file(path, offset, count, bytes);
    REQUIRE(done == (count < left ? count : left) || (left == 0 && done == -EINVAL)); /* of an offset that cannot be */
    REQUIRE(done <= 0 || memcmp(bytes, content->bytes + offset, (size_t)done) == 0);
    free(bytes);
}

/* The checksum of two parts is that of the whole. */
static void check_checksum(const struct content *content, int64_t count)
{
    uint64_t size = (uint64_t)content->size & ~15ULL, first = (uint64_t)count & ~15ULL;
    uint32_t whole = 0, parts = 0;
    if (first > size || bsbatch_checksum(content->bytes, size, &whole) != DONE)
        return;
    if (bsbatch_checksum(content->bytes, first, &parts) == DONE &&
        bsbatch_checksum(content->bytes + first, size - first, &parts) == DONE)
        REQUIRE(parts == whole);
}

/* Load two views; `is_file` for each of the paths or addresses that lead to the content. */
static void check_load(const struct content *content, struct load_request *request, const int is_file[2], unsigned kind)
{
    request->pixels = allocate(2 * PIXELS * sizeof *request->pixels);
    request->is_measured = kind & 1;
    request->image = kind & 2 ? allocate(VIEW_ROWS * IMAGE_COLUMNS * sizeof *request->image) : NULL;
    request->counts = kind & 2 ? NULL : allocate(VIEW_ROWS * IMAGE_COLUMNS * sizeof *request->counts);
    int is_whole = 1;
    for (int side = 0; side < 2; side++)
        is_whole = is_whole && is_file[side] && whole_views(content, request->offsets[side]);
    static const struct body_pieces pieces = {NULL, 0, 0, 0};
    bsbatch_take_in(request, 1, &pieces);
    int32_t result = request->result;
    REQUIRE(is_whole || result == NOT_HERE);
    if (is_whole && request->lengths[0] >= 0 && request->files[0] == request->files[1] &&
        llabs(request->offsets[0] - request->offsets[1]) < VIEW_BYTES)
        is_whole = result == DONE; /* views of one object with a checksum may overlap, and need not be read */
    REQUIRE(!is_whole || result == DONE || request->image == NULL);
    for (int side = 0; is_whole && side < 2; side++)
        REQUIRE(memcmp(request->pixels + side * PIXELS, content->bytes + request->offsets[side], (size_t)VIEW_BYTES) == 0);
    if (result == DONE && request->is_measured) {
        uint64_t plain[2];
        hash_with(add_stretch, request->pixels, request->pixels + PIXELS, plain);
        REQUIRE(memcmp(request->hash, plain, sizeof plain) == 0);
    }
    free(request->pixels);
    free(request->image);
    free(request->counts);
}

static void try_read(struct input *input)
{
    static const char *const others[] = {"/", "", "/dev/zero", "/dev/null/none"};
    unsigned kind = (unsigned)take(input, 1), choice = (unsigned)take(input, 1);
    struct load_request request = {.offsets = {(int64_t)take(input, 8), (int64_t)take(input, 8)}};
    request.limits[0] = request.limits[1] = (uint32_t)take(input, 4);
    struct content content = {.size = (int64_t)take(input, 4) % (3 * VIEW_BYTES)};
    int64_t count = (int64_t)take(input, 4) % (2 * VIEW_BYTES);
    content.bytes = allocate((size_t)content.size);
    for (int64_t i = 0; i < content.size; i++)
        content.bytes[i] = input->left ? input->data[(size_t)i % input->left] : 0;
    FILE *file = tmpfile();
    REQUIRE(file != NULL);
    REQUIRE(fwrite(content.bytes, 1, (size_t)content.size, file) == (size_t)content.size && fflush(file) == 0);
    char paths[2][32]; /* one file by two paths */
    for (int side = 0; side < 2; side++)
        snprintf(paths[side], sizeof paths[side], "/proc/self/fd/%d", fileno(file));
    check_read(&content, paths[0], request.offsets[0], count);
    check_checksum(&content, count);
    REQUIRE(read_file(others[choice % 4], 0, 1, paths[1] + 31) < 0);
    int is_file[2] = {!(kind & 8), !(kind & 16)};
    uint32_t crc = 0;
    int has_crc = kind & 128 && bsbatch_checksum(content.bytes, (uint64_t)content.size, &crc) == DONE;
    request.files[0] = is_file[0] ? paths[0] : others[choice % 4];
    request.files[1] = is_file[1] ? paths[kind & 4 ? 1 : 0] : others[choice / 4 % 4];
    for (int side = 0; side < 2; side++) {
        int is_content = is_file[side] && kind & (32U << side) && !has_crc;
        request.sizes[side] = is_content ? content.size : -1;
        request.lengths[side] = has_crc ? content.size : -1;
        request.crcs[side] = crc;
        if (is_content)
            request.files[side] = (const char *)content.bytes;
    }
    check_load(&content, &request, is_file, kind);
    fclose(file);
    free(content.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint64_t function = take(&input, 1) % FUNCTIONS;
    if (function == MEASURE)
        try_measure(&input);
    else if (function == FILL)
        try_fill(&input);
    else if (function == JUDGE)
        try_profiles(&input);
    else
        try_read(&input);
    return 0;
}
