// Integer counts to the model's float16 image, (N, 512, 512) both.
//
// Bit for bit the result of bsbatch.imaging.preprocess.compose, rounded to float16: the difference is exact, the quotient
// is rounded to float32 first (IEEE 754, to nearest, ties to even), then to float16.
//
// make kernels

#include <cuda_fp16.h>

constexpr unsigned side = 512;
constexpr unsigned view_columns = 256;

// A view's minimum and its maximum minus its minimum, from bsbatch.imaging.preprocess.compact. A span of 0 marks a view that
// is scaled already: the counts are the bits of float16 values.
struct Scale {
    float low;
    float span;
};

__device__ __half scaled(unsigned short count, Scale scale)
{
    if (scale.span == 0.0f)
        return __ushort_as_half(count);
    return __float2half_rn(__fdiv_rn(static_cast<float>(count) - scale.low, scale.span));
}

// One thread for each pixel; scales are (N, 2), anterior and posterior.
extern "C" __global__ void normalise(const unsigned short* counts, const Scale* scales, __half* image, unsigned pixels)
{
    const unsigned pixel = blockIdx.x * blockDim.x + threadIdx.x;
    if (pixel >= pixels)
        return;
    const unsigned examination = pixel / (side * side);
    const unsigned view = pixel % side / view_columns;
    image[pixel] = scaled(counts[pixel], scales[2 * examination + view]);
}
