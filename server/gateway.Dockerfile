# The HTTP gateway with its page, without Triton. Build from the root of the project:
#   docker build -f server/gateway.Dockerfile -t syncnet-gateway .
#   docker run --rm --network host --read-only --tmpfs /tmp --tmpfs /work:size=4g,uid=1000,mode=0700 \
#     syncnet-gateway --host 127.0.0.1 --url 127.0.0.1:8001

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
    && /opt/syncnet/bin/pip install --no-cache-dir --constraint constraints.txt '.[gateway]'

FROM python:${PYTHON_VERSION}
COPY --from=build /opt/syncnet /opt/syncnet
# A volume mounted here takes over its permissions.
RUN install --directory --owner=1000 --group=1000 --mode=0700 /work

# The root file system may be read-only: uploads go to /work, nothing else is written.
ENV HOME=/tmp \
    PATH=/opt/syncnet/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1
USER 1000:1000

EXPOSE 8080
ENTRYPOINT ["syncnet-gateway", "--work-folder", "/work"]
CMD ["--host", "0.0.0.0"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python3", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/healthz', timeout=4)"]
