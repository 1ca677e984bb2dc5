/*
 * The hash that quality.py makes of two 1024 x 256 views, "(1024, 256)<u2" before the pixels of each: XXH3 with 128
 * bits, seed 0 and the default secret, after the specification of xxHash 0.8. Here the pixels are still in the cache.
 */
#include "native.h"

#include <string.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { WORDS = 8, STRIPE = 64, STRIPES = 16, STRETCH = STRIPE * STRIPES, SECRET = 192 };
enum { NAME = 14, VIEW = 1024 * 256 * 2, HASHED = 2 * (NAME + VIEW) };

static const uint64_t SCRAMBLER = 0x9E3779B1;
static const uint64_t FIRST_SUMS[WORDS] = {0xC2B2AE3D,         0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F,
                                           0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x85EBCA77,
                                           0x27D4EB2F165667C5, 0x9E3779B1};
static const uint8_t secret[SECRET] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};
static const uint8_t *const last_secret = secret + SECRET - STRIPE;

static uint64_t word(const uint8_t *bytes, int number)
{
    uint64_t value;
    memcpy(&value, bytes + 8 * number, sizeof value);
    return value;
}

static inline void add_stripe(uint64_t sums[WORDS], const uint8_t *stripe, const uint8_t *key)
{
    for (int i = 0; i < WORDS; i++) {
        uint64_t value = word(stripe, i), mixed = value ^ word(key, i);
        sums[i ^ 1] += value;
        sums[i] += (mixed & UINT32_MAX) * (mixed >> 32);
    }
}

/* Adds sixteen stripes, of which the first one is apart, and scrambles the sums. */
typedef void add_function(uint64_t sums[WORDS], const uint8_t *first, const uint8_t *stretch);

static void add_stretch(uint64_t sums[WORDS], const uint8_t *first, const uint8_t *stretch)
{
    uint64_t added[WORDS]; /* which no byte of a view can be */
    memcpy(added, sums, sizeof added);
    add_stripe(added, first, secret);
    for (int stripe = 1; stripe < STRIPES; stripe++)
        add_stripe(added, stretch + STRIPE * stripe, secret + 8 * stripe);
    for (int i = 0; i < WORDS; i++)
        sums[i] = (added[i] ^ added[i] >> 47 ^ word(last_secret, i)) * SCRAMBLER;
}

#if defined(__x86_64__)
#define WITH_AVX2 __attribute__((target("avx2")))
#define HALF_STRIPE static inline __attribute__((always_inline)) WITH_AVX2 __m256i

HALF_STRIPE load_half(const void *bytes)
{
    return _mm256_loadu_si256((const __m256i *)bytes);
}

HALF_STRIPE add_half(__m256i sum, const uint8_t *half, const uint8_t *key)
{
    __m256i value = load_half(half), mixed = _mm256_xor_si256(value, load_half(key));
    __m256i product = _mm256_mul_epu32(mixed, _mm256_srli_epi64(mixed, 32));
    return _mm256_add_epi64(sum, _mm256_add_epi64(product, _mm256_shuffle_epi32(value, 0x4E)));
}

HALF_STRIPE scramble_half(__m256i sum, const uint8_t *key)
{
    const __m256i factor = _mm256_set1_epi64x((int64_t)SCRAMBLER);
    __m256i mixed = _mm256_xor_si256(_mm256_xor_si256(sum, _mm256_srli_epi64(sum, 47)), load_half(key));
    __m256i high = _mm256_mul_epu32(_mm256_srli_epi64(mixed, 32), factor);
    return _mm256_add_epi64(_mm256_mul_epu32(mixed, factor), _mm256_slli_epi64(high, 32));
}

/* With intrinsics: compilers multiply 64 bits by 64. GCC's loop is slower if it is unrolled by more than five. */
WITH_AVX2 static void add_stretch_with_avx2(uint64_t sums[WORDS], const uint8_t *first, const uint8_t *stretch)
{
    enum { HALF = STRIPE / 2 };
    __m256i one = add_half(load_half(sums), first, secret);
    __m256i other = add_half(load_half(sums + WORDS / 2), first + HALF, secret + HALF);
#pragma GCC unroll 5
    for (int stripe = 1; stripe < STRIPES; stripe++) {
        one = add_half(one, stretch + STRIPE * stripe, secret + 8 * stripe);
        other = add_half(other, stretch + STRIPE * stripe + HALF, secret + 8 * stripe + HALF);
    }
    _mm256_storeu_si256((__m256i *)sums, scramble_half(one, last_secret));
    _mm256_storeu_si256((__m256i *)sums + 1, scramble_half(other, last_secret + HALF));
}
#endif

/* Adds half of the stretches. Their first stripe: what the other half has left, the name of a view, its beginning. */
static void add_view(add_function *add, uint64_t sums[WORDS], const uint8_t *view, const uint8_t *left, int64_t number)
{
    uint8_t first[STRIPE];
    int64_t known = number + NAME;
    memcpy(first, left, (size_t)number);
    memcpy(first + number, "(1024, 256)<u2", NAME);
    memcpy(first + known, view, (size_t)(STRIPE - known));
    for (int64_t start = -known; start < VIEW - STRETCH; start += STRETCH)
        add(sums, start < 0 ? first : view + start, view + start);
}

/* Both halves of a product of 128 bits, combined by exclusive or. */
static uint64_t fold_product(uint64_t one, uint64_t other)
{
    uint64_t low = (one & UINT32_MAX) * (other & UINT32_MAX), high = (one >> 32) * (other >> 32);
    uint64_t middle = (one >> 32) * (other & UINT32_MAX) + (low >> 32);
    uint64_t cross = (one & UINT32_MAX) * (other >> 32) + (middle & UINT32_MAX);
    return (high + (middle >> 32) + (cross >> 32)) ^ (cross << 32 | (low & UINT32_MAX));
}

static uint64_t merge_sums(const uint64_t sums[WORDS], const uint8_t *key, uint64_t total)
{
    for (int i = 0; i < WORDS; i += 2)
        total += fold_product(sums[i] ^ word(key, i), sums[i + 1] ^ word(key, i + 1));
    total = (total ^ total >> 37) * 0x165667919E3779F9;
    return total ^ total >> 32;
}

static void hash_with(add_function *add, const uint16_t *front, const uint16_t *back, uint64_t hash[2])
{
    const uint8_t *one = (const uint8_t *)front, *other = (const uint8_t *)back;
    uint64_t sums[WORDS];
    memcpy(sums, FIRST_SUMS, sizeof sums);
    add_view(add, sums, one, one, 0);
    add_view(add, sums, other, one + VIEW - NAME, NAME);
    add_stripe(sums, other + VIEW - STRIPE, last_secret - 7);
    hash[0] = merge_sums(sums, last_secret - 11, ~(HASHED * FIRST_SUMS[2]));
    hash[1] = merge_sums(sums, secret + 11, HASHED * FIRST_SUMS[1]);
}

OFFERED void bsbatch_hash(const uint16_t *front, const uint16_t *back, uint64_t hash[2])
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        hash_with(add_stretch_with_avx2, front, back, hash);
        return;
    }
#endif
    hash_with(add_stretch, front, back, hash);
}
