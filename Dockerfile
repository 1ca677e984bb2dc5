# Two images: bsbatch on a CPU (--target cpu, docs/install.md), and with TensorRT on NVIDIA GPUs (docs/gpu.md). Research use only.
#
# The image that compiles has a C compiler; the one that runs has none.
ARG BASE=debian:bookworm-slim
ARG CUDA=13.0.1
FROM ${BASE} AS cpu-wheels
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/bsbatch
COPY . /source
ARG EXTRAS=cloud,codecs,evaluate,report
RUN BSBATCH_NATIVE=1 /opt/bsbatch/bin/pip install --no-cache-dir -c /source/constraints.txt "/source[$EXTRAS]"

FROM ${BASE} AS cpu
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home bsbatch && install -d -m 1777 /work
COPY --from=cpu-wheels /opt/bsbatch /opt/bsbatch
# any user (--user) may write here; with a volume on /work/.cache, measurements of a machine and model are kept
ENV HOME=/work
USER bsbatch
WORKDIR /work
ENTRYPOINT ["/opt/bsbatch/bin/bsbatch"]

# pycuda has no wheel, so one is built where nvcc and the CUDA headers are; the image that runs has neither.
# CUDA 13 needs driver 580 or newer; for older ones 12.8.1, with the extra tensorrt-cu12 in place of tensorrt
FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS wheels
RUN apt-get update && apt-get install -y --no-install-recommends python3-dev python3-venv g++ && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/bsbatch
COPY . /source
# the linker wants a libcuda.so; the driver's own one is loaded at run time
ENV LIBRARY_PATH=/usr/local/cuda/lib64/stubs
# by default pycuda links libcurand, which the image that runs lacks
RUN echo "CUDA_ENABLE_CURAND = False" > ~/.aksetup-defaults.py
# rtx in place of tensorrt for TensorRT-RTX; build besides it for an image that compiles engines
ARG EXTRAS=tensorrt,codecs,evaluate,report
# TensorRT's libraries are in NVIDIA's own index; without it, tensorrt runs a pip of its own, to which no constraints apply
ARG NVIDIA_INDEX
RUN /opt/bsbatch/bin/pip install --no-cache-dir ${NVIDIA_INDEX:+--extra-index-url "$NVIDIA_INDEX"} \
    -c /source/constraints.txt "/source[$EXTRAS]"

FROM nvidia/cuda:${CUDA}-base-ubuntu24.04
RUN apt-get update && apt-get install -y --no-install-recommends python3 && rm -rf /var/lib/apt/lists/* \
    && useradd --no-create-home bsbatch && install -d -m 1777 /work
COPY --from=wheels /opt/bsbatch /opt/bsbatch
# the driver's library comes with --gpus; a build that lacks any other one fails here
RUN linked=$(ldd /opt/bsbatch/lib/python3*/site-packages/pycuda/_driver*.so) \
    && ! echo "$linked" | grep "not found" | grep -v "^[[:space:]]*libcuda\.so\.1 "
# any user (--user) may write here; with a volume on /work/.cache, measurements of a machine and model are kept
ENV HOME=/work
USER bsbatch
WORKDIR /work
ENTRYPOINT ["/opt/bsbatch/bin/bsbatch"]
