# syntax=docker/dockerfile:1
# The operator's image: the locked production dependencies and nothing else; no shell, not root. `make image` builds it.
# Base images are taken by digest alone, and there is no default: whoever builds says which ones (`make image` asks the
# registry for those of the tags below and shows them).
ARG PYTHON_DIGEST
ARG RUNTIME_DIGEST

# tag: 3.11-slim-bookworm
FROM docker.io/library/python@${PYTHON_DIGEST} AS build
WORKDIR /src
RUN pip install --no-cache-dir uv==0.13.8
COPY pyproject.toml uv.lock README.md LICENSE ./
COPY operator ./operator
# Without the extras: emulator, load, sandbox and laboratory are not in the production image, nor are their commands.
RUN uv export --locked --no-dev --no-emit-project --format requirements-txt --output-file requirements.txt \
 && uv pip install --require-hashes --target /app --compile-bytecode -r requirements.txt \
 && uv pip install --no-deps --target /app --compile-bytecode . \
 && cd /app/inference_fleet && rm -r emulator load sandbox simulation cli/compare.py cli/demo.py cli/sandbox.py cli/simulate.py

# tag: nonroot (Python 3.11, as above: compiled packages fit)
FROM gcr.io/distroless/python3-debian12@${RUNTIME_DIGEST}
LABEL org.opencontainers.image.title="inference-fleet-operator" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /app /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 65532:65532
ENTRYPOINT ["python3", "-m", "inference_fleet"]
CMD ["run"]
