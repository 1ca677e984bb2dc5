/*
 * Bytes of files, and all that is done to the two views of the common kind of examination, in one call each: whoever
 * comes back from a call waits for Python's lock, and there are a dozen of them where Python reads a file.
 */
#define _POSIX_C_SOURCE 200809L
#define _FILE_OFFSET_BITS 64

#include "native.h"

#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

enum { PIXELS = 1024 * 256 };
static const int64_t VIEW_BYTES = PIXELS * (int64_t)sizeof(uint16_t);

/* Bytes that were read, fewer where the file ends; below zero, an error's number. */
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

OFFERED int64_t bsbatch_read(const char *path, int64_t offset, int64_t count, void *bytes)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return -errno;
    int64_t done = read_at(file, offset, count, bytes);
    close(file);
    return done;
}

static int32_t read_views(const struct order *order)
{
    if (order->paths[0] != order->paths[1]) {
        for (int side = 0; side < 2; side++)
            if (bsbatch_read(order->paths[side], order->offsets[side], VIEW_BYTES, order->pixels + side * PIXELS) !=
                VIEW_BYTES)
                return NOT_HERE;
        return DONE;
    }
    int file = open(order->paths[0], O_RDONLY | O_CLOEXEC);
    if (file < 0)
        return NOT_HERE;
    int64_t done = 0;
    if (order->offsets[1] == order->offsets[0] + VIEW_BYTES)
        done = read_at(file, order->offsets[0], 2 * VIEW_BYTES, order->pixels);
    else
        for (int side = 0; side < 2; side++)
            done += read_at(file, order->offsets[side], VIEW_BYTES, order->pixels + side * PIXELS);
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

/* Read, measure, compose; `NOT_HERE` where any of it cannot be done, and then nothing of the order counts. */
OFFERED int32_t bsbatch_take_in(struct order *order)
{
    const uint16_t *front = order->pixels, *back = order->pixels + PIXELS;
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    if (read_views(order) != DONE)
        return NOT_HERE;
    order->seconds[0] = seconds_since(&start);
    if (order->figures != NULL && bsbatch_measure(front, back, 1024, 256, order->limits, order->figures) != DONE)
        return NOT_HERE;
    order->seconds[1] = seconds_since(&start);
    int32_t result = order->image != NULL ? bsbatch_compose(front, back, order->ranges, order->image)
                                          : bsbatch_compact(front, back, order->ranges, order->counts);
    order->seconds[2] = seconds_since(&start);
    return result;
}
