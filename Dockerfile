# Two images from one file:
#   docker build --target facepipe -t facepipe .                                 everything but training, no TensorFlow
#   docker build --target train -t facepipe-train .                              training, for NVIDIA GPUs and for CPUs
#   docker build --target train --build-arg TENSORFLOW=cpu -t facepipe-train .   training on CPUs only, gigabytes smaller
# Every package is fixed by version and hash in docker/*.lock (`make locks`). Use: docs/tasks/containers.md.

FROM python:3.11-slim-bookworm AS build
WORKDIR /build
COPY docker/build.lock docker/
RUN python -m venv /opt/build && \
    /opt/build/bin/pip install --no-cache-dir --no-deps --require-hashes -r docker/build.lock && \
    python -m venv --without-pip /opt/facepipe

FROM build AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY facepipe facepipe
COPY pipelines pipelines
COPY train train
RUN /opt/build/bin/pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir dist .

# --no-deps everywhere: the locks are complete.
# What is removed is never run: the packages' own tests, and C headers.
FROM build AS slim-packages
COPY docker/facepipe.lock docker/
RUN pip --python /opt/facepipe/bin/python install --no-cache-dir --no-deps --require-hashes -r docker/facepipe.lock && \
    rm -rf /opt/facepipe/lib/python3.11/site-packages/*/tests \
        /opt/facepipe/lib/python3.11/site-packages/onnx/backend/test \
        /opt/facepipe/lib/python3.11/site-packages/pyarrow/include
COPY --from=wheel /build/dist dist
RUN pip --python /opt/facepipe/bin/python install --no-cache-dir --no-deps dist/*.whl

FROM build AS train-packages
ARG TENSORFLOW=gpu
COPY docker/train-cpu.lock docker/train-gpu.lock docker/
RUN pip --python /opt/facepipe/bin/python install --no-cache-dir --no-deps --require-hashes \
        -r "docker/train-${TENSORFLOW}.lock"
COPY --from=wheel /build/dist dist
RUN pip --python /opt/facepipe/bin/python install --no-cache-dir --no-deps dist/*.whl

# What both images share. A numbered user without a home: any other number works as well (`--user`), and with
# `--read-only` only /tmp and the mounted folder are written: /work, which holds `data`, or `data` alone as /data. tini
# is process 1: it passes SIGTERM on from the first moment and reaps what a killed worker leaves behind.
FROM python:3.11-slim-bookworm AS base
# hadolint ignore=DL3008
RUN apt-get update && apt-get install -y --no-install-recommends tini && rm -rf /var/lib/apt/lists/* && \
    mkdir /work /data && ln -s /data /work/data && chown 10001:10001 /work /data
ENV PATH=/opt/facepipe/bin:$PATH \
    HOME=/tmp \
    JOBLIB_TEMP_FOLDER=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /work
STOPSIGNAL SIGTERM

FROM base AS train
LABEL org.opencontainers.image.title="facepipe-train" \
      org.opencontainers.image.description="Autoencoders and GANs on facepipe's shards" \
      org.opencontainers.image.licenses="MIT"
# TensorFlow sizes its own threads by the container's cores.
ENV TF_CPP_MIN_LOG_LEVEL=2 KERAS_HOME=/tmp/keras
COPY --from=train-packages /opt/facepipe /opt/facepipe
ENTRYPOINT ["tini", "--", "python", "-m", "train"]
CMD ["--help"]

FROM base AS facepipe
LABEL org.opencontainers.image.title="facepipe" \
      org.opencontainers.image.description="Photographs and videos of people in, training sets of faces out" \
      org.opencontainers.image.licenses="MIT"
# A worker a core, a thread a worker.
ENV OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 OPENCV_FOR_THREADS_NUM=1
COPY --from=slim-packages /opt/facepipe /opt/facepipe
ENTRYPOINT ["tini", "--", "facepipe"]
CMD ["--help"]
