# The command line client alone, without torch, Triton or CUDA. Build from the root of the project:
#   docker build -f server/client.Dockerfile -t syncnet-client .
#   docker run --rm --network host -v "$PWD:/data:ro" syncnet-client score /data/clip.mp4

ARG PYTHON_VERSION=3.12.11-slim-bookworm
FROM python:${PYTHON_VERSION} AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY export export
COPY gateway gateway
COPY model_repository model_repository
COPY samples samples
COPY server server
COPY training training
RUN python -m venv /opt/syncnet \
    && /opt/syncnet/bin/pip install --no-cache-dir --constraint constraints.txt .
ENV SYNCNET_CACHE_DIR=/opt/syncnet/cache
RUN /opt/syncnet/bin/syncnet-client fetch yunet

FROM python:${PYTHON_VERSION}
COPY --from=build /opt/syncnet /opt/syncnet
ENV HOME=/tmp \
    PATH=/opt/syncnet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    SYNCNET_CACHE_DIR=/opt/syncnet/cache
USER 1000:1000
WORKDIR /data
ENTRYPOINT ["syncnet-client"]
CMD ["--help"]
