/*
 * CRC-32 of ISO/IEC 8802-3, as in zip files, by carry-less multiplication: V. Gopal et al., "Fast CRC Computation for
 * Generic Polynomials Using PCLMULQDQ Instruction", Intel, 2009. Bits are reflected; constants are powers of x modulo
 * the polynomial, as in that paper.
 */
#include "native.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define CARRYLESS __attribute__((target("pclmul,sse4.1")))
#define STEP static inline __attribute__((always_inline)) CARRYLESS

STEP __m128i load_16(const uint8_t *bytes)
{
    return _mm_loadu_si128((const __m128i *)bytes);
}

/* Moves the halves of `x` forward by the distances of the two powers, onto `next`. */
STEP __m128i fold(__m128i x, __m128i powers, __m128i next)
{
    __m128i low = _mm_clmulepi64_si128(x, powers, 0x00), high = _mm_clmulepi64_si128(x, powers, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* The remainder of 128 bits, by a fold to 64 bits and Barrett's reduction. */
STEP uint32_t reduce(__m128i x, __m128i powers)
{
    const __m128i to_64 = _mm_set_epi64x(0, 0x163cd6124), low_half = _mm_setr_epi32(~0, 0, ~0, 0);
    const __m128i barrett = _mm_set_epi64x(0x1f7011641, 0x1db710641);
    x = _mm_xor_si128(_mm_srli_si128(x, 8), _mm_clmulepi64_si128(x, powers, 0x10));
    x = _mm_xor_si128(_mm_srli_si128(x, 4), _mm_clmulepi64_si128(_mm_and_si128(x, low_half), to_64, 0x00));
    __m128i quotient = _mm_clmulepi64_si128(_mm_and_si128(x, low_half), barrett, 0x10);
    __m128i product = _mm_clmulepi64_si128(_mm_and_si128(quotient, low_half), barrett, 0x00);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(x, product), 1);
}

#define WIDE __attribute__((target("vpclmulqdq,avx512f")))

WIDE static inline __m512i fold_wide(__m512i x, __m512i powers, __m512i next)
{
    __m512i low = _mm512_clmulepi64_epi128(x, powers, 0x00), high = _mm512_clmulepi64_epi128(x, powers, 0x11);
    return _mm512_ternarylogic_epi64(low, high, next, 0x96);
}

/* Folds 256 bytes at a time, of at least 256, into the 64 of `parts`; returns the first byte that is left. */
WIDE static const uint8_t *skip_wide(const uint8_t *bytes, const uint8_t *end, __m128i parts[4])
{
    const __m512i by_512 = _mm512_set4_epi64(0x1c6e41596, 0x154442bd4, 0x1c6e41596, 0x154442bd4);
    const __m512i by_2048 = _mm512_set4_epi64(0x1322d1430, 0x11542778a, 0x1322d1430, 0x11542778a);
    __m512i wide[4] = {_mm512_loadu_si512(parts)};
    for (int i = 1; i < 4; i++)
        wide[i] = _mm512_loadu_si512(bytes + 64 * i);
    for (bytes += 256; end - bytes >= 256; bytes += 256)
        for (int i = 0; i < 4; i++)
            wide[i] = fold_wide(wide[i], by_2048, _mm512_loadu_si512(bytes + 64 * i));
    for (int i = 1; i < 4; i++)
        wide[0] = fold_wide(wide[0], by_512, wide[i]);
    _mm512_storeu_si512(parts, wide[0]);
    return bytes;
}

CARRYLESS static uint32_t checksum(const uint8_t *bytes, uint64_t size, uint32_t crc)
{
    const __m128i by_512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4), by_128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const uint8_t *end = bytes + size;
    __m128i parts[4];
    for (int i = 0; i < 4; i++)
        parts[i] = load_16(bytes + 16 * i);
    parts[0] = _mm_xor_si128(parts[0], _mm_cvtsi32_si128((int32_t)~crc));
    if (size >= 256 && __builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx512f"))
        bytes = skip_wide(bytes, end, parts);
    else
        bytes += 64;
    for (; end - bytes >= 64; bytes += 64)
        for (int i = 0; i < 4; i++)
            parts[i] = fold(parts[i], by_512, load_16(bytes + 16 * i));
    __m128i x = parts[0];
    for (int i = 1; i < 4; i++)
        x = fold(x, by_128, parts[i]);
    for (; end - bytes >= 16; bytes += 16)
        x = fold(x, by_128, load_16(bytes));
    return ~reduce(x, by_128);
}

/* The few bytes that are no whole pieces. */
static uint32_t continue_bytewise(const uint8_t *bytes, uint64_t size, uint32_t crc)
{
    crc = ~crc;
    for (uint64_t i = 0; i < size; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (crc & 1 ? 0xedb88320 : 0);
    }
    return ~crc;
}

OFFERED int32_t bsbatch_checksum(const uint8_t *bytes, uint64_t size, uint32_t *crc)
{
    if (!__builtin_cpu_supports("pclmul") || !__builtin_cpu_supports("sse4.1"))
        return NOT_HERE;
    uint64_t whole = size < 64 ? 0 : size - size % 16;
    if (whole)
        *crc = checksum(bytes, whole, *crc);
    *crc = continue_bytewise(bytes + whole, size - whole, *crc);
    return DONE;
}

#else

OFFERED int32_t bsbatch_checksum(const uint8_t *bytes, uint64_t size, uint32_t *crc)
{
    (void)bytes, (void)size, (void)crc;
    return NOT_HERE;
}

#endif
