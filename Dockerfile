# syntax=docker/dockerfile:1
# `docker build .` takes PyTorch's default build, with CUDA's libraries in it: on a GPU the host needs only the NVIDIA driver and the
# container toolkit, and without one it runs on the CPU. For a smaller CPU-only image name PyTorch's own CPU index:
#   docker build --build-arg TORCH_INDEX=… .
FROM python:3.11-slim-trixie AS build
ARG TORCH_INDEX=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /build
COPY requirements.txt requirements-s3.txt requirements-otel.txt ./
# torch first and by itself, so that a changed line in requirements.txt doesn't fetch it again
RUN grep '^torch==' requirements.txt >torch.txt \
    && pip install ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} --requirement torch.txt \
    && pip install --requirement requirements.txt --requirement requirements-s3.txt --requirement requirements-otel.txt

FROM python:3.11-slim-trixie
# libgomp: PyTorch's threads on a CPU. tesseract-ocr: text in languages whose letters PP-OCR lacks; -vie is Vietnamese, others are
# added in the same way (GET /api/ocr/languages/ names the packages). postgresql-client: for `manage.py backup` and `restore`, of the major
# version that docker-compose.*.yml and config/kubernetes have
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1=14.* postgresql-client-17=17.* tesseract-ocr=5.* tesseract-ocr-vie=1:4.* \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 darkroom \
    && install --directory --owner=darkroom --group=darkroom /data /data/models
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY --chown=root:root . .
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/data DATA_DIR=/data HOST=0.0.0.0 PORT=8000 LOG_FORMAT=json
USER 1000
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/api/health/\", timeout=4)"]
STOPSIGNAL SIGTERM
# prepare migrates (of several at once one does, the others wait), makes the admin account and, as HOST is not loopback, the first key,
# and prints both once
CMD ["sh", "-c", "python manage.py prepare && exec gunicorn --config config/gunicorn.py config.asgi:application"]
