// A stand-in for the driver's libcuda.so.1, so that pycuda runs without a GPU: device memory is host memory, and work waits
// in its stream until a thread waits for it. cuda.h makes the compiler check the functions against the driver's prototypes.
#include <cuda.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <vector>

#include "normalise.cu"

#undef cuEventElapsedTime

namespace {

constexpr size_t kMemory = 1u << 28;

size_t taken = 0;
std::map<CUdeviceptr, size_t> blocks;
std::set<void *> pinned;
const CUcontext primary = reinterpret_cast<CUcontext>(&taken);
int retained = 0;
thread_local std::vector<CUcontext> current;
float now = 0;  // milliseconds; each piece of work takes one

}  // namespace

struct CUevent_st {
    CUstream stream = nullptr;  // stream of the last mark
    unsigned marks = 0, reached = 0;
    float at = 0;
};

struct CUstream_st {
    std::deque<std::function<void()>> waiting;

    void work(const CUevent_st *event, unsigned mark)
    {
        while (event->reached < mark && !waiting.empty()) {
            auto piece = waiting.front();
            waiting.pop_front();
            now += 1;
            piece();
        }
    }
};

namespace {

CUresult start(CUstream stream, std::function<void()> work)
{
    stream->waiting.push_back(work);
    return CUDA_SUCCESS;
}

bool is_allocated(CUdeviceptr address, size_t size)
{
    auto block = blocks.upper_bound(address);
    if (block == blocks.begin())
        return false;
    --block;
    return address + size <= block->first + block->second;
}

}  // namespace

extern "C" {

CUresult cuInit(unsigned) { return CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *version) { return *version = CUDA_VERSION, CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *count) { return *count = 1, CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *device, int number)
{
    return *device = number, number == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
CUresult cuDeviceGetName(char *name, int size, CUdevice) { return strncpy(name, "a stand-in", size), CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute, CUdevice) { return *value = 9, CUDA_SUCCESS; }
CUresult cuDeviceComputeCapability(int *major, int *minor, CUdevice) { return *major = 9, *minor = 0, CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult, const char **words) { return *words = "the stand-in refuses", CUDA_SUCCESS; }
CUresult cuGetErrorName(CUresult, const char **words) { return *words = "CUDA_ERROR", CUDA_SUCCESS; }

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice)
{
    return retained += 1, *context = primary, CUDA_SUCCESS;
}
CUresult cuDevicePrimaryCtxRelease(CUdevice) { return retained ? retained -= 1, CUDA_SUCCESS : CUDA_ERROR_INVALID_CONTEXT; }
CUresult cuDevicePrimaryCtxGetState(CUdevice, unsigned *flags, int *active)
{
    return *flags = 0, *active = retained > 0, CUDA_SUCCESS;
}
CUresult cuCtxPushCurrent(CUcontext context) { return current.push_back(context), CUDA_SUCCESS; }
CUresult cuCtxPopCurrent(CUcontext *context)
{
    if (current.empty())
        return CUDA_ERROR_INVALID_CONTEXT;
    return *context = current.back(), current.pop_back(), CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context) { return *context = current.empty() ? nullptr : current.back(), CUDA_SUCCESS; }
CUresult cuCtxGetDevice(CUdevice *device) { return *device = 0, current.empty() ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS; }

CUresult cuMemGetInfo(size_t *free, size_t *total) { return *free = kMemory - taken, *total = kMemory, CUDA_SUCCESS; }
CUresult cuMemAlloc(CUdeviceptr *address, size_t size)
{
    if (size > kMemory - taken)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *address = reinterpret_cast<CUdeviceptr>(new char[size]);
    blocks[*address] = size;
    return taken += size, CUDA_SUCCESS;
}
CUresult cuMemFree(CUdeviceptr address)
{
    if (!blocks.count(address))
        return CUDA_ERROR_INVALID_VALUE;
    taken -= blocks[address];
    blocks.erase(address);
    return delete[] reinterpret_cast<char *>(address), CUDA_SUCCESS;
}
CUresult cuMemHostAlloc(void **memory, size_t size, unsigned flags)
{
    if (flags != CU_MEMHOSTALLOC_PORTABLE)
        return CUDA_ERROR_INVALID_VALUE;
    pinned.insert(*memory = new char[size]);
    return CUDA_SUCCESS;
}
CUresult cuMemFreeHost(void *memory)
{
    return pinned.erase(memory) ? delete[] static_cast<char *>(memory), CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuStreamCreate(CUstream *stream, unsigned) { return *stream = new CUstream_st, CUDA_SUCCESS; }
CUresult cuStreamSynchronize(CUstream stream)
{
    CUevent_st never;
    return stream->work(&never, 1), CUDA_SUCCESS;
}
CUresult cuStreamDestroy(CUstream stream) { return cuStreamSynchronize(stream), delete stream, CUDA_SUCCESS; }

CUresult cuMemcpyHtoDAsync(CUdeviceptr target, const void *source, size_t size, CUstream stream)
{
    if (!is_allocated(target, size))
        return CUDA_ERROR_INVALID_VALUE;
    return start(stream, [=] { memcpy(reinterpret_cast<void *>(target), source, size); });
}
CUresult cuMemcpyDtoHAsync(void *target, CUdeviceptr source, size_t size, CUstream stream)
{
    if (!is_allocated(source, size))
        return CUDA_ERROR_INVALID_VALUE;
    return start(stream, [=] { memcpy(target, reinterpret_cast<void *>(source), size); });
}
CUresult cuMemcpyDtoDAsync(CUdeviceptr target, CUdeviceptr source, size_t size, CUstream stream)
{
    if (!is_allocated(target, size) || !is_allocated(source, size))
        return CUDA_ERROR_INVALID_VALUE;
    return start(stream, [=] { memcpy(reinterpret_cast<void *>(target), reinterpret_cast<void *>(source), size); });
}

CUresult cuEventCreate(CUevent *event, unsigned flags)
{
    return *event = new CUevent_st, flags == CU_EVENT_BLOCKING_SYNC ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuEventDestroy(CUevent event) { return delete event, CUDA_SUCCESS; }
CUresult cuEventRecord(CUevent event, CUstream stream)
{
    unsigned mark = ++event->marks;
    event->stream = stream;
    return start(stream, [=] { event->reached = mark, event->at = now; });
}
CUresult cuEventQuery(CUevent event)
{
    if (!event)
        return CUDA_ERROR_INVALID_HANDLE;
    return event->reached == event->marks ? CUDA_SUCCESS : CUDA_ERROR_NOT_READY;
}
CUresult cuEventSynchronize(CUevent event)
{
    if (event->stream)
        event->stream->work(event, event->marks);
    return cuEventQuery(event);
}
CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned flags)
{
    if (flags)
        return CUDA_ERROR_INVALID_VALUE;
    if (!event->stream)
        return CUDA_SUCCESS;
    CUstream other = event->stream;
    unsigned mark = event->marks;
    return start(stream, [=] { other->work(event, mark); });
}
CUresult cuEventElapsedTime(float *milliseconds, CUevent first, CUevent last)
{
    if (cuEventQuery(first) != CUDA_SUCCESS || cuEventQuery(last) != CUDA_SUCCESS)
        return CUDA_ERROR_NOT_READY;
    return *milliseconds = last->at - first->at, CUDA_SUCCESS;
}

CUresult cuModuleLoadDataEx(CUmodule *module, const void *ptx, unsigned, CUjit_option *, void **)
{
    return *module = nullptr, strstr(static_cast<const char *>(ptx), ".entry normalise") ? CUDA_SUCCESS : CUDA_ERROR_INVALID_PTX;
}
CUresult cuModuleUnload(CUmodule) { return CUDA_SUCCESS; }
CUresult cuModuleGetFunction(CUfunction *function, CUmodule, const char *name)
{
    return *function = nullptr, strcmp(name, "normalise") ? CUDA_ERROR_NOT_FOUND : CUDA_SUCCESS;
}
CUresult cuFuncSetBlockShape(CUfunction, int, int, int) { return CUDA_SUCCESS; }
CUresult cuLaunchKernel(CUfunction, unsigned blocks_x, unsigned blocks_y, unsigned blocks_z, unsigned threads_x, unsigned threads_y,
                        unsigned threads_z, unsigned, CUstream stream, void **, void **extra)
{
    struct Arguments { const unsigned short *counts; const Scale *scales; __half *image; unsigned pixels; };
    if (blocks_y * blocks_z * threads_y * threads_z != 1 || extra[0] != CU_LAUNCH_PARAM_BUFFER_POINTER)
        return CUDA_ERROR_INVALID_VALUE;
    Arguments given;
    memcpy(&given, extra[1], sizeof given);
    return start(stream, [=] {
        blockDim.x = threads_x;
        for (blockIdx.x = 0; blockIdx.x < blocks_x; ++blockIdx.x)
            for (threadIdx.x = 0; threadIdx.x < threads_x; ++threadIdx.x)
                normalise(given.counts, given.scales, given.image, given.pixels);
    });
}
}
