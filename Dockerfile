# syntax=docker/dockerfile:1
# The operator's image: the locked production dependencies and nothing else; no shell, not root.
# Set both digests when building: --build-arg PYTHON_IMAGE=...@sha256:... --build-arg RUNTIME_IMAGE=...@sha256:...
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/python3-debian12:nonroot

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY operator ./operator
# Without the extras: emulator, load, sandbox and laboratory are not in the production image.
RUN uv export --locked --no-dev --no-emit-project --format requirements-txt --output-file requirements.txt \
 && uv pip install --require-hashes --target /app --compile-bytecode -r requirements.txt \
 && uv pip install --no-deps --target /app --compile-bytecode .

FROM ${RUNTIME_IMAGE}
LABEL org.opencontainers.image.title="inference-fleet-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "inference_fleet"]
CMD ["run"]
