# The server image: stores, PD and analytics differ only in the command that compose.yaml gives.
# BASE may be any Debian with Python 3.11 and venv; .ci/base-images makes one without a registry.
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# A package index other than the public one is told by these, as pip and uv know them from the
# environment; they stay in this stage and never reach the final image.
ARG PIP_INDEX_URL
ARG UV_DEFAULT_INDEX
ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    PIP_CERT=/etc/ssl/certs/ca-certificates.crt \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PROJECT_ENVIRONMENT=/opt/flaredb \
    UV_PYTHON_DOWNLOADS=never
RUN python3 -m venv /opt/uv && /opt/uv/bin/pip install --no-cache-dir 'uv>=0.7'
WORKDIR /src
# What others wrote first: this layer stays as long as uv.lock does.
COPY pyproject.toml uv.lock ./
RUN /opt/uv/bin/uv sync --frozen --no-dev --extra server --no-install-project --no-cache
COPY README.md LICENSE ./
COPY schemas schemas
COPY services services
COPY pd pd
COPY analytics analytics
RUN /opt/uv/bin/uv sync --frozen --no-dev --extra server --no-editable --no-cache

FROM ${BASE}
COPY --from=build /opt/flaredb /opt/flaredb
RUN useradd --uid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin flaredb \
    && install --directory --owner flaredb --group flaredb /data
USER flaredb
WORKDIR /data
ENV PATH=/opt/flaredb/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    FLAREDB_DATA=/data \
    FLAREDB_HTTP=0.0.0.0:7480 \
    FLAREDB_OPS=0.0.0.0:7481
CMD ["python", "-m", "flaredb.store"]
