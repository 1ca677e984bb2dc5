// Every thread of a grid, one after the other.
#include "normalise.cu"

extern "C" void launch(unsigned blocks, unsigned threads, const unsigned short* counts, const Scale* scales,
                       __half* image, unsigned pixels)
{
    blockDim.x = threads;
    for (blockIdx.x = 0; blockIdx.x < blocks; ++blockIdx.x)
        for (threadIdx.x = 0; threadIdx.x < threads; ++threadIdx.x)
            normalise(counts, scales, image, pixels);
}

extern "C" void to_half(const float* values, __half* halves, unsigned number)
{
    for (unsigned index = 0; index < number; ++index)
        halves[index] = __float2half_rn(values[index]);
}
