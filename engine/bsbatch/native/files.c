/*
 * Reading the first bytes of files, and reading, measuring, hashing and composing pairs of 1024 x 256 views, many in one
 * call. A thread that returns from a call has to wait for the GIL, and Python makes a dozen calls to read a file.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PIXELS = 1024 * 256 };
static const int64_t VIEW_BYTES = PIXELS * (int64_t)sizeof(uint16_t);

/* Returns the number of bytes read, fewer at the end of the file, or -errno. */
static int64_t read_at(int file, int64_t offset, int64_t count, void *bytes)
{
    int64_t done = 0;
    while (done < count) {
        ssize_t read = pread(file, (char *)bytes + done, (size_t)(count - done), (off_t)(offset + done));
        if (read == 0)
            break;
        if (read > 0)
            done += read;
        else if (errno != EINTR)
            return -errno;
    }
    return done;
}

/* Those of the C library would need glibc 2.33, and wheels promise 2.17. On 64 bits the kernel's struct is the same. */
#if defined(__linux__) && (defined(__x86_64__) || defined(__aarch64__))
static int status_of(int file, struct stat *status)
{
    return (int)syscall(SYS_fstat, file, status);
}

static int status_at(const char *path, struct stat *status)
{
    return (int)syscall(SYS_newfstatat, AT_FDCWD, path, status, 0);
}
#else
static int status_of(int file, struct stat *status)
{
    return fstat(file, status);
}

static int status_at(const char *path, struct stat *status)
{
    return stat(path, status);
}
#endif
#ifdef __APPLE__
#define st_mtim st_mtimespec
#endif

/*
 * Returns a descriptor, or -errno. Waits for nothing: a pipe without a writer would block, a device might never end,
 * and either may have replaced the file since it was listed.
 */
static int open_plain(const char *path)
{
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    struct stat status = {0};
    if (file < 0)
        return -errno;
    if (status_of(file, &status) == 0 && S_ISREG(status.st_mode))
        return file;
    close(file);
    return S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
}

/* Returns the number of bytes read, fewer at the end of the file, or -errno. */
static int64_t read_file(const char *path, int64_t offset, int64_t count, void *bytes)
{
    int file = open_plain(path);
    if (file < 0)
        return file;
    int64_t done = read_at(file, offset, count, bytes);
    close(file);
    return done;
}

/* Of each file, links followed: mode, size, and seconds and nanoseconds of its last change; or -errno as the mode. */
OFFERED void bsbatch_status(const char *const *paths, uint64_t number, int64_t *found)
{
    for (uint64_t i = 0; i < number; i++, found += 4) {
        struct stat status;
        if (status_at(paths[i], &status) != 0) {
            found[0] = -errno;
            continue;
        }
        found[0] = status.st_mode;
        found[1] = status.st_size;
        found[2] = status.st_mtim.tv_sec;
        found[3] = status.st_mtim.tv_nsec;
    }
}

/* Reads the first bytes of files, at intervals of `count`; `done` are numbers of bytes, or -errno. */
OFFERED void bsbatch_read(const char *const *paths, uint64_t number, int64_t count, char *bytes, int64_t *done)
{
    for (uint64_t i = 0; i < number; i++)
        done[i] = read_file(paths[i], 0, count, bytes + (int64_t)i * count);
}

/* Returns the number of bytes read, or another one if the file ends before the view does. */
static int64_t read_view(const struct load_request *request, int side)
{
    const char *file = request->files[side];
    int64_t size = request->sizes[side], offset = request->offsets[side];
    uint16_t *pixels = request->pixels + side * PIXELS;
    if (size < 0)
        return read_file(file, offset, VIEW_BYTES, pixels);
    if (offset < 0 || offset > size || size - offset < VIEW_BYTES)
        return 0;
    memcpy(pixels, file + offset, (size_t)VIEW_BYTES);
    return VIEW_BYTES;
}

/*
 * Finds the place of the bytes at a position of an object: in the pixels of a view, or in scratch memory between views.
 * Returns how many of `count` bytes belong there.
 */
static int64_t find_place(const struct load_request *request, int side, int sides, int64_t position, int64_t count,
                          char *scratch, char **place)
{
    *place = scratch;
    for (int other = side; other < side + sides; other++) {
        int64_t offset = request->offsets[other];
        if (position < offset)
            count = count < offset - position ? count : offset - position;
        else if (position - offset < VIEW_BYTES) {
            *place = (char *)(request->pixels + other * PIXELS) + (position - offset);
            count = count < VIEW_BYTES - (position - offset) ? count : VIEW_BYTES - (position - offset);
        }
    }
    return count;
}

/* True if the views of an object lie in it, and apart. */
static int are_inside(const struct load_request *request, int side, int sides)
{
    int64_t begin = request->begins[side], length = request->lengths[side];
    for (int other = side; other < side + sides; other++) {
        int64_t offset = request->offsets[other];
        if (begin < 0 || offset < begin || offset - begin > length - VIEW_BYTES)
            return 0;
    }
    int64_t apart = sides == 2 ? request->offsets[0] - request->offsets[1] : VIEW_BYTES;
    return apart >= VIEW_BYTES || apart <= -VIEW_BYTES;
}

/*
 * Reads the views of one object and compares its checksum, piece by piece: a piece is still in the cache when it is
 * added up. The object holds the views of `sides` sides, from `side` on.
 */
static int32_t read_checked(const struct load_request *request, int side, int sides)
{
    enum { PIECE = 1 << 16 };
    char scratch[PIECE];
    int64_t position = request->begins[side], left = request->lengths[side];
    uint32_t crc = 0;
    int file = are_inside(request, side, sides) ? open_plain(request->files[side]) : -1;
    if (file < 0)
        return NOT_HERE;
    while (left > 0) {
        char *place;
        int64_t count = find_place(request, side, sides, position, left < PIECE ? left : PIECE, scratch, &place);
        if (read_at(file, position, count, place) != count ||
            bsbatch_checksum((uint8_t *)place, (uint64_t)count, &crc) != DONE)
            break;
        position += count;
        left -= count;
    }
    close(file);
    return left == 0 && crc == request->crcs[side] ? DONE : NOT_HERE;
}

static int32_t read_views(const struct load_request *request)
{
    if (request->lengths[0] >= 0 && request->lengths[1] >= 0) {
        int is_one = request->files[0] == request->files[1] && request->begins[0] == request->begins[1] &&
                     request->lengths[0] == request->lengths[1] && request->crcs[0] == request->crcs[1];
        if (is_one)
            return read_checked(request, 0, 2);
        return read_checked(request, 0, 1) == DONE ? read_checked(request, 1, 1) : NOT_HERE;
    }
    if (request->lengths[0] >= 0 || request->lengths[1] >= 0)
        return NOT_HERE; /* the views of an examination in two kinds of archives */
    if (request->files[0] != request->files[1] || request->sizes[0] >= 0) {
        for (int side = 0; side < 2; side++)
            if (read_view(request, side) != VIEW_BYTES)
                return NOT_HERE;
        return DONE;
    }
    int file = open_plain(request->files[0]);
    if (file < 0)
        return NOT_HERE;
    int64_t done = 0;
    if ((uint64_t)request->offsets[1] - (uint64_t)request->offsets[0] == (uint64_t)VIEW_BYTES) /* without overflow */
        done = read_at(file, request->offsets[0], 2 * VIEW_BYTES, request->pixels);
    else
        for (int side = 0; side < 2; side++)
            done += read_at(file, request->offsets[side], VIEW_BYTES, request->pixels + side * PIXELS);
    close(file);
    return done == 2 * VIEW_BYTES ? DONE : NOT_HERE;
}

static double seconds_since(struct timespec *start)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    double seconds = (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
    *start = now;
    return seconds;
}

/* Measures, judges and hashes. */
static int32_t measure_views(struct load_request *request, const struct body_pieces *pieces)
{
    const uint16_t *front = request->pixels, *back = request->pixels + PIXELS;
    struct pair_statistics found;
    if (bsbatch_measure(front, back, 1024, 256, request->limits, &found) != DONE)
        return NOT_HERE;
    memcpy(request->views, found.views, sizeof request->views);
    request->antisymmetry = found.antisymmetry;
    request->cells[0] = found.body_cells;
    request->cells[1] = found.absent_cells;
    bsbatch_judge(&found, pieces, 1024.0 * CELL_COLUMNS / (256.0 * CELL_ROWS), request->faults);
    bsbatch_hash(front, back, request->hash);
    return DONE;
}

/* Reads, measures and composes. */
static int32_t take_in(struct load_request *request, const struct body_pieces *pieces)
{
    const uint16_t *front = request->pixels, *back = request->pixels + PIXELS;
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (read_views(request) != DONE)
        return NOT_HERE;
    request->seconds[0] = seconds_since(&start);
    if (request->is_measured && measure_views(request, pieces) != DONE)
        return NOT_HERE;
    request->seconds[1] = seconds_since(&start);
    int32_t result = request->image != NULL ? bsbatch_compose(front, back, request->ranges, request->image)
                                          : bsbatch_compact(front, back, request->ranges, request->counts);
    request->seconds[2] = seconds_since(&start);
    return result;
}

/*
 * All requests in one call: a thread waits for the GIL once. Pixels that are not wanted lie in one piece of memory for
 * all, which stays in the cache.
 */
OFFERED void bsbatch_take_in(struct load_request *requests, uint64_t number, const struct body_pieces *pieces)
{
    uint16_t *scratch = malloc(2 * (size_t)VIEW_BYTES);
    for (uint64_t i = 0; i < number; i++) {
        uint16_t *wanted = requests[i].pixels;
        requests[i].pixels = wanted != NULL ? wanted : scratch;
        requests[i].result = requests[i].pixels != NULL ? take_in(&requests[i], pieces) : NOT_HERE;
        requests[i].pixels = wanted;
    }
    free(scratch);
}
