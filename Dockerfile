# syntax=docker/dockerfile:1
#   docker build -t nola .                            CPU (default)
#   docker build -t nola:cuda --target cuda .         NVIDIA GPU: docker run --gpus all ...
#   docker run --rm -v "$PWD/data:/nola/data" nola    the demo; its report appears in ./data/digits
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 DVC_NO_ANALYTICS=1 DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false \
    PREFECT_HOME=/nola/.prefect PATH=/nola/.venv/bin:$PATH
RUN apt-get update && apt-get install --yes --no-install-recommends git make libgomp1 && rm -rf /var/lib/apt/lists/*
WORKDIR /nola
COPY Makefile pyproject.toml requirements.lock README.md LICENSE ./
COPY nola_core nola_core
COPY flows flows
RUN make setup PYTHON=python3.11
COPY . .
# DVC wants a repository around it; the image carries none of the history.
RUN git init --quiet
CMD ["make", "demo"]

# PyTorch's wheels bring their CUDA libraries; the driver comes from the host through the NVIDIA container toolkit.
FROM base AS cuda
ENV NOLA_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM base AS cpu
ENV NOLA_DEVICE=cpu
