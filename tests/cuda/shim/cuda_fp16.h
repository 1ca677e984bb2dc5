// The parts of CUDA that the kernels use, in plain C++, so that their source runs on a CPU.
#pragma once

#include <cstdint>
#include <cstring>

#define __global__
#define __device__

struct Index {
    unsigned x;
};
static Index blockIdx, blockDim, threadIdx;

struct __half {
    std::uint16_t bits;
};

static __half __ushort_as_half(unsigned short bits) { return {bits}; }

static float __fdiv_rn(float left, float right) { return left / right; }

// To nearest, ties to even; by additions, without a table of exponents.
static __half __float2half_rn(float value)
{
    std::uint32_t word;
    std::memcpy(&word, &value, sizeof word);
    const std::uint16_t sign = word >> 16 & 0x8000;
    const std::uint32_t size = word & 0x7fffffff;
    if (size > 0x7f800000)
        return {static_cast<std::uint16_t>(sign | 0x7e00)};
    if (size >= 0x477ff000) // 65520: the smallest value that rounds to infinity
        return {static_cast<std::uint16_t>(sign | 0x7c00)};
    if (size < 0x38800000) { // below 2^-14: multiples of 2^-24, to which adding 0.5 rounds
        float whole;
        std::memcpy(&whole, &size, sizeof whole);
        whole += 0.5f;
        std::uint32_t rounded;
        std::memcpy(&rounded, &whole, sizeof rounded);
        return {static_cast<std::uint16_t>(sign | (rounded - 0x3f000000))};
    }
    const std::uint32_t odd = size >> 13 & 1;
    return {static_cast<std::uint16_t>(sign | ((size + 0xfff + odd - 0x38000000) >> 13))};
}
